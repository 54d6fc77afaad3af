package storage

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

// flip flips one bit of a batch's header, outside its CRC. bit 0 is the lowest
// of the field that ends before position end of the batch.
func flip(t *testing.T, fsys vfs.FS, segment, position int64, end, bit int) {
	t.Helper()
	name := filepath.Join(testDir, "t-0", fileName(segment, logSuffix))
	data, err := vfs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	at := position + int64(end-1-bit/8)
	damage(t, fsys, segment, at, []byte{data[at] ^ 1<<(bit%8)})
}

// Each bit of each base offset: whatever is still served stands where it was
// written, what went is reported, and again after a crash that came before
// anybody acted on the report. Nothing before the damage goes.
func TestBaseOffsetsAreChecked(t *testing.T) {
	size := int64(len(plain(1).build(t)))
	for _, marked := range []bool{false, true} {
		for _, durable := range []int64{0, 7} {
			for batch := range int64(8) {
				for bit := range 64 {
					checkFlippedOffset(t, size, batch, durable, bit, marked)
				}
			}
		}
	}
}

func checkFlippedOffset(t *testing.T, size, batch, durable int64, bit int, marked bool) {
	fsys, _, config := damagedLog(t, 8, int32(4*size), durable)
	if batch == 7 && bit == 63 {
		return // a negative offset is no batch: a torn tail
	}
	if marked {
		if batch == 7 {
			return // where gaps are allowed, the last batch may be anywhere
		}
		_ = vfs.WriteFileAtomic(fsys, filepath.Join(testDir, "t-0", gapsFile), encodeGaps(0))
	}
	segment := batch / 4 * 4
	flip(t, fsys, segment, batch%4*size, 8, bit)
	l, report := reopen(t, fsys, config)
	if durable == 7 && segment == 0 && len(report.Quarantined) == 0 {
		return // below the recovery point's segment nothing is read
	}
	seen := map[int64]bool{}
	for _, b := range readBatches(t, l) {
		if o := b.BaseOffset(); o > 7 {
			t.Fatalf("batch %d, bit %d, durable %d, marked %t: a batch is served at %d", batch, bit, durable, marked, o)
		}
		seen[b.BaseOffset()] = true
	}
	for o := range batch - 1 { // with gaps, the one before cannot be told from the one that moved
		if !seen[o] && (o/4 == batch/4 || o < segment) {
			t.Fatalf("batch %d, bit %d, durable %d, marked %t: offset %d is gone", batch, bit, durable, marked, o)
		}
	}
	if seen[batch] || len(report.Quarantined) != 1 || l.LogEndOffset() != 8 {
		t.Fatalf("batch %d, bit %d, durable %d, marked %t: ends at %d, report %+v", batch, bit, durable, marked, l.LogEndOffset(), report)
	}
	hole := report.Quarantined[0].FromOffset
	fsys = fsys.Clone() // as the first recovery leaves it; no lock is held
	l, again := reopen(t, fsys, config)
	if again.MissingTo == 0 || again.MissingFrom != hole {
		t.Fatalf("batch %d, bit %d: the second recovery reports %+v, the first %+v", batch, bit, again, report)
	}
	if _, err := l.TruncateTo(hole); err != nil {
		t.Fatal(err)
	}
	m := testManager(t, fsys.Clone(), newClock(), config)
	for _, r := range m.RecoveryReport().Partitions {
		if r.MissingTo > 0 || len(r.Quarantined) > 0 {
			t.Fatalf("after the log was cut at %d: %+v", hole, r)
		}
	}
}

// epochLog writes batches of these leader epochs, in segments of three.
func epochLog(t *testing.T, epochs []int32) (*vfs.MemFS, int64, LogConfig) {
	t.Helper()
	size := int64(len(plain(1).build(t)))
	fsys := vfs.NewMemFS()
	c := noRetention()
	c.SegmentBytes = int32(3 * size)
	_, l := testLog(t, fsys, c)
	for _, epoch := range epochs {
		b := plain(1).build(t)
		var res Reservation
		if err := l.Reserve(&AppendRequest{Batch: b, LeaderEpoch: epoch, NowMs: 1}, &res); err != nil {
			t.Fatal(err)
		}
		if _, err := complete(l, &res, write(&res, b)); err != nil {
			t.Fatal(err)
		}
	}
	return fsys.Clone(), size, c
}

