package record

import "encoding/binary"

// ControlType is the kind of a control record (Kafka: ControlRecordType).
type ControlType int16

// Control record types by their number in the key.
const (
	ControlAbort            ControlType = 0
	ControlCommit           ControlType = 1
	ControlLeaderChange     ControlType = 2
	ControlSnapshotHeader   ControlType = 3
	ControlSnapshotFooter   ControlType = 4
	ControlKRaftVersion     ControlType = 5
	ControlKRaftVoters      ControlType = 6
	ControlUnknown          ControlType = -1
	controlKeySize                      = 4 // version int16, type int16
	endTxnMarkerSize                    = 6 // version int16, coordinator epoch int32
	endTxnMarkerVersion                 = 0
	currentControlKeyFormat             = 0
)

// String is the name that Kafka's dump tool prints.
func (t ControlType) String() string {
	switch t {
	case ControlAbort:
		return "ABORT"
	case ControlCommit:
		return "COMMIT"
	case ControlLeaderChange:
		return "LEADER_CHANGE"
	case ControlSnapshotHeader:
		return "SNAPSHOT_HEADER"
	case ControlSnapshotFooter:
		return "SNAPSHOT_FOOTER"
	case ControlKRaftVersion:
		return "KRAFT_VERSION"
	case ControlKRaftVoters:
		return "KRAFT_VOTERS"
	}
	return "UNKNOWN"
}

// ParseControlKey reads the type from a control record's key. Types of newer
// Kafka versions are ControlUnknown, as Kafka's parser has it.
func ParseControlKey(key []byte) (ControlType, error) {
	if len(key) < controlKeySize {
		return ControlUnknown, refuse(ErrInvalidRecord,
			"control record key of %d bytes; it needs at least %d", len(key), controlKeySize)
	}
	if version := int16(binary.BigEndian.Uint16(key)); version < 0 {
		return ControlUnknown, refuse(ErrInvalidRecord, "control record key of version %d", version)
	}
	t := ControlType(binary.BigEndian.Uint16(key[2:]))
	if t < ControlAbort || t > ControlKRaftVoters {
		return ControlUnknown, nil
	}
	return t, nil
}

// ParseEndTxnMarker reads the transaction coordinator's epoch from the value
// of a commit or abort marker.
func ParseEndTxnMarker(value []byte) (coordinatorEpoch int32, err error) {
	if len(value) < endTxnMarkerSize {
		return 0, refuse(ErrInvalidRecord,
			"end transaction marker of %d bytes; it needs at least %d", len(value), endTxnMarkerSize)
	}
	if version := int16(binary.BigEndian.Uint16(value)); version < 0 {
		return 0, refuse(ErrInvalidRecord, "end transaction marker of version %d", version)
	}
	return int32(binary.BigEndian.Uint32(value[2:])), nil
}

// EndTxnMarker is a control batch that ends a transaction in one partition
// (KIP-98).
type EndTxnMarker struct {
	Commit           bool // false: abort
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	TimestampMs      int64
	BaseOffset       int64
	LeaderEpoch      int32
}

// AppendEndTxnMarker appends the batch of one commit or abort marker to dst.
func AppendEndTxnMarker(dst []byte, m EndTxnMarker) ([]byte, error) {
	var key [controlKeySize]byte
	binary.BigEndian.PutUint16(key[:], currentControlKeyFormat)
	if m.Commit {
		binary.BigEndian.PutUint16(key[2:], uint16(ControlCommit))
	}
	var value [endTxnMarkerSize]byte
	binary.BigEndian.PutUint16(value[:], endTxnMarkerVersion)
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	var b Builder
	b.Reset(dst, BuilderOptions{
		BaseOffset:    m.BaseOffset,
		LeaderEpoch:   m.LeaderEpoch,
		ProducerID:    m.ProducerID,
		ProducerEpoch: m.ProducerEpoch,
		BaseSequence:  NoSequence,
		Transactional: true,
		Control:       true,
	})
	b.Append(m.TimestampMs, key[:], value[:])
	return b.Finish()
}
