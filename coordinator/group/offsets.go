package group

import (
	"cmp"
	"math"
	"slices"
)

// groupOffsets is what a group has committed.
type groupOffsets struct {
	topics map[string]map[int32]*offsetEntry
	// inflight is the number of changes being appended.
	inflight int
}

// offsetEntry is one partition's committed offset, and what is on its way to
// replace it. Readers see value; decisions that must follow the log's order,
// such as whether there is anything to delete, look at newest.
type offsetEntry struct {
	value   offsetValue
	present bool

	// inflight counts changes being appended; pending is the newest of them,
	// nil when that is a tombstone or inflight is zero.
	inflight int32
	pending  *offsetValue
	// applied is the append id of the last change taken over, so that appends
	// reported out of order do not bring an older offset back.
	applied uint64
	// recordOffset is one more than the log offset that value was replayed from
	// (see Replay); a value committed since is newer than any replayed one.
	recordOffset int64
	// openTxns counts open transactions with an offset for this partition.
	openTxns int32
}

// newest is the value after everything in flight, nil for none.
func (e *offsetEntry) newest() *offsetValue {
	switch {
	case e.inflight > 0:
		return e.pending
	case e.present:
		return &e.value
	}
	return nil
}

// offsetChange is a new value, or nil for a tombstone, on its way to the log.
type offsetChange struct {
	group, topic string
	partition    int32
	value        *offsetValue
}

func (m *Machine) entry(groupID, topic string, partition int32) *offsetEntry {
	o := m.offsets[groupID]
	if o == nil {
		return nil
	}
	return o.topics[topic][partition]
}

func (m *Machine) entryOrNew(groupID, topic string, partition int32) *offsetEntry {
	o := m.offsets[groupID]
	if o == nil {
		o = &groupOffsets{topics: map[string]map[int32]*offsetEntry{}}
		m.offsets[groupID] = o
	}
	partitions := o.topics[topic]
	if partitions == nil {
		partitions = map[int32]*offsetEntry{}
		o.topics[topic] = partitions
	}
	e := partitions[partition]
	if e == nil {
		e = &offsetEntry{}
		partitions[partition] = e
	}
	return e
}

// prune forgets an entry that says nothing any more.
func (m *Machine) prune(groupID, topic string, partition int32) {
	o := m.offsets[groupID]
	e := m.entry(groupID, topic, partition)
	if e == nil || e.present || e.inflight > 0 || e.openTxns > 0 {
		return
	}
	delete(o.topics[topic], partition)
	if len(o.topics[topic]) == 0 {
		delete(o.topics, topic)
	}
	if len(o.topics) == 0 {
		delete(m.offsets, groupID)
	}
}

// begin notes a change that goes to the log.
func (m *Machine) begin(c *offsetChange) {
	e := m.entryOrNew(c.group, c.topic, c.partition)
	e.inflight++
	e.pending = c.value
	m.offsets[c.group].inflight++
}

// settle takes a change over, or drops it if its append failed.
func (m *Machine) settle(c *offsetChange, id uint64, committed bool) {
	e := m.entry(c.group, c.topic, c.partition)
	e.inflight--
	if e.inflight == 0 {
		e.pending = nil
	}
	m.offsets[c.group].inflight--
	if committed && id >= e.applied {
		e.applied, e.recordOffset = id, math.MaxInt64
		m.apply(e, c)
	}
	m.prune(c.group, c.topic, c.partition)
}

func (m *Machine) apply(e *offsetEntry, c *offsetChange) {
	if c.value == nil {
		e.value, e.present = offsetValue{}, false
		m.dropTxnOffsets(c.group, c.topic, c.partition, e)
		return
	}
	e.value, e.present = *c.value, true
}

// eachOffset visits a group's partitions by topic and number. The order makes
// equal Machines write equal records.
func (o *groupOffsets) eachOffset(visit func(topic string, partition int32, e *offsetEntry)) {
	if o == nil {
		return
	}
	for _, topic := range sortedKeys(o.topics) {
		partitions := o.topics[topic]
		for _, p := range sortedKeys(partitions) {
			visit(topic, p, partitions[p])
		}
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// txnOffset is an offset committed in a transaction that is still open. This
// broker reads such records from a log that Apache Kafka wrote.
type txnOffset struct {
	change       offsetChange
	recordOffset int64
}

// dropTxnOffsets forgets the open transactions' offsets of a partition whose
// offset was deleted.
func (m *Machine) dropTxnOffsets(groupID, topic string, partition int32, e *offsetEntry) {
	if e.openTxns == 0 {
		return
	}
	e.openTxns = 0
	for producerID, pending := range m.pendingTxn {
		m.pendingTxn[producerID] = slices.DeleteFunc(pending, func(t txnOffset) bool {
			return t.change.group == groupID && t.change.topic == topic && t.change.partition == partition
		})
	}
}
