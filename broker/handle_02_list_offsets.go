package broker

import (
	"log/slog"

	"freshet/storage"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListOffsets, versions 1 to 11.
//
//	v2   isolation level (KIP-98)
//	v4   leader epochs (KIP-320)
//	v5   OFFSET_NOT_AVAILABLE (KIP-207)
//	v6   flexible
//	v7   offset of the largest timestamp (KIP-734)
//	v8   earliest local offset (KIP-405)
//	v9   latest tiered offset (KIP-1005)
//	v10  timeout, for tiered storage (KIP-1075)
//	v11  earliest offset not yet tiered (KIP-1023)
//
// Runs on a worker, since a search by timestamp reads the disk. Without tiered
// storage the local log is the whole log and nothing is ever tiered.
func init() {
	register(API{Key: 2, Min: 1, Max: 11, Handle: handleListOffsets})
}

// Timestamps that stand for a question of their own (Kafka: ListOffsetsRequest).
const (
	latestTimestamp          = -1
	earliestTimestamp        = -2
	maxTimestamp             = -3
	earliestLocalTimestamp   = -4
	latestTieredTimestamp    = -5
	earliestPendingTimestamp = -6
)

// timestampSince is the first version that knows a special timestamp.
var timestampSince = map[int64]int16{
	latestTimestamp: 0, earliestTimestamp: 0, maxTimestamp: 7,
	earliestLocalTimestamp: 8, latestTieredTimestamp: 9, earliestPendingTimestamp: 11,
}

const (
	consumerReplicaID  = -1 // a client, which sees what is committed
	readCommitted      = 1
	unknownListOffset  = -1
	unknownLeaderEpoch = -1
)

func handleListOffsets(b *Broker, r *Request) {
	req := r.Body.(*kmsg.ListOffsetsRequest)
	type place struct {
		topic string
		index int32
	}
	times := map[place]int{}
	for _, topic := range req.Topics {
		for _, asked := range topic.Partitions {
			times[place{topic.Topic, asked.Partition}]++
		}
	}
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, topic := range req.Topics {
		answer := kmsg.NewListOffsetsResponseTopic()
		answer.Topic = topic.Topic
		for i := range topic.Partitions {
			asked := &topic.Partitions[i]
			found := kmsg.NewListOffsetsResponseTopicPartition()
			found.Partition, found.Timestamp, found.Offset, found.LeaderEpoch = asked.Partition, -1, unknownListOffset, unknownLeaderEpoch
			if times[place{topic.Topic, asked.Partition}] > 1 {
				found.ErrorCode = kerr.InvalidRequest.Code
			} else if err := b.listOffset(req, topic.Topic, asked, &found); err != nil {
				found.ErrorCode = err.Code
			}
			answer.Partitions = append(answer.Partitions, found)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	r.Reply(resp)
}

// listOffset answers for one partition.
func (b *Broker) listOffset(req *kmsg.ListOffsetsRequest, topicName string, asked *kmsg.ListOffsetsRequestTopicPartition, found *kmsg.ListOffsetsResponseTopicPartition) *kerr.Error {
	if asked.Timestamp < 0 {
		if since, known := timestampSince[asked.Timestamp]; !known || req.Version < since {
			return kerr.UnsupportedVersion
		}
	}
	p, refused := b.hostedPartition(topicName, asked.Partition)
	if refused != nil {
		return refused
	}
	if req.Version >= 4 {
		if refused := p.checkLeaderEpoch(asked.CurrentLeaderEpoch); refused != nil {
			return refused
		}
	}
	end := p.log.LogEndOffset()
	if req.ReplicaID == consumerReplicaID {
		end = p.HighWatermark()
		if req.IsolationLevel == readCommitted {
			end = p.log.LastStableOffset()
		}
	}
	if req.ReplicaID == consumerReplicaID && !p.Available() && asked.Timestamp != earliestTimestamp && asked.Timestamp != earliestLocalTimestamp {
		// A new leader does not know yet how far its predecessor's consumers have
		// seen; an offset below that would look as if records were gone (KIP-207).
		if req.Version >= 5 {
			return kerr.OffsetNotAvailable
		}
		return kerr.LeaderNotAvailable
	}
	switch asked.Timestamp {
	case latestTimestamp:
		found.Offset, found.LeaderEpoch = end, p.LeaderEpoch()
	case earliestTimestamp, earliestLocalTimestamp:
		found.Offset = p.log.LogStartOffset()
		found.LeaderEpoch = p.earliestEpoch(found.Offset)
	case latestTieredTimestamp, earliestPendingTimestamp:
		// Nothing is tiered: unknown, which is what found says.
	default:
		return p.offsetForTimestamp(asked.Timestamp, end, found)
	}
	return nil
}

// earliestEpoch is the first leader epoch in the log, if it covers the log
// start offset.
func (p *partition) earliestEpoch(logStartOffset int64) int32 {
	entries := p.log.EpochEntries()
	if len(entries) == 0 || entries[0].StartOffset > logStartOffset {
		return unknownLeaderEpoch
	}
	return entries[0].Epoch
}

// offsetForTimestamp looks for a record below end.
func (p *partition) offsetForTimestamp(timestamp, end int64, found *kmsg.ListOffsetsResponseTopicPartition) *kerr.Error {
	search := p.log.OffsetOfMaxTimestamp
	if timestamp != maxTimestamp {
		search = func() (storage.TimestampOffset, bool, error) { return p.log.OffsetForTimestamp(timestamp) }
	}
	record, ok, err := search()
	if err != nil {
		slog.Error("search by timestamp failed", "topic", p.topic.name, "partition", p.index, "timestamp", timestamp, "error", err)
		return storageCode(err)
	}
	if ok && record.Offset < end {
		found.Timestamp, found.Offset, found.LeaderEpoch = record.Timestamp, record.Offset, record.LeaderEpoch
	}
	return nil
}
