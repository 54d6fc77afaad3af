package storage

import (
	"fmt"
	"io"

	"freshet/record"
)

// TimestampOffset is the answer to a search by timestamp.
type TimestampOffset struct {
	Timestamp   int64 // of the record found, ms since the epoch
	Offset      int64
	LeaderEpoch int32 // of the record's batch; -1 if none
}

// OffsetForTimestamp finds the first record, at or after the log start offset,
// whose timestamp is at or after ts; ok is false if there is none below the log
// end offset. It reads batches from disk: for a worker, not for an event loop.
func (l *Log) OffsetForTimestamp(ts int64) (found TimestampOffset, ok bool, err error) {
	end := l.LogEndOffset()
	return l.searchTimestamp(ts, l.LogStartOffset(), end)
}

// OffsetOfMaxTimestamp finds the first record that has the largest timestamp
// in the log (KIP-734); ok is false in a log without timestamps.
func (l *Log) OffsetOfMaxTimestamp() (found TimestampOffset, ok bool, err error) {
	end := l.LogEndOffset()
	best := timestampOffset{timestamp: -1}
	for _, s := range *l.segments.Load() {
		l.mu.Lock()
		max, err := s.largestTimestamp(end)
		l.mu.Unlock()
		if err != nil {
			if s.gone.Load() {
				continue
			}
			return found, false, fmt.Errorf("largest timestamp of %s: %w", s.path(logSuffix), err)
		}
		if max.timestamp > best.timestamp {
			best = max
		}
	}
	if best.timestamp < 0 {
		return found, false, nil
	}
	return l.searchTimestamp(best.timestamp, l.LogStartOffset(), end)
}

// searchTimestamp looks at records in [start, end).
func (l *Log) searchTimestamp(ts, start, end int64) (found TimestampOffset, ok bool, err error) {
	list := *l.segments.Load()
	for i := max(0, list.floorIndex(start)); i < len(list); i++ {
		s := list[i]
		l.mu.Lock()
		largest, err := s.largestTimestamp(end)
		l.mu.Unlock()
		if err == nil && largest.timestamp < ts {
			continue
		}
		if err == nil {
			found, ok, err = s.findTimestamp(ts, start, end)
		}
		if err != nil && s.gone.Load() {
			continue
		}
		if err != nil || ok {
			if err != nil {
				err = fmt.Errorf("search %s by timestamp: %w", s.path(logSuffix), err)
			}
			return found, ok, err
		}
	}
	return found, false, nil
}

// findTimestamp scans from the time index's lower bound.
func (s *LogSegment) findTimestamp(ts, start, end int64) (found TimestampOffset, ok bool, err error) {
	times, err := s.timeIndex()
	if err != nil {
		return found, false, err
	}
	// The entry below ts says that nothing up to its offset is at or after ts.
	from := max(start, times.lookup(ts-1).offset)
	ref, err := s.acquire()
	if err != nil {
		return found, false, err
	}
	defer func() { _ = ref.Release() }()
	sc := newHeaderScanner(ref, s.published.Load())
	defer sc.close()
	position, err := s.lookupOffset(from, sc.s.buf[:], true)
	if err != nil {
		return found, false, err
	}
	for {
		h, err := sc.at(position)
		if err == io.EOF || err == nil && h.baseOffset >= end {
			return found, false, nil
		}
		if err != nil {
			return found, false, err
		}
		if h.lastOffset >= start && sc.raw.MaxTimestamp() >= ts {
			b, err := readBatch(ref, h)
			if err != nil {
				return found, false, err
			}
			if found, ok, err = firstRecordAt(b, ts, start); err != nil || ok {
				return found, ok, err
			}
		}
		position = h.end()
	}
}

// firstRecordAt finds the first record of b with a timestamp at or after ts
// and an offset at or after start.
func firstRecordAt(b record.Batch, ts, start int64) (found TimestampOffset, ok bool, err error) {
	it, err := record.NewIterator(b, 0)
	if err != nil {
		return found, false, err
	}
	defer it.Close()
	for it.Next() {
		r := it.Record()
		if r.TimestampMs >= ts && r.Offset >= start {
			return TimestampOffset{Timestamp: r.TimestampMs, Offset: r.Offset, LeaderEpoch: b.LeaderEpoch()}, true, nil
		}
	}
	return found, false, it.Err()
}
