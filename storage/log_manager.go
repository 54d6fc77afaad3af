package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"time"

	"freshet/vfs"
)

// ManagerConfig configures a LogManager. Property names are Kafka's.
type ManagerConfig struct {
	FS        vfs.FS   // nil: the real one
	Dirs      []string // log.dirs, formatted (see FormatLogDir)
	ClusterID string
	NodeID    int32
	// MetadataDir takes notes about log directories that take none themselves; ""
	// for none.
	MetadataDir string
	// TopicConfig gives a topic's configuration when its log is loaded; nil
	// means the defaults.
	TopicConfig func(topic string) LogConfig

	RecoveryThreadsPerDir     int   // num.recovery.threads.per.data.dir; 0: 2
	FlushCheckMs              int64 // log.flush.scheduler.interval.ms; 0: never
	RecoveryPointCheckpointMs int64 // log.flush.offset.checkpoint.interval.ms; 0: 60000
	LogStartCheckpointMs      int64 // log.flush.start.offset.checkpoint.interval.ms; 0: 60000
	HighWatermarkCheckpointMs int64 // replica.high.watermark.checkpoint.interval.ms; 0: 5000
	RetentionCheckMs          int64 // log.retention.check.interval.ms; 0: 300000
	InitialTaskDelayMs        int64 // log.initial.task.delay.ms; 0: 30000
	ProducerExpiryCheckMs     int64 // producer.id.expiration.check.interval.ms; 0: 600000
	Cleaner                   CleanerConfig
	// IdleFileMs closes segment files that are synced and were not used for so
	// long; 0: 600000.
	IdleFileMs int64

	NowMs  func() int64 // nil: the wall clock
	Logger *slog.Logger // nil: slog.Default()
	// OnDirFailed is told once when a directory goes offline. It may be called
	// from any goroutine, with locks held: it must only take note.
	OnDirFailed func(dir string, err error)
}

