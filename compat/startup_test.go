//go:build compat

package compat

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStartMistakes starts Freshet in ways that cannot work. Each has to end with an exit code that is
// not 0 and one clear sentence, soon, and without touching what is not its own.
func TestStartMistakes(t *testing.T) {
	if target() == targetKafka {
		return // these sentences are Freshet's own
	}
	nonsense := map[string][]string{ // an override, and words that the sentence has to contain
		"num.partitions=many":            {"num.partitions", "many"},
		"num.partitions=0":               {"num.partitions"},
		"log.segment.bytes=-5":           {"log.segment.bytes"},
		"listeners=somewhere":            {"listeners", "somewhere"},
		"listeners=PLAINTEXT://:999999":  {"listeners"},
		"process.roles=emperor":          {"process.roles", "emperor"},
		"freshet.io.engine=magic":        {"freshet.io.engine", "magic"},
		"compression.type=rar":           {"compression.type", "rar"},
		"node.id=-7":                     {"node.id"},
		"log.cleanup.policy=shred":       {"log.cleanup.policy", "shred"},
		"log.dirs=/proc/freshet-compat":  {"/proc/freshet-compat"},
		"log.message.timestamp.type=Now": {"log.message.timestamp.type", "Now"},
	}
	for _, override := range sortedKeys(firsts(nonsense)) {
		check(t, "start", override, func(t *testing.T) {
			mustRefuse(t, nonsense[override], "--override", override)
		})
	}
	check(t, "start", "override without a value", func(t *testing.T) { mustRefuse(t, []string{"no-equals-sign"}, "--override", "no-equals-sign") })
	check(t, "start", "no such file", func(t *testing.T) { mustRefuse(t, []string{"no-such.properties"}, "no-such.properties") })
	check(t, "start", "unknown key warns", func(t *testing.T) {
		b := startBroker(t, brokerOptions{overrides: map[string]string{"no.such.key": "1"}})
		expect(t, b.logText(), `no\.such\.key`)
	})
	check(t, "start", "port in use", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		mustRefuse(t, []string{fmt.Sprint(port), "in use"}, "--override", fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d", port))
	})
	check(t, "start", "data dir in use", func(t *testing.T) {
		b := startBroker(t, brokerOptions{})
		mustRefuse(t, []string{b.dataDir, "lock|in use|another"}, "--override", "log.dirs="+b.dataDir)
		if err := pingBroker(b.addr); err != nil {
			t.Errorf("the broker whose directory was wanted does not answer any more: %v", err)
		}
	})
	check(t, "start", "data dir is a file", func(t *testing.T) {
		file := filepath.Join(tempDir(t), "file")
		if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, []string{file}, "--override", "log.dirs="+file)
		if text, _ := os.ReadFile(file); string(text) != "mine" {
			t.Errorf("the file now holds %q", text)
		}
	})
	check(t, "start", "data dir of another cluster", anotherCluster)
	check(t, "start", "data dir of another broker", func(t *testing.T) {
		dir := usedDataDir(t)
		mustRefuse(t, []string{"node.id", "77"}, "--override", "log.dirs="+dir, "--override", "node.id=77")
	})
	check(t, "start", "newer meta.properties", func(t *testing.T) {
		dir := usedDataDir(t)
		meta := filepath.Join(dir, "meta.properties")
		text, err := os.ReadFile(meta)
		if err != nil {
			t.Fatal(err)
		}
		newer := strings.Replace(string(text), "version=1", "version=99", 1)
		if newer == string(text) {
			t.Fatalf("meta.properties has no version=1:\n%s", text)
		}
		if err := os.WriteFile(meta, []byte(newer), 0o644); err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, []string{"meta.properties", "version", "99"}, "--override", "log.dirs="+dir)
		if after, _ := os.ReadFile(meta); string(after) != newer {
			t.Errorf("meta.properties was changed to:\n%s", after)
		}
	})
}

func firsts(m map[string][]string) map[string]string {
	out := map[string]string{}
	for k := range m {
		out[k] = ""
	}
	return out
}

// usedDataDir is the data directory of a broker that ran and stopped.
func usedDataDir(t *testing.T) string {
	t.Helper()
	b := startBroker(t, brokerOptions{})
	b.stop(t)
	return b.dataDir
}

// anotherCluster offers a broker the directories of two clusters at once.
func anotherCluster(t *testing.T) {
	one, two := usedDataDir(t), usedDataDir(t)
	mustRefuse(t, []string{"cluster"}, "--override", "log.dirs="+one+","+two)
	b := startBroker(t, brokerOptions{dataDir: one}) // each of them still is what it was
	b.stop(t)
}

// mustRefuse starts Freshet with arguments that cannot work, on a free port and a directory of its own
// unless they say otherwise, and checks how it ends. Each of words, a set of alternatives between bars,
// must be in the sentence.
func mustRefuse(t *testing.T, words []string, args ...string) {
	t.Helper()
	bin, err := freshetBinary()
	if err != nil {
		t.Fatal(err)
	}
	argv := []string{bin, "start"}
	var rest []string
	for _, a := range args {
		if strings.HasSuffix(a, ".properties") {
			argv = append(argv, a)
			continue
		}
		rest = append(rest, a)
	}
	argv = append(argv, "--override", "freshet.admin.listener=127.0.0.1:0",
		"--override", fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d", freePort(t)),
		"--override", "log.dirs="+filepath.Join(tempDir(t), "data"))
	out, err := command{argv: append(argv, rest...), timeout: 20 * time.Second}.run()
	if err != nil {
		t.Fatalf("it does not refuse: %v\n%s", err, out)
	}
	if out.code == 0 {
		t.Fatalf("exit code 0\n%s", out)
	}
	said := out.stderr
	for _, bad := range []string{"panic", "goroutine ", "BUG:", "Usage:"} {
		if strings.Contains(said+out.stdout, bad) {
			t.Errorf("the output contains %q\n%s", bad, out)
		}
	}
	var sentence string
	for _, line := range strings.Split(strings.TrimSpace(said), "\n") {
		if !strings.Contains(line, "level=INFO") {
			sentence += line + "\n"
		}
	}
	if n := strings.Count(sentence, "\n"); n != 1 {
		t.Errorf("%d lines instead of one sentence:\n%s", n, sentence)
	}
	for _, alternatives := range words {
		found := false
		for _, w := range strings.Split(alternatives, "|") {
			found = found || strings.Contains(strings.ToLower(sentence), strings.ToLower(w))
		}
		if !found {
			t.Errorf("the sentence does not name %q:\n%s", alternatives, sentence)
		}
	}
}
