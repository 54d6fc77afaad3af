package storage

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

// damagedLog writes n one-record batches in segments of segmentBytes, flushes
// up to durable, and returns the disk as a kill leaves it.
func damagedLog(t *testing.T, n int, segmentBytes int32, durable int64) (*vfs.MemFS, []SegmentInfo, LogConfig) {
	t.Helper()
	fsys := vfs.NewMemFS()
	c := noRetention()
	c.SegmentBytes = segmentBytes
	m, l := testLog(t, fsys, c)
	for i := range n {
		if int64(i) == durable {
			if err := l.Flush(all); err != nil {
				t.Fatal(err)
			}
			m.checkpoint(true, true, true)
		}
		mustAppend(t, l, plain(1))
	}
	return fsys.Clone(), l.Segments(), c
}

// damage overwrites bytes of the segment at base; a negative position counts
// from the end.
func damage(t *testing.T, fsys vfs.FS, base, position int64, data []byte) {
	t.Helper()
	f, err := fsys.Open(filepath.Join(testDir, "t-0", fileName(base, logSuffix)), vfs.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Size()
	if position < 0 {
		position += size
	}
	if _, err := f.WriteAt(data, position); err != nil {
		t.Fatal(err)
	}
}

func reopen(t *testing.T, fsys vfs.FS, c LogConfig) (*Log, PartitionRecovery) {
	t.Helper()
	m := testManager(t, fsys, newClock(), c)
	report := m.RecoveryReport()
	if len(report.Partitions) != 1 {
		t.Fatalf("report %+v", report)
	}
	return m.Get(testTP), report.Partitions[0]
}

func offsetsOf(batches []record.Batch) string {
	var s []string
	for _, b := range batches {
		s = append(s, fmt.Sprint(b.BaseOffset()))
	}
	return strings.Join(s, " ")
}

func TestTornTailIsCut(t *testing.T) {
	fsys, _, c := damagedLog(t, 6, 1<<20, 3)
	damage(t, fsys, 0, -10, []byte("torn"))
	l, report := reopen(t, fsys, c)
	if l.LogEndOffset() != 5 || report.TruncatedBytes == 0 || len(report.Quarantined) > 0 {
		t.Fatalf("log ends at %d, report %+v", l.LogEndOffset(), report)
	}
}

func TestGarbageAtTheEndIsCut(t *testing.T) {
	for _, garbage := range [][]byte{make([]byte, 5000), bytes.Repeat([]byte{2}, 5000), []byte("x")} {
		fsys, segs, c := damagedLog(t, 6, 1<<20, 6)
		damage(t, fsys, 0, segs[0].Size, garbage)
		l, report := reopen(t, fsys, c)
		if l.LogEndOffset() != 6 || report.TruncatedBytes != int64(len(garbage)) || len(report.Quarantined) > 0 {
			t.Fatalf("log ends at %d, report %+v", l.LogEndOffset(), report)
		}
	}
}

func TestCorruptionIsQuarantined(t *testing.T) {
	size := int64(len(plain(1).build(t)))
	for _, c := range []struct {
		name           string
		durable        int64 // flushed up to here
		segmentBytes   int32
		base, position int64
		want           string // offsets served
		end            int64
	}{
		{"below the recovery point, at the end", 5, 1 << 20, 0, 4*size + 70, "0 1 2 3", 6},
		{"above it, but sound batches follow", 0, 1 << 20, 0, 2*size + 70, "0 1", 6},
		{"in a segment with others after it", 0, int32(2 * size), 2, 70, "0 1 4 5", 6},
		{"a length field", 0, 1 << 20, 0, 3*size + record.LengthAt, "0 1 2", 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			fsys, _, config := damagedLog(t, 6, c.segmentBytes, c.durable)
			damage(t, fsys, c.base, c.position, []byte("\xffrot"))
			before, err := vfs.ReadFile(fsys, filepath.Join(testDir, "t-0", fileName(c.base, logSuffix)))
			if err != nil {
				t.Fatal(err)
			}
			l, report := reopen(t, fsys, config)
			if got := offsetsOf(readBatches(t, l)); got != c.want {
				t.Errorf("serves %s, want %s", got, c.want)
			}
			if l.LogEndOffset() != c.end {
				t.Errorf("log ends at %d, want %d", l.LogEndOffset(), c.end)
			}
			if len(report.Quarantined) != 1 {
				t.Fatalf("report %+v", report)
			}
			kept, err := vfs.ReadFile(fsys, filepath.Join(testDir, "t-0", report.Quarantined[0].File))
			if err != nil || !bytes.Equal(kept, before) {
				t.Errorf("evidence differs: %v", err)
			}
			if res := mustAppend(t, l, plain(1)); res.BaseOffset != c.end {
				t.Errorf("append goes to offset %d", res.BaseOffset)
			}
		})
	}
}

