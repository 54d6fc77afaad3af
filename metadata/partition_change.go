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
	// electUnclean is electOnline, but takes any live replica rather than none: the
	// one with the longest log where logs were compared, else the first.
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
	// lastKnown are replicas that were in elr until they restarted uncleanly.
	lastKnown []int32
	// recovering is what the leader reports of itself.
	recovering bool
	// restarted is a broker that came back without having stopped cleanly: it
	// may lack records that it had; -1 for none. forgotten is one that is
	// unregistered.
	restarted, forgotten int32
	// lost: the restarted one holds nothing at all, so it is not waited for.
	lost     bool
	election election
	// longest is the replica to lead when none is known to hold everything, or
	// when the election is unclean: its log is the longest of those found; -1
	// while nobody has compared them.
	longest int32
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
		elr: p.ELR, lastKnown: p.LastKnownELR, recovering: p.Recovering, restarted: -1, forgotten: -1, longest: noLeader,
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
				c.elr, c.lastKnown = nil, nil
			}
		}
	}
	if unclean {
		// What the others have may differ from the new leader's log from here on.
		c.isr, c.elr, c.lastKnown, c.recovering = []int32{leader}, nil, nil, true
	}
	// A replica that is taken away must not go on following: a new epoch says so.
	bump := electing || !containsAll(c.replicas, from.Replicas)
	if len(c.isr) == 0 && !c.withELR {
		c.isr = from.ISR // the last one in sync stays the only one who may lead
	}
	next.ISR, next.ELR, next.Recovering = c.isr, c.elr, c.recovering
	next.AddingReplicas, next.RemovingReplicas = c.adding, c.removing
	next.LastKnownELR = c.lastKnown
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
// the ISR then stays eligible until the ISR is large enough again. One that
// restarts uncleanly meanwhile is remembered as one that held everything.
func (c *partitionChange) findEligible() {
	switch {
	case !c.withELR:
		c.elr = nil
		return
	case len(c.isr) >= c.minISR:
		c.elr, c.lastKnown = nil, nil
		return
	}
	eligible := newIDSet(c.replicas, c.isr, []int32{c.restarted})
	eligible.add(c.elr)
	eligible.add(c.from.ISR)
	if c.forgotten >= 0 && len(c.isr)+len(eligible.ids) > 1 { // else it is the last one that has everything
		eligible.ids = without(eligible.ids, []int32{c.forgotten})
	}
	known := newIDSet(c.replicas, c.isr, eligible.ids)
	known.add(c.lastKnown)
	known.add(c.elr)
	known.add(c.from.ISR)
	if c.lost {
		known.ids = without(known.ids, []int32{c.restarted})
	}
	if c.forgotten >= 0 && len(c.isr)+len(eligible.ids)+len(known.ids) > 1 {
		known.ids = without(known.ids, []int32{c.forgotten})
	}
	c.elr, c.lastKnown = eligible.sorted(c.elr), known.sorted(c.lastKnown)
}

// idSet gathers ids of replicas, except some.
type idSet struct {
	of     []int32
	except [2][]int32
	ids    []int32
}

func newIDSet(of, except, others []int32) idSet {
	return idSet{of: of, except: [2][]int32{except, others}}
}

func (s *idSet) add(ids []int32) {
	for _, id := range ids {
		if slices.Contains(s.of, id) && !slices.Contains(s.except[0], id) && !slices.Contains(s.except[1], id) && !slices.Contains(s.ids, id) {
			s.ids = append(s.ids, id)
		}
	}
}

// sorted are the ids in order; before itself when they are the same.
func (s *idSet) sorted(before []int32) []int32 {
	slices.Sort(s.ids)
	if slices.Equal(s.ids, before) {
		return before
	}
	return s.ids
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
	nobody := len(c.isr) == 0 && len(c.elr) == 0
	if (nobody || c.election == electUnclean) && slices.Contains(c.replicas, c.longest) && c.acceptable(c.longest) {
		return c.longest, true
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
