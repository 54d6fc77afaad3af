package storage

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"

	"freshet/record"
	"freshet/vfs"
)

// PublishListener hears of appends that end, on the goroutine that called
// Complete. Published is called outside the log's lock; calls of different
// goroutines may overlap and arrive out of order, so it takes the maximum.
type PublishListener interface {
	// Published: everything below logEndOffset can be read.
	Published(logEndOffset int64)
	// Failed: nothing at or after fromOffset that was reserved up to now will
	// be published. Called under the log's lock, so that those offsets are not
	// given to other records before the listener knows; it must not call the
	// log back.
	Failed(fromOffset int64, err error)
}

// Log is one partition's log: a list of segments, of which the last is
// appended to.
//
// Appending is Reserve, a write by the caller, Complete. Several goroutines may
// have appends in flight; ranges of one file are written side by side, but
// offsets become readable only in order. Locks, in the order they are taken:
// flushMu (one flush at a time; held over disk syncs), mu (everything about
// appending; held over file creation at a roll and over the rare rollback,
// never over a write or sync of records), pub.mu (what readers see; leaf).
//
// Offsets: logStartOffset <= recoveryPoint <= pub.endOffset <= nextOffset, and
// highWatermark <= pub.endOffset. (The recovery point may lag behind the start
// after records were deleted.)
type Log struct {
	tp     TopicPartition
	fs     vfs.FS
	dir    atomic.Pointer[string] // the partition's directory; moves when deleted
	logDir *logDirState           // the log.dirs entry it lies in
	logger *slog.Logger
	nowMs  func() int64
	config atomic.Pointer[LogConfig]
	hooks  logHooks

	flushMu sync.Mutex

	mu sync.Mutex
	// Guarded by mu.
	producers *ProducerState
	// nextOffset is the offset of the next record reserved. Written under mu.
	nextOffset atomic.Int64
	// inFlight is the sum of the segments' inFlight.
	inFlight int64
	drained  *sync.Cond // inFlight became 0
	// completed are groups that ended before one that precedes them, sorted by
	// base offset.
	completed []completedGroup
	// failedFrom is the lowest offset of a failed write that is not rolled
	// back yet, or -1; failCause is why.
	failedFrom int64
	failCause  error
	failing    failing
	// cutting: the log is being truncated; nothing is appended until it ends.
	cutting bool
	// leaderEpoch is the oldest leader epoch that may append.
	leaderEpoch int32
	// pendingSnapshots are producer snapshots taken at a roll, to be written
	// once the data below them is durable.
	pendingSnapshots []pendingSnapshot

	epochs LeaderEpochCache
	gapsMu sync.Mutex              // one writer of gapsFile at a time
	gaps   atomic.Pointer[gapMark] // what gapsFile says; nil without it
	lost   []lostRange             // what lostFile says; flushMu
	// unmarkedTo: below it there may be gaps of which no gapsFile knows yet.
	// Set by the loader.
	unmarkedTo int64
	segments   atomic.Pointer[segmentList] // replaced under mu

	pub published

	logStartOffset atomic.Int64
	highWatermark  atomic.Int64
	firstUnstable  atomic.Int64 // ProducerState.firstUnstableOffset, or -1
	// recoveryPoint: everything below it is durable.
	recoveryPoint atomic.Int64
	lastFlushMs   atomic.Int64
	listener      atomic.Pointer[PublishListener]
	topicID       atomic.Pointer[UUID]
	closed        atomic.Bool // set under mu, for good
}

// logHooks are what a log asks of its manager; any may be nil.
type logHooks struct {
	rolled               func(l *Log)                 // a segment waits to be flushed
	deleteLater          func(l *Log, paths []string) // renamed files to unlink after file.delete.delay.ms
	recoveryPointLowered func(l *Log, to int64) error // must be on disk before it returns
}

// completedGroup is a finished write that waits for an earlier one.
type completedGroup struct {
	baseOffset, nextOffset int64
	seg                    *LogSegment
	position, length       int64
}

type pendingSnapshot struct {
	offset int64
	data   []byte
}

// boundary says that the batch after nextOffset-1 starts at position.
type boundary struct {
	offset   int64
	seg      *LogSegment
	position int64
}

