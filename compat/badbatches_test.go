//go:build compat

package compat

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// varint is a zigzag varint, as records use.
func varint(n int64) []byte { return binary.AppendVarint(nil, n) }

// rawRecord is one record of format 2: attributes, deltas, key, value, no headers.
func rawRecord(offsetDelta int64, value string) []byte {
	body := slices.Concat([]byte{0}, varint(0), varint(offsetDelta), varint(-1), varint(int64(len(value))), []byte(value), varint(0))
	return append(varint(int64(len(body))), body...)
}

// goodBatch is a valid uncompressed batch of n records, to be spoilt by a case.
func goodBatch(n int) kmsg.RecordBatch {
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(n - 1), FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(n)}
	for i := range n {
		b.Records = append(b.Records, rawRecord(int64(i), fmt.Sprint("value-", i))...)
	}
	return b
}

// encodeBatch fills in length and CRC.
func encodeBatch(b kmsg.RecordBatch) []byte {
	b.Length = int32(49 + len(b.Records))
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// spoilt encodes a batch of one record after a change to its fields.
func spoilt(change func(*kmsg.RecordBatch)) []byte {
	b := goodBatch(1)
	change(&b)
	return encodeBatch(b)
}

// patched encodes a good batch and then changes its bytes, CRC included or not.
func patched(change func(raw []byte) []byte) []byte { return change(encodeBatch(goodBatch(3))) }

// zipped compresses bytes with gzip.
func zipped(data []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write(data)
	_ = w.Close()
	return buf.Bytes()
}

// produceRaw asks for one batch in one partition.
func produceRaw(topic string, partition int32, version, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 5000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: partition, Records: records}}}}
	return req
}

// badRecordBodies are batches whose header is right and whose records are not.
func badRecordBodies() map[string][]byte {
	records := func(raw []byte, n int32) []byte {
		return spoilt(func(b *kmsg.RecordBatch) { b.Records, b.NumRecords, b.LastOffsetDelta = raw, n, n-1 })
	}
	body := func(parts ...[]byte) []byte {
		all := slices.Concat(parts...)
		return append(varint(int64(len(all))), all...)
	}
	zero, null := varint(0), varint(-1)
	return map[string][]byte{
		"record of length 0":             records(varint(0), 1),
		"record of negative length":      records(varint(-5), 1),
		"record longer than the batch":   records(varint(1000), 1),
		"record length without end":      records(bytes.Repeat([]byte{0xff}, 12), 1),
		"record key of length -2":        records(body([]byte{0}, zero, zero, varint(-2), null, zero), 1),
		"record key longer than record":  records(body([]byte{0}, zero, zero, varint(500), null, zero), 1),
		"record value longer than it":    records(body([]byte{0}, zero, zero, null, varint(500), zero), 1),
		"record with 2147483647 headers": records(body([]byte{0}, zero, zero, null, null, varint(2147483647)), 1),
		"record with -1 headers":         records(body([]byte{0}, zero, zero, null, null, varint(-1)), 1),
		"record with a null header key":  records(body([]byte{0}, zero, zero, null, null, varint(1), null, null), 1),
		"record with bytes left over":    records(body([]byte{0}, zero, zero, null, null, zero, []byte("left over")), 1),
		"bytes after the last record":    records(append(rawRecord(0, "v"), "left over"...), 1),
		"offset deltas 0, 0":             records(append(rawRecord(0, "a"), rawRecord(0, "b")...), 2),
		"offset deltas 1, 0":             records(append(rawRecord(1, "a"), rawRecord(0, "b")...), 2),
		"offset deltas 0, 5":             records(append(rawRecord(0, "a"), rawRecord(5, "b")...), 2),
	}
}

