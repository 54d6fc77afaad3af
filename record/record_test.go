package record

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

var allCodecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// testRecord is a record in comparable form.
type testRecord struct {
	ms         int64
	key, value []byte
	headers    []Header
}

// franzBatch encodes records with franz-go, an independent implementation.
func franzBatch(t testing.TB, codec Codec, records []testRecord) []byte {
	t.Helper()
	var raw []byte
	maxMs := int64(NoTimestamp)
	for i, r := range records {
		rec := kmsg.NewRecord()
		rec.TimestampDelta64 = r.ms - records[0].ms
		rec.TimestampDelta = int32(rec.TimestampDelta64)
		rec.OffsetDelta = int32(i)
		rec.Key, rec.Value = r.key, r.value
		for _, h := range r.headers {
			rec.Headers = append(rec.Headers, kmsg.Header{Key: string(h.Key), Value: h.Value})
		}
		// The length counts what follows it: encode once to learn the size.
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		raw = rec.AppendTo(raw)
		maxMs = max(maxMs, r.ms)
	}
	if codec != None {
		kgoCodec := map[Codec]kgo.CompressionCodec{
			Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(),
			LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
		}[codec]
		c, err := kgo.DefaultCompressor(kgoCodec)
		if err != nil {
			t.Fatal(err)
		}
		var dst bytes.Buffer
		out, used := c.Compress(&dst, raw)
		if int8(used) != int8(codec) {
			t.Fatalf("franz-go compressed with codec %d, want %d", used, codec)
		}
		raw = bytes.Clone(out)
	}
	kb := kmsg.NewRecordBatch()
	kb.Length = int32(HeaderSize - LogOverhead + len(raw))
	kb.PartitionLeaderEpoch = -1
	kb.Magic = 2
	kb.Attributes = int16(codec)
	kb.LastOffsetDelta = int32(len(records) - 1)
	kb.FirstTimestamp, kb.MaxTimestamp = records[0].ms, maxMs
	kb.ProducerID, kb.ProducerEpoch, kb.FirstSequence = -1, -1, -1
	kb.NumRecords = int32(len(records))
	kb.Records = raw
	return sealCRC(kb.AppendTo(nil))
}

// sealCRC stores the right CRC.
func sealCRC(b []byte) []byte {
	crc := Batch(b).ComputeCRC()
	b[CRCAt], b[CRCAt+1], b[CRCAt+2], b[CRCAt+3] = byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc)
	return b
}

