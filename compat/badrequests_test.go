//go:build compat

package compat

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// named is a request of a golden set.
type named struct {
	name string
	req  kmsg.Request
}

// badRequests are well-formed requests that ask for what is not there or not allowed.
func badRequests(t *testing.T, b *broker) {
	g := openGolden(t, "requests")
	rawExchange(t, b, findCoordinator(0, "golden-warm-up")) // the coordinator exists from here on
	eventually(t, rawTimeout, "the group coordinator is there", func() bool {
		return rawExchange(t, b, heartbeat("golden-warm-up", "", -1)) == "error=25"
	})
	for _, set := range [][]named{badFetches(), badListOffsets(), badGroups(), badTopics(), badConfigs(), badOthers()} {
		for _, n := range set {
			g.compare(t, n.name, rawExchange(t, b, n.req))
		}
	}
}

// at sets the version of a request.
func at[R kmsg.Request](version int16, req R) R {
	req.SetVersion(version)
	return req
}

func fetch(version int16, topic string, id [16]byte, change func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)) kmsg.Request {
	req := at(version, kmsg.NewPtrFetchRequest())
	req.MaxBytes, req.SessionEpoch, req.ReplicaID, req.MaxWaitMillis = 1<<20, -1, -1, 100
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStartOffset = 1<<20, -1, -1, -1
	change(req, &p)
	req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: topic, TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}})
	return req
}

func badFetches() []named {
	type part = kmsg.FetchRequestTopicPartition
	with := func(change func(*kmsg.FetchRequest, *part)) kmsg.Request {
		return fetch(12, "golden", [16]byte{}, change)
	}
	return []named{
		{"Fetch valid", with(func(*kmsg.FetchRequest, *part) {})},
		{"Fetch offset 11 of 10", with(func(_ *kmsg.FetchRequest, p *part) { p.FetchOffset = 11 })},
		{"Fetch offset -1", with(func(_ *kmsg.FetchRequest, p *part) { p.FetchOffset = -1 })},
		{"Fetch offset 9223372036854775807", with(func(_ *kmsg.FetchRequest, p *part) { p.FetchOffset = 1<<63 - 1 })},
		{"Fetch partition 9", with(func(_ *kmsg.FetchRequest, p *part) { p.Partition = 9 })},
		{"Fetch partition -1", with(func(_ *kmsg.FetchRequest, p *part) { p.Partition = -1 })},
		{"Fetch a newer leader epoch", with(func(_ *kmsg.FetchRequest, p *part) { p.CurrentLeaderEpoch = 7 })},
		{"Fetch max bytes 0", with(func(r *kmsg.FetchRequest, p *part) { r.MaxBytes, p.PartitionMaxBytes = 0, 0 })},
		{"Fetch max bytes -1", with(func(r *kmsg.FetchRequest, p *part) { r.MaxBytes, p.PartitionMaxBytes = -1, -1 })},
		{"Fetch max wait -1", with(func(r *kmsg.FetchRequest, p *part) { r.MaxWaitMillis, r.MinBytes, p.FetchOffset = -1, 1, 10 })},
		{"Fetch min bytes -1", with(func(r *kmsg.FetchRequest, p *part) { r.MinBytes, p.FetchOffset = -1, 10 })},
		{"Fetch isolation level 9", with(func(r *kmsg.FetchRequest, _ *part) { r.IsolationLevel = 9 })},
		{"Fetch session 123456", with(func(r *kmsg.FetchRequest, _ *part) { r.SessionID, r.SessionEpoch = 123456, 1 })},
		{"Fetch session 123456 epoch 0", with(func(r *kmsg.FetchRequest, _ *part) { r.SessionID, r.SessionEpoch = 123456, 0 })},
		{"Fetch last fetched epoch 5", with(func(_ *kmsg.FetchRequest, p *part) { p.LastFetchedEpoch = 5 })},
		{"Fetch no such topic", fetch(12, "golden-none", [16]byte{}, func(*kmsg.FetchRequest, *part) {})},
		{"Fetch empty topic name", fetch(12, "", [16]byte{}, func(*kmsg.FetchRequest, *part) {})},
		{"Fetch version 4", fetch(4, "golden", [16]byte{}, func(*kmsg.FetchRequest, *part) {})},
		{"Fetch unknown topic id", fetch(13, "", [16]byte{1, 2, 3}, func(*kmsg.FetchRequest, *part) {})},
		{"Fetch zero topic id", fetch(13, "", [16]byte{}, func(*kmsg.FetchRequest, *part) {})},
		{"Fetch unknown topic id in version 17", fetch(17, "", [16]byte{9}, func(*kmsg.FetchRequest, *part) {})},
	}
}

