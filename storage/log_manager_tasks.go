package storage

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"time"

	"freshet/vfs"
)

func (u UUID) hex() string { return hex.EncodeToString(u[:]) }

// schedule holds when each background task is due next, in ms.
type schedule struct {
	flush, recoveryPoint, logStart, highWatermark, retention, producers, idle int64
}

func newSchedule(c *ManagerConfig, nowMs int64) schedule {
	first := nowMs + c.InitialTaskDelayMs
	return schedule{
		flush: later(first, c.FlushCheckMs), recoveryPoint: first, logStart: first,
		highWatermark: nowMs + c.HighWatermarkCheckpointMs, retention: first,
		producers: nowMs + c.ProducerExpiryCheckMs, idle: nowMs + c.IdleFileMs,
	}
}

// later adds without overflow: an interval of 2^63-1 means never.
func later(nowMs, intervalMs int64) int64 {
	if intervalMs > math.MaxInt64-nowMs {
		return math.MaxInt64
	}
	return nowMs + intervalMs
}

// tickInterval is how often due tasks are looked for; flush.ms and
// file.delete.delay.ms are kept to this precision.
const tickInterval = 500 * time.Millisecond

// Start runs the background tasks until Close.
func (m *LogManager) Start() {
	m.done.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("loop", "log-tasks"), func(context.Context) { m.tickLoop() })
	})
	m.done.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("loop", "log-flush"), func(context.Context) { m.flushLoop() })
	})
	m.cleaner.start()
}

func (m *LogManager) tickLoop() {
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	for {
		select {
		case <-m.stop:
			return
		case <-t.C:
			m.tick(m.config.NowMs())
		}
	}
}

func (m *LogManager) flushLoop() {
	for {
		select {
		case <-m.stop:
			return
		case <-m.wake:
			m.flushRolled()
		}
	}
}

// tick does what is due at nowMs.
func (m *LogManager) tick(nowMs int64) {
	c := &m.config
	m.unlinkDue(nowMs)
	if nowMs >= m.due.flush {
		m.due.flush = later(nowMs, c.FlushCheckMs)
		m.flushDue(nowMs)
	}
	if nowMs >= m.due.recoveryPoint {
		m.due.recoveryPoint = later(nowMs, c.RecoveryPointCheckpointMs)
		m.eachLog("write indexes", func(l *Log) error { return l.persistActiveIndexes() })
		m.checkpoint(true, false, false)
	}
	if nowMs >= m.due.logStart {
		m.due.logStart = later(nowMs, c.LogStartCheckpointMs)
		m.checkpoint(false, true, false)
	}
	if nowMs >= m.due.highWatermark {
		m.due.highWatermark = later(nowMs, c.HighWatermarkCheckpointMs)
		m.checkpoint(false, false, true)
	}
	if nowMs >= m.due.retention {
		m.due.retention = later(nowMs, c.RetentionCheckMs)
		m.eachLog("apply retention", func(l *Log) error {
			_, err := l.ApplyRetention(nowMs)
			return err
		})
	}
	if nowMs >= m.due.producers {
		m.due.producers = later(nowMs, c.ProducerExpiryCheckMs)
		m.eachLog("expire producers", func(l *Log) error {
			l.RemoveExpiredProducers(nowMs)
			return nil
		})
	}
	if nowMs >= m.due.idle {
		m.due.idle = later(nowMs, c.IdleFileMs)
		m.eachLog("close idle files", func(l *Log) error {
			l.closeIdleFiles()
			return nil
		})
	}
}

// eachLog runs f on the logs of online directories; an error is one log's
// trouble and is tried again at the next interval.
func (m *LogManager) eachLog(what string, f func(l *Log) error) {
	for _, l := range m.Logs() {
		if l.logDir.failed() || l.closed.Load() {
			continue
		}
		if err := f(l); err != nil && !l.closed.Load() {
			m.config.Logger.Warn("background task failed", "task", what, "partition", l.tp.String(), "error", err)
		}
	}
}

// flushDue flushes the logs whose flush.ms has passed (Kafka: LogManager.flushDirtyLogs).
func (m *LogManager) flushDue(nowMs int64) {
	m.eachLog("flush", func(l *Log) error {
		if nowMs < later(l.lastFlushMs.Load(), l.Config().FlushMs) {
			return nil
		}
		return l.Flush(l.LogEndOffset())
	})
}

