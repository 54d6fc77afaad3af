package storage

import (
	"testing"

	"pgregory.net/rapid"

	"freshet/vfs"
)

// Searches by timestamp agree with a scan of all records, whatever the order
// of timestamps, before and after a restart.
func TestSearchByTimestamp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fsys := vfs.NewMemFS()
		c := noRetention()
		c.SegmentBytes = int32(rapid.IntRange(400, 2000).Draw(rt, "segmentBytes"))
		c.IndexIntervalBytes = int32(rapid.IntRange(0, 500).Draw(rt, "indexInterval"))
		m, l := testLog(t, fsys, c)
		var stamps []int64 // by offset
		for range rapid.IntRange(0, 30).Draw(rt, "batches") {
			s := plain(rapid.IntRange(1, 3).Draw(rt, "records"))
			s.timestampMs = rapid.Int64Range(0, 50).Draw(rt, "timestamp")
			for i := range s.records {
				stamps = append(stamps, s.timestampMs+int64(i))
			}
			mustAppend(t, l, s)
		}
		check := func(l *Log) {
			for ts := int64(-1); ts <= 55; ts++ {
				want := int64(-1)
				for o, at := range stamps {
					if at >= ts {
						want = int64(o)
						break
					}
				}
				found, ok, err := l.OffsetForTimestamp(ts)
				if err != nil || ok != (want >= 0) || ok && (found.Offset != want || found.Timestamp != stamps[want]) {
					rt.Fatalf("timestamp %d: found %+v, %t, want offset %d; %v", ts, found, ok, want, err)
				}
			}
			want := int64(-1)
			for o, at := range stamps {
				if want < 0 || at > stamps[want] {
					want = int64(o)
				}
			}
			found, ok, err := l.OffsetOfMaxTimestamp()
			if err != nil || ok != (want >= 0) || ok && found.Offset != want {
				rt.Fatalf("max timestamp: found %+v, %t, want offset %d; %v", found, ok, want, err)
			}
		}
		check(l)
		if err := m.Close(1); err != nil {
			rt.Fatal(err)
		}
		check(testManager(t, fsys, newClock(), c).Get(testTP))
	})
}

// A reserved batch with the largest timestamp does not count until published.
func TestMaxTimestampIgnoresUnpublished(t *testing.T) {
	_, l := testLog(t, vfs.NewMemFS(), noRetention())
	mustAppend(t, l, plain(1))
	s := plain(1)
	s.timestampMs += 1000
	b := s.build(t)
	res, err := reserve(l, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if found, ok, err := l.OffsetOfMaxTimestamp(); err != nil || !ok || found.Offset != 0 {
		t.Errorf("before: %+v, %t, %v", found, ok, err)
	}
	if _, err := complete(l, &res, write(&res, b)); err != nil {
		t.Fatal(err)
	}
	if found, ok, err := l.OffsetOfMaxTimestamp(); err != nil || !ok || found.Offset != 1 {
		t.Errorf("after: %+v, %t, %v", found, ok, err)
	}
}

func TestLogAppendTime(t *testing.T) {
	c := noRetention()
	c.MessageTimestampType = LogAppendTime
	_, l := testLog(t, vfs.NewMemFS(), c)
	b := plain(2).build(t)
	res, err := reserve(l, b, 12345)
	if err != nil || res.LogAppendTimeMs != 12345 {
		t.Fatalf("%+v, %v", res, err)
	}
	if err := b.CheckCRC(); err != nil || b.MaxTimestamp() != 12345 || !b.IsLogAppendTime() {
		t.Errorf("max timestamp %d, %v", b.MaxTimestamp(), err)
	}
	_, _ = complete(l, &res, write(&res, b))
}
