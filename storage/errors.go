package storage

import (
	"errors"
	"fmt"
)

// Sentinel errors; test with errors.Is. The broker maps them to Kafka's error
// codes at its edge.
var (
	// ErrOutOfOrderSequence: an idempotent producer skipped or went back in its
	// sequence, and the batch is not one of its last five (OUT_OF_ORDER_SEQUENCE_NUMBER).
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch: the producer was fenced by a newer epoch
	// (INVALID_PRODUCER_EPOCH).
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
	// ErrDuplicateSequence is DUPLICATE_SEQUENCE_NUMBER. Kafka 4.x answers
	// ErrOutOfOrderSequence for a duplicate older than the last five batches
	// and so does Reserve; appenders with other rules may return it.
	ErrDuplicateSequence = errors.New("duplicate sequence number")
	// ErrUnknownProducerID is UNKNOWN_PRODUCER_ID. Kafka 4.x accepts any first
	// sequence from a producer it has no state of, and so does Reserve.
	ErrUnknownProducerID = errors.New("unknown producer id")
	// ErrInvalidTxnState: a producer wrote outside its open transaction
	// (INVALID_TXN_STATE).
	ErrInvalidTxnState = errors.New("invalid transaction state")
	// ErrTransactionCoordinatorFenced: a marker came from an older coordinator
	// (TRANSACTION_COORDINATOR_FENCED).
	ErrTransactionCoordinatorFenced = errors.New("transaction coordinator fenced")
	// ErrRecordListTooLarge: the batch does not fit in an empty segment
	// (RECORD_LIST_TOO_LARGE).
	ErrRecordListTooLarge = errors.New("batch is larger than segment.bytes")
	// ErrCorruptBatch: the bytes given to Reserve are not one whole v2 batch
	// (CORRUPT_MESSAGE).
	ErrCorruptBatch = errors.New("corrupt record batch")
	// ErrUnexpectedAppendOffset: a replicated batch starts below the log end
	// offset.
	ErrUnexpectedAppendOffset = errors.New("unexpected append offset")
	// ErrFencedLeaderEpoch: the append is of a leader that another has followed
	// (FENCED_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER to a producer).
	ErrFencedLeaderEpoch = errors.New("fenced leader epoch")
	// ErrTruncating: the log is being truncated to what its leader has; it takes
	// appends again when that has ended.
	ErrTruncating = errors.New("log is being truncated")
	// ErrOffsetOutOfRange is OFFSET_OUT_OF_RANGE.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrStorageWriteFailed: a write failed (a full disk, say); the log takes
	// appends again when the writes in flight have ended (KAFKA_STORAGE_ERROR).
	ErrStorageWriteFailed = errors.New("write to the log failed")
	// ErrLogDirFailed: the log directory is offline for good after a failed
	// fsync or unreadable state (KAFKA_STORAGE_ERROR).
	ErrLogDirFailed = errors.New("log directory failed")
	// ErrLogClosed: the log was closed or deleted.
	ErrLogClosed = errors.New("log is closed")
	// ErrLogDirLocked: another broker uses the directory.
	ErrLogDirLocked = errors.New("log directory is locked by another process")
	// ErrCorruptSnapshot: a producer snapshot cannot be read.
	ErrCorruptSnapshot = errors.New("corrupt producer snapshot")
	// ErrCorruptCheckpoint: a checkpoint file cannot be read.
	ErrCorruptCheckpoint = errors.New("corrupt checkpoint file")
	// ErrInconsistentMeta: meta.properties is of another cluster, another node
	// or a newer format.
	ErrInconsistentMeta = errors.New("log directory belongs elsewhere")
	// ErrLogExists: the partition has a log already.
	ErrLogExists = errors.New("partition log exists already")
)

// causeError joins a sentinel with what happened; both are found by errors.Is.
func causeError(sentinel error, cause error) error {
	return fmt.Errorf("%w: %w", sentinel, cause)
}
