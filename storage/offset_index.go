package storage

import (
	"encoding/binary"
	"fmt"
	"io"
	"sort"
	"sync/atomic"

	"freshet/vfs"
)

const (
	offsetEntrySize = 8  // int32 relative offset, int32 position
	timeEntrySize   = 12 // int64 timestamp, int32 relative offset
)

// entryList is an append-only list with one writer (holding the log's lock)
// and any number of readers that take no lock. A reader sees a prefix: the
// entries stored before the count it loaded. Shrinking installs a new list, so
// that no slot a reader may look at is ever written again.
type entryList[T any] struct {
	cur atomic.Pointer[entryChunk[T]]
}

type entryChunk[T any] struct {
	buf []T
	n   atomic.Int32
}

const firstEntryCapacity = 16

// view returns the entries appended so far; the slice must not be written to.
func (l *entryList[T]) view() []T {
	c := l.cur.Load()
	if c == nil {
		return nil
	}
	return c.buf[:c.n.Load()]
}

func (l *entryList[T]) append(e T) {
	c := l.cur.Load()
	if c == nil || int(c.n.Load()) == len(c.buf) {
		c = l.grow(c)
	}
	n := c.n.Load()
	c.buf[n] = e
	c.n.Store(n + 1)
}

func (l *entryList[T]) grow(old *entryChunk[T]) *entryChunk[T] {
	c := &entryChunk[T]{}
	if old == nil {
		c.buf = make([]T, firstEntryCapacity)
	} else {
		c.buf = make([]T, 2*len(old.buf))
		copy(c.buf, old.buf)
		c.n.Store(old.n.Load())
	}
	l.cur.Store(c)
	return c
}

// replace installs entries, which the list then owns.
func (l *entryList[T]) replace(entries []T) {
	if len(entries) == 0 {
		l.cur.Store(nil)
		return
	}
	c := &entryChunk[T]{buf: entries}
	c.n.Store(int32(len(entries)))
	l.cur.Store(c)
}

// offsetEntry says that the batch at position ends with offset
// baseOffset+relOffset (Kafka indexes a batch by its last offset).
type offsetEntry struct {
	relOffset int32
	position  int32
}

// OffsetIndex maps offsets to byte positions, sparsely: one entry about every
// index.interval.bytes. The index of the segment being appended to lives in
// memory; that of a closed one is searched in its file, without mmap, so that
// many partitions exhaust neither memory nor maps.
//
// Reads are safe beside one appender. Which of the two forms is in use changes
// only under the segment's indexMu.
type OffsetIndex struct {
	baseOffset int64
	entries    entryList[offsetEntry]
}

func (x *OffsetIndex) append(lastOffset, position int64) {
	x.entries.append(offsetEntry{relOffset: int32(lastOffset - x.baseOffset), position: int32(position)})
}

func (x *OffsetIndex) len() int { return len(x.entries.view()) }

// lookup returns the position of the last indexed batch whose last offset is
// at or below offset, or 0.
func (x *OffsetIndex) lookup(offset int64) int64 {
	v := x.entries.view()
	rel := offset - x.baseOffset
	i := sort.Search(len(v), func(i int) bool { return int64(v[i].relOffset) > rel })
	if i == 0 {
		return 0
	}
	return int64(v[i-1].position)
}

// floorPosition returns the largest indexed batch start at or below position,
// or 0.
func (x *OffsetIndex) floorPosition(position int64) int64 {
	v := x.entries.view()
	i := sort.Search(len(v), func(i int) bool { return int64(v[i].position) > position })
	if i == 0 {
		return 0
	}
	return int64(v[i-1].position)
}

// truncate drops entries of batches that end at or after offset or start at or
// after position.
func (x *OffsetIndex) truncate(offset, position int64) {
	v := x.entries.view()
	rel := offset - x.baseOffset
	n := sort.Search(len(v), func(i int) bool {
		return int64(v[i].relOffset) >= rel || int64(v[i].position) >= position
	})
	if n < len(v) {
		x.entries.replace(append([]offsetEntry(nil), v[:n]...))
	}
}

// encode returns the file form (big-endian, as Kafka's OffsetIndex).
func (x *OffsetIndex) encode() []byte {
	v := x.entries.view()
	buf := make([]byte, 0, len(v)*offsetEntrySize)
	for _, e := range v {
		buf = binary.BigEndian.AppendUint32(buf, uint32(e.relOffset))
		buf = binary.BigEndian.AppendUint32(buf, uint32(e.position))
	}
	return buf
}

// decodeOffsetIndex parses the file form. Entries after the first that breaks
// the order (a preallocated zero tail, say) make it invalid.
func decodeOffsetIndex(baseOffset int64, data []byte, logSize int64) (*OffsetIndex, error) {
	if len(data)%offsetEntrySize != 0 {
		return nil, fmt.Errorf("offset index of %d bytes is not a multiple of %d", len(data), offsetEntrySize)
	}
	entries := make([]offsetEntry, len(data)/offsetEntrySize)
	for i := range entries {
		e := decodeOffsetEntry(data[i*offsetEntrySize:])
		if e.relOffset < 0 || e.position < 0 || int64(e.position) >= logSize {
			return nil, fmt.Errorf("offset index entry %d (%d, %d) lies outside the segment", i, e.relOffset, e.position)
		}
		if i > 0 && (e.relOffset <= entries[i-1].relOffset || e.position <= entries[i-1].position) {
			return nil, fmt.Errorf("offset index entry %d is not above the one before", i)
		}
		entries[i] = e
	}
	x := &OffsetIndex{baseOffset: baseOffset}
	x.entries.replace(entries)
	return x, nil
}

func decodeOffsetEntry(b []byte) offsetEntry {
	return offsetEntry{
		relOffset: int32(binary.BigEndian.Uint32(b)),
		position:  int32(binary.BigEndian.Uint32(b[4:])),
	}
}

// fileOffsetIndex searches a closed segment's index file.
type fileOffsetIndex struct {
	file    vfs.File
	cached  io.ReaderAt // reads of the page cache alone
	entries int
}

// indexPage is how many entries the search ends with in one read.
const indexPage = scratchSize / offsetEntrySize

// search returns the last entry for which above is false, by binary search
// over whole reads of scratch; entry 0's position defaults to 0.
func (x *fileOffsetIndex) search(scratch []byte, wait bool, above func(offsetEntry) bool) (int64, error) {
	r := x.cached
	if wait {
		r = x.file
	}
	lo, hi := 0, x.entries // the answer's successor lies in [lo, hi]
	for hi-lo > indexPage {
		mid := lo + (hi-lo)/2
		if _, err := r.ReadAt(scratch[:offsetEntrySize], int64(mid)*offsetEntrySize); err != nil {
			return 0, fmt.Errorf("read offset index: %w", err)
		}
		if above(decodeOffsetEntry(scratch)) {
			hi = mid
		} else {
			lo = mid
		}
	}
	n := hi - lo
	if n == 0 {
		return 0, nil
	}
	page := scratch[:n*offsetEntrySize]
	if _, err := r.ReadAt(page, int64(lo)*offsetEntrySize); err != nil {
		return 0, fmt.Errorf("read offset index: %w", err)
	}
	i := sort.Search(n, func(i int) bool { return above(decodeOffsetEntry(page[i*offsetEntrySize:])) })
	if i == 0 {
		return 0, nil
	}
	return int64(decodeOffsetEntry(page[(i-1)*offsetEntrySize:]).position), nil
}
