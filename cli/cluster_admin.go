package cli

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// admin asks a cluster administrative questions: through its brokers or, when
// it was given controllers' addresses, through the active controller (KIP-919).
type admin struct {
	any         kmsg.Requestor // whoever answers: any broker, or the active controller
	node        func(id int32) (kmsg.Requestor, error)
	controllers bool
	clients     []*kgo.Client
}

// close ends the connections.
func (a *admin) close() {
	for _, cl := range a.clients {
		cl.Close()
	}
}

// brokerAdmin asks through cl, which the caller keeps.
func brokerAdmin(cl *kgo.Client) *admin {
	return &admin{
		any:  cl,
		node: func(id int32) (kmsg.Requestor, error) { return brokerClient{cl.Broker(int(id))}, nil },
	}
}

// dialAdmin connects to brokers or, when controllers is not empty, to the
// active one of these controllers. Both are host:port, separated by commas.
func dialAdmin(ctx context.Context, props clientProps, brokers, controllers string, warn io.Writer) (*admin, error) {
	if controllers != "" {
		return dialControllers(ctx, props, controllers, warn)
	}
	props["bootstrap.servers"] = brokers
	cl, err := newClient(props, roleAdmin, warn)
	if err != nil {
		return nil, err
	}
	if err := awaitBroker(ctx, cl, brokers, apiTimeout(props)); err != nil {
		cl.Close()
		return nil, err
	}
	a := brokerAdmin(cl)
	a.clients = []*kgo.Client{cl}
	return a, nil
}

// dialControllers asks the given controllers which of them is active.
func dialControllers(ctx context.Context, props clientProps, servers string, warn io.Writer) (*admin, error) {
	a := &admin{controllers: true}
	dial := func(servers string) (*kgo.Client, error) {
		props["bootstrap.servers"] = servers
		cl, err := newClient(props, roleAdmin, warn)
		if err == nil {
			a.clients = append(a.clients, cl)
		}
		return cl, err
	}
	cl, err := dial(servers)
	if err != nil {
		return nil, err
	}
	resp, err := awaitController(ctx, cl, servers, apiTimeout(props))
	if err != nil {
		a.close()
		return nil, err
	}
	addresses := map[int32]string{}
	for _, b := range resp.Brokers {
		addresses[b.NodeID] = hostPort(b.Host, b.Port)
	}
	a.node = func(id int32) (kmsg.Requestor, error) {
		address, ok := addresses[id]
		if !ok {
			return nil, fmt.Errorf("controller %d is not among the cluster's controllers", id)
		}
		cl, err := dial(address)
		if err != nil {
			return nil, err
		}
		return brokerClient{cl.SeedBrokers()[0]}, nil
	}
	if a.any, err = a.node(resp.ControllerID); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// awaitController asks until a controller that knows the active one answers.
func awaitController(ctx context.Context, cl *kgo.Client, servers string, timeout time.Duration) (*kmsg.DescribeClusterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		for _, seed := range cl.SeedBrokers() {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.EndpointType = endpointControllers
			resp, err := ask(ctx, brokerClient{seed}, req)
			if err == nil && resp.ControllerID >= 0 {
				return resp, nil
			}
			if isUnsupported(err) {
				return nil, fmt.Errorf("%s is not a controller: it does not answer for controllers; give its address with --bootstrap-server", servers)
			}
			if err != nil && ctx.Err() == nil {
				last = err
			}
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == context.Canceled {
				return nil, errInterrupted
			}
			return nil, &unreachableError{servers: servers, cause: last}
		case <-tick.C:
		}
	}
}

// Values of DescribeCluster's EndpointType.
const (
	endpointBrokers     int8 = 1
	endpointControllers int8 = 2
)

func hostPort(host string, port int32) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port)
}

// nodes asks which brokers, or controllers, the cluster has; controller is the
// active controller's id as this endpoint tells it, -1 when it does not know.
// Fenced brokers are included on request, where the cluster can tell (Kafka 4.0).
func (a *admin) nodes(ctx context.Context, fenced bool) (*kmsg.DescribeClusterResponse, error) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = endpointBrokers
	req.IncludeFencedBrokers = fenced && !a.controllers
	if a.controllers {
		req.EndpointType = endpointControllers
	}
	resp, err := ask(ctx, a.any, req)
	if err != nil {
		return nil, err
	}
	sort.Slice(resp.Brokers, func(i, j int) bool { return resp.Brokers[i].NodeID < resp.Brokers[j].NodeID })
	return resp, nil
}

