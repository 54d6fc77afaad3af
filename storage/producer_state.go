package storage

import (
	"fmt"
	"slices"

	"freshet/record"
)

// batchesToRetain is how many batches of a producer are remembered for
// duplicate detection (Kafka: ProducerStateEntry.NUM_BATCHES_TO_RETAIN); a
// client has at most five in flight.
const batchesToRetain = 5

// batchMeta is what is remembered of one batch.
type batchMeta struct {
	lastSeq     int32
	offsetDelta int32 // last offset minus first
	lastOffset  int64
	timestamp   int64
}

// firstSeq undoes the wrap of sequences at 2^31.
func (m *batchMeta) firstSeq() int32 {
	if m.lastSeq < m.offsetDelta {
		return int32(int64(m.lastSeq) - int64(m.offsetDelta) + (1 << 31))
	}
	return m.lastSeq - m.offsetDelta
}

func (m *batchMeta) firstOffset() int64 { return m.lastOffset - int64(m.offsetDelta) }

// producerEntry is the state of one producer id (Kafka: ProducerStateEntry).
type producerEntry struct {
	epoch            int16
	coordinatorEpoch int32
	lastTimestamp    int64
	txnFirstOffset   int64 // first offset of the open transaction, or -1
	batches          [batchesToRetain]batchMeta
	n                int8 // batches in use, oldest first
}

func newProducerEntry() *producerEntry {
	return &producerEntry{
		epoch: record.NoProducerEpoch, coordinatorEpoch: -1,
		lastTimestamp: record.NoTimestamp, txnFirstOffset: -1,
	}
}

func (e *producerEntry) last() *batchMeta {
	if e.n == 0 {
		return nil
	}
	return &e.batches[e.n-1]
}

func (e *producerEntry) lastSeq() int32 {
	if e.n == 0 {
		return record.NoSequence
	}
	return e.batches[e.n-1].lastSeq
}

func (e *producerEntry) setEpoch(epoch int16) {
	if e.epoch != epoch {
		e.n, e.epoch = 0, epoch
	}
}

func (e *producerEntry) add(m batchMeta) {
	if e.n == batchesToRetain {
		copy(e.batches[:], e.batches[1:])
		e.n--
	}
	e.batches[e.n] = m
	e.n++
}

// findDuplicate returns the remembered batch with the same sequence range.
func (e *producerEntry) findDuplicate(epoch int16, firstSeq, lastSeq int32) *batchMeta {
	if epoch != e.epoch {
		return nil
	}
	for i := range e.batches[:e.n] {
		if m := &e.batches[i]; m.lastSeq == lastSeq && m.firstSeq() == firstSeq {
			return m
		}
	}
	return nil
}

// txnMeta is a transaction in the log.
type txnMeta struct {
	producerID  int64
	firstOffset int64
	lastOffset  int64 // of the marker; -1 while open
}

// ProducerState is the state of a log's idempotent and transactional producers
// (Kafka: ProducerStateManager): a pure value changed by the log under its
// lock, at Reserve, ahead of publication; a failed write rebuilds it.
type ProducerState struct {
	producers map[int64]*producerEntry
	// ongoing holds the open transactions, by first offset.
	ongoing []txnMeta
	// unreplicated holds the ended transactions whose marker is at or above
	// the high watermark, by first offset: they still bound the last stable offset.
	unreplicated []txnMeta
	// mapEndOffset is the offset up to which batches are taken in.
	mapEndOffset int64
	// lastSnapshotOffset is the offset of the newest snapshot taken.
	lastSnapshotOffset int64
}

func newProducerState(offset int64) *ProducerState {
	return &ProducerState{producers: map[int64]*producerEntry{}, mapEndOffset: offset, lastSnapshotOffset: offset}
}

// completedTxn is an ended transaction that had data.
type completedTxn struct {
	producerID  int64
	firstOffset int64
	lastOffset  int64
	aborted     bool
}

