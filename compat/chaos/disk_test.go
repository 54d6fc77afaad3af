//go:build chaos

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disk is one node's file system: ext4 on a loop device whose image is an ordinary file, so that it can be
// full, or lose power, alone. Without root it is a directory, and does neither.
type disk struct {
	path    string // where it is mounted
	image   string // "" without root
	mounted bool
}

// diskBytes is the size of a node's file system.
const diskBytes = 768 << 20

func newDisk(t *testing.T, path string) *disk {
	t.Helper()
	d := &disk{path: path}
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 || !installed("mkfs.ext4") || !installed("mount") {
		return d
	}
	d.image = path + ".img"
	t.Cleanup(func() { _ = d.unmount() })
	for _, argv := range [][]string{{"truncate", "-s", fmt.Sprint(diskBytes), d.image}, {"mkfs.ext4", "-q", "-m", "0", d.image}} {
		if err := run(argv...); err != nil {
			t.Fatalf("cannot make a file system: %v", err)
		}
	}
	if err := d.mount(); err != nil {
		t.Fatalf("cannot mount a file system: %v", err)
	}
	return d
}

// own reports whether the disk is a file system of its own.
func (d *disk) own() bool { return d.image != "" }

func (d *disk) mount() error {
	err := run("mount", "-o", "loop", d.image, d.path)
	d.mounted = err == nil
	return err
}

// unmount waits a little for the last process to let go.
func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	var err error
	within(5*time.Second, 50*time.Millisecond, func() bool {
		err = syscall.Unmount(d.path, 0)
		return err == nil
	})
	if err != nil {
		return fmt.Errorf("unmount %s: %w", d.path, err)
	}
	d.mounted = false
	return nil
}

const (
	// ext4ShutdownIoctl is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32).
	ext4ShutdownIoctl = 0x8004587d
	// ext4NoLogFlush is EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written.
	ext4NoLogFlush = 2
)

// powerOff stops the file system where it stands: what was not synced is gone. It has to be mounted again.
func (d *disk) powerOff() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(ext4NoLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ext4ShutdownIoctl, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return fmt.Errorf("EXT4_IOC_SHUTDOWN of %s: %w", d.path, errno)
	}
	return nil
}

func (d *disk) filler() string { return filepath.Join(d.path, "filler") }

// fill takes all free space.
func (d *disk) fill() error {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	size := int64(0)
	for step := int64(64 << 20); step >= 4096; {
		if err := unix.Fallocate(int(f.Fd()), 0, size, step); err == unix.ENOSPC {
			step /= 2
		} else if err != nil {
			return fmt.Errorf("fill %s: %w", d.path, err)
		} else {
			size += step
		}
	}
	return nil
}

func (d *disk) free() error { return os.Remove(d.filler()) }

// within asks ok every so often until it holds, or the time is over.
func within(limit, every time.Duration, ok func() bool) bool {
	tick := time.NewTicker(every)
	defer tick.Stop()
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
	return true
}
