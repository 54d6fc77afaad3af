package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// requestTimeoutMs is how long a broker may take over an admin request.
const requestTimeoutMs = 30000

// topicID is a topic's id, printed in Kafka's base64 form.
type topicID [16]byte

func (id topicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero reports whether the broker gave no id.
func (id topicID) IsZero() bool { return id == topicID{} }

// MarshalText makes ids readable in JSON.
func (id topicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// parseTopicID reads Kafka's base64 form.
func parseTopicID(s string) (topicID, error) {
	var id topicID
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is not a topic id: want 22 characters of base64", s)
	}
	copy(id[:], b)
	return id, nil
}

// topicDetail describes a topic as a broker knows it.
type topicDetail struct {
	Name       string            `json:"name"`
	ID         topicID           `json:"id"`
	Internal   bool              `json:"internal"`
	Partitions []partitionDetail `json:"partitions"`
}

// partitionDetail describes a partition; leader is -1 when there is none. The
// eligible leader replicas are nil when the broker does not tell.
type partitionDetail struct {
	Partition    int32   `json:"partition"`
	Leader       int32   `json:"leader"`
	LeaderEpoch  int32   `json:"leader_epoch"`
	Replicas     []int32 `json:"replicas"`
	ISR          []int32 `json:"isr"`
	ELR          []int32 `json:"elr"`
	LastKnownELR []int32 `json:"last_known_elr"`
}

// clusterDetail is the cluster as a Metadata answer shows it.
type clusterDetail struct {
	id         string
	controller int32
	brokers    []kmsg.MetadataResponseBroker
	topics     []topicDetail // sorted by name
}

// fetchCluster asks for all topics, or, with names, for those alone; it never
// creates one.
func fetchCluster(ctx context.Context, cl kmsg.Requestor, names ...string) (*clusterDetail, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	c := &clusterDetail{controller: resp.ControllerID, brokers: resp.Brokers}
	if resp.ClusterID != nil {
		c.id = *resp.ClusterID
	}
	for _, t := range resp.Topics {
		if err := newBrokerError(t.ErrorCode, nil); err != nil && len(names) > 0 {
			return nil, err
		}
		if t.Topic == nil || t.ErrorCode != 0 {
			continue
		}
		c.topics = append(c.topics, metadataTopic(&t))
	}
	sort.Slice(c.topics, func(i, j int) bool { return c.topics[i].Name < c.topics[j].Name })
	return c, nil
}

func metadataTopic(t *kmsg.MetadataResponseTopic) topicDetail {
	d := topicDetail{Name: *t.Topic, ID: t.TopicID, Internal: t.IsInternal}
	for _, p := range t.Partitions {
		d.Partitions = append(d.Partitions, partitionDetail{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
			Replicas: p.Replicas, ISR: p.ISR,
		})
	}
	d.sortPartitions()
	return d
}

func (t *topicDetail) sortPartitions() {
	sort.Slice(t.Partitions, func(i, j int) bool { return t.Partitions[i].Partition < t.Partitions[j].Partition })
}

// describeTopics returns the named topics with their eligible leader replicas
// where the broker tells them, at most limit partitions an answer (0: 2000).
func describeTopics(ctx context.Context, cl kmsg.Requestor, names []string, limit int32) ([]topicDetail, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if limit == 0 {
		limit = 2000
	}
	names = append([]string(nil), names...)
	sort.Strings(names)
	var topics []topicDetail
	var cursor *kmsg.DescribeTopicPartitionsRequestCursor
	for {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		req.Cursor = cursor
		for _, name := range names {
			if cursor == nil || name >= cursor.Topic {
				t := kmsg.NewDescribeTopicPartitionsRequestTopic()
				t.Topic = name
				req.Topics = append(req.Topics, t)
			}
		}
		resp, err := req.RequestWith(ctx, cl)
		if isUnsupported(err) {
			c, err := fetchCluster(ctx, cl, names...)
			if err != nil {
				return nil, err
			}
			return c.topics, nil
		}
		if err != nil {
			return nil, err
		}
		if topics, err = appendDescribed(topics, resp); err != nil {
			return nil, err
		}
		if resp.NextCursor == nil {
			return topics, nil
		}
		cursor = &kmsg.DescribeTopicPartitionsRequestCursor{
			Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
	}
}

// appendDescribed adds an answer's topics; the first may continue the last.
func appendDescribed(topics []topicDetail, resp *kmsg.DescribeTopicPartitionsResponse) ([]topicDetail, error) {
	for _, t := range resp.Topics {
		if err := newBrokerError(t.ErrorCode, nil); err != nil {
			return nil, err
		}
		if t.Topic == nil {
			continue
		}
		if n := len(topics); n == 0 || topics[n-1].Name != *t.Topic {
			topics = append(topics, topicDetail{Name: *t.Topic, ID: t.TopicID, Internal: t.IsInternal})
		}
		d := &topics[len(topics)-1]
		for _, p := range t.Partitions {
			d.Partitions = append(d.Partitions, partitionDetail{
				Partition: p.Partition, Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch,
				Replicas: p.Replicas, ISR: p.ISR,
				ELR: p.EligibleLeaderReplicas, LastKnownELR: p.LastKnownELR,
			})
		}
		d.sortPartitions()
	}
	return topics, nil
}

// newTopicSpec is a topic to create; -1 means the cluster's default.
type newTopicSpec struct {
	name              string
	partitions        int32
	replicationFactor int16
	assignment        [][]int32 // replicas by partition; replaces the two above
	configs           map[string]string
}

// createTopic creates one topic; validateOnly checks without creating.
func createTopic(ctx context.Context, cl *kgo.Client, spec newTopicSpec, validateOnly bool) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = requestTimeoutMs
	req.ValidateOnly = validateOnly
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic = spec.name
	t.NumPartitions = spec.partitions
	t.ReplicationFactor = spec.replicationFactor
	for i, replicas := range spec.assignment {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition = int32(i)
		a.Replicas = replicas
		t.ReplicaAssignment = append(t.ReplicaAssignment, a)
		t.NumPartitions, t.ReplicationFactor = -1, -1
	}
	for _, k := range sortedKeys(spec.configs) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name = k
		c.Value = kmsg.StringPtr(spec.configs[k])
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)
	_, err := ask(ctx, cl, req)
	return err
}

