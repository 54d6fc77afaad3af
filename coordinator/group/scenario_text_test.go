package group

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// buildRequest makes a request from a script's command. Protocols are
// name:metadata, assignments member:bytes, partitions topic-n=offset.
func buildRequest(name string, a args) kmsg.Request {
	group := a.str("group", "g")
	switch name {
	case "join":
		r := kmsg.NewPtrJoinGroupRequest()
		r.Version = int16(a.int("v", 9))
		r.Group, r.MemberID, r.InstanceID, r.Reason = group, a["member"], a.ptr("instance"), a.ptr("reason")
		r.ProtocolType = a.str("type", "consumer")
		r.SessionTimeoutMillis = int32(a.int("session", 10000))
		r.RebalanceTimeoutMillis = int32(a.int("rebalance", 60000))
		for _, p := range strings.Split(a.str("protocols", "range:"), ",") {
			n, metadata, _ := strings.Cut(p, ":")
			r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: n, Metadata: metadataBytes(metadata)})
		}
		return r
	case "sync":
		r := kmsg.NewPtrSyncGroupRequest()
		r.Version = 5
		r.Group, r.MemberID, r.InstanceID, r.Generation = group, a["member"], a.ptr("instance"), int32(a.int("generation", 1))
		r.ProtocolType, r.Protocol = a.ptr("type"), a.ptr("protocol")
		for _, as := range a.list("assign") {
			m, b, _ := strings.Cut(as, ":")
			r.GroupAssignment = append(r.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: m, MemberAssignment: []byte(b)})
		}
		return r
	case "heartbeat":
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version = 4
		r.Group, r.MemberID, r.InstanceID, r.Generation = group, a["member"], a.ptr("instance"), int32(a.int("generation", 1))
		return r
	case "leave":
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Version = int16(a.int("v", 5))
		r.Group, r.MemberID = group, a["member"]
		for _, m := range strings.Split(a.str("members", a["member"]), ",") {
			id, instance, ok := strings.Cut(m, "/")
			l := kmsg.LeaveGroupRequestMember{MemberID: id, Reason: a.ptr("reason")}
			if ok {
				l.InstanceID = &instance
			}
			r.Members = append(r.Members, l)
		}
		return r
	}
	return buildOffsetRequest(name, group, a)
}

func buildOffsetRequest(name, group string, a args) kmsg.Request {
	topic := a.str("topic", "t")
	switch name {
	case "commit":
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Version = int16(a.int("v", 9))
		r.Group, r.MemberID, r.InstanceID, r.Generation = group, a["member"], a.ptr("instance"), int32(a.int("generation", -1))
		r.RetentionTimeMillis = a.int("retention", -1)
		t := kmsg.OffsetCommitRequestTopic{Topic: topic, TopicID: topicID(a)}
		for _, po := range a.list("offsets") {
			p, o, _ := strings.Cut(po, ":")
			t.Partitions = append(t.Partitions, kmsg.OffsetCommitRequestTopicPartition{
				Partition: int32(args{"p": p}.int("p", 0)), Offset: args{"o": o}.int("o", 0), LeaderEpoch: int32(a.int("epoch", -1)), Metadata: a.ptr("metadata"),
			})
		}
		r.Topics = append(r.Topics, t)
		return r
	case "fetch":
		r := kmsg.NewPtrOffsetFetchRequest()
		r.Version = 9
		r.RequireStable = a.str("stable", "") == "true"
		for _, g := range strings.Split(group, ",") {
			fg := kmsg.NewOffsetFetchRequestGroup()
			fg.Group = g
			if p := a.list("partitions"); p != nil {
				t := kmsg.OffsetFetchRequestGroupTopic{Topic: topic, TopicID: topicID(a)}
				for _, n := range p {
					t.Partitions = append(t.Partitions, int32(args{"p": n}.int("p", 0)))
				}
				fg.Topics = append(fg.Topics, t)
			}
			r.Groups = append(r.Groups, fg)
		}
		return r
	case "offset-delete":
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = group
		t := kmsg.OffsetDeleteRequestTopic{Topic: topic}
		for _, n := range a.list("partitions") {
			t.Partitions = append(t.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: int32(args{"p": n}.int("p", 0))})
		}
		r.Topics = append(r.Topics, t)
		return r
	case "describe":
		return &kmsg.DescribeGroupsRequest{Version: int16(a.int("v", 6)), Groups: strings.Split(group, ",")}
	case "list":
		return &kmsg.ListGroupsRequest{Version: 5, StatesFilter: a.list("states"), TypesFilter: a.list("types")}
	case "delete":
		return &kmsg.DeleteGroupsRequest{Version: 2, Groups: strings.Split(group, ",")}
	}
	return nil
}

// metadataBytes is a subscription for "topics(a;b)", else the text itself.
func metadataBytes(s string) []byte {
	list, ok := strings.CutPrefix(s, "topics(")
	if !ok {
		return []byte(s)
	}
	m := kmsg.ConsumerMemberMetadata{Topics: strings.Split(strings.TrimSuffix(list, ")"), ";")}
	return m.AppendTo(nil)
}

