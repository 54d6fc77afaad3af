package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sampling takes samples of a run while it goes on, in a goroutine of its own:
// the shell around samples. One sample costs a clock call and the read of a
// short file of /proc, some 20 µs every 50 ms.
type sampling struct {
	pids      []int
	start     time.Time
	cpuBefore time.Duration
	records   func() int64
	stop      chan struct{}
	done      sync.WaitGroup
	kept      samples // of the goroutine until done
}

// startSampling samples from now on; records is called from another goroutine
// and counts from the run's start.
func startSampling(pids []int, start time.Time, records func() int64) *sampling {
	s := &sampling{pids: pids, start: start, records: records, stop: make(chan struct{}),
		kept: samples{spacing: sampleSpacing}}
	s.cpuBefore = sum(pids, clockOf)
	s.kept.add(sample{rssBytes: sum(pids, residentOf)})
	s.done.Go(func() {
		tick := time.NewTicker(sampleSpacing)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				if s.kept.due(time.Since(start)) {
					s.kept.add(s.take())
				}
			}
		}
	})
	return s
}

func (s *sampling) take() sample {
	x := sample{at: time.Since(s.start), records: s.records()}
	if len(s.pids) > 0 {
		x.cpu, x.rssBytes = sum(s.pids, clockOf)-s.cpuBefore, sum(s.pids, residentOf)
	}
	return x
}

// finish takes the last sample and ends the goroutine.
func (s *sampling) finish() SampleColumns {
	close(s.stop)
	s.done.Wait()
	s.kept.end(s.take())
	return s.kept.columns(len(s.pids) > 0)
}

// sum adds a figure up over processes.
func sum[T time.Duration | int64](pids []int, of func(pid int) T) T {
	var total T
	for _, pid := range pids {
		total += of(pid)
	}
	return total
}

// clockOf is a process's CPU time so far, 0 if it cannot be read.
func clockOf(pid int) time.Duration {
	var ts unix.Timespec
	if pid == 0 || unix.ClockGettime(processClock(pid), &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// residentOf is a process's resident memory in bytes, 0 if it cannot be read.
func residentOf(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	return parseStatmResident(data) * int64(os.Getpagesize())
}

// parseStatmResident is the second field of proc_pid_statm(5), in pages.
func parseStatmResident(data []byte) int64 {
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages
}
