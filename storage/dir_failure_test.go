package storage

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"freshet/vfs"
)

// lossyFS forgets what was written to segments whose sync fails, as Linux does:
// the page cache keeps the bytes, takes them for clean, and no later sync writes
// them.
type lossyFS struct {
	*vfs.MemFS
	fail   bool            // the next sync of a segment fails
	frozen map[string]bool // segments whose pages are clean and lost
}

type lossyFile struct {
	vfs.File
	fs   *lossyFS
	name string
}

func (f *lossyFS) Open(name string, mode vfs.Mode) (vfs.File, error) {
	file, err := f.MemFS.Open(name, mode)
	return &lossyFile{file, f, name}, err
}

func (f *lossyFS) Rename(from, to string) error {
	if strings.HasSuffix(to, logSuffix) {
		delete(f.frozen, to) // another inode has the name
	}
	return f.MemFS.Rename(from, to)
}

// OpenWhole hides MemFS's, which would sync frozen files.
func (f *lossyFS) OpenWhole(string) (vfs.Whole, error) { return nil, errors.ErrUnsupported }

var errDisk = errors.New("input/output error")

func (f *lossyFile) Sync() error {
	if f.fs.fail && strings.HasSuffix(f.name, logSuffix) {
		f.fs.fail, f.fs.frozen[f.name] = false, true
		return errDisk
	}
	if f.fs.frozen[f.name] {
		return nil // and nothing is written
	}
	return f.File.Sync()
}

// failedDir is a log of five batches, two of them synced before the sync of the
// rest failed, after a kill of the process.
func failedDir(t *testing.T, note bool) (*lossyFS, LogConfig) {
	t.Helper()
	fsys := &lossyFS{MemFS: vfs.NewMemFS(), frozen: map[string]bool{}}
	c := noRetention()
	m, l := testLog(t, fsys, c)
	for range 2 {
		mustAppend(t, l, plain(1))
	}
	if err := l.Flush(all); err != nil {
		t.Fatal(err)
	}
	m.checkpoint(true, true, true)
	for range 3 {
		mustAppend(t, l, plain(1))
	}
	fsys.fail = true
	if err := l.Flush(all); !errors.Is(err, ErrLogDirFailed) {
		t.Fatalf("flush: %v", err)
	}
	if note {
		if err := m.NoteFailed(testDir); err != nil {
			t.Fatal(err)
		}
	}
	m.unlock()
	return fsys, c
}

// TestFailedSyncIsRememberedAfterARestart: what the page cache showed after a
// failed sync is on the disk once the next process has opened the log.
func TestFailedSyncIsRememberedAfterARestart(t *testing.T) {
	for _, note := range []bool{false, true} {
		fsys, c := failedDir(t, note)
		m := testManager(t, fsys, newClock(), c)
		l := m.Get(testTP)
		if got := offsetsOf(readAll(t, l, 0, all, 1000)); got != "0 1 2 3 4" {
			t.Fatalf("served are %s", got)
		}
		if got := m.RecoveryReport().AfterFailure; slices.Contains(got, testDir) != note {
			t.Errorf("failed before are %v", got)
		}
		if err := l.Flush(all); err != nil { // as for flush.messages=1
			t.Fatal(err)
		}
		m.unlock()
		after, report := reopen(t, fsys.CrashClone(rand.New(rand.NewPCG(1, 1)), 0), c)
		if got := offsetsOf(readAll(t, after, 0, all, 1000)); note && got != "0 1 2 3 4" || !note && got == "0 1 2 3 4" {
			t.Errorf("with note %v, after a power loss there are %s: %+v", note, got, report)
		}
	}
}

// The note stays until the caller has drawn its conclusions, and stands in for a
// clean stop too.
func TestFailureNoteStaysUntilForgotten(t *testing.T) {
	fsys, c := failedDir(t, true)
	for life := range 4 {
		m := testManager(t, fsys, newClock(), c)
		if got := len(m.RecoveryReport().AfterFailure) > 0; got != (life < 3) {
			t.Errorf("life %d: the directory failed before: %v", life, got)
		}
		if life == 2 {
			if err := m.ForgetFailures(); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.CleanShutdownEpoch(); life < 3 && got >= 0 {
			t.Errorf("life %d claims epoch %d", life, got)
		}
		if err := m.Close(7); err != nil {
			t.Fatal(err)
		}
	}
}

// What cannot be read again is kept aside, not taken for a torn write.
func TestUnreadableAfterAFailureIsKept(t *testing.T) {
	fsys, c := failedDir(t, true)
	size := int64(len(plain(1).build(t)))
	damage(t, fsys.MemFS, 0, 4*size, make([]byte, size)) // zeros, as of a page that was evicted
	m := testManager(t, fsys, newClock(), c)
	if got := offsetsOf(readAll(t, m.Get(testTP), 0, all, 1000)); got != "0 1 2 3" {
		t.Errorf("served are %s", got)
	}
	r := m.RecoveryReport().Partitions[0]
	if len(r.Quarantined) != 1 || r.Quarantined[0].FromOffset != 4 {
		t.Fatalf("nothing was kept: %+v", r)
	}
	if kept, err := fsys.Stat(testDir + "/t-0/" + r.Quarantined[0].File); err != nil || kept.Size != 5*size {
		t.Errorf("kept are %d bytes, %v", kept.Size, err)
	}
}

// A directory that takes no note leaves it elsewhere; where there is no place at
// all the caller hears of it.
func TestFailureIsNotedElsewhere(t *testing.T) {
	for _, rules := range [][]string{{"open(.sync-failed-*) erofs times 1"}, {"open(.sync-failed-*) erofs"}} {
		fsys, err := vfs.NewFaultFS(vfs.NewMemFS())
		if err != nil {
			t.Fatal(err)
		}
		m := twoDirs(t, fsys, nil)
		if _, err := m.Create(testTP, nil, noRetention()); err != nil {
			t.Fatal(err)
		}
		l := m.Get(testTP)
		mustAppend(t, l, plain(1))
		for _, rule := range append(rules, "sync(*.log) eio times 1") {
			if err := fsys.Inject(rule); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Flush(all); !errors.Is(err, ErrLogDirFailed) {
			t.Fatal(err)
		}
		bad, nowhere := l.LogDir(), !strings.Contains(rules[0], "times")
		if err := m.NoteFailed(bad); (err != nil) != nowhere {
			t.Fatalf("noted with %v", err)
		}
		fsys.Heal()
		m.unlock()
		m = twoDirs(t, fsys, nil)
		if got := m.RecoveryReport().AfterFailure; slices.Contains(got, bad) == nowhere {
			t.Errorf("failed before are %v", got)
		}
	}
}
