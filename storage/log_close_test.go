package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"freshet/vfs"
)

// manyLogs is a manager with partitions that have records of an idempotent
// producer in several segments, and of two leader epochs.
func manyLogs(t *testing.T, fsys vfs.FS, rng *rand.Rand) (*LogManager, []TopicPartition) {
	t.Helper()
	c := noRetention()
	c.SegmentBytes, c.IndexIntervalBytes = 900, 100
	m := testManager(t, fsys, newClock(), c)
	m.wholeFrom = 1
	tps := partitionsOf("many", 5)
	if err := m.CreateAll(tps, nil, c); err != nil {
		t.Fatal(err)
	}
	for i, tp := range tps {
		l := m.Get(tp)
		for n := range 4*i + rng.IntN(3) {
			b := idempotent(int64(i), 0, int32(n), 1).build(t)
			var res Reservation
			if err := l.Reserve(&AppendRequest{Batch: b, LeaderEpoch: int32(n / 5), NowMs: 1}, &res); err != nil {
				t.Fatal(err)
			}
			if _, err := complete(l, &res, write(&res, b)); err != nil {
				t.Fatal(err)
			}
		}
		l.AdvanceHighWatermark(all)
	}
	return m, tps
}

// logState is what must be found again of a log.
type logState struct {
	end       int64
	producers string
	epochs    string
}

func stateOf(l *Log) logState {
	return logState{l.LogEndOffset(), fmt.Sprint(l.Producers()), fmt.Sprint(l.EpochEntries())}
}

// Power is lost, or the disk refuses, at each operation of a clean stop that
// syncs the file system as a whole. While the marker of a clean stop is on the
// disk, so is everything else; and without it no log begins with less than what
// was durable before.
func TestPowerLossInsideCloseOfManyLogs(t *testing.T) {
	stopped := false
	for after := 0; !stopped; after++ {
		rng := rand.New(rand.NewPCG(uint64(after), 7))
		disk := vfs.NewMemFS()
		faults, err := vfs.NewFaultFS(disk)
		if err != nil {
			t.Fatal(err)
		}
		m, tps := manyLogs(t, faults, rng)
		want := map[TopicPartition]logState{}
		durable := map[TopicPartition]int64{}
		for i, tp := range tps {
			if i%2 == 0 {
				if err := m.Get(tp).Flush(all); err != nil {
					t.Fatal(err)
				}
			}
			want[tp], durable[tp] = stateOf(m.Get(tp)), m.Get(tp).RecoveryPoint()
		}
		if err := faults.Inject(fmt.Sprintf("any(*) eio after %d", after)); err != nil {
			t.Fatal(err)
		}
		stopped = m.Close(7) == nil
		for _, keep := range []float64{0, 0.5, 0.9, 1} {
			checkStopped(t, fmt.Sprintf("operation %d, keep %.1f", after, keep), disk.CrashClone(rng, keep), stopped, want, durable)
		}
		if after > 2000 {
			t.Fatal("the stop does not come to an end")
		}
	}
}

func checkStopped(t *testing.T, when string, disk *vfs.MemFS, stopped bool, want map[TopicPartition]logState, durable map[TopicPartition]int64) {
	t.Helper()
	_, err := disk.Stat(filepath.Join(testDir, cleanShutdownFile))
	marked := err == nil
	if stopped && !marked {
		t.Fatalf("%s: a clean stop left no marker", when)
	}
	c := noRetention()
	c.SegmentBytes, c.IndexIntervalBytes = 900, 100
	m := testManager(t, disk, newClock(), c)
	if marked && (m.CleanShutdownEpoch() != 7 || len(m.RecoveryReport().Partitions) > 0) {
		t.Fatalf("%s: marked clean with epoch %d, report %+v", when, m.CleanShutdownEpoch(), m.RecoveryReport())
	}
	for tp, w := range want {
		l := m.Get(tp)
		if l == nil {
			t.Fatalf("%s: %s is gone", when, tp)
		}
		if got := stateOf(l); marked && got != w {
			t.Fatalf("%s: %s is %+v, marked clean with %+v", when, tp, got, w)
		}
		if l.LogEndOffset() < durable[tp] {
			t.Fatalf("%s: %s ends at %d, %d was durable", when, tp, l.LogEndOffset(), durable[tp])
		}
		next := int64(0)
		for _, b := range readBatches(t, l) {
			if b.BaseOffset() > next && (marked || next < durable[tp]) {
				t.Fatalf("%s: offsets %d to %d of %s are missing, %d was durable", when, next, b.BaseOffset(), tp, durable[tp])
			}
			next = b.NextOffset()
		}
	}
}

// A failed sync of the whole file system takes the directory offline, as that
// of one file does, and leaves no marker.
func TestCloseOfManyLogsFailsToSync(t *testing.T) {
	for after := range 2 {
		disk := vfs.NewMemFS()
		faults, err := vfs.NewFaultFS(disk)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := manyLogs(t, faults, rand.New(rand.NewPCG(1, 1)))
		if err := faults.Inject(fmt.Sprintf("syncall(*) eio after %d times 1", after)); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(7); !errors.Is(err, ErrLogDirFailed) {
			t.Errorf("sync %d fails: close returns %v", after+1, err)
		}
		if _, err := disk.Stat(filepath.Join(testDir, cleanShutdownFile)); err == nil {
			t.Errorf("sync %d fails: marked as stopped cleanly", after+1)
		}
	}
}

// BenchmarkCloseOfManyPartitions is a clean stop with 10,000 partitions that
// all took records: with syncs of the whole file system, and log by log.
func BenchmarkCloseOfManyPartitions(b *testing.B) {
	for _, c := range []struct {
		name string
		from int
	}{{"whole", wholeSyncFrom}, {"each", 1 << 30}} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				m, err := openTestManager(vfs.OS{}, filepath.Join(b.TempDir(), "data"), newClock(), noRetention())
				if err != nil {
					b.Fatal(err)
				}
				tps := partitionsOf("many", 10_000)
				if err := m.CreateAll(tps, nil, noRetention()); err != nil {
					b.Fatal(err)
				}
				for _, tp := range tps {
					mustAppend(b, m.Get(tp), idempotent(1, 0, 0, 10))
				}
				m.wholeFrom = c.from
				b.StartTimer()
				if err := m.Close(1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
