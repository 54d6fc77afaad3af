package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/record"
	"freshet/vfs"
)

func compactConfig() LogConfig {
	c := noRetention()
	c.CleanupDelete, c.CleanupCompact = false, true
	c.SegmentBytes, c.IndexIntervalBytes = 2000, 200
	c.MinCleanableDirtyRatio = 0
	c.DeleteRetentionMs = 1000
	return c
}

// keyed is one record to append; a nil value is a tombstone.
type keyed struct {
	key   string
	value []byte
}

// keyedBatch builds a batch at timestampMs.
func keyedBatch(t testing.TB, opts record.BuilderOptions, timestampMs int64, records ...keyed) record.Batch {
	t.Helper()
	var b record.Builder
	b.Reset(nil, opts)
	for _, r := range records {
		b.Append(timestampMs, []byte(r.key), r.value, record.Header{Key: []byte("h"), Value: []byte(r.key)})
	}
	out, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return record.Batch(out)
}

func appendKeyed(t testing.TB, l *Log, opts record.BuilderOptions, timestampMs int64, records ...keyed) Reservation {
	t.Helper()
	b := keyedBatch(t, opts, timestampMs, records...)
	res, err := reserve(l, b, timestampMs)
	if err != nil {
		t.Fatal(err)
	}
	end, err := complete(l, &res, write(&res, b))
	if err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(end)
	return res
}

// roll closes the active segment.
func roll(t testing.TB, l *Log) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.rollLocked(l.nextOffset.Load(), 1); err != nil {
		t.Fatal(err)
	}
}

func testLimits() cleaningLimits {
	return cleaningLimits{mapBytes: 1 << 20, mapLoad: 0.9, bufferBytes: 300}
}

// cleanAll compacts from offset from on and returns where it ended.
func cleanAll(t testing.TB, l *Log, from, nowMs int64, limits cleaningLimits) int64 {
	t.Helper()
	c, err := l.toClean(from, nowMs)
	if err != nil {
		t.Fatal(err)
	}
	end, _, err := c.clean(limits, nowMs)
	if err != nil {
		t.Fatal(err)
	}
	return end
}

// flat is one record as consumers see it.
type flat struct {
	offset    int64
	timestamp int64
	key       string
	value     string // "-" for null
}

