package storage

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"freshet/vfs"
)

// A region handed out before a truncation, a deletion or a close still gives
// its bytes afterwards.
func TestRegionsInFlightAreImmutable(t *testing.T) {
	for name, op := range map[string]func(t *testing.T, m *LogManager, l *Log){
		"truncate": func(t *testing.T, _ *LogManager, l *Log) {
			if _, err := l.TruncateTo(1); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				s := plain(1)
				s.fill = 'x'
				mustAppend(t, l, s)
			}
		},
		"truncate fully": func(t *testing.T, _ *LogManager, l *Log) {
			if err := l.TruncateFullyAndStartAt(100); err != nil {
				t.Fatal(err)
			}
			if res := mustAppend(t, l, plain(1)); res.BaseOffset != 100 {
				t.Fatalf("appended at %d", res.BaseOffset)
			}
		},
		"delete partition": func(t *testing.T, m *LogManager, _ *Log) {
			if err := m.Delete(testTP); err != nil {
				t.Fatal(err)
			}
			m.tick(1 << 60)
		},
		"close": func(t *testing.T, m *LogManager, _ *Log) {
			if err := m.Close(1); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := noRetention()
			m, err := openTestManager(vfs.OS{}, osPath(t), newClock(), c)
			if err != nil {
				t.Fatal(err)
			}
			l, err := m.Create(testTP, nil, c)
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				mustAppend(t, l, plain(1))
			}
			var res ReadResult
			if err := l.Read(0, 1<<20, all, true, &res); err != nil {
				t.Fatal(err)
			}
			before := make([]byte, res.Region.Length)
			if _, err := res.Region.File.ReadAt(before, res.Region.Position); err != nil {
				t.Fatal(err)
			}
			op(t, m, l)
			after := make([]byte, res.Region.Length)
			if _, err := res.Region.File.ReadAt(after, res.Region.Position); err != nil || !bytes.Equal(before, after) {
				t.Fatalf("bytes of a region in flight changed: %v", err)
			}
			res.Region.Release()
		})
	}
}

