package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/record"
	"freshet/storage"
)

// After a restart the closed segments' files and indexes are not open, so a
// fetch from the start must be looked up on a worker; the answer is the same,
// and a connection that closes meanwhile leaves nothing behind.
func TestFetchOfColdOffsets(t *testing.T) {
	dir := t.TempDir()
	properties := []string{"log.segment.bytes", "1048576", "num.network.threads", "2"}
	s := newServed(t, dir, properties...)
	s.topic("t", 1)
	produce := &kmsg.ProduceRequest{Version: 9, Acks: 1, TimeoutMillis: 1000, Topics: []kmsg.ProduceRequestTopic{
		{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batchOf(t, 1000, 500)}}}}}
	for range 8 {
		if p := s.do(produce).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Fatalf("produce: error %d", p.ErrorCode)
		}
	}
	s.stop()

	s = newServed(t, dir, properties...)
	log := s.broker.logs.Get(storage.TopicPartition{Topic: "t", Partition: 0})
	if n := len(log.Segments()); n < 3 {
		t.Fatalf("%d segments, the test needs closed ones", n)
	}
	for offset := int64(0); offset < 8000; offset += 1000 {
		req := &kmsg.FetchRequest{Version: 12, MaxWaitMillis: 100, MinBytes: 1, MaxBytes: 1 << 20, SessionEpoch: -1, ReplicaID: -1,
			Topics: []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{
				{FetchOffset: offset, PartitionMaxBytes: 1 << 20, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}}}}}
		p := s.do(req).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		b := record.Batch(p.RecordBatches)
		if p.ErrorCode != 0 || len(b) < record.HeaderSize || b.BaseOffset() != offset {
			t.Fatalf("offset %d: error %d, %d bytes", offset, p.ErrorCode, len(b))
		}
		if b = b[:b.SizeInBytes()]; b.CheckCRC() != nil || b.Count() != 1000 {
			t.Fatalf("offset %d: %d records, crc %v", offset, b.Count(), b.CheckCRC())
		}
	}
}
