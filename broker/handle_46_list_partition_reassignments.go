package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments, version 0 (KIP-455): what is on the move, by the
// active controller's newest state.
func init() {
	registerController(controllerAPI{Key: 46, Min: 0, Max: 0, decide: decideListReassignments, refuse: refuseListReassignments, clients: true})
}

func decideListReassignments(b *Broker, r *Request) (kmsg.Response, error) {
	if !b.isActiveController() {
		return nil, errNotController
	}
	req := r.Body.(*kmsg.ListPartitionReassignmentsRequest)
	var asked []metadata.TopicPartition
	if req.Topics != nil {
		asked = []metadata.TopicPartition{}
	}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			asked = append(asked, metadata.TopicPartition{Topic: topic.Topic, Partition: p})
		}
	}
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	for _, move := range b.meta.Image().Reassignments(asked) {
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != move.Topic {
			resp.Topics = append(resp.Topics, kmsg.ListPartitionReassignmentsResponseTopic{Topic: move.Topic})
		}
		topic := &resp.Topics[len(resp.Topics)-1]
		topic.Partitions = append(topic.Partitions, kmsg.ListPartitionReassignmentsResponseTopicPartition{
			Partition: move.Partition, Replicas: move.Replicas, AddingReplicas: move.Adding, RemovingReplicas: move.Removing})
	}
	return resp, nil
}

func refuseListReassignments(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp
}
