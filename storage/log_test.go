package storage

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

func TestAppendAssignsOffsetsAndReads(t *testing.T) {
	m, l := testLog(t, vfs.NewMemFS(), noRetention())
	for i := range 10 {
		res := mustAppend(t, l, plain(3))
		if res.BaseOffset != int64(3*i) || res.NextOffset != int64(3*i+3) {
			t.Fatalf("append %d got offsets %d..%d", i, res.BaseOffset, res.NextOffset)
		}
	}
	if l.LogEndOffset() != 30 {
		t.Fatalf("log end offset is %d", l.LogEndOffset())
	}
	batches := readAll(t, l, 0, all, 1<<20)
	if len(batches) != 10 || batches[4].BaseOffset() != 12 || batches[4].LeaderEpoch() != 0 {
		t.Fatalf("read %d batches", len(batches))
	}
	if err := m.Close(7); err != nil {
		t.Fatal(err)
	}
}

func TestReadBounds(t *testing.T) {
	c := noRetention()
	c.SegmentBytes = 500
	c.IndexIntervalBytes = 0
	_, l := testLog(t, vfs.NewMemFS(), c)
	var size int32
	for range 40 {
		size = mustAppend(t, l, plain(2)).Length
	}
	if n := len(l.Segments()); n < 5 {
		t.Fatalf("%d segments", n)
	}
	for offset := int64(0); offset <= 80; offset++ {
		for upTo := offset - offset%2; upTo <= 80; upTo += 2 {
			for _, maxBytes := range []int32{1, size - 1, size, size + 1, 3 * size, 1 << 20} {
				checkRead(t, l, offset, upTo, maxBytes, size)
			}
		}
	}
	var res ReadResult
	if err := l.Read(81, 100, all, true, &res); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("read beyond the end: %v", err)
	}
	if err := l.Read(-1, 100, all, true, &res); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("read before the start: %v", err)
	}
}

// checkRead compares one read with what 2-record batches of one size allow.
func checkRead(t *testing.T, l *Log, offset, upTo int64, maxBytes, size int32) {
	t.Helper()
	for _, minOne := range []bool{true, false} {
		var res ReadResult
		if err := l.Read(offset, maxBytes, upTo, minOne, &res); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("read(%d, %d, %d, %t)", offset, maxBytes, upTo, minOne)
		if res.Region.Length == 0 {
			if offset < upTo && (minOne || maxBytes >= size) {
				t.Fatalf("%s is empty", name)
			}
			continue
		}
		if res.Region.Length > int64(maxBytes) && !(minOne && res.Region.Length == int64(size)) {
			t.Fatalf("%s returned %d bytes", name, res.Region.Length)
		}
		batches := regionBatches(t, &res)
		if first := batches[0].BaseOffset(); first != offset-offset%2 || res.BaseOffset != first && res.BaseOffset != offset {
			t.Fatalf("%s begins at %d", name, first)
		}
		if last := batches[len(batches)-1].NextOffset(); last > upTo {
			t.Fatalf("%s ends at %d", name, last)
		}
	}
}

func TestOutOfOrderCompletion(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), noRetention())
	var batches [3]record.Batch
	var res [3]Reservation
	for i := range 3 {
		batches[i] = plain(1).build(t)
		var err error
		if res[i], err = reserve(l, batches[i], 1); err != nil {
			t.Fatal(err)
		}
		if err := write(&res[i], batches[i]); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		group int
		end   int64
	}{{2, 0}, {1, 0}, {0, 3}} {
		end, err := complete(l, &res[step.group], nil)
		if err != nil || end != step.end {
			t.Fatalf("completing group %d: end %d, %v", step.group, end, err)
		}
	}
	if got := readAll(t, l, 0, all, 1<<20); len(got) != 3 {
		t.Fatalf("read %d batches", len(got))
	}
}

type recordingListener struct {
	mu        sync.Mutex
	published int64
	failed    []int64
}

