package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"freshet/record"
	"freshet/replication"
	"freshet/storage"
	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Produce, versions 3 to 13.
//
//	v3   record batches (KIP-98); older formats are refused, as Kafka 4 does
//	v5   log start offset in the answer
//	v7   zstd (KIP-110)
//	v8   record errors (KIP-467)
//	v9   flexible
//	v10  current leader (KIP-951)
//	v11, v12 transactions v2 (KIP-890)
//	v13  topic ids (KIP-516)
//
// Parsed where the request lies, answered into the turn's slot, written at
// the end of the turn. Nothing is allocated unless a batch is refused.
func init() {
	register(API{Key: 0, Min: 3, Max: 13, hot: handleProduce})
}

const (
	acksAll  = -1
	acksNone = 0
	acksOne  = 1
)

// produceRequest is the fixed part of a request.
type produceRequest struct {
	version       int16
	flexible      bool
	byID          bool
	transactional bool
	acks          int16
	timeoutMs     int32
}

func handleProduce(c *conn, h *wire.Header, body []byte, ch *chunk) error {
	q := produceRequest{version: h.Version, flexible: h.Version >= 9, byID: h.Version >= 13}
	if !checkProduce(body, &q) {
		return fmt.Errorf("%w: Produce version %d", errMalformed, h.Version)
	}
	c.loop.stats.produceRequests.Add(1)
	s := c.openTurnSlot()
	start := len(s.buf)
	s.buf = append(s.buf, 0, 0, 0, 0)
	s.buf = appendInt32(s.buf, h.CorrelationID)
	if q.flexible {
		s.buf = append(s.buf, 0)
	}
	failed := c.produceTopics(&q, body, s, ch)
	s.buf = appendInt32(s.buf, 0) // throttle time
	switch {
	case len(c.loop.hints.leaders) > 0: // version 10 or later
		s.buf = c.loop.appendNodeEndpoints(s.buf, c.listener)
	case q.flexible:
		s.buf = append(s.buf, 0)
	}
	if q.acks == acksNone {
		// No answer at acks=0; a failure shows as a closed connection, so
		// that the client refreshes its metadata.
		s.buf = s.buf[:start]
		if failed != 0 {
			return fmt.Errorf("%w: Produce with acks=0 failed: %v", errMalformed, kerr.ErrorForCode(failed))
		}
		return nil
	}
	putSize(s.buf[start:])
	return nil
}

// openTurnSlot returns the slot that this turn's produce answers share: the
// last of the queue, still open.
func (c *conn) openTurnSlot() *slot {
	if s := c.turnSlot; s != nil {
		return s
	}
	s := c.newSlot()
	s.open = true
	c.turnSlot = s
	c.loop.turn.conn = c
	return s
}

// checkProduce walks the whole request, so that a malformed one is refused
// before any of it is appended.
func checkProduce(body []byte, q *produceRequest) bool {
	r := reader{b: body}
	_, noTxn := r.nullableString(q.flexible)
	q.transactional = !noTxn
	q.acks = r.int16()
	q.timeoutMs = r.int32()
	for topics := r.array(q.flexible, 3); topics > 0 && !r.bad; topics-- {
		if q.byID {
			r.take(16)
		} else {
			r.string(q.flexible)
		}
		for parts := r.array(q.flexible, 5); parts > 0 && !r.bad; parts-- {
			r.int32()
			r.bytes(q.flexible)
			if q.flexible {
				r.tags()
			}
		}
		if q.flexible {
			r.tags()
		}
	}
	if q.flexible {
		r.tags()
	}
	return !r.bad && r.left() == 0
}

// produceTopics appends every partition's batch and its answer. It returns
// the first error code, 0 if none.
func (c *conn) produceTopics(q *produceRequest, body []byte, s *slot, ch *chunk) (failed int16) {
	r := reader{b: body}
	r.nullableString(q.flexible)
	r.pos += 6
	topics := r.array(q.flexible, 3)
	s.buf = appendArrayLen(s.buf, topics, q.flexible)
	for ; topics > 0; topics-- {
		var t *topic
		unknown := kerr.UnknownTopicOrPartition.Code
		if q.byID {
			id := [16]byte(r.take(16))
			t = c.topicByID(id)
			unknown = kerr.UnknownTopicID.Code
			s.buf = append(s.buf, id[:]...)
		} else {
			name := r.string(q.flexible)
			t = c.topicByName(name)
			s.buf = appendString(s.buf, name, q.flexible)
		}
		parts := r.array(q.flexible, 5)
		s.buf = appendArrayLen(s.buf, parts, q.flexible)
		for ; parts > 0; parts-- {
			index := r.int32()
			batch := r.bytes(q.flexible)
			if q.flexible {
				r.tags()
			}
			code := unknown
			if t != nil {
				code = c.producePartition(q, t, index, batch, s, ch)
			} else {
				s.appendProduceError(c.loop, q, nil, index, code, nil)
			}
			if code != 0 && failed == 0 {
				failed = code
			}
		}
		if q.flexible {
			r.tags()
			s.buf = append(s.buf, 0)
		}
	}
	return failed
}

