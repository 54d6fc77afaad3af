package metadata

import "slices"

// AssignDirs records in which log directory the broker keeps each of these
// partitions, by topic id and partition, where that is not known yet or has
// changed; others are left out. A broker that keeps one in a directory that has
// failed leaves its ISR. One that has begun another in place of one whose
// directory failed also is not eligible any more: it holds nothing of it
// (KIP-858; Kafka: ReplicationControlManager.handleAssignReplicasToDirs, which
// lacks the latter).
func (c *Controller) AssignDirs(img *Image, brokerID int32, dirs map[UUID]map[int32]UUID) []Record {
	broker := img.Broker(brokerID)
	if broker == nil {
		return nil
	}
	var topics []*Topic
	for id := range dirs {
		if topic := img.TopicByID(id); topic != nil {
			topics = append(topics, topic)
		}
	}
	slices.SortFunc(topics, compareTopicNames)
	changes := leaderChanges{}
	for _, topic := range topics {
		settings := c.settings(img, topic)
		for i, p := range topic.Partitions {
			dir, wanted := dirs[topic.ID][int32(i)]
			replica := slices.Index(p.Replicas, brokerID)
			if !wanted || replica < 0 || p.Dir(brokerID) == dir {
				continue
			}
			state := *p
			state.Dirs = make([]UUID, len(p.Replicas))
			copy(state.Dirs, p.Dirs)
			state.Dirs[replica] = dir
			next := &state
			lost := settings.elr && !broker.hasOnlineDir(p.Dir(brokerID)) // so it was not copied from there
			if lost || !broker.hasOnlineDir(dir) {
				change := settings.change(&state, acceptable(img, &state, img.Active))
				change.election = settings.election()
				change.isr = without(p.ISR, []int32{brokerID})
				if lost {
					change.restarted, change.lost = brokerID, true
				}
				if moved := change.build(img.defaultDir); moved != nil {
					next = moved
				}
			}
			if next == &state {
				state.PartitionEpoch++
			}
			changes.add(topic, int32(i), p, next)
		}
	}
	return changes.records
}
