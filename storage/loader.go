package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"

	"freshet/record"
	"freshet/vfs"
)

// loadParams is what opening one partition's log needs.
type loadParams struct {
	fs             vfs.FS
	tp             TopicPartition
	dir            string
	logDir         *logDirState
	logger         *slog.Logger
	nowMs          func() int64
	config         LogConfig
	hooks          logHooks
	clean          bool  // the directory was shut down cleanly
	suspect        bool  // the directory failed in an earlier life
	recoveryPoint  int64 // from the checkpoint; 0 if absent
	logStartOffset int64 // from the checkpoint; 0 if absent
	highWatermark  int64 // from the checkpoint; 0 if absent
	compacted      bool  // the cleaner checkpoint knows the log
}

func newLog(p *loadParams) *Log {
	l := &Log{
		tp: p.tp, fs: p.fs, logDir: p.logDir, logger: p.logger, nowMs: p.nowMs, hooks: p.hooks, failedFrom: -1,
	}
	l.drained = sync.NewCond(&l.mu)
	l.dir.Store(&p.dir)
	l.config.Store(&p.config)
	l.firstUnstable.Store(-1)
	l.lastFlushMs.Store(p.nowMs())
	return l
}

// createLog makes the directory and first segment of a new partition. Its own
// entry in the log directory is made durable by registerCreated, and with
// syncLater so is everything in it.
func createLog(p *loadParams, topicID *UUID, syncLater bool) (*Log, error) {
	if err := p.fs.MkdirAll(p.dir); err != nil {
		return nil, err
	}
	write := vfs.ReplaceFile // the directory is synced below, once for everything in it
	if syncLater {
		write = vfs.WriteFileUnsynced
	}
	if topicID != nil {
		if err := write(p.fs, filepath.Join(p.dir, partitionMetadataFile), encodePartitionMetadata(*topicID)); err != nil {
			return nil, err
		}
	}
	l := newLog(p)
	l.topicID.Store(topicID)
	if p.config.CleanupCompact { // spares a follower's event loop the wait at the first gap
		if err := write(p.fs, filepath.Join(p.dir, gapsFile), encodeGaps(0)); err != nil {
			return nil, err
		}
		l.gaps.Store(&gapMark{})
	}
	seg, err := createSegment(p.fs, p.dir, 0, p.nowMs())
	if err != nil {
		return nil, err
	}
	seg.jitterMs = p.config.randomJitterMs()
	seg.closeHandle() // opened again at the first append
	if !syncLater {
		if err := p.fs.SyncDir(p.dir); err != nil {
			return nil, err
		}
		seg.dirSynced.Store(true)
	}
	l.segments.Store(&segmentList{seg})
	l.pub.reset(0, seg, 0)
	l.producers = newProducerState(0)
	return l, nil
}

// loader opens one partition's directory.
type loader struct {
	*loadParams
	log    *Log
	report PartitionRecovery
	files  map[string]vfs.FileInfo
	segs   segmentList

	// What may be expected of the log (loadGaps): batches without gaps within a
	// segment, and segments without gaps between them that begin above holesFrom.
	contiguous bool
	holesFrom  int64
}

// openLog loads the log in p.dir, recovering it after an unclean stop.
func openLog(p *loadParams) (*Log, PartitionRecovery, error) {
	ld := &loader{loadParams: p, log: newLog(p), report: PartitionRecovery{TopicPartition: p.tp, Dir: p.dir}}
	err := ld.load()
	if err != nil {
		err = fmt.Errorf("load log of %s in %s: %w", p.tp, p.dir, err)
	}
	return ld.log, ld.report, err
}

