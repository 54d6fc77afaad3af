package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"freshet/record"
	"freshet/vfs"
	"freshet/zerocopy"
)

// File name suffixes within a partition's directory (Kafka: LogFileUtils).
const (
	logSuffix        = ".log"
	indexSuffix      = ".index"
	timeIndexSuffix  = ".timeindex"
	txnIndexSuffix   = ".txnindex"
	snapshotSuffix   = ".snapshot"
	deletedSuffix    = ".deleted"
	cleanedSuffix    = ".cleaned"
	swapSuffix       = ".swap"
	prefixSuffix     = ".prefix" // ours: the sound part of a segment going into quarantine
	tmpSuffix        = ".tmp"
	quarantineMark   = ".quarantine-"
	offsetNameDigits = 20
)

// fileName is the 20-digit offset with a suffix.
func fileName(offset int64, suffix string) string {
	return fmt.Sprintf("%0*d%s", offsetNameDigits, offset, suffix)
}

// LogSegment is one file of the log, from baseOffset up to the next segment,
// with its indexes.
//
// The fields under "log lock" belong to the holder of the owning Log's lock.
// The file handle and the indexes have their own locks, because readers use
// them without the log's.
type LogSegment struct {
	fs         vfs.FS
	dir        string // the partition's directory
	baseOffset int64

	// published is the position up to which the file's bytes are wholly
	// written and in offset order. Only ever read up to here.
	published atomic.Int64
	// gone is set when the segment left its log (retention, truncation).
	gone atomic.Bool
	// dirSynced: the file's directory entry is durable.
	dirSynced atomic.Bool
	// spaceTo is the position up to which disk space was reserved; it may lie
	// beyond the end of the file. Set under the log's lock while the segment is
	// active.
	spaceTo atomic.Int64
	// used is set by use and cleared by the sweep that closes idle files.
	used atomic.Bool

	// Log lock.
	reserved        int64 // end of the last reservation; >= published
	inFlight        int64 // reserved bytes whose write has not ended
	bytesSinceIndex int64
	maxTimestamp    timestampOffset
	maxKnown        bool // maxTimestamp has been loaded
	firstTimestamp  int64
	firstKnown      bool // firstTimestamp is that of the first batch
	createdMs       int64
	jitterMs        int64

	openMu sync.Mutex // serializes open and close of the handle
	handle atomic.Pointer[segmentHandle]

	indexMu sync.RWMutex
	mem     *memIndexes      // set: the indexes live in memory
	disk    *fileOffsetIndex // set: the open index file; else opened on use
	// persisted counts the entries of mem that are in the files.
	persistedOffsets, persistedTimes int
	cuts                             int // how often mem or txns were cut short
	txns                             txnIndex
}

// memIndexes are a segment's indexes in memory.
type memIndexes struct {
	offsets OffsetIndex
	times   TimeIndex
}

// segmentHandle is the open file: the log's own reference to it.
type segmentHandle struct {
	file   vfs.File
	ref    *zerocopy.File
	cached io.ReaderAt // reads of the page cache alone
}

// reader is the file to scan: at any cost, or in the page cache alone.
func (h *segmentHandle) reader(wait bool) io.ReaderAt {
	if wait {
		return h.ref
	}
	return h.cached
}

// cachedFile reads what is in memory and reports vfs.ErrWouldBlock otherwise.
type cachedFile struct{ f vfs.CachedReader }

func (c *cachedFile) ReadAt(p []byte, off int64) (int, error) { return c.f.ReadAtCached(p, off) }

// cachedReader returns the non-waiting form of f; in-memory files never wait.
func cachedReader(f vfs.File) io.ReaderAt {
	if c, ok := f.(vfs.CachedReader); ok {
		return &cachedFile{f: c}
	}
	return f
}

func newMemIndexes(baseOffset int64) *memIndexes {
	return &memIndexes{offsets: OffsetIndex{baseOffset: baseOffset}, times: TimeIndex{baseOffset: baseOffset}}
}

