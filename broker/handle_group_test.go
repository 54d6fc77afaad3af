package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/config"
	"freshet/metadata"
)

// served is a started broker with one client connection, for tests of
// handlers end to end.
type served struct {
	t      *testing.T
	broker *Broker
	conn   net.Conn
	corr   int32
}

// testConfig is the configuration of a broker in dir, with properties as
// key, value pairs.
func testConfig(t *testing.T, dir string, properties ...string) *config.BrokerConfig {
	t.Helper()
	values := map[string]string{
		"node.id": "1", "log.dirs": dir, "listeners": "PLAINTEXT://127.0.0.1:0", "process.roles": "broker,controller",
		"num.network.threads": "1", "freshet.auto.format": "true", "freshet.admin.listener": "",
		"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "3",
	}
	for i := 0; i < len(properties); i += 2 {
		values[properties[i]] = properties[i+1]
	}
	cfg, err := config.NewBroker(config.NewStatic(values))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newServed(t *testing.T, dir string, properties ...string) *served {
	t.Helper()
	b, err := Open(testConfig(t, dir, properties...))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, broker: b}
	t.Cleanup(s.stop)
	if s.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.Port("PLAINTEXT"))); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *served) stop() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
	s.broker.Stop()
}

// do sends a request and reads its answer.
func (s *served) do(req kmsg.Request) kmsg.Response {
	s.t.Helper()
	s.corr++
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))
	if _, err := s.conn.Write(f.AppendRequest(nil, req, s.corr)); err != nil {
		s.t.Fatal(err)
	}
	var head [8]byte
	if _, err := io.ReadFull(s.conn, head[:]); err != nil {
		s.t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(s.conn, body); err != nil {
		s.t.Fatal(err)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != s.corr {
		s.t.Fatalf("answer %d to request %d", got, s.corr)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() {
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		s.t.Fatalf("%T v%d: %v", req, req.GetVersion(), err)
	}
	return resp
}

// retry repeats a request while its answer says that the coordinator loads.
func (s *served) retry(req kmsg.Request, code func(kmsg.Response) int16) kmsg.Response {
	s.t.Helper()
	for {
		if resp := s.do(req); code(resp) != kerr.CoordinatorLoadInProgress.Code {
			return resp
		}
	}
}

func (s *served) topic(name string, partitions int32) [16]byte {
	s.t.Helper()
	img, err := s.broker.meta.Do(func(img *metadata.Image) ([]metadata.Record, error) {
		results, records := s.broker.controller().CreateTopics(img, []metadata.NewTopic{{Name: name, NumPartitions: partitions, ReplicationFactor: 1}}, false)
		if results[0].Err != nil {
			return nil, results[0].Err
		}
		return records, nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return img.Topic(name).ID
}

func (s *served) findCoordinator(version int16) {
	s.t.Helper()
	req := &kmsg.FindCoordinatorRequest{Version: version, CoordinatorKey: "g", CoordinatorKeys: []string{"g", "h"}}
	r := s.do(req).(*kmsg.FindCoordinatorResponse)
	found := []kmsg.FindCoordinatorResponseCoordinator{{NodeID: r.NodeID, Host: r.Host, Port: r.Port, ErrorCode: r.ErrorCode}}
	if version >= findCoordinatorBatched {
		found = r.Coordinators
		if len(found) != 2 || found[1].Key != "h" {
			s.t.Fatalf("v%d finds %+v", version, found)
		}
	}
	for _, c := range found {
		if c.ErrorCode != 0 || c.NodeID != 1 || c.Host != "127.0.0.1" || int(c.Port) != s.broker.Port("PLAINTEXT") {
			s.t.Errorf("v%d finds %+v", version, c)
		}
	}
}

func commitRequest(version int16, topic string, id [16]byte, partitions ...int32) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group = version, "g"
	t := kmsg.OffsetCommitRequestTopic{Topic: topic, TopicID: id}
	for _, p := range partitions {
		t.Partitions = append(t.Partitions, kmsg.OffsetCommitRequestTopicPartition{Partition: p, Offset: 100 + int64(p), LeaderEpoch: -1})
	}
	req.Topics = append(req.Topics, t)
	return req
}

func commitCode(r kmsg.Response) int16 {
	return r.(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
}

// TestGroupAPIs drives every group API in every version against a served
// broker.
func TestGroupAPIs(t *testing.T) {
	dir := t.TempDir()
	s := newServed(t, dir)
	id := s.topic("t", 2)
	for v := int16(0); v <= 6; v++ {
		s.findCoordinator(v)
	}
	if r := s.do(&kmsg.FindCoordinatorRequest{Version: 3, CoordinatorKey: "x", CoordinatorType: 1}).(*kmsg.FindCoordinatorResponse); r.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("a transaction's coordinator: %+v", r)
	}

	for v := int16(2); v <= 10; v++ {
		r := s.retry(commitRequest(v, "t", id, 0, 1, 9), commitCode).(*kmsg.OffsetCommitResponse)
		codes := map[int32]int16{}
		for _, p := range r.Topics[0].Partitions {
			codes[p.Partition] = p.ErrorCode
		}
		if len(codes) != 3 || codes[0] != 0 || codes[1] != 0 || codes[9] != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("commit v%d: %v", v, codes)
		}
		want := kerr.UnknownTopicOrPartition.Code
		if v >= offsetCommitTopicIDs {
			want = kerr.UnknownTopicID.Code
		}
		if code := commitCode(s.do(commitRequest(v, "nope", [16]byte{1}, 0))); code != want {
			t.Errorf("commit v%d to an unknown topic: error %d, want %d", v, code, want)
		}
	}
	fetchEveryVersion(t, s, id)
	groupEveryVersion(t, s)

	del := &kmsg.OffsetDeleteRequest{Group: "g", Topics: []kmsg.OffsetDeleteRequestTopic{{
		Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}, {Partition: 9}},
	}}}
	if r := s.do(del).(*kmsg.OffsetDeleteResponse); r.ErrorCode != 0 || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 2 {
		t.Errorf("offset delete: %+v", r)
	}

	// Everything comes back from the log.
	s.stop()
	s = newServed(t, dir)
	fetch := &kmsg.OffsetFetchRequest{Version: 7, Group: "g", RequireStable: true}
	r := s.retry(fetch, func(r kmsg.Response) int16 { return r.(*kmsg.OffsetFetchResponse).ErrorCode }).(*kmsg.OffsetFetchResponse)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 || r.Topics[0].Partitions[0].Offset != 100 {
		t.Errorf("after a restart: %+v", r)
	}
	for v := int16(0); v <= 2; v++ {
		r := s.do(&kmsg.DeleteGroupsRequest{Version: v, Groups: []string{"g"}}).(*kmsg.DeleteGroupsResponse)
		if want := map[bool]int16{true: 0, false: kerr.GroupIDNotFound.Code}[v == 0]; r.Groups[0].ErrorCode != want {
			t.Errorf("delete v%d: %+v", v, r)
		}
	}
}

