package group

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The error codes this package answers with, by Kafka's names.
const none int16 = 0

var (
	unknownServerError        = kerr.UnknownServerError.Code
	coordinatorLoading        = kerr.CoordinatorLoadInProgress.Code
	coordinatorNotAvailable   = kerr.CoordinatorNotAvailable.Code
	notCoordinator            = kerr.NotCoordinator.Code
	illegalGeneration         = kerr.IllegalGeneration.Code
	inconsistentGroupProtocol = kerr.InconsistentGroupProtocol.Code
	invalidGroupID            = kerr.InvalidGroupID.Code
	unknownMemberID           = kerr.UnknownMemberID.Code
	invalidSessionTimeout     = kerr.InvalidSessionTimeout.Code
	rebalanceInProgress       = kerr.RebalanceInProgress.Code
	offsetMetadataTooLarge    = kerr.OffsetMetadataTooLarge.Code
	nonEmptyGroup             = kerr.NonEmptyGroup.Code
	groupIDNotFound           = kerr.GroupIDNotFound.Code
	memberIDRequired          = kerr.MemberIDRequired.Code
	groupMaxSizeReached       = kerr.GroupMaxSizeReached.Code
	fencedInstanceID          = kerr.FencedInstanceID.Code
	groupSubscribedToTopic    = kerr.GroupSubscribedToTopic.Code
	unstableOffsetCommit      = kerr.UnstableOffsetCommit.Code
)

// appendErrorCode turns the outcome of an append to the offsets topic into
// the code that a group's client gets, since an error about __consumer_offsets
// would mislead it (CoordinatorOperationExceptionHelper and
// GroupMetadataManager.appendGroupMetadataErrorToResponseError).
func appendErrorCode(err error) int16 {
	if err == nil {
		return none
	}
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return unknownServerError
	}
	switch ke {
	case kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas,
		kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut:
		return coordinatorNotAvailable
	case kerr.NotLeaderForPartition, kerr.KafkaStorageError:
		return notCoordinator
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize:
		return unknownServerError
	case kerr.NetworkException:
		return coordinatorLoading
	}
	return ke.Code
}
