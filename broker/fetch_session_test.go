package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sessionClient is a consumer that uses fetch sessions, as in Apache Kafka's
// FetchSessionTest, whose cases these tests follow.
type sessionClient struct {
	*served
	version int16
	ids     map[string][16]byte
}

// fetch sends a request of the session and returns the session's id, and the
// answer as "topic-partition:error:bytes>0" in order.
func (c *sessionClient) fetch(id, epoch int32, forget []want, wants ...want) (sessionID int32, code int16, parts string) {
	c.t.Helper()
	req := fetchOf(0, 1, 1<<20, wants...)
	req.Version, req.SessionID, req.SessionEpoch = c.version, id, epoch
	for i := range req.Topics {
		req.Topics[i].TopicID = c.ids[req.Topics[i].Topic]
	}
	for _, w := range forget {
		f := kmsg.NewFetchRequestForgottenTopic()
		f.Topic, f.TopicID, f.Partitions = w.topic, c.ids[w.topic], []int32{w.index}
		req.ForgottenTopics = append(req.ForgottenTopics, f)
	}
	resp := c.do(req).(*kmsg.FetchResponse)
	var list []string
	for _, t := range resp.Topics {
		name := t.Topic
		for n, id := range c.ids {
			if c.version >= 13 && id == t.TopicID {
				name = n
			}
		}
		for _, p := range t.Partitions {
			list = append(list, fmt.Sprintf("%s-%d:%d:%t", name, p.Partition, p.ErrorCode, len(p.RecordBatches) > 0))
		}
	}
	return resp.SessionID, resp.ErrorCode, strings.Join(list, " ")
}

func newSessionClient(t *testing.T, version int16, properties ...string) *sessionClient {
	s := newServed(t, t.TempDir(), append(properties, "auto.create.topics.enable", "false")...)
	c := &sessionClient{served: s, version: version, ids: map[string][16]byte{}}
	for _, name := range []string{"foo", "bar", "zar"} {
		c.ids[name] = s.topic(name, 2)
	}
	return c
}

func (c *sessionClient) append(topic string) {
	c.t.Helper()
	if p := c.do(produceRequest9(topic, batchOf(c.t, 1, 10))).(*kmsg.ProduceResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 {
		c.t.Fatalf("append to %s: error %d", topic, p.ErrorCode)
	}
}

func produceRequest9(topic string, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = 9, 1
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.ProduceRequestTopicPartition{p}
	req.Topics = []kmsg.ProduceRequestTopic{rt}
	return req
}

// eachSessionVersion runs f with sessions by name and by topic id.
func eachSessionVersion(t *testing.T, f func(t *testing.T, version int16)) {
	for _, version := range []int16{7, 12, 13, 18} {
		t.Run(fmt.Sprintf("v%d", version), func(t *testing.T) { f(t, version) })
	}
}

// KIP-227: a full fetch opens a session; incremental ones name what changed,
// and are answered with what is new.
func TestIncrementalFetch(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, version int16) {
		c := newSessionClient(t, version)
		expect := func(step string, id, gotID int32, code int16, parts, wanted string) {
			t.Helper()
			if gotID != id || code != 0 || parts != wanted {
				t.Fatalf("%s: session %d, error %d, %q; want session %d and %q", step, gotID, code, parts, id, wanted)
			}
		}
		id, code, parts := c.fetch(0, 0, nil, want{"foo", 0, 0, 1000}, want{"foo", 1, 0, 1000})
		if id == 0 {
			t.Fatal("no session was made")
		}
		expect("full", id, id, code, parts, "foo-0:0:false foo-1:0:false")
		got, code, parts := c.fetch(id, 1, nil)
		expect("nothing new", id, got, code, parts, "")
		c.append("foo")
		got, code, parts = c.fetch(id, 2, nil)
		expect("new records", id, got, code, parts, "foo-0:0:true")
		got, code, parts = c.fetch(id, 3, nil)
		expect("the position did not move", id, got, code, parts, "foo-0:0:true")
		got, code, parts = c.fetch(id, 4, nil, want{"foo", 0, 1, 1000}, want{"bar", 0, 0, 1000})
		expect("a position moved, a partition came", id, got, code, parts, "bar-0:0:false")
		got, code, parts = c.fetch(id, 5, []want{{topic: "foo", index: 0}})
		expect("one forgotten", id, got, code, parts, "")
		c.append("foo")
		got, code, parts = c.fetch(id, 6, nil)
		expect("records of the forgotten", id, got, code, parts, "")
		got, code, parts = c.fetch(id, 7, nil, want{"foo", 1, 5, 1000})
		expect("out of range", id, got, code, parts, "foo-1:1:false")
		got, code, parts = c.fetch(id, 8, nil)
		expect("an error is answered each time", id, got, code, parts, "foo-1:1:false")
		got, code, parts = c.fetch(id, 9, nil, want{"foo", 1, 0, 1000})
		expect("the end of an error is news", id, got, code, parts, "foo-1:0:false")
		// Forgetting everything ends the session.
		got, code, parts = c.fetch(id, 10, []want{{topic: "foo", index: 1}, {topic: "bar", index: 0}})
		expect("all forgotten", 0, got, code, parts, "")
		if _, code, _ = c.fetch(id, 11, nil); code != kerr.FetchSessionIDNotFound.Code {
			t.Errorf("the emptied session answers %d", code)
		}
	})
}

