package storage

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"freshet/record"
	"freshet/vfs"
)

func sortedNames(files map[string]vfs.FileInfo) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// recoverSegments checks every batch of the segments that may hold bytes above
// the recovery point, and returns the log end offset.
//
// A segment that does not end soundly is one of two things. If the damage lies
// at the very end of the log, above the recovery point, with no sound batch
// after it, it is the torn tail of writes that were never durable: it is cut
// off. Anything else is corruption of data that was: the file is set aside as
// evidence, its sound prefix stays, the log goes on after it, and no offset
// that may have been acknowledged is given out again.
func (ld *loader) recoverSegments() (int64, error) {
	first := max(0, ld.segs.floorIndex(ld.recoveryPoint))
	outcomes := make([]scanOutcome, len(ld.segs))
	for i := first; i < len(ld.segs); i++ {
		var err error
		if outcomes[i], err = ld.scan(ld.segs[i]); err != nil {
			return 0, err
		}
		ld.report.SegmentsRead++
	}
	// From the end: is there anything sound beyond the damage?
	end := int64(-1)
	for i := len(ld.segs) - 1; i >= first; i-- {
		out, s := &outcomes[i], ld.segs[i]
		if end < 0 && out.validBytes == 0 && out.resumes < 0 && i > 0 && ld.emptyTail(first, i, outcomes) {
			if err := ld.dropTail(s, out); err != nil {
				return 0, err
			}
			continue
		}
		last := end < 0
		if last {
			end = out.nextOffset
		}
		if out.damage == nil {
			continue
		}
		if last && out.resumes < 0 && out.nextOffset >= ld.recoveryPoint {
			if err := ld.cutTornTail(s, out); err != nil {
				return 0, err
			}
			continue
		}
		if last {
			end = max(out.resumeEnd, ld.recoveryPoint, out.nextOffset)
		}
		next := int64(-1)
		if i+1 < len(ld.segs) {
			next = ld.segs[i+1].baseOffset
		}
		if err := ld.quarantine(s, out, max(next, -1)); err != nil {
			return 0, err
		}
	}
	if end < 0 { // only segments below first are left
		end = ld.segs.active().baseOffset
	}
	resume, err := ld.resumeAt(end)
	if err == nil {
		ld.noteHole(first, outcomes)
	}
	return resume, err
}

// noteHole reports the first segment that ends soundly and yet before the next
// one begins: of two segments that were not synced, a power loss may take
// batches of the older one. Compaction leaves such gaps on purpose.
func (ld *loader) noteHole(first int, outcomes []scanOutcome) {
	if ld.config.CleanupCompact {
		return
	}
	for i := first; i+1 < min(len(ld.segs), len(outcomes)); i++ {
		from, to := outcomes[i].nextOffset, ld.segs[i+1].baseOffset
		if outcomes[i].damage != nil || from >= to {
			continue
		}
		if r := &ld.report; r.MissingTo == 0 || from < r.MissingFrom {
			r.MissingFrom, r.MissingTo, r.MissingUnsynced = from, to, true
		}
		return
	}
}

// scan checks one segment, rebuilding its indexes and noting epochs.
func (ld *loader) scan(s *LogSegment) (scanOutcome, error) {
	ref, err := s.acquire()
	if err != nil {
		return scanOutcome{}, err
	}
	defer func() { _ = ref.Release() }()
	mem := newMemIndexes(s.baseOffset)
	b := indexBuilder{mem: mem, interval: int64(ld.config.IndexIntervalBytes), max: timestampOffset{timestamp: -1, offset: s.baseOffset}}
	out, err := scanSegment(ref, s.published.Load(), s.baseOffset, func(h batchHeader, header record.Batch) {
		b.add(h, header.MaxTimestamp())
		ld.noteEpoch(h, header)
	})
	if err != nil {
		return out, fmt.Errorf("check %s: %w", s.path(logSuffix), err)
	}
	b.finish()
	s.mem, s.maxTimestamp, s.maxKnown = mem, b.max, true
	return out, nil
}

