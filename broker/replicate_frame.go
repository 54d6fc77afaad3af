package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"freshet/record"
	"freshet/replication/isr"
	"freshet/storage"
	"freshet/vfs"
)

// keyReplicate is the API key of replication, this broker's own: version 1 is
// the hello that opens a connection, version 0 a frame of pushes.
const (
	keyReplicate   = 120
	replicatePush  = 0
	replicateHello = 1
)

// mayFill reports whether another frame may be sent.
func (s *stream) mayFill() bool {
	n := len(s.inFlight)
	return n < fewFrames || n < streamFrames && s.bytes < streamBytes && s.bytes >= int64(n)*smallFrameBytes
}

// fill sends frames until the window is full or nothing is left to send.
func (s *stream) fill() {
	s.filling = false
	for s.conn != nil && len(s.dirty) > 0 && s.mayFill() {
		s.fillFrame()
	}
}

// fillFrame takes partitions from the queue and sends one frame of what they
// have, if they have anything.
func (s *stream) fillFrame() {
	l, c := s.loop, s.conn
	f := s.newFrame()
	var sl *slot
	inFiles := int64(0)
	taken := 0
	for n := len(s.dirty); taken < n && len(f.parts) < framePartitions && f.bytes < frameBytes; taken++ {
		pp := s.dirty[taken]
		pp.signalled.Store(false)
		if pp.index < 0 || pp.looking {
			continue
		}
		push, ok := pp.sender.Next(pp.part.log, pp.part.HighWatermark())
		if !ok {
			continue
		}
		if wait := s.holdBackMs(pp); wait > 0 && push.Kind == isr.Append {
			s.markLater(pp, wait)
			continue
		}
		var res storage.ReadResult
		if push.Kind == isr.Append && !s.read(pp, &push, int32(frameBytes-f.bytes), &res) {
			continue
		}
		if sl == nil {
			sl = c.newSlot()
			s.beginFrame(sl, f)
		}
		next := push.Offset
		if push.Length = int32(res.Region.Length); push.Length > 0 {
			next = nextOffset(&res)
			f.bytes += res.Region.Length
		}
		push.TopicID, push.Partition = pp.part.topic.id, pp.part.index
		sl.buf = push.Append(sl.buf)
		if push.Length > 0 {
			inFiles += l.attach(sl, res.Region)
		}
		pp.sender.Sent(next, push.Length, l.monoMs)
		s.countThrottled(pp, int64(push.Length))
		f.parts = append(f.parts, pp)
		if pp.sender.Wants(pp.part.log.LogEndOffset(), pp.part.HighWatermark()) {
			s.mark(pp)
		}
	}
	s.dirty = append(s.dirty[:0], s.dirty[taken:]...)
	if sl == nil {
		s.recycle(f)
		return
	}
	h := isr.FrameHeader{From: l.srv.broker.Config().NodeID, BrokerEpoch: s.link.ownEpoch, To: s.peer, Count: int32(len(f.parts))}
	h.Append(sl.buf[:frameHeaderAt])
	binary.BigEndian.PutUint32(sl.buf, uint32(int64(len(sl.buf)-4)+inFiles))
	s.bytes += f.bytes
	s.inFlight = append(s.inFlight, f)
	l.stats.replicatedBytes.Add(f.bytes)
	c.queued += len(sl.buf)
	if c.head == sl {
		l.queuePump(c)
	}
}

// frameHeaderAt is where the frame's own header begins: behind size, key,
// version, correlation id and the null client id.
const frameHeaderAt = 4 + 2 + 2 + 4 + 2

// beginFrame writes what comes before the pushes.
func (s *stream) beginFrame(sl *slot, f *sentFrame) {
	s.corr++
	f.corr = s.corr
	sl.buf = appendReplicateHeader(sl.buf[:0], replicatePush, f.corr)
	sl.buf = append(sl.buf, zeros[:isr.FrameHeaderBytes]...)
}

// appendReplicateHeader appends a request header, its size still 0.
func appendReplicateHeader(b []byte, version int16, corr int32) []byte {
	b = append(b, 0, 0, 0, 0)
	b = appendInt16(b, keyReplicate)
	b = appendInt16(b, version)
	b = appendInt32(b, corr)
	return appendInt16(b, -1) // no client id
}

func (s *stream) newFrame() *sentFrame {
	if n := len(s.free); n > 0 {
		f := s.free[n-1]
		s.free = s.free[:n-1]
		return f
	}
	return &sentFrame{}
}

func (s *stream) recycle(f *sentFrame) {
	clear(f.parts)
	f.parts, f.bytes = f.parts[:0], 0
	s.free = append(s.free, f)
}

