package broker

import (
	"context"
	"hash/maphash"
	"log/slog"
	"slices"
	"time"

	"freshet/coordinator/group"
	"freshet/metadata"
	"freshet/replication"
	"freshet/replication/isr"
)

// live reports whether img holds this process's own registration. Before it
// does, what img says of leaders is about an earlier incarnation: a broker that
// took itself for the leader on the strength of its old metadata would serve
// beside the one that followed it.
func (b *Broker) live(img *metadata.Image) bool {
	self := img.Broker(b.Config().NodeID)
	return self != nil && self.Epoch == b.brokerEpoch()
}

// assignRoles gives this broker's replicas of a topic the roles that the
// metadata says. topicMu is held.
func (b *Broker) assignRoles(img *metadata.Image, have *topic, t *metadata.Topic) {
	live := b.live(img)
	for _, p := range have.hosted() {
		if meta := t.Partitions[p.index]; meta != p.meta || live != p.live {
			p.meta, p.live = meta, live
			b.assignRole(p, meta, live)
		}
	}
}

// assignRole applies one partition's state.
func (b *Broker) assignRole(p *partition, meta *metadata.Partition, live bool) {
	switch self := b.Config().NodeID; {
	case !live:
		if p.Role().Leads {
			p.Follow(-1, meta.LeaderEpoch)
			b.ledNoMore(p)
		}
	case meta.Leader == self:
		b.lead(p, meta)
	default:
		led := p.Role().Leads
		if p.Follow(meta.Leader, meta.LeaderEpoch) && led {
			b.ledNoMore(p)
		}
	}
}

// lead makes this broker the leader of p, or applies what changed while it is.
func (b *Broker) lead(p *partition, meta *metadata.Partition) {
	cfg := b.Config()
	a := replication.Assignment{LeaderID: meta.Leader, LeaderEpoch: meta.LeaderEpoch, PartitionEpoch: meta.PartitionEpoch,
		Replicas: meta.Replicas, ISR: meta.ISR, Recovering: meta.Recovering}
	o := replication.Options{Self: cfg.NodeID, LagTimeMaxMs: cfg.ReplicaLagTimeMaxMs, Eligible: b.eligible}
	isNew, proposal, err := p.Lead(&a, &o, monotonicMs())
	if err != nil {
		slog.Info("this broker is to lead a partition, and will when its log is truncated to what the leader before had", "topic", p.topic.name,
			"partition", p.index, "leader_epoch", meta.LeaderEpoch)
		return
	}
	b.stream(p, isNew)
	p.wakeWaiters(nil, true)
	p.wakeDeletes()
	p.wakeStreams(nil) // the high watermark may have moved, which followers are to know
	if proposal != nil {
		b.proposeISR(p, meta.LeaderEpoch, proposal)
	}
	if isNew && p.topic.name == group.OffsetsTopic && b.group != nil {
		b.group.BecomeLeader(p.index)
	}
}

// leadNow makes this broker the leader of p after all, if the metadata still
// says so: it could not begin while the log was being truncated.
func (b *Broker) leadNow(p *partition) {
	b.topicMu.Lock()
	defer b.topicMu.Unlock()
	if p.meta != nil && !p.deleted.Load() {
		b.assignRole(p, p.meta, p.live)
	}
}

// ledNoMore ends what only a leader does: clients that wait for p are sent to
// the next one.
func (b *Broker) ledNoMore(p *partition) {
	b.stream(p, true)
	p.failAcks(errNoLeader)
	p.wakeDeletes()
	p.wakeAll()
	if p.topic.name == group.OffsetsTopic && b.group != nil {
		b.group.Resign(p.index)
	}
}

// stream brings the streams to p's followers in line with its role. With anew
// all of them begin again, as they must at a new leader epoch.
func (b *Broker) stream(p *partition, anew bool) {
	role := p.Role()
	var old, next []*peerPart
	if list := p.streamed.Load(); list != nil {
		old = *list
	}
	for _, pp := range old {
		if !anew && slices.Contains(role.Followers, pp.stream.peer) {
			next = append(next, pp)
			continue
		}
		peerTask{pp: pp, remove: true}.post()
	}
	for _, id := range role.Followers {
		if !slices.ContainsFunc(next, func(pp *peerPart) bool { return pp.stream.peer == id }) {
			pp := &peerPart{part: p, stream: p.streamLoop().streamTo(id), epoch: role.LeaderEpoch, index: -1}
			next = append(next, pp)
			peerTask{pp: pp}.post()
		}
	}
	p.streamed.Store(&next)
}

// renewStreams connects anew to brokers that registered again: a connection to
// the incarnation before may look alive for minutes when its machine lost power.
func (b *Broker) renewStreams(old, next *metadata.Image) {
	for i := range next.Brokers {
		peer := &next.Brokers[i]
		if before := old.Broker(peer.ID); before == nil || before.Epoch == peer.Epoch {
			continue
		}
		for _, l := range b.net.loops {
			s := l.streamTo(peer.ID)
			l.post(func(any) error {
				if s.conn != nil && s.link.peerEpoch != peer.Epoch {
					l.tickClock()
					l.closeConn(s.conn, errNewIncarnation)
					l.settle()
				}
				return nil
			}, nil)
		}
	}
}

