package broker

import (
	"log/slog"

	"freshet/coordinator/group"
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// autoCreateTimeMs bounds the wait for a topic that is created on demand; the
// client then asks again.
const autoCreateTimeMs = 5000

// createOnDemand creates topics that clients asked for with the configuration's
// defaults, and returns why some could not be. Topics that exist meanwhile are
// as good as created. It waits for the active controller.
func (b *Broker) createOnDemand(names []string) map[string]*metadata.Error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, autoCreateTimeMs
	refused := map[string]*metadata.Error{}
	for _, name := range names {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, -1, -1
		if name == metadata.OffsetsTopic {
			var err *metadata.Error
			if topic, err = b.offsetsTopic(); err != nil {
				refused[name] = err
				continue
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	if len(req.Topics) == 0 {
		return refused
	}
	answer, err := b.carryOutOwn(req)
	if err != nil {
		slog.Error("topics could not be created on demand", "topics", names, "error", err)
		for _, name := range names {
			refused[name] = refusal(kerr.UnknownTopicOrPartition)
		}
		return refused
	}
	for _, topic := range answer.(*kmsg.CreateTopicsResponse).Topics {
		if topic.ErrorCode == 0 || topic.ErrorCode == kerr.TopicAlreadyExists.Code {
			continue
		}
		refused[topic.Topic] = &metadata.Error{Code: metadata.Code(topic.ErrorCode)}
		if topic.ErrorMessage != nil {
			refused[topic.Topic].Message = *topic.ErrorMessage
		}
	}
	return refused
}

// offsetsTopic is __consumer_offsets as it is to be created. A broker that is a
// cluster by itself gives it one replica whatever
// offsets.topic.replication.factor says, so that it works without
// configuration. In a cluster of several controllers it waits, as Kafka does,
// until there are enough brokers: else the first client of a cluster that is
// just starting would leave all groups with a single replica for good.
func (b *Broker) offsetsTopic() (kmsg.CreateTopicsRequestTopic, *metadata.Error) {
	cfg := b.Config()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = group.OffsetsTopic, cfg.Group.OffsetsTopicNumPartitions, cfg.Group.OffsetsTopicReplicationFactor
	if n := int16(len(b.meta.Image().Brokers)); n < topic.ReplicationFactor {
		if !b.aloneInQuorum() {
			slog.Warn("the offsets topic waits for more brokers; groups find no coordinator until then", "brokers", n,
				"offsets.topic.replication.factor", topic.ReplicationFactor)
			return topic, &metadata.Error{Code: metadata.CodeInvalidReplicationFactor, Message: "There are fewer brokers than offsets.topic.replication.factor."}
		}
		slog.Warn("the offsets topic gets fewer replicas than offsets.topic.replication.factor: there are not as many brokers",
			"topic", group.OffsetsTopic, "replicas", n, "offsets.topic.replication.factor", topic.ReplicationFactor)
		topic.ReplicationFactor = max(n, 1)
	}
	for key, value := range cfg.OffsetsTopic() {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	return topic, nil
}

// createOffsetsTopic creates __consumer_offsets, or finds it created by another
// request meanwhile; nil when neither. It waits for the active controller.
func (b *Broker) createOffsetsTopic() *metadata.Topic {
	if err := b.createOnDemand([]string{group.OffsetsTopic})[group.OffsetsTopic]; err != nil {
		slog.Error("the offsets topic cannot be created; groups find no coordinator until it can", "topic", group.OffsetsTopic, "error", err)
		return nil
	}
	return b.meta.Image().Topic(group.OffsetsTopic)
}
