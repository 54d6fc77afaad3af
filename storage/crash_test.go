package storage

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

// history is a run of appends, rolls, flushes, truncations and failed writes on
// one log, with what must be found again after a crash.
type history struct {
	t       *testing.T
	rng     *rand.Rand
	fs      *vfs.MemFS
	faults  *vfs.FaultFS // what the log uses: fs with errors injected
	config  LogConfig
	clock   *clock
	manager *LogManager
	log     *Log
	seq     int32
	// written maps base offset to the batch now at it (the newest wins).
	written map[int64]record.Batch
	durable int64 // everything below was flushed
}

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, rng: rand.New(rand.NewPCG(seed, 2)), fs: vfs.NewMemFS(), clock: newClock(), written: map[int64]record.Batch{}}
	h.config = noRetention()
	h.config.SegmentBytes = int32(1200 + h.rng.IntN(4000))
	h.config.IndexIntervalBytes = int32(h.rng.IntN(600))
	var err error
	if h.faults, err = vfs.NewFaultFS(h.fs); err != nil {
		t.Fatal(err)
	}
	h.manager = testManager(t, h.faults, h.clock, h.config)
	if seed%2 == 1 {
		h.manager.wholeFrom = 1
	}
	if h.log, err = h.manager.Create(testTP, nil, h.config); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *history) step() {
	switch n := h.rng.IntN(100); {
	case n < 75:
		h.append(false)
	case n < 80:
		h.append(true)
	case n < 90:
		if err := h.log.Flush(all); err != nil {
			h.t.Fatal(err)
		}
		h.durable = h.log.LogEndOffset()
	case n < 93:
		h.manager.flushRolled()
		h.durable = max(h.durable, h.log.RecoveryPoint())
	case n < 96:
		h.manager.checkpoint(true, true, true)
	case n < 98:
		_ = h.log.persistActiveIndexes()
	default:
		h.truncate()
	}
}

func (h *history) append(fail bool) {
	spec := idempotent(5, 0, h.seq, 1+h.rng.IntN(3))
	spec.valueSize, spec.fill = 10+h.rng.IntN(300), byte(h.rng.IntN(256))
	spec.timestampMs += int64(h.rng.IntN(1000))
	b := spec.build(h.t)
	res, err := reserve(h.log, b, 1)
	if err != nil {
		h.t.Fatal(err)
	}
	if fail {
		part := b[:h.rng.IntN(len(b))]
		_, _ = res.Segment.WriteFile().WriteAt(part, res.Position)
		_, _ = complete(h.log, &res, fmt.Errorf("injected"))
		return
	}
	if _, err := complete(h.log, &res, write(&res, b)); err != nil {
		h.t.Fatal(err)
	}
	h.seq = record.IncrementSequence(h.seq, int32(spec.records))
	h.written[res.BaseOffset] = b
}

func (h *history) truncate() {
	batches := readAll(h.t, h.log, 0, all, 1<<20)
	if len(batches) < 2 {
		return
	}
	cut := batches[len(batches)-1-h.rng.IntN(min(3, len(batches)-1))]
	if _, err := h.log.TruncateTo(cut.BaseOffset()); err != nil {
		h.t.Fatal(err)
	}
	for o := range h.written {
		if o >= cut.BaseOffset() {
			delete(h.written, o)
		}
	}
	h.durable = min(h.durable, cut.BaseOffset())
	h.seq = cut.BaseSequence()
}