// reassignments lists the moves under way (KIP-455): of keys, or all when keys
// is nil.
func (a *admin) reassignments(ctx context.Context, keys []partitionKey) (map[partitionKey]reassignment, error) {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = requestTimeoutMs
	for _, topic := range partitionsByTopic(keys) {
		t := kmsg.NewListPartitionReassignmentsRequestTopic()
		t.Topic, t.Partitions = topic.name, topic.partitions
		req.Topics = append(req.Topics, t)
	}
	resp, err := ask(ctx, a.any, req)
	if err != nil {
		return nil, err
	}
	moves := map[partitionKey]reassignment{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			moves[partitionKey{t.Topic, p.Partition}] = reassignment{p.AddingReplicas, p.RemovingReplicas, p.Replicas}
		}
	}
	return moves, nil
}

// reassign asks for the replicas of each partition; nil replicas cancel the
// partition's move. It returns what was refused, by partition.
func (a *admin) reassign(ctx context.Context, targets map[partitionKey][]int32, allowFactorChange bool) (map[partitionKey]error, error) {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis = requestTimeoutMs
	req.AllowReplicationFactorChange = allowFactorChange
	for _, topic := range partitionsByTopic(keysOf(targets)) {
		t := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		t.Topic = topic.name
		for _, n := range topic.partitions {
			p := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			p.Partition, p.Replicas = n, targets[partitionKey{topic.name, n}]
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	resp, err := ask(ctx, a.any, req)
	if err != nil {
		return nil, err
	}
	refused := map[partitionKey]error{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := newBrokerError(p.ErrorCode, p.ErrorMessage); err != nil {
				refused[partitionKey{t.Topic, p.Partition}] = err
			}
		}
	}
	return refused, nil
}

// elect asks for elections (KIP-460) of keys, or of all partitions when keys is
// nil, and returns the outcome of each partition that the cluster names.
func (a *admin) elect(ctx context.Context, unclean bool, keys []partitionKey) (map[partitionKey]error, error) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.TimeoutMillis = requestTimeoutMs
	if unclean {
		req.ElectionType = 1
	}
	for _, topic := range partitionsByTopic(keys) {
		t := kmsg.NewElectLeadersRequestTopic()
		t.Topic, t.Partitions = topic.name, topic.partitions
		req.Topics = append(req.Topics, t)
	}
	resp, err := ask(ctx, a.any, req)
	if err != nil {
		return nil, err
	}
	outcomes := map[partitionKey]error{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			outcomes[partitionKey{t.Topic, p.Partition}] = newBrokerError(p.ErrorCode, p.ErrorMessage)
		}
	}
	return outcomes, nil
}

// resourceChange is a set of alterations of one topic's or broker's settings.
type resourceChange struct {
	kind    kmsg.ConfigResourceType
	name    string
	changes []configChange
}

// alter applies all changes in one request and returns the first refusal.
func (a *admin) alter(ctx context.Context, resources []resourceChange) error {
	if len(resources) == 0 {
		return nil
	}
	return alterResources(ctx, a.any, resources, false)
}

// alterResources asks for changes of settings, or whether they would do.
func alterResources(ctx context.Context, to kmsg.Requestor, resources []resourceChange, validateOnly bool) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	for _, rc := range resources {
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = rc.kind, rc.name
		for _, change := range rc.changes {
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Op = change.name, change.op
			if change.op != kmsg.IncrementalAlterConfigOpDelete {
				c.Value = kmsg.StringPtr(change.value)
			}
			r.Configs = append(r.Configs, c)
		}
		req.Resources = append(req.Resources, r)
	}
	_, err := ask(ctx, to, req)
	return err
}

// quorum describes the metadata quorum (KIP-595).
func (a *admin) quorum(ctx context.Context) (*kmsg.DescribeQuorumResponse, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = metadataTopicName
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := ask(ctx, a.any, req)
	if err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, newBrokerError(kerr.UnknownServerError.Code, kmsg.StringPtr("DescribeQuorum answered without the partition that was asked for"))
	}
	p := &resp.Topics[0].Partitions[0]
	return resp, newBrokerError(p.ErrorCode, p.ErrorMessage)
}

// metadataTopicName is the log of the metadata quorum.
const metadataTopicName = "__cluster_metadata"

// replicaKey is one replica of a partition.
type replicaKey struct {
	topic     string
	partition int32
	broker    int32
}

// String is Kafka's TopicPartitionReplica.toString.
func (k replicaKey) String() string { return fmt.Sprintf("%s-%d-%d", k.topic, k.partition, k.broker) }

// replicaDirs is where a broker keeps a replica, and where it moves it to;
// empty when there is none.
type replicaDirs struct {
	current, future string
	bytes           int64
}