// emptyTail reports whether segment i, which holds nothing sound, is to go: the
// log before it does not end where it begins.
func (ld *loader) emptyTail(first, i int, outcomes []scanOutcome) bool {
	if outcomes[i].damage != nil {
		return ld.segs[i].baseOffset >= ld.recoveryPoint
	}
	if i-1 < first || outcomes[i-1].nextOffset == ld.segs[i].baseOffset || ld.segs[i].baseOffset <= ld.recoveryPoint {
		return false
	}
	// Without damage before it, it was made by a compacted log, by an earlier
	// recovery whose evidence is there, or before a power loss that took what
	// the segment before it held.
	return outcomes[i-1].damage != nil || !ld.config.CleanupCompact && !ld.wasDamaged(ld.segs[i-1])
}

// wasDamaged reports whether an earlier recovery set the segment's file aside.
func (ld *loader) wasDamaged(s *LogSegment) bool {
	prefix := fileName(s.baseOffset, logSuffix) + quarantineMark
	for name := range ld.files {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// dropTail removes the last segment, which holds nothing sound and lies above
// the recovery point. Bytes in it are reported as torn.
func (ld *loader) dropTail(s *LogSegment, out *scanOutcome) error {
	ld.report.TruncatedBytes += s.published.Load()
	s.closeHandle()
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		if err := ld.remove(fileName(s.baseOffset, suffix)); err != nil {
			return err
		}
	}
	ld.segs = ld.segs[:len(ld.segs)-1]
	return nil
}

// cutTornTail shortens the file. Nothing is served yet, so in place is safe.
func (ld *loader) cutTornTail(s *LogSegment, out *scanOutcome) error {
	ld.report.TruncatedBytes += s.published.Load() - out.validBytes
	ref, err := s.acquire()
	if err != nil {
		return err
	}
	defer func() { _ = ref.Release() }()
	if err := s.handle.Load().file.Truncate(out.validBytes); err != nil {
		return err
	}
	s.published.Store(out.validBytes)
	s.reserved = out.validBytes
	return nil
}

// quarantine sets a damaged segment aside and keeps its sound prefix in its
// place. At every moment of it, a crash leaves either the original or a
// complete prefix under a name that tidyDir knows.
func (ld *loader) quarantine(s *LogSegment, out *scanOutcome, next int64) error {
	ref, err := s.acquire()
	if err != nil {
		return err
	}
	defer func() { _ = ref.Release() }()
	path := s.path(logSuffix)
	aside := fmt.Sprintf("%s%s%d", path, quarantineMark, ld.nowMs())
	if err := copyPrefixTo(ld.fs, ref, path+cleanedSuffix, out.validBytes); err != nil {
		return err
	}
	for _, step := range [][2]string{{path + cleanedSuffix, path + prefixSuffix}, {path, aside}, {path + prefixSuffix, path}} {
		if err := ld.fs.Rename(step[0], step[1]); err != nil {
			return err
		}
		if err := ld.fs.SyncDir(ld.dir); err != nil {
			return err
		}
	}
	s.closeHandle() // it was the original's
	s.published.Store(out.validBytes)
	s.reserved = out.validBytes
	if out.resumes >= 0 && next < 0 {
		next = out.resumeEnd
	}
	ld.report.Quarantined = append(ld.report.Quarantined, Quarantine{
		File: filepath.Base(aside), Position: out.validBytes, FromOffset: out.nextOffset, ToOffset: next, Reason: out.damage.Error(),
	})
	return nil
}

// resumeAt makes sure that appends go on at end or beyond: never at an offset
// that was durable once and is missing now.
func (ld *loader) resumeAt(end int64) (int64, error) {
	active := ld.segs.active()
	have := active.baseOffset
	if active.published.Load() > 0 {
		next, err := active.nextOffset()
		if err != nil {
			return 0, err
		}
		have = next
	}
	resume := max(end, have)
	if have < ld.recoveryPoint {
		ld.report.MissingFrom, ld.report.MissingTo = have, ld.recoveryPoint
		resume = max(resume, ld.recoveryPoint)
	}
	if resume == have {
		return have, nil
	}
	seg, err := createSegment(ld.fs, ld.dir, resume, ld.nowMs())
	if err != nil {
		return 0, err
	}
	if err := ld.fs.SyncDir(ld.dir); err != nil {
		return 0, err
	}
	seg.dirSynced.Store(true)
	ld.segs = append(ld.segs, seg)
	return resume, nil
}
