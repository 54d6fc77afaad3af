package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// collected is what a walk visits, for comparison with kmsg's decoding.
type collected struct {
	entries []collectedEntry
	forgot  []collectedEntry
}

type collectedEntry struct {
	name  string
	id    [16]byte
	entry fetchEntry
}

func (c *collected) visit(name []byte, id [16]byte, e *fetchEntry) {
	c.entries = append(c.entries, collectedEntry{string(name), id, *e})
}

func (c *collected) forget(name []byte, id [16]byte, index int32) {
	c.forgot = append(c.forgot, collectedEntry{string(name), id, fetchEntry{index: index}})
}

var drawName = rapid.StringMatching(`[a-z]{1,12}`)

func drawID(t *rapid.T, label string) (id [16]byte) {
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, label))
	return id
}

func drawFetch(t *rapid.T, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version = version
	req.MaxWaitMillis = rapid.Int32().Draw(t, "wait")
	req.MinBytes = rapid.Int32().Draw(t, "min")
	req.MaxBytes = rapid.Int32().Draw(t, "max")
	req.IsolationLevel = rapid.SampledFrom([]int8{0, 1}).Draw(t, "isolation")
	if version <= 14 {
		req.ReplicaID = rapid.SampledFrom([]int32{-1, -2, 7}).Draw(t, "replica")
	} else {
		req.ReplicaState.ID = rapid.SampledFrom([]int32{-1, 7}).Draw(t, "replica")
	}
	if version >= 7 {
		req.SessionID = rapid.Int32().Draw(t, "session")
		req.SessionEpoch = rapid.Int32().Draw(t, "epoch")
	}
	for range rapid.IntRange(0, 4).Draw(t, "topics") {
		topic := kmsg.NewFetchRequestTopic()
		if version >= 13 {
			topic.TopicID = drawID(t, "id")
		} else {
			topic.Topic = drawName.Draw(t, "name")
		}
		for range rapid.IntRange(0, 4).Draw(t, "partitions") {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition = rapid.Int32().Draw(t, "partition")
			p.FetchOffset = rapid.Int64().Draw(t, "offset")
			p.PartitionMaxBytes = rapid.Int32().Draw(t, "bytes")
			if version >= 9 {
				p.CurrentLeaderEpoch = rapid.Int32().Draw(t, "leaderEpoch")
			}
			if version >= 12 {
				p.LastFetchedEpoch = rapid.Int32().Draw(t, "lastEpoch")
			}
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
		if version >= 7 {
			req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{
				Topic: topic.Topic, TopicID: topic.TopicID, Partitions: []int32{1, 5},
			})
		}
	}
	req.Rack = drawName.Draw(t, "rack")
	return req
}

// The parser in place agrees with kmsg on every version.
func TestParseFetchAgreesWithCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := int16(rapid.IntRange(4, 18).Draw(t, "version"))
		req := drawFetch(t, version)
		body := req.AppendTo(nil)
		var q fetchRequest
		if !parseFetch(body, version, &q) {
			t.Fatalf("version %d refused", version)
		}
		replica := req.ReplicaID
		if version >= 15 {
			replica = req.ReplicaState.ID
		}
		if q.maxWaitMs != req.MaxWaitMillis || q.minBytes != req.MinBytes || q.maxBytes != req.MaxBytes ||
			q.isolation != req.IsolationLevel || q.replicaID != replica {
			t.Fatalf("version %d: parsed %+v from %+v", version, q, req)
		}
		if version >= 7 && (q.sessionID != req.SessionID || q.epoch != req.SessionEpoch) {
			t.Fatalf("version %d: session %d/%d, want %d/%d", version, q.sessionID, q.epoch, req.SessionID, req.SessionEpoch)
		}
		var got collected
		q.walk(body, &got)
		i := 0
		for _, topic := range req.Topics {
			for _, p := range topic.Partitions {
				want := collectedEntry{topic.Topic, topic.TopicID, fetchEntry{p.Partition, -1, p.FetchOffset, -1, p.PartitionMaxBytes}}
				if version >= 9 {
					want.entry.leaderEpoch = p.CurrentLeaderEpoch
				}
				if version >= 12 {
					want.entry.lastEpoch = p.LastFetchedEpoch
				}
				if i >= len(got.entries) || got.entries[i] != want {
					t.Fatalf("version %d: entry %d is %+v, want %+v", version, i, got.entries, want)
				}
				i++
			}
		}
		if i != len(got.entries) || len(got.forgot) != 2*len(req.ForgottenTopics) {
			t.Fatalf("version %d: %d entries and %d forgotten, want %d and %d", version, len(got.entries), len(got.forgot), i, 2*len(req.ForgottenTopics))
		}
		// Every proper prefix is refused: nothing is half-parsed.
		cut := rapid.IntRange(0, len(body)-1).Draw(t, "cut")
		if parseFetch(body[:cut], version, &q) {
			t.Fatalf("version %d: %d of %d bytes accepted", version, cut, len(body))
		}
	})
}

// The produce walk accepts what kmsg encodes, and no prefix of it.
func TestCheckProduceAgreesWithCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		version := int16(rapid.IntRange(3, 13).Draw(t, "version"))
		req := kmsg.NewPtrProduceRequest()
		req.Version = version
		req.Acks = rapid.SampledFrom([]int16{-1, 0, 1, 5}).Draw(t, "acks")
		if rapid.Bool().Draw(t, "transactional") {
			req.TransactionID = kmsg.StringPtr(drawName.Draw(t, "txn"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "topics") {
			topic := kmsg.NewProduceRequestTopic()
			topic.Topic, topic.TopicID = drawName.Draw(t, "name"), drawID(t, "id")
			for range rapid.IntRange(0, 3).Draw(t, "partitions") {
				p := kmsg.NewProduceRequestTopicPartition()
				p.Partition = rapid.Int32().Draw(t, "partition")
				p.Records = rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "records")
				topic.Partitions = append(topic.Partitions, p)
			}
			req.Topics = append(req.Topics, topic)
		}
		body := req.AppendTo(nil)
		q := produceRequest{version: version, flexible: version >= 9, byID: version >= 13}
		if !checkProduce(body, &q) || q.acks != req.Acks || q.transactional != (req.TransactionID != nil) {
			t.Fatalf("version %d: parsed %+v from %+v", version, q, req)
		}
		cut := rapid.IntRange(0, len(body)-1).Draw(t, "cut")
		if checkProduce(body[:cut], &q) {
			t.Fatalf("version %d: %d of %d bytes accepted", version, cut, len(body))
		}
	})
}

func FuzzParseFetch(f *testing.F) {
	req := kmsg.NewPtrFetchRequest()
	for v := int16(4); v <= 18; v++ {
		req.Version = v
		f.Add(req.AppendTo(nil), v)
	}
	f.Fuzz(func(t *testing.T, body []byte, version int16) {
		if version < 4 || version > 18 {
			return
		}
		var q fetchRequest
		if parseFetch(body, version, &q) {
			var got collected
			q.walk(body, &got)
			if len(got.entries) != q.partitions {
				t.Fatalf("%d partitions counted, %d visited", q.partitions, len(got.entries))
			}
		}
	})
}

func FuzzCheckProduce(f *testing.F) {
	req := kmsg.NewPtrProduceRequest()
	for v := int16(3); v <= 13; v++ {
		req.Version = v
		f.Add(req.AppendTo(nil), v)
	}
	f.Fuzz(func(_ *testing.T, body []byte, version int16) {
		q := produceRequest{version: version, flexible: version >= 9, byID: version >= 13}
		checkProduce(body, &q)
	})
}
