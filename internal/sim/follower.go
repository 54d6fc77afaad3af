package sim

import (
	"errors"
	"fmt"

	"freshet/record"
	"freshet/replication"
	"freshet/replication/isr"
	"freshet/storage"
)

// inbound is one connection on which a leader pushes.
type inbound struct {
	b       *broker
	side    *side
	greeted bool
	from    int32    // the leader's broker id
	replies []*reply // in the order of their frames
}

// reply is the answer to one frame: due when each of its pushes is.
type reply struct {
	results []isr.PushResult
	open    int
	body    []byte // the frame, until its records are written
}

func (b *broker) acceptStream(s *side) {
	b.hold(s)
	in := &inbound{b: b, side: s}
	s.receive = in.receive
}

func (b *broker) hold(s *side) {
	s.proc = b.proc
	b.node.hold(s)
}

func (in *inbound) receive(m any) {
	switch m := m.(type) {
	case streamHello:
		in.hello(m.body)
	case streamFrame:
		// The receive buffer is this broker's own.
		if !in.greeted || !in.frame(append([]byte(nil), m.body...)) {
			in.side.close()
		}
	}
}

func (in *inbound) hello(body []byte) {
	hello, err := isr.ParseHello(body)
	if err != nil {
		in.side.close()
		return
	}
	reply := isr.HelloReply{BrokerEpoch: in.b.epoch}
	switch {
	case hello.ClusterID != clusterID:
		reply.Code = isr.CodeInconsistentClusterID
	case hello.To != in.b.node.id:
		reply.Code = isr.CodeInvalidRequest
	case hello.FromEpoch < in.b.img.BrokerEpoch(hello.From):
		reply.Code = isr.CodeStaleBrokerEpoch
	case reply.BrokerEpoch < 0:
		reply.Code = isr.CodeBrokerIDNotRegistered
	default:
		in.greeted, in.from = true, hello.From
	}
	in.side.send(streamWelcome{reply.Append(nil)}, 20)
}

// frame takes the pushes of one frame. It is false when the bytes make none.
func (in *inbound) frame(body []byte) bool {
	header, rest, err := isr.ParseFrameHeader(body)
	if err != nil || header.To != in.b.node.id || header.From != in.from {
		return false
	}
	rp := &reply{results: make([]isr.PushResult, header.Count), open: 1, body: body}
	in.replies = append(in.replies, rp)
	for i := range int(header.Count) {
		var push isr.Push
		var records []byte
		if push, records, rest, err = isr.NextPush(rest); err != nil {
			return false
		}
		rp.open++
		in.push(push, records, func(result isr.PushResult) {
			rp.results[i] = result
			in.ended(rp)
		})
	}
	in.ended(rp)
	return true
}

// ended notes that one part of a frame is done, and sends what is complete.
func (in *inbound) ended(rp *reply) {
	if rp.open--; rp.open > 0 {
		return
	}
	recycle(rp.body)
	for len(in.replies) > 0 && in.replies[0].open == 0 {
		rp := in.replies[0]
		in.replies = in.replies[1:]
		head := isr.FrameReply{Count: int32(len(rp.results))}
		body := head.Append(nil)
		for i := range rp.results {
			body = rp.results[i].Append(body)
		}
		in.side.send(streamReply{body}, len(body))
	}
}

// recycle gives a receive buffer back: what it held is overwritten by the next
// frame.
func recycle(buffer []byte) {
	for i := range buffer {
		buffer[i] = 0xDB
	}
}

// push does what one push asks, and answers when that is done: what
// broker/replicate_serve.go does.
func (in *inbound) push(p isr.Push, records []byte, done func(isr.PushResult)) {
	r, role, code := in.followed(&p)
	if code != isr.CodeNone {
		done(p.Refusal(code))
		return
	}
	action, offset, code := isr.Follow(role.LeaderEpoch, r.log, &p)
	if action == isr.Accept && offset != r.log.ReservedEndOffset() {
		action, code = isr.Refuse, isr.CodeOffsetOutOfRange
	}
	switch action {
	case isr.Refuse:
		done(p.Result(code, r.log))
	case isr.Answer:
		r.whenDrained(func() { done(p.Result(isr.CodeNone, r.log)) })
	case isr.Truncate, isr.StartAt:
		r.whenDrained(func() { done(r.cutBack(&p, action, offset)) })
	case isr.Accept:
		r.replicate(&p, records, done)
	}
}

