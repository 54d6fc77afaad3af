package record

import "math/bits"

// Varints of the record format are zigzag encoded (as Protocol Buffers'
// sint32 and sint64): at most 5 bytes for a 32-bit value, 10 for 64 bits.
const (
	maxVarint32 = 5
	maxVarint64 = 10
)

// varint32 decodes a zigzag varint of 32 bits at b[p:]. It returns the value
// and the position after it, or a negative position: badVarint when the
// encoding is longer than 32 bits allow, shortVarint when b ends first.
func varint32(b []byte, p int) (int32, int) {
	var u uint32
	for shift := uint(0); ; shift += 7 {
		if uint(p) >= uint(len(b)) {
			return 0, shortVarint
		}
		c := b[p]
		p++
		if shift == 28 && c > 0x0f {
			return 0, badVarint
		}
		u |= uint32(c&0x7f) << shift
		if c < 0x80 {
			return int32(u>>1) ^ -int32(u&1), p
		}
	}
}

// varint64 decodes a zigzag varint of 64 bits at b[p:]; results as varint32.
func varint64(b []byte, p int) (int64, int) {
	var u uint64
	for shift := uint(0); ; shift += 7 {
		if uint(p) >= uint(len(b)) {
			return 0, shortVarint
		}
		c := b[p]
		p++
		if shift == 63 && c > 0x01 {
			return 0, badVarint
		}
		u |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return int64(u>>1) ^ -int64(u&1), p
		}
	}
}

// Negative positions of varint32 and varint64.
const (
	badVarint   = -1
	shortVarint = -2
)

// appendVarint appends v in zigzag varint form. One function serves both
// widths: a 32-bit value sign-extended to 64 encodes to the same bytes.
func appendVarint(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

// sizeofVarint is the number of bytes appendVarint appends for v.
func sizeofVarint(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}
