package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Evener gives the measured part of every run the same memory. On a virtual
// machine, memory that the guest has not used lately has been given back to the
// host, and touching it again costs several times what writing it costs: a run
// that meets such pages pays for others, and a slow run pays for being slow,
// because what was free at its start is given back while it goes on.
//
// So right before each measured part a file of what the run will write is
// written, and again as long as that costs more than it has cost at best. The
// file's pages are then set free as the run's own log grows (reservoir), so
// that fast and slow brokers alike find pages that were in use a moment ago.
// docs/performance/METHOD.md has the figures.
//
// One Evener serves all the brokers of an invocation, so that they are held
// against the same best. It is safe for concurrent use.
type Evener struct {
	dir         string
	memoryBytes int64

	mu sync.Mutex
	// best is the least CPU time in seconds that a GB has cost, 0 before the
	// first pass that was large enough to tell.
	best float64
}

// NewEvener makes an Evener that writes its files to dir, on the file system
// under test. memoryBytes is the machine's memory, 0 if unknown.
func NewEvener(dir string, memoryBytes int64) *Evener {
	return &Evener{dir: dir, memoryBytes: memoryBytes}
}

// MemoryCheck is what the memory cost right before a run's measured part.
type MemoryCheck struct {
	// Bytes were written in each of Passes.
	Bytes  int64 `json:"bytes"`
	Passes int   `json:"passes"`
	// SecondsPerGB is the CPU time of the last pass for 10^9 bytes.
	SecondsPerGB float64 `json:"seconds_per_gb"`
	// Uneven says that the last pass still cost more than evenFactor times the
	// best: the run's figures may be spoiled.
	Uneven bool `json:"uneven,omitempty"`
}

const (
	// evenFactor is how far a pass may be from the best.
	evenFactor = 1.6
	// evenPasses bounds the passes before one run; the first run of an
	// invocation has nothing to compare with and makes two at least.
	evenPasses = 4
	// evenTellingBytes is the least that a pass must write to tell anything.
	evenTellingBytes = 32 << 20
)

// settle prepares the memory for a run that writes runBytes by the processes;
// release ends it, and may be called of a nil reservoir.
func (e *Evener) settle(ctx context.Context, runBytes int64, pids []int) (*MemoryCheck, *reservoir, error) {
	if e == nil || runBytes <= 0 {
		return nil, nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	check := &MemoryCheck{Bytes: evenOutBytes(runBytes, e.memoryBytes)}
	var held *os.File
	for check.Passes < evenPasses {
		if held != nil {
			held.Close()
		}
		known := e.best > 0
		var spent time.Duration
		var err error
		if held, spent, err = takeMemory(ctx, e.dir, check.Bytes); err != nil {
			return nil, nil, err
		}
		check.Passes++
		check.SecondsPerGB = spent.Seconds() / (float64(check.Bytes) / bytesPerGB)
		if check.Bytes < evenTellingBytes {
			break
		}
		if e.best == 0 || check.SecondsPerGB < e.best {
			e.best = check.SecondsPerGB
		}
		check.Uneven = check.SecondsPerGB > evenFactor*e.best
		if known && !check.Uneven {
			break
		}
	}
	return check, newReservoir(held, check.Bytes, pids), nil
}

// takeMemory writes an unlinked file of the given size in dir and returns it
// with the CPU time that this took. Closing it sets its pages free.
func takeMemory(ctx context.Context, dir string, size int64) (*os.File, time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadCPU()
	f, err := os.CreateTemp(dir, "even-out-")
	if err != nil {
		return nil, 0, fmt.Errorf("cannot even out the memory: %w", err)
	}
	err = os.Remove(f.Name())
	chunk := make([]byte, 1<<20)
	for left := size; left > 0 && err == nil && ctx.Err() == nil; left -= int64(len(chunk)) {
		_, err = f.Write(chunk[:min(left, int64(len(chunk)))])
	}
	if err := errors.Join(err, ctx.Err()); err != nil {
		return nil, 0, fmt.Errorf("cannot even out the memory with a file of %d bytes: %w", size, errors.Join(err, f.Close()))
	}
	return f, threadCPU() - before, nil
}

// threadCPU is the CPU time of the calling thread.
func threadCPU() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// evenOutBytes is the size of that file for a run of runBytes: half of the
// memory is as much page cache as a run can hope to keep.
func evenOutBytes(runBytes, memoryBytes int64) int64 {
	if memoryBytes <= 0 {
		return runBytes
	}
	return min(runBytes, memoryBytes/2)
}

const (
	// reservoirAhead is how much memory is free beyond what the run has written:
	// enough for what a fast broker writes between two looks, and little
	// compared with what a kernel lets lie before it gives memory back.
	reservoirAhead = 128 << 20
	reservoirTick  = 5 * time.Millisecond
)

// reservoir holds memory and sets it free as processes dirty theirs.
type reservoir struct {
	file    *os.File
	size    int64
	pids    []int
	written int64 // by the processes before
	stop    chan struct{}
	done    sync.WaitGroup
}

// newReservoir takes the file over. Where the processes' writes cannot be seen
// all of it is set free at once.
func newReservoir(f *os.File, size int64, pids []int) *reservoir {
	r := &reservoir{file: f, size: size, pids: pids, stop: make(chan struct{})}
	var err error
	r.written, err = diskWrites(pids)
	if err != nil || len(pids) == 0 || size <= reservoirAhead {
		f.Close()
		r.file = nil
		return r
	}
	r.shrink()
	r.done.Go(func() {
		tick := time.NewTicker(reservoirTick)
		defer tick.Stop()
		for r.shrink() {
			select {
			case <-r.stop:
				return
			case <-tick.C:
			}
		}
	})
	return r
}

// shrink keeps what the processes have not written yet, less reservoirAhead,
// and reports whether anything is left.
func (r *reservoir) shrink() bool {
	now, err := diskWrites(r.pids)
	if err != nil {
		return false // the broker has died: the run ends anyway
	}
	keep := r.size - reservoirAhead - (now - r.written)
	if keep <= 0 {
		r.file.Truncate(0)
		return false
	}
	return r.file.Truncate(keep) == nil
}

// release sets the rest free.
func (r *reservoir) release() {
	if r == nil || r.file == nil {
		return
	}
	close(r.stop)
	r.done.Wait()
	r.file.Close()
	r.file = nil
}

// diskWrites is how many bytes processes have put into the page cache for the
// disk (write_bytes of proc_pid_io(5)).
func diskWrites(pids []int) (int64, error) { return ioBytes(pids, "write_bytes:") }
