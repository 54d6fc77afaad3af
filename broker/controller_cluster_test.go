package broker

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"freshet/metadata"
	"freshet/metadata/quorum"
	"freshet/storage"
	"freshet/vfs"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// group3 are nodes 1 to 3 in this process, each broker and controller.
type group3 struct {
	t         *testing.T
	clusterID string
	dirs      map[int32]string
	ports     map[int32]int // of the controller listeners
	roles     map[int32]string
	extra     []string      // properties of every node
	opened    func(*Broker) // called with each node before its start
	dynamic   bool          // the voters are those of the metadata, found through node 1

	nodes map[int32]*Broker
}

// freePorts are ports on loopback that nobody listens on at the moment.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		ports = append(ports, ln.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func newGroup3(t *testing.T, extra ...string) *group3 {
	t.Helper()
	g := &group3{t: t, clusterID: metadata.RandomUUID().String(), dirs: map[int32]string{}, ports: map[int32]int{},
		roles: map[int32]string{}, nodes: map[int32]*Broker{}, extra: extra}
	ports := freePorts(t, 3)
	for i := range int32(3) {
		id := i + 1
		g.dirs[id], g.ports[id], g.roles[id] = t.TempDir(), ports[i], "broker,controller"
		if _, err := storage.FormatLogDir(vfs.OS{}, g.dirs[id], g.clusterID, id); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(g.stopAll)
	return g
}

func (g *group3) voters() string {
	var voters []string
	for id := int32(1); id <= 3; id++ {
		if g.roles[id] == "broker" {
			continue
		}
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", id, g.ports[id]))
	}
	return strings.Join(voters, ",")
}

// properties are the settings of a node.
func (g *group3) properties(id int32) []string {
	p := []string{"node.id", fmt.Sprint(id), "process.roles", g.roles[id], "controller.listener.names", "CONTROLLER",
		"listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"controller.quorum.election.timeout.ms", "300", "controller.quorum.fetch.timeout.ms", "600",
		"controller.quorum.request.timeout.ms", "500", "broker.heartbeat.interval.ms", "100", "broker.session.timeout.ms", "3000",
		"freshet.auto.format", "false", "offsets.topic.replication.factor", "3"}
	if g.dynamic {
		p = append(p, "controller.quorum.bootstrap.servers", fmt.Sprintf("127.0.0.1:%d", g.ports[1]))
	} else {
		p = append(p, "controller.quorum.voters", g.voters())
	}
	switch g.roles[id] {
	case "broker,controller":
		p = append(p, "listeners", fmt.Sprintf("PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:%d", g.ports[id]))
	case "controller":
		p = append(p, "listeners", fmt.Sprintf("CONTROLLER://127.0.0.1:%d", g.ports[id]))
	default:
		p = append(p, "listeners", "PLAINTEXT://127.0.0.1:0")
	}
	return append(p, g.extra...)
}

// start opens nodes and starts them, all at once.
func (g *group3) start(ids ...int32) {
	g.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(ids))
	for i, id := range ids {
		b, err := Open(testConfig(g.t, g.dirs[id], g.properties(id)...))
		if err != nil {
			g.t.Fatal(err)
		}
		g.nodes[id] = b
		if g.opened != nil {
			g.opened(b)
		}
		wg.Go(func() { errs[i] = b.Start() })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			g.t.Fatalf("node %d: %v", ids[i], err)
		}
	}
}

func (g *group3) stopAll() {
	var wg sync.WaitGroup
	for id := range g.nodes {
		g.nodes[id].Hurry()
		wg.Go(g.nodes[id].Stop)
	}
	wg.Wait()
}

// kill ends a node as a crash does: nobody is told.
func (g *group3) kill(id int32) {
	b := g.nodes[id]
	delete(g.nodes, id)
	b.stopped.Store(true)
	b.endLife() // no heartbeats any more
	b.ctl.server.stop()
	_ = b.meta.Close()
	if b.net != nil {
		b.net.stop()
	}
	b.Hurry()
	b.closeData()
}

// client is a connection to a node as of a client.
func (g *group3) client(id int32) *served { return g.dial(id, "PLAINTEXT") }

// dial connects to a listener of a node.
func (g *group3) dial(id int32, listener string) *served {
	g.t.Helper()
	b := g.nodes[id]
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.Port(listener)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return &served{t: g.t, broker: b, conn: conn}
}

// leader is the id of the active controller by what node id knows.
func (g *group3) controller() int32 {
	for _, b := range g.nodes {
		if id, _ := b.meta.Leader(); g.nodes[id] != nil {
			return id
		}
	}
	return -1
}