// createSegment makes the file of a new, empty segment and opens it.
func createSegment(fsys vfs.FS, dir string, baseOffset, nowMs int64) (*LogSegment, error) {
	s := &LogSegment{
		fs: fsys, dir: dir, baseOffset: baseOffset, createdMs: nowMs,
		mem: newMemIndexes(baseOffset), maxKnown: true,
		maxTimestamp: timestampOffset{timestamp: -1, offset: baseOffset},
		txns:         txnIndex{loaded: true},
	}
	if err := s.open(vfs.Create); err != nil {
		return nil, err
	}
	// Left-overs of a segment of the same name that was never published.
	if err := s.handle.Load().file.Truncate(0); err != nil {
		s.closeHandle()
		return nil, err
	}
	return s, nil
}

func (s *LogSegment) path(suffix string) string {
	return filepath.Join(s.dir, fileName(s.baseOffset, suffix))
}

// BaseOffset is the offset that names the segment.
func (s *LogSegment) BaseOffset() int64 { return s.baseOffset }

// Size is the published size in bytes.
func (s *LogSegment) Size() int64 { return s.published.Load() }

// WriteFd is the descriptor to write to, or -1 if the file has none (then use
// WriteFile). It is valid between a Reserve that returned this segment and the
// Complete that ends its last write in flight.
func (s *LogSegment) WriteFd() int { return s.handle.Load().file.Fd() }

// WriteFile is the file to write to, with WriteFd's validity.
func (s *LogSegment) WriteFile() vfs.File { return s.handle.Load().file }

func (s *LogSegment) open(mode vfs.Mode) error { return s.openAs(logSuffix, mode) }

// openAs is open for a file that does not have its final name yet.
func (s *LogSegment) openAs(suffix string, mode vfs.Mode) error {
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if s.handle.Load() != nil {
		return nil
	}
	if s.gone.Load() {
		return fs.ErrNotExist
	}
	f, err := s.fs.Open(s.path(suffix), mode)
	if err != nil {
		return err
	}
	s.handle.Store(&segmentHandle{file: f, ref: zerocopy.NewFile(f, f.Fd(), f.Close), cached: cachedReader(f)})
	return nil
}

// closeHandle drops the log's reference; the descriptor closes with the last
// region in flight. Writes in flight must have ended.
func (s *LogSegment) closeHandle() {
	s.openMu.Lock()
	defer s.openMu.Unlock()
	if h := s.handle.Swap(nil); h != nil {
		_ = h.ref.Release()
	}
	s.closeDiskIndex()
}

func (s *LogSegment) closeDiskIndex() {
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if s.disk != nil {
		_ = s.disk.file.Close()
		s.disk = nil
	}
}

// touch keeps the file open past the next sweep.
func (s *LogSegment) touch() {
	if !s.used.Load() {
		s.used.Store(true)
	}
}

// acquire returns the open file with one more reference, opening it if need be.
func (s *LogSegment) acquire() (*zerocopy.File, error) {
	h, err := s.acquireHandle(true)
	if err != nil {
		return nil, err
	}
	return h.ref, nil
}

// acquireHandle is acquire; without wait it does not open a file.
func (s *LogSegment) acquireHandle(wait bool) (*segmentHandle, error) {
	for {
		if h := s.handle.Load(); h != nil && h.ref.Acquire() {
			return h, nil
		}
		if !wait && !s.gone.Load() {
			return nil, vfs.ErrWouldBlock
		}
		if err := s.open(vfs.ReadWrite); err != nil {
			return nil, err
		}
	}
}

// translate returns the first batch that ends at or after offset; ok is false
// if the segment has none below limit.
func (s *LogSegment) translate(r io.ReaderAt, offset, limit int64) (batchHeader, bool, error) {
	return s.translateWait(r, offset, limit, true)
}

// translateWait is translate; without wait, r is a cached reader.
func (s *LogSegment) translateWait(r io.ReaderAt, offset, limit int64, wait bool) (batchHeader, bool, error) {
	sc := newHeaderScanner(r, limit)
	defer sc.close()
	start, err := s.lookupOffset(offset, sc.s.buf[:], wait)
	if err != nil {
		return batchHeader{}, false, err
	}
	return sc.findOffset(start, offset)
}

