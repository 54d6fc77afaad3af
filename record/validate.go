package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ValidateOptions are a topic's and a request's rules for a batch from a
// client. Start from DefaultValidateOptions; one value serves many batches.
type ValidateOptions struct {
	// MaxMessageBytes is max.message.bytes: the greatest size of a batch with
	// its header.
	MaxMessageBytes int
	// Compacted is true when cleanup.policy holds compact: keys are required.
	Compacted bool
	// LogAppendTime is message.timestamp.type=LogAppendTime: the producer's
	// timestamps are not judged.
	LogAppendTime bool
	// NowMs is the wall clock, and the two bounds around it are
	// message.timestamp.before.max.ms and .after.max.ms.
	NowMs                int64
	TimestampBeforeMaxMs int64
	TimestampAfterMaxMs  int64
	// ForbidZstd is true for Produce before version 7 (KIP-110).
	ForbidZstd bool
	// TrustCompressed skips decompression: the CRC vouches for the records,
	// and the header for their number and greatest timestamp.
	TrustCompressed bool
	// MaxDecompressedBytes bounds what one compressed batch may expand to.
	MaxDecompressedBytes int64
	// MaxDecompressedRecordBytes is max.decompressed.message.bytes: the
	// greatest body of one record in a compressed batch.
	MaxDecompressedRecordBytes int
}

// DefaultValidateOptions are Kafka's defaults, with NowMs left 0.
func DefaultValidateOptions() ValidateOptions {
	return ValidateOptions{
		MaxMessageBytes:            1048588,
		TimestampBeforeMaxMs:       math.MaxInt64,
		TimestampAfterMaxMs:        3600000,
		MaxDecompressedBytes:       DefaultMaxDecompressedBytes,
		MaxDecompressedRecordBytes: 2147483639,
	}
}

// ValidationResult is what Validate learned about a sound batch.
type ValidationResult struct {
	// MaxTimestampMs is the greatest timestamp among the records; NowMs under
	// LogAppendTime.
	MaxTimestampMs int64
	// OffsetDeltaOfMaxTimestamp is the offset delta of the first record that
	// has it. Under LogAppendTime and for trusted compressed batches it is the
	// last offset delta.
	OffsetDeltaOfMaxTimestamp int32
}

// knownAttributes are the bits a client may set.
const knownAttributes = CompressionMask | TimestampTypeBit | TransactionalBit | ControlBit

// Validate decides whether b is exactly one record batch that a client may
// append, by the checks of Kafka's UnifiedLog.analyzeAndValidateRecords and
// LogValidator for format v2. Refusals match the sentinels of this package;
// most are a *ValidationError. It allocates nothing for a sound batch.
//
// Like Kafka it corrects the header's greatest timestamp (and then the CRC) in
// place when it is not that of the records; nothing else in b changes.
//
// It is stricter than Kafka where nothing sends such batches: unknown
// attribute bits, the cleaner's delete horizon, LogAppendTime claimed by a
// producer, transactional batches without a producer id, offset deltas with
// gaps (Kafka rebuilds such a batch), varints longer than they may be, lengths
// below -1 and bytes after the batch are refused.
func Validate(b []byte, opt *ValidateOptions) (ValidationResult, error) {
	var result ValidationResult
	size, err := Peek(b)
	if err != nil {
		return result, err
	}
	if size != len(b) {
		return result, refuse(ErrTrailingBytes,
			"exactly one record batch is allowed per partition: %d bytes follow the first of %d", len(b)-size, size)
	}
	batch := Batch(b)
	if err := checkEnvelope(batch, opt); err != nil {
		return result, err
	}
	if err := batch.CheckCRC(); err != nil {
		return result, err
	}
	if err := checkHeader(batch); err != nil {
		return result, err
	}
	return checkRecords(batch, opt)
}

// checkEnvelope is what Kafka checks before the CRC.
func checkEnvelope(b Batch, opt *ValidateOptions) error {
	switch codec := b.Codec(); {
	case codec > Zstd:
		return refuse(ErrUnsupportedCodec, "unknown compression codec %d", codec)
	case codec == Zstd && opt.ForbidZstd:
		return refuse(ErrUnsupportedCodec,
			"produce requests before version 7 are not allowed to use ZStandard compression")
	}
	if b.BaseOffset() != 0 {
		return refuse(ErrInvalidRecord,
			"the baseOffset of a produced record batch should be 0, but it is %d", b.BaseOffset())
	}
	if len(b) > opt.MaxMessageBytes {
		return refuse(ErrTooLarge,
			"the record batch is %d bytes which exceeds the maximum configured value of %d",
			len(b), opt.MaxMessageBytes)
	}
	return nil
}

// checkHeader judges the fields under the CRC.
func checkHeader(b Batch) error {
	count := b.Count()
	attributes := b.Attributes()
	switch {
	case count <= 0:
		return refuse(ErrInvalidRecord, "invalid reported count for record batch: %d", count)
	case b.LastOffsetDelta() != count-1:
		return refuse(ErrInvalidRecord, "inconsistent batch offset range [0, %d] and count of records %d",
			b.LastOffsetDelta(), count)
	case attributes&ControlBit != 0:
		return refuse(ErrInvalidRecord, "clients are not allowed to write control records")
	case attributes&^knownAttributes != 0:
		return refuse(ErrInvalidRecord, "record batch attributes %#04x have bits that producers may not set",
			uint16(attributes))
	case attributes&TimestampTypeBit != 0:
		return refuse(ErrInvalidTimestamp,
			"invalid timestamp type in record batch: producers should not set timestamp type to LogAppendTime")
	}
	if b.HasProducerID() {
		if b.BaseSequence() < 0 {
			return refuse(ErrInvalidRecord, "invalid sequence number %d in record batch with producerId %d",
				b.BaseSequence(), b.ProducerID())
		}
		if b.ProducerEpoch() < 0 {
			return refuse(ErrInvalidRecord, "invalid epoch %d in record batch with producerId %d",
				b.ProducerEpoch(), b.ProducerID())
		}
	} else if attributes&TransactionalBit != 0 {
		return refuse(ErrInvalidRecord, "transactional record batch without a producerId")
	}
	return nil
}

