package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/metadata"
)

// OffsetFetch, versions 1 to 10.
//
//	v2   null topics ask for all of the group's, an error for the group
//	v5   leader epoch (KIP-320)
//	v6   flexible
//	v7   require stable (KIP-447)
//	v8   several groups (KIP-709)
//	v9   member id and epoch, which classic groups do not check (KIP-848)
//	v10  topic ids instead of names (KIP-848)
func init() {
	register(API{Key: 9, Min: 1, Max: 10, Handle: handleOffsetFetch})
}

// offsetFetchTopicIDs is the first version with topic ids.
const offsetFetchTopicIDs = 10

func handleOffsetFetch(b *Broker, r *Request) {
	req := r.Body.(*kmsg.OffsetFetchRequest)
	if req.Version < offsetFetchTopicIDs {
		handleByGroup(b, r)
		return
	}
	img := b.meta.Image()
	unknown := make([][]kmsg.OffsetFetchResponseGroupTopic, len(req.Groups))
	for i := range req.Groups {
		unknown[i] = nameFetchTopics(img, &req.Groups[i])
	}
	b.group.Handle(req, r.groupMeta(), func(answer kmsg.Response) {
		resp := answer.(*kmsg.OffsetFetchResponse)
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if g.ErrorCode != 0 {
				continue
			}
			g.Topics = append(identifyFetchTopics(b.meta.Image(), g.Topics), unknown[i]...)
		}
		r.Reply(resp)
	})
}

// nameFetchTopics sets the names of the topics asked for by id. It takes out
// those that do not exist and returns their answers.
func nameFetchTopics(img *metadata.Image, g *kmsg.OffsetFetchRequestGroup) (unknown []kmsg.OffsetFetchResponseGroupTopic) {
	if g.Topics == nil {
		return nil
	}
	known := g.Topics[:0]
	for _, t := range g.Topics {
		if topic := img.TopicByID(t.TopicID); topic != nil {
			t.Topic = topic.Name
			known = append(known, t)
			continue
		}
		rt := kmsg.OffsetFetchResponseGroupTopic{TopicID: t.TopicID}
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			rp.Partition, rp.Offset, rp.ErrorCode = p, -1, kerr.UnknownTopicID.Code
			rp.Metadata = kmsg.StringPtr("")
			rt.Partitions = append(rt.Partitions, rp)
		}
		unknown = append(unknown, rt)
	}
	g.Topics = known
	return unknown
}

// identifyFetchTopics sets the ids of topics that were not asked for by id, as
// when all were. A topic that is gone has none and is left out.
func identifyFetchTopics(img *metadata.Image, topics []kmsg.OffsetFetchResponseGroupTopic) []kmsg.OffsetFetchResponseGroupTopic {
	kept := topics[:0]
	for _, t := range topics {
		if t.TopicID == [16]byte{} {
			topic := img.Topic(t.Topic)
			if topic == nil {
				continue
			}
			t.TopicID = topic.ID
		}
		kept = append(kept, t)
	}
	return kept
}
