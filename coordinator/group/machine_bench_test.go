package group

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkHeartbeat is the most frequent request: one per member and
// heartbeat.interval.ms.
func BenchmarkHeartbeat(b *testing.B) {
	m, id := stableMachine()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = "g", id, 1
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now++
		m.Step(now, Request{Token: 9, Body: req})
	}
}

// BenchmarkOffsetCommit commits 10 partitions a request.
func BenchmarkOffsetCommit(b *testing.B) {
	m, id := stableMachine()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 9, "g", id, 1
	t := kmsg.OffsetCommitRequestTopic{Topic: "t"}
	for p := range int32(10) {
		t.Partitions = append(t.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: p, Offset: 1, LeaderEpoch: -1})
	}
	req.Topics = append(req.Topics, t)
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now++
		effects := m.Step(now, Request{Token: 9, Body: req})
		m.Step(now, Appended{ID: effects[0].ID})
	}
}

// stableMachine has a stable group g of one member.
func stableMachine() (*Machine, string) {
	cfg := DefaultConfig()
	cfg.InitialRebalanceDelayMs = 0
	m := NewMachine(cfg)
	step := func(ev Event) []Effect { return m.Step(0, ev) }
	step(Loaded{})
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType = "g", "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 10000, 10000
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
	step(Request{Token: 1, Body: join, UUID: "1"})
	step(Appended{ID: 1})
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "g", "-1", 1
	step(Request{Token: 2, Body: sync})
	step(Appended{ID: 2})
	return m, "-1"
}
