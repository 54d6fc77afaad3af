package omb

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Options are one workload on one driver.
type Options struct {
	Driver   Driver
	Workload Workload
	// NewClient makes the clients.
	NewClient NewClient
	// Warmup and Test stand in for the workload's minutes if they are above 0.
	Warmup, Test time.Duration
	// Period is how often figures are taken; 0 is the benchmark's ten seconds.
	Period time.Duration
	// Out gets the benchmark's lines of progress, Warnings what went wrong.
	Out, Warnings io.Writer
}

// Counts are the messages of a whole run, probe and warm-up included.
type Counts struct {
	// Sent were acknowledged, Failed were not, Received were consumed; with
	// several subscriptions each message is received as often.
	Sent, Failed, Received int64
}

const (
	defaultPeriod   = 10 * time.Second
	topicPrefix     = "test-topic"
	topicsAtOnce    = 500
	readyTimeout    = time.Minute
	createTimeout   = 2 * time.Minute
	drainTimeout    = 30 * time.Second
	backlogPoll     = 100 * time.Millisecond
	smallestBacklog = 1_000 // messages that count as none
)

// run is one run's state.
type run struct {
	opts    Options
	random  *rand.ChaCha8
	started time.Time
	stats   *stats
	gate    *gate
	pacer   pacerBox

	admin         *kgo.Client
	producers     []producer
	consumers     []*consumer
	sending       sync.WaitGroup // the workers
	consuming     sync.WaitGroup
	stopConsumers context.CancelFunc
	failures      atomic.Int64
	warnMu        sync.Mutex
}

// Run goes through the benchmark's steps and returns its result. The topics
// are deleted afterwards.
func Run(ctx context.Context, opts Options) (*Result, Counts, error) {
	if err := opts.Workload.validate(); err != nil {
		return nil, Counts{}, err
	}
	if opts.Period <= 0 {
		opts.Period = defaultPeriod
	}
	var seed [32]byte
	crand.Read(seed[:])
	consuming, stop := context.WithCancel(ctx)
	r := &run{opts: opts, random: rand.NewChaCha8(seed), started: time.Now(), stats: newStats(), gate: newGate(), stopConsumers: stop}
	defer r.closeClients()
	topics, err := r.createTopics(ctx)
	if err == nil {
		defer r.deleteTopics(context.WithoutCancel(ctx), topics)
		err = r.createClients(consuming, topics)
	}
	if err == nil {
		err = r.awaitReady(ctx)
	}
	if err != nil {
		return nil, Counts{}, err
	}
	result, err := r.load(ctx)
	counts := Counts{Sent: r.stats.totalSent.Load(), Failed: r.stats.totalErrors.Load(), Received: r.stats.totalReceived.Load()}
	return result, counts, err
}

// pick is a random payload's index. rand/v2's own source is safe for all
// workers together.
func (r *run) pick(n int) int { return rand.IntN(n) }

func (r *run) say(format string, args ...any) {
	if r.opts.Out != nil {
		fmt.Fprintf(r.opts.Out, format+"\n", args...)
	}
}

func (r *run) warn(format string, args ...any) {
	if r.opts.Warnings == nil {
		return
	}
	r.warnMu.Lock()
	defer r.warnMu.Unlock()
	fmt.Fprintf(r.opts.Warnings, "Warning: "+format+"\n", args...)
}

