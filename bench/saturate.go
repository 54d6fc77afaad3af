package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// saturateRun is one run of one row against one target.
type saturateRun struct {
	row    SaturateRow
	target *target
	admin  *admin
	topic  string
	batch  PrebuiltBatch
	acks   int16
	plans  []connPlan
	// timeAll gives every produce request's time, whatever the row.
	timeAll bool
	// progress, made if nil, holds the measured requests that no connection has
	// taken yet.
	progress *atomic.Int64
}

// requests is the number of measured requests of a row at a scale.
func (row SaturateRow) requests(scale float64, batch PrebuiltBatch) int64 {
	n := float64(row.Requests)
	switch {
	case row.Kind == FetchStream:
		n = float64(row.TotalBytes) / float64(row.FetchBytes)
	case row.Requests == 0:
		n = float64(row.TotalBytes) / float64(len(batch.Bytes))
	}
	return max(int64(n*scale), int64(row.Connections*row.Window))
}

// writtenBytes is about what a run adds to the log, warm-up included.
func (row SaturateRow) writtenBytes(scale float64, batch PrebuiltBatch) int64 {
	if row.Kind == FetchStream {
		return fetchSetBytes
	}
	n := row.requests(scale, batch)
	return (n + warmupRequests(n)) * int64(len(batch.Bytes))
}

// warmupRequests come before the measured ones and are not counted.
func warmupRequests(measured int64) int64 { return max(measured/20, 16) }

// measure makes the topic, warms up, measures, reads everything back and
// deletes the topic. The recorder is nil for rows without latencies.
func (r *saturateRun) measure(ctx context.Context, requests int64, verify bool) (Run, *Recorder, error) {
	leaders, err := r.admin.createTopic(ctx, r.topic, r.row.Partitions)
	if err != nil {
		return Run{}, nil, err
	}
	r.plans = planConnections(leaders, r.row.Connections)
	if r.progress == nil {
		r.progress = new(atomic.Int64)
	}
	var run Run
	var recorder *Recorder
	if r.row.Kind == FetchStream {
		run, recorder, err = r.measureFetch(ctx, requests)
	} else {
		run, recorder, err = r.measureProduce(ctx, requests, verify)
	}
	// The topic goes even when the run failed, or it would spoil the next.
	return run, recorder, errors.Join(err, r.admin.deleteTopic(context.WithoutCancel(ctx), r.topic))
}

// openProduceStreams connects one stream for each planned connection.
func (r *saturateRun) openProduceStreams(ctx context.Context, window int) ([]*produceStream, error) {
	var streams []*produceStream
	for _, plan := range r.plans {
		conn, err := dialRaw(ctx, plan.addr)
		if err != nil {
			closeProduceStreams(streams)
			return nil, err
		}
		conn.limitWaits()
		var parts []*producePartition
		for _, p := range plan.partitions {
			parts = append(parts, &producePartition{
				partition: p,
				template:  newProduceTemplate(r.admin.versions, r.topic, p, r.acks, r.batch),
			})
		}
		streams = append(streams, newProduceStream(conn, r.admin.versions, window, parts))
	}
	return streams, nil
}

func closeProduceStreams(streams []*produceStream) {
	for _, s := range streams {
		s.conn.close()
	}
}

// handedOut counts the records of the requests that the connections have taken
// so far of the measured ones.
func (r *saturateRun) handedOut(requests int64, recordsOf func(requests int64) int64) func() int64 {
	return func() int64 { return recordsOf(requests - max(r.progress.Load(), 0)) }
}

// produceAll shares out requests among the streams and waits for all answers.
func produceAll(streams []*produceStream, requests int64, progress *atomic.Int64) (acked int64, err error) {
	budget := progress
	if budget == nil {
		budget = new(atomic.Int64)
	}
	budget.Store(requests)
	var total atomic.Int64
	err = inParallel(len(streams), func(i int) error {
		n, err := streams[i].run(budget)
		total.Add(n)
		return err
	})
	if err == nil && total.Load() != requests {
		err = fmt.Errorf("%d of %d requests were acknowledged", total.Load(), requests)
	}
	return total.Load(), err
}

