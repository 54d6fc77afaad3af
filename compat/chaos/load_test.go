//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/compat/history"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

const (
	// What each producer sends in one pace interval: 400 records a second.
	paceRecords    = 4
	paceIntervalMs = 10
	finishTimeout  = 90 * time.Second
)

// load is the clients at work and what they saw.
type load struct {
	cluster  *cluster
	history  history.History
	timeline Timeline
	stop     chan struct{} // closed when no further writes are to begin
	writers  sync.WaitGroup

	mu       sync.Mutex
	problems []string                  // what a client reported that must not happen
	reads    map[string][]history.Read // by group, or "tail"

	producers []*kgo.Client
	readers   []reader
	drivers   []*driver
	refused   atomic.Int64 // writes that were refused for good
}

// reader is a running consumer.
type reader struct {
	group  string
	cancel context.CancelFunc
	done   chan struct{}
}

// nowNs is the machine's monotonic clock, which the clients in other processes read too.
func nowNs() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("FATAL: cannot read the monotonic clock: " + err.Error())
	}
	return ts.Nano()
}

func (l *load) problem(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.problems) < 50 {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

// chaosValue is the payload of a write: its identity and a filler that follows from it, so that a changed
// byte is noticed. Clients in other languages write the same.
func chaosValue(id history.ID) []byte {
	filler := strings.Repeat(string(rune('a'+id.Counter%26)), int(id.Counter*31%200))
	return fmt.Appendf(nil, "%d:%d:%s", id.Producer, id.Counter, filler)
}

// chaosID reads the identity back, and checks the whole payload.
func chaosID(value []byte) (history.ID, bool) {
	parts := strings.SplitN(string(value), ":", 3)
	if len(parts) != 3 {
		return history.ID{}, false
	}
	producer, err1 := strconv.ParseInt(parts[0], 10, 32)
	counter, err2 := strconv.ParseInt(parts[1], 10, 64)
	id := history.ID{Producer: int32(producer), Counter: counter}
	return id, err1 == nil && err2 == nil && string(chaosValue(id)) == string(value)
}

// startFranz starts three idempotent producers, one that takes no for an answer, a group of two and a
// reader that follows the log.
func (l *load) startFranz(t *testing.T) {
	t.Helper()
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		number := l.history.AddProducer(true)
		c := l.cluster.client(t,
			kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
			kgo.MaxBufferedRecords(20_000), kgo.UnknownTopicRetries(-1), kgo.ProduceRequestTimeout(3*time.Second),
			kgo.ProducerOnDataLossDetected(func(topic string, p int32) {
				l.problem("producer %d was told that records before its own are lost in %s-%d", number, topic, p)
			}))
		l.producers = append(l.producers, c)
		l.writers.Go(func() { l.produce(c, number) })
	}
	l.startRefused(t)
	l.startGroup(t, "franz", 2)
	l.startTail(t)
}

// produce sends numbered records until the run stops. A record is invoked before the client has it, so that
// its time of beginning is not too late, and in sending order.
func (l *load) produce(c *kgo.Client, number int32) {
	pace := time.NewTicker(paceIntervalMs * time.Millisecond)
	defer pace.Stop()
	for sent := 0; ; sent++ {
		if sent%paceRecords == 0 {
			select {
			case <-l.stop:
				return
			case <-pace.C:
			}
		}
		partition := int32(sent) % l.cluster.partitions
		id := l.history.Invoke(number, partition, nowNs())
		c.Produce(context.Background(), &kgo.Record{Partition: partition, Value: chaosValue(id)}, func(rec *kgo.Record, err error) {
			at := nowNs()
			if err != nil {
				// Unknown: it may be in the log. An idempotent client has no reason to give up: its retries are safe.
				l.problem("idempotent producer %d gave up on record %d: %v", id.Producer, id.Counter, err)
				return
			}
			l.history.OK(id, rec.Offset, at)
			l.timeline.Ack(partition, at)
		})
	}
}

// startRefused starts a producer that asks once and does not repeat itself. What it is refused for a reason
// that is known before the append must never be read.
func (l *load) startRefused(t *testing.T) {
	t.Helper()
	number := l.history.AddProducer(false)
	c := l.cluster.client(t, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.RecordRetries(0), kgo.ProduceRequestTimeout(2*time.Second), kgo.RecordDeliveryTimeout(4*time.Second),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(8<<20), kgo.BrokerMaxWriteBytes(16<<20))
	l.producers = append(l.producers, c)
	l.writers.Go(func() {
		pace := time.NewTicker(50 * time.Millisecond)
		defer pace.Stop()
		for sent := 0; ; sent++ {
			select {
			case <-l.stop:
				return
			case <-pace.C:
			}
			partition := int32(sent) % l.cluster.partitions
			id := l.history.Invoke(number, partition, nowNs())
			record := &kgo.Record{Partition: partition, Value: chaosValue(id)}
			if sent%20 == 19 {
				record.Headers = []kgo.RecordHeader{{Key: "too large", Value: make([]byte, 2<<20)}}
			}
			rec, err := c.ProduceSync(context.Background(), record).First()
			switch {
			case err == nil:
				l.history.OK(id, rec.Offset, nowNs())
			case errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
				l.history.Fail(id, nowNs())
				l.refused.Add(1)
			}
		}
	})
}

