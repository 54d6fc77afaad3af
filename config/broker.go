package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// BrokerConfig holds the broker's keys in the types the broker uses them in.
// Names follow the keys; units are last. It is immutable: a dynamic change
// makes a new one (WithDynamic).
type BrokerConfig struct {
	// Static is what the process was started with.
	Static *Static
	// DynamicBroker and DynamicDefault are the values set by AlterConfigs for
	// this broker and for all brokers.
	DynamicBroker, DynamicDefault map[string]string
	// values are all three laid over each other, for Topic.
	values map[string]string

	NodeID int32 // node.id, broker.id
	Rack   string
	// RackAwareReads: consumers are sent to followers in their rack
	// (replica.selector.class names Kafka's RackAwareReplicaSelector).
	RackAwareReads          bool
	Listeners               []Listener // for clients; those of the controller are in Role
	AdvertisedListeners     []Listener
	ControllerListenerNames []string
	InterBrokerListener     string   // inter.broker.listener.name, or the listener found for it
	LogDirs                 []string // log.dirs or log.dir
	MetadataLogDir          string   // metadata.log.dir or the first of LogDirs

	NumPartitions              int32
	DefaultReplicationFactor   int16
	MinInsyncReplicas          int32
	AutoCreateTopicsEnable     bool
	DeleteTopicEnable          bool
	MaxRequestPartitionSize    int32 // max.request.partition.size.limit
	ProducerIDExpirationMs     int32
	NumRecoveryThreadsPerDir   int32
	MetadataBytesPerSnapshot   int64 // metadata.log.max.record.bytes.between.snapshots
	TelemetryMaxBytes          int32
	FetchMaxBytes              int32
	FetchSessionCacheSlots     int32 // max.incremental.fetch.session.cache.slots
	LogRetentionCheckMs        int64
	LogFlushSchedulerMs        int64
	LogFlushOffsetCheckpointMs int32
	LogFlushStartCheckpointMs  int32 // log.flush.start.offset.checkpoint.interval.ms
	HighWatermarkCheckpointMs  int64 // replica.high.watermark.checkpoint.interval.ms
	ReplicaLagTimeMaxMs        int64 // replica.lag.time.max.ms
	QuotaWindowMs              int64 // replication.quota.window.size.seconds
	LeaderThrottledRate        int64 // leader.replication.throttled.rate, bytes a second
	FollowerThrottledRate      int64 // follower.replication.throttled.rate
	LogInitialTaskDelayMs      int64

	Role    RoleConfig
	Cleaner CleanerConfig
	Network NetworkConfig
	Group   GroupConfig
	Freshet FreshetConfig
}

// NetworkConfig holds the keys of sockets and request memory.
type NetworkConfig struct {
	NumNetworkThreads           int32
	NumIOThreads                int32
	SocketSendBufferBytes       int32 // -1: the system's default
	SocketReceiveBufferBytes    int32 // -1: the system's default
	SocketRequestMaxBytes       int32
	QueuedMaxRequestBytes       int64 // -1: chosen from the machine's memory
	MaxConnections              int32
	MaxConnectionsPerIP         int32
	MaxConnectionsPerIPOverride map[string]int32
	ConnectionsMaxIdleMs        int64 // negative: never closed
}

// CleanerConfig holds the keys of compaction that are not a topic's.
type CleanerConfig struct {
	Enable              bool
	Threads             int32
	BackoffMs           int64
	DedupeBufferSize    int64 // bytes, of all threads
	IOBufferSize        int32 // bytes, of all threads
	IOBufferLoadFactor  float64
	IOMaxBytesPerSecond float64
}

// GroupConfig holds the keys of the group coordinator.
type GroupConfig struct {
	InitialRebalanceDelayMs         int32
	MinSessionTimeoutMs             int32
	MaxSessionTimeoutMs             int32
	MaxSize                         int32
	OffsetMetadataMaxBytes          int32
	OffsetsCommitTimeoutMs          int32
	OffsetsLoadBufferSize           int32
	OffsetsRetentionMinutes         int32
	OffsetsRetentionCheckIntervalMs int64
	OffsetsTopicNumPartitions       int32
	OffsetsTopicReplicationFactor   int16
	OffsetsTopicSegmentBytes        int32
}

// FreshetConfig holds the keys that Kafka does not have.
type FreshetConfig struct {
	AdminListener      string // host:port, empty for none
	AutoFormat         bool
	CongestionControl  string // auto, system or an algorithm's name
	IOEngine           string // auto, uring or pwritev
	ValidateCompressed bool
}

// NewBroker checks every value that was set and builds the typed
// configuration. The error names the key, the value and what is allowed.
func NewBroker(static *Static) (*BrokerConfig, error) {
	return build(static, nil, nil)
}

// WithDynamic is the configuration after AlterConfigs set these values for
// this broker and for all brokers; keys that cannot change are not in them.
func (c *BrokerConfig) WithDynamic(broker, deflt map[string]string) (*BrokerConfig, error) {
	return build(c.Static, broker, deflt)
}

