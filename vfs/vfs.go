package vfs

import "io"

// Mode says how a file is opened.
type Mode uint8

const (
	// Read opens an existing file for reading.
	Read Mode = iota
	// ReadWrite opens an existing file for reading and writing.
	ReadWrite
	// Create opens a file for reading and writing and creates it if absent.
	Create
	// CreateTruncate opens a file for reading and writing, created or emptied.
	// Never use it on a file whose bytes may be on their way to a socket.
	CreateTruncate
)

// File is one open file. Its methods are safe for concurrent use as far as
// the ranges written do not overlap.
type File interface {
	PositionalIO
	Handle
}

// PositionalIO reads and writes at byte positions; nothing has a cursor.
type PositionalIO interface {
	io.ReaderAt
	io.WriterAt
	// Writev writes bufs one after the other from byte position pos and
	// returns the bytes written; fewer than all only with an error.
	Writev(pos int64, bufs [][]byte) (int64, error)
}

// WriteBuffers is PositionalIO.Writev of a file that can only write one buffer
// at a time.
func WriteBuffers(f io.WriterAt, pos int64, bufs [][]byte) (int64, error) {
	var done int64
	for _, b := range bufs {
		n, err := f.WriteAt(b, pos+done)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Handle is the part of File that is about the file as a whole.
type Handle interface {
	// Size is the file's length in bytes.
	Size() (int64, error)
	// Truncate sets the file's length in bytes.
	Truncate(size int64) error
	// Sync makes the file's bytes and length durable (fdatasync).
	Sync() error
	// Fd is the descriptor, or -1 if the file has none.
	Fd() int
	Close() error
}

// Preallocator is implemented by files that can reserve disk space without
// changing their length.
type Preallocator interface {
	// Preallocate reserves space for the bytes from position from up to to.
	Preallocate(from, to int64) error
}

// CachedReader is implemented by files that can read without waiting for the
// disk.
type CachedReader interface {
	// ReadAtCached reads len(p) bytes at off from the page cache, all or, with
	// ErrWouldBlock, none to rely on. Reads beyond the end of the file are
	// ErrWouldBlock too.
	ReadAtCached(p []byte, off int64) (int, error)
}

// WholeSyncer is implemented by file systems that can make everything durable
// with one call, which is cheaper than many when many files were made.
type WholeSyncer interface {
	// OpenWhole begins to watch the file system that holds dir. The error wraps
	// errors.ErrUnsupported where one call cannot be trusted with it.
	OpenWhole(dir string) (Whole, error)
}

// Whole is a file system as one thing to sync.
type Whole interface {
	// SyncAll makes every change of the file system durable, those of others
	// too (syncfs(2)). It also fails if something written since OpenWhole could
	// not be written back, even if nobody waited for it; like Sync, it reports
	// that once.
	SyncAll() error
	io.Closer
}

// FileInfo describes one directory entry.
type FileInfo struct {
	Name       string // last element of the path
	Size       int64  // bytes; 0 for a directory
	ModifiedMs int64  // ms since the epoch
	IsDir      bool
}

// FS is a file system.
type FS interface {
	Files
	Dirs
	Locker
}

// Files is the part of FS that is about files.
type Files interface {
	Open(name string, mode Mode) (File, error)
	// Remove unlinks a file or an empty directory; open handles stay usable.
	Remove(name string) error
	// Rename replaces newName; open handles of either file stay usable.
	Rename(oldName, newName string) error
	Stat(name string) (FileInfo, error)
}

// Dirs is the part of FS that is about directories.
type Dirs interface {
	MkdirAll(dir string) error
	// List returns the entries of dir sorted by name.
	List(dir string) ([]FileInfo, error)
	// SyncDir makes the creations, renames and removals in dir durable.
	SyncDir(dir string) error
	// FreeBytes is the space an unprivileged writer can still use in dir.
	FreeBytes(dir string) (int64, error)
}

// Locker takes exclusive locks between processes.
type Locker interface {
	// Lock creates name if absent and locks it without waiting. The error
	// wraps ErrLocked when another holder has it. Close unlocks.
	Lock(name string) (io.Closer, error)
}
