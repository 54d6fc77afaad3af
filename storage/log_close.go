package storage

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"freshet/vfs"
)

// waitDrainedLocked waits until no write is in flight; l.mu is held.
func (l *Log) waitDrainedLocked() {
	for l.inFlight > 0 {
		l.drained.Wait()
	}
}

// WaitDrained waits until no append is in flight. Not for event loops.
func (l *Log) WaitDrained() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waitDrainedLocked()
}

// Close refuses new appends, waits for those in flight, writes indexes,
// producer snapshot and epoch checkpoint, syncs and closes the files. Regions
// in flight to sockets keep their descriptors. Not for event loops.
func (l *Log) Close() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	active, open := l.endAppends()
	if !open {
		return nil
	}
	err := l.flushLocked(math.MaxInt64)
	if err == nil {
		err = active.trim(true)
	}
	if err == nil {
		err = active.persistIndexes(true)
	}
	return l.closeFiles(err)
}

// endAppends refuses new appends and waits for those in flight; open is false
// if the log was closed before. flushMu is held.
func (l *Log) endAppends() (active *LogSegment, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	active = (*l.segments.Load()).active()
	if l.closed.Swap(true) {
		return active, false
	}
	l.waitDrainedLocked()
	if active.mem != nil && active.maxKnown && active.maxTimestamp.timestamp >= 0 {
		active.mem.times.maybeAppend(active.maxTimestamp)
	}
	if l.producers.mapEndOffset > l.producers.lastSnapshotOffset {
		l.producers.lastSnapshotOffset = l.producers.mapEndOffset
		l.pendingSnapshots = append(l.pendingSnapshots, pendingSnapshot{offset: l.producers.mapEndOffset, data: l.producers.encodeSnapshot()})
	}
	return active, true
}

// closeFiles closes every segment and passes on how the rest of the close went.
func (l *Log) closeFiles(err error) error {
	for _, s := range *l.segments.Load() {
		s.closeHandle()
	}
	if err != nil {
		return fmt.Errorf("close log of %s: %w", l.tp, err)
	}
	return nil
}

// trim cuts bytes of failed writes off the file. They were never published,
// hence never served.
func (s *LogSegment) trim(sync bool) error {
	h := s.handle.Load()
	if h == nil {
		return nil
	}
	size, err := h.file.Size()
	if err != nil || size <= s.published.Load() {
		if err == nil {
			err = s.releaseSpace()
		}
		return err
	}
	if err := h.file.Truncate(s.published.Load()); err != nil || !sync {
		return err
	}
	return h.file.Sync()
}

// unsaved reports whether Close has anything to write or sync.
func (l *Log) unsaved() bool {
	list := *l.segments.Load()
	return l.recoveryPoint.Load() < l.LogEndOffset() || slices.ContainsFunc(list, func(s *LogSegment) bool {
		return s.published.Load() > 0 && s.unsealed()
	})
}

// closeRecords and closeDerived are Close for many logs of one log directory.
// The caller syncs the file system after each of the two, over all logs, so
// that one call takes the place of several for each log and things become
// durable in the same order: first the records, then what is derived from them.
//
// closeRecords refuses new appends, waits for those in flight and cuts off what
// failed writes left.
func (l *Log) closeRecords() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	active, open := l.endAppends()
	if !open {
		return nil
	}
	if err := active.trim(false); err != nil {
		return fmt.Errorf("close log of %s: %w", l.tp, err)
	}
	return nil
}

// closeDerived writes indexes, producer snapshot and epoch checkpoint of
// records that are durable, and closes the files. The recovery point it sets is
// true once the caller has synced again.
func (l *Log) closeDerived() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	return l.closeFiles(l.writeDerived())
}

func (l *Log) writeDerived() error {
	for _, s := range *l.segments.Load() {
		s.dirSynced.Store(true)
		// Synced by itself: a snapshot has forgotten what only this file knows.
		if err := s.persistTxns(); err != nil {
			return fmt.Errorf("write transaction index of %s: %w", s.path(logSuffix), err)
		}
		if err := s.persistIndexes(false); err != nil {
			return fmt.Errorf("write indexes of %s: %w", s.path(logSuffix), err)
		}
	}
	if err := l.epochs.flush(l.fs, l.Dir(), vfs.WriteFileUnsynced); err != nil {
		return err
	}
	if err := l.writeSnapshots(math.MaxInt64, vfs.WriteFileUnsynced); err != nil {
		return err
	}
	l.recoveryPoint.Store(l.LogEndOffset())
	return nil
}

// abandon closes the log without writing anything: for deletion and for a
// failed directory.
func (l *Log) abandon() {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	l.closed.Store(true)
	l.waitDrainedLocked()
	l.mu.Unlock()
	for _, s := range *l.segments.Load() {
		s.gone.Store(true)
		s.closeHandle()
	}
}

// closeThreads is how many logs of a directory close side by side: their syncs
// share journal commits.
const closeThreads = 16

// closeDir closes the logs of a directory and, if all went well, writes the
// checkpoints and the clean shutdown marker.
func (m *LogManager) closeDir(d *logDirState, brokerEpoch int64) error {
	if err := d.failure(); err != nil {
		return err
	}
	if err := m.closeLogs(d); err != nil {
		return err
	}
	if err := m.writeCheckpoints(d, true, true, true); err != nil {
		return err
	}
	return writeCleanMark(m.config.FS, d.path, brokerEpoch)
}

// closeLogs closes the logs of d: one by one, or all with two syncs of their
// file system when many have something to write.
func (m *LogManager) closeLogs(d *logDirState) error {
	var logs []*Log
	unsaved := 0
	for _, l := range m.Logs() {
		if l.logDir != d {
			continue
		}
		logs = append(logs, l)
		if l.unsaved() {
			unsaved++
		}
	}
	if d.whole == nil || unsaved < m.wholeFrom {
		return eachAtOnce(logs, (*Log).Close)
	}
	err := eachAtOnce(logs, (*Log).closeRecords)
	if serr := d.syncAll(); err != nil || serr != nil {
		for _, l := range logs {
			_ = l.closeFiles(nil)
		}
		return errors.Join(err, serr)
	}
	if err := eachAtOnce(logs, (*Log).closeDerived); err != nil {
		return err
	}
	return d.syncAll()
}

// eachAtOnce runs f on all logs, closeThreads at a time, and returns the first
// error.
func eachAtOnce(logs []*Log, f func(*Log) error) error {
	var group errGroup
	limit := make(chan struct{}, closeThreads)
	for _, l := range logs {
		limit <- struct{}{}
		group.run(func() error {
			defer func() { <-limit }()
			return f(l)
		})
	}
	return group.wait()
}
