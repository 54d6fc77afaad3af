package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"freshet/record"
	"freshet/vfs"
	"freshet/zerocopy"
)

// errCleaningAborted: the broker stops, or the log was closed, truncated or
// shortened by retention meanwhile. Nothing was changed by the group at hand.
var errCleaningAborted = errors.New("compaction was interrupted")

// cleaningLimits bound what one run of compaction may use.
type cleaningLimits struct {
	mapBytes    int64   // of the offset map
	mapLoad     float64 // how full it may become
	bufferBytes int     // of reading; grows for larger batches
	// pause is told of every so many bytes read or written. It may wait, to
	// throttle, and is false when the run is to end. May be nil.
	pause func(bytes int64) bool
}

// logToClean is what is due in one log (Kafka: LogToClean).
type logToClean struct {
	log        *Log
	firstDirty int64 // the records below were compacted
	// uncleanable is where cleaning ends: the base of a segment that must stay.
	uncleanable int64
	dirtyBytes  int64
	ratio       float64 // of dirty bytes in those that a run reads
	overdue     bool    // by max.compaction.lag.ms
}

// due reports whether a run is worth it.
func (c *logToClean) due() bool {
	return c.overdue && c.dirtyBytes > 0 || c.ratio > c.log.config.Load().MinCleanableDirtyRatio
}

// toClean works out what is due. cleanedTo is the end of the last run, or -1.
func (l *Log) toClean(cleanedTo, nowMs int64) (logToClean, error) {
	config := l.config.Load()
	start, end := l.LogStartOffset(), l.LogEndOffset()
	c := logToClean{log: l, firstDirty: cleanedTo}
	if cleanedTo < start || cleanedTo > end {
		c.firstDirty = start
	}
	stable := l.LastStableOffset()
	list := *l.segments.Load()
	closed := list[:len(list)-1]
	limit := min(stable, list.active().baseOffset)
	earliest := int64(math.MaxInt64)
	for _, s := range closed[min(len(closed), max(0, list.floorIndex(c.firstDirty))):] {
		first, largest, err := l.lagTimestamps(s, config, end)
		if err != nil {
			if s.gone.Load() {
				return c, errCleaningAborted
			}
			return c, err
		}
		if config.MinCompactionLagMs > 0 && largest > nowMs-config.MinCompactionLagMs {
			limit = min(limit, s.baseOffset)
		}
		if first > 0 {
			earliest = min(earliest, first)
		}
	}
	c.overdue = earliest < nowMs-config.MaxCompactionLagMs
	// Cleaning ends with a whole segment.
	limit = max(c.firstDirty, limit)
	c.uncleanable = list.active().baseOffset
	if i := list.floorIndex(limit); i >= 0 {
		c.uncleanable = list[i].baseOffset
	}
	cleanBytes := int64(0)
	for i, s := range closed {
		if s.baseOffset < c.firstDirty {
			cleanBytes += s.published.Load()
		}
		if s.baseOffset < c.uncleanable && list[i+1].baseOffset > min(c.firstDirty, c.uncleanable) {
			c.dirtyBytes += s.published.Load()
		}
	}
	if total := cleanBytes + c.dirtyBytes; total > 0 {
		c.ratio = float64(c.dirtyBytes) / float64(total)
	}
	return c, nil
}

// lagTimestamps are a segment's first and largest timestamps, or -1 where the
// configuration does not ask for them.
func (l *Log) lagTimestamps(s *LogSegment, config *LogConfig, end int64) (first, largest int64, err error) {
	first, largest = -1, -1
	l.mu.Lock()
	defer l.mu.Unlock()
	if config.MinCompactionLagMs > 0 {
		t, err := s.largestTimestamp(end)
		if err != nil {
			return first, largest, err
		}
		largest = t.timestamp
	}
	if config.MaxCompactionLagMs < math.MaxInt64 {
		t, ok, err := s.firstBatchTimestamp()
		if err != nil {
			return first, largest, err
		}
		if ok {
			first = t
		}
	}
	return first, largest, nil
}

// cleaningStats is what a run did.
type cleaningStats struct {
	bytesRead, bytesWritten int64
	segmentsBefore          int // of those that were replaced
	segmentsAfter           int
}

