package broker

import "encoding/binary"

// reader walks one request in place. It never allocates; the slices it
// returns alias the frame. Any read past the end sets bad, after which all
// reads give zero values, so callers check bad once at the end of a walk.
type reader struct {
	b   []byte
	pos int
	bad bool
}

func (r *reader) left() int { return len(r.b) - r.pos }

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b)-r.pos {
		r.bad = true
		return nil
	}
	p := r.b[r.pos : r.pos+n]
	r.pos += n
	return p
}

func (r *reader) int8() int8 {
	if p := r.take(1); p != nil {
		return int8(p[0])
	}
	return 0
}

func (r *reader) int16() int16 {
	if p := r.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (r *reader) int32() int32 {
	if p := r.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (r *reader) int64() int64 {
	if p := r.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

// uvarint reads an unsigned varint of at most five bytes that fits 32 bits.
func (r *reader) uvarint() uint32 {
	var v uint64
	for i := uint(0); i < 5; i++ {
		p := r.take(1)
		if p == nil {
			return 0
		}
		v |= uint64(p[0]&0x7f) << (7 * i)
		if p[0] < 0x80 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	r.bad = true
	return 0
}

// length turns a compact length (n+1, 0 for null) or a plain one into n, with
// -1 for null.
func (r *reader) compactLen() int {
	n := r.uvarint()
	if n > 1<<31-1 {
		r.bad = true
		return 0
	}
	return int(n) - 1
}

// length reads the length of a string (size 2) or of bytes or an array
// (size 4) in either encoding; -1 is null.
func (r *reader) length(flexible bool, size int) int {
	n := 0
	switch {
	case flexible:
		n = r.compactLen()
	case size == 2:
		n = int(r.int16())
	default:
		n = int(r.int32())
	}
	if n < -1 {
		r.bad = true
		return -1
	}
	return n
}

// nullableString reads a string of either encoding.
func (r *reader) nullableString(flexible bool) (s []byte, null bool) {
	n := r.length(flexible, 2)
	if n < 0 {
		return nil, true
	}
	return r.take(n), false
}

// string is nullableString for fields where null means empty.
func (r *reader) string(flexible bool) []byte {
	s, _ := r.nullableString(flexible)
	return s
}

// bytes reads nullable bytes of either encoding; null gives nil, empty gives
// a non-nil empty slice.
func (r *reader) bytes(flexible bool) []byte {
	n := r.length(flexible, 4)
	if n < 0 {
		return nil
	}
	return r.take(n)
}

// array reads an array length of either encoding. null gives 0. A length that
// the remaining bytes cannot hold at minSize bytes an element is bad.
func (r *reader) array(flexible bool, minSize int) int {
	n := r.length(flexible, 4)
	if n < 0 {
		return 0
	}
	if n > r.left()/minSize {
		r.bad = true
		return 0
	}
	return n
}

// maxTags bounds the tagged fields of one structure: Kafka defines fewer than
// ten anywhere, and a flood of unknown ones costs CPU before authentication.
const maxTags = 64

// tags skips a tagged-field section.
func (r *reader) tags() {
	n := r.uvarint()
	if n > maxTags {
		r.bad = true
		return
	}
	for ; n > 0 && !r.bad; n-- {
		r.uvarint()
		size := r.uvarint()
		if size > 1<<31-1 {
			r.bad = true
			return
		}
		r.take(int(size))
	}
}

// appendUvarint appends v as an unsigned varint.
func appendUvarint(b []byte, v uint32) []byte { return binary.AppendUvarint(b, uint64(v)) }

// appendString appends s in either encoding.
func appendString[S ~string | ~[]byte](b []byte, s S, flexible bool) []byte {
	if flexible {
		b = binary.AppendUvarint(b, uint64(len(s)+1))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	}
	return append(b, s...)
}

// appendArrayLen appends an array's length in either encoding.
func appendArrayLen(b []byte, n int, flexible bool) []byte {
	if flexible {
		return binary.AppendUvarint(b, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendInt16(b []byte, v int16) []byte { return binary.BigEndian.AppendUint16(b, uint16(v)) }
func appendInt32(b []byte, v int32) []byte { return binary.BigEndian.AppendUint32(b, uint32(v)) }
func appendInt64(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }
