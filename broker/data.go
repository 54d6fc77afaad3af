package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"

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
	b.topicMu.Lock()
	defer b.topicMu.Unlock()
	img := b.meta.Image()
	if seen := b.newest.Load(); seen != nil { // shown to metadataChanged, perhaps not published yet
		img = seen
	}
	b.newest.Store(img)
	if err := b.cutDamaged(img); err != nil {
		return err
	}
	for t := range img.Topics() {
		if err := b.openTopic(img, t); err != nil {
			return err
		}
	}
	b.updateThrottles(img)
	b.wasLive = b.live(img)
	b.opened = true
	return nil
}

// cutDamaged drops what recovery kept behind a hole in the log of a replicated
// partition. A log with a hole is no prefix of its leader's, and agreement on
// its end would leave the hole for good; the leader has the records, and pushes
// them again. This replica may be the last that was in sync, so that nobody has
// what lies behind: that stays in quarantine, as the damaged files do. A log without other replicas
// goes on with its hole, which is no reason to cut it later, when it has some.
func (b *Broker) cutDamaged(img *metadata.Image) error {
	for _, r := range b.logs.RecoveryReport().Partitions {
		t, log := img.Topic(r.TopicPartition.Topic), b.logs.Get(r.TopicPartition)
		if t == nil || log == nil || t.Partition(r.TopicPartition.Partition) == nil {
			continue
		}
		if len(t.Partition(r.TopicPartition.Partition).Replicas) < 2 {
			if err := log.AcceptLost(); err != nil {
				return fmt.Errorf("partition %s: %w", r.TopicPartition, err)
			}
			continue
		}
		hole := int64(math.MaxInt64)
		if r.MissingTo > 0 {
			hole = r.MissingFrom
		}
		for _, q := range r.Quarantined {
			hole = min(hole, q.FromOffset)
		}
		if hole >= log.LogEndOffset() {
			continue
		}
		end := log.LogEndOffset()
		kept, err := log.CutAtHole(max(hole, log.LogStartOffset()))
		if err != nil {
			return fmt.Errorf("partition %s: %w", r.TopicPartition, err)
		}
		slog.Error("the log was cut at the first record that recovery could not save: a leader that has the rest sends it again; "+
			"if none has, what lay behind is in these files, which the broker does not delete",
			"partition", r.TopicPartition.String(), "offset", hole, "log_end_offset_before", end, "dir", log.Dir(), "files", kept)
	}
	return nil
}

// metadataChanged brings what this broker hosts in line with a new image. It
// runs before the image is visible, so a topic that a client is told of is
// ready for it.
func (b *Broker) metadataChanged(old, next *metadata.Image) {
	b.topicMu.Lock()
	defer b.topicMu.Unlock()
	b.newest.Store(next)
	if !b.opened {
		return // openTopics will start from it
	}
	changes := metadata.Diff(old, next)
	b.dropTopics(changes.Removed)
	b.applyBrokerConfig(old, next)
	for _, t := range changes.Changed {
		if err := b.openTopic(next, t); err != nil {
			slog.Error("topic cannot be opened; its partitions answer KAFKA_STORAGE_ERROR until the broker is restarted",
				"topic", t.Name, "error", err)
		}
	}
	b.renewStreams(old, next)
	b.updateThrottles(next)
	if live := b.live(next); live != b.wasLive {
		b.wasLive = live
		for t := range next.Topics() {
			if have := b.net.topics.id(t.ID); have != nil {
				b.assignRoles(next, have, t)
			}
		}
	}
	if anyActivated(old, next) || anyActivated(next, old) {
		// Nothing but this makes an idle follower of it come back in sync soon, and
		// lets go of those who wait for a follower that is fenced and out of sync.
		b.net.goPeer(b.checkLag)
	}
}

