package metadata

import "slices"

// election is how a partition's leader may be chosen.
type election int8

const (
	// electOnline keeps the leader, or takes the first replica in sync or
	// eligible.
	electOnline election = iota
	// electPreferred is electOnline, but takes the preferred replica if it is in
	// sync.
	electPreferred
	// electUnclean is electOnline, but takes any live replica rather than none.
	electUnclean
)

// partitionChange is a partition on its way from one state to the next: the
// wanted ISR and replicas are set, and build draws the consequences that hold
// for all changes alike. Kafka: PartitionChangeBuilder.
type partitionChange struct {
	from     *Partition
	isr      []int32
	replicas []int32
	removing []int32
	adding   []int32
	elr      []int32
	// recovering is what the leader reports of itself.
	recovering bool
	// restarted is a broker that came back without having stopped cleanly: it
	// may lack records that it had; -1 for none. forgotten is one that is
	// unregistered.
	restarted, forgotten int32
	// lost: the restarted one holds nothing at all, so it is also not the one to
	// come back to as the last leader.
	lost     bool
	election election
	// acceptable tells whether a broker may lead: it is active and the directory
	// of its replica works.
	acceptable func(id int32) bool
	// topic's settings
	withELR bool
	minISR  int
}

// change begins a change of p that keeps everything.
func (s *topicSettings) change(p *Partition, acceptable func(int32) bool) partitionChange {
	return partitionChange{
		from: p, isr: p.ISR, replicas: p.Replicas, removing: p.RemovingReplicas, adding: p.AddingReplicas,
		elr: p.ELR, recovering: p.Recovering, restarted: -1, forgotten: -1,
		acceptable: acceptable, withELR: s.elr, minISR: min(s.minISR, len(p.Replicas)),
	}
}

// build is the partition after the change, nil when nothing changes. dirs gives
// the directory of replicas that are new.
func (c *partitionChange) build(dirs func(broker int32) UUID) *Partition {
	from := c.from
	next := *from
	c.completeReassignment()
	c.findEligible()
	leader, unclean := c.elect()
	electing := leader != from.Leader
	if electing {
		next.Leader = leader
		if slices.Contains(c.elr, leader) {
			c.isr = []int32{leader}
			c.elr = without(c.elr, c.isr)
			if len(c.isr) >= c.minISR { // it commits alone from now on
				c.elr = nil
			}
		}
	}
	if unclean {
		// What the others have may differ from the new leader's log from here on.
		c.isr, c.elr, c.recovering = []int32{leader}, nil, true
	}
	// A replica that is taken away must not go on following: a new epoch says so.
	bump := electing || !containsAll(c.replicas, from.Replicas)
	if len(c.isr) == 0 && !c.withELR {
		c.isr = from.ISR // the last one in sync stays the only one who may lead
	}
	next.ISR, next.ELR, next.Recovering = c.isr, c.elr, c.recovering
	next.AddingReplicas, next.RemovingReplicas = c.adding, c.removing
	next.LastKnownELR = c.lastKnown(&next)
	if !slices.Equal(c.replicas, from.Replicas) {
		next.Replicas, next.Dirs = c.replicas, replicaDirs(from, c.replicas, dirs)
	}
	if !bump && samePartition(from, &next) {
		return nil
	}
	next.PartitionEpoch++
	if bump {
		next.LeaderEpoch++
	}
	return &next
}

// completeReassignment ends the reassignment if every replica of the target is
// in sync (Kafka: PartitionReassignmentReplicas.maybeCompleteReassignment).
func (c *partitionChange) completeReassignment() {
	if len(c.removing) == 0 && len(c.adding) == 0 {
		return
	}
	isr, replicas := without(c.isr, c.removing), without(c.replicas, c.removing)
	if len(isr) == 0 || len(replicas) == 0 || !containsAll(isr, replicas) {
		return
	}
	c.isr, c.replicas, c.removing, c.adding = isr, replicas, nil, nil
}

