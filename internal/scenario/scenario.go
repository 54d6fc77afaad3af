package scenario

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios in testdata say now into them")

// Player carries out one command, which stands at a file's line (for messages),
// and returns what came of it.
type Player func(at, command string) string

// Run plays the files testdata/*.txt, each from a stage of its own. A file is
// made of blocks with an empty line between: prose (lines that begin with #),
// commands, a line of four dashes, and what came of the block's commands, or
// the text nothing if nothing did. A file that says something else fails the
// test; with -rewrite it is written anew.
func Run(t *testing.T, nothing string, stage func(t *testing.T) Player) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			now := play(file, string(text), nothing, stage(t))
			if *rewrite {
				if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if difference := compare(string(text), now); difference != "" {
				t.Fatalf("%s:%s\n(go test -run %s -rewrite takes it over)", file, difference, t.Name())
			}
		})
	}
}

// play returns the text as it would be with what comes of its commands now.
func play(file, text, nothing string, do Player) string {
	var now strings.Builder
	line := 1
	for i, block := range strings.Split(strings.TrimRight(text, "\n"), "\n\n") {
		if i > 0 {
			now.WriteString("\n\n")
		}
		script, _, _ := strings.Cut(block, "\n----")
		now.WriteString(script)
		var came strings.Builder
		commands := 0
		for j, command := range strings.Split(script, "\n") {
			if command != "" && command[0] != '#' {
				commands++
				came.WriteString(do(fmt.Sprintf("%s:%d", file, line+j), command))
			}
		}
		line += strings.Count(block, "\n") + 2
		if commands == 0 {
			continue
		}
		result := strings.TrimRight(came.String(), "\n")
		if result == "" {
			result = nothing
		}
		now.WriteString("\n----\n" + result)
	}
	return now.String() + "\n"
}

// compare is the first line in which got differs from want, "" for none.
func compare(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		at := func(lines []string) string {
			if i < len(lines) {
				return fmt.Sprintf("%q", lines[i])
			}
			return "the end of the file"
		}
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("%d: got  %s\nwant %s", i+1, at(g), at(w))
		}
	}
	return ""
}
