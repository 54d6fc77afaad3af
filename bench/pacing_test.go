package bench

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fakeClock moves only when slept on, and may oversleep.
type fakeClock struct {
	now       time.Duration
	oversleep time.Duration
	sleeps    int
}

func (c *fakeClock) Since() time.Duration { return c.now }

func (c *fakeClock) SleepUntil(at time.Duration) {
	c.sleeps++
	c.now = max(c.now, at) + c.oversleep
}

func TestScheduleIsFixedInAdvance(t *testing.T) {
	s := NewSchedule(1000, 10_000_000)
	if got := s.DueAt(0); got != 0 {
		t.Errorf("record 0 is due at %s", got)
	}
	// No rounding accumulates: record 10^7 at 1000/s is due after exactly 10^4 s.
	if got, want := s.DueAt(10_000_000), 10_000*time.Second; got != want {
		t.Errorf("record 10^7 is due at %s, want %s", got, want)
	}
}

func TestDueByCountsExactlyTheDueRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSchedule(rapid.Float64Range(0.1, 3e6).Draw(t, "rate"), rapid.Int64Range(0, 1e6).Draw(t, "count"))
		elapsed := time.Duration(rapid.Int64Range(-1e9, 20e9).Draw(t, "elapsed"))
		n := s.DueBy(elapsed)
		if n > 0 && s.DueAt(n-1) > elapsed {
			t.Fatalf("%d records by %s, but the last is due at %s", n, elapsed, s.DueAt(n-1))
		}
		if n < s.Count() && elapsed >= 0 && s.DueAt(n) <= elapsed {
			t.Fatalf("%d records by %s, but the next was due at %s", n, elapsed, s.DueAt(n))
		}
	})
}

func TestPaceNeverSendsEarlyAndKeepsDueTimes(t *testing.T) {
	s := NewSchedule(1000, 500)
	clock := &fakeClock{oversleep: 2500 * time.Microsecond}
	next := int64(0)
	s.Pace(clock, func(i int64, dueAt time.Duration) bool {
		if i != next {
			t.Fatalf("record %d was sent where %d was next", i, next)
		}
		next++
		if dueAt != s.DueAt(i) {
			t.Fatalf("record %d has due time %s, want %s: a late sender must not move it", i, dueAt, s.DueAt(i))
		}
		if clock.now < dueAt {
			t.Fatalf("record %d was sent at %s, before it was due at %s", i, clock.now, dueAt)
		}
		return true
	})
	if next != 500 {
		t.Errorf("%d records were sent, want 500", next)
	}
	// Each sleep overshoots by 2.5 records, which then go at once.
	if clock.sleeps > 250 {
		t.Errorf("%d sleeps: late records were waited for one by one", clock.sleeps)
	}
}

// A stall must appear in the latencies of all the records that were due during
// it: that is what an open loop is for.
func TestPaceShowsAStall(t *testing.T) {
	s := NewSchedule(100, 200)
	clock := &fakeClock{}
	late := 0
	s.Pace(clock, func(i int64, dueAt time.Duration) bool {
		if i == 50 {
			clock.now += time.Second // the system under test blocks the sender
		}
		if clock.now-dueAt > 5*time.Millisecond {
			late++
		}
		return true
	})
	if late < 100 {
		t.Errorf("a stall of 100 records' time shows in %d latencies", late)
	}
}

func TestPaceStopsWhenToldTo(t *testing.T) {
	sent := 0
	NewSchedule(1e6, 1000).Pace(&fakeClock{}, func(int64, time.Duration) bool {
		sent++
		return sent < 10
	})
	if sent != 10 {
		t.Errorf("%d records were sent after a stop at 10", sent)
	}
}
