package cli

import (
	"context"
	"sort"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// listedOffset is a partition's answer to ListOffsets; the offset is -1 when no
// record answers the question.
type listedOffset struct {
	offset      int64
	timestamp   int64 // ms; -1 when unknown
	leaderEpoch int32
	err         error
}

// listOffsets asks each partition's leader for the offset at its timestamp, ms,
// or at one of ListOffsets' special values: -1 latest, -2 earliest, -3 the
// largest timestamp, -4 earliest local, -5 latest tiered, -6 earliest pending
// upload.
func listOffsets(ctx context.Context, cl *kgo.Client, wanted map[partitionKey]int64, isolation int8) (map[partitionKey]listedOffset, error) {
	answers := make(map[partitionKey]listedOffset, len(wanted))
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = isolation
	byTopic := map[string]int{}
	for _, key := range sortedPartitions(wanted) {
		i, ok := byTopic[key.topic]
		if !ok {
			i = len(req.Topics)
			byTopic[key.topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = key.topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition = key.partition
		p.Timestamp = wanted[key]
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	if len(req.Topics) == 0 {
		return answers, nil
	}
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				answers[partitionKey{t.Topic, p.Partition}] = listedOffset{
					p.Offset, p.Timestamp, p.LeaderEpoch, newBrokerError(p.ErrorCode, nil)}
			}
		}
	}
	return answers, nil
}

// sortedPartitions orders the keys by topic, then partition.
func sortedPartitions[V any](m map[partitionKey]V) []partitionKey {
	keys := make([]partitionKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].topic != keys[j].topic {
			return keys[i].topic < keys[j].topic
		}
		return keys[i].partition < keys[j].partition
	})
	return keys
}

// offsetRanges returns the start and end of each partition that answers.
func offsetRanges(ctx context.Context, cl *kgo.Client, t *topicDetail) (map[int32]offsetRange, error) {
	ranges := map[int32]offsetRange{}
	earliest, latest := map[partitionKey]int64{}, map[partitionKey]int64{}
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			continue // nobody can say
		}
		earliest[partitionKey{t.Name, p.Partition}] = offsetEarliest
		latest[partitionKey{t.Name, p.Partition}] = offsetLatest
	}
	starts, err := listOffsets(ctx, cl, earliest, 0)
	if err != nil {
		return nil, err
	}
	ends, err := listOffsets(ctx, cl, latest, 0)
	if err != nil {
		return nil, err
	}
	for key, start := range starts {
		if start.err == nil && ends[key].err == nil {
			ranges[key.partition] = offsetRange{start.offset, ends[key].offset}
		}
	}
	return ranges, nil
}

// trimmed is a partition's answer to DeleteRecords.
type trimmed struct {
	partitionKey
	lowWatermark int64
	err          error
}

// deleteRecords deletes the records below each partition's offset; -1 is the
// high watermark. Answers are sorted by topic and partition.
func deleteRecords(ctx context.Context, cl *kgo.Client, before map[partitionKey]int64) ([]trimmed, error) {
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = requestTimeoutMs
	for _, key := range sortedPartitions(before) {
		n := len(req.Topics)
		if n == 0 || req.Topics[n-1].Topic != key.topic {
			t := kmsg.NewDeleteRecordsRequestTopic()
			t.Topic = key.topic
			req.Topics = append(req.Topics, t)
			n++
		}
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Partition = key.partition
		p.Offset = before[key]
		req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
	}
	answers := map[partitionKey]trimmed{}
	for _, shard := range cl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.DeleteRecordsResponse).Topics {
			for _, p := range t.Partitions {
				key := partitionKey{t.Topic, p.Partition}
				answers[key] = trimmed{key, p.LowWatermark, newBrokerError(p.ErrorCode, nil)}
			}
		}
	}
	results := make([]trimmed, 0, len(answers))
	for _, key := range sortedPartitions(answers) {
		results = append(results, answers[key])
	}
	return results, nil
}
