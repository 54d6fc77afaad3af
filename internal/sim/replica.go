package sim

import (
	"errors"
	"fmt"
	"math"

	"freshet/metadata"
	"freshet/record"
	"freshet/replication"
	"freshet/replication/isr"
	"freshet/storage"
)

// replica is this broker's replica of one partition: the log and its role, and
// what waits for either. It does what broker/partition.go, turn.go and
// replica_*.go do, on one goroutine.
type replica struct {
	b       *broker
	at      topicPartition
	topicID [16]byte
	log     *storage.Log
	part    *replication.Partition
	state   *metadata.Partition // newest applied
	peers   []*peerReplica      // followers, while this broker leads

	inFlight int      // writes that have not ended
	drained  []func() // to do when none is in flight
	waiting  []*waitingAck
	settled  int64 // grows with each failed write; see parkedSince
}

// waitingAck is an append that is written and not answered yet.
type waitingAck struct {
	nextOffset int64
	replicated bool // waits for the high watermark, else for the log end
	done       func(err error)
}

// Outcomes of appends beside storage's.
var (
	errNoLeader   = errors.New("this broker leads the partition no more")
	errTimedOut   = errors.New("the in-sync replicas have not acknowledged in time")
	errTooFewISR  = errors.New("fewer replicas are in sync than min.insync.replicas")
	errBadRecords = errors.New("the records are damaged")
)

func (r *replica) tracef(format string, args ...any) {
	r.b.tracef("%s: "+format, append([]any{r.at}, args...)...)
}

// produce is a client's or coordinator's append. done is called once, when the
// answer is due; batch belongs to the replica until then.
func (r *replica) produce(batch []byte, acks int16, timeoutMs int64, origin storage.Origin, done func(base int64, err error)) {
	role := r.part.Role()
	switch {
	case !role.Leads || r.b.leaseLapsed():
		done(0, errNoLeader)
		return
	case acks == acksAll && !r.part.EnoughInSync():
		done(0, errTooFewISR)
		return
	}
	opts := record.DefaultValidateOptions()
	opts.NowMs, opts.TimestampAfterMaxMs = r.b.wallMs(), math.MaxInt64
	if _, err := record.Validate(batch, &opts); err != nil {
		done(0, fmt.Errorf("%w: %w", errBadRecords, err))
		return
	}
	req := storage.AppendRequest{Batch: record.Batch(batch), LeaderEpoch: role.LeaderEpoch, NowMs: r.b.wallMs(), Origin: origin}
	var res storage.Reservation
	if err := r.log.Reserve(&req, &res); err != nil {
		done(0, err)
		return
	}
	base := res.BaseOffset
	replicated := acks == acksAll && !role.Solo
	answered := false
	ack := &waitingAck{nextOffset: res.NextOffset, replicated: replicated, done: func(err error) {
		if !answered {
			answered = true
			done(base, err)
		}
	}}
	if res.Duplicate {
		ack.nextOffset = res.WaitOffset
		r.await(ack, timeoutMs)
		return
	}
	r.write(&res, batch, func(err error) {
		if err != nil {
			ack.done(err)
			return
		}
		r.await(ack, timeoutMs)
	})
}

// await answers ack when what it waits for has happened.
func (r *replica) await(ack *waitingAck, timeoutMs int64) {
	if r.reached(ack) {
		ack.done(nil)
		return
	}
	if ack.replicated && !r.part.Role().Leads {
		ack.done(errNoLeader)
		return
	}
	r.waiting = append(r.waiting, ack)
	if ack.replicated {
		r.b.proc.after(Time(timeoutMs)*millisecond, func() { r.give(ack, errTimedOut) })
	}
}

func (r *replica) reached(ack *waitingAck) bool {
	if ack.replicated {
		return r.log.HighWatermark() >= ack.nextOffset
	}
	return r.log.LogEndOffset() >= ack.nextOffset
}

// give answers one waiting append.
func (r *replica) give(ack *waitingAck, err error) {
	for i, w := range r.waiting {
		if w == ack {
			r.waiting = append(r.waiting[:i:i], r.waiting[i+1:]...)
			ack.done(err)
			return
		}
	}
}

// release answers what has been reached.
func (r *replica) release() {
	var due []*waitingAck
	kept := r.waiting[:0:0]
	for _, w := range r.waiting {
		if r.reached(w) {
			due = append(due, w)
		} else {
			kept = append(kept, w)
		}
	}
	r.waiting = kept
	for _, w := range due {
		w.done(nil)
	}
}

// failWaiting answers everything that waits for followers: this broker leads
// no more.
func (r *replica) failWaiting(err error) {
	var failed []*waitingAck
	kept := r.waiting[:0:0]
	for _, w := range r.waiting {
		if w.replicated {
			failed = append(failed, w)
		} else {
			kept = append(kept, w)
		}
	}
	r.waiting = kept
	for _, w := range failed {
		w.done(err)
	}
}

// write brings a reserved batch to the disk, as an engine would, publishes it,
// and reports the outcome.
func (r *replica) write(res *storage.Reservation, batch []byte, done func(err error)) {
	reserved := *res
	sync := r.log.NeedsSync()
	covers := reserved.NextOffset
	if end := r.log.LogEndOffset(); end < reserved.BaseOffset {
		covers = end // writes before it may still be on their way
	}
	r.inFlight++
	r.b.io(func() {
		_, err := reserved.Segment.WriteFile().WriteAt(batch, reserved.Position)
		if err != nil || !sync {
			r.written(&reserved, err, sync, covers, done)
			return
		}
		r.b.fsync(func() {
			if err := reserved.Segment.WriteFile().Sync(); err != nil {
				r.written(&reserved, r.log.SyncFailed(err), sync, covers, done)
				return
			}
			r.written(&reserved, nil, sync, covers, done)
		})
	})
}

