package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
)

// mutate returns a copy of b changed by change, with a right CRC.
func mutate(b []byte, change func([]byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	return sealCRC(b)
}

func TestValidateRefuses(t *testing.T) {
	plain := build(t, DefaultBuilderOptions(), sampleRecords()[:5])
	idempotent := DefaultBuilderOptions()
	idempotent.ProducerID, idempotent.ProducerEpoch, idempotent.BaseSequence = 9, 0, 0
	withID := build(t, idempotent, sampleRecords()[:5])
	attributes := func(bits byte) func([]byte) { return func(b []byte) { b[AttributesAt+1] |= bits } }
	put32 := func(at int, v int32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], uint32(v)) }
	}
	f := func(name string, b []byte, opt *ValidateOptions, want error) {
		t.Helper()
		if _, err := Validate(b, opt); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	f("empty", nil, lenient(), ErrTruncated)
	f("cut", plain[:len(plain)-1], lenient(), ErrTruncated)
	f("cut header", plain[:20], lenient(), ErrTruncated)
	f("two batches", append(bytes.Clone(plain), plain...), lenient(), ErrTrailingBytes)
	f("negative length", mutate(plain, put32(LengthAt, -5)), lenient(), ErrCorrupt)
	f("short length", mutate(plain, put32(LengthAt, 30)), lenient(), ErrCorrupt)
	f("magic 0", mutate(plain, func(b []byte) { b[MagicAt] = 0 }), lenient(), ErrMagic)
	f("magic 1", mutate(plain, func(b []byte) { b[MagicAt] = 1 }), lenient(), ErrMagic)
	f("magic 3", mutate(plain, func(b []byte) { b[MagicAt] = 3 }), lenient(), ErrCorrupt)
	f("magic -1", mutate(plain, func(b []byte) { b[MagicAt] = 0xff }), lenient(), ErrCorrupt)
	bad := bytes.Clone(plain)
	bad[len(bad)-2] ^= 1
	f("crc", bad, lenient(), ErrCorrupt)
	f("codec 5", mutate(plain, attributes(5)), lenient(), ErrUnsupportedCodec)
	f("base offset", mutate(plain, func(b []byte) { b[BaseOffsetAt+7] = 1 }), lenient(), ErrInvalidRecord)
	small := lenient()
	small.MaxMessageBytes = len(plain) - 1
	f("too large", plain, small, ErrTooLarge)
	old := lenient()
	old.ForbidZstd = true
	f("zstd before v7", build(t, withCodec(Zstd), sampleRecords()[:5]), old, ErrUnsupportedCodec)
	f("count 0", mutate(plain, put32(CountAt, 0)), lenient(), ErrInvalidRecord)
	f("count and offsets", mutate(plain, put32(CountAt, 4)), lenient(), ErrInvalidRecord)
	fewer := mutate(plain, func(b []byte) { put32(CountAt, 4)(b); put32(LastOffsetDeltaAt, 3)(b) })
	f("records left over", fewer, lenient(), ErrInvalidRecord)
	more := mutate(plain, func(b []byte) { put32(CountAt, 6)(b); put32(LastOffsetDeltaAt, 5)(b) })
	f("records missing", more, lenient(), ErrInvalidRecord)
	f("control", mutate(plain, attributes(ControlBit)), lenient(), ErrInvalidRecord)
	f("delete horizon", mutate(plain, attributes(DeleteHorizonBit)), lenient(), ErrInvalidRecord)
	f("unknown attribute", mutate(plain, attributes(0x80)), lenient(), ErrInvalidRecord)
	f("log append time", mutate(plain, attributes(TimestampTypeBit)), lenient(), ErrInvalidTimestamp)
	f("transactional without id", mutate(plain, attributes(TransactionalBit)), lenient(), ErrInvalidRecord)
	f("transactional", mutate(withID, attributes(TransactionalBit)), lenient(), nil)
	f("id without sequence", mutate(withID, put32(BaseSequenceAt, -1)), lenient(), ErrInvalidRecord)
	f("id with epoch -1", mutate(withID, func(b []byte) { b[ProducerEpochAt], b[ProducerEpochAt+1] = 0xff, 0xff }),
		lenient(), ErrInvalidRecord)
}

