package zerocopy

import (
	"io"
	"sync/atomic"
)

// File is a reference-counted read handle on one segment file. The log holds
// the first reference; every region in flight to a socket holds one more. The
// descriptor is closed when the last reference is released, so a segment may
// be unlinked while its bytes are still being sent (the bytes of an unlinked
// inode stay intact until then).
//
// Safe for concurrent use.
type File struct {
	reader io.ReaderAt
	fd     int // -1 when the file has no descriptor (in-memory file systems)
	close  func() error
	refs   atomic.Int64
}

// NewFile returns a handle with one reference, owned by the caller. fd is the
// descriptor for sendfile, or -1; closeFn runs once, at the last Release.
func NewFile(reader io.ReaderAt, fd int, closeFn func() error) *File {
	f := &File{reader: reader, fd: fd, close: closeFn}
	f.refs.Store(1)
	return f
}

// Acquire adds a reference. It reports false, and adds none, when the file
// has already been closed.
func (f *File) Acquire() bool {
	for {
		n := f.refs.Load()
		if n <= 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release gives one reference back and closes the file at the last.
func (f *File) Release() error {
	n := f.refs.Add(-1)
	if n == 0 && f.close != nil {
		return f.close()
	}
	if n < 0 {
		panic("BUG: zerocopy.File released more often than acquired")
	}
	return nil
}

// Fd is the descriptor, or -1 if the file lives in memory only. It is valid
// while the caller holds a reference.
func (f *File) Fd() int { return f.fd }

// ReadAt reads for senders that copy (TLS, in-memory files).
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.reader.ReadAt(p, off) }

// FileRegion is a range of one file, to be sent as it is. A region returned
// by the log carries one reference on File, which whoever ends the region's
// life must Release exactly once. Ranges handed out are immutable: the log
// never overwrites, truncates or punches bytes it has published.
type FileRegion struct {
	File     *File
	Position int64 // byte position in the file
	Length   int64 // bytes; 0 means an empty region with a nil File
}

// Release gives the region's reference back. It is a no-op on an empty region.
func (r *FileRegion) Release() {
	if r.File != nil {
		_ = r.File.Release()
		r.File = nil
		r.Length = 0
	}
}
