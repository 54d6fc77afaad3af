package broker

import (
	"errors"
	"fmt"
	"log/slog"

	"freshet/config"
	"freshet/coordinator/group"
	"freshet/metadata"
	"freshet/record"
	"freshet/replication"
	"freshet/storage"
)

// openTopics opens the logs of every topic in the metadata, and from then on
// follows its changes.
func (b *Broker) openTopics() error {
	img := b.meta.Image()
	for t := range img.Topics() {
		if err := b.openTopic(t); err != nil {
			return err
		}
	}
	b.opened = true
	b.meta.Watch(b.metadataChanged)
	return nil
}

// metadataChanged brings what this broker hosts in line with a new image. It
// runs before the image is visible, so a topic that a client is told of is
// ready for it.
func (b *Broker) metadataChanged(old, next *metadata.Image) {
	b.topicMu.Lock()
	defer b.topicMu.Unlock()
	changes := metadata.Diff(old, next)
	b.dropTopics(changes.Removed)
	b.applyBrokerConfig(old, next)
	for _, t := range changes.Changed {
		if err := b.openTopic(t); err != nil {
			slog.Error("topic cannot be opened; its partitions answer KAFKA_STORAGE_ERROR until the broker is restarted",
				"topic", t.Name, "error", err)
			continue
		}
		if t.Name == group.OffsetsTopic && b.group != nil {
			for i := range t.Partitions {
				b.group.BecomeLeader(int32(i))
			}
		}
	}
}

// dropTopics stops serving deleted topics and forgets their offsets.
func (b *Broker) dropTopics(topics []*metadata.Topic) {
	if len(topics) == 0 {
		return
	}
	deleted := make([]group.DeletedTopic, len(topics))
	for i, t := range topics {
		deleted[i] = group.DeletedTopic{Name: t.Name, ID: t.ID}
		b.dropTopic(t)
	}
	if b.group != nil {
		b.group.TopicsDeleted(deleted)
	}
}

// applyBrokerConfig takes over dynamic broker values and recomputes the
// settings of every topic, which may inherit them.
func (b *Broker) applyBrokerConfig(old, next *metadata.Image) {
	self := fmt.Sprint(b.Config().NodeID)
	if sameConfigs(old.BrokerConfigs[self], next.BrokerConfigs[self]) && sameConfigs(old.BrokerConfigs[""], next.BrokerConfigs[""]) {
		return
	}
	cfg, err := b.Config().WithDynamic(next.BrokerConfigs[self], next.BrokerConfigs[""])
	if err != nil {
		slog.Error("dynamic broker configuration is not usable and was not taken over", "error", err)
		return
	}
	b.cfg.Store(cfg)
	b.logs.UpdateCleaner(cleanerConfig(cfg))
	for t := range next.Topics() {
		if have := b.net.topics.id(t.ID); have != nil {
			if err := b.configure(have, t); err != nil {
				slog.Error("topic keeps its old settings", "topic", t.Name, "error", err)
			}
		}
	}
}

func sameConfigs(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || w != v {
			return false
		}
	}
	return true
}

// openTopic opens, creates, extends or reconfigures what this broker hosts of
// a topic.
func (b *Broker) openTopic(t *metadata.Topic) error {
	have := b.net.topics.id(t.ID)
	if have == nil {
		have = &topic{name: t.Name, id: t.ID, internal: t.Internal}
		have.parts.Store(&[]*partition{})
	}
	topicConfig, err := b.Config().Topic(t.Configs)
	if err != nil {
		return err
	}
	logConfig := b.logConfig(&topicConfig)
	parts := *have.parts.Load()
	if len(parts) < len(t.Partitions) {
		if err := b.createLogs(t, len(parts), logConfig); err != nil {
			return err
		}
		grown := make([]*partition, len(t.Partitions))
		copy(grown, parts)
		for i := len(parts); i < len(t.Partitions); i++ {
			if b.mayBeOffline(t.Name, int32(i)) {
				slog.Error("partition is not in any online log directory while one is offline; it stays offline, because its records may be there",
					"topic", t.Name, "partition", i, "offline", b.offlineDirs())
				continue
			}
			p, err := b.openPartition(have, int32(i), t, logConfig, topicConfig.MinInsyncReplicas)
			if err != nil {
				return err
			}
			grown[i] = p
		}
		have.parts.Store(&grown)
	}
	if err := b.configure(have, t); err != nil {
		return err
	}
	b.net.topics.put(have)
	return nil
}

