package quorum

import "sync"

// queue passes things from many goroutines to one, in order. What is put in is
// bounded by who puts it: the changes under way, and images, which replace each
// other.
type queue[T any] struct {
	mu struct {
		sync.Mutex
		items  []T
		closed bool
	}
	signal chan struct{} // holds one token while there may be something to take
}

func (q *queue[T]) init() { q.signal = make(chan struct{}, 1) }

// put adds an item; after close it is dropped.
func (q *queue[T]) put(item T) {
	q.mu.Lock()
	if !q.mu.closed {
		q.mu.items = append(q.mu.items, item)
	}
	q.mu.Unlock()
	q.wake()
}

func (q *queue[T]) wake() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// take waits for items and takes them all; false when the queue is closed and
// empty.
func (q *queue[T]) take() ([]T, bool) {
	for {
		q.mu.Lock()
		items, closed := q.mu.items, q.mu.closed
		q.mu.items = nil
		q.mu.Unlock()
		if len(items) > 0 {
			return items, true
		}
		if closed {
			return nil, false
		}
		<-q.signal
	}
}

func (q *queue[T]) close() {
	q.mu.Lock()
	q.mu.closed = true
	q.mu.Unlock()
	q.wake()
}
