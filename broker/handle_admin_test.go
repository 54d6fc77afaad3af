package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"freshet/metadata"
	"freshet/record"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminKeys are the APIs of this file's tests.
var adminKeys = []int16{2, 3, 19, 20, 21, 22, 23, 32, 33, 35, 37, 44, 60, 61, 71, 72, 74, 75}

func ptr[T any](v T) *T { return &v }

// TestAdminAPIsAnswerEveryVersion sends an empty and a filled request of each
// version and reads the answers whole.
func TestAdminAPIsAnswerEveryVersion(t *testing.T) {
	s := newServed(t, t.TempDir())
	id := s.topic("t", 2)
	for _, key := range adminKeys {
		for version := apis[key].Min; version <= apis[key].Max; version++ {
			for _, req := range []kmsg.Request{kmsg.RequestForKey(key), filledRequest(key, id)} {
				if req == nil {
					continue
				}
				req.SetVersion(version)
				s.do(req)
			}
		}
	}
}

// filledRequest asks about topic "t" and about one that does not exist.
func filledRequest(key int16, id [16]byte) kmsg.Request {
	switch key {
	case 2:
		return &kmsg.ListOffsetsRequest{ReplicaID: -1, Topics: []kmsg.ListOffsetsRequestTopic{
			{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 0, CurrentLeaderEpoch: -1, Timestamp: -1}}},
			{Topic: "no", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 0, Timestamp: -1}}}}}
	case 3:
		return &kmsg.MetadataRequest{Topics: []kmsg.MetadataRequestTopic{{Topic: ptr("t")}, {Topic: ptr("bad name")}}, IncludeTopicAuthorizedOperations: true}
	case 32:
		return &kmsg.DescribeConfigsRequest{IncludeSynonyms: true, IncludeDocumentation: true, Resources: []kmsg.DescribeConfigsRequestResource{
			{ResourceType: 2, ResourceName: "t"}, {ResourceType: 4, ResourceName: "1"}, {ResourceType: 4, ResourceName: ""}, {ResourceType: 99, ResourceName: "x"}}}
	case 75:
		return &kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 1, Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}, {Topic: "no"}}}
	}
	return nil
}

func TestMetadataAPI(t *testing.T) {
	s := newServed(t, t.TempDir(), "num.partitions", "3", "broker.rack", "r1")
	id := s.topic("t", 2)
	ask := func(version int16, create bool, topics ...kmsg.MetadataRequestTopic) *kmsg.MetadataResponse {
		t.Helper()
		return s.do(&kmsg.MetadataRequest{Version: version, AllowAutoTopicCreation: create, Topics: topics}).(*kmsg.MetadataResponse)
	}
	code := func(want int16, resp *kmsg.MetadataResponse) *kmsg.MetadataResponseTopic {
		t.Helper()
		if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != want {
			t.Fatalf("topics %+v, want one with error %d", resp.Topics, want)
		}
		return &resp.Topics[0]
	}
	resp := ask(12, false, []kmsg.MetadataRequestTopic{}...)
	if len(resp.Topics) != 0 || *resp.ClusterID != s.broker.meta.Image().ClusterID || resp.ControllerID != 1 {
		t.Errorf("no topics asked for: %+v", resp)
	}
	if n := resp.Brokers; len(n) != 1 || n[0].Host != "127.0.0.1" || int(n[0].Port) != s.broker.Port("PLAINTEXT") || *n[0].Rack != "r1" {
		t.Errorf("brokers %+v", n)
	}
	code(kerr.UnknownTopicOrPartition.Code, ask(12, false, kmsg.MetadataRequestTopic{Topic: ptr("new")}))
	if topic := code(0, ask(12, true, kmsg.MetadataRequestTopic{Topic: ptr("new")})); len(topic.Partitions) != 3 || topic.Partitions[2].Leader != 1 {
		t.Errorf("created topic %+v", topic)
	}
	code(kerr.InvalidTopicException.Code, ask(12, true, kmsg.MetadataRequestTopic{Topic: ptr("a b")}))
	code(0, ask(12, true, kmsg.MetadataRequestTopic{Topic: ptr("x.y")}))
	code(kerr.InvalidTopicException.Code, ask(12, true, kmsg.MetadataRequestTopic{Topic: ptr("x_y")}))
	if topic := code(0, ask(12, false, kmsg.MetadataRequestTopic{TopicID: id})); *topic.Topic != "t" {
		t.Errorf("topic by id: %+v", topic)
	}
	code(kerr.UnknownTopicID.Code, ask(12, true, kmsg.MetadataRequestTopic{TopicID: [16]byte{9}}))
	code(kerr.InvalidRequest.Code, ask(11, true, kmsg.MetadataRequestTopic{TopicID: id}))
	if topic := code(0, ask(4, true, kmsg.MetadataRequestTopic{Topic: ptr("__consumer_offsets")})); !topic.IsInternal || len(topic.Partitions) != 3 {
		t.Errorf("offsets topic: %+v", topic)
	}
	if n := len(ask(0, true).Topics); n != 4 {
		t.Errorf("version 0 with no topics names %d of 4", n)
	}
	whole := s.do(&kmsg.MetadataRequest{Version: 9, IncludeTopicAuthorizedOperations: true}).(*kmsg.MetadataResponse)
	if len(whole.Topics) != 4 || whole.Topics[0].AuthorizedOperations != topicOperations {
		t.Errorf("null topics: %+v", whole.Topics)
	}
}

