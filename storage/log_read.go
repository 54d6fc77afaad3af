package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"freshet/vfs"
	"freshet/zerocopy"
)

// Read finds the bytes to send for a fetch at offset: from the batch that
// contains it, at most maxBytes, never beyond upTo (exclusive, on a batch
// boundary: the high watermark or the last stable offset), the log end offset
// or the segment. It ends on a batch boundary; when the first batch alone is
// larger than maxBytes, that batch is returned whole if minOneBatch, else
// nothing. res.Region carries one reference, which the caller releases.
//
// ErrOffsetOutOfRange outside [log start offset, log end offset]. It allocates
// nothing but when it opens a file. It may read index entries and batch headers
// from the disk: on an event loop, use ReadCached first.
func (l *Log) Read(offset int64, maxBytes int32, upTo int64, minOneBatch bool, res *ReadResult) error {
	return l.read(offset, maxBytes, upTo, minOneBatch, true, res)
}

// ReadCached is Read for event loops: where finding the range would open a file
// or wait for the disk it returns vfs.ErrWouldBlock, and Read is to be called
// on a worker. The range itself need not be in the page cache.
func (l *Log) ReadCached(offset int64, maxBytes int32, upTo int64, minOneBatch bool, res *ReadResult) error {
	return l.read(offset, maxBytes, upTo, minOneBatch, false, res)
}

func (l *Log) read(offset int64, maxBytes int32, upTo int64, minOneBatch, wait bool, res *ReadResult) error {
	for {
		end := l.describe(offset, res)
		if l.closed.Load() {
			return ErrLogClosed
		}
		if offset < res.LogStartOffset || offset > end {
			return ErrOffsetOutOfRange
		}
		upTo = min(upTo, end)
		if l.logDir.failed() {
			upTo = min(upTo, l.recoveryPoint.Load())
			if offset >= upTo {
				return l.logDir.failure()
			}
		}
		if offset >= upTo || maxBytes <= 0 && !minOneBatch {
			return nil
		}
		err := l.readSegment(offset, int64(maxBytes), upTo, minOneBatch, wait, res)
		if !errors.Is(err, errSegmentGone) {
			return err
		}
	}
}

// errSegmentGone: the segment left the log between its lookup and its opening.
var errSegmentGone = errors.New("segment was deleted meanwhile")

// describe fills in everything but the region and returns the log end offset.
func (l *Log) describe(offset int64, res *ReadResult) int64 {
	end := l.LogEndOffset()
	*res = ReadResult{
		BaseOffset: offset, LogStartOffset: l.logStartOffset.Load(), LogEndOffset: end,
		HighWatermark: l.highWatermark.Load(), LastStableOffset: l.LastStableOffset(),
	}
	return end
}

// readSegment serves a read with offset < upTo <= log end offset.
func (l *Log) readSegment(offset, maxBytes, upTo int64, minOneBatch, wait bool, res *ReadResult) error {
	l.pub.mu.Lock()
	from, known := l.pub.findLocked(offset)
	to, endKnown := l.pub.findLocked(upTo)
	l.pub.mu.Unlock()
	list := *l.segments.Load() // after the bounds, so that it covers them
	i := list.floorIndex(offset)
	if i < 0 {
		if offset < l.logStartOffset.Load() {
			return errSegmentGone
		}
		i = 0
	}
	if known {
		// A boundary at the end of a segment is also the start of the next.
		known = list[i] == from.seg && from.position < from.seg.published.Load()
	}
	var file *segmentHandle
	for ; i < len(list); i++ {
		seg := list[i]
		var err error
		if file, err = seg.acquireHandle(wait); err != nil {
			return l.openError(seg, err)
		}
		seg.touch()
		if known {
			break
		}
		h, ok, err := seg.translateWait(file.reader(wait), offset, seg.published.Load(), wait)
		if err != nil {
			_ = file.ref.Release()
			return readError(offset, seg, err)
		}
		if ok {
			from = boundary{h.baseOffset, seg, h.position}
			break
		}
		_ = file.ref.Release()
		file = nil
	}
	if file == nil || from.offset >= upTo && from.offset > offset {
		if file != nil {
			_ = file.ref.Release()
		}
		return nil // a gap up to upTo
	}
	limit, limitOffset, err := l.limitIn(list, i, file, to, endKnown, upTo, wait)
	if err == nil {
		if res.Available = max(0, limit-from.position); limitOffset < upTo {
			res.Available = UnknownAvailable
		}
		err = l.cut(file, from, limit, limitOffset, maxBytes, minOneBatch, wait, res)
	}
	if err != nil {
		_ = file.ref.Release()
		return readError(offset, from.seg, err)
	}
	if res.Region.Length == 0 {
		_ = file.ref.Release()
		res.Region = zerocopy.FileRegion{}
	}
	return nil
}

