package storage

import (
	"fmt"
	"path/filepath"

	"freshet/vfs"
)

// FormatLogDirAs writes meta into dir's meta.properties, so that the directory
// gets an id that is known beforehand, as the directories of a cluster's first
// controllers do (kafka-storage.sh --initial-controllers). dir is created if
// absent. One that is formatted already is an error unless it is just so.
func FormatLogDirAs(fsys vfs.FS, dir string, meta MetaProperties) error {
	have, ok, err := ReadMetaProperties(fsys, dir)
	meta.gapsMarked = have.gapsMarked || !ok
	switch {
	case err != nil:
		return err
	case ok && have == meta:
		return nil
	case ok:
		return fmt.Errorf("log directory %s is formatted already, for node %d of cluster %s", dir, have.NodeID, have.ClusterID)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return fmt.Errorf("create log directory %s: %w", dir, err)
	}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, metaPropertiesFile), meta.encode()); err != nil {
		return fmt.Errorf("format log directory %s: %w", dir, err)
	}
	return nil
}
