package isr

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestThrottle(t *testing.T) {
	var th Throttle
	wait := func(name string, nowMs, want int64) {
		t.Helper()
		if got := th.WaitMs(nowMs); got != want {
			t.Errorf("%s: wait for %d ms, want %d", name, got, want)
		}
	}
	th.Record(1<<40, 0)
	wait("without a rate", 0, 0)
	th.SetRate(1000, 1000, 10)
	wait("a new limit has a window's credit", 10, 0)
	th.Record(1000, 10)
	wait("used up", 10, 0)
	th.Record(500, 10)
	wait("in debt", 10, 500)
	wait("in debt, later", 210, 300)
	wait("paid", 510, 0)
	th.Record(5000, 510)
	wait("far in debt", 510, maxThrottleMs)
	th.SetRate(10_000, 1000, 510)
	wait("a higher limit pays sooner", 510, 500)
	wait("time that goes back counts for nothing", 500, 500)
	wait("idle for long", 1_000_000, 0)
	th.Record(11_000, 1_000_000)
	wait("idle time saves one window, no more", 1_000_000, 100)
	th.SetRate(0, 1000, 1_000_000)
	wait("a limit of nothing", 9_000_000, maxThrottleMs)
	th.SetRate(math.MaxInt64, 1000, 9_000_000)
	wait("no limit again", 9_000_000, 0)
}

// TestThrottleKeepsTheRate lets through what it allows, whenever it allows it:
// over any time that is at most the rate, a window's worth and one record.
func TestThrottleKeepsTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Int64Range(1, 1<<40).Draw(t, "rate")
		windowMs := rapid.Int64Range(1, 10_000).Draw(t, "windowMs")
		largest := rapid.Int64Range(1, 1<<24).Draw(t, "largest")
		var th Throttle
		th.SetRate(rate, windowMs, 0)
		total, nowMs := float64(0), int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			nowMs += rapid.Int64Range(0, 500).Draw(t, "ms")
			if th.WaitMs(nowMs) > 0 {
				continue
			}
			bytes := rapid.Int64Range(1, largest).Draw(t, "bytes")
			th.Record(bytes, nowMs)
			total += float64(bytes)
			if allowed := float64(rate)*float64(nowMs+windowMs)/1000 + float64(largest); total > allowed+1 {
				t.Fatalf("%v bytes in %d ms, allowed are %v", total, nowMs, allowed)
			}
		}
		if wait := th.WaitMs(nowMs); wait > 0 && wait < maxThrottleMs && th.WaitMs(nowMs+wait) > 0 {
			t.Fatalf("after the %d ms it asked for it asks for more", wait)
		}
	})
}

func TestThrottledReplicas(t *testing.T) {
	f := func(value string, broker, partition int32, want bool) {
		t.Helper()
		replicas, err := ParseThrottledReplicas(value, broker)
		if err != nil || replicas.Has(partition) != want {
			t.Errorf("%q, broker %d, partition %d: %v, %v; want %v", value, broker, partition, replicas.Has(partition), err, want)
		}
	}
	f("", 1, 0, false)
	f("*", 1, 7, true)
	f("0:1,1:2", 1, 0, true)
	f("0:1,1:2", 1, 1, false)
	f("0:1, 1:2 ", 2, 1, true)
	f("0:1,", 1, 0, true)
	for _, bad := range []string{"0", "0:", ":1", "a:1", "-1:2", "0:1;1:1", "*,0:1", "0:1:2", "99999999999:1"} {
		if _, err := ParseThrottledReplicas(bad, 1); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