func (c *ManagerConfig) ensureDefaults() {
	if c.FS == nil {
		c.FS = vfs.OS{}
	}
	if c.TopicConfig == nil {
		c.TopicConfig = func(string) LogConfig { return DefaultLogConfig() }
	}
	if c.RecoveryThreadsPerDir == 0 {
		c.RecoveryThreadsPerDir = 2
	}
	for _, d := range []struct {
		field *int64
		value int64
	}{
		{&c.FlushCheckMs, math.MaxInt64}, {&c.RecoveryPointCheckpointMs, 60_000}, {&c.LogStartCheckpointMs, 60_000},
		{&c.HighWatermarkCheckpointMs, 5000}, {&c.RetentionCheckMs, 300_000}, {&c.InitialTaskDelayMs, 30_000},
		{&c.ProducerExpiryCheckMs, 600_000}, {&c.IdleFileMs, 600_000},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.NowMs == nil {
		c.NowMs = func() int64 { return time.Now().UnixMilli() }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// LogManager owns the log directories and every partition's log in them: it
// loads them, creates and deletes partitions, and does the work in the
// background. Safe for concurrent use. Its own locks are never held while a
// log's lock is taken, save that a log's hooks take delayMu and dirMu.
type LogManager struct {
	config ManagerConfig
	dirs   []*logDirState
	report RecoveryReport

	// createMu serializes creating and retiring logs, which wait for the disk.
	createMu sync.Mutex

	mu     sync.RWMutex // before no other lock; never held over the disk
	logs   map[TopicPartition]*Log
	counts map[*logDirState]int // logs by directory
	closed bool

	// dirMu serializes writing a directory's checkpoint files.
	dirMu sync.Mutex

	delayMu sync.Mutex
	delayed []delayedDelete
	rolled  map[*Log]struct{} // logs with a closed segment to flush

	cleaner *cleaner

	wholeFrom int // wholeSyncFrom, but in tests

	due  schedule
	wake chan struct{}
	stop chan struct{}
	done sync.WaitGroup
}

// delayedDelete is a set of renamed files, or a directory, to unlink.
type delayedDelete struct {
	dueMs int64
	paths []string
}

// Directory suffixes (Kafka: LogFileUtils, UnifiedLog).
const (
	deleteDirSuffix = "-delete"
	strayDirSuffix  = "-stray"
	futureDirSuffix = "-future"
)

// OpenManager locks, checks and loads the log directories. It starts nothing
// in the background: see Start.
func OpenManager(config ManagerConfig) (*LogManager, error) {
	config.ensureDefaults()
	if len(config.Dirs) == 0 {
		return nil, errors.New("log.dirs is empty; name at least one directory")
	}
	m := &LogManager{
		config: config, logs: map[TopicPartition]*Log{}, counts: map[*logDirState]int{}, rolled: map[*Log]struct{}{},
		wholeFrom: wholeSyncFrom, wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	m.cleaner = newCleaner(m)
	for _, dir := range config.Dirs {
		d, err := openLogDir(config.FS, dir, config.ClusterID, config.NodeID)
		if err != nil {
			m.unlock()
			return nil, err
		}
		d.onFail = m.dirFailed
		m.dirs = append(m.dirs, d)
	}
	m.readNotes()
	if err := m.loadDirs(); err != nil {
		m.unlock()
		return nil, err
	}
	m.due = newSchedule(&m.config, config.NowMs())
	return m, nil
}

// errTwice: a partition lies in two log directories.
var errTwice = errors.New("partition is in two log directories")

// loadDirs loads every directory. One whose disk fails goes offline, as long
// as another works.
func (m *LogManager) loadDirs() error {
	var first error
	online := 0
	for _, d := range m.dirs {
		err := m.loadDir(d)
		if errors.Is(err, errTwice) {
			return err
		}
		if err == nil {
			online++
			continue
		}
		if first == nil {
			first = err
		}
		if len(m.dirs) > 1 {
			_ = d.fail(err)
		}
	}
	if online == 0 {
		return first
	}
	return nil
}

func (m *LogManager) unlock() {
	for _, d := range m.dirs {
		_ = d.close()
	}
}

func (m *LogManager) dirFailed(dir string, err error) {
	m.config.Logger.Error("log directory failed", "dir", dir, "error", err)
	if m.config.OnDirFailed != nil {
		m.config.OnDirFailed(dir, err)
	}
}

// loadDir loads every partition in d, several at a time.
func (m *LogManager) loadDir(d *logDirState) error {
	fsys := m.config.FS
	points, err := m.readCheckpoint(d, recoveryPointFile)
	if err != nil {
		return err
	}
	starts, err := m.readCheckpoint(d, logStartOffsetFile)
	if err != nil {
		return err
	}
	marks, err := m.readCheckpoint(d, highWatermarkFile)
	if err != nil {
		return err
	}
	compacted, err := m.readCheckpoint(d, cleanerOffsetFile)
	if err != nil {
		return err
	}
	entries, err := fsys.List(d.path)
	if err != nil {
		return fmt.Errorf("list log directory %s: %w", d.path, err)
	}
	var group errGroup
	limit := make(chan struct{}, m.config.RecoveryThreadsPerDir)
	for _, e := range entries {
		tp, ok := m.partitionDir(d, e)
		if !ok {
			continue
		}
		limit <- struct{}{}
		group.run(func() error {
			defer func() { <-limit }()
			p := m.params(d, tp, m.config.TopicConfig(tp.Topic))
			p.recoveryPoint, p.logStartOffset, p.highWatermark = points[tp], starts[tp], marks[tp]
			_, p.compacted = compacted[tp]
			p.clean, p.suspect = d.clean && !d.suspect, d.suspect
			return m.loadOne(p)
		})
	}
	if err := group.wait(); err != nil {
		return err
	}
	d.loaded = true
	m.tellSuspect(d)
	return d.removeCleanMark(fsys)
}

// readCheckpoint reads one; an unreadable file counts as empty, with a warning:
// more is recovered then, nothing is lost.
func (m *LogManager) readCheckpoint(d *logDirState, name string) (map[TopicPartition]int64, error) {
	offsets, err := readOffsets(m.config.FS, d.path, name)
	if errors.Is(err, ErrCorruptCheckpoint) {
		m.config.Logger.Warn("checkpoint file is unreadable; going on without it", "dir", d.path, "error", err)
		return map[TopicPartition]int64{}, nil
	}
	return offsets, err
}

// partitionDir decides whether a directory entry is a partition; deleted ones
// are removed in the background.
func (m *LogManager) partitionDir(d *logDirState, e vfs.FileInfo) (TopicPartition, bool) {
	if !e.IsDir {
		return TopicPartition{}, false
	}
	switch {
	case strings.HasSuffix(e.Name, deleteDirSuffix) && strings.Contains(e.Name, "."):
		m.deleteLater(m.config.NowMs(), []string{filepath.Join(d.path, e.Name)})
		return TopicPartition{}, false
	case strings.HasSuffix(e.Name, strayDirSuffix), strings.HasSuffix(e.Name, futureDirSuffix):
		return TopicPartition{}, false
	}
	tp, err := ParseTopicPartition(e.Name)
	return tp, err == nil && tp.Topic != "__cluster_metadata"
}

func (m *LogManager) params(d *logDirState, tp TopicPartition, config LogConfig) *loadParams {
	return &loadParams{
		fs: m.config.FS, tp: tp, dir: filepath.Join(d.path, tp.String()), logDir: d, logger: m.config.Logger,
		nowMs: m.config.NowMs, config: config,
		hooks: logHooks{rolled: m.onRolled, deleteLater: m.onDeleteLater, recoveryPointLowered: m.onRecoveryPointLowered},
	}
}

func (m *LogManager) loadOne(p *loadParams) error {
	l, report, err := openLog(p)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.logs[p.tp]; other != nil {
		return fmt.Errorf("%w: %s in %s and %s; move one of them away", errTwice, p.tp, other.Dir(), p.dir)
	}
	m.logs[p.tp] = l
	m.counts[p.logDir]++
	if report.worthTelling() {
		report.log(m.config.Logger)
		m.report.Partitions = append(m.report.Partitions, report)
	}
	return nil
}

// errGroup runs functions side by side and keeps the first error.
type errGroup struct {
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

func (g *errGroup) run(f func() error) {
	g.wg.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("loop", "log-open-close"), func(context.Context) {
			if err := f(); err != nil {
				g.once.Do(func() { g.err = err })
			}
		})
	})
}

func (g *errGroup) wait() error {
	g.wg.Wait()
	return g.err
}

// RecoveryReport is what OpenManager found and repaired.
func (m *LogManager) RecoveryReport() RecoveryReport { return m.report }

// CleanShutdownEpoch is the broker epoch in the clean shutdown markers, -1
// unless every directory was shut down cleanly with the same one (KIP-966).
func (m *LogManager) CleanShutdownEpoch() int64 {
	epoch := m.dirs[0].brokerEpoch
	for _, d := range m.dirs {
		if !d.clean || d.suspect || d.brokerEpoch != epoch {
			return -1
		}
	}
	return epoch
}

// Get returns the partition's log, or nil.
func (m *LogManager) Get(tp TopicPartition) *Log {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.logs[tp]
}

// Logs lists every log by topic and partition, so that work which an error cuts
// short is cut short at the same place each time. A caller with metadata compares them with
// it and hands those that no metadata knows to RenameStray: nothing is deleted
// for want of metadata.
func (m *LogManager) Logs() []*Log {
	m.mu.RLock()
	logs := make([]*Log, 0, len(m.logs))
	for _, l := range m.logs {
		logs = append(logs, l)
	}
	m.mu.RUnlock()
	slices.SortFunc(logs, byName)
	return logs
}

func byName(a, b *Log) int {
	return cmp.Or(cmp.Compare(a.tp.Topic, b.tp.Topic), cmp.Compare(a.tp.Partition, b.tp.Partition))
}

func (m *LogManager) isClosed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.closed
}

// Delete removes the partition's log: its directory is renamed at once and
// unlinked after file.delete.delay.ms. It waits for writes in flight.
func (m *LogManager) Delete(tp TopicPartition) error {
	l, err := m.retire(tp, NewUUID().hex()+deleteDirSuffix)
	if err != nil {
		return err
	}
	m.deleteLater(m.config.NowMs()+l.Config().FileDeleteDelayMs, []string{l.Dir()})
	return nil
}

// RenameStray takes the log of a partition that metadata does not know out of
// use and keeps its files in <topic>-<partition>.<id>-stray, which it returns.
func (m *LogManager) RenameStray(tp TopicPartition) (string, error) {
	l, err := m.retire(tp, NewUUID().hex()+strayDirSuffix)
	if err != nil {
		return "", err
	}
	m.config.Logger.Warn("partition is unknown to the cluster's metadata; its files were kept aside", "partition", tp.String(), "dir", l.Dir())
	return l.Dir(), nil
}

// maxFileName is NAME_MAX (man 7 path_resolution).
const maxFileName = 255

// retire closes a log without flushing and renames its directory.
func (m *LogManager) retire(tp TopicPartition, suffix string) (*Log, error) {
	m.createMu.Lock()
	defer m.createMu.Unlock()
	m.mu.Lock()
	l := m.logs[tp]
	if l == nil {
		m.mu.Unlock()
		return nil, fmt.Errorf("partition %s: %w", tp, ErrLogClosed)
	}
	delete(m.logs, tp)
	m.counts[l.logDir]--
	m.mu.Unlock()
	l.abandon()
	m.cleaner.lowerPoint(l, -1)
	tail := fmt.Sprintf("-%d.%s", tp.Partition, suffix)
	name := tp.Topic[:min(len(tp.Topic), maxFileName-len(tail))] + tail
	renamed := filepath.Join(l.LogDir(), name)
	if err := m.config.FS.Rename(l.Dir(), renamed); err != nil {
		return nil, fmt.Errorf("retire log of %s: %w", tp, err)
	}
	l.dir.Store(&renamed)
	if err := m.config.FS.SyncDir(l.LogDir()); err != nil {
		return nil, l.logDir.fail(err)
	}
	return l, nil
}

// DirInfo describes one log directory, for DescribeLogDirs.
type DirInfo struct {
	Path        string
	DirectoryID UUID
	Err         error // why it is offline, or nil
	FreeBytes   int64 // -1 if unknown
}

// Dirs lists the log directories in the order of log.dirs.
func (m *LogManager) Dirs() []DirInfo {
	infos := make([]DirInfo, len(m.dirs))
	for i, d := range m.dirs {
		infos[i] = DirInfo{Path: d.path, DirectoryID: d.meta.DirectoryID, Err: d.failure(), FreeBytes: -1}
		if free, err := m.config.FS.FreeBytes(d.path); err == nil {
			infos[i].FreeBytes = free
		}
	}
	return infos
}

// Close stops the background work, closes every log and, in each directory
// where all went well, writes the checkpoints and the clean shutdown marker
// with brokerEpoch. Appends in flight are waited for.
func (m *LogManager) Close(brokerEpoch int64) error {
	m.createMu.Lock()
	defer m.createMu.Unlock()
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	m.cleaner.mu.Lock() // no worker begins after this
	close(m.stop)
	m.cleaner.mu.Unlock()
	m.done.Wait()
	var errs []error
	for _, d := range m.dirs {
		if err := m.closeDir(d, brokerEpoch); err != nil {
			errs = append(errs, fmt.Errorf("shut down log directory %s: %w", d.path, err))
		}
		if err := d.close(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
