package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClientConfig are the settings of the client mode; the names are those of
// Kafka's producer.
type ClientConfig struct {
	// Records is how many each producer sends and each consumer reads.
	Records int64 `json:"records"`
	// BatchSize is batch.size in bytes; LinkedIn's 8196 is the default.
	BatchSize int32 `json:"batch_size"`
	// BufferMemory is buffer.memory in bytes.
	BufferMemory int `json:"buffer_memory"`
	// Acks is 0, 1 or -1 (all).
	Acks int16 `json:"acks"`
	// LingerMs is linger.ms.
	LingerMs int `json:"linger_ms"`
	// EndToEndMessages is the length of the closed-loop latency row.
	EndToEndMessages int64 `json:"end_to_end_messages"`
	// OpenLoopRate is in records a second, OpenLoopSeconds how long.
	OpenLoopRate    float64 `json:"open_loop_rate"`
	OpenLoopSeconds float64 `json:"open_loop_seconds"`
}

const (
	maxInFlight        = 5 // max.in.flight.requests.per.connection
	clientWarmup       = 20_000
	recordChunk        = 1_000
	consumeIdleTimeout = 30 * time.Second
	fetchPartitionMax  = 1 << 20 // max.partition.fetch.bytes, the perf tools' --fetch-size
	setupBatchBytes    = 8196
)

// clientRun is one run of one client row against one target.
type clientRun struct {
	row    ClientRow
	config ClientConfig
	target *target
	admin  *admin
	topic  string
	// done counts records for the progress display.
	done *atomic.Int64
}

// runRecorders are a client run's histograms; nil ones were not taken.
type runRecorders struct{ latency, ack *Recorder }

// expectedRecords is what done reaches at the end of a run.
func (row ClientRow) expectedRecords(c ClientConfig) int64 {
	switch row.Kind {
	case ClientEndToEnd:
		return c.EndToEndMessages
	case ClientOpenLoop:
		return int64(c.OpenLoopRate * c.OpenLoopSeconds)
	}
	return c.Records * int64(row.Producers+row.Consumers)
}

// writtenBytes is about what a run adds to the log.
func (row ClientRow) writtenBytes(c ClientConfig) int64 {
	const recordOverhead = 12
	records := c.Records * int64(max(row.Producers, 1))
	switch row.Kind {
	case ClientEndToEnd:
		records = c.EndToEndMessages
	case ClientOpenLoop:
		records = int64(c.OpenLoopRate * c.OpenLoopSeconds)
	}
	return records * int64(row.ValueBytes+recordOverhead)
}

// measure makes the topic, runs the row and deletes the topic.
func (r *clientRun) measure(ctx context.Context) (Run, runRecorders, error) {
	if _, err := r.admin.createTopic(ctx, r.topic, r.row.Partitions); err != nil {
		return Run{}, runRecorders{}, err
	}
	var run Run
	var recorders runRecorders
	var err error
	switch r.row.Kind {
	case ClientProduce:
		run, err = r.measureProduce(ctx)
	case ClientConsume:
		run, err = r.measureConsume(ctx)
	case ClientProduceConsume:
		run, err = r.measureProduceConsume(ctx)
	case ClientEndToEnd:
		run, recorders, err = r.measureEndToEnd(ctx)
	case ClientOpenLoop:
		run, recorders, err = r.measureOpenLoop(ctx)
	default:
		panic("BUG: unknown client row kind " + string(r.row.Kind))
	}
	return run, recorders, errors.Join(err, r.admin.deleteTopic(context.WithoutCancel(ctx), r.topic))
}

// batchCounter counts the batches a client wrote or read.
type batchCounter struct {
	batches, records, bytes atomic.Int64
}

// batchHeaderBytes is a v2 batch's header, which franz-go's metrics leave out.
const batchHeaderBytes = 61

func (c *batchCounter) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	c.add(m.NumRecords, m.CompressedBytes)
}

func (c *batchCounter) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	c.add(m.NumRecords, m.CompressedBytes)
}

func (c *batchCounter) add(records, bytes int) {
	c.batches.Add(1)
	c.records.Add(int64(records))
	c.bytes.Add(int64(bytes) + batchHeaderBytes)
}

func (c *batchCounter) reset() {
	c.batches.Store(0)
	c.records.Store(0)
	c.bytes.Store(0)
}

// newClient makes a client of the brokers in servers, which learns of new
// leaders within 10 ms.
func newClient(servers string, opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(servers, ",")...),
		kgo.ClientID(clientID),
		kgo.MetadataMinAge(10 * time.Millisecond),
	}, opts...)...)
}

