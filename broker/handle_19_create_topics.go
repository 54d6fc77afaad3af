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
// A topic is on disk and its logs are open when the answer leaves, so the
// timeout of the request never matters.
func init() {
	register(API{Key: 19, Min: 2, Max: 7, Handle: handleCreateTopics})
}

func handleCreateTopics(b *Broker, r *Request) {
	req := r.Body.(*kmsg.CreateTopicsRequest)
	topics := make([]metadata.NewTopic, len(req.Topics))
	for i := range req.Topics {
		topics[i] = newTopic(&req.Topics[i])
	}
	var results []metadata.NewTopicResult
	_, failed := b.changeMetadata(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.CreateTopics(img, topics, req.ValidateOnly)
		return records
	})
	resp := kmsg.NewPtrCreateTopicsResponse()
	answered := map[string]bool{}
	for _, result := range results {
		if answered[result.Name] {
			continue // a duplicate name is answered once
		}
		answered[result.Name] = true
		if result.Err == nil {
			result.Err = failed
		}
		resp.Topics = append(resp.Topics, b.createdTopic(&result))
	}
	r.Reply(resp)
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
