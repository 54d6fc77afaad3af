//go:build compat

package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cacheDir holds what the suite installs and builds; it is git-ignored.
func cacheDir() string { return filepath.Join(moduleRoot(), "compat", ".cache") }

// needFile reports whether a file that scripts/compat.sh prepares is there, and says in the report when
// it is not.
func needFile(t *testing.T, client, path, how string) bool {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		missing(t, client, how)
		return false
	}
	return true
}

// needCommand is needFile for a program on the PATH.
func needCommand(t *testing.T, client, program, how string) bool {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		missing(t, client, how)
		return false
	}
	return true
}

const (
	howPython = "Python 3 with venv is needed (apt-get install python3-venv), then scripts/compat.sh installs the client"
	howNode   = "Node 18 or newer with npm is needed (apt-get install nodejs npm), then scripts/compat.sh installs the client"
	howKcat   = "kcat is not installed: apt-get install kcat"
)

func TestLibrdkafka(t *testing.T) {
	python := filepath.Join(cacheDir(), "venv", "bin", "python")
	if !needFile(t, "librdkafka", python, howPython) {
		return
	}
	program := filepath.Join(moduleRoot(), "compat", "python", "librdkafka_driver.py")
	quick := append(eachCodec("codec"), "flights-none", "flights-zstd", "flights-keyed", "idempotent", "group-rebalance",
		"group-commit", "offsets-by-timestamp", "admin")
	full := []string{"flights-gzip", "flights-snappy", "flights-lz4", "group-cooperative"}
	runDriver(t, driver{client: "librdkafka", argv: []string{python, program}, env: []string{"PYTHONDONTWRITEBYTECODE=1"}}, sharedBroker(t), quick, full)
}

func TestKafkaPython(t *testing.T) {
	python := filepath.Join(cacheDir(), "venv", "bin", "python")
	if !needFile(t, "kafka-python", python, howPython) {
		return
	}
	program := filepath.Join(moduleRoot(), "compat", "python", "kafka_python_driver.py")
	quick := append(eachCodec("codec"), "flights-none", "group-rebalance", "offsets-by-timestamp", "admin")
	full := []string{"flights-gzip", "flights-snappy", "flights-lz4", "flights-zstd", "flights-keyed"}
	runDriver(t, driver{client: "kafka-python", argv: []string{python, program}, env: []string{"PYTHONDONTWRITEBYTECODE=1"}}, sharedBroker(t), quick, full)
}

func TestKafkaJS(t *testing.T) {
	modules := filepath.Join(cacheDir(), "node", "node_modules")
	if !needFile(t, "kafkajs", modules, howNode) {
		return
	}
	program := filepath.Join(moduleRoot(), "compat", "node", "driver.js")
	// KafkaJS has no LZ4 and no Zstandard of its own; its Snappy is the kafkajs-snappy plug-in.
	quick := []string{"codec-none", "codec-gzip", "codec-snappy", "flights-gzip", "idempotent", "group-rebalance", "admin"}
	full := []string{"flights-none", "flights-snappy", "flights-keyed"}
	runDriver(t, driver{client: "kafkajs", argv: []string{"node", program},
		env: []string{"NODE_PATH=" + modules, "KAFKAJS_NO_PARTITIONER_WARNING=1"}}, sharedBroker(t), quick, full)
}

// goClients builds the driver of the Go clients that have a module of their own.
func goClients(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(cacheDir(), "goclients")
	mustRun(t, command{argv: []string{"go", "build", "-o", bin, "."}, dir: filepath.Join(moduleRoot(), "compat", "goclients"),
		timeout: 5 * time.Minute})
	return bin
}

func TestSarama(t *testing.T) {
	quick := append(eachCodec("codec"), "flights-none", "flights-snappy", "flights-keyed", "idempotent", "group-rebalance",
		"offsets-by-timestamp", "admin")
	full := []string{"flights-gzip", "flights-lz4", "flights-zstd"}
	runDriver(t, driver{client: "sarama", argv: []string{goClients(t), "sarama"}}, sharedBroker(t), quick, full)
}

func TestKafkaGo(t *testing.T) {
	quick := append(eachCodec("codec"), "flights-none", "flights-lz4", "flights-keyed", "group-rebalance",
		"offsets-by-timestamp", "admin")
	full := []string{"flights-gzip", "flights-snappy", "flights-zstd"}
	runDriver(t, driver{client: "kafka-go", argv: []string{goClients(t), "kafka-go"}}, sharedBroker(t), quick, full)
}

