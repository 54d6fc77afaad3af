package metadata

import "slices"

// ReassignmentWish asks for a partition to have other replicas, the first being
// the preferred leader; nil Replicas cancel the reassignment under way.
type ReassignmentWish struct {
	TopicPartition
	Replicas []int32
}

// ReassignmentResult says what became of a ReassignmentWish.
type ReassignmentResult struct {
	TopicPartition
	Err *Error
}

// AlterReassignments decides on reassignments, each by itself: the results are
// in the order of wishes. A reassignment first adds the new replicas; it is
// complete, and those no longer wanted are gone, once all of its target is in
// sync, which AlterPartition notices. changeFactor allows another number of
// replicas (KIP-455, KIP-860; Kafka:
// ReplicationControlManager.alterPartitionReassignments).
func (c *Controller) AlterReassignments(img *Image, wishes []ReassignmentWish, changeFactor bool) ([]ReassignmentResult, []Record) {
	results := make([]ReassignmentResult, len(wishes))
	changes := leaderChanges{}
	done := make(map[TopicPartition]*Partition, len(wishes)) // a partition may be named twice
	for i, wish := range wishes {
		results[i].TopicPartition = wish.TopicPartition
		topic := img.Topic(wish.Topic)
		if topic == nil {
			results[i].Err = refuse(CodeUnknownTopicOrPartition, "Unable to find a topic named %s.", wish.Topic)
			continue
		}
		p := topic.Partition(wish.Partition)
		if p == nil {
			results[i].Err = refuse(CodeUnknownTopicOrPartition, "Unable to find partition %s:%d.", wish.Topic, wish.Partition)
			continue
		}
		if now := done[wish.TopicPartition]; now != nil {
			p = now
		}
		next, err := c.reassign(img, topic, p, wish, changeFactor)
		if results[i].Err = err; err == nil && next != nil {
			done[wish.TopicPartition] = next
			changes.add(topic, wish.Partition, p, next)
		}
	}
	return results, changes.records
}

func (c *Controller) reassign(img *Image, topic *Topic, p *Partition, wish ReassignmentWish, changeFactor bool) (*Partition, *Error) {
	settings := c.settings(img, topic)
	change := settings.change(p, acceptable(img, p, img.Active))
	if wish.Replicas == nil {
		if err := cancel(&change, wish.TopicPartition, settings); err != nil {
			return nil, err
		}
		return change.build(img.defaultDir), nil
	}
	if err := checkAssignment(img, wish.Replicas, 0); err != nil {
		return nil, err
	}
	if have := len(p.TargetReplicas()); !changeFactor && len(wish.Replicas) != have {
		return nil, refuse(CodeInvalidReplicationFactor, "The replication factor is changed from %d to %d", have, len(wish.Replicas))
	}
	change.removing = slices.Sorted(slices.Values(without(p.Replicas, wish.Replicas)))
	change.adding = slices.Sorted(slices.Values(without(wish.Replicas, p.Replicas)))
	change.replicas = append(slices.Clone(wish.Replicas), change.removing...)
	return change.build(img.defaultDir), nil
}

// cancel turns a change into the way back: the replicas that were being added
// go, those that were being removed stay (Kafka: PartitionReassignmentRevert).
func cancel(change *partitionChange, tp TopicPartition, settings topicSettings) *Error {
	p := change.from
	if !p.Reassigning() {
		return errNoReassignmentInProgress
	}
	change.election = settings.election()
	change.isr, change.replicas = without(p.ISR, p.AddingReplicas), without(p.Replicas, p.AddingReplicas)
	change.adding, change.removing = nil, nil
	if len(change.replicas) == 0 {
		return refuse(CodeInvalidReplicaAssignment, "Invalid replica assignment: addingReplicas contains all replicas.")
	}
	// Eligible ones will do, if one of them can lead at once. Without them an
	// unclean election must find a leader: nobody may count as in sync unelected.
	live := slices.ContainsFunc(change.replicas, change.acceptable)
	if len(change.isr) > 0 || settings.elr && slices.ContainsFunc(without(p.ELR, p.AddingReplicas), change.acceptable) || settings.unclean && live {
		return nil
	}
	return refuse(CodeInvalidReplicaAssignment, "Unable to revert partition assignment for %s:%d because it would require an unclean leader election.",
		tp.Topic, tp.Partition)
}

// Reassignment is a reassignment under way.
type Reassignment struct {
	TopicPartition
	Replicas, Adding, Removing []int32
}

// Reassignments lists those under way, by topic name and partition: of the
// given partitions, where unknown ones are left out, or of all for nil (Kafka:
// ReplicationControlManager.listPartitionReassignments).
func (img *Image) Reassignments(partitions []TopicPartition) []Reassignment {
	var list []Reassignment
	add := func(topic *Topic, partition int32) {
		if p := topic.Partition(partition); p != nil && p.Reassigning() {
			list = append(list, Reassignment{TopicPartition{topic.Name, partition}, p.Replicas, p.AddingReplicas, p.RemovingReplicas})
		}
	}
	if partitions != nil {
		for _, tp := range partitions {
			if topic := img.Topic(tp.Topic); topic != nil {
				add(topic, tp.Partition)
			}
		}
		return list
	}
	for _, topic := range sortedTopicsWith(img, (*Partition).Reassigning) {
		for i := range topic.Partitions {
			add(topic, int32(i))
		}
	}
	return list
}