// inParallel runs f(0) … f(n-1) at once and joins their errors.
func inParallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *saturateRun) measureProduce(ctx context.Context, requests int64, verify bool) (Run, *Recorder, error) {
	streams, err := r.openProduceStreams(ctx, r.row.Window)
	if err != nil {
		return Run{}, nil, err
	}
	defer closeProduceStreams(streams)
	if _, err := produceAll(streams, warmupRequests(requests), nil); err != nil {
		return Run{}, nil, fmt.Errorf("warm-up: %w", err)
	}
	switch {
	case r.row.Kind == ProduceRoundTrip:
		streams[0].recorder = newTimedRecorder()
	case r.timeAll:
		for _, s := range streams {
			s.recorder = newTimedRecorder()
		}
	}
	r.progress.Store(requests)
	m, err := startMeter(ctx, r.target, r.admin.copies(requests*int64(len(r.batch.Bytes))),
		r.handedOut(requests, func(n int64) int64 { return n * int64(r.batch.Records) }))
	if err != nil {
		return Run{}, nil, err
	}
	for _, s := range streams {
		s.recordFrom = m.start
	}
	acked, err := produceAll(streams, requests, r.progress)
	ackedAfter := time.Since(m.start)
	if err == nil && r.admin.replication > 1 {
		// What the followers still have to do belongs to the work: it is part of
		// the CPU time, and of the time until everything is replicated.
		err = r.admin.awaitReplicas(ctx, r.topic, nextOffsets(streams))
	}
	run, meterErr := m.stop()
	if r.admin.replication > 1 {
		run.ReplicatedSeconds, run.Seconds = run.Seconds, ackedAfter.Seconds()
	}
	recorder := mergeRecorders(streams)
	if err := errors.Join(err, meterErr); err != nil {
		return run, recorder, err
	}
	run.Requests = acked
	run.Records = acked * int64(r.batch.Records)
	run.LogBytes = acked * int64(len(r.batch.Bytes))
	run.PayloadBytes = run.Records * int64(r.batch.ValueBytes)
	run.BatchBytes = float64(len(r.batch.Bytes))
	if verify {
		run.VerifiedRecords, err = r.verify(ctx, streams)
	}
	return run, recorder, err
}

// nextOffsets are the offsets behind what was acknowledged, by partition.
func nextOffsets(streams []*produceStream) map[int32]int64 {
	ends := make(map[int32]int64)
	for _, s := range streams {
		for _, p := range s.parts {
			ends[p.partition] = p.nextOffset
		}
	}
	return ends
}