// checkRecords walks the records and settles the greatest timestamp.
func checkRecords(b Batch, opt *ValidateOptions) (ValidationResult, error) {
	w := newWalker(b, opt)
	compressed := b.IsCompressed()
	var (
		f   fault
		err error
	)
	switch {
	case !compressed:
		f = w.plain(b[HeaderSize:])
	case opt.TrustCompressed:
		w.maxMs, w.maxAt = b.MaxTimestamp(), int(b.LastOffsetDelta())
	default:
		f, err = w.compressed(b, opt)
	}
	if f != faultNone || err != nil {
		return ValidationResult{}, explain(b, opt, &w, f, err)
	}
	if opt.LogAppendTime {
		return ValidationResult{MaxTimestampMs: opt.NowMs, OffsetDeltaOfMaxTimestamp: b.LastOffsetDelta()}, nil
	}
	if w.maxMs != b.MaxTimestamp() {
		binary.BigEndian.PutUint64(b[MaxTimestampAt:], uint64(w.maxMs))
		binary.BigEndian.PutUint32(b[CRCAt:], b.ComputeCRC())
	}
	return ValidationResult{MaxTimestampMs: w.maxMs, OffsetDeltaOfMaxTimestamp: int32(w.maxAt)}, nil
}

// newWalker sets up the rules for the records of b.
func newWalker(b Batch, opt *ValidateOptions) walker {
	w := walker{
		count:     int(b.Count()),
		baseMs:    b.BaseTimestamp(),
		fromMs:    math.MinInt64,
		toMs:      math.MaxInt64,
		maxRecord: math.MaxInt,
		needKey:   opt.Compacted,
		maxMs:     NoTimestamp,
	}
	if !opt.LogAppendTime {
		w.toMs = saturatingAdd(opt.NowMs, opt.TimestampAfterMaxMs)
		if opt.TimestampBeforeMaxMs != math.MaxInt64 {
			w.fromMs = saturatingAdd(opt.NowMs, -opt.TimestampBeforeMaxMs)
		}
	}
	return w
}

// plain walks uncompressed records, which must fill b.
func (w *walker) plain(b []byte) fault {
	n, f := w.walk(b)
	if f == faultNone && n != len(b) {
		return faultLength
	}
	return f
}

// compressed decompresses and walks the records of b.
func (w *walker) compressed(b Batch, opt *ValidateOptions) (fault, error) {
	w.maxRecord = opt.MaxDecompressedRecordBytes
	d, err := openDecompressor(b.Codec(), b[HeaderSize:], opt.MaxDecompressedBytes)
	if err != nil {
		return faultNone, err
	}
	s := stream{d: d, window: d.window, left: opt.MaxDecompressedBytes, limit: opt.MaxDecompressedBytes}
	f, err := s.run(w)
	d.close()
	return f, err
}

// explain turns the first fault into an error. A rule that records may break
// one by one (keys, timestamps) lists them all, as Produce answers do.
func explain(b Batch, opt *ValidateOptions, w *walker, f fault, err error) error {
	if err != nil {
		return err
	}
	kind := ErrInvalidRecord
	switch f {
	case faultRecordTooLarge:
		kind = ErrDecompressedTooLarge
	case faultNoKey, faultTimestamp:
		if records, kind, ok := brokenRules(b, opt, w); ok {
			message := fmt.Sprintf("One or more records have been rejected due to %d record errors in total, "+
				"and only showing the first three errors at most: %v", len(records), records[:min(3, len(records))])
			if kind == ErrInvalidTimestamp {
				message = "One or more records have been rejected due to invalid timestamp"
			}
			return &ValidationError{Kind: kind, Message: message, Records: records}
		}
	}
	if w.seen >= w.count {
		return refuse(kind, "Incorrect declared batch size, records still remaining in the batch after %d", w.count)
	}
	return refuseRecord(kind, w.seen, "%s", f)
}

// brokenRules lists the records without a key or with a timestamp out of
// range. ok is false when the batch has a fault that makes the list moot.
func brokenRules(b Batch, opt *ValidateOptions, w *walker) (list []RecordError, kind error, ok bool) {
	it, err := NewIterator(b, opt.MaxDecompressedBytes)
	if err != nil {
		return nil, nil, false
	}
	defer it.Close()
	kind = ErrInvalidRecord
	for i := 0; it.Next() && len(list) < maxRecordErrors; i++ {
		r := it.Record()
		switch w.judge(i, int32(r.Offset), r.TimestampMs, r.Key != nil) {
		case faultNoKey:
			list = append(list, RecordError{int32(i), faultNoKey.String()})
		case faultTimestamp:
			kind = ErrInvalidTimestamp
			list = append(list, RecordError{int32(i), fmt.Sprintf(
				"Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
				r.TimestampMs, r.Offset, saturatingAdd(opt.NowMs, -opt.TimestampBeforeMaxMs), w.toMs)})
		case faultOffset:
			return nil, nil, false
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ErrInvalidRecord) {
		return nil, nil, false
	}
	return list, kind, len(list) > 0
}
