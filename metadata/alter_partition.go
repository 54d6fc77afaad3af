package metadata

import "slices"

// AlterPartitionRequest is a leader's wish to change the ISRs of partitions it
// leads (AlterPartition version 3, KIP-497 and KIP-903).
type AlterPartitionRequest struct {
	BrokerID    int32
	BrokerEpoch int64
	Partitions  []PartitionAlteration
}

// PartitionAlteration is what the leader wants of one partition. The epochs are
// those of the state it saw.
type PartitionAlteration struct {
	TopicID        UUID
	Partition      int32
	LeaderEpoch    int32
	PartitionEpoch int32
	NewISR         []ISRMember
	Recovering     bool // the leader is not ready yet after an unclean election
}

// AnyEpoch is the epoch of an ISRMember in a request of a version that has none.
const AnyEpoch int64 = -2

// ISRMember is a member of a wanted ISR and the broker epoch under which the
// leader heard of it: AnyEpoch when it does not say, -1 when it has not heard of
// it, which is only good for a member that stays. (Kafka takes -1 for any.)
type ISRMember struct {
	Broker int32
	Epoch  int64
}

// PartitionAlterationResult answers a PartitionAlteration. State is the
// partition afterwards, when Code is 0.
type PartitionAlterationResult struct {
	TopicID   UUID
	Partition int32
	Code      Code
	Reason    string // why it was refused, for the log
	State     *Partition
}

// AlterPartition decides on changes of ISRs that leaders ask for, each by
// itself: results are in the order of the request. A change may complete a
// reassignment, and by that take the leadership away from the one who asks; it
// is made and answered with NEW_LEADER_ELECTED (Kafka:
// ReplicationControlManager.alterPartition).
func (c *Controller) AlterPartition(img *Image, r AlterPartitionRequest) ([]PartitionAlterationResult, []Record, *Error) {
	if _, err := checkEpoch(img, r.BrokerID, r.BrokerEpoch); err != nil {
		return nil, nil, err
	}
	type id struct {
		topic     UUID
		partition int32
	}
	var done map[id]bool
	if len(r.Partitions) > 1 {
		done = make(map[id]bool, len(r.Partitions))
	}
	results := make([]PartitionAlterationResult, len(r.Partitions))
	changes := leaderChanges{}
	for i := range r.Partitions {
		a, result := &r.Partitions[i], &results[i]
		result.TopicID, result.Partition = a.TopicID, a.Partition
		topic := img.TopicByID(a.TopicID)
		if topic == nil {
			result.Code, result.Reason = CodeUnknownTopicID, "there is no topic with that id"
			continue
		}
		p := topic.Partition(a.Partition)
		if result.Code, result.Reason = checkAlteration(img, r.BrokerID, p, a); result.Code != 0 {
			continue
		}
		key := id{a.TopicID, a.Partition}
		if done[key] {
			result.Code, result.Reason = CodeInvalidUpdateVersion, "the request changes the partition twice"
			continue
		}
		settings := c.settings(img, topic)
		change := settings.change(p, acceptable(img, p, img.Active))
		change.election = settings.election()
		change.isr, change.recovering = membersOf(p.ISR, a.NewISR), a.Recovering
		next := change.build(img.defaultDir)
		if next == nil {
			result.State = p
			continue
		}
		if done != nil {
			done[key] = true
		}
		changes.add(topic, a.Partition, p, next)
		if next.Leader != r.BrokerID {
			result.Code, result.Reason = CodeNewLeaderElected, "the change completed a reassignment and with it elected another leader"
			continue
		}
		result.State = next
	}
	return results, changes.records, nil
}

// membersOf are the ids of members; old itself when they are the same.
func membersOf(old []int32, members []ISRMember) []int32 {
	ids := make([]int32, len(members))
	for i, m := range members {
		ids[i] = m.Broker
	}
	if slices.Equal(ids, old) {
		return old
	}
	return ids
}

// checkAlteration checks a leader's wish in the order in which Kafka does
// (ReplicationControlManager.validateAlterPartitionData). A leader that has seen
// newer epochs than this controller asks a controller that was replaced.
func checkAlteration(img *Image, broker int32, p *Partition, a *PartitionAlteration) (Code, string) {
	switch {
	case p == nil:
		return CodeUnknownTopicOrPartition, "there is no partition of that number"
	case a.LeaderEpoch > p.LeaderEpoch:
		return CodeNotController, "the leader epoch is newer than this controller's"
	case a.PartitionEpoch > p.PartitionEpoch:
		return CodeNotController, "the partition epoch is newer than this controller's"
	case a.LeaderEpoch < p.LeaderEpoch:
		return CodeFencedLeaderEpoch, "the leader epoch is not the current one"
	case broker != p.Leader:
		return CodeInvalidRequest, "another broker is the leader"
	case a.PartitionEpoch < p.PartitionEpoch:
		return CodeInvalidUpdateVersion, "the partition epoch is not the current one"
	}
	leads := false
	for i, m := range a.NewISR {
		again := slices.ContainsFunc(a.NewISR[:i], func(other ISRMember) bool { return other.Broker == m.Broker })
		if again || !slices.Contains(p.Replicas, m.Broker) {
			return CodeInvalidRequest, "the ISR names a broker twice or one that has no replica"
		}
		leads = leads || m.Broker == broker
	}
	switch {
	case !leads:
		return CodeInvalidRequest, "the ISR lacks the leader"
	case a.Recovering && len(a.NewISR) > 1:
		return CodeInvalidRequest, "the ISR has more than the leader, which is still recovering from an unclean election"
	case a.Recovering && !p.Recovering:
		return CodeInvalidRequest, "a leader that has recovered cannot be recovering again"
	}
	for _, m := range a.NewISR {
		b := img.Broker(m.Broker)
		switch {
		case b == nil:
			return CodeIneligibleReplica, "a member of the ISR is not registered"
		case b.InControlledShutdown:
			return CodeIneligibleReplica, "a member of the ISR is shutting down"
		case b.Fenced:
			return CodeIneligibleReplica, "a member of the ISR is fenced"
		case m.Epoch == -1 && !slices.Contains(p.ISR, m.Broker):
			return CodeIneligibleReplica, "the leader does not know which registration of a new member of the ISR it heard of"
		case m.Epoch >= 0 && m.Epoch != b.Epoch:
			return CodeIneligibleReplica, "a member of the ISR has been registered anew since"
		}
	}
	return 0, ""
}