// check decides whether a data or control batch may be appended. A duplicate
// returns the batch it repeats. The rules are those of Kafka 4.x
// (ProducerAppendInfo): coordinators' batches are checked by epoch only,
// replicated ones not at all.
func (s *ProducerState) check(b record.Batch, origin Origin, marker *endTxnMarker) (*batchMeta, error) {
	if origin == OriginReplication {
		return nil, nil
	}
	e := s.producers[b.ProducerID()]
	if e == nil {
		return nil, nil // no state: any first sequence is accepted (KIP-360)
	}
	epoch := b.ProducerEpoch()
	if marker != nil {
		return nil, s.checkMarker(e, b, marker)
	}
	first, last := b.BaseSequence(), b.LastSequence()
	if origin == OriginClient {
		if dup := e.findDuplicate(epoch, first, last); dup != nil {
			return dup, nil
		}
	}
	if epoch < e.epoch {
		return nil, fmt.Errorf("%w: epoch of producer %d is %d, but %d was seen", ErrInvalidProducerEpoch, b.ProducerID(), epoch, e.epoch)
	}
	if origin == OriginClient {
		if err := e.checkSequence(b.ProducerID(), epoch, first); err != nil {
			return nil, err
		}
	}
	if e.txnFirstOffset >= 0 && !b.IsTransactional() {
		return nil, fmt.Errorf("%w: producer %d has a transaction open since offset %d and wrote outside it",
			ErrInvalidTxnState, b.ProducerID(), e.txnFirstOffset)
	}
	return nil, nil
}

func (e *producerEntry) checkSequence(producerID int64, epoch int16, first int32) error {
	if epoch != e.epoch {
		if first != 0 && e.epoch != record.NoProducerEpoch {
			return fmt.Errorf("%w: producer %d begins epoch %d (was %d) with sequence %d instead of 0",
				ErrOutOfOrderSequence, producerID, epoch, e.epoch, first)
		}
		return nil
	}
	last := e.lastSeq()
	if e.epoch == record.NoProducerEpoch || int64(first) == int64(last)+1 || first == 0 && last == 1<<31-1 {
		return nil
	}
	return fmt.Errorf("%w: producer %d sent sequence %d, the last one seen is %d", ErrOutOfOrderSequence, producerID, first, last)
}

func (s *ProducerState) checkMarker(e *producerEntry, b record.Batch, marker *endTxnMarker) error {
	if b.ProducerEpoch() < e.epoch {
		return fmt.Errorf("%w: marker of producer %d has epoch %d, but %d was seen",
			ErrInvalidProducerEpoch, b.ProducerID(), b.ProducerEpoch(), e.epoch)
	}
	if e.coordinatorEpoch > marker.coordinatorEpoch {
		return fmt.Errorf("%w: marker of producer %d has coordinator epoch %d, but %d was seen",
			ErrTransactionCoordinatorFenced, b.ProducerID(), marker.coordinatorEpoch, e.coordinatorEpoch)
	}
	return nil
}

// apply takes in a batch that has its final offsets. It reports a transaction
// that the batch ended, if it had data.
func (s *ProducerState) apply(b record.Batch, marker *endTxnMarker) (completedTxn, bool) {
	pid := b.ProducerID()
	if pid == record.NoProducerID || b.IsControl() && marker == nil {
		return completedTxn{}, false
	}
	e := s.producers[pid]
	if e == nil {
		e = newProducerEntry()
		s.producers[pid] = e
	}
	e.setEpoch(b.ProducerEpoch())
	if marker != nil {
		return s.applyMarker(e, b, marker)
	}
	e.add(batchMeta{
		lastSeq: b.LastSequence(), offsetDelta: b.LastOffsetDelta(),
		lastOffset: b.LastOffset(), timestamp: b.MaxTimestamp(),
	})
	e.lastTimestamp = b.MaxTimestamp()
	if b.IsTransactional() && e.txnFirstOffset < 0 {
		e.txnFirstOffset = b.BaseOffset()
		s.insertOngoing(txnMeta{producerID: pid, firstOffset: b.BaseOffset(), lastOffset: -1})
	}
	return completedTxn{}, false
}

