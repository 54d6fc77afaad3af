//go:build compat

package compat

import (
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestFilesOnDisk lets Apache Kafka's kafka-dump-log read the files that the broker wrote.
func TestFilesOnDisk(t *testing.T) {
	if !needJava(t, "dump-log") {
		return
	}
	b := startBroker(t, brokerOptions{overrides: map[string]string{"offsets.topic.num.partitions": "3"}})
	writeForDump(t, b)
	b.stop(t)
	tools := javaTools()
	check(t, "dump-log", "log", func(t *testing.T) {
		files := partitionFiles(t, b, "dumped-", "*.log")
		out := tools.run(t, "kafka-dump-log", "--deep-iteration", "--print-data-log", "--files", strings.Join(files, ","))
		wantRecords(t, out, 5*500+2000)
		for _, codec := range codecs {
			expect(t, out, `compresscodec: `+codec)
		}
		refuse(t, out, "isvalid: false", "Found", "exception", "Exception")
	})
	check(t, "dump-log", "indexes", func(t *testing.T) {
		files := append(partitionFiles(t, b, "dumped-", "*.index"), partitionFiles(t, b, "dumped-", "*.timeindex")...)
		out := tools.run(t, "kafka-dump-log", "--files", strings.Join(files, ","))
		expect(t, out, `offset: \d+ position: \d+`, `timestamp: \d+ offset: \d+`)
		refuse(t, out, "Mismatches", "out of order", "Index timestamp", "exception", "Exception", "The following")
		out = tools.run(t, "kafka-dump-log", "--index-sanity-check", "--files", strings.Join(files, ","))
		if got := strings.Count(out, "passed sanity check") + strings.Count(out, " is empty."); got != len(files) {
			t.Errorf("%d of %d indexes pass the sanity check:\n%s", got, len(files), clip(out))
		}
	})
	check(t, "dump-log", "producer snapshot", func(t *testing.T) {
		files := partitionFiles(t, b, "dumped-rolled-", "*.snapshot")
		out := tools.run(t, "kafka-dump-log", "--files", strings.Join(files, ","))
		expect(t, out, `^producerId: \d+ producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: (OptionalLong\.empty|None) lastTimestamp: \d+ firstSequence: \d+ lastSequence: \d+`)
		refuse(t, out, "exception", "Exception", "corrupt")
	})
	check(t, "dump-log", "offsets-decoder", func(t *testing.T) {
		files := partitionFiles(t, b, "__consumer_offsets-", "*.log")
		out := tools.run(t, "kafka-dump-log", "--offsets-decoder", "--files", strings.Join(files, ","))
		expect(t, out, `"group":"dumped-group"`, `"topic":"dumped-none"`, `"offset":123`, `"metadata":"a note"`)
		refuse(t, out, "isvalid: false", "exception", "Exception", "could not be decoded")
	})
	check(t, "dump-log", "checkpoints", func(t *testing.T) { checkpoints(t, b) })
	checkFull(t, "dump-log", "after a kill", func(t *testing.T) {
		b.restart(t)
		produceAll(t, newClient(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner())), numbered("dumped-none", 0, "more", 500)...)
		b.kill()
		b.restart(t)
		b.stop(t)
		files := partitionFiles(t, b, "dumped-none-", "*.log")
		out := tools.run(t, "kafka-dump-log", "--deep-iteration", "--files", strings.Join(files, ","))
		wantRecords(t, out, 1000)
		refuse(t, out, "isvalid: false", "Found", "Exception")
		files = append(partitionFiles(t, b, "dumped-", "*.index"), partitionFiles(t, b, "dumped-", "*.timeindex")...)
		refuse(t, tools.run(t, "kafka-dump-log", "--files", strings.Join(files, ",")), "Mismatches", "out of order", "Index timestamp", "Exception")
	})
}

// writeForDump fills topics with every codec, several segments, an idempotent producer and committed
// offsets.
func writeForDump(t *testing.T, b *broker) {
	t.Helper()
	for _, codec := range codecs {
		topic := "dumped-" + codec
		createTopic(t, b, topic, 1, nil)
		produceAll(t, newClient(t, b, kgo.ProducerBatchCompression(franzCodecs[codec])), numbered(topic, 0, "compressible value ", 500)...)
	}
	createTopic(t, b, "dumped-rolled", 1, map[string]*string{"segment.bytes": kadm.StringPtr("1048576"), "index.interval.bytes": kadm.StringPtr("4096")})
	records := numbered("dumped-rolled", 0, strings.Repeat("v", 2000), 2000)
	produceAll(t, newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(16384)), records...)
	c := newClient(t, b)
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "dumped-none", Partition: 0, At: 123, LeaderEpoch: -1, Metadata: "a note"})
	if err := kadm.NewClient(c).CommitAllOffsets(testContext(t), "dumped-group", o); err != nil {
		t.Fatal(err)
	}
	member := newClient(t, b, kgo.ConsumerGroup("dumped-member"), kgo.ConsumeTopics("dumped-none"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err := member.PollFetches(testContext(t)).Err(); err != nil {
		t.Fatal(err)
	}
	if err := member.CommitUncommittedOffsets(testContext(t)); err != nil {
		t.Fatal(err)
	}
	member.Close()
}

// partitionFiles lists files by pattern in the partition directories with a name prefix; none is a failure.
func partitionFiles(t *testing.T, b *broker, prefix, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.dataDir, prefix+"*", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no %s under %s%s*: %v", pattern, b.dataDir+"/", prefix, err)
	}
	sort.Strings(files)
	return files
}

// refuse fails the test when text contains one of the words.
func refuse(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if at := strings.Index(text, w); at >= 0 {
			t.Errorf("the output contains %q: …%s…", w, text[max(0, at-200):min(len(text), at+300)])
		}
	}
}

// wantRecords counts the records of a deep iteration.
func wantRecords(t *testing.T, out string, want int) {
	t.Helper()
	if got := len(regexp.MustCompile(`(?m)^\| offset: \d+ `).FindAllString(out, -1)); got != want {
		t.Errorf("kafka-dump-log sees %d records, not %d:\n%s", got, want, clip(out))
	}
}

// checkpoints reads the small files that Kafka keeps beside the segments.
func checkpoints(t *testing.T, b *broker) {
	meta, err := os.ReadFile(filepath.Join(b.dataDir, "meta.properties"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, string(meta), `^version=1$`, `^node\.id=1$`, `^cluster\.id=[A-Za-z0-9_-]{22}$`)
	epochs, err := os.ReadFile(filepath.Join(b.dataDir, "dumped-none-0", "leader-epoch-checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, string(epochs), `\A0\n1\n0 0\n\z`)
	recovery, err := os.ReadFile(filepath.Join(b.dataDir, "recovery-point-offset-checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, string(recovery), `\A0\n\d+\n`, `^dumped-none 0 500$`)
	partition, err := os.ReadFile(filepath.Join(b.dataDir, "dumped-none-0", "partition.metadata"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, string(partition), `^version: 0$`, `^topic_id: [A-Za-z0-9_-]{22}$`)
	if _, err := os.Stat(filepath.Join(b.dataDir, ".kafka_cleanshutdown")); err != nil {
		t.Errorf("after a clean stop there is no marker: %v", err)
	}
}
