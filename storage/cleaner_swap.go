package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"freshet/record"
	"freshet/vfs"
)

// segmentSuffixes are the files of a segment. The log comes last: a swap is
// decided, and ended, by the rename of that file.
var segmentSuffixes = []string{indexSuffix, timeIndexSuffix, txnIndexSuffix, logSuffix}

// swapIn puts a cleaned segment in the place of old, which are neighbours in
// the log and closed. Regions in flight keep the old inodes; reads that begin
// later find the new segment. At every moment of it a crash leaves either the
// old segments or the new one for the next start to find (tidySwaps):
//
//  1. .cleaned files become .swap, the log last; the directory is synced. From
//     the rename of the log on, the new segment is what counts.
//  2. The readers' list is changed, then the old files go, but for those of the
//     first, which the next step replaces.
//  3. .swap files take their names, the log last; the directory is synced.
//
// It returns errCleaningAborted when the log no longer has these segments.
func (l *Log) swapIn(w *cleanedSegment, old segmentList) error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	list := *l.segments.Load() // flushMu: only the end of it can change
	first := list.indexOf(old[0])
	if l.closed.Load() || first < 0 || !sameSegments(list[first:], old) {
		w.discard()
		return errCleaningAborted
	}
	if err := l.markGaps(list[first+len(old)].baseOffset); err != nil {
		w.discard()
		return err
	}
	indexes := segmentSuffixes[:len(segmentSuffixes)-1]
	if err := w.seg.rename(indexes, cleanedSuffix, swapSuffix); err != nil {
		for _, suffix := range indexes { // before the .log.cleaned, which says that nothing was decided
			_ = l.fs.Remove(w.seg.path(suffix + swapSuffix))
		}
		w.discard()
		return err
	}
	err := w.seg.rename([]string{logSuffix}, cleanedSuffix, swapSuffix)
	if err == nil {
		err = l.fs.SyncDir(l.Dir())
	}
	if err == nil {
		err = l.replaceLocked(w.seg, old)
	}
	if err == nil {
		err = l.fs.SyncDir(l.Dir())
	}
	if err != nil { // which of the two is there, the next start must find out
		return l.logDir.fail(fmt.Errorf("swap compacted segments of %s: %w", l.tp, err))
	}
	w.seg.dropMemIndexes()
	return nil
}

// sameSegments reports whether list begins with old and goes on after it.
func sameSegments(list, old segmentList) bool {
	if len(list) <= len(old) {
		return false
	}
	for i := range old {
		if list[i] != old[i] {
			return false
		}
	}
	return true
}

// replaceLocked is steps 2 and 3; flushMu is held. Log.mu is held throughout,
// as for a roll: it keeps the new segment's file open until it has its name.
func (l *Log) replaceLocked(fresh *LogSegment, old segmentList) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := *l.segments.Load()
	first := list.indexOf(old[0])
	after := list[first+len(old):]
	next := make(segmentList, 0, len(list))
	next = append(append(append(next, list[:first]...), fresh), after...)
	fresh.touch()
	l.segments.Store(&next)
	// Once gone is set and the handle closed, nobody opens the old file by its
	// name any more, which will be that of the new one.
	old[0].gone.Store(true)
	old[0].closeHandle()
	l.dropSegments(old[1:])
	if l.pub.seg.gone.Load() { // the log end is the start of what follows
		l.pub.set(l.pub.endOffset, after[0], 0)
	}
	return fresh.rename(segmentSuffixes, swapSuffix, "")
}

// rename changes the suffix of some of a segment's files.
func (s *LogSegment) rename(suffixes []string, from, to string) error {
	for _, suffix := range suffixes {
		if err := s.fs.Rename(s.path(suffix+from), s.path(suffix+to)); err != nil {
			return err
		}
	}
	return nil
}

// tidySwaps completes swaps of compacted segments that were decided before a
// crash, and undoes those that were not, in ld.files and on the disk. It knows
// what this broker leaves behind, and what Kafka does, which renames the log
// before the indexes (LocalLog.replaceSegments, LogLoader).
func (ld *loader) tidySwaps() error {
	for _, name := range sortedNames(ld.files) {
		if base, ok := parseFileName(name, logSuffix+swapSuffix); ok {
			if err := ld.completeSwap(base); err != nil {
				return err
			}
		}
	}
	for _, name := range sortedNames(ld.files) {
		for _, suffix := range segmentSuffixes[:len(segmentSuffixes)-1] {
			base, ok := parseFileName(name, suffix+swapSuffix)
			if !ok {
				continue
			}
			var err error
			if _, undecided := ld.files[fileName(base, logSuffix+cleanedSuffix)]; undecided {
				err = ld.remove(name)
			} else {
				err = ld.rename(name, fileName(base, suffix))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// completeSwap makes the .swap files of the segment at base the segment, and
// removes the segments whose place it takes.
func (ld *loader) completeSwap(base int64) error {
	swap := fileName(base, logSuffix+swapSuffix)
	next, err := ld.swapEnd(base)
	if errors.Is(err, errNotABatch) {
		ld.logger.Warn("compacted segment is damaged; set aside", "partition", ld.tp.String(), "file", swap, "error", err)
		return ld.rename(swap, fmt.Sprintf("%s%s%d", swap, quarantineMark, ld.nowMs()))
	}
	if err != nil {
		return err
	}
	ld.logger.Info("completing an interrupted swap of a compacted segment", "partition", ld.tp.String(), "file", swap)
	for _, name := range sortedNames(ld.files) {
		for _, suffix := range append([]string{snapshotSuffix}, segmentSuffixes...) {
			if at, ok := parseFileName(name, suffix); ok && at > base && at < next {
				if err := ld.remove(name); err != nil {
					return err
				}
			}
		}
	}
	for _, suffix := range segmentSuffixes {
		for _, from := range []string{cleanedSuffix, swapSuffix} {
			name := fileName(base, suffix+from)
			if _, there := ld.files[name]; !there || from == cleanedSuffix && suffix == logSuffix {
				continue
			}
			if err := ld.rename(name, fileName(base, suffix)); err != nil {
				return err
			}
		}
	}
	return ld.fs.SyncDir(ld.dir)
}

// swapEnd is the offset after the last batch of a .swap file.
func (ld *loader) swapEnd(base int64) (int64, error) {
	path := fileName(base, logSuffix+swapSuffix)
	s := &LogSegment{fs: ld.fs, dir: ld.dir, baseOffset: base}
	s.published.Store(ld.files[path].Size)
	if err := s.openAs(logSuffix+swapSuffix, vfs.Read); err != nil {
		return 0, err
	}
	defer s.closeHandle()
	next := base
	err := s.eachHeader(func(h batchHeader, _ record.Batch) { next = h.nextOffset() })
	return next, err
}

func (ld *loader) rename(from, to string) error {
	if err := ld.fs.Rename(filepath.Join(ld.dir, from), filepath.Join(ld.dir, to)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	info := ld.files[from]
	info.Name = to
	delete(ld.files, from)
	ld.files[to] = info
	return nil
}