// producePartition checks one batch, reserves its place in the log and adds
// it to the turn. The answer is complete except for the error of the write.
func (c *conn) producePartition(q *produceRequest, t *topic, index int32, batch []byte, s *slot, ch *chunk) int16 {
	l := c.loop
	p := t.partition(index)
	if p == nil {
		code := t.absent(index).Code
		s.appendProduceError(l, q, t, index, code, nil)
		return code
	}
	cfg := t.settings.Load()
	role := p.Role()
	if code := l.refuseProduce(q, p, role, batch); code != 0 {
		s.appendProduceError(l, q, t, index, code, nil)
		return code
	}
	opts := &l.validate
	opts.MaxMessageBytes = int(cfg.maxMessageBytes)
	opts.Compacted = cfg.compacted
	opts.NowMs = l.nowMs
	opts.LogAppendTime = cfg.logAppendTime
	opts.TimestampBeforeMaxMs, opts.TimestampAfterMaxMs = cfg.timestampBeforeMs, cfg.timestampAfterMs
	opts.ForbidZstd = q.version < 7
	b := record.Batch(batch)
	if _, err := record.Validate(batch, opts); err != nil {
		code := produceErrorCode(err)
		s.appendProduceError(l, q, t, index, code, err)
		return code
	}
	if b.IsTransactional() {
		s.appendProduceError(l, q, t, index, kerr.InvalidTxnState.Code, nil)
		return kerr.InvalidTxnState.Code
	}
	if cfg.recompress && b.Codec() != cfg.codec {
		stored, err := record.Recompress(nil, b, cfg.codec, opts.MaxDecompressedBytes)
		if err != nil {
			code := produceErrorCode(err)
			s.appendProduceError(l, q, t, index, code, err)
			return code
		}
		b, batch, ch = stored, stored, nil // the collector's, not the loop's
	}
	l.append = storage.AppendRequest{Batch: b, LeaderEpoch: role.LeaderEpoch, NowMs: l.nowMs, Origin: storage.OriginClient}
	failures := p.failures.Load()
	res := &l.reservation
	if err := p.log.Reserve(&l.append, res); err != nil {
		code := produceErrorCode(err)
		s.appendProduceError(l, q, t, index, code, err)
		return code
	}
	l.stats.messagesIn.Add(int64(b.Count()))
	codeAt := int32(len(s.buf) + 4)
	s.appendProduceOK(q, index, res)
	ack := pendingAck{slot: s, codeAt: codeAt, replicated: q.acks == acksAll && !role.Solo, timeoutMs: q.timeoutMs}
	if q.acks == acksNone {
		ack.slot = nil
	}
	if res.Duplicate {
		if ack.slot != nil && (p.log.LogEndOffset() < res.WaitOffset || ack.replicated && p.HighWatermark() < res.WaitOffset) {
			l.turn.addDuplicate(p, res, ack, failures)
		}
		return 0
	}
	l.turn.add(p, res, batch, ch, ack)
	return 0
}

// refuseProduce applies the rules that need no look at the batch.
func (l *loop) refuseProduce(q *produceRequest, p *partition, role *replication.Role, batch []byte) int16 {
	switch {
	case q.acks < acksAll || q.acks > acksOne:
		return kerr.InvalidRequiredAcks.Code
	case p.topic.internal:
		return kerr.InvalidTopicException.Code
	case !role.Leads || l.leaseLapsed():
		return kerr.NotLeaderForPartition.Code
	case len(batch) == 0:
		return kerr.InvalidRecord.Code
	case q.acks == acksAll && !p.EnoughInSync():
		return kerr.NotEnoughReplicas.Code
	case q.transactional:
		return kerr.TransactionalIDAuthorizationFailed.Code
	}
	return 0
}

// appendProduceOK answers one partition: index, error 0, base offset, append
// time, log start offset, no record errors.
func (s *slot) appendProduceOK(q *produceRequest, index int32, res *storage.Reservation) {
	b := appendInt32(s.buf, index)
	b = append(b, 0, 0)
	b = appendInt64(b, res.BaseOffset)
	b = appendInt64(b, res.LogAppendTimeMs)
	if q.version >= 5 {
		b = appendInt64(b, res.LogStartOffset)
	}
	switch {
	case q.flexible: // no record errors, null message, no tags
		b = append(b, 1, 0, 0)
	case q.version == 8:
		b = append(b, 0, 0, 0, 0, 0xff, 0xff)
	}
	s.buf = b
}

