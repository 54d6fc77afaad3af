package broker

import (
	"context"
	"runtime/pprof"
	"sync"
)

// job is what a worker does: a request, or a fetch's cold lookup.
type job interface{ serve(b *Broker) }

// workers are the goroutines (num.io.threads) that run every handler but
// Produce and Fetch. The queue holds at most one request per connection,
// because a connection is muted until its request is answered; so it is
// bounded by the connections and a loop never waits to queue.
type workers struct {
	mu struct {
		sync.Mutex
		queue  []job
		head   int
		closed bool
	}
	ready sync.Cond
	wg    sync.WaitGroup
}

func newWorkers(b *Broker, n int) *workers {
	w := &workers{}
	w.ready.L = &w.mu
	for range n {
		w.wg.Go(func() {
			pprof.Do(context.Background(), pprof.Labels("pool", "requests"), func(context.Context) {
				for r := w.next(); r != nil; r = w.next() {
					r.serve(b)
				}
			})
		})
	}
	return w
}

// submit queues r; it reports false only when the broker is stopping.
func (w *workers) submit(r job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.closed {
		return false
	}
	if w.mu.head > len(w.mu.queue)/2 && len(w.mu.queue) == cap(w.mu.queue) {
		n := copy(w.mu.queue, w.mu.queue[w.mu.head:])
		clear(w.mu.queue[n:])
		w.mu.queue, w.mu.head = w.mu.queue[:n], 0
	}
	w.mu.queue = append(w.mu.queue, r)
	w.ready.Signal()
	return true
}

// next waits for a request; nil means that the workers are closed.
func (w *workers) next() job {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.mu.head == len(w.mu.queue) {
		if w.mu.closed {
			return nil
		}
		w.ready.Wait()
	}
	r := w.mu.queue[w.mu.head]
	w.mu.queue[w.mu.head] = nil
	if w.mu.head++; w.mu.head == len(w.mu.queue) {
		w.mu.queue, w.mu.head = w.mu.queue[:0], 0
	}
	return r
}

// close ends the workers after what is queued.
func (w *workers) close() {
	w.mu.Lock()
	w.mu.closed = true
	w.ready.Broadcast()
	w.mu.Unlock()
	w.wg.Wait()
}
