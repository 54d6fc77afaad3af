package broker

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// timer is a deadline of the one thing that embeds it, whose field is set: a
// parked fetch, a produce answer or a DeleteRecords that waits for the followers,
// a stream to one.
type timer struct {
	deadlineMs int64 // monotonic
	heapIdx    int   // in the loop's heap; -1 when it is not there
	fetch      *fetchOp
	group      *writeGroup
	stream     *stream
	deletes    *deleteOp
}

// timerHeap is a binary min-heap of timers by deadline. Each entry knows its
// index, so that what ends early leaves at once. Loop only.
type timerHeap struct {
	ops []*timer
}

func (h *timerHeap) less(i, j int) bool { return h.ops[i].deadlineMs < h.ops[j].deadlineMs }

func (h *timerHeap) swap(i, j int) {
	h.ops[i], h.ops[j] = h.ops[j], h.ops[i]
	h.ops[i].heapIdx, h.ops[j].heapIdx = i, j
}

func (h *timerHeap) push(op *timer) {
	op.heapIdx = len(h.ops)
	h.ops = append(h.ops, op)
	h.up(op.heapIdx)
}

func (h *timerHeap) remove(op *timer) {
	i, last := op.heapIdx, len(h.ops)-1
	if i < 0 {
		return
	}
	if i != last {
		h.swap(i, last)
	}
	h.ops[last] = nil
	h.ops = h.ops[:last]
	op.heapIdx = -1
	if i < last {
		h.down(i)
		h.up(i)
	}
}

func (h *timerHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(i, parent) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *timerHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h.ops) {
			return
		}
		if child+1 < len(h.ops) && h.less(child+1, child) {
			child++
		}
		if !h.less(child, i) {
			return
		}
		h.swap(i, child)
		i = child
	}
}

// sweepEveryMs is how often idle connections and slow senders are looked for.
const sweepEveryMs = 1000

// arm makes the loop wake at deadlineMs (monotonic) at the latest. A timer
// that is already due earlier stays: a spurious wake-up costs less than a
// system call for every long poll.
func (l *loop) arm(deadlineMs int64) {
	if l.armedMs != 0 && l.armedMs <= deadlineMs {
		return
	}
	l.armedMs = deadlineMs
	inMs := max(1, deadlineMs-l.monoMs)
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(inMs * int64(time.Millisecond))}
	_ = unix.TimerfdSettime(l.timerFd, 0, &spec, nil)
}

// startTimer lets t end at deadlineMs unless it is removed before.
func (l *loop) startTimer(t *timer, deadlineMs int64) {
	t.deadlineMs = deadlineMs
	l.timers.push(t)
	l.arm(deadlineMs)
}

// onTimer ends what has waited long enough and, each second, looks after
// connections that idle or send too slowly.
func (l *loop) onTimer() {
	var buf [8]byte
	if n, err := unix.Read(l.timerFd, buf[:]); err != nil || n != 8 || binary.NativeEndian.Uint64(buf[:]) == 0 {
		return
	}
	l.armedMs = 0
	for len(l.timers.ops) > 0 && l.timers.ops[0].deadlineMs <= l.monoMs {
		t := l.timers.ops[0]
		l.timers.remove(t)
		switch {
		case t.fetch != nil:
			l.expireFetch(t.fetch)
		case t.group != nil:
			t.group.expire()
		case t.stream != nil:
			t.stream.onTimer()
		case t.deletes != nil:
			t.deletes.expire()
		}
	}
	if l.monoMs >= l.nextSweepMs {
		l.nextSweepMs = l.monoMs + sweepEveryMs
		l.sweep()
	}
	next := l.nextSweepMs
	if len(l.timers.ops) > 0 {
		next = min(next, l.timers.ops[0].deadlineMs)
	}
	l.arm(next)
}

const (
	// A frame must be whole within slowFrameMs plus the time its bytes so far
	// would take at minFrameBytesPerMs (RELIABILITY: slow clients).
	slowFrameMs        = 30_000
	minFrameBytesPerMs = 16
)

func (l *loop) sweep() {
	if l.idx == 0 {
		l.srv.resumeAccept()
	}
	l.streams.Lock()
	streams := slices.Collect(maps.Values(l.streams.to))
	l.streams.Unlock()
	for _, s := range streams {
		s.checkSilence()
	}
	idleMs := l.srv.opts.MaxIdleMs
	for _, c := range l.conns {
		if c == nil || c.closed || c.stream != nil { // a stream has a timer of its own
			continue
		}
		if idleMs > 0 && l.monoMs-c.lastMs > idleMs && c.parked == nil && c.cold == nil && c.looking == nil {
			l.closeConn(c, errIdle)
			continue
		}
		if c.closing != nil && l.monoMs-c.lastMs > slowFrameMs {
			l.closeConn(c, c.closing) // it does not take its last answers
			continue
		}
		if c.asm != nil && !c.muted && !c.paused && l.monoMs-c.asmSinceMs > slowFrameMs+int64(c.asm.n)/minFrameBytesPerMs {
			l.refuse(c, errSlowFrame)
		}
	}
}
