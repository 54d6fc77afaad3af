//go:build compat

package compat

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// golden is what Apache Kafka answers to a set of requests, by the name of the request. It is recorded by
// a run with FRESHET_COMPAT_TARGET=kafka FRESHET_COMPAT_UPDATE=1 and compared in every other run.
//
// testdata/golden/<set>.txt holds "name: outcome" lines. Where Freshet answers otherwise on purpose, the
// line is repeated in <set>.differences.txt with Freshet's outcome and, after " # ", the reason.
type golden struct {
	set         string
	recorded    map[string]string
	differences map[string]string
	update      bool
	seen        map[string]bool
}

func openGolden(t *testing.T, set string) *golden {
	t.Helper()
	g := &golden{
		set:         set,
		update:      os.Getenv("FRESHET_COMPAT_UPDATE") == "1" && target() == targetKafka,
		recorded:    map[string]string{},
		differences: map[string]string{},
		seen:        map[string]bool{},
	}
	if !g.update {
		g.recorded = readOutcomes(t, g.path(".txt"))
	}
	if target() == targetFreshet {
		g.differences = readOutcomes(t, g.path(".differences.txt"))
		for name, outcome := range g.differences {
			text, reason, ok := strings.Cut(outcome, " # ")
			if !ok || reason == "" {
				t.Errorf("%s: %s has no reason after ' # '", g.path(".differences.txt"), name)
			}
			g.differences[name] = text
		}
	}
	t.Cleanup(func() { g.save(t) })
	return g
}

func (g *golden) path(suffix string) string {
	return filepath.Join(testdata(), "golden", g.set+suffix)
}

// compare checks one outcome, or records it.
func (g *golden) compare(t *testing.T, name, outcome string) {
	t.Helper()
	if g.seen[name] {
		t.Errorf("BUG: two requests of the set %s are named %q", g.set, name)
	}
	g.seen[name] = true
	if g.update {
		g.recorded[name] = outcome
		return
	}
	want, ok := g.recorded[name]
	if !ok {
		want = "nothing is recorded"
	}
	if own, ok := g.differences[name]; ok {
		if outcome != own {
			t.Errorf("%s: %s; the list of differences says %s (Apache Kafka: %s)", name, outcome, own, want)
		}
		return
	}
	if !ok {
		t.Errorf("%s: nothing is recorded; run with FRESHET_COMPAT_TARGET=kafka FRESHET_COMPAT_UPDATE=1", name)
		return
	}
	if outcome != want {
		t.Errorf("%s: %s; Apache Kafka: %s", name, outcome, want)
	}
}

// save writes what was recorded, sorted.
func (g *golden) save(t *testing.T) {
	if !g.update {
		return
	}
	names := make([]string, 0, len(g.recorded))
	for name := range g.recorded {
		names = append(names, name)
	}
	sort.Strings(names)
	var text strings.Builder
	fmt.Fprintf(&text, "# Recorded from Apache Kafka 4.3.1; see ../README.md.\n")
	for _, name := range names {
		fmt.Fprintf(&text, "%s: %s\n", name, g.recorded[name])
	}
	if err := os.MkdirAll(filepath.Dir(g.path("")), 0o755); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(g.path(".txt"), []byte(text.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// readOutcomes reads "name: outcome" lines. A file that is not there has none.
func readOutcomes(t *testing.T, path string) map[string]string {
	t.Helper()
	out := map[string]string{}
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return out
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") || s.Text() == "" {
			continue
		}
		name, outcome, ok := strings.Cut(s.Text(), ": ")
		if !ok {
			t.Fatalf("%s: this line is not 'name: outcome': %s", path, s.Text())
		}
		out[name] = outcome
	}
	return out
}