// other is a running node that is not id.
func (g *group3) other(id int32) int32 {
	for other := range g.nodes {
		if other != id {
			return other
		}
	}
	return -1
}

// createTopic creates a topic through a node that is not the active controller.
func (g *group3) createTopic(via int32, name string, partitions int32, replicas int16) {
	g.t.Helper()
	resp := g.client(via).do(&kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{
		{Topic: name, NumPartitions: partitions, ReplicationFactor: replicas}}}).(*kmsg.CreateTopicsResponse)
	if resp.Topics[0].ErrorCode != 0 {
		g.t.Fatalf("creating %s through node %d: %v %s", name, via, kerr.ErrorForCode(resp.Topics[0].ErrorCode), *resp.Topics[0].ErrorMessage)
	}
}

// describe asks a node for a topic.
func (g *group3) describe(via int32, name string) *kmsg.MetadataResponse {
	g.t.Helper()
	return g.client(via).do(&kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{{Topic: &name}}}).(*kmsg.MetadataResponse)
}

func TestClusterForwardsChanges(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	via := g.other(g.controller())
	g.createTopic(via, "t", 6, 3)
	// The broker that was asked has the topic when it answers.
	resp := g.describe(via, "t")
	if len(resp.Brokers) != 3 {
		t.Errorf("brokers %+v", resp.Brokers)
	}
	leaders := map[int32]int{}
	for _, p := range resp.Topics[0].Partitions {
		leaders[p.Leader]++
		if len(p.Replicas) != 3 || len(p.ISR) != 3 || len(p.OfflineReplicas) != 0 || p.ErrorCode != 0 {
			t.Errorf("partition %+v", p)
		}
	}
	if len(leaders) != 3 || leaders[1] != 2 || leaders[2] != 2 {
		t.Errorf("leaders %v are not spread", leaders)
	}
	retention := "1000"
	altered := g.client(via).do(&kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{
		{ResourceType: 2, ResourceName: "t", Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: &retention}}},
		{ResourceType: 4, ResourceName: fmt.Sprint(via), Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "message.max.bytes", Value: &retention}}},
		{ResourceType: 4, ResourceName: fmt.Sprint(g.other(via)), Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "message.max.bytes", Value: &retention}}}}}).(*kmsg.IncrementalAlterConfigsResponse)
	for i, want := range []int16{0, 0, kerr.InvalidRequest.Code} {
		if got := altered.Resources[i].ErrorCode; got != want {
			t.Errorf("resource %d: error %d, want %d", i, got, want)
		}
	}
	if got := g.nodes[via].meta.Image().Topic("t").Configs["retention.ms"]; got != retention {
		t.Errorf("retention.ms is %q on the broker that was asked", got)
	}
	ids := map[int64]bool{}
	for id := range g.nodes {
		r := g.client(id).do(&kmsg.InitProducerIDRequest{Version: 4, ProducerID: -1, ProducerEpoch: -1}).(*kmsg.InitProducerIDResponse)
		if r.ErrorCode != 0 || ids[r.ProducerID] {
			t.Errorf("producer id %+v", r)
		}
		ids[r.ProducerID] = true
	}
	gone := g.client(via).do(&kmsg.DeleteTopicsRequest{Version: 6, TimeoutMillis: 10_000, Topics: []kmsg.DeleteTopicsRequestTopic{{Topic: ptr("t")}}}).(*kmsg.DeleteTopicsResponse)
	if gone.Topics[0].ErrorCode != 0 || g.describe(via, "t").Topics[0].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("deletion %+v", gone.Topics[0])
	}
}

func TestClusterFencesADeadBroker(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	active := g.controller()
	g.createTopic(active, "t", 6, 3)
	victim := g.other(active)
	g.kill(victim)
	eventually(t, func() string {
		img := g.nodes[active].meta.Image()
		for i, p := range img.Topic("t").Partitions {
			if p.Leader == victim || p.Leader < 0 || slices.Contains(p.ISR, victim) {
				return fmt.Sprintf("partition %d is %+v", i, p)
			}
		}
		return ""
	})
	resp := g.describe(active, "t")
	if len(resp.Brokers) != 2 || !slices.Equal(resp.Topics[0].Partitions[0].OfflineReplicas, []int32{victim}) {
		t.Errorf("brokers %+v, partition %+v", resp.Brokers, resp.Topics[0].Partitions[0])
	}
	g.start(victim)
	if b := g.nodes[victim].meta.Image().Broker(victim); b == nil || b.Fenced || b.Epoch != g.nodes[victim].brokerEpoch() {
		t.Errorf("the broker came back as %+v", b)
	}
}