func build(static *Static, broker, deflt map[string]string) (*BrokerConfig, error) {
	for _, key := range static.Keys() {
		def := BrokerDef(key)
		if def == nil {
			continue // Warnings tells
		}
		text, _ := static.Get(key)
		if err := def.Check(text); err != nil {
			return nil, fmt.Errorf("%w (set by %s)", err, static.Origin(key))
		}
	}
	c := &BrokerConfig{Static: static, DynamicBroker: broker, DynamicDefault: deflt}
	c.values = overlay(static, deflt, broker)
	r := &reader{values: c.values}
	if err := c.fill(r); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return c, c.validate(r)
}

// fill reads the keys into c's fields.
func (c *BrokerConfig) fill(r *reader) error {
	c.NodeID = r.int32("node.id")
	c.Rack = r.text("broker.rack")
	c.RackAwareReads = r.text("replica.selector.class") == "org.apache.kafka.common.replica.RackAwareReplicaSelector"
	c.LogDirs = r.list("log.dirs")
	if len(c.LogDirs) == 0 {
		c.LogDirs = r.list("log.dir")
	}
	if len(c.LogDirs) > 0 {
		c.MetadataLogDir = c.LogDirs[0]
	}
	if dir := r.text("metadata.log.dir"); dir != "" {
		c.MetadataLogDir = dir
	}
	c.NumPartitions = r.int32("num.partitions")
	c.DefaultReplicationFactor = r.int16("default.replication.factor")
	c.MinInsyncReplicas = r.int32("min.insync.replicas")
	c.AutoCreateTopicsEnable = r.bool("auto.create.topics.enable")
	c.DeleteTopicEnable = r.bool("delete.topic.enable")
	c.MaxRequestPartitionSize = r.int32("max.request.partition.size.limit")
	c.ProducerIDExpirationMs = r.int32("producer.id.expiration.ms")
	c.NumRecoveryThreadsPerDir = r.int32("num.recovery.threads.per.data.dir")
	c.MetadataBytesPerSnapshot = r.int64("metadata.log.max.record.bytes.between.snapshots")
	c.TelemetryMaxBytes = r.int32("telemetry.max.bytes")
	c.FetchMaxBytes = r.int32("fetch.max.bytes")
	c.FetchSessionCacheSlots = r.int32("max.incremental.fetch.session.cache.slots")
	c.LogRetentionCheckMs = r.int64("log.retention.check.interval.ms")
	c.LogFlushSchedulerMs = r.int64("log.flush.scheduler.interval.ms")
	c.LogFlushOffsetCheckpointMs = r.int32("log.flush.offset.checkpoint.interval.ms")
	c.LogFlushStartCheckpointMs = r.int32("log.flush.start.offset.checkpoint.interval.ms")
	c.HighWatermarkCheckpointMs = r.int64("replica.high.watermark.checkpoint.interval.ms")
	c.ReplicaLagTimeMaxMs = r.int64("replica.lag.time.max.ms")
	c.LeaderThrottledRate = r.int64("leader.replication.throttled.rate")
	c.FollowerThrottledRate = r.int64("follower.replication.throttled.rate")
	c.QuotaWindowMs = int64(r.int32("replication.quota.window.size.seconds")) * 1000
	c.LogInitialTaskDelayMs = r.int64("log.initial.task.delay.ms")
	c.Freshet = FreshetConfig{
		AdminListener:      r.text("freshet.admin.listener"),
		AutoFormat:         r.bool("freshet.auto.format"),
		CongestionControl:  r.text("freshet.congestion.control"),
		IOEngine:           r.text("freshet.io.engine"),
		ValidateCompressed: r.bool("freshet.validate.compressed"),
	}
	c.Cleaner = CleanerConfig{
		Enable:              r.bool("log.cleaner.enable"),
		Threads:             r.int32("log.cleaner.threads"),
		BackoffMs:           r.int64("log.cleaner.backoff.ms"),
		DedupeBufferSize:    r.int64("log.cleaner.dedupe.buffer.size"),
		IOBufferSize:        r.int32("log.cleaner.io.buffer.size"),
		IOBufferLoadFactor:  r.double("log.cleaner.io.buffer.load.factor"),
		IOMaxBytesPerSecond: r.double("log.cleaner.io.max.bytes.per.second"),
	}
	c.fillGroup(r)
	if err := c.fillNetwork(r); err != nil {
		return err
	}
	if err := c.fillRole(r); err != nil {
		return err
	}
	return c.resolveListeners(r)
}

