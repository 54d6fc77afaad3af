package omb

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Role is what a client is for.
type Role uint8

const (
	RoleAdmin Role = iota
	RoleProducer
	RoleConsumer
)

// NewClient makes a client from Kafka's properties and further options, which
// go above them.
type NewClient func(role Role, props map[string]string, extra ...kgo.Opt) (*kgo.Client, error)

// Kafka's defaults of properties that matter to a benchmark and that a driver
// file may leave out.
const (
	defaultBatchSize    = 16_384
	defaultBufferMemory = 33_554_432
	defaultLingerMs     = 5
	// batchOverhead is what a batch of one record has beside its value: a record
	// larger than batch.size goes alone.
	batchOverhead   = 512
	closeTimeout    = 30 * time.Second
	reportedFailure = 5 // failed sends that are told one by one
)

// numberOf reads a property that is a whole number.
func numberOf(props map[string]string, name string, otherwise int64) (int64, error) {
	text, ok := props[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("invalid value %q for client property %s: not a number", text, name)
	}
	return n, nil
}

// newProducer makes the client of one producer.
func (r *run) newProducer() (*kgo.Client, error) {
	props := r.opts.Driver.clientProps(RoleProducer)
	batchSize, err := numberOf(props, "batch.size", defaultBatchSize)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]int64{"buffer.memory": defaultBufferMemory, "linger.ms": defaultLingerMs} {
		if _, given := props[name]; !given {
			props[name] = strconv.FormatInt(value, 10)
		}
	}
	limit := max(batchSize, int64(r.opts.Workload.MessageSize)+batchOverhead)
	return r.opts.NewClient(RoleProducer, props,
		kgo.ProducerBatchMaxBytes(int32(min(limit, 1<<30))),
		// Another partition after each batch, as Kafka's own producer (KIP-794).
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(int(max(batchSize, 1)), true, true, nil)))
}

// consumer is one member of a subscription's group.
type consumer struct {
	client *kgo.Client
	// commit says to commit after each poll, which the benchmark does unless
	// the file has the client do it.
	commit bool
}

// newConsumer makes the client of one consumer of a topic.
func (r *run) newConsumer(topic, group string) (*consumer, error) {
	props := r.opts.Driver.clientProps(RoleConsumer)
	opts := []kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group)}
	switch reset := props["auto.offset.reset"]; reset {
	case "earliest":
		opts = append(opts, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	case "none":
		opts = append(opts, kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	default:
		opts = append(opts, kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	}
	for name, option := range map[string]func(time.Duration) kgo.GroupOpt{
		"session.timeout.ms": kgo.SessionTimeout, "heartbeat.interval.ms": kgo.HeartbeatInterval, "max.poll.interval.ms": kgo.RebalanceTimeout,
	} {
		ms, err := numberOf(props, name, 0)
		if err != nil {
			return nil, err
		}
		if ms > 0 {
			opts = append(opts, option(time.Duration(ms)*time.Millisecond))
		}
	}
	c := &consumer{commit: !strings.EqualFold(props["enable.auto.commit"], "true")}
	if c.commit {
		opts = append(opts, kgo.DisableAutoCommit())
	}
	var err error
	c.client, err = r.opts.NewClient(RoleConsumer, props, opts...)
	return c, err
}

// gate holds the consumers back while a backlog is built.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while they may go on
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) reopen() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
	default:
		close(g.open)
	}
}

// pass waits until the gate is open or ctx ends.
func (g *gate) pass(ctx context.Context) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
	}
}

// consume polls until ctx ends. An error of a fetch is told and tried again by
// the client.
func (r *run) consume(ctx context.Context, c *consumer) {
	for ctx.Err() == nil {
		fetches := c.client.PollFetches(ctx)
		r.gate.pass(ctx)
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil && !errors.Is(e.Err, context.Canceled) {
				r.warn("cannot fetch from %s-%d: %v", e.Topic, e.Partition, e.Err)
			}
		}
		nowMs := time.Now().UnixMilli()
		fetches.EachRecord(func(rec *kgo.Record) {
			r.stats.arrived(len(rec.Value), time.Duration(nowMs-rec.Timestamp.UnixMilli())*time.Millisecond)
		})
		if c.commit && fetches.NumRecords() > 0 {
			c.client.CommitOffsets(ctx, c.client.UncommittedOffsets(), nil)
		}
	}
}

