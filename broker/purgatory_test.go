package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/record"
)

// want is one partition of a fetch under test.
type want struct {
	topic    string
	index    int32
	offset   int64
	maxBytes int32
}

func fetchOf(maxWaitMs, minBytes, maxBytes int32, wants ...want) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 12, maxWaitMs, minBytes, maxBytes, -1
	for _, w := range wants {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.index, w.offset, w.maxBytes
		p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.Partitions = w.topic, []kmsg.FetchRequestTopicPartition{p}
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == w.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, p)
			continue
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}

// aMinute is a wait that no test sits out.
const aMinute = 60_000

// parkedOn waits until the loops hold n long polls.
func (s *served) parkedOn(n int64) {
	s.t.Helper()
	eventually(s.t, func() string {
		var parked int64
		for _, l := range s.broker.net.loops {
			parked += l.parked.Load()
		}
		if parked != n {
			return fmt.Sprintf("%d fetches are parked, want %d", parked, n)
		}
		return ""
	})
}

// recordBytes is how many bytes of batches an answer holds.
func recordBytes(resp *kmsg.FetchResponse) (n int) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			n += len(p.RecordBatches)
		}
	}
	return n
}

// A fetch parked on one loop is answered by an append on any.
func TestAppendWakesFetches(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		s := newServed(t, t.TempDir(), "num.network.threads", "2", "freshet.io.engine", engine)
		s.topic("t", 1)
		readers := []*rawClient{s.dial(), s.dial(), s.dial(), s.dial()}
		for offset := range int64(20) {
			for _, r := range readers {
				r.send(frameOf(fetchOf(aMinute, 1, 1<<20, want{"t", 0, offset, 1 << 20}), 5))
			}
			if offset%2 == 0 { // the others race with the append
				s.parkedOn(int64(len(readers)))
			}
			w := s.dial()
			w.send(produceFrame("t", batchOf(t, 1, 50), 1, 9))
			w.answer()
			for i, r := range readers {
				resp := decodeFetch(t, r.answer(), 12)
				if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
					t.Fatalf("reader %d at offset %d: error %d, %d bytes", i, offset, p.ErrorCode, len(p.RecordBatches))
				}
			}
			_ = w.conn.Close()
		}
		for _, r := range readers {
			_ = r.conn.Close()
		}
		_ = s.conn.Close()
		s.settled()
	})
}

