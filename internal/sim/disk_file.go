package sim

import (
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"freshet/vfs"
)

// diskFile is an open file of one process.
type diskFile struct {
	disk     *disk
	node     *inode
	name     string
	readOnly bool
	closed   bool
	life     int
}

// check refuses a handle that is closed or whose process has ended.
func (f *diskFile) check(op string) error {
	if f.closed || f.life != f.disk.life {
		return diskError(op, f.name, fs.ErrClosed)
	}
	return nil
}

// Fd implements vfs.Handle: there is no descriptor.
func (f *diskFile) Fd() int { return -1 }

// ReadAt implements vfs.PositionalIO.
func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.check("read"); err != nil {
		return 0, err
	}
	f.disk.lastRead, f.disk.lastName = f.node, f.name
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements vfs.PositionalIO. On a full disk the part that needs no
// new space is written.
func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.check("write"); err != nil {
		return 0, err
	}
	if f.readOnly {
		return 0, diskError("write", f.name, syscall.EBADF)
	}
	var failure error
	if size := int64(len(f.node.data)); f.disk.full && off+int64(len(p)) > size {
		p = p[:max(0, min(int64(len(p)), size-off))]
		failure = diskError("write", f.name, syscall.ENOSPC)
		f.disk.faults++
		f.disk.tally[countNoSpace]++
	}
	if len(p) > 0 {
		f.node.data = write(f.node.data, off, p)
		f.node.pending = append(f.node.pending, fileChange{position: off, data: slices.Clone(p)})
		f.node.modifiedMs = f.disk.wall.wallMs()
	}
	return len(p), failure
}

// Writev implements vfs.PositionalIO.
func (f *diskFile) Writev(pos int64, bufs [][]byte) (int64, error) {
	return vfs.WriteBuffers(f, pos, bufs)
}

// Size implements vfs.Handle.
func (f *diskFile) Size() (int64, error) {
	if err := f.check("stat"); err != nil {
		return 0, err
	}
	return int64(len(f.node.data)), nil
}

// Truncate implements vfs.Handle.
func (f *diskFile) Truncate(size int64) error {
	if err := f.check("truncate"); err != nil {
		return err
	}
	if f.readOnly {
		return diskError("truncate", f.name, syscall.EBADF)
	}
	f.node.truncate(size)
	return nil
}

// Sync implements vfs.Handle.
func (f *diskFile) Sync() error {
	if err := f.check("sync"); err != nil {
		return err
	}
	if dir := f.disk.failSyncIn; dir != "" && strings.HasPrefix(f.name, dir) {
		f.disk.failSyncIn = ""
		f.disk.faults++
		f.disk.tally[countSyncErrors]++
		f.node.pending = nil // the pages are clean now, and lost
		return diskError("sync", f.name, syscall.EIO)
	}
	f.node.sync()
	return nil
}

// Close implements vfs.Handle.
func (f *diskFile) Close() error {
	if err := f.check("close"); err != nil {
		return err
	}
	f.closed = true
	return nil
}

var _ vfs.File = (*diskFile)(nil)
