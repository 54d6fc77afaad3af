package group

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Record is one record of __consumer_offsets. A nil Value is a tombstone.
type Record struct {
	Key, Value []byte
}

// The first two bytes of a key are its record type; Kafka wrote types 0 and 1
// for offsets and writes 1 and 2 today (CoordinatorRecordType). Higher types
// belong to the newer group protocols.
const (
	legacyOffsetCommitKey int16 = 0
	offsetCommitKey       int16 = 1
	groupMetadataKey      int16 = 2
)

// The first two bytes of a value are its version. These are the versions that
// Apache Kafka 4.3 writes: v1 is the last with an expiry of its own, so commits
// with a retention time still use it; v4 carries the topic id.
const (
	offsetCommitValueVersion         int16 = 4
	offsetCommitValueExpiringVersion int16 = 1
	groupMetadataValueVersion        int16 = 3
	maxValueVersion                  int16 = 4
)

// offsetValue is one committed offset (Kafka: OffsetAndMetadata).
type offsetValue struct {
	offset            int64
	leaderEpoch       int32 // -1: not known
	metadata          string
	commitTimestampMs int64
	expireTimestampMs int64 // -1: by the group's retention
	topicID           [16]byte
}

func offsetRecord(groupID, topic string, partition int32, v *offsetValue) Record {
	key := kmsg.OffsetCommitKey{Version: offsetCommitKey, Group: groupID, Topic: topic, Partition: partition}
	// One buffer for both; the sizes are upper bounds of what is appended.
	keySize := 10 + len(groupID) + len(topic)
	if v == nil {
		return Record{Key: key.AppendTo(make([]byte, 0, keySize))}
	}
	buf := make([]byte, 0, keySize+len(v.metadata)+48)
	r := Record{Key: key.AppendTo(buf)}
	value := kmsg.OffsetCommitValue{
		Version:         offsetCommitValueVersion,
		Offset:          v.offset,
		LeaderEpoch:     v.leaderEpoch,
		Metadata:        v.metadata,
		CommitTimestamp: v.commitTimestampMs,
		ExpireTimestamp: v.expireTimestampMs,
		TopicID:         v.topicID,
	}
	if v.expireTimestampMs >= 0 {
		value.Version = offsetCommitValueExpiringVersion
	}
	n := len(r.Key)
	r.Key = r.Key[:n:n]
	r.Value = value.AppendTo(buf[n:n])
	return r
}

func groupTombstone(groupID string) Record {
	key := kmsg.GroupMetadataKey{Version: groupMetadataKey, Group: groupID}
	return Record{Key: key.AppendTo(nil)}
}

// groupRecord is the group with the given assignment for each member, in the
// members' order.
func groupRecord(g *group, assignment func(*member) []byte) Record {
	value := kmsg.GroupMetadataValue{
		Version:               groupMetadataValueVersion,
		ProtocolType:          g.protocolType,
		Generation:            g.generation,
		Protocol:              g.protocol,
		CurrentStateTimestamp: g.stateTimestampMs,
	}
	if g.leader != "" {
		leader := g.leader
		value.Leader = &leader
	}
	for _, mem := range g.order {
		value.Members = append(value.Members, kmsg.GroupMetadataValueMember{
			MemberID:               mem.id,
			InstanceID:             mem.instanceID,
			ClientID:               mem.clientID,
			ClientHost:             mem.clientHost,
			RebalanceTimeoutMillis: mem.rebalanceTimeoutMs,
			SessionTimeoutMillis:   mem.sessionTimeoutMs,
			Subscription:           mem.metadata(g.protocolName()),
			Assignment:             assignment(mem),
		})
	}
	r := groupTombstone(g.id)
	r.Value = value.AppendTo(nil)
	return r
}

