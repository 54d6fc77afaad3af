package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers, version 0 (KIP-664): the producers whose state a partition
// keeps, to find hanging transactions and idle idempotent producers.
func init() {
	register(API{Key: 61, Min: 0, Max: 0, Handle: handleDescribeProducers})
}

func handleDescribeProducers(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeProducersRequest)
	resp := kmsg.NewPtrDescribeProducersResponse()
	for _, topic := range req.Topics {
		answer := kmsg.NewDescribeProducersResponseTopic()
		answer.Topic = topic.Topic
		invalid := metadata.ValidateTopicName(topic.Topic)
		for _, index := range topic.Partitions {
			state := kmsg.NewDescribeProducersResponseTopicPartition()
			state.Partition = index
			if invalid != nil {
				state.ErrorCode, state.ErrorMessage = codeAndMessage(invalid)
			} else if p, err := b.hostedPartition(topic.Topic, index); err != nil {
				state.ErrorCode, state.ErrorMessage = err.Code, &err.Description
			} else {
				state.ActiveProducers = activeProducers(p)
			}
			answer.Partitions = append(answer.Partitions, state)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	r.Reply(resp)
}

func activeProducers(p *partition) []kmsg.DescribeProducersResponseTopicPartitionActiveProducer {
	var producers []kmsg.DescribeProducersResponseTopicPartitionActiveProducer
	for _, info := range p.log.Producers() {
		producers = append(producers, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: info.ProducerID, ProducerEpoch: info.ProducerEpoch, LastSequence: info.LastSequence,
			LastTimestamp: info.LastTimestamp, CoordinatorEpoch: info.CoordinatorEpoch, CurrentTxnStartOffset: info.CurrentTxnStartOffset,
		})
	}
	return producers
}