// createTopics makes the topics, some hundred in a request.
func (r *run) createTopics(ctx context.Context) ([]string, error) {
	var err error
	if r.admin, err = r.opts.NewClient(RoleAdmin, r.opts.Driver.clientProps(RoleAdmin)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	configs := make(map[string]*string)
	for name, value := range r.opts.Driver.Topic {
		configs[name] = kmsg.StringPtr(value)
	}
	w := &r.opts.Workload
	topics := make([]string, w.Topics)
	for i := range topics {
		topics[i] = fmt.Sprintf("%s-%07d-%s", topicPrefix, i, randomName(r.random))
	}
	begin := time.Now()
	admin := kadm.NewClient(r.admin)
	for at := 0; at < len(topics); at += topicsAtOnce {
		some := topics[at:min(at+topicsAtOnce, len(topics))]
		responses, err := admin.CreateTopics(ctx, int32(w.PartitionsPerTopic), max(r.opts.Driver.ReplicationFactor, 1), configs, some...)
		if err != nil {
			return nil, fmt.Errorf("cannot create topics: %w", err)
		}
		for _, response := range responses {
			if response.Err != nil && !errors.Is(response.Err, kerr.TopicAlreadyExists) {
				return nil, fmt.Errorf("cannot create topic %s with %d partitions and replicationFactor %d: %w (%s)",
					response.Topic, w.PartitionsPerTopic, r.opts.Driver.ReplicationFactor, response.Err, response.ErrMessage)
			}
		}
	}
	r.say("Created %d topics in %d ms", len(topics), time.Since(begin).Milliseconds())
	return topics, nil
}

func (r *run) deleteTopics(ctx context.Context, topics []string) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	client, err := r.opts.NewClient(RoleAdmin, r.opts.Driver.clientProps(RoleAdmin))
	if err == nil {
		defer client.Close()
		_, err = kadm.NewClient(client).DeleteTopics(ctx, topics...)
	}
	if err != nil {
		r.warn("the topics %s-* were not deleted: %v", topicPrefix, err)
	}
}

// createClients makes the consumers, which start at once, and the producers.
func (r *run) createClients(consuming context.Context, topics []string) error {
	w := &r.opts.Workload
	begin := time.Now()
	for _, topic := range topics {
		for i := range w.SubscriptionsPerTopic {
			group := fmt.Sprintf("sub-%03d-%s", i, randomName(r.random))
			for range w.ConsumerPerSubscription {
				c, err := r.newConsumer(topic, group)
				if err != nil {
					return err
				}
				r.consumers = append(r.consumers, c)
				r.consuming.Go(func() { r.consume(consuming, c) })
			}
		}
	}
	r.say("Created %d consumers in %d ms", len(r.consumers), time.Since(begin).Milliseconds())
	begin = time.Now()
	for range w.ProducersPerTopic {
		for _, topic := range topics {
			client, err := r.newProducer()
			if err != nil {
				return err
			}
			r.producers = append(r.producers, producer{client, topic})
		}
	}
	rand.Shuffle(len(r.producers), func(i, j int) { r.producers[i], r.producers[j] = r.producers[j], r.producers[i] })
	r.say("Created %d producers in %d ms", len(r.producers), time.Since(begin).Milliseconds())
	return nil
}

// subscriptions is how often each message is consumed.
func (r *run) subscriptions() int64 {
	if r.opts.Workload.ConsumerPerSubscription == 0 {
		return 0
	}
	return int64(r.opts.Workload.SubscriptionsPerTopic)
}

// backlog is how many messages the consumers have still to get.
func (r *run) backlog() int64 {
	return r.subscriptions()*r.stats.totalSent.Load() - r.stats.totalReceived.Load()
}