// createLogs makes the logs that the topic's partitions from first on lack, all
// at once: one after the other each would wait for the disk by itself.
func (b *Broker) createLogs(t *metadata.Topic, first int, cfg storage.LogConfig) error {
	var missing []storage.TopicPartition
	for i := first; i < len(t.Partitions); i++ {
		tp := storage.TopicPartition{Topic: t.Name, Partition: int32(i)}
		if b.logs.Get(tp) == nil && !b.mayBeOffline(t.Name, tp.Partition) {
			missing = append(missing, tp)
		}
	}
	id := storage.UUID(t.ID)
	return b.logs.CreateAll(missing, &id, cfg)
}

// mayBeOffline reports whether a partition that the metadata had before this
// start has no log here while a directory is offline: then its log may lie
// there, and an empty one must not take its place.
func (b *Broker) mayBeOffline(name string, index int32) bool {
	return !b.opened && b.logs.Get(storage.TopicPartition{Topic: name, Partition: index}) == nil && len(b.offlineDirs()) > 0
}

func (b *Broker) openPartition(t *topic, index int32, meta *metadata.Topic, cfg storage.LogConfig, minInsync int32) (*partition, error) {
	log, err := b.getOrCreate(storage.TopicPartition{Topic: t.name, Partition: index}, storage.UUID(t.id), cfg)
	if err != nil {
		return nil, fmt.Errorf("partition %s-%d: %w", t.name, index, err)
	}
	p := &partition{
		Partition: replication.NewPartition(log, meta.Partitions[index].LeaderEpoch, minInsync),
		topic:     t, index: index, log: log,
		open: make([]*writeGroup, len(b.net.loops)), loops: b.net.loops,
	}
	log.SetListener(p)
	return p, nil
}

// configure applies a topic's effective configuration.
func (b *Broker) configure(have *topic, t *metadata.Topic) error {
	c, err := b.Config().Topic(t.Configs)
	if err != nil {
		return err
	}
	codec, recompress := record.ParseCodec(c.CompressionType) // "producer" is no codec
	have.settings.Store(&topicSettings{
		recompress: recompress, codec: codec,
		maxMessageBytes:   c.MaxMessageBytes,
		minInsync:         c.MinInsyncReplicas,
		logAppendTime:     c.LogAppendTime,
		compacted:         c.CleanupCompact,
		timestampBeforeMs: c.TimestampBeforeMaxMs,
		timestampAfterMs:  c.TimestampAfterMaxMs,
	})
	logConfig := b.logConfig(&c)
	var errs []error
	for _, p := range have.hosted() {
		p.SetMinInsync(c.MinInsyncReplicas)
		errs = append(errs, p.log.UpdateConfig(logConfig))
	}
	return errors.Join(errs...)
}

// logConfig is the part of a topic's configuration that its logs obey.
func (b *Broker) logConfig(c *config.TopicConfig) storage.LogConfig {
	lc := storage.DefaultLogConfig()
	lc.SegmentBytes, lc.SegmentMs, lc.SegmentJitterMs = c.SegmentBytes, c.SegmentMs, c.SegmentJitterMs
	lc.SegmentIndexBytes, lc.IndexIntervalBytes = c.SegmentIndexBytes, c.IndexIntervalBytes
	lc.RetentionBytes, lc.RetentionMs = c.RetentionBytes, c.RetentionMs
	lc.FlushMessages, lc.FlushMs = c.FlushMessages, c.FlushMs
	lc.MaxMessageBytes = c.MaxMessageBytes
	lc.MessageTimestampBeforeMax, lc.MessageTimestampAfterMax = c.TimestampBeforeMaxMs, c.TimestampAfterMaxMs
	lc.CleanupDelete, lc.CleanupCompact = c.CleanupDelete, c.CleanupCompact
	lc.DeleteRetentionMs, lc.MinCleanableDirtyRatio = c.DeleteRetentionMs, c.MinCleanableDirtyRatio
	lc.MinCompactionLagMs, lc.MaxCompactionLagMs = c.MinCompactionLagMs, c.MaxCompactionLagMs
	lc.FileDeleteDelayMs, lc.Preallocate = c.FileDeleteDelayMs, c.Preallocate
	lc.ProducerIDExpirationMs = int64(b.Config().ProducerIDExpirationMs)
	if c.LogAppendTime {
		lc.MessageTimestampType = storage.LogAppendTime
	}
	return lc
}

// dropTopic stops serving a deleted topic and removes its files.
func (b *Broker) dropTopic(t *metadata.Topic) {
	have := b.net.topics.id(t.ID)
	if have == nil {
		return
	}
	b.net.topics.remove(have)
	for _, p := range have.hosted() {
		if err := b.logs.Delete(storage.TopicPartition{Topic: t.Name, Partition: p.index}); err != nil {
			slog.Error("partition of a deleted topic cannot be removed", "topic", t.Name, "partition", p.index, "error", err)
		}
	}
}
