package chaos

import (
	"slices"
	"sync"
)

// Timeline notes when writes to each partition were acknowledged, in nanoseconds of the monotonic clock.
// Its methods may be called from any goroutine.
type Timeline struct {
	mu   sync.Mutex
	acks map[int32][]int64 // by partition, in order of arrival
}

// Ack notes an acknowledgement.
func (l *Timeline) Ack(partition int32, atNs int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acks == nil {
		l.acks = map[int32][]int64{}
	}
	l.acks[partition] = append(l.acks[partition], atNs)
}

// LongestGaps gives, for each of the partitions 0 to n-1, the longest time between fromNs and toNs in
// which no write to it was acknowledged.
func (l *Timeline) LongestGaps(n int32, fromNs, toNs int64) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	gaps := make([]int64, n)
	for p := range n {
		times := make([]int64, 0, 1024)
		for _, at := range l.acks[p] {
			if at > fromNs && at < toNs {
				times = append(times, at)
			}
		}
		slices.Sort(times)
		last := fromNs
		for _, at := range append(times, toNs) {
			gaps[p] = max(gaps[p], at-last)
			last = at
		}
	}
	return gaps
}

// Percentile is the smallest of values that at least share (0 to 1) of them do not exceed; 0 of none.
func Percentile(values []int64, share float64) int64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	rank := int(share*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}
