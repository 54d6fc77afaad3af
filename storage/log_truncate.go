package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"freshet/record"
	"freshet/vfs"
)

// rollbackLocked takes the log back to its published end after a failed write,
// once nothing is in flight: reservations beyond it never happened. Bytes above
// the published position were never served, so they may be overwritten.
func (l *Log) rollbackLocked() {
	end, seg, position := l.pub.endOffset, l.pub.seg, l.pub.position
	l.noteFailedLocked()
	list := *l.segments.Load()
	kept := list[: list.indexOf(seg)+1 : list.indexOf(seg)+1]
	l.segments.Store(&kept)
	for _, s := range list[len(kept):] {
		s.gone.Store(true)
		s.closeHandle()
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
			l.removeIfExists(s.path(suffix))
		}
	}
	if len(kept) < len(list) {
		// A segment that comes back after a power loss would lie across what is
		// appended here from now on.
		if err := l.fs.SyncDir(l.Dir()); err != nil {
			_ = l.logDir.fail(fmt.Errorf("remove segments of %s after a failed write: %w", l.tp, err))
		}
	}
	seg.cutTail(end, position)
	if h := seg.handle.Load(); h != nil {
		if err := h.file.Truncate(position); err != nil {
			l.logger.Warn("cannot cut failed bytes off segment", "file", seg.path(logSuffix), "error", err)
		}
	}
	l.nextOffset.Store(end)
	l.epochs.truncateFromEnd(end)
	l.completed = l.completed[:0]
	l.failedFrom, l.failCause = -1, nil
	if err := l.rebuildProducersLocked(end); err != nil {
		_ = l.logDir.fail(fmt.Errorf("rebuild producer state of %s: %w", l.tp, err))
	}
}

// cutTail drops what the segment knows of batches at or after end.
func (s *LogSegment) cutTail(end, position int64) {
	s.indexMu.Lock()
	s.cuts++
	if s.mem != nil {
		s.mem.offsets.truncate(end, position)
		s.mem.times.truncate(end)
		s.persistedOffsets = min(s.persistedOffsets, s.mem.offsets.len())
		s.persistedTimes = min(s.persistedTimes, s.mem.times.len())
	}
	s.cutTxnsLocked(end)
	s.indexMu.Unlock()
	s.reserved = position
	s.bytesSinceIndex = 0
	s.maxKnown = false
	if position == 0 {
		s.firstKnown = false
	}
}

func (l *Log) removeIfExists(path string) {
	if err := l.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.logger.Warn("cannot remove file", "file", path, "error", err)
	}
}

// rebuildProducersLocked makes the producer state as of end from the newest
// snapshot at or below it and the batches after that.
func (l *Log) rebuildProducersLocked(end int64) error {
	snapshots, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	return l.rebuildProducersFromLocked(snapshots, end, end)
}

// rebuildProducersFromLocked uses one of the snapshots at these ascending
// offsets, none beyond from, so that at least the batches from there on are
// replayed, into the transaction indexes too.
func (l *Log) rebuildProducersFromLocked(snapshots []int64, from, end int64) error {
	l.dropPendingLocked(end)
	state, err := l.producersAt(l.pendingSnapshots, snapshots, from, end)
	if err != nil {
		return err
	}
	l.setProducersLocked(state)
	return nil
}

// dropPendingLocked forgets producer snapshots of offsets beyond end that are
// not written yet.
func (l *Log) dropPendingLocked(end int64) {
	l.pendingSnapshots = slices.DeleteFunc(l.pendingSnapshots, func(p pendingSnapshot) bool { return p.offset > end })
}

// setProducersLocked puts a producer state that was made anew in force.
func (l *Log) setProducersLocked(state *ProducerState) {
	state.onHighWatermark(l.highWatermark.Load())
	l.producers = state
	l.noteUnstableLocked()
}

// producersAt makes the producer state as of end, reading files: from one of
// the snapshots, on disk or pending, that are not beyond from.
func (l *Log) producersAt(pending []pendingSnapshot, snapshots []int64, from, end int64) (*ProducerState, error) {
	state, err := l.newestSnapshot(snapshots, from)
	if err != nil {
		return nil, err
	}
	if n := len(pending); n > 0 && pending[n-1].offset <= from && (state == nil || pending[n-1].offset > state.mapEndOffset) {
		if state, err = decodeSnapshot(pending[n-1].data, pending[n-1].offset); err != nil {
			return nil, err
		}
	}
	if state == nil {
		state = newProducerState(l.logStartOffset.Load())
		state.lastSnapshotOffset = -1
	}
	return state, l.replayProducers(state, end)
}