func TestAutoCreateOff(t *testing.T) {
	s := newServed(t, t.TempDir(), "auto.create.topics.enable", "false", "delete.topic.enable", "false")
	resp := s.do(&kmsg.MetadataRequest{Version: 9, AllowAutoTopicCreation: true, Topics: []kmsg.MetadataRequestTopic{{Topic: ptr("new")}}}).(*kmsg.MetadataResponse)
	if resp.Topics[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("topic %+v", resp.Topics[0])
	}
	for version, want := range map[int16]int16{1: kerr.InvalidRequest.Code, 3: kerr.TopicDeletionDisabled.Code} {
		resp := s.do(&kmsg.DeleteTopicsRequest{Version: version, TopicNames: []string{"a"}}).(*kmsg.DeleteTopicsResponse)
		if resp.Topics[0].ErrorCode != want {
			t.Errorf("version %d: %+v", version, resp.Topics[0])
		}
	}
}

func TestTopicAPIs(t *testing.T) {
	s := newServed(t, t.TempDir())
	create := func(version int16, validateOnly bool, topics ...kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsResponseTopic {
		t.Helper()
		return s.do(&kmsg.CreateTopicsRequest{Version: version, ValidateOnly: validateOnly, Topics: topics}).(*kmsg.CreateTopicsResponse).Topics
	}
	a := kmsg.CreateTopicsRequestTopic{Topic: "a", NumPartitions: 2, ReplicationFactor: 1,
		Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: ptr("1000")}}}
	if got := create(7, true, a)[0]; got.ErrorCode != 0 || s.broker.meta.Image().Topic("a") != nil {
		t.Errorf("validate only: %+v", got)
	}
	made := create(7, false, a)[0]
	if made.ErrorCode != 0 || made.NumPartitions != 2 || made.ReplicationFactor != 1 || made.TopicID != s.broker.meta.Image().Topic("a").ID {
		t.Errorf("created %+v", made)
	}
	i := slices.IndexFunc(made.Configs, func(c kmsg.CreateTopicsResponseTopicConfig) bool { return c.Name == "retention.ms" })
	if i < 0 || *made.Configs[i].Value != "1000" || made.Configs[i].Source != 1 {
		t.Errorf("configs %+v", made.Configs)
	}
	if got := create(2, false, a)[0]; got.ErrorCode != kerr.TopicAlreadyExists.Code || *got.ErrorMessage != "Topic 'a' already exists." {
		t.Errorf("again: %+v", got)
	}
	b := kmsg.CreateTopicsRequestTopic{Topic: "b", NumPartitions: 1, ReplicationFactor: 3}
	if got := create(5, false, b)[0]; got.ErrorCode != kerr.InvalidReplicationFactor.Code {
		t.Errorf("three replicas: %+v", got)
	}
	if got := create(5, false, b, b); len(got) != 1 || got[0].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("duplicates: %+v", got)
	}
	grow := s.do(&kmsg.CreatePartitionsRequest{Version: 3, Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: "a", Count: 4}, {Topic: "zz", Count: 4}}}).(*kmsg.CreatePartitionsResponse)
	if grow.Topics[0].ErrorCode != 0 || grow.Topics[1].ErrorCode != kerr.UnknownTopicOrPartition.Code || len(s.broker.meta.Image().Topic("a").Partitions) != 4 {
		t.Errorf("partitions %+v", grow.Topics)
	}
	if p, err := s.broker.hostedPartition("a", 3); err != nil || p.index != 3 {
		t.Errorf("the new partition is not served: %v", err)
	}
	gone := s.do(&kmsg.DeleteTopicsRequest{Version: 6, Topics: []kmsg.DeleteTopicsRequestTopic{{TopicID: made.TopicID}, {Topic: ptr("zz")}}}).(*kmsg.DeleteTopicsResponse)
	if gone.Topics[0].ErrorCode != 0 || *gone.Topics[0].Topic != "a" || gone.Topics[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("deletions %+v", gone.Topics)
	}
	if _, err := s.broker.hostedPartition("a", 0); err != kerr.UnknownTopicOrPartition {
		t.Errorf("a deleted topic's partition: %v", err)
	}
}

