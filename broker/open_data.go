package broker

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"freshet/config"
	"freshet/metadata"
	"freshet/metadata/quorum"
	"freshet/storage"
	"freshet/vfs"
)

// openData formats or checks the log directories, opens the metadata, and
// loads the logs. It undoes its locks when it fails.
func (b *Broker) openData() error {
	cfg := b.Config()
	clusterID, partitionDirs, err := inspectDirs(cfg)
	if err != nil {
		return err
	}
	dirID, err := b.metadataDirID()
	if err != nil {
		return err
	}
	options, err := b.quorumOptions(clusterID, dirID, partitionDirs)
	if err != nil {
		return err
	}
	if b.quorum, err = quorum.Open(options); err != nil {
		return err
	}
	b.meta, b.directoryID = b.quorum, dirID
	if b.clusterID = clusterID; clusterID == "" {
		b.clusterID = b.meta.Image().ClusterID
	}
	if err := b.openDirs(dirID); err != nil {
		_ = b.meta.Close()
		return err
	}
	return nil
}

// openDirs formats what is not formatted yet, and loads the logs of a broker.
func (b *Broker) openDirs(metadataDirID metadata.UUID) error {
	cfg := b.Config()
	if err := b.refreshConfig(); err != nil {
		return err
	}
	cfg = b.Config()
	if _, ok, err := storage.ReadMetaProperties(vfs.OS{}, cfg.MetadataLogDir); err != nil {
		return err
	} else if !ok {
		meta := storage.MetaProperties{ClusterID: b.clusterID, NodeID: cfg.NodeID, DirectoryID: storage.UUID(metadataDirID)}
		if err := storage.FormatLogDirAs(vfs.OS{}, cfg.MetadataLogDir, meta); err != nil {
			return err
		}
	}
	for _, dir := range cfg.LogDirs {
		if _, err := storage.FormatLogDir(vfs.OS{}, dir, b.clusterID, cfg.NodeID); err != nil {
			return err
		}
	}
	if !cfg.Role.Broker {
		return nil
	}
	if err := b.openLogs(b.clusterID); err != nil {
		return err
	}
	b.member = newLifecycle(b)
	var err error
	if b.member.previousEpoch, b.member.syncedEpoch, err = b.previousEpoch(); err != nil {
		_ = b.logs.Close(-1)
		return err
	}
	if err := b.logs.ForgetFailures(); err != nil {
		slog.Warn("the next start will write the logs of this directory anew once more", "error", err)
	}
	return nil
}

// refreshConfig lays what AlterConfigs set, by this node's metadata, above the
// static values.
func (b *Broker) refreshConfig() error {
	cfg, img := b.Config(), b.meta.Image()
	cfg, err := cfg.WithDynamic(img.BrokerConfigs[strconv.Itoa(int(cfg.NodeID))], img.BrokerConfigs[""])
	if err != nil {
		return fmt.Errorf("the dynamic configuration kept in the metadata does not fit this version: %w", err)
	}
	b.cfg.Store(cfg)
	return nil
}

// inspectDirs reads which cluster the directories belong to and which
// partitions they hold. Unformatted directories are refused unless they may be
// formatted now.
func inspectDirs(cfg *config.BrokerConfig) (clusterID string, partitions []string, err error) {
	formatted, bare := "", []string(nil)
	for _, dir := range cfg.LogDirs {
		meta, ok, err := storage.ReadMetaProperties(vfs.OS{}, dir)
		if err != nil {
			return "", nil, err
		}
		if !ok {
			bare = append(bare, dir)
			continue
		}
		if meta.NodeID != cfg.NodeID {
			return "", nil, fmt.Errorf("log directory %s is of node %d, but node.id is %d; point log.dirs elsewhere or correct node.id", dir, meta.NodeID, cfg.NodeID)
		}
		if formatted != "" && meta.ClusterID != clusterID {
			return "", nil, fmt.Errorf("log directory %s is of cluster %s, but %s is of cluster %s; use log.dirs of one cluster",
				dir, meta.ClusterID, formatted, clusterID)
		}
		formatted, clusterID = dir, meta.ClusterID
		found, err := partitionDirs(dir)
		if err != nil {
			return "", nil, err
		}
		partitions = append(partitions, found...)
	}
	if len(bare) == 0 {
		return clusterID, partitions, nil
	}
	if formatted == "" && !cfg.Freshet.AutoFormat {
		return "", nil, fmt.Errorf("no meta.properties found in %s: if the disk is mounted and the directory really is new, "+
			"format it with `kafka-storage.sh format` or start with --override freshet.auto.format=true", bare[0])
	}
	if want := os.Getenv("CLUSTER_ID"); clusterID == "" && want != "" {
		clusterID = want
	}
	slog.Info("formatting new log directories", "dirs", bare)
	return clusterID, partitions, nil
}

