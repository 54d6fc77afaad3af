package record

import (
	"errors"
	"fmt"
)

// The sentinels say what is wrong with bytes that claim to be a record batch.
// Match them with errors.Is. The Kafka error code in each comment is what a
// broker answers to a producer that sent such a batch.
var (
	// ErrTruncated: the slice ends before the batch does, or is empty
	// (INVALID_RECORD: a produce entry must hold exactly one whole batch).
	ErrTruncated = errors.New("record batch is truncated")
	// ErrTrailingBytes: bytes follow the batch where exactly one batch is
	// expected (INVALID_RECORD).
	ErrTrailingBytes = errors.New("bytes follow the record batch")
	// ErrCorrupt: the length field or the magic makes no sense, or the CRC
	// differs (CORRUPT_MESSAGE).
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrMagic: message format v0 or v1 (INVALID_RECORD), which Kafka 4
	// refuses from producers.
	ErrMagic = errors.New("message format v0 or v1 is not supported")
	// ErrInvalidRecord: the header or a record breaks the format or a rule of
	// the topic (INVALID_RECORD).
	ErrInvalidRecord = errors.New("invalid record")
	// ErrUnsupportedCodec: an unknown codec, or one that the request's version
	// forbids (UNSUPPORTED_COMPRESSION_TYPE).
	ErrUnsupportedCodec = errors.New("unsupported compression codec")
	// ErrInvalidTimestamp: a record's timestamp is out of the topic's range,
	// or the producer claims LogAppendTime (INVALID_TIMESTAMP).
	ErrInvalidTimestamp = errors.New("invalid timestamp")
	// ErrTooLarge: the batch exceeds max.message.bytes (MESSAGE_TOO_LARGE).
	ErrTooLarge = errors.New("record batch is too large")
	// ErrDecompressedTooLarge: a compressed batch or a record in it expands
	// beyond the limit (INVALID_RECORD, as Kafka answers for records beyond
	// max.decompressed.message.bytes).
	ErrDecompressedTooLarge = errors.New("decompressed records are too large")
	// ErrDecompress: the compressed records cannot be decompressed
	// (INVALID_RECORD: the CRC holds, so the producer made them so, and
	// CORRUPT_MESSAGE would have it send the same again).
	ErrDecompress = errors.New("records cannot be decompressed")
)

// maxRecordErrors bounds how many bad records one error lists.
const maxRecordErrors = 100

// RecordError is one bad record of a batch, as Produce answers list them
// (KIP-467).
type RecordError struct {
	BatchIndex int32  // index of the record in the batch, from 0
	Message    string // one sentence, safe to show to a client
}

// ValidationError is a refused batch. It matches its Kind by errors.Is.
type ValidationError struct {
	// Kind is one of the sentinels of this package.
	Kind error
	// Message is the whole story in one sentence, safe to show to a client.
	Message string
	// Records lists the records at fault (at most 100), empty when the batch
	// as a whole is.
	Records []RecordError
}

// Error is the message.
func (e *ValidationError) Error() string { return e.Message }

// Unwrap is the kind.
func (e *ValidationError) Unwrap() error { return e.Kind }

// refuse builds a ValidationError for a whole batch.
func refuse(kind error, format string, args ...any) error {
	return &ValidationError{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// refuseRecord builds a ValidationError that blames one record.
func refuseRecord(kind error, index int, format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	return &ValidationError{
		Kind:    kind,
		Message: fmt.Sprintf("record %d: %s", index, message),
		Records: []RecordError{{BatchIndex: int32(index), Message: message}},
	}
}