func (c *BrokerConfig) fillNetwork(r *reader) (err error) {
	c.Network = NetworkConfig{
		NumNetworkThreads:        r.int32("num.network.threads"),
		NumIOThreads:             r.int32("num.io.threads"),
		SocketSendBufferBytes:    r.int32("socket.send.buffer.bytes"),
		SocketReceiveBufferBytes: r.int32("socket.receive.buffer.bytes"),
		SocketRequestMaxBytes:    r.int32("socket.request.max.bytes"),
		QueuedMaxRequestBytes:    r.int64("queued.max.request.bytes"),
		MaxConnections:           r.int32("max.connections"),
		MaxConnectionsPerIP:      r.int32("max.connections.per.ip"),
		ConnectionsMaxIdleMs:     r.int64("connections.max.idle.ms"),
	}
	c.Network.MaxConnectionsPerIPOverride, err = parseIPOverrides(r.text("max.connections.per.ip.overrides"))
	return err
}

func (c *BrokerConfig) fillGroup(r *reader) {
	c.Group = GroupConfig{
		InitialRebalanceDelayMs:         r.int32("group.initial.rebalance.delay.ms"),
		MinSessionTimeoutMs:             r.int32("group.min.session.timeout.ms"),
		MaxSessionTimeoutMs:             r.int32("group.max.session.timeout.ms"),
		MaxSize:                         r.int32("group.max.size"),
		OffsetMetadataMaxBytes:          r.int32("offset.metadata.max.bytes"),
		OffsetsCommitTimeoutMs:          r.int32("offsets.commit.timeout.ms"),
		OffsetsLoadBufferSize:           r.int32("offsets.load.buffer.size"),
		OffsetsRetentionMinutes:         r.int32("offsets.retention.minutes"),
		OffsetsRetentionCheckIntervalMs: r.int64("offsets.retention.check.interval.ms"),
		OffsetsTopicNumPartitions:       r.int32("offsets.topic.num.partitions"),
		OffsetsTopicReplicationFactor:   r.int16("offsets.topic.replication.factor"),
		OffsetsTopicSegmentBytes:        r.int32("offsets.topic.segment.bytes"),
	}
}

// validate checks what concerns several keys at once.
func (c *BrokerConfig) validate(r *reader) error {
	if err := c.validateNode(r); err != nil {
		return err
	}
	if len(c.LogDirs) == 0 {
		return fmt.Errorf("at least one log directory must be given by log.dirs or log.dir")
	}
	seen := map[string]bool{}
	for _, dir := range c.LogDirs {
		clean := filepath.Clean(dir)
		if seen[clean] {
			return invalid("log.dirs", strings.Join(c.LogDirs, ","), "directory "+clean+" is listed twice")
		}
		seen[clean] = true
	}
	n := c.Network
	if n.QueuedMaxRequestBytes > 0 && n.QueuedMaxRequestBytes < int64(n.SocketRequestMaxBytes) {
		return invalid("queued.max.request.bytes", r.text("queued.max.request.bytes"),
			fmt.Sprintf("it must not be smaller than socket.request.max.bytes, which is %d", n.SocketRequestMaxBytes))
	}
	if n.MaxConnectionsPerIP == 0 && len(n.MaxConnectionsPerIPOverride) == 0 {
		return invalid("max.connections.per.ip", "0", "zero is allowed only with max.connections.per.ip.overrides")
	}
	for key, bytes := range map[string]int32{"socket.send.buffer.bytes": n.SocketSendBufferBytes, "socket.receive.buffer.bytes": n.SocketReceiveBufferBytes} {
		if bytes < -1 {
			return invalid(key, r.text(key), "Value must be at least 1, or -1 for the system's default")
		}
	}
	if c.Group.MinSessionTimeoutMs > c.Group.MaxSessionTimeoutMs {
		return invalid("group.min.session.timeout.ms", r.text("group.min.session.timeout.ms"),
			fmt.Sprintf("it must not be greater than group.max.session.timeout.ms, which is %d", c.Group.MaxSessionTimeoutMs))
	}
	topic, err := c.Topic(nil)
	if err != nil {
		return err
	}
	if topic.RetentionMs == 0 {
		return fmt.Errorf("log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
	}
	return topic.validateTimes()
}

// validateNode checks the keys that say who and what this node is.
func (c *BrokerConfig) validateNode(r *reader) error {
	if id := r.int32("broker.id"); id >= 0 {
		if r.isSet("node.id") && c.NodeID != id {
			return invalid("broker.id", r.text("broker.id"), fmt.Sprintf("You must set `node.id` to the same value as `broker.id`; node.id is %d", c.NodeID))
		}
		c.NodeID = id
	}
	return c.validateRole(r)
}

// OffsetsTopic are the topic configurations that __consumer_offsets is created
// with (Kafka: GroupCoordinator.groupMetadataTopicConfigs).
func (c *BrokerConfig) OffsetsTopic() map[string]string {
	return map[string]string{
		"cleanup.policy":   "compact",
		"compression.type": "producer",
		"segment.bytes":    fmt.Sprint(c.Group.OffsetsTopicSegmentBytes),
	}
}