// build encodes records with the Builder.
func build(t testing.TB, opts BuilderOptions, records []testRecord) []byte {
	t.Helper()
	var b Builder
	b.Reset(nil, opts)
	for _, r := range records {
		b.Append(r.ms, r.key, r.value, r.headers...)
	}
	out, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// withCodec are default options with a codec.
func withCodec(codec Codec) BuilderOptions {
	opts := DefaultBuilderOptions()
	opts.Codec = codec
	return opts
}

// sampleRecords exercise nulls, empties, headers and sizes around the varint
// and window boundaries.
func sampleRecords() []testRecord {
	records := []testRecord{
		{ms: 1000, key: []byte("k"), value: []byte("v")},
		{ms: 1001, key: nil, value: nil},
		{ms: 999, key: []byte{}, value: []byte{}},
		{ms: 1002, value: []byte("with headers"), headers: []Header{
			{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("null"), Value: nil}, {Key: nil, Value: []byte{}}}},
	}
	for _, size := range []int{50, 63, 64, 100, 1000, 8190, 8200, 70000, 200000} {
		records = append(records, testRecord{ms: int64(1000 + size), key: bytes.Repeat([]byte("key"), size%70),
			value: bytes.Repeat([]byte{'a' + byte(size%7)}, size)})
	}
	records = append(records, testRecord{ms: 5000, key: []byte("large headers"), value: bytes.Repeat([]byte("x"), 90000),
		headers: []Header{{Key: []byte("h"), Value: bytes.Repeat([]byte("y"), 70000)}, {Key: []byte("n")}}})
	for i := range 300 {
		records = append(records, testRecord{ms: 4000, value: []byte(fmt.Sprintf("record %d", i))})
	}
	return records
}

// lenient accepts sampleRecords whatever their size and time.
func lenient() *ValidateOptions {
	opt := DefaultValidateOptions()
	opt.MaxMessageBytes = 100 << 20
	opt.NowMs = 10000
	return &opt
}

// checkIterates compares what the Iterator reads with the records.
func checkIterates(t testing.TB, b []byte, want []testRecord) {
	t.Helper()
	it, err := NewIterator(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for i, w := range want {
		if !it.Next() {
			t.Fatalf("iterator ended at record %d of %d: %v", i, len(want), it.Err())
		}
		r := it.Record()
		if r.Offset != Batch(b).BaseOffset()+int64(i) || r.TimestampMs != w.ms {
			t.Fatalf("record %d: offset %d, timestamp %d; want timestamp %d", i, r.Offset, r.TimestampMs, w.ms)
		}
		if !sameBytes(r.Key, w.key) || !sameBytes(r.Value, w.value) {
			t.Fatalf("record %d: key or value differ", i)
		}
		headers := r.Headers(nil)
		if len(headers) != len(w.headers) || r.HeaderCount() != len(w.headers) {
			t.Fatalf("record %d: %d headers, want %d", i, len(headers), len(w.headers))
		}
		for j, h := range headers {
			if !bytes.Equal(h.Key, w.headers[j].Key) || !sameBytes(h.Value, w.headers[j].Value) {
				t.Fatalf("record %d header %d differs", i, j)
			}
		}
	}
	if it.Next() || it.Err() != nil {
		t.Fatalf("iterator does not end cleanly: %v", it.Err())
	}
}

// sameBytes is equality that tells null from empty.
func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func TestValidateAcceptsFranzBatches(t *testing.T) {
	for _, codec := range allCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			records := sampleRecords()
			b := franzBatch(t, codec, records)
			before := bytes.Clone(b)
			result, err := Validate(b, lenient())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, before) {
				t.Fatal("Validate changed a sound batch")
			}
			if result.MaxTimestampMs != 201000 || result.OffsetDeltaOfMaxTimestamp != 12 {
				t.Fatalf("result %+v", result)
			}
			checkIterates(t, b, records)
		})
	}
}

func TestBuilderMatchesFranz(t *testing.T) {
	records := sampleRecords()
	if got, want := build(t, DefaultBuilderOptions(), records), franzBatch(t, None, records); !bytes.Equal(got, want) {
		t.Fatal("the Builder's uncompressed batch differs from franz-go's")
	}
	for _, codec := range allCodecs {
		b := build(t, withCodec(codec), records)
		if _, err := Validate(b, lenient()); err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		checkIterates(t, b, records)
		checkFranzReads(t, codec, b, records)
	}
}

// checkFranzReads parses a batch as franz-go's consumer does.
func checkFranzReads(t *testing.T, codec Codec, b []byte, want []testRecord) {
	t.Helper()
	part := kmsg.NewFetchResponseTopicPartition()
	part.RecordBatches = b
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &part, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil || next != int64(len(want)) || len(fp.Records) != len(want) {
		t.Fatalf("%s: franz-go reads %d records of %d, next %d: %v", codec, len(fp.Records), len(want), next, fp.Err)
	}
	for i, r := range fp.Records {
		if !bytes.Equal(r.Key, want[i].key) || !bytes.Equal(r.Value, want[i].value) ||
			r.Timestamp.UnixMilli() != want[i].ms || len(r.Headers) != len(want[i].headers) {
			t.Fatalf("%s: record %d differs", codec, i)
		}
	}
}

// TestBareSnappy: clients other than Java's also send one unframed block.
func TestBareSnappy(t *testing.T) {
	records := sampleRecords()
	plain := build(t, DefaultBuilderOptions(), records)
	b := replaceRecords(plain, Snappy, snappy.Encode(nil, plain[HeaderSize:]))
	if _, err := Validate(b, lenient()); err != nil {
		t.Fatal(err)
	}
	checkIterates(t, b, records)
}

// replaceRecords makes a batch with the header of b, a codec and other bytes.
func replaceRecords(b []byte, codec Codec, data []byte) []byte {
	out := append(bytes.Clone(b[:HeaderSize]), data...)
	out[AttributesAt+1] = out[AttributesAt+1]&^CompressionMask | byte(codec)
	size := len(out) - LogOverhead
	out[LengthAt], out[LengthAt+1], out[LengthAt+2], out[LengthAt+3] =
		byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	return sealCRC(out)
}