// A leader epoch that falls from one batch to the next: one of the two is
// wrong, and not the rest of the log.
func TestLeaderEpochsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name  string
		batch int64
		epoch int32 // instead of the batch's
		hole  int64 // -1: goes unseen
	}{
		{"too high", 1, 1 << 20, 1},
		{"too high, first of the log", 0, 9, 0},
		{"too high, last of a segment", 2, 1 << 20, 2},
		{"too high, first of a segment", 3, 1 << 20, 3},
		{"too low", 4, 1, 4},
		{"too low, first of a segment", 6, 2, 6},
		{"between its neighbours'", 3, 4, -1},
		{"last of the log", 8, 1 << 20, -1},
	} {
		fsys, size, config := epochLog(t, []int32{3, 3, 3, 3, 5, 5, 5, 6, 6})
		damage(t, fsys, c.batch/3*3, c.batch%3*size+record.LeaderEpochAt, binary.BigEndian.AppendUint32(nil, uint32(c.epoch)))
		l, report := reopen(t, fsys, config)
		if c.hole < 0 {
			if len(report.Quarantined) > 0 || l.LogEndOffset() != 9 {
				t.Errorf("%s: ends at %d, report %+v", c.name, l.LogEndOffset(), report)
			}
			continue
		}
		if len(report.Quarantined) != 1 || report.Quarantined[0].FromOffset != c.hole || l.LogEndOffset() != 9 {
			t.Errorf("%s: ends at %d, report %+v", c.name, l.LogEndOffset(), report)
		}
		for _, e := range l.EpochEntries() {
			if e.Epoch > 6 {
				t.Errorf("%s: epochs %+v", c.name, l.EpochEntries())
			}
		}
	}
}

// Gaps that nobody lost anything by are kept, and never taken for damage: in a
// directory that does not mark them, in a log that got them from its leader, in
// one that was cut inside a batch.
func TestGapsThatAreAllowed(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(l *Log)
		undo func(fsys vfs.FS) // of what says that they are there
	}{
		{name: "replicated", make: func(l *Log) {
			b := plain(1).build(t)
			b.SetBaseOffset(10)
			var res Reservation
			if err := l.Reserve(&AppendRequest{Batch: b, Origin: OriginReplication, NowMs: 1, Follows: l.LogEndOffset()}, &res); err != nil {
				t.Fatal(err)
			}
			if _, err := complete(l, &res, write(&res, b)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "cut inside a batch", make: func(l *Log) {
			mustAppend(t, l, plain(5))
			if _, err := l.TruncateTo(l.LogEndOffset() - 2); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, l, plain(1))
		}},
	} {
		for _, unmarked := range []bool{false, true} {
			fsys := vfs.NewMemFS()
			_, l := testLog(t, fsys, noRetention())
			mustAppend(t, l, plain(2))
			c.make(l)
			end := l.LogEndOffset()
			if unmarked { // as Kafka, or a release before, leaves it
				_ = fsys.Remove(filepath.Join(testDir, "t-0", gapsFile))
				meta := []byte("cluster.id=cluster\nnode.id=1\nversion=1\n")
				if err := vfs.WriteFileAtomic(fsys, filepath.Join(testDir, metaPropertiesFile), meta); err != nil {
					t.Fatal(err)
				}
			}
			l, report := reopen(t, fsys.Clone(), noRetention())
			if len(report.Quarantined) > 0 || report.TruncatedBytes > 0 || l.LogEndOffset() != end {
				t.Errorf("%s, unmarked %t: ends at %d, not %d; report %+v", c.name, unmarked, l.LogEndOffset(), end, report)
			}
		}
		// The test of the test: without the mark the gap is damage.
		fsys := vfs.NewMemFS()
		_, l := testLog(t, fsys, noRetention())
		mustAppend(t, l, plain(2))
		c.make(l)
		_ = fsys.Remove(filepath.Join(testDir, "t-0", gapsFile))
		if _, report := reopen(t, fsys.Clone(), noRetention()); len(report.Quarantined) != 1 {
			t.Errorf("%s: a gap without a mark is taken: %+v", c.name, report)
		}
	}
}

// A hole in a topic with cleanup.policy=compact: reported at each start until
// the log is cut there, or the loss accepted.
func TestHoleInCompactedTopic(t *testing.T) {
	disk, segments, config := damagedLog(t, 40, 900, 0)
	config.CleanupCompact = true
	_ = vfs.WriteFileAtomic(disk, filepath.Join(testDir, "t-0", gapsFile), encodeGaps(segments[1].BaseOffset))
	cut := segments[2]
	size := cut.Size / (segments[3].BaseOffset - cut.BaseOffset)
	shorten(t, disk, segments[0].BaseOffset, size) // compaction may have done this
	shorten(t, disk, cut.BaseOffset, size)         // and not this
	from, to := cut.BaseOffset+1, segments[3].BaseOffset
	for start := range 3 {
		disk = disk.Clone() // no lock is held
		l, report := reopen(t, disk, config)
		if report.MissingFrom != from || report.MissingTo != to || !report.MissingUnsynced || l.LogEndOffset() != 40 {
			t.Fatalf("start %d: ends at %d, report %+v", start, l.LogEndOffset(), report)
		}
		if start == 1 { // the recovery point moves past it: nothing of it would be read again
			if err := l.Flush(all); err != nil {
				t.Fatal(err)
			}
		}
	}
	accepted := disk.Clone()
	l, _ := reopen(t, accepted, config)
	if err := l.AcceptLost(); err != nil {
		t.Fatal(err)
	}
	if _, report := reopen(t, accepted.Clone(), config); report.MissingTo > 0 || len(report.Accepted) != 1 || report.Accepted[0] != (OffsetRange{from, to}) {
		t.Fatalf("after the loss was accepted: %+v", report)
	}
	disk = disk.Clone()
	l, _ = reopen(t, disk, config)
	if _, err := l.TruncateTo(from); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, plain(1))
	if l, report := reopen(t, disk.Clone(), config); report.MissingTo > 0 || len(report.Accepted) > 0 || l.LogEndOffset() != from+1 {
		t.Fatalf("after the log was cut: %+v", report)
	}
}