// Many appends race with as many long polls, of which none may be missed.
func TestNoWakeIsLost(t *testing.T) {
	s := newServed(t, t.TempDir(), "num.network.threads", "2")
	s.topic("t", 1)
	const records = 2000
	go func() {
		w := s.dial()
		for range records {
			w.send(produceFrame("t", batchOf(t, 1, 20), 1, 9))
			if _, err := w.tryAnswer(); err != nil {
				return
			}
		}
	}()
	done := make(chan error, 2)
	for range 2 {
		r := s.dial()
		go func() {
			for offset := int64(0); offset < records; {
				if _, err := r.conn.Write(frameOf(fetchOf(aMinute, 1, 1<<20, want{"t", 0, offset, 200}), 5)); err != nil {
					done <- err
					return
				}
				b, err := r.tryAnswer()
				if err != nil {
					done <- fmt.Errorf("at offset %d: %w", offset, err)
					return
				}
				batches := decodeFetch(t, b, 12).Topics[0].Partitions[0].RecordBatches
				next, err := visitBatches(batches, offset, func(record.Batch) error { return nil })
				if err != nil {
					done <- err
					return
				}
				offset = next
			}
			done <- nil
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// A request that waited behind another on its connection appends while answers
// are sent: the fetch that it wakes must not wait for the next event.
func TestAppendOfAnUnmutedConnectionWakes(t *testing.T) {
	s := newServed(t, t.TempDir(), "freshet.io.engine", "pwritev")
	s.topic("t", 1)
	s.topic("u", 1)
	reader, mixed := s.dial(), s.dial()
	reader.send(frameOf(fetchOf(aMinute, 1, 1<<20, want{"t", 0, 0, 1 << 20}), 1))
	s.parkedOn(1)
	mixed.send(append(frameOf(fetchOf(aMinute, 1, 1<<20, want{"u", 0, 0, 1 << 20}), 2), withCorr(produceFrame("t", batchOf(t, 1, 10), 1, 9), 3)...))
	s.parkedOn(2)
	s.dial().send(produceFrame("u", batchOf(t, 1, 10), 1, 9))
	for corr := int32(2); corr <= 3; corr++ {
		if got := corrOf(mixed.answer()); got != corr {
			t.Fatalf("answer %d where %d was due", got, corr)
		}
	}
	if n := recordBytes(decodeFetch(t, reader.answer(), 12)); n == 0 {
		t.Error("the woken fetch holds no records")
	}
}

// fetch.min.bytes is measured against what can be read, not against what fits
// at batch boundaries, and is at most fetch.max.bytes.
func TestMinBytes(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 2)
	c := s.dial()
	for range 10 {
		c.send(produceFrame("t", batchOf(t, 1, 30_000), 1, 9))
		c.answer()
	}
	for _, f := range []struct {
		name                 string
		minBytes, maxBytes   int32
		partitionMax, wanted int32
	}{
		{"a limit between two batches", 100_000, 100_000, 100_000, 90_000},
		{"min bytes above the answer's limit", 1 << 30, 100_000, 1 << 20, 90_000},
		{"the first batch is larger than every limit", 1, 10, 10, 30_000},
		{"max bytes 0 of the partition", 1, 1 << 20, 0, 30_000},
		{"negative max bytes", 1, -5, -5, 30_000},
		{"min bytes 0", 0, 1 << 20, 1 << 20, 300_000},
	} {
		req := fetchOf(aMinute, f.minBytes, f.maxBytes, want{"t", 0, 0, f.partitionMax})
		c.send(frameOf(req, 1))
		if n := recordBytes(decodeFetch(t, c.answer(), 12)); n < int(f.wanted) || n > int(f.wanted)+5000 {
			t.Errorf("%s: %d bytes", f.name, n)
		}
	}
	for _, maxWaitMs := range []int32{0, -1} {
		c.send(frameOf(fetchOf(maxWaitMs, 1<<30, 1<<30, want{"t", 1, 0, 1 << 20}), 1))
		if n := recordBytes(decodeFetch(t, c.answer(), 12)); n != 0 {
			t.Errorf("an empty partition holds %d bytes", n)
		}
	}
	c.send(frameOf(fetchOf(aMinute, 1, 1<<20), 1)) // no partitions: nothing to wait for
	if resp := decodeFetch(t, c.answer(), 12); len(resp.Topics) != 0 {
		t.Errorf("%d topics answered to none", len(resp.Topics))
	}
}

// A fetch of many partitions that waits for many bytes is answered by the
// append that completes them.
func TestManyPartitionsWaitForManyBytes(t *testing.T) {
	s := newServed(t, t.TempDir(), "num.network.threads", "2")
	const partitions = 40
	s.topic("t", partitions)
	wants := make([]want, partitions)
	for i := range wants {
		wants[i] = want{"t", int32(i), 0, 1 << 20}
	}
	reader, writer := s.dial(), s.dial()
	size := len(batchOf(t, 1, 1000))
	reader.send(frameOf(fetchOf(aMinute, int32(100*size), 1<<30, wants...), 7))
	s.parkedOn(1)
	for i := range 100 {
		if i > 0 {
			s.parkedOn(1)
		}
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks = 9, 1
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i*7%partitions), batchOf(t, 1, 1000)
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.Partitions = "t", []kmsg.ProduceRequestTopicPartition{p}
		req.Topics = []kmsg.ProduceRequestTopic{rt}
		writer.send(frameOf(req, int32(i)))
		writer.answer()
	}
	if n := recordBytes(decodeFetch(t, reader.answer(), 12)); n != 100*size {
		t.Errorf("answered with %d bytes, want %d", n, 100*size)
	}
	s.parkedOn(0)
}

// Unknown partitions do not end the wait for the others; the answer has both.
func TestUnknownPartitionsDoNotEndTheWait(t *testing.T) {
	s := newServed(t, t.TempDir(), "auto.create.topics.enable", "false")
	s.topic("t", 1)
	c := s.dial()
	c.send(frameOf(fetchOf(aMinute, 1, 1<<20, want{"none", 0, 0, 1 << 20}, want{"t", 0, 0, 1 << 20}, want{"t", 9, 0, 1 << 20}), 1))
	s.parkedOn(1)
	s.dial().send(produceFrame("t", batchOf(t, 1, 10), 1, 9))
	resp := decodeFetch(t, c.answer(), 12)
	if code := resp.Topics[0].Partitions[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("unknown topic answered %d", code)
	}
	if p := resp.Topics[1].Partitions; p[0].ErrorCode != 0 || len(p[0].RecordBatches) == 0 || p[1].ErrorCode != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("answered %d with %d bytes, and %d", p[0].ErrorCode, len(p[0].RecordBatches), p[1].ErrorCode)
	}
	c.send(frameOf(fetchOf(aMinute, 1, 1<<20, want{"none", 0, 0, 1 << 20}), 1))
	c.answer() // nothing to wait for
}

