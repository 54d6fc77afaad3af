package record

import (
	"fmt"
	"testing"
)

// benchBatch builds a batch of about size bytes with 100-byte values, as
// LinkedIn's benchmark sends them.
func benchBatch(tb testing.TB, codec Codec, size int) []byte {
	tb.Helper()
	var b Builder
	opts := DefaultBuilderOptions()
	opts.Codec = codec
	b.Reset(nil, opts)
	value := make([]byte, 100)
	seed := uint32(1)
	for i := 0; b.Count() == 0 || b.Size()+110 <= size; i++ {
		for j := range value {
			seed = seed*1664525 + 1013904223
			value[j] = 'a' + byte(seed>>24)%16
		}
		b.Append(1700000000000+int64(i/10), nil, value)
	}
	out, err := b.Finish()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// benchOptions accept benchBatch.
func benchOptions() *ValidateOptions {
	opt := DefaultValidateOptions()
	opt.NowMs = 1700000001000
	return &opt
}

func BenchmarkValidate(b *testing.B) {
	for _, codec := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		for _, size := range []int{64 << 10, 16 << 10, 1} {
			batch := benchBatch(b, codec, size)
			b.Run(fmt.Sprintf("codec=%s/size=%d", codec, size), func(b *testing.B) {
				opt := benchOptions()
				b.SetBytes(int64(len(batch)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Validate(batch, opt); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkWalk is Validate's share beyond the CRC.
func BenchmarkWalk(b *testing.B) {
	for _, size := range []int{64 << 10, 16 << 10, 1} {
		batch := Batch(benchBatch(b, None, size))
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			opt := benchOptions()
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				w := newWalker(batch, opt)
				if f := w.plain(batch[HeaderSize:]); f != faultNone {
					b.Fatal(f)
				}
			}
		})
	}
}

func BenchmarkCRC(b *testing.B) {
	batch := Batch(benchBatch(b, None, 64<<10))
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if batch.ComputeCRC() != batch.CRC() {
			b.Fatal("crc")
		}
	}
}

func BenchmarkIterate(b *testing.B) {
	batch := benchBatch(b, None, 64<<10)
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		it, err := NewIterator(batch, 0)
		if err != nil {
			b.Fatal(err)
		}
		for it.Next() {
		}
		if it.Err() != nil {
			b.Fatal(it.Err())
		}
	}
}
