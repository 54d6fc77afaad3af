package storage

import (
	"testing"

	"freshet/internal/invariants"
	"freshet/vfs"
)

// The steady state of the hot path allocates nothing: see the contract on Log.
func TestHotPathAllocations(t *testing.T) {
	if invariants.Enabled {
		return // the race detector allocates on its own
	}
	c := noRetention()
	c.IndexIntervalBytes = 1 << 20
	m, err := openTestManager(vfs.OS{}, osPath(t), newClock(), c)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Create(testTP, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	b := idempotent(9, 0, 0, 1).build(t)
	req := AppendRequest{Batch: b, NowMs: 1}
	var res Reservation
	seq := int32(0)
	appendOne := func() {
		setSequence(b, seq)
		seq++
		if err := l.Reserve(&req, &res); err != nil {
			t.Fatal(err)
		}
		if err := write(&res, b); err != nil {
			t.Fatal(err)
		}
		if _, err := complete(l, &res, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		appendOne()
	}
	if n := testing.AllocsPerRun(200, appendOne); n != 0 {
		t.Errorf("Reserve and Complete allocate %v times", n)
	}
	var read ReadResult
	at := int64(0)
	if n := testing.AllocsPerRun(200, func() {
		if err := l.Read(at, 300, all, true, &read); err != nil {
			t.Fatal(err)
		}
		read.Region.Release()
		at++
	}); n != 0 {
		t.Errorf("Read allocates %v times", n)
	}
	at = 0
	if n := testing.AllocsPerRun(200, func() {
		if err := l.ReadCached(at, 300, all, true, &read); err != nil {
			t.Fatal(err)
		}
		read.Region.Release()
		at++
	}); n != 0 {
		t.Errorf("ReadCached allocates %v times", n)
	}
	if err := m.Close(1); err != nil {
		t.Fatal(err)
	}
}
