package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionReassignments, versions 0 and 1 (KIP-455): moves replicas, or
// stops moving them.
//
//	v1  the client says whether the replication factor may change (KIP-860)
func init() {
	registerController(controllerAPI{Key: 45, Min: 0, Max: 1, decide: decideReassignments, refuse: refuseReassignments, clients: true})
}

func decideReassignments(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.AlterPartitionAssignmentsRequest)
	var wishes []metadata.ReassignmentWish
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			wishes = append(wishes, metadata.ReassignmentWish{
				TopicPartition: metadata.TopicPartition{Topic: topic.Topic, Partition: p.Partition}, Replicas: p.Replicas})
		}
	}
	mayChange := req.Version < 1 || req.AllowReplicationFactorChange
	var results []metadata.ReassignmentResult
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.AlterReassignments(img, wishes, mayChange)
		return records
	})
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = mayChange
	next := 0
	for _, topic := range req.Topics {
		answer := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: topic.Topic}
		for range topic.Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = results[next].Partition
			p.ErrorCode, p.ErrorMessage = codeAndMessage(results[next].Err)
			answer.Partitions = append(answer.Partitions, p)
			next++
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp, nil
}

func refuseReassignments(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp
}
