package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/coordinator/group"
)

// OffsetCommit, versions 2 to 10.
//
//	v2   retention time of the request's own (until v4)
//	v5   retention is the broker's (KIP-211)
//	v6   leader epoch (KIP-320)
//	v7   group instance id (KIP-345)
//	v8   flexible
//	v9   GROUP_ID_NOT_FOUND for unknown groups (KIP-848)
//	v10  topic ids instead of names (KIP-848)
//
// Partitions that do not exist are refused here, the others go to the group's
// coordinator. The topic's id is stored with the offset in every version.
func init() {
	register(API{Key: 8, Min: 2, Max: 10, Handle: handleOffsetCommit})
}

// offsetCommitTopicIDs is the first version with topic ids.
const offsetCommitTopicIDs = 10

func handleOffsetCommit(b *Broker, r *Request) {
	req := r.Body.(*kmsg.OffsetCommitRequest)
	img := b.meta.Image()
	resp := kmsg.NewPtrOffsetCommitResponse()
	var valid []kmsg.OffsetCommitRequestTopic
	var at []int // at[i] is where valid[i] is answered
	for _, t := range req.Topics {
		rt := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		topic, unknown := img.Topic(t.Topic), kerr.UnknownTopicOrPartition
		if req.Version >= offsetCommitTopicIDs {
			topic, unknown = img.TopicByID(t.TopicID), kerr.UnknownTopicID
		}
		var known []kmsg.OffsetCommitRequestTopicPartition
		for _, p := range t.Partitions {
			code := unknown.Code
			if topic != nil {
				if topic.Partition(p.Partition) != nil {
					known = append(known, p)
					continue
				}
				code = kerr.UnknownTopicOrPartition.Code
			}
			rt.Partitions = append(rt.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: code})
		}
		if len(known) > 0 {
			valid = append(valid, kmsg.OffsetCommitRequestTopic{Topic: topic.Name, TopicID: topic.ID, Partitions: known})
			at = append(at, len(resp.Topics))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(valid) == 0 {
		r.Reply(resp)
		return
	}
	req.Topics = valid
	b.group.Handle(req, r.groupMeta(), func(answer kmsg.Response) {
		for i, t := range answer.(*kmsg.OffsetCommitResponse).Topics {
			rt := &resp.Topics[at[i]]
			rt.Partitions = append(rt.Partitions, t.Partitions...)
		}
		r.Reply(resp)
	})
}

// groupMeta is what the group coordinator wants to know about a client.
func (r *Request) groupMeta() group.RequestMeta {
	return group.RequestMeta{ClientID: r.ClientID, ClientHost: r.ClientHost}
}

// handleByGroup passes a request to the group coordinator as it is.
func handleByGroup(b *Broker, r *Request) {
	b.group.Handle(r.Body, r.groupMeta(), r.Reply)
}
