package isr

import (
	"testing"

	"pgregory.net/rapid"
)

func TestHighWatermark(t *testing.T) {
	f := func(name string, current, leaderEnd int64, others []Progress, minInsync int, want int64) {
		t.Helper()
		if got := HighWatermark(current, leaderEnd, others, minInsync); got != want {
			t.Errorf("%s: high watermark is %d, want %d", name, got, want)
		}
	}
	f("alone", 3, 7, nil, 1, 7)
	f("slowest member decides", 3, 9, []Progress{{2, 8}, {3, 5}}, 2, 5)
	f("never back", 6, 9, []Progress{{2, 5}}, 2, 6)
	f("unknown progress holds it", 6, 9, []Progress{{2, -1}}, 1, 6)
	f("below min.insync.replicas it stands still (KIP-966)", 3, 9, []Progress{{2, 9}}, 3, 3)
}

func TestHighWatermarkIsMonotonicAndBelowEveryMember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		current := rapid.Int64Range(0, 100).Draw(t, "current")
		end := rapid.Int64Range(current, 200).Draw(t, "end")
		var others []Progress
		for i := range rapid.IntRange(0, 4).Draw(t, "members") {
			others = append(others, Progress{int32(i), rapid.Int64Range(-1, 200).Draw(t, "leo")})
		}
		got := HighWatermark(current, end, others, rapid.IntRange(1, 4).Draw(t, "min"))
		if got < current || got > end {
			t.Fatalf("high watermark %d outside [%d, %d]", got, current, end)
		}
		for _, o := range others {
			if got > current && got > o.LogEndOffset {
				t.Fatalf("high watermark %d passed member %d at %d", got, o.BrokerID, o.LogEndOffset)
			}
		}
	})
}