// producer is one producer of one topic.
type producer struct {
	client *kgo.Client
	topic  string
}

// probe sends one small message from each producer, so that every consumer
// group gets its partitions.
func (r *run) probe(ctx context.Context) {
	for _, p := range r.producers {
		p.client.Produce(ctx, &kgo.Record{Topic: p.topic, Key: []byte("key"), Value: make([]byte, 10)}, func(_ *kgo.Record, err error) {
			if err != nil {
				r.fail(err)
				return
			}
			r.stats.totalSent.Add(1)
		})
	}
}

// startLoad deals the producers to as many workers as there are CPUs. Each
// worker sends one message of each of its producers in turn, when it is due.
func (r *run) startLoad(ctx context.Context, payloads [][]byte, keys [][]byte) {
	workers := min(runtime.GOMAXPROCS(0), len(r.producers))
	for w := range workers {
		var mine []producer
		for i := w; i < len(r.producers); i += workers {
			mine = append(mine, r.producers[i])
		}
		chooser := newKeyChooser(r.opts.Workload.KeyDistributor, keys, func() int64 { return int64(time.Since(r.started)) })
		r.sending.Go(func() { r.send(ctx, mine, chooser, payloads) })
	}
}

// send is one worker.
func (r *run) send(ctx context.Context, mine []producer, key keyChooser, payloads [][]byte) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	<-wait.C
	for n := 0; ctx.Err() == nil; n++ {
		p := mine[n%len(mine)]
		due := r.pacer.Load().due()
		if left := time.Until(due); left > 0 {
			wait.Reset(left)
			select {
			case <-wait.C:
			case <-ctx.Done():
				return
			}
		}
		payload := payloads[0]
		if len(payloads) > 1 {
			payload = payloads[r.pick(len(payloads))]
		}
		sent := time.Now()
		rec := &kgo.Record{Topic: p.topic, Key: key(), Value: payload}
		// Not ctx: what is sent is to be acknowledged, also at the end.
		p.client.Produce(context.WithoutCancel(ctx), rec, func(rec *kgo.Record, err error) {
			if err != nil {
				r.fail(err)
				return
			}
			r.stats.acknowledged(len(rec.Value), due, sent, time.Now())
		})
	}
}

// fail counts a failed send and tells the first few.
func (r *run) fail(err error) {
	r.stats.failed()
	if r.failures.Add(1) <= reportedFailure {
		r.warn("a message was not acknowledged: %v", err)
	}
}

// stopSending ends the workers and waits for the outstanding acknowledgements.
func (r *run) stopSending(cancel context.CancelFunc) error {
	cancel()
	r.sending.Wait()
	ctx, done := context.WithTimeout(context.Background(), closeTimeout)
	defer done()
	for _, p := range r.producers {
		if err := p.client.Flush(ctx); err != nil {
			return fmt.Errorf("messages were still unacknowledged %s after the end: %w", closeTimeout, err)
		}
	}
	return nil
}

// closeClients ends everything; consumers leave their groups.
func (r *run) closeClients() {
	r.gate.reopen()
	r.stopConsumers()
	r.consuming.Wait()
	var closing sync.WaitGroup
	for _, c := range r.consumers {
		closing.Go(c.client.Close)
	}
	for _, p := range r.producers {
		closing.Go(p.client.Close)
	}
	closing.Wait()
	if r.admin != nil {
		r.admin.Close()
	}
}

// pacerBox is the pacer in use; the rate controller puts in another.
type pacerBox = atomic.Pointer[pacer]