func flatten(t testing.TB, batches []record.Batch) []flat {
	t.Helper()
	var all []flat
	for _, b := range batches {
		it, err := record.NewIterator(b, 0)
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
			r := it.Record()
			f := flat{r.Offset, r.TimestampMs, string(r.Key), "-"}
			if r.Value != nil {
				f.value = "=" + string(r.Value)
			}
			if h := r.Headers(nil); !b.IsControl() && (len(h) != 1 || string(h[0].Value) != f.key) {
				t.Fatalf("headers of the record at offset %d: %v", r.Offset, h)
			}
			all = append(all, f)
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// compactHistory is a random run on a compacted log and the model of it.
type compactHistory struct {
	t       *testing.T
	rng     *rand.Rand
	fs      *vfs.MemFS
	faults  *vfs.FaultFS
	clock   *clock
	config  LogConfig
	m       *LogManager
	l       *Log
	model   []flat // every record ever appended
	seq     [3]int32
	cleaned int64
	codecs  []record.Codec
}

func newCompactHistory(t *testing.T, seed uint64) *compactHistory {
	h := &compactHistory{t: t, rng: rand.New(rand.NewPCG(seed, 7)), fs: vfs.NewMemFS(), clock: newClock(), config: compactConfig()}
	h.codecs = []record.Codec{record.None, record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}
	h.config.SegmentBytes = int32(800 + h.rng.IntN(4000))
	var err error
	if h.faults, err = vfs.NewFaultFS(h.fs); err != nil {
		t.Fatal(err)
	}
	h.m = testManager(t, h.faults, h.clock, h.config)
	if h.l, err = h.m.Create(testTP, nil, h.config); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *compactHistory) append() {
	opts := record.DefaultBuilderOptions()
	opts.Codec = h.codecs[h.rng.IntN(len(h.codecs))]
	n := 1 + h.rng.IntN(5)
	if p := h.rng.IntN(4); p < 3 {
		opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = int64(p), 0, h.seq[p]
		h.seq[p] += int32(n)
	}
	var records []keyed
	for range n {
		r := keyed{key: fmt.Sprint("k", h.rng.IntN(12))}
		if h.rng.IntN(5) > 0 {
			r.value = bytes.Repeat([]byte{byte('a' + h.rng.IntN(26))}, h.rng.IntN(60))
		}
		records = append(records, r)
	}
	now := h.clock.now()
	res := appendKeyed(h.t, h.l, opts, now, records...)
	for i, r := range records {
		f := flat{res.BaseOffset + int64(i), now, r.key, "-"}
		if r.value != nil {
			f.value = "=" + string(r.value)
		}
		h.model = append(h.model, f)
	}
	h.clock.ms.Add(int64(h.rng.IntN(100)))
}

// check compares what a log holds with the model: below the clean point at most
// the latest record of each key, above it everything, all unchanged.
func (h *compactHistory) check(l *Log, cleaned int64, strict bool) {
	t := h.t
	t.Helper()
	batches := readBatches(t, l)
	last := int64(-1)
	for _, b := range batches {
		if b.BaseOffset() <= last {
			t.Fatalf("batch at offset %d after offset %d", b.BaseOffset(), last)
		}
		last = b.LastOffset()
	}
	got := flatten(t, batches)
	latest := map[string]int64{} // below the clean point
	for _, f := range h.model {
		if f.offset < cleaned {
			latest[f.key] = f.offset
		}
	}
	have := map[int64]bool{}
	for i, f := range got {
		if i > 0 && f.offset <= got[i-1].offset {
			t.Fatalf("offset %d after %d", f.offset, got[i-1].offset)
		}
		if want := h.model[f.offset]; f != want {
			t.Fatalf("record %+v, want %+v", f, want)
		}
		if strict && f.offset < cleaned && latest[f.key] != f.offset {
			t.Fatalf("record %+v stayed, the latest of its key is at %d; cleaned to %d", f, latest[f.key], cleaned)
		}
		have[f.offset] = true
	}
	for _, f := range h.model {
		if !have[f.offset] && (f.offset >= cleaned || f.value != "-" && latest[f.key] == f.offset) {
			t.Fatalf("record %+v is lost; cleaned to %d", f, cleaned)
		}
	}
	for _, o := range []int64{0, cleaned / 2, cleaned} {
		if o > l.LogEndOffset() {
			continue
		}
		ts, found, err := l.OffsetForTimestamp(h.model[min(o, int64(len(h.model)-1))].timestamp)
		if err != nil || found && !have[ts.Offset] {
			t.Fatalf("search by time found %+v, %v", ts, err)
		}
		i, _ := slices.BinarySearchFunc(got, o, func(f flat, o int64) int { return cmpInt64(f.offset, o) })
		if b := readAt(t, l, o); i < len(got) && (len(b) == 0 || b[0].LastOffset() < o || flatten(t, b)[0].offset > got[i].offset) {
			t.Fatalf("read at %d does not begin with the batch of %d", o, got[i].offset)
		}
	}
}

// readAt reads at an offset, going on over batches without records.
func readAt(t testing.TB, l *Log, offset int64) []record.Batch {
	t.Helper()
	for {
		var res ReadResult
		if err := l.Read(offset, 1<<20, all, true, &res); err != nil {
			t.Fatal(err)
		}
		if res.Region.Length == 0 {
			return nil
		}
		batches := regionBatches(t, &res)
		if len(flatten(t, batches)) > 0 {
			return batches
		}
		offset = batches[len(batches)-1].NextOffset()
	}
}

// The compacted log has the latest record of each key below the clean point
// and everything above it; offsets, order, producers' state and headers stay.
func TestCompactionAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		h := newCompactHistory(t, seed)
		h.cleaned = -1
		for range 8 {
			for range 5 + h.rng.IntN(25) {
				h.append()
			}
			limits := testLimits()
			if h.rng.IntN(3) == 0 {
				limits.mapBytes = int64(4+h.rng.IntN(20)) * offsetMapEntrySize // it fills up
			}
			producers := h.l.Producers()
			h.cleaned = cleanAll(t, h.l, h.cleaned, h.clock.now(), limits)
			h.check(h.l, h.cleaned, limits.mapBytes == 1<<20)
			if !slices.Equal(producers, h.l.Producers()) {
				t.Fatalf("seed %d: producers changed", seed)
			}
		}
		if err := h.m.Close(1); err != nil {
			t.Fatal(err)
		}
		m := testManager(t, h.fs, h.clock, h.config)
		l := m.Get(testTP)
		h.check(l, h.cleaned, true)
		want := l.Producers()
		// Without snapshots the state comes from what compaction left.
		if err := l.dropSnapshotsAbove(-1); err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		err := l.rebuildProducersLocked(l.LogEndOffset())
		l.mu.Unlock()
		if err != nil || !slices.Equal(want, l.Producers()) {
			t.Fatalf("seed %d: producers %+v, want %+v, %v", seed, l.Producers(), want, err)
		}
		for pid := range int64(3) {
			b := idempotent(pid, 0, h.seq[pid], 1).build(t)
			if _, err := tryAppend(l, b); h.seq[pid] > 0 && err != nil {
				t.Fatalf("seed %d: producer %d cannot go on: %v", seed, pid, err)
			}
		}
	}
}