// badBatchHeaders are batches whose fixed part is wrong.
func badBatchHeaders() map[string][]byte {
	field := func(at int, value ...byte) []byte {
		return patched(func(raw []byte) []byte { copy(raw[at:], value); return raw })
	}
	return map[string][]byte{
		"valid":                           encodeBatch(goodBatch(3)),
		"wrong CRC":                       field(17, 1, 2, 3, 4),
		"a flipped bit in a record":       patched(func(raw []byte) []byte { raw[len(raw)-3] ^= 1; return raw }),
		"magic 0":                         field(16, 0),
		"magic 1":                         field(16, 1),
		"magic 3":                         field(16, 3),
		"magic -1":                        field(16, 0xff),
		"batch length 0":                  field(8, 0, 0, 0, 0),
		"batch length -1":                 field(8, 0xff, 0xff, 0xff, 0xff),
		"batch length 2147483647":         field(8, 0x7f, 0xff, 0xff, 0xff),
		"batch length 10":                 field(8, 0, 0, 0, 10),
		"cut after 30 bytes":              patched(func(raw []byte) []byte { return raw[:30] }),
		"cut by one byte":                 patched(func(raw []byte) []byte { return raw[:len(raw)-1] }),
		"one byte more":                   patched(func(raw []byte) []byte { return append(raw, 0) }),
		"two batches":                     patched(func(raw []byte) []byte { return append(raw, raw...) }),
		"no bytes":                        {},
		"null records":                    nil,
		"0 records":                       spoilt(func(b *kmsg.RecordBatch) { b.NumRecords = 0 }),
		"-1 records":                      spoilt(func(b *kmsg.RecordBatch) { b.NumRecords = -1 }),
		"2147483647 records":              spoilt(func(b *kmsg.RecordBatch) { b.NumRecords = 2147483647 }),
		"2 records claimed, 1 there":      spoilt(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 2, 1 }),
		"1 record claimed, 2 there":       spoilt(func(b *kmsg.RecordBatch) { b.Records = append(b.Records, rawRecord(1, "v")...) }),
		"last offset delta 5 of 1 record": spoilt(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 5 }),
		"last offset delta -1":            spoilt(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = -1 }),
		"base offset 7":                   spoilt(func(b *kmsg.RecordBatch) { b.FirstOffset = 7 }),
		"base offset -7":                  spoilt(func(b *kmsg.RecordBatch) { b.FirstOffset = -7 }),
		"an empty batch":                  spoilt(func(b *kmsg.RecordBatch) { b.Records, b.NumRecords, b.LastOffsetDelta = nil, 0, -1 }),
		"control batch":                   spoilt(func(b *kmsg.RecordBatch) { b.Attributes = 1 << 5 }),
		"transactional without producer":  spoilt(func(b *kmsg.RecordBatch) { b.Attributes = 1 << 4 }),
		"log append time from a client":   spoilt(func(b *kmsg.RecordBatch) { b.Attributes = 1 << 3 }),
		"compression type 5":              spoilt(func(b *kmsg.RecordBatch) { b.Attributes = 5 }),
		"compression type 7":              spoilt(func(b *kmsg.RecordBatch) { b.Attributes = 7 }),
		"unused attribute bits":           spoilt(func(b *kmsg.RecordBatch) { b.Attributes = 0x7f00 }),
		"gzip of nonsense":                spoilt(func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 1, []byte("no gzip at all") }),
		"snappy of nonsense":              spoilt(func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 2, []byte("no snappy at all") }),
		"lz4 of nonsense":                 spoilt(func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 3, []byte("no lz4 at all") }),
		"zstd of nonsense":                spoilt(func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 4, []byte("no zstd at all") }),
		"gzip of nothing":                 spoilt(func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 1, zipped(nil) }),
		"gzip with bytes left over":       spoilt(func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 1, zipped(append(rawRecord(0, "v"), 1, 2, 3)) }),
		"gzip cut short": spoilt(func(b *kmsg.RecordBatch) {
			z := zipped(rawRecord(0, "value"))
			b.Attributes, b.Records = 1, z[:len(z)-9]
		}),
		"gzip, 256 MiB of zeros": spoilt(func(b *kmsg.RecordBatch) { b.Attributes, b.Records = 1, zipped(make([]byte, 256<<20)) }),
		"gzip, a record of 200 MiB": spoilt(func(b *kmsg.RecordBatch) {
			b.Attributes, b.Records = 1, zipped(rawRecord(0, string(make([]byte, 200<<20))))
		}),
		"timestamp -1":                     spoilt(func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = -1, -1 }),
		"timestamp -5":                     spoilt(func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.MaxTimestamp = -5, -5 }),
		"timestamp in 10 years":            spoilt(func(b *kmsg.RecordBatch) { b.FirstTimestamp += 315e9; b.MaxTimestamp = b.FirstTimestamp }),
		"largest timestamp below the true": spoilt(func(b *kmsg.RecordBatch) { b.MaxTimestamp -= 5000 }),
		"producer id without epoch":        spoilt(func(b *kmsg.RecordBatch) { b.ProducerID, b.FirstSequence = 777001, 0 }),
		"producer epoch without sequence":  spoilt(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch = 777002, 0 }),
		"sequence without producer id":     spoilt(func(b *kmsg.RecordBatch) { b.FirstSequence = 5 }),
		"producer id -7":                   spoilt(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = -7, 0, 0 }),
	}
}