func (s *ProducerState) applyMarker(e *producerEntry, b record.Batch, marker *endTxnMarker) (completedTxn, bool) {
	first := e.txnFirstOffset
	e.coordinatorEpoch = marker.coordinatorEpoch
	e.lastTimestamp = marker.timestamp
	e.txnFirstOffset = -1
	if first < 0 {
		return completedTxn{}, false
	}
	return completedTxn{producerID: b.ProducerID(), firstOffset: first, lastOffset: b.BaseOffset(), aborted: marker.aborted}, true
}

func (s *ProducerState) insertOngoing(t txnMeta) {
	i, _ := slices.BinarySearchFunc(s.ongoing, t.firstOffset, func(x txnMeta, o int64) int { return cmpInt64(x.firstOffset, o) })
	s.ongoing = slices.Insert(s.ongoing, i, t)
}

func cmpInt64(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// lastStableOffsetAfter is the last stable offset to note beside an aborted
// transaction: the first offset of the oldest other open transaction, or the
// offset after the marker.
func (s *ProducerState) lastStableOffsetAfter(c completedTxn) int64 {
	for _, t := range s.ongoing {
		if t.producerID != c.producerID {
			return t.firstOffset
		}
	}
	return c.lastOffset + 1
}

// completeTxn moves an ended transaction to those that wait for the high
// watermark.
func (s *ProducerState) completeTxn(c completedTxn) {
	i, ok := slices.BinarySearchFunc(s.ongoing, c.firstOffset, func(x txnMeta, o int64) int { return cmpInt64(x.firstOffset, o) })
	if !ok {
		return
	}
	t := s.ongoing[i]
	t.lastOffset = c.lastOffset
	s.ongoing = slices.Delete(s.ongoing, i, i+1)
	j, _ := slices.BinarySearchFunc(s.unreplicated, t.firstOffset, func(x txnMeta, o int64) int { return cmpInt64(x.firstOffset, o) })
	s.unreplicated = slices.Insert(s.unreplicated, j, t)
}

// onHighWatermark forgets ended transactions whose marker is below it.
func (s *ProducerState) onHighWatermark(highWatermark int64) {
	s.unreplicated = slices.DeleteFunc(s.unreplicated, func(t txnMeta) bool { return t.lastOffset < highWatermark })
}

// firstUnstableOffset is the first offset that is undecided, or decided by a
// marker at or above the high watermark; -1 if there is none.
func (s *ProducerState) firstUnstableOffset() int64 {
	first := int64(-1)
	if len(s.ongoing) > 0 {
		first = s.ongoing[0].firstOffset
	}
	if len(s.unreplicated) > 0 && (first < 0 || s.unreplicated[0].firstOffset < first) {
		first = s.unreplicated[0].firstOffset
	}
	return first
}

// removeExpired forgets producers that have been idle for expirationMs and
// have no open transaction.
func (s *ProducerState) removeExpired(nowMs, expirationMs int64) {
	for id, e := range s.producers {
		if e.expired(nowMs, expirationMs) {
			delete(s.producers, id)
		}
	}
}

func (e *producerEntry) expired(nowMs, expirationMs int64) bool {
	return e.txnFirstOffset < 0 && nowMs-e.lastTimestamp >= expirationMs
}

// ProducerInfo is one active producer, as DescribeProducers reports it.
type ProducerInfo struct {
	ProducerID            int64
	ProducerEpoch         int32
	LastSequence          int32 // -1 if unknown
	LastTimestamp         int64
	CoordinatorEpoch      int32
	CurrentTxnStartOffset int64 // -1 without an open transaction
}

// list returns the active producers by id.
func (s *ProducerState) list() []ProducerInfo {
	infos := make([]ProducerInfo, 0, len(s.producers))
	for id, e := range s.producers {
		infos = append(infos, ProducerInfo{
			ProducerID: id, ProducerEpoch: int32(e.epoch), LastSequence: e.lastSeq(), LastTimestamp: e.lastTimestamp,
			CoordinatorEpoch: e.coordinatorEpoch, CurrentTxnStartOffset: e.txnFirstOffset,
		})
	}
	slices.SortFunc(infos, func(a, b ProducerInfo) int { return cmpInt64(a.ProducerID, b.ProducerID) })
	return infos
}
