package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ProducerTest is a run of kafka-producer-perf-test.
type ProducerTest struct {
	Topic         string
	NumRecords    int64
	WarmupRecords int64
	// One of the three gives the values: letters of RecordSize bytes, one of
	// Payloads by chance, or the record's number.
	RecordSize int
	Payloads   [][]byte
	Monotonic  bool
	// Throughput is the wanted records a second, negative for no limit.
	Throughput float64
	// ReportingInterval is the length of a printed window.
	ReportingInterval time.Duration
	// TransactionDuration, if above 0, ends a transaction at that age; the
	// client must have a transactional id.
	TransactionDuration time.Duration
	// Metrics, if set, is printed at the end; it must be a hook of the client.
	Metrics *Metrics
}

// ReadPayloads reads a UTF-8 file of values parted by delimiter. As with
// Java's Scanner, one delimiter at the very end adds no empty value.
func ReadPayloads(out io.Writer, path, delimiter string) ([][]byte, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "Reading payloads from: %s\n", abs)
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return nil, errors.New("File does not exist or empty file provided.")
	}
	var payloads [][]byte
	for _, part := range strings.Split(strings.TrimSuffix(string(data), delimiter), delimiter) {
		payloads = append(payloads, []byte(part))
	}
	fmt.Fprintf(out, "Number of records read: %d\n", len(payloads))
	return payloads, nil
}

// producerRun is a ProducerTest at work. The stats belong to the goroutine of
// the client's promises until the last flush.
type producerRun struct {
	ProducerTest
	client *kgo.Client
	out    io.Writer
	errOut io.Writer
	random *rand.Rand
	stats  *producerStats
	steady *producerStats // nil until the warm-up is over
}

// Run sends the records and prints Kafka's lines to out. A record that fails
// is reported on errOut and not counted, as in Kafka's tool.
func (t ProducerTest) Run(ctx context.Context, client *kgo.Client, out, errOut io.Writer) error {
	r := &producerRun{ProducerTest: t, client: client, out: out, errOut: errOut,
		random: rand.New(rand.NewPCG(0, 0))}
	if t.WarmupRecords > 0 {
		fmt.Fprintf(out, "Warmup first %d records. Steady state results will print after the complete test summary.\n", t.WarmupRecords)
	}
	r.stats = newProducerStats(out, time.Now, t.NumRecords, t.ReportingInterval, false)
	if err := r.send(ctx); err != nil {
		return err
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	r.stats.printTotal()
	if r.steady != nil {
		r.steady.printTotal()
	}
	if t.Metrics != nil {
		t.Metrics.print(out)
	}
	return nil
}

// send is the loop over all records.
func (r *producerRun) send(ctx context.Context) error {
	limit := &throttler{perSecond: r.Throughput, start: time.Now()}
	var transactionStart time.Time
	inTransaction := false
	for i := int64(0); i < r.NumRecords; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.TransactionDuration > 0 && !inTransaction {
			if err := r.client.BeginTransaction(); err != nil {
				return fmt.Errorf("cannot begin a transaction: %w", err)
			}
			inTransaction, transactionStart = true, time.Now()
		}
		sendStart := time.Now()
		if r.WarmupRecords > 0 && i == r.WarmupRecords {
			r.startSteadyState()
		}
		r.produce(ctx, r.payload(i), sendStart)
		if inTransaction && sendStart.Sub(transactionStart) >= r.TransactionDuration {
			if err := r.commit(ctx); err != nil {
				return err
			}
			inTransaction = false
		}
		if limit.ahead(i, sendStart) {
			if err := rest(ctx, limit); err != nil {
				return err
			}
		}
	}
	if inTransaction {
		return r.commit(ctx)
	}
	return nil
}

// startSteadyState ends the warm-up. Records in flight still belong to it: the
// promises of the records from here on carry the new statistics with them.
func (r *producerRun) startSteadyState() {
	r.steady = newProducerStats(r.out, time.Now, r.NumRecords-r.WarmupRecords, r.ReportingInterval, true)
}

func (r *producerRun) produce(ctx context.Context, value []byte, sendStart time.Time) {
	steady := r.steady
	r.client.Produce(ctx, &kgo.Record{Topic: r.Topic, Value: value}, func(rec *kgo.Record, err error) {
		if err != nil {
			fmt.Fprintln(r.errOut, err)
			return
		}
		now := time.Now()
		latencyMs := now.Sub(sendStart).Milliseconds()
		if steady != nil {
			r.stats.quiet = true
			steady.record(latencyMs, len(rec.Value), now)
		}
		r.stats.record(latencyMs, len(rec.Value), now)
	})
}

func (r *producerRun) commit(ctx context.Context) error {
	if err := r.client.Flush(ctx); err != nil {
		return err
	}
	if err := r.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("cannot commit a transaction: %w", err)
	}
	return nil
}

// payload is the value of record i, a fresh slice: the client keeps it until
// the record is acknowledged.
func (r *producerRun) payload(i int64) []byte {
	switch {
	case len(r.Payloads) > 0:
		return r.Payloads[r.random.IntN(len(r.Payloads))]
	case r.Monotonic:
		return strconv.AppendInt(nil, i, 10)
	}
	value := make([]byte, r.RecordSize)
	for j := range value {
		value[j] = byte('A' + r.random.IntN(26))
	}
	return value
}

// rest sleeps as the throttler asks.
func rest(ctx context.Context, limit *throttler) error {
	pause := limit.pause()
	switch {
	case pause == 0:
		return nil
	case pause < 0:
		<-ctx.Done()
		return ctx.Err()
	}
	start := time.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	limit.slept(pause, time.Since(start))
	return nil
}
