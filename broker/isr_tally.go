package broker

import (
	"fmt"
	"log/slog"
	"sync"
)

// isrTally gathers changes of in-sync replicas: a broker that comes back changes
// those of each of its partitions within a moment, which is worth one line.
type isrTally struct {
	mu      sync.Mutex
	count   int
	first   []string // the first few, for a reader who looks for one
	beganMs int64
}

const (
	isrTallyMs    = 1000
	isrTallyFirst = 3
)

// note counts a change; first reports whether it is the first since take.
func (t *isrTally) note(topic string, partition int32, isr []int32, nowMs int64) (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count++; t.count == 1 {
		t.beganMs = nowMs
	}
	if len(t.first) < isrTallyFirst {
		t.first = append(t.first, fmt.Sprintf("%s-%d %v", topic, partition, isr))
	}
	return t.count == 1
}

// take returns what was noted, since when, and begins anew.
func (t *isrTally) take() (count int, first []string, beganMs int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	count, first, beganMs = t.count, t.first, t.beganMs
	t.count, t.first = 0, nil
	return count, first, beganMs
}

// isrChanged logs changes of in-sync replicas, those of a second in one line.
func (b *Broker) isrChanged(p *partition, isr []int32, partitionEpoch int32) {
	slog.Debug("in-sync replicas of a partition changed", "topic", p.topic.name, "partition", p.index, "in_sync", isr, "partition_epoch", partitionEpoch)
	if !b.isrTally.note(p.topic.name, p.index, isr, monotonicMs()) {
		return
	}
	b.later(isrTallyMs, func() {
		count, first, beganMs := b.isrTally.take()
		slog.Info("in-sync replicas changed", "partitions", count, "within_ms", monotonicMs()-beganMs, "first", first)
	})
}
