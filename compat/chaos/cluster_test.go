//go:build chaos

package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	nodeCount    = 3
	readyTimeout = 90 * time.Second
	topic        = "chaos"
)

// cluster is three nodes and what the harness knows of them.
type cluster struct {
	net        *network
	nodes      []*node
	probes     []*kgo.Client // one for each node, which asks that node only
	admin      *kadm.Client
	partitions int32
}

// findSubject is the broker that FRESHET_COMPAT_TARGET names.
func findSubject(t *testing.T) subject {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(filepath.Dir(here))
	s := subject{name: os.Getenv("FRESHET_COMPAT_TARGET"), binary: os.Getenv("FRESHET_BIN")}
	switch {
	case s.name == subjectKafka:
		s.binary = filepath.Join(root, "compat", "java", "run-class.sh")
	case s.name == "":
		s.name = subjectFreshet
	case s.name != subjectFreshet:
		t.Fatalf("FRESHET_COMPAT_TARGET is %q: it must be freshet or kafka", s.name)
	}
	if s.binary == "" {
		s.binary = filepath.Join(root, "bin", "freshet")
	}
	if _, err := os.Stat(s.binary); err != nil {
		t.Fatalf("there is no %s: run 'make build', or set FRESHET_BIN", s.binary)
	}
	return s
}

// startCluster starts three nodes with their files in dir, and a topic with three replicas.
func startCluster(t *testing.T, dir string, partitions int32, overrides map[string]string) *cluster {
	t.Helper()
	c := &cluster{net: newNetwork(t, nodeCount), partitions: partitions}
	s := findSubject(t)
	var voters []string
	for i := range nodeCount {
		voters = append(voters, fmt.Sprintf("%d@%s:%d", i+1, c.net.address(i), controllerPort))
	}
	for i := range nodeCount {
		n := &node{index: i, id: i + 1, subject: s, net: c.net, dir: dir}
		n.disk = newDisk(t, filepath.Join(dir, fmt.Sprintf("disk-%d", i+1)))
		t.Cleanup(n.kill) // before the disk is unmounted
		properties := c.properties(n, strings.Join(voters, ","))
		maps.Copy(properties, overrides)
		if err := n.format(properties); err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, n)
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			t.Fatal(err)
		}
		c.probes = append(c.probes, c.client(t, kgo.SeedBrokers(n.addr())))
	}
	c.admin = kadm.NewClient(c.client(t))
	if err := c.createTopic(); err != nil {
		t.Fatalf("%v\n%s", err, c.tails())
	}
	return c
}

// properties are a node's. Time-outs are short against Kafka's, so that what a time-out has to find is
// found within the limits asked for, also when a new controller has to be elected first: a paused broker is
// fenced, and a follower that does not follow leaves the in-sync replicas, within two seconds.
func (c *cluster) properties(n *node, voters string) map[string]string {
	ip := c.net.address(n.index)
	return map[string]string{
		"process.roles":                            "broker,controller",
		"node.id":                                  fmt.Sprint(n.id),
		"controller.quorum.voters":                 voters,
		"controller.listener.names":                "CONTROLLER",
		"inter.broker.listener.name":               "PLAINTEXT",
		"listener.security.protocol.map":           "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"listeners":                                fmt.Sprintf("PLAINTEXT://%s:%d,CONTROLLER://%s:%d", ip, clientPort, ip, controllerPort),
		"advertised.listeners":                     fmt.Sprintf("PLAINTEXT://%s:%d", ip, clientPort),
		"log.dirs":                                 n.dataDir(),
		"default.replication.factor":               "3",
		"min.insync.replicas":                      "2",
		"unclean.leader.election.enable":           "false",
		"auto.create.topics.enable":                "false",
		"offsets.topic.replication.factor":         "3",
		"offsets.topic.num.partitions":             "3",
		"transaction.state.log.replication.factor": "3",
		"transaction.state.log.min.isr":            "2",
		"log.segment.bytes":                        "4194304",
		"log.index.size.max.bytes":                 "262144",
		"log.cleaner.dedupe.buffer.size":           "16777216",
		"broker.session.timeout.ms":                "2000",
		"broker.heartbeat.interval.ms":             "400",
		"replica.lag.time.max.ms":                  "2000",
		"replica.socket.timeout.ms":                "3000",
		"group.initial.rebalance.delay.ms":         "100",
		"freshet.admin.listener":                   fmt.Sprintf("%s:0", ip),
	}
}