func badListOffsets() []named {
	list := func(version int16, topic string, partition int32, time int64, epoch int32) kmsg.Request {
		req := at(version, kmsg.NewPtrListOffsetsRequest())
		req.ReplicaID = -1
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, time, epoch
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		return req
	}
	epoch := func(partition, current, wanted int32) kmsg.Request {
		req := at(4, kmsg.NewPtrOffsetForLeaderEpochRequest())
		req.ReplicaID = -1
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, wanted
		req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "golden", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
		return req
	}
	set := []named{
		{"ListOffsets no such topic", list(7, "golden-none", 0, -1, -1)},
		{"ListOffsets partition 9", list(7, "golden", 9, -1, -1)},
		{"ListOffsets newer leader epoch", list(7, "golden", 0, -1, 9)},
		{"OffsetForLeaderEpoch unknown epoch", epoch(0, -1, 55)},
		{"OffsetForLeaderEpoch epoch -1", epoch(0, -1, -1)},
		{"OffsetForLeaderEpoch newer current epoch", epoch(0, 9, 0)},
		{"OffsetForLeaderEpoch partition 9", epoch(9, -1, 0)},
	}
	for _, time := range []int64{-1, -2, -3, -4, -5, -6, -7, -99} {
		for _, version := range []int16{1, 7, 9, 10} {
			set = append(set, named{fmt.Sprintf("ListOffsets timestamp %d version %d", time, version), list(version, "golden", 0, time, -1)})
		}
	}
	return set
}

func findCoordinator(kind int8, key string) kmsg.Request {
	req := at(4, kmsg.NewPtrFindCoordinatorRequest())
	req.CoordinatorType, req.CoordinatorKeys = kind, []string{key}
	return req
}

func heartbeat(group, member string, generation int32) kmsg.Request {
	req := at(4, kmsg.NewPtrHeartbeatRequest())
	req.Group, req.MemberID, req.Generation = group, member, generation
	return req
}

func join(group, member string, change func(*kmsg.JoinGroupRequest)) kmsg.Request {
	req := at(7, kmsg.NewPtrJoinGroupRequest())
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10000, 10000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0}}}
	change(req)
	return req
}

func commit(group, member string, generation int32, topic string, partition int32, metadata string) kmsg.Request {
	req := at(8, kmsg.NewPtrOffsetCommitRequest())
	req.Group, req.MemberID, req.Generation = group, member, generation
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.Metadata = partition, 5, &metadata
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	return req
}

