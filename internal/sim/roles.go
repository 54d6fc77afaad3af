package sim

import (
	"slices"

	"freshet/metadata"
	"freshet/replication"
)

// assign gives the replica the role that the metadata says: what
// broker/replica_roles.go does.
func (r *replica) assign(p *metadata.Partition, live bool) {
	switch self := r.b.node.id; {
	case !live:
		if r.part.Role().Leads {
			r.part.Follow(-1, p.LeaderEpoch)
			r.ledNoMore()
		}
	case p.Leader == self:
		r.lead(p)
	default:
		led := r.part.Role().Leads
		if r.part.Follow(p.Leader, p.LeaderEpoch) {
			r.tracef("follows b%d at epoch %d, log %d..%d, high watermark %d", p.Leader, p.LeaderEpoch,
				r.log.LogStartOffset(), r.log.LogEndOffset(), r.log.HighWatermark())
			if led {
				r.ledNoMore()
			}
		}
	}
}

func (r *replica) lead(p *metadata.Partition) {
	a := replication.Assignment{LeaderID: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, Replicas: p.Replicas, ISR: p.ISR}
	o := replication.Options{Self: r.b.node.id, LagTimeMaxMs: lagTimeMaxMs, Eligible: r.b.eligible}
	before := r.log.HighWatermark()
	isNew, proposal, err := r.part.Lead(&a, &o, r.b.monotonicMs())
	if err != nil {
		panic("BUG: sim: truncations here end before anything else begins: " + err.Error())
	}
	if isNew {
		r.tracef("leads at epoch %d, ISR %v, log %d..%d, high watermark %d", p.LeaderEpoch, p.ISR,
			r.log.LogStartOffset(), r.log.LogEndOffset(), r.log.HighWatermark())
	}
	r.stream(isNew)
	if r.log.HighWatermark() > before {
		r.highWatermarkMoved()
	}
	r.release()
	r.propose(p.LeaderEpoch, proposal)
	if isNew && r.at.topic == offsetTopic {
		r.b.coord[r.at.partition].becomeLeader(p.LeaderEpoch)
	}
}

// ledNoMore ends what only a leader does.
func (r *replica) ledNoMore() {
	r.tracef("leads no more")
	r.stream(true)
	r.failWaiting(errNoLeader)
	if r.at.topic == offsetTopic {
		r.b.coord[r.at.partition].resign()
	}
}

// stream brings the streams to the followers in line with the role.
func (r *replica) stream(anew bool) {
	role := r.part.Role()
	var next []*peerReplica
	for _, pr := range r.peers {
		if !anew && slices.Contains(role.Followers, pr.stream.peer.id) {
			next = append(next, pr)
			continue
		}
		pr.stream.remove(pr)
	}
	for _, id := range role.Followers {
		if !slices.ContainsFunc(next, func(pr *peerReplica) bool { return pr.stream.peer.id == id }) {
			pr := &peerReplica{replica: r, stream: r.b.streamTo(id), epoch: role.LeaderEpoch}
			next = append(next, pr)
			pr.stream.add(pr)
		}
	}
	r.peers = next
}
