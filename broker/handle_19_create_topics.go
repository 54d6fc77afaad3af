package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics, versions 2 to 7.
//
//	v4  partitions and replication factor may be left to the broker (KIP-464)
//	v5  flexible; the configuration of the new topic (KIP-525)
//	v7  topic id (KIP-516)
//
// A topic is on the disks of a majority of the controllers, and its logs on
// this broker are open, when the answer leaves.
func init() {
	registerController(controllerAPI{Key: 19, Min: 2, Max: 7, decide: decideCreateTopics, refuse: refuseCreateTopics, clients: true})
}

func decideCreateTopics(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.CreateTopicsRequest)
	topics := make([]metadata.NewTopic, len(req.Topics))
	for i := range req.Topics {
		topics[i] = newTopic(&req.Topics[i])
	}
	var results []metadata.NewTopicResult
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.CreateTopics(img, topics, req.ValidateOnly)
		return records
	})
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrCreateTopicsResponse()
	answered := map[string]bool{}
	for _, result := range results {
		if answered[result.Name] {
			continue // a duplicate name is answered once
		}
		answered[result.Name] = true
		resp.Topics = append(resp.Topics, b.createdTopic(&result))
	}
	return resp, nil
}

func refuseCreateTopics(req kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrCreateTopicsResponse()
	for _, topic := range req.(*kmsg.CreateTopicsRequest).Topics {
		answer := kmsg.NewCreateTopicsResponseTopic()
		answer.Topic, answer.Configs = topic.Topic, []kmsg.CreateTopicsResponseTopicConfig{}
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(err)
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

func newTopic(asked *kmsg.CreateTopicsRequestTopic) metadata.NewTopic {
	topic := metadata.NewTopic{Name: asked.Topic, NumPartitions: asked.NumPartitions, ReplicationFactor: asked.ReplicationFactor}
	for _, a := range asked.ReplicaAssignment {
		topic.Assignments = append(topic.Assignments, metadata.Assignment{Partition: a.Partition, Brokers: a.Replicas})
	}
	for _, c := range asked.Configs {
		topic.Configs = append(topic.Configs, metadata.ConfigValue{Key: c.Name, Value: c.Value})
	}
	return topic
}

func (b *Broker) createdTopic(result *metadata.NewTopicResult) kmsg.CreateTopicsResponseTopic {
	answer := kmsg.NewCreateTopicsResponseTopic()
	answer.Topic, answer.Configs = result.Name, []kmsg.CreateTopicsResponseTopicConfig{} // null is not expected
	answer.ErrorCode, answer.ErrorMessage = codeAndMessage(result.Err)
	if result.Err != nil {
		return answer
	}
	answer.TopicID, answer.NumPartitions, answer.ReplicationFactor = result.ID, result.NumPartitions, result.ReplicationFactor
	for _, entry := range b.Config().DescribeTopic(result.Configs, nil) {
		answer.Configs = append(answer.Configs, kmsg.CreateTopicsResponseTopicConfig{
			Name: entry.Name, Value: entry.Value, ReadOnly: entry.ReadOnly, Source: int8(entry.Source), IsSensitive: entry.Sensitive,
		})
	}
	return answer
}
