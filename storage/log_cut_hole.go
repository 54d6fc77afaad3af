package storage

import (
	"fmt"
	"path/filepath"
)

// CutAtHole is TruncateTo for a log in which recovery found records missing from
// offset on, where a segment ends, before anybody appends to it or reads it.
// What lies behind may be nowhere else: its segments keep their bytes under the
// quarantine names that are returned.
func (l *Log) CutAtHole(offset int64) (kept []string, err error) {
	kept, err = l.setBehindAside(offset)
	if err == nil {
		_, err = l.TruncateTo(offset)
	}
	if err != nil {
		return kept, fmt.Errorf("cut %s at offset %d: %w", l.tp, offset, err)
	}
	return kept, nil
}

// setBehindAside renames the segments that begin above offset, newest first, so
// that a crash in between leaves a log that ends earlier and has no new hole.
func (l *Log) setBehindAside(offset int64) (kept []string, err error) {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	if err := l.logDir.failure(); err != nil {
		return nil, err
	}
	if err := l.lowerRecoveryPoint(offset); err != nil {
		return nil, err
	}
	list := *l.segments.Load()
	for j := len(list) - 1; j > list.floorIndex(offset); j-- {
		s := list[j]
		if s.published.Load() == 0 {
			continue
		}
		path := s.path(logSuffix)
		aside := fmt.Sprintf("%s%s%d", path, quarantineMark, l.nowMs())
		s.closeHandle()
		if err := l.fs.Rename(path, aside); err != nil {
			return kept, l.logDir.fail(err)
		}
		kept = append(kept, filepath.Base(aside))
	}
	return kept, nil
}
