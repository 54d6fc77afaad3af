package metadata

import "slices"

// FenceBroker takes brokers that are not known to live out of every ISR, gives
// what they led to others and marks them fenced. Brokers found dead together
// must be given together, so that none of them is elected. Those unknown or
// fenced already change nothing. The marks come last, as in Kafka
// (ReplicationControlManager.handleBrokerFenced).
func (c *Controller) FenceBroker(img *Image, ids ...int32) []Record {
	var marks []Record
	gone := make([]int32, 0, len(ids))
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if b := img.Broker(id); b != nil && !b.Fenced {
			next := *b
			next.Fenced = true
			gone = append(gone, id)
			marks = append(marks, &BrokerRecord{Broker: next})
		}
	}
	if len(gone) == 0 {
		return nil
	}
	records := c.sweep(img, sweep{remove: gone, add: -1, restarted: -1, forgotten: -1}, concernsISR(gone))
	return append(records, marks...)
}

// UnfenceBroker marks a broker as alive and lets it lead partitions without a
// leader if it is in sync with or eligible for them. A broker that is not
// fenced changes nothing.
func (c *Controller) UnfenceBroker(img *Image, id int32) []Record {
	b := img.Broker(id)
	if b == nil || !b.Fenced {
		return nil
	}
	next := *b
	next.Fenced, next.InControlledShutdown, next.ShutdownIndex = false, false, 0
	return append([]Record{&BrokerRecord{Broker: next}}, c.electLeaderless(img, id)...)
}

// electLeaderless elects leaders where there is none and the broker, which
// counts as active, has a replica.
func (c *Controller) electLeaderless(img *Image, id int32) []Record {
	return c.sweep(img, sweep{add: id, restarted: -1, forgotten: -1}, func(p *Partition) bool {
		return p.Leader == noLeader && slices.Contains(p.Replicas, id)
	})
}

// shutDownBroker moves the leaderships of a broker that is about to stop to
// others and takes it out of every ISR. What nobody else can lead without loss
// has no leader until the broker is back.
func (c *Controller) shutDownBroker(img *Image, b *Broker) []Record {
	ids := []int32{b.ID}
	records := c.sweep(img, sweep{remove: ids, add: -1, restarted: -1, forgotten: -1}, concernsISR(ids))
	if b.InControlledShutdown {
		return records
	}
	next := *b
	next.InControlledShutdown, next.ShutdownIndex = true, indexOfRecord
	return append(records, &BrokerRecord{Broker: next})
}

// directoriesOffline takes a broker out of the ISRs of partitions in
// directories that it reports as failed, and out of its registration
// (KIP-858).
func (c *Controller) directoriesOffline(img *Image, b *Broker, offline []UUID) []Record {
	failed := slices.DeleteFunc(slices.Clone(offline), func(dir UUID) bool { return !slices.Contains(b.Dirs, dir) })
	if len(failed) == 0 {
		return nil
	}
	records := c.sweep(img, sweep{remove: []int32{b.ID}, add: -1, restarted: -1, forgotten: -1}, func(p *Partition) bool {
		return slices.Contains(p.ISR, b.ID) && slices.Contains(failed, p.Dir(b.ID))
	})
	next := *b
	next.Dirs = slices.DeleteFunc(slices.Clone(b.Dirs), func(dir UUID) bool { return slices.Contains(failed, dir) })
	return append(records, &BrokerRecord{Broker: next})
}

// Leads tells whether the broker leads a partition.
func (img *Image) Leads(id int32) bool {
	for topic := range img.Topics() {
		if slices.ContainsFunc(topic.Partitions, func(p *Partition) bool { return p.Leader == id }) {
			return true
		}
	}
	return false
}
