package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/cli/jopt"
)

// reassignment is a partition's move in progress.
type reassignment struct{ adding, removing, replicas []int32 }

type partitionKey struct {
	topic     string
	partition int32
}

// topicsDescriber prints topics as kafka-topics.sh --describe does.
type topicsDescriber struct {
	out         io.Writer
	set         *jopt.Set
	liveBrokers map[int32]bool
	moves       map[partitionKey]reassignment
}

func topicsDescribe(ctx context.Context, out io.Writer, cl *kgo.Client, s *jopt.Set) error {
	names, err := describeNames(ctx, cl, s)
	if err != nil {
		return err
	}
	topics, err := describeTopics(ctx, cl, names, int32(s.Int64("partition-size-limit-per-response")))
	if err != nil {
		return err
	}
	c, err := fetchBrokers(ctx, cl)
	if err != nil {
		return err
	}
	d := &topicsDescriber{out: out, set: s, liveBrokers: map[int32]bool{}}
	for _, b := range c {
		d.liveBrokers[b.NodeID] = true
	}
	if d.moves, err = listReassignments(ctx, cl, topics); err != nil {
		return err
	}
	for i := range topics {
		configs, err := describeConfigs(ctx, cl, resourceTopic, topics[i].Name, false)
		if err != nil {
			return err
		}
		if err := d.print(&topics[i], configs); err != nil {
			return err
		}
	}
	return nil
}

// describeNames selects by --topic-id, or else by --topic.
func describeNames(ctx context.Context, cl *kgo.Client, s *jopt.Set) ([]string, error) {
	if s.Has("topic-id") {
		id, err := parseTopicID(s.Str("topic-id"))
		if err != nil {
			return nil, err
		}
		if !id.IsZero() {
			return describeByID(ctx, cl, id, s.Has("if-exists"))
		}
	}
	names, err := topicsSelect(ctx, cl, s)
	if err == nil {
		err = topicsMustExist(names, s)
	}
	return names, err
}

func describeByID(ctx context.Context, cl *kgo.Client, id topicID, ifExists bool) ([]string, error) {
	c, err := fetchCluster(ctx, cl)
	if err != nil {
		return nil, err
	}
	for _, t := range c.topics {
		if t.ID == id {
			return []string{t.Name}, nil
		}
	}
	if ifExists {
		return nil, nil
	}
	return nil, fmt.Errorf("TopicId '%s' does not exist as expected", id)
}

// fetchBrokers lists the live brokers.
func fetchBrokers(ctx context.Context, cl *kgo.Client) ([]kmsg.DescribeClusterResponseBroker, error) {
	resp, err := ask(ctx, cl, kmsg.NewPtrDescribeClusterRequest())
	if err != nil {
		return nil, err
	}
	return resp.Brokers, nil
}

// listReassignments asks for moves in progress; a broker that does not know the
// question, or a user who may not ask it, has none.
func listReassignments(ctx context.Context, cl *kgo.Client, topics []topicDetail) (map[partitionKey]reassignment, error) {
	moves := map[partitionKey]reassignment{}
	if len(topics) == 0 {
		return moves, nil
	}
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = requestTimeoutMs
	for _, t := range topics {
		rt := kmsg.NewListPartitionReassignmentsRequestTopic()
		rt.Topic = t.Name
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, p.Partition)
		}
		req.Topics = append(req.Topics, rt)
	}
	resp, err := ask(ctx, cl, req)
	if isUnsupported(err) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return moves, nil
	}
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			moves[partitionKey{t.Topic, p.Partition}] = reassignment{p.AddingReplicas, p.RemovingReplicas, p.Replicas}
		}
	}
	return moves, nil
}

