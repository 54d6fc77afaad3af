package storage

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// timeEntry says that timestamp is the largest in the segment up to and
// including the batch that ends with offset baseOffset+relOffset.
type timeEntry struct {
	timestamp int64 // ms since the epoch
	relOffset int32
}

// TimeIndex maps timestamps to offsets, sparsely and with strictly increasing
// timestamps. The last entry of a closed segment is its largest timestamp.
// Reads are safe beside one appender.
type TimeIndex struct {
	baseOffset int64
	entries    entryList[timeEntry]
}

// timestampOffset is a timestamp and the last offset of the batch holding it.
type timestampOffset struct {
	timestamp int64
	offset    int64
}

// last returns the last entry, or (-1, baseOffset) of an empty index, as
// Kafka's TimeIndex.lastEntry.
func (x *TimeIndex) last() timestampOffset {
	v := x.entries.view()
	if len(v) == 0 {
		return timestampOffset{timestamp: -1, offset: x.baseOffset}
	}
	e := v[len(v)-1]
	return timestampOffset{timestamp: e.timestamp, offset: x.baseOffset + int64(e.relOffset)}
}

// maybeAppend adds an entry if its timestamp is above the last one's.
func (x *TimeIndex) maybeAppend(t timestampOffset) {
	if t.timestamp > x.last().timestamp {
		x.entries.append(timeEntry{timestamp: t.timestamp, relOffset: int32(t.offset - x.baseOffset)})
	}
}

func (x *TimeIndex) len() int { return len(x.entries.view()) }

// lookup returns the last entry with a timestamp at or below ts, or
// (-1, baseOffset).
func (x *TimeIndex) lookup(ts int64) timestampOffset {
	v := x.entries.view()
	i := sort.Search(len(v), func(i int) bool { return v[i].timestamp > ts })
	if i == 0 {
		return timestampOffset{timestamp: -1, offset: x.baseOffset}
	}
	return timestampOffset{timestamp: v[i-1].timestamp, offset: x.baseOffset + int64(v[i-1].relOffset)}
}

// truncate drops the entries at or above offset.
func (x *TimeIndex) truncate(offset int64) {
	v := x.entries.view()
	rel := offset - x.baseOffset
	n := sort.Search(len(v), func(i int) bool { return int64(v[i].relOffset) >= rel })
	if n < len(v) {
		x.entries.replace(append([]timeEntry(nil), v[:n]...))
	}
}

// encode returns the file form (big-endian, as Kafka's TimeIndex).
func (x *TimeIndex) encode() []byte {
	v := x.entries.view()
	buf := make([]byte, 0, len(v)*timeEntrySize)
	for _, e := range v {
		buf = binary.BigEndian.AppendUint64(buf, uint64(e.timestamp))
		buf = binary.BigEndian.AppendUint32(buf, uint32(e.relOffset))
	}
	return buf
}

func decodeTimeEntry(b []byte) timeEntry {
	return timeEntry{
		timestamp: int64(binary.BigEndian.Uint64(b)),
		relOffset: int32(binary.BigEndian.Uint32(b[8:])),
	}
}

// decodeTimeIndex parses the file form.
func decodeTimeIndex(baseOffset int64, data []byte) (*TimeIndex, error) {
	if len(data)%timeEntrySize != 0 {
		return nil, fmt.Errorf("time index of %d bytes is not a multiple of %d", len(data), timeEntrySize)
	}
	entries := make([]timeEntry, len(data)/timeEntrySize)
	for i := range entries {
		e := decodeTimeEntry(data[i*timeEntrySize:])
		if e.relOffset < 0 {
			return nil, fmt.Errorf("time index entry %d has a negative offset", i)
		}
		if i > 0 && (e.timestamp <= entries[i-1].timestamp || e.relOffset < entries[i-1].relOffset) {
			return nil, fmt.Errorf("time index entry %d is not above the one before", i)
		}
		entries[i] = e
	}
	x := &TimeIndex{baseOffset: baseOffset}
	x.entries.replace(entries)
	return x, nil
}
