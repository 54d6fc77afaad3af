package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteOp is one DeleteRecords that waits until the followers have let go of
// the records, too (Kafka: DelayedDeleteRecords). Loop only once it is parked.
type deleteOp struct {
	request   *Request
	resp      *kmsg.DeleteRecordsResponse
	loop      *loop
	waits     []*deleteWait
	left      int // of waits without an outcome
	timeoutMs int32
	timer     timer
}

// deleteWait is one partition of a deleteOp. While it stands in its partition's
// list, the outcome is written by whoever takes it off.
type deleteWait struct {
	op     *deleteOp
	part   *partition
	offset int64                                     // the low watermark to reach
	answer *kmsg.DeleteRecordsResponseTopicPartition // in op.resp
	low    int64                                     // the outcome: the low watermark reached,
	err    *kerr.Error                               // or why it will not be
}

// park answers the request when all partitions have an outcome, with
// REQUEST_TIMED_OUT for those that have none in time. Any goroutine.
func (op *deleteOp) park(l *loop) {
	op.loop, op.left = l, len(op.waits)
	op.timer = timer{heapIdx: -1, deletes: op}
	l.post(func(any) error {
		l.tickClock()
		l.startTimer(&op.timer, l.monoMs+int64(max(0, op.timeoutMs)))
		for _, w := range op.waits {
			w.part.parkDelete(w)
		}
		return nil
	}, nil)
}

// expire answers what has an outcome, and that the rest has none in time.
func (op *deleteOp) expire() {
	for _, w := range op.waits {
		if w.part.unparkDelete(w) {
			op.left--
			w.answer.ErrorCode = kerr.RequestTimedOut.Code // the low watermark stays that of the beginning
		}
	}
	if op.left == 0 {
		op.request.Reply(op.resp)
	} // else the last outcome is on its way
}

// deletedTask takes a partition's outcome, on the loop.
func deletedTask(arg any) error {
	w := arg.(*deleteWait)
	op := w.op
	w.answer.LowWatermark = w.low
	if w.err != nil {
		w.answer.ErrorCode = w.err.Code
	}
	if op.left--; op.left == 0 {
		op.loop.timers.remove(&op.timer)
		op.request.Reply(op.resp)
	}
	return nil
}

// parkDelete lists w until the low watermark reaches its offset, and asks the
// followers where their logs start. Loop of w.
func (p *partition) parkDelete(w *deleteWait) {
	p.deleting.Add(1)
	p.mu.Lock()
	p.mu.deletes = append(p.mu.deletes, w)
	p.mu.Unlock()
	p.nudgeStreams()
	p.wakeDeletes() // what it waits for may have happened while it was being parked
}

// unparkDelete takes w off the list; false if it is not there any more.
func (p *partition) unparkDelete(w *deleteWait) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.mu.deletes, w)
	if i < 0 {
		return false
	}
	p.mu.deletes = slices.Delete(p.mu.deletes, i, i+1)
	p.deleting.Add(-1)
	return true
}

// wakeDeletes answers the DeleteRecords that need wait no more: a replica's log
// start moved, a replica died or was taken away, or this broker leads no more.
// Any goroutine.
func (p *partition) wakeDeletes() {
	if p.deleting.Load() == 0 {
		return
	}
	low, leads := p.LowWatermark()
	var refused *kerr.Error
	switch {
	case p.deleted.Load():
		refused = kerr.UnknownTopicOrPartition
	case !leads:
		refused = kerr.NotLeaderForPartition
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.mu.deletes[:0]
	for _, w := range p.mu.deletes {
		if refused == nil && low < w.offset {
			kept = append(kept, w)
			continue
		}
		p.deleting.Add(-1)
		if w.low, w.err = low, refused; refused != nil {
			w.low = -1
		}
		w.op.loop.post(deletedTask, w)
	}
	clear(p.mu.deletes[len(kept):])
	p.mu.deletes = kept
}