func (d *topicsDescriber) print(t *topicDetail, configs []configEntry) error {
	filtered := d.set.HasAny("unavailable-partitions", "under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions")
	var b strings.Builder
	if !filtered {
		d.printTopic(&b, t, configs)
	}
	if !d.set.Has("topics-with-overrides") {
		minISR := minInsyncReplicas(configs)
		for i := range t.Partitions {
			if !filtered || d.selected(t, &t.Partitions[i], minISR) {
				d.printPartition(&b, t.Name, &t.Partitions[i])
			}
		}
	}
	_, err := io.WriteString(d.out, b.String())
	return err
}

func minInsyncReplicas(configs []configEntry) int {
	for _, c := range configs {
		if c.Name == "min.insync.replicas" && c.Value != nil {
			n, _ := strconv.Atoi(*c.Value)
			return n
		}
	}
	return 1
}

// selected applies the --under-... and --unavailable-partitions filters.
func (d *topicsDescriber) selected(t *topicDetail, p *partitionDetail, minISR int) bool {
	noLeader := p.Leader < 0
	return d.set.Has("under-replicated-partitions") && d.replicationFactor(t.Name, p) > len(p.ISR) ||
		d.set.Has("unavailable-partitions") && (noLeader || !d.liveBrokers[p.Leader]) ||
		d.set.Has("under-min-isr-partitions") && (noLeader || len(p.ISR) < minISR) ||
		d.set.Has("at-min-isr-partitions") && len(p.ISR) == minISR
}

// replicationFactor does not count replicas that a move is still adding.
func (d *topicsDescriber) replicationFactor(topic string, p *partitionDetail) int {
	move, ok := d.moves[partitionKey{topic, p.Partition}]
	if ok {
		changing := append(append([]int32(nil), move.adding...), move.removing...)
		for _, r := range p.Replicas {
			for _, c := range changing {
				if r == c {
					return len(move.replicas) - len(move.adding)
				}
			}
		}
	}
	return len(p.Replicas)
}

func (d *topicsDescriber) printTopic(b *strings.Builder, t *topicDetail, configs []configEntry) {
	values := map[string]string{}
	var names []string
	for i := range configs {
		names = append(names, configs[i].Name)
		if !configs[i].isDefault() {
			values[configs[i].Name] = configs[i].text()
		}
	}
	if d.set.Has("topics-with-overrides") && len(values) == 0 {
		return
	}
	var overrides []string
	for _, name := range javaHashOrder(names) {
		if v, ok := values[name]; ok {
			overrides = append(overrides, name+"="+v)
		}
	}
	b.WriteString("Topic: " + t.Name)
	if !t.ID.IsZero() {
		b.WriteString("\tTopicId: " + t.ID.String())
	}
	replicas := 0
	if len(t.Partitions) > 0 {
		replicas = d.replicationFactor(t.Name, &t.Partitions[0])
	}
	fmt.Fprintf(b, "\tPartitionCount: %d\tReplicationFactor: %d\tConfigs: %s\n",
		len(t.Partitions), replicas, strings.Join(overrides, ","))
}

func (d *topicsDescriber) printPartition(b *strings.Builder, topic string, p *partitionDetail) {
	leader := "none"
	if p.Leader >= 0 {
		leader = strconv.Itoa(int(p.Leader))
	}
	fmt.Fprintf(b, "\tTopic: %s\tPartition: %d\tLeader: %s\tReplicas: %s\tIsr: %s",
		topic, p.Partition, leader, joinInts(p.Replicas, ","), joinInts(p.ISR, ","))
	if move, ok := d.moves[partitionKey{topic, p.Partition}]; ok {
		fmt.Fprintf(b, "\tAdding Replicas: %s\tRemoving Replicas: %s", joinInts(move.adding, ","), joinInts(move.removing, ","))
	}
	fmt.Fprintf(b, "\tElr: %s\tLastKnownElr: %s\n", elrText(p.ELR), elrText(p.LastKnownELR))
}

func elrText(list []int32) string {
	if list == nil {
		return "N/A"
	}
	return joinInts(list, ",")
}