func TestClusterOutlivesItsController(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	old := g.controller()
	g.createTopic(old, "t", 3, 3)
	g.kill(old)
	// The others elect one of them, which moves the dead node's leaders.
	via := g.other(old)
	g.createTopic(via, "u", 3, 2)
	eventually(t, func() string {
		for i, p := range g.nodes[via].meta.Image().Topic("t").Partitions {
			if p.Leader == old || p.Leader < 0 {
				return fmt.Sprintf("partition %d is %+v", i, p)
			}
		}
		return ""
	})
}

func TestClusterControlledShutdown(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	g.createTopic(1, "t", 6, 3)
	leaving := g.other(g.controller())
	b := g.nodes[leaving]
	delete(g.nodes, leaving)
	var left []int32 // leaders when the listeners closed
	b.Stop()
	img := g.nodes[g.controller()].meta.Image()
	for _, p := range img.Topic("t").Partitions {
		left = append(left, p.Leader)
		if p.Leader == leaving || p.Leader < 0 {
			t.Errorf("leaders after the stop: %v", left)
		}
	}
	if !img.Broker(leaving).Fenced {
		t.Error("the broker that stopped is not fenced")
	}
	if epoch := b.logs.CleanShutdownEpoch(); epoch >= 0 && epoch == b.brokerEpoch() {
		t.Error("the clean shutdown epoch changed while running")
	}
	g.start(leaving)
	if got := g.nodes[leaving].member.previousEpoch; got != b.brokerEpoch() {
		t.Errorf("the last clean epoch is %d, want %d", got, b.brokerEpoch())
	}
}

func TestClusterRolesApart(t *testing.T) {
	g := newGroup3(t)
	g.roles[1], g.roles[2], g.roles[3] = "controller", "broker", "broker"
	g.start(1, 2, 3)
	g.createTopic(2, "t", 4, 2)
	eventually(t, func() string {
		if resp := g.describe(3, "t"); len(resp.Brokers) != 2 || len(resp.Topics[0].Partitions) != 4 {
			return fmt.Sprintf("%+v", resp)
		}
		return ""
	})
	if d := g.nodes[1]; d.net != nil || d.logs != nil {
		t.Error("the controller hosts partitions")
	}
	g.kill(3)
	eventually(t, func() string {
		for i, p := range g.nodes[2].meta.Image().Topic("t").Partitions {
			if p.Leader != 2 {
				return fmt.Sprintf("partition %d is %+v", i, p)
			}
		}
		return ""
	})
	described := g.client(2).do(&kmsg.DescribeQuorumRequest{Version: 2, Topics: []kmsg.DescribeQuorumRequestTopic{
		{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}}).(*kmsg.DescribeQuorumResponse)
	if p := described.Topics[0].Partitions[0]; p.LeaderID != 1 || len(p.CurrentVoters) != 1 || len(p.Observers) != 2 {
		t.Errorf("quorum %+v", p)
	}
}

// TestControllerListener asks controllers directly, as tools do with
// --bootstrap-controller.
func TestControllerListener(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	active := g.controller()
	standby := g.dial(g.other(active), "CONTROLLER")
	versions := standby.apiVersions(3, 3, "x")
	if versions.ErrorCode != 0 || len(versions.FinalizedFeatures) == 0 || slices.ContainsFunc(versions.ApiKeys, func(k kmsg.ApiVersionsResponseApiKey) bool { return k.ApiKey == 0 || k.ApiKey > 92 }) {
		t.Errorf("%+v", versions)
	}
	for endpoint, want := range map[int8]int16{endpointController: 0, endpointBroker: kerr.MismatchedEndpointType.Code, 9: kerr.UnsupportedEndpointType.Code} {
		cluster := standby.do(&kmsg.DescribeClusterRequest{Version: 2, EndpointType: endpoint}).(*kmsg.DescribeClusterResponse)
		if cluster.ErrorCode != want || want == 0 && (cluster.ControllerID != active || len(cluster.Brokers) != 3 || int(cluster.Brokers[0].Port) != g.ports[1]) {
			t.Errorf("endpoint type %d: %+v", endpoint, cluster)
		}
	}
	// A controller that is not the active one passes a client's change on, and
	// tells a broker that it asks the wrong one.
	made := standby.do(&kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 1, ReplicationFactor: 3}}}).(*kmsg.CreateTopicsResponse)
	if made.Topics[0].ErrorCode != 0 {
		t.Errorf("%+v", made.Topics[0])
	}
	beat := standby.do(&kmsg.BrokerHeartbeatRequest{Version: 2, BrokerID: 1}).(*kmsg.BrokerHeartbeatResponse)
	if beat.ErrorCode != kerr.NotController.Code {
		t.Errorf("%+v", beat)
	}
	stale := g.dial(active, "CONTROLLER").do(&kmsg.BrokerHeartbeatRequest{Version: 2, BrokerID: 1, BrokerEpoch: 1}).(*kmsg.BrokerHeartbeatResponse)
	if stale.ErrorCode != kerr.StaleBrokerEpoch.Code {
		t.Errorf("%+v", stale)
	}
	wrong := kmsg.NewPtrBrokerRegistrationRequest()
	wrong.Version, wrong.BrokerID, wrong.ClusterID = 4, 7, "another"
	if resp := g.dial(active, "CONTROLLER").do(wrong).(*kmsg.BrokerRegistrationResponse); resp.ErrorCode != kerr.InconsistentClusterID.Code {
		t.Errorf("%+v", resp)
	}
}

