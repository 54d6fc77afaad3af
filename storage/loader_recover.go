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
	for i := range first {
		outcomes[i].epochs = noEpochs
	}
	for i := first; i < len(ld.segs); i++ {
		var err error
		if outcomes[i], err = ld.scan(ld.segs[i], ld.rules(i, outcomes)); err != nil {
			return 0, err
		}
		ld.report.SegmentsRead++
	}
	if err := ld.checkSeams(first, outcomes); err != nil {
		return 0, err
	}
	ld.renewEpochs(first, outcomes)
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
		// After a failed sync what looks torn may have been acknowledged once.
		if last && out.resumes < 0 && out.nextOffset >= ld.recoveryPoint && !ld.suspect {
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
		err = ld.noteHole(first, outcomes)
	}
	return resume, err
}

// syncRecovered makes durable what recovery took over, with flush.messages=1: a
// process that was killed may have left it in the page cache alone. From here on
// it counts as synced, like all that such a log acknowledges.
func (ld *loader) syncRecovered() error {
	if ld.clean || ld.config.FlushMessages != 1 {
		return nil
	}
	for _, s := range ld.segs[max(0, ld.segs.floorIndex(ld.recoveryPoint)):] {
		if err := s.sync(); err != nil {
			return err
		}
	}
	return ld.fs.SyncDir(ld.dir)
}

// renewEpochs makes the leader epochs agree with the batches that were scanned,
// those of segments from first on. The checkpoint is right below the recovery
// point: it is written before that rises over an epoch, and a truncation lowers
// the point first. Above it may name epochs whose records were cut off since,
// and newer ones would hide what the batches there now say. A log that was begun
// anew at a higher offset keeps a lower recovery point until the next
// checkpoint: then its first batch tells. What lies between two batches is left
// as it is, for compaction may have taken the first batch of an epoch.
func (ld *loader) renewEpochs(first int, outcomes []scanOutcome) {
	epochs := &ld.log.epochs
	epochs.truncateFromEnd(ld.recoveryPoint)
	whole := first == 0
	for i := range outcomes {
		for _, e := range outcomes[i].epochs.changes {
			if known := epochs.epochAt(e.StartOffset); whole && known != UndefinedEpoch && known != e.Epoch {
				epochs.clear()
			}
			whole = false
			ld.noteEpoch(e.Epoch, e.StartOffset)
		}
	}
}

// rules are what must hold of segment i's batches, by itself and after those of
// the one before.
func (ld *loader) rules(i int, outcomes []scanOutcome) scanRules {
	r := anyEnd(ld.segs[i].baseOffset)
	if i > 0 {
		r.minEpoch = outcomes[i-1].epochs.beforeLast // the last one is for checkSeams to judge
	}
	r.contiguous = ld.contiguous
	// A directory that Kafka wrote may have been taken over by a cluster whose
	// leader epochs begin anew.
	r.epochs = ld.logDir.meta.gapsMarked
	return r
}

// checkSeams looks at the last batch of each segment and the first of the next,
// which must fit each other too, and scans again what does not.
func (ld *loader) checkSeams(first int, outcomes []scanOutcome) error {
	for i := first; i+1 < len(outcomes); i++ {
		a, b := &outcomes[i], &outcomes[i+1]
		if a.validBytes == 0 || b.validBytes == 0 {
			continue
		}
		var err error
		rules := ld.rules(i, outcomes)
		reaches := !rules.contiguous && a.nextOffset > ld.segs[i+1].baseOffset
		falls := rules.epochs && b.epochs.first >= 0 && a.epochs.last > b.epochs.first
		switch {
		case reaches || falls && b.epochs.first >= a.epochs.beforeLast:
			if reaches {
				rules.endOffset = ld.segs[i+1].baseOffset
			}
			if falls {
				rules.maxEpoch = b.epochs.first
			}
			*a, err = ld.scan(ld.segs[i], rules)
		case falls:
			rules = ld.rules(i+1, outcomes)
			rules.minEpoch = a.epochs.last
			*b, err = ld.scan(ld.segs[i+1], rules)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// noteHole reports the first segment that ends soundly and yet before the next
// one begins: of two segments that were not synced, a power loss may take
// batches of the older one. Compaction leaves such gaps on purpose.
func (ld *loader) noteHole(first int, outcomes []scanOutcome) error {
	for i := first; i+1 < min(len(ld.segs), len(outcomes)); i++ {
		from, to := outcomes[i].nextOffset, ld.segs[i+1].baseOffset
		if outcomes[i].damage != nil || !ld.isHole(from, to) || ld.knownLost(to) {
			continue
		}
		if r := &ld.report; r.MissingTo == 0 || from < r.MissingFrom {
			r.MissingFrom, r.MissingTo, r.MissingUnsynced = from, to, true
		}
		return ld.noteLost(lostRange{from: from, to: to, unsynced: true})
	}
	return nil
}

// scan checks one segment and rebuilds its indexes.
func (ld *loader) scan(s *LogSegment, rules scanRules) (scanOutcome, error) {
	ref, err := s.acquire()
	if err != nil {
		return scanOutcome{}, err
	}
	defer func() { _ = ref.Release() }()
	mem := newMemIndexes(s.baseOffset)
	b := indexBuilder{mem: mem, interval: int64(ld.config.IndexIntervalBytes), max: timestampOffset{timestamp: -1, offset: s.baseOffset}}
	out, err := scanSegment(ref, s.published.Load(), rules, func(h batchHeader, header record.Batch) {
		b.add(h, header.MaxTimestamp())
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
	from, to := outcomes[i-1].nextOffset, ld.segs[i].baseOffset
	return outcomes[i-1].damage != nil || (from > to || ld.isHole(from, to)) && !ld.knownLost(to) && !ld.wasDamaged(ld.segs[i-1])
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
// the recovery point. Bytes in it are reported as torn, or kept aside if the
// directory failed before: then they may have been acknowledged.
func (ld *loader) dropTail(s *LogSegment, out *scanOutcome) error {
	s.closeHandle()
	if name := fileName(s.baseOffset, logSuffix); ld.suspect && s.published.Load() > 0 {
		aside := fmt.Sprintf("%s%s%d", name, quarantineMark, ld.nowMs())
		if err := ld.rename(name, aside); err != nil {
			return err
		}
		ld.report.Quarantined = append(ld.report.Quarantined, Quarantine{File: aside, FromOffset: out.nextOffset, ToOffset: -1, Reason: out.damage.Error()})
	} else {
		ld.report.TruncatedBytes += s.published.Load()
	}
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
	if out.resumes >= 0 && next < 0 {
		next = out.resumeEnd
	}
	lost := lostRange{from: out.nextOffset, to: next}
	if next < 0 { // nothing is known to follow, but what was durable
		lost.to = ld.recoveryPoint
	}
	if err := ld.noteLost(lost); err != nil {
		return err
	}
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
		if err := ld.noteLost(lostRange{from: have, to: ld.recoveryPoint}); err != nil {
			return 0, err
		}
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
