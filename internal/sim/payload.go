package sim

import (
	"encoding/binary"
	"fmt"

	"freshet/compat/history"
	"freshet/record"
)

// payloadHeader is the identity of a write in front of its record's value.
const payloadHeader = 12

// appendPayload is the value of one record: who wrote it, its number, and
// filler that depends on both, so that a byte out of place shows.
func appendPayload(b []byte, id history.ID, filler int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(id.Producer))
	b = binary.BigEndian.AppendUint64(b, uint64(id.Counter))
	for i := range filler {
		b = append(b, byte(int64(id.Producer)*31+id.Counter*7+int64(i)))
	}
	return b
}

// parsePayload is the reverse; it fails when a byte is not what was written.
func parsePayload(b []byte) (history.ID, error) {
	if len(b) < payloadHeader {
		return history.ID{}, fmt.Errorf("a value of %d bytes was written by nobody", len(b))
	}
	id := history.ID{Producer: int32(binary.BigEndian.Uint32(b)), Counter: int64(binary.BigEndian.Uint64(b[4:]))}
	for i, c := range b[payloadHeader:] {
		if c != byte(int64(id.Producer)*31+id.Counter*7+int64(i)) {
			return id, fmt.Errorf("byte %d of the value of %v is not what was written", payloadHeader+i, id)
		}
	}
	return id, nil
}

// eachBatch visits the whole batches of data in order.
func eachBatch(data []byte, visit func(b record.Batch) error) error {
	for len(data) > 0 {
		size, err := record.Peek(data)
		if err != nil {
			return err
		}
		b := record.Batch(data[:size])
		if err := b.CheckCRC(); err != nil {
			return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
		}
		if err := visit(b); err != nil {
			return err
		}
		data = data[size:]
	}
	return nil
}

// eachWrite visits the writes of a batch by offset.
func eachWrite(b record.Batch, visit func(offset int64, id history.ID)) error {
	it, err := record.NewIterator(b, 0)
	if err != nil {
		return err
	}
	defer it.Close()
	for it.Next() {
		r := it.Record()
		id, err := parsePayload(r.Value)
		if err != nil {
			return fmt.Errorf("offset %d: %w", r.Offset, err)
		}
		visit(r.Offset, id)
	}
	return it.Err()
}
