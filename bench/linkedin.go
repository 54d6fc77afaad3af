package bench

import (
	"fmt"
	"math"
	"slices"
)

// TargetKafka is the second broker of the LinkedIn suite: Apache Kafka on the
// same machine.
const TargetKafka TargetName = "kafka"

// ClientStored is a producer's throughput against the volume it has written.
const ClientStored ClientKind = "stored"

// LinkedInRow is one row of LinkedIn's benchmark of 2014 ("Benchmarking Apache
// Kafka: 2 Million Writes Per Second (On Three Cheap Machines)"), as data.
type LinkedInRow struct {
	Name, Title string
	Kind        ClientKind
	Producers   int
	Consumers   int
	Partitions  int
	// Replicas of the topic; rows above 1 are skipped where that many brokers
	// cannot be had.
	Replicas int16
	// ValueBytes of a record, Records of each client in LinkedIn's run, or
	// messages of the closed loop.
	ValueBytes int
	Records    int64
	// BatchSize is batch.size in bytes, Acks -1 for all.
	BatchSize int32
	Acks      int16
	Published Published
}

// Published are LinkedIn's figures; 0 is one that they gave as a graph only.
type Published struct {
	RecordsPerSecond float64 `json:"records_per_second,omitempty"`
	MBPerSecond      float64 `json:"mb_per_second,omitempty"`
	// Latencies in milliseconds.
	P50Ms  float64 `json:"p50_ms,omitempty"`
	P99Ms  float64 `json:"p99_ms,omitempty"`
	P999Ms float64 `json:"p999_ms,omitempty"`
	// Replicas of LinkedIn's topic, where the row here has fewer.
	Replicas int16 `json:"replicas,omitempty"`
}

const (
	linkedInRecords    = 50_000_000
	linkedInBatchSize  = 8196
	linkedInSyncBatch  = 64_000
	linkedInSweepBatch = 128_000
	linkedInSweepBytes = 1_048_576_000 // of each size
	linkedInStored     = 50_000_000_000
	linkedInMessages   = 5_000
	linkedInReplicas   = 3
)

// linkedInSizes are the message sizes of the sweep, in bytes.
var linkedInSizes = []int{10, 100, 1_000, 10_000, 100_000}

// LinkedInRows are all rows in the order of the publication. LinkedIn's topics
// had three replicas from the second row on; the rows that mean something
// without are here in both forms.
func LinkedInRows() []LinkedInRow {
	row := func(name, title string, kind ClientKind, producers, consumers int, published Published) LinkedInRow {
		return LinkedInRow{Name: name, Title: title, Kind: kind, Producers: producers, Consumers: consumers,
			Partitions: 6, Replicas: 1, ValueBytes: 100, Records: linkedInRecords,
			BatchSize: linkedInBatchSize, Acks: 1, Published: published}
	}
	replicated := func(r LinkedInRow) LinkedInRow {
		r.Replicas, r.Published.Replicas = linkedInReplicas, 0
		return r
	}
	sync := replicated(row("producer-3x-sync", "one producer, 3× sync", ClientProduce, 1, 0, Published{RecordsPerSecond: 421_823, MBPerSecond: 40.2}))
	sync.BatchSize, sync.Acks = linkedInSyncBatch, -1
	stored := row("stored", "throughput against stored data", ClientStored, 1, 0, Published{})
	stored.Records = linkedInStored
	three := Published{RecordsPerSecond: 2_024_032, MBPerSecond: 193.0, Replicas: linkedInReplicas}
	both := Published{RecordsPerSecond: 795_064, MBPerSecond: 75.8, Replicas: linkedInReplicas}
	rows := []LinkedInRow{
		row("producer", "one producer, no replication", ClientProduce, 1, 0, Published{RecordsPerSecond: 821_557, MBPerSecond: 78.3}),
		replicated(row("producer-3x-async", "one producer, 3× async", ClientProduce, 1, 0, Published{RecordsPerSecond: 786_980, MBPerSecond: 75.1})),
		sync,
		row("three-producers", "three producers, no replication", ClientProduce, 3, 0, three),
		replicated(row("three-producers-3x-async", "three producers, 3× async", ClientProduce, 3, 0, three)),
		stored,
		row("consumer", "one consumer", ClientConsume, 0, 1, Published{RecordsPerSecond: 940_521, MBPerSecond: 89.7}),
		row("three-consumers", "three consumers", ClientConsume, 0, 3, Published{RecordsPerSecond: 2_615_968, MBPerSecond: 249.5}),
		row("producer-consumer", "producer and consumer, no replication", ClientProduceConsume, 1, 1, both),
		replicated(row("producer-consumer-3x", "producer and consumer, 3× async", ClientProduceConsume, 1, 1, both)),
	}
	for _, size := range linkedInSizes {
		sweep := row(fmt.Sprintf("size-%d", size), fmt.Sprintf("messages of %s bytes", Thousands(float64(size))), ClientProduce, 1, 0, Published{})
		sweep.ValueBytes, sweep.Records, sweep.BatchSize = size, linkedInSweepBytes/int64(size), linkedInSweepBatch
		rows = append(rows, sweep)
	}
	latency := row("end-to-end", "end to end, closed loop", ClientEndToEnd, 1, 1, Published{P50Ms: 2, P99Ms: 3, P999Ms: 14})
	latency.Partitions, latency.Records = 1, linkedInMessages
	return append(rows, latency)
}