// check opens a crashed disk and compares it with the history.
func (h *history) check(seed uint64, disk *vfs.MemFS) {
	t := h.t
	m, err := openTestManager(disk, testDir, h.clock, h.config)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	l := m.Get(testTP)
	if l == nil {
		t.Fatalf("seed %d: the partition is gone", seed)
	}
	if l.LogEndOffset() < h.durable {
		t.Fatalf("seed %d: log ends at %d, %d was durable; report %+v", seed, l.LogEndOffset(), h.durable, m.RecoveryReport())
	}
	if err := l.AcceptLost(); err != nil { // as a broker without other replicas does
		t.Fatal(err)
	}
	next, lastSeq := int64(0), int32(-1)
	for _, b := range readBatches(t, l) {
		if b.BaseOffset() > next && next < h.durable {
			t.Fatalf("seed %d: offsets %d to %d are missing, %d was durable", seed, next, b.BaseOffset(), h.durable)
		}
		want, ok := h.written[b.BaseOffset()]
		if !ok && b.BaseOffset() < h.durable || ok && b.BaseOffset() < h.durable && !bytes.Equal(want, b) {
			t.Fatalf("seed %d: batch at %d is not the one written", seed, b.BaseOffset())
		}
		next = b.NextOffset()
		if b.HasProducerID() {
			lastSeq = b.LastSequence()
		}
	}
	if next < h.durable {
		t.Fatalf("seed %d: records end at %d, %d was durable", seed, next, h.durable)
	}
	if p := l.Producers(); len(p) > 0 != (lastSeq >= 0) || len(p) == 1 && p[0].LastSequence != lastSeq {
		t.Fatalf("seed %d: producer state %+v, last sequence in the log is %d", seed, p, lastSeq)
	}
	end := l.LogEndOffset()
	if res := mustAppend(t, l, plain(2)); res.BaseOffset != end {
		t.Fatalf("seed %d: append after recovery got offset %d, want %d", seed, res.BaseOffset, end)
	}
	if err := m.Close(1); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if m, err = openTestManager(disk, testDir, h.clock, h.config); err != nil {
		t.Fatalf("seed %d: reopen: %v", seed, err)
	}
	found := slices.DeleteFunc(m.RecoveryReport().Partitions, func(r PartitionRecovery) bool {
		r.Accepted = nil // told again
		return !r.worthTelling()
	})
	if got := m.Get(testTP).LogEndOffset(); got != end+2 || len(found) > 0 {
		t.Fatalf("seed %d: after a clean stop the log ends at %d, want %d; report %+v", seed, got, end+2, m.RecoveryReport())
	}
}

// readBatches reads everything, over gaps.
func readBatches(t *testing.T, l *Log) []record.Batch {
	t.Helper()
	var batches []record.Batch
	for from := l.LogStartOffset(); from < l.LogEndOffset(); {
		var res ReadResult
		if err := l.Read(from, 1<<20, all, true, &res); err != nil {
			t.Fatal(err)
		}
		if res.Region.Length == 0 {
			return batches // a gap up to the end
		}
		for _, b := range regionBatches(t, &res) {
			batches = append(batches, b)
			from = b.NextOffset()
		}
	}
	return batches
}

// Power is lost at random moments: the flushed prefix is there, unchanged, and
// the log takes appends again.
func TestPowerLoss(t *testing.T) {
	for seed := range uint64(150) {
		h := newHistory(t, seed)
		for range 20 + h.rng.IntN(60) {
			h.step()
		}
		for _, keep := range []float64{0, 0.3, 0.9, 1} {
			h.check(seed, h.fs.CrashClone(h.rng, keep))
		}
	}
}

// With flush.messages=1 every acknowledged batch survives: the caller syncs the
// file after each write and tells the log, which flushes nothing itself.
func TestPowerLossWithFlushOfEveryMessage(t *testing.T) {
	for seed := range uint64(60) {
		h := newHistory(t, 4000+seed)
		h.config.FlushMessages = 1
		if err := h.log.UpdateConfig(h.config); err != nil {
			t.Fatal(err)
		}
		for epoch := range int32(10 + h.rng.IntN(30)) {
			if !h.log.NeedsSync() {
				t.Fatal("flush.messages=1 asks for no sync")
			}
			b := idempotent(5, 0, h.seq, 2).build(t)
			var res Reservation
			if err := h.log.Reserve(&AppendRequest{Batch: b, LeaderEpoch: epoch / 4, NowMs: 1}, &res); err != nil {
				t.Fatal(err)
			}
			err := write(&res, b)
			if err == nil {
				err = res.Segment.WriteFile().Sync()
			}
			end, err := complete(h.log, &res, err)
			if err != nil {
				t.Fatal(err)
			}
			h.log.MarkSynced(end)
			h.seq = record.IncrementSequence(h.seq, 2)
			h.written[res.BaseOffset], h.durable = b, end
			if h.rng.IntN(5) == 0 {
				h.manager.checkpoint(true, true, true)
			}
		}
		for _, keep := range []float64{0, 0.5} {
			disk := h.fs.CrashClone(h.rng, keep)
			want := h.log.EpochEntries()
			if got := testManager(t, disk.Clone(), h.clock, h.config).Get(testTP).EpochEntries(); !slices.Equal(got, want) {
				t.Fatalf("seed %d: epochs %v, want %v", seed, got, want)
			}
			h.check(seed, disk)
		}
	}
}

