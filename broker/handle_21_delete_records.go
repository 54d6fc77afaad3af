package broker

import (
	"log/slog"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords, versions 0 to 2 (KIP-107).
//
//	v2  flexible
//
// Moves a partition's log start offset up; -1 means to the high watermark. The
// low watermark answered is the new log start offset of the only replica.
func init() {
	register(API{Key: 21, Min: 0, Max: 2, Handle: handleDeleteRecords})
}

func handleDeleteRecords(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	resp := kmsg.NewPtrDeleteRecordsResponse()
	for _, topic := range req.Topics {
		answer := kmsg.NewDeleteRecordsResponseTopic()
		answer.Topic = topic.Topic
		for _, asked := range topic.Partitions {
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition, p.LowWatermark = asked.Partition, -1
			if low, err := b.deleteRecords(topic.Topic, asked.Partition, asked.Offset); err != nil {
				p.ErrorCode = err.Code
			} else {
				p.LowWatermark = low
			}
			answer.Partitions = append(answer.Partitions, p)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	r.Reply(resp)
}

func (b *Broker) deleteRecords(topicName string, index int32, offset int64) (low int64, refused *kerr.Error) {
	p, refused := b.hostedPartition(topicName, index)
	switch {
	case refused != nil:
		return 0, refused
	case metadata.IsInternal(topicName):
		return 0, kerr.InvalidTopicException
	}
	if c := p.log.Config(); c.CleanupCompact && !c.CleanupDelete {
		return 0, kerr.PolicyViolation
	}
	low, err := p.log.DeleteRecordsBefore(offset)
	if err != nil {
		refused = storageCode(err)
		if refused == kerr.KafkaStorageError {
			slog.Error("records cannot be deleted", "topic", topicName, "partition", index, "offset", offset, "error", err)
		}
		return 0, refused
	}
	p.nudgeStreams() // followers move their log start, too
	p.wakeAll()      // fetches below the new start answer OFFSET_OUT_OF_RANGE
	return low, nil
}
