package metadata

import "slices"

// ElectionType is what ElectLeaders asks for, by its number in the protocol.
type ElectionType int8

// Types of elections (KIP-460).
const (
	ElectPreferred ElectionType = 0
	ElectUnclean   ElectionType = 1
)

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// ElectionResult says what became of an election; Err is nil when there is a
// new leader.
type ElectionResult struct {
	TopicPartition
	Err *Error
}

// ElectLeaders decides on elections that an operator asks for. partitions nil
// stands for all; of those only the ones are reported that needed an election.
// Preferred elections never lose anything; an unclean one takes a live replica
// for a partition without a leader, that with the longest log if that is known,
// else the first, and Losses tells what that may cost (Kafka:
// ReplicationControlManager.electLeaders, which takes the first).
func (c *Controller) ElectLeaders(img *Image, kind ElectionType, partitions []TopicPartition) ([]ElectionResult, []Record, *Error) {
	if kind != ElectPreferred && kind != ElectUnclean {
		return nil, nil, refuse(CodeInvalidRequest, "Unknown election type %d", kind)
	}
	var results []ElectionResult
	changes := leaderChanges{}
	if partitions == nil {
		for _, topic := range img.SortedTopics() {
			for i := range topic.Partitions {
				if err := c.electLeader(img, topic, int32(i), kind, &changes); err == nil || err.Code != CodeElectionNotNeeded {
					results = append(results, ElectionResult{TopicPartition{topic.Name, int32(i)}, err})
				}
			}
		}
		return results, changes.records, nil
	}
	done := make(map[TopicPartition]bool, len(partitions))
	for _, tp := range partitions {
		result := ElectionResult{TopicPartition: tp}
		topic := img.Topic(tp.Topic)
		switch {
		case topic == nil:
			result.Err = refuse(CodeUnknownTopicOrPartition, "No such topic as %s", tp.Topic)
		case topic.Partition(tp.Partition) == nil:
			result.Err = refuse(CodeUnknownTopicOrPartition, "No such partition as %s-%d", tp.Topic, tp.Partition)
		case done[tp]:
			result.Err = errElectionNotNeeded
		default:
			result.Err = c.electLeader(img, topic, tp.Partition, kind, &changes)
			done[tp] = result.Err == nil
		}
		results = append(results, result)
	}
	return results, changes.records, nil
}

// electLeader decides on one election and adds the change.
func (c *Controller) electLeader(img *Image, topic *Topic, partition int32, kind ElectionType, changes *leaderChanges) *Error {
	p := topic.Partitions[partition]
	if kind == ElectPreferred && p.Leader == p.Replicas[0] || kind == ElectUnclean && p.Leader != noLeader {
		return errElectionNotNeeded
	}
	settings := c.settings(img, topic)
	change := settings.change(p, acceptable(img, p, img.Active))
	change.election = electPreferred
	if kind == ElectUnclean {
		change.election, change.longest = electUnclean, c.longest(img, topic.ID, partition)
	}
	next := change.build(img.defaultDir)
	switch {
	case next != nil && next.Leader != p.Leader && next.Leader != noLeader:
		changes.add(topic, partition, p, next)
		return nil
	case kind == ElectPreferred:
		return errPreferredLeaderNotAvailable
	}
	return errEligibleLeadersNotAvailable
}

// BalanceLeaders gives leaderships back to preferred leaders that are in sync,
// at most maxMoves of them (auto.leader.rebalance.enable). more says that there
// are more to move.
func (c *Controller) BalanceLeaders(img *Image, maxMoves int) (records []Record, more bool) {
	return c.electWhere(img, maxMoves, electPreferred, func(topicSettings) bool { return true }, func(p *Partition) bool {
		return p.Leader != p.Replicas[0] && slices.Contains(p.ISR, p.Replicas[0]) && img.Active(p.Replicas[0])
	})
}

// UncleanElections elects any live replica where there is no leader and the
// topic has unclean.leader.election.enable, for at most maxMoves partitions.
// Losses tells what it may cost.
func (c *Controller) UncleanElections(img *Image, maxMoves int) (records []Record, more bool) {
	return c.electWhere(img, maxMoves, electUnclean, func(s topicSettings) bool { return s.unclean }, func(p *Partition) bool {
		return p.Leader == noLeader && slices.ContainsFunc(p.Replicas, img.Active)
	})
}

// electWhere holds elections for partitions that concern it, in topics whose
// settings allow it.
func (c *Controller) electWhere(img *Image, maxMoves int, kind election, allowed func(topicSettings) bool, concerns func(*Partition) bool) (records []Record, more bool) {
	changes, moves := leaderChanges{}, 0
	for _, topic := range sortedTopicsWith(img, concerns) {
		settings := c.settings(img, topic)
		if !allowed(settings) {
			continue
		}
		for i, p := range topic.Partitions {
			if !concerns(p) {
				continue
			}
			change := settings.change(p, acceptable(img, p, img.Active))
			change.election = kind
			if kind == electUnclean {
				change.longest = c.longest(img, topic.ID, int32(i))
			}
			next := change.build(img.defaultDir)
			if next == nil || next.Leader == p.Leader {
				continue
			}
			if moves == maxMoves {
				return changes.records, true
			}
			moves++
			changes.add(topic, int32(i), p, next)
		}
	}
	return changes.records, false
}

// sortedTopicsWith are the topics that have a partition which concerns the
// caller, by name.
func sortedTopicsWith(img *Image, concerns func(*Partition) bool) []*Topic {
	var topics []*Topic
	for topic := range img.Topics() {
		if slices.ContainsFunc(topic.Partitions, concerns) {
			topics = append(topics, topic)
		}
	}
	slices.SortFunc(topics, compareTopicNames)
	return topics
}