// partitionDirs lists the partition directories in a log directory.
func partitionDirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list log directory %s: %w", dir, err)
	}
	var found []string
	for _, e := range entries {
		tp, err := storage.ParseTopicPartition(e.Name())
		if e.IsDir() && err == nil && tp.Topic != "__cluster_metadata" { // Apache Kafka's, not a topic
			found = append(found, filepath.Join(dir, e.Name()))
		}
	}
	return found, nil
}

func (b *Broker) openLogs(clusterID string) error {
	cfg := b.Config()
	img := b.meta.Image()
	logs, err := storage.OpenManager(storage.ManagerConfig{
		Dirs: cfg.LogDirs, ClusterID: clusterID, NodeID: cfg.NodeID, MetadataDir: cfg.MetadataLogDir,
		TopicConfig: func(name string) storage.LogConfig {
			var overrides map[string]string
			if t := img.Topic(name); t != nil {
				overrides = t.Configs
			}
			c, err := cfg.Topic(overrides)
			if err != nil {
				slog.Error("topic configuration is not usable; defaults are used", "topic", name, "error", err)
				return storage.DefaultLogConfig()
			}
			return b.logConfig(&c)
		},
		RecoveryThreadsPerDir:     int(cfg.NumRecoveryThreadsPerDir),
		FlushCheckMs:              cfg.LogFlushSchedulerMs,
		RecoveryPointCheckpointMs: int64(cfg.LogFlushOffsetCheckpointMs),
		LogStartCheckpointMs:      int64(cfg.LogFlushStartCheckpointMs),
		HighWatermarkCheckpointMs: cfg.HighWatermarkCheckpointMs,
		RetentionCheckMs:          cfg.LogRetentionCheckMs,
		InitialTaskDelayMs:        cfg.LogInitialTaskDelayMs,
		Cleaner:                   cleanerConfig(cfg),
		OnDirFailed:               func(dir string, err error) { go b.dirFailed(dir, err) },
	})
	if err != nil {
		return err
	}
	b.logs = logs
	return nil
}

// cleanerConfig is what compaction obeys besides the topics' configuration.
func cleanerConfig(cfg *config.BrokerConfig) storage.CleanerConfig {
	c := cfg.Cleaner
	return storage.CleanerConfig{
		Enable: c.Enable, Threads: int(c.Threads), BackoffMs: c.BackoffMs,
		DedupeBufferBytes: c.DedupeBufferSize, IOBufferBytes: int64(c.IOBufferSize),
		LoadFactor: c.IOBufferLoadFactor, MaxBytesPerSecond: c.IOMaxBytesPerSecond,
	}
}

// setStraysAside renames the partitions that the metadata does not know, or has
// given to other brokers while this one was down: they are not served and not
// deleted.
func (b *Broker) setStraysAside() error {
	img, self := b.meta.Image(), b.Config().NodeID
	for _, log := range b.logs.Logs() {
		tp := log.TopicPartition()
		if t := img.Topic(tp.Topic); t != nil && t.Partition(tp.Partition) != nil && slices.Contains(t.Partition(tp.Partition).Replicas, self) {
			if id, ok := log.TopicID(); !ok || metadata.UUID(id) == t.ID {
				continue
			}
		}
		if _, err := b.logs.RenameStray(tp); err != nil {
			return err
		}
	}
	return nil
}

// getOrCreate returns the partition's log, made anew if this broker does not
// have it yet.
func (b *Broker) getOrCreate(tp storage.TopicPartition, id storage.UUID, cfg storage.LogConfig) (*storage.Log, error) {
	if log := b.logs.Get(tp); log != nil {
		if have, ok := log.TopicID(); !ok || have == id {
			return log, nil
		}
		if _, err := b.logs.RenameStray(tp); err != nil {
			return nil, err
		}
	}
	return b.logs.Create(tp, &id, cfg)
}

// closeData flushes and closes the logs, leaves the cluster and closes the
// metadata. The controllers are left last, so that they hear from this node as
// long as it has something to say.
func (b *Broker) closeData() {
	if b.logs != nil {
		if err := b.logs.Close(max(b.brokerEpoch(), b.member.previousEpoch)); err != nil {
			slog.Error("log directories were not shut down cleanly; they will be recovered at the next start", "error", err)
		}
		for _, dir := range b.offlineDirs() { // a sync may have failed just now
			b.noteFailed(dir)
		}
	}
	b.endLife()
	b.ctl.forwards.close()
	b.ctl.isr.channel.close()
	if b.member != nil {
		b.member.channel.close()
	}
	b.tasks.Wait()
	if err := b.meta.Close(); err != nil {
		slog.Error("metadata was not closed cleanly", "error", err)
	}
	b.ctl.server.stop()
}