// A tombstone goes delete.retention.ms after the first run that saw it, not
// before (KIP-534).
func TestTombstonesGoAfterTheHorizon(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), compactConfig())
	opts := record.DefaultBuilderOptions()
	appendKeyed(t, l, opts, 100, keyed{"a", []byte("1")}, keyed{"b", []byte("1")})
	appendKeyed(t, l, opts, 200, keyed{"a", nil}, keyed{"c", []byte("1")})
	roll(t, l)
	appendKeyed(t, l, opts, 300, keyed{"d", []byte("1")})
	describe := func() string {
		var s []string
		for _, b := range readBatches(t, l) {
			for _, f := range flatten(t, []record.Batch{b}) {
				s = append(s, fmt.Sprintf("%d:%s%s@%d", f.offset, f.key, f.value, f.timestamp))
			}
			if b.HasDeleteHorizon() {
				s = append(s, fmt.Sprint("horizon ", b.BaseTimestamp()))
			}
		}
		return strings.Join(s, " ")
	}
	for _, step := range []struct {
		from, nowMs int64
		want        string
	}{
		{-1, 5000, "1:b=1@100 2:a-@200 3:c=1@200 horizon 6000 4:d=1@300"},
		{0, 5999, "1:b=1@100 2:a-@200 3:c=1@200 horizon 6000 4:d=1@300"},
		{0, 6000, "1:b=1@100 3:c=1@200 horizon 6000 4:d=1@300"},
		{0, 9000, "1:b=1@100 3:c=1@200 horizon 6000 4:d=1@300"},
	} {
		cleanAll(t, l, step.from, step.nowMs, testLimits())
		if got := describe(); got != step.want {
			t.Errorf("at %d:\n got %s\nwant %s", step.nowMs, got, step.want)
		}
	}
}

// Aborted records go at once, markers after the horizon, the index with them.
func TestCompactionOfTransactions(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), compactConfig())
	opts := record.DefaultBuilderOptions()
	txn := func(pid int64, seq int32, r ...keyed) {
		o := opts
		o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional = pid, 0, seq, true
		appendKeyed(t, l, o, 100, r...)
	}
	txn(1, 0, keyed{"a", []byte("committed")})
	mark(t, l, 1, true)
	txn(2, 0, keyed{"a", []byte("aborted")}, keyed{"b", []byte("aborted")})
	mark(t, l, 2, false)
	txn(2, 2, keyed{"z", []byte("1")})
	mark(t, l, 2, true)
	l.AdvanceHighWatermark(l.LogEndOffset())
	roll(t, l)
	txn(1, 1, keyed{"x", []byte("open")})
	roll(t, l)
	appendKeyed(t, l, opts, 300, keyed{"d", []byte("1")})
	describe := func() string {
		aborted, err := l.AbortedTransactions(0, l.LogEndOffset())
		if err != nil {
			t.Fatal(err)
		}
		s := fmt.Sprint(len(aborted), ":")
		for _, b := range readBatches(t, l) {
			s += fmt.Sprintf(" %d+%d", b.BaseOffset(), b.Count())
		}
		return s
	}
	for _, step := range []struct {
		nowMs int64
		want  string
	}{
		{5000, "1: 0+1 1+1 4+1 5+1 6+1 7+1 8+1"}, // producer 2's last record is another
		{5001, "0: 0+1 1+1 4+1 5+1 6+1 7+1 8+1"}, // the marker has a horizon now
		{6001, "0: 0+1 1+1 5+1 6+1 7+1 8+1"},
	} {
		end := cleanAll(t, l, 0, step.nowMs, testLimits())
		if end != 7 {
			t.Errorf("cleaned to %d, the open transaction begins at 7", end)
		}
		if got := describe(); got != step.want {
			t.Errorf("at %d:\n got %s\nwant %s", step.nowMs, got, step.want)
		}
	}
}

