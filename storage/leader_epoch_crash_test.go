package storage

import (
	"math/rand/v2"
	"slices"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

// appendAt appends a batch of n records that a leader of an epoch wrote.
func appendAt(t *testing.T, l *Log, epoch int32, n int) {
	t.Helper()
	req := AppendRequest{Batch: plain(n).build(t), LeaderEpoch: epoch, NowMs: 1}
	var res Reservation
	if err := l.Reserve(&req, &res); err != nil {
		t.Fatal(err)
	}
	if _, err := complete(l, &res, write(&res, req.Batch)); err != nil {
		t.Fatal(err)
	}
}

// epochsOf are the leader epochs that the batches say.
func epochsOf(batches []record.Batch) []EpochEntry {
	var entries []EpochEntry
	for _, b := range batches {
		if n := len(entries); n == 0 || b.LeaderEpoch() > entries[n-1].Epoch {
			entries = append(entries, EpochEntry{Epoch: b.LeaderEpoch(), StartOffset: b.BaseOffset()})
		}
	}
	return entries
}

// A follower is cut, goes on with other epochs, and is killed before its epochs
// are written anew: the file still names the ones that were cut.
func TestEpochsThatWereCutDoNotComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		old, next []int32 // epoch of each record
		cut       int64
		anew      bool // everything is dropped
	}{
		"newer epoch cut":     {old: []int32{0, 0, 0, 1}, cut: 3, next: []int32{0, 0, 3}},
		"several epochs cut":  {old: []int32{0, 1, 2, 4, 5}, cut: 2, next: []int32{1, 3, 6}},
		"same offset":         {old: []int32{0, 0, 4}, cut: 2, next: []int32{2, 2}},
		"everything cut":      {old: []int32{3, 4}, cut: 0, next: []int32{1, 1, 2}},
		"nothing comes after": {old: []int32{0, 2, 2}, cut: 1},
		"begun anew higher":   {old: []int32{0, 4, 4}, cut: 100, anew: true, next: []int32{3, 3, 5}},
		"begun anew lower":    {old: []int32{0, 4, 4}, cut: 1, anew: true, next: []int32{3, 3, 5}},
	} {
		for _, flushed := range []bool{true, false} {
			fsys := vfs.NewMemFS()
			m, l := testLog(t, fsys, noRetention())
			for i, epoch := range c.old {
				appendAt(t, l, epoch, 1)
				if flushed && i+2 == len(c.old) { // the recovery point stays below the end
					if err := l.Flush(all); err != nil {
						t.Fatal(err)
					}
				}
			}
			m.checkpoint(true, true, true)
			var err error
			if c.anew {
				err = l.TruncateFullyAndStartAt(c.cut)
			} else {
				_, err = l.TruncateTo(c.cut)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, epoch := range c.next {
				appendAt(t, l, epoch, 1)
			}
			want := l.EpochEntries()
			if again := testManager(t, fsys.Clone(), newClock(), noRetention()).Get(testTP); !slices.Equal(again.EpochEntries(), want) {
				t.Errorf("%s, flushed %t: epochs %v after a kill, want %v", name, flushed, again.EpochEntries(), want)
			}
		}
	}
}

// Whatever was appended, cut and written before, after a kill the epochs are
// those of the batches, and after a power loss they contradict none.
func TestEpochsAfterACrash(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		fsys, config := vfs.NewMemFS(), noRetention()
		config.SegmentBytes = int32(300 + rng.IntN(1500))
		m, l := testLog(t, fsys, config)
		for range 10 + rng.IntN(40) {
			switch n := rng.IntN(20); {
			case n < 13:
				appendAt(t, l, max(0, l.LatestEpoch())+int32(rng.IntN(5)/3), 1+rng.IntN(3))
			case n < 15:
				if err := l.Flush(l.LogEndOffset() - int64(rng.IntN(3))); err != nil {
					t.Fatal(err)
				}
			case n < 17:
				m.checkpoint(true, true, true)
			case n < 19:
				batches := readBatches(t, l)
				if len(batches) == 0 {
					continue
				}
				if _, err := l.TruncateTo(batches[len(batches)-1-rng.IntN(min(6, len(batches)))].BaseOffset()); err != nil {
					t.Fatal(err)
				}
			default:
				if err := l.TruncateFullyAndStartAt(l.LogEndOffset() + int64(rng.IntN(9)) - 4); err != nil && l.LogEndOffset() > 4 {
					t.Fatal(err)
				}
			}
		}
		got, want := testManager(t, fsys.Clone(), newClock(), config).Get(testTP), epochsOf(readBatches(t, l))
		if len(want) > 0 && !slices.Equal(got.EpochEntries(), want) { // an empty log may know of the epoch before it
			t.Fatalf("seed %d: epochs %v after a kill, the batches say %v", seed, got.EpochEntries(), want)
		}
		for _, keep := range []float64{0, 0.3, 0.9, 1} {
			got := testManager(t, fsys.CrashClone(rng, keep), newClock(), config).Get(testTP)
			for _, b := range readBatches(t, got) {
				if epoch := got.EpochAt(b.BaseOffset()); epoch != b.LeaderEpoch() {
					t.Fatalf("seed %d: the batch at %d has epoch %d, the log's epochs are %v", seed, b.BaseOffset(), b.LeaderEpoch(), got.EpochEntries())
				}
			}
			if entries := got.EpochEntries(); len(entries) > 0 && entries[len(entries)-1].StartOffset >= got.LogEndOffset() && got.LogEndOffset() > got.LogStartOffset() {
				t.Fatalf("seed %d: epochs %v in a log that ends at %d", seed, entries, got.LogEndOffset())
			}
		}
	}
}
