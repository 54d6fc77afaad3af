package iouring

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// benchmarkEngine appends to several files a turn, as partitions do: each turn
// writes size bytes to each file and waits for the completions. The files wrap
// at 64 MiB in all, whose pages are touched beforehand: on a virtual machine
// fresh pages cost more than the writes.
func benchmarkEngine(b *testing.B, e *loopEngine, sync bool, sizes, fileCounts []int) {
	for _, files := range fileCounts {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("files=%d/size=%dK", files, size>>10), func(b *testing.B) {
				run := &benchRun{e: e, wrap: int64(64<<20/files/size) * int64(size)}
				for range files {
					f := tempFile(b)
					if !sync {
						if _, err := f.WriteAt(make([]byte, run.wrap), 0); err != nil {
							b.Fatal(err)
						}
					}
					run.ops = append(run.ops, Op{Fd: int(f.Fd()), Bufs: [][]byte{make([]byte, size)}, Len: int64(size), Sync: sync, Done: run})
				}
				b.SetBytes(int64(files * size))
				b.ReportAllocs()
				cpu := processCPU()
				for b.Loop() {
					run.turn()
				}
				b.ReportMetric(float64(processCPU()-cpu)/float64(b.N)/float64(files), "cpu-ns/write")
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(files), "ns/write")
				if run.err != nil {
					b.Fatal(run.err)
				}
			})
		}
	}
}

type benchRun struct {
	e    *loopEngine
	ops  []Op
	wrap int64
	err  error
}

func (r *benchRun) WriteDone(op *Op, err error) {
	if err != nil {
		r.err = err
	}
	op.Pos += op.Len
	if op.Pos >= r.wrap {
		op.Pos = 0
	}
}

func (r *benchRun) turn() {
	for i := range r.ops {
		r.e.Write(&r.ops[i])
	}
	r.e.Flush()
	r.e.await()
}

var (
	benchSizes = []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}
	benchFiles = []int{1, 2, 8}
)

func benchmarkKind(b *testing.B, kind string, sync bool, sizes []int) {
	e, err := newEngine(kind, b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	benchmarkEngine(b, e, sync, sizes, benchFiles)
}

func BenchmarkPwritev(b *testing.B) { benchmarkKind(b, KindPwritev, false, benchSizes) }
func BenchmarkUring(b *testing.B)   { benchmarkKind(b, KindUring, false, benchSizes) }
func BenchmarkAuto(b *testing.B)    { benchmarkKind(b, KindAuto, false, benchSizes) }

func BenchmarkPwritevSync(b *testing.B) {
	benchmarkKind(b, KindPwritev, true, []int{4 << 10, 64 << 10})
}
func BenchmarkUringSync(b *testing.B) { benchmarkKind(b, KindUring, true, []int{4 << 10, 64 << 10}) }

// BenchmarkEmptyReap is what each turn pays when nothing has completed.
func BenchmarkEmptyReap(b *testing.B) {
	e, err := newEngine(KindUring, b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for b.Loop() {
		e.Reap()
	}
}

// BenchmarkReadAhead brings an evicted MiB back.
func BenchmarkReadAhead(b *testing.B) {
	const size = 1 << 20
	for _, kind := range []string{KindUring, KindPwritev} {
		b.Run(kind, func(b *testing.B) {
			e, err := newEngine(kind, b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			f := tempFile(b)
			if _, err := f.Write(make([]byte, size)); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			r := &pollRecorder{}
			b.SetBytes(size)
			for b.Loop() {
				if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
					b.Fatal(err)
				}
				r.results = r.results[:0]
				e.ReadAhead(int(f.Fd()), 0, size, 1, r)
				e.Flush()
				for len(r.results) == 0 {
					if e.Reap() == 0 {
						e.waitReadable(100)
					}
				}
			}
		})
	}
}