// cleaning is one run over one log.
type cleaning struct {
	logToClean
	limits cleaningLimits
	config LogConfig
	nowMs  int64
	keys   *offsetMap
	filter batchFilter
	buf    []byte
	out    []byte
	stats  cleaningStats
}

// clean compacts a log and returns the offset up to which that was done. It
// waits for the disk and takes the log's locks only to swap segments.
func (c *logToClean) clean(limits cleaningLimits, nowMs int64) (int64, cleaningStats, error) {
	run := &cleaning{logToClean: *c, limits: limits, config: c.log.Config(), nowMs: nowMs}
	run.buf = make([]byte, max(limits.bufferBytes, record.HeaderSize))
	// What is to be replaced must be durable, its indexes in their files.
	if err := c.log.Flush(c.uncleanable); err != nil {
		return c.firstDirty, run.stats, err
	}
	segs := run.segments()
	if len(segs) == 0 {
		return c.firstDirty, run.stats, nil
	}
	aborted, err := c.log.AbortedTransactions(segs[0].baseOffset, c.uncleanable)
	if err != nil {
		return c.firstDirty, run.stats, err
	}
	if err := run.fillMap(segs, aborted); err != nil {
		return c.firstDirty, run.stats, err
	}
	end := run.keys.latest + 1
	run.filter = batchFilter{
		nowMs: nowMs, deleteRetentionMs: run.config.DeleteRetentionMs, keys: run.keys,
		txns: newCleanedTxns(aborted), roundEnd: c.uncleanable,
	}
	for len(segs) > 0 && segs[0].baseOffset < end {
		n := run.group(segs, end)
		if err := run.cleanGroup(segs[:n]); err != nil {
			return c.firstDirty, run.stats, err
		}
		segs = segs[n:]
	}
	return max(end, c.firstDirty), run.stats, nil
}

// segments are those below the uncleanable offset; they are closed.
func (c *cleaning) segments() segmentList {
	list := *c.log.segments.Load()
	n := 0
	for n+1 < len(list) && list[n+1].baseOffset <= c.uncleanable {
		n++
	}
	return list[:n]
}

// group counts the leading segments that one new segment can take the place of.
func (c *cleaning) group(segs segmentList, end int64) int {
	size, err := segs[0].sizes()
	n := 1
	for ; n < len(segs) && segs[n].baseOffset < end && err == nil; n++ {
		var next [3]int64
		if next, err = segs[n].sizes(); err != nil {
			break
		}
		last := c.uncleanable - 1
		if n+1 < len(segs) {
			last = segs[n+1].baseOffset - 1
		}
		if size[0]+next[0] > int64(c.config.SegmentBytes) ||
			size[1]+next[1] > int64(c.config.SegmentIndexBytes) || size[2]+next[2] > int64(c.config.SegmentIndexBytes) ||
			next[0] > 0 && last-segs[0].baseOffset > math.MaxInt32 {
			break
		}
		for i := range size {
			size[i] += next[i]
		}
	}
	return n
}