func badGroups() []named {
	none := func(*kmsg.JoinGroupRequest) {}
	sync := at(5, kmsg.NewPtrSyncGroupRequest())
	sync.Group, sync.MemberID, sync.Generation = "golden-group", "nobody", 1
	syncNone := at(5, kmsg.NewPtrSyncGroupRequest())
	leave := at(5, kmsg.NewPtrLeaveGroupRequest())
	leave.Group, leave.Members = "golden-group", []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}
	describe := at(5, kmsg.NewPtrDescribeGroupsRequest())
	describe.Groups = []string{"golden-nobody", ""}
	remove := at(2, kmsg.NewPtrDeleteGroupsRequest())
	remove.Groups = []string{"golden-nobody", ""}
	list := at(4, kmsg.NewPtrListGroupsRequest())
	list.StatesFilter = []string{"NoSuchState"}
	offsetDelete := kmsg.NewPtrOffsetDeleteRequest()
	offsetDelete.Group = "golden-nobody"
	offsetDelete.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "golden", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}}}
	offsets := at(8, kmsg.NewPtrOffsetFetchRequest())
	offsets.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "golden-nobody", Topics: []kmsg.OffsetFetchRequestGroupTopic{
		{Topic: "golden", Partitions: []int32{0}}, {Topic: "golden-none", Partitions: []int32{0}}}}}
	return []named{
		{"FindCoordinator group", findCoordinator(0, "golden-group")},
		{"FindCoordinator empty group", findCoordinator(0, "")},
		{"FindCoordinator type 7", findCoordinator(7, "x")},
		{"FindCoordinator type -1", findCoordinator(-1, "x")},
		{"Heartbeat of nobody", heartbeat("golden-group", "nobody", 1)},
		{"Heartbeat of the empty group", heartbeat("", "nobody", 1)},
		{"JoinGroup asks for a member id", join("golden-join", "", none)},
		{"JoinGroup of an unknown member", join("golden-join", "nobody", none)},
		{"JoinGroup empty group", join("", "", none)},
		{"JoinGroup session timeout 1", join("golden-join", "", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1 })},
		{"JoinGroup session timeout 99999999", join("golden-join", "", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 99999999 })},
		{"JoinGroup without protocols", join("golden-join", "", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })},
		{"JoinGroup empty protocol type", join("golden-join", "", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })},
		{"JoinGroup empty instance id", join("golden-join", "", func(r *kmsg.JoinGroupRequest) { r.InstanceID = kmsg.StringPtr("") })},
		{"SyncGroup of nobody", sync},
		{"SyncGroup of the empty group", syncNone},
		{"LeaveGroup of nobody", leave},
		{"OffsetCommit without a group", commit("golden-simple", "", -1, "golden", 0, "")},
		{"OffsetCommit of an unknown member", commit("golden-simple", "nobody", 3, "golden", 0, "")},
		{"OffsetCommit of the empty group", commit("", "", -1, "golden", 0, "")},
		{"OffsetCommit to no such topic", commit("golden-simple", "", -1, "golden-none", 0, "")},
		{"OffsetCommit to partition 9", commit("golden-simple", "", -1, "golden", 9, "")},
		{"OffsetCommit with large metadata", commit("golden-simple", "", -1, "golden", 0, strings.Repeat("m", 5000))},
		{"OffsetCommit with a generation and no member", commit("golden-simple", "", 5, "golden", 0, "")},
		{"OffsetFetch of nobody", offsets},
		{"OffsetDelete of nobody", offsetDelete},
		{"DescribeGroups of nobody", describe},
		{"DeleteGroups of nobody", remove},
		{"ListGroups in no such state", list},
	}
}

func create(change func(*kmsg.CreateTopicsRequestTopic), times int) kmsg.Request {
	req := at(7, kmsg.NewPtrCreateTopicsRequest())
	req.TimeoutMillis = 10000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "golden-created", 1, 1
	change(&topic)
	for range times {
		req.Topics = append(req.Topics, topic)
	}
	return req
}

func badTopics() []named {
	type topic = kmsg.CreateTopicsRequestTopic
	name := func(n string) kmsg.Request { return create(func(t *topic) { t.Topic = n }, 1) }
	config := func(k, v string) kmsg.Request {
		return create(func(t *topic) {
			t.Topic, t.Configs = "golden-config", []kmsg.CreateTopicsRequestTopicConfig{{Name: k, Value: &v}}
		}, 1)
	}
	remove := at(6, kmsg.NewPtrDeleteTopicsRequest())
	remove.TimeoutMillis = 5000
	remove.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("golden-none")}, {TopicID: [16]byte{1}}}
	both := at(6, kmsg.NewPtrDeleteTopicsRequest())
	both.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("golden"), TopicID: [16]byte{1}}}
	grow := func(topic string, count int32) kmsg.Request {
		req := at(3, kmsg.NewPtrCreatePartitionsRequest())
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: topic, Count: count}}
		return req
	}
	set := []named{
		{"CreateTopics twice in one request", create(func(t *topic) { t.Topic = "golden-twice" }, 2)},
		{"CreateTopics that exists", name("golden")},
		{"CreateTopics 0 partitions", create(func(t *topic) { t.NumPartitions = 0 }, 1)},
		{"CreateTopics -5 partitions", create(func(t *topic) { t.NumPartitions = -5 }, 1)},
		{"CreateTopics replication factor 0", create(func(t *topic) { t.ReplicationFactor = 0 }, 1)},
		{"CreateTopics replication factor 2", create(func(t *topic) { t.ReplicationFactor = 2 }, 1)},
		{"CreateTopics with an assignment and a count", create(func(t *topic) {
			t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1}}}
		}, 1)},
		{"CreateTopics assigned to broker 99", create(func(t *topic) {
			t.NumPartitions, t.ReplicationFactor = -1, -1
			t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{99}}}
		}, 1)},
		{"CreateTopics with a gap in the assignment", create(func(t *topic) {
			t.NumPartitions, t.ReplicationFactor = -1, -1
			t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1}}}
		}, 1)},
		{"DeleteTopics of none", remove},
		{"DeleteTopics by name and id", both},
		{"CreatePartitions to fewer", grow("golden", 0)},
		{"CreatePartitions to the same", grow("golden", 1)},
		{"CreatePartitions of none", grow("golden-none", 3)},
		{"CreatePartitions to 2147483647", grow("golden", 2147483647)},
	}
	for _, bad := range []string{"", ".", "..", "a b", "a/b", "ü", "a\x00b", strings.Repeat("x", 250), "__consumer_offsets"} {
		set = append(set, named{fmt.Sprintf("CreateTopics named %.20q", bad), name(bad)})
	}
	for _, kv := range []string{"no.such.key=1", "retention.ms=x", "retention.ms=-2", "segment.bytes=1", "cleanup.policy=shred", "min.insync.replicas=0",
		"compression.type=rar", "max.message.bytes=-1", "message.timestamp.type=Never", "flush.messages=0", "preallocate=maybe",
		"unclean.leader.election.enable=1", "message.format.version=0.10", "segment.bytes=9999999999"} {
		k, v, _ := strings.Cut(kv, "=")
		set = append(set, named{"CreateTopics with " + kv, config(k, v)})
	}
	return set
}

