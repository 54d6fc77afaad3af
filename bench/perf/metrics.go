package perf

import (
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Metrics collects what --print-metrics prints: those of Kafka's client metrics
// that franz-go has an equal of, under Kafka's names. It is a hook of the
// client and safe for concurrent use.
type Metrics struct {
	group    string // producer-metrics or consumer-fetch-manager-metrics
	clientID string

	mu           sync.Mutex
	connections  int64
	requests     int64
	responses    int64
	bytesOut     int64
	bytesIn      int64
	latency      time.Duration
	latencyMax   time.Duration
	batches      int64
	records      int64
	recordBytes  int64
	uncompressed int64
	isProducer   bool
}

// NewProducerMetrics makes an empty collection for a producer.
func NewProducerMetrics(clientID string) *Metrics {
	return &Metrics{group: "producer-metrics", clientID: clientID, isProducer: true}
}

// NewConsumerMetrics makes an empty collection for a consumer.
func NewConsumerMetrics(clientID string) *Metrics {
	return &Metrics{group: "consumer-fetch-manager-metrics", clientID: clientID}
}

var (
	_ kgo.HookBrokerConnect       = (*Metrics)(nil)
	_ kgo.HookBrokerE2E           = (*Metrics)(nil)
	_ kgo.HookProduceBatchWritten = (*Metrics)(nil)
	_ kgo.HookFetchBatchRead      = (*Metrics)(nil)
)

// OnBrokerConnect counts connections.
func (m *Metrics) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		m.mu.Lock()
		m.connections++
		m.mu.Unlock()
	}
}

// OnBrokerE2E counts requests and their times.
func (m *Metrics) OnBrokerE2E(_ kgo.BrokerMetadata, _ int16, e kgo.BrokerE2E) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
	m.bytesOut += int64(e.BytesWritten)
	m.bytesIn += int64(e.BytesRead)
	if e.Err() != nil {
		return
	}
	m.responses++
	took := e.DurationE2E()
	m.latency += took
	m.latencyMax = max(m.latencyMax, took)
}

// OnProduceBatchWritten counts what was produced.
func (m *Metrics) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, b kgo.ProduceBatchMetrics) {
	m.batch(b.NumRecords, b.CompressedBytes, b.UncompressedBytes)
}

// OnFetchBatchRead counts what was fetched.
func (m *Metrics) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, b kgo.FetchBatchMetrics) {
	m.batch(b.NumRecords, b.CompressedBytes, b.UncompressedBytes)
}

func (m *Metrics) batch(records, compressed, uncompressed int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.batches++
	m.records += int64(records)
	m.recordBytes += int64(compressed)
	m.uncompressed += int64(uncompressed)
}

// print writes the table as Kafka's ToolsUtils does: names sorted, values with
// three decimals.
func (m *Metrics) print(out io.Writer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	share := func(a, b int64) float64 {
		if b == 0 {
			return 0
		}
		return float64(a) / float64(b)
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	values := map[string]float64{
		"connection-creation-total": float64(m.connections),
		"request-total":             float64(m.requests),
		"response-total":            float64(m.responses),
		"outgoing-byte-total":       float64(m.bytesOut),
		"incoming-byte-total":       float64(m.bytesIn),
	}
	latencyAvg := share(int64(m.latency), m.responses) / float64(time.Millisecond)
	if m.isProducer {
		values["request-latency-avg"] = latencyAvg
		values["request-latency-max"] = ms(m.latencyMax)
		values["record-send-total"] = float64(m.records)
		values["batch-size-avg"] = share(m.recordBytes, m.batches)
		values["record-size-avg"] = share(m.uncompressed, m.records)
		values["compression-rate-avg"] = share(m.recordBytes, m.uncompressed)
	} else {
		values["fetch-latency-avg"] = latencyAvg
		values["fetch-latency-max"] = ms(m.latencyMax)
		values["records-consumed-total"] = float64(m.records)
		values["bytes-consumed-total"] = float64(m.recordBytes)
	}
	var names []string
	width := 0
	full := func(name string) string { return fmt.Sprintf("%s:%s:{client-id=%s}", m.group, name, m.clientID) }
	for name := range values {
		names = append(names, name)
		width = max(width, len(full(name)))
	}
	slices.Sort(names)
	fmt.Fprintf(out, "\n%-*s   %s\n", width, "Metric Name", "Value")
	for _, name := range names {
		fmt.Fprintf(out, "%-*s : %s\n", width, full(name), javaFixed(values[name], 3))
	}
}
