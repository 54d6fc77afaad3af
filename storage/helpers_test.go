package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"freshet/record"
	"freshet/vfs"
)

const testDir = "/data"

// quiet drops log lines.
func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// clock is a settable wall clock.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(1_700_000_000_000)
	return c
}

func (c *clock) now() int64 { return c.ms.Load() }

// batchSpec describes a batch to build.
type batchSpec struct {
	records       int
	valueSize     int
	timestampMs   int64
	producerID    int64
	epoch         int16
	sequence      int32
	transactional bool
	fill          byte
}

func plain(records int) batchSpec {
	return batchSpec{records: records, valueSize: 20, timestampMs: 1_700_000_000_000,
		producerID: record.NoProducerID, epoch: record.NoProducerEpoch, sequence: record.NoSequence, fill: 'v'}
}

func idempotent(pid int64, epoch int16, seq int32, records int) batchSpec {
	s := plain(records)
	s.producerID, s.epoch, s.sequence = pid, epoch, seq
	return s
}

func (s batchSpec) build(t testing.TB) record.Batch {
	t.Helper()
	var b record.Builder
	opts := record.DefaultBuilderOptions()
	opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = s.producerID, s.epoch, s.sequence
	opts.Transactional = s.transactional
	b.Reset(nil, opts)
	for i := range s.records {
		b.Append(s.timestampMs+int64(i), nil, bytes.Repeat([]byte{s.fill}, s.valueSize))
	}
	out, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return record.Batch(out)
}

// testManager opens a manager on fsys in testDir, formatting it if need be.
func testManager(t testing.TB, fsys vfs.FS, c *clock, config LogConfig) *LogManager {
	t.Helper()
	m, err := openTestManager(fsys, testDir, c, config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func openTestManager(fsys vfs.FS, dir string, c *clock, config LogConfig) (*LogManager, error) {
	if _, err := FormatLogDir(fsys, dir, "cluster", 1); err != nil {
		return nil, err
	}
	return OpenManager(ManagerConfig{
		FS: fsys, Dirs: []string{dir}, ClusterID: "cluster", NodeID: 1, NowMs: c.now, Logger: quiet(),
		TopicConfig: func(string) LogConfig { return config },
	})
}

var testTP = TopicPartition{Topic: "t", Partition: 0}

func testLog(t testing.TB, fsys vfs.FS, config LogConfig) (*LogManager, *Log) {
	t.Helper()
	m := testManager(t, fsys, newClock(), config)
	l, err := m.Create(testTP, nil, config)
	if err != nil {
		t.Fatal(err)
	}
	return m, l
}

// reserve and write do the steps of an append one by one.
func reserve(l *Log, b record.Batch, nowMs int64) (Reservation, error) {
	var res Reservation
	err := l.Reserve(&AppendRequest{Batch: b, LeaderEpoch: 0, NowMs: nowMs}, &res)
	return res, err
}

func write(res *Reservation, b record.Batch) error {
	_, err := res.Segment.WriteFile().WriteAt(b, res.Position)
	return err
}

func complete(l *Log, res *Reservation, err error) (int64, error) {
	return l.Complete(res.Segment, res.BaseOffset, res.NextOffset, res.Position, int64(res.Length), err)
}

func tryAppend(l *Log, b record.Batch) (Reservation, error) {
	res, err := reserve(l, b, b.BaseTimestamp())
	if err != nil || res.Duplicate {
		return res, err
	}
	_, err = complete(l, &res, write(&res, b))
	return res, err
}

func mustAppend(t testing.TB, l *Log, s batchSpec) Reservation {
	t.Helper()
	res, err := tryAppend(l, s.build(t))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// readAll reads [from, upTo) in fetches of maxBytes and returns the batches.
func readAll(t testing.TB, l *Log, from, upTo int64, maxBytes int32) []record.Batch {
	t.Helper()
	var batches []record.Batch
	for from < min(upTo, l.LogEndOffset()) {
		var res ReadResult
		if err := l.Read(from, maxBytes, upTo, true, &res); err != nil {
			t.Fatalf("read at %d: %v", from, err)
		}
		if res.Region.Length == 0 {
			t.Fatalf("empty read at %d of %d", from, l.LogEndOffset())
		}
		for _, b := range regionBatches(t, &res) {
			if b.LastOffset() < from {
				t.Fatalf("batch %d..%d precedes the fetch at %d", b.BaseOffset(), b.LastOffset(), from)
			}
			batches = append(batches, b)
			from = b.NextOffset()
		}
	}
	return batches
}

// regionBatches splits a region into whole batches, checks them and releases it.
func regionBatches(t testing.TB, res *ReadResult) []record.Batch {
	t.Helper()
	defer res.Region.Release()
	data := make([]byte, res.Region.Length)
	if _, err := res.Region.File.ReadAt(data, res.Region.Position); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	var batches []record.Batch
	for len(data) > 0 {
		size, err := record.Peek(data)
		if err != nil {
			t.Fatalf("region ends inside a batch: %v", err)
		}
		b := record.Batch(data[:size])
		if err := b.CheckCRC(); err != nil {
			t.Fatal(err)
		}
		batches = append(batches, b)
		data = data[size:]
	}
	return batches
}

func noRetention() LogConfig {
	c := DefaultLogConfig()
	c.RetentionMs = -1
	return c
}

const all = math.MaxInt64

func osPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data")
}

func mustReadFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// setSequence patches a batch's base sequence and CRC.
func setSequence(b record.Batch, seq int32) {
	binary.BigEndian.PutUint32(b[record.BaseSequenceAt:], uint32(seq))
	binary.BigEndian.PutUint32(b[record.CRCAt:], b.ComputeCRC())
}

func setLastOffsetDelta(b record.Batch, delta int32) {
	binary.BigEndian.PutUint32(b[record.LastOffsetDeltaAt:], uint32(delta))
	binary.BigEndian.PutUint32(b[record.CRCAt:], b.ComputeCRC())
}