func TestConfigAPIs(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 1)
	describe := func(kind kmsg.ConfigResourceType, name, key string) string {
		t.Helper()
		r := s.do(&kmsg.DescribeConfigsRequest{Version: 4, IncludeSynonyms: true, IncludeDocumentation: true, Resources: []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kind, ResourceName: name, ConfigNames: []string{key}}}}).(*kmsg.DescribeConfigsResponse).Resources[0]
		if r.ErrorCode != 0 {
			return fmt.Sprint(r.ErrorCode, " ", *r.ErrorMessage)
		}
		var lines []string
		for _, c := range r.Configs {
			line := fmt.Sprintf("%s=%s source %d type %d", c.Name, *c.Value, c.Source, c.ConfigType)
			for _, synonym := range c.ConfigSynonyms {
				line += fmt.Sprintf(" %d:%s=%s", synonym.Source, synonym.Name, *synonym.Value)
			}
			lines = append(lines, line)
		}
		return strings.Join(lines, "\n")
	}
	alter := func(kind kmsg.ConfigResourceType, name, key string, op kmsg.IncrementalAlterConfigOp, value *string) string {
		t.Helper()
		r := s.do(&kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Op: op, Value: value}}}}}).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]
		if r.ErrorCode != 0 {
			return fmt.Sprint(r.ErrorCode, " ", *r.ErrorMessage)
		}
		return "ok"
	}
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	is(describe(2, "t", "max.message.bytes"), "max.message.bytes=1048588 source 5 type 3 5:message.max.bytes=1048588")
	is(alter(4, "1", "message.max.bytes", 0, ptr("2000")), "ok")
	is(alter(4, "", "message.max.bytes", 0, ptr("3000")), "ok")
	is(describe(2, "t", "max.message.bytes"), "max.message.bytes=2000 source 2 type 3 2:message.max.bytes=2000 3:message.max.bytes=3000 5:message.max.bytes=1048588")
	is(describe(4, "", "message.max.bytes"), "message.max.bytes=3000 source 3 type 3 3:message.max.bytes=3000")
	if p, _ := s.broker.hostedPartition("t", 0); p.log.Config().MaxMessageBytes != 2000 {
		t.Errorf("the log still takes %d bytes", p.log.Config().MaxMessageBytes)
	}
	is(alter(2, "t", "max.message.bytes", 0, ptr("4000")), "ok")
	if p, _ := s.broker.hostedPartition("t", 0); p.log.Config().MaxMessageBytes != 4000 || p.topic.settings.Load().maxMessageBytes != 4000 {
		t.Errorf("the topic's own value is not in force")
	}
	is(alter(2, "t", "max.message.bytes", 1, nil), "ok")
	is(alter(2, "t", "cleanup.policy", 2, ptr("compact")), "ok")
	is(describe(2, "t", "cleanup.policy"), "cleanup.policy=delete,compact source 1 type 7 1:cleanup.policy=delete,compact 5:log.cleanup.policy=delete")
	is(alter(2, "t", "nope", 0, ptr("1")), "40 Unknown topic config name: nope")
	is(alter(2, "zz", "retention.ms", 0, ptr("1")), "3 The topic 'zz' does not exist.")
	is(alter(4, "7", "log.retention.ms", 0, ptr("1")), "42 Unexpected broker id, expected 1, but received 7")
	is(alter(4, "1", "num.partitions", 0, ptr("1")), "42 Cannot update these configs dynamically: Set(num.partitions)")
	is(describe(4, "7", ""), "42 Unexpected broker id, expected 1 or empty string, but received 7")
	is(describe(2, "zz", ""), "3 This server does not host this topic-partition.")
	is(describe(8, "1", ""), "")
	is(describe(16, "", ""), "42 Client metrics subscription name must not be empty")

	r := s.do(&kmsg.AlterConfigsRequest{Version: 2, Resources: []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: "t",
		Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("5")}}}}}).(*kmsg.AlterConfigsResponse)
	if r.Resources[0].ErrorCode != 0 {
		t.Fatalf("AlterConfigs: %+v", r.Resources[0])
	}
	is(describe(2, "t", "cleanup.policy"), "cleanup.policy=delete source 5 type 7 5:log.cleanup.policy=delete")
	is(describe(2, "t", "retention.ms"), "retention.ms=5 source 1 type 5 1:retention.ms=5")
}

