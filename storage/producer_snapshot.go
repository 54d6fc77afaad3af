package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"freshet/record"
)

const (
	snapshotVersion    = 1
	snapshotHeaderSize = 6  // int16 version, uint32 crc
	snapshotEntrySize  = 46 // see encodeSnapshot
)

// encodeSnapshot is the .snapshot form of the state (Kafka:
// ProducerStateManager, version 1): version, CRC-32C of what follows, count,
// and entries of producer id, epoch, last sequence, last offset, offset delta,
// timestamp, coordinator epoch and first offset of the open transaction.
//
// Kafka writes one entry a producer, and so forgets the older batches that are
// still in flight: a retry of one is refused as out of order after a restart.
// Here each remembered batch has an entry, the newest last, which alone has the
// open transaction. Kafka takes the last of several entries of a producer.
func (s *ProducerState) encodeSnapshot() []byte {
	ids := make([]int64, 0, len(s.producers))
	entries := 0
	for id, e := range s.producers {
		ids = append(ids, id)
		entries += max(1, int(e.n))
	}
	slices.Sort(ids)
	be := binary.BigEndian
	buf := make([]byte, snapshotHeaderSize, snapshotHeaderSize+4+entries*snapshotEntrySize)
	be.PutUint16(buf, snapshotVersion)
	buf = be.AppendUint32(buf, uint32(entries))
	for _, id := range ids {
		e := s.producers[id]
		older := e.batches[:max(0, int(e.n)-1)]
		for i := range older {
			buf = e.appendSnapshot(buf, id, &older[i], older[i].timestamp, -1)
		}
		last := &batchMeta{lastSeq: record.NoSequence, lastOffset: -1}
		if e.n > 0 {
			last = e.last()
		}
		buf = e.appendSnapshot(buf, id, last, e.lastTimestamp, e.txnFirstOffset)
	}
	be.PutUint32(buf[2:], crc32.Checksum(buf[snapshotHeaderSize:], record.Castagnoli))
	return buf
}

// appendSnapshot appends one entry.
func (e *producerEntry) appendSnapshot(buf []byte, id int64, m *batchMeta, timestamp, txnFirstOffset int64) []byte {
	be := binary.BigEndian
	buf = be.AppendUint64(buf, uint64(id))
	buf = be.AppendUint16(buf, uint16(e.epoch))
	buf = be.AppendUint32(buf, uint32(m.lastSeq))
	buf = be.AppendUint64(buf, uint64(m.lastOffset))
	buf = be.AppendUint32(buf, uint32(m.offsetDelta))
	buf = be.AppendUint64(buf, uint64(timestamp))
	buf = be.AppendUint32(buf, uint32(e.coordinatorEpoch))
	return be.AppendUint64(buf, uint64(txnFirstOffset))
}

// decodeSnapshot reads the .snapshot form; offset is that of its name.
func decodeSnapshot(data []byte, offset int64) (*ProducerState, error) {
	be := binary.BigEndian
	if len(data) < snapshotHeaderSize+4 {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorruptSnapshot, len(data))
	}
	if v := be.Uint16(data); v != snapshotVersion {
		return nil, fmt.Errorf("%w: unknown version %d", ErrCorruptSnapshot, v)
	}
	if crc := crc32.Checksum(data[snapshotHeaderSize:], record.Castagnoli); crc != be.Uint32(data[2:]) {
		return nil, fmt.Errorf("%w: CRC is %08x, stored is %08x", ErrCorruptSnapshot, crc, be.Uint32(data[2:]))
	}
	n := int(int32(be.Uint32(data[snapshotHeaderSize:])))
	body := data[snapshotHeaderSize+4:]
	if n < 0 || len(body) != n*snapshotEntrySize {
		return nil, fmt.Errorf("%w: %d bytes for %d producers", ErrCorruptSnapshot, len(body), n)
	}
	s := newProducerState(offset)
	for ; n > 0; n, body = n-1, body[snapshotEntrySize:] {
		id := int64(be.Uint64(body))
		e := s.producers[id]
		if e == nil {
			e = newProducerEntry()
			s.producers[id] = e
		}
		e.setEpoch(int16(be.Uint16(body[8:])))
		e.lastTimestamp = int64(be.Uint64(body[26:]))
		e.coordinatorEpoch = int32(be.Uint32(body[34:]))
		e.txnFirstOffset = max(int64(be.Uint64(body[38:])), -1)
		m := batchMeta{
			lastSeq: int32(be.Uint32(body[10:])), lastOffset: int64(be.Uint64(body[14:])),
			offsetDelta: int32(be.Uint32(body[22:])), timestamp: e.lastTimestamp,
		}
		if m.lastOffset >= 0 {
			e.add(m)
		}
	}
	for id, e := range s.producers {
		if e.n > 0 {
			e.last().timestamp = e.lastTimestamp
		}
		if e.txnFirstOffset >= 0 {
			s.insertOngoing(txnMeta{producerID: id, firstOffset: e.txnFirstOffset, lastOffset: -1})
		}
	}
	return s, nil
}
