package storage

import "fmt"

// DeleteRecordsBefore moves the log start offset to offset, at most to the high
// watermark, and returns it; -1 means the high watermark. Segments wholly below
// it are deleted. Records within the first segment stay on disk but are no
// longer served. It may wait for a flush: not for event loops.
func (l *Log) DeleteRecordsBefore(offset int64) (int64, error) {
	hw := l.HighWatermark()
	if offset == -1 {
		offset = hw
	}
	if offset < 0 || offset > hw {
		return 0, fmt.Errorf("%w: cannot delete records of %s before offset %d, the high watermark is %d",
			ErrOffsetOutOfRange, l.tp, offset, hw)
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.deletableLocked(); err != nil {
		return 0, err
	}
	if offset <= l.logStartOffset.Load() {
		return l.logStartOffset.Load(), nil
	}
	l.raiseStartLocked(offset)
	l.deleteBelowStartLocked()
	return offset, nil
}

func (l *Log) deletableLocked() error {
	if l.closed.Load() {
		return ErrLogClosed
	}
	return l.logDir.failure()
}

func (l *Log) raiseStartLocked(offset int64) {
	l.logStartOffset.Store(offset)
	l.epochs.truncateFromStart(offset)
	l.producers.onHighWatermark(offset)
	l.noteUnstableLocked()
	if l.highWatermark.Load() < offset {
		l.highWatermark.Store(offset)
	}
}

// deleteBelowStartLocked drops the segments that end at or below the log start.
func (l *Log) deleteBelowStartLocked() int {
	list := *l.segments.Load()
	start := l.logStartOffset.Load()
	n := 0
	for n+1 < len(list) && list[n+1].baseOffset <= start && list[n].inFlight == 0 {
		n++
	}
	l.deleteFirstLocked(n)
	return n
}

// deleteFirstLocked drops the first n segments; one must remain.
func (l *Log) deleteFirstLocked(n int) {
	if n == 0 {
		return
	}
	list := *l.segments.Load()
	kept := append(segmentList(nil), list[n:]...)
	l.segments.Store(&kept)
	l.dropSegments(list[:n])
	if l.pub.seg.gone.Load() { // the log end is the start of what is left
		l.pub.set(l.pub.endOffset, kept[0], 0)
	}
	for at := l.recoveryPoint.Load(); at < kept[0].baseOffset; at = l.recoveryPoint.Load() {
		if l.recoveryPoint.CompareAndSwap(at, kept[0].baseOffset) {
			break
		}
	}
}

// ApplyRetention deletes the oldest segments that retention.ms, retention.bytes
// or the log start offset let go, and returns how many. Only segments below the
// high watermark go (Kafka: UnifiedLog.deleteOldSegments). Not for event loops.
func (l *Log) ApplyRetention(nowMs int64) (int, error) {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.deletableLocked(); err != nil {
		return 0, err
	}
	config := l.config.Load()
	deleted := 0
	if config.CleanupDelete {
		n, err := l.expiredLocked(nowMs, config)
		if err != nil {
			return 0, fmt.Errorf("apply retention to %s: %w", l.tp, err)
		}
		if err := l.expireLocked(n, nowMs, "retention.ms"); err != nil {
			return 0, err
		}
		m := l.oversizeLocked(config)
		if err := l.expireLocked(m, nowMs, "retention.bytes"); err != nil {
			return n, err
		}
		deleted = n + m
	}
	return deleted + l.deleteBelowStartLocked(), nil
}

// eligibleLocked reports whether segment i lies below the high watermark and
// is not an empty active one.
func (l *Log) eligibleLocked(list segmentList, i int) bool {
	s := list[i]
	if s.inFlight > 0 {
		return false
	}
	end := l.LogEndOffset()
	if i+1 < len(list) {
		end = list[i+1].baseOffset
	} else if s.reserved == 0 {
		return false
	}
	return l.highWatermark.Load() >= end
}

// expiredLocked counts the leading segments older than retention.ms.
func (l *Log) expiredLocked(nowMs int64, config *LogConfig) (int, error) {
	if config.RetentionMs < 0 {
		return 0, nil
	}
	list := *l.segments.Load()
	expired := 0
	for n, s := range list {
		if !l.eligibleLocked(list, n) {
			return expired, nil
		}
		if s.published.Load() == 0 && n+1 < len(list) {
			continue // emptied by compaction: it goes with what follows it
		}
		largest, err := s.largestTimestamp(l.LogEndOffset())
		if err != nil {
			return 0, err
		}
		ts := largest.timestamp
		if ts < 0 { // no timestamps: the file's age decides
			info, err := l.fs.Stat(s.path(logSuffix))
			if err != nil {
				return 0, err
			}
			ts = info.ModifiedMs
		}
		if nowMs-ts <= config.RetentionMs {
			return expired, nil
		}
		expired = n + 1
	}
	return expired, nil
}

// oversizeLocked counts the leading segments that can go while the log stays
// at or above retention.bytes.
func (l *Log) oversizeLocked(config *LogConfig) int {
	list := *l.segments.Load()
	excess := list.size() - config.RetentionBytes
	if config.RetentionBytes < 0 || excess < 0 {
		return 0
	}
	for n, s := range list {
		if !l.eligibleLocked(list, n) || excess-s.published.Load() < 0 {
			return n
		}
		excess -= s.published.Load()
	}
	return len(list)
}

// expireLocked deletes the first n segments, after a roll if that is all.
func (l *Log) expireLocked(n int, nowMs int64, why string) error {
	if n == 0 {
		return nil
	}
	list := *l.segments.Load()
	if n == len(list) {
		if err := l.prepareActiveLocked(list.active(), l.config.Load()); err != nil {
			return err
		}
		if _, err := l.rollLocked(l.nextOffset.Load(), nowMs); err != nil {
			return err
		}
		list = *l.segments.Load()
	}
	l.logger.Info("deleting segments", "partition", l.tp.String(), "segments", n, "because", why,
		"from", list[0].baseOffset, "to", list[n].baseOffset)
	if start := list[n].baseOffset; start > l.logStartOffset.Load() {
		l.raiseStartLocked(start)
	}
	l.deleteFirstLocked(n)
	return nil
}

// RemoveExpiredProducers forgets producers idle for producer.id.expiration.ms.
func (l *Log) RemoveExpiredProducers(nowMs int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.removeExpired(nowMs, l.config.Load().ProducerIDExpirationMs)
}