// produceAt appends a batch of one record with a timestamp.
func (s *served) produceAt(topic string, timestampMs int64) {
	s.t.Helper()
	b := record.Batch(batchOf(s.t, 1, 20))
	binary.BigEndian.PutUint64(b[record.BaseTimestampAt:], uint64(timestampMs))
	binary.BigEndian.PutUint64(b[record.MaxTimestampAt:], uint64(timestampMs))
	binary.BigEndian.PutUint32(b[record.CRCAt:], b.ComputeCRC())
	req := &kmsg.ProduceRequest{Version: 9, Acks: -1, TimeoutMillis: 1000, Topics: []kmsg.ProduceRequestTopic{
		{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: b}}}}}
	if p := s.do(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		s.t.Fatalf("produce: %+v", p)
	}
}

func TestOffsetAPIs(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 1)
	for _, timestamp := range []int64{1000, 3000, 2000} {
		s.produceAt("t", timestamp)
	}
	list := func(version int16, timestamp int64, epoch int32) string {
		t.Helper()
		p := s.do(&kmsg.ListOffsetsRequest{Version: version, ReplicaID: -1, Topics: []kmsg.ListOffsetsRequestTopic{
			{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{{CurrentLeaderEpoch: epoch, Timestamp: timestamp}}}}}).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return kerr.ErrorForCode(p.ErrorCode).(*kerr.Error).Message
		}
		return fmt.Sprintf("offset %d at %d epoch %d", p.Offset, p.Timestamp, p.LeaderEpoch)
	}
	is := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	is(list(11, -1, -1), "offset 3 at -1 epoch 0")
	is(list(11, -2, -1), "offset 0 at -1 epoch 0")
	is(list(11, -3, -1), "offset 1 at 3000 epoch 0")
	is(list(11, -4, 0), "offset 0 at -1 epoch 0")
	is(list(11, -5, -1), "offset -1 at -1 epoch -1")
	is(list(11, -6, -1), "offset -1 at -1 epoch -1")
	is(list(11, 0, -1), "offset 0 at 1000 epoch 0")
	is(list(11, 1001, -1), "offset 1 at 3000 epoch 0")
	is(list(1, 1001, -1), "offset 1 at 3000 epoch -1")
	is(list(11, 3001, -1), "offset -1 at -1 epoch -1")
	is(list(6, -3, -1), "UNSUPPORTED_VERSION")
	is(list(10, -6, -1), "UNSUPPORTED_VERSION")
	is(list(11, -9, -1), "UNSUPPORTED_VERSION")
	is(list(11, -1, 5), "UNKNOWN_LEADER_EPOCH")

	epoch := func(current, asked int32) string {
		t.Helper()
		p := s.do(&kmsg.OffsetForLeaderEpochRequest{Version: 4, ReplicaID: -1, Topics: []kmsg.OffsetForLeaderEpochRequestTopic{
			{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{CurrentLeaderEpoch: current, LeaderEpoch: asked}}}}}).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
		return fmt.Sprintf("%d: epoch %d ends at %d", p.ErrorCode, p.LeaderEpoch, p.EndOffset)
	}
	is(epoch(0, 0), "0: epoch 0 ends at 3")
	is(epoch(-1, 4), "0: epoch -1 ends at -1")
	is(epoch(4, 0), "75: epoch -1 ends at -1")

	drop := func(topic string, offset int64) string {
		t.Helper()
		p := s.do(&kmsg.DeleteRecordsRequest{Version: 2, Topics: []kmsg.DeleteRecordsRequestTopic{
			{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}}).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0]
		return fmt.Sprintf("%d: low %d", p.ErrorCode, p.LowWatermark)
	}
	is(drop("t", 1), "0: low 1")
	is(drop("t", 9), "1: low -1")
	is(drop("zz", 1), "3: low -1")
	is(list(11, -2, -1), "offset 1 at -1 epoch 0")
	is(drop("t", -1), "0: low 3")
	s.do(&kmsg.MetadataRequest{Version: 4, AllowAutoTopicCreation: true, Topics: []kmsg.MetadataRequestTopic{{Topic: ptr("__consumer_offsets")}}})
	is(drop("__consumer_offsets", 0), "17: low -1")
	s.do(&kmsg.CreateTopicsRequest{Version: 5, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "compacted", NumPartitions: 1, ReplicationFactor: 1,
		Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: "cleanup.policy", Value: ptr("compact")}}}}})
	is(drop("compacted", 0), "44: low -1")
}