// lookupOffset is the index's lower bound for offset's position.
func (s *LogSegment) lookupOffset(offset int64, buf []byte, wait bool) (int64, error) {
	if err := s.openIndex(wait); err != nil {
		return 0, err
	}
	s.indexMu.RLock()
	defer s.indexMu.RUnlock()
	switch {
	case s.mem != nil:
		return s.mem.offsets.lookup(offset), nil
	case s.disk != nil:
		rel := offset - s.baseOffset
		return s.disk.search(buf, wait, func(e offsetEntry) bool { return int64(e.relOffset) > rel })
	}
	return 0, nil
}

// floorPosition is the last indexed batch start at or below position.
func (s *LogSegment) floorPosition(position int64, buf []byte, wait bool) (int64, error) {
	if err := s.openIndex(wait); err != nil {
		return 0, err
	}
	s.indexMu.RLock()
	defer s.indexMu.RUnlock()
	switch {
	case s.mem != nil:
		return s.mem.offsets.floorPosition(position), nil
	case s.disk != nil:
		return s.disk.search(buf, wait, func(e offsetEntry) bool { return int64(e.position) > position })
	}
	return 0, nil
}

// openIndex makes sure that one of the two index forms is there, unless the
// segment has left the log (then scans start at position 0).
func (s *LogSegment) openIndex(wait bool) error {
	s.indexMu.RLock()
	ready := s.mem != nil || s.disk != nil
	s.indexMu.RUnlock()
	if ready || s.gone.Load() {
		return nil
	}
	if !wait {
		return vfs.ErrWouldBlock
	}
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if s.mem != nil || s.disk != nil || s.gone.Load() { // gone: the name may be a successor's
		return nil
	}
	f, err := s.fs.Open(s.path(indexSuffix), vfs.Read)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no index: a scan from the start still finds everything
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return err
	}
	s.disk = &fileOffsetIndex{file: f, cached: cachedReader(f), entries: int(size / offsetEntrySize)}
	return nil
}

// loadIndexes brings the indexes into memory, for appending. Files that do
// not agree with the segment are rebuilt from it.
func (s *LogSegment) loadIndexes(indexInterval int32) error {
	s.indexMu.RLock()
	loaded := s.mem != nil
	s.indexMu.RUnlock()
	if loaded {
		return nil
	}
	mem, err := s.readIndexes()
	if err != nil {
		if mem, err = s.rebuildIndexes(indexInterval); err != nil {
			return err
		}
		s.indexMu.Lock()
		s.persistedOffsets, s.persistedTimes = 0, 0
	} else {
		s.indexMu.Lock()
		s.persistedOffsets, s.persistedTimes = mem.offsets.len(), mem.times.len()
	}
	s.mem = mem
	if s.disk != nil {
		_ = s.disk.file.Close()
		s.disk = nil
	}
	s.indexMu.Unlock()
	return nil
}

// readIndexes parses both index files.
func (s *LogSegment) readIndexes() (*memIndexes, error) {
	data, err := vfs.ReadFile(s.fs, s.path(indexSuffix))
	if err != nil {
		return nil, err
	}
	offsets, err := decodeOffsetIndex(s.baseOffset, data, s.published.Load())
	if err != nil {
		return nil, err
	}
	if data, err = vfs.ReadFile(s.fs, s.path(timeIndexSuffix)); err != nil {
		return nil, err
	}
	times, err := decodeTimeIndex(s.baseOffset, data)
	if err != nil {
		return nil, err
	}
	mem := newMemIndexes(s.baseOffset)
	mem.offsets.entries.replace(offsets.entries.view())
	mem.times.entries.replace(times.entries.view())
	return mem, nil
}