var loopSeed = maphash.MakeSeed()

// streamLoop is the loop that pushes p to its followers.
func (p *partition) streamLoop() *loop {
	h := maphash.Comparable(loopSeed, p.topic.id)
	return p.loops[(h+uint64(p.index))%uint64(len(p.loops))]
}

// eligible reports whether a broker may join in-sync replicas (KIP-841). It asks
// the newest image, also while that is being taken over: whom it fences must
// not hold the high watermark back any more.
func (b *Broker) eligible(id int32) bool { return b.newest.Load().Active(id) }

// proposeISR asks the controller for a change of in-sync replicas. Its answer
// comes back to the partition, and may lead to the next proposal.
func (b *Broker) proposeISR(p *partition, epoch int32, proposal *isr.Proposal) {
	b.changeISR(isrChange{topicID: p.topic.id, partition: p.index, proposal: *proposal, epochs: b.memberEpochs(proposal),
		answer: func(a isrAnswer) {
			r := isr.ProposalResult{Proposal: proposal, LeaderEpoch: a.leaderEpoch, PartitionEpoch: a.partitionEpoch, ISR: a.isr}
			if a.err != nil {
				r.Code = a.err.Code
			} else {
				b.isrChanged(p, a.isr, a.partitionEpoch)
			}
			moved, next, backoffMs := p.Answered(epoch, r)
			if moved {
				p.wakeWaiters(nil, true)
				p.wakeStreams(nil)
			}
			switch {
			case next == nil && r.Code == isr.CodeIneligibleReplica:
				// It may be eligible in a moment: its stream has not greeted the
				// broker's new incarnation yet, say. On an idle partition nothing
				// else would ask again before the look for lag.
				b.later(ineligibleRetryMs, func() { b.checkPartition(p, monotonicMs()) })
			case next == nil:
			case backoffMs == 0:
				b.proposeISR(p, epoch, next)
			default:
				b.later(backoffMs, func() {
					if p.Pending(epoch, next) {
						b.proposeISR(p, epoch, next)
					}
				})
			}
		}})
}

// ineligibleRetryMs is a little more than the pause that isr.Leader keeps.
const ineligibleRetryMs = 250

// later runs f in delayMs unless the broker stops before.
func (b *Broker) later(delayMs int64, f func()) {
	time.AfterFunc(time.Duration(delayMs)*time.Millisecond, func() {
		if !b.stopped.Load() {
			f()
		}
	})
}

// memberEpochs are the epochs of the incarnations whose logs the proposal rests
// on (KIP-903): the followers', and this broker's own.
func (b *Broker) memberEpochs(proposal *isr.Proposal) []int64 {
	epochs := slices.Clone(proposal.BrokerEpochs)
	for i, id := range proposal.ISR {
		if id == b.Config().NodeID {
			epochs[i] = b.brokerEpoch()
		}
	}
	return epochs
}

// leaseLapsed answers the producers that wait for followers when this broker
// has not heard from the controller for so long that others may lead by now: it
// may be cut off, and they should look for the new leaders.
func (b *Broker) leaseLapsed() {
	slog.Warn("the active controller has not answered for broker.session.timeout.ms: others may lead by now, so this broker refuses records (NOT_LEADER_OR_FOLLOWER) until it does; " +
		"see that a majority of the controllers runs and that this broker reaches them")
	for _, t := range b.net.topics.all() {
		for _, p := range t.hosted() {
			if role := p.Role(); role.Leads && !role.Solo {
				p.failAcks(errNoLeader)
			}
		}
	}
}

// watchLag calls checkLag twice in each replica.lag.time.max.ms until ctx ends.
func (b *Broker) watchLag(ctx context.Context) {
	for {
		select {
		case <-time.After(max(time.Millisecond, time.Duration(b.Config().ReplicaLagTimeMaxMs)*time.Millisecond/2)):
			b.checkLag()
		case <-ctx.Done():
			return
		}
	}
}

// checkLag looks for followers that lag or have caught up, in all partitions
// this broker leads.
func (b *Broker) checkLag() {
	now := monotonicMs()
	for _, t := range b.net.topics.all() {
		for _, p := range t.hosted() {
			b.checkPartition(p, now)
		}
	}
}

// checkPartition is checkLag for one partition.
func (b *Broker) checkPartition(p *partition, nowMs int64) {
	role := p.Role()
	if !role.Leads || role.Solo {
		return
	}
	moved, proposal := p.Tick(nowMs)
	p.wakeDeletes() // a follower that was fenced counts no more
	if moved {
		p.wakeWaiters(nil, true)
		p.wakeStreams(nil)
	}
	if proposal != nil {
		slog.Debug("in-sync replicas are to change: followers have lagged for replica.lag.time.max.ms, or have caught up",
			"topic", p.topic.name, "partition", p.index, "wanted", proposal.ISR)
		b.proposeISR(p, role.LeaderEpoch, proposal)
	}
}