// TestValidateRecordErrors proves the record errors of KIP-467.
func TestValidateRecordErrors(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, withCodec(codec), []testRecord{{ms: 5000, key: []byte("k")}, {ms: 6000}, {ms: 100, key: []byte("k")}, {ms: 5000}})
		compacted := lenient()
		compacted.Compacted = true
		_, err := Validate(b, compacted)
		var refused *ValidationError
		if !errors.As(err, &refused) || !errors.Is(err, ErrInvalidRecord) {
			t.Fatalf("%s: %v", codec, err)
		}
		if len(refused.Records) != 2 || refused.Records[0].BatchIndex != 1 || refused.Records[1].BatchIndex != 3 {
			t.Fatalf("%s: record errors %+v", codec, refused.Records)
		}
		narrow := lenient()
		narrow.NowMs, narrow.TimestampBeforeMaxMs, narrow.TimestampAfterMaxMs = 5000, 1000, 500
		_, err = Validate(b, narrow)
		if !errors.As(err, &refused) || !errors.Is(err, ErrInvalidTimestamp) || len(refused.Records) != 2 ||
			refused.Records[0].BatchIndex != 1 || !strings.Contains(refused.Records[1].Message, "[4000, 5500]") {
			t.Fatalf("%s: %v %+v", codec, err, refused)
		}
		narrow.LogAppendTime = true
		result, err := Validate(b, narrow)
		if err != nil || result.MaxTimestampMs != 5000 || result.OffsetDeltaOfMaxTimestamp != 3 {
			t.Fatalf("%s: LogAppendTime gives %+v, %v", codec, result, err)
		}
	}
}

// TestNoTimestampIsAlwaysAllowed: Kafka does not judge records without a time.
func TestNoTimestampIsAlwaysAllowed(t *testing.T) {
	b := build(t, DefaultBuilderOptions(), []testRecord{{ms: NoTimestamp, value: []byte("x")}, {ms: NoTimestamp}})
	narrow := lenient()
	narrow.TimestampBeforeMaxMs = 0
	result, err := Validate(b, narrow)
	if err != nil || result.MaxTimestampMs != NoTimestamp {
		t.Fatalf("%+v, %v", result, err)
	}
}

// TestValidateCorrectsMaxTimestamp: LogValidator rewrites a wrong header.
func TestValidateCorrectsMaxTimestamp(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, withCodec(codec), sampleRecords())
		lying := mutate(b, func(b []byte) { binary.BigEndian.PutUint64(b[MaxTimestampAt:], math.MaxInt64) })
		if _, err := Validate(lying, lenient()); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(lying, b) {
			t.Fatalf("%s: the header was not corrected", codec)
		}
	}
}

// TestHeaderByteFlips flips each bit of each header byte. With the old CRC
// every flip under it is refused; with a right one a flip is refused, or the
// batch still reads as the same records.
func TestHeaderByteFlips(t *testing.T) {
	records := sampleRecords()[:6]
	for _, codec := range allCodecs {
		b := build(t, withCodec(codec), records)
		for at := range HeaderSize {
			for bit := range 8 {
				flipped := bytes.Clone(b)
				flipped[at] ^= 1 << bit
				if _, err := Validate(flipped, lenient()); err == nil && (at < LeaderEpochAt || at >= MagicAt) {
					t.Fatalf("%s: a flip of bit %d in byte %d was accepted", codec, bit, at)
				}
				if _, err := Validate(sealCRC(flipped), lenient()); err != nil {
					continue
				}
				it, err := NewIterator(flipped, 0)
				if err != nil {
					t.Fatalf("%s: byte %d bit %d: accepted and cannot be read: %v", codec, at, bit, err)
				}
				n := 0
				for ; it.Next(); n++ {
					if !sameBytes(it.Record().Value, records[n].value) || it.Record().Offset != int64(n) {
						t.Fatalf("%s: byte %d bit %d: record %d differs", codec, at, bit, n)
					}
				}
				if it.Err() != nil || n != len(records) {
					t.Fatalf("%s: byte %d bit %d: %d records, %v", codec, at, bit, n, it.Err())
				}
			}
		}
	}
}