// verify reads every acknowledged record back, warm-up included.
func (r *saturateRun) verify(ctx context.Context, streams []*produceStream) (records int64, err error) {
	var total atomic.Int64
	err = inParallel(len(streams), func(i int) error {
		conn, err := dialRaw(ctx, r.plans[i].addr)
		if err != nil {
			return err
		}
		defer conn.close()
		conn.limitWaits()
		for _, p := range streams[i].parts {
			_, n, err := readBack(conn, r.admin.versions, r.topic, p.partition, p.nextOffset, 1<<20)
			total.Add(n)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return total.Load(), err
}

func (r *saturateRun) measureFetch(ctx context.Context, requests int64) (Run, *Recorder, error) {
	producers, err := r.openProduceStreams(ctx, 5)
	if err != nil {
		return Run{}, nil, err
	}
	defer closeProduceStreams(producers)
	if _, err := produceAll(producers, fetchSetBytes/int64(len(r.batch.Bytes)), nil); err != nil {
		return Run{}, nil, fmt.Errorf("writing the records to fetch: %w", err)
	}
	verified, err := r.verify(ctx, producers) // also the warm-up: it leaves all of it in the page cache
	if err != nil {
		return Run{}, nil, err
	}
	var streams []*fetchStream
	for i, plan := range r.plans {
		conn, err := dialRaw(ctx, plan.addr)
		if err != nil {
			return Run{}, nil, err
		}
		defer conn.close()
		conn.limitWaits()
		var parts []*fetchPartition
		for _, p := range producers[i].parts {
			parts = append(parts, &fetchPartition{
				partition:    p.partition,
				template:     newFetchTemplate(r.admin.versions, r.topic, p.partition, r.row.FetchBytes),
				batchBytes:   len(r.batch.Bytes),
				batchRecords: int64(r.batch.Records),
				endOffset:    p.nextOffset,
			})
		}
		streams = append(streams, newFetchStream(conn, r.admin.versions, r.topic, parts))
	}
	if _, _, _, err := fetchAll(streams, warmupRequests(requests), nil); err != nil {
		return Run{}, nil, fmt.Errorf("warm-up: %w", err)
	}
	r.progress.Store(requests)
	batchesPerFetch := int64(r.row.FetchBytes / len(r.batch.Bytes))
	m, err := startMeter(ctx, r.target, 0,
		r.handedOut(requests, func(n int64) int64 { return n * batchesPerFetch * int64(r.batch.Records) }))
	if err != nil {
		return Run{}, nil, err
	}
	done, bytes, records, err := fetchAll(streams, requests, r.progress)
	run, meterErr := m.stop()
	run.Requests, run.Records, run.LogBytes = done, records, bytes
	run.PayloadBytes = records * int64(r.batch.ValueBytes)
	run.BatchBytes = float64(len(r.batch.Bytes))
	run.VerifiedRecords = verified
	return run, nil, errors.Join(err, meterErr)
}

// fetchAll shares out fetches among the streams.
func fetchAll(streams []*fetchStream, requests int64, progress *atomic.Int64) (done, bytes, records int64, err error) {
	budget := progress
	if budget == nil {
		budget = new(atomic.Int64)
	}
	budget.Store(requests)
	var d, b, n atomic.Int64
	err = inParallel(len(streams), func(i int) error {
		done, bytes, records, err := streams[i].run(budget)
		d.Add(done)
		b.Add(bytes)
		n.Add(records)
		return err
	})
	return d.Load(), b.Load(), n.Load(), err
}

// meter brackets the measured part of a run: wall time, the server's CPU time
// and memory, and this process's own CPU time.
type meter struct {
	target    *target
	memory    *MemoryCheck // before the start, nil if nothing was done for it
	held      *reservoir
	start     time.Time
	cpuBefore CPUTime
	ownBefore CPUTime
	sampling  *sampling
}

// startMeter evens out the memory for what the run will write, all replicas
// together, and starts measuring a target. records counts what has been done
// since and is called from another goroutine until stop.
func startMeter(ctx context.Context, t *target, writtenBytes int64, records func() int64) (*meter, error) {
	m := &meter{target: t}
	var err error
	if m.memory, m.held, err = t.evener.settle(ctx, writtenBytes, t.pids); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.held.release()
		}
	}()
	for i, p := range t.profilers {
		if err = p.begin(context.Background()); err != nil {
			for _, begun := range t.profilers[:i] {
				err = errors.Join(err, begun.end(context.Background()))
			}
			return nil, err
		}
	}
	if m.ownBefore, err = ownCPU(); err != nil {
		return nil, err
	}
	for _, pid := range t.pids {
		resetPeakMemory(pid)
	}
	if m.cpuBefore, err = t.cpu(); err != nil {
		return nil, err
	}
	m.start = time.Now()
	m.sampling = startSampling(t.pids, m.start, records)
	return m, nil
}

// stop ends the measured part and returns a Run with its times and memory.
func (m *meter) stop() (Run, error) {
	run, err := m.read()
	m.held.release()
	for _, p := range m.target.profilers {
		err = errors.Join(err, p.end(context.Background()))
	}
	return run, err
}

// read is stop but for the profiles.
func (m *meter) read() (Run, error) {
	run := Run{Start: m.start, Seconds: time.Since(m.start).Seconds(), samples: m.sampling.finish(), Memory: m.memory}
	if len(m.target.pids) > 0 {
		cpu, err := m.target.cpu()
		if err != nil {
			return run, err
		}
		run.CPU = newCPUResult(cpu.Sub(m.cpuBefore))
		memory, err := m.target.memory()
		if err != nil {
			return run, err
		}
		run.RSSBytes, run.PeakRSSBytes = memory.RSS, memory.Peak
	}
	own, err := ownCPU()
	run.GeneratorCPUSeconds = own.Sub(m.ownBefore).Total.Seconds()
	return run, err
}
