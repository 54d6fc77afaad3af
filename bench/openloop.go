package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// OpenLoopRow sends prebuilt batches over raw connections on a schedule fixed
// before the run, and takes each acknowledgement's latency from the time its
// request was due. A broker that falls behind does not slow the schedule: its
// requests wait, in the socket or before it, and their wait is counted.
type OpenLoopRow struct {
	Name, Title             string
	Connections, Partitions int
	ValueBytes, BatchBytes  int
	// BytesPerSecond is the rate in bytes of record batches.
	BytesPerSecond float64
	// Seconds are measured; WarmupSeconds at the same rate come before.
	Seconds, WarmupSeconds float64
}

// WrittenBytes is what a run adds to the log.
func (row OpenLoopRow) WrittenBytes() int64 {
	return int64(row.BytesPerSecond * (row.Seconds + row.WarmupSeconds))
}

// OpenLoop runs the row once on a topic of its own, and reads back what was
// acknowledged.
func (d *Driver) OpenLoop(ctx context.Context, row OpenLoopRow, topic string, acks int16, verify bool) (RowRun, error) {
	if d.admin.versionsErr != nil {
		return RowRun{}, d.admin.versionsErr
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + generatorProcs))
	leaders, err := d.admin.createTopic(ctx, topic, row.Partitions)
	if err != nil {
		return RowRun{}, err
	}
	r := &saturateRun{
		row:    SaturateRow{Connections: row.Connections, Partitions: row.Partitions, Window: 1},
		target: d.target, admin: d.admin, topic: topic, acks: acks,
		batch: BuildBatch(row.ValueBytes, row.BatchBytes, 0, time.Now().UnixMilli()),
		plans: planConnections(leaders, row.Connections),
	}
	result, err := r.measureOpenLoop(ctx, row, verify)
	return result, errors.Join(err, d.admin.deleteTopic(context.WithoutCancel(ctx), topic))
}

func (r *saturateRun) measureOpenLoop(ctx context.Context, row OpenLoopRow, verify bool) (RowRun, error) {
	streams, err := r.openProduceStreams(ctx, 1)
	if err != nil {
		return RowRun{}, err
	}
	defer closeProduceStreams(streams)
	batchBytes := len(r.batch.Bytes)
	rate := row.BytesPerSecond / float64(batchBytes) / float64(len(streams))
	var answered atomic.Int64
	run := func(seconds float64) error {
		start := time.Now()
		return inParallel(len(streams), func(i int) error {
			// The connections take turns, so that their requests do not come in bursts.
			shift := time.Duration(float64(i) / float64(len(streams)) / rate * float64(time.Second))
			p := &pacedStream{produceStream: streams[i], answered: &answered, clock: preciseClock{start: start.Add(shift)},
				schedule: NewSchedule(rate, max(int64(rate*seconds), 1))}
			return p.run()
		})
	}
	for _, s := range streams {
		s.recorder = NewRecorder()
	}
	if err := run(row.WarmupSeconds); err != nil {
		return RowRun{}, fmt.Errorf("warm-up: %w", err)
	}
	for _, s := range streams {
		s.recorder = newTimedRecorder()
	}
	answered.Store(0)
	m, err := startMeter(ctx, r.target, r.admin.copies(int64(row.BytesPerSecond*row.Seconds)), func() int64 { return answered.Load() * int64(r.batch.Records) })
	if err != nil {
		return RowRun{}, err
	}
	err = run(row.Seconds)
	measured, meterErr := m.stop()
	recorder := mergeRecorders(streams)
	if err := errors.Join(err, meterErr, recorder.Err()); err != nil {
		return RowRun{Run: measured}, err
	}
	measured.Requests = recorder.Count()
	measured.Records = measured.Requests * int64(r.batch.Records)
	measured.LogBytes = measured.Requests * int64(batchBytes)
	measured.PayloadBytes = measured.Records * int64(r.batch.ValueBytes)
	measured.BatchBytes = float64(batchBytes)
	measured.RatePerSecond = row.BytesPerSecond / float64(batchBytes) * float64(r.batch.Records)
	measured.AckLatency = recorder.summaryOrNil()
	if verify {
		measured.VerifiedRecords, err = r.verify(ctx, streams)
	}
	return RowRun{Run: measured, AckLat: recorder}, err
}

