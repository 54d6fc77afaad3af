package sim

import (
	"fmt"

	"freshet/metadata"
	"freshet/record"
	"freshet/replication/isr"
	"freshet/storage"
)

// Bounds of a stream, smaller than the broker's so that they are met.
const (
	frameBytes      = 16 << 10 // of batches in a frame
	framePartitions = 8
	streamFrames    = 4
	streamRetry     = 20 * millisecond
	streamMaxRetry  = 500 * millisecond
	// streamSilence is how long a follower may owe an answer before the
	// connection is given up (TCP's user timeout does that for the broker).
	streamSilence = 3 * second
	// highWatermarkDelay is how long a high watermark waits for records to
	// ride on.
	highWatermarkDelay = 5 * millisecond
)

// peerReplica is one follower of one partition that this broker leads.
type peerReplica struct {
	replica *replica
	stream  *stream
	epoch   int32
	sender  isr.Sender
	dirty   bool // in stream.dirty
	gone    bool // the leadership it belonged to has ended
}

// stream is this broker's connection to one follower broker: frames of pushes
// out, frames of results in, in order.
type stream struct {
	b         *broker
	peer      *node
	side      *side
	dialing   bool
	greeted   bool
	retry     Time
	peerEpoch int64 // of the follower's registration, as it said in its hello
	parts     []*peerReplica
	dirty     []*peerReplica
	inFlight  []*sentFrame
	sentAt    Time // of the oldest frame in flight
}

type sentFrame struct{ parts []*peerReplica }

// streamHello and streamFrame are what travels: bytes in the formats of
// docs/format/replication.md, behind a request header that is left out.
type (
	streamHello   struct{ body []byte }
	streamWelcome struct{ body []byte }
	streamFrame   struct {
		body []byte
		lend []pages // the record batches in it
	}
	streamReply struct{ body []byte }
)

func (f streamFrame) lent() []pages { return f.lend }

func (b *broker) streamTo(id int32) *stream {
	for _, s := range b.streams {
		if s.peer.id == id {
			return s
		}
	}
	s := &stream{b: b, peer: b.node.world.nodes[id-firstNode]}
	b.streams = append(b.streams, s)
	return s
}

func (s *stream) add(pr *peerReplica) {
	s.parts = append(s.parts, pr)
	pr.sender.Start(pr.epoch)
	if !s.greeted {
		s.dial()
		return
	}
	pr.joined()
	s.mark(pr)
}

// joined tells the leader which incarnation of the follower answers now.
func (pr *peerReplica) joined() {
	pr.replica.part.Joined(pr.epoch, pr.stream.peer.id, pr.stream.peerEpoch)
}

func (s *stream) remove(pr *peerReplica) {
	pr.gone = true
	for i, o := range s.parts {
		if o == pr {
			s.parts = append(s.parts[:i:i], s.parts[i+1:]...)
			return
		}
	}
}

// mark has the stream look at a partition soon.
func (s *stream) mark(pr *peerReplica) {
	if pr.dirty || pr.gone {
		return
	}
	pr.dirty = true
	s.dirty = append(s.dirty, pr)
	if len(s.dirty) == 1 {
		s.b.proc.defers(s.fill)
	}
}

func (s *stream) markLater(pr *peerReplica, d Time) {
	s.b.proc.after(d, func() { s.mark(pr) })
}

func (s *stream) dial() {
	if s.dialing || s.side != nil {
		return
	}
	img := s.b.image()
	other, self := img.Broker(s.peer.id), img.Broker(s.b.node.id)
	if other == nil || self == nil {
		s.b.proc.after(streamRetry, s.dialAgain)
		return
	}
	s.dialing = true
	s.b.node.world.net.dial(s.b.proc, s.b.node.host, s.peer.host, serviceReplication, func(sd *side) {
		s.dialing = false
		if sd == nil {
			s.failed()
			return
		}
		s.side = sd
		s.b.node.hold(sd)
		sd.closed = s.down
		sd.receive = s.receive
		hello := isr.Hello{ClusterID: clusterID, From: s.b.node.id, FromEpoch: self.Epoch, To: s.peer.id}
		s.sentAt = s.b.node.world.sched.now
		sd.send(streamHello{hello.Append(nil)}, 60)
		s.watch(sd)
	})
}

func (s *stream) dialAgain() {
	if len(s.parts) > 0 {
		s.dial()
	}
}