const boundaryRing = 16

// published is the readers' view. The rings remember batch boundaries, so that
// a tailing or sequential reader finds its place without the index.
type published struct {
	mu        sync.Mutex
	endOffset int64       // the log end offset
	seg       *LogSegment // segment holding endOffset's position
	position  int64
	appends   [boundaryRing]boundary // ends of published groups
	reads     [boundaryRing]boundary // ends of reads
	appendAt  uint32
	readAt    uint32
	atomicEnd atomic.Int64 // endOffset without the lock
}

func (p *published) set(offset int64, seg *LogSegment, position int64) {
	p.mu.Lock()
	p.endOffset, p.seg, p.position = offset, seg, position
	p.appends[p.appendAt%boundaryRing] = boundary{offset, seg, position}
	p.appendAt++
	p.atomicEnd.Store(offset)
	p.mu.Unlock()
}

// reset also forgets every boundary: after a truncation.
func (p *published) reset(offset int64, seg *LogSegment, position int64) {
	p.mu.Lock()
	p.appends, p.reads = [boundaryRing]boundary{}, [boundaryRing]boundary{}
	p.endOffset, p.seg, p.position = offset, seg, position
	p.atomicEnd.Store(offset)
	p.mu.Unlock()
}

// find returns a remembered boundary; p.mu is held.
func (p *published) findLocked(offset int64) (boundary, bool) {
	if offset == p.endOffset && p.seg != nil {
		return boundary{p.endOffset, p.seg, p.position}, true
	}
	for i := range p.appends {
		if b := &p.appends[i]; b.offset == offset && b.seg != nil && !b.seg.gone.Load() {
			return *b, true
		}
	}
	for i := range p.reads {
		if b := &p.reads[i]; b.offset == offset && b.seg != nil && !b.seg.gone.Load() {
			return *b, true
		}
	}
	return boundary{}, false
}

// remember notes the end of a read.
func (p *published) remember(b boundary) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.findLocked(b.offset); ok {
		return
	}
	p.reads[p.readAt%boundaryRing] = b
	p.readAt++
}

// SetListener installs the listener; nil removes it.
func (l *Log) SetListener(p PublishListener) {
	if p == nil {
		l.listener.Store(nil)
		return
	}
	l.listener.Store(&p)
}

// TopicPartition names the partition.
func (l *Log) TopicPartition() TopicPartition { return l.tp }

// Dir is the partition's directory.
func (l *Log) Dir() string { return *l.dir.Load() }

// LogDir is the log.dirs entry that the partition lies in.
func (l *Log) LogDir() string { return l.logDir.path }

// TopicID is the id in partition.metadata; ok is false if there is none.
func (l *Log) TopicID() (id UUID, ok bool) {
	if p := l.topicID.Load(); p != nil {
		return *p, true
	}
	return UUID{}, false
}

// Config returns the configuration in force.
func (l *Log) Config() LogConfig { return *l.config.Load() }

// UpdateConfig swaps the configuration; it must be valid.
func (l *Log) UpdateConfig(c LogConfig) error {
	if err := c.Validate(); err != nil {
		return err
	}
	l.config.Store(&c)
	return nil
}

// FenceLeaderEpoch refuses appends below the leader epoch given from here on,
// whoever still believes in an older one. It never goes back.
func (l *Log) FenceLeaderEpoch(epoch int32) {
	l.mu.Lock()
	l.leaderEpoch = max(l.leaderEpoch, epoch)
	l.mu.Unlock()
}

// ReservedEndOffset is the offset that the next append gets: the log end
// offset, plus what is still being written.
func (l *Log) ReservedEndOffset() int64 { return l.nextOffset.Load() }

// LogEndOffset is the offset after the last readable record.
func (l *Log) LogEndOffset() int64 { return l.pub.atomicEnd.Load() }

// LogStartOffset is the first offset that may be read.
func (l *Log) LogStartOffset() int64 { return l.logStartOffset.Load() }

// RecoveryPoint is the offset below which everything is durable.
func (l *Log) RecoveryPoint() int64 { return l.recoveryPoint.Load() }

// HighWatermark is the last value of UpdateHighWatermark.
func (l *Log) HighWatermark() int64 { return l.highWatermark.Load() }