func badBatches(t *testing.T, b *broker) {
	g := openGolden(t, "batches")
	createTopic(t, b, "golden-batches", 1, nil)
	for _, cases := range []map[string][]byte{badBatchHeaders(), badRecordBodies()} {
		for name, records := range cases {
			g.compare(t, name, rawExchange(t, b, produceRaw("golden-batches", 0, 9, -1, records)))
		}
	}
	valid := encodeBatch(goodBatch(1))
	for name, req := range map[string]*kmsg.ProduceRequest{
		"to partition -1":       produceRaw("golden-batches", -1, 9, -1, valid),
		"to partition 99":       produceRaw("golden-batches", 99, 9, -1, valid),
		"to no such topic":      produceRaw("golden-none", 0, 9, -1, valid),
		"to the empty topic":    produceRaw("", 0, 9, -1, valid),
		"to an invalid topic":   produceRaw("a/b", 0, 9, -1, valid),
		"to __consumer_offsets": produceRaw("__consumer_offsets", 0, 9, -1, valid),
		"acks 2":                produceRaw("golden-batches", 0, 9, 2, valid),
		"acks -2":               produceRaw("golden-batches", 0, 9, -2, valid),
		"zstd in version 6":     produceRaw("golden-batches", 0, 6, -1, spoilt(func(b *kmsg.RecordBatch) { b.Attributes = 4 })),
		"valid in version 3":    produceRaw("golden-batches", 0, 3, -1, valid),
		"valid, acks 1":         produceRaw("golden-batches", 0, 9, 1, valid),
	} {
		g.compare(t, "produce "+name, rawExchange(t, b, req))
	}
	large := goodBatch(1)
	large.Records = rawRecord(0, string(make([]byte, 1100000)))
	g.compare(t, "produce a batch above max.message.bytes", rawExchange(t, b, produceRaw("golden-batches", 0, 9, -1, encodeBatch(large))))
	idempotentBatches(t, b, g)
	createTopic(t, b, "golden-compacted", 1, map[string]*string{"cleanup.policy": kmsg.StringPtr("compact")})
	g.compare(t, "no key to a compacted topic", rawExchange(t, b, produceRaw("golden-compacted", 0, 9, -1, valid)))
}

// idempotentBatches walks through the sequence numbers of one producer: new, repeated, skipped, fenced.
func idempotentBatches(t *testing.T, b *broker, g *golden) {
	batch := func(epoch int16, sequence int32, n int) []byte {
		one := goodBatch(n)
		one.ProducerID, one.ProducerEpoch, one.FirstSequence = 888001, epoch, sequence
		return encodeBatch(one)
	}
	createTopic(t, b, "golden-sequences", 1, nil)
	for i, step := range []struct {
		epoch    int16
		sequence int32
		count    int
	}{{0, 0, 3}, {0, 3, 2}, {0, 3, 2}, {0, 0, 3}, {0, 4, 1}, {0, 7, 1}, {0, 5, 1}, {1, 3, 1}, {1, 0, 1}, {0, 6, 1}, {1, 1, 1},
		{1, 2147483647, 1}, {-1, 2, 1}, {1, -1, 1}} {
		req := produceRaw("golden-sequences", 0, 9, -1, batch(step.epoch, step.sequence, step.count))
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		c := dialRaw(t, b)
		got := c.exchange(c.frame(req), resp)
		if len(resp.Topics) > 0 && got == "ok" {
			got += fmt.Sprintf(" at %d", resp.Topics[0].Partitions[0].BaseOffset)
		}
		g.compare(t, fmt.Sprintf("sequence step %02d, epoch %d sequence %d of %d records", i+1, step.epoch, step.sequence, step.count), got)
	}
}
