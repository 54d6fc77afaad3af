package storage

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// TimestampType is message.timestamp.type.
type TimestampType uint8

const (
	// CreateTime keeps the producer's timestamps.
	CreateTime TimestampType = iota
	// LogAppendTime stamps each batch with the broker's clock.
	LogAppendTime
)

// LogConfig is the part of a topic's configuration that its log obeys, with
// Kafka's names (property in the comment), units and defaults. It is a value;
// Log.UpdateConfig swaps it while the log runs.
type LogConfig struct {
	SegmentBytes              int32         // segment.bytes
	SegmentMs                 int64         // segment.ms
	SegmentJitterMs           int64         // segment.jitter.ms
	SegmentIndexBytes         int32         // segment.index.bytes
	IndexIntervalBytes        int32         // index.interval.bytes
	RetentionBytes            int64         // retention.bytes; -1: no limit
	RetentionMs               int64         // retention.ms; -1: no limit
	FlushMessages             int64         // flush.messages
	FlushMs                   int64         // flush.ms
	MaxMessageBytes           int32         // max.message.bytes
	MessageTimestampType      TimestampType // message.timestamp.type
	MessageTimestampBeforeMax int64         // message.timestamp.before.max.ms
	MessageTimestampAfterMax  int64         // message.timestamp.after.max.ms
	CleanupDelete             bool          // cleanup.policy contains delete
	CleanupCompact            bool          // cleanup.policy contains compact
	FileDeleteDelayMs         int64         // file.delete.delay.ms
	Preallocate               bool          // preallocate
	ProducerIDExpirationMs    int64         // producer.id.expiration.ms (broker)
	DeleteRetentionMs         int64         // delete.retention.ms
	MinCompactionLagMs        int64         // min.compaction.lag.ms
	MaxCompactionLagMs        int64         // max.compaction.lag.ms
	MinCleanableDirtyRatio    float64       // min.cleanable.dirty.ratio
}

// DefaultLogConfig is Kafka 4.x's defaults (LogConfig, ServerLogConfigs).
func DefaultLogConfig() LogConfig {
	return LogConfig{
		SegmentBytes:              1 << 30,
		SegmentMs:                 7 * 24 * 3600 * 1000,
		SegmentIndexBytes:         10 << 20,
		IndexIntervalBytes:        4096,
		RetentionBytes:            -1,
		RetentionMs:               7 * 24 * 3600 * 1000,
		FlushMessages:             math.MaxInt64,
		FlushMs:                   math.MaxInt64,
		MaxMessageBytes:           1048588,
		MessageTimestampBeforeMax: math.MaxInt64,
		MessageTimestampAfterMax:  3600 * 1000,
		CleanupDelete:             true,
		FileDeleteDelayMs:         60 * 1000,
		ProducerIDExpirationMs:    24 * 3600 * 1000,
		DeleteRetentionMs:         24 * 3600 * 1000,
		MaxCompactionLagMs:        math.MaxInt64,
		MinCleanableDirtyRatio:    0.5,
	}
}

// minSegmentBytes is the least segment.bytes taken here. Kafka 4.x demands 1 MiB
// of users, in its configuration layer; tests roll sooner.
const minSegmentBytes = 14

// Validate reports the first value that makes no sense.
func (c *LogConfig) Validate() error {
	switch {
	case c.SegmentBytes < minSegmentBytes:
		return fmt.Errorf("segment.bytes is %d, must be at least %d", c.SegmentBytes, minSegmentBytes)
	case c.SegmentMs < 1:
		return fmt.Errorf("segment.ms is %d, must be at least 1", c.SegmentMs)
	case c.SegmentJitterMs < 0:
		return fmt.Errorf("segment.jitter.ms is %d, must not be negative", c.SegmentJitterMs)
	case c.SegmentIndexBytes < 4:
		return fmt.Errorf("segment.index.bytes is %d, must be at least 4", c.SegmentIndexBytes)
	case c.IndexIntervalBytes < 0:
		return fmt.Errorf("index.interval.bytes is %d, must not be negative", c.IndexIntervalBytes)
	case c.RetentionMs < -1:
		return fmt.Errorf("retention.ms is %d, must be -1 or more", c.RetentionMs)
	case c.FlushMessages < 1:
		return fmt.Errorf("flush.messages is %d, must be at least 1", c.FlushMessages)
	case c.FlushMs < 0:
		return fmt.Errorf("flush.ms is %d, must not be negative", c.FlushMs)
	case c.MaxMessageBytes < 0:
		return fmt.Errorf("max.message.bytes is %d, must not be negative", c.MaxMessageBytes)
	case c.FileDeleteDelayMs < 0:
		return fmt.Errorf("file.delete.delay.ms is %d, must not be negative", c.FileDeleteDelayMs)
	case c.DeleteRetentionMs < 0:
		return fmt.Errorf("delete.retention.ms is %d, must not be negative", c.DeleteRetentionMs)
	case c.MinCompactionLagMs < 0:
		return fmt.Errorf("min.compaction.lag.ms is %d, must not be negative", c.MinCompactionLagMs)
	case c.MaxCompactionLagMs < 1:
		return fmt.Errorf("max.compaction.lag.ms is %d, must be at least 1", c.MaxCompactionLagMs)
	case !(c.MinCleanableDirtyRatio >= 0 && c.MinCleanableDirtyRatio <= 1):
		return fmt.Errorf("min.cleanable.dirty.ratio is %v, must be between 0 and 1", c.MinCleanableDirtyRatio)
	}
	return nil
}

// randomJitterMs is how much earlier than segment.ms one segment closes, so
// that not all partitions roll at once.
func (c *LogConfig) randomJitterMs() int64 {
	if limit := min(c.SegmentJitterMs, c.SegmentMs); limit > 0 {
		return rand.Int64N(limit)
	}
	return 0
}

// maxOffsetIndexEntries is how many offset index entries fit in
// segment.index.bytes; a segment is full with that many.
func (c *LogConfig) maxOffsetIndexEntries() int { return int(c.SegmentIndexBytes) / offsetEntrySize }

// maxTimeIndexEntries leaves the last place for the entry written when the
// segment is closed, as Kafka's TimeIndex.isFull does.
func (c *LogConfig) maxTimeIndexEntries() int { return int(c.SegmentIndexBytes)/timeEntrySize - 1 }