func (s *stream) failed() {
	s.retry = min(max(2*s.retry, streamRetry), streamMaxRetry)
	s.b.proc.after(s.retry, s.dialAgain)
}

// down takes note that the connection has ended: whatever was in flight is
// void, and every partition starts anew with the next one.
func (s *stream) down() {
	if s.side != nil {
		s.side.close()
	}
	s.side, s.greeted, s.inFlight = nil, false, nil
	s.clearDirty()
	s.failed()
}

// watch gives up a connection whose other end owes an answer for too long.
func (s *stream) watch(sd *side) {
	s.b.proc.after(streamSilence/3, func() {
		if s.side != sd {
			return
		}
		if (!s.greeted || len(s.inFlight) > 0) && s.b.node.world.sched.now-s.sentAt > streamSilence {
			s.down()
			return
		}
		s.watch(sd)
	})
}

func (s *stream) receive(m any) {
	switch m := m.(type) {
	case streamWelcome:
		reply, err := isr.ParseHelloReply(m.body)
		if err != nil || reply.Code != isr.CodeNone || reply.BrokerEpoch < s.b.image().BrokerEpoch(s.peer.id) {
			s.down()
			return
		}
		s.greeted, s.retry, s.peerEpoch = true, 0, reply.BrokerEpoch
		for _, pr := range s.parts {
			pr.sender.Start(pr.epoch)
			pr.joined()
			s.mark(pr)
		}
	case streamReply:
		if err := s.answered(m.body); err != nil {
			s.b.tracef("stream to %s: %v", s.peer, err)
			s.down()
		}
	}
}

// renewStreams connects anew to brokers that registered again.
func (b *broker) renewStreams(old, next *metadata.Image) {
	for _, s := range b.streams {
		if epoch := next.BrokerEpoch(s.peer.id); s.greeted && epoch != old.BrokerEpoch(s.peer.id) && epoch != s.peerEpoch {
			s.down()
		}
	}
}

// fill sends frames until the window is full or nothing is left to send.
func (s *stream) fill() {
	for s.greeted && s.side != nil && len(s.dirty) > 0 && len(s.inFlight) < streamFrames {
		s.fillFrame()
	}
	if !s.greeted {
		s.clearDirty()
	}
}

func (s *stream) clearDirty() {
	for _, pr := range s.dirty {
		pr.dirty = false
	}
	s.dirty = nil
}

// fillFrame sends one frame of what the next partitions have.
func (s *stream) fillFrame() {
	var body []byte
	var lend []pages
	f := &sentFrame{}
	size := 0
	for len(s.dirty) > 0 && len(f.parts) < framePartitions && size < frameBytes {
		pr := s.dirty[0]
		s.dirty = s.dirty[1:]
		pr.dirty = false
		if pr.gone {
			continue
		}
		push, records, ok := pr.next()
		if !ok {
			continue
		}
		body = push.Append(body)
		if size += len(records.want); len(records.want) > 0 {
			body = append(body, records.want...)
			lend = append(lend, records)
		}
		f.parts = append(f.parts, pr)
		if pr.sender.Wants(pr.replica.log.LogEndOffset(), -1) {
			s.mark(pr)
		}
	}
	if len(f.parts) == 0 {
		return
	}
	header := isr.FrameHeader{From: s.b.node.id, BrokerEpoch: s.b.epoch, To: s.peer.id, Count: int32(len(f.parts))}
	if len(s.inFlight) == 0 {
		s.sentAt = s.b.node.world.sched.now
	}
	s.inFlight = append(s.inFlight, f)
	s.side.send(streamFrame{append(header.Append(nil), body...), lend}, len(body))
}