func TestInitProducerID(t *testing.T) {
	dir := t.TempDir()
	s := newServed(t, dir)
	ask := func(transactionalID *string, id int64, epoch int16) (int16, int64) {
		t.Helper()
		r := s.do(&kmsg.InitProducerIDRequest{Version: 5, TransactionalID: transactionalID, ProducerID: id, ProducerEpoch: epoch}).(*kmsg.InitProducerIDResponse)
		return r.ErrorCode, r.ProducerID
	}
	_, first := ask(nil, -1, -1)
	_, second := ask(nil, first, 0)
	if first < 0 || second != first+1 {
		t.Errorf("ids %d and %d", first, second)
	}
	if code, id := ask(ptr("txn"), -1, -1); code != kerr.UnsupportedVersion.Code || id != -1 {
		t.Errorf("transactional id: %d, %d", code, id)
	}
	if code, _ := ask(ptr(""), -1, -1); code != kerr.InvalidRequest.Code {
		t.Errorf("empty transactional id: %d", code)
	}
	if code, _ := ask(nil, 5, -1); code != kerr.InvalidRequest.Code {
		t.Errorf("id without epoch: %d", code)
	}
	s.stop()
	s = newServed(t, dir)
	if _, id := ask(nil, -1, -1); id < 1000 {
		t.Errorf("id %d after a restart may have been given out before", id)
	}
}

