package record

import (
	"encoding/binary"
	"hash/crc32"
)

// Byte positions inside a v2 record batch (Kafka: DefaultRecordBatch).
const (
	BaseOffsetAt      = 0
	LengthAt          = 8 // int32: bytes after this field
	LeaderEpochAt     = 12
	MagicAt           = 16
	CRCAt             = 17 // uint32: CRC-32C of everything from AttributesAt on
	AttributesAt      = 21
	LastOffsetDeltaAt = 23
	BaseTimestampAt   = 27
	MaxTimestampAt    = 35
	ProducerIDAt      = 43
	ProducerEpochAt   = 51
	BaseSequenceAt    = 53
	CountAt           = 57
	HeaderSize        = 61
	// LogOverhead is the size of base offset and length, which the length
	// field does not count.
	LogOverhead = 12
)

// Attribute bits of a v2 batch.
const (
	CompressionMask    = 0x07
	TimestampTypeBit   = 0x08 // set: LogAppendTime
	TransactionalBit   = 0x10
	ControlBit         = 0x20
	DeleteHorizonBit   = 0x40
	MagicV2            = 2
	NoProducerID       = -1
	NoSequence         = -1
	NoTimestamp        = -1
	NoPartitionLeader  = -1
	maxSequence        = 1<<31 - 1
	NoProducerEpoch    = -1
	MaxBatchRecordsCap = 1 << 24
)

// Castagnoli is the CRC-32C table; hash/crc32 uses the CPU's instruction.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is one whole v2 record batch in memory: len(b) is SizeInBytes. The
// accessors assume len(b) >= HeaderSize, which Peek and Validate establish.
type Batch []byte

// BaseOffset is the offset of the first record.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[BaseOffsetAt:])) }

// SizeInBytes is the whole batch's size by its own length field.
func (b Batch) SizeInBytes() int {
	return int(int32(binary.BigEndian.Uint32(b[LengthAt:]))) + LogOverhead
}

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[LeaderEpochAt:])) }

// Magic is the message format version.
func (b Batch) Magic() int8 { return int8(b[MagicAt]) }

// CRC is the stored CRC-32C.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[CRCAt:]) }

// ComputeCRC computes the CRC-32C over attributes and everything after them.
func (b Batch) ComputeCRC() uint32 { return crc32.Checksum(b[AttributesAt:], Castagnoli) }

// Attributes are the raw attribute bits.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[AttributesAt:])) }

// Codec is the compression codec: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & CompressionMask) }

// IsLogAppendTime reports whether timestamps were set by the broker.
func (b Batch) IsLogAppendTime() bool { return b.Attributes()&TimestampTypeBit != 0 }

// IsTransactional reports whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&TransactionalBit != 0 }

// IsControl reports whether the batch holds a control record (a marker).
func (b Batch) IsControl() bool { return b.Attributes()&ControlBit != 0 }

// LastOffsetDelta is the last record's offset minus the base offset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[LastOffsetDeltaAt:]))
}

// LastOffset is the offset of the last record.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the last record.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp is the first record's timestamp, ms since the epoch.
func (b Batch) BaseTimestamp() int64 {
	return int64(binary.BigEndian.Uint64(b[BaseTimestampAt:]))
}

// MaxTimestamp is the largest timestamp in the batch, ms since the epoch.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[MaxTimestampAt:])) }

// ProducerID is the idempotent producer's id, or NoProducerID.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[ProducerIDAt:])) }

// ProducerEpoch is the producer's epoch.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[ProducerEpochAt:])) }

// BaseSequence is the first record's sequence number, or NoSequence.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[BaseSequenceAt:])) }

// LastSequence is the last record's sequence number; sequences wrap from
// 2^31-1 to 0 (Kafka: DefaultRecordBatch.incrementSequence).
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base == NoSequence {
		return NoSequence
	}
	return IncrementSequence(base, b.LastOffsetDelta())
}

// IncrementSequence adds delta to seq, wrapping as Kafka does.
func IncrementSequence(seq, delta int32) int32 {
	if seq > maxSequence-delta {
		return delta - (maxSequence - seq) - 1
	}
	return seq + delta
}

// Count is the number of records by the header.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[CountAt:])) }

// SetBaseOffset patches the base offset; it lies outside the CRC.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[BaseOffsetAt:], uint64(offset))
}

// SetLeaderEpoch patches the leader epoch; it lies outside the CRC.
func (b Batch) SetLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[LeaderEpochAt:], uint32(epoch))
}

// SetLogAppendTime marks the batch LogAppendTime with timestamp nowMs. Both
// fields lie inside the CRC, so it is computed anew.
func (b Batch) SetLogAppendTime(nowMs int64) {
	attrs := b.Attributes() | TimestampTypeBit
	binary.BigEndian.PutUint16(b[AttributesAt:], uint16(attrs))
	binary.BigEndian.PutUint64(b[MaxTimestampAt:], uint64(nowMs))
	binary.BigEndian.PutUint32(b[CRCAt:], b.ComputeCRC())
}

// Codec is a batch's compression codec.
type Codec int8

// Codecs by their number in the attributes.
const (
	None   Codec = 0
	Gzip   Codec = 1
	Snappy Codec = 2
	LZ4    Codec = 3
	Zstd   Codec = 4
)
