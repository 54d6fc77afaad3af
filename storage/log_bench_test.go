package storage

import (
	"fmt"
	"path/filepath"
	"testing"

	"freshet/vfs"
)

// BenchmarkReserveComplete is the log's own cost of one append, without the
// write.
func BenchmarkReserveComplete(b *testing.B) {
	for _, pid := range []int64{-1, 7} {
		b.Run(fmt.Sprintf("producer=%t", pid >= 0), func(b *testing.B) {
			fsys := vfs.NewMemFS()
			_, l := testLog(b, fsys, noRetention())
			spec := plain(1)
			if pid >= 0 {
				spec = idempotent(pid, 0, 0, 1)
			}
			spec.valueSize = 100
			batch := spec.build(b)
			req := AppendRequest{Batch: batch, NowMs: 1}
			var res Reservation
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if pid >= 0 {
					setSequence(batch, int32(i))
				}
				if err := l.Reserve(&req, &res); err != nil {
					b.Fatal(err)
				}
				if _, err := complete(l, &res, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRead reads 1 MiB at a time through a log of small batches.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	c := noRetention()
	m, err := openTestManager(vfs.OS{}, filepath.Join(dir, "data"), newClock(), c)
	if err != nil {
		b.Fatal(err)
	}
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		b.Fatal(err)
	}
	spec := plain(1)
	spec.valueSize = 8000
	var size int64
	for range 4000 {
		size = int64(mustAppend(b, l, spec).Length)
	}
	b.Run("sequential", func(b *testing.B) {
		b.ReportAllocs()
		var res ReadResult
		at := int64(0)
		for b.Loop() {
			if err := l.Read(at, 1<<20, all, true, &res); err != nil {
				b.Fatal(err)
			}
			at += res.Region.Length / size
			res.Region.Release()
			if at >= 4000 {
				at = 0
			}
		}
	})
	b.Run("tail", func(b *testing.B) {
		b.ReportAllocs()
		var res ReadResult
		for b.Loop() {
			if err := l.Read(3999, 1<<20, all, true, &res); err != nil {
				b.Fatal(err)
			}
			res.Region.Release()
		}
	})
}