// next is the partition's next push with the records that go with it.
func (pr *peerReplica) next() (isr.Push, pages, bool) {
	r := pr.replica
	push, ok := pr.sender.Next(r.log, r.log.HighWatermark())
	if !ok {
		return push, pages{}, false
	}
	push.TopicID, push.Partition = r.topicID, r.at.partition
	if push.Kind != isr.Append {
		return push, pages{}, true
	}
	if push.Offset >= r.log.LogEndOffset() {
		pr.sender.Sent(push.Offset, 0, r.b.monotonicMs())
		return push, pages{}, true
	}
	var res storage.ReadResult
	if err := r.log.Read(push.Offset, 4096, r.log.LogEndOffset(), true, &res); err != nil || res.Region.Length == 0 {
		pr.stream.markLater(pr, 20*millisecond)
		return push, pages{}, false
	}
	records, err := r.b.node.disk.lend(&res)
	if err != nil {
		r.b.tracef("%s: cannot read what %s needs at offset %d: %v", r.at, pr.stream.peer, push.Offset, err)
		pr.stream.markLater(pr, 100*millisecond)
		return push, pages{}, false
	}
	next := push.Offset
	for rest := records.want; len(rest) > 0; {
		size, err := record.Peek(rest)
		if err != nil {
			panic(fmt.Sprintf("BUG: sim: a region of %s ends inside a batch: %v", r.at, err))
		}
		next = record.Batch(rest[:size]).NextOffset()
		rest = rest[size:]
	}
	push.Length = int32(len(records.want))
	pr.sender.Sent(next, push.Length, r.b.monotonicMs())
	return push, records, true
}

// lend gives a region's pages to a socket, and releases the region: the pages
// stay the file's.
func (d *disk) lend(res *storage.ReadResult) (pages, error) {
	at := res.Region.Position
	d.lastRead = nil
	data, err := readRegion(res)
	if err != nil || d.lastRead == nil {
		return pages{}, err
	}
	return pages{node: d.lastRead, name: d.lastName, at: at, want: data}, nil
}

// readRegion copies a region's bytes and releases it.
func readRegion(res *storage.ReadResult) ([]byte, error) {
	defer res.Region.Release()
	if res.Region.Length == 0 {
		return nil, nil
	}
	data := make([]byte, res.Region.Length)
	if _, err := res.Region.File.ReadAt(data, res.Region.Position); err != nil {
		return nil, err
	}
	return data, nil
}

// answered takes the results of the oldest frame in flight.
func (s *stream) answered(body []byte) error {
	if len(s.inFlight) == 0 {
		return fmt.Errorf("an answer that nothing is owed")
	}
	f := s.inFlight[0]
	s.inFlight = s.inFlight[1:]
	s.sentAt = s.b.node.world.sched.now
	reply, rest, err := isr.ParseFrameReply(body)
	if err != nil {
		return err
	}
	if reply.Code != isr.CodeNone || int(reply.Count) != len(f.parts) {
		return fmt.Errorf("a frame of %d pushes was refused with %d", len(f.parts), reply.Code)
	}
	for _, pr := range f.parts {
		result, err := isr.ParsePushResult(rest)
		if err != nil {
			return err
		}
		rest = rest[isr.ResultBytes:]
		if !pr.gone {
			s.result(pr, &result)
		}
	}
	if len(s.dirty) > 0 {
		s.b.proc.defers(s.fill)
	}
	return nil
}

// askAgain ends the pause of a follower that refused, in waitMs.
func (s *stream) askAgain(pr *peerReplica, waitMs int64) {
	s.b.proc.after(Time(waitMs)*millisecond, func() {
		if wait := pr.sender.Retry(s.b.monotonicMs()); wait > 0 {
			s.askAgain(pr, wait)
			return
		}
		s.mark(pr)
	})
}

func (s *stream) result(pr *peerReplica, r *isr.PushResult) {
	log := pr.replica.log
	acked, event := pr.sender.Result(r, log, s.b.monotonicMs())
	switch event.Kind {
	case isr.Reprobe:
		s.b.tracef("%s: %s refuses with %d, asked again in %d ms", pr.replica.at, s.peer, event.Code, event.BackoffMs)
		if event.BackoffMs > 0 {
			s.askAgain(pr, int64(event.BackoffMs))
		}
	case isr.Fenced:
		s.b.tracef("%s: %s follows a newer leader than epoch %d", pr.replica.at, s.peer, pr.epoch)
	case isr.Diverged:
		s.b.tracef("%s: %s had %d records that are not the leader's", pr.replica.at, s.peer, event.Lost)
	}
	if acked >= 0 {
		pr.replica.followerAt(s.peer.id, acked, pr.sender.LogStartOffset())
	}
	if pr.gone {
		return
	}
	switch {
	case pr.sender.Wants(log.LogEndOffset(), -1):
		s.mark(pr)
	case pr.sender.Wants(log.LogEndOffset(), log.HighWatermark()):
		s.markLater(pr, highWatermarkDelay)
	}
}
