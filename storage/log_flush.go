package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"freshet/vfs"
)

// Flush makes everything below upTo (at most the log end offset) durable:
// segment files first, then what is derived from them, then the recovery point.
// It blocks on the disk: never call it on an event loop. A failed sync takes
// the whole log directory offline and is never retried.
func (l *Log) Flush(upTo int64) error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	return l.flushLocked(upTo)
}

// flushLocked is Flush under flushMu.
func (l *Log) flushLocked(upTo int64) error {
	if err := l.logDir.failure(); err != nil {
		return err
	}
	target := min(upTo, l.LogEndOffset())
	if from := l.recoveryPoint.Load(); target > from || l.hasUnsealed() {
		list := *l.segments.Load()
		first := max(0, list.floorIndex(from))
		for i := 0; i < len(list) && list[i].baseOffset <= target; i++ {
			if i < first && !list[i].unsealed() {
				continue
			}
			if err := l.flushSegment(list, i, target); err != nil {
				return l.flushFailed(err)
			}
		}
	}
	if err := l.epochs.flush(l.fs, l.Dir(), vfs.WriteFileAtomic); err != nil {
		return err
	}
	if err := l.segments.Load().active().persistTxns(); err != nil {
		return fmt.Errorf("write transaction index of %s: %w", l.tp, err)
	}
	if err := l.writeSnapshots(target, vfs.WriteFileAtomic); err != nil {
		return err
	}
	for {
		at := l.recoveryPoint.Load()
		if target <= at || l.recoveryPoint.CompareAndSwap(at, target) {
			break
		}
	}
	l.lastFlushMs.Store(l.nowMs())
	return nil
}

// SyncFailed tells the log that an fdatasync of one of its files failed, which
// takes its log directory offline for good: nobody knows what the disk holds,
// and a second sync would report success without the data. It returns the
// error to answer appends with. Call it before Complete, so that no append is
// accepted in between.
func (l *Log) SyncFailed(cause error) error { return l.logDir.fail(causeError(errSyncFailed, cause)) }

// flushFailed takes the directory offline after a failed sync. Other failures
// (no space for an index) leave the recovery point where it is: the flush is
// tried again later.
func (l *Log) flushFailed(err error) error {
	if errors.Is(err, errSyncFailed) {
		return l.logDir.fail(err)
	}
	return fmt.Errorf("flush log of %s: %w", l.tp, err)
}

// hasUnsealed reports whether a closed segment's indexes still wait in memory.
func (l *Log) hasUnsealed() bool {
	list := *l.segments.Load()
	return slices.ContainsFunc(list[:len(list)-1], (*LogSegment).unsealed)
}

func (s *LogSegment) unsealed() bool {
	s.indexMu.RLock()
	defer s.indexMu.RUnlock()
	return s.mem != nil || s.txns.dirty
}

// flushSegment syncs one segment; a closed one also gets its indexes written
// and freed from memory.
func (l *Log) flushSegment(list segmentList, i int, target int64) error {
	s := list[i]
	if s.gone.Load() {
		return nil
	}
	if err := s.sync(); err != nil {
		return err
	}
	if err := l.syncSegmentDir(s); err != nil {
		return err
	}
	if err := s.persistTxns(); err != nil {
		return fmt.Errorf("write transaction index of %s: %w", s.path(logSuffix), err)
	}
	if i+1 == len(list) || list[i+1].baseOffset > target {
		return nil // still appended to, or not yet wholly published
	}
	if err := s.persistIndexes(true); err != nil {
		return fmt.Errorf("write indexes of %s: %w", s.path(logSuffix), err)
	}
	s.dropMemIndexes()
	if err := s.releaseSpace(); err != nil {
		l.logger.Warn("cannot give back the space reserved for a segment", "file", s.path(logSuffix), "error", err)
	}
	return nil
}

// sync makes the published bytes durable. A segment deleted meanwhile is fine.
func (s *LogSegment) sync() error {
	ref, err := s.acquire()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && s.gone.Load() {
			return nil
		}
		return err
	}
	defer func() { _ = ref.Release() }()
	h := s.handle.Load()
	if h == nil || h.ref != ref {
		return s.sync() // closed for idleness between the two loads
	}
	if err := h.file.Sync(); err != nil {
		return causeError(errSyncFailed, err)
	}
	return nil
}

func (l *Log) syncSegmentDir(s *LogSegment) error {
	if s.dirSynced.Load() {
		return nil
	}
	if err := l.fs.SyncDir(s.dir); err != nil {
		return l.logDir.fail(err)
	}
	s.dirSynced.Store(true)
	return nil
}

// fileWriter replaces a file whole: vfs.WriteFileAtomic, or
// vfs.WriteFileUnsynced where the caller syncs everything afterwards.
type fileWriter func(fsys vfs.FS, name string, data []byte) error

// writeSnapshots writes the producer snapshots taken at or below target, which
// is durable by now: a snapshot never tells of records that a crash may take.
func (l *Log) writeSnapshots(target int64, write fileWriter) error {
	for {
		l.mu.Lock()
		if len(l.pendingSnapshots) == 0 || l.pendingSnapshots[0].offset > target {
			l.mu.Unlock()
			return nil
		}
		s := l.pendingSnapshots[0]
		l.mu.Unlock()
		if err := write(l.fs, l.path(fileName(s.offset, snapshotSuffix)), s.data); err != nil {
			return fmt.Errorf("write producer snapshot of %s: %w", l.tp, err)
		}
		l.mu.Lock()
		if len(l.pendingSnapshots) > 0 && l.pendingSnapshots[0].offset == s.offset {
			l.pendingSnapshots = append(l.pendingSnapshots[:0], l.pendingSnapshots[1:]...)
		}
		l.mu.Unlock()
	}
}

// persistActiveIndexes writes the active segment's index entries to their
// files, unsynced: a clean stop has less to do, and tools see them.
func (l *Log) persistActiveIndexes() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	s := (*l.segments.Load()).active()
	s.indexMu.RLock()
	dirty := s.mem != nil && (s.mem.offsets.len() > s.persistedOffsets || s.mem.times.len() > s.persistedTimes)
	s.indexMu.RUnlock()
	if !dirty || l.closed.Load() {
		return nil
	}
	return s.persistIndexes(false)
}
