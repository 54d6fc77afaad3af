package record

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// fault says what is wrong with a record; it becomes an error only when the
// batch is refused, so that sound batches cost no allocation.
type fault uint8

const (
	faultNone  fault = iota
	faultShort       // the bytes end before the record does
	faultLength
	faultVarint
	faultKey
	faultValue
	faultHeaders
	faultSize
	faultOffset
	faultNoKey
	faultTimestamp
	faultRecordTooLarge
)

// String is the sentence for a client.
func (f fault) String() string {
	switch f {
	case faultShort:
		return "Incorrect declared batch size, premature EOF reached"
	case faultLength:
		return "Found an invalid record length"
	case faultVarint:
		return "Found a malformed variable-length integer"
	case faultKey:
		return "Found an invalid key length"
	case faultValue:
		return "Found an invalid value length"
	case faultHeaders:
		return "Found invalid record headers"
	case faultSize:
		return "Invalid record size: the fields do not fill the declared length"
	case faultOffset:
		return "Offset deltas of the records are not consecutive from 0"
	case faultNoKey:
		return "Compacted topic cannot accept message without key"
	case faultTimestamp:
		return "Timestamp is out of range"
	case faultRecordTooLarge:
		return "Record is larger than max.decompressed.message.bytes"
	}
	return "no fault"
}

// minRecordBody is a body with one byte for each of its six fields.
const minRecordBody = 6

// fields are the places of a record's parts, as positions in the slice that
// parseRecord was given. A negative key or value size is null.
type fields struct {
	attributes     int8
	timestampDelta int64
	offsetDelta    int32
	keyAt          int
	keySize        int
	valueAt        int
	valueSize      int
	headerCount    int
	headersAt      int
	end            int // position after the record
}

// parseRecord reads the record at b[p:]. faultShort means that more bytes are
// needed; any other fault, that no bytes can make it right.
func parseRecord(b []byte, p int, f *fields) fault {
	length, body := varint32(b, p)
	if body < 0 {
		return varintFault(body)
	}
	if length < minRecordBody {
		return faultLength
	}
	f.end = body + int(length)
	if f.end > len(b) {
		return faultShort
	}
	b = b[:f.end]
	f.attributes = int8(b[body])
	p = body + 1
	if f.timestampDelta, p = varint64(b, p); p < 0 {
		return faultVarint
	}
	if f.offsetDelta, p = varint32(b, p); p < 0 {
		return faultVarint
	}
	if f.keyAt, f.keySize, p = nullableBytes(b, p); p < 0 {
		return faultKey
	}
	if f.valueAt, f.valueSize, p = nullableBytes(b, p); p < 0 {
		return faultValue
	}
	f.headersAt = p
	count, end := skipHeaders(b, p)
	if end < 0 {
		return faultHeaders
	}
	f.headerCount = count
	if end != len(b) {
		return faultSize
	}
	return faultNone
}

// varintFault translates the negative position of a failed varint.
func varintFault(p int) fault {
	if p == shortVarint {
		return faultShort
	}
	return faultVarint
}

// nullableBytes reads a length and skips that many bytes: where they start,
// how many (-1 for null), and the position after them, negative on a fault.
func nullableBytes(b []byte, p int) (at, size, next int) {
	length, at := varint32(b, p)
	if at < 0 || length < -1 {
		return 0, 0, -1
	}
	if length == -1 {
		return at, -1, at
	}
	next = at + int(length)
	if next > len(b) {
		return 0, 0, -1
	}
	return at, int(length), next
}

// skipHeaders walks over the headers at b[p:]; a negative position is a fault.
func skipHeaders(b []byte, p int) (count, next int) {
	n, p := varint32(b, p)
	// A header takes two bytes at least.
	if p < 0 || n < 0 || int(n) > (len(b)-p)/2 {
		return 0, -1
	}
	for range n {
		var size int
		if _, size, p = nullableBytes(b, p); p < 0 || size < 0 {
			return 0, -1
		}
		if _, _, p = nullableBytes(b, p); p < 0 {
			return 0, -1
		}
	}
	return int(n), p
}

// walker checks the records of one batch, piece by piece: uncompressed ones in
// one call, decompressed ones as they come.
type walker struct {
	count     int   // records by the header
	seen      int   // records checked so far
	baseMs    int64 // base timestamp
	fromMs    int64 // least allowed timestamp; NoTimestamp is always allowed
	toMs      int64 // greatest allowed timestamp
	maxRecord int   // greatest allowed body
	needKey   bool

	maxMs int64 // greatest timestamp seen, NoTimestamp before any
	maxAt int   // first record that has it
}