// TestBodyByteFlips flips each byte of the records under a right CRC: whatever
// Validate accepts, the Iterator must read to the end with consecutive offsets.
func TestBodyByteFlips(t *testing.T) {
	for _, codec := range allCodecs {
		b := build(t, withCodec(codec), sampleRecords()[:6])
		for at := HeaderSize; at < len(b); at++ {
			for _, mask := range []byte{0x01, 0x02, 0x40, 0x80, 0xff} {
				flipped := mutate(b, func(b []byte) { b[at] ^= mask })
				if _, err := Validate(flipped, lenient()); err != nil {
					continue
				}
				checkReadable(t, flipped)
			}
		}
	}
}

// checkReadable fails when an accepted batch cannot be read whole.
func checkReadable(t testing.TB, b []byte) {
	t.Helper()
	it, err := NewIterator(b, 0)
	if err != nil {
		t.Fatalf("accepted and cannot be read: %v", err)
	}
	defer it.Close()
	var headers []Header
	maxMs := int64(NoTimestamp)
	for n := int64(0); it.Next(); n++ {
		if it.Record().Offset != n {
			t.Fatalf("accepted with offset %d for record %d", it.Record().Offset, n)
		}
		headers = it.Record().Headers(headers[:0])
		maxMs = max(maxMs, it.Record().TimestampMs)
	}
	if it.Err() != nil {
		t.Fatalf("accepted and cannot be read: %v", it.Err())
	}
	if maxMs != Batch(b).MaxTimestamp() {
		t.Fatalf("accepted with max timestamp %d, the records' is %d", Batch(b).MaxTimestamp(), maxMs)
	}
}

// TestWalkAgreesWithSlowPath compares the fast loop with the general parser at
// every index and length where they could part.
func TestWalkAgreesWithSlowPath(t *testing.T) {
	var b Builder
	b.Reset(nil, DefaultBuilderOptions())
	for i := range 20000 {
		size := i % 150
		var headers []Header
		if i%7 == 0 {
			headers = []Header{{Key: []byte("h"), Value: make([]byte, i%300)}}
		}
		b.Append(int64(i)*int64(i%997), make([]byte, i%80), make([]byte, size*(i%3)), headers...)
	}
	out, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	opt := lenient()
	opt.NowMs = math.MaxInt64
	fast, slow := newWalker(out, opt), newWalker(out, opt)
	data := out[HeaderSize:]
	p, at := 0, 0
	for ; slow.seen < slow.count; slow.seen++ {
		end, ms, f := slow.walkSlow(data, p, slow.seen)
		if f != faultNone {
			t.Fatalf("record %d: %v", slow.seen, f)
		}
		if ms > slow.maxMs {
			slow.maxMs, slow.maxAt = ms, slow.seen
		}
		// Give the fast loop one more record, cut at a different place each time.
		n, f := fast.walk(data[at:min(end+slow.seen%9, len(data))])
		at += n
		if fast.seen <= slow.seen || f != faultShort && f != faultNone {
			t.Fatalf("record %d: the fast loop stopped at %d: %v", slow.seen, fast.seen, f)
		}
		p = end
	}
	if fast.maxMs != slow.maxMs || fast.maxAt != slow.maxAt || at != len(data) {
		t.Fatalf("fast %+v, slow %+v", fast, slow)
	}
}