// newestSnapshot reads the newest sound producer snapshot at or below end; nil
// if there is none. Unsound ones are renamed aside.
func (l *Log) newestSnapshot(offsets []int64, end int64) (*ProducerState, error) {
	for i := len(offsets) - 1; i >= 0; i-- {
		if offsets[i] > end {
			continue
		}
		path := l.path(fileName(offsets[i], snapshotSuffix))
		data, err := vfs.ReadFile(l.fs, path)
		if err != nil {
			return nil, err
		}
		state, err := decodeSnapshot(data, offsets[i])
		if err == nil {
			return state, nil
		}
		l.logger.Warn("producer snapshot is unusable; renamed aside", "file", path, "error", err)
		if err := l.fs.Rename(path, path+quarantineMark+fmt.Sprint(l.nowMs())); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// snapshotOffsets lists the producer snapshots on disk, ascending.
func (l *Log) snapshotOffsets() ([]int64, error) {
	entries, err := l.fs.List(l.Dir())
	if err != nil {
		return nil, err
	}
	var offsets []int64
	for _, e := range entries {
		if o, ok := parseFileName(e.Name, snapshotSuffix); ok {
			offsets = append(offsets, o)
		}
	}
	return offsets, nil
}

// parseFileName is the reverse of fileName.
func parseFileName(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != offsetNameDigits {
		return 0, false
	}
	var n int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' || n > (1<<63-1-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// replayProducers takes the batches between the state's end and end into it.
func (l *Log) replayProducers(state *ProducerState, end int64) error {
	list := *l.segments.Load()
	for i := max(0, list.floorIndex(state.mapEndOffset)); i < len(list) && list[i].baseOffset < end; i++ {
		if list[i].published.Load() == 0 {
			continue
		}
		if err := list[i].replayProducers(state, end); err != nil {
			return fmt.Errorf("replay %s: %w", list[i].path(logSuffix), err)
		}
	}
	state.mapEndOffset = end
	return nil
}

func (s *LogSegment) replayProducers(state *ProducerState, end int64) error {
	ref, err := s.acquire()
	if err != nil {
		return err
	}
	defer func() { _ = ref.Release() }()
	sc := newHeaderScanner(ref, s.published.Load())
	defer sc.close()
	position, err := s.lookupOffset(state.mapEndOffset, sc.s.buf[:], true)
	if err != nil {
		return err
	}
	for {
		h, err := sc.at(position)
		if err == io.EOF || err == nil && h.baseOffset >= end {
			return nil
		}
		if err != nil {
			return err
		}
		if h.baseOffset >= state.mapEndOffset && sc.raw.ProducerID() != record.NoProducerID {
			if err := s.replayBatch(state, ref, h, sc.raw); err != nil {
				return err
			}
		}
		position = h.end()
	}
}

// replayBatch applies one batch; only markers are read whole.
func (s *LogSegment) replayBatch(state *ProducerState, r io.ReaderAt, h batchHeader, header record.Batch) error {
	var marker *endTxnMarker
	if header.IsControl() {
		b, err := readBatch(r, h)
		if err != nil {
			return err
		}
		if marker, err = parseMarker(b); err != nil {
			return err
		}
	}
	if txn, ended := state.apply(header, marker); ended {
		return s.endTxn(state, txn)
	}
	return nil
}

// TruncateTo drops everything at or after offset, for a follower that diverged
// from its leader. The segment it falls in gets a new inode, so that regions in
// flight to sockets keep their bytes. It waits for writes in flight and for the
// disk: not for event loops. It reports whether anything was dropped.
//
// Log.mu is not held over the disk: meanwhile appends are refused with
// ErrTruncating, and reads see the log as it was.
func (l *Log) TruncateTo(offset int64) (bool, error) {
	if offset < 0 {
		return false, fmt.Errorf("truncate %s to offset %d: %w", l.tp, offset, ErrOffsetOutOfRange)
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	if err := l.beginCut(); err != nil {
		return false, err
	}
	defer l.endCut()
	if offset >= l.LogEndOffset() {
		return false, nil
	}
	list := *l.segments.Load()
	if list[0].baseOffset > offset {
		return true, l.restartAt(offset)
	}
	if err := l.lowerRecoveryPoint(offset); err != nil {
		return false, err
	}
	i := list.floorIndex(offset)
	kept, err := l.copyKept(list[i], offset)
	if errors.Is(err, errNoRoom) {
		// Nothing has changed. The directory is in order; who asked may ask again.
		l.removeIfExists(list[i].path(logSuffix + tmpSuffix))
		return false, fmt.Errorf("truncate %s to offset %d: %w", l.tp, offset, err)
	}
	var fresh *LogSegment
	if err == nil {
		fresh, err = l.truncateFiles(list, i, offset, kept)
	}
	if err == nil {
		err = l.dropLost(offset)
	}
	if err != nil {
		return false, l.logDir.fail(fmt.Errorf("truncate %s to offset %d: %w", l.tp, offset, err))
	}
	segments := append(append(segmentList(nil), list[:i]...), fresh)
	l.mu.Lock()
	l.segments.Store(&segments)
	list[i].gone.Store(true) // its name is the new inode's already
	list[i].closeHandle()
	l.nextOffset.Store(offset)
	l.pub.reset(offset, fresh, fresh.reserved)
	l.epochs.truncateFromEnd(offset)
	l.highWatermark.Store(min(l.highWatermark.Load(), offset))
	if l.logStartOffset.Load() > offset {
		l.logStartOffset.Store(offset)
	}
	l.dropPendingLocked(offset)
	pending := slices.Clone(l.pendingSnapshots)
	l.mu.Unlock()
	if err := l.renewProducers(pending, offset); err != nil {
		return true, l.logDir.fail(fmt.Errorf("truncate %s to offset %d: %w", l.tp, offset, err))
	}
	return true, nil
}

// beginCut waits for the appends in flight and refuses others until endCut.
// flushMu is held throughout, so that nothing but Reserve could change the log.
func (l *Log) beginCut() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waitDrainedLocked()
	if err := l.writableLocked(); err != nil {
		return err
	}
	l.cutting = true
	return nil
}

func (l *Log) endCut() {
	l.mu.Lock()
	l.cutting = false
	l.mu.Unlock()
}

// renewProducers makes the producer state anew after the log was cut at end.
func (l *Log) renewProducers(pending []pendingSnapshot, end int64) error {
	snapshots, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	state, err := l.producersAt(pending, snapshots, end, end)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.setProducersLocked(state)
	l.mu.Unlock()
	return nil
}

// lowerRecoveryPoint brings the recovery point on disk down before bytes below
// it go, so that a crash in between does not look like lost data.
func (l *Log) lowerRecoveryPoint(offset int64) error {
	if l.recoveryPoint.Load() <= offset {
		return nil
	}
	l.recoveryPoint.Store(offset)
	if l.hooks.recoveryPointLowered == nil {
		return nil
	}
	return l.hooks.recoveryPointLowered(l, offset)
}

// errNoRoom is a full disk that was met before anything was changed.
var errNoRoom = errors.New("the disk is full; make room")

// keptPart is what a segment holds below an offset.
type keptPart struct {
	size int64
	// gap: the next record goes behind one that was there, or the rest of a batch.
	gap bool
}

// copyKept writes the part of s below offset to a new file beside it.
func (l *Log) copyKept(s *LogSegment, offset int64) (keptPart, error) {
	ref, err := s.acquire()
	if err != nil {
		return keptPart{}, err
	}
	defer func() { _ = ref.Release() }()
	size := s.published.Load()
	h, found, err := s.translate(ref, offset, size)
	if err != nil {
		return keptPart{}, err
	}
	gap := false
	if found {
		size = h.position
		gap = h.baseOffset != offset && (size > 0 || offset != s.baseOffset)
	} else { // of a log that ends behind a hole, cut where that begins: no gap
		next, err := s.nextOffset()
		if err != nil {
			return keptPart{}, err
		}
		gap = next != offset
	}
	return keptPart{size, gap}, copyPrefixTo(l.fs, ref, s.path(logSuffix+tmpSuffix), size)
}

// truncateFiles drops the segments after list[i], newest first, and the
// snapshots beyond offset, then puts in place of list[i] what copyKept made of
// it. The directory is synced in between, so that a crash never leaves a hole or
// brings back what was dropped beside what is appended later.
func (l *Log) truncateFiles(list segmentList, i int, offset int64, kept keptPart) (*LogSegment, error) {
	for j := len(list) - 1; j > i; j-- {
		l.dropSegments(list[j : j+1])
	}
	if err := l.dropSnapshotsAbove(offset); err != nil {
		return nil, err
	}
	if err := l.fs.SyncDir(l.Dir()); err != nil {
		return nil, err
	}
	return l.truncateSegment(list[i], offset, kept)
}

// truncateSegment puts the copy of what s holds below offset under its name.
func (l *Log) truncateSegment(s *LogSegment, offset int64, kept keptPart) (*LogSegment, error) {
	size := kept.size
	if kept.gap {
		if err := l.markGaps(offset); err != nil {
			return nil, err
		}
	}
	if err := s.loadIndexes(l.config.Load().IndexIntervalBytes); err != nil {
		return nil, err
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		l.removeIfExists(s.path(suffix))
	}
	if err := l.fs.Rename(s.path(logSuffix+tmpSuffix), s.path(logSuffix)); err != nil {
		return nil, err
	}
	if err := l.fs.SyncDir(s.dir); err != nil {
		return nil, err
	}
	fresh := &LogSegment{fs: s.fs, dir: s.dir, baseOffset: s.baseOffset, createdMs: s.createdMs, jitterMs: s.jitterMs}
	fresh.published.Store(size)
	fresh.reserved = size
	fresh.dirSynced.Store(true)
	fresh.mem = newMemIndexes(s.baseOffset)
	fresh.mem.offsets.entries.replace(append([]offsetEntry(nil), s.mem.offsets.entries.view()...))
	fresh.mem.times.entries.replace(append([]timeEntry(nil), s.mem.times.entries.view()...))
	entries, err := s.aborted()
	if err != nil {
		return nil, err
	}
	fresh.txns = txnIndex{entries: slices.Clone(entries), loaded: true}
	fresh.cutTail(offset, size)
	return fresh, fresh.persistTxns()
}

// copyPrefixTo writes the first size bytes of r to a new, synced file. errNoRoom:
// the disk is full; a sync that fails for that reason is an error like any other.
func copyPrefixTo(fsys vfs.FS, r io.ReaderAt, path string, size int64) (err error) {
	f, err := fsys.Open(path, vfs.CreateTruncate)
	if err != nil {
		return noRoom(err)
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err = vfs.CopyPrefix(f, r, size); err != nil {
		return noRoom(err)
	}
	return f.Sync()
}

// noRoom makes errNoRoom of a write that found the disk full.
func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	return err
}

// dropSnapshotsAbove removes producer snapshots of offsets beyond the log's end.
func (l *Log) dropSnapshotsAbove(offset int64) error {
	offsets, err := l.snapshotOffsets()
	if err != nil {
		return err
	}
	for _, o := range offsets {
		if o > offset {
			l.removeIfExists(l.path(fileName(o, snapshotSuffix)))
		}
	}
	return nil
}

// dropSegments takes segments out of use: their files are renamed to .deleted
// and unlinked after file.delete.delay.ms. They have left the list.
func (l *Log) dropSegments(segs []*LogSegment) {
	var paths []string
	for _, s := range segs {
		s.gone.Store(true)
		s.closeHandle()
		for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix, snapshotSuffix} {
			path := s.path(suffix)
			err := l.fs.Rename(path, path+deletedSuffix)
			if err == nil {
				paths = append(paths, path+deletedSuffix)
			} else if !errors.Is(err, fs.ErrNotExist) {
				l.logger.Warn("cannot rename file of a deleted segment", "file", path, "error", err)
			}
		}
	}
	if len(paths) > 0 && l.hooks.deleteLater != nil {
		l.hooks.deleteLater(l, paths)
	}
}

// TruncateFullyAndStartAt drops everything; the log becomes empty and begins
// at offset. Waits as TruncateTo does.
func (l *Log) TruncateFullyAndStartAt(offset int64) error {
	if offset < 0 {
		return fmt.Errorf("restart %s at offset %d: %w", l.tp, offset, ErrOffsetOutOfRange)
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	if err := l.beginCut(); err != nil {
		return err
	}
	defer l.endCut()
	return l.restartAt(offset)
}

// restartAt is TruncateFullyAndStartAt after beginCut.
func (l *Log) restartAt(offset int64) error {
	if err := l.lowerRecoveryPoint(offset); err != nil {
		return err
	}
	list := *l.segments.Load()
	for j := len(list) - 1; j >= 0; j-- {
		l.dropSegments(list[j : j+1])
	}
	if err := l.dropSnapshotsAbove(-1); err != nil {
		return l.logDir.fail(err)
	}
	seg, err := createSegment(l.fs, l.Dir(), offset, l.nowMs())
	if err != nil {
		return l.logDir.fail(fmt.Errorf("restart %s at offset %d: %w", l.tp, offset, err))
	}
	if err := l.syncSegmentDir(seg); err != nil { // and what was dropped
		return err
	}
	if err := l.dropLost(0); err != nil {
		return l.logDir.fail(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments.Store(&segmentList{seg})
	l.nextOffset.Store(offset)
	l.pub.reset(offset, seg, 0)
	l.logStartOffset.Store(offset)
	l.highWatermark.Store(offset)
	l.recoveryPoint.Store(offset)
	l.epochs.clear()
	l.pendingSnapshots = nil
	l.producers = newProducerState(offset)
	l.noteUnstableLocked()
	return nil
}
