package broker

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/iouring"
	"freshet/storage"
)

// errNoLeader: this broker stopped to lead the partition before the in-sync
// replicas had acknowledged. The records may or may not survive.
var errNoLeader = fmt.Errorf("this broker leads the partition no more: %w", kerr.NotLeaderForPartition)

// errRequestTimedOut: acks=all was not reached within the request's timeout.
// The records are in the leader's log and may still be replicated.
var errRequestTimedOut = fmt.Errorf("the in-sync replicas have not acknowledged in time: %w", kerr.RequestTimedOut)

// writeGroup is the write of one partition in one turn: adjacent reservations
// of one segment that go to the file as one vectored write. It is pooled and
// implements iouring.Completer.
type writeGroup struct {
	op         iouring.Op
	part       *partition
	seg        *storage.LogSegment
	baseOffset int64
	nextOffset int64
	acks       []pendingAck
	dones      []func(error) // of coordinators' appends
	chunks     []*chunk      // read buffers the write points into, one reference each
	turn       *turn
	durableTo  int64 // with op.Sync: the recovery point after it
	failure    error
	// replicated: the answers wait for the high watermark and not only for the
	// log end offset. timer ends that wait after timeoutMs.
	replicated bool
	timeoutMs  int32
	timer      timer
	next       *writeGroup // free list
}

// pendingAck is one produce answer that waits for a group: where in its slot
// the error code lies, to be patched should the write fail.
type pendingAck struct {
	slot   *slot
	codeAt int32
	// replicated: acks=all of a partition with followers. The answer is given
	// when the high watermark has passed, or REQUEST_TIMED_OUT after timeoutMs.
	replicated bool
	timeoutMs  int32
	// follower: the answer is to a leader, and holds more than fits a client's.
	follower bool
}

// turn collects what the requests of one read append. At its end every
// partition touched is written with one call.
type turn struct {
	loop   *loop
	groups []*writeGroup // open, in order of first touch
	free   *writeGroup
	conn   *conn // whose requests are being handled
}

// maxGroupVectors keeps a group within IOV_MAX.
const maxGroupVectors = 1000

func (t *turn) empty() bool { return len(t.groups) == 0 }

// add puts one reserved batch, which lies in ch (nil: in memory of its own),
// into its partition's group. The slot waits for the group from here on.
func (t *turn) add(p *partition, res *storage.Reservation, batch []byte, ch *chunk, ack pendingAck) {
	g := t.group(p, res, batch)
	if n := len(g.acks); ack.slot != nil {
		if n == 0 || g.acks[n-1].slot != ack.slot {
			ack.slot.wait(1)
		}
		g.acks = append(g.acks, ack)
		g.awaitReplicas(ack.replicated, ack.timeoutMs)
	}
	if n := len(g.chunks); ch != nil && (n == 0 || g.chunks[n-1] != ch) {
		ch.refs++
		g.chunks = append(g.chunks, ch)
	}
}

// addInternal is add for a coordinator, which owns batch until done is called.
// Its appends are acks=all.
func (t *turn) addInternal(p *partition, res *storage.Reservation, batch []byte, done func(error)) {
	g := t.group(p, res, batch)
	g.dones = append(g.dones, done)
	g.awaitReplicas(!p.Role().Solo, t.loop.srv.opts.CommitTimeoutMs)
}

// awaitReplicas makes the whole group wait for the followers: its answers are
// of one connection, which gets them in order anyway.
func (g *writeGroup) awaitReplicas(replicated bool, timeoutMs int32) {
	if !replicated {
		return
	}
	if !g.replicated || timeoutMs < g.timeoutMs {
		g.timeoutMs = timeoutMs
	}
	g.replicated = true
}

// group returns the partition's group with the batch added to its write.
func (t *turn) group(p *partition, res *storage.Reservation, batch []byte) *writeGroup {
	g := p.open[t.loop.idx]
	if g != nil && (g.seg != res.Segment || g.op.Pos+g.op.Len != res.Position || len(g.op.Bufs) >= maxGroupVectors) {
		p.open[t.loop.idx] = nil // stays in t.groups; the partition gets another
		g = nil
	}
	if g == nil {
		g = t.newGroup(p, res)
	}
	g.op.Bufs = append(g.op.Bufs, batch)
	g.op.Len += int64(res.Length)
	g.nextOffset = res.NextOffset
	return g
}

func (t *turn) newGroup(p *partition, res *storage.Reservation) *writeGroup {
	g := t.take()
	g.part, g.seg = p, res.Segment
	g.baseOffset = res.BaseOffset
	g.op.Fd = res.Segment.WriteFd()
	g.op.Pos, g.op.Len = res.Position, 0
	g.op.Sync = p.log.NeedsSync()
	p.open[t.loop.idx] = g
	t.groups = append(t.groups, g)
	return g
}

// take returns a free group.
func (t *turn) take() *writeGroup {
	g := t.free
	if g == nil {
		g = &writeGroup{turn: t}
		g.op.Done = g
		g.timer = timer{heapIdx: -1, group: g}
		return g
	}
	t.free, g.next = g.next, nil
	return g
}

