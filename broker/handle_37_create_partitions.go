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
	registerController(controllerAPI{Key: 37, Min: 0, Max: 3, decide: decideCreatePartitions, refuse: refuseCreatePartitions, clients: true})
}

func decideCreatePartitions(b *Broker, r *Request) (kmsg.Response, error) {
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
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.CreatePartitions(img, wishes, req.ValidateOnly)
		return records
	})
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for _, result := range results {
		answer := kmsg.NewCreatePartitionsResponseTopic()
		answer.Topic = result.Topic
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(result.Err)
		resp.Topics = append(resp.Topics, answer)
	}
	return resp, nil
}

func refuseCreatePartitions(req kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for _, topic := range req.(*kmsg.CreatePartitionsRequest).Topics {
		answer := kmsg.NewCreatePartitionsResponseTopic()
		answer.Topic = topic.Topic
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(err)
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}
