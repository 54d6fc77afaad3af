package metadata

import (
	"math/rand/v2"
	"slices"
)

// ConfigSchema is what the controller must know of configuration keys. It is
// filled by *config.BrokerConfig.
type ConfigSchema interface {
	// ValidateTopic checks a topic's whole set of overrides.
	ValidateTopic(overrides map[string]string) error
	// ValidateDynamicBroker checks the whole set of dynamic values of one
	// broker, or of all brokers.
	ValidateDynamicBroker(values map[string]string, perBroker bool) error
	// ListDefault tells whether a topic's or broker's key is a list, which
	// APPEND and SUBTRACT need, and what they start from when it is not set.
	ListDefault(topic bool, key string) (deflt string, isList bool)
}

// Controller makes the decisions that change metadata: it looks at an Image
// and a wish and returns Records for the log, or a refusal. It keeps nothing,
// so it may be used from anywhere.
type Controller struct {
	// NodeID is the id of this node, for messages.
	NodeID int32
	// Config checks configuration values.
	Config ConfigSchema
	// NumPartitions and ReplicationFactor are the defaults for new topics.
	NumPartitions     int32
	ReplicationFactor int16
	// MinInsyncReplicas and UncleanLeaderElection are this node's values of
	// min.insync.replicas (0: 1) and unclean.leader.election.enable, for topics
	// that do not set them.
	MinInsyncReplicas     int32
	UncleanLeaderElection bool
	// Longest is the live replica with the longest log of a partition without a
	// leader, -1 when that is not known; nil knows of none. See Recoveries.
	Longest func(img *Image, topicID UUID, partition int32) int32
	// NewID makes topic ids: RandomUUID, or a seeded source in tests.
	NewID func() UUID
	// Rand places replicas; nil starts at the first broker each time.
	Rand *rand.Rand
}

// longest is c.Longest, -1 without one.
func (c *Controller) longest(img *Image, topicID UUID, partition int32) int32 {
	if c.Longest == nil {
		return noLeader
	}
	return c.Longest(img, topicID, partition)
}

// maxPartitionsPerRequest bounds what one request may create, as Kafka does
// (ReplicationControlManager.MAX_PARTITIONS_PER_BATCH).
const maxPartitionsPerRequest = 10_000

var errTooManyPartitions = &Error{CodePolicyViolation, "Excessively large number of partitions per request."}

// Assignment names the replicas of one partition of a topic to be made; the
// first is the preferred leader.
type Assignment struct {
	Partition int32
	Brokers   []int32
}

// checkAssignment checks replicas chosen by a client. replicationFactor is that
// of the partitions before, 0 when there are none.
func checkAssignment(img *Image, replicas []int32, replicationFactor int) *Error {
	if len(replicas) == 0 {
		return refuse(CodeInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if img.Broker(id) == nil {
			return refuse(CodeInvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return refuse(CodeInvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if replicationFactor > 0 && len(replicas) != replicationFactor {
		return refuse(CodeInvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), "+
			"but this is not consistent with previous partitions, which have %d replica(s).", len(replicas), replicationFactor)
	}
	return nil
}

// newPartition is a partition with these replicas; the active ones are in sync
// and the first of them leads. It is nil when none is active.
func newPartition(img *Image, replicas []int32) *Partition {
	p := &Partition{Replicas: replicas, Leader: -1}
	assigned := false
	for _, id := range replicas {
		dir := img.defaultDir(id)
		assigned = assigned || dir != UnassignedDir
		p.Dirs = append(p.Dirs, dir)
		if img.Active(id) {
			p.ISR = append(p.ISR, id)
		}
	}
	if !assigned {
		p.Dirs = nil
	}
	if len(p.ISR) == 0 {
		return nil
	}
	p.Leader = p.ISR[0]
	return p
}