// pacedStream sends on a schedule from one goroutine and receives in another.
// Answers come in order, so the k-th is the k-th request's and its due time
// follows from the schedule: the two share only how many were sent.
type pacedStream struct {
	*produceStream
	schedule Schedule
	clock    preciseClock
	sent     atomic.Int64
	answered *atomic.Int64 // of all streams together
}

func (p *pacedStream) run() error {
	p.inR, p.inW = 0, 0
	return inParallel(2, func(i int) error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.receiveAll
		if i == 0 {
			err = p.sendAll
		}
		if err := err(); err != nil {
			p.conn.shutdown() // ends the other one's wait
			return err
		}
		return nil
	})
}

func (p *pacedStream) sendAll() error {
	fine := preciseTimer()
	defer fine()
	// One copy of each head is enough: send returns when the kernel has all.
	slot := &p.slots[0]
	var failed error
	p.schedule.Pace(p.clock, func(i int64, _ time.Duration) bool {
		part := int(i) % len(p.parts)
		head := slot.heads[part]
		binary.BigEndian.PutUint32(head[correlationAt:], uint32(i))
		t := &p.parts[part].template
		p.bufs = append(p.bufs[:0], head)
		if len(head) == len(t.head) {
			p.bufs = append(p.bufs, t.batch, t.tail)
		}
		p.sent.Store(i + 1)
		failed = p.conn.send(p.bufs)
		return failed == nil
	})
	return failed
}

func (p *pacedStream) receiveAll() error {
	for next := int64(0); next < p.schedule.Count(); {
		if p.inR > 0 {
			p.inW = copy(p.in, p.in[p.inR:p.inW])
			p.inR = 0
		}
		n, err := p.conn.recv(p.in[p.inW:])
		if err != nil {
			return fmt.Errorf("with %d requests unanswered: %w", p.sent.Load()-next, err)
		}
		p.inW += n
		now := p.clock.Since()
		for p.inW-p.inR >= 4 {
			size := int(int32(binary.BigEndian.Uint32(p.in[p.inR:])))
			if size < 4 || size > len(p.in)-4 {
				return fmt.Errorf("a Produce answer claims %d bytes", size)
			}
			if p.inW-p.inR < 4+size {
				break
			}
			if next >= p.sent.Load() {
				return errors.New("an answer came to no request")
			}
			expected := produceSlot{part: int(next) % len(p.parts), correlation: int32(next)}
			if err := p.check(&expected, p.in[p.inR+4:p.inR+4+size]); err != nil {
				return err
			}
			due := p.schedule.DueAt(next)
			p.recorder.RecordAt(due, now-due)
			p.inR += 4 + size
			next++
			p.answered.Add(1)
		}
	}
	return nil
}

// mergeRecorders is nil when the streams recorded nothing, and the recorder
// itself when only one did.
func mergeRecorders(streams []*produceStream) *Recorder {
	var merged *Recorder
	for i, s := range streams {
		switch {
		case s.recorder == nil:
		case merged == nil && i == len(streams)-1:
			return s.recorder
		case merged == nil:
			merged = NewRecorder()
			merged.Merge(s.recorder)
		default:
			merged.Merge(s.recorder)
		}
	}
	return merged
}

// preciseClock sleeps in the kernel on the caller's own thread, which wakes up
// closer to the time than a goroutine's timer.
type preciseClock struct{ start time.Time }

// Since is the time passed since the start.
func (c preciseClock) Since() time.Duration { return time.Since(c.start) }

// SleepUntil returns at or after the given time since the start.
func (c preciseClock) SleepUntil(at time.Duration) {
	for wait := at - c.Since(); wait > 0; wait = at - c.Since() {
		ts := unix.NsecToTimespec(int64(wait))
		if unix.Nanosleep(&ts, nil) != nil { // interrupted, for one
			continue
		}
	}
}

// preciseTimer makes the calling thread's sleeps end without the 50 µs of slack
// that the kernel allows itself; the returned function undoes it.
func preciseTimer() func() {
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return func() { unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }
}
