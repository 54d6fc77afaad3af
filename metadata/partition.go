package metadata

import (
	"iter"
	"slices"
)

// Partition is one partition's assignment and leadership.
type Partition struct {
	// Replicas are the brokers that hold it or are to hold it; the first is the
	// preferred leader. During a reassignment they are the target and then those
	// to be removed.
	Replicas []int32 `json:"replicas"`
	Dirs     []UUID  `json:"dirs,omitempty"` // log directory of each replica; nil: all unassigned
	ISR      []int32 `json:"isr"`
	Leader   int32   `json:"leader"` // -1: none
	// LeaderEpoch grows whenever the leader may have changed, PartitionEpoch with
	// every change.
	LeaderEpoch    int32 `json:"leaderEpoch"`
	PartitionEpoch int32 `json:"partitionEpoch"`
	// Recovering: the leader was elected without being known to hold everything
	// committed, and has not reported itself ready (Kafka: LeaderRecoveryState).
	Recovering bool `json:"recovering,omitempty"`
	// ELR are replicas outside the ISR that hold everything committed
	// (KIP-966). LastKnownELR are those that did until they restarted in a way
	// that may have lost some of it. Both are empty while the ISR is large enough
	// to commit.
	ELR          []int32 `json:"elr,omitempty"`
	LastKnownELR []int32 `json:"lastKnownElr,omitempty"`
	// AddingReplicas and RemovingReplicas are the replicas that a reassignment
	// adds and removes; it is under way while one of them is not empty (KIP-455).
	AddingReplicas   []int32 `json:"adding,omitempty"`
	RemovingReplicas []int32 `json:"removing,omitempty"`
}

// noLeader is the leader of a partition that has none.
const noLeader = -1

// Reassigning tells whether a reassignment is under way.
func (p *Partition) Reassigning() bool {
	return len(p.AddingReplicas) > 0 || len(p.RemovingReplicas) > 0
}

// TargetReplicas are the replicas once the reassignment under way, if any, is
// complete.
func (p *Partition) TargetReplicas() []int32 { return without(p.Replicas, p.RemovingReplicas) }

// Dir is the log directory of the broker's replica, UnassignedDir when it is
// not known or the broker has no replica.
func (p *Partition) Dir(broker int32) UUID {
	if i := slices.Index(p.Replicas, broker); i >= 0 && i < len(p.Dirs) {
		return p.Dirs[i]
	}
	return UnassignedDir
}

// Partition is partition i of the topic, nil when it has none of that number.
func (t *Topic) Partition(i int32) *Partition {
	if i < 0 || int(i) >= len(t.Partitions) {
		return nil
	}
	return t.Partitions[i]
}

// ChangedSince yields the partitions that are new or differ from those of old,
// an earlier state of the topic or nil.
func (t *Topic) ChangedSince(old *Topic) iter.Seq2[int32, *Partition] {
	return func(yield func(int32, *Partition) bool) {
		for i, p := range t.Partitions {
			if old != nil && i < len(old.Partitions) && old.Partitions[i] == p {
				continue
			}
			if !yield(int32(i), p) {
				return
			}
		}
	}
}

// without are the ids that are not in gone. It is ids itself when none is.
func without(ids, gone []int32) []int32 {
	if !slices.ContainsFunc(ids, func(id int32) bool { return slices.Contains(gone, id) }) {
		return ids
	}
	left := make([]int32, 0, len(ids)-1)
	for _, id := range ids {
		if !slices.Contains(gone, id) {
			left = append(left, id)
		}
	}
	return left
}

// containsAll tells whether every one of some is in ids.
func containsAll(ids, some []int32) bool {
	for _, id := range some {
		if !slices.Contains(ids, id) {
			return false
		}
	}
	return true
}