// appendProduceError answers one partition whose batch was refused.
func (s *slot) appendProduceError(l *loop, q *produceRequest, t *topic, index int32, code int16, err error) {
	b := appendInt32(s.buf, index)
	b = appendInt16(b, code)
	b = appendInt64(b, -1)
	b = appendInt64(b, -1)
	if q.version >= 5 {
		b = appendInt64(b, -1)
	}
	if q.version >= 8 {
		var records []record.RecordError
		var invalid *record.ValidationError
		if errors.As(err, &invalid) {
			records = invalid.Records
		}
		b = appendArrayLen(b, len(records), q.flexible)
		for i := range records {
			b = appendInt32(b, records[i].BatchIndex)
			b = appendNullableString(b, records[i].Message, q.flexible)
			if q.flexible {
				b = append(b, 0)
			}
		}
		message := ""
		if err != nil {
			message = err.Error()
		}
		b = appendNullableString(b, message, q.flexible)
	}
	switch {
	case q.version >= 10:
		b = l.appendCurrentLeader(b, 0, t, index, code)
	case q.flexible:
		b = append(b, 0)
	}
	s.buf = b
}

// appendNullableString appends s, or null when it is empty.
func appendNullableString(b []byte, s string, flexible bool) []byte {
	if s != "" {
		return appendString(b, s, flexible)
	}
	if flexible {
		return append(b, 0)
	}
	return append(b, 0xff, 0xff)
}

// patchProduceError turns an answer of success, from its error code on, into
// one of failure.
func patchProduceError(b []byte, code int16) {
	binary.BigEndian.PutUint16(b, uint16(code))
	binary.BigEndian.PutUint64(b[2:], ^uint64(0))
}

// produceErrors maps the sentinels of record and storage to Kafka's codes.
var produceErrors = []struct {
	err  error
	code int16
}{
	{record.ErrTruncated, kerr.InvalidRecord.Code},
	{record.ErrTrailingBytes, kerr.InvalidRecord.Code},
	{record.ErrCorrupt, kerr.CorruptMessage.Code},
	{record.ErrMagic, kerr.InvalidRecord.Code},
	{record.ErrInvalidRecord, kerr.InvalidRecord.Code},
	{record.ErrUnsupportedCodec, kerr.UnsupportedCompressionType.Code},
	{record.ErrInvalidTimestamp, kerr.InvalidTimestamp.Code},
	{record.ErrTooLarge, kerr.MessageTooLarge.Code},
	{record.ErrDecompressedTooLarge, kerr.InvalidRecord.Code},
	{record.ErrDecompress, kerr.InvalidRecord.Code},
	{storage.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber.Code},
	{storage.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch.Code},
	{storage.ErrDuplicateSequence, kerr.DuplicateSequenceNumber.Code},
	{storage.ErrUnknownProducerID, kerr.UnknownProducerID.Code},
	{storage.ErrInvalidTxnState, kerr.InvalidTxnState.Code},
	{storage.ErrRecordListTooLarge, kerr.RecordListTooLarge.Code},
	{storage.ErrCorruptBatch, kerr.CorruptMessage.Code},
	{storage.ErrLogDirFailed, kerr.KafkaStorageError.Code},
	{storage.ErrStorageWriteFailed, kerr.KafkaStorageError.Code},
	{storage.ErrLogClosed, kerr.NotLeaderForPartition.Code},
	{storage.ErrFencedLeaderEpoch, kerr.NotLeaderForPartition.Code},
	{errRequestTimedOut, kerr.RequestTimedOut.Code},
	{errNoLeader, kerr.NotLeaderForPartition.Code},
}

// produceErrorCode is the Kafka error code for a refused or failed append.
func produceErrorCode(err error) int16 {
	for i := range produceErrors {
		if errors.Is(err, produceErrors[i].err) {
			return produceErrors[i].code
		}
	}
	return kerr.KafkaStorageError.Code
}

// Between two log lines about failing writes of one partition, and between two
// looks of the broker at its disks because of them: on a full disk every turn
// fails.
const (
	writeFailedLogMs  = 60_000
	writeFailedWakeMs = 1000
)

// writeFailed reports failing appends of producers. Of a leader's, which sends
// them again, the log itself says when they begin to fail and when they succeed
// again.
func (p *partition) writeFailed(err error, nowMs int64) {
	if due(&p.failedWokenMs, nowMs, writeFailedWakeMs) {
		p.loops[0].srv.broker.member.wakeUp() // a full disk is for others to take over from
	}
	if !p.Role().Leads {
		return
	}
	failed := p.failedWrites.Add(1)
	if !due(&p.failedLoggedMs, nowMs, writeFailedLogMs) {
		return
	}
	p.failedWrites.Add(-failed)
	slog.Error("append failed; its producers are told KAFKA_STORAGE_ERROR and the records are not in the log",
		"topic", p.topic.name, "partition", p.index, "writes", failed, "error", err)
}

// due reports whether everyMs have passed since last, which it sets; the first
// time is due. Of callers at the same time one is told so.
func due(last *atomic.Int64, nowMs, everyMs int64) bool {
	at := last.Load()
	return (at == 0 || nowMs-at >= everyMs) && last.CompareAndSwap(at, nowMs)
}
