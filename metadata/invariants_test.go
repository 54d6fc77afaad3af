package metadata

import (
	"slices"
	"testing"
)

// fataler is what the checks need of testing.T and rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkInvariants checks what must hold of every image and of every step from
// one to the next.
func checkInvariants(t fataler, old, next *Image) {
	t.Helper()
	for _, topic := range next.SortedTopics() {
		was := old.TopicByID(topic.ID)
		for i, p := range topic.Partitions {
			checkPartition(t, next, topic, i, p)
			if was != nil && i < len(was.Partitions) {
				checkStep(t, next, topic, i, was.Partitions[i], p)
			}
		}
	}
}

func checkPartition(t fataler, img *Image, topic *Topic, i int, p *Partition) {
	t.Helper()
	bad := func(what string) { t.Fatalf("%s-%d: %s: %+v", topic.Name, i, what, *p) }
	switch {
	case len(p.Replicas) == 0 || repeats(p.Replicas):
		bad("replicas")
	case repeats(p.ISR) || repeats(p.ELR):
		bad("an id twice")
	case !containsAll(p.Replicas, p.ISR):
		bad("ISR outside the replicas")
	case !containsAll(p.Replicas, p.ELR):
		bad("ELR outside the replicas")
	case slices.ContainsFunc(p.ISR, func(id int32) bool { return slices.Contains(p.ELR, id) }):
		bad("ISR and ELR overlap")
	case p.Leader != noLeader && !slices.Contains(p.ISR, p.Leader):
		bad("the leader is not in sync")
	case p.Leader != noLeader && !img.Active(p.Leader):
		bad("the leader is not active")
	case p.Recovering && len(p.ISR) > 1:
		bad("others are in sync with a leader that is recovering")
	case p.Dirs != nil && len(p.Dirs) != len(p.Replicas):
		bad("directories")
	case !containsAll(p.Replicas, p.AddingReplicas) || !containsAll(p.Replicas, p.RemovingReplicas):
		bad("adding or removing outside the replicas")
	case repeats(p.LastKnownELR) || !containsAll(p.Replicas, p.LastKnownELR):
		bad("last known ELR")
	case len(without(p.LastKnownELR, slices.Concat(p.ISR, p.ELR))) < len(p.LastKnownELR):
		bad("the last known ELR overlaps with the ISR or the ELR")
	case !img.UsesELR() && (len(p.ISR) == 0 || len(p.ELR) > 0):
		bad("without ELR the ISR is never empty")
	}
}

// checkStep checks that epochs only grow, and grow where they must, and that only
// active brokers join the ISR.
func checkStep(t fataler, img *Image, topic *Topic, i int, was, is *Partition) {
	t.Helper()
	if was == is {
		return
	}
	bad := func(what string) { t.Fatalf("%s-%d: %s\nwas %+v\nis  %+v", topic.Name, i, what, *was, *is) }
	same := samePartition(was, is)
	switch {
	case is.PartitionEpoch < was.PartitionEpoch || is.LeaderEpoch < was.LeaderEpoch:
		bad("an epoch went back")
	case !same && is.PartitionEpoch == was.PartitionEpoch:
		bad("a change without a new partition epoch")
	case is.Leader != was.Leader && is.LeaderEpoch == was.LeaderEpoch:
		bad("a new leader without a new epoch")
	case !containsAll(is.Replicas, was.Replicas) && is.LeaderEpoch == was.LeaderEpoch:
		bad("a replica was taken away without a new leader epoch")
	case is.LeaderEpoch > was.LeaderEpoch && is.PartitionEpoch == was.PartitionEpoch:
		bad("a new leader epoch without a new partition epoch")
	case img.UsesELR() && slices.ContainsFunc(without(is.ISR, was.ISR), func(id int32) bool { return !img.Active(id) }):
		bad("a broker that is not active joined the ISR")
	}
}

func repeats(ids []int32) bool {
	sorted := slices.Sorted(slices.Values(ids))
	return len(slices.Compact(sorted)) != len(ids)
}

func TestCheckInvariants(t *testing.T) {
	var found recorder
	img := testImage(t, 1)
	topic := &Topic{Name: "t"}
	checkPartition(&found, img, topic, 0, &Partition{Replicas: []int32{1}, ISR: []int32{1}, Leader: 2})
	checkStep(&found, img, topic, 0, &Partition{Leader: 1}, &Partition{Leader: 2, PartitionEpoch: 1})
	if found != 2 {
		t.Errorf("%d of 2 faults were found", found)
	}
}

type recorder int

func (r *recorder) Helper()               {}
func (r *recorder) Fatalf(string, ...any) { *r++ }