// Power is lost in the middle of a roll, flush, truncation or close: from some
// file operation on, nothing reaches the disk.
func TestPowerLossInsideOperation(t *testing.T) {
	for seed := range uint64(150) {
		h := newHistory(t, 2000+seed)
		for range 10 + h.rng.IntN(40) {
			h.step()
		}
		batches := readAll(t, h.log, 0, all, 1<<20)
		op := h.rng.IntN(4)
		if op == 0 && len(batches) > 0 {
			h.durable = min(h.durable, batches[len(batches)/2].BaseOffset())
		}
		if err := h.faults.Inject(fmt.Sprintf("any(*) eio after %d", h.rng.IntN(25))); err != nil {
			t.Fatal(err)
		}
		switch {
		case op == 0 && len(batches) > 0:
			_, _ = h.log.TruncateTo(batches[len(batches)/2].BaseOffset())
		case op == 1:
			_ = h.log.Flush(all)
		case op == 2:
			_ = h.manager.Close(1)
		default:
			for range 10 {
				b := plain(3).build(t)
				res, err := reserve(h.log, b, 1)
				if err != nil {
					break
				}
				if _, err = complete(h.log, &res, write(&res, b)); err == nil {
					h.written[res.BaseOffset] = b
				}
			}
		}
		for _, keep := range []float64{0, 0.5, 1} {
			h.check(seed, h.fs.CrashClone(h.rng, keep))
		}
	}
}

// The process dies: everything published is there, flushed or not.
func TestProcessKill(t *testing.T) {
	for seed := range uint64(40) {
		h := newHistory(t, 1000+seed)
		for range 20 + h.rng.IntN(60) {
			h.step()
		}
		h.durable = h.log.LogEndOffset()
		h.check(seed, h.fs.Clone())
	}
}

// unlocked is a disk whose locks went with the process that held them, and
// nothing else did.
type unlocked struct{ *vfs.MemFS }

func (unlocked) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// With flush.messages=1 a process is killed between a write and its sync. What
// the next one finds counts as synced, so a power loss must not take it.
func TestPowerLossAfterAKillWithFlushOfEveryMessage(t *testing.T) {
	for _, segmentBytes := range []int32{1 << 20, 300} {
		fsys, config := vfs.NewMemFS(), noRetention()
		config.FlushMessages, config.SegmentBytes = 1, segmentBytes
		_, l := testLog(t, unlocked{fsys}, config)
		for range 6 {
			mustAppend(t, l, plain(1))
		}
		if got := testManager(t, unlocked{fsys}, newClock(), config).Get(testTP).LogEndOffset(); got != 6 {
			t.Fatalf("after a kill the log ends at %d", got)
		}
		dark := fsys.CrashClone(rand.New(rand.NewPCG(1, 1)), 0)
		again := testManager(t, dark, newClock(), config).Get(testTP)
		if got := len(readBatches(t, again)); again.LogEndOffset() != 6 || got != 6 {
			t.Errorf("segments of %d bytes: after a power loss the log ends at %d with %d batches", segmentBytes, again.LogEndOffset(), got)
		}
	}
}
