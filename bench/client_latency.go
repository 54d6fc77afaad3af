package bench

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// endToEndWarmup rounds come before the measured ones.
const endToEndWarmup = 200

// measureEndToEnd is the closed loop of Kafka's end-to-end tool: send one
// record, wait until the consumer has it, send the next. It shows the best
// latency of an idle broker; it cannot show what a burst or a stall does.
func (r *clientRun) measureEndToEnd(ctx context.Context) (Run, runRecorders, error) {
	var counter batchCounter
	r.config.LingerMs = 0
	producer, err := r.newProducer(&counter)
	if err != nil {
		return Run{}, runRecorders{}, err
	}
	defer producer.Close()
	consumer, err := r.newConsumer(nil, kgo.NewOffset().AtStart())
	if err != nil {
		return Run{}, runRecorders{}, err
	}
	defer consumer.Close()
	round := func(i int64) (time.Duration, error) {
		value := bytes.Repeat([]byte{byte('A' + i%26)}, r.row.ValueBytes)
		start := time.Now()
		if err := producer.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
			return 0, fmt.Errorf("record %d was not acknowledged: %w", i, err)
		}
		for {
			poll, cancel := context.WithTimeout(ctx, consumeIdleTimeout)
			fetches := consumer.PollFetches(poll)
			cancel()
			latency := time.Since(start)
			if err := fetchError(fetches); err != nil {
				return 0, err
			}
			if fetches.NumRecords() == 0 {
				continue
			}
			if recs := fetches.Records(); len(recs) != 1 || !bytes.Equal(recs[0].Value, value) {
				return 0, fmt.Errorf("record %d came back as %d records or with another value", i, len(recs))
			}
			return latency, nil
		}
	}
	for i := range int64(endToEndWarmup) {
		if _, err := round(i); err != nil {
			return Run{}, runRecorders{}, fmt.Errorf("warm-up: %w", err)
		}
	}
	counter.reset()
	recorder := newTimedRecorder()
	m, err := startMeter(ctx, r.target, r.admin.copies(r.row.writtenBytes(r.config)), r.done.Load)
	if err != nil {
		return Run{}, runRecorders{}, err
	}
	for i := range r.config.EndToEndMessages {
		var latency time.Duration
		if latency, err = round(i); err != nil {
			break
		}
		recorder.RecordAt(time.Since(m.start)-latency, latency)
		r.done.Add(1)
	}
	run, meterErr := m.stop()
	run.fill(recorder.Count(), r.row.ValueBytes, &counter)
	run.VerifiedRecords = recorder.Count()
	return run, runRecorders{latency: recorder}, errors.Join(err, meterErr, recorder.Err())
}

// openLoopWarmupSeconds run at the row's rate before anything is recorded.
const openLoopWarmupSeconds = 0.5

// measureOpenLoop sends on a schedule fixed in advance and takes every latency
// from the time a record was due, to its acknowledgement and to its arrival at
// the consumer.
func (r *clientRun) measureOpenLoop(ctx context.Context) (Run, runRecorders, error) {
	if r.row.ValueBytes < 8 {
		return Run{}, runRecorders{}, errors.New("an open-loop record needs 8 bytes for its due time")
	}
	var counter batchCounter
	producer, err := r.newProducer(&counter)
	if err != nil {
		return Run{}, runRecorders{}, err
	}
	defer producer.Close()
	consumer, err := r.newConsumer(nil, kgo.NewOffset().AtStart())
	if err != nil {
		return Run{}, runRecorders{}, err
	}
	defer consumer.Close()
	rate := r.config.OpenLoopRate
	warmup := NewSchedule(rate, max(int64(rate*openLoopWarmupSeconds), 1))
	if _, err := r.runSchedule(ctx, warmup, producer, consumer, new(atomic.Int64)); err != nil {
		return Run{}, runRecorders{}, fmt.Errorf("warm-up: %w", err)
	}
	counter.reset()
	m, err := startMeter(ctx, r.target, r.admin.copies(r.row.writtenBytes(r.config)), r.done.Load)
	if err != nil {
		return Run{}, runRecorders{}, err
	}
	recorders, err := r.runSchedule(ctx, NewSchedule(rate, int64(rate*r.config.OpenLoopSeconds)), producer, consumer, r.done)
	run, meterErr := m.stop()
	if err := errors.Join(err, meterErr); err != nil {
		return run, recorders, err
	}
	run.fill(recorders.latency.Count(), r.row.ValueBytes, &counter)
	run.VerifiedRecords = recorders.latency.Count()
	run.RatePerSecond = rate
	return run, recorders, nil
}

// runSchedule sends one schedule and consumes it whole. Every record carries
// its due time in its first eight bytes.
func (r *clientRun) runSchedule(ctx context.Context, schedule Schedule, producer, consumer *kgo.Client, done *atomic.Int64) (runRecorders, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	recorders := runRecorders{latency: newTimedRecorder(), ack: newTimedRecorder()}
	clock := wallClock{start: time.Now()}
	var acked atomic.Int64
	// Promises of one client run one after the other, so the recorder has one
	// user at a time; Flush below orders their last use before its reading.
	promise := func(rec *kgo.Record, err error) {
		if err != nil {
			cancel(fmt.Errorf("a record was not acknowledged: %w", err))
			return
		}
		due := dueTime(rec.Value)
		recorders.ack.RecordAt(due, clock.Since()-due)
		acked.Add(1)
	}
	err := inParallel(2, func(i int) error {
		if i == 1 {
			return recordArrivals(ctx, consumer, schedule.Count(), clock, recorders.latency, done)
		}
		schedule.Pace(clock, func(_ int64, dueAt time.Duration) bool {
			value := make([]byte, r.row.ValueBytes)
			binary.LittleEndian.PutUint64(value, uint64(dueAt))
			producer.Produce(ctx, &kgo.Record{Value: value}, promise)
			return ctx.Err() == nil
		})
		if err := producer.Flush(ctx); err != nil {
			return context.Cause(ctx)
		}
		return nil
	})
	if err == nil && acked.Load() != schedule.Count() {
		err = fmt.Errorf("%d of %d records were acknowledged", acked.Load(), schedule.Count())
	}
	return recorders, errors.Join(err, recorders.latency.Err(), recorders.ack.Err())
}

// recordArrivals consumes n records and records the time of each from when it
// was due until the poll that returned it.
func recordArrivals(ctx context.Context, consumer *kgo.Client, n int64, clock Clock, recorder *Recorder, done *atomic.Int64) error {
	for recorder.Count() < n {
		poll, cancel := context.WithTimeout(ctx, consumeIdleTimeout)
		fetches := consumer.PollFetches(poll)
		cancel()
		now := clock.Since()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := fetchError(fetches); err != nil {
			return fmt.Errorf("after %d of %d records: %w", recorder.Count(), n, err)
		}
		before := recorder.Count()
		fetches.EachRecord(func(rec *kgo.Record) { recorder.RecordAt(dueTime(rec.Value), now-dueTime(rec.Value)) })
		if recorder.Err() != nil {
			return recorder.Err()
		}
		done.Add(recorder.Count() - before)
	}
	if recorder.Count() != n {
		return fmt.Errorf("%d records came where %d were sent", recorder.Count(), n)
	}
	return nil
}

func dueTime(value []byte) time.Duration {
	return time.Duration(binary.LittleEndian.Uint64(value))
}
