package sim

import (
	"errors"
	"math/rand/v2"
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