func (ld *loader) load() error {
	if err := ld.tidyDir(); err != nil {
		return err
	}
	if err := ld.loadMetadata(); err != nil {
		return err
	}
	if err := errors.Join(ld.loadGaps(), ld.loadLost()); err != nil {
		return err
	}
	ld.listSegments()
	if ld.suspect {
		if err := ld.copyAnew(); err != nil {
			return err
		}
	}
	if err := ld.loadEpochs(); err != nil {
		return err
	}
	var end int64
	var err error
	if len(ld.segs) > 0 {
		if ld.clean {
			end, err = ld.cleanEnd()
		} else {
			end, err = ld.recoverSegments()
		}
		if err != nil {
			return err
		}
	}
	if len(ld.segs) == 0 {
		seg, err := createSegment(ld.fs, ld.dir, ld.logStartOffset, ld.nowMs())
		if err != nil {
			return err
		}
		ld.segs, end = segmentList{seg}, ld.logStartOffset
		if err := ld.fs.SyncDir(ld.dir); err != nil {
			return err
		}
	}
	if err := errors.Join(ld.checkIndexes(), ld.syncRecovered()); err != nil {
		return err
	}
	return ld.finish(end)
}

// tidyDir completes or undoes what a crash interrupted (Kafka: LogLoader).
func (ld *loader) tidyDir() error {
	entries, err := ld.fs.List(ld.dir)
	if err != nil {
		return err
	}
	ld.files = make(map[string]vfs.FileInfo, len(entries))
	for _, e := range entries {
		ld.files[e.Name] = e
	}
	if err := ld.tidySwaps(); err != nil {
		return err
	}
	for _, name := range sortedNames(ld.files) {
		switch {
		case strings.HasSuffix(name, deletedSuffix), strings.HasSuffix(name, cleanedSuffix), strings.HasSuffix(name, tmpSuffix):
			err = ld.remove(name)
		case strings.HasSuffix(name, logSuffix+prefixSuffix):
			// The sound prefix of a segment being quarantined. If the original
			// is still in place, it is simply checked again.
			segment := strings.TrimSuffix(name, prefixSuffix)
			if _, there := ld.files[segment]; there {
				err = ld.remove(name)
			} else {
				err = ld.rename(name, segment)
			}
		}
		if err != nil {
			return err
		}
	}
	return ld.removeOrphans()
}

