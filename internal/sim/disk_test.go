package sim

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"freshet/vfs"
)

func testDisk() *disk {
	var s scheduler
	d := newDisk("b1", &clock{world: &s}, newTrace(&s, nil))
	_ = d.MkdirAll("/data")
	return d
}

func mustWrite(t *testing.T, f vfs.File, at int64, text string) {
	t.Helper()
	if _, err := f.WriteAt([]byte(text), at); err != nil {
		t.Fatal(err)
	}
}

func mustOpen(t *testing.T, d *disk, name string, mode vfs.Mode) vfs.File {
	t.Helper()
	f, err := d.Open(name, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func contents(t *testing.T, d *disk, name string) string {
	t.Helper()
	b, err := vfs.ReadFile(d, name)
	if err != nil {
		return "?"
	}
	return string(b)
}

// A kill keeps what was written, a power loss only what was synced.
func TestDiskLosesWhatWasNotSynced(t *testing.T) {
	d := testDisk()
	f := mustOpen(t, d, "/data/a", vfs.Create)
	mustWrite(t, f, 0, "synced")
	if err := errors.Join(f.Sync(), d.SyncDir("/data")); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, 6, ", not")
	mustOpen(t, d, "/data/b", vfs.Create)
	d.killed()
	if got := contents(t, d, "/data/a"); got != "synced, not" {
		t.Fatalf("after a kill the file holds %q", got)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Fatal("a handle of a process that was killed still writes")
	}
	d.powerLoss(rand.New(rand.NewPCG(1, 1)), 0, true)
	if got := contents(t, d, "/data/a"); got != "synced" {
		t.Fatalf("after a power loss the file holds %q", got)
	}
	if _, err := d.Stat("/data/b"); err == nil {
		t.Fatal("a file whose name was never synced survived a power loss")
	}
}

// A failed fsync leaves the page cache as it is, and never writes it.
func TestDiskFailedSyncMeansNothingLater(t *testing.T) {
	d := testDisk()
	f := mustOpen(t, d, "/data/a", vfs.Create)
	if err := d.SyncDir("/data"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, f, 0, "lost")
	d.failSyncIn = "/data"
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("the armed fsync returned %v", err)
	}
	if err := f.Sync(); err != nil || contents(t, d, "/data/a") != "lost" {
		t.Fatalf("the next fsync returned %v, the cache holds %q", err, contents(t, d, "/data/a"))
	}
	d.powerLoss(rand.New(rand.NewPCG(1, 1)), 1, false)
	if got := contents(t, d, "/data/a"); got != "" {
		t.Fatalf("after the power loss the file holds %q", got)
	}
}

// A full disk takes what needs no space.
func TestDiskFull(t *testing.T) {
	d := testDisk()
	f := mustOpen(t, d, "/data/a", vfs.Create)
	mustWrite(t, f, 0, "abcd")
	d.full = true
	if n, err := f.WriteAt([]byte("ABCDEF"), 0); n != 4 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("wrote %d bytes with %v", n, err)
	}
	if got := contents(t, d, "/data/a"); got != "ABCD" {
		t.Fatalf("the file holds %q", got)
	}
}

// What a power loss does with unsynced writes is counted, and all of it
// happens: sectors lost, writes torn, sectors elsewhere, names undone.
func TestDiskPowerLossIsCounted(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var all tally
	for range 200 {
		d := testDisk()
		f := mustOpen(t, d, "/data/a", vfs.Create)
		if err := d.SyncDir("/data"); err != nil {
			t.Fatal(err)
		}
		mustOpen(t, d, "/data/b", vfs.Create)
		mustWrite(t, f, 0, strings.Repeat("x", 8*sectorBytes))
		d.powerLoss(rng, 0.5, true)
		all.add(d.tally)
	}
	for _, k := range []count{countDropped, countTorn, countMisplaced, countUndone} {
		if all[k] == 0 {
			t.Errorf("never happened: %s; %s", effectNames[k-count(faultKinds)], &all)
		}
	}
}

// Pages that a socket holds are the file's: bytes cut off or overwritten change
// on their way, those of a file that was replaced do not.
func TestPagesOnTheirWay(t *testing.T) {
	lent := func(d *disk) *pages {
		f := mustOpen(t, d, "/data/a", vfs.Create)
		mustWrite(t, f, 0, "abcdef")
		return &pages{node: d.dirs["/data"].entries["a"], at: 2, want: []byte("cde")}
	}
	for name, c := range map[string]struct {
		change func(d *disk, f vfs.File)
		intact bool
	}{
		"appended to":    {func(_ *disk, f vfs.File) { mustWrite(t, f, 6, "gh") }, true},
		"cut behind":     {func(_ *disk, f vfs.File) { _ = f.Truncate(5) }, true},
		"cut":            {func(_ *disk, f vfs.File) { _ = f.Truncate(4) }, false},
		"cut and filled": {func(_ *disk, f vfs.File) { _ = f.Truncate(2); mustWrite(t, f, 2, "xyz") }, false},
		"written over":   {func(_ *disk, f vfs.File) { mustWrite(t, f, 4, "X") }, false},
		"removed":        {func(d *disk, _ vfs.File) { _ = d.Remove("/data/a") }, true},
		"replaced": {func(d *disk, _ vfs.File) {
			mustWrite(t, mustOpen(t, d, "/data/new", vfs.Create), 0, "ab")
			_ = d.Rename("/data/new", "/data/a")
		}, true},
	} {
		d := testDisk()
		p := lent(d)
		c.change(d, mustOpen(t, d, "/data/a", vfs.ReadWrite))
		if p.intact() != c.intact {
			t.Errorf("a file %s: its pages are intact: %v", name, p.intact())
		}
	}
}