// read finds the batches that push carries; false if not now.
func (s *stream) read(pp *peerPart, push *isr.Push, maxBytes int32, res *storage.ReadResult) bool {
	log := pp.part.log
	end := log.LogEndOffset()
	err := log.ReadCached(push.Offset, maxBytes, end, true, res)
	if errors.Is(err, vfs.ErrWouldBlock) {
		if !pp.lookedUp {
			s.lookUp(pp, push.Offset)
			return false
		}
		err = log.Read(push.Offset, maxBytes, end, true, res)
	}
	pp.lookedUp = false
	switch {
	case err == nil:
		return true
	case errors.Is(err, storage.ErrOffsetOutOfRange):
		s.mark(pp) // the log's start or end has just moved; the sender looks again
	default:
		slog.Error("cannot read what a follower needs; trying again in a second", "topic", pp.part.topic.name,
			"partition", pp.part.index, "follower", s.peer, "offset", push.Offset, "error", err)
		s.markLater(pp, 1000)
	}
	return false
}

// nextOffset is the offset after what was read.
func nextOffset(res *storage.ReadResult) int64 {
	if res.NextOffset > 0 {
		return res.NextOffset
	}
	// One large batch, whose end only its header tells.
	var header [record.HeaderSize]byte
	if _, err := res.Region.File.ReadAt(header[:], res.Region.Position); err != nil {
		return res.BaseOffset // the follower answers with where it is
	}
	return record.Batch(header[:]).NextOffset()
}

// pushLookup has a worker find the place of an offset, which may wait for the
// disk.
type pushLookup struct {
	pp     *peerPart
	offset int64
}

func (s *stream) lookUp(pp *peerPart, offset int64) {
	pp.looking = true
	if !s.loop.srv.workers.submit(&pushLookup{pp, offset}) {
		pp.looking = false
	}
}

// serve implements job.
func (j *pushLookup) serve(*Broker) {
	log := j.pp.part.log
	var res storage.ReadResult
	if err := log.Read(j.offset, frameBytes, log.LogEndOffset(), true, &res); err == nil {
		res.Region.Release()
	}
	j.pp.stream.loop.post(func(any) error {
		s := j.pp.stream
		s.loop.tickClock()
		j.pp.looking, j.pp.lookedUp = false, true
		s.mark(j.pp)
		s.loop.settle()
		return nil
	}, nil)
}

// onAnswer takes the follower's answer to the oldest frame in flight.
func (s *stream) onAnswer(frame []byte) error {
	if len(frame) < 4 || len(s.inFlight) == 0 || int32(binary.BigEndian.Uint32(frame)) != s.inFlight[0].corr {
		return fmt.Errorf("%w: broker %d answered a replication frame that is not due", errMalformed, s.peer)
	}
	f := s.inFlight[0]
	reply, rest, err := isr.ParseFrameReply(frame[4:])
	if err != nil || reply.Code != 0 || int(reply.Count) != len(f.parts) {
		return fmt.Errorf("%w: broker %d refused a replication frame of %d pushes: code %d, %d results",
			errMalformed, s.peer, len(f.parts), reply.Code, reply.Count)
	}
	s.inFlight = append(s.inFlight[:0], s.inFlight[1:]...)
	s.bytes -= f.bytes
	for _, pp := range f.parts {
		result, err := isr.ParsePushResult(rest)
		if err != nil {
			return err
		}
		rest = rest[isr.ResultBytes:]
		if pp.index >= 0 {
			s.result(pp, &result)
		}
	}
	s.recycle(f)
	if len(s.dirty) > 0 {
		s.queueFill()
	}
	return nil
}

// result takes the answer to one push.
func (s *stream) result(pp *peerPart, r *isr.PushResult) {
	l, p := s.loop, pp.part
	acked, event := pp.sender.Result(r, p.log, l.monoMs)
	switch event.Kind {
	case isr.Reprobe:
		if event.BackoffMs > 0 {
			s.markLater(pp, int64(event.BackoffMs))
		}
	case isr.Diverged:
		slog.Warn("a follower's log differs from its leader's and is cut back", "topic", p.topic.name, "partition", p.index,
			"follower", s.peer, "epoch", pp.epoch, "records", event.Lost)
	}
	if acked >= 0 {
		moved, proposal := p.Acked(pp.epoch, s.peer, acked, pp.sender.LogStartOffset(), l.monoMs)
		if moved {
			p.advanced(l)
		}
		if proposal != nil {
			l.srv.broker.proposeISR(p, pp.epoch, proposal)
		}
	}
	if p.deleting.Load() > 0 {
		p.wakeDeletes()
		if pp.sender.LogStartOffset() < p.log.LogStartOffset() {
			s.markLater(pp, logStartDelayMs)
		}
	}
	switch end := p.log.LogEndOffset(); {
	case pp.sender.Wants(end, -1): // records, not only a high watermark
		s.mark(pp)
	case pp.sender.Wants(end, p.HighWatermark()):
		s.markLater(pp, highWatermarkDelayMs)
	}
}

// advanced follows a move of the high watermark by a follower's answer. l is
// the loop of the partition's streams.
func (p *partition) advanced(l *loop) {
	p.wakeWaiters(l, true)
	if list := p.streamed.Load(); list != nil {
		for _, pp := range *list {
			pp.stream.markLater(pp, highWatermarkDelayMs)
		}
	}
}
