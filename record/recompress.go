package record

import "encoding/binary"

// Recompress appends batch b to dst with its records under another codec, for
// topics whose compression.type is not the producer's. Everything else in the
// header stays; length, attributes and CRC are made anew. limit bounds the
// decompressed records in bytes (0 is DefaultMaxDecompressedBytes). b must be
// validated; dst must not overlap it.
func Recompress(dst []byte, b Batch, codec Codec, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = DefaultMaxDecompressedBytes
	}
	raw := []byte(b[HeaderSize:])
	if b.IsCompressed() {
		var err error
		if raw, err = Decompress(nil, b.Codec(), raw, limit); err != nil {
			return nil, err
		}
	}
	start := len(dst)
	dst, err := Compress(codec, append(dst, b[:HeaderSize]...), raw)
	if err != nil {
		return nil, err
	}
	out := Batch(dst[start:])
	attributes := b.Attributes()&^CompressionMask | int16(codec)
	binary.BigEndian.PutUint32(out[LengthAt:], uint32(len(out)-LogOverhead))
	binary.BigEndian.PutUint16(out[AttributesAt:], uint16(attributes))
	binary.BigEndian.PutUint32(out[CRCAt:], out.ComputeCRC())
	return dst, nil
}
