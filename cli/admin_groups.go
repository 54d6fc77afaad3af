package cli

import (
	"context"
	"errors"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupListing is a group as ListGroups shows it.
type groupListing struct {
	ID       string `json:"group"`
	Type     string `json:"type"` // Classic, Consumer, Share, Streams or Unknown
	Protocol string `json:"protocol"`
	State    string `json:"state"`
}

// listGroups asks every broker for its groups; types and states narrow the
// answer when given.
func listGroups(ctx context.Context, cl *kgo.Client, types, states []string) ([]groupListing, error) {
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter = states
	req.TypesFilter = types
	var groups []groupListing
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		resp := shard.Resp.(*kmsg.ListGroupsResponse)
		if err := newBrokerError(resp.ErrorCode, nil); err != nil {
			return nil, err
		}
		for _, g := range resp.Groups {
			groups = append(groups, groupListing{g.Group, titleWord(g.GroupType), g.ProtocolType, g.GroupState})
		}
	}
	return groups, nil
}

// titleWord spells a type or state as Kafka does: a capital first.
func titleWord(s string) string {
	if s == "" {
		return "Unknown"
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// isConsumerListing keeps what kafka-consumer-groups.sh shows: groups of
// consumers, and those whose protocol is not known because they are empty.
func isConsumerListing(g groupListing) bool {
	return (g.Protocol == "" || g.Protocol == "consumer") && g.Type != "Share" && g.Type != "Streams"
}

// groupDetail describes a group of consumers. Epochs are -1 in a classic group.
type groupDetail struct {
	ID                    string         `json:"group"`
	Type                  string         `json:"type"`
	State                 string         `json:"state"`
	Assignor              string         `json:"assignor"`
	Coordinator           brokerAddress  `json:"coordinator"`
	Epoch                 int32          `json:"epoch"`
	TargetAssignmentEpoch int32          `json:"target_assignment_epoch"`
	Members               []memberDetail `json:"members"`
}

type brokerAddress struct {
	ID   int32  `json:"id"`
	Host string `json:"host"`
	Port int32  `json:"port"`
}

// memberDetail is a member; its epoch is -1 in a classic group.
type memberDetail struct {
	ID         string         `json:"member_id"`
	InstanceID string         `json:"instance_id,omitempty"`
	ClientID   string         `json:"client_id"`
	Host       string         `json:"host"`
	Epoch      int32          `json:"epoch"`
	Kind       int8           `json:"-"` // -1 unknown, 0 classic, 1 consumer protocol
	Assigned   []partitionKey `json:"-"`
	Target     []partitionKey `json:"-"`
}

// describeGroup asks by the consumer protocol first and falls back to the
// classic one, as Kafka's admin client does.
func describeGroup(ctx context.Context, cl *kgo.Client, id string) (*groupDetail, error) {
	adm := kadm.NewClient(cl)
	described, err := adm.DescribeConsumerGroups(ctx, id)
	if g, ok := described[id]; err == nil && ok && g.Err == nil {
		return consumerGroupDetail(g), nil
	}
	classic, err := classicGroup(ctx, cl, id)
	if err != nil {
		return nil, err
	}
	return classic, nil
}

func consumerGroupDetail(g kadm.DescribedConsumerGroup) *groupDetail {
	d := &groupDetail{ID: g.Group, Type: "Consumer", State: titleWord(g.State), Assignor: g.AssignorName,
		Coordinator: addressOf(g.Coordinator), Epoch: g.Epoch, TargetAssignmentEpoch: g.AssignmentEpoch}
	for _, m := range g.Members {
		member := memberDetail{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost, Epoch: m.MemberEpoch, Kind: m.MemberType,
			Assigned: topicsSetPartitions(m.Assignment), Target: topicsSetPartitions(m.TargetAssignment)}
		if m.InstanceID != nil {
			member.InstanceID = *m.InstanceID
		}
		d.Members = append(d.Members, member)
	}
	return d
}

func addressOf(b kadm.BrokerDetail) brokerAddress { return brokerAddress{b.NodeID, b.Host, b.Port} }

func topicsSetPartitions(set kadm.TopicsSet) []partitionKey {
	all := map[partitionKey]bool{}
	set.Each(func(topic string, partition int32) { all[partitionKey{topic, partition}] = true })
	return sortedPartitions(all)
}

// classicGroup describes a group by DescribeGroups. Its coordinator's address
// comes from FindCoordinator.
func classicGroup(ctx context.Context, cl *kgo.Client, id string) (*groupDetail, error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{id}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, err
	}
	for _, g := range resp.Groups {
		if g.Group != id {
			continue
		}
		if err := newBrokerError(g.ErrorCode, g.ErrorMessage); err != nil {
			return nil, err
		}
		if g.ProtocolType != "" && g.ProtocolType != "consumer" {
			return nil, errors.New("GroupId " + id + " is not a consumer group (" + g.ProtocolType + ").")
		}
		d := &groupDetail{ID: id, Type: "Classic", State: g.State, Assignor: g.Protocol, Epoch: -1, TargetAssignmentEpoch: -1}
		if d.Coordinator, err = coordinatorOf(ctx, cl, id); err != nil {
			return nil, err
		}
		for _, m := range g.Members {
			d.Members = append(d.Members, classicMember(&m))
		}
		sort.Slice(d.Members, func(i, j int) bool { return d.Members[i].ID < d.Members[j].ID })
		return d, nil
	}
	return nil, &brokerError{code: kerr.GroupIDNotFound, message: "Group " + id + " not found."}
}

func classicMember(m *kmsg.DescribeGroupsResponseGroupMember) memberDetail {
	d := memberDetail{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost, Epoch: -1, Kind: -1}
	if m.InstanceID != nil {
		d.InstanceID = *m.InstanceID
	}
	var assignment kmsg.ConsumerMemberAssignment
	if len(m.MemberAssignment) > 0 && assignment.ReadFrom(m.MemberAssignment) == nil {
		all := map[partitionKey]bool{}
		for _, t := range assignment.Topics {
			for _, p := range t.Partitions {
				all[partitionKey{t.Topic, p}] = true
			}
		}
		d.Assigned = sortedPartitions(all)
	}
	return d
}

func coordinatorOf(ctx context.Context, cl *kgo.Client, group string) (brokerAddress, error) {
	found := kadm.NewClient(cl).FindGroupCoordinators(ctx, group)
	r, ok := found[group]
	if !ok {
		return brokerAddress{}, errors.New("no broker coordinates group " + group)
	}
	return brokerAddress{r.NodeID, r.Host, r.Port}, r.Err
}

// committed is a group's offset for a partition; the epoch is -1 when unknown.
type committed struct {
	offset      int64
	leaderEpoch int32
}

// committedOffsets returns what the group has committed.
func committedOffsets(ctx context.Context, cl *kgo.Client, group string) (map[partitionKey]committed, error) {
	responses, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
	if err != nil {
		return nil, err
	}
	offsets := map[partitionKey]committed{}
	responses.Each(func(r kadm.OffsetResponse) {
		if r.Err == nil && r.At >= 0 {
			offsets[partitionKey{r.Topic, r.Partition}] = committed{r.At, r.LeaderEpoch}
		}
	})
	return offsets, nil
}

// commitOffsets sets a group's offsets; the group must have no members.
func commitOffsets(ctx context.Context, cl *kgo.Client, group string, offsets map[partitionKey]int64) error {
	var list kadm.Offsets
	for key, offset := range offsets {
		list.Add(kadm.Offset{Topic: key.topic, Partition: key.partition, At: offset, LeaderEpoch: -1})
	}
	return kadm.NewClient(cl).CommitAllOffsets(ctx, group, list)
}

// deleteGroups deletes groups; the map has an entry, nil for success, for each.
func deleteGroups(ctx context.Context, cl *kgo.Client, ids []string) (map[string]error, error) {
	results := map[string]error{}
	if len(ids) == 0 {
		return results, nil
	}
	responses, err := kadm.NewClient(cl).DeleteGroups(ctx, ids...)
	if err != nil && len(responses) == 0 {
		return nil, err
	}
	for _, id := range ids {
		results[id] = responses[id].Err
	}
	return results, nil
}

// deleteGroupOffsets removes a group's offsets; the map has an entry, nil for
// success, for each partition.
func deleteGroupOffsets(ctx context.Context, cl *kgo.Client, group string, keys []partitionKey) (map[partitionKey]error, error) {
	set := kadm.TopicsSet{}
	for _, key := range keys {
		set.Add(key.topic, key.partition)
	}
	responses, err := kadm.NewClient(cl).DeleteOffsets(ctx, group, set)
	if err != nil {
		return nil, err
	}
	results := map[partitionKey]error{}
	for topic, partitions := range responses {
		for partition, err := range partitions {
			results[partitionKey{topic, partition}] = err
		}
	}
	return results, nil
}

// MarshalText lets partitions be keys and words in JSON.
func (k partitionKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// isGroupMissing reports whether the group does not exist.
func isGroupMissing(err error) bool { return errors.Is(err, kerr.GroupIDNotFound) }