// newGroupRecord marks a group that exists but has nothing in it yet.
func newGroupRecord(g *group) Record {
	value := kmsg.GroupMetadataValue{
		Version:               groupMetadataValueVersion,
		CurrentStateTimestamp: g.stateTimestampMs,
	}
	r := groupTombstone(g.id)
	r.Value = value.AppendTo(nil)
	return r
}

// decoded is a record of __consumer_offsets in memory. Exactly one of the two
// kinds is set, unless known is false: a record type of a newer protocol, which
// stays in the log and means nothing here.
type decoded struct {
	known     bool
	tombstone bool

	isOffset  bool
	groupID   string
	topic     string
	partition int32
	offset    offsetValue

	group kmsg.GroupMetadataValue
}

// decodeRecord reads a record; the result keeps no reference to key or value.
func decodeRecord(key, value []byte) (decoded, error) {
	var d decoded
	if len(key) < 2 {
		return d, fmt.Errorf("a record's key has %d bytes; a record type takes 2", len(key))
	}
	d.tombstone = value == nil
	if !d.tombstone && len(value) < 2 {
		return d, fmt.Errorf("a record's value has %d bytes; its version takes 2", len(value))
	}
	switch recordType := int16(binary.BigEndian.Uint16(key)); recordType {
	case legacyOffsetCommitKey, offsetCommitKey:
		err := d.readOffset(key, value)
		return d, err
	case groupMetadataKey:
		err := d.readGroup(key, value)
		return d, err
	default:
		if recordType < 0 {
			return d, fmt.Errorf("a record's key has type %d, which no version of Kafka writes", recordType)
		}
		return d, nil
	}
}

func (d *decoded) readOffset(key, value []byte) error {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("cannot read an offset commit's key: %w", err)
	}
	d.known, d.isOffset = true, true
	d.groupID, d.topic, d.partition = k.Group, k.Topic, k.Partition
	if d.tombstone {
		return nil
	}
	if err := checkValueVersion(value); err != nil {
		return fmt.Errorf("cannot read group %q's offset of %s-%d: %w", k.Group, k.Topic, k.Partition, err)
	}
	v := kmsg.OffsetCommitValue{LeaderEpoch: -1}
	if err := v.ReadFrom(value); err != nil {
		return fmt.Errorf("cannot read group %q's offset of %s-%d: %w", k.Group, k.Topic, k.Partition, err)
	}
	d.offset = offsetValue{
		offset:            v.Offset,
		leaderEpoch:       v.LeaderEpoch,
		metadata:          v.Metadata,
		commitTimestampMs: v.CommitTimestamp,
		expireTimestampMs: -1,
		topicID:           v.TopicID,
	}
	if v.Version < 3 {
		d.offset.leaderEpoch = -1
	}
	if v.Version == 1 {
		d.offset.expireTimestampMs = v.ExpireTimestamp
	}
	return nil
}

func (d *decoded) readGroup(key, value []byte) error {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return fmt.Errorf("cannot read a group's key: %w", err)
	}
	d.known, d.groupID = true, k.Group
	if d.tombstone {
		return nil
	}
	if err := checkValueVersion(value); err != nil {
		return fmt.Errorf("cannot read group %q: %w", k.Group, err)
	}
	if err := d.group.ReadFrom(append([]byte(nil), value...)); err != nil {
		return fmt.Errorf("cannot read group %q: %w", k.Group, err)
	}
	if d.group.Version < 2 {
		d.group.CurrentStateTimestamp = -1
	}
	for i := range d.group.Members {
		mem := &d.group.Members[i]
		if d.group.Version < 1 || mem.RebalanceTimeoutMillis == -1 {
			mem.RebalanceTimeoutMillis = mem.SessionTimeoutMillis
		}
	}
	return nil
}

func checkValueVersion(value []byte) error {
	if v := int16(binary.BigEndian.Uint16(value)); v < 0 || v > maxValueVersion {
		return fmt.Errorf("its value has version %d; versions 0 to %d are known", v, maxValueVersion)
	}
	return nil
}
