package storage

import (
	"encoding/binary"
	"fmt"
	"slices"

	"freshet/record"
)

// This file is the core of compaction: which batches and records stay, and in
// what form. It touches no file, clock or lock. The rules are those of Kafka
// 4.x (Cleaner, CleanedTransactionMetadata, MemoryRecords.filterTo).

// cleanedTxns follows the transactions of a log while its batches pass by in
// order (Kafka: CleanedTransactionMetadata).
type cleanedTxns struct {
	aborted []AbortedTxn // not yet begun, by first offset
	// ongoingAborted are the aborted transactions that have begun, by producer;
	// the flag says whether a batch of theirs was seen.
	ongoingAborted map[int64]*ongoingAborted
	// ongoingCommitted are the producers of which batches of a transaction
	// that was not aborted were seen.
	ongoingCommitted map[int64]struct{}
	// kept are the aborted transactions whose marker stays because of batches
	// seen, by marker offset: the new transaction index.
	kept []AbortedTxn
}

type ongoingAborted struct {
	txn  AbortedTxn
	seen bool
}

// newCleanedTxns starts with the aborted transactions that may have records or
// markers in the range to be read, in any order.
func newCleanedTxns(aborted []AbortedTxn) *cleanedTxns {
	aborted = slices.Clone(aborted)
	slices.SortStableFunc(aborted, func(a, b AbortedTxn) int { return cmpInt64(a.FirstOffset, b.FirstOffset) })
	return &cleanedTxns{aborted: aborted, ongoingAborted: map[int64]*ongoingAborted{}, ongoingCommitted: map[int64]struct{}{}}
}

func (t *cleanedTxns) beginUpTo(offset int64) {
	for len(t.aborted) > 0 && t.aborted[0].FirstOffset <= offset {
		txn := t.aborted[0]
		t.aborted = t.aborted[1:]
		if t.ongoingAborted[txn.ProducerID] == nil {
			t.ongoingAborted[txn.ProducerID] = &ongoingAborted{txn: txn}
		}
	}
}

// onBatch takes in any batch and reports whether it can be discarded as far as
// transactions go: data of an aborted one, or a marker without data before it.
func (t *cleanedTxns) onBatch(b record.Batch) (discard bool, err error) {
	t.beginUpTo(b.LastOffset())
	if b.IsControl() {
		return t.onControl(b)
	}
	if !b.IsTransactional() {
		return false, nil
	}
	if txn := t.ongoingAborted[b.ProducerID()]; txn != nil {
		txn.seen = true
		return true, nil
	}
	t.ongoingCommitted[b.ProducerID()] = struct{}{}
	return false, nil
}

func (t *cleanedTxns) onControl(b record.Batch) (discard bool, err error) {
	if b.Count() == 0 {
		return true, nil // emptied before
	}
	marker, err := parseMarker(b)
	if err != nil || marker == nil {
		return false, err
	}
	pid := b.ProducerID()
	if !marker.aborted {
		_, seen := t.ongoingCommitted[pid]
		delete(t.ongoingCommitted, pid)
		return !seen, nil
	}
	txn := t.ongoingAborted[pid]
	delete(t.ongoingAborted, pid)
	if txn != nil && txn.seen {
		t.kept = append(t.kept, txn.txn)
		return false, nil
	}
	return true, nil
}

// lastRecord is what an active producer wrote last (Kafka: LastRecord).
type lastRecord struct {
	lastDataOffset int64 // -1: nothing but a marker is known
	epoch          int16
}

// batchFilter decides what stays of batches that pass by in offset order.
type batchFilter struct {
	nowMs             int64
	deleteRetentionMs int64
	keys              *offsetMap
	txns              *cleanedTxns
	producers         map[int64]lastRecord // the active ones
	// roundEnd is the offset at which the round of cleaning ends. The batch
	// before it stays, if need be empty, so that the offset is not lost.
	roundEnd int64

	builder record.Builder
	kept    []record.Record // scratch
	headers []record.Header // scratch
}

