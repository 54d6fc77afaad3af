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
func (w *walker) walk(b []byte) (int, fault) {
	p := 0
	for {
		if p = w.walkFast(b, p); w.seen >= w.count {
			return p, faultNone
		}
		end, ms, f := w.walkSlow(b, p, w.seen)
		if f != faultNone {
			return p, f
		}
		w.accept(ms)
		p = end
	}
}

// accept counts a record with timestamp ms.
func (w *walker) accept(ms int64) {
	if ms > w.maxMs {
		w.maxMs, w.maxAt = ms, w.seen
	}
	w.seen++
}

// walkFast checks records from b[p:] as long as they are of the common kind:
// below 8 KiB, within 17 minutes of the first, among the first 8192 of the
// batch, nothing wrong, and not within 8 bytes of the end of b. It returns the
// position after the last.
//
// This is the hottest loop of Produce beside the CRC. A record costs three
// 8-byte loads, and the next record's position depends on the first alone, so
// the processor overlaps the rest with the records that follow. Few variables
// live at once, so that they stay in registers.
func (w *walker) walkFast(b []byte, p int) int {
	base := unsafe.Pointer(unsafe.SliceData(b))
	last := len(b) - 8 // the last position of an 8-byte load
	for w.seen < w.count && p <= last {
		// The record's length.
		var q int
		v := load64(base, p)
		if v&0x80 == 0 {
			v, q = v&0x7f, p+1
		} else if v&0x8000 == 0 {
			v, q = v&0x7f|v>>1&0x3f80, p+2
		} else {
			break
		}
		end := q + int(v>>1)
		q++ // the attributes
		if v&1 != 0 || end > len(b) || end-p > w.maxRecord || q > last {
			break
		}
		// Timestamp delta, offset delta, key length: at most 3 + 2 + 2 bytes.
		u := load64(base, q)
		if u&0x80 == 0 {
			v, u, q = u&0x7f, u>>8, q+1
		} else if u&0x8000 == 0 {
			v, u, q = u&0x7f|u>>1&0x3f80, u>>16, q+2
		} else if u&0x800000 == 0 {
			v, u, q = u&0x7f|u>>1&0x3f80|u>>2&0x1fc000, u>>24, q+3
		} else {
			break
		}
		ms := w.baseMs + (int64(v>>1) ^ -int64(v&1))
		if ms < w.fromMs || ms > w.toMs {
			break
		}
		// The offset delta must be the record's index: compare its encoding.
		if v = uint64(w.seen) << 1; v < 0x80 {
			if u&0xff != v {
				break
			}
			u, q = u>>8, q+1
		} else {
			if v >= 0x4000 || u&0xffff != v&0x7f|0x80|v>>7<<8 {
				break
			}
			u, q = u>>16, q+2
		}
		if u&0xff == 1 { // null is -1, encoded as 1
			if q++; w.needKey {
				break
			}
		} else if u&0x81 == 0 {
			q += 1 + int(u&0x7f)>>1
		} else if u&0x8001 == 0 {
			q += 2 + int(u&0x7f|u>>1&0x3f80)>>1
		} else {
			break
		}
		if q = valueEnd(base, q, last); q < 0 {
			break
		}
		// No headers: one zero byte, the record's last.
		if (q+1 != end || *(*byte)(unsafe.Add(base, q)) != 0) && !headersFill(b[:end], q) {
			break
		}
		w.accept(ms)
		p = end
	}
	return p
}

// valueEnd is the position after the value whose length is at base[q], -1 when
// it is not of the common kind.
func valueEnd(base unsafe.Pointer, q, last int) int {
	if q > last {
		return -1
	}
	v := load64(base, q)
	if v&0x8081 == 0x80 {
		return q + 2 + int(v&0x7f|v>>1&0x3f80)>>1
	}
	if v&0x81 == 0 {
		return q + 1 + int(v&0x7f)>>1
	}
	if v&0xff == 1 { // null
		return q + 1
	}
	return -1
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