func (r *recordingListener) Published(end int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = max(r.published, end)
}

func (r *recordingListener) Failed(from int64, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, from)
}

// A write fails with later ones in flight: those before it are published, it
// and those after it are not, and the log goes on as if they had never been.
func TestFailedWriteRollsBack(t *testing.T) {
	for _, segmentBytes := range []int32{1 << 20, 200} {
		c := noRetention()
		c.SegmentBytes = segmentBytes
		c.IndexIntervalBytes = 0
		_, l := testLog(t, vfs.NewMemFS(), c)
		rec := &recordingListener{}
		l.SetListener(rec)
		mustAppend(t, l, idempotent(7, 0, 0, 1))
		var res [4]Reservation
		for i := range res {
			b := idempotent(7, 0, int32(i+1), 1).build(t)
			var err error
			if res[i], err = reserve(l, b, 1); err != nil {
				t.Fatal(err)
			}
			if err := write(&res[i], b); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := complete(l, &res[2], nil); err != nil {
			t.Fatal(err) // waits for the ones before it
		}
		if _, err := complete(l, &res[1], errors.New("disk full")); !errors.Is(err, ErrStorageWriteFailed) {
			t.Fatalf("failed group: %v", err)
		}
		if _, err := reserve(l, plain(1).build(t), 1); !errors.Is(err, ErrStorageWriteFailed) {
			t.Fatalf("reserve while failed: %v", err)
		}
		if end, err := complete(l, &res[0], nil); err != nil || end != 2 {
			t.Fatalf("group before the failed one: %d, %v", end, err)
		}
		if _, err := complete(l, &res[3], nil); !errors.Is(err, ErrStorageWriteFailed) {
			t.Fatalf("group behind the failed one: %v", err)
		}
		if rec.published != 2 || len(rec.failed) != 1 || rec.failed[0] != 2 {
			t.Fatalf("listener heard %+v", rec)
		}
		// Sequence 2 is next for the producer: 2 to 4 never happened.
		if got := mustAppend(t, l, idempotent(7, 0, 2, 1)); got.BaseOffset != 2 || got.Duplicate {
			t.Fatalf("append after the rollback: %+v", got)
		}
		if got := readAll(t, l, 0, all, 1<<20); len(got) != 3 {
			t.Fatalf("read %d batches", len(got))
		}
	}
}

func TestProducerRules(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), noRetention())
	for i := range 7 {
		mustAppend(t, l, idempotent(1, 0, int32(2*i), 2))
	}
	dup, err := tryAppend(l, idempotent(1, 0, 8, 2).build(t))
	if err != nil || !dup.Duplicate || dup.BaseOffset != 8 || dup.WaitOffset != 10 {
		t.Fatalf("duplicate: %+v, %v", dup, err)
	}
	for _, c := range []struct {
		name string
		spec batchSpec
		want error
	}{
		{"gap", idempotent(1, 0, 15, 1), ErrOutOfOrderSequence},
		{"duplicate too old", idempotent(1, 0, 0, 2), ErrOutOfOrderSequence},
		{"new epoch not from zero", idempotent(1, 1, 5, 1), ErrOutOfOrderSequence},
		{"unknown producer", idempotent(2, 0, 9, 1), nil},
		{"new epoch", idempotent(1, 2, 0, 1), nil},
		{"old epoch", idempotent(1, 0, 14, 1), ErrInvalidProducerEpoch},
	} {
		if _, err := tryAppend(l, c.spec.build(t)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestSequenceWraps(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), noRetention())
	mustAppend(t, l, idempotent(1, 0, 1<<31-2, 4)) // 2^31-2, 2^31-1, 0, 1
	mustAppend(t, l, idempotent(1, 0, 2, 1))
	if dup, err := tryAppend(l, idempotent(1, 0, 1<<31-2, 4).build(t)); err != nil || !dup.Duplicate {
		t.Fatalf("duplicate across the wrap: %+v, %v", dup, err)
	}
}