// LastStableOffset is the offset below which every transaction is decided; at
// most the high watermark (KIP-98).
func (l *Log) LastStableOffset() int64 {
	hw := l.highWatermark.Load()
	if u := l.firstUnstable.Load(); u >= 0 && u < hw {
		return u
	}
	return hw
}

// AdvanceHighWatermark moves the high watermark forward to offset, at most to
// the log end offset; it never moves back. Safe from several goroutines.
func (l *Log) AdvanceHighWatermark(offset int64) {
	offset = min(offset, l.LogEndOffset())
	for {
		at := l.highWatermark.Load()
		if offset <= at {
			return
		}
		if l.highWatermark.CompareAndSwap(at, offset) {
			l.onHighWatermark(offset)
			return
		}
	}
}

func (l *Log) onHighWatermark(offset int64) {
	if l.firstUnstable.Load() < 0 {
		return
	}
	l.mu.Lock()
	l.producers.onHighWatermark(offset)
	l.noteUnstableLocked()
	l.mu.Unlock()
}

// UpdateHighWatermark moves the high watermark, clamped to the log's offsets,
// and returns the value in force. It may move back (after a truncation).
func (l *Log) UpdateHighWatermark(offset int64) int64 {
	offset = max(l.LogStartOffset(), min(offset, l.LogEndOffset()))
	if l.highWatermark.Swap(offset) != offset {
		l.onHighWatermark(offset)
	}
	return offset
}

func (l *Log) noteUnstableLocked() { l.firstUnstable.Store(l.producers.firstUnstableOffset()) }

// writableLocked reports why an append must be refused.
func (l *Log) writableLocked() error {
	if l.closed.Load() {
		return ErrLogClosed
	}
	if err := l.logDir.failure(); err != nil {
		return err
	}
	if l.failedFrom >= 0 {
		return causeError(ErrStorageWriteFailed, l.failCause)
	}
	if l.cutting {
		return fmt.Errorf("%w: %s", ErrTruncating, l.tp)
	}
	return nil
}

