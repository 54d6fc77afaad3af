package compare

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"freshet/bench"
	"freshet/bench/kafkadist"
)

// javaTool is one of Kafka's performance tools.
type javaTool string

const (
	javaProducer javaTool = "org.apache.kafka.tools.ProducerPerformance"
	javaConsumer javaTool = "org.apache.kafka.tools.ConsumerPerformance"
	javaEndToEnd javaTool = "org.apache.kafka.tools.EndToEndLatency"
)

// javaRow is one row driven by Kafka's own tools.
type javaRow struct {
	name, title string
	tool        javaTool
	partitions  int
	records     int64 // sent or read
	valueBytes  int
	throughput  int64 // records/s of the producer, -1 unlimited
	// properties are the producer's, LinkedIn's of 2014 where they matter.
	properties []string
}

// javaWarmupShare of the producer's records come before its steady state, so
// that the tool's own JVM has compiled what it measures.
const javaWarmupShare = 5

// javaRows are the rows of the client java: LinkedIn's two, the end-to-end tool
// and one producer at each fixed rate.
func javaRows(o *Options) []javaRow {
	const partitions = 6
	linkedIn := []string{
		"acks=" + acksName(o.Client.Acks),
		"batch.size=" + strconv.Itoa(int(o.Client.BatchSize)),
		"buffer.memory=" + strconv.Itoa(o.Client.BufferMemory),
		"linger.ms=" + strconv.Itoa(o.Client.LingerMs),
		"enable.idempotence=false",
	}
	rows := []javaRow{{name: "java-producer", title: "kafka-producer-perf-test, 100 B", tool: javaProducer,
		partitions: partitions, records: o.JavaRecords, valueBytes: 100, throughput: -1, properties: linkedIn}}
	for _, rate := range o.RatesMB {
		// 1,000-byte records: 100-byte ones at 50 MB/s are near the tool's own limit.
		const valueBytes = 1000
		perSecond := int64(rate) * bytesPerMB / valueBytes
		rows = append(rows, javaRow{name: fmt.Sprintf("java-producer-%dmb", rate),
			title: fmt.Sprintf("kafka-producer-perf-test at %d MB/s, 1000 B", rate), tool: javaProducer,
			partitions: partitions, records: int64(float64(perSecond) * (o.OpenLoopSeconds + 1)), valueBytes: valueBytes,
			throughput: perSecond, properties: linkedIn})
	}
	return append(rows,
		javaRow{name: "java-consumer", title: "kafka-consumer-perf-test, 100 B", tool: javaConsumer,
			partitions: partitions, records: o.JavaRecords, valueBytes: 100},
		javaRow{name: "java-end-to-end", title: "kafka-e2e-latency, 100 B", tool: javaEndToEnd,
			partitions: 1, records: o.JavaMessages, valueBytes: 100, properties: []string{acksName(o.Client.Acks)}})
}

func (row javaRow) writtenBytes() int64 {
	const recordOverhead = 12
	return row.records * int64(row.valueBytes+recordOverhead)
}

func (row javaRow) describe() any {
	return struct {
		Tool, Properties string
		Partitions       int
		Records          int64
		ValueBytes       int
		RecordsPerSecond int64
	}{string(row.tool), fmt.Sprint(row.properties), row.partitions, row.records, row.valueBytes, row.throughput}
}

// args is the tool's command line.
func (row javaRow) args(bootstrap, topic string) []string {
	common := []string{"--bootstrap-server", bootstrap, "--topic", topic, "--num-records", strconv.FormatInt(row.records, 10)}
	switch row.tool {
	case javaProducer:
		common = append(common, "--record-size", strconv.Itoa(row.valueBytes),
			"--throughput", strconv.FormatInt(row.throughput, 10),
			"--warmup-records", strconv.FormatInt(max(row.records/javaWarmupShare, 1), 10), "--command-property")
		return append(common, row.properties...)
	case javaConsumer:
		return append(common, "--group", topic, "--timeout", "20000")
	default:
		return append(common, "--record-size", strconv.Itoa(row.valueBytes), "--producer-acks", row.properties[0])
	}
}

// javaHeap is what Kafka's scripts give the performance tools.
var javaHeap = []string{"-Xmx512M"}

// runJava runs the row once against the contender. The broker's CPU time and
// memory are those during the whole life of the tool, its own warm-up and
// connecting included, and are set against all that it moved; the rate and the
// latencies are the tool's own.
func runJava(ctx context.Context, kafka *kafkadist.Home, d *bench.Driver, addr string, row javaRow, topic string) (bench.RowRun, error) {
	if err := d.CreateTopic(ctx, topic, row.partitions); err != nil {
		return bench.RowRun{}, err
	}
	result, err := runJavaOn(ctx, kafka, d, addr, row, topic)
	return result, errors.Join(err, d.DeleteTopic(context.WithoutCancel(ctx), topic))
}

func runJavaOn(ctx context.Context, kafka *kafkadist.Home, d *bench.Driver, addr string, row javaRow, topic string) (bench.RowRun, error) {
	if row.tool == javaConsumer {
		if _, err := d.Fill(ctx, topic, row.partitions, row.records, row.valueBytes); err != nil {
			return bench.RowRun{}, err
		}
	}
	argv := kafka.Command(javaHeap, string(row.tool), row.args(addr, topic)...)
	var out []byte
	run, err := d.Observe(ctx, row.writtenBytes(), func() (err error) {
		out, err = exec.CommandContext(ctx, kafka.Java, argv...).CombinedOutput()
		return err
	})
	if err != nil {
		return bench.RowRun{}, fmt.Errorf("%s failed (%w); its output ends with:\n%s", row.tool, err, lastLines(string(out), 8))
	}
	// The generator is another process, whose CPU time is not this one's.
	run.GeneratorCPUSeconds = 0
	parsed, err := parseJava(row.tool, string(out))
	if err != nil {
		return bench.RowRun{}, err
	}
	bytes, records, err := topicSize(ctx, d, topic)
	if err != nil {
		return bench.RowRun{}, err
	}
	if row.tool == javaProducer && records != row.records {
		return bench.RowRun{}, fmt.Errorf("%s sent %d records, and the topic holds %d", row.tool, row.records, records)
	}
	if row.tool == javaConsumer && parsed.records < row.records {
		return bench.RowRun{}, fmt.Errorf("%s read %d records of %d", row.tool, parsed.records, row.records)
	}
	run.VerifiedRecords = records
	parsed.fill(&run, row, bytes, records)
	return bench.RowRun{Run: run}, nil
}

// topicSize is what a topic's partitions hold: bytes in the log directories of
// their leaders, 0 if the broker does not tell, and records.
func topicSize(ctx context.Context, d *bench.Driver, topic string) (bytes, records int64, err error) {
	ends, err := d.Kadm().ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, 0, fmt.Errorf("cannot count the records of %s: %w", topic, err)
	}
	for _, partition := range ends[topic] {
		records += partition.Offset
	}
	dirs, err := d.Kadm().DescribeAllLogDirs(ctx, nil)
	if err != nil {
		return 0, records, nil
	}
	var sizes []int64
	for _, byDir := range dirs {
		var size int64
		for _, dir := range byDir {
			for _, p := range dir.Topics[topic] {
				size += p.Size
			}
		}
		sizes = append(sizes, size)
	}
	if len(sizes) > 0 {
		bytes = slices.Max(sizes)
	}
	return bytes, records, nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
