package group

import (
	"container/heap"
	"math"
)

// noDeadline is NextDeadline's answer when no timer is set.
const noDeadline = math.MaxInt64

type timerKind uint8

const (
	memberSession    timerKind = iota // a member's or pending member's heartbeat is overdue
	initialRebalance                  // the delay of an empty group's first join phase
	joinPhase                         // the rebalance timeout
	syncPhase                         // the members that joined must have synced
	offsetExpiry                      // the retention check, one for each Machine
)

// timer is one deadline. Its owner (a member, a group, the Machine) holds it
// and sets or cancels it through timers.
//
// Heartbeats move a deadline later all the time, so a later deadline only
// writes the field: the heap keeps the earlier time in at, and the timer is
// put back when that comes up. NextDeadline may therefore be early, never late.
type timer struct {
	kind     timerKind
	group    *group
	memberID string // memberSession only

	deadline int64 // ms; the time to fire
	at       int64 // ms; the heap's key, at <= deadline
	seq      uint64
	index    int // in the heap; -1 when not set

	generation  int32 // syncPhase: the generation it was set for
	delayMs     int64 // initialRebalance: the delay that is running
	remainingMs int64 // initialRebalance: what may still be added to it
}

// timers orders deadlines; equal ones fire in the order they were set.
type timers struct {
	heap timerHeap
	seq  uint64
}

func (ts *timers) set(t *timer, deadline int64) {
	t.deadline = deadline
	if t.index >= 0 && t.at <= deadline {
		return
	}
	ts.seq++
	t.at, t.seq = deadline, ts.seq
	if t.index >= 0 {
		heap.Fix(&ts.heap, t.index)
		return
	}
	heap.Push(&ts.heap, t)
}

func (ts *timers) cancel(t *timer) {
	if t.index >= 0 {
		heap.Remove(&ts.heap, t.index)
	}
}

// next is the earliest time at which popDue may return a timer.
func (ts *timers) next() int64 {
	if len(ts.heap) == 0 {
		return noDeadline
	}
	return ts.heap[0].at
}

// popDue takes out the first timer whose deadline is at or before now, or nil.
func (ts *timers) popDue(now int64) *timer {
	for len(ts.heap) > 0 && ts.heap[0].at <= now {
		t := ts.heap[0]
		if t.deadline > now {
			ts.seq++
			t.at, t.seq = t.deadline, ts.seq
			heap.Fix(&ts.heap, 0)
			continue
		}
		heap.Pop(&ts.heap)
		return t
	}
	return nil
}

type timerHeap []*timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].seq < h[j].seq
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
