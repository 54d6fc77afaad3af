package metadata

import "fmt"

// Code is an error code of the Kafka protocol.
type Code int16

// The codes that decisions on metadata can end with (Kafka: Errors).
const (
	CodeUnknownServerError          Code = -1
	CodeUnknownTopicOrPartition     Code = 3
	CodeNotLeaderOrFollower         Code = 6
	CodeInvalidTopic                Code = 17 // INVALID_TOPIC_EXCEPTION
	CodeUnsupportedVersion          Code = 35
	CodeTopicAlreadyExists          Code = 36
	CodeInvalidPartitions           Code = 37
	CodeInvalidReplicationFactor    Code = 38
	CodeInvalidReplicaAssignment    Code = 39
	CodeInvalidConfig               Code = 40
	CodeNotController               Code = 41
	CodeInvalidRequest              Code = 42
	CodePolicyViolation             Code = 44
	CodeFencedLeaderEpoch           Code = 74
	CodeStaleBrokerEpoch            Code = 77
	CodePreferredLeaderNotAvailable Code = 80
	CodeEligibleLeadersNotAvailable Code = 83
	CodeElectionNotNeeded           Code = 84
	CodeNoReassignmentInProgress    Code = 85
	CodeInvalidUpdateVersion        Code = 95
	CodeUnknownTopicID              Code = 100
	CodeDuplicateBrokerRegistration Code = 101
	CodeBrokerIDNotRegistered       Code = 102
	CodeInconsistentClusterID       Code = 104
	CodeIneligibleReplica           Code = 107
	CodeNewLeaderElected            Code = 108
	CodeInvalidRegistration         Code = 119
)

// Error is a refusal that a client sees: Kafka's code and message.
type Error struct {
	Code    Code
	Message string
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

func refuse(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Kafka's own messages for refusals that carry no more than their code.
var (
	errUnknownTopic                = &Error{CodeUnknownTopicOrPartition, "This server does not host this topic-partition."}
	errPreferredLeaderNotAvailable = &Error{CodePreferredLeaderNotAvailable, "The preferred leader was not available."}
	errEligibleLeadersNotAvailable = &Error{CodeEligibleLeadersNotAvailable, "Eligible topic partition leaders are not available."}
	errElectionNotNeeded           = &Error{CodeElectionNotNeeded, "Leader election not needed for topic partition."}
	errNoReassignmentInProgress    = &Error{CodeNoReassignmentInProgress, "No partition reassignment is in progress."}
	errUnknownTopicID              = &Error{CodeUnknownTopicID, "This server does not host this topic ID."}
)
