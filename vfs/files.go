package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// ErrLocked reports that another process (or another holder in this one) has
// the lock.
var ErrLocked = errors.New("lock is held by another process")

// ErrWouldBlock reports bytes that would have to come from the disk.
var ErrWouldBlock = errors.New("bytes are not in the page cache")

// ReadFile returns the whole of a file.
func ReadFile(fsys Files, name string) ([]byte, error) {
	f, err := fsys.Open(name, Read)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !(errors.Is(err, io.EOF) && int64(n) == size) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return buf[:n], nil
}

// WriteFileAtomic replaces name with data so that after a crash the file holds
// either its old or its new contents: temporary file beside it, sync, rename,
// directory sync.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	if err := ReplaceFile(fsys, name, data); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

// ReplaceFile is WriteFileAtomic without the directory sync, which is left to
// the caller: one sync is enough for several changes in a directory. Until it
// the file may have its old contents after a crash, never others.
func ReplaceFile(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := writeNew(fsys, tmp, data, true); err != nil {
		return err
	}
	return fsys.Rename(tmp, name)
}

// WriteFileUnsynced replaces name with data without waiting for the disk: for
// files that can be rebuilt. The rename keeps readers of the old file intact.
func WriteFileUnsynced(fsys FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := writeNew(fsys, tmp, data, false); err != nil {
		return err
	}
	return fsys.Rename(tmp, name)
}

func writeNew(fsys Files, name string, data []byte, sync bool) (err error) {
	f, err := fsys.Open(name, CreateTruncate)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err = f.WriteAt(data, 0); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if sync {
		if err = f.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", name, err)
		}
	}
	return nil
}

// OpenWhole is fsys's own, or errors.ErrUnsupported if it has none.
func OpenWhole(fsys FS, dir string) (Whole, error) {
	if w, ok := fsys.(WholeSyncer); ok {
		return w.OpenWhole(dir)
	}
	return nil, fmt.Errorf("sync the file system of %s as a whole: %w", dir, errors.ErrUnsupported)
}

// RemoveAll removes a directory with everything in it. What is already gone is
// no error.
func RemoveAll(fsys FS, dir string) error {
	entries, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name)
		if e.IsDir {
			err = RemoveAll(fsys, path)
		} else {
			err = fsys.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := fsys.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// CopyPrefix copies the first size bytes of src to dst.
func CopyPrefix(dst io.WriterAt, src io.ReaderAt, size int64) error {
	buf := make([]byte, min(size, 1<<20))
	for pos := int64(0); pos < size; {
		n := min(int64(len(buf)), size-pos)
		if _, err := src.ReadAt(buf[:n], pos); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := dst.WriteAt(buf[:n], pos); err != nil {
			return err
		}
		pos += n
	}
	return nil
}