// A file that ends soundly but below the recovery point has lost durable
// records: their offsets are not given out again.
func TestMissingDurableRecords(t *testing.T) {
	size := int64(len(plain(1).build(t)))
	fsys, _, c := damagedLog(t, 6, 1<<20, 5)
	f, err := fsys.Open(filepath.Join(testDir, "t-0", fileName(0, logSuffix)), vfs.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(3 * size); err != nil {
		t.Fatal(err)
	}
	l, report := reopen(t, fsys, c)
	if l.LogEndOffset() != 5 || report.MissingFrom != 3 || report.MissingTo != 5 {
		t.Fatalf("log ends at %d, report %+v", l.LogEndOffset(), report)
	}
	var res ReadResult
	if err := l.Read(3, 1000, all, true, &res); err != nil || res.Region.Length != 0 {
		t.Fatalf("read in the gap: %+v, %v", res, err)
	}
}

func TestDamagedIndexesAreRebuilt(t *testing.T) {
	fsys := vfs.NewMemFS()
	c := noRetention()
	c.SegmentBytes, c.IndexIntervalBytes = 1000, 100
	m, l := testLog(t, fsys, c)
	for range 60 {
		mustAppend(t, l, plain(1))
	}
	first := l.Segments()[0].BaseOffset
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
		name := filepath.Join(testDir, "t-0", fileName(first, suffix))
		want, err := vfs.ReadFile(fsys, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, break_ := range []func(){
			func() { _ = fsys.Remove(name) },
			func() { _ = vfs.WriteFileAtomic(fsys, name, append(bytes.Clone(want), 1)) },
		} {
			break_()
			m = testManager(t, fsys, newClock(), c)
			if r := m.RecoveryReport(); len(r.Partitions) != 1 || r.Partitions[0].IndexesRebuilt != 1 {
				t.Fatalf("report %+v", r)
			}
			if got := readAll(t, m.Get(testTP), 0, all, 200); len(got) != 60 {
				t.Fatalf("read %d batches", len(got))
			}
			if err := m.Close(1); err != nil {
				t.Fatal(err)
			}
			if got, err := vfs.ReadFile(fsys, name); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s was rebuilt differently: %v", suffix, err)
			}
		}
	}
}

func TestFailedSyncTakesTheDirectoryOffline(t *testing.T) {
	fsys, err := vfs.NewFaultFS(vfs.NewMemFS())
	if err != nil {
		t.Fatal(err)
	}
	_, l := testLog(t, fsys, noRetention())
	mustAppend(t, l, plain(2))
	if err := l.Flush(all); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plain(2))
	if err := fsys.Inject("sync(*.log) eio times 1"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second sync would succeed: it must not be tried
		if err := l.Flush(all); !errors.Is(err, ErrLogDirFailed) {
			t.Fatalf("flush: %v", err)
		}
	}
	if _, err := tryAppend(l, plain(1).build(t)); !errors.Is(err, ErrLogDirFailed) {
		t.Fatalf("append: %v", err)
	}
	var res ReadResult
	if err := l.Read(0, 1000, all, true, &res); err != nil || len(regionBatches(t, &res)) != 1 {
		t.Fatalf("read of durable records: %v", err)
	}
	if err := l.Read(2, 1000, all, true, &res); !errors.Is(err, ErrLogDirFailed) {
		t.Fatalf("read beyond them: %v", err)
	}
}

func TestFullDiskFailsOnlyItsRequests(t *testing.T) {
	fsys, err := vfs.NewFaultFS(vfs.NewMemFS())
	if err != nil {
		t.Fatal(err)
	}
	c := noRetention()
	c.SegmentBytes = 300
	_, l := testLog(t, fsys, c)
	mustAppend(t, l, plain(1))
	for _, rule := range []string{"write(*.log) short times 1", "open(*.log) enospc times 1"} {
		if err := fsys.Inject(rule); err != nil {
			t.Fatal(err)
		}
		failures := 0
		for range 10 {
			if _, err := tryAppend(l, plain(1).build(t)); err != nil {
				if !errors.Is(err, ErrStorageWriteFailed) {
					t.Fatal(err)
				}
				failures++
			}
		}
		if failures != 1 {
			t.Errorf("%s: %d appends failed", rule, failures)
		}
		fsys.Heal()
	}
	if got := len(readAll(t, l, 0, all, 1000)); got != 19 || l.LogEndOffset() != 19 {
		t.Errorf("%d batches, log ends at %d", got, l.LogEndOffset())
	}
}

