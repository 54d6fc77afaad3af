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
// answer is given when all replicas that live have done so, or with
// REQUEST_TIMED_OUT; its low watermark is the least log start offset of theirs.
func init() {
	register(API{Key: 21, Min: 0, Max: 2, Handle: handleDeleteRecords})
}

func handleDeleteRecords(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	resp := kmsg.NewPtrDeleteRecordsResponse()
	op := &deleteOp{request: r, resp: resp, timeoutMs: req.TimeoutMillis}
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	for i, topic := range req.Topics {
		answer := &resp.Topics[i]
		answer.Topic = topic.Topic
		answer.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(topic.Partitions))
		for j, asked := range topic.Partitions {
			p := &answer.Partitions[j]
			p.Partition = asked.Partition
			b.deleteRecords(op, p, topic.Topic, asked.Offset)
		}
	}
	if len(op.waits) == 0 {
		r.Reply(resp)
		return
	}
	op.park(r.conn.loop)
}

// deleteRecords deletes records of one partition on this broker and fills in
// the answer. If followers have yet to do so, op has that to wait for.
func (b *Broker) deleteRecords(op *deleteOp, answer *kmsg.DeleteRecordsResponseTopicPartition, topicName string, offset int64) {
	answer.LowWatermark = -1
	index := answer.Partition
	p, refused := b.hostedPartition(topicName, index)
	if refused == nil && metadata.IsInternal(topicName) {
		refused = kerr.InvalidTopicException
	}
	if refused == nil {
		if c := p.log.Config(); c.CleanupCompact && !c.CleanupDelete {
			refused = kerr.PolicyViolation
		}
	}
	if refused != nil {
		answer.ErrorCode = refused.Code
		return
	}
	start, err := p.log.DeleteRecordsBefore(offset)
	if err != nil {
		refused = storageCode(err)
		if refused == kerr.KafkaStorageError {
			slog.Error("records cannot be deleted", "topic", topicName, "partition", index, "offset", offset, "error", err)
		}
		answer.ErrorCode = refused.Code
		return
	}
	if offset == -1 {
		offset = start
	}
	p.nudgeStreams() // followers move their log start, too
	p.wakeAll()      // fetches below the new start answer OFFSET_OUT_OF_RANGE
	if answer.LowWatermark, _ = p.LowWatermark(); answer.LowWatermark < offset {
		op.waits = append(op.waits, &deleteWait{op: op, part: p, offset: offset, answer: answer})
	}
}
