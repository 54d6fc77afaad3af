package group

import "github.com/twmb/franz-go/pkg/kmsg"

// offsetDelete is OffsetMetadataManager.deleteOffsets (KIP-496). Topics that
// the group is subscribed to are refused.
func (m *Machine) offsetDelete(r Request, req *kmsg.OffsetDeleteRequest) {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	g := m.groups[req.Group]
	switch {
	case g == nil:
		resp.ErrorCode = groupIDNotFound
	case g.state != Empty && g.protocolType != consumerProtocolType:
		resp.ErrorCode = nonEmptyGroup
	}
	if resp.ErrorCode != none {
		m.reply(r.Token, resp)
		return
	}
	var changes []offsetChange
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		subscribed := g.isSubscribed(t.Topic)
		for j := range t.Partitions {
			p := t.Partitions[j].Partition
			rp := kmsg.OffsetDeleteResponseTopicPartition{Partition: p}
			if subscribed {
				rp.ErrorCode = groupSubscribedToTopic
			} else if e := m.entry(req.Group, t.Topic, p); e != nil && (e.newest() != nil || e.openTxns > 0) {
				changes = append(changes, offsetChange{group: req.Group, topic: t.Topic, partition: p})
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(changes) == 0 {
		m.reply(r.Token, resp)
		return
	}
	m.append(changes, nil, true, func(code int16) {
		if code != none {
			resp = kmsg.NewPtrOffsetDeleteResponse()
			resp.ErrorCode = code
		}
		m.reply(r.Token, resp)
	})
}

// tombstones are changes that delete all of a group's offsets.
func (m *Machine) tombstones(changes []offsetChange, groupID string) []offsetChange {
	m.offsets[groupID].eachOffset(func(topic string, partition int32, e *offsetEntry) {
		if e.newest() != nil || e.openTxns > 0 {
			changes = append(changes, offsetChange{group: groupID, topic: topic, partition: partition})
		}
	})
	return changes
}

// topicsDeleted drops offsets of topics that are gone: those committed under
// the topic's id, and those written before ids were.
func (m *Machine) topicsDeleted(topics []DeletedTopic) {
	var changes []offsetChange
	for _, groupID := range sortedKeys(m.offsets) {
		m.offsets[groupID].eachOffset(func(topic string, partition int32, e *offsetEntry) {
			for i := range topics {
				v := e.newest()
				if topics[i].Name == topic && v != nil && !differ(v.topicID, topics[i].ID) {
					changes = append(changes, offsetChange{group: groupID, topic: topic, partition: partition})
					return
				}
			}
		})
	}
	if len(changes) > 0 {
		m.append(changes, nil, false, nil)
	}
}

// expireOffsets is the retention check (KIP-211,
// GroupCoordinatorShard.cleanupGroupMetadata). A group that has nothing left
// goes too.
func (m *Machine) expireOffsets() {
	m.timers.set(&m.expiry, m.now+m.cfg.OffsetsRetentionCheckIntervalMs)
	var changes []offsetChange
	var deleted []*group
	for _, g := range m.sortedGroups() {
		var all bool
		if changes, all = m.expired(g, changes); all && g.state == Empty && len(g.pendingJoin) == 0 {
			deleted = append(deleted, g)
		}
	}
	if len(changes) == 0 && len(deleted) == 0 {
		return
	}
	m.logf("offsets retention: deleting %d offsets and %d groups", len(changes), len(deleted))
	m.deleteRecords(changes, deleted, false, nil)
}

// expired adds the group's expired offsets to changes and reports whether
// nothing else keeps the group.
func (m *Machine) expired(g *group, changes []offsetChange) ([]offsetChange, bool) {
	o := m.offsets[g.id]
	if o == nil {
		return changes, true
	}
	base := g.expiryBase()
	if base == nil {
		return changes, false
	}
	all := true
	o.eachOffset(func(topic string, partition int32, e *offsetEntry) {
		if !e.present || e.inflight > 0 || e.openTxns > 0 || g.isSubscribed(topic) {
			all = all && !e.present && e.inflight == 0 && e.openTxns == 0
			return
		}
		expires := base(&e.value) + m.cfg.OffsetsRetentionMs
		if e.value.expireTimestampMs >= 0 {
			expires = e.value.expireTimestampMs
		}
		if m.now < expires {
			all = false
			return
		}
		changes = append(changes, offsetChange{group: g.id, topic: topic, partition: partition})
	})
	return changes, all
}

// expiryBase says from when an offset's retention runs, or nil while none
// expire (ClassicGroup.offsetExpirationCondition).
func (g *group) expiryBase() func(*offsetValue) int64 {
	committed := func(v *offsetValue) int64 { return v.commitTimestampMs }
	switch {
	case g.protocolType == "":
		return committed
	case g.state == Empty:
		if g.stateTimestampMs < 0 {
			return committed
		}
		return func(*offsetValue) int64 { return g.stateTimestampMs }
	case g.state == Stable && g.protocolType == consumerProtocolType && g.subscribed != nil:
		return committed
	}
	return nil
}
