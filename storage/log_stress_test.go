package storage

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

// Writers of which some fail, readers and background tasks at once: what is
// read once never changes, every publication is in order, and the log that is
// left is what the readers saw, also after a kill.
func TestStressWithFailures(t *testing.T) {
	fsys := vfs.NewMemFS()
	c := noRetention()
	c.SegmentBytes, c.IndexIntervalBytes = 4000, 200
	m, l := testLog(t, fsys, c)
	const writers, each = 4, 250
	var seenMu sync.Mutex
	seen := map[int64]record.Batch{}
	var writing, others sync.WaitGroup
	var done atomic.Bool
	for w := range writers {
		writing.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 9))
			for range each {
				s := plain(1 + rng.IntN(3))
				s.fill, s.valueSize = byte(rng.IntN(256)), 10+rng.IntN(200)
				stressAppend(t, l, s.build(t), rng)
			}
		})
	}
	for range 2 {
		others.Go(func() {
			for at := int64(0); !done.Load() || at < l.LogEndOffset(); {
				var res ReadResult
				if err := l.ReadCached(at, 2000, all, true, &res); errors.Is(err, vfs.ErrWouldBlock) {
					err = l.Read(at, 2000, all, true, &res)
					if err != nil {
						t.Error(err)
						return
					}
				}
				if res.Region.Length == 0 {
					runtime.Gosched()
					continue
				}
				for _, b := range regionBatches(t, &res) {
					if b.BaseOffset() != at {
						t.Errorf("batch at %d, want %d", b.BaseOffset(), at)
						return
					}
					at = b.NextOffset()
					seenMu.Lock()
					if old, ok := seen[b.BaseOffset()]; ok && !bytes.Equal(old, b) {
						t.Errorf("batch at %d changed", b.BaseOffset())
					}
					seen[b.BaseOffset()] = b
					seenMu.Unlock()
				}
			}
		})
	}
	others.Go(func() {
		for !done.Load() {
			m.flushRolled()
			m.checkpoint(true, true, true)
			l.closeIdleFiles()
			_ = l.persistActiveIndexes()
			_, _, _ = l.OffsetOfMaxTimestamp()
			if _, err := l.ApplyRetention(1); err != nil {
				t.Error(err)
			}
			runtime.Gosched()
		}
	})
	writing.Wait()
	done.Store(true)
	others.Wait()
	check := func(l *Log) {
		t.Helper()
		batches := readAll(t, l, 0, all, 1<<20)
		for _, b := range batches {
			if !bytes.Equal(seen[b.BaseOffset()], b) {
				t.Fatalf("batch at %d differs from what was read", b.BaseOffset())
			}
		}
		if len(batches) != len(seen) {
			t.Fatalf("%d batches, %d were read", len(batches), len(seen))
		}
	}
	check(l)
	check(testManager(t, fsys.Clone(), newClock(), c).Get(testTP))
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	check(testManager(t, fsys, newClock(), c).Get(testTP))
}

// stressAppend appends one batch; one write in twenty fails half-way.
func stressAppend(t *testing.T, l *Log, b record.Batch, rng *rand.Rand) {
	for {
		res, err := reserve(l, b, 1)
		if errors.Is(err, ErrStorageWriteFailed) { // others are in flight
			runtime.Gosched()
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		if rng.IntN(20) == 0 {
			_, _ = res.Segment.WriteFile().WriteAt(b[:len(b)/2], res.Position)
			_, _ = complete(l, &res, errors.New("injected"))
			return
		}
		err = write(&res, b)
		if rng.IntN(3) == 0 {
			runtime.Gosched()
		}
		_, _ = complete(l, &res, err)
		return
	}
}