// await polls until done says so, ctx ends or the time is over.
func await(ctx context.Context, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	poll := time.NewTicker(backlogPoll)
	defer poll.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// awaitReady probes every topic and waits until each subscription has had its
// message.
func (r *run) awaitReady(ctx context.Context) error {
	r.say("Waiting for consumers to be ready")
	r.probe(ctx)
	probes := int64(len(r.producers))
	err := await(ctx, readyTimeout, func() bool {
		return r.failures.Load() > 0 || r.stats.totalSent.Load() == probes && r.stats.totalReceived.Load() >= probes*r.subscriptions()
	})
	switch {
	case r.failures.Load() > 0:
		return errors.New("the probe of the topics was not acknowledged; see the warning above")
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("timed out waiting for consumers to be ready: %d probes sent, %d received after %s; with auto.offset.reset=latest they may have come too early",
			r.stats.totalSent.Load(), r.stats.totalReceived.Load(), readyTimeout)
	}
	r.say("All consumers are ready")
	return nil
}

// load runs warm-up and test, then drains what is left.
func (r *run) load(ctx context.Context) (*Result, error) {
	w := &r.opts.Workload
	payloads, err := w.payloads(r.random)
	if err != nil {
		return nil, err
	}
	rate := float64(w.ProducerRate)
	if w.ProducerRate == 0 {
		rate = firstRate
	}
	r.pacer.Store(newPacer(time.Now(), rate))
	sending, stopSending := context.WithCancel(ctx)
	defer stopSending()
	var background sync.WaitGroup
	defer background.Wait()
	aside, stopAside := context.WithCancel(ctx)
	defer stopAside()
	if w.ProducerRate == 0 {
		background.Go(func() { r.findRate(aside, rate) })
	}
	r.startLoad(sending, payloads, newKeys(r.random))
	warmup, test := w.durations()
	if r.opts.Warmup > 0 {
		warmup = r.opts.Warmup
	}
	if r.opts.Test > 0 {
		test = r.opts.Test
	}
	if warmup > 0 {
		r.say("----- Starting warm-up traffic (%s) ------", warmup)
		if _, err := r.measure(ctx, warmup, nil); err != nil {
			return nil, errors.Join(err, r.stopSending(stopSending))
		}
	}
	var drained chan struct{}
	if w.ConsumerBacklogSizeGB > 0 {
		drained = make(chan struct{})
		background.Go(func() { r.buildAndDrain(aside, test, drained) })
	}
	r.stats.resetLatencies()
	r.say("----- Starting benchmark traffic (%s) ------", test)
	result, err := r.measure(ctx, test, drained)
	stopAside()
	r.gate.reopen()
	if err := errors.Join(err, r.stopSending(stopSending)); err != nil {
		return nil, err
	}
	if err := await(ctx, drainTimeout, func() bool { return r.backlog() <= 0 }); err != nil {
		r.warn("%d messages had not been consumed %s after the end", r.backlog(), drainTimeout)
	}
	return result, ctx.Err()
}

// findRate adjusts the rate every few seconds until ctx ends.
func (r *run) findRate(ctx context.Context, rate float64) {
	controller := newRateController()
	controller.published, controller.passed = r.stats.totalSent.Load(), r.stats.totalReceived.Load()
	tick := time.NewTicker(controlPeriod)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		received := r.stats.totalReceived.Load()
		if r.subscriptions() == 0 {
			received = r.stats.totalSent.Load() // nothing to keep up with
		}
		rate = max(controller.next(rate, now.Sub(last), r.stats.totalSent.Load(), received), 1)
		last = now
		r.pacer.Store(newPacer(now, rate))
	}
}

// buildAndDrain holds the consumers back until the backlog is as large as
// asked, lets them drain it, goes on for the test's own duration and then
// closes done.
func (r *run) buildAndDrain(ctx context.Context, test time.Duration, done chan<- struct{}) {
	w := &r.opts.Workload
	r.say("Stopping all consumers to build backlog")
	r.gate.shut()
	begin := time.Now()
	const noLimit = 1000 * time.Hour
	wanted := w.ConsumerBacklogSizeGB << 30 / int64(w.MessageSize)
	if await(ctx, noLimit, func() bool { return r.backlog() >= wanted }) != nil {
		return
	}
	r.say("--- Completed backlog build in %.0f s ---", time.Since(begin).Seconds())
	begin = time.Now()
	r.say("--- Start draining backlog ---")
	r.gate.reopen()
	empty := max(smallestBacklog, int64((1-w.BacklogDrainRatio)*float64(wanted)))
	if await(ctx, noLimit, func() bool { return r.backlog() <= empty }) != nil {
		return
	}
	r.say("--- Completed backlog draining in %.0f s ---", time.Since(begin).Seconds())
	rest := time.NewTimer(test)
	defer rest.Stop()
	select {
	case <-rest.C:
		close(done)
	case <-ctx.Done():
	}
}