func fetchEveryVersion(t *testing.T, s *served, id [16]byte) {
	t.Helper()
	for v := int16(1); v <= 10; v++ {
		req := &kmsg.OffsetFetchRequest{
			Version: v, Group: "g", Topics: []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 7}}},
			Groups: []kmsg.OffsetFetchRequestGroup{
				{Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{
					{Topic: "t", TopicID: id, Partitions: []int32{0, 7}}, {Topic: "u", TopicID: [16]byte{1}, Partitions: []int32{0}},
				}},
				{Group: "g", MemberEpoch: -1},
			},
		}
		r := s.do(req).(*kmsg.OffsetFetchResponse)
		if v < 8 {
			if r.ErrorCode != 0 || r.Topics[0].Partitions[0].Offset != 100 || r.Topics[0].Partitions[1].Offset != -1 {
				t.Errorf("fetch v%d: %+v", v, r)
			}
			continue
		}
		g, all := r.Groups[0], r.Groups[1]
		want := map[bool]int16{true: kerr.UnknownTopicID.Code}[v >= offsetFetchTopicIDs]
		if g.ErrorCode != 0 || len(g.Topics) != 2 || g.Topics[0].Partitions[0].Offset != 100 || g.Topics[1].Partitions[0].ErrorCode != want {
			t.Errorf("fetch v%d: %+v", v, g)
		}
		if len(all.Topics) != 1 || len(all.Topics[0].Partitions) != 2 || v >= offsetFetchTopicIDs && all.Topics[0].TopicID != id {
			t.Errorf("fetch all v%d: %+v", v, all)
		}
	}
}

