package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The cold-reader check: producers with a fixed schedule, alone and beside a
// consumer that reads from the start a topic of which nothing is in memory.
const (
	hotConnections     = 3
	hotRequestsPerSec  = 200 // of each connection
	coldPartitions     = 2
	coldFetchBytes     = 1 << 20
	minColdDiskPercent = 50
)

// checkColdReader measures the producers alone and with the reader in turn and
// compares the 99th percentiles of the merged histograms.
func (s *scaleRun) checkColdReader(ctx context.Context) error {
	const hot, cold = "scale-hot", "scale-cold"
	if _, err := s.createTimed(ctx, hot, hotConnections); err != nil {
		return err
	}
	if _, err := s.createTimed(ctx, cold, coldPartitions); err != nil {
		return err
	}
	reader, err := s.writeCold(ctx, cold)
	if err != nil {
		return err
	}
	defer reader.close()
	producers, err := s.openStreams(ctx, hot, hotConnections, hotConnections)
	if err != nil {
		return err
	}
	defer closeProduceStreams(producers)
	if _, err := runHot(producers, 0.5); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	alone, beside := NewRecorder(), NewRecorder()
	var readBytes, diskBytes int64
	for range s.opts.Repetitions {
		recorder, err := runHot(producers, s.opts.Seconds)
		if err != nil {
			return err
		}
		alone.Merge(recorder)
		before, err := diskReads(s.target.pids)
		if err != nil {
			return err
		}
		recorder, read, err := s.hotBesideReader(producers, reader)
		if err != nil {
			return err
		}
		beside.Merge(recorder)
		after, err := diskReads(s.target.pids)
		if err != nil {
			return err
		}
		readBytes += read
		diskBytes += after - before
	}
	if err := errors.Join(alone.Err(), beside.Err()); err != nil {
		return err
	}
	if diskBytes*100 < readBytes*minColdDiskPercent {
		return fmt.Errorf("the reader was given %d MB and the broker read %d MB of them from the disk: the data were not cold, so the check says nothing; use a --temp-dir on a disk",
			readBytes>>20, diskBytes>>20)
	}
	quiet, busy := alone.Summary(), beside.Summary()
	s.add(ScaleCheck{Name: CheckColdReader, Title: "hot producers' p99 beside a reader of cold data to that without",
		Value: busy.P99Us / quiet.P99Us, Limit: maxColdP99Ratio, Unit: "x",
		Detail: fmt.Sprintf("p50 %.0f to %.0f µs, p99 %.0f to %.0f µs, p99.9 %.0f to %.0f µs, from when a request was due; %d producers, %d requests of 16 KiB a second; the reader got %.0f MB/s, %.0f %% of it from the disk",
			quiet.P50Us, busy.P50Us, quiet.P99Us, busy.P99Us, quiet.P999Us, busy.P999Us,
			hotConnections, hotConnections*hotRequestsPerSec,
			float64(readBytes)/bytesPerMB/(s.opts.Seconds*float64(s.opts.Repetitions)), 100*float64(diskBytes)/float64(max(readBytes, 1)))})
	return nil
}

// coldReader reads a topic from the start again and again, dropping it from
// the page cache before each pass.
type coldReader struct {
	stream     *fetchStream
	partitions []string // directories
	passes     int64    // fetches that one pass takes at least
}

func (r *coldReader) close() { r.stream.conn.close() }

// writeCold fills the cold topic and connects its reader.
func (s *scaleRun) writeCold(ctx context.Context, topic string) (*coldReader, error) {
	streams, err := s.openStreams(ctx, topic, coldPartitions, 1)
	if err != nil {
		return nil, err
	}
	defer closeProduceStreams(streams)
	if _, err := produceAll(streams, max(s.opts.ColdBytes/int64(len(s.batch.Bytes)), coldPartitions), nil); err != nil {
		return nil, fmt.Errorf("writing the cold data: %w", err)
	}
	conn, err := dialRaw(ctx, s.target.addr)
	if err != nil {
		return nil, err
	}
	conn.limitWaits()
	r := &coldReader{passes: s.opts.ColdBytes / coldFetchBytes}
	var parts []*fetchPartition
	for _, p := range streams[0].parts {
		parts = append(parts, &fetchPartition{partition: p.partition,
			template:   newFetchTemplate(s.admin.versions, topic, p.partition, coldFetchBytes),
			batchBytes: len(s.batch.Bytes), batchRecords: int64(s.batch.Records), endOffset: p.nextOffset})
		r.partitions = append(r.partitions, filepath.Join(s.target.dataDirs[0], fmt.Sprintf("%s-%d", topic, p.partition)))
	}
	r.stream = newFetchStream(conn, s.admin.versions, topic, parts)
	return r, nil
}

// hotBesideReader runs the schedule while the reader reads.
func (s *scaleRun) hotBesideReader(producers []*produceStream, reader *coldReader) (*Recorder, int64, error) {
	if err := dropPages(reader.partitions); err != nil {
		return nil, 0, err
	}
	var recorder *Recorder
	var stopped atomic.Bool
	var read int64
	err := inParallel(2, func(i int) (err error) {
		if i == 0 {
			recorder, err = runHot(producers, s.opts.Seconds)
			stopped.Store(true)
			return err
		}
		read, err = reader.read(s.opts.ColdMBPerSecond, &stopped)
		return err
	})
	return recorder, read, err
}

