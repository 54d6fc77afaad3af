package bench

// SaturateKind says what a saturate row's connections do.
type SaturateKind string

const (
	// ProduceStream keeps Window produce requests in flight on each connection.
	ProduceStream SaturateKind = "produce"
	// ProduceRoundTrip has one produce request in flight and measures its time.
	ProduceRoundTrip SaturateKind = "round-trip"
	// FetchStream reads again what a set-up phase wrote, from the page cache.
	FetchStream SaturateKind = "fetch"
)

// SaturateRow is one row of the saturate mode, as data. Sizes are bytes.
type SaturateRow struct {
	Name        string
	Title       string
	Kind        SaturateKind
	Connections int
	Partitions  int
	// Window is the number of requests in flight on a connection.
	Window int
	// ValueBytes is a record's value size; batches hold as many as fit into
	// BatchBytes, or MaxRecords if that is set.
	ValueBytes, BatchBytes, MaxRecords int
	// TotalBytes is the batch bytes of one measured run at scale 1; rows of one
	// record a request count Requests instead.
	TotalBytes int64
	Requests   int64
	// FetchBytes is the size of one fetch.
	FetchBytes int
	// Judge is what the ratio to the floor compares, MaxRatio the target.
	Judge    Judge
	MaxRatio float64
}

// Judge names the figure by which a row is compared to the floor.
type Judge string

const (
	JudgeCPUPerGB      Judge = "cpu-per-gb"      // broker CPU seconds for 10^9 batch bytes
	JudgeCPUPerRequest Judge = "cpu-per-request" // broker CPU microseconds a request
	JudgeRoundTrip     Judge = "round-trip-p50"  // microseconds
)

// SaturateRows are the rows of the saturate mode with the project's targets:
// broker over floor, at most.
func SaturateRows() []SaturateRow {
	return []SaturateRow{
		{Name: "produce-64k", Title: "produce, 64 KiB batches", Kind: ProduceStream,
			Connections: 3, Partitions: 6, Window: 5, ValueBytes: 100, BatchBytes: 64 << 10,
			TotalBytes: 1 << 30, Judge: JudgeCPUPerGB, MaxRatio: 1.0},
		{Name: "produce-16k", Title: "produce, 16 KiB batches", Kind: ProduceStream,
			Connections: 3, Partitions: 6, Window: 5, ValueBytes: 100, BatchBytes: 16 << 10,
			TotalBytes: 512 << 20, Judge: JudgeCPUPerGB, MaxRatio: 0.9},
		{Name: "produce-8k-1conn", Title: "produce, 8 KiB, one connection", Kind: ProduceStream,
			Connections: 1, Partitions: 6, Window: 5, ValueBytes: 100, BatchBytes: 8 << 10,
			TotalBytes: 192 << 20, Judge: JudgeCPUPerGB, MaxRatio: 1.0},
		{Name: "one-record", Title: "one-record requests, 6 connections", Kind: ProduceStream,
			Connections: 6, Partitions: 6, Window: 5, ValueBytes: 100, BatchBytes: 512, MaxRecords: 1,
			Requests: 80_000, Judge: JudgeCPUPerRequest, MaxRatio: 0.7},
		{Name: "round-trip", Title: "one-record round trip", Kind: ProduceRoundTrip,
			Connections: 1, Partitions: 1, Window: 1, ValueBytes: 100, BatchBytes: 512, MaxRecords: 1,
			Requests: 8_000, Judge: JudgeRoundTrip, MaxRatio: 1.1},
		{Name: "fetch-1m", Title: "fetch 1 MiB, hot", Kind: FetchStream,
			Connections: 3, Partitions: 6, Window: 1, ValueBytes: 100, BatchBytes: 64 << 10,
			TotalBytes: 2 << 30, FetchBytes: 1 << 20, Judge: JudgeCPUPerGB, MaxRatio: 1.1},
	}
}

// fetchSetBytes is how much a fetch row writes before it reads it again and
// again.
const fetchSetBytes = 192 << 20

// ClientKind says what a client row's clients do.
type ClientKind string

const (
	ClientProduce        ClientKind = "produce"
	ClientConsume        ClientKind = "consume"
	ClientProduceConsume ClientKind = "produce-consume"
	ClientEndToEnd       ClientKind = "end-to-end"
	ClientOpenLoop       ClientKind = "open-loop"
)

// ClientRow is one row of the client mode, as data. The defaults are those of
// LinkedIn's benchmark of 2014.
type ClientRow struct {
	Name       string
	Title      string
	Kind       ClientKind
	Producers  int
	Consumers  int
	Partitions int
	ValueBytes int
	// LinkedInRecordsPerSecond is the published figure, 0 if there is none.
	LinkedInRecordsPerSecond float64
}

// ClientRows are LinkedIn's rows that need one broker, and an open-loop row.
func ClientRows() []ClientRow {
	return []ClientRow{
		{Name: "producer-1", Title: "one producer", Kind: ClientProduce,
			Producers: 1, Partitions: 6, ValueBytes: 100, LinkedInRecordsPerSecond: 821_557},
		{Name: "producer-3", Title: "three producers", Kind: ClientProduce,
			Producers: 3, Partitions: 6, ValueBytes: 100, LinkedInRecordsPerSecond: 2_024_032},
		{Name: "consumer-1", Title: "one consumer", Kind: ClientConsume,
			Consumers: 1, Partitions: 6, ValueBytes: 100, LinkedInRecordsPerSecond: 940_521},
		{Name: "consumer-3", Title: "three consumers", Kind: ClientConsume,
			Consumers: 3, Partitions: 6, ValueBytes: 100, LinkedInRecordsPerSecond: 2_615_968},
		{Name: "producer-consumer", Title: "producer and consumer", Kind: ClientProduceConsume,
			Producers: 1, Consumers: 1, Partitions: 6, ValueBytes: 100, LinkedInRecordsPerSecond: 795_064},
		{Name: "end-to-end", Title: "end to end, closed loop", Kind: ClientEndToEnd,
			Producers: 1, Consumers: 1, Partitions: 1, ValueBytes: 100},
		{Name: "open-loop", Title: "end to end, open loop", Kind: ClientOpenLoop,
			Producers: 1, Consumers: 1, Partitions: 6, ValueBytes: 100},
	}
}