// newProducer makes a client with the row's settings.
func (r *clientRun) newProducer(counter *batchCounter, more ...kgo.Opt) (*kgo.Client, error) {
	acks := kgo.LeaderAck()
	switch r.config.Acks {
	case 0:
		acks = kgo.NoAck()
	case -1:
		acks = kgo.AllISRAcks()
	}
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(r.topic),
		kgo.RequiredAcks(acks),
		kgo.DisableIdempotentWrite(),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(r.config.BatchSize),
		// Another partition after each batch, as Kafka's own producer does (KIP-794).
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(int(r.config.BatchSize), true, true, nil)),
		kgo.MaxBufferedBytes(r.config.BufferMemory),
		kgo.MaxBufferedRecords(max(r.config.BufferMemory/max(r.row.ValueBytes, 1), 1)),
		kgo.MaxProduceRequestsInflightPerBroker(maxInFlight),
		kgo.ProducerLinger(time.Duration(r.config.LingerMs) * time.Millisecond),
		kgo.RecordRetries(0), // a retry would hide an error and could write twice
	}
	if counter != nil {
		opts = append(opts, kgo.WithHooks(counter))
	}
	return newClient(r.target.addr, append(opts, more...)...)
}

// newConsumer makes a client that reads every partition from the given offset,
// without a group: no rebalance is part of the figures.
func (r *clientRun) newConsumer(counter *batchCounter, from kgo.Offset) (*kgo.Client, error) {
	partitions := make(map[int32]kgo.Offset)
	for i := range r.row.Partitions {
		partitions[int32(i)] = from
	}
	opts := []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: partitions}),
		kgo.FetchMaxPartitionBytes(fetchPartitionMax),
	}
	if counter != nil {
		opts = append(opts, kgo.WithHooks(counter))
	}
	return newClient(r.target.addr, opts...)
}

// tally is what went through a producer or consumer.
type tally struct {
	records  int64
	checksum uint64
}

func (t *tally) add(other tally) {
	t.records += other.records
	t.checksum += other.checksum
}

// produceRecords sends n records of valueBytes, each starting with its number
// counted from first, and waits for every acknowledgement. It returns what was
// acknowledged.
func produceRecords(ctx context.Context, cl *kgo.Client, first, n int64, valueBytes int, done *atomic.Int64) (tally, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var records atomic.Int64
	var checksum atomic.Uint64
	promise := func(rec *kgo.Record, err error) {
		if err != nil {
			cancel(fmt.Errorf("a record was not acknowledged: %w", err))
			return
		}
		records.Add(1)
		checksum.Add(valueChecksum(rec.Value))
	}
	letters := rand.New(rand.NewPCG(1, uint64(first)))
	pattern := make([]byte, valueBytes)
	for i := range pattern {
		pattern[i] = byte('A' + letters.IntN(26))
	}
	for sent := int64(0); sent < n && ctx.Err() == nil; {
		chunk := min(recordChunk, n-sent)
		batch := make([]kgo.Record, chunk)
		values := make([]byte, chunk*int64(valueBytes))
		for i := range batch {
			value := values[i*valueBytes : (i+1)*valueBytes : (i+1)*valueBytes]
			copy(value, pattern)
			if valueBytes >= 8 {
				binary.LittleEndian.PutUint64(value, uint64(first+sent+int64(i)))
			}
			batch[i].Value = value
			cl.Produce(ctx, &batch[i], promise)
		}
		sent += chunk
		done.Add(chunk)
	}
	err := cl.Flush(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	got := tally{records: records.Load(), checksum: checksum.Load()}
	if err == nil && got.records != n {
		err = fmt.Errorf("%d of %d records were acknowledged", got.records, n)
	}
	return got, err
}

// consumeRecords polls until n records have come and sums them up.
func consumeRecords(ctx context.Context, cl *kgo.Client, n int64, done *atomic.Int64) (tally, error) {
	var got tally
	for got.records < n {
		poll, cancel := context.WithTimeout(ctx, consumeIdleTimeout)
		fetches := cl.PollFetches(poll)
		cancel()
		if err := fetchError(fetches); err != nil {
			return got, fmt.Errorf("after %d of %d records: %w", got.records, n, err)
		}
		before := got.records
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, rec := range p.Records {
				got.checksum += valueChecksum(rec.Value)
			}
			got.records += int64(len(p.Records))
		})
		done.Add(got.records - before)
	}
	if got.records != n {
		return got, fmt.Errorf("%d records came where %d were written", got.records, n)
	}
	return got, nil
}

// fetchError is the first error of a poll.
func fetchError(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) {
			return fmt.Errorf("nothing came for %s", consumeIdleTimeout)
		}
		return fmt.Errorf("cannot fetch from partition %d: %w", e.Partition, e.Err)
	}
	return nil
}
