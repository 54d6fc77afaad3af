package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"freshet/vfs"
)

// lostFile, in a partition's directory, holds the offsets that recovery found
// missing from the log, so that a crash before anybody has acted on the report
// does not make a log with a hole look whole. A range stays until the log is
// cut at or below it (the leader has the rest, and sends it again) or its start
// passes it.
const lostFile = "lost-offsets"

// lostRange is one hole: [from, to).
type lostRange struct {
	from, to int64
	// unsynced: as PartitionRecovery.MissingUnsynced.
	unsynced bool
	// accepted: there is no other replica to have them from, and the log goes on
	// without.
	accepted bool
}

// States of a range in lostFile.
const (
	lostDurable  = "durable"
	lostUnsynced = "unsynced"
	lostAccepted = "accepted"
)

func (r *lostRange) state() string {
	switch {
	case r.accepted:
		return lostAccepted
	case r.unsynced:
		return lostUnsynced
	}
	return lostDurable
}

func encodeLost(ranges []lostRange) []byte {
	buf := appendCheckpointHeader(nil, len(ranges))
	for _, r := range ranges {
		buf = strconv.AppendInt(buf, r.from, 10)
		buf = append(buf, ' ')
		buf = strconv.AppendInt(buf, r.to, 10)
		buf = append(buf, ' ')
		buf = append(buf, r.state()...)
		buf = append(buf, '\n')
	}
	return buf
}

func decodeLost(data []byte) ([]lostRange, error) {
	lines, err := checkpointLines(data)
	if err != nil {
		return nil, err
	}
	var ranges []lostRange
	for _, line := range lines {
		fields := bytes.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%w: line %q wants two offsets and a state", ErrCorruptCheckpoint, line)
		}
		from, err1 := strconv.ParseInt(string(fields[0]), 10, 64)
		to, err2 := strconv.ParseInt(string(fields[1]), 10, 64)
		r := lostRange{from: from, to: to, unsynced: string(fields[2]) == lostUnsynced, accepted: string(fields[2]) == lostAccepted}
		if err1 != nil || err2 != nil || from < 0 || to <= from || r.state() != string(fields[2]) {
			return nil, fmt.Errorf("%w: line %q wants two rising offsets and a state", ErrCorruptCheckpoint, line)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

// writeLost replaces lostFile, or removes it if there is nothing to say; it is
// durable when it returns.
func writeLost(fsys vfs.FS, dir string, ranges []lostRange) error {
	path := filepath.Join(dir, lostFile)
	if len(ranges) > 0 {
		return vfs.WriteFileAtomic(fsys, path, encodeLost(ranges))
	}
	if err := fsys.Remove(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return fsys.SyncDir(dir)
}

// loadLost reads what earlier recoveries found missing.
func (ld *loader) loadLost() error {
	if _, there := ld.files[lostFile]; !there {
		return nil
	}
	path := filepath.Join(ld.dir, lostFile)
	data, err := vfs.ReadFile(ld.fs, path)
	if err != nil {
		return err
	}
	ld.log.lost, err = decodeLost(data)
	if err != nil {
		ld.logger.Error("the list of offsets that recovery found missing cannot be read; renamed aside", "file", path, "error", err)
		return ld.fs.Rename(path, path+quarantineMark+fmt.Sprint(ld.nowMs()))
	}
	return nil
}

// noteLost makes durable that [from, to) is missing, before the log is made to
// look whole around it.
func (ld *loader) noteLost(r lostRange) error {
	if r.to <= r.from || slices.ContainsFunc(ld.log.lost, func(have lostRange) bool { return have.from <= r.from && r.to <= have.to }) {
		return nil
	}
	ld.log.lost = append(ld.log.lost, r)
	slices.SortFunc(ld.log.lost, func(a, b lostRange) int { return cmpInt64(a.from, b.from) })
	if err := writeLost(ld.fs, ld.dir, ld.log.lost); err != nil {
		return fmt.Errorf("note missing offsets %d to %d: %w", r.from, r.to, err)
	}
	return nil
}

// knownLost reports whether an earlier recovery found what lies before the
// segment at offset missing.
func (ld *loader) knownLost(offset int64) bool {
	return slices.ContainsFunc(ld.log.lost, func(r lostRange) bool { return r.from < offset && offset <= r.to })
}

// reportLost adds to the report what earlier recoveries found missing and still
// is, in a log that goes from start to end.
func (ld *loader) reportLost(start, end int64) error {
	kept := slices.DeleteFunc(slices.Clone(ld.log.lost), func(r lostRange) bool { return r.to <= start || r.from >= end })
	if len(kept) != len(ld.log.lost) {
		ld.log.lost = kept
		if err := writeLost(ld.fs, ld.dir, kept); err != nil {
			return err
		}
	}
	for _, r := range kept {
		switch rep := &ld.report; {
		case r.accepted:
			rep.Accepted = append(rep.Accepted, OffsetRange{From: r.from, To: r.to})
		case slices.ContainsFunc(rep.Quarantined, func(q Quarantine) bool { return q.FromOffset == r.from }):
		case rep.MissingTo == 0 || r.from < rep.MissingFrom:
			rep.MissingFrom, rep.MissingTo, rep.MissingUnsynced = r.from, r.to, r.unsynced
		}
	}
	return nil
}

// AcceptLost says that nobody else has what recovery found missing: the log is
// complete without it, and later starts only mention it.
func (l *Log) AcceptLost() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	next := slices.Clone(l.lost)
	changed := false
	for i := range next {
		changed = changed || !next[i].accepted
		next[i].accepted = true
	}
	if !changed {
		return nil
	}
	if err := writeLost(l.fs, l.Dir(), next); err != nil {
		return fmt.Errorf("accept what is missing from %s: %w", l.tp, err)
	}
	l.lost = next
	return nil
}

// dropLost forgets what is missing at or above offset, where the log was cut;
// before it grows again. Of a hole that offset lies in, the part below stays:
// the rest is sent anew. flushMu is held.
func (l *Log) dropLost(offset int64) error {
	kept := slices.DeleteFunc(slices.Clone(l.lost), func(r lostRange) bool { return r.from >= offset })
	for i := range kept {
		kept[i].to = min(kept[i].to, offset)
	}
	if slices.Equal(kept, l.lost) {
		return nil
	}
	if err := writeLost(l.fs, l.Dir(), kept); err != nil {
		return err
	}
	l.lost = kept
	return nil
}
