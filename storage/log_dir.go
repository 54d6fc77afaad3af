package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync/atomic"

	"freshet/vfs"
)

// logDirState is one entry of log.dirs. Once failed it stays so until the
// process restarts: after a failed fsync nobody knows what the disk holds.
type logDirState struct {
	path   string
	cause  atomic.Pointer[error]
	onFail func(dir string, err error) // may be nil; called once

	meta        MetaProperties
	lock        io.Closer
	whole       vfs.Whole // its file system since it was opened; nil if it cannot be synced as a whole
	clean       bool      // the last stop was clean
	brokerEpoch int64     // of the broker that stopped cleanly; -1 if unknown
	suspect     bool      // it failed in an earlier life: see dir_failure.go
	loaded      bool      // its logs are open

	// What the checkpoint files hold, so that they are written only on change.
	written [3][]byte
}

// failed reports whether the directory is offline.
func (d *logDirState) failed() bool { return d.cause.Load() != nil }

// failure is nil, or an error that wraps ErrLogDirFailed and the cause.
func (d *logDirState) failure() error {
	if p := d.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// fail takes the directory offline and returns the error to report.
func (d *logDirState) fail(cause error) error {
	if errors.Is(cause, ErrLogDirFailed) {
		return cause
	}
	err := fmt.Errorf("%w: %s is offline until the broker restarts: %w", ErrLogDirFailed, d.path, cause)
	if d.cause.CompareAndSwap(nil, &err) {
		if d.onFail != nil {
			d.onFail(d.path, err)
		}
		return err
	}
	return *d.cause.Load()
}

// syncAll makes everything in the directory durable; whole is not nil.
func (d *logDirState) syncAll() error {
	if err := d.whole.SyncAll(); err != nil {
		return d.fail(causeError(errSyncFailed, err))
	}
	return nil
}

// close unlocks the directory.
func (d *logDirState) close() error {
	if d.whole != nil {
		_ = d.whole.Close()
	}
	return d.lock.Close()
}

// errSyncFailed marks the failure after which nothing about the file is known.
var errSyncFailed = errors.New("sync failed")

// FormatLogDir writes meta.properties into dir, which is created if absent.
// A directory formatted already is checked instead.
func FormatLogDir(fsys vfs.FS, dir, clusterID string, nodeID int32) (MetaProperties, error) {
	meta, ok, err := ReadMetaProperties(fsys, dir)
	if err != nil {
		return meta, err
	}
	if ok {
		return meta, meta.check(dir, clusterID, nodeID)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return meta, fmt.Errorf("create log directory %s: %w", dir, err)
	}
	meta = MetaProperties{ClusterID: clusterID, NodeID: nodeID, DirectoryID: NewUUID(), gapsMarked: true}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, metaPropertiesFile), meta.encode()); err != nil {
		return meta, fmt.Errorf("format log directory %s: %w", dir, err)
	}
	return meta, nil
}

// ReadMetaProperties reads dir's meta.properties; ok is false if there is none.
func ReadMetaProperties(fsys vfs.FS, dir string) (meta MetaProperties, ok bool, err error) {
	data, err := vfs.ReadFile(fsys, filepath.Join(dir, metaPropertiesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return meta, false, nil
	}
	if err != nil {
		return meta, false, err
	}
	meta, err = decodeMetaProperties(dir, data)
	return meta, err == nil, err
}

// openLogDir locks and checks one directory.
func openLogDir(fsys vfs.FS, dir, clusterID string, nodeID int32) (*logDirState, error) {
	d := &logDirState{path: dir, brokerEpoch: -1}
	if _, err := fsys.Stat(dir); err != nil {
		return nil, fmt.Errorf("log directory %s cannot be used: %w", dir, err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%w: %s (its %s is held); stop the other broker or set another log.dirs", ErrLogDirLocked, dir, lockFile)
	}
	if err != nil {
		return nil, fmt.Errorf("lock log directory %s: %w", dir, err)
	}
	d.lock = lock
	if d.whole, err = vfs.OpenWhole(fsys, dir); errors.Is(err, errors.ErrUnsupported) {
		d.whole, err = nil, nil
	}
	if err == nil {
		err = d.readMarks(fsys, clusterID, nodeID)
	}
	if err != nil {
		_ = d.close()
		return nil, err
	}
	return d, nil
}

func (d *logDirState) readMarks(fsys vfs.FS, clusterID string, nodeID int32) error {
	meta, ok, err := ReadMetaProperties(fsys, d.path)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("%w: log directory %s has no %s; format it first", ErrInconsistentMeta, d.path, metaPropertiesFile)
	}
	if err := meta.check(d.path, clusterID, nodeID); err != nil {
		return err
	}
	d.meta = meta
	data, err := vfs.ReadFile(fsys, filepath.Join(d.path, cleanShutdownFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d.clean, d.brokerEpoch = true, decodeCleanShutdown(data)
	return nil
}

// writeCleanMark is the last act of a clean stop: everything is durable.
func writeCleanMark(fsys vfs.FS, dir string, brokerEpoch int64) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, cleanShutdownFile), encodeCleanShutdown(brokerEpoch))
}

// removeCleanMark must happen before anything is appended.
func (d *logDirState) removeCleanMark(fsys vfs.FS) error {
	if !d.clean {
		return nil
	}
	if err := fsys.Remove(filepath.Join(d.path, cleanShutdownFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsys.SyncDir(d.path)
}