// FetchSessionTest: unknown sessions, wrong epochs and a change between names
// and ids are errors of the request; a full fetch or FINAL_EPOCH ends the
// session it names.
func TestSessionErrors(t *testing.T) {
	c := newSessionClient(t, 12)
	id, _, _ := c.fetch(0, 0, nil, want{"foo", 0, 0, 1000})
	for _, f := range []struct {
		name      string
		version   int16
		id, epoch int32
		code      int16
	}{
		{"unknown id", 12, id + 1, 1, kerr.FetchSessionIDNotFound.Code},
		{"an epoch too far", 12, id, 5, kerr.InvalidFetchSessionEpoch.Code},
		{"a negative epoch", 12, id, -7, kerr.InvalidFetchSessionEpoch.Code},
		{"by id, of a session by name", 13, id, 1, kerr.FetchSessionTopicIDError.Code},
		{"by id, and a wrong epoch", 13, id, 4, kerr.InvalidFetchSessionEpoch.Code},
		{"the session is still good", 12, id, 1, 0},
	} {
		c.version = f.version
		if got, code, _ := c.fetch(f.id, f.epoch, nil); code != f.code || code != 0 && got != 0 {
			t.Errorf("%s: session %d, error %d, want %d", f.name, got, code, f.code)
		}
	}
	c.version = 12
	second, _, _ := c.fetch(id, 0, nil, want{"foo", 0, 0, 1000})
	if second == id || second == 0 {
		t.Errorf("a full fetch that names session %d got %d", id, second)
	}
	if _, code, _ := c.fetch(id, 2, nil); code != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("the replaced session answers %d", code)
	}
	if got, code, parts := c.fetch(second, -1, nil, want{"foo", 0, 0, 1000}); got != 0 || code != 0 || parts != "foo-0:0:false" {
		t.Errorf("the final fetch: session %d, error %d, %q", got, code, parts)
	}
	if _, code, _ := c.fetch(second, 1, nil); code != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("the ended session answers %d", code)
	}
}

// Partitions with records go to the end of the session's order, so that
// fetch.max.bytes starves nobody.
func TestSessionRotates(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, version int16) {
		c := newSessionClient(t, version)
		for _, topic := range []string{"foo", "bar", "zar"} {
			c.append(topic)
		}
		fetch := func(id, epoch int32, wants ...want) (int32, string) {
			req := fetchOf(0, 1, 1, wants...) // room for one partition's batch
			req.Version, req.SessionID, req.SessionEpoch = version, id, epoch
			for i := range req.Topics {
				req.Topics[i].TopicID = c.ids[req.Topics[i].Topic]
			}
			resp := c.do(req).(*kmsg.FetchResponse)
			for _, rt := range resp.Topics {
				for _, p := range rt.Partitions {
					if len(p.RecordBatches) > 0 {
						for name, topicID := range c.ids {
							if rt.Topic == name || rt.TopicID == topicID {
								return resp.SessionID, name
							}
						}
					}
				}
			}
			return resp.SessionID, ""
		}
		id, first := fetch(0, 0, want{"foo", 0, 0, 1000}, want{"bar", 0, 0, 1000}, want{"zar", 0, 0, 1000})
		order := []string{first}
		for epoch := int32(1); epoch < 6; epoch++ {
			_, name := fetch(id, epoch)
			order = append(order, name)
		}
		if got := strings.Join(order, " "); got != "foo bar zar foo bar zar" {
			t.Errorf("served in the order %s", got)
		}
	})
}

// A topic that is deleted, and one made anew under the same name, show in a
// session (FetchSessionTest.testDeletePartition, testUnknownTopic).
func TestSessionOutlivesTopics(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, version int16) {
		c := newSessionClient(t, version)
		id, _, _ := c.fetch(0, 0, nil, want{"foo", 0, 0, 1000}, want{"bar", 0, 0, 1000})
		c.deleteTopic("foo")
		unknown := kerr.UnknownTopicOrPartition.Code
		if version >= 13 {
			unknown = kerr.UnknownTopicID.Code
		}
		if _, _, parts := c.fetch(id, 1, nil); parts != fmt.Sprintf("foo-0:%d:false", unknown) {
			t.Errorf("deleted: %q", parts)
		}
		c.topic("foo", 1)
		wanted := "foo-0:0:false"
		if version >= 13 {
			wanted = fmt.Sprintf("foo-0:%d:false", unknown) // the id is of the old topic
		}
		if _, _, parts := c.fetch(id, 2, nil); parts != wanted {
			t.Errorf("made anew: %q, want %q", parts, wanted)
		}
	})
}

// The cache is bounded; a newcomer takes the place of the session idle longest
// if that is long enough, and works without one otherwise.
func TestSessionCacheEvicts(t *testing.T) {
	fs := newFetchSessions(2)
	first := fs.create(false, 1000)
	second := fs.create(false, 2000)
	if first == nil || second == nil || fs.create(false, 3000) != nil {
		t.Fatal("two sessions fit, a third does not")
	}
	first.usedMs.Store(5000)
	nowMs := int64(2000 + sessionEvictionMs)
	// The lock of a session in use must not hold up the cache.
	first.mu.Lock()
	second.mu.Lock()
	third := fs.create(false, nowMs)
	first.mu.Unlock()
	second.mu.Unlock()
	if third == nil || fs.get(second.id) != nil || fs.get(first.id) != first {
		t.Error("the session idle longest was not the one to go")
	}
	if newFetchSessions(0).create(false, 1) != nil {
		t.Error("a cache without slots made a session")
	}
}
