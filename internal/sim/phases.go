package sim

import (
	"fmt"

	"freshet/metadata"
)

// healthy reports whether every broker is unfenced and the topics are there;
// it asks for the topics when the brokers are.
func (w *world) healthy() bool {
	b := w.controller()
	if b == nil {
		return false
	}
	img := b.image()
	for _, n := range w.nodes {
		if !img.Active(n.id) {
			return false
		}
	}
	if img.Topic(dataTopic) == nil || img.Topic(offsetTopic) == nil {
		if w.phase == "" {
			w.phase = "creating"
			var configs []metadata.ConfigValue
			if one := "1"; w.plan.flushEach {
				configs = []metadata.ConfigValue{{Key: "flush.messages", Value: &one}}
			}
			topics := []metadata.NewTopic{
				{Name: dataTopic, NumPartitions: int32(w.plan.partitions), ReplicationFactor: int16(w.plan.replicas), Configs: configs},
				{Name: offsetTopic, NumPartitions: offsetPartitions, ReplicationFactor: int16(w.plan.replicas), Configs: configs},
			}
			b.atController(createTopics{topics}, func(any) { w.phase = "" })
		}
		return false
	}
	return w.allInSync()
}

// controller is the broker that is the active controller, nil for none.
func (w *world) controller() *broker {
	for _, n := range w.nodes {
		if n.broker != nil && n.broker.control.active {
			return n.broker
		}
	}
	return nil
}

// newestImage is the image of the node that has applied the most.
func (w *world) newestImage() *metadata.Image {
	var newest *metadata.Image
	for _, n := range w.nodes {
		if n.broker != nil && (newest == nil || n.broker.image().Index > newest.Index) {
			newest = n.broker.image()
		}
	}
	return newest
}

// allInSync reports whether every partition has all of its replicas in the ISR.
func (w *world) allInSync() bool {
	img := w.newestImage()
	if img == nil {
		return false
	}
	for _, topic := range img.SortedTopics() {
		for _, p := range topic.Partitions {
			if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
				return false
			}
		}
	}
	return true
}

// leaderReplica is the leader's replica of a partition, nil while there is none.
func (w *world) leaderReplica(at topicPartition) *replica {
	img := w.newestImage()
	if img == nil || img.Topic(at.topic) == nil {
		return nil
	}
	p := img.Topic(at.topic).Partition(at.partition)
	if p == nil || p.Leader < firstNode {
		return nil
	}
	n := w.nodes[p.Leader-firstNode]
	if r := n.replica(at); r != nil && r.part.Role().Leads {
		return r
	}
	return nil
}

func (w *world) startClients() {
	for i := range w.plan.producers {
		w.producers = append(w.producers, w.newProducer(i, true, acksAll))
	}
	for i := range w.plan.plain {
		w.producers = append(w.producers, w.newProducer(w.plan.producers+i, false, acksAll))
	}
	for i := range w.plan.hasty {
		w.producers = append(w.producers, w.newProducer(w.plan.producers+w.plan.plain+i, false, 1))
	}
	for i := range w.plan.consumers {
		w.consumers = append(w.consumers, w.newConsumer(fmt.Sprintf("c%d", i+1), Time(4+16*i)*millisecond))
	}
	for i := range w.plan.groups {
		w.groups = append(w.groups, w.newGroupClient(i))
	}
	for _, p := range w.producers {
		p.start()
	}
	for _, c := range w.consumers {
		c.start()
	}
	for _, g := range w.groups {
		g.start()
	}
}

// recovered reports whether, after healing, every partition has acknowledged a
// write that began since, and every replica is in sync.
func (w *world) recovered() bool {
	if !w.allInSync() {
		return false
	}
	if w.healedAt == nil {
		w.healedAt = map[topicPartition]int64{}
		for at, end := range w.acked {
			w.healedAt[at] = end
		}
	}
	for _, at := range w.partitionsOf(dataTopic) {
		if w.acked[at] <= w.healedAt[at] {
			return false
		}
	}
	return true
}

// quiet reports whether nothing is left to do: every write is answered, every
// follower has everything and knows that it is committed.
func (w *world) quiet() bool {
	for _, g := range w.groups {
		g.stopped = true
		if g.open {
			return false
		}
	}
	for _, p := range w.producers {
		if !p.idle() {
			return false
		}
	}
	for _, at := range w.partitionsOf(dataTopic) {
		if len(w.consumers) > 0 && w.read[at] < w.leaderEnd(at) {
			return false
		}
	}
	return w.settled()
}

// leaderEnd is where the leader's log ends, 0 while there is none.
func (w *world) leaderEnd(at topicPartition) int64 {
	if r := w.leaderReplica(at); r != nil {
		return r.log.LogEndOffset()
	}
	return 0
}

// settled reports whether all replicas have the same log and know that it is
// committed.
func (w *world) settled() bool {
	for _, topic := range []string{dataTopic, offsetTopic} {
		for _, at := range w.partitionsOf(topic) {
			leader := w.leaderReplica(at)
			if leader == nil {
				return false
			}
			end := leader.log.LogEndOffset()
			for _, id := range w.newestImage().Topic(topic).Partition(at.partition).Replicas {
				r := w.nodes[id-firstNode].replica(at)
				if r == nil || r.inFlight > 0 || r.log.LogEndOffset() != end || r.log.HighWatermark() != end {
					return false
				}
			}
		}
	}
	return w.allInSync()
}

// describe says what is not as it should be, for a failed wait.
func (w *world) describe() string {
	text := ""
	add := func(format string, args ...any) {
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf(format, args...)
	}
	for _, n := range w.nodes {
		switch {
		case n.broker == nil:
			add("%s does not run", n)
		case n.broker.epoch < 0:
			add("%s is not registered, has metadata up to %d, in epoch %d led by b%d", n, n.broker.image().Index,
				n.broker.quorum.core.Leader().Epoch, n.broker.quorum.core.Leader().ID)
		}
	}
	if w.controller() == nil {
		add("there is no active controller")
	} else {
		add("the controller b%d has metadata up to %d", w.controller().node.id, w.controller().image().Index)
	}
	img := w.newestImage()
	if img == nil {
		return text
	}
	for _, n := range w.nodes {
		if !img.Active(n.id) {
			add("%s is fenced", n)
		}
	}
	for _, topic := range img.SortedTopics() {
		for i, p := range topic.Partitions {
			at := topicPartition{topic.Name, int32(i)}
			if p.Leader < 0 || len(p.ISR) != len(p.Replicas) {
				add("%s has leader %d, ISR %v, ELR %v, last known %v at epoch %d", at, p.Leader, p.ISR, p.ELR, p.LastKnownELR, p.LeaderEpoch)
			}
			for _, id := range p.Replicas {
				if r := w.nodes[id-firstNode].replica(at); r != nil {
					add("%s at b%d ends at %d, high watermark %d", at, id, r.log.LogEndOffset(), r.log.HighWatermark())
				}
			}
			if w.healedAt != nil && topic.Name == dataTopic && w.acked[at] <= w.healedAt[at] {
				add("%s has acknowledged nothing since", at)
			}
		}
	}
	for _, p := range w.producers {
		for _, l := range p.lanes {
			if len(l.pending) > 0 {
				add("%s waits for %d batches of %s", p.name, len(l.pending), l.at)
			}
		}
	}
	return text
}
