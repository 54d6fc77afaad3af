package broker

import (
	"sync/atomic"

	"freshet/storage"
)

// postFlag is set while a wake-up of a parked fetch is on its way from
// another goroutine.
type postFlag struct{ set atomic.Bool }

// parkFetch lets op wait for its partitions to grow. It reports false if they
// grew while it was being parked: op then holds the answer.
func (l *loop) parkFetch(op *fetchOp) bool {
	op.releaseRegions()
	op.lookedUp = true // what comes from here on was just written
	op.parked = true
	// What wakes it has just been written: its place is found in memory, and a
	// file that must be opened for it costs microseconds.
	op.lookedUp = true
	l.parked.Add(1)
	op.conn.parked, op.conn.muted = op, true
	if cap(op.waits) < len(op.parts) {
		op.waits = make([]fetchWait, 0, len(op.parts))
	}
	op.waits = op.waits[:len(op.parts)]
	for i := range op.parts {
		w := &op.waits[i]
		w.op, w.part, w.index = op, op.parts[i].part, -1
		w.moved.Store(false)
		if w.part != nil { // nil: there is no such partition
			w.part.watch(w)
		}
	}
	l.startTimer(&op.timer, l.monoMs+int64(op.q.maxWaitMs))
	// An append between the read and the watch has woken nobody: look again.
	if l.readFetch(op) {
		l.unparkFetch(op)
		return false
	}
	op.releaseRegions()
	return true
}

// unparkFetch takes op off every list. A wake-up already posted finds it
// answered by its generation.
func (l *loop) unparkFetch(op *fetchOp) {
	for i := range op.waits {
		if w := &op.waits[i]; w.part != nil {
			w.part.unwatch(w)
			w.part = nil
		}
	}
	l.timers.remove(&op.timer)
	op.parked = false
	l.parked.Add(-1)
	op.conn.parked = nil
}

// wake asks op's loop to look at it again. on is the calling loop, nil if none.
// The partition's lock is held.
func (op *fetchOp) wake(on *loop) {
	if on == op.loop {
		if !op.queued {
			op.queued = true
			on.woken = append(on.woken, op)
		}
		return
	}
	if op.posted.set.CompareAndSwap(false, true) {
		op.loop.post(wakeTask, op)
	}
}

func wakeTask(arg any) error {
	op := arg.(*fetchOp)
	op.posted.set.Store(false)
	l := op.loop
	l.tickClock()
	if !op.queued {
		op.queued = true
		l.woken = append(l.woken, op)
	}
	l.settle()
	return nil
}

// retryFetch reads again for a woken fetch and answers it if that suffices.
func (l *loop) retryFetch(op *fetchOp) {
	op.queued = false
	if !op.parked {
		return // answered, perhaps reused, since it was woken
	}
	if len(op.parts) > wholeReadParts && !l.mayBeDue(op) {
		return
	}
	if !l.readFetch(op) {
		op.releaseRegions()
		return
	}
	l.finishFetch(op)
}

// wholeReadParts is up to how many partitions a woken fetch reads all at once.
const wholeReadParts = 8

// expireFetch answers a fetch whose time is up with what there is.
func (l *loop) expireFetch(op *fetchOp) {
	l.readFetch(op)
	l.finishFetch(op)
}

func (l *loop) finishFetch(op *fetchOp) {
	c := op.conn
	l.unparkFetch(op)
	l.answerFetch(op)
	l.maybeUnmute(c)
}

// dropFetch ends a parked fetch whose connection closed.
func (l *loop) dropFetch(op *fetchOp) {
	s := op.slot
	l.unparkFetch(op)
	op.releaseRegions()
	l.freeFetch(op)
	s.waits--
}

// releaseRegions gives back what a read acquired but will not be sent.
func (op *fetchOp) releaseRegions() {
	for i := range op.parts {
		op.parts[i].res.Region.Release()
	}
}

// lookUpFetch has a worker find the places of op's cold offsets, because that
// may wait for the disk; the loop and other connections go on. op rests until
// lookedUpTask.
func (l *loop) lookUpFetch(op *fetchOp) error {
	op.releaseRegions()
	op.cold = false
	c, s := op.conn, op.slot
	c.looking, c.muted = op, true
	if !l.srv.workers.submit(op) {
		c.looking = nil
		l.freeFetch(op)
		s.done(l)
		return errStopping
	}
	return nil
}

// serve brings index entries and batch headers into the page cache, on a
// worker. The loop reads them again from there, and meets any error itself.
func (op *fetchOp) serve(*Broker) {
	var res storage.ReadResult
	for i := range op.parts {
		fp := &op.parts[i]
		if !fp.lookUp {
			continue
		}
		fp.lookUp = false
		if err := fp.part.log.Read(fp.offset, max(0, fp.maxBytes), fp.part.HighWatermark(), true, &res); err == nil {
			res.Region.Release()
		}
	}
	op.loop.post(lookedUpTask, op)
}

// lookedUpTask goes on with a fetch whose offsets have been looked up.
func lookedUpTask(arg any) error {
	op := arg.(*fetchOp)
	l, c := op.loop, op.conn
	l.tickClock()
	if op.abandoned {
		s := op.slot
		l.freeFetch(op)
		s.done(l)
		return nil
	}
	c.looking = nil
	op.lookedUp = true
	if l.readFetch(op) || !l.parkFetch(op) {
		l.answerFetch(op)
		l.maybeUnmute(c)
	}
	l.settle()
	return nil
}
