package storage

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestOffsetCheckpointRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOf(rapid.Custom(func(t *rapid.T) TopicPartition {
			return TopicPartition{rapid.StringMatching(`[a-zA-Z0-9._-]{1,20}`).Draw(t, "topic"), rapid.Int32Range(0, 1000).Draw(t, "partition")}
		}), rapid.Int64Range(0, math.MaxInt64)).Draw(t, "offsets")
		got, err := decodeOffsets(encodeOffsets(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v became %v, %v", want, got, err)
		}
	})
}

func TestCheckpointsRefuseNonsense(t *testing.T) {
	for _, s := range []string{"", "0", "1\n0\n", "0\nx\n", "0\n2\nt 0 1\n", "0\n1\nt 0\n", "0\n1\nt 0 -1\n", "0\n1\nt x 1\n", "0\n0\nt 0 1\n", "0\n-1\n"} {
		if got, err := decodeOffsets([]byte(s)); !errors.Is(err, ErrCorruptCheckpoint) {
			t.Errorf("offsets %q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0\n1\n1\n", "0\n1\n1 2 3\n", "0\n2\n2 0\n1 5\n", "0\n2\n1 5\n2 5\n", "0\n1\n-1 5\n"} {
		if got, err := decodeEpochCheckpoint([]byte(s)); !errors.Is(err, ErrCorruptCheckpoint) {
			t.Errorf("epochs %q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "version: 0\n", "version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n", "version: 0\ntopic_id: x\n"} {
		if _, err := decodePartitionMetadata([]byte(s)); !errors.Is(err, ErrCorruptCheckpoint) {
			t.Errorf("partition metadata %q: %v", s, err)
		}
	}
}

func TestSmallFormats(t *testing.T) {
	id := NewUUID()
	if got, err := decodePartitionMetadata(encodePartitionMetadata(id)); err != nil || got != id {
		t.Errorf("partition metadata: %v, %v", got, err)
	}
	if got := string(encodeCleanShutdown(12)); got != `{"version":0,"brokerEpoch":12}` || decodeCleanShutdown([]byte(got)) != 12 {
		t.Errorf("clean shutdown marker: %s", got)
	}
	if decodeCleanShutdown(nil) != -1 || decodeCleanShutdown([]byte(`{"version":9}`)) != -1 {
		t.Error("an unreadable clean shutdown marker has an epoch")
	}
	meta := MetaProperties{ClusterID: "c=1", NodeID: 3, DirectoryID: id, gapsMarked: true}
	if got, err := decodeMetaProperties("/d", meta.encode()); err != nil || got != meta {
		t.Errorf("meta.properties: %+v, %v", got, err)
	}
	// As Kafka writes it: a comment with the date, no directory id before 3.7.
	got, err := decodeMetaProperties("/d", []byte("#\n#Sun Nov 22 10:00:00 UTC 2026\nnode.id=3\nversion=1\ncluster.id=x\n"))
	if err != nil || got != (MetaProperties{ClusterID: "x", NodeID: 3}) {
		t.Errorf("meta.properties of Kafka: %+v, %v", got, err)
	}
}

func TestDirectoryNames(t *testing.T) {
	for _, tp := range []TopicPartition{{"a", 0}, {"a-b", 12}, {"__consumer_offsets", 49}} {
		if got, err := ParseTopicPartition(tp.String()); err != nil || got != tp {
			t.Errorf("%v became %v, %v", tp, got, err)
		}
	}
	for _, s := range []string{"", "a", "a-", "-1", "a-x", "a-01", "a-+1", "a--", "lost+found"} {
		if tp, err := ParseTopicPartition(s); err == nil {
			t.Errorf("%q became %v", s, tp)
		}
	}
	for _, s := range []string{"0.log", strings.Repeat("9", 20) + ".log", strings.Repeat("0", 19) + "x.log", fileName(1, ".log") + ".deleted"} {
		if o, ok := parseFileName(s, logSuffix); ok {
			t.Errorf("%q became offset %d", s, o)
		}
	}
	if o, ok := parseFileName(fileName(math.MaxInt64, logSuffix), logSuffix); !ok || o != math.MaxInt64 {
		t.Errorf("largest offset became %d", o)
	}
}

// The offset index agrees with a sorted list, in memory, in its file form and
// after truncation.
func TestOffsetIndexProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Int64Range(0, 1<<40).Draw(t, "base")
		x := OffsetIndex{baseOffset: base}
		var model []offsetEntry
		offset, position := int32(0), int32(0)
		for range rapid.IntRange(0, 100).Draw(t, "n") {
			offset += rapid.Int32Range(1, 50).Draw(t, "offset")
			position += rapid.Int32Range(1, 50).Draw(t, "position")
			x.append(base+int64(offset), int64(position))
			model = append(model, offsetEntry{offset, position})
		}
		check := func(x *OffsetIndex) {
			for range 20 {
				at := rapid.Int32Range(0, offset+10).Draw(t, "at")
				byOffset, byPosition := int64(0), int64(0)
				for _, e := range model {
					if e.relOffset <= at {
						byOffset = int64(e.position)
					}
					if e.position <= at {
						byPosition = int64(e.position)
					}
				}
				if got := x.lookup(base + int64(at)); got != byOffset {
					t.Fatalf("lookup(%d) is %d, want %d", at, got, byOffset)
				}
				if got := x.floorPosition(int64(at)); got != byPosition {
					t.Fatalf("floorPosition(%d) is %d, want %d", at, got, byPosition)
				}
			}
		}
		check(&x)
		if decoded, err := decodeOffsetIndex(base, x.encode(), int64(position)+1); err != nil {
			t.Fatal(err)
		} else {
			check(decoded)
		}
		cut := rapid.Int32Range(0, offset+10).Draw(t, "cut")
		x.truncate(base+int64(cut), math.MaxInt64)
		n := sort.Search(len(model), func(i int) bool { return model[i].relOffset >= cut })
		model = model[:n]
		check(&x)
	})
}

func TestIndexesRefuseNonsense(t *testing.T) {
	for _, data := range [][]byte{
		make([]byte, 7), make([]byte, 16), // two equal entries
		{0, 0, 0, 5, 0, 0, 0, 200},                       // beyond the segment
		{255, 0, 0, 5, 0, 0, 0, 1},                       // negative
		{0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2}, // descending
	} {
		if _, err := decodeOffsetIndex(0, data, 100); err == nil {
			t.Errorf("offset index %v was accepted", data)
		}
	}
	for _, data := range [][]byte{make([]byte, 5), make([]byte, 24)} {
		if _, err := decodeTimeIndex(0, data); err == nil {
			t.Errorf("time index %v was accepted", data)
		}
	}
}

// EndOffsetForEpoch agrees with a scan of (epoch of each offset), KIP-101 and
// KIP-279.
func TestLeaderEpochProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c LeaderEpochCache
		var epochs []int32 // by offset
		epoch := int32(0)
		for range rapid.IntRange(0, 40).Draw(t, "records") {
			epoch += rapid.Int32Range(0, 2).Draw(t, "step")
			c.assign(epoch, int64(len(epochs)))
			epochs = append(epochs, epoch)
		}
		start := rapid.IntRange(0, len(epochs)).Draw(t, "start")
		end := rapid.IntRange(start, len(epochs)).Draw(t, "end")
		c.truncateFromEnd(int64(end))
		c.truncateFromStart(int64(start))
		entries, err := decodeEpochCheckpoint(encodeEpochCheckpoint(c.Entries()))
		if err != nil || len(entries) != len(c.entries) || len(entries) > 0 && !reflect.DeepEqual(entries, c.entries) {
			t.Fatalf("%v became %v, %v", c.entries, entries, err)
		}
		for o := start; o < end; o++ {
			if got := c.epochAt(int64(o)); got != epochs[o] {
				t.Fatalf("epoch at %d is %d, want %d", o, got, epochs[o])
			}
		}
		if start == end {
			return
		}
		for ask := epochs[start]; ask <= epochs[end-1]; ask++ {
			wantEpoch, wantEnd := epochs[start], int64(end)
			for o := start; o < end; o++ {
				if epochs[o] <= ask {
					wantEpoch = epochs[o]
				} else {
					wantEnd = int64(o)
					break
				}
			}
			gotEpoch, gotEnd := c.endOffsetFor(ask, int64(end))
			if gotEpoch != wantEpoch || gotEnd != wantEnd {
				t.Fatalf("end of epoch %d is (%d, %d), want (%d, %d); entries %v", ask, gotEpoch, gotEnd, wantEpoch, wantEnd, c.entries)
			}
		}
		if e, o := c.endOffsetFor(epochs[end-1]+1, int64(end)); e != UndefinedEpoch || o != UndefinedEpochOffset {
			t.Fatalf("a future epoch ends at (%d, %d)", e, o)
		}
	})
}

func TestSnapshotRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newProducerState(100)
		for range rapid.IntRange(0, 10).Draw(t, "producers") {
			e := newProducerEntry()
			e.epoch = rapid.Int16Range(0, math.MaxInt16).Draw(t, "epoch")
			e.coordinatorEpoch = rapid.Int32Range(-1, 10).Draw(t, "coordinator")
			e.lastTimestamp = rapid.Int64Range(-1, math.MaxInt64).Draw(t, "timestamp")
			batches := rapid.IntRange(0, batchesToRetain).Draw(t, "batches")
			for i := range batches {
				m := batchMeta{
					lastSeq: rapid.Int32Range(0, math.MaxInt32).Draw(t, "seq"), offsetDelta: rapid.Int32Range(0, 100).Draw(t, "delta"),
					lastOffset: rapid.Int64Range(0, 99).Draw(t, "offset"), timestamp: e.lastTimestamp,
				}
				if i < batches-1 {
					m.timestamp = rapid.Int64Range(-1, math.MaxInt64).Draw(t, "batch timestamp")
				}
				e.add(m)
			}
			s.producers[rapid.Int64Range(0, 1<<40).Draw(t, "id")] = e
		}
		data := s.encodeSnapshot()
		got, err := decodeSnapshot(data, 100)
		if err != nil || !reflect.DeepEqual(got.producers, s.producers) {
			t.Fatalf("%v became %v, %v", s.list(), got, err)
		}
		i := rapid.IntRange(0, len(data)-1).Draw(t, "flip")
		data[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := decodeSnapshot(data, 100); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatalf("a flipped bit in byte %d went unnoticed: %v", i, err)
		}
		if _, err := decodeSnapshot(data[:rapid.IntRange(0, len(data)-1).Draw(t, "cut")], 100); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatal("a cut snapshot was accepted")
		}
	})
}

