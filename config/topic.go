package config

import (
	"fmt"
	"math"
	"strconv"
)

// TopicConfig is one topic's effective configuration in the types that storage
// and broker use. Names follow the keys; a value, so it may be compared.
type TopicConfig struct {
	SegmentBytes             int32
	SegmentMs                int64
	SegmentJitterMs          int64
	SegmentIndexBytes        int32
	FlushMessages            int64
	FlushMs                  int64
	RetentionBytes           int64 // negative: no limit
	RetentionMs              int64 // -1: no limit
	MaxMessageBytes          int32
	IndexIntervalBytes       int32
	DeleteRetentionMs        int64
	FileDeleteDelayMs        int64
	MinCompactionLagMs       int64
	MaxCompactionLagMs       int64
	MinCleanableDirtyRatio   float64
	CleanupDelete            bool // cleanup.policy has delete
	CleanupCompact           bool // cleanup.policy has compact
	UncleanLeaderElection    bool
	MinInsyncReplicas        int32
	CompressionType          string // producer, uncompressed, gzip, snappy, lz4 or zstd
	CompressionGzipLevel     int32
	CompressionLZ4Level      int32
	CompressionZstdLevel     int32
	Preallocate              bool
	LogAppendTime            bool // message.timestamp.type=LogAppendTime
	TimestampBeforeMaxMs     int64
	TimestampAfterMaxMs      int64
	RemoteStorageEnable      bool
	LocalRetentionMs         int64
	LocalRetentionBytes      int64
	FollowerThrottled        string
	LeaderThrottled          string
	RemoteLogCopyDisable     bool
	RemoteLogDeleteOnDisable bool
}

// Topic is the effective configuration of a topic that overrides these keys:
// topic override, else the broker's dynamic value, else its static one, else
// the default. The error is that of the first bad override.
func (c *BrokerConfig) Topic(overrides map[string]string) (TopicConfig, error) {
	t := topicReader{overrides: overrides, broker: reader{values: c.values}}
	config := TopicConfig{
		SegmentBytes:             t.int32("segment.bytes"),
		SegmentMs:                t.int64("segment.ms"),
		SegmentJitterMs:          t.int64("segment.jitter.ms"),
		SegmentIndexBytes:        t.int32("segment.index.bytes"),
		FlushMessages:            t.int64("flush.messages"),
		FlushMs:                  t.int64("flush.ms"),
		RetentionBytes:           t.int64("retention.bytes"),
		RetentionMs:              t.int64("retention.ms"),
		MaxMessageBytes:          t.int32("max.message.bytes"),
		IndexIntervalBytes:       t.int32("index.interval.bytes"),
		DeleteRetentionMs:        t.int64("delete.retention.ms"),
		FileDeleteDelayMs:        t.int64("file.delete.delay.ms"),
		MinCompactionLagMs:       t.int64("min.compaction.lag.ms"),
		MaxCompactionLagMs:       t.int64("max.compaction.lag.ms"),
		MinCleanableDirtyRatio:   t.value("min.cleanable.dirty.ratio").double,
		UncleanLeaderElection:    t.value("unclean.leader.election.enable").bool,
		MinInsyncReplicas:        t.int32("min.insync.replicas"),
		CompressionType:          t.value("compression.type").text,
		CompressionGzipLevel:     t.int32("compression.gzip.level"),
		CompressionLZ4Level:      t.int32("compression.lz4.level"),
		CompressionZstdLevel:     t.int32("compression.zstd.level"),
		Preallocate:              t.value("preallocate").bool,
		LogAppendTime:            t.value("message.timestamp.type").text == "LogAppendTime",
		TimestampBeforeMaxMs:     t.int64("message.timestamp.before.max.ms"),
		TimestampAfterMaxMs:      t.int64("message.timestamp.after.max.ms"),
		RemoteStorageEnable:      t.value("remote.storage.enable").bool,
		LocalRetentionMs:         t.int64("local.retention.ms"),
		LocalRetentionBytes:      t.int64("local.retention.bytes"),
		FollowerThrottled:        t.value("follower.replication.throttled.replicas").text,
		LeaderThrottled:          t.value("leader.replication.throttled.replicas").text,
		RemoteLogCopyDisable:     t.value("remote.log.copy.disable").bool,
		RemoteLogDeleteOnDisable: t.value("remote.log.delete.on.disable").bool,
	}
	for _, policy := range t.value("cleanup.policy").list {
		config.CleanupDelete = config.CleanupDelete || policy == "delete"
		config.CleanupCompact = config.CleanupCompact || policy == "compact"
	}
	if t.err == nil {
		t.err = t.broker.err
	}
	return config, t.err
}

// topicReader reads topic keys: the override, else the broker's value.
type topicReader struct {
	overrides map[string]string
	broker    reader
	err       error
}

func (t *topicReader) int32(key string) int32 { return int32(t.value(key).int) }
func (t *topicReader) int64(key string) int64 { return t.value(key).int }

func (t *topicReader) value(key string) value {
	def := TopicDef(key)
	if text, ok := t.overrides[key]; ok {
		v, err := def.parse(text)
		if err == nil {
			return v
		}
		if t.err == nil {
			t.err = err
		}
	}
	synonyms := topicSynonyms[key]
	if len(synonyms) == 0 {
		return def.parseDefault()
	}
	name, v := t.broker.firstOf(synonyms)
	unit, scaled := unitMs[name]
	if !scaled {
		return v
	}
	switch {
	case v.int < 0:
		v.int = -1
	case v.int > math.MaxInt64/unit:
		v.int = math.MaxInt64
	default:
		v.int *= unit
	}
	v.text = strconv.FormatInt(v.int, 10)
	return v
}

// validateTimes checks values that concern several keys (Kafka:
// LogConfig.validateValues).
func (t TopicConfig) validateTimes() error {
	if t.MinCompactionLagMs > t.MaxCompactionLagMs {
		return fmt.Errorf("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)",
			t.MinCompactionLagMs, t.MaxCompactionLagMs)
	}
	return nil
}

// ValidateTopic checks a topic's whole set of overrides as CreateTopics and
// AlterConfigs must; the error's text is Kafka's and goes with the code
// INVALID_CONFIG.
func (c *BrokerConfig) ValidateTopic(overrides map[string]string) error {
	for _, key := range sortedKeys(overrides) {
		def := TopicDef(key)
		if def == nil {
			return fmt.Errorf("Unknown topic config name: %s", key)
		}
		if err := def.Check(overrides[key]); err != nil {
			return err
		}
	}
	topic, err := c.Topic(overrides)
	if err != nil {
		return err
	}
	if topic.RemoteStorageEnable {
		return fmt.Errorf("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")
	}
	return topic.validateTimes()
}