// end writes the groups of the turn and closes the connection's open slot.
func (t *turn) end() {
	l := t.loop
	if n := len(t.groups); n > 0 {
		for i, g := range t.groups {
			if p := g.part; p.open[l.idx] == g {
				p.open[l.idx] = nil
			}
			t.groups[i] = nil
			l.stats.writes.Add(1)
			l.stats.writtenBytes.Add(g.op.Len)
			l.pendingBytes += g.op.Len
			if g.op.Sync {
				g.durableTo = g.syncCovers()
			}
			deferred := l.engine.Deferred()
			l.engine.Write(&g.op)
			if !deferred {
				g.dropChunks() // written; at most an fdatasync is still due
			}
		}
		t.groups = t.groups[:0]
		if l.engine.InFlight() > 0 {
			l.scheduleFlush()
			if l.rbuf.refs > 1 {
				l.renewReadBuffer()
			}
		} else {
			l.engine.Flush() // nothing to submit; the engine may change its mind
		}
	}
	c := t.conn
	if c == nil {
		return
	}
	t.conn = nil
	if s := c.turnSlot; s != nil {
		c.turnSlot = nil
		s.open = false
		s.wait(1)
		s.done(l)
	}
}

// syncCovers is the offset below which everything is durable once the group's
// fdatasync succeeds. It begins after the group's own write, but other loops'
// writes before the group may still be on their way: then only what was
// readable already is sure.
func (g *writeGroup) syncCovers() int64 {
	if end := g.part.log.LogEndOffset(); end < g.baseOffset {
		return end
	}
	return g.nextOffset
}

// WriteDone publishes a finished group and answers what waited for it.
func (g *writeGroup) WriteDone(op *iouring.Op, err error) {
	l := g.turn.loop
	p := g.part
	if l.pendingBytes -= op.Len; len(l.throttled) > 0 && l.pendingBytes <= maxPendingBytes/2 {
		l.unthrottle()
	}
	if err != nil && errors.Is(err, iouring.ErrSyncFailed) {
		err = p.log.SyncFailed(err)
	}
	failures := p.failures.Load()
	leo, err := p.log.Complete(g.seg, g.baseOffset, g.nextOffset, op.Pos, op.Len, err)
	switch {
	case err != nil:
		g.fail(err)
	case op.Sync:
		p.log.MarkSynced(g.durableTo)
	}
	g.failure = err
	g.dropChunks()
	if err == nil {
		p.appended(l)
	}
	if err == nil && len(g.acks)+len(g.dones) > 0 && (leo < g.nextOffset || g.replicated && p.HighWatermark() < g.nextOffset) {
		// An earlier write of another loop has not finished, or followers have
		// not acknowledged: the answer waits until the log end offset, or the
		// high watermark, passes this group.
		p.parkAck(g, failures)
		return
	}
	g.answer()
}

// dropChunks gives back the buffers of the group's batches, once the write no
// longer needs them.
func (g *writeGroup) dropChunks() {
	for i, ch := range g.chunks {
		g.chunks[i] = nil
		g.turn.loop.chunks.put(ch)
	}
	g.chunks = g.chunks[:0]
}

// expire answers a group whose followers have not acknowledged in time.
func (g *writeGroup) expire() {
	if !g.part.unparkAck(g) {
		return // its answer is on the way
	}
	g.failure = errRequestTimedOut
	g.patch(g.failure)
	g.answer()
}

// answer releases the slots that waited for g and frees it.
func (g *writeGroup) answer() {
	l := g.turn.loop
	l.timers.remove(&g.timer)
	var last *slot
	for i := range g.acks {
		if s := g.acks[i].slot; s != last {
			last = s
			s.done(l)
		}
		g.acks[i].slot = nil
	}
	for i, done := range g.dones {
		g.dones[i] = nil
		done(g.failure)
	}
	g.release()
}

// fail patches the error of a failed write into every answer of the group:
// error code, then base offset -1 (both fixed-size, at a known place).
func (g *writeGroup) fail(err error) {
	g.patch(err)
	if !errors.Is(err, errNoLeader) {
		g.part.writeFailed(err, g.turn.loop.nowMs)
	}
}

func (g *writeGroup) patch(err error) {
	code := produceErrorCode(err)
	for i := range g.acks {
		a := &g.acks[i]
		if a.follower {
			binary.BigEndian.PutUint16(a.slot.buf[a.codeAt:], uint16(code))
			continue
		}
		patchProduceError(a.slot.buf[a.codeAt:], code)
	}
}

func (g *writeGroup) release() {
	clear(g.op.Bufs)
	g.op.Bufs, g.acks, g.dones = g.op.Bufs[:0], g.acks[:0], g.dones[:0]
	g.part, g.seg, g.failure, g.replicated = nil, nil, nil, false
	g.next, g.turn.free = g.turn.free, g
}

// addDuplicate makes an answer wait for the first write of its batch, which
// is still on its way to the log. failures is from before the reservation.
func (t *turn) addDuplicate(p *partition, res *storage.Reservation, ack pendingAck, failures int64) {
	g := t.take()
	g.part, g.seg = p, nil
	g.baseOffset, g.nextOffset = res.BaseOffset, res.WaitOffset
	ack.slot.wait(1)
	g.acks = append(g.acks, ack)
	g.awaitReplicas(ack.replicated, ack.timeoutMs)
	p.parkAck(g, failures)
}