func TestRoundTripRapid(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		blob := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 300))
		n := rapid.IntRange(1, 40).Draw(rt, "records")
		var records []testRecord
		for range n {
			r := testRecord{ms: rapid.Int64Range(0, 10000).Draw(rt, "ms"), key: blob.Draw(rt, "key"), value: blob.Draw(rt, "value")}
			for range rapid.IntRange(0, 3).Draw(rt, "headers") {
				r.headers = append(r.headers, Header{
					Key: rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(rt, "header key"), Value: blob.Draw(rt, "header value")})
			}
			records = append(records, r)
		}
		opts := withCodec(rapid.SampledFrom(allCodecs).Draw(rt, "codec"))
		b := build(t, opts, records)
		if _, err := Validate(b, lenient()); err != nil {
			rt.Fatal(err)
		}
		checkIterates(t, b, records)
	})
}

func TestEndTxnMarker(t *testing.T) {
	b, err := AppendEndTxnMarker([]byte("before"), EndTxnMarker{Commit: true, ProducerID: 7, ProducerEpoch: 3,
		CoordinatorEpoch: 9, TimestampMs: 55, BaseOffset: 100, LeaderEpoch: 4})
	if err != nil {
		t.Fatal(err)
	}
	batch := Batch(b[len("before"):])
	if err := batch.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if !batch.IsControl() || !batch.IsTransactional() || batch.ProducerID() != 7 || batch.LastOffset() != 100 ||
		batch.BaseSequence() != NoSequence || batch.LeaderEpoch() != 4 {
		t.Fatalf("marker header is wrong: % x", []byte(batch))
	}
	it, err := NewIterator(batch, 0)
	if err != nil || !it.Next() {
		t.Fatal(err, it.Err())
	}
	kind, err := ParseControlKey(it.Record().Key)
	if err != nil || kind != ControlCommit {
		t.Fatalf("control type %v, %v", kind, err)
	}
	if epoch, err := ParseEndTxnMarker(it.Record().Value); err != nil || epoch != 9 {
		t.Fatalf("coordinator epoch %d, %v", epoch, err)
	}
}

func TestRecompress(t *testing.T) {
	records := sampleRecords()
	for _, from := range allCodecs {
		for _, to := range allCodecs {
			out, err := Recompress([]byte("before"), build(t, withCodec(from), records), to, 0)
			if err != nil {
				t.Fatal(err)
			}
			out = out[len("before"):]
			if _, err := Validate(out, lenient()); err != nil {
				t.Fatalf("%s to %s: %v", from, to, err)
			}
			if Batch(out).Codec() != to {
				t.Fatalf("%s to %s: codec %s", from, to, Batch(out).Codec())
			}
			checkIterates(t, out, records)
		}
	}
}

// TestWideZstdWindow: levels above 19 ask for windows that no pooled decoder keeps.
func TestWideZstdWindow(t *testing.T) {
	plain := build(t, DefaultBuilderOptions(), sampleRecords())
	var compressed bytes.Buffer
	w, err := zstd.NewWriter(&compressed, zstd.WithWindowSize(64<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	// Written in two parts, so that the encoder does not know the size and
	// declares its whole window, as streaming clients do.
	half := len(plain) / 2
	for _, part := range [][]byte{plain[HeaderSize:half], plain[half:]} {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b := replaceRecords(plain, Zstd, compressed.Bytes())
	for range 2 {
		if _, err := Validate(b, lenient()); err != nil {
			t.Fatal(err)
		}
	}
	checkIterates(t, b, sampleRecords())
}

// TestRefusesLinkedLZ4: Kafka's Java client cannot read dependent blocks, so
// they must not reach the log.
func TestRefusesLinkedLZ4(t *testing.T) {
	b := build(t, withCodec(LZ4), sampleRecords()[:4])
	b[HeaderSize+4] &^= lz4BlockIndependence
	if _, err := Validate(sealCRC(b), lenient()); !errors.Is(err, ErrDecompress) {
		t.Fatal(err)
	}
}