// read fetches until stopped, not above the given rate, and returns the bytes
// it got. Whenever it has read everything once it drops the pages again.
func (r *coldReader) read(mbPerSecond float64, stopped *atomic.Bool) (int64, error) {
	var read int64
	fetches := NewSchedule(max(mbPerSecond, 1)*bytesPerMB/coldFetchBytes, math.MaxInt64)
	clock := wallClock{start: time.Now()}
	for i := int64(0); !stopped.Load(); i++ {
		if i%r.passes == r.passes-1 {
			if err := dropPages(r.partitions); err != nil {
				return read, err
			}
		}
		if mbPerSecond > 0 {
			clock.SleepUntil(fetches.DueAt(i))
		}
		var one atomic.Int64
		one.Store(1)
		_, bytes, _, err := r.stream.run(&one)
		read += bytes
		if err != nil {
			return read, fmt.Errorf("the cold reader: %w", err)
		}
	}
	return read, nil
}

// dropPages writes the directories' files to the disk and has the kernel drop
// them from the page cache (posix_fadvise(2): dirty pages would stay).
func dropPages(dirs []string) error {
	for _, dir := range dirs {
		logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			return err
		}
		for _, path := range logs {
			f, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("cannot open a segment to drop it from the page cache: %w", err)
			}
			err = unix.Fdatasync(int(f.Fd()))
			if err == nil {
				err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
			}
			if err = errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("cannot drop %s from the page cache: %w", path, err)
			}
		}
	}
	return nil
}

// diskReads is how many bytes processes have caused to be read from the disk
// (read_bytes of proc_pid_io(5)).
func diskReads(pids []int) (int64, error) { return ioBytes(pids, "read_bytes:") }

// runHot sends on every stream by a schedule fixed in advance, and takes the
// latency of every request from when it was due until its answer.
func runHot(streams []*produceStream, seconds float64) (*Recorder, error) {
	recorders := make([]*Recorder, len(streams))
	for i := range recorders {
		recorders[i] = NewRecorder()
	}
	schedule := NewSchedule(hotRequestsPerSec, max(int64(hotRequestsPerSec*seconds), 1))
	start := time.Now()
	err := inParallel(len(streams), func(i int) error {
		// The connections take turns: their requests are not due together.
		shift := time.Duration(float64(i) / float64(len(streams)) / hotRequestsPerSec * float64(time.Second))
		return streams[i].runOpenLoop(schedule, start.Add(shift), recorders[i])
	})
	merged := NewRecorder()
	for _, r := range recorders {
		merged.Merge(r)
	}
	return merged, err
}

// runOpenLoop sends the schedule's requests from one goroutine and receives
// their answers in another, so that a late answer holds up no request.
func (s *produceStream) runOpenLoop(schedule Schedule, start time.Time, recorder *Recorder) error {
	clock := wallClock{start: start}
	firstCorrelation, firstTurn := s.correlation, s.turn
	return inParallel(2, func(side int) error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if side == 1 {
			return s.receiveOpenLoop(schedule, clock, firstCorrelation, firstTurn, recorder)
		}
		var sendErr error
		slot := 0
		schedule.Pace(clock, func(int64, time.Duration) bool {
			s.bufs = s.bufs[:0]
			s.enqueue(&s.slots[slot%len(s.slots)]) // sent before it is used again
			slot++
			sendErr = s.conn.send(s.bufs)
			return sendErr == nil
		})
		if sendErr != nil {
			s.conn.shutdown()
		}
		return sendErr
	})
}

// receiveOpenLoop takes the answers in order and checks each.
func (s *produceStream) receiveOpenLoop(schedule Schedule, clock Clock, correlation int32, turn int, recorder *Recorder) error {
	for i := range schedule.Count() {
		size, err := recvSized(s.conn, s.in)
		if err != nil {
			s.conn.shutdown()
			return fmt.Errorf("with %d answers missing: %w", schedule.Count()-i, err)
		}
		latency := clock.Since() - schedule.DueAt(i)
		correlation++
		expected := produceSlot{part: (turn + int(i)) % len(s.parts), correlation: correlation}
		if err := s.check(&expected, s.in[:size]); err != nil {
			s.conn.shutdown()
			return err
		}
		recorder.Record(latency)
	}
	return nil
}

// recvSized receives one frame into buf, without its size, and returns how
// long it is.
func recvSized(c *rawConn, buf []byte) (int, error) {
	if err := c.recvFull(buf[:4]); err != nil {
		return 0, err
	}
	size := int(int32(binary.BigEndian.Uint32(buf)))
	if size < 4 || size > len(buf) {
		return 0, fmt.Errorf("an answer claims %d bytes", size)
	}
	return size, c.recvFull(buf[:size])
}

// recvFrame receives one frame and drops it.
func recvFrame(c *rawConn, buf []byte) error {
	_, err := recvSized(c, buf)
	return err
}
