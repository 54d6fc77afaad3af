package iouring

import (
	"sync"

	"golang.org/x/sys/unix"
)

// jobKind says what an offloadJob does.
type jobKind uint8

const (
	jobSync jobKind = iota
	jobReadAhead
	jobPoll // never run by a worker; the result of a pollWaiter
)

// offloadJob is a blocking system call to be made off the loop, and then its
// result.
type offloadJob struct {
	kind  jobKind
	fd    int
	file  *fileQueue   // jobSync
	async asyncRequest // jobReadAhead, jobPoll
	res   int32
	err   error
}

// offload runs blocking calls on a bounded number of goroutines for engines
// that have no ring, and hands the results back to the loop through an
// eventfd, as a ring would. A goroutine starts when there is work that no idle
// one can take, and stays until close.
//
// Any goroutine may call post; submit, take and close are the loop's. The queue
// is bounded by the files and polls of the loop: one fdatasync a file.
type offload struct {
	eventFd int
	limit   int // goroutines

	mu struct {
		sync.Mutex
		queue   []offloadJob // waiting; head is the next
		head    int
		running int
		idle    int
		results []offloadJob
		closed  bool
	}
	wake    sync.Cond // work has come, or close
	workers sync.WaitGroup
	taken   []offloadJob // the loop's copy of results, swapped to and fro
}

const defaultOffloadWorkers = 4

func newOffload(limit int) (*offload, error) {
	if limit <= 0 {
		limit = defaultOffloadWorkers
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	o := &offload{eventFd: fd, limit: limit}
	o.wake.L = &o.mu
	return o, nil
}

// submit queues job and makes sure that somebody runs it.
func (o *offload) submit(job offloadJob) {
	o.mu.Lock()
	o.mu.queue = append(o.mu.queue, job)
	waiting := len(o.mu.queue) - o.mu.head
	spawn := waiting > o.mu.idle && o.mu.running < o.limit
	if spawn {
		o.mu.running++
		o.workers.Add(1)
	} else {
		o.wake.Signal()
	}
	o.mu.Unlock()
	if spawn {
		go o.work()
	}
}

// next waits for a job; false when the pool closes and nothing is left.
func (o *offload) next() (offloadJob, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.mu.head == len(o.mu.queue) {
		if o.mu.closed {
			return offloadJob{}, false
		}
		o.mu.idle++
		o.wake.Wait()
		o.mu.idle--
	}
	job := o.mu.queue[o.mu.head]
	o.mu.queue[o.mu.head] = offloadJob{}
	o.mu.head++
	if o.mu.head == len(o.mu.queue) {
		o.mu.queue, o.mu.head = o.mu.queue[:0], 0
	}
	return job, true
}

func (o *offload) work() {
	defer o.workers.Done()
	var buffers *scratch
	defer func() {
		if buffers != nil {
			buffers.free()
		}
	}()
	for {
		job, ok := o.next()
		if !ok {
			return
		}
		switch job.kind {
		case jobSync:
			// Not repeated on EINTR: an interrupted fdatasync may already have
			// consumed the one report of a write-back error.
			job.err = unix.Fdatasync(job.fd)
		case jobReadAhead:
			if buffers == nil {
				buffers, job.err = newScratch()
			}
			if job.err == nil {
				job.res = readAheadStep(&job.async, buffers)
			} else {
				job.res = -int32(unix.ENOMEM)
			}
		}
		o.post(job)
	}
}

// readAheadStep reads one step of req and returns what the ring would.
func readAheadStep(req *asyncRequest, buffers *scratch) int32 {
	iovs := buffers.iovs[:readAheadIovs(req.length-req.read)]
	for {
		n, err := preadv(req.fd, iovs, req.pos+req.read)
		switch {
		case err == nil:
			return int32(n)
		case err == unix.EINTR:
		default:
			return -int32(err.(unix.Errno))
		}
	}
}

// post hands a result to the loop. Signalling and draining happen under the
// lock, so that the eventfd is readable exactly while results wait.
func (o *offload) post(job offloadJob) {
	o.mu.Lock()
	o.mu.results = append(o.mu.results, job)
	if len(o.mu.results) == 1 && !o.mu.closed {
		signalEventFd(o.eventFd)
	}
	o.mu.Unlock()
}

// take returns the results so far. The slice is valid until the next take.
func (o *offload) take() []offloadJob {
	clear(o.taken)
	o.mu.Lock()
	results := o.mu.results
	o.mu.results, o.taken = o.taken[:0], results
	if len(results) > 0 {
		drainEventFd(o.eventFd)
	}
	o.mu.Unlock()
	return results
}

// close waits for the workers and closes the eventfd.
func (o *offload) close() {
	o.mu.Lock()
	o.mu.closed = true
	o.wake.Broadcast()
	o.mu.Unlock()
	o.workers.Wait()
	_ = unix.Close(o.eventFd)
	o.eventFd = -1
}

// reapOffload feeds the pool's results to the queues; it returns how many.
func (e *loopEngine) reapOffload() int {
	if e.kernelOps == 0 {
		return 0 // every result is the end of one of these
	}
	results := e.off.take()
	for i := range results {
		job := &results[i]
		e.kernelOps--
		switch job.kind {
		case jobSync:
			e.note(job.file, job.file.step(event{kind: evSynced, err: job.err}))
		default:
			e.asyncDone(job.async, job.res)
		}
	}
	return len(results)
}