func TestReopenAfterCleanClose(t *testing.T) {
	fsys := vfs.NewMemFS()
	c := noRetention()
	c.SegmentBytes = 1000
	c.IndexIntervalBytes = 100
	m, l := testLog(t, fsys, c)
	for i := range 50 {
		mustAppend(t, l, idempotent(3, 0, int32(i), 1))
	}
	want := readAll(t, l, 0, all, 1<<20)
	if err := m.Close(42); err != nil {
		t.Fatal(err)
	}
	m = testManager(t, fsys, newClock(), c)
	l = m.Get(testTP)
	if m.CleanShutdownEpoch() != 42 || len(m.RecoveryReport().Partitions) != 0 {
		t.Fatalf("epoch %d, report %+v", m.CleanShutdownEpoch(), m.RecoveryReport())
	}
	if l.LogEndOffset() != 50 || l.RecoveryPoint() != 50 {
		t.Fatalf("end %d, recovery point %d", l.LogEndOffset(), l.RecoveryPoint())
	}
	got := readAll(t, l, 0, all, 300)
	if len(got) != len(want) {
		t.Fatalf("read %d batches, want %d", len(got), len(want))
	}
	if dup, err := tryAppend(l, idempotent(3, 0, 49, 1).build(t)); err != nil || !dup.Duplicate {
		t.Fatalf("duplicate after restart: %+v, %v", dup, err)
	}
	mustAppend(t, l, idempotent(3, 0, 50, 1))
}

func TestConcurrentAppendAndRead(t *testing.T) {
	dir := osPath(t)
	c := noRetention()
	c.SegmentBytes = 64 << 10
	m, err := openTestManager(vfs.OS{}, dir, newClock(), c)
	if err != nil {
		t.Fatal(err)
	}
	m.Start()
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 4, 300
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				spec := idempotent(int64(w), 0, int32(i), 1)
				spec.valueSize, spec.fill = 400, byte('a'+w)
				if _, err := tryAppend(l, spec.build(t)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for at := int64(0); at < writers*each; {
				var res ReadResult
				if err := l.Read(at, 4096, all, true, &res); err != nil {
					t.Error(err)
					return
				}
				if res.Region.Length == 0 {
					continue
				}
				for _, b := range regionBatches(t, &res) {
					if b.BaseOffset() != at {
						t.Errorf("batch %d, want %d", b.BaseOffset(), at)
						return
					}
					at = b.NextOffset()
				}
			}
		})
	}
	wg.Wait()
	if l.LogEndOffset() != writers*each {
		t.Fatalf("log end offset %d", l.LogEndOffset())
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
}

// ReadCached never opens a file; once Read has, both agree.
func TestReadCached(t *testing.T) {
	c := noRetention()
	c.SegmentBytes, c.IndexIntervalBytes = 1000, 100
	dir := osPath(t)
	m, err := openTestManager(vfs.OS{}, dir, newClock(), c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		mustAppend(t, l, plain(1))
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	if m, err = openTestManager(vfs.OS{}, dir, newClock(), c); err != nil {
		t.Fatal(err)
	}
	l = m.Get(testTP)
	for offset := range int64(40) {
		var warm, cached ReadResult
		if err := l.ReadCached(offset, 300, all, true, &cached); offset == 0 && !errors.Is(err, vfs.ErrWouldBlock) {
			t.Fatalf("first read: %v", err)
		}
		cached.Region.Release()
		if err := l.Read(offset, 300, all, true, &warm); err != nil {
			t.Fatal(err)
		}
		if err := l.ReadCached(offset, 300, all, true, &cached); err != nil {
			t.Fatalf("read at %d after it was read: %v", offset, err)
		}
		if warm.Region != cached.Region || warm.Region.Length == 0 {
			t.Fatalf("at %d: %+v and %+v", offset, warm.Region, cached.Region)
		}
		warm.Region.Release()
		cached.Region.Release()
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
}
