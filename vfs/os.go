package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OS is the real file system.
type OS struct{}

var (
	_ FS          = OS{}
	_ WholeSyncer = OS{}
)

// Open implements Files with a plain descriptor: positional calls only, so no
// cursor, and no registration with the runtime's poller.
func (OS) Open(name string, mode Mode) (File, error) {
	flags := unix.O_CLOEXEC
	switch mode {
	case Read:
		flags |= unix.O_RDONLY
	case ReadWrite:
		flags |= unix.O_RDWR
	case Create:
		flags |= unix.O_RDWR | unix.O_CREAT
	case CreateTruncate:
		flags |= unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
	default:
		panic(fmt.Sprintf("BUG: vfs: unknown open mode %d for %s", mode, name))
	}
	for {
		fd, err := unix.Open(name, flags, 0o644)
		if err == nil {
			return &osFile{fd: fd, name: name}, nil
		}
		if err != unix.EINTR {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// Remove implements Files.
func (OS) Remove(name string) error { return os.Remove(name) }

// Rename implements Files.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// Stat implements Files.
func (OS) Stat(name string) (FileInfo, error) {
	st, err := os.Stat(name)
	if err != nil {
		return FileInfo{}, err
	}
	return osInfo(st), nil
}

func osInfo(st fs.FileInfo) FileInfo {
	info := FileInfo{Name: st.Name(), ModifiedMs: st.ModTime().UnixMilli(), IsDir: st.IsDir()}
	if !info.IsDir {
		info.Size = st.Size()
	}
	return info
}

// MkdirAll implements Dirs.
func (OS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o755) }

// List implements Dirs.
func (OS) List(dir string) ([]FileInfo, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	infos := make([]FileInfo, 0, len(entries))
	for _, e := range entries {
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the directory was read
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, osInfo(st))
	}
	return infos, nil
}

// SyncDir implements Dirs.
func (OS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// OpenWhole implements WholeSyncer. Before Linux 5.8 syncfs(2) kept failed
// writes to itself, so there it is not offered.
func (OS) OpenWhole(dir string) (Whole, error) {
	if !syncfsReports() {
		return nil, fmt.Errorf("syncfs %s: this kernel does not report failed writes: %w", dir, errors.ErrUnsupported)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return osWhole{f}, nil
}

// syncfsReports reports whether syncfs(2) returns write-back errors.
var syncfsReports = sync.OnceValue(func() bool {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return err == nil && (major > 5 || major == 5 && minor >= 8)
})

// osWhole is a directory held open: the kernel reports to a descriptor what
// failed since it was opened.
type osWhole struct{ *os.File }

// SyncAll is never repeated after an error, as Sync.
func (w osWhole) SyncAll() error {
	for {
		err := unix.Syncfs(int(w.Fd()))
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "syncfs", Path: w.Name(), Err: err}
		}
	}
}

// FreeBytes implements Dirs.
func (OS) FreeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Lock implements Locker with flock(2): the kernel drops it when the process
// dies, so a kill leaves no stale lock.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	return f, nil
}

// osFile is a descriptor; closed guards against a double close, which could
// hit a descriptor that has been handed out again.
type osFile struct {
	fd     int
	name   string
	closed atomic.Bool
}

func (f *osFile) Fd() int { return f.fd }

func (f *osFile) err(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, f.err("pread", err)
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// ReadAtCached implements CachedReader with preadv2(RWF_NOWAIT). File systems
// without support (memory is their disk) read as usual.
func (f *osFile) ReadAtCached(p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	for {
		n, _, errno := unix.Syscall6(unix.SYS_PREADV2, uintptr(f.fd), uintptr(unsafe.Pointer(&iov)), 1, uintptr(off), 0, unix.RWF_NOWAIT)
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EOPNOTSUPP || errno == unix.ENOSYS:
			return f.ReadAt(p, off)
		case errno != 0 && errno != unix.EAGAIN:
			return 0, f.err("preadv2", errno)
		case errno != 0 || int(n) < len(p):
			return 0, ErrWouldBlock
		}
		return int(n), nil
	}
}

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pwrite(f.fd, p[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, f.err("pwrite", err)
		}
		n += m
	}
	return n, nil
}

// iovMax is the kernel's IOV_MAX (man 2 writev).
const iovMax = 1024

func (f *osFile) Writev(pos int64, bufs [][]byte) (int64, error) {
	var done int64
	for len(bufs) > 0 {
		chunk := bufs[:min(len(bufs), iovMax)]
		n, err := unix.Pwritev(f.fd, chunk, pos+done)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, f.err("pwritev", err)
		}
		done += int64(n)
		for len(chunk) > 0 && n >= len(chunk[0]) {
			n -= len(chunk[0])
			chunk, bufs = chunk[1:], bufs[1:]
		}
		if n > 0 { // a short write ended inside chunk[0]: finish that buffer
			rest := chunk[0][n:]
			m, err := f.WriteAt(rest, pos+done)
			done += int64(m)
			if err != nil {
				return done, err
			}
			bufs = bufs[1:]
		}
	}
	return done, nil
}

func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, f.err("fstat", err)
	}
	return st.Size, nil
}

func (f *osFile) Truncate(size int64) error {
	for {
		err := unix.Ftruncate(f.fd, size)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return f.err("ftruncate", err)
		}
	}
}

// Sync never retries after an error: the kernel marks failed pages clean, so a
// second fdatasync would report a success that means nothing. (EINTR comes
// before any page was looked at.)
func (f *osFile) Sync() error {
	for {
		err := unix.Fdatasync(f.fd)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return f.err("fdatasync", err)
		}
	}
}

// Preallocate implements Preallocator; file systems without fallocate refuse.
func (f *osFile) Preallocate(from, to int64) error {
	if err := unix.Fallocate(f.fd, unix.FALLOC_FL_KEEP_SIZE, from, to-from); err != nil {
		return f.err("fallocate", err)
	}
	return nil
}

func (f *osFile) Close() error {
	if !f.closed.CompareAndSwap(false, true) {
		return f.err("close", fs.ErrClosed)
	}
	if err := unix.Close(f.fd); err != nil {
		return f.err("close", err)
	}
	return nil
}