// measure takes figures every period until the time is over and, if there is a
// backlog to drain, until that is done too. A duration of 0 is without end.
func (r *run) measure(ctx context.Context, duration time.Duration, drained <-chan struct{}) (*Result, error) {
	result := newResult(&r.opts.Workload, r.opts.Driver.Name)
	tick := time.NewTimer(0)
	defer tick.Stop()
	<-tick.C
	begin := time.Now()
	last := begin
	for {
		period := r.opts.Period
		if left := duration - last.Sub(begin); left > 0 {
			period = min(period, left)
		}
		tick.Reset(period)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		p := r.stats.takePeriod()
		now := time.Now()
		result.addPeriod(p, now.Sub(last).Seconds(), int(r.subscriptions()))
		r.sayPeriod(p, now.Sub(last).Seconds())
		last = now
		if duration == 0 || now.Sub(begin) < duration || !isDone(drained) {
			continue
		}
		all := r.stats.takeCumulative()
		result.aggregate(all)
		r.sayAggregate(all)
		return result, nil
	}
}

// isDone reports whether there is nothing to wait for.
func isDone(c <-chan struct{}) bool {
	if c == nil {
		return true
	}
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// sayPeriod prints the benchmark's line.
func (r *run) sayPeriod(p periodStats, seconds float64) {
	const mb = 1 << 20
	ms := func(us int64) float64 { return float64(us) / 1e3 }
	r.say("Pub rate %.1f msg/s / %.1f MB/s | Pub err %.1f err/s | Cons rate %.1f msg/s / %.1f MB/s | Backlog: %.1f K | "+
		"Pub Latency (ms) avg: %.1f - 50%%: %.1f - 99%%: %.1f - 99.9%%: %.1f - Max: %.1f | "+
		"Pub Delay Latency (us) avg: %.1f - 50%%: %d - 99%%: %d - 99.9%%: %d - Max: %d",
		float64(p.sent)/seconds, float64(p.sentBytes)/mb/seconds, float64(p.errors)/seconds,
		float64(p.received)/seconds, float64(p.receivedBytes)/mb/seconds, float64(max(r.subscriptions()*p.totalSent-p.totalReceived, 0))/1e3,
		p.publish.Mean()/1e3, ms(p.publish.ValueAtQuantile(50)), ms(p.publish.ValueAtQuantile(99)), ms(p.publish.ValueAtQuantile(99.9)), ms(p.publish.Max()),
		p.publishDelay.Mean(), p.publishDelay.ValueAtQuantile(50), p.publishDelay.ValueAtQuantile(99), p.publishDelay.ValueAtQuantile(99.9), p.publishDelay.Max())
}

func (r *run) sayAggregate(all latencies) {
	ms := func(us int64) float64 { return float64(us) / 1e3 }
	h, d := all.publish, all.publishDelay
	r.say("----- Aggregated Pub Latency (ms) avg: %.1f - 50%%: %.1f - 95%%: %.1f - 99%%: %.1f - 99.9%%: %.1f - 99.99%%: %.1f - Max: %.1f | "+
		"Pub Delay (us)  avg: %.1f - 50%%: %d - 95%%: %d - 99%%: %d - 99.9%%: %d - 99.99%%: %d - Max: %d",
		h.Mean()/1e3, ms(h.ValueAtQuantile(50)), ms(h.ValueAtQuantile(95)), ms(h.ValueAtQuantile(99)), ms(h.ValueAtQuantile(99.9)), ms(h.ValueAtQuantile(99.99)), ms(h.Max()),
		d.Mean(), d.ValueAtQuantile(50), d.ValueAtQuantile(95), d.ValueAtQuantile(99), d.ValueAtQuantile(99.9), d.ValueAtQuantile(99.99), d.Max())
}