func TestTruncateTo(t *testing.T) {
	for cut := int64(0); cut <= 12; cut++ {
		fsys := vfs.NewMemFS()
		c := noRetention()
		c.SegmentBytes, c.IndexIntervalBytes = 300, 0
		m, l := testLog(t, fsys, c)
		for i := range 6 {
			req := AppendRequest{Batch: idempotent(4, 0, int32(2*i), 2).build(t), LeaderEpoch: int32(i / 2), NowMs: 1}
			var res Reservation
			if err := l.Reserve(&req, &res); err != nil {
				t.Fatal(err)
			}
			if _, err := complete(l, &res, write(&res, req.Batch)); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Flush(all); err != nil {
			t.Fatal(err)
		}
		l.AdvanceHighWatermark(12)
		did, err := l.TruncateTo(cut)
		if err != nil || did != (cut < 12) {
			t.Fatalf("truncate to %d: %t, %v", cut, did, err)
		}
		check := func(l *Log) {
			t.Helper()
			if l.LogEndOffset() != cut || l.RecoveryPoint() > cut || l.HighWatermark() > cut {
				t.Fatalf("cut %d: end %d, recovery point %d, high watermark %d", cut, l.LogEndOffset(), l.RecoveryPoint(), l.HighWatermark())
			}
			if got := len(readBatches(t, l)); got != int(cut/2) {
				t.Fatalf("cut %d: %d batches", cut, got)
			}
			for _, e := range l.EpochEntries() {
				if e.StartOffset >= cut {
					t.Fatalf("cut %d: epochs %v", cut, l.EpochEntries())
				}
			}
		}
		check(l)
		if cut%2 == 0 {
			check(testManager(t, fsys.Clone(), newClock(), c).Get(testTP))
		}
		if cut > 1 { // the producer goes on where the log ends
			if res := mustAppend(t, l, idempotent(4, 0, int32(cut/2*2), 2)); res.Duplicate || res.BaseOffset != cut {
				t.Fatalf("cut %d: %+v", cut, res)
			}
		}
		if err := m.Close(1); err != nil {
			t.Fatal(err)
		}
	}
}

// A follower that must cut its log on a full disk keeps it, and cuts it when there
// is room; only what leaves the file in doubt fails the directory.
func TestTruncateToOnAFullDisk(t *testing.T) {
	for rule, final := range map[string]bool{
		"open(*.tmp) enospc":  false,
		"write(*.tmp) enospc": false,
		"write(*.tmp) short":  false,
		"sync(*.tmp) enospc":  true,
		"write(*.tmp) eio":    true,
	} {
		fsys, err := vfs.NewFaultFS(vfs.NewMemFS())
		if err != nil {
			t.Fatal(err)
		}
		c := noRetention()
		c.SegmentBytes, c.IndexIntervalBytes = 300, 0
		m, l := testLog(t, fsys, c)
		for range 6 {
			mustAppend(t, l, plain(2))
		}
		if err := fsys.Inject(rule); err != nil {
			t.Fatal(err)
		}
		if did, err := l.TruncateTo(6); err == nil || did {
			t.Errorf("%s: the log was cut: %t, %v", rule, did, err)
		}
		fsys.Heal()
		if !final {
			if got := len(readBatches(t, l)); got != 6 || l.LogEndOffset() != 12 {
				t.Errorf("%s: %d batches are left, the end is %d", rule, got, l.LogEndOffset())
			}
			mustAppend(t, l, plain(2))
		}
		did, err := l.TruncateTo(6)
		if final != (err != nil) || did == final || !final && (len(readBatches(t, l)) != 3 || l.LogEndOffset() != 6) {
			t.Errorf("%s: with room the log is cut: %t, %v; it ends at %d", rule, did, err, l.LogEndOffset())
		}
		_ = m.Close(1)
	}
}

func TestReplicatedAppends(t *testing.T) {
	_, leader := testLog(t, vfs.NewMemFS(), noRetention())
	_, follower := testLog(t, vfs.NewMemFS(), noRetention())
	for i := range 4 {
		mustAppend(t, leader, idempotent(1, 0, int32(i), 1))
	}
	for _, b := range readBatches(t, leader) {
		b.SetLeaderEpoch(5)
		req := AppendRequest{Batch: b, LeaderEpoch: 9, Origin: OriginReplication, NowMs: 1}
		var res Reservation
		if err := follower.Reserve(&req, &res); err != nil {
			t.Fatal(err)
		}
		if b.LeaderEpoch() != 5 {
			t.Fatal("a replicated batch was patched")
		}
		if _, err := complete(follower, &res, write(&res, b)); err != nil {
			t.Fatal(err)
		}
		if err := follower.Reserve(&req, &res); err == nil {
			t.Fatal("the same offset was appended twice")
		}
	}
	if got := fmt.Sprint(follower.EpochEntries()); got != "[{5 0}]" || follower.LatestEpoch() != 5 {
		t.Errorf("epochs %s", got)
	}
	if p := follower.Producers(); len(p) != 1 || p[0].LastSequence != 3 {
		t.Errorf("producers %+v", p)
	}
}

// Compaction drops whole batches, so a leader's batches may lie behind gaps: a
// follower takes them where they are, reads and recovers them, and its log has
// the leader's offsets.
func TestReplicatedAppendBehindAGap(t *testing.T) {
	fsys := vfs.NewMemFS()
	m, follower := testLog(t, fsys, noRetention())
	for _, base := range []int64{3, 10, 12} {
		b := plain(2).build(t)
		b.SetBaseOffset(base)
		b.SetLeaderEpoch(1)
		req := AppendRequest{Batch: b, LeaderEpoch: 1, Origin: OriginReplication, NowMs: 1}
		var res Reservation
		if err := follower.Reserve(&req, &res); err != nil {
			t.Fatal(err)
		}
		if leo, err := complete(follower, &res, write(&res, b)); err != nil || leo != base+2 {
			t.Fatalf("log end offset %d, want %d (%v)", leo, base+2, err)
		}
	}
	check := func(l *Log) {
		t.Helper()
		var got []int64
		for _, b := range readAll(t, l, 0, l.LogEndOffset(), 1<<20) {
			got = append(got, b.BaseOffset())
		}
		if fmt.Sprint(got) != "[3 10 12]" || l.LogEndOffset() != 14 {
			t.Errorf("batches at %v, log end offset %d", got, l.LogEndOffset())
		}
		var res ReadResult
		if err := l.Read(5, 1<<20, 14, true, &res); err != nil || res.Region.Length == 0 || res.NextOffset != 14 {
			t.Errorf("read in the gap: %+v, %v", res, err)
		}
		res.Region.Release()
	}
	check(follower)
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	check(testManager(t, fsys, newClock(), noRetention()).Get(testTP))
}

// A leader that another has followed appends nothing more, neither for its
// clients nor to a follower.
func TestFencedLeaderEpoch(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), noRetention())
	l.FenceLeaderEpoch(4)
	l.FenceLeaderEpoch(2) // never back
	for _, origin := range []Origin{OriginClient, OriginCoordinator, OriginReplication} {
		for epoch, want := range map[int32]error{3: ErrFencedLeaderEpoch, 4: nil, 5: nil} {
			b := plain(1).build(t)
			b.SetBaseOffset(l.LogEndOffset())
			req := AppendRequest{Batch: b, LeaderEpoch: epoch, Origin: origin, NowMs: 1}
			var res Reservation
			err := l.Reserve(&req, &res)
			if !errors.Is(err, want) {
				t.Errorf("origin %d, epoch %d: %v, want %v", origin, epoch, err, want)
			}
			if err == nil {
				if _, err := complete(l, &res, write(&res, b)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// A log that ends behind a hole is cut where that begins: no gap is left that
// would excuse what a power loss takes later.
func TestTruncateToTheStartOfAHole(t *testing.T) {
	size := int64(len(plain(1).build(t)))
	fsys, _, c := damagedLog(t, 6, 1<<20, 5)
	damage(t, fsys, 0, 3*size+70, []byte("\xffrot"))
	l, report := reopen(t, fsys, c)
	if len(report.Quarantined) != 1 || report.Quarantined[0].FromOffset != 3 || l.LogEndOffset() != 6 {
		t.Fatalf("log ends at %d, report %+v", l.LogEndOffset(), report)
	}
	if _, err := l.TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	if mark := l.gaps.Load(); mark != nil || l.LogEndOffset() != 3 {
		t.Errorf("log ends at %d, and may have gaps: %+v", l.LogEndOffset(), mark)
	}
	if _, err := l.TruncateTo(2); err != nil || l.gaps.Load() != nil {
		t.Errorf("cut between two batches: %v, gaps %+v", err, l.gaps.Load())
	}
}