func badConfigs() []named {
	describe := func(kind kmsg.ConfigResourceType, name string) kmsg.Request {
		req := at(4, kmsg.NewPtrDescribeConfigsRequest())
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name}}
		return req
	}
	alter := func(kind kmsg.ConfigResourceType, name, key, value string, op kmsg.IncrementalAlterConfigOp, times int) kmsg.Request {
		req := at(1, kmsg.NewPtrIncrementalAlterConfigsRequest())
		r := kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
		for range times {
			r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Op: op, Value: &value})
		}
		req.Resources = append(req.Resources, r)
		return req
	}
	null := at(1, kmsg.NewPtrIncrementalAlterConfigsRequest())
	null.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: "golden",
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms"}}}}
	old := func(name, key, value string) kmsg.Request {
		req := at(2, kmsg.NewPtrAlterConfigsRequest())
		req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: 2, ResourceName: name, Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: key, Value: &value}}}}
		return req
	}
	return []named{
		{"DescribeConfigs of no topic", describe(2, "golden-none")},
		{"DescribeConfigs of an invalid topic", describe(2, "a/b")},
		{"DescribeConfigs of broker 99", describe(4, "99")},
		{"DescribeConfigs of broker x", describe(4, "x")},
		{"DescribeConfigs of all brokers", describe(4, "")},
		{"DescribeConfigs of type 77", describe(77, "x")},
		{"DescribeConfigs of type 0", describe(0, "x")},
		{"IncrementalAlterConfigs of no topic", alter(2, "golden-none", "retention.ms", "1", 0, 1)},
		{"IncrementalAlterConfigs unknown key", alter(2, "golden", "no.such.key", "1", 0, 1)},
		{"IncrementalAlterConfigs bad value", alter(2, "golden", "retention.ms", "x", 0, 1)},
		{"IncrementalAlterConfigs twice the same key", alter(2, "golden", "retention.ms", "1", 0, 2)},
		{"IncrementalAlterConfigs append to a number", alter(2, "golden", "retention.ms", "1", 2, 1)},
		{"IncrementalAlterConfigs operation 9", alter(2, "golden", "retention.ms", "1", 9, 1)},
		{"IncrementalAlterConfigs set to null", null},
		{"IncrementalAlterConfigs of type 77", alter(77, "golden", "retention.ms", "1", 0, 1)},
		{"IncrementalAlterConfigs of broker 99", alter(4, "99", "log.retention.ms", "1", 0, 1)},
		{"IncrementalAlterConfigs of a read-only broker key", alter(4, "1", "node.id", "5", 0, 1)},
		{"AlterConfigs of no topic", old("golden-none", "retention.ms", "1")},
		{"AlterConfigs bad value", old("golden", "retention.ms", "x")},
	}
}

