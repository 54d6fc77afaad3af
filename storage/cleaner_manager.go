package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"time"

	"freshet/vfs"
)

// cleanerOffsetFile holds, per partition, the offset up to which its log was
// compacted.
const cleanerOffsetFile = "cleaner-offset-checkpoint"

// CleanerConfig configures compaction. Property names are Kafka's. The zero
// value is off: start from DefaultCleanerConfig.
type CleanerConfig struct {
	Enable            bool    // log.cleaner.enable
	Threads           int     // log.cleaner.threads
	BackoffMs         int64   // log.cleaner.backoff.ms
	DedupeBufferBytes int64   // log.cleaner.dedupe.buffer.size, of all threads
	IOBufferBytes     int64   // log.cleaner.io.buffer.size, of all threads
	LoadFactor        float64 // log.cleaner.io.buffer.load.factor
	MaxBytesPerSecond float64 // log.cleaner.io.max.bytes.per.second, of all threads
}

// DefaultCleanerConfig is Kafka 4.x's defaults (CleanerConfig).
func DefaultCleanerConfig() CleanerConfig {
	return CleanerConfig{
		Enable: true, Threads: 1, BackoffMs: 15_000, DedupeBufferBytes: 128 << 20, IOBufferBytes: 512 << 10,
		LoadFactor: 0.9, MaxBytesPerSecond: 1.7976931348623157e308,
	}
}

// cleaner compacts the logs of a LogManager in the background (Kafka:
// LogCleaner, LogCleanerManager). Without a compacted topic it looks at each
// log's policy every log.cleaner.backoff.ms and holds no memory.
//
// mu is held over writing checkpoint files, and no log's lock is taken under it.
type cleaner struct {
	m *LogManager

	mu      sync.Mutex
	config  CleanerConfig
	workers int  // running
	started bool // by LogManager.Start
	// points are the checkpoints of each directory, read on first use.
	points map[*logDirState]map[TopicPartition]int64
	// busy are the partitions being compacted.
	busy map[TopicPartition]*busyLog
	// uncleanable are logs whose compaction failed; until the restart.
	uncleanable map[*Log]struct{}

	throttle throttle
}

// busyLog is a log being compacted; cut: it was truncated or deleted meanwhile.
type busyLog struct{ cut bool }

func newCleaner(m *LogManager) *cleaner {
	return &cleaner{
		m: m, config: m.config.Cleaner, points: map[*logDirState]map[TopicPartition]int64{},
		busy: map[TopicPartition]*busyLog{}, uncleanable: map[*Log]struct{}{},
	}
}

// UpdateCleaner changes the configuration of compaction while it runs.
func (m *LogManager) UpdateCleaner(config CleanerConfig) {
	m.cleaner.mu.Lock()
	defer m.cleaner.mu.Unlock()
	m.cleaner.config = config
	m.cleaner.startWorkersLocked()
}

// start lets the workers run until the manager closes.
func (c *cleaner) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = true
	c.startWorkersLocked()
}

// startWorkersLocked brings the workers up to the number configured; those
// beyond it end by themselves.
func (c *cleaner) startWorkersLocked() {
	if !c.started || !c.config.Enable {
		return
	}
	select {
	case <-c.m.stop:
		return
	default:
	}
	for ; c.workers < c.config.Threads; c.workers++ {
		c.m.done.Go(func() {
			pprof.Do(context.Background(), pprof.Labels("loop", "log-cleaner"), func(context.Context) { c.work() })
		})
	}
}

// work compacts what is due and waits when nothing is.
func (c *cleaner) work() {
	for {
		cleaned := c.cleanFilthiest(c.m.config.NowMs())
		c.mu.Lock()
		backoff := time.Duration(max(1, min(c.config.BackoffMs, 1<<40))) * time.Millisecond
		surplus := c.workers > c.config.Threads || !c.config.Enable
		if surplus {
			c.workers--
		}
		c.mu.Unlock()
		if surplus {
			return
		}
		if cleaned {
			backoff = 0
		}
		if !c.wait(backoff) {
			return
		}
	}
}

// wait is false when the manager closes.
func (c *cleaner) wait(d time.Duration) bool {
	select {
	case <-c.m.stop:
		return false
	default:
	}
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.m.stop:
		return false
	case <-t.C:
		return true
	}
}

// cleanFilthiest compacts the log with the largest share of uncompacted bytes
// of those that are due; it is false if there is none.
func (c *cleaner) cleanFilthiest(nowMs int64) bool {
	best, limits, ok := c.grab(nowMs)
	if !ok {
		return false
	}
	l := best.log
	end, stats, err := best.clean(limits, nowMs)
	if err == nil {
		c.setPoint(l, end)
	}
	c.mu.Lock()
	delete(c.busy, l.tp)
	c.mu.Unlock()
	if err != nil {
		c.failed(l, err)
		return true
	}
	c.m.config.Logger.Info("compacted log", "partition", l.tp.String(), "from", best.firstDirty, "to", end,
		"bytesRead", stats.bytesRead, "bytesWritten", stats.bytesWritten,
		"segmentsBefore", stats.segmentsBefore, "segmentsAfter", stats.segmentsAfter)
	return true
}

