package storage

import (
	"errors"
	"path/filepath"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

// logWithHole has lost the end of its second segment and has sound ones behind.
func logWithHole(t *testing.T) (disk *vfs.MemFS, config LogConfig, from, to int64, behind int) {
	t.Helper()
	disk, segments, config := damagedLog(t, 40, 900, 0)
	cut := segments[1]
	size := cut.Size / (segments[2].BaseOffset - cut.BaseOffset)
	shorten(t, disk, cut.BaseOffset, size)
	return disk, config, cut.BaseOffset + 1, segments[2].BaseOffset, len(segments) - 2
}

// What lies behind a hole may be nowhere else: the cut keeps its files, with
// every record in them.
func TestCutAtHoleKeepsWhatLiesBehind(t *testing.T) {
	disk, config, from, to, behind := logWithHole(t)
	l, report := reopen(t, disk, config)
	if report.MissingFrom != from || report.MissingTo != to {
		t.Fatalf("report %+v", report)
	}
	kept, err := l.CutAtHole(from)
	if err != nil || len(kept) != behind || l.LogEndOffset() != from || l.RecoveryPoint() > from {
		t.Fatalf("kept %v, %v; the log ends at %d", kept, err, l.LogEndOffset())
	}
	for range 40 {
		mustAppend(t, l, plain(1))
	}
	disk = disk.Clone()
	if l, report = reopen(t, disk, config); report.MissingTo > 0 || len(report.Quarantined) > 0 || l.LogEndOffset() != from+40 {
		t.Errorf("after the cut the log ends at %d: %+v", l.LogEndOffset(), report)
	}
	next := to
	for i := len(kept) - 1; i >= 0; i-- {
		data, err := vfs.ReadFile(disk, filepath.Join(testDir, "t-0", kept[i]))
		if err != nil {
			t.Fatal(err)
		}
		for len(data) > 0 {
			b := record.Batch(data[:record.Batch(data).SizeInBytes()])
			if b.BaseOffset() != next || b.CheckCRC() != nil {
				t.Fatalf("%s has a batch at %d, want %d", kept[i], b.BaseOffset(), next)
			}
			next, data = b.NextOffset(), data[len(b):]
		}
	}
	if next != 40 {
		t.Errorf("kept up to %d, want 40", next)
	}
}

// A cut that was interrupted is found as one hole again, or none, and can be
// made once more.
func TestCutAtHoleInterrupted(t *testing.T) {
	for after := range 3 {
		disk, config, from, _, behind := logWithHole(t)
		faults, err := vfs.NewFaultFS(disk)
		if err != nil {
			t.Fatal(err)
		}
		l, _ := reopen(t, faults, config)
		if err := faults.Inject([]string{"rename(*.quarantine-*) eio", "rename(*.quarantine-*) eio after 1", "open(*.tmp) eio"}[after]); err != nil {
			t.Fatal(err)
		}
		if _, err := l.CutAtHole(from); !errors.Is(err, ErrLogDirFailed) {
			t.Fatalf("%d: %v", after, err)
		}
		clone := disk.Clone()
		l, report := reopen(t, clone, config)
		if report.MissingTo > 0 && report.MissingFrom != from {
			t.Errorf("%d: %+v", after, report)
		}
		if _, err := l.CutAtHole(from); err != nil {
			t.Fatal(err)
		}
		entries, err := clone.List(filepath.Join(testDir, "t-0"))
		if err != nil {
			t.Fatal(err)
		}
		files := 0
		for _, e := range entries {
			if ok, _ := filepath.Match("*"+quarantineMark+"*", e.Name); ok {
				files++
			}
		}
		if l.LogEndOffset() != from || files != behind {
			t.Errorf("%d: the log ends at %d, want %d; %d files kept, want %d", after, l.LogEndOffset(), from, files, behind)
		}
	}
}
