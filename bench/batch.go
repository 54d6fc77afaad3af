package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"freshet/record"
)

// PrebuiltBatch is a v2 record batch made before the run: records without key
// and headers, all of one value size, base offset 0, a valid CRC. The base
// offset lies outside the CRC, so the same bytes can be appended any number of
// times.
type PrebuiltBatch struct {
	Bytes      record.Batch
	Records    int
	ValueBytes int
	// Checksum is the sum of valueChecksum over the records.
	Checksum uint64
}

// valueChecksum reduces a record's value to its first eight bytes. Sums of it
// do not depend on order, and cost the client next to nothing; the bytes as a
// whole are covered by each batch's CRC.
func valueChecksum(value []byte) uint64 {
	if len(value) >= 8 {
		return binary.LittleEndian.Uint64(value)
	}
	var padded [8]byte
	copy(padded[:], value)
	return binary.LittleEndian.Uint64(padded[:])
}

// BuildBatch fills a batch with records of valueBytes each, as many as fit in
// maxBatchBytes but at least one and at most maxRecords (0: no limit). The
// values are letters, as Kafka's producer-perf tool writes them, from a fixed
// seed. timestampMs stamps every record.
func BuildBatch(valueBytes, maxBatchBytes, maxRecords int, timestampMs int64) PrebuiltBatch {
	letters := rand.New(rand.NewPCG(1, uint64(valueBytes)))
	b := make([]byte, record.HeaderSize, max(maxBatchBytes, record.HeaderSize+valueBytes+32))
	body := make([]byte, 0, valueBytes+32)
	count, checksum := 0, uint64(0)
	for maxRecords == 0 || count < maxRecords {
		body = body[:0]
		body = append(body, 0)                              // attributes
		body = binary.AppendVarint(body, 0)                 // timestamp delta
		body = binary.AppendVarint(body, int64(count))      // offset delta
		body = binary.AppendVarint(body, -1)                // no key
		body = binary.AppendVarint(body, int64(valueBytes)) // value length
		valueAt := len(body)
		for range valueBytes {
			body = append(body, byte('A'+letters.IntN(26)))
		}
		value := valueChecksum(body[valueAt:])
		body = binary.AppendVarint(body, 0) // no headers
		grown := binary.AppendVarint(b, int64(len(body)))
		grown = append(grown, body...)
		if len(grown) > maxBatchBytes && count > 0 {
			break
		}
		b = grown
		count++
		checksum += value
	}
	sealBatch(b, count, timestampMs)
	return PrebuiltBatch{Bytes: b, Records: count, ValueBytes: valueBytes, Checksum: checksum}
}

// sealBatch writes the header of a batch whose records are in place.
func sealBatch(b record.Batch, count int, timestampMs int64) {
	be := binary.BigEndian
	be.PutUint64(b[record.BaseOffsetAt:], 0)
	be.PutUint32(b[record.LengthAt:], uint32(len(b)-record.LogOverhead))
	be.PutUint32(b[record.LeaderEpochAt:], ^uint32(0))
	b[record.MagicAt] = record.MagicV2
	be.PutUint16(b[record.AttributesAt:], 0)
	be.PutUint32(b[record.LastOffsetDeltaAt:], uint32(count-1))
	be.PutUint64(b[record.BaseTimestampAt:], uint64(timestampMs))
	be.PutUint64(b[record.MaxTimestampAt:], uint64(timestampMs))
	be.PutUint64(b[record.ProducerIDAt:], ^uint64(0))
	be.PutUint16(b[record.ProducerEpochAt:], ^uint16(0))
	be.PutUint32(b[record.BaseSequenceAt:], ^uint32(0))
	be.PutUint32(b[record.CountAt:], uint32(count))
	be.PutUint32(b[record.CRCAt:], b.ComputeCRC())
}

// CheckBatches walks the whole batches in data and returns how many bytes and
// records they hold; a partial batch at the end is left out. Every batch must
// follow the one before (the first starts at wantOffset) and carry a right
// CRC.
func CheckBatches(data []byte, wantOffset int64) (bytes int, records int64, err error) {
	for len(data)-bytes >= record.HeaderSize {
		b := record.Batch(data[bytes:])
		size := b.SizeInBytes()
		if size < record.HeaderSize {
			return bytes, records, fmt.Errorf("the batch at offset %d claims %d bytes", wantOffset+records, size)
		}
		if size > len(b) {
			break
		}
		b = b[:size]
		if b.BaseOffset() != wantOffset+records {
			return bytes, records, fmt.Errorf("read base offset %d where %d was next", b.BaseOffset(), wantOffset+records)
		}
		if b.CRC() != b.ComputeCRC() {
			return bytes, records, fmt.Errorf("the batch at offset %d has CRC %08x and should have %08x",
				b.BaseOffset(), b.CRC(), b.ComputeCRC())
		}
		bytes += size
		records += int64(b.LastOffsetDelta()) + 1
	}
	return bytes, records, nil
}
