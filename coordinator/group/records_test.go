package group

import (
	"encoding/hex"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRecordBytes compares with what Apache Kafka 4.3.1 writes: the hex is the
// output of its GroupCoordinatorRecordSerde for the same values.
func TestRecordBytes(t *testing.T) {
	const (
		offsetKey = "000100016700017400000003"
		groupKey  = "0002000167"
		at        = 1700000000000
	)
	topicID := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

	g := newGroup("g", at)
	g.generation, g.protocolType, g.protocol = 5, "consumer", kmsg.StringPtr("range")
	g.add(&member{
		id: "c-1", clientID: "c", clientHost: "/127.0.0.1", rebalanceTimeoutMs: 60000, sessionTimeoutMs: 10000,
		protocols: []protocol{{"range", []byte{1, 2}}}, assignment: []byte{3},
	}, "consumer")
	g.add(&member{
		id: "i-2", instanceID: kmsg.StringPtr("i"), clientID: "d", clientHost: "/::1", rebalanceTimeoutMs: 60000, sessionTimeoutMs: 45000,
		protocols: []protocol{{"range", []byte{4}}},
	}, "consumer")

	f := func(name string, r Record, wantKey, wantValue string) {
		t.Helper()
		if key := hex.EncodeToString(r.Key); key != wantKey {
			t.Errorf("%s: key %s, want %s", name, key, wantKey)
		}
		if value := hex.EncodeToString(r.Value); value != wantValue || (r.Value == nil) != (wantValue == "") {
			t.Errorf("%s: value %s, want %s", name, value, wantValue)
		}
	}
	f("offset v4", offsetRecord("g", "t", 3, &offsetValue{42, 7, "méta", at, -1, [16]byte{}}), offsetKey,
		"0004000000000000002a00000007066dc3a974610000018bcfe5680000")
	f("offset v4 with topic id", offsetRecord("g", "t", 3, &offsetValue{42, -1, "", at, -1, topicID}), offsetKey,
		"0004000000000000002affffffff010000018bcfe568000100100102030405060708090a0b0c0d0e0f10")
	f("offset v1", offsetRecord("g", "t", 3, &offsetValue{42, 7, "m", at, at + 1000, topicID}), offsetKey,
		"0001000000000000002a00016d0000018bcfe568000000018bcfe56be8")
	f("offset tombstone", offsetRecord("g", "t", 3, nil), offsetKey, "")
	f("group v3", groupRecord(g, func(mem *member) []byte { return mem.assignment }), groupKey,
		"00030008636f6e73756d657200000005000572616e67650003632d310000018bcfe56800000000020003632d31ffff00016300"+
			"0a2f3132372e302e302e310000ea600000271000000002010200000001030003692d3200016900016400042f3a3a310000ea60"+
			"0000afc8000000010400000000")
	f("new group", newGroupRecord(newGroup("g", at)), groupKey, "0003000000000000ffffffff0000018bcfe5680000000000")
	f("group tombstone", groupTombstone("g"), groupKey, "")
}

// TestPartitionFor compares with Utils.abs(groupId.hashCode()) % 50 in Java.
// The hash of the last id is the smallest int, which has no absolute value.
func TestPartitionFor(t *testing.T) {
	for id, want := range map[string]int32{
		"": 0, "g": 3, "my-group": 12, "console-consumer-12345": 6, "grüppe": 12, "😀-emoji": 38, "polygenelubricants": 0,
	} {
		if got := PartitionFor(id, 50); got != want {
			t.Errorf("PartitionFor(%q) = %d, want %d", id, got, want)
		}
	}
}

func TestJavaLength(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "é": 1, "😀": 2} {
		if got := javaLength(s); got != want {
			t.Errorf("javaLength(%q) = %d, want %d", s, got, want)
		}
	}
}