// sizes are the bytes of the segment's log, offset index and time index.
func (s *LogSegment) sizes() (sizes [3]int64, err error) {
	sizes[0] = s.published.Load()
	for i, suffix := range []string{indexSuffix, timeIndexSuffix} {
		info, err := s.fs.Stat(s.path(suffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sizes, err
		}
		sizes[i+1] = info.Size
	}
	return sizes, nil
}

// fillMap takes in the keys of the dirty segments, as many as the map holds.
func (c *cleaning) fillMap(segs segmentList, aborted []AbortedTxn) error {
	c.keys = newOffsetMap(c.limits.mapBytes, c.limits.mapLoad)
	txns := newCleanedTxns(aborted)
	for i, s := range segs {
		next := c.uncleanable
		if i+1 < len(segs) {
			next = segs[i+1].baseOffset
		}
		if next <= c.firstDirty {
			continue
		}
		more := true
		err := c.eachBatch(s, func(b record.Batch) (bool, error) {
			var err error
			more, err = c.keys.fill(b, txns, c.firstDirty)
			return more, err
		})
		if err != nil || !more {
			return err
		}
		c.keys.latest = next - 1 // over the gap at the end of the segment
	}
	return nil
}

// eachBatch visits the batches of a segment, which are valid until the next,
// until visit is false. Every CRC is checked: a damaged batch must not get a
// new one by being written again.
func (c *cleaning) eachBatch(s *LogSegment, visit func(b record.Batch) (bool, error)) error {
	ref, err := s.acquire()
	if err != nil {
		if s.gone.Load() {
			return errCleaningAborted
		}
		return err
	}
	defer func() { _ = ref.Release() }()
	limit, at, have := s.published.Load(), int64(0), 0 // have bytes at position at
	for position := int64(0); position < limit; {
		if position+record.HeaderSize > limit {
			return fmt.Errorf("%s: %w: %d bytes left at position %d", s.path(logSuffix), errNotABatch, limit-position, position)
		}
		need := record.HeaderSize
		if rest := int64(have) - (position - at); rest >= record.HeaderSize {
			h, err := parseHeader(c.buf[position-at:], position)
			if err == nil && h.end() > limit {
				err = fmt.Errorf("%w: batch of %d bytes at position %d ends beyond %d", errNotABatch, h.size, position, limit)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", s.path(logSuffix), err)
			}
			if h.size <= rest {
				if position, err = c.visit(s, c.buf[position-at:][:h.size], h, visit); err != nil || position < 0 {
					return err
				}
				continue
			}
			need = int(h.size)
		}
		if need > len(c.buf) {
			c.buf = make([]byte, need)
		}
		have = int(min(int64(len(c.buf)), limit-position))
		if _, err := ref.ReadAt(c.buf[:have], position); err != nil {
			return fmt.Errorf("read %s at position %d: %w", s.path(logSuffix), position, unexpectedEOF(err))
		}
		at = position
		c.stats.bytesRead += int64(have)
		if err := c.pause(int64(have)); err != nil {
			return err
		}
	}
	return nil
}

// visit hands one batch on and returns the position after it, or -1 to end.
func (c *cleaning) visit(s *LogSegment, b record.Batch, h batchHeader, visit func(b record.Batch) (bool, error)) (int64, error) {
	err := b.CheckCRC()
	more := true
	if err == nil {
		more, err = visit(b)
	}
	switch {
	case errors.Is(err, errCleaningAborted):
		return -1, err
	case err != nil:
		return -1, fmt.Errorf("%s, batch at position %d, offset %d: %w", s.path(logSuffix), h.position, h.baseOffset, err)
	case !more:
		return -1, nil
	}
	return h.end(), nil
}

// pause lets a run end or slow down.
func (c *cleaning) pause(bytes int64) error {
	if c.log.closed.Load() || c.limits.pause != nil && !c.limits.pause(bytes) {
		return errCleaningAborted
	}
	return c.log.logDir.failure()
}

// cleanGroup writes what stays of some segments into a new one and swaps it in.
func (c *cleaning) cleanGroup(group segmentList) error {
	c.filter.producers = c.log.lastRecords()
	c.filter.txns.kept = nil
	w, err := newCleanedSegment(c.log, group[0], int64(c.config.IndexIntervalBytes))
	if err != nil {
		return err
	}
	changed := len(group) > 1
	for _, s := range group {
		err = c.eachBatch(s, func(b record.Batch) (bool, error) {
			out, diff, err := c.filter.filter(c.out[:0], b)
			c.out = out[:0]
			changed = changed || diff
			if err != nil || len(out) == 0 {
				return true, err
			}
			if err := w.append(out); err != nil {
				return false, err
			}
			c.stats.bytesWritten += int64(len(out))
			return true, c.pause(int64(len(out)))
		})
		if err != nil {
			w.discard()
			return err
		}
	}
	if !changed {
		w.discard()
		return nil
	}
	if err := w.finish(c.filter.txns.kept); err != nil {
		w.discard()
		return err
	}
	if err := c.log.swapIn(w, group); err != nil {
		return err
	}
	c.stats.segmentsBefore += len(group)
	c.stats.segmentsAfter++
	return nil
}

// lastRecords are the last records of the active producers.
func (l *Log) lastRecords() map[int64]lastRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[int64]lastRecord, len(l.producers.producers))
	for id, e := range l.producers.producers {
		r := lastRecord{lastDataOffset: -1, epoch: e.epoch}
		if m := e.last(); m != nil {
			r.lastDataOffset = m.lastOffset
		}
		last[id] = r
	}
	return last
}

