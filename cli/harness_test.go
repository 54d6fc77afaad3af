package cli

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// fakeCluster starts an in-process broker and returns its address.
func fakeCluster(t *testing.T, opts ...kfake.Opt) string {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(1), kfake.DefaultNumPartitions(1), kfake.AllowAutoTopicCreation()}, opts...)
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

// result is what a command line did.
type result struct {
	out, err string
	code     int
}

// runLine runs a command line, split at spaces, with BROKER replaced.
func runLine(t *testing.T, addr, line string, stdin ...string) result {
	t.Helper()
	words := strings.Fields(strings.ReplaceAll(line, "BROKER", addr))
	return runWords(t, words, strings.Join(stdin, ""))
}

func runWords(t *testing.T, words []string, stdin string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out, errOut lockedBuffer
	code := run(ctx, words, Streams{strings.NewReader(stdin), &out, &errOut}, func() syscall.Signal { return 0 })
	if ctx.Err() != nil {
		t.Fatalf("%q did not end", words)
	}
	return result{out.String(), errOut.String(), code}
}

// mustRun runs a line that must succeed and returns its output.
func mustRun(t *testing.T, addr, line string, stdin ...string) string {
	t.Helper()
	r := runLine(t, addr, line, stdin...)
	if r.code != 0 {
		t.Fatalf("%s: exit %d\n%s%s", line, r.code, r.out, r.err)
	}
	return r.out
}

// lockedBuffer may be written from several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var _ io.Writer = (*lockedBuffer)(nil)

// Things in outputs that differ from run to run.
var (
	volatileID   = regexp.MustCompile(`(TopicId: |  )[A-Za-z0-9_-]{22}(\s)`)
	volatileAddr = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	volatileDate = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}`)
	volatileTime = regexp.MustCompile(`\b1[6-9]\d{11}\b`)
	volatileUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	volatilePort = regexp.MustCompile(`127\.0\.0\.1 \d+ +`)
)

func stable(s string) string {
	s = volatileUUID.ReplaceAllString(s, "<uuid>")
	s = volatileID.ReplaceAllString(s, "${1}<topic-id>${2}")
	s = volatileAddr.ReplaceAllString(s, "<address>")
	s = volatileDate.ReplaceAllString(s, "<date>")
	return volatileTime.ReplaceAllString(s, "<ms>")
}

// golden compares with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run go test ./cli -update to write it", err)
	}
	if got != string(want) {
		t.Errorf("%s differs\n--- got\n%s--- want\n%s", file, got, want)
	}
}

// produceTo sends values to a partition of a topic.
func produceTo(t *testing.T, addr, topic string, partition int32, records ...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, r := range records {
		r.Topic, r.Partition = topic, partition
		if err := cl.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}
