package broker

import (
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/record"
)

// topic is one topic as the hot paths see it.
type topic struct {
	name     string
	id       [16]byte
	internal bool
	deleted  atomic.Bool
	settings atomic.Pointer[topicSettings]
	// parts is replaced, never changed. A partition is nil that has no replica
	// here, or whose log directory is offline since the start: then it stands in
	// offline, too.
	parts   atomic.Pointer[[]*partition]
	offline atomic.Pointer[map[int32]bool]
}

// topicSettings are the topic properties that Produce needs on every batch.
type topicSettings struct {
	maxMessageBytes   int32
	minInsync         int32
	logAppendTime     bool
	compacted         bool
	recompress        bool         // compression.type is not producer
	codec             record.Codec // what it is then
	timestampBeforeMs int64        // message.timestamp.before.max.ms
	timestampAfterMs  int64        // message.timestamp.after.max.ms
	throttled         *throttledReplicas
}

// hosted yields the partitions that have a log.
func (t *topic) hosted() iter.Seq2[int, *partition] {
	return func(yield func(int, *partition) bool) {
		for i, p := range *t.parts.Load() {
			if p != nil && !yield(i, p) {
				return
			}
		}
	}
}

// absent is the error for a partition that partition did not find: there is
// no such one, its log directory is offline, or other brokers have it.
func (t *topic) absent(i int32) *kerr.Error {
	if i < 0 || int(i) >= len(*t.parts.Load()) {
		return kerr.UnknownTopicOrPartition
	}
	if t.isOffline(i) {
		return kerr.KafkaStorageError
	}
	return kerr.NotLeaderForPartition
}

// isOffline reports whether partition i has a replica here whose log directory
// is offline since the start.
func (t *topic) isOffline(i int32) bool {
	offline := t.offline.Load()
	return offline != nil && (*offline)[i]
}

// partition returns partition i, or nil.
func (t *topic) partition(i int32) *partition {
	parts := *t.parts.Load()
	if i < 0 || int(i) >= len(parts) {
		return nil
	}
	return parts[i]
}

// topicTable finds topics by name and by id. Lookups do not allocate; each
// connection remembers its last topic, so the lock is off the steady path.
type topicTable struct {
	mu     sync.RWMutex
	byName map[string]*topic
	byID   map[[16]byte]*topic
}

func newTopicTable() *topicTable {
	return &topicTable{byName: map[string]*topic{}, byID: map[[16]byte]*topic{}}
}

func (tt *topicTable) name(name []byte) *topic {
	tt.mu.RLock()
	t := tt.byName[string(name)]
	tt.mu.RUnlock()
	return t
}

func (tt *topicTable) id(id [16]byte) *topic {
	tt.mu.RLock()
	t := tt.byID[id]
	tt.mu.RUnlock()
	return t
}

// all lists every topic.
func (tt *topicTable) all() []*topic {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	return slices.Collect(maps.Values(tt.byID))
}

// led counts the partitions this broker leads, and of those the ones with too
// few in-sync replicas.
func (tt *topicTable) led() (leaders, under, belowMin int64) {
	for _, t := range tt.all() {
		for _, p := range t.hosted() {
			if !p.Role().Leads {
				continue
			}
			leaders++
			lacking, below := p.UnderReplicated()
			if lacking {
				under++
			}
			if below {
				belowMin++
			}
		}
	}
	return leaders, under, belowMin
}

func (tt *topicTable) put(t *topic) {
	tt.mu.Lock()
	tt.byName[t.name], tt.byID[t.id] = t, t
	tt.mu.Unlock()
}

// remove takes t out and marks it deleted; parked fetches are woken so that
// they answer.
func (tt *topicTable) remove(t *topic) {
	tt.mu.Lock()
	if tt.byName[t.name] == t {
		delete(tt.byName, t.name)
	}
	delete(tt.byID, t.id)
	tt.mu.Unlock()
	t.deleted.Store(true)
	for _, p := range t.hosted() {
		p.deleted.Store(true)
		p.wakeAll()
		p.wakeDeletes()
	}
}

// partitions counts the partitions of all topics.
func (tt *topicTable) partitions() int {
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	n := 0
	for _, t := range tt.byName {
		n += len(*t.parts.Load())
	}
	return n
}

// topicByName finds a topic for one connection's request.
func (c *conn) topicByName(name []byte) *topic {
	if t := c.lastTopic; t != nil && t.name == string(name) && !t.deleted.Load() {
		return t
	}
	t := c.loop.srv.topics.name(name)
	if t != nil {
		c.lastTopic = t
	}
	return t
}

// topicByID is topicByName for topic ids (KIP-516).
func (c *conn) topicByID(id [16]byte) *topic {
	if t := c.lastTopic; t != nil && t.id == id && !t.deleted.Load() {
		return t
	}
	t := c.loop.srv.topics.id(id)
	if t != nil {
		c.lastTopic = t
	}
	return t
}