func TestReassignmentAPIs(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	c := g.client(g.other(g.controller()))
	g.createTopic(1, "t", 2, 1)
	first := g.nodes[1].meta.Image().Topic("t").Partitions[0].Leader
	target := first%3 + 1
	alter := func(replicas []int32) *kmsg.AlterPartitionAssignmentsResponse {
		return c.do(&kmsg.AlterPartitionAssignmentsRequest{Version: 1, TimeoutMillis: 10_000, AllowReplicationFactorChange: true,
			Topics: []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
				{Partition: 0, Replicas: replicas}, {Partition: 9, Replicas: replicas}}}}}).(*kmsg.AlterPartitionAssignmentsResponse)
	}
	moved := alter([]int32{target})
	if p := moved.Topics[0].Partitions; moved.ErrorCode != 0 || p[0].ErrorCode != 0 || p[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Fatalf("%+v", moved)
	}
	// The follower catches up, joins, and the old replica leaves.
	eventually(t, func() string {
		p := g.nodes[1].meta.Image().Topic("t").Partitions[0]
		if !slices.Equal(p.Replicas, []int32{target}) || p.Leader != target || p.Reassigning() {
			return fmt.Sprintf("partition %+v", p)
		}
		return ""
	})
	list := c.do(&kmsg.ListPartitionReassignmentsRequest{TimeoutMillis: 10_000}).(*kmsg.ListPartitionReassignmentsResponse)
	if list.ErrorCode != 0 || len(list.Topics) != 0 {
		t.Errorf("%+v", list)
	}
	if cancel := alter(nil); cancel.Topics[0].Partitions[0].ErrorCode != kerr.NoReassignmentInProgress.Code {
		t.Errorf("%+v", cancel.Topics[0])
	}
	elected := c.do(&kmsg.ElectLeadersRequest{Version: 2, TimeoutMillis: 10_000, Topics: []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 9}}}}).(*kmsg.ElectLeadersResponse)
	if p := elected.Topics[0].Partitions; p[0].ErrorCode != kerr.ElectionNotNeeded.Code || p[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("%+v", elected)
	}
	unregistered := c.do(&kmsg.UnregisterBrokerRequest{BrokerID: 9}).(*kmsg.UnregisterBrokerResponse)
	if unregistered.ErrorCode != kerr.BrokerIDNotRegistered.Code {
		t.Errorf("%+v", unregistered)
	}
}

// directoryID is the id of a formatted directory.
func directoryID(dir string) (metadata.UUID, error) {
	meta, _, err := storage.ReadMetaProperties(vfs.OS{}, dir)
	return metadata.UUID(meta.DirectoryID), err
}