func code(c int16) string {
	if c == 0 {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(c); e != nil {
		return e.Message
	}
	return strconv.Itoa(int(c))
}

func deref(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

// describe is a response in one line.
func describe(resp kmsg.Response) string {
	var b strings.Builder
	switch r := resp.(type) {
	case *kmsg.JoinGroupResponse:
		fmt.Fprintf(&b, "join %s member=%q", code(r.ErrorCode), r.MemberID)
		if r.Generation >= 0 {
			fmt.Fprintf(&b, " generation=%d protocol=%s/%s leader=%s skip=%v members=[", r.Generation, deref(r.ProtocolType), deref(r.Protocol), r.LeaderID, r.SkipAssignment)
			for i, m := range r.Members {
				fmt.Fprintf(&b, "%s%s", map[bool]string{true: " "}[i > 0], m.MemberID)
				if m.InstanceID != nil {
					fmt.Fprintf(&b, "/%s", *m.InstanceID)
				}
				fmt.Fprintf(&b, ":%q", m.ProtocolMetadata)
			}
			b.WriteString("]")
		}
	case *kmsg.SyncGroupResponse:
		fmt.Fprintf(&b, "sync %s", code(r.ErrorCode))
		if r.ErrorCode == 0 {
			fmt.Fprintf(&b, " protocol=%s/%s assignment=%q", deref(r.ProtocolType), deref(r.Protocol), r.MemberAssignment)
		}
	case *kmsg.HeartbeatResponse:
		fmt.Fprintf(&b, "heartbeat %s", code(r.ErrorCode))
	case *kmsg.LeaveGroupResponse:
		fmt.Fprintf(&b, "leave %s", code(r.ErrorCode))
		for _, m := range r.Members {
			fmt.Fprintf(&b, " %q/%s=%s", m.MemberID, deref(m.InstanceID), code(m.ErrorCode))
		}
	default:
		describeOffsets(&b, resp)
	}
	return b.String()
}

func describeOffsets(b *strings.Builder, resp kmsg.Response) {
	switch r := resp.(type) {
	case *kmsg.OffsetCommitResponse:
		b.WriteString("commit")
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(b, " %s-%d=%s", t.Topic, p.Partition, code(p.ErrorCode))
			}
		}
	case *kmsg.OffsetFetchResponse:
		b.WriteString("fetch")
		for _, g := range r.Groups {
			fmt.Fprintf(b, " %s=%s(", g.Group, code(g.ErrorCode))
			var parts []string
			for _, t := range g.Topics {
				for _, p := range t.Partitions {
					text := fmt.Sprintf("%s-%d:%d", t.Topic, p.Partition, p.Offset)
					if p.LeaderEpoch >= 0 {
						text += fmt.Sprintf(" epoch=%d", p.LeaderEpoch)
					}
					if p.ErrorCode != 0 {
						text += " " + code(p.ErrorCode)
					}
					if m := deref(p.Metadata); m != "" {
						text += fmt.Sprintf(" metadata=%q", m)
					}
					parts = append(parts, text)
				}
			}
			fmt.Fprintf(b, "%s)", strings.Join(parts, ", "))
		}
	case *kmsg.OffsetDeleteResponse:
		fmt.Fprintf(b, "offset-delete %s", code(r.ErrorCode))
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(b, " %s-%d=%s", t.Topic, p.Partition, code(p.ErrorCode))
			}
		}
	case *kmsg.DescribeGroupsResponse:
		b.WriteString("describe")
		for _, g := range r.Groups {
			fmt.Fprintf(b, " %s=%s state=%s type=%q protocol=%q members=[", g.Group, code(g.ErrorCode), g.State, g.ProtocolType, g.Protocol)
			for i, m := range g.Members {
				fmt.Fprintf(b, "%s%s/%s client=%s host=%s metadata=%q assignment=%q", map[bool]string{true: "; "}[i > 0],
					m.MemberID, deref(m.InstanceID), m.ClientID, m.ClientHost, m.ProtocolMetadata, m.MemberAssignment)
			}
			b.WriteString("]")
			if g.ErrorMessage != nil {
				fmt.Fprintf(b, " message=%q", *g.ErrorMessage)
			}
		}
	case *kmsg.ListGroupsResponse:
		fmt.Fprintf(b, "list %s", code(r.ErrorCode))
		for _, g := range r.Groups {
			fmt.Fprintf(b, " %s/%s/%s/%s", g.Group, g.ProtocolType, g.GroupState, g.GroupType)
		}
	case *kmsg.DeleteGroupsResponse:
		b.WriteString("delete")
		for _, g := range r.Groups {
			fmt.Fprintf(b, " %s=%s", g.Group, code(g.ErrorCode))
		}
	}
}

// describeRecord is a record in one line.
func describeRecord(r Record) string {
	d, err := decodeRecord(r.Key, r.Value)
	switch {
	case err != nil:
		return err.Error()
	case d.isOffset && d.tombstone:
		return fmt.Sprintf("offset %s %s-%d deleted", d.groupID, d.topic, d.partition)
	case d.isOffset:
		text := fmt.Sprintf("offset %s %s-%d: %d metadata=%q at=%d", d.groupID, d.topic, d.partition, d.offset.offset, d.offset.metadata, d.offset.commitTimestampMs)
		if d.offset.expireTimestampMs >= 0 {
			text += fmt.Sprintf(" expires=%d", d.offset.expireTimestampMs)
		}
		return text
	case d.tombstone:
		return fmt.Sprintf("group %s deleted", d.groupID)
	}
	var members []string
	for _, m := range d.group.Members {
		members = append(members, fmt.Sprintf("%s:%q", m.MemberID, m.Assignment))
	}
	sort.Strings(members)
	return fmt.Sprintf("group %s generation=%d type=%q protocol=%s leader=%s members=[%s]", d.groupID, d.group.Generation,
		d.group.ProtocolType, deref(d.group.Protocol), deref(d.group.Leader), strings.Join(members, " "))
}