func TestClusterAPIs(t *testing.T) {
	dir := t.TempDir()
	s := newServed(t, dir)
	s.topic("t", 2)
	s.produceAt("t", 1)
	c := s.do(&kmsg.DescribeClusterRequest{Version: 2, EndpointType: 1, IncludeClusterAuthorizedOperations: true}).(*kmsg.DescribeClusterResponse)
	if c.ErrorCode != 0 || c.ControllerID != 1 || len(c.Brokers) != 1 || c.ClusterAuthorizedOperations != clusterOperations {
		t.Errorf("cluster %+v", c)
	}
	for endpoint, want := range map[int8]int16{2: kerr.MismatchedEndpointType.Code, 7: kerr.UnsupportedEndpointType.Code} {
		if c := s.do(&kmsg.DescribeClusterRequest{Version: 1, EndpointType: endpoint}).(*kmsg.DescribeClusterResponse); c.ErrorCode != want {
			t.Errorf("endpoint type %d: error %d, want %d", endpoint, c.ErrorCode, want)
		}
	}
	dirs := s.do(&kmsg.DescribeLogDirsRequest{Version: 5}).(*kmsg.DescribeLogDirsResponse)
	if len(dirs.Dirs) != 1 || dirs.Dirs[0].Dir != dir || dirs.Dirs[0].TotalBytes <= 0 || len(dirs.Dirs[0].Topics) != 1 || len(dirs.Dirs[0].Topics[0].Partitions) != 2 {
		t.Fatalf("log dirs %+v", dirs.Dirs)
	}
	if p := dirs.Dirs[0].Topics[0].Partitions[0]; p.Size == 0 || p.OffsetLag != 0 {
		t.Errorf("partition %+v", p)
	}
	some := s.do(&kmsg.DescribeLogDirsRequest{Version: 2, Topics: []kmsg.DescribeLogDirsRequestTopic{{Topic: "t", Partitions: []int32{1, 9}}}}).(*kmsg.DescribeLogDirsResponse)
	if len(some.Dirs[0].Topics[0].Partitions) != 1 {
		t.Errorf("asked for one partition: %+v", some.Dirs[0].Topics)
	}
	producers := s.do(&kmsg.DescribeProducersRequest{Topics: []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0, 5}}, {Topic: "a b", Partitions: []int32{0}}}}).(*kmsg.DescribeProducersResponse)
	codes := fmt.Sprint(producers.Topics[0].Partitions[0].ErrorCode, producers.Topics[0].Partitions[1].ErrorCode, producers.Topics[1].Partitions[0].ErrorCode)
	if codes != "0 3 17" {
		t.Errorf("DescribeProducers errors %s", codes)
	}
}

func TestDescribeTopicPartitionsPages(t *testing.T) {
	s := newServed(t, t.TempDir(), "max.request.partition.size.limit", "3")
	for _, name := range []string{"b", "a", "c"} {
		s.topic(name, 2)
	}
	var got []string
	req := &kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 100}
	for range 10 {
		resp := s.do(req).(*kmsg.DescribeTopicPartitionsResponse)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if p.EligibleLeaderReplicas == nil || p.LastKnownELR == nil {
					t.Fatal("null where Java's admin client expects a list")
				}
				got = append(got, fmt.Sprintf("%s-%d", *topic.Topic, p.Partition))
			}
		}
		got = append(got, "|")
		if resp.NextCursor == nil {
			break
		}
		req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
	}
	if pages := strings.Join(got, " "); pages != "a-0 a-1 b-0 | b-1 c-0 c-1 |" {
		t.Errorf("pages %s", pages)
	}
	bad := s.do(&kmsg.DescribeTopicPartitionsRequest{ResponsePartitionLimit: 9, Topics: []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "a"}},
		Cursor: &kmsg.DescribeTopicPartitionsRequestCursor{Topic: "q"}}).(*kmsg.DescribeTopicPartitionsResponse)
	if bad.Topics[0].ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("cursor outside the list: %+v", bad.Topics)
	}
}