// cleanedSegment is a segment being written under the .cleaned names.
type cleanedSegment struct {
	log     *Log
	seg     *LogSegment
	file    vfs.File
	index   indexBuilder
	pending []byte
	size    int64 // with pending
}

// cleanedWriteBytes is how much is gathered before a write.
const cleanedWriteBytes = 1 << 20

// newCleanedSegment begins the successor of first and of the segments after it.
func newCleanedSegment(l *Log, first *LogSegment, indexInterval int64) (*cleanedSegment, error) {
	s := &LogSegment{
		fs: l.fs, dir: first.dir, baseOffset: first.baseOffset, createdMs: first.createdMs,
		mem: newMemIndexes(first.baseOffset), maxKnown: true,
	}
	f, err := l.fs.Open(s.path(logSuffix+cleanedSuffix), vfs.CreateTruncate)
	if err != nil {
		return nil, err
	}
	return &cleanedSegment{log: l, seg: s, file: f, index: indexBuilder{
		mem: s.mem, interval: indexInterval, max: timestampOffset{timestamp: -1, offset: s.baseOffset},
	}}, nil
}

func (w *cleanedSegment) append(b record.Batch) error {
	h, err := parseHeader(b, w.size)
	if err != nil {
		return err
	}
	if h.end() > math.MaxInt32 {
		return fmt.Errorf("compacted segment %s grows beyond %d bytes", w.seg.path(logSuffix), math.MaxInt32)
	}
	w.index.add(h, b.MaxTimestamp())
	w.size += int64(len(b))
	w.pending = append(w.pending, b...)
	if len(w.pending) >= cleanedWriteBytes {
		return w.flush()
	}
	return nil
}

func (w *cleanedSegment) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	if _, err := w.file.WriteAt(w.pending, w.size-int64(len(w.pending))); err != nil {
		return fmt.Errorf("write %s: %w", w.seg.path(logSuffix+cleanedSuffix), err)
	}
	w.pending = w.pending[:0]
	return nil
}

// finish writes and syncs the log and the three indexes. The transaction index
// is written even when empty, so that it takes the place of the old one.
func (w *cleanedSegment) finish(aborted []AbortedTxn) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.pending = nil
	w.index.finish()
	if err := w.file.Sync(); err != nil {
		return causeError(errSyncFailed, err)
	}
	s := w.seg
	for _, x := range []struct {
		suffix string
		data   []byte
	}{{indexSuffix, s.mem.offsets.encode()}, {timeIndexSuffix, s.mem.times.encode()}, {txnIndexSuffix, encodeAborted(aborted)}} {
		if err := copyPrefixTo(s.fs, bytes.NewReader(x.data), s.path(x.suffix+cleanedSuffix), int64(len(x.data))); err != nil {
			return err
		}
	}
	s.persistedOffsets, s.persistedTimes = s.mem.offsets.len(), s.mem.times.len()
	s.txns = txnIndex{entries: aborted, loaded: true}
	s.maxTimestamp = w.index.max
	s.published.Store(w.size)
	s.reserved = w.size
	s.dirSynced.Store(true) // by the time it is swapped in
	s.handle.Store(&segmentHandle{file: w.file, ref: zerocopy.NewFile(w.file, w.file.Fd(), w.file.Close), cached: cachedReader(w.file)})
	return nil
}

// discard drops the files of a segment that will not be swapped in.
func (w *cleanedSegment) discard() {
	if w.seg.handle.Load() != nil {
		w.seg.closeHandle()
	} else {
		_ = w.file.Close()
	}
	if w.log.closed.Load() { // the names may be a successor's; the next start removes what is left
		return
	}
	for _, suffix := range segmentSuffixes {
		_ = w.seg.fs.Remove(w.seg.path(suffix + cleanedSuffix))
	}
}