// TestControllersComeAndGo grows a quorum of one to three and back, as
// kafka-storage.sh --standalone and kafka-metadata-quorum.sh do (KIP-853).
func TestControllersComeAndGo(t *testing.T) {
	g := newGroup3(t)
	g.dynamic = true
	first, err := directoryID(g.dirs[1])
	if err != nil {
		t.Fatal(err)
	}
	for id := int32(1); id <= 3; id++ {
		var voters []quorum.Voter
		if id == 1 {
			voters = []quorum.Voter{{ID: 1, Dir: first, Host: "127.0.0.1", Port: int32(g.ports[1])}}
		}
		if err := quorum.WriteInitialControllers(g.dirs[id], voters); err != nil {
			t.Fatal(err)
		}
	}
	g.start(1)
	g.start(2)
	g.extra = append(g.extra, "controller.quorum.auto.join.enable", "true")
	g.start(3)
	voters := func(want ...int32) {
		t.Helper()
		eventually(t, func() string {
			var have []int32
			for _, v := range g.nodes[1].voters() {
				have = append(have, v.ID)
			}
			if !slices.Equal(have, want) {
				return fmt.Sprintf("voters %v, want %v", have, want)
			}
			return ""
		})
	}
	voters(1, 3) // 3 joined by itself, 2 waits to be asked for
	second, err := directoryID(g.dirs[2])
	if err != nil {
		t.Fatal(err)
	}
	client := g.client(3)
	add := &kmsg.AddRaftVoterRequest{ClusterID: &g.clusterID, TimeoutMillis: 10_000, VoterID: 2, VoterDirectoryID: second,
		Listeners: []kmsg.AddRaftVoterRequestListener{{Name: "CONTROLLER", Host: "127.0.0.1", Port: uint16(g.ports[2])}}}
	other := *add
	other.ClusterID = ptr("another")
	if resp := client.do(&other).(*kmsg.AddRaftVoterResponse); resp.ErrorCode != kerr.InconsistentClusterID.Code {
		t.Errorf("%+v", resp)
	}
	for _, want := range []int16{0, kerr.DuplicateVoter.Code} {
		if resp := client.do(add).(*kmsg.AddRaftVoterResponse); resp.ErrorCode != want {
			t.Errorf("%+v, want error %d", resp, want)
		}
	}
	voters(1, 2, 3)
	remove := &kmsg.RemoveRaftVoterRequest{VoterID: 2, VoterDirectoryID: second}
	for _, want := range []int16{0, kerr.VoterNotFound.Code} {
		if resp := client.do(remove).(*kmsg.RemoveRaftVoterResponse); resp.ErrorCode != want {
			t.Errorf("%+v, want error %d", resp, want)
		}
	}
	voters(1, 3)
}

func TestClusterLeadsAroundAFullDisk(t *testing.T) {
	g := newGroup3(t)
	var full atomic.Int32 // the node whose disk is full
	g.opened = func(b *Broker) {
		id := b.Config().NodeID
		b.member.freeBytes = func(string) (int64, bool) {
			if full.Load() == id {
				return 0, true
			}
			return 1 << 40, true
		}
	}
	g.start(1, 2, 3)
	g.createTopic(1, "t", 6, 3)
	around := func(id int32) {
		t.Helper()
		eventually(t, func() string {
			for i, p := range g.nodes[1].meta.Image().Topic("t").Partitions {
				if p.Leader == id || p.Leader < 0 {
					return fmt.Sprintf("partition %d is %+v", i, p)
				}
			}
			return ""
		})
	}
	back := func(id int32) {
		t.Helper()
		eventually(t, func() string {
			if b := g.nodes[1].meta.Image().Broker(id); b.Fenced {
				return "the broker stays fenced although there is room again"
			}
			return ""
		})
	}
	full.Store(2)
	g.nodes[2].member.wakeUp()
	around(2)
	full.Store(0)
	back(2)
	g.nodes[3].member.metadataRoom(false) // that of its metadata alone
	around(3)
	g.nodes[3].member.metadataRoom(true)
	back(3)
}

// TestReplicasMovedAwayAreSetAside takes replicas from a broker while it is
// down.
func TestReplicasMovedAwayAreSetAside(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	g.createTopic(1, "t", 1, 3)
	away := g.other(g.controller())
	g.kill(away)
	var stay []int32
	for id := range g.nodes {
		stay = append(stay, id)
	}
	resp := g.client(stay[0]).do(&kmsg.AlterPartitionAssignmentsRequest{Version: 1, TimeoutMillis: 10_000, AllowReplicationFactorChange: true,
		Topics: []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: stay}}}}}).(*kmsg.AlterPartitionAssignmentsResponse)
	if resp.ErrorCode != 0 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v", resp)
	}
	eventually(t, func() string {
		if p := g.nodes[stay[0]].meta.Image().Topic("t").Partitions[0]; p.Reassigning() || len(p.Replicas) != 2 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	g.start(away)
	if logs := g.nodes[away].logs.Logs(); len(logs) != 0 {
		t.Errorf("%d logs are still there", len(logs))
	}
}

// TestNoControllerMajority asks for a change that nobody can decide on.
func TestNoControllerMajority(t *testing.T) {
	g := newGroup3(t)
	g.start(1, 2, 3)
	left := g.controller()
	for id := int32(1); id <= 3; id++ {
		if id != left {
			g.kill(id)
		}
	}
	made := g.client(left).do(&kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 1500, Topics: []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 1, ReplicationFactor: 1}}}).(*kmsg.CreateTopicsResponse)
	if made.Topics[0].ErrorCode != kerr.RequestTimedOut.Code {
		t.Errorf("%+v", made.Topics[0])
	}
}