// flightsText is the whole of the real input.
func flightsText(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testdata(), "flights.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sameBytes fails the test unless two long texts are equal, and shows where they part.
func sameBytes(t testing.TB, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	at := 0
	for at < len(want) && at < len(got) && want[at] == got[at] {
		at++
	}
	around := func(s string) string { return s[max(0, at-60):min(len(s), at+60)] }
	t.Fatalf("%d bytes came back, not %d; the first difference is at byte %d (line %d):\n  want …%q…\n  got  …%q…",
		len(got), len(want), at, strings.Count(want[:at], "\n")+1, around(want), around(got))
}

func TestKcat(t *testing.T) {
	if !needCommand(t, "kcat", "kcat", howKcat) {
		return
	}
	b := sharedBroker(t)
	kcat := func(args ...string) command { return command{argv: append([]string{"kcat", "-b", b.addr}, args...)} }
	create := func(t *testing.T, topic string, partitions int) { createTopic(t, b, topic, partitions, nil) }

	check(t, "kcat", "-L metadata", func(t *testing.T) {
		create(t, "kcat-list", 3)
		expect(t, mustRun(t, kcat("-L")).stdout, `^ 1 brokers:$`, `broker 1 at `+b.addr, `topic "kcat-list" with 3 partitions:`)
		expect(t, mustRun(t, kcat("-L", "-t", "kcat-list", "-J")).stdout, `"topic":"kcat-list".*"leader":1`)
	})
	for _, codec := range codecs {
		check(t, "kcat", "flights-"+codec, func(t *testing.T) {
			topic := "flights-kcat-" + codec
			create(t, topic, 1)
			p := kcat("-P", "-t", topic, "-z", codec)
			p.stdin = strings.NewReader(flightsText(t))
			mustRun(t, p)
			sameBytes(t, flightsText(t), mustRun(t, kcat("-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q")).stdout)
		})
	}
	check(t, "kcat", "-P -C keys and headers", func(t *testing.T) {
		create(t, "kcat-keys", 1)
		p := kcat("-P", "-t", "kcat-keys", "-K", ":", "-H", "colour=blue", "-Z")
		p.stdin = strings.NewReader("a:1\nb:\nc:3\n")
		mustRun(t, p)
		got := mustRun(t, kcat("-C", "-t", "kcat-keys", "-e", "-q", "-f", `%o %k=%s %S %h\n`)).stdout
		sameBytes(t, "0 a=1 1 colour=blue\n1 b= -1 colour=blue\n2 c=3 1 colour=blue\n", got)
		sameBytes(t, "3\n", mustRun(t, kcat("-C", "-t", "kcat-keys", "-o", "-1", "-c", "1", "-q")).stdout)
	})
	check(t, "kcat", "-Q offsets by time", func(t *testing.T) {
		create(t, "kcat-query", 1)
		p := kcat("-P", "-t", "kcat-query")
		p.stdin = strings.NewReader(lines("m", 5))
		mustRun(t, p)
		expect(t, mustRun(t, kcat("-Q", "-t", "kcat-query:0:1")).stdout, `kcat-query \[0\] offset 0`)
		expect(t, mustRun(t, kcat("-Q", "-t", "kcat-query:0:-1")).stdout, `kcat-query \[0\] offset 5`)
	})
	check(t, "kcat", "-G group", func(t *testing.T) {
		create(t, "kcat-grouped", 3)
		p := kcat("-P", "-t", "kcat-grouped")
		p.stdin = strings.NewReader(lines("m", 300))
		mustRun(t, p)
		first := mustRun(t, kcat("-G", "kcat-group", "-X", "auto.offset.reset=earliest", "-c", "300", "-q", "kcat-grouped")).stdout
		if n := strings.Count(first, "\n"); n != 300 {
			t.Errorf("the group read %d records, not 300", n)
		}
		p = kcat("-P", "-t", "kcat-grouped")
		p.stdin = strings.NewReader("last\n")
		mustRun(t, p)
		sameBytes(t, "last\n", mustRun(t, kcat("-G", "kcat-group", "-X", "auto.offset.reset=earliest", "-c", "1", "-q", "kcat-grouped")).stdout)
	})
}