// createPartitions raises the topic's number of partitions to count; replicas
// of the new ones may be given.
func createPartitions(ctx context.Context, cl *kgo.Client, topic string, count int32, assignment [][]int32) error {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.TimeoutMillis = requestTimeoutMs
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic = topic
	t.Count = count
	for _, replicas := range assignment {
		a := kmsg.NewCreatePartitionsRequestTopicAssignment()
		a.Replicas = replicas
		t.Assignment = append(t.Assignment, a)
	}
	req.Topics = append(req.Topics, t)
	_, err := ask(ctx, cl, req)
	return err
}

// deleteTopics deletes the topics and returns the first error; the others are
// deleted all the same.
func deleteTopics(ctx context.Context, cl *kgo.Client, names []string) error {
	if len(names) == 0 {
		return nil
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = requestTimeoutMs
	req.TopicNames = names
	for _, name := range names {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	_, err := ask(ctx, cl, req)
	return err
}

// topicFilter is Kafka's IncludeList: a regular expression that must match the
// whole name, in which a comma means "or".
type topicFilter struct{ re *regexp.Regexp }

func newTopicFilter(raw string) (*topicFilter, error) {
	pattern := strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(raw), ",", "|"), " ", "")
	pattern = strings.Trim(pattern, `"'`)
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("%s is an invalid regex.", raw)
	}
	return &topicFilter{re}, nil
}

func (f *topicFilter) matches(name string) bool { return f.re.MatchString(name) }

// isInternalTopic reports whether Kafka counts the topic as its own.
func isInternalTopic(name string) bool {
	return name == "__consumer_offsets" || name == "__transaction_state" || name == "__share_group_state"
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