func TestTelemetryHandshake(t *testing.T) {
	s := newServed(t, t.TempDir(), "telemetry.max.bytes", "10")
	sub := s.do(&kmsg.GetTelemetrySubscriptionsRequest{}).(*kmsg.GetTelemetrySubscriptionsResponse)
	if sub.ErrorCode != 0 || sub.ClientInstanceID == metadata.ZeroUUID || len(sub.RequestedMetrics) != 0 || sub.PushIntervalMillis != 300_000 || sub.TelemetryMaxBytes != 10 {
		t.Errorf("subscription %+v", sub)
	}
	push := func(want int16, change func(*kmsg.PushTelemetryRequest)) {
		t.Helper()
		req := &kmsg.PushTelemetryRequest{ClientInstanceID: sub.ClientInstanceID, SubscriptionID: sub.SubscriptionID, Terminating: true}
		change(req)
		if resp := s.do(req).(*kmsg.PushTelemetryResponse); resp.ErrorCode != want {
			t.Errorf("push %+v: error %d, want %d", req, resp.ErrorCode, want)
		}
	}
	push(0, func(*kmsg.PushTelemetryRequest) {})
	push(kerr.InvalidRequest.Code, func(r *kmsg.PushTelemetryRequest) { r.ClientInstanceID = [16]byte{15: 1} })
	push(kerr.UnknownSubscriptionID.Code, func(r *kmsg.PushTelemetryRequest) { r.SubscriptionID++ })
	push(kerr.UnsupportedCompressionType.Code, func(r *kmsg.PushTelemetryRequest) { r.CompressionType = 9 })
	push(kerr.TelemetryTooLarge.Code, func(r *kmsg.PushTelemetryRequest) { r.Metrics = make([]byte, 11) })
}

// apiVersions sends an ApiVersions request, whose answer has the header of
// version 0, and reads the answer as the given version.
func (s *served) apiVersions(version, answerVersion int16, name string) *kmsg.ApiVersionsResponse {
	s.t.Helper()
	s.corr++
	req := &kmsg.ApiVersionsRequest{Version: version, ClientSoftwareName: name, ClientSoftwareVersion: "1.0"}
	if _, err := s.conn.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, s.corr)); err != nil {
		s.t.Fatal(err)
	}
	body := readAnswer(s.t, s.conn)
	resp := &kmsg.ApiVersionsResponse{Version: answerVersion}
	if err := resp.ReadFrom(body[4:]); err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func readAnswer(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(conn, body); err != nil {
		t.Fatal(err)
	}
	return body
}

func TestAPIVersions(t *testing.T) {
	s := newServed(t, t.TempDir())
	for version := int16(0); version <= 4; version++ {
		resp := s.apiVersions(version, version, "test")
		if resp.ErrorCode != 0 || len(resp.ApiKeys) != len(APIs()) {
			t.Errorf("version %d: error %d, %d keys", version, resp.ErrorCode, len(resp.ApiKeys))
		}
		features := metadata.SupportedFeatures()
		if version < 4 {
			features = slices.DeleteFunc(features, func(f metadata.Feature) bool { return f.Min == 0 })
		}
		if version >= 3 && len(resp.SupportedFeatures) != len(features) {
			t.Errorf("version %d: features %+v", version, resp.SupportedFeatures)
		}
	}
	if resp := s.apiVersions(99, 0, "test"); resp.ErrorCode != kerr.UnsupportedVersion.Code || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 4 {
		t.Errorf("unknown version: %+v", resp)
	}
	if resp := s.apiVersions(3, 3, "bad name"); resp.ErrorCode != kerr.InvalidRequest.Code || len(resp.ApiKeys) != 0 {
		t.Errorf("bad client name: %+v", resp)
	}
}

// TestMalformedBodyClosesTheConnection: a count that the request cannot hold
// costs the client its connection and the broker no memory.
func TestMalformedBodyClosesTheConnection(t *testing.T) {
	s := newServed(t, t.TempDir())
	frame := []byte{0, 0, 0, 15, 0, 3, 0, 1, 0, 0, 0, 1, 0, 1, 'c', 0x7f, 0xff, 0xff, 0xff}
	if _, err := s.conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	if n, err := s.conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, error %v; want a closed connection", n, err)
	}
}

func TestListConfigResources(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 1)
	ask := func(version int16, kinds ...int8) string {
		t.Helper()
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.Version, req.ResourceTypes = version, kinds
		resp := s.do(req).(*kmsg.ListConfigResourcesResponse)
		out := fmt.Sprint(resp.ErrorCode)
		for _, r := range resp.ConfigResources {
			out += fmt.Sprintf(" %d:%s", r.Type, r.Name)
		}
		return out
	}
	for got, want := range map[string]string{ask(0): "0", ask(1): "0 2:t 4:1 8:1", ask(1, 2): "0 2:t", ask(1, 77): "35"} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
