package cli

import (
	"os"
	"strings"
	"testing"
)

// Each golden file is what Apache Kafka's tool printed for the same file; see
// testdata/kafka-4.3.1/README.md.
func TestDumpLogAsKafka(t *testing.T) {
	f := func(golden, line string) {
		t.Helper()
		want, err := os.ReadFile("testdata/kafka-4.3.1/" + golden)
		if err != nil {
			t.Fatal(err)
		}
		line = strings.ReplaceAll(line, "DIR/", "testdata/kafka-4.3.1/segment/")
		r := runLine(t, "", line)
		got := strings.ReplaceAll(r.out, "testdata/kafka-4.3.1/segment/", "")
		if r.code != 0 || got != string(want) {
			t.Errorf("%s: exit %d\n--- got\n%s--- want\n%s%s", line, r.code, got, want, r.err)
		}
	}
	f("dump-log-batches.txt", "kafka-dump-log.sh --files DIR/00000000000000000000.log")
	f("dump-log-offsets.txt", "kafka-dump-log --files DIR/00000000000000000000.log --offsets-decoder")
	f("dump-log-offsets.txt", "freshet dump-log DIR/00000000000000000000.log --offsets")
	f("dump-log-contents.txt", "kafka-dump-log --files DIR/00000000000000000000.log --print-data-log --skip-record-metadata --max-bytes 900")
	f("dump-log-snapshot.txt", "kafka-dump-log --files DIR/00000000000000000001.snapshot")
}