// readError gives err its place; ErrWouldBlock is no error to format.
func readError(offset int64, seg *LogSegment, err error) error {
	if errors.Is(err, vfs.ErrWouldBlock) {
		return vfs.ErrWouldBlock
	}
	return fmt.Errorf("read offset %d of %s: %w", offset, seg.path(logSuffix), err)
}

func (l *Log) openError(seg *LogSegment, err error) error {
	if err == vfs.ErrWouldBlock {
		return err
	}
	if errors.Is(err, fs.ErrNotExist) {
		if l.closed.Load() {
			return ErrLogClosed
		}
		if seg.gone.Load() {
			return errSegmentGone
		}
	}
	return fmt.Errorf("open %s: %w", seg.path(logSuffix), err)
}

// limitIn returns the position in list[i] that a read bounded by upTo must not
// pass, and the offset there.
func (l *Log) limitIn(list segmentList, i int, file *segmentHandle, to boundary, known bool, upTo int64, wait bool) (int64, int64, error) {
	seg := list[i]
	if i+1 < len(list) && upTo >= list[i+1].baseOffset {
		return seg.published.Load(), list[i+1].baseOffset, nil
	}
	if known && to.seg == seg {
		return to.position, upTo, nil
	}
	size := seg.published.Load()
	h, ok, err := seg.translateWait(file.reader(wait), upTo, size, wait)
	if err != nil || !ok {
		return size, upTo, err
	}
	l.pub.remember(boundary{upTo, seg, h.position})
	return h.position, upTo, nil
}

// cut fills res.Region with the part of [from, limit) that fits in maxBytes.
func (l *Log) cut(file *segmentHandle, from boundary, limit, limitOffset, maxBytes int64, minOneBatch, wait bool, res *ReadResult) error {
	res.BaseOffset = from.offset
	end, endOffset := limit, limitOffset
	if limit-from.position > maxBytes {
		var first int64
		var err error
		end, endOffset, first, err = from.seg.boundaryBelow(file.reader(wait), from.position, from.position+maxBytes, limit, wait)
		if err != nil {
			return err
		}
		if end == from.position { // the first batch alone is too large
			if !minOneBatch {
				return nil
			}
			end, endOffset = from.position+first, 0
		}
	}
	if end <= from.position {
		return nil
	}
	if endOffset > 0 {
		l.pub.remember(boundary{endOffset, from.seg, end})
	}
	res.NextOffset = endOffset
	res.Region = zerocopy.FileRegion{File: file.ref, Position: from.position, Length: end - from.position}
	return nil
}

// boundaryBelow returns the last batch boundary in (from, end], and its
// offset; from itself, with the size of the batch there, if there is none.
func (s *LogSegment) boundaryBelow(r io.ReaderAt, from, end, limit int64, wait bool) (position, offset, firstSize int64, err error) {
	sc := newHeaderScanner(r, limit)
	defer sc.close()
	walk, err := s.floorPosition(end, sc.s.buf[:], wait)
	if err != nil {
		return 0, 0, 0, err
	}
	return sc.floorEnd(from, walk, end)
}

// SegmentInfo describes one segment.
type SegmentInfo struct {
	BaseOffset int64
	Size       int64 // bytes
}

// Segments lists the log's segments by base offset.
func (l *Log) Segments() []SegmentInfo {
	list := *l.segments.Load()
	infos := make([]SegmentInfo, len(list))
	for i, s := range list {
		infos[i] = SegmentInfo{BaseOffset: s.baseOffset, Size: s.published.Load()}
	}
	return infos
}

// Size is the log's size in bytes, indexes not counted.
func (l *Log) Size() int64 { return l.segments.Load().size() }

// Producers lists the active producers, for DescribeProducers.
func (l *Log) Producers() []ProducerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.list()
}

// LatestEpoch is the newest leader epoch in the log, or UndefinedEpoch.
func (l *Log) LatestEpoch() int32 { return l.epochs.latest() }

// EpochEntries lists the leader epochs in the log.
func (l *Log) EpochEntries() []EpochEntry { return l.epochs.Entries() }

// EpochAt is the leader epoch of the record at offset, or UndefinedEpoch.
func (l *Log) EpochAt(offset int64) int32 { return l.epochs.epochAt(offset) }

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch at or
// below the one asked for, and the offset where it ends; UndefinedEpoch and
// UndefinedEpochOffset when unknown (KIP-101, KIP-279, KIP-320).
func (l *Log) EndOffsetForEpoch(epoch int32) (int32, int64) {
	return l.epochs.endOffsetFor(epoch, l.LogEndOffset())
}
