package storage

import (
	"errors"

	"freshet/vfs"
)

const (
	// reserveFrom is the size from which a segment that is synced at each
	// append has disk space reserved ahead: small logs stay small on the disk.
	reserveFrom = 1 << 20
	// maxReserveAhead is the most that is reserved ahead of the last byte.
	maxReserveAhead = 16 << 20
)

// reserveSpaceLocked reserves disk space for the segment where that pays: all
// of it with preallocate, and ahead of the appends when each of them is synced.
// Then the file system has no blocks to find while an acknowledgement waits.
// The file's length stays that of its records: nobody ever reads a tail of
// zeros. A failure is no error, the write itself will say more. The log's lock
// is held.
func (s *LogSegment) reserveSpaceLocked(config *LogConfig) error {
	from, to := s.spaceTo.Load(), int64(0)
	switch {
	case config.Preallocate:
		to = int64(config.SegmentBytes)
	case config.FlushMessages == 1 && s.reserved >= reserveFrom && s.reserved >= from:
		// As much again as is there: never more than half of the file is air.
		to = min(s.reserved+min(s.reserved, maxReserveAhead), int64(config.SegmentBytes))
		from = max(from, s.reserved)
	}
	if to <= from {
		return nil
	}
	p, ok := s.WriteFile().(vfs.Preallocator)
	if !ok {
		return nil
	}
	s.spaceTo.Store(to) // in any case: not tried again before it is due
	if err := p.Preallocate(from, to); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// releaseSpace gives back what is reserved beyond the records of a segment that
// takes no more appends. The file's length does not change, so regions in
// flight are safe; nor does it matter if a crash undoes it.
func (s *LogSegment) releaseSpace() error {
	end := s.published.Load()
	if s.spaceTo.Load() <= end {
		return nil
	}
	ref, err := s.acquire()
	if err != nil {
		return err
	}
	defer func() { _ = ref.Release() }()
	h := s.handle.Load()
	if h == nil || h.ref != ref {
		return nil // closed for idleness in between: the space stays until the segment goes
	}
	size, err := h.file.Size()
	if err != nil || size != end {
		return err
	}
	s.spaceTo.Store(end)
	return h.file.Truncate(end)
}