// rebuildIndexes makes the indexes anew from the published batches.
func (s *LogSegment) rebuildIndexes(indexInterval int32) (*memIndexes, error) {
	ref, err := s.acquire()
	if err != nil {
		return nil, err
	}
	defer func() { _ = ref.Release() }()
	mem := newMemIndexes(s.baseOffset)
	b := indexBuilder{mem: mem, interval: int64(indexInterval), max: timestampOffset{timestamp: -1, offset: s.baseOffset}}
	sc := newHeaderScanner(ref, s.published.Load())
	defer sc.close()
	for position := int64(0); ; {
		h, err := sc.at(position)
		if err == io.EOF {
			b.finish()
			return mem, nil
		}
		if err != nil {
			return nil, fmt.Errorf("rebuild indexes of %s: %w", s.path(logSuffix), err)
		}
		b.add(h, sc.raw.MaxTimestamp())
		position = h.end()
	}
}

// indexBuilder decides which batches are indexed (Kafka: LogSegment.recover).
type indexBuilder struct {
	mem      *memIndexes
	interval int64
	since    int64 // bytes since the last indexed batch
	max      timestampOffset
}

func (b *indexBuilder) add(h batchHeader, maxTimestamp int64) {
	if maxTimestamp > b.max.timestamp {
		b.max = timestampOffset{timestamp: maxTimestamp, offset: h.lastOffset}
	}
	if b.since > b.interval {
		b.mem.offsets.append(h.lastOffset, h.position)
		b.mem.times.maybeAppend(b.max)
		b.since = 0
	}
	b.since += h.size
}

// finish notes the largest timestamp, as for a closed segment.
func (b *indexBuilder) finish() {
	if b.max.timestamp >= 0 {
		b.mem.times.maybeAppend(b.max)
	}
}

// index notes a reserved batch; the log's lock is held and mem is loaded.
func (s *LogSegment) index(b record.Batch, position int64, interval int64) {
	if ts := b.MaxTimestamp(); ts > s.maxTimestamp.timestamp {
		s.maxTimestamp = timestampOffset{timestamp: ts, offset: b.LastOffset()}
	}
	if s.bytesSinceIndex > interval {
		s.mem.offsets.append(b.LastOffset(), position)
		s.mem.times.maybeAppend(s.maxTimestamp)
		s.bytesSinceIndex = 0
	}
	s.bytesSinceIndex += int64(len(b))
}

// persistIndexes writes the entries not yet in the index files. The files are
// never served, so they are written in place. The caller holds the log's
// flushMu; no lock that readers take is held over the disk.
func (s *LogSegment) persistIndexes(sync bool) error {
	s.indexMu.RLock()
	mem, cuts := s.mem, s.cuts
	fromOffset, fromTime := s.persistedOffsets, s.persistedTimes
	s.indexMu.RUnlock()
	if mem == nil || s.gone.Load() || s.published.Load() == 0 && fromOffset == 0 && fromTime == 0 {
		return nil
	}
	offsets, times := mem.offsets.encode(), mem.times.encode()
	if err := s.persistOne(indexSuffix, offsets, fromOffset*offsetEntrySize, sync); err != nil {
		return err
	}
	if err := s.persistOne(timeIndexSuffix, times, fromTime*timeEntrySize, sync); err != nil {
		return err
	}
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if s.cuts == cuts { // else a rollback came in between: write again from where it cut
		s.persistedOffsets, s.persistedTimes = len(offsets)/offsetEntrySize, len(times)/timeEntrySize
	}
	return nil
}

func (s *LogSegment) persistOne(suffix string, data []byte, from int, sync bool) (err error) {
	f, err := s.fs.Open(s.path(suffix), vfs.Create)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	from = min(from, len(data)) // a rollback may have cut since from was noted
	if _, err = f.WriteAt(data[from:], int64(from)); err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if size != int64(len(data)) {
		if err = f.Truncate(int64(len(data))); err != nil {
			return err
		}
	}
	if !sync {
		return nil
	}
	if err = f.Sync(); err != nil {
		err = causeError(errSyncFailed, err)
	}
	return err
}

// dropMemIndexes frees a closed segment's in-memory indexes once they are in
// the files.
func (s *LogSegment) dropMemIndexes() {
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if s.mem != nil && s.mem.offsets.len() == s.persistedOffsets && s.mem.times.len() == s.persistedTimes {
		s.mem = nil
	}
}