// With compact,delete old segments go as well, those that compaction emptied
// with them.
func TestCompactAndDelete(t *testing.T) {
	c := compactConfig()
	c.CleanupDelete, c.RetentionMs = true, 1000
	_, l := testLog(t, vfs.NewMemFS(), c)
	size := int32(0)
	for i := range int64(6) {
		res := appendKeyed(t, l, record.DefaultBuilderOptions(), 1000*(i+1), keyed{fmt.Sprint("k", i/2), []byte("value")})
		size = res.Length
		roll(t, l)
	}
	c.SegmentBytes = size // nothing is merged
	if err := l.UpdateConfig(c); err != nil {
		t.Fatal(err)
	}
	cleanAll(t, l, -1, 7000, testLimits())
	for _, step := range []struct {
		nowMs int64
		want  string
	}{
		{2000, "[{0 0} {1 S} {2 0} {3 S} {4 0} {5 S} {6 0}]"},
		{3001, "[{2 0} {3 S} {4 0} {5 S} {6 0}]"},
		{7001, "[{6 0}]"},
	} {
		if _, err := l.ApplyRetention(step.nowMs); err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(fmt.Sprint(l.Segments()), fmt.Sprint(size), "S"); got != step.want {
			t.Errorf("at %d: %s, want %s", step.nowMs, got, step.want)
		}
	}
}