// grab picks the filthiest log and marks it busy.
func (c *cleaner) grab(nowMs int64) (best logToClean, limits cleaningLimits, ok bool) {
	for _, l := range c.m.Logs() {
		if !l.config.Load().CleanupCompact || l.closed.Load() || l.logDir.failed() || c.excluded(l) {
			continue
		}
		have, err := l.toClean(c.point(l), nowMs)
		if err != nil {
			c.failed(l, err)
			continue
		}
		if have.due() && (!ok || have.ratio > best.ratio) {
			best, ok = have, true
		}
	}
	if !ok {
		return best, limits, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, busy := c.busy[best.log.tp]; busy {
		return best, limits, false // another worker was faster
	}
	c.busy[best.log.tp] = &busyLog{}
	threads := int64(max(1, c.config.Threads))
	rate := c.config.MaxBytesPerSecond
	return best, cleaningLimits{
		mapBytes: c.config.DedupeBufferBytes / threads, mapLoad: c.config.LoadFactor,
		bufferBytes: int(max(minCleanerBuffer, min(c.config.IOBufferBytes/threads/2, maxCleanerBuffer))),
		pause:       func(bytes int64) bool { return c.wait(c.throttle.take(bytes, rate, time.Now())) },
	}, true
}

// Bounds of a worker's read buffer, whatever is configured.
const (
	minCleanerBuffer = 4096
	maxCleanerBuffer = 64 << 20
)

// excluded reports whether l is being compacted or cannot be. Logs that are
// gone are forgotten on the way.
func (c *cleaner) excluded(l *Log) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.uncleanable {
		if other.closed.Load() {
			delete(c.uncleanable, other)
		}
	}
	_, bad := c.uncleanable[l]
	return bad || c.busy[l.tp] != nil
}

// failed notes a log that cannot be compacted. An interruption is no failure.
func (c *cleaner) failed(l *Log, err error) {
	if errors.Is(err, errCleaningAborted) || l.closed.Load() || l.logDir.failed() {
		return
	}
	c.mu.Lock()
	c.uncleanable[l] = struct{}{}
	c.mu.Unlock()
	c.m.config.Logger.Error("partition cannot be compacted; its records stay as they are until the broker restarts",
		"partition", l.tp.String(), "error", err)
}

// pointsLocked are the checkpoints of a directory.
func (c *cleaner) pointsLocked(d *logDirState) map[TopicPartition]int64 {
	if p := c.points[d]; p != nil {
		return p
	}
	points, err := c.m.readCheckpoint(d, cleanerOffsetFile)
	if err != nil {
		c.m.config.Logger.Warn("cannot read checkpoint; logs are compacted from their start", "dir", d.path, "error", err)
		points = map[TopicPartition]int64{}
	}
	c.points[d] = points
	return points
}

// point is the offset up to which l was compacted, or -1.
func (c *cleaner) point(l *Log) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if offset, ok := c.pointsLocked(l.logDir)[l.tp]; ok {
		return offset
	}
	return -1
}

// setPoint notes that l, which is busy, was compacted up to offset.
func (c *cleaner) setPoint(l *Log, offset int64) {
	logs := c.m.Logs()
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.busy[l.tp]; b == nil || b.cut {
		return
	}
	points := c.pointsLocked(l.logDir)
	points[l.tp] = offset
	there := make(map[TopicPartition]struct{}, len(logs))
	for _, other := range logs {
		there[other.tp] = struct{}{}
	}
	for tp := range points {
		if _, ok := there[tp]; !ok {
			delete(points, tp)
		}
	}
	c.writeLocked(l.logDir)
}

// lowerPoint takes the checkpoint of l back to offset, before the log is cut
// there; a negative offset removes it. Hook of truncation and deletion.
func (c *cleaner) lowerPoint(l *Log, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if b := c.busy[l.tp]; b != nil {
		b.cut = true
	}
	points := c.pointsLocked(l.logDir)
	if at, ok := points[l.tp]; !ok || at <= offset {
		return
	}
	if offset < 0 {
		delete(points, l.tp)
	} else {
		points[l.tp] = offset
	}
	c.writeLocked(l.logDir)
}

func (c *cleaner) writeLocked(d *logDirState) {
	if d.failed() {
		return
	}
	path := filepath.Join(d.path, cleanerOffsetFile)
	if err := vfs.WriteFileAtomic(c.m.config.FS, path, encodeOffsets(c.points[d])); err != nil {
		c.m.config.Logger.Warn("cannot write checkpoint", "error", fmt.Errorf("write %s: %w", path, err))
	}
}

// throttle spreads bytes over time. Safe for concurrent use.
type throttle struct {
	mu   sync.Mutex
	free time.Time // when the bytes taken up to now are paid for
}

// take notes bytes moved at now and returns how long to wait.
func (t *throttle) take(bytes int64, perSecond float64, now time.Time) time.Duration {
	seconds := float64(bytes) / max(perSecond, 1)
	if perSecond <= 0 || seconds < 1e-9 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free.Before(now) {
		t.free = now
	}
	t.free = t.free.Add(time.Duration(min(seconds, 3600) * float64(time.Second)))
	return t.free.Sub(now)
}