// An idempotent producer that retries over a lossy link leaves each record in
// the log once and in order, whatever is lost.
func TestIdempotentRetriesProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newProducerState(0)
		next := int64(0)
		type sent struct {
			seq    int32
			offset int64
		}
		var log []sent
		seq := int32(math.MaxInt32 - 10)
		unacked := []int32{}
		for range 60 {
			if len(unacked) < 5 && rapid.Bool().Draw(rt, "new") {
				unacked = append(unacked, seq)
				seq = (seq + 1) & math.MaxInt32
			}
			if len(unacked) == 0 {
				continue
			}
			i := rapid.IntRange(0, len(unacked)-1).Draw(rt, "which")
			b := idempotent(1, 0, unacked[i], 1).build(t)
			dup, err := s.check(b, OriginClient, nil)
			switch {
			case dup != nil:
				found := false
				for _, e := range log {
					found = found || e.seq == unacked[i] && e.offset == dup.lastOffset
				}
				if !found {
					rt.Fatalf("sequence %d is taken for a duplicate at offset %d; log %v", unacked[i], dup.lastOffset, log)
				}
			case err == nil:
				b.SetBaseOffset(next)
				s.apply(b, nil)
				log = append(log, sent{unacked[i], next})
				next++
			case !errors.Is(err, ErrOutOfOrderSequence):
				rt.Fatal(err)
			}
			if i == 0 && (dup != nil || err == nil) && rapid.Bool().Draw(rt, "ack arrives") {
				unacked = unacked[1:]
			}
		}
		for i := 1; i < len(log); i++ {
			if log[i].seq != (log[i-1].seq+1)&math.MaxInt32 {
				rt.Fatalf("log is not in order: %s", fmt.Sprint(log))
			}
		}
	})
}

// FuzzDecoders feeds every small file format arbitrary bytes: no panic, and what
// is accepted encodes to something that decodes to the same.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte("0\n1\nt 0 5\n"))
	f.Add([]byte("0\n2\n1 0\n3 9\n"))
	f.Add(newProducerState(0).encodeSnapshot())
	f.Add(encodeAborted([]AbortedTxn{{1, 2, 3, 4}}))
	f.Add(MetaProperties{ClusterID: "c", NodeID: 1}.encode())
	f.Add(encodePartitionMetadata(UUID{1}))
	f.Add([]byte{0, 0, 0, 5, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		same := func(what string, a, b any, err error) {
			if err != nil || !reflect.DeepEqual(a, b) {
				t.Fatalf("%s: %v became %v, %v", what, a, b, err)
			}
		}
		if v, err := decodeOffsets(data); err == nil {
			again, err := decodeOffsets(encodeOffsets(v))
			same("offsets", v, again, err)
		}
		if v, err := decodeEpochCheckpoint(data); err == nil {
			again, err := decodeEpochCheckpoint(encodeEpochCheckpoint(v))
			same("epochs", v, again, err)
		}
		if v, err := decodeSnapshot(data, 7); err == nil {
			again, err := decodeSnapshot(v.encodeSnapshot(), 7)
			same("snapshot", v.producers, again.producers, err)
		}
		if v, err := decodeAborted(data); err == nil {
			again, err := decodeAborted(encodeAborted(v))
			same("transaction index", v, again, err)
		}
		if v, err := decodePartitionMetadata(data); err == nil {
			again, err := decodePartitionMetadata(encodePartitionMetadata(v))
			same("partition metadata", v, again, err)
		}
		if x, err := decodeOffsetIndex(10, data, 1<<30); err == nil {
			same("offset index", x.encode(), append([]byte{}, data...), nil)
		}
		if x, err := decodeTimeIndex(10, data); err == nil {
			same("time index", x.encode(), append([]byte{}, data...), nil)
		}
		_, _ = decodeMetaProperties("/d", data)
		_ = decodeCleanShutdown(data)
	})
}
