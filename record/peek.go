package record

import "encoding/binary"

const (
	// minLegacySize is the least value of the length field of any format:
	// Kafka's LegacyRecord.RECORD_OVERHEAD_V0 (crc, magic, attributes, key
	// length, value length).
	minLegacySize = 14
	// upToMagic is how much must be there to know the format.
	upToMagic = MagicAt + 1
)

// Peek says how many bytes the batch at the start of b occupies, for walking
// concatenated batches. It reads only the length and the magic: a nil error
// means that b[:size] is there and long enough for Batch's accessors, not that
// its content is sound (see Validate and Batch.CheckCRC). ErrTruncated means
// that b ends first; size is then what is needed, or 0 when not known yet.
func Peek(b []byte) (size int, err error) {
	if len(b) < LogOverhead {
		return 0, ErrTruncated
	}
	length := int(int32(binary.BigEndian.Uint32(b[LengthAt:])))
	if length < minLegacySize {
		return 0, refuse(ErrCorrupt,
			"record size %d is less than the minimum record overhead (%d)", length, minLegacySize)
	}
	if len(b) < upToMagic {
		return length + LogOverhead, ErrTruncated
	}
	size = length + LogOverhead
	switch magic := int8(b[MagicAt]); {
	case magic == MagicV2:
		if size < HeaderSize {
			return 0, refuse(ErrCorrupt,
				"record batch of %d bytes is smaller than its header of %d", size, HeaderSize)
		}
	case magic == 0 || magic == 1:
		return size, ErrMagic
	default:
		return 0, refuse(ErrCorrupt, "invalid magic %d in record batch", magic)
	}
	if len(b) < size {
		return size, ErrTruncated
	}
	return size, nil
}

// CheckCRC compares the stored CRC-32C with the computed one. The error is
// ErrCorrupt.
func (b Batch) CheckCRC() error {
	if stored, computed := b.CRC(), b.ComputeCRC(); stored != computed {
		return refuse(ErrCorrupt, "record batch is corrupt (stored crc = %d, computed crc = %d)",
			stored, computed)
	}
	return nil
}

// IsCompressed reports whether the records are compressed.
func (b Batch) IsCompressed() bool { return b[AttributesAt+1]&CompressionMask != 0 }

// HasProducerID reports whether an idempotent producer sent the batch.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// HasDeleteHorizon reports whether the base timestamp is the delete horizon
// that the log cleaner set (KIP-534) and not the first record's timestamp.
func (b Batch) HasDeleteHorizon() bool { return b[AttributesAt+1]&DeleteHorizonBit != 0 }

// String is the codec's name as in compression.type.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return "unknown"
}

// ParseCodec is the codec of a compression.type name; "uncompressed" is none.
func ParseCodec(name string) (Codec, bool) {
	switch name {
	case "none", "uncompressed":
		return None, true
	case "gzip":
		return Gzip, true
	case "snappy":
		return Snappy, true
	case "lz4":
		return LZ4, true
	case "zstd":
		return Zstd, true
	}
	return None, false
}
