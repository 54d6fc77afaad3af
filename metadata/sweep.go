package metadata

import "slices"

// sweep is a change of brokers that concerns all partitions they have a part
// in. Ids are -1 where there is none.
type sweep struct {
	remove    []int32 // leave every ISR and lead nothing
	add       int32   // counts as active
	restarted int32   // came back without having stopped cleanly: not in sync, not eligible
	synced    bool    // restarted has everything of topics that sync each record
	forgotten int32   // is unregistered
}

// sweep is the records of partitions that the sweep changes, in the order
// of topic names; none is touched for which concerns is false. Costs a look at
// every partition, so that the image needs no index.
func (c *Controller) sweep(img *Image, s sweep, concerns func(p *Partition) bool) []Record {
	live := func(id int32) bool {
		return id != s.restarted && !slices.Contains(s.remove, id) && (id == s.add || img.Active(id))
	}
	gone := s.remove
	if s.restarted >= 0 {
		gone = append(slices.Clone(gone), s.restarted)
	}
	changes := leaderChanges{}
	for _, topic := range sortedTopicsWith(img, concerns) {
		settings := c.settings(img, topic)
		for i, p := range topic.Partitions {
			if !concerns(p) {
				continue
			}
			change := settings.change(p, acceptable(img, p, live))
			change.election = settings.election()
			change.isr = without(p.ISR, gone)
			change.forgotten = s.forgotten
			if s.restarted >= 0 && !(s.synced && topic.Synced && img.Broker(s.restarted).hasOnlineDir(p.Dir(s.restarted))) {
				change.restarted = s.restarted
			}
			if next := change.build(img.defaultDir); next != nil {
				changes.add(topic, int32(i), p, next)
			}
		}
	}
	return changes.records
}

// defaultDir is the directory of a new replica on the broker.
func (img *Image) defaultDir(broker int32) UUID { return img.Broker(broker).defaultDir() }

// acceptable narrows live to brokers whose directory for the partition works.
func acceptable(img *Image, p *Partition, live func(int32) bool) func(int32) bool {
	return func(id int32) bool {
		if !live(id) {
			return false
		}
		dir := p.Dir(id)
		return dir == UnassignedDir || img.Broker(id).hasOnlineDir(dir)
	}
}

// leaderChanges gathers changed partitions, topic by topic, into few records.
type leaderChanges struct {
	records []Record
	last    *LeadershipsRecord
}

// changesPerRecord bounds the size of one record.
const changesPerRecord = 500

// add adds a partition that goes from one state to the next. Changes of the
// replicas themselves need a record of their own.
func (l *leaderChanges) add(topic *Topic, partition int32, from, next *Partition) {
	if !sameReplicas(from, next) {
		l.last = nil
		l.records = append(l.records, &PartitionChangeRecord{TopicID: topic.ID, Partition: partition, State: *next})
		return
	}
	if l.last == nil || l.last.TopicID != topic.ID || len(l.last.Changes) == changesPerRecord {
		l.last = &LeadershipsRecord{TopicID: topic.ID}
		l.records = append(l.records, l.last)
	}
	l.last.Changes = append(l.last.Changes, leadershipOf(partition, next))
}

// sameReplicas tells whether a change leaves all but the leadership alone.
func sameReplicas(a, b *Partition) bool {
	return slices.Equal(a.Replicas, b.Replicas) && slices.Equal(a.Dirs, b.Dirs) &&
		slices.Equal(a.AddingReplicas, b.AddingReplicas) && slices.Equal(a.RemovingReplicas, b.RemovingReplicas)
}

// concernsISR tells for a partition whether one of the brokers is in its ISR or
// leads it.
func concernsISR(brokers []int32) func(p *Partition) bool {
	return func(p *Partition) bool {
		return slices.Contains(brokers, p.Leader) || slices.ContainsFunc(p.ISR, func(id int32) bool { return slices.Contains(brokers, id) })
	}
}