func badOthers() []named {
	deleteRecords := func(topic string, partition int32, offset int64) kmsg.Request {
		req := at(2, kmsg.NewPtrDeleteRecordsRequest())
		req.TimeoutMillis = 5000
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
		return req
	}
	producers := kmsg.NewPtrDescribeProducersRequest()
	producers.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "golden-none", Partitions: []int32{0}}, {Topic: "golden", Partitions: []int32{0, 9}}}
	paged := kmsg.NewPtrDescribeTopicPartitionsRequest()
	paged.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "golden"}, {Topic: "golden-none"}, {Topic: "a/b"}}
	paged.ResponsePartitionLimit = 100
	zeroLimit := kmsg.NewPtrDescribeTopicPartitionsRequest()
	zeroLimit.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "golden"}}
	metadata := func(version int16, topics ...kmsg.MetadataRequestTopic) kmsg.Request {
		req := at(version, kmsg.NewPtrMetadataRequest())
		req.Topics = topics
		return req
	}
	named1 := func(n string) kmsg.MetadataRequestTopic { return kmsg.MetadataRequestTopic{Topic: &n} }
	id := kmsg.NewMetadataRequestTopic()
	id.TopicID = [16]byte{5}
	logDirs := at(4, kmsg.NewPtrDescribeLogDirsRequest())
	logDirs.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "golden-none", Partitions: []int32{0}}}
	telemetry := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
	telemetry.ClientInstanceID = [16]byte{1}
	pushed := kmsg.NewPtrPushTelemetryRequest()
	pushed.ClientInstanceID, pushed.SubscriptionID = [16]byte{7}, 12345
	return []named{
		{"DeleteRecords above the end", deleteRecords("golden", 0, 99)},
		{"DeleteRecords at -5", deleteRecords("golden", 0, -5)},
		{"DeleteRecords of partition 9", deleteRecords("golden", 9, 1)},
		{"DeleteRecords of no topic", deleteRecords("golden-none", 0, 1)},
		{"DescribeProducers of none", producers},
		{"DescribeTopicPartitions of three", paged},
		{"DescribeTopicPartitions limit 0", zeroLimit},
		{"Metadata of none", metadata(12, named1("golden-none"))},
		{"Metadata of an invalid name", metadata(12, named1("a/b"))},
		{"Metadata of the empty name", metadata(12, named1(""))},
		{"Metadata of an unknown topic id", metadata(12, id)},
		{"Metadata of a topic id in version 10", metadata(10, id)},
		{"DescribeLogDirs of none", logDirs},
		{"GetTelemetrySubscriptions", telemetry},
		{"PushTelemetry without a subscription", pushed},
	}
}

// notAskedEmpty are requests that an empty run of all versions leaves out: those between brokers and
// controllers, and those whose empty form changes the cluster or depends on its identity.
var notAskedEmpty = map[int16]string{
	4: "LeaderAndIsr", 5: "StopReplica", 6: "UpdateMetadata", 7: "ControlledShutdown", 52: "Vote", 53: "BeginQuorumEpoch",
	54: "EndQuorumEpoch", 55: "DescribeQuorum", 56: "AlterPartition", 58: "Envelope", 59: "FetchSnapshot", 62: "BrokerRegistration",
	63: "BrokerHeartbeat", 64: "UnregisterBroker", 67: "AllocateProducerIds", 70: "ControllerRegistration", 80: "AddRaftVoter",
	81: "RemoveRaftVoter", 82: "UpdateRaftVoter",
}

// emptyRequests sends the empty form of every version that the broker advertises.
func emptyRequests(t *testing.T, b *broker) {
	g := openGolden(t, "empty")
	versions := ask[*kmsg.ApiVersionsResponse](t, b, at(2, kmsg.NewPtrApiVersionsRequest()))
	for _, v := range versions.ApiKeys {
		if _, ok := notAskedEmpty[v.ApiKey]; ok || kmsg.RequestForKey(v.ApiKey) == nil {
			continue
		}
		for version := v.MinVersion; version <= v.MaxVersion; version++ {
			req := kmsg.RequestForKey(v.ApiKey)
			if version > req.MaxVersion() {
				continue // newer than this test can speak
			}
			req.SetVersion(version)
			if p, ok := req.(*kmsg.ProduceRequest); ok {
				p.Acks = 1 // an answer is wanted
			}
			g.compare(t, fmt.Sprintf("%s version %d", kmsg.NameForKey(v.ApiKey), version), rawExchange(t, b, req))
		}
	}
}