func groupEveryVersion(t *testing.T, s *served) {
	t.Helper()
	for v := int16(0); v <= 9; v++ {
		join := kmsg.NewPtrJoinGroupRequest()
		join.Version, join.Group, join.ProtocolType = v, fmt.Sprintf("join-%d", v), "consumer"
		join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 10000, 10000
		join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0}}}
		joined := s.retry(join, func(r kmsg.Response) int16 { return r.(*kmsg.JoinGroupResponse).ErrorCode }).(*kmsg.JoinGroupResponse)
		if v >= 4 {
			if joined.ErrorCode != kerr.MemberIDRequired.Code {
				t.Errorf("join v%d: %+v", v, joined)
			}
			join.MemberID = joined.MemberID
			joined = s.do(join).(*kmsg.JoinGroupResponse)
		}
		if joined.ErrorCode != 0 || joined.Generation != 1 || joined.LeaderID != joined.MemberID || len(joined.Members) != 1 {
			t.Fatalf("join v%d: %+v", v, joined)
		}
		sync := kmsg.NewPtrSyncGroupRequest()
		sync.Version, sync.Group, sync.MemberID, sync.Generation = min(v, 5), join.Group, joined.MemberID, 1
		sync.ProtocolType, sync.Protocol = &join.ProtocolType, &join.Protocols[0].Name
		sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: joined.MemberID, MemberAssignment: []byte("mine")}}
		if r := s.do(sync).(*kmsg.SyncGroupResponse); r.ErrorCode != 0 || string(r.MemberAssignment) != "mine" {
			t.Errorf("sync v%d: %+v", sync.Version, r)
		}
		beat := kmsg.NewPtrHeartbeatRequest()
		beat.Version, beat.Group, beat.MemberID, beat.Generation = min(v, 4), join.Group, joined.MemberID, 1
		if r := s.do(beat).(*kmsg.HeartbeatResponse); r.ErrorCode != 0 {
			t.Errorf("heartbeat v%d: %+v", beat.Version, r)
		}
		describe := &kmsg.DescribeGroupsRequest{Version: min(v, 6), Groups: []string{join.Group}, IncludeAuthorizedOperations: v >= 3}
		d := s.do(describe).(*kmsg.DescribeGroupsResponse).Groups[0]
		if d.State != "Stable" || len(d.Members) != 1 || d.Members[0].ClientID != "test" || d.Members[0].ClientHost != "/127.0.0.1" ||
			v >= 3 && d.AuthorizedOperations != groupOperations {
			t.Errorf("describe v%d: %+v", describe.Version, d)
		}
		list := s.do(&kmsg.ListGroupsRequest{Version: min(v, 5), StatesFilter: []string{"stable"}, TypesFilter: []string{"classic"}}).(*kmsg.ListGroupsResponse)
		if list.ErrorCode != 0 || len(list.Groups) == 0 {
			t.Errorf("list v%d: %+v", min(v, 5), list)
		}
		leave := &kmsg.LeaveGroupRequest{
			Version: min(v, 5), Group: join.Group, MemberID: joined.MemberID, Members: []kmsg.LeaveGroupRequestMember{{MemberID: joined.MemberID}},
		}
		if r := s.do(leave).(*kmsg.LeaveGroupResponse); r.ErrorCode != 0 || v >= 3 && (len(r.Members) != 1 || r.Members[0].ErrorCode != 0) {
			t.Errorf("leave v%d: %+v", leave.Version, r)
		}
	}
}