// Lags and the dirty ratio decide what is due (KIP-354).
func TestWhatIsDue(t *testing.T) {
	c := compactConfig()
	c.MinCleanableDirtyRatio = 0.5
	_, l := testLog(t, vfs.NewMemFS(), c)
	is := func(cleaned, nowMs int64, want string) {
		t.Helper()
		due, err := l.toClean(cleaned, nowMs)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%d-%d %v", due.firstDirty, due.uncleanable, due.due()); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	is(-1, 0, "0-0 false")
	for i := range int64(4) {
		appendKeyed(t, l, record.DefaultBuilderOptions(), 1000*(i+1), keyed{"k", []byte("value")})
		roll(t, l)
	}
	is(-1, 9000, "0-4 true")
	is(3, 9000, "3-4 false")
	is(99, 9000, "0-4 true")
	c.MinCompactionLagMs = 6500
	_ = l.UpdateConfig(c)
	is(-1, 9000, "0-2 true")
	c.MinCompactionLagMs, c.MaxCompactionLagMs = 0, 4000
	_ = l.UpdateConfig(c)
	is(3, 8001, "3-4 true")
	is(3, 8000, "3-4 false")
	l.highWatermark.Store(2)
	is(-1, 9000, "0-2 true")
}

// Power is lost at every step of a run: either form of each segment is there,
// and the log goes on.
func TestPowerLossInsideCompaction(t *testing.T) {
	for seed := range uint64(6) {
		for step := int(seed % 2); ; step += 1 + int(seed%3) {
			h := newCompactHistory(t, 500+seed)
			for range 60 {
				h.append()
			}
			if seed%2 == 0 {
				cleanAll(t, h.l, -1, h.clock.now(), testLimits())
				for range 40 {
					h.append()
				}
			}
			if err := h.l.Flush(all); err != nil {
				t.Fatal(err)
			}
			h.m.checkpoint(true, true, true)
			if err := h.faults.Inject(fmt.Sprintf("any(*) eio after %d", step)); err != nil {
				t.Fatal(err)
			}
			end := h.l.LogEndOffset()
			due, err := h.l.toClean(-1, h.clock.now())
			if err == nil {
				_, _, err = due.clean(testLimits(), h.clock.now())
			}
			producers := h.l.Producers()
			for _, keep := range []float64{0, 0.5, 1} {
				disk := h.fs.CrashClone(h.rng, keep)
				m := testManager(t, disk, h.clock, h.config)
				l := m.Get(testTP)
				if l.LogEndOffset() != end {
					t.Fatalf("seed %d step %d: log ends at %d, want %d", seed, step, l.LogEndOffset(), end)
				}
				for _, r := range m.RecoveryReport().Partitions {
					if r.TruncatedBytes+r.MissingTo+int64(len(r.Quarantined)+r.IndexesRebuilt) > 0 {
						t.Fatalf("seed %d step %d: %+v", seed, step, r)
					}
				}
				h.check(l, due.uncleanable, false)
				if !slices.Equal(producers, l.Producers()) {
					t.Fatalf("seed %d step %d: producers changed", seed, step)
				}
				for _, suffix := range []string{cleanedSuffix, swapSuffix, deletedSuffix} {
					if n := countFiles(t, disk, l.Dir(), suffix); n != 0 {
						t.Fatalf("seed %d step %d: %d %s files are left", seed, step, n, suffix)
					}
				}
				cleaned := cleanAll(t, l, -1, h.clock.now(), testLimits())
				h.check(l, cleaned, true)
			}
			if err == nil {
				break
			}
		}
	}
}

// What Kafka leaves when it dies in a swap is completed too: it renames the log
// before the indexes.
func TestKafkaSwapIsCompleted(t *testing.T) {
	for _, decided := range []string{cleanedSuffix, swapSuffix, ""} {
		h := newCompactHistory(t, 3)
		for range 60 {
			h.append()
		}
		if err := h.m.Close(1); err != nil {
			t.Fatal(err)
		}
		before := h.fs.Clone()
		h.m = testManager(t, h.fs, h.clock, h.config)
		l := h.m.Get(testTP)
		cleaned := cleanAll(t, l, -1, h.clock.now(), testLimits())
		first := l.Segments()[0].BaseOffset
		if err := h.m.Close(1); err != nil {
			t.Fatal(err)
		}
		for _, suffix := range segmentSuffixes {
			data, err := vfs.ReadFile(h.fs, l.path(fileName(first, suffix)))
			if err != nil {
				t.Fatal(err)
			}
			to := swapSuffix
			if suffix == logSuffix {
				to = decided
			} else if decided == cleanedSuffix {
				to = cleanedSuffix
			}
			if err := vfs.WriteFileAtomic(before, l.path(fileName(first, suffix+to)), data); err != nil {
				t.Fatal(err)
			}
		}
		l = testManager(t, before, h.clock, h.config).Get(testTP)
		h.check(l, cleaned, false)
	}
}

// A damaged batch makes one partition uncleanable and nothing else.
func TestDamagedLogIsNotCompacted(t *testing.T) {
	c, fsys := newClock(), vfs.NewMemFS()
	m := testManager(t, fsys, c, compactConfig())
	var logs []*Log
	for i := range int32(2) {
		l, err := m.Create(TopicPartition{Topic: "t", Partition: i}, nil, compactConfig())
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			appendKeyed(t, l, record.DefaultBuilderOptions(), 100, keyed{"k", []byte("value")})
			roll(t, l)
		}
		logs = append(logs, l)
	}
	seg := (*logs[0].segments.Load())[1]
	damage(t, fsys, seg.baseOffset, 70, []byte("damage"))
	m.UpdateCleaner(DefaultCleanerConfig())
	for m.cleaner.cleanFilthiest(c.now()) {
	}
	if n, k := len(logs[0].Segments()), len(logs[1].Segments()); n != 6 || k != 2 {
		t.Errorf("segments %d and %d, want 6 and 2", n, k)
	}
	if len(m.cleaner.uncleanable) != 1 {
		t.Errorf("uncleanable: %v", m.cleaner.uncleanable)
	}
	data, err := vfs.ReadFile(fsys, testDir+"/"+cleanerOffsetFile)
	if err != nil || string(data) != "0\n1\nt 1 5\n" {
		t.Errorf("checkpoint %q, %v", data, err)
	}
	if _, err := logs[1].TruncateTo(3); err != nil {
		t.Fatal(err)
	}
	if data, _ = vfs.ReadFile(fsys, testDir+"/"+cleanerOffsetFile); string(data) != "0\n1\nt 1 3\n" {
		t.Errorf("checkpoint %q after the truncation", data)
	}
	if err := m.Delete(logs[1].tp); err != nil {
		t.Fatal(err)
	}
	if data, _ = vfs.ReadFile(fsys, testDir+"/"+cleanerOffsetFile); string(data) != "0\n0\n" {
		t.Errorf("checkpoint %q after the deletion", data)
	}
}