// findEligible finds the replicas outside the ISR that hold everything
// committed. Below min ISR the high watermark stands still, so whoever was in
// the ISR then stays eligible until the ISR is large enough again.
func (c *partitionChange) findEligible() {
	if !c.withELR || len(c.isr) >= c.minISR {
		c.elr = nil
		return
	}
	before := c.elr
	c.elr = nil
	keep := func(id int32) {
		if id != c.restarted && slices.Contains(c.replicas, id) && !slices.Contains(c.isr, id) && !slices.Contains(c.elr, id) {
			c.elr = append(c.elr, id)
		}
	}
	for _, id := range before {
		keep(id)
	}
	for _, id := range c.from.ISR {
		keep(id)
	}
	if c.forgotten >= 0 && len(c.isr)+len(c.elr) > 1 { // else it is the last one that has everything
		c.elr = without(c.elr, []int32{c.forgotten})
	}
	slices.Sort(c.elr)
	if slices.Equal(c.elr, before) {
		c.elr = before
	}
}

// elect chooses the leader. unclean says that it may lack committed records.
func (c *partitionChange) elect() (leader int32, unclean bool) {
	if c.election == electPreferred && c.mayLead(c.replicas[0]) {
		return c.replicas[0], false
	}
	if c.mayLead(c.from.Leader) {
		return c.from.Leader, false
	}
	for _, id := range c.replicas {
		if c.mayLead(id) {
			return id, false
		}
	}
	if id := c.lastLeader(); id >= 0 {
		return id, true
	}
	if c.election == electUnclean {
		for _, id := range c.replicas {
			if id != c.restarted && c.acceptable(id) {
				return id, true
			}
		}
	}
	return noLeader, false
}

// mayLead tells whether the replica may lead without loss: it is in sync, or
// eligible while none is.
func (c *partitionChange) mayLead(id int32) bool {
	return (slices.Contains(c.isr, id) || len(c.isr) == 0 && slices.Contains(c.elr, id)) && c.acceptable(id)
}

// lastLeader is the replica that led last, to be taken when no replica is known
// to hold everything committed any more because all of them restarted
// uncleanly; -1 while it is away (KIP-966, balanced recovery).
func (c *partitionChange) lastLeader() int32 {
	if !c.withELR || len(c.isr) > 0 || len(c.elr) > 0 || len(c.from.LastKnownELR) != 1 {
		return -1
	}
	id := c.from.LastKnownELR[0]
	if c.lost && id == c.restarted || !slices.Contains(c.replicas, id) || !c.acceptable(id) {
		return -1
	}
	return id
}

// lastKnown is the last known leader: remembered when the ISR becomes empty,
// and dropped when there is a leader again.
func (c *partitionChange) lastKnown(next *Partition) []int32 {
	from := c.from
	switch {
	case !c.withELR:
		return from.LastKnownELR
	case next.Leader != noLeader:
		return nil
	case c.lost && slices.Contains(from.LastKnownELR, c.restarted):
		return nil
	case len(next.ISR) == 0 && len(from.ISR) > 0 && from.Leader != noLeader:
		return []int32{from.Leader}
	case len(next.ISR) == 0 && len(from.ISR) == 1 && len(from.LastKnownELR) == 0:
		return from.ISR
	}
	return from.LastKnownELR
}

// replicaDirs are the directories for replicas: known ones stay.
func replicaDirs(from *Partition, replicas []int32, dirs func(broker int32) UUID) []UUID {
	next := make([]UUID, len(replicas))
	assigned := false
	for i, id := range replicas {
		if slices.Contains(from.Replicas, id) {
			next[i] = from.Dir(id)
		} else if dirs != nil {
			next[i] = dirs(id)
		}
		assigned = assigned || next[i] != UnassignedDir
	}
	if !assigned {
		return nil
	}
	return next
}

// samePartition tells whether two states differ in nothing but their epochs.
func samePartition(a, b *Partition) bool {
	return a.Leader == b.Leader && a.Recovering == b.Recovering &&
		slices.Equal(a.ISR, b.ISR) && slices.Equal(a.ELR, b.ELR) && slices.Equal(a.LastKnownELR, b.LastKnownELR) &&
		slices.Equal(a.Replicas, b.Replicas) && slices.Equal(a.Dirs, b.Dirs) &&
		slices.Equal(a.AddingReplicas, b.AddingReplicas) && slices.Equal(a.RemovingReplicas, b.RemovingReplicas)
}
