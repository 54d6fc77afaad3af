package record

import (
	"bytes"
	"testing"
)

// fuzzLimit keeps what an input may expand to small.
const fuzzLimit = 1 << 20

func addSeeds(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add(build(f, withCodec(codec), sampleRecords()[:4]))
	}
	marker, err := AppendEndTxnMarker(nil, EndTxnMarker{ProducerID: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(marker)
	f.Add([]byte{})
}

// FuzzValidate: no input panics or expands beyond the limit, and what is
// accepted under a right CRC can be read whole.
func FuzzValidate(f *testing.F) {
	addSeeds(f)
	opt := lenient()
	opt.MaxDecompressedBytes = fuzzLimit
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if _, err := Validate(b, opt); err == nil {
			checkReadable(t, b)
		}
		if len(b) < HeaderSize {
			return
		}
		// Get past the CRC, which the fuzzer cannot guess.
		if _, err := Validate(sealCRC(b), opt); err == nil {
			checkReadable(t, b)
		}
	})
}

// FuzzIterate: no input panics, and what is read is bounded by the input or,
// compressed, by the limit.
func FuzzIterate(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		it, err := NewIterator(b, fuzzLimit)
		if err != nil {
			return
		}
		defer it.Close()
		var headers []Header
		total := 0
		for it.Next() {
			r := it.Record()
			total += len(r.Key) + len(r.Value)
			headers = r.Headers(headers[:0])
			for _, h := range headers {
				total += len(h.Key) + len(h.Value)
			}
		}
		if total > len(b)+fuzzLimit {
			t.Fatalf("%d bytes of records from %d of input", total, len(b))
		}
	})
}