// LinkedInRowNames are the names of all rows.
func LinkedInRowNames() []string {
	var names []string
	for _, row := range LinkedInRows() {
		names = append(names, row.Name)
	}
	return names
}

// LinkedInSize says how much of LinkedIn's amounts a run takes.
type LinkedInSize struct {
	// Records bounds each client's records in the rows of 100-byte records.
	Records int64
	// SweepBytes and SweepRecords bound each size of the sweep.
	SweepBytes, SweepRecords int64
	// StoredBytes is what the stored row writes, in bytes of values.
	StoredBytes int64
	// Messages bounds the closed loop.
	Messages int64
}

// DefaultLinkedInSize lets the suite end in two minutes on two cores.
func DefaultLinkedInSize() LinkedInSize {
	return LinkedInSize{Records: 1_000_000, SweepBytes: 192 << 20, SweepRecords: 1_000_000,
		StoredBytes: 1 << 30, Messages: linkedInMessages}
}

// FullLinkedInSize are LinkedIn's own amounts: the stored row alone writes
// 5 TB.
func FullLinkedInSize() LinkedInSize {
	return LinkedInSize{Records: linkedInRecords, SweepBytes: linkedInSweepBytes, SweepRecords: math.MaxInt64,
		StoredBytes: linkedInStored * 100, Messages: linkedInMessages}
}

// records is how many records each client of a row handles at this size.
func (s LinkedInSize) records(row LinkedInRow) int64 {
	n := row.Records
	switch {
	case row.Kind == ClientStored:
		n = min(n, s.StoredBytes/int64(row.ValueBytes))
	case row.Kind == ClientEndToEnd:
		n = min(n, s.Messages)
	case row.Name == fmt.Sprintf("size-%d", row.ValueBytes):
		n = min(n, s.SweepRecords, s.SweepBytes/int64(row.ValueBytes))
	default:
		n = min(n, s.Records)
	}
	return max(n, 1)
}

// clientRow is the row as the client mode runs it.
func (row LinkedInRow) clientRow() ClientRow {
	kind := row.Kind
	if kind == ClientStored {
		kind = ClientProduce
	}
	return ClientRow{Name: row.Name, Title: row.Title, Kind: kind, Producers: row.Producers, Consumers: row.Consumers,
		Partitions: row.Partitions, ValueBytes: row.ValueBytes, LinkedInRecordsPerSecond: row.Published.RecordsPerSecond}
}

// clientConfig are the row's settings: LinkedIn's buffer.memory is that of the
// client mode.
func (row LinkedInRow) clientConfig(size LinkedInSize) ClientConfig {
	config := DefaultOptions().Client
	config.Records = size.records(row)
	config.EndToEndMessages = config.Records
	config.BatchSize, config.Acks = row.BatchSize, row.Acks
	return config
}

// VolumePoint is a stretch of the stored row: the throughput while the log
// grew up to WrittenBytes.
type VolumePoint struct {
	WrittenBytes int64   `json:"written_bytes"`
	MBPerSecond  float64 `json:"mb_per_second"`
}

// volumeSample is how many bytes were acknowledged at a time since the start.
type volumeSample struct {
	seconds float64
	bytes   int64
}

// throughputOverVolume cuts the samples, which come in order of time, into
// stretches of equal volume. A stretch is at least two samples apart, so that
// a fast run has fewer points and none of them is an artefact of sampling.
func throughputOverVolume(samples []volumeSample, stretches int) []VolumePoint {
	if len(samples) < 2 || stretches < 1 {
		return nil
	}
	var points []VolumePoint
	last := samples[len(samples)-1].bytes
	from := samples[0]
	for i, sample := range samples[1:] {
		due := last / int64(stretches) * int64(len(points)+1)
		end := i == len(samples)-2
		if (sample.bytes < due && !end) || sample.bytes == from.bytes || sample.seconds <= from.seconds {
			continue
		}
		points = append(points, VolumePoint{WrittenBytes: sample.bytes,
			MBPerSecond: float64(sample.bytes-from.bytes) / bytesPerMB / (sample.seconds - from.seconds)})
		from = sample
	}
	return points
}

// sparkline draws the points as a line of eight heights, the highest being the
// largest throughput and the lowest none.
func sparkline(points []VolumePoint) string {
	heights := []rune("▁▂▃▄▅▆▇█")
	if len(points) == 0 {
		return ""
	}
	top := slices.MaxFunc(points, func(a, b VolumePoint) int {
		if a.MBPerSecond < b.MBPerSecond {
			return -1
		}
		return 1
	}).MBPerSecond
	line := make([]rune, len(points))
	for i, p := range points {
		line[i] = heights[min(int(p.MBPerSecond/top*float64(len(heights))), len(heights)-1)]
	}
	return string(line)
}
