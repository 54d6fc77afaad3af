package storage

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"freshet/vfs"
)

// diskBytes is what a file takes on the disk.
func diskBytes(t *testing.T, path string) (length, onDisk int64) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Size, st.Blocks * 512
}

// reserves reports whether the file system of dir can reserve space.
func reserves(t *testing.T, dir string) bool {
	t.Helper()
	f, err := vfs.OS{}.Open(filepath.Join(dir, "probe"), vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = f.(vfs.Preallocator).Preallocate(0, 1<<20)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Fatal(err)
	}
	return err == nil
}

// A log that is synced at each append has space reserved ahead of its records,
// which no reader sees, and gives it back when the segment takes no more.
func TestSpaceIsReservedAhead(t *testing.T) {
	dir := osPath(t)
	c := noRetention()
	c.FlushMessages, c.SegmentBytes = 1, 3<<20
	m, err := openTestManager(vfs.OS{}, dir, newClock(), c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	spec := plain(1)
	spec.valueSize = 100_000
	first := filepath.Join(dir, testTP.String(), fileName(0, logSuffix))
	for l.Size() < reserveFrom {
		mustAppend(t, l, spec)
	}
	if _, reserved := diskBytes(t, first); reserved > reserveFrom+1<<20 {
		t.Fatalf("a small segment takes %d bytes", reserved)
	}
	mustAppend(t, l, spec)
	if length, reserved := diskBytes(t, first); length != l.Size() || reserves(t, dir) && reserved < 2*reserveFrom {
		t.Fatalf("a segment of %d bytes has length %d and takes %d", l.Size(), length, reserved)
	}
	for len(l.Segments()) == 1 {
		mustAppend(t, l, spec)
	}
	m.flushRolled()
	size := l.Segments()[0].Size
	if length, reserved := diskBytes(t, first); length != size || reserved > size+64<<10 {
		t.Errorf("a closed segment of %d bytes has length %d and takes %d", size, length, reserved)
	}
	for l.Size()-size < reserveFrom+200_000 {
		mustAppend(t, l, spec)
	}
	end, size := l.LogEndOffset(), l.Segments()[1].Size
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(dir, testTP.String(), fileName(l.Segments()[1].BaseOffset, logSuffix))
	if length, reserved := diskBytes(t, second); length != size || reserved > size+64<<10 {
		t.Errorf("after a stop a segment of %d bytes has length %d and takes %d", size, length, reserved)
	}
	if m, err = openTestManager(vfs.OS{}, dir, newClock(), c); err != nil || m.Get(testTP).LogEndOffset() != end {
		t.Fatalf("after a restart: %v", err)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
}

// With preallocate all of a segment's space is there from the first append on.
func TestPreallocate(t *testing.T) {
	dir := osPath(t)
	c := noRetention()
	c.Preallocate, c.SegmentBytes = true, 2<<20
	m, err := openTestManager(vfs.OS{}, dir, newClock(), c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plain(1))
	if length, reserved := diskBytes(t, filepath.Join(dir, testTP.String(), fileName(0, logSuffix))); length != l.Size() || reserves(t, dir) && reserved < 2<<20 {
		t.Errorf("length %d, %d on disk", length, reserved)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
}
