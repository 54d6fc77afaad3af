package broker

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/record"
	"freshet/replication"
	"freshet/replication/isr"
	"freshet/storage"
	"freshet/wire"
)

// Replicate, versions 0 and 1, an API of this broker's own: a leader pushes to
// this follower (docs/format/replication.md).
//
//	v0   a frame of pushes: probes, truncations and records of many partitions
//	v1   the hello that must come first
//
// Records are handled in place on the loop like a Produce, and share its turns
// and writes. What waits for the disk, truncating and the like, is done on a
// worker, while the connection's other partitions go on.
func init() {
	register(API{Key: 120, Min: replicatePush, Max: replicateHello, hot: handleReplicate, private: true})
}

// replica is the leader at the other end of a connection that has said hello.
type replica struct {
	greeted bool
	broker  int32
}

func handleReplicate(c *conn, h *wire.Header, body []byte, ch *chunk) error {
	if h.Version == replicateHello {
		return c.replicateHello(h, body)
	}
	header, rest, err := isr.ParseFrameHeader(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if !c.replica.greeted || header.From != c.replica.broker || header.To != c.loop.srv.broker.Config().NodeID {
		return fmt.Errorf("%w: replication frame from broker %d to %d without a hello of theirs", errMalformed, header.From, header.To)
	}
	if err := checkPushes(rest, header.Count); err != nil {
		return fmt.Errorf("%w: replication frame: %w", errMalformed, err)
	}
	s := c.openTurnSlot()
	start := len(s.buf)
	s.buf = append(s.buf, 0, 0, 0, 0)
	s.buf = appendInt32(s.buf, h.CorrelationID)
	reply := isr.FrameReply{Count: header.Count}
	s.buf = reply.Append(s.buf)
	for range header.Count {
		var push isr.Push
		var records []byte
		push, records, rest, _ = isr.NextPush(rest) // checked
		c.takePush(s, &push, records, ch)
	}
	putSize(s.buf[start:])
	return nil
}

// checkPushes walks a whole frame, so that a malformed one is refused before
// any of it is carried out.
func checkPushes(b []byte, count int32) error {
	var err error
	for range count {
		if _, _, b, err = isr.NextPush(b); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return isr.ErrMalformed
	}
	return nil
}

// replicateHello checks that both sides mean the same cluster and brokers.
func (c *conn) replicateHello(h *wire.Header, body []byte) error {
	hello, err := isr.ParseHello(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	b := c.loop.srv.broker
	img := b.meta.Image()
	reply := isr.HelloReply{BrokerEpoch: b.brokerEpoch()}
	from := img.Broker(hello.From)
	switch {
	case c.listener != b.interBrokerListener():
		return fmt.Errorf("%w: replication on listener %s; brokers replicate over %s (inter.broker.listener.name)", errMalformed, c.listener, b.interBrokerListener())
	case hello.ClusterID != img.ClusterID:
		reply.Code = isr.CodeInconsistentClusterID
	case hello.To != b.Config().NodeID:
		reply.Code = isr.CodeInvalidRequest
	case from != nil && from.Epoch > hello.FromEpoch:
		reply.Code = isr.CodeStaleBrokerEpoch
	case reply.BrokerEpoch < 0:
		// Nobody could tell its log ends from those of the life before.
		reply.Code = isr.CodeBrokerIDNotRegistered
	}
	if reply.Code == isr.CodeBrokerIDNotRegistered {
		slog.Debug("a broker that wants to replicate to this one has to wait until it is registered", "from", hello.From, "client", c.remote.String())
	} else if reply.Code != 0 {
		slog.Warn("a broker that wants to replicate to this one was refused", "from", hello.From, "client", c.remote.String(),
			"cluster", hello.ClusterID, "to", hello.To, "error", kerr.ErrorForCode(reply.Code))
	} else {
		c.replica = replica{greeted: true, broker: hello.From}
	}
	s := c.openTurnSlot()
	start := len(s.buf)
	s.buf = append(s.buf, 0, 0, 0, 0)
	s.buf = appendInt32(s.buf, h.CorrelationID)
	s.buf = reply.Append(s.buf)
	putSize(s.buf[start:])
	return nil
}

// takePush carries out one push and appends its result.
func (c *conn) takePush(s *slot, push *isr.Push, records []byte, ch *chunk) {
	p, role, code := c.followed(push)
	if code != 0 {
		result := push.Refusal(code)
		s.buf = result.Append(s.buf)
		return
	}
	action, offset, code := isr.Follow(role.LeaderEpoch, p.log, push)
	if action == isr.Accept && offset != p.log.ReservedEndOffset() {
		action, code = isr.Refuse, isr.CodeOffsetOutOfRange
	}
	switch action {
	case isr.Accept:
		c.appendPush(s, p, push, records, ch)
	case isr.Truncate, isr.StartAt:
		c.truncateFor(s, p, push, action, offset)
	case isr.Answer:
		if p.log.ReservedEndOffset() != p.log.LogEndOffset() {
			c.truncateFor(s, p, push, action, offset) // writes are in flight: answer when they have ended
			return
		}
		result := push.Result(0, p.log)
		s.buf = result.Append(s.buf)
	default:
		result := push.Result(code, p.log)
		s.buf = result.Append(s.buf)
	}
}

// followed finds the partition that push is for; the code says why this broker
// does not follow the sender in it.
func (c *conn) followed(push *isr.Push) (*partition, *replication.Role, int16) {
	t := c.topicByID(push.TopicID)
	if t == nil {
		return nil, nil, isr.CodeUnknownTopicID
	}
	p := t.partition(push.Partition)
	if p == nil || p.deleted.Load() {
		return nil, nil, isr.CodeUnknownTopicOrPart
	}
	role := p.Role()
	switch {
	case role.LeaderEpoch < push.LeaderEpoch:
		return nil, nil, isr.CodeUnknownLeaderEpoch // this broker will hear of it
	case role.LeaderEpoch > push.LeaderEpoch:
		return nil, nil, isr.CodeFencedLeaderEpoch
	case role.Leads || role.LeaderID != c.replica.broker:
		return nil, nil, isr.CodeNotLeaderOrFollower
	case p.Truncating():
		return nil, nil, isr.CodeOffsetOutOfRange // asked again, once its log ends where it will
	}
	return p, role, 0
}

// appendPush appends the batches of a push. The result is complete except for
// the error of the write.
func (c *conn) appendPush(s *slot, p *partition, push *isr.Push, records []byte, ch *chunk) {
	l := c.loop
	ack := pendingAck{slot: s, codeAt: int32(len(s.buf)), follower: true}
	result := push.Result(0, p.log)
	moved := p.NoteLeader(push.HighWatermark) // the logs agree up to here; it goes on as records are written
	end := push.Offset
	for len(records) > 0 {
		batch, err := nextReplicated(records, push.LeaderEpoch, end)
		if err != nil {
			slog.Error("a leader sent records that are not sound; they are refused and asked for again", "topic", p.topic.name,
				"partition", p.index, "leader", c.replica.broker, "offset", end, "error", err)
			result.Code = isr.CodeCorruptMessage
			break
		}
		l.append = storage.AppendRequest{Batch: batch, LeaderEpoch: push.LeaderEpoch, NowMs: l.nowMs,
			Origin: storage.OriginReplication, Follows: end}
		res := &l.reservation
		if err := p.log.Reserve(&l.append, res); err != nil {
			result.Code = followerCode(err)
			break
		}
		l.turn.add(p, res, batch, ch, ack)
		end = res.NextOffset
		records = records[len(batch):]
	}
	l.stats.followedBytes.Add(int64(push.Length) - int64(len(records)))
	// Where the log ends when this answer leaves, which is after the write.
	result.LogEndOffset, result.LastEpoch = end, p.log.LatestEpoch()
	s.buf = result.Append(s.buf)
	if moved {
		p.wakeWaiters(l, true)
	}
	if push.LogStartOffset > p.log.LogStartOffset() && p.HighWatermark() > p.log.LogStartOffset() && !p.cutting.Swap(true) {
		if !l.srv.workers.submit(&logStartJob{part: p, offset: push.LogStartOffset}) {
			p.cutting.Store(false)
		}
	}
}

// logStartJob follows a move of the leader's log start, which removes files.
type logStartJob struct {
	part   *partition
	offset int64
}

// serve implements job.
func (j *logStartJob) serve(*Broker) {
	p := j.part
	defer p.cutting.Store(false)
	if _, err := p.log.DeleteRecordsBefore(min(j.offset, p.HighWatermark())); err != nil && !errors.Is(err, storage.ErrLogClosed) {
		slog.Error("cannot follow the leader's log start offset", "topic", p.topic.name, "partition", p.index, "offset", j.offset, "error", err)
		return
	}
	p.wakeAll()
}

// nextReplicated takes the first batch off records: whole, sound, at or after
// end and of an epoch that its leader can have.
func nextReplicated(records []byte, leaderEpoch int32, end int64) (record.Batch, error) {
	if len(records) < record.HeaderSize {
		return nil, fmt.Errorf("%d bytes are no batch", len(records))
	}
	b := record.Batch(records)
	size := b.SizeInBytes()
	if size < record.HeaderSize || size > len(records) {
		return nil, fmt.Errorf("batch of %d bytes in %d", size, len(records))
	}
	b = b[:size:size]
	switch {
	case b.Magic() != record.MagicV2:
		return nil, fmt.Errorf("batch with magic %d", b.Magic())
	case b.BaseOffset() < end || b.LastOffsetDelta() < 0:
		return nil, fmt.Errorf("batch at offset %d, expected %d", b.BaseOffset(), end)
	case b.LeaderEpoch() > leaderEpoch:
		return nil, fmt.Errorf("batch of leader epoch %d from a leader of epoch %d", b.LeaderEpoch(), leaderEpoch)
	}
	return b, b.CheckCRC()
}

// followerCode is the code a leader is told about a refused append.
func followerCode(err error) int16 {
	switch {
	case errors.Is(err, storage.ErrFencedLeaderEpoch):
		return isr.CodeFencedLeaderEpoch
	case errors.Is(err, storage.ErrUnexpectedAppendOffset), errors.Is(err, storage.ErrTruncating):
		return isr.CodeOffsetOutOfRange
	case errors.Is(err, storage.ErrCorruptBatch):
		return isr.CodeCorruptMessage
	case errors.Is(err, storage.ErrLogClosed):
		return isr.CodeUnknownTopicOrPart
	}
	return isr.CodeStorageError
}

// truncation is a push whose answer waits for the disk. It is done on a worker.
type truncation struct {
	conn   *conn
	slot   *slot
	codeAt int
	part   *partition
	push   isr.Push
	action isr.Action
	offset int64
	result isr.PushResult
}

// truncateFor leaves room for the result and hands the push to the workers.
func (c *conn) truncateFor(s *slot, p *partition, push *isr.Push, action isr.Action, offset int64) {
	job := &truncation{conn: c, slot: s, codeAt: len(s.buf), part: p, push: *push, action: action, offset: offset}
	result := push.Result(isr.CodeStorageError, p.log)
	s.buf = result.Append(s.buf)
	c.loop.turn.end() // what came before must be on its way before the log is cut
	s.wait(1)
	if !c.loop.srv.workers.submit(job) {
		s.done(c.loop)
	}
}

// serve implements job.
func (j *truncation) serve(b *Broker) {
	p := j.part
	code, lead, err := j.carryOut()
	if lead {
		b.net.goPeer(func() { b.leadNow(p) })
	}
	if err != nil {
		slog.Error("cannot truncate the log to what its leader has; trying again", "topic", p.topic.name, "partition", p.index,
			"leader", j.conn.replica.broker, "offset", j.offset, "error", err)
	}
	j.result = j.push.Result(code, p.log)
	j.conn.loop.post(truncatedTask, j)
}

// carryOut also reports whether the broker is to lead the partition now.
func (j *truncation) carryOut() (code int16, lead bool, err error) {
	p, log := j.part, j.part.log
	log.WaitDrained()
	end, hw := log.LogEndOffset(), log.HighWatermark()
	var refused int16
	lead, err = p.WhileFollowing(j.push.LeaderEpoch, func() (err error) {
		// Decided anew: since the first decision, on the loop, another connection
		// of the leader's may have had the log cut and records appended that are
		// committed by now. Follow sees by the last epoch that this push was not
		// for that log.
		j.action, j.offset, refused = isr.Follow(j.push.LeaderEpoch, log, &j.push)
		switch j.action {
		case isr.Truncate:
			_, err = log.TruncateTo(j.offset)
		case isr.StartAt:
			err = log.TruncateFullyAndStartAt(j.offset)
		}
		return err
	})
	switch {
	case errors.Is(err, replication.ErrRoleChanged):
		return isr.CodeFencedLeaderEpoch, lead, nil
	case errors.Is(err, replication.ErrTruncating):
		return isr.CodeOffsetOutOfRange, lead, nil // by another connection
	case err != nil:
		return followerCode(err), lead, err
	case refused != 0:
		return refused, lead, nil
	}
	if now := log.LogEndOffset(); j.action != isr.Answer && now != end {
		slog.Info("log truncated to what its leader has", "topic", p.topic.name, "partition", p.index, "leader_epoch", j.push.LeaderEpoch,
			"log_end_offset_before", end, "log_end_offset", now, "log_start_offset", log.LogStartOffset())
		if now < hw {
			slog.Error("records below the high watermark were truncated after an unclean leader election: they had been acknowledged and are lost here",
				"topic", p.topic.name, "partition", p.index, "from_offset", now, "high_watermark", hw)
		}
	}
	return 0, lead, nil
}

// truncatedTask completes the answer, on the loop.
func truncatedTask(arg any) error {
	j := arg.(*truncation)
	l := j.conn.loop
	l.tickClock()
	if !j.conn.closed {
		j.result.Append(j.slot.buf[:j.codeAt])
	}
	j.slot.done(l)
	l.settle()
	return nil
}
