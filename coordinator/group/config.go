package group

import (
	"fmt"
	"math"
)

// OffsetsTopic is the internal topic that holds groups and offsets.
const OffsetsTopic = "__consumer_offsets"

// Config is what a coordinator is told once. Each field names the Kafka
// property it comes from; DefaultConfig has Kafka's defaults.
type Config struct {
	// Partitions is offsets.topic.num.partitions as the topic was created: the
	// mapping of group ids to partitions depends on it.
	Partitions int32
	// MinSessionTimeoutMs is group.min.session.timeout.ms.
	MinSessionTimeoutMs int32
	// MaxSessionTimeoutMs is group.max.session.timeout.ms.
	MaxSessionTimeoutMs int32
	// InitialRebalanceDelayMs is group.initial.rebalance.delay.ms: how long an
	// empty group waits for more members after the first (KIP-134). 0 waits for
	// none.
	InitialRebalanceDelayMs int32
	// MaxSize is group.max.size, members in one group (KIP-389).
	MaxSize int
	// OffsetMetadataMaxBytes is offset.metadata.max.bytes. As in Kafka it is
	// compared with the string's length in UTF-16 units.
	OffsetMetadataMaxBytes int
	// OffsetsRetentionMs is offsets.retention.minutes in milliseconds (KIP-211).
	OffsetsRetentionMs int64
	// OffsetsRetentionCheckIntervalMs is offsets.retention.check.interval.ms.
	OffsetsRetentionCheckIntervalMs int64
	// MaxBatchBytes is max.message.bytes of the offsets topic. Records that
	// belong together (one request's) go into one batch of at most this size or
	// fail; others are split.
	MaxBatchBytes int
}

// newMemberJoinTimeoutMs bounds how long a new member may sit in a join phase:
// it has no member id yet and so cannot send heartbeats
// (GroupCoordinatorConfig.CLASSIC_GROUP_NEW_MEMBER_JOIN_TIMEOUT_MS).
const newMemberJoinTimeoutMs = 5 * 60 * 1000

// DefaultConfig returns the defaults of Apache Kafka 4.3.
func DefaultConfig() Config {
	return Config{
		Partitions:                      50,
		MinSessionTimeoutMs:             6000,
		MaxSessionTimeoutMs:             1800000,
		InitialRebalanceDelayMs:         3000,
		MaxSize:                         math.MaxInt32,
		OffsetMetadataMaxBytes:          4096,
		OffsetsRetentionMs:              10080 * 60 * 1000,
		OffsetsRetentionCheckIntervalMs: 600000,
		MaxBatchBytes:                   1048588,
	}
}

// Validate reports the first field that cannot work, by its property name.
func (c *Config) Validate() error {
	switch {
	case c.Partitions < 1:
		return fmt.Errorf("offsets.topic.num.partitions is %d; it must be at least 1", c.Partitions)
	case c.MinSessionTimeoutMs < 1:
		return fmt.Errorf("group.min.session.timeout.ms is %d; it must be at least 1", c.MinSessionTimeoutMs)
	case c.MaxSessionTimeoutMs < c.MinSessionTimeoutMs:
		return fmt.Errorf("group.max.session.timeout.ms is %d; it must be at least group.min.session.timeout.ms, %d",
			c.MaxSessionTimeoutMs, c.MinSessionTimeoutMs)
	case c.InitialRebalanceDelayMs < 0:
		return fmt.Errorf("group.initial.rebalance.delay.ms is %d; it must not be negative", c.InitialRebalanceDelayMs)
	case c.MaxSize < 1:
		return fmt.Errorf("group.max.size is %d; it must be at least 1", c.MaxSize)
	case c.OffsetMetadataMaxBytes < 0:
		return fmt.Errorf("offset.metadata.max.bytes is %d; it must not be negative", c.OffsetMetadataMaxBytes)
	case c.OffsetsRetentionMs < 1:
		return fmt.Errorf("offsets.retention.minutes comes to %d ms; it must be at least one minute", c.OffsetsRetentionMs)
	case c.OffsetsRetentionCheckIntervalMs < 1:
		return fmt.Errorf("offsets.retention.check.interval.ms is %d; it must be at least 1", c.OffsetsRetentionCheckIntervalMs)
	case c.MaxBatchBytes < 1024:
		return fmt.Errorf("max.message.bytes of %s is %d; it must be at least 1024", OffsetsTopic, c.MaxBatchBytes)
	}
	return nil
}
