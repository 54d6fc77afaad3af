package broker

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
)

// Incremental fetch sessions (KIP-227): the broker remembers which partitions
// a consumer reads and where, so that requests name only what changed and
// answers only what is new.

// sessionKey names a partition inside a session, also one whose topic is not
// known here. name is empty in sessions that use topic ids.
type sessionKey struct {
	name  string
	id    [16]byte
	index int32
}

// sessionPart is one partition of a session with what was last answered.
type sessionPart struct {
	key   sessionKey
	topic *topic
	entry fetchEntry
	// highWatermark and logStart as last sent; -1 before the first answer.
	highWatermark int64
	logStart      int64
	answered      bool // has records in the answer being built
}

// fetchSession is one consumer's session: it may be named on any connection.
// Its lock may be held when the cache's is taken, never the other way round.
type fetchSession struct {
	id     int32
	byID   bool
	usedMs atomic.Int64 // monotonic
	mu     struct {
		sync.Mutex
		epoch int32 // of the next request
		parts []*sessionPart
		index map[sessionKey]*sessionPart
	}
}

// fetchSessions is the cache of all sessions, bounded by
// max.incremental.fetch.session.cache.slots.
type fetchSessions struct {
	mu         sync.Mutex
	sessions   map[int32]*fetchSession
	slots      int
	evictionMs int64
}

// sessionEvictionMs is min.incremental.fetch.session.eviction.ms: how long a
// session must have been idle before a newcomer may take its slot.
const sessionEvictionMs = 120_000

func newFetchSessions(slots int) *fetchSessions {
	return &fetchSessions{sessions: map[int32]*fetchSession{}, slots: slots, evictionMs: sessionEvictionMs}
}

// get finds a session.
func (fs *fetchSessions) get(id int32) *fetchSession {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.sessions[id]
}

// remove forgets a session.
func (fs *fetchSessions) remove(id int32) {
	fs.mu.Lock()
	delete(fs.sessions, id)
	fs.mu.Unlock()
}

// create makes a session, or returns nil when the cache is full of sessions
// in use: the fetch then works without one.
func (fs *fetchSessions) create(byID bool, nowMs int64) *fetchSession {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.slots <= 0 || len(fs.sessions) >= fs.slots && !fs.evictLocked(nowMs) {
		return nil
	}
	s := &fetchSession{byID: byID}
	for {
		s.id = rand.Int32N(1<<31-1) + 1
		if fs.sessions[s.id] == nil {
			break
		}
	}
	s.mu.epoch = 1
	s.mu.index = map[sessionKey]*sessionPart{}
	s.usedMs.Store(nowMs)
	fs.sessions[s.id] = s
	return s
}

// evictLocked drops the session that has been idle longest, if that is long
// enough.
func (fs *fetchSessions) evictLocked(nowMs int64) bool {
	var oldest *fetchSession
	var oldestMs int64
	for _, s := range fs.sessions {
		usedMs := s.usedMs.Load()
		if oldest == nil || usedMs < oldestMs {
			oldest, oldestMs = s, usedMs
		}
	}
	if oldest == nil || nowMs-oldestMs < fs.evictionMs {
		return false
	}
	delete(fs.sessions, oldest.id)
	return true
}

// nextSessionEpoch wraps from the greatest int32 to 1; 0 starts a session.
func nextSessionEpoch(epoch int32) int32 {
	if epoch == 1<<31-1 {
		return 1
	}
	return epoch + 1
}

// sessionUpdate applies one request's partitions to a session.
type sessionUpdate struct {
	conn    *conn
	session *fetchSession
}

func (u *sessionUpdate) key(name []byte, id [16]byte, index int32) (sessionKey, *topic) {
	var t *topic
	if u.session.byID {
		t = u.conn.topicByID(id)
		return sessionKey{id: id, index: index}, t
	}
	if t = u.conn.topicByName(name); t != nil {
		return sessionKey{name: t.name, index: index}, t
	}
	return sessionKey{name: string(name), index: index}, nil
}

func (u *sessionUpdate) visit(name []byte, id [16]byte, e *fetchEntry) {
	key, t := u.key(name, id, e.index)
	m := &u.session.mu
	part := m.index[key]
	if part == nil {
		part = &sessionPart{key: key, highWatermark: -1, logStart: -1}
		m.index[key] = part
		m.parts = append(m.parts, part)
	}
	part.topic = t
	part.entry = *e
}

func (u *sessionUpdate) forget(name []byte, id [16]byte, index int32) {
	key, _ := u.key(name, id, index)
	m := &u.session.mu
	part := m.index[key]
	if part == nil {
		return
	}
	delete(m.index, key)
	for i, p := range m.parts {
		if p == part {
			m.parts = append(m.parts[:i], m.parts[i+1:]...)
			return
		}
	}
}

// resolve finds the session's topics that were unknown or have been deleted
// since. A recreated topic has another id; by name it is found again.
func (s *fetchSession) resolve(c *conn) {
	for _, part := range s.mu.parts {
		if part.topic != nil && !part.topic.deleted.Load() {
			continue
		}
		if s.byID {
			part.topic = c.loop.srv.topics.id(part.key.id)
		} else {
			part.topic = c.loop.srv.topics.name([]byte(part.key.name))
		}
	}
}