func (m *LogManager) onRolled(l *Log) {
	m.delayMu.Lock()
	m.rolled[l] = struct{}{}
	m.delayMu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// flushRolled makes closed segments durable, soon after the roll.
func (m *LogManager) flushRolled() {
	m.delayMu.Lock()
	logs := m.rolled
	m.rolled = map[*Log]struct{}{}
	m.delayMu.Unlock()
	for _, l := range slices.SortedFunc(maps.Keys(logs), byName) {
		if l.closed.Load() || l.logDir.failed() {
			continue
		}
		// Up to the start of the newest segment, if its predecessor is
		// published; what is not will be flushed at the next roll or stop.
		upTo := (*l.segments.Load()).active().baseOffset
		if err := l.Flush(upTo); err != nil {
			m.config.Logger.Warn("flush after roll failed", "partition", l.tp.String(), "error", err)
		}
	}
}

func (m *LogManager) onDeleteLater(l *Log, paths []string) {
	m.deleteLater(m.config.NowMs()+l.Config().FileDeleteDelayMs, paths)
}

func (m *LogManager) deleteLater(dueMs int64, paths []string) {
	m.delayMu.Lock()
	defer m.delayMu.Unlock()
	m.delayed = append(m.delayed, delayedDelete{dueMs: dueMs, paths: paths})
}

// unlinkDue removes the files and directories whose delay has passed.
func (m *LogManager) unlinkDue(nowMs int64) {
	var due []string
	m.delayMu.Lock()
	kept := m.delayed[:0]
	for _, d := range m.delayed {
		if d.dueMs <= nowMs {
			due = append(due, d.paths...)
		} else {
			kept = append(kept, d)
		}
	}
	m.delayed = kept
	m.delayMu.Unlock()
	for _, path := range due {
		info, err := m.config.FS.Stat(path)
		if err == nil && info.IsDir {
			err = vfs.RemoveAll(m.config.FS, path)
		} else if err == nil {
			err = m.config.FS.Remove(path)
		}
		if err != nil {
			m.config.Logger.Debug("cannot remove deleted file", "path", path, "error", err)
		}
	}
}

// checkpoint writes the chosen checkpoint files of every online directory.
func (m *LogManager) checkpoint(recoveryPoints, logStarts, highWatermarks bool) {
	for _, d := range m.dirs {
		if d.failed() {
			continue
		}
		if err := m.writeCheckpoints(d, recoveryPoints, logStarts, highWatermarks); err != nil {
			m.config.Logger.Warn("cannot write checkpoint", "dir", d.path, "error", err)
		}
	}
}

func (m *LogManager) writeCheckpoints(d *logDirState, recoveryPoints, logStarts, highWatermarks bool) error {
	m.dirMu.Lock()
	defer m.dirMu.Unlock()
	logs := m.Logs()
	for i, c := range []struct {
		wanted bool
		name   string
		value  func(l *Log) (int64, bool)
	}{
		{recoveryPoints, recoveryPointFile, func(l *Log) (int64, bool) { return l.RecoveryPoint(), true }},
		{logStarts, logStartOffsetFile, func(l *Log) (int64, bool) {
			start := l.LogStartOffset() // only where the first segment does not say it
			return start, start > (*l.segments.Load())[0].baseOffset
		}},
		{highWatermarks, highWatermarkFile, func(l *Log) (int64, bool) { return l.HighWatermark(), true }},
	} {
		if !c.wanted {
			continue
		}
		offsets := make(map[TopicPartition]int64, len(logs))
		for _, l := range logs {
			if v, ok := c.value(l); ok && l.logDir == d {
				offsets[l.tp] = v
			}
			// Recovery reads epochs from the batches above the recovery point
			// alone: those below it must be in their file first.
			if recoveryPoints && i == 0 && l.logDir == d && !l.closed.Load() {
				if err := l.epochs.flush(l.fs, l.Dir(), vfs.WriteFileAtomic); err != nil {
					return err
				}
			}
		}
		data := encodeOffsets(offsets)
		if bytes.Equal(data, d.written[i]) {
			continue
		}
		if err := vfs.WriteFileAtomic(m.config.FS, filepath.Join(d.path, c.name), data); err != nil {
			return fmt.Errorf("write %s: %w", c.name, err)
		}
		d.written[i] = data
	}
	return nil
}

func (m *LogManager) onRecoveryPointLowered(l *Log, to int64) error {
	m.cleaner.lowerPoint(l, to) // never above the recovery point
	return m.writeCheckpoints(l.logDir, true, false, false)
}

// closeIdleFiles drops the log's own handle on segments that were not used
// since the last sweep. Regions in flight keep theirs. A file with bytes that
// are not yet synced stays open: an error of the kernel's write-back is
// reported reliably only to a descriptor that was open when it happened.
func (l *Log) closeIdleFiles() {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := *l.segments.Load()
	durable := l.recoveryPoint.Load()
	for i, s := range list {
		end := l.nextOffset.Load()
		if i+1 < len(list) {
			end = list[i+1].baseOffset
		}
		if !s.used.Swap(false) && s.inFlight == 0 && end <= durable && s.handle.Load() != nil {
			s.closeHandle()
		}
	}
}