// filter appends to dst what stays of b, which is sound: all of it as it is, a
// batch with fewer records, an empty batch, or nothing. changed reports
// whether that differs from b.
func (f *batchFilter) filter(dst []byte, b record.Batch) (out []byte, changed bool, err error) {
	discardable, err := f.txns.onBatch(b)
	if err != nil {
		return dst, false, err
	}
	discard := discardable
	if b.IsControl() {
		// A marker without data outlives its transaction by delete.retention.ms.
		discard = discardable && b.HasDeleteHorizon() && b.BaseTimestamp() <= f.nowMs
	}
	keepEmpty := b.HasProducerID() && f.isLastOfProducer(b) || b.NextOffset() == f.roundEnd
	if discard && !keepEmpty {
		return dst, true, nil
	}
	it, err := record.NewIterator(b, 0)
	if err != nil {
		return dst, false, err
	}
	defer it.Close()
	f.kept = f.kept[:0]
	tombstones := false
	for it.Next() {
		if r := it.Record(); !discard && (b.IsControl() || f.retain(b, r)) {
			f.kept = append(f.kept, *r)
			tombstones = tombstones || r.Value == nil
		}
	}
	if err := it.Err(); err != nil {
		return dst, false, err
	}
	horizonMs := int64(0)
	if b.HasDeleteHorizon() {
		horizonMs = b.BaseTimestamp()
	} else if tombstones || b.IsControl() && discardable {
		horizonMs = f.nowMs + f.deleteRetentionMs
	}
	switch {
	case len(f.kept) == 0 && !keepEmpty:
		return dst, true, nil
	case len(f.kept) == 0:
		return appendEmptyBatch(dst, b), b.Count() > 0, nil
	case len(f.kept) == int(b.Count()) && (horizonMs == 0 || b.HasDeleteHorizon()):
		return append(dst, b...), false, nil
	}
	out, err = f.rebuild(dst, b, horizonMs)
	return out, true, err
}

// isLastOfProducer reports whether the batch is what remains of an active
// producer's state in the log: the batch with its last sequence number, or a
// marker with its epoch when it has no data.
func (f *batchFilter) isLastOfProducer(b record.Batch) bool {
	last, active := f.producers[b.ProducerID()]
	switch {
	case !active:
		return false
	case last.lastDataOffset >= 0:
		return b.LastOffset() == last.lastDataOffset
	}
	return b.IsControl() && b.ProducerEpoch() == last.epoch
}

// retain decides about a data record of a batch that is not discarded.
func (f *batchFilter) retain(b record.Batch, r *record.Record) bool {
	if r.Offset > f.keys.latest {
		return true // not looked at in this round
	}
	if r.Key == nil {
		return false // nothing can be said about it: from before the topic was compacted
	}
	if r.Offset < f.keys.get(r.Key) {
		return false
	}
	return r.Value != nil || !b.HasDeleteHorizon() || f.nowMs < b.BaseTimestamp()
}

// rebuild appends b with f.kept as its records. Offsets, sequence numbers and
// producer stay, and so does the last offset even if its record went.
func (f *batchFilter) rebuild(dst []byte, b record.Batch, horizonMs int64) ([]byte, error) {
	f.builder.Reset(dst, record.BuilderOptions{
		BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(), Codec: b.Codec(), LogAppendTime: b.IsLogAppendTime(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		Transactional: b.IsTransactional(), Control: b.IsControl(), DeleteHorizonMs: horizonMs,
	})
	for i := range f.kept {
		r := &f.kept[i]
		f.headers = r.Headers(f.headers[:0])
		f.builder.AppendAt(int32(r.Offset-b.BaseOffset()), r.TimestampMs, r.Key, r.Value, f.headers...)
	}
	f.builder.SetLastOffsetDelta(b.LastOffsetDelta())
	out, err := f.builder.Finish()
	if err != nil {
		return dst, fmt.Errorf("encode the records kept of the batch at offset %d: %w", b.BaseOffset(), err)
	}
	return out, nil
}

// appendEmptyBatch appends b without records (Kafka:
// DefaultRecordBatch.writeEmptyHeader).
func appendEmptyBatch(dst []byte, b record.Batch) []byte {
	at := len(dst)
	dst = append(dst, b[:record.HeaderSize]...)
	e := record.Batch(dst[at:])
	be := binary.BigEndian
	noTimestamp := int64(record.NoTimestamp)
	be.PutUint32(e[record.LengthAt:], record.HeaderSize-record.LogOverhead)
	be.PutUint16(e[record.AttributesAt:], uint16(b.Attributes()&^(record.CompressionMask|record.DeleteHorizonBit)))
	be.PutUint64(e[record.BaseTimestampAt:], uint64(noTimestamp))
	be.PutUint32(e[record.CountAt:], 0)
	be.PutUint32(e[record.CRCAt:], e.ComputeCRC())
	return dst
}

// fill takes the keys of b into the map, from offset start on. It is false
// when the map is full, with b taken in only in part.
func (m *offsetMap) fill(b record.Batch, txns *cleanedTxns, start int64) (bool, error) {
	discard, err := txns.onBatch(b)
	if err != nil {
		return false, err
	}
	if !discard && !b.IsControl() {
		it, err := record.NewIterator(b, 0)
		if err != nil {
			return false, err
		}
		defer it.Close()
		for it.Next() {
			r := it.Record()
			if r.Key == nil || r.Offset < start {
				continue
			}
			if m.full() {
				return false, nil
			}
			m.put(r.Key, r.Offset)
		}
		if err := it.Err(); err != nil {
			return false, err
		}
	}
	if b.LastOffset() >= start {
		m.latest = b.LastOffset()
	}
	return true, nil
}
