package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"freshet/vfs"
)

// After a failed sync the page cache shows bytes that the disk does not have and
// that no later sync will write: the kernel takes them for clean. The next
// process reads them like any others, and must know that they are worth nothing
// before it has written them anew. This file keeps that knowledge.

// failureNote begins the name of a note, an empty file so that it needs no room;
// the id of the directory that failed follows.
const failureNote = ".sync-failed-"

// notePlaces are the directories where a note may lie: that of the failed
// directory itself, the other log directories, the one of the metadata.
func (m *LogManager) notePlaces(d *logDirState) []string {
	places := []string{d.path}
	for _, other := range m.dirs {
		places = append(places, other.path)
	}
	if m.config.MetadataDir != "" {
		places = append(places, m.config.MetadataDir)
	}
	return places
}

func (d *logDirState) noteName() string { return failureNote + d.meta.DirectoryID.String() }

// NoteFailed makes durable that a log directory has failed, so that the next
// start trusts nothing in it that was not synced before. It waits for the disk.
// Call it once OnDirFailed has told of the directory, before the process ends.
// On an error the note is nowhere.
func (m *LogManager) NoteFailed(dir string) error {
	i := slices.IndexFunc(m.dirs, func(d *logDirState) bool { return d.path == dir })
	if i < 0 {
		return fmt.Errorf("note that %s failed: it is not in log.dirs", dir)
	}
	if !m.dirs[i].loaded {
		return nil // nothing was written to it, and what an earlier life noted is still there
	}
	var errs []error
	for _, place := range m.notePlaces(m.dirs[i]) {
		err := writeNote(m.config.FS, place, m.dirs[i].noteName())
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("note that %s failed: %w", dir, errors.Join(errs...))
}

func writeNote(fsys vfs.FS, place, name string) error {
	f, err := fsys.Open(filepath.Join(place, name), vfs.Create)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return fsys.SyncDir(place)
}

// readNotes looks which directories failed in an earlier life. A place that
// cannot be read may have a note.
func (m *LogManager) readNotes() {
	for _, d := range m.dirs {
		for _, place := range m.notePlaces(d) {
			if _, err := m.config.FS.Stat(filepath.Join(place, d.noteName())); !errors.Is(err, fs.ErrNotExist) {
				d.suspect = true
			}
		}
	}
}

// tellSuspect reports that a directory which failed in an earlier life is loaded.
func (m *LogManager) tellSuspect(d *logDirState) {
	if !d.suspect {
		return
	}
	m.report.AfterFailure = append(m.report.AfterFailure, d.path)
	segments := 0
	for _, r := range m.report.Partitions {
		if filepath.Dir(r.Dir) == d.path {
			segments += r.SegmentsCopied
		}
	}
	m.config.Logger.Warn("this log directory failed when it was last used: what was not synced then was read again and written to new files, "+
		"and what could not be read is missing until the partitions' leaders send it again", "dir", d.path, "segments", segments)
}

// ForgetFailures removes the notes of directories whose logs were written anew
// by this start. Before it is called the caller must have made durable what it
// concludes from RecoveryReport.AfterFailure: later starts do not say it again.
func (m *LogManager) ForgetFailures() error {
	var errs []error
	for _, d := range m.dirs {
		if !d.suspect || !d.loaded || d.failed() {
			continue
		}
		for _, place := range m.notePlaces(d) {
			err := m.config.FS.Remove(filepath.Join(place, d.noteName()))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = m.config.FS.SyncDir(place)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("remove the note that %s failed: %w", d.path, err))
			}
		}
	}
	return errors.Join(errs...)
}

// copyAnew writes every segment that may hold bytes above the recovery point to
// a new file, as it can be read now, and puts that in its place. What is sound
// in it is then on the disk; recovery judges what is not. A crash in between
// leaves each segment old or new, and the note.
func (ld *loader) copyAnew() error {
	for _, s := range ld.segs[max(0, ld.segs.floorIndex(ld.recoveryPoint)):] {
		if err := ld.copySegment(s); err != nil {
			return fmt.Errorf("write %s anew, whose directory failed before: %w", s.path(logSuffix), err)
		}
		ld.report.SegmentsCopied++
	}
	return ld.fs.SyncDir(ld.dir)
}

func (ld *loader) copySegment(s *LogSegment) error {
	ref, err := s.acquire()
	if err != nil {
		return err
	}
	defer func() { _ = ref.Release() }()
	path := s.path(logSuffix)
	if err := copyPrefixTo(ld.fs, ref, path+cleanedSuffix, s.published.Load()); err != nil {
		return err
	}
	s.closeHandle() // it is the old file's
	return ld.fs.Rename(path+cleanedSuffix, path)
}
