package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"

	"freshet/vfs"
)

// AbortedTxn is an aborted transaction, noted in the segment of its marker
// (Kafka: AbortedTxn).
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64 // of the transaction's first record
	LastOffset  int64 // of the abort marker
	// LastStableOffset is the last stable offset once the marker is written: a
	// search for an upper bound at or below it ends here.
	LastStableOffset int64
}

const (
	abortedTxnVersion = 0
	abortedTxnSize    = 34 // int16 version and four int64
)

// txnIndex is a segment's aborted transactions by marker offset. They are few:
// loaded on use and kept. Guarded by the segment's indexMu.
type txnIndex struct {
	entries []AbortedTxn
	loaded  bool
	dirty   bool // entries that the file lacks
}

func encodeAborted(entries []AbortedTxn) []byte {
	be := binary.BigEndian
	buf := make([]byte, 0, len(entries)*abortedTxnSize)
	for _, e := range entries {
		buf = be.AppendUint16(buf, abortedTxnVersion)
		buf = be.AppendUint64(buf, uint64(e.ProducerID))
		buf = be.AppendUint64(buf, uint64(e.FirstOffset))
		buf = be.AppendUint64(buf, uint64(e.LastOffset))
		buf = be.AppendUint64(buf, uint64(e.LastStableOffset))
	}
	return buf
}

func decodeAborted(data []byte) ([]AbortedTxn, error) {
	if len(data)%abortedTxnSize != 0 {
		return nil, fmt.Errorf("transaction index of %d bytes is not a multiple of %d", len(data), abortedTxnSize)
	}
	be := binary.BigEndian
	entries := make([]AbortedTxn, 0, len(data)/abortedTxnSize)
	for ; len(data) > 0; data = data[abortedTxnSize:] {
		if v := be.Uint16(data); v != abortedTxnVersion {
			return nil, fmt.Errorf("transaction index entry has version %d", v)
		}
		e := AbortedTxn{
			ProducerID: int64(be.Uint64(data[2:])), FirstOffset: int64(be.Uint64(data[10:])),
			LastOffset: int64(be.Uint64(data[18:])), LastStableOffset: int64(be.Uint64(data[26:])),
		}
		if e.FirstOffset > e.LastOffset || len(entries) > 0 && e.LastOffset <= entries[len(entries)-1].LastOffset {
			return nil, fmt.Errorf("transaction index entry for offset %d is out of order", e.LastOffset)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// loadTxnsLocked reads the file unless that was done; indexMu is held.
func (s *LogSegment) loadTxnsLocked() error {
	if s.txns.loaded {
		return nil
	}
	data, err := vfs.ReadFile(s.fs, s.path(txnIndexSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		s.txns.loaded = true
		return nil
	}
	if err != nil {
		return err
	}
	if s.txns.entries, err = decodeAborted(data); err != nil {
		return fmt.Errorf("%s: %w", s.path(txnIndexSuffix), err)
	}
	s.txns.loaded = true
	return nil
}

// addAborted notes an aborted transaction whose marker is in s; one that is
// known already (a replay) is left alone.
func (s *LogSegment) addAborted(t AbortedTxn) error {
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if err := s.loadTxnsLocked(); err != nil {
		return err
	}
	if n := len(s.txns.entries); n > 0 && s.txns.entries[n-1].LastOffset >= t.LastOffset {
		return nil
	}
	s.txns.entries = append(s.txns.entries, t)
	s.txns.dirty = true
	return nil
}

// endTxn completes a transaction whose marker is in s, and notes it if aborted.
func (s *LogSegment) endTxn(state *ProducerState, txn completedTxn) error {
	var err error
	if txn.aborted {
		err = s.addAborted(AbortedTxn{
			ProducerID: txn.producerID, FirstOffset: txn.firstOffset, LastOffset: txn.lastOffset,
			LastStableOffset: state.lastStableOffsetAfter(txn),
		})
	}
	state.completeTxn(txn)
	return err
}

// cutTxnsLocked drops the transactions whose marker is at or after end.
func (s *LogSegment) cutTxnsLocked(end int64) {
	i := sort.Search(len(s.txns.entries), func(i int) bool { return s.txns.entries[i].LastOffset >= end })
	if i < len(s.txns.entries) {
		s.txns.entries = slices.Clip(s.txns.entries[:i])
		s.txns.dirty = true
	}
}

// persistTxns writes the file if it lacks entries. It comes before the
// producer snapshot that has forgotten the transactions. The caller holds the
// log's flushMu.
func (s *LogSegment) persistTxns() error {
	s.indexMu.RLock()
	dirty, cuts := s.txns.dirty, s.cuts
	entries := slices.Clone(s.txns.entries)
	s.indexMu.RUnlock()
	if !dirty || s.gone.Load() {
		return nil
	}
	if err := vfs.WriteFileAtomic(s.fs, s.path(txnIndexSuffix), encodeAborted(entries)); err != nil {
		return err
	}
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if s.cuts == cuts && len(s.txns.entries) == len(entries) {
		s.txns.dirty = false
	}
	return nil
}

// AbortedTransactions lists the aborted transactions that a read of [from, to)
// under read_committed must skip (Kafka: LogSegment.collectAbortedTxns). It may
// read files.
func (l *Log) AbortedTransactions(from, to int64) ([]AbortedTxn, error) {
	var found []AbortedTxn
	list := *l.segments.Load()
	for i := max(0, list.floorIndex(from)); i < len(list); i++ {
		entries, err := list[i].aborted()
		if err != nil {
			if list[i].gone.Load() {
				continue
			}
			return nil, fmt.Errorf("aborted transactions of %s: %w", l.tp, err)
		}
		for _, e := range entries {
			if e.LastOffset >= from && e.FirstOffset < to {
				found = append(found, e)
			}
			if e.LastStableOffset >= to {
				return found, nil
			}
		}
	}
	return found, nil
}

// aborted returns the segment's entries; the slice must not be written to.
func (s *LogSegment) aborted() ([]AbortedTxn, error) {
	s.indexMu.RLock()
	if s.txns.loaded {
		defer s.indexMu.RUnlock()
		return s.txns.entries[:len(s.txns.entries):len(s.txns.entries)], nil
	}
	s.indexMu.RUnlock()
	s.indexMu.Lock()
	defer s.indexMu.Unlock()
	if err := s.loadTxnsLocked(); err != nil {
		return nil, err
	}
	return s.txns.entries[:len(s.txns.entries):len(s.txns.entries)], nil
}
