package quorum

import (
	"fmt"
	"testing"
	"time"

	"freshet/metadata"
)

// BenchmarkStartAlone is a broker's start: open, and ready for changes.
func BenchmarkStartAlone(b *testing.B) {
	opts := alone(b)
	start(b, opts).stop()
	for b.Loop() {
		start(b, opts).stop()
	}
}

func BenchmarkDo(b *testing.B) {
	for _, voters := range []int{1, 3} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprintf("voters=%d/callers=%d", voters, callers), func(b *testing.B) {
				members := []*member{}
				if voters == 1 {
					members = append(members, start(b, alone(b)))
				} else {
					for _, opts := range group(b, voters) {
						members = append(members, start(b, opts))
					}
				}
				leader := leaderOf(b, members...)
				mustSet(b, leader.Node, "k", "v")
				b.SetParallelism((callers + 1) / 2)
				b.ResetTimer()
				if callers == 1 {
					for b.Loop() {
						mustSet(b, leader.Node, "k", "v")
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						mustSet(b, leader.Node, "k", "v")
					}
				})
			})
		}
	}
}

// BenchmarkDoLarge creates 10,000 partitions in one change.
func BenchmarkDoLarge(b *testing.B) {
	var members []*member
	for _, opts := range group(b, 3) {
		members = append(members, start(b, opts))
	}
	leader := leaderOf(b, members...)
	round := 0
	for b.Loop() {
		round++
		largeChange(b, leader.Node, round, 1000, 10)
	}
}

func largeChange(t testing.TB, n *Node, round, topics, partitions int) *metadata.Image {
	img, err := n.Do(func(*metadata.Image) ([]metadata.Record, error) {
		var records []metadata.Record
		for i := range topics {
			id := metadata.RandomUUID()
			made := &metadata.PartitionsRecord{TopicID: id, Partitions: make([]metadata.Partition, partitions)}
			for p := range made.Partitions {
				made.Partitions[p] = metadata.Partition{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, Leader: 1}
			}
			records = append(records, &metadata.TopicRecord{Name: fmt.Sprintf("topic-%d-%d", round, i), ID: id}, made)
		}
		return records, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// BenchmarkFailover is the time from a leader's end to the next that is ready.
func BenchmarkFailover(b *testing.B) {
	all := group(b, 3)
	var members []*member
	for _, opts := range all {
		members = append(members, start(b, opts))
	}
	var total, worst, behind time.Duration
	for b.Loop() {
		leader := leaderOf(b, members...)
		mustSet(b, leader.Node, "k", "v")
		began := time.Now()
		leader.kill()
		var rest []*member
		for _, m := range members {
			if m != leader {
				rest = append(rest, m)
			}
		}
		next := leaderOf(b, rest...)
		took := time.Since(began)
		total, worst = total+took, max(worst, took)
		mustSet(b, next.Node, "k", "w")
		i := leader.opts.NodeID - 1
		began = time.Now()
		members[i] = start(b, all[i])
		eventually(b, "the killed member catches up", func() bool { return members[i].Image().Index == next.Image().Index })
		behind = max(behind, time.Since(began))
	}
	b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "ms/failover")
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
	b.ReportMetric(float64(behind.Milliseconds()), "worst-ms-to-catch-up")
}

// BenchmarkSnapshot writes a snapshot of 10,000 partitions, in topics of ten.
func BenchmarkSnapshot(b *testing.B) {
	n := start(b, alone(b))
	largeChange(b, n.Node, 0, 1000, 10)
	d := n.disk
	n.mu.Lock()
	snapshot := n.mu.core.current()
	n.mu.Unlock()
	for b.Loop() {
		w := &Write{Snapshot: snapshot}
		if err := d.Write([]*Write{w}); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(w.SnapshotBytes), "bytes")
	}
}