// TestOldRecordVersions loads values of the versions that older brokers wrote.
func TestOldRecordVersions(t *testing.T) {
	m := NewMachine(DefaultConfig())
	replay := func(offset int64, key, value interface{ AppendTo([]byte) []byte }) {
		t.Helper()
		if known, err := m.Replay(offset, noProducerID, Record{key.AppendTo(nil), value.AppendTo(nil)}); !known || err != nil {
			t.Fatalf("record %d: known=%v, %v", offset, known, err)
		}
	}
	for v := int16(0); v <= 4; v++ {
		keyVersion := min(v, 1)
		replay(int64(v), &kmsg.OffsetCommitKey{Version: keyVersion, Group: "g", Topic: "t", Partition: int32(v)},
			&kmsg.OffsetCommitValue{Version: v, Offset: 10 + int64(v), LeaderEpoch: 3, Metadata: "m", CommitTimestamp: 5, ExpireTimestamp: 6})
		e := m.entry("g", "t", int32(v))
		want := offsetValue{10 + int64(v), -1, "m", 5, -1, [16]byte{}}
		if v == 1 {
			want.expireTimestampMs = 6
		}
		if v >= 3 {
			want.leaderEpoch = 3
		}
		if e == nil || e.value != want {
			t.Errorf("offset v%d loads as %+v, want %+v", v, e, want)
		}
		replay(int64(v), &kmsg.GroupMetadataKey{Version: 2, Group: "g"}, &kmsg.GroupMetadataValue{
			Version: v, ProtocolType: "consumer", Generation: 2, Protocol: kmsg.StringPtr("range"), Leader: kmsg.StringPtr("b"), CurrentStateTimestamp: 9,
			Members: []kmsg.GroupMetadataValueMember{
				{MemberID: "a", SessionTimeoutMillis: 7, RebalanceTimeoutMillis: 8},
				{MemberID: "b", SessionTimeoutMillis: 7, RebalanceTimeoutMillis: -1},
			},
		})
		g := m.groups["g"]
		wantAt, wantRebalance := int64(9), int32(8)
		if v < 2 {
			wantAt = -1
		}
		if v < 1 {
			wantRebalance = 7
		}
		if g.state != Stable || g.leader != "b" || g.stateTimestampMs != wantAt ||
			g.members["a"].rebalanceTimeoutMs != wantRebalance || g.members["b"].rebalanceTimeoutMs != 7 {
			t.Errorf("group v%d loads as %+v", v, g)
		}
	}
	if known, err := m.Replay(9, noProducerID, Record{[]byte{0, 3, 0, 1, 'g'}, []byte{0, 0, 0, 0, 0, 1}}); known || err != nil {
		t.Errorf("a record of a newer protocol: known=%v, %v; want it skipped", known, err)
	}
}

// TestReplayTransaction follows OffsetMetadataManagerTest.testReplayTransactional
// OffsetCommit...: offsets of a transaction count when it commits, unless a
// later record was there first.
func TestReplayTransaction(t *testing.T) {
	m := NewMachine(DefaultConfig())
	commit := func(at, producerID int64, partition int32, offset int64) {
		t.Helper()
		if _, err := m.Replay(at, producerID, offsetRecord("g", "t", partition, &offsetValue{offset: offset, expireTimestampMs: -1})); err != nil {
			t.Fatal(err)
		}
	}
	want := func(partition int32, offset int64, code int16) {
		t.Helper()
		p := fetched(partition, m.entry("g", "t", partition), [16]byte{}, true)
		if p.Offset != offset || p.ErrorCode != code {
			t.Errorf("partition %d: offset %d, error %d; want %d, %d", partition, p.Offset, p.ErrorCode, offset, code)
		}
	}
	commit(0, 7, 0, 100)
	commit(1, 7, 1, 101)
	commit(2, noProducerID, 1, 201)
	commit(3, 8, 2, 102)
	want(0, -1, unstableOffsetCommit)
	want(1, -1, unstableOffsetCommit)
	m.ReplayEndTxn(7, true)
	m.ReplayEndTxn(8, false)
	want(0, 100, none)
	want(1, 201, none)
	want(2, -1, none)
	if len(m.pendingTxn) != 0 {
		t.Errorf("%d transactions are still open", len(m.pendingTxn))
	}
}

// FuzzDecodeRecord: any bytes decode or are refused, and what decodes is
// replayed without harm.
func FuzzDecodeRecord(f *testing.F) {
	for _, r := range []Record{
		offsetRecord("g", "t", 3, &offsetValue{42, 7, "meta", 1, -1, [16]byte{1}}),
		offsetRecord("g", "t", 3, &offsetValue{42, 7, "meta", 1, 2, [16]byte{1}}),
		offsetRecord("g", "t", 3, nil),
		newGroupRecord(newGroup("g", 1)),
		groupTombstone("g"),
	} {
		f.Add(r.Key, r.Value, r.Value == nil)
	}
	g := newGroup("g", 1)
	g.protocol = kmsg.StringPtr("range")
	g.add(&member{id: "a", protocols: []protocol{{"range", metadataBytes("topics(a;b)")}}, instanceID: kmsg.StringPtr("i")}, "consumer")
	r := groupRecord(g, func(*member) []byte { return []byte("x") })
	f.Add(r.Key, r.Value, false)
	f.Fuzz(func(t *testing.T, key, value []byte, tombstone bool) {
		if tombstone {
			value = nil
		} else if value == nil {
			value = []byte{}
		}
		m := NewMachine(DefaultConfig())
		if _, err := m.Replay(0, noProducerID, Record{key, value}); err != nil {
			return
		}
		for _, g := range m.groups {
			if err := g.check(m); err != nil && g.state != Stable {
				t.Error(err)
			}
		}
		m.Step(1, Loaded{})
		m.Step(1<<40, Tick{})
	})
}
