package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetDelete, version 0 (KIP-496).
//
// Partitions that do not exist are refused here, the others go to the group's
// coordinator. Its error for the whole group is the whole answer.
func init() {
	register(API{Key: 47, Min: 0, Max: 0, Handle: handleOffsetDelete})
}

func handleOffsetDelete(b *Broker, r *Request) {
	req := r.Body.(*kmsg.OffsetDeleteRequest)
	img := b.meta.Image()
	resp := kmsg.NewPtrOffsetDeleteResponse()
	var valid []kmsg.OffsetDeleteRequestTopic
	var at []int // at[i] is where valid[i] is answered
	for _, t := range req.Topics {
		rt := kmsg.OffsetDeleteResponseTopic{Topic: t.Topic}
		topic := img.Topic(t.Topic)
		var known []kmsg.OffsetDeleteRequestTopicPartition
		for _, p := range t.Partitions {
			if topic != nil && topic.Partition(p.Partition) != nil {
				known = append(known, p)
				continue
			}
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteResponseTopicPartition{
				Partition: p.Partition, ErrorCode: kerr.UnknownTopicOrPartition.Code,
			})
		}
		if len(known) > 0 {
			valid = append(valid, kmsg.OffsetDeleteRequestTopic{Topic: t.Topic, Partitions: known})
			at = append(at, len(resp.Topics))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	req.Topics = valid
	b.group.Handle(req, r.groupMeta(), func(answer kmsg.Response) {
		result := answer.(*kmsg.OffsetDeleteResponse)
		if result.ErrorCode != 0 {
			r.Reply(result)
			return
		}
		for i, t := range result.Topics {
			rt := &resp.Topics[at[i]]
			rt.Partitions = append(rt.Partitions, t.Partitions...)
		}
		r.Reply(resp)
	})
}
