package iouring

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Calibration is what writes cost in one directory, measured once and shared
// by the engines of all loops.
type Calibration struct {
	samples []calibrationSample
	elapsed time.Duration
}

// calibrationSample is CPU time per write, of all threads of the process.
type calibrationSample struct {
	bytes    int64
	inlineNs int64
	ringNs   int64
}

const (
	// calibrationBudget bounds Calibrate: it is part of every start.
	calibrationBudget = 3500 * time.Microsecond
	calibrationFiles  = 4 // submitted together, as the partitions of a turn
	calibrationRounds = 3
)

var calibrationSizes = [...]int64{64 << 10, 16 << 10, 256 << 10}

// Calibrate measures appends to nameless files in dir (removed with their
// descriptors) inline and through a ring. It takes less than 5 ms unless the
// machine is busy with other things, and leaves out what there was no time for.
func Calibrate(dir string) (*Calibration, error) {
	c := &Calibration{}
	started := time.Now()
	deadline := started.Add(calibrationBudget)
	var fds [calibrationFiles]int
	for i := range fds {
		fd, err := openNameless(dir)
		if err != nil {
			return c, fmt.Errorf("cannot measure writes in %s: %w", dir, err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	ring, err := newLoopEngine("uring", alwaysRing{}, Options{Entries: 16, Workers: calibrationFiles}, true)
	if err != nil {
		return c, err
	}
	defer ring.Close()
	inline, err := newLoopEngine("pwritev", alwaysInline{}, Options{}, false)
	if err != nil {
		return c, err
	}
	defer inline.Close()

	buf := make([]byte, calibrationSizes[len(calibrationSizes)-1])
	for i := range buf {
		buf[i] = byte(i * 7)
	}
	run := calibrationRun{fds: fds[:], deadline: deadline}
	run.round(inline, buf[:4096]) // first touch of files, workers and code
	run.round(ring, buf[:4096])
	for _, size := range calibrationSizes {
		s := calibrationSample{bytes: size}
		for range calibrationRounds {
			if time.Now().After(deadline) {
				break
			}
			s.inlineNs = least(s.inlineNs, run.round(inline, buf[:size]))
			s.ringNs = least(s.ringNs, run.round(ring, buf[:size]))
		}
		if s.inlineNs > 0 && s.ringNs > 0 {
			c.samples = append(c.samples, s)
		}
	}
	c.elapsed = time.Since(started)
	return c, run.err
}

// least keeps the smaller of two costs; the smallest of a few is the one that
// was least disturbed. Zero is "none".
func least(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// calibrationRun appends to its files in turn.
type calibrationRun struct {
	fds      []int
	position int64
	ops      [calibrationFiles]Op
	deadline time.Time
	err      error
}

// WriteDone implements Completer.
func (r *calibrationRun) WriteDone(_ *Op, err error) {
	if err != nil && r.err == nil {
		r.err = err
	}
}

// round writes buf once to each file and returns CPU time per write; 0 if it
// went wrong.
func (r *calibrationRun) round(e *loopEngine, buf []byte) int64 {
	before := processCPU()
	for i := range r.ops {
		r.ops[i] = Op{Fd: r.fds[i], Pos: r.position, Bufs: [][]byte{buf}, Len: int64(len(buf)), Done: r}
		e.Write(&r.ops[i])
	}
	e.Flush()
	e.await()
	r.position += int64(len(buf))
	if r.err != nil {
		return 0
	}
	return (processCPU() - before) / calibrationFiles
}

// await reaps until no Op is in flight.
func (e *loopEngine) await() {
	for e.inFlight > 0 {
		if e.Reap() > 0 {
			continue
		}
		e.waitReadable(closePollMs)
	}
}

// processCPU is the CPU time of all threads so far, io-wq workers included.
func processCPU() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// openNameless opens a file in dir that vanishes with its descriptor.
func openNameless(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return fd, nil
	}
	// Some file systems lack O_TMPFILE.
	f, err := os.CreateTemp(dir, ".freshet-calibrate-*")
	if err != nil {
		return -1, err
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return -1, err
	}
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// String is for logs.
func (c *Calibration) String() string {
	s := fmt.Sprintf("measured in %.1f ms:", float64(c.elapsed.Microseconds())/1e3)
	for _, m := range c.samples {
		s += fmt.Sprintf(" %s inline %s ring %s;", kib(m.bytes), micros(m.inlineNs), micros(m.ringNs))
	}
	return s
}