// removeOrphans removes indexes without a segment; they say nothing.
func (ld *loader) removeOrphans() error {
	for _, name := range sortedNames(ld.files) {
		for _, suffix := range []string{indexSuffix, timeIndexSuffix, txnIndexSuffix} {
			base, ok := parseFileName(name, suffix)
			if !ok {
				continue
			}
			if _, there := ld.files[fileName(base, logSuffix)]; !there {
				if err := ld.remove(name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (ld *loader) remove(name string) error {
	delete(ld.files, name)
	if err := ld.fs.Remove(filepath.Join(ld.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (ld *loader) loadMetadata() error {
	// An empty file is what a power loss leaves of a creation that was not
	// answered yet: then the id is as unknown as without the file.
	if info, ok := ld.files[partitionMetadataFile]; !ok || info.Size == 0 {
		return nil
	}
	data, err := vfs.ReadFile(ld.fs, filepath.Join(ld.dir, partitionMetadataFile))
	if err != nil {
		return err
	}
	id, err := decodePartitionMetadata(data)
	if err != nil {
		return err
	}
	ld.log.topicID.Store(&id)
	return nil
}

// listSegments makes the segments from the .log files; the listing is sorted
// by name, hence by offset.
func (ld *loader) listSegments() {
	now := ld.nowMs()
	for _, name := range sortedNames(ld.files) {
		info := ld.files[name]
		base, ok := parseFileName(name, logSuffix)
		if !ok || info.IsDir {
			continue
		}
		s := &LogSegment{fs: ld.fs, dir: ld.dir, baseOffset: base, createdMs: now}
		s.published.Store(info.Size)
		s.reserved = info.Size
		s.dirSynced.Store(ld.clean)
		ld.segs = append(ld.segs, s)
	}
}

func (ld *loader) loadEpochs() error {
	if _, ok := ld.files[leaderEpochCheckpointFile]; !ok {
		return nil
	}
	path := filepath.Join(ld.dir, leaderEpochCheckpointFile)
	data, err := vfs.ReadFile(ld.fs, path)
	if err != nil {
		return err
	}
	entries, err := decodeEpochCheckpoint(data)
	if err != nil {
		// It can be rebuilt from the batches; keep the file as evidence.
		ld.logger.Warn("leader epoch checkpoint is unusable; rebuilt from the log", "file", path, "error", err)
		if err := ld.fs.Rename(path, path+quarantineMark+fmt.Sprint(ld.nowMs())); err != nil {
			return err
		}
		return ld.rebuildEpochs()
	}
	ld.log.epochs.entries = entries
	return nil
}

// rebuildEpochs reads every batch header.
func (ld *loader) rebuildEpochs() error {
	for _, s := range ld.segs {
		err := s.eachHeader(func(h batchHeader, header record.Batch) {
			ld.noteEpoch(header.LeaderEpoch(), h.baseOffset)
		})
		if err != nil && !errors.Is(err, errNotABatch) { // damage is recovery's to judge
			return err
		}
	}
	return nil
}

func (ld *loader) noteEpoch(epoch int32, offset int64) {
	if epoch > ld.log.epochs.latest() {
		ld.log.epochs.assign(epoch, offset)
	}
}

// eachHeader visits the published batches.
func (s *LogSegment) eachHeader(visit func(h batchHeader, header record.Batch)) error {
	ref, err := s.acquire()
	if err != nil {
		return err
	}
	defer func() { _ = ref.Release() }()
	sc := newHeaderScanner(ref, s.published.Load())
	defer sc.close()
	for position := int64(0); ; {
		h, err := sc.at(position)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		visit(h, sc.raw)
		position = h.end()
	}
}

// cleanEnd finds the log end offset after a clean stop, from the last index
// entry on. If the active segment does not read well after all, the log is
// recovered as after an unclean stop.
func (ld *loader) cleanEnd() (int64, error) {
	s := ld.segs.active()
	end, err := s.nextOffset()
	if err == nil {
		return end, nil
	}
	if !errors.Is(err, errNotABatch) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, err
	}
	ld.logger.Warn("segment does not read well in spite of a clean shutdown; recovering the log",
		"file", s.path(logSuffix), "error", err)
	ld.clean = false
	return ld.recoverSegments()
}

// nextOffset is the offset after the last batch.
func (s *LogSegment) nextOffset() (int64, error) {
	size := s.published.Load()
	if size == 0 {
		return s.baseOffset, nil
	}
	ref, err := s.acquire()
	if err != nil {
		return 0, err
	}
	defer func() { _ = ref.Release() }()
	sc := newHeaderScanner(ref, size)
	defer sc.close()
	position, err := s.floorPosition(size-1, sc.s.buf[:], true)
	if err != nil {
		return 0, err
	}
	next := s.baseOffset
	for {
		h, err := sc.at(position)
		if err == io.EOF {
			return next, nil
		}
		if err != nil {
			return 0, err
		}
		next, position = h.nextOffset(), h.end()
	}
}

// checkIndexes rebuilds the indexes of closed segments that are absent or do
// not fit the segment. The active segment's are read at its first append.
func (ld *loader) checkIndexes() error {
	for i, s := range ld.segs {
		if s.mem != nil { // just rebuilt by recovery
			if i+1 < len(ld.segs) {
				if err := s.persistIndexes(false); err != nil {
					return err
				}
				s.dropMemIndexes()
			}
			continue
		}
		if ld.indexFits(s) {
			continue
		}
		mem, err := s.rebuildIndexes(ld.config.IndexIntervalBytes)
		if err != nil {
			return err
		}
		s.mem = mem
		ld.report.IndexesRebuilt++
		if i+1 < len(ld.segs) {
			if err := s.persistIndexes(false); err != nil {
				return err
			}
			s.dropMemIndexes()
		}
	}
	return nil
}

// indexFits checks sizes always, and after an unclean stop every entry.
func (ld *loader) indexFits(s *LogSegment) bool {
	index, ok1 := ld.files[fileName(s.baseOffset, indexSuffix)]
	times, ok2 := ld.files[fileName(s.baseOffset, timeIndexSuffix)]
	if !ok1 || !ok2 {
		return s.published.Load() == 0
	}
	if index.Size%offsetEntrySize != 0 || times.Size%timeEntrySize != 0 {
		return false
	}
	if ld.clean {
		return true
	}
	_, err := s.readIndexes()
	return err == nil
}

// finish publishes what was loaded and brings the derived state up to it.
func (ld *loader) finish(end int64) error {
	l := ld.log
	l.segments.Store(&ld.segs)
	if ld.holesFrom == math.MaxInt64 {
		l.unmarkedTo = end
	}
	active := ld.segs.active()
	active.jitterMs = ld.config.randomJitterMs()
	l.nextOffset.Store(end)
	l.pub.reset(end, active, active.published.Load())
	start := max(ld.logStartOffset, ld.segs[0].baseOffset)
	if start > end {
		ld.logger.Warn("log start offset lies beyond the log end; moved back", "partition", ld.tp.String(), "logStartOffset", start, "logEndOffset", end)
		start = end
	}
	l.logStartOffset.Store(start)
	l.highWatermark.Store(max(start, min(ld.highWatermark, end)))
	l.recoveryPoint.Store(min(ld.recoveryPoint, end))
	if ld.clean {
		l.recoveryPoint.Store(end)
	}
	l.epochs.truncateFromEnd(end)
	l.epochs.truncateFromStart(start)
	if err := ld.reportLost(start, end); err != nil {
		return err
	}
	if err := ld.loadProducers(end); err != nil {
		return err
	}
	for _, s := range ld.segs {
		s.closeHandle() // opened again on use
	}
	return nil
}

func (ld *loader) loadProducers(end int64) error {
	l := ld.log
	var snapshots []int64
	for _, name := range sortedNames(ld.files) {
		o, ok := parseFileName(name, snapshotSuffix)
		if !ok {
			continue
		}
		if o <= end {
			snapshots = append(snapshots, o)
		} else if err := ld.remove(name); err != nil {
			return err
		}
	}
	if ld.clean && len(snapshots) == 0 {
		// A clean stop writes a snapshot if there is anything to say.
		l.producers = newProducerState(end)
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	from, err := ld.checkTxnIndexes(end)
	if err != nil {
		return err
	}
	if err := l.rebuildProducersFromLocked(snapshots, from, end); err != nil {
		return err
	}
	l.producers.removeExpired(ld.nowMs(), ld.config.ProducerIDExpirationMs)
	return nil
}

// checkTxnIndexes sets unsound transaction indexes aside. It returns the offset
// from which batches must be replayed to make them anew: end if none is unsound.
func (ld *loader) checkTxnIndexes(end int64) (int64, error) {
	from := end
	for _, s := range ld.segs {
		name := fileName(s.baseOffset, txnIndexSuffix)
		if _, there := ld.files[name]; !there {
			continue
		}
		if _, err := s.aborted(); err == nil {
			s.indexMu.Lock()
			s.cutTxnsLocked(end)
			s.indexMu.Unlock()
			continue
		}
		path := s.path(txnIndexSuffix)
		ld.logger.Warn("transaction index is unusable; renamed aside and made anew", "file", path)
		if err := ld.fs.Rename(path, path+quarantineMark+fmt.Sprint(ld.nowMs())); err != nil {
			return 0, err
		}
		ld.report.IndexesRebuilt++
		from = min(from, s.baseOffset)
	}
	return from, nil
}
