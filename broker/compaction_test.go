package broker

import (
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/storage"
)

// The log of committed offsets is compacted while commits go on, and the group
// comes back from what is left.
func TestOffsetsTopicIsCompacted(t *testing.T) {
	dir := t.TempDir()
	properties := []string{"offsets.topic.num.partitions", "1", "offsets.topic.segment.bytes", "1048576", "log.cleaner.backoff.ms", "20"}
	s := newServed(t, dir, properties...)
	const partitions, rounds = 100, 12
	id := s.topic("t", partitions)
	s.findCoordinator(0)
	metadata := strings.Repeat("m", 3000)
	for round := range int64(rounds) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group = 9, "g"
		topic := kmsg.OffsetCommitRequestTopic{Topic: "t", TopicID: id}
		for p := range int32(partitions) {
			topic.Partitions = append(topic.Partitions, kmsg.OffsetCommitRequestTopicPartition{
				Partition: p, Offset: 1000*round + int64(p), LeaderEpoch: -1, Metadata: &metadata})
		}
		req.Topics = append(req.Topics, topic)
		r := s.retry(req, commitCode).(*kmsg.OffsetCommitResponse)
		for _, p := range r.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				t.Fatalf("round %d, partition %d: error %d", round, p.Partition, p.ErrorCode)
			}
		}
	}
	// Two commits of every offset fit in what is left: the last one below the
	// active segment, and the active segment.
	log := s.broker.logs.Get(storage.TopicPartition{Topic: "__consumer_offsets"})
	for written := int64(partitions * rounds * len(metadata)); log.Size() > written/2; {
		runtime.Gosched()
	}
	if start := log.LogStartOffset(); start != 0 {
		t.Errorf("log starts at %d: compaction is no retention", start)
	}
	for range 2 {
		fetch := &kmsg.OffsetFetchRequest{Version: 7, Group: "g", RequireStable: true}
		r := s.retry(fetch, func(r kmsg.Response) int16 { return r.(*kmsg.OffsetFetchResponse).ErrorCode }).(*kmsg.OffsetFetchResponse)
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != partitions {
			t.Fatalf("offsets: %+v", r)
		}
		for _, p := range r.Topics[0].Partitions {
			if want := 1000*(rounds-1) + int64(p.Partition); p.Offset != want || p.Metadata == nil || *p.Metadata != metadata {
				t.Errorf("partition %d has offset %d, want %d", p.Partition, p.Offset, want)
			}
		}
		s.stop()
		s = newServed(t, dir, properties...)
	}
}