// written ends a write: broker/turn.go, writeGroup.WriteDone.
func (r *replica) written(res *storage.Reservation, err error, synced bool, covers int64, done func(err error)) {
	_, err = r.log.Complete(res.Segment, res.BaseOffset, res.NextOffset, res.Position, int64(res.Length), err)
	if err == nil && synced {
		r.log.MarkSynced(covers)
	}
	r.inFlight--
	if err == nil {
		r.appended()
	} else {
		r.tracef("write of offset %d failed: %v", res.BaseOffset, err)
	}
	done(err)
	if r.inFlight == 0 {
		drained := r.drained
		r.drained = nil
		for _, f := range drained {
			f()
		}
	}
}

// Failed implements storage.PublishListener: nothing at or after the offset
// will be published. It is called under the log's lock.
func (r *replica) Failed(fromOffset int64, err error) {
	r.b.proc.defers(func() {
		for _, w := range append([]*waitingAck(nil), r.waiting...) {
			if w.nextOffset > fromOffset && w.nextOffset > r.log.LogEndOffset() {
				r.give(w, err)
			}
		}
	})
}

// Published implements storage.PublishListener; written does what is to do.
func (r *replica) Published(int64) {}

// whenDrained does f when no write is in flight: the log waits for those, and
// here nobody would end them.
func (r *replica) whenDrained(f func()) {
	if r.inFlight == 0 {
		f()
		return
	}
	r.drained = append(r.drained, f)
}

// appended follows a move of the log end.
func (r *replica) appended() {
	r.part.Appended()
	for _, pr := range r.peers {
		pr.stream.mark(pr)
	}
	r.release()
}

// followerAt takes a follower's log end and start.
func (r *replica) followerAt(broker int32, end, start int64) {
	epoch := r.part.LeaderEpoch()
	moved, proposal := r.part.Acked(epoch, broker, end, start, r.b.monotonicMs())
	r.propose(epoch, proposal)
	if moved {
		r.highWatermarkMoved()
	}
}

func (r *replica) highWatermarkMoved() {
	r.release()
	for _, pr := range r.peers {
		pr.stream.markLater(pr, highWatermarkDelay)
	}
}

// tick looks for followers that lag.
func (r *replica) tick() {
	if !r.part.Role().Leads {
		return
	}
	moved, proposal := r.part.Tick(r.b.monotonicMs())
	r.propose(r.part.LeaderEpoch(), proposal)
	if moved {
		r.highWatermarkMoved()
	}
}

// propose asks the controller for another ISR.
func (r *replica) propose(epoch int32, p *isr.Proposal) {
	if p == nil {
		return
	}
	req := alterPartition{leader: r.b.node.id, epoch: r.b.epoch, alteration: metadata.PartitionAlteration{
		TopicID: r.topicID, Partition: r.at.partition, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Recovering: p.Recovering,
	}}
	for i, id := range p.ISR {
		member := metadata.ISRMember{Broker: id, Epoch: p.BrokerEpochs[i]}
		if id == r.b.node.id {
			member.Epoch = r.b.epoch
		}
		req.alteration.NewISR = append(req.alteration.NewISR, member)
	}
	r.tracef("asks for ISR %v at epoch %d, partition epoch %d", req.alteration.NewISR, p.LeaderEpoch, p.PartitionEpoch)
	r.b.node.world.alterationSent(r.b, r.state.ISR, p.ISR)
	r.b.ask(req, func(body any) {
		result := isr.ProposalResult{Proposal: p, Code: codeRequestTimedOut}
		if a, ok := body.(alterPartitionAnswer); ok {
			result.Code, result.LeaderEpoch, result.PartitionEpoch, result.ISR = a.code, a.leaderEpoch, a.partitionEpoch, a.isr
		}
		if result.Code != codeNone {
			r.tracef("ISR %v was not agreed to (error %d)", p.ISR, result.Code)
		}
		r.answered(epoch, result)
	})
}

// answered takes the controller's answer to a proposal.
func (r *replica) answered(epoch int32, result isr.ProposalResult) {
	before := r.log.HighWatermark()
	_, next, backoffMs := r.part.Answered(epoch, result)
	if r.log.HighWatermark() > before {
		r.highWatermarkMoved()
	}
	if next == nil {
		return
	}
	r.b.proc.after(Time(backoffMs)*millisecond, func() {
		if r.part.Pending(epoch, next) {
			r.propose(epoch, next)
		}
	})
}

// bytesBelow is the log's content below an offset.
func (r *replica) bytesBelow(end int64) ([]byte, error) {
	var all []byte
	for at := r.log.LogStartOffset(); at < end; {
		var res storage.ReadResult
		if err := r.log.Read(at, 1<<20, end, true, &res); err != nil {
			return nil, err
		}
		data, err := readRegion(&res)
		if err != nil {
			return nil, err
		}
		next := at
		err = eachBatch(data, func(b record.Batch) error {
			if b.BaseOffset() < end {
				all = append(all, b...)
			}
			next = b.NextOffset()
			return nil
		})
		if err != nil {
			return nil, err
		}
		if next == at {
			return nil, fmt.Errorf("nothing is at offset %d, below %d", at, end)
		}
		at = next
	}
	return all, nil
}