// Reserve assigns offsets to the batch in req and a place in a segment file,
// and patches the batch in place: base offset, leader epoch and, under
// LogAppendTime, timestamp. The caller writes the bytes there and calls
// Complete, whatever the outcome. Nothing is reserved when it returns an error
// or a duplicate. It allocates nothing but at a roll, for a new producer, or
// when an index grows.
func (l *Log) Reserve(req *AppendRequest, res *Reservation) error {
	b := req.Batch
	*res = Reservation{LogAppendTimeMs: -1, LogStartOffset: l.logStartOffset.Load()}
	if len(b) < record.HeaderSize || b.SizeInBytes() != len(b) || b.Magic() != record.MagicV2 || b.LastOffsetDelta() < 0 {
		return fmt.Errorf("%w: %d bytes given to %s are not one whole v2 batch", ErrCorruptBatch, len(b), l.tp)
	}
	config := l.config.Load()
	if int64(len(b)) > int64(config.SegmentBytes) {
		return fmt.Errorf("%w: %d bytes for %s, where segment.bytes is %d", ErrRecordListTooLarge, len(b), l.tp, config.SegmentBytes)
	}
	if config.MessageTimestampType == LogAppendTime && req.Origin != OriginReplication {
		b.SetLogAppendTime(req.NowMs)
		res.LogAppendTimeMs = req.NowMs
	}
	var marker *endTxnMarker
	if b.IsControl() {
		var err error
		if marker, err = parseMarker(b); err != nil {
			return fmt.Errorf("%w: control batch for %s: %w", ErrCorruptBatch, l.tp, err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return err
	}
	if req.LeaderEpoch < l.leaderEpoch {
		return fmt.Errorf("%w: append to %s at leader epoch %d, the log is at %d", ErrFencedLeaderEpoch, l.tp, req.LeaderEpoch, l.leaderEpoch)
	}
	if done, err := l.checkLocked(req, marker, res); done || err != nil {
		return err
	}
	base := l.nextOffset.Load()
	seg, err := l.segmentForLocked(b, base, req.NowMs, config)
	if err != nil {
		return err
	}
	if req.Origin != OriginReplication {
		b.SetBaseOffset(base)
		b.SetLeaderEpoch(req.LeaderEpoch)
	}
	l.takeLocked(seg, b, marker, config, res)
	seg.touch()
	return nil
}

// checkLocked handles duplicates and refusals; done is true for a duplicate.
func (l *Log) checkLocked(req *AppendRequest, marker *endTxnMarker, res *Reservation) (done bool, err error) {
	b := req.Batch
	if req.Origin == OriginReplication {
		// Compaction leaves gaps between batches: a later offset is in order.
		next := l.nextOffset.Load()
		switch {
		case b.BaseOffset() < next:
			return false, fmt.Errorf("%w: batch for %s starts at offset %d, the log ends at %d already",
				ErrUnexpectedAppendOffset, l.tp, b.BaseOffset(), next)
		case req.Follows > 0 && req.Follows != next:
			return false, fmt.Errorf("%w: batch for %s is to follow offset %d, the log ends at %d",
				ErrUnexpectedAppendOffset, l.tp, req.Follows, next)
		case b.BaseOffset() > next && l.gaps.Load() == nil:
			if err := l.markGaps(0); err != nil {
				return false, causeError(ErrStorageWriteFailed, err)
			}
		}
		return false, nil
	}
	if b.ProducerID() == record.NoProducerID {
		return false, nil
	}
	dup, err := l.producers.check(b, req.Origin, marker)
	if err != nil {
		return false, fmt.Errorf("append to %s: %w", l.tp, err)
	}
	if dup == nil {
		return false, nil
	}
	res.Duplicate = true
	res.BaseOffset = dup.firstOffset()
	res.NextOffset = dup.lastOffset + 1
	res.WaitOffset = res.NextOffset
	if res.LogAppendTimeMs >= 0 {
		res.LogAppendTimeMs = dup.timestamp
	}
	return true, nil
}

// takeLocked makes the reservation; nothing can fail any more.
func (l *Log) takeLocked(seg *LogSegment, b record.Batch, marker *endTxnMarker, config *LogConfig, res *Reservation) {
	base, next := b.BaseOffset(), b.NextOffset()
	res.Segment = seg
	res.Position = seg.reserved
	res.Length = int32(len(b))
	// A replicated batch may lie behind a gap, which is reserved with it.
	res.BaseOffset, res.NextOffset = l.nextOffset.Load(), next
	if seg.reserved == 0 {
		seg.firstTimestamp, seg.firstKnown = b.MaxTimestamp(), true
	}
	seg.index(b, seg.reserved, int64(config.IndexIntervalBytes))
	seg.reserved += int64(len(b))
	seg.inFlight += int64(len(b))
	l.inFlight += int64(len(b))
	l.nextOffset.Store(next)
	if epoch := b.LeaderEpoch(); epoch >= 0 {
		l.epochs.assign(epoch, base)
	}
	l.producers.mapEndOffset = next
	if b.ProducerID() != record.NoProducerID {
		l.applyProducerLocked(seg, b, marker)
	}
}

func (l *Log) applyProducerLocked(seg *LogSegment, b record.Batch, marker *endTxnMarker) {
	if txn, ended := l.producers.apply(b, marker); ended {
		if err := seg.endTxn(l.producers, txn); err != nil {
			// Only a file that was there and sound at loading can fail here.
			_ = l.logDir.fail(fmt.Errorf("note aborted transaction in %s: %w", l.tp, err))
		}
	}
	if b.IsTransactional() {
		l.noteUnstableLocked()
	}
}

// segmentForLocked returns the segment that takes the batch, rolling if
// configuration or format demand it, open and with its indexes in memory.
func (l *Log) segmentForLocked(b record.Batch, base, nowMs int64, config *LogConfig) (*LogSegment, error) {
	seg := l.segments.Load().active()
	if err := l.prepareActiveLocked(seg, config); err != nil {
		return nil, err
	}
	roll, err := l.shouldRollLocked(seg, b, base, nowMs, config)
	if err != nil {
		return nil, err
	}
	if roll {
		if seg, err = l.rollLocked(base, nowMs); err != nil {
			return nil, err
		}
	}
	if err := seg.reserveSpaceLocked(config); err != nil {
		l.logger.Warn("cannot reserve space for a segment", "file", seg.path(logSuffix), "error", err)
	}
	return seg, nil
}

// prepareActiveLocked opens a segment that was loaded from disk for appending.
func (l *Log) prepareActiveLocked(seg *LogSegment, config *LogConfig) error {
	if seg.handle.Load() != nil && seg.mem != nil && seg.maxKnown { // mem changes under l.mu for the active segment
		return nil
	}
	if err := seg.open(vfs.ReadWrite); err != nil {
		return causeError(ErrStorageWriteFailed, err)
	}
	if err := seg.loadIndexes(config.IndexIntervalBytes); err != nil {
		return causeError(ErrStorageWriteFailed, err)
	}
	if !seg.maxKnown {
		if err := seg.loadMaxTimestamp(); err != nil {
			return causeError(ErrStorageWriteFailed, err)
		}
	}
	return nil
}

// shouldRollLocked: Kafka's LogSegment.shouldRoll.
func (l *Log) shouldRollLocked(seg *LogSegment, b record.Batch, base, nowMs int64, config *LogConfig) (bool, error) {
	if seg.reserved == 0 && seg.baseOffset == base {
		return false, nil
	}
	lastOffset := base + int64(b.LastOffsetDelta())
	if seg.reserved > int64(config.SegmentBytes)-int64(len(b)) ||
		lastOffset-seg.baseOffset > 1<<31-1 ||
		seg.mem.offsets.len() >= config.maxOffsetIndexEntries() ||
		seg.mem.times.len() >= config.maxTimeIndexEntries() {
		return true, nil
	}
	if seg.reserved == 0 {
		return false, nil
	}
	waited, err := seg.waitedForRoll(nowMs, b.MaxTimestamp())
	if err != nil {
		return false, causeError(ErrStorageWriteFailed, err)
	}
	return waited > config.SegmentMs-seg.jitterMs, nil
}

// waitedForRoll is the age that segment.ms is compared with: in message time
// when the first batch has a timestamp, else in wall time since creation.
func (s *LogSegment) waitedForRoll(nowMs, messageTimestamp int64) (int64, error) {
	first, ok, err := s.firstBatchTimestamp()
	if err != nil {
		return 0, err
	}
	if ok && first >= 0 {
		return messageTimestamp - first, nil
	}
	return nowMs - s.createdMs, nil
}

// rollLocked closes the active segment to further reservations and starts a
// new one at base.
func (l *Log) rollLocked(base, nowMs int64) (*LogSegment, error) {
	list := *l.segments.Load()
	old := list.active()
	if old.baseOffset >= base {
		panic(fmt.Sprintf("BUG: storage: roll of %s at offset %d, where a segment starts at %d already", l.tp, base, old.baseOffset))
	}
	seg, err := createSegment(l.fs, l.Dir(), base, nowMs)
	if err != nil {
		return nil, causeError(ErrStorageWriteFailed, fmt.Errorf("create segment of %s at offset %d: %w", l.tp, base, err))
	}
	seg.jitterMs = l.config.Load().randomJitterMs()
	if old.maxTimestamp.timestamp >= 0 {
		old.mem.times.maybeAppend(old.maxTimestamp)
	}
	if l.producers.mapEndOffset > l.producers.lastSnapshotOffset {
		l.producers.lastSnapshotOffset = l.producers.mapEndOffset
		l.pendingSnapshots = append(l.pendingSnapshots, pendingSnapshot{offset: base, data: l.producers.encodeSnapshot()})
	}
	if l.config.Load().FlushMessages == 1 {
		// An acknowledgement that promises a sync needs the file's name too.
		if err := l.syncSegmentDir(seg); err != nil {
			return nil, err
		}
	}
	next := list.with(seg)
	l.segments.Store(&next)
	if l.hooks.rolled != nil {
		l.hooks.rolled(l)
	}
	return seg, nil
}

// Complete ends the write of a group: one or more reservations, adjacent in
// seg and in the offsets, written with err as the outcome. It returns the log
// end offset and this group's own fate: nil once it is published or waits for
// an earlier group, an error if it will never be read. A group that waits and
// then fails is reported by the listener.
func (l *Log) Complete(seg *LogSegment, baseOffset, nextOffset, position, length int64, err error) (int64, error) {
	l.mu.Lock()
	if length <= 0 || seg.inFlight < length {
		l.mu.Unlock()
		panic(fmt.Sprintf("BUG: storage: %s completes %d bytes at position %d, but %d are in flight", l.tp, length, position, seg.inFlight))
	}
	seg.inFlight -= length
	l.inFlight -= length
	before := l.pub.endOffset // written under mu only
	listener := l.listener.Load()
	failed := err != nil
	switch {
	case failed:
		l.failLocked(baseOffset, err)
	case l.failedFrom >= 0 && baseOffset >= l.failedFrom:
		err = l.failCause
	default:
		l.publishLocked(completedGroup{baseOffset, nextOffset, seg, position, length})
		if l.failing.writes > 0 {
			l.noteWrittenLocked()
		}
	}
	if err != nil {
		err = causeError(ErrStorageWriteFailed, err)
	}
	if failed && listener != nil {
		(*listener).Failed(baseOffset, err)
	}
	if l.inFlight == 0 {
		if l.failedFrom >= 0 {
			l.rollbackLocked()
		}
		l.drained.Broadcast()
	}
	end := l.pub.endOffset
	l.mu.Unlock()
	if listener != nil && end != before {
		(*listener).Published(end)
	}
	return end, err
}

// publishLocked moves the log end offset over g and the groups that waited for
// it, or keeps g until its turn.
func (l *Log) publishLocked(g completedGroup) {
	if g.baseOffset != l.pub.endOffset {
		i := len(l.completed)
		l.completed = append(l.completed, g)
		for ; i > 0 && l.completed[i-1].baseOffset > g.baseOffset; i-- {
			l.completed[i] = l.completed[i-1]
		}
		l.completed[i] = g
		return
	}
	l.advanceLocked(g)
	n := 0
	for n < len(l.completed) && l.completed[n].baseOffset == l.pub.endOffset {
		l.advanceLocked(l.completed[n])
		n++
	}
	if n > 0 {
		l.completed = append(l.completed[:0], l.completed[n:]...)
	}
}

func (l *Log) advanceLocked(g completedGroup) {
	if at := g.seg.published.Load(); at != g.position {
		panic(fmt.Sprintf("BUG: storage: %s publishes position %d of segment %d, which ends at %d", l.tp, g.position, g.seg.baseOffset, at))
	}
	g.seg.published.Store(g.position + g.length)
	l.pub.set(g.nextOffset, g.seg, g.position+g.length)
}

// failLocked stops the log from publishing at or after offset.
func (l *Log) failLocked(offset int64, cause error) {
	if l.failedFrom < 0 || offset < l.failedFrom {
		l.failedFrom, l.failCause = offset, cause
	}
	n := len(l.completed)
	for n > 0 && l.completed[n-1].baseOffset >= l.failedFrom {
		n--
	}
	l.completed = l.completed[:n]
}

// NeedsSync reports whether flush.messages asks for a sync of what has been
// reserved up to now: with flush.messages=1, always.
func (l *Log) NeedsSync() bool {
	every := l.config.Load().FlushMessages
	return every == 1 || l.nextOffset.Load()-l.recoveryPoint.Load() >= every
}

// MarkSynced tells the log that an fdatasync of the segment holding upTo-1 has
// succeeded which began when LogEndOffset was at least upTo. The recovery
// point follows if no earlier segment waits for its own flush.
func (l *Log) MarkSynced(upTo int64) {
	l.mu.Lock() // a truncation must not move the end in between
	defer l.mu.Unlock()
	if l.cutting || l.logDir.failed() {
		return // after one failed sync another's success means nothing
	}
	upTo = min(upTo, l.pub.endOffset)
	list := *l.segments.Load()
	i := list.floorIndex(upTo - 1)
	for {
		at := l.recoveryPoint.Load()
		if i < 0 || upTo <= at || at < list[i].baseOffset || !list[i].dirSynced.Load() {
			return
		}
		if l.recoveryPoint.CompareAndSwap(at, upTo) {
			l.lastFlushMs.Store(l.nowMs())
			return
		}
	}
}

func (l *Log) path(name string) string { return filepath.Join(l.Dir(), name) }
