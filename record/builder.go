package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Header is one header of a record (KIP-82). A nil Value is null.
type Header struct {
	Key   []byte
	Value []byte
}

// BuilderOptions are the header fields of a batch to build. The zero value is
// not a plain batch: start from DefaultBuilderOptions.
type BuilderOptions struct {
	BaseOffset    int64 // 0 from a producer
	LeaderEpoch   int32 // NoPartitionLeader from a producer
	Codec         Codec
	LogAppendTime bool // records carry the broker's time
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
	// DeleteHorizonMs is when a compacted batch's tombstones or marker may go,
	// ms since the epoch; it then takes the base timestamp's place (KIP-534).
	// 0: none.
	DeleteHorizonMs int64
}

// DefaultBuilderOptions are those of a plain producer: offset 0, no epoch, no
// producer id, no compression.
func DefaultBuilderOptions() BuilderOptions {
	return BuilderOptions{
		LeaderEpoch:   NoPartitionLeader,
		ProducerID:    NoProducerID,
		ProducerEpoch: NoProducerEpoch,
		BaseSequence:  NoSequence,
	}
}

// Builder builds one v2 batch at a time and is reusable: Reset, Append for
// each record, Finish. Uncompressed records are written once, where they stay;
// compressed ones are gathered in a buffer of the Builder first. A Builder
// must not be used from two goroutines at once.
type Builder struct {
	opts    BuilderOptions
	dst     []byte // the caller's buffer; the batch starts at start
	start   int
	raw     []byte // records before compression
	baseMs  int64
	maxMs   int64
	count   int32
	lastRel int32 // offset delta of the last record
}

// Reset starts a batch that is appended to dst (which may be nil). The Builder
// owns dst until Finish hands it back.
func (b *Builder) Reset(dst []byte, opts BuilderOptions) {
	b.opts = opts
	b.dst = dst
	b.start = len(dst)
	var header [HeaderSize]byte
	b.dst = append(b.dst, header[:]...)
	b.raw = b.raw[:0]
	b.baseMs, b.maxMs = NoTimestamp, NoTimestamp
	b.count, b.lastRel = 0, -1
}

// Count is the number of records appended since Reset.
func (b *Builder) Count() int { return int(b.count) }

// Size is the size in bytes of the batch so far: exact without compression,
// before compression otherwise.
func (b *Builder) Size() int { return len(b.dst) - b.start + len(b.raw) }

// Append adds a record with the next offset. timestampMs is in ms since the
// epoch; a nil key or value is null. The bytes are copied.
func (b *Builder) Append(timestampMs int64, key, value []byte, headers ...Header) {
	b.AppendAt(b.lastRel+1, timestampMs, key, value, headers...)
}

// AppendAt adds a record at the given offset delta, which must be greater than
// the last one: compaction keeps offsets and leaves gaps.
func (b *Builder) AppendAt(offsetDelta int32, timestampMs int64, key, value []byte, headers ...Header) {
	if offsetDelta <= b.lastRel {
		panic(fmt.Sprintf("BUG: record appended at offset delta %d after %d", offsetDelta, b.lastRel))
	}
	if b.count == 0 {
		if b.baseMs = timestampMs; b.opts.DeleteHorizonMs > 0 {
			b.baseMs = b.opts.DeleteHorizonMs
		}
	}
	if timestampMs > b.maxMs {
		b.maxMs = timestampMs
	}
	deltaMs := timestampMs - b.baseMs
	if b.opts.Codec == None {
		b.dst = appendRecord(b.dst, offsetDelta, deltaMs, key, value, headers)
	} else {
		b.raw = appendRecord(b.raw, offsetDelta, deltaMs, key, value, headers)
	}
	b.lastRel = offsetDelta
	b.count++
}

// SetLastOffsetDelta raises the last offset delta beyond the last record, for
// batches whose last records compaction removed. It must precede Finish.
func (b *Builder) SetLastOffsetDelta(delta int32) {
	if delta > b.lastRel {
		b.lastRel = delta
	}
}