// Deleting a topic answers the fetches that wait for it, with writes to it in
// flight on both loops, and gives its files back.
func TestDeleteTopicWhileUsed(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		dir := t.TempDir()
		s := newServed(t, dir, "num.network.threads", "2", "freshet.io.engine", engine,
			"auto.create.topics.enable", "false", "log.segment.delete.delay.ms", "0")
		for round := range 5 {
			name := fmt.Sprintf("t%d", round)
			s.topic(name, 1)
			s.topic("other", 1)
			readers := []*rawClient{s.dial(), s.dial()}
			for _, r := range readers {
				r.send(frameOf(fetchOf(aMinute, 1<<20, 1<<20, want{name, 0, 0, 1 << 20}, want{"other", 0, 0, 1 << 20}), 1))
			}
			s.parkedOn(2)
			writers := []*rawClient{s.dial(), s.dial()}
			ended := make(chan int16, len(writers))
			for _, w := range writers {
				go func() {
					for {
						if _, err := w.conn.Write(produceFrame(name, batchOf(t, 1, 20), 1, 9)); err != nil {
							ended <- -1
							return
						}
						b, err := w.tryAnswer()
						if err != nil {
							ended <- -1
							return
						}
						if code := decodeProduce(t, b, 9).ErrorCode; code != 0 {
							ended <- code
							return
						}
					}
				}()
			}
			s.deleteTopic(name)
			for range writers {
				switch code := <-ended; code {
				case kerr.UnknownTopicOrPartition.Code, kerr.NotLeaderForPartition.Code:
				default:
					t.Fatalf("a producer of the deleted topic is answered %d", code)
				}
			}
			for _, r := range readers {
				resp := decodeFetch(t, r.answer(), 12)
				switch code := resp.Topics[0].Partitions[0].ErrorCode; code {
				case kerr.UnknownTopicOrPartition.Code, kerr.NotLeaderForPartition.Code:
				default:
					t.Fatalf("a consumer of the deleted topic is answered %d", code)
				}
				_ = r.conn.Close()
			}
			for _, w := range writers {
				_ = w.conn.Close()
			}
			s.deleteTopic("other")
		}
		if open := deletedSegments(t, dir); len(open) > 0 {
			t.Errorf("files of deleted topics are open: %v", open)
		}
		_ = s.conn.Close()
		s.settled()
	})
}

// Partitions added to a topic are served at once, also to a session.
func TestAddedPartitionsAreServed(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 1)
	for n := int32(2); n < 6; n++ {
		resp := s.do(&kmsg.CreatePartitionsRequest{Version: 2, TimeoutMillis: 1000,
			Topics: []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: n}}}).(*kmsg.CreatePartitionsResponse)
		if code := resp.Topics[0].ErrorCode; code != 0 {
			t.Fatalf("error %d", code)
		}
		got := s.do(fetchOf(0, 1, 1<<20, want{"t", n - 1, 0, 1 << 20})).(*kmsg.FetchResponse)
		if code := got.Topics[0].Partitions[0].ErrorCode; code != 0 {
			t.Fatalf("partition %d is answered %d", n-1, code)
		}
	}
}
