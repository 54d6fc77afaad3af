package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions, versions 0 to 3 (KIP-195).
//
//	v2  flexible
//	v3  THROTTLING_QUOTA_EXCEEDED, which does not occur here (KIP-599)
func init() {
	register(API{Key: 37, Min: 0, Max: 3, Handle: handleCreatePartitions})
}

func handleCreatePartitions(b *Broker, r *Request) {
	req := r.Body.(*kmsg.CreatePartitionsRequest)
	wishes := make([]metadata.PartitionsWish, len(req.Topics))
	for i, topic := range req.Topics {
		wishes[i] = metadata.PartitionsWish{Topic: topic.Topic, Count: topic.Count}
		if topic.Assignment != nil {
			wishes[i].Assignments = make([][]int32, len(topic.Assignment))
			for j, assignment := range topic.Assignment {
				wishes[i].Assignments[j] = assignment.Replicas
			}
		}
	}
	var results []metadata.PartitionsResult
	_, failed := b.changeMetadata(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.CreatePartitions(img, wishes, req.ValidateOnly)
		return records
	})
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for _, result := range results {
		if result.Err == nil {
			result.Err = failed
		}
		answer := kmsg.NewCreatePartitionsResponseTopic()
		answer.Topic = result.Topic
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(result.Err)
		resp.Topics = append(resp.Topics, answer)
	}
	r.Reply(resp)
}