func (l *load) read(name string, r history.Read) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads[name] = append(l.reads[name], r)
}

// startGroup starts members that commit what they have read.
func (l *load) startGroup(t *testing.T, name string, members int) {
	t.Helper()
	for range members {
		c := l.cluster.client(t, kgo.ConsumerGroup("chaos-"+name), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(300*time.Millisecond),
			kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(time.Second), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())
		l.follow(name, c, func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			_ = c.CommitUncommittedOffsets(ctx) // else the records come again
			c.AllowRebalance()
		})
	}
}

// startTail starts a reader without a group.
func (l *load) startTail(t *testing.T) {
	t.Helper()
	c := l.cluster.client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(300*time.Millisecond))
	l.follow("tail", c, func(context.Context) {})
}

// follow reads until it is cancelled and calls after when it has noted what a poll brought.
func (l *load) follow(name string, c *kgo.Client, after func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	l.readers = append(l.readers, reader{group: name, cancel: cancel, done: done})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fetches := c.PollFetches(ctx)
			fetches.EachRecord(func(rec *kgo.Record) {
				id, ok := chaosID(rec.Value)
				if !ok {
					l.problem("reader %s: partition %d offset %d holds a value that nobody sent: %.60q", name, rec.Partition, rec.Offset, rec.Value)
				}
				l.read(name, history.Read{Partition: rec.Partition, Offset: rec.Offset, ID: id})
			})
			after(ctx)
		}
	}()
}

// finish ends the writers, waits until everything they hold is answered, and returns the partitions' ends.
func (l *load) finish() (map[int32]int64, error) {
	close(l.stop)
	l.writers.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), finishTimeout)
	defer cancel()
	for _, c := range l.producers {
		if err := c.Flush(ctx); err != nil {
			return nil, fmt.Errorf("a producer cannot finish after healing: %w", err)
		}
	}
	for _, d := range l.drivers {
		if err := d.finish(finishTimeout); err != nil {
			return nil, err
		}
	}
	return l.cluster.endOffsets(ctx)
}

// groups are the names of the groups that read.
func (l *load) groups() []string {
	var names []string
	for _, r := range l.readers {
		if r.group != "tail" && !slices.Contains(names, r.group) {
			names = append(names, r.group)
		}
	}
	for _, d := range l.drivers {
		if d.group != "" && !slices.Contains(names, d.group) {
			names = append(names, d.group)
		}
	}
	return names
}

// awaitGroups waits until each group has read up to the ends, and reports those that have not.
func (l *load) awaitGroups(ends map[int32]int64) {
	for _, name := range l.groups() {
		missing := ""
		if !within(finishTimeout, 100*time.Millisecond, func() bool {
			missing = l.behind(name, ends)
			return missing == ""
		}) {
			l.problem("group %s does not reach the end of the log: %s", name, missing)
		}
	}
	for _, r := range l.readers {
		r.cancel()
		<-r.done
	}
	for _, d := range l.drivers {
		d.end()
	}
}

// behind says which end a group has not read.
func (l *load) behind(name string, ends map[int32]int64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := map[int32]int64{}
	for _, r := range l.reads[name] {
		next[r.Partition] = max(next[r.Partition], r.Offset+1)
	}
	for p, end := range ends {
		if next[p] < end {
			return fmt.Sprintf("it is at offset %d of partition %d, which ends at %d", next[p], p, end)
		}
	}
	return ""
}

// groupsSawAll reports records that a group passed over.
func (l *load) groupsSawAll(full []history.Read) []string {
	var problems []string
	type place struct {
		partition int32
		offset    int64
	}
	for _, name := range l.groups() {
		seen := map[place]bool{}
		for _, r := range l.reads[name] {
			seen[place{r.Partition, r.Offset}] = true
		}
		missed, first := 0, ""
		for _, r := range full {
			if !seen[place{r.Partition, r.Offset}] {
				if missed++; missed == 1 {
					first = fmt.Sprintf("%v at partition %d offset %d", r.ID, r.Partition, r.Offset)
				}
			}
		}
		if missed > 0 {
			problems = append(problems, fmt.Sprintf("group %s passed over %d records, the first of them %s", name, missed, first))
		}
	}
	return problems
}

// readBack reads all partitions from their start to their ends.
func (l *load) readBack(t *testing.T, ends map[int32]int64) ([]history.Read, error) {
	t.Helper()
	c := l.cluster.client(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(context.Background(), 2*finishTimeout)
	defer cancel()
	left := 0
	for _, end := range ends {
		if end > 0 {
			left++
		}
	}
	var reads []history.Read
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return reads, fmt.Errorf("reading back stopped after %d records: %v", len(reads), fetches.Errors())
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			id, ok := chaosID(rec.Value)
			if !ok {
				l.problem("partition %d offset %d holds a value that nobody sent: %.60q", rec.Partition, rec.Offset, rec.Value)
			}
			reads = append(reads, history.Read{Partition: rec.Partition, Offset: rec.Offset, ID: id})
			if rec.Offset == ends[rec.Partition]-1 {
				left--
			}
		})
	}
	return reads, nil
}
