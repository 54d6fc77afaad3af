package iouring

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSyncOfAppends writes 256 KiB to each of six files a turn and syncs
// them, as acknowledgements with flush.messages=1 do. The files differ in what
// the file system still has to do for a write: everything, nothing but the
// length (space reserved, as with preallocate), neither space nor length
// (written blocks are only noted in the journal), or nothing at all.
func BenchmarkSyncOfAppends(b *testing.B) {
	const files, size = 6, 256 << 10
	for _, c := range []struct {
		name    string
		prepare func(f *os.File, bytes int64) error
	}{
		{"append", func(*os.File, int64) error { return nil }},
		{"reserved", func(f *os.File, n int64) error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n)
		}},
		{"sized", func(f *os.File, n int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, n) }},
		{"written", func(f *os.File, n int64) error {
			zeros := make([]byte, size)
			for at := int64(0); at < n; at += size {
				if _, err := f.WriteAt(zeros, at); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			e, err := newEngine(KindUring, b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			run := &benchRun{e: e, wrap: int64(b.N+1) * size}
			for range files {
				f := tempFile(b)
				if err := c.prepare(f, run.wrap); err != nil {
					b.Fatal(err)
				}
				if err := f.Sync(); err != nil {
					b.Fatal(err)
				}
				run.ops = append(run.ops, Op{Fd: int(f.Fd()), Bufs: [][]byte{make([]byte, size)}, Len: size, Sync: true, Done: run})
			}
			b.SetBytes(files * size)
			cpu := processCPU()
			b.ResetTimer()
			for range b.N {
				run.turn()
			}
			b.ReportMetric(float64(processCPU()-cpu)/float64(b.N)/files/size, "cpu-s/GB")
			if run.err != nil {
				b.Fatal(run.err)
			}
		})
	}
}