func TestDecompressionLimits(t *testing.T) {
	bomb := bytes.Repeat([]byte{0}, 40<<20)
	for _, codec := range allCodecs[1:] {
		b := build(t, withCodec(codec), []testRecord{{ms: 1, value: bomb}})
		opt := lenient()
		opt.MaxDecompressedBytes = 20 << 20
		if _, err := Validate(b, opt); !errors.Is(err, ErrDecompressedTooLarge) {
			t.Errorf("%s: batch limit: %v", codec, err)
		}
		opt.MaxDecompressedBytes = DefaultMaxDecompressedBytes
		if _, err := Validate(b, opt); err != nil {
			t.Errorf("%s: within the limit: %v", codec, err)
		}
		opt.MaxDecompressedRecordBytes = 30 << 20
		if _, err := Validate(b, opt); !errors.Is(err, ErrDecompressedTooLarge) {
			t.Errorf("%s: record limit: %v", codec, err)
		}
		if _, err := NewIterator(b, 20<<20); !errors.Is(err, ErrDecompressedTooLarge) {
			t.Errorf("%s: iterator limit: %v", codec, err)
		}
	}
}

func TestTrustCompressed(t *testing.T) {
	opt := lenient()
	opt.TrustCompressed = true
	for _, codec := range allCodecs[1:] {
		junk := replaceRecords(build(t, DefaultBuilderOptions(), sampleRecords()[:4]), codec, []byte("not compressed at all"))
		if result, err := Validate(junk, opt); err != nil || result.MaxTimestampMs != 1002 || result.OffsetDeltaOfMaxTimestamp != 3 {
			t.Errorf("%s: %+v, %v", codec, result, err)
		}
		if _, err := Validate(junk, lenient()); !errors.Is(err, ErrDecompress) {
			t.Errorf("%s: %v", codec, err)
		}
	}
}

func TestValidateDoesNotAllocate(t *testing.T) {
	for _, codec := range allCodecs {
		for _, size := range []int{1, 64 << 10} {
			b := benchBatch(t, codec, size)
			opt := benchOptions()
			validate := func() {
				if _, err := Validate(b, opt); err != nil {
					t.Fatal(err)
				}
			}
			validate() // fills the pool
			// A collection during the run may empty the pool once.
			if allocs := testing.AllocsPerRun(100, validate); allocs >= 1 && !raceEnabled {
				t.Errorf("%s, %d bytes: %v allocations per batch", codec, len(b), allocs)
			}
		}
	}
}

func TestIterateUncompressedDoesNotAllocate(t *testing.T) {
	b := benchBatch(t, None, 64<<10)
	allocs := testing.AllocsPerRun(20, func() {
		it, err := NewIterator(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
			_ = it.Record().Value
		}
		it.Close()
	})
	if allocs != 0 {
		t.Errorf("%v allocations per batch", allocs)
	}
}

func TestBuilderReuseDoesNotAllocate(t *testing.T) {
	var b Builder
	dst := make([]byte, 0, 1<<20)
	value := make([]byte, 100)
	allocs := testing.AllocsPerRun(20, func() {
		b.Reset(dst, DefaultBuilderOptions())
		for range 100 {
			b.Append(1, nil, value)
		}
		if _, err := b.Finish(); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations per batch", allocs)
	}
}

func TestPeekWalksConcatenatedBatches(t *testing.T) {
	var all []byte
	sizes := []int{}
	for _, codec := range allCodecs {
		b := build(t, withCodec(codec), sampleRecords()[:3])
		sizes = append(sizes, len(b))
		all = append(all, b...)
	}
	for _, want := range sizes {
		size, err := Peek(all)
		if err != nil || size != want {
			t.Fatalf("Peek says %d, %v; want %d", size, err, want)
		}
		if got, err := Peek(all[:want-1]); !errors.Is(err, ErrTruncated) || got != want {
			t.Fatalf("Peek of a cut batch says %d, %v; want %d", got, err, want)
		}
		all = all[size:]
	}
	if _, err := Peek(all); !errors.Is(err, ErrTruncated) {
		t.Fatal(err)
	}
}