// followed finds the replica that a push is for; the code says why this broker
// does not follow the sender in it.
func (in *inbound) followed(p *isr.Push) (*replica, *replication.Role, int16) {
	r := in.b.replicaByID(p.TopicID, p.Partition)
	if r == nil {
		return nil, nil, isr.CodeUnknownTopicID
	}
	role := r.part.Role()
	switch {
	case role.LeaderEpoch < p.LeaderEpoch:
		return nil, nil, isr.CodeUnknownLeaderEpoch
	case role.LeaderEpoch > p.LeaderEpoch:
		return nil, nil, isr.CodeFencedLeaderEpoch
	case role.Leads || role.LeaderID != in.from:
		return nil, nil, isr.CodeNotLeaderOrFollower
	case r.part.Truncating():
		return nil, nil, isr.CodeOffsetOutOfRange
	}
	return r, role, isr.CodeNone
}

// cutBack drops what the leader does not have.
func (r *replica) cutBack(p *isr.Push, action isr.Action, offset int64) isr.PushResult {
	before, hw := r.log.LogEndOffset(), r.log.HighWatermark()
	_, err := r.part.WhileFollowing(p.LeaderEpoch, func() error {
		if action == isr.StartAt {
			return r.log.TruncateFullyAndStartAt(offset)
		}
		_, err := r.log.TruncateTo(offset)
		return err
	})
	switch {
	case errors.Is(err, replication.ErrRoleChanged):
		return p.Result(isr.CodeFencedLeaderEpoch, r.log)
	case err != nil:
		r.tracef("could not be cut back to %d: %v", offset, err)
		return p.Result(isr.CodeStorageError, r.log)
	}
	r.tracef("cut back from %d to %d by its leader at epoch %d (%s), high watermark was %d", before, r.log.LogEndOffset(), p.LeaderEpoch, action, hw)
	return p.Result(isr.CodeNone, r.log)
}

// replicate appends a leader's records and answers when all are written. The
// answer says where the log ends then.
func (r *replica) replicate(p *isr.Push, records []byte, done func(isr.PushResult)) {
	open, result := 1, p.Result(isr.CodeNone, r.log)
	ended := func(code int16) {
		if code != isr.CodeNone {
			result.Code = code
		}
		if open--; open == 0 {
			done(result)
		}
	}
	end := p.Offset
	for len(records) > 0 {
		batch, err := nextReplicated(records, p.LeaderEpoch, end)
		if err != nil {
			r.tracef("its leader sent damaged records at offset %d: %v", end, err)
			result.Code = isr.CodeCorruptMessage
			break
		}
		records = records[len(batch):]
		req := storage.AppendRequest{Batch: batch, LeaderEpoch: p.LeaderEpoch, NowMs: r.b.wallMs(), Origin: storage.OriginReplication, Follows: end}
		var res storage.Reservation
		if err := r.log.Reserve(&req, &res); err != nil {
			r.tracef("cannot append offset %d: %v", batch.BaseOffset(), err)
			result.Code = reserveCode(err)
			break
		}
		open++
		end = res.NextOffset
		r.write(&res, batch, func(err error) {
			if err != nil {
				ended(isr.CodeStorageError)
				return
			}
			r.await(&waitingAck{nextOffset: res.NextOffset, done: func(err error) {
				if err != nil {
					ended(isr.CodeStorageError)
					return
				}
				ended(isr.CodeNone)
			}}, 0)
		})
	}
	result.LogEndOffset, result.LastEpoch = end, r.log.LatestEpoch()
	r.part.NoteLeader(p.HighWatermark)
	ended(result.Code)
}

// nextReplicated takes the first batch off records: whole, sound, at or after
// end and of an epoch that its leader can have.
func nextReplicated(records []byte, leaderEpoch int32, end int64) (record.Batch, error) {
	size, err := record.Peek(records)
	if err != nil {
		return nil, err
	}
	b := record.Batch(records[:size:size])
	switch {
	case b.BaseOffset() < end:
		return nil, fmt.Errorf("batch at offset %d, expected %d", b.BaseOffset(), end)
	case b.LeaderEpoch() > leaderEpoch:
		return nil, fmt.Errorf("batch of leader epoch %d from a leader of epoch %d", b.LeaderEpoch(), leaderEpoch)
	}
	return b, b.CheckCRC()
}
