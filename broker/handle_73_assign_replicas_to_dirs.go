package broker

import (
	"slices"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AssignReplicasToDirs, version 0 (KIP-858), answered by controllers: brokers
// with several log directories say which one holds which replica.
func init() {
	registerController(controllerAPI{Key: 73, Min: 0, Max: 0, decide: decideAssignDirs, refuse: refuseAssignDirs})
}

func decideAssignDirs(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.AssignReplicasToDirsRequest)
	assigned := map[metadata.UUID]map[int32]metadata.UUID{}
	for _, dir := range req.Directories {
		for _, topic := range dir.Topics {
			if assigned[topic.TopicID] == nil {
				assigned[topic.TopicID] = map[int32]metadata.UUID{}
			}
			for _, p := range topic.Partitions {
				assigned[topic.TopicID][p.Partition] = dir.ID
			}
		}
	}
	stale := false
	img, err := b.change(func(c *metadata.Controller, img *metadata.Image) []metadata.Record {
		if stale = img.BrokerEpoch(req.BrokerID) != req.BrokerEpoch; stale {
			return nil
		}
		return c.AssignDirs(img, req.BrokerID, assigned)
	})
	if err != nil {
		return nil, err
	}
	if stale {
		return refuseAssignDirs(req, &metadata.Error{Code: metadata.CodeStaleBrokerEpoch}), nil
	}
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	for _, dir := range req.Directories {
		answer := kmsg.AssignReplicasToDirsResponseDirectory{ID: dir.ID}
		for _, topic := range dir.Topics {
			t := kmsg.AssignReplicasToDirsResponseDirectoryTopic{TopicID: topic.TopicID}
			for _, p := range topic.Partitions {
				t.Partitions = append(t.Partitions, kmsg.AssignReplicasToDirsResponseDirectoryTopicPartition{
					Partition: p.Partition, ErrorCode: assignedCode(img, req.BrokerID, topic.TopicID, p.Partition)})
			}
			answer.Topics = append(answer.Topics, t)
		}
		resp.Directories = append(resp.Directories, answer)
	}
	return resp, nil
}

// assignedCode is what is wrong with an assignment, 0 for nothing.
func assignedCode(img *metadata.Image, broker int32, topicID [16]byte, partition int32) int16 {
	topic := img.TopicByID(topicID)
	switch {
	case topic == nil:
		return int16(metadata.CodeUnknownTopicID)
	case topic.Partition(partition) == nil:
		return int16(metadata.CodeUnknownTopicOrPartition)
	case !slices.Contains(topic.Partition(partition).Replicas, broker):
		return int16(metadata.CodeNotLeaderOrFollower)
	}
	return 0
}

func refuseAssignDirs(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	resp.ErrorCode = int16(err.Code)
	return resp
}