// client is a franz-go client of the whole cluster, closed when the test ends.
func (c *cluster) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.seeds()...),
		kgo.DialTimeout(2 * time.Second),
		kgo.RequestTimeoutOverhead(3 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.MetadataMaxAge(2 * time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func (c *cluster) seeds() []string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.addr())
	}
	return addrs
}

func (c *cluster) createTopic() error {
	var last error
	if !within(readyTimeout, 200*time.Millisecond, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for _, n := range c.nodes {
			if !n.running() {
				last = fmt.Errorf("%s ended at its start", n)
				return false
			}
		}
		last = c.wholeNow(ctx, false)
		if last == nil {
			_, last = c.admin.CreateTopic(ctx, c.partitions, nodeCount, map[string]*string{"min.insync.replicas": kadm.StringPtr("2")}, topic)
		}
		return last == nil
	}) {
		return fmt.Errorf("the cluster does not come up: %w", last)
	}
	if _, err := c.awaitWhole(readyTimeout); err != nil {
		return fmt.Errorf("the topic's replicas do not come up: %w", err)
	}
	return nil
}

// wholeNow is nil if every node itself says that all nodes are there and, with topics, that every replica
// of every topic is in sync.
func (c *cluster) wholeNow(ctx context.Context, topics bool) error {
	for i, probe := range c.probes {
		req := kmsg.NewPtrMetadataRequest()
		if !topics {
			req.Topics = []kmsg.MetadataRequestTopic{}
		}
		resp, err := probe.SeedBrokers()[0].Request(ctx, req)
		if err != nil {
			return fmt.Errorf("%s does not answer: %w", c.nodes[i], err)
		}
		m := resp.(*kmsg.MetadataResponse)
		if len(m.Brokers) != nodeCount {
			return fmt.Errorf("%s sees %d brokers", c.nodes[i], len(m.Brokers))
		}
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					return fmt.Errorf("%s sees %s-%d with leader %d and in-sync replicas %v of %v", c.nodes[i], *t.Topic, p.Partition, p.Leader, p.ISR, p.Replicas)
				}
			}
		}
		if topics && len(m.Topics) == 0 {
			return errors.New("there is no topic yet")
		}
	}
	return nil
}

// awaitWhole waits until every replica is in sync, and says how long that took.
func (c *cluster) awaitWhole(limit time.Duration) (time.Duration, error) {
	start := time.Now()
	var last error
	if !within(limit, 100*time.Millisecond, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		last = c.wholeNow(ctx, true)
		return last == nil
	}) {
		return limit, last
	}
	return time.Since(start), nil
}

// controller is the node that leads the quorum, by its own account; the first node if nobody says.
func (c *cluster) controller() *node {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 0}}}}
	for _, probe := range c.probes {
		resp, err := probe.SeedBrokers()[0].Request(ctx, req)
		if err != nil {
			continue
		}
		for _, t := range resp.(*kmsg.DescribeQuorumResponse).Topics {
			for _, p := range t.Partitions {
				if p.LeaderID >= 1 && int(p.LeaderID) <= len(c.nodes) {
					return c.nodes[p.LeaderID-1]
				}
			}
		}
	}
	return c.nodes[0]
}

// endOffsets are the partitions' high watermarks.
func (c *cluster) endOffsets(ctx context.Context) (map[int32]int64, error) {
	listed, err := c.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("end offsets: %w", err)
	}
	ends := map[int32]int64{}
	for _, o := range listed[topic] {
		ends[o.Partition] = o.Offset
	}
	return ends, nil
}

func (c *cluster) tails() string {
	var text strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&text, "%s, %s\n", n, n.tail(15))
	}
	return text.String()
}
