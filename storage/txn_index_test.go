package storage

import (
	"fmt"
	"path/filepath"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

// mark appends a commit or abort marker as the transaction coordinator does.
func mark(t *testing.T, l *Log, pid int64, commit bool) {
	t.Helper()
	b, err := record.AppendEndTxnMarker(nil, record.EndTxnMarker{
		Commit: commit, ProducerID: pid, CoordinatorEpoch: 1, TimestampMs: 1_700_000_000_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	var res Reservation
	if err := l.Reserve(&AppendRequest{Batch: b, NowMs: 1, Origin: OriginCoordinator}, &res); err != nil {
		t.Fatal(err)
	}
	if _, err := complete(l, &res, write(&res, b)); err != nil {
		t.Fatal(err)
	}
}

func transactional(pid int64, seq int32, records int) batchSpec {
	s := idempotent(pid, 0, seq, records)
	s.transactional = true
	return s
}

// The last stable offset and the aborted transactions follow KIP-98: also after
// a rollback, a clean restart, a kill, and with the index file gone bad.
func TestTransactions(t *testing.T) {
	fsys := vfs.NewMemFS()
	c := noRetention()
	c.SegmentBytes = 500
	m, l := testLog(t, fsys, c)
	lso := func(want int64) {
		t.Helper()
		l.AdvanceHighWatermark(all)
		if got := l.LastStableOffset(); got != want {
			t.Fatalf("last stable offset is %d, want %d", got, want)
		}
	}
	mustAppend(t, l, plain(1))               // 0
	mustAppend(t, l, transactional(1, 0, 2)) // 1 2
	lso(1)
	mustAppend(t, l, transactional(2, 0, 2)) // 3 4
	mark(t, l, 1, false)                     // 5: aborts 1..2
	lso(3)
	mustAppend(t, l, plain(1)) // 6
	mark(t, l, 2, true)        // 7: commits
	lso(8)
	for i := range 5 {
		mustAppend(t, l, transactional(1, int32(2+i), 1)) // 8 10 12 14 16
		mark(t, l, 1, i%2 == 1)                           // 9 11 13 15 17: aborts 8, 12, 16
	}
	mustAppend(t, l, transactional(3, 0, 1)) // 18
	lso(18)
	want := "[{1 1 5 3} {1 8 9 10} {1 12 13 14} {1 16 17 18}]"
	check := func(l *Log, when string) {
		t.Helper()
		got, err := l.AbortedTransactions(0, l.LogEndOffset())
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: aborted transactions %v, want %s; %v", when, got, want, err)
		}
		if got, _ := l.AbortedTransactions(6, 12); fmt.Sprint(got) != "[{1 8 9 10}]" {
			t.Errorf("%s: of [6, 12): %v", when, got)
		}
		l.AdvanceHighWatermark(all)
		if got := l.LastStableOffset(); got != 18 {
			t.Errorf("%s: last stable offset %d", when, got)
		}
	}
	check(l, "at first")
	b := transactional(1, 7, 1).build(t)
	res, err := reserve(l, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = complete(l, &res, fmt.Errorf("injected"))
	check(l, "after a rollback")
	check(testManager(t, fsys.Clone(), newClock(), c).Get(testTP), "after a kill")
	first := fileName(l.Segments()[0].BaseOffset, txnIndexSuffix)
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	check(testManager(t, fsys.Clone(), newClock(), c).Get(testTP), "after a clean stop")
	bad := fsys.Clone()
	if err := vfs.WriteFileAtomic(bad, filepath.Join(testDir, "t-0", first), []byte("bad")); err != nil {
		t.Fatal(err)
	}
	check(testManager(t, bad, newClock(), c).Get(testTP), "with a bad index")
}

func TestTransactionRules(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), noRetention())
	mustAppend(t, l, transactional(1, 0, 1))
	if _, err := tryAppend(l, idempotent(1, 0, 1, 1).build(t)); err == nil {
		t.Error("a write outside the open transaction was accepted")
	}
	mark(t, l, 1, true)
	mustAppend(t, l, idempotent(1, 0, 1, 1))
	stale, err := record.AppendEndTxnMarker(nil, record.EndTxnMarker{ProducerID: 1, CoordinatorEpoch: 0})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Reserve(&AppendRequest{Batch: stale, NowMs: 1, Origin: OriginCoordinator}, new(Reservation)); err == nil {
		t.Error("a marker of an older coordinator was accepted")
	}
}