// anyActivated reports whether a broker may lead and follow by next that could
// not by old.
func anyActivated(old, next *metadata.Image) bool {
	return slices.ContainsFunc(next.Brokers, func(b metadata.Broker) bool { return b.Active() && !old.Active(b.ID) })
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
// a topic, and takes up its roles in it.
func (b *Broker) openTopic(img *metadata.Image, t *metadata.Topic) error {
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
	if missing := b.missing(have, t); len(missing) > 0 || len(parts) < len(t.Partitions) {
		if err := b.createLogs(t, missing, logConfig); err != nil {
			return err
		}
		grown := make([]*partition, len(t.Partitions))
		copy(grown, parts)
		offline := map[int32]bool{}
		for _, i := range missing {
			if b.mayBeOffline(t.Name, i) {
				slog.Error("partition is not in any online log directory while one is offline; it stays offline, because its records may be there",
					"topic", t.Name, "partition", i, "offline", b.offlineDirs())
				offline[i] = true
				continue
			}
			p, err := b.openPartition(have, i, t, logConfig, topicConfig.MinInsyncReplicas)
			if err != nil {
				return err
			}
			grown[i] = p
		}
		if have.offline.Load() == nil {
			have.offline.Store(&offline)
		}
		have.parts.Store(&grown)
	}
	if err := b.configure(have, t); err != nil {
		return err
	}
	b.net.topics.put(have) // before the roles: coordinators look for their partitions by name
	b.assignRoles(img, have, t)
	b.dropLeft(have, t)
	return nil
}

// missing lists the partitions that the metadata gives this broker and that it
// has not opened, but for those it knows to be offline.
func (b *Broker) missing(have *topic, t *metadata.Topic) (list []int32) {
	self := b.Config().NodeID
	for i, meta := range t.Partitions {
		if have.partition(int32(i)) == nil && !have.isOffline(int32(i)) && slices.Contains(meta.Replicas, self) {
			list = append(list, int32(i))
		}
	}
	return list
}

// dropLeft stops serving the partitions that the metadata gives to other
// brokers alone, after a reassignment, and removes their files.
func (b *Broker) dropLeft(have *topic, t *metadata.Topic) {
	self := b.Config().NodeID
	var left []int32
	for i := range have.hosted() {
		if !slices.Contains(t.Partitions[i].Replicas, self) {
			left = append(left, int32(i))
		}
	}
	if len(left) == 0 {
		return
	}
	parts := slices.Clone(*have.parts.Load())
	for _, i := range left {
		p := parts[i]
		parts[i] = nil
		b.retire(p)
	}
	have.parts.Store(&parts)
	for _, i := range left {
		slog.Info("this replica has moved to other brokers; its files are removed", "topic", t.Name, "partition", i, "replicas", t.Partitions[i].Replicas)
		b.deleteLog(t.Name, i)
	}
}

// retire ends every role of a partition that is served no more.
func (b *Broker) retire(p *partition) {
	led := p.Role().Leads
	p.deleted.Store(true)
	p.Retire()
	if led {
		b.ledNoMore(p)
	} else {
		p.wakeAll()
	}
}

func (b *Broker) deleteLog(topic string, index int32) {
	if err := b.logs.Delete(storage.TopicPartition{Topic: topic, Partition: index}); err != nil {
		slog.Error("partition that is no longer hosted cannot be removed", "topic", topic, "partition", index, "error", err)
	}
}

// createLogs makes the logs that these partitions lack, all at once: one after
// the other each would wait for the disk by itself.
func (b *Broker) createLogs(t *metadata.Topic, indexes []int32, cfg storage.LogConfig) error {
	var missing []storage.TopicPartition
	for _, i := range indexes {
		tp := storage.TopicPartition{Topic: t.Name, Partition: i}
		if b.logs.Get(tp) == nil && !b.mayBeOffline(t.Name, i) {
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
	if cfg.FlushMessages == 1 && log.RecoveryPoint() < log.LogEndOffset() {
		// A process that was killed between a write and its fdatasync leaves
		// batches that nobody was promised; a producer that sends them again is
		// told that they are there, which now means on the disk.
		if err := log.Flush(log.LogEndOffset()); err != nil {
			return nil, fmt.Errorf("partition %s-%d: %w", t.name, index, err)
		}
	}
	p := &partition{
		Partition: replication.NewPartition(log, minInsync),
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
		throttled:         b.throttledOf(t),
	})
	logConfig := b.logConfig(&c)
	var errs []error
	for _, p := range have.hosted() {
		if p.SetMinInsync(c.MinInsyncReplicas) {
			p.wakeWaiters(nil, true)
			p.wakeStreams(nil)
		}
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
	for i, p := range have.hosted() {
		b.retire(p)
		b.deleteLog(t.Name, int32(i))
	}
}