// Finish compresses, fills in the header and the CRC, and returns dst with the
// batch at its end. A batch without records is an error, unless
// SetLastOffsetDelta said that compaction emptied it.
func (b *Builder) Finish() ([]byte, error) {
	if b.lastRel < 0 {
		return nil, fmt.Errorf("cannot finish a record batch without records")
	}
	if b.opts.Codec != None {
		var err error
		if b.dst, err = Compress(b.opts.Codec, b.dst, b.raw); err != nil {
			return nil, err
		}
	}
	size := len(b.dst) - b.start
	if size-LogOverhead > math.MaxInt32 {
		return nil, fmt.Errorf("cannot finish a record batch of %d bytes: the length field holds 31 bits", size)
	}
	h := b.dst[b.start:]
	binary.BigEndian.PutUint64(h[BaseOffsetAt:], uint64(b.opts.BaseOffset))
	binary.BigEndian.PutUint32(h[LengthAt:], uint32(size-LogOverhead))
	binary.BigEndian.PutUint32(h[LeaderEpochAt:], uint32(b.opts.LeaderEpoch))
	h[MagicAt] = MagicV2
	binary.BigEndian.PutUint16(h[AttributesAt:], uint16(b.attributes()))
	binary.BigEndian.PutUint32(h[LastOffsetDeltaAt:], uint32(b.lastRel))
	binary.BigEndian.PutUint64(h[BaseTimestampAt:], uint64(b.baseMs))
	binary.BigEndian.PutUint64(h[MaxTimestampAt:], uint64(b.maxMs))
	binary.BigEndian.PutUint64(h[ProducerIDAt:], uint64(b.opts.ProducerID))
	binary.BigEndian.PutUint16(h[ProducerEpochAt:], uint16(b.opts.ProducerEpoch))
	binary.BigEndian.PutUint32(h[BaseSequenceAt:], uint32(b.opts.BaseSequence))
	binary.BigEndian.PutUint32(h[CountAt:], uint32(b.count))
	binary.BigEndian.PutUint32(h[CRCAt:], Batch(h).ComputeCRC())
	dst := b.dst
	b.dst = nil
	return dst, nil
}

// attributes are the batch's attribute bits.
func (b *Builder) attributes() int16 {
	attrs := int16(b.opts.Codec) & CompressionMask
	if b.opts.LogAppendTime {
		attrs |= TimestampTypeBit
	}
	if b.opts.Transactional {
		attrs |= TransactionalBit
	}
	if b.opts.Control {
		attrs |= ControlBit
	}
	if b.opts.DeleteHorizonMs > 0 {
		attrs |= DeleteHorizonBit
	}
	return attrs
}

// appendRecord appends one record in wire form.
func appendRecord(dst []byte, offsetDelta int32, deltaMs int64, key, value []byte, headers []Header) []byte {
	size := 1 + sizeofVarint(deltaMs) + sizeofVarint(int64(offsetDelta)) +
		sizeofBytes(key) + sizeofBytes(value) + sizeofVarint(int64(len(headers)))
	for i := range headers {
		size += sizeofVarint(int64(len(headers[i].Key))) + len(headers[i].Key) + sizeofBytes(headers[i].Value)
	}
	dst = appendVarint(dst, int64(size))
	dst = append(dst, 0) // record attributes: none are in use
	dst = appendVarint(dst, deltaMs)
	dst = appendVarint(dst, int64(offsetDelta))
	dst = appendBytes(dst, key)
	dst = appendBytes(dst, value)
	dst = appendVarint(dst, int64(len(headers)))
	for i := range headers {
		dst = appendVarint(dst, int64(len(headers[i].Key)))
		dst = append(dst, headers[i].Key...)
		dst = appendBytes(dst, headers[i].Value)
	}
	return dst
}

// sizeofBytes is the encoded size of nullable bytes.
func sizeofBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return sizeofVarint(int64(len(b))) + len(b)
}

// appendBytes appends nullable bytes with their length.
func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return appendVarint(dst, -1)
	}
	dst = appendVarint(dst, int64(len(b)))
	return append(dst, b...)
}