// FuzzRecovery opens a partition whose segment holds arbitrary bytes: no panic,
// what is served is sound and in order, appends go on, and nothing that could
// be read before a second recovery is lost by it.
func FuzzRecovery(f *testing.F) {
	good := plain(2).build(f)
	second := plain(1).build(f)
	second.SetBaseOffset(2)
	both := append(bytes.Clone(good), second...)
	f.Add([]byte(good), int64(0))
	f.Add([]byte(both), int64(3))
	f.Add(append(bytes.Clone(both[:len(good)-5]), both...), int64(0))
	f.Add(make([]byte, 200), int64(0))
	f.Add([]byte{}, int64(7))
	f.Fuzz(func(t *testing.T, data []byte, recoveryPoint int64) {
		if recoveryPoint < 0 || recoveryPoint > 1<<40 {
			return
		}
		fsys := vfs.NewMemFS()
		c := noRetention()
		if _, err := FormatLogDir(fsys, testDir, "cluster", 1); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(testDir, "t-0")
		if err := fsys.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		_ = vfs.WriteFileAtomic(fsys, filepath.Join(dir, fileName(0, logSuffix)), data)
		_ = vfs.WriteFileAtomic(fsys, filepath.Join(testDir, recoveryPointFile), encodeOffsets(map[TopicPartition]int64{testTP: recoveryPoint}))
		m := testManager(t, fsys, newClock(), c)
		l := m.Get(testTP)
		if l.LogEndOffset() < recoveryPoint {
			t.Fatalf("log ends at %d, below the recovery point %d", l.LogEndOffset(), recoveryPoint)
		}
		before := readBatches(t, l)
		next := int64(0)
		for _, b := range before {
			if b.BaseOffset() < next {
				t.Fatalf("batch at %d after %d", b.BaseOffset(), next)
			}
			next = b.NextOffset()
		}
		end := l.LogEndOffset()
		if res := mustAppend(t, l, plain(1)); res.BaseOffset != end {
			t.Fatalf("append at %d, log ended at %d", res.BaseOffset, end)
		}
		l = testManager(t, fsys.Clone(), newClock(), c).Get(testTP)
		if got := readBatches(t, l); len(got) != len(before)+1 {
			t.Fatalf("%d batches after a second recovery, want %d", len(got), len(before)+1)
		}
	})
}

// A power loss may take all or part of an older segment that was not synced and
// leave the next one. Nothing is damaged; what is missing is reported, and an
// empty segment behind it goes.
func TestHoleBetweenSegments(t *testing.T) {
	for _, c := range []struct {
		name      string
		kept      int64 // batches left in the segment before the last two
		emptyTail bool  // nothing is left of those two
		compact   bool
	}{
		{name: "short", kept: 1},
		{name: "empty", kept: 0},
		{name: "short, nothing behind", kept: 1, emptyTail: true},
		{name: "compacted", kept: 1, compact: true},
	} {
		disk, segments, config := damagedLog(t, 40, 900, 0)
		if c.compact {
			_ = vfs.WriteFileAtomic(disk, filepath.Join(testDir, "t-0", gapsFile), encodeGaps(segments[len(segments)-1].BaseOffset))
		}
		n := len(segments)
		cut := segments[n-3]
		batchBytes := cut.Size / (segments[n-2].BaseOffset - cut.BaseOffset)
		shorten(t, disk, cut.BaseOffset, c.kept*batchBytes)
		if c.emptyTail {
			shorten(t, disk, segments[n-2].BaseOffset, 0)
			shorten(t, disk, segments[n-1].BaseOffset, 0)
		}
		l, report := reopen(t, disk, config)
		hole := cut.BaseOffset + c.kept
		switch {
		case c.compact:
			if report.MissingTo != 0 || l.LogEndOffset() != 40 {
				t.Errorf("%s: ends at %d, report %+v", c.name, l.LogEndOffset(), report)
			}
		case c.emptyTail:
			if report.MissingTo != 0 || l.LogEndOffset() != hole {
				t.Errorf("%s: ends at %d, want %d; report %+v", c.name, l.LogEndOffset(), hole, report)
			}
		default:
			if report.MissingFrom != hole || report.MissingTo != segments[n-2].BaseOffset || !report.MissingUnsynced || l.LogEndOffset() != 40 {
				t.Errorf("%s: ends at %d, report %+v", c.name, l.LogEndOffset(), report)
			}
		}
	}
}

// shorten cuts a segment's file at a byte position.
func shorten(t *testing.T, fsys vfs.FS, base, size int64) {
	t.Helper()
	f, err := fsys.Open(filepath.Join(testDir, "t-0", fileName(base, logSuffix)), vfs.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
}

// Each of a producer's batches that may still be in flight is known as a
// duplicate after a restart, a clean one and a crash.
func TestDuplicatesAreKnownAfterARestart(t *testing.T) {
	for _, clean := range []bool{true, false} {
		fsys := vfs.NewMemFS()
		c := noRetention()
		c.SegmentBytes = 900 // a snapshot at each roll
		m, l := testLog(t, fsys, c)
		for i := range int32(30) {
			mustAppend(t, l, idempotent(7, 0, i, 1))
		}
		if clean {
			if err := m.Close(1); err != nil {
				t.Fatal(err)
			}
		} else if err := l.Flush(all); err != nil {
			t.Fatal(err)
		}
		l = testManager(t, fsys.Clone(), newClock(), c).Get(testTP)
		for i := int32(30 - batchesToRetain); i < 30; i++ {
			res, err := tryAppend(l, idempotent(7, 0, i, 1).build(t))
			if err != nil || !res.Duplicate || res.BaseOffset != int64(i) {
				t.Errorf("clean=%t: retry of sequence %d: %+v, %v", clean, i, res, err)
			}
		}
	}
}