// walk checks whole records from the start of b until the count is reached
// (faultNone), b ends inside a record (faultShort) or a record is refused. It
// returns the position after the last accepted record.
//
// This is the hottest loop of Produce beside the CRC. A record costs three
// 8-byte loads, and the next record's position depends on the first alone, so
// the processor overlaps the rest with the records that follow. Whatever is not
// common (fields near the end of b, long varints, faults) goes to
// walkSlow.
func (w *walker) walk(b []byte) (int, fault) {
	var (
		p, i   = 0, w.seen
		ms     int64
		f      fault
		baseMs = w.baseMs
		maxMs  = w.maxMs
		base   = unsafe.Pointer(unsafe.SliceData(b))
		last   = len(b) - 8 // the last position of an 8-byte load
	)
	for ; i < w.count; i++ {
		var end, q, n int
		var u, v uint64
		if p > last {
			goto slow
		}
		// The record's length.
		v, n = decode3(load64(base, p))
		q = p + n + 1 // after the attributes
		end = q - 1 + int(v>>1)
		if n == 0 || v&1 != 0 || end > len(b) || end-p > w.maxRecord || q > last {
			goto slow
		}
		// Timestamp delta, offset delta, key length: at most seven bytes, or slow.
		u = load64(base, q)
		if v, n = decode3(u); n == 0 {
			goto slow
		}
		ms = baseMs + (int64(v>>1) ^ -int64(v&1))
		u, q = u>>(uint(n)*8&63), q+n
		// The offset delta must be i, so its encoding is compared.
		if v = uint64(i) << 1; v < 0x80 {
			if u&0xff != v {
				goto slow
			}
			u, q = u>>8, q+1
		} else {
			if v >= 0x4000 || u&0xffff != v&0x7f|0x80|v>>7<<8 {
				goto slow
			}
			u, q = u>>16, q+2
		}
		if v, n = decode3(u); v == 1 && !w.needKey {
			v = 0 // null is -1, encoded as 1
		}
		if n == 0 || n == 3 || v&1 != 0 {
			goto slow
		}
		if q += n + int(v>>1); q > last {
			goto slow
		}
		// The value's length.
		if v, n = decode3(load64(base, q)); v == 1 {
			v = 0
		}
		q += n + int(v>>1)
		if n == 0 || v&1 != 0 || ms < w.fromMs || ms > w.toMs {
			goto slow
		}
		// No headers: one zero byte, the record's last.
		if (q+1 != end || *(*byte)(unsafe.Add(base, q)) != 0) && !headersFill(b[:end], q) {
			goto slow
		}
	accept:
		if ms > maxMs {
			maxMs, w.maxAt = ms, i
		}
		p = end
		continue
	slow:
		if end, ms, f = w.walkSlow(b, p, i); f == faultNone {
			goto accept
		}
		break
	}
	w.seen, w.maxMs = i, maxMs
	return p, f
}

// headersFill reports whether sound headers reach from b[p:] to the end of b.
func headersFill(b []byte, p int) bool {
	_, end := skipHeaders(b, p)
	return end == len(b)
}

// load64 reads 8 bytes at position p of the bytes at base. The caller has made
// sure that they are there: the walk's own comparisons replace the bounds
// checks of slices, which cost it a third of its time.
func load64(base unsafe.Pointer, p int) uint64 {
	return binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(base, p))[:])
}

// decode3 decodes the raw (zigzag) varint of up to three bytes at the low end
// of u. A size of 0 means that it is longer.
func decode3(u uint64) (v uint64, size int) {
	if u&0x80 == 0 {
		return u & 0x7f, 1
	}
	if u&0x8000 == 0 {
		return u&0x7f | u>>1&0x3f80, 2
	}
	if u&0x800000 == 0 {
		return u&0x7f | u>>1&0x3f80 | u>>2&0x1fc000, 3
	}
	return 0, 0
}

// walkSlow checks any record of index i at b[p:].
func (w *walker) walkSlow(b []byte, p, i int) (end int, ms int64, _ fault) {
	var f fields
	if length, body := varint32(b, p); body > 0 && int(length) > w.maxRecord {
		return 0, 0, faultRecordTooLarge
	}
	if fault := parseRecord(b, p, &f); fault != faultNone {
		return 0, 0, fault
	}
	ms = w.baseMs + f.timestampDelta
	return f.end, ms, w.judge(i, f.offsetDelta, ms, f.keySize >= 0)
}

// judge applies the topic's rules to record i.
func (w *walker) judge(i int, offsetDelta int32, ms int64, hasKey bool) fault {
	switch {
	case int(offsetDelta) != i:
		return faultOffset
	case w.needKey && !hasKey:
		return faultNoKey
	case (ms < w.fromMs || ms > w.toMs) && ms != NoTimestamp:
		return faultTimestamp
	}
	return faultNone
}

// saturatingAdd adds without wrapping.
func saturatingAdd(a, b int64) int64 {
	c := a + b
	if (c > a) == (b > 0) {
		return c
	}
	if b > 0 {
		return math.MaxInt64
	}
	return math.MinInt64
}
