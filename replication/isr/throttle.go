package isr

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// maxThrottleMs is the longest pause that a Throttle asks for, so that a rate
// that was raised is noticed.
const maxThrottleMs = 1000

// Throttle limits the bytes a second of replication, in the manner of Kafka's
// ReplicationQuotaManager: one for what a broker sends as leader
// (leader.replication.throttled.rate), one for what it sends to a follower with
// a limit of its own (its share of follower.replication.throttled.rate).
//
// All bytes of throttled replicas are recorded, those of in-sync followers too;
// only followers that are not in sync are held back, so that a throttle cannot
// push anyone out of the ISR. What is recorded may exceed the limit, and is
// waited for afterwards. Kafka averages over windows; this is a bucket that
// holds as many bytes as one of them, and may be in debt.
//
// The zero value holds nothing back. Not safe for concurrent use.
type Throttle struct {
	limited  bool
	rate     int64 // bytes a second
	windowMs int64
	// credit is in bytes × 1000 (so that a millisecond of any rate is a whole
	// number), at most one window's; below 0 it is a debt.
	credit int64
	lastMs int64
}

// SetRate changes the limit: bytes a second, math.MaxInt64 for none, 0 to let
// nothing more through. windowMs is replication.quota.window.size.seconds.
func (t *Throttle) SetRate(bytesPerSecond, windowMs, nowMs int64) {
	if t.limited {
		t.refill(nowMs)
	}
	wasLimited := t.limited
	t.rate, t.windowMs, t.lastMs = bytesPerSecond, max(windowMs, 1), nowMs
	t.limited = bytesPerSecond < math.MaxInt64/max(2*t.windowMs, 4000)
	switch {
	case !t.limited:
		t.credit = 0
	case !wasLimited:
		t.credit = t.rate * t.windowMs
	default:
		t.credit = min(t.credit, t.rate*t.windowMs)
	}
}

// refill adds what time has brought.
func (t *Throttle) refill(nowMs int64) {
	elapsedMs := nowMs - t.lastMs
	if elapsedMs <= 0 {
		return
	}
	t.lastMs = nowMs
	if full := t.rate * t.windowMs; t.rate > 0 && elapsedMs >= (full-t.credit)/t.rate+1 {
		t.credit = full
	} else {
		t.credit += t.rate * elapsedMs
	}
}

// Record counts bytes of throttled replicas that were sent or taken.
func (t *Throttle) Record(bytes, nowMs int64) {
	if t.limited {
		t.refill(nowMs)
		t.credit = max(t.credit-bytes*1000, math.MinInt64/2)
	}
}

// WaitMs is for how long replicas that are not in sync are to be held back, at
// most a second at once; 0 if the limit is kept.
func (t *Throttle) WaitMs(nowMs int64) int64 {
	if !t.limited {
		return 0
	}
	t.refill(nowMs)
	if t.credit >= 0 {
		return 0
	}
	if t.rate == 0 {
		return maxThrottleMs
	}
	return min((-t.credit+t.rate-1)/t.rate, maxThrottleMs)
}

// ThrottledReplicas are the partitions of one topic whose replica on one broker
// is throttled.
type ThrottledReplicas struct {
	all        bool
	partitions []int32
}

var errThrottledReplicas = errors.New("must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...")

// ParseThrottledReplicas reads leader.replication.throttled.replicas or
// follower.replication.throttled.replicas for a broker.
func ParseThrottledReplicas(value string, broker int32) (ThrottledReplicas, error) {
	var t ThrottledReplicas
	switch value = strings.TrimSpace(value); value {
	case "":
		return t, nil
	case "*":
		return ThrottledReplicas{all: true}, nil
	}
	for pair := range strings.SplitSeq(value, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue // as in Kafka
		}
		first, second, ok := strings.Cut(pair, ":")
		partition, err1 := strconv.ParseInt(first, 10, 32)
		id, err2 := strconv.ParseInt(second, 10, 32)
		if !ok || err1 != nil || err2 != nil || partition < 0 || id < 0 {
			return ThrottledReplicas{}, fmt.Errorf("%q %w", value, errThrottledReplicas)
		}
		if int32(id) == broker {
			t.partitions = append(t.partitions, int32(partition))
		}
	}
	return t, nil
}

// Has reports whether the broker's replica of a partition is throttled.
func (t *ThrottledReplicas) Has(partition int32) bool {
	return t.all || slices.Contains(t.partitions, partition)
}