// largestTimestamp is the largest timestamp among the batches below endOffset,
// with the last offset of its batch; (-1, baseOffset) without any. The log's
// lock is held.
func (s *LogSegment) largestTimestamp(endOffset int64) (timestampOffset, error) {
	if !s.maxKnown {
		if err := s.loadMaxTimestamp(); err != nil {
			return timestampOffset{}, err
		}
	}
	if s.maxTimestamp.timestamp < 0 || s.maxTimestamp.offset < endOffset {
		return s.maxTimestamp, nil
	}
	return s.scanMaxTimestamp(endOffset) // the largest is not yet published
}

func (s *LogSegment) loadMaxTimestamp() error {
	max, err := s.scanMaxTimestamp(1<<63 - 1)
	if err != nil {
		return err
	}
	s.maxTimestamp, s.maxKnown = max, true
	return nil
}

// scanMaxTimestamp finds it from the time index and the batches after its last
// usable entry (Kafka: LogSegment.readLargestTimestamp).
func (s *LogSegment) scanMaxTimestamp(endOffset int64) (timestampOffset, error) {
	best, err := s.lastTimeEntry(endOffset)
	if err != nil {
		return best, err
	}
	if s.published.Load() == 0 {
		return best, nil
	}
	ref, err := s.acquire()
	if err != nil {
		return best, err
	}
	defer func() { _ = ref.Release() }()
	sc := newHeaderScanner(ref, s.published.Load())
	defer sc.close()
	position, err := s.lookupOffset(best.offset, sc.s.buf[:], true)
	if err != nil {
		return best, err
	}
	for {
		h, err := sc.at(position)
		if err == io.EOF || err == nil && h.lastOffset >= endOffset {
			return best, nil
		}
		if err != nil {
			return best, err
		}
		if ts := sc.raw.MaxTimestamp(); ts > best.timestamp {
			best = timestampOffset{timestamp: ts, offset: h.lastOffset}
		}
		position = h.end()
	}
}

// lastTimeEntry is the last time index entry below endOffset.
func (s *LogSegment) lastTimeEntry(endOffset int64) (timestampOffset, error) {
	times, err := s.timeIndex()
	if err != nil {
		return timestampOffset{}, err
	}
	v := times.entries.view()
	for i := len(v) - 1; i >= 0; i-- {
		if o := s.baseOffset + int64(v[i].relOffset); o < endOffset {
			return timestampOffset{timestamp: v[i].timestamp, offset: o}, nil
		}
	}
	return timestampOffset{timestamp: -1, offset: s.baseOffset}, nil
}

// timeIndex returns the time index, read from its file for a closed segment.
// Lookups by time are rare, so nothing is kept.
func (s *LogSegment) timeIndex() (*TimeIndex, error) {
	s.indexMu.RLock()
	mem := s.mem
	s.indexMu.RUnlock()
	if mem != nil {
		return &mem.times, nil
	}
	data, err := vfs.ReadFile(s.fs, s.path(timeIndexSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return &TimeIndex{baseOffset: s.baseOffset}, nil
	}
	if err != nil {
		return nil, err
	}
	times, err := decodeTimeIndex(s.baseOffset, data)
	if err != nil {
		return &TimeIndex{baseOffset: s.baseOffset}, nil // scan instead
	}
	return times, nil
}

// firstBatchTimestamp is the largest timestamp of the first batch, which rolls
// by time are counted from; ok is false in an empty segment. The log's lock is held.
func (s *LogSegment) firstBatchTimestamp() (ts int64, ok bool, err error) {
	if s.firstKnown {
		return s.firstTimestamp, true, nil
	}
	if s.published.Load() == 0 {
		return 0, false, nil
	}
	ref, err := s.acquire()
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = ref.Release() }()
	sc := newHeaderScanner(ref, s.published.Load())
	defer sc.close()
	if _, err := sc.at(0); err != nil {
		return 0, false, err
	}
	s.firstTimestamp, s.firstKnown = sc.raw.MaxTimestamp(), true
	return s.firstTimestamp, true, nil
}
