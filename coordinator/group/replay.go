package group

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// noProducerID marks a record outside any transaction.
const noProducerID = -1

// Replay takes one record of the partition's log over, at its offset. A record
// with a producer id counts when that producer's transaction commits
// (ReplayEndTxn). All of the log is replayed in order before Loaded. It
// reports whether the record means something to this Machine: types of newer
// protocols do not.
func (m *Machine) Replay(offset, producerID int64, r Record) (bool, error) {
	d, err := decodeRecord(r.Key, r.Value)
	if err != nil || !d.known {
		return false, err
	}
	if !d.isOffset {
		m.replayGroup(&d)
		return true, nil
	}
	c := offsetChange{group: d.groupID, topic: d.topic, partition: d.partition}
	if !d.tombstone {
		c.value = &d.offset
		if m.groups[d.groupID] == nil {
			m.groups[d.groupID] = newGroup(d.groupID, m.now)
		}
	}
	e := m.entryOrNew(c.group, c.topic, c.partition)
	if producerID != noProducerID && c.value != nil {
		e.openTxns++
		m.pendingTxn[producerID] = append(m.pendingTxn[producerID], txnOffset{change: c, recordOffset: offset})
		return true, nil
	}
	e.recordOffset = offset + 1
	m.apply(e, &c)
	m.prune(c.group, c.topic, c.partition)
	return true, nil
}

// ReplayEndTxn takes over or drops the offsets of a producer's transaction. Of
// a mix of plain and transactional commits the later record wins, not the one
// that became visible later.
func (m *Machine) ReplayEndTxn(producerID int64, commit bool) {
	pending := m.pendingTxn[producerID]
	delete(m.pendingTxn, producerID)
	for i := range pending {
		t := &pending[i]
		e := m.entryOrNew(t.change.group, t.change.topic, t.change.partition)
		e.openTxns = max(e.openTxns-1, 0)
		if commit && t.recordOffset+1 > e.recordOffset {
			e.recordOffset = t.recordOffset + 1
			m.apply(e, &t.change)
		}
		m.prune(t.change.group, t.change.topic, t.change.partition)
	}
}

func (m *Machine) replayGroup(d *decoded) {
	if d.tombstone {
		delete(m.groups, d.groupID)
		return
	}
	m.groups[d.groupID] = loadGroup(d.groupID, &d.group)
}

// loadGroup rebuilds a group from its record (GroupMetadataManager.replay).
// Its members are as they were when the record was written.
func loadGroup(id string, value *kmsg.GroupMetadataValue) *group {
	g := newGroup(id, value.CurrentStateTimestamp)
	g.protocolType = value.ProtocolType
	g.protocol = value.Protocol
	g.generation = value.Generation
	if len(value.Members) > 0 {
		g.state = Stable
		if g.protocol == nil {
			g.protocol = new(string)
		}
	}
	for i := range value.Members {
		v := &value.Members[i]
		if g.members[v.MemberID] != nil || v.InstanceID != nil && g.static[*v.InstanceID] != nil {
			continue
		}
		mem := &member{
			id:                 v.MemberID,
			instanceID:         v.InstanceID,
			clientID:           v.ClientID,
			clientHost:         v.ClientHost,
			rebalanceTimeoutMs: v.RebalanceTimeoutMillis,
			sessionTimeoutMs:   v.SessionTimeoutMillis,
			protocols:          []protocol{{name: *g.protocol, metadata: bytes.Clone(v.Subscription)}},
			assignment:         bytes.Clone(v.Assignment),
		}
		mem.session = timer{kind: memberSession, group: g, memberID: mem.id, index: -1}
		g.add(mem, value.ProtocolType)
	}
	if value.Leader != nil && g.members[*value.Leader] != nil {
		g.leader = *value.Leader
	}
	g.subscribed = g.computeSubscribed()
	return g
}