// dirsOf asks the brokers for the log directories of the replicas; each has an
// entry in the answer.
func (a *admin) dirsOf(ctx context.Context, replicas []replicaKey) (map[replicaKey]replicaDirs, error) {
	byBroker := map[int32][]partitionKey{}
	found := map[replicaKey]replicaDirs{}
	for _, r := range replicas {
		byBroker[r.broker] = append(byBroker[r.broker], partitionKey{r.topic, r.partition})
		found[r] = replicaDirs{}
	}
	for _, broker := range sortedIDs(byBroker) {
		resp, err := a.logDirs(ctx, broker, byBroker[broker])
		if err != nil {
			return nil, err
		}
		for _, dir := range resp.Dirs {
			if dir.ErrorCode != 0 {
				if dir.ErrorCode == kerr.KafkaStorageError.Code {
					continue
				}
				return nil, newBrokerError(dir.ErrorCode, nil)
			}
			for _, t := range dir.Topics {
				for _, p := range t.Partitions {
					key := replicaKey{t.Topic, p.Partition, broker}
					at, wanted := found[key]
					switch {
					case !wanted:
						continue
					case p.IsFuture:
						at.future = dir.Dir
					default:
						at.current, at.bytes = dir.Dir, p.Size
					}
					found[key] = at
				}
			}
		}
	}
	return found, nil
}

// logDirs asks one broker what its log directories hold of keys, or of all
// partitions when keys is nil.
func (a *admin) logDirs(ctx context.Context, broker int32, keys []partitionKey) (*kmsg.DescribeLogDirsResponse, error) {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	for _, topic := range partitionsByTopic(keys) {
		t := kmsg.NewDescribeLogDirsRequestTopic()
		t.Topic, t.Partitions = topic.name, topic.partitions
		req.Topics = append(req.Topics, t)
	}
	to, err := a.node(broker)
	if err != nil {
		return nil, err
	}
	return ask(ctx, to, req)
}

// moveDirs asks the brokers to move replicas to log directories and returns
// what was refused.
func (a *admin) moveDirs(ctx context.Context, moves map[replicaKey]string) (map[replicaKey]error, error) {
	byBroker := map[int32]map[string][]partitionKey{}
	for r, dir := range moves {
		if byBroker[r.broker] == nil {
			byBroker[r.broker] = map[string][]partitionKey{}
		}
		byBroker[r.broker][dir] = append(byBroker[r.broker][dir], partitionKey{r.topic, r.partition})
	}
	refused := map[replicaKey]error{}
	for _, broker := range sortedIDs(byBroker) {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		for _, dir := range sortedKeys(byBroker[broker]) {
			d := kmsg.NewAlterReplicaLogDirsRequestDir()
			d.Dir = dir
			for _, topic := range partitionsByTopic(byBroker[broker][dir]) {
				t := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
				t.Topic, t.Partitions = topic.name, topic.partitions
				d.Topics = append(d.Topics, t)
			}
			req.Dirs = append(req.Dirs, d)
		}
		to, err := a.node(broker)
		if err != nil {
			return nil, err
		}
		resp, err := req.RequestWith(ctx, to)
		if err != nil {
			return nil, err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := newBrokerError(p.ErrorCode, nil); err != nil {
					refused[replicaKey{t.Topic, p.Partition, broker}] = err
				}
			}
		}
	}
	return refused, nil
}

// topicPartitions is a topic with some of its partitions.
type topicPartitions struct {
	name       string
	partitions []int32
}

// partitionsByTopic groups keys, sorted.
func partitionsByTopic(keys []partitionKey) []topicPartitions {
	keys = append([]partitionKey(nil), keys...)
	sortPartitionKeys(keys)
	var topics []topicPartitions
	for _, k := range keys {
		if n := len(topics); n == 0 || topics[n-1].name != k.topic {
			topics = append(topics, topicPartitions{name: k.topic})
		}
		last := &topics[len(topics)-1]
		last.partitions = append(last.partitions, k.partition)
	}
	return topics
}

func sortPartitionKeys(keys []partitionKey) {
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].topic != keys[j].topic {
			return keys[i].topic < keys[j].topic
		}
		return keys[i].partition < keys[j].partition
	})
}

func keysOf[V any](m map[partitionKey]V) []partitionKey {
	keys := make([]partitionKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sortPartitionKeys(keys)
	return keys
}

func sortedIDs[V any](m map[int32]V) []int32 {
	ids := make([]int32, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	return ids
}

// executionText is the text of java.util.concurrent.ExecutionException for err,
// which is how Kafka's tools show what a broker refused.
func executionText(err error) string { return exceptionName(err) + ": " + message(err) }
