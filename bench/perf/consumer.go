package perf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ConsumerTest is a run of kafka-consumer-perf-test.
type ConsumerTest struct {
	NumRecords int64
	// Timeout is the longest wait for the next record.
	Timeout           time.Duration
	ReportingInterval time.Duration
	// Detailed prints a line an interval instead of one at the end.
	Detailed   bool
	HideHeader bool
	DateFormat DateFormat
	// Metrics, if set, is printed at the end; it must be a hook of the client.
	Metrics *Metrics
	// Joining must be the listener of the client's group.
	Joining *JoinTimer
}

// JoinTimer adds up the time in which a group member has no partitions, which
// Kafka's tool prints as rebalance time. It is safe for concurrent use.
type JoinTimer struct {
	mu        sync.Mutex
	assigned  map[string]map[int32]bool
	count     int
	joinStart time.Time
	total     time.Duration
	round     time.Duration
}

// NewJoinTimer starts counting now.
func NewJoinTimer() *JoinTimer {
	return &JoinTimer{assigned: make(map[string]map[int32]bool), joinStart: time.Now()}
}

// Options are the client options that let the timer listen.
func (j *JoinTimer) Options() []kgo.Opt {
	revoked := func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
		j.revoked(partitions, time.Now())
	}
	return []kgo.Opt{
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			j.onAssigned(partitions, time.Now())
		}),
		kgo.OnPartitionsRevoked(revoked),
		kgo.OnPartitionsLost(revoked),
	}
}

func (j *JoinTimer) onAssigned(partitions map[string][]int32, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.count == 0 {
		elapsed := now.Sub(j.joinStart)
		j.total += elapsed
		j.round += elapsed
	}
	for topic, ids := range partitions {
		if j.assigned[topic] == nil {
			j.assigned[topic] = make(map[int32]bool)
		}
		for _, id := range ids {
			if !j.assigned[topic][id] {
				j.assigned[topic][id] = true
				j.count++
			}
		}
	}
}

func (j *JoinTimer) revoked(partitions map[string][]int32, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for topic, ids := range partitions {
		for _, id := range ids {
			if j.assigned[topic][id] {
				delete(j.assigned[topic], id)
				j.count--
			}
		}
	}
	if j.count == 0 {
		j.joinStart = now
	}
}

// totalMs is the time of all rounds, takeRoundMs that since the last call.
func (j *JoinTimer) totalMs() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.total.Milliseconds()
}

func (j *JoinTimer) takeRoundMs(reset bool) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	ms := j.round.Milliseconds()
	if reset {
		j.round = 0
	}
	return ms
}

// PrintHeader prints the column names.
func (t ConsumerTest) PrintHeader(out io.Writer) {
	if t.HideHeader {
		return
	}
	first := "start.time, end.time"
	if t.Detailed {
		first = "time, threadId"
	}
	fmt.Fprintf(out, "%s, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n", first)
}

// consumed is a count of records and their bytes, keys and values.
type consumed struct{ records, bytes int64 }

// pollTimeout is how long Kafka's tool polls before it looks at the clock.
const pollTimeout = 100 * time.Millisecond

// Run consumes until there were enough records or none came for the timeout,
// and prints Kafka's lines to out. The header is PrintHeader's.
func (t ConsumerTest) Run(ctx context.Context, client *kgo.Client, out io.Writer) error {
	start := time.Now()
	total, err := t.consume(ctx, client, out)
	if err != nil {
		return err
	}
	if total.records < t.NumRecords {
		fmt.Fprintf(out, "WARNING: Exiting before consuming the expected number of records: timeout (%d ms) exceeded. "+
			"You can use the --timeout option to increase the timeout.\n", t.Timeout.Milliseconds())
	}
	if !t.Detailed {
		t.printTotal(out, start, time.Now(), total)
	}
	if t.Metrics != nil {
		t.Metrics.print(out)
	}
	return nil
}

func (t ConsumerTest) consume(ctx context.Context, client *kgo.Client, out io.Writer) (consumed, error) {
	var total, last consumed
	now := time.Now()
	lastReport, lastConsumed := now, now
	for total.records < t.NumRecords && now.Sub(lastConsumed) <= t.Timeout {
		poll, cancel := context.WithTimeout(ctx, pollTimeout)
		fetches := client.PollFetches(poll)
		cancel()
		if err := ctx.Err(); err != nil {
			return total, err
		}
		if err := pollError(fetches); err != nil {
			return total, err
		}
		now = time.Now()
		if !fetches.Empty() {
			lastConsumed = now
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			total.records++
			total.bytes += int64(len(rec.Key) + len(rec.Value))
			if now.Sub(lastReport) < t.ReportingInterval {
				return
			}
			round := t.Joining.takeRoundMs(true)
			if t.Detailed {
				t.printInterval(out, lastReport, now, last, total, round)
			}
			lastReport, last = now, total
		})
	}
	return total, nil
}

// pollError is the first error of a poll that waiting does not mend.
func pollError(fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			return e.Err
		}
	}
	return nil
}

func (t ConsumerTest) printTotal(out io.Writer, start, end time.Time, total consumed) {
	elapsedMs := end.Sub(start).Milliseconds()
	joinMs := t.Joining.totalMs()
	fetchMs := elapsedMs - joinMs
	mb := float64(total.bytes) / bytesPerMB
	n := float64(total.records)
	fmt.Fprintf(out, "%s, %s, %s, %s, %d, %s, %d, %d, %s, %s\n",
		t.DateFormat.Format(start), t.DateFormat.Format(end),
		javaFixed(mb, 4), javaFixed(mb/(float64(elapsedMs)/1000), 4),
		total.records, javaFixed(n/(float64(elapsedMs)/1000), 4),
		joinMs, fetchMs,
		javaFixed(mb/(float64(fetchMs)/1000), 4), javaFixed(n/(float64(fetchMs)/1000), 4))
}

func (t ConsumerTest) printInterval(out io.Writer, start, end time.Time, before, now consumed, joinMs int64) {
	elapsedMs := float64(end.Sub(start).Milliseconds())
	fetchMs := end.Sub(start).Milliseconds() - joinMs
	mb := float64(now.bytes-before.bytes) / bytesPerMB
	n := float64(now.records - before.records)
	mbPerFetch, recordsPerFetch := 0.0, 0.0
	if fetchMs > 0 {
		mbPerFetch, recordsPerFetch = 1000*mb/float64(fetchMs), 1000*n/float64(fetchMs)
	}
	fmt.Fprintf(out, "%s, %d, %s, %s, %d, %s, %d, %d, %s, %s\n",
		t.DateFormat.Format(end), 0, javaFixed(float64(now.bytes)/bytesPerMB, 4), javaFixed(1000*mb/elapsedMs, 4),
		now.records, javaFixed(n/elapsedMs*1000, 4),
		joinMs, fetchMs, javaFixed(mbPerFetch, 4), javaFixed(recordsPerFetch, 4))
}
