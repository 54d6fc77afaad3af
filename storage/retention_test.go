package storage

import (
	"errors"
	"strings"
	"testing"

	"freshet/vfs"
)

func countFiles(t *testing.T, fsys vfs.FS, dir, suffix string) int {
	t.Helper()
	entries, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if strings.HasSuffix(e.Name, suffix) {
			n++
		}
	}
	return n
}

// retentionLog has ten batches in segments of two, one second apart.
func retentionLog(t *testing.T, edit func(c *LogConfig)) (*vfs.MemFS, *LogManager, *Log, *clock) {
	t.Helper()
	fsys, ck := vfs.NewMemFS(), newClock()
	c := noRetention()
	c.SegmentBytes = int32(2 * len(plain(1).build(t)))
	edit(&c)
	m := testManager(t, fsys, ck, c)
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		s := plain(1)
		s.timestampMs = ck.now() + int64(i)*1000
		mustAppend(t, l, s)
	}
	l.AdvanceHighWatermark(all)
	return fsys, m, l, ck
}

func TestRetentionByTime(t *testing.T) {
	fsys, m, l, ck := retentionLog(t, func(c *LogConfig) { c.RetentionMs = 5000 })
	if n, err := l.ApplyRetention(ck.now() + 5500); n != 0 || err != nil {
		t.Fatalf("deleted %d, %v", n, err)
	}
	// The segment of offsets 0 and 1 has its largest timestamp at +1000.
	if n, err := l.ApplyRetention(ck.now() + 6001); n != 1 || err != nil {
		t.Fatalf("deleted %d, %v", n, err)
	}
	var res ReadResult
	if err := l.Read(1, 100, all, true, &res); !errors.Is(err, ErrOffsetOutOfRange) || l.LogStartOffset() != 2 {
		t.Fatalf("log starts at %d; read: %v", l.LogStartOffset(), err)
	}
	dir := l.Dir()
	if n := countFiles(t, fsys, dir, deletedSuffix); n == 0 {
		t.Fatal("no file is marked deleted")
	}
	ck.ms.Add(59_000)
	m.unlinkDue(ck.now())
	if n := countFiles(t, fsys, dir, deletedSuffix); n == 0 {
		t.Fatal("files were unlinked before file.delete.delay.ms")
	}
	ck.ms.Add(2_000)
	m.unlinkDue(ck.now())
	if n := countFiles(t, fsys, dir, deletedSuffix); n != 0 {
		t.Fatalf("%d files are left", n)
	}
	// Everything is old now: the active segment rolls and goes too.
	if n, err := l.ApplyRetention(ck.now() + 1_000_000); n != 4 || err != nil {
		t.Fatalf("deleted %d, %v", n, err)
	}
	if l.LogStartOffset() != 10 || l.LogEndOffset() != 10 || len(l.Segments()) != 1 {
		t.Fatalf("log is %d to %d, segments %v", l.LogStartOffset(), l.LogEndOffset(), l.Segments())
	}
	if res := mustAppend(t, l, plain(1)); res.BaseOffset != 10 {
		t.Fatalf("appended at %d", res.BaseOffset)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	if l := testManager(t, fsys, ck, l.Config()).Get(testTP); l.LogStartOffset() != 10 || l.LogEndOffset() != 11 {
		t.Fatalf("reopened log is %d to %d", l.LogStartOffset(), l.LogEndOffset())
	}
}

func TestRetentionBySize(t *testing.T) {
	size := int64(len(plain(1).build(t)))
	_, _, l, ck := retentionLog(t, func(c *LogConfig) { c.RetentionBytes = 5 * size })
	if n, err := l.ApplyRetention(ck.now()); n != 2 || err != nil || l.Size() != 6*size {
		t.Fatalf("deleted %d, %d bytes are left, %v", n, l.Size(), err)
	}
}

func TestRetentionStopsAtTheHighWatermark(t *testing.T) {
	_, _, l, ck := retentionLog(t, func(c *LogConfig) { c.RetentionBytes = 0 })
	l.UpdateHighWatermark(5)
	if n, err := l.ApplyRetention(ck.now()); n != 2 || err != nil || l.LogStartOffset() != 4 {
		t.Fatalf("deleted %d, log starts at %d, %v", n, l.LogStartOffset(), err)
	}
}

func TestDeleteRecords(t *testing.T) {
	fsys, m, l, ck := retentionLog(t, func(*LogConfig) {})
	if _, err := l.DeleteRecordsBefore(11); !errors.Is(err, ErrOffsetOutOfRange) {
		t.Fatalf("beyond the high watermark: %v", err)
	}
	if start, err := l.DeleteRecordsBefore(5); start != 5 || err != nil || l.Segments()[0].BaseOffset != 4 {
		t.Fatalf("log starts at %d, segments %v, %v", start, l.Segments(), err)
	}
	if start, err := l.DeleteRecordsBefore(3); start != 5 || err != nil {
		t.Fatalf("log starts at %d, %v", start, err)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	m = testManager(t, fsys, ck, l.Config())
	l = m.Get(testTP)
	if l.LogStartOffset() != 5 {
		t.Fatalf("reopened log starts at %d", l.LogStartOffset())
	}
	if start, err := l.DeleteRecordsBefore(-1); start != 10 || err != nil {
		t.Fatalf("log starts at %d, %v", start, err)
	}
}

func TestRollByTime(t *testing.T) {
	c := noRetention()
	c.SegmentMs = 1000
	_, l := testLog(t, vfs.NewMemFS(), c)
	for _, at := range []int64{0, 900, 1000, 1001, 1500, 3000} { // message time
		s := plain(1)
		s.timestampMs += at
		mustAppend(t, l, s)
	}
	var bases []int64
	for _, s := range l.Segments() {
		bases = append(bases, s.BaseOffset)
	}
	if len(bases) != 3 || bases[1] != 3 || bases[2] != 5 {
		t.Errorf("segments begin at %v, want [0 3 5]", bases)
	}
}

func TestRollWhenIndexIsFull(t *testing.T) {
	c := noRetention()
	c.SegmentIndexBytes, c.IndexIntervalBytes = 40, 0 // five offset or two time entries
	_, l := testLog(t, vfs.NewMemFS(), c)
	for i := range 20 {
		s := plain(1)
		s.timestampMs += int64(i)
		mustAppend(t, l, s)
	}
	if n := len(l.Segments()); n != 7 {
		t.Errorf("%d segments, want 7", n)
	}
	if got := len(readAll(t, l, 0, all, 100)); got != 20 {
		t.Errorf("%d batches", got)
	}
}

func TestRollOnOffsetOverflow(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), noRetention())
	if err := l.TruncateFullyAndStartAt(5); err != nil {
		t.Fatal(err)
	}
	var total int64 = 5
	for range 3 {
		b := plain(1).build(t)
		setLastOffsetDelta(b, 1<<30) // as compaction leaves batches
		res, err := tryAppend(l, b)
		if err != nil || res.BaseOffset != total {
			t.Fatalf("%+v, %v", res, err)
		}
		total += 1<<30 + 1
	}
	if segs := l.Segments(); len(segs) != 3 {
		t.Errorf("segments %v", segs)
	}
	if got := len(readBatches(t, l)); got != 3 {
		t.Errorf("%d batches", got)
	}
}