// A log whose start lies in a hole is cut at its start, as the broker does: the
// leader sends all that is readable anew, and the next starts find nothing
// missing.
func TestHoleAroundTheLogStart(t *testing.T) {
	disk, segments, config := damagedLog(t, 40, 900, 0)
	cut := segments[2]
	if cut.BaseOffset+3 > segments[3].BaseOffset {
		t.Fatalf("segments %+v", segments)
	}
	shorten(t, disk, cut.BaseOffset, cut.Size/(segments[3].BaseOffset-cut.BaseOffset))
	start := cut.BaseOffset + 2 // DeleteRecords had come so far
	points := fmt.Sprintf("0\n1\n%s %d %d\n", testTP.Topic, testTP.Partition, start)
	if err := vfs.WriteFileAtomic(disk, filepath.Join(testDir, logStartOffsetFile), []byte(points)); err != nil {
		t.Fatal(err)
	}
	l, report := reopen(t, disk, config)
	if report.MissingFrom != start-1 || l.LogStartOffset() != start {
		t.Fatalf("begins at %d, report %+v", l.LogStartOffset(), report)
	}
	if _, err := l.TruncateTo(start); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustAppend(t, l, plain(1))
	}
	if l, report := reopen(t, disk.Clone(), config); report.MissingTo > 0 || len(report.Quarantined) > 0 || l.LogEndOffset() != start+3 {
		t.Fatalf("after the log was cut: ends at %d, report %+v", l.LogEndOffset(), report)
	}
}

// A compacted log that a release before has left, in a directory that does not
// mark gaps: what this one notes of the first gap that it makes takes nothing
// back of what the cleaner checkpoint says of those that are there.
func TestGapsOfAReleaseBefore(t *testing.T) {
	disk, segments, config := damagedLog(t, 40, 900, 0)
	config.CleanupCompact = true
	for _, s := range segments[:3] {
		shorten(t, disk, s.BaseOffset, s.Size/(segments[1].BaseOffset-segments[0].BaseOffset))
	}
	for name, text := range map[string]string{
		metaPropertiesFile: "cluster.id=cluster\nnode.id=1\nversion=1\n",
		cleanerOffsetFile:  fmt.Sprintf("0\n1\n%s %d %d\n", testTP.Topic, testTP.Partition, segments[3].BaseOffset),
	} {
		if err := vfs.WriteFileAtomic(disk, filepath.Join(testDir, name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for start := range 2 {
		l, report := reopen(t, disk, config)
		if report.MissingTo > 0 || len(report.Quarantined) > 0 {
			t.Fatalf("start %d: %+v", start, report)
		}
		b := plain(1).build(t)
		b.SetBaseOffset(l.LogEndOffset() + 5)
		var res Reservation
		if err := l.Reserve(&AppendRequest{Batch: b, Origin: OriginReplication, NowMs: 1, Follows: l.LogEndOffset()}, &res); err != nil {
			t.Fatal(err)
		}
		if _, err := complete(l, &res, write(&res, b)); err != nil {
			t.Fatal(err)
		}
		disk = disk.Clone()
	}
}

// A power loss at any point of a follower's life with gaps: what is there of its
// log is never called damaged for them, because the mark came first.
func TestGapsSurvivePowerLoss(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 7))
		fsys := vfs.NewMemFS()
		c := noRetention()
		c.SegmentBytes = 700
		_, l := testLog(t, fsys, c)
		for range 5 + rng.IntN(30) {
			switch rng.IntN(12) {
			case 0:
				if err := l.Flush(all); err != nil {
					t.Fatal(err)
				}
			case 1:
				if _, err := l.TruncateTo(rng.Int64N(l.LogEndOffset() + 1)); err != nil {
					t.Fatal(err)
				}
			default:
				b := plain(1 + rng.IntN(3)).build(t)
				b.SetBaseOffset(l.LogEndOffset() + max(0, rng.Int64N(12)-8))
				var res Reservation
				if err := l.Reserve(&AppendRequest{Batch: b, Origin: OriginReplication, NowMs: 1, Follows: l.LogEndOffset()}, &res); err != nil {
					t.Fatal(err)
				}
				if _, err := complete(l, &res, write(&res, b)); err != nil {
					t.Fatal(err)
				}
			}
		}
		// Whole sectors of 512 bytes are kept or lost: with all of them kept only
		// the directory's changes are lost, from some point on.
		keep := []float64{0, 0.5, 1}[rng.IntN(3)]
		m := testManager(t, fsys.CrashClone(rng, keep), newClock(), c)
		for _, r := range m.RecoveryReport().Partitions {
			for _, q := range r.Quarantined {
				if strings.Contains(q.Reason, "is due") || strings.Contains(q.Reason, "not fit") || strings.Contains(q.Reason, "next segment") {
					t.Fatalf("seed %d: %+v", seed, r)
				}
			}
		}
	}
}