// The map keeps the latest offset of each key and stays within its bound.
func TestOffsetMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, slots := range []int64{2, 3, 100, 5000} {
		m := newOffsetMap(slots*offsetMapEntrySize, 0.9)
		want := map[string]int64{}
		for offset := range int64(20000) {
			key := binary.AppendUvarint(nil, uint64(rng.IntN(4000)))
			if m.full() {
				break
			}
			m.put(key, offset)
			want[string(key)] = offset
		}
		if int64(len(m.slots)) > slots || m.used != len(want) {
			t.Errorf("%d slots of %d, %d keys of %d", len(m.slots), slots, m.used, len(want))
		}
		for key := range maps.Keys(want) {
			if got := m.get([]byte(key)); got != want[key] {
				t.Fatalf("offset %d, want %d", got, want[key])
			}
		}
		if m.get([]byte("never put")) != -1 {
			t.Error("a key that was never put is found")
		}
	}
}

// Readers, producers and the cleaner work side by side: reads see whole, sound
// batches in order, and never the loss of a key.
func TestCompactionBesideReaders(t *testing.T) {
	c := compactConfig()
	dir := osPath(t)
	m, err := openTestManager(vfs.OS{}, dir, newClock(), c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				end := l.HighWatermark()
				keys, last := map[string]bool{}, int64(-1)
				for from := int64(0); from < end; {
					var res ReadResult
					if err := l.Read(from, 500, end, true, &res); err != nil {
						t.Errorf("read at %d: %v", from, err)
						return
					}
					if res.Region.Length == 0 {
						break
					}
					for _, b := range regionBatches(t, &res) {
						if b.BaseOffset() <= last {
							t.Errorf("batch at %d after offset %d", b.BaseOffset(), last)
						}
						last, from = b.LastOffset(), b.NextOffset()
						for _, f := range flatten(t, []record.Batch{b}) {
							keys[f.key] = true
						}
					}
				}
				if want := min(end/3, 10); int64(len(keys)) < want {
					t.Errorf("%d keys below offset %d, want %d", len(keys), end, want)
				}
				if _, _, err := l.OffsetForTimestamp(100 + end/2); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for !stop.Load() {
			due, err := l.toClean(-1, 1)
			if err == nil {
				_, _, err = due.clean(testLimits(), 1)
			}
			if err != nil {
				t.Error(err)
			}
			l.closeIdleFiles()
		}
	})
	opts := record.DefaultBuilderOptions()
	opts.ProducerID, opts.ProducerEpoch = 1, 0
	for i := range 400 {
		opts.Codec, opts.BaseSequence = record.Codec(i%5), int32(3*i)
		var records []keyed
		for j := range 3 {
			records = append(records, keyed{fmt.Sprint((3*i + j) % 10), []byte("value")})
		}
		appendKeyed(t, l, opts, int64(100+i), records...)
	}
	stop.Store(true)
	wg.Wait()
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
}

// The worker begins and ends with the manager, and what it did is remembered.
func TestCleanerInTheBackground(t *testing.T) {
	c := compactConfig()
	fsys, clock := vfs.NewMemFS(), newClock()
	m := testManager(t, fsys, clock, c)
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		appendKeyed(t, l, record.DefaultBuilderOptions(), 100, keyed{"k", []byte("value")})
		roll(t, l)
	}
	m.Start()
	config := DefaultCleanerConfig()
	config.Threads, config.MaxBytesPerSecond = 2, 1e6
	m.UpdateCleaner(config)
	for m.cleaner.point(l) < 4 {
		runtime.Gosched()
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
	m = testManager(t, fsys, clock, c)
	if l = m.Get(testTP); m.cleaner.point(l) != 4 || len(l.Segments()) != 2 {
		t.Errorf("cleaned to %d, segments %v", m.cleaner.point(l), l.Segments())
	}
}

func TestThrottle(t *testing.T) {
	var h throttle
	at := time.Unix(0, 0)
	for _, step := range []struct {
		bytes int64
		rate  float64
		at    time.Duration
		want  time.Duration
	}{
		{1000, 1e308, 0, 0},
		{1000, 1000, 0, time.Second},
		{500, 1000, 0, 1500 * time.Millisecond},
		{500, 1000, 10 * time.Second, 500 * time.Millisecond},
	} {
		if got := h.take(step.bytes, step.rate, at.Add(step.at)); got != step.want {
			t.Errorf("%+v: %v", step, got)
		}
	}
}
