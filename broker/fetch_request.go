package broker

// fetchRequest is the fixed part of a Fetch request; its partitions are
// walked in place by fetchTopics and forgottenTopics.
type fetchRequest struct {
	version    int16
	flexible   bool
	byID       bool
	replicaID  int32
	maxWaitMs  int32
	minBytes   int32
	maxBytes   int32
	isolation  int8
	sessionID  int32
	epoch      int32
	topicsAt   int    // position of the topics array in the body
	forgotAt   int    // position of the forgotten topics array; -1 before v7
	rack       []byte // of the client, in the request; empty: not said
	partitions int
	entry      fetchEntry // scratch of the walk
}

// fetchEntry is one partition asked for.
type fetchEntry struct {
	index       int32
	leaderEpoch int32
	offset      int64
	lastEpoch   int32
	maxBytes    int32
}

// fetchVisitor receives the partitions of a request. name and id alias the
// request.
type fetchVisitor interface {
	visit(name []byte, id [16]byte, e *fetchEntry)
	forget(name []byte, id [16]byte, index int32)
}

// parseFetch reads the fixed part and walks the rest to see that it is whole.
func parseFetch(body []byte, version int16, q *fetchRequest) bool {
	*q = fetchRequest{version: version, flexible: version >= 12, byID: version >= 13,
		replicaID: -1, maxBytes: 1<<31 - 1, epoch: -1, forgotAt: -1}
	r := reader{b: body}
	if version <= 14 {
		q.replicaID = r.int32()
	}
	q.maxWaitMs, q.minBytes, q.maxBytes = r.int32(), r.int32(), r.int32()
	q.isolation = r.int8()
	if version >= 7 {
		q.sessionID, q.epoch = r.int32(), r.int32()
	}
	q.topicsAt = r.pos
	q.walkTopics(&r, nil)
	if version >= 7 {
		q.forgotAt = r.pos
		q.walkForgotten(&r, nil)
	}
	if version >= 11 {
		q.rack = r.string(q.flexible)
	}
	if q.flexible {
		q.requestTags(&r)
	}
	return !r.bad && r.left() == 0
}

// requestTags reads the request's tagged fields; from v15 on the replica's id
// is one of them (tag 1, KIP-903).
func (q *fetchRequest) requestTags(r *reader) {
	n := r.uvarint()
	if n > maxTags {
		r.bad = true
		return
	}
	for ; n > 0 && !r.bad; n-- {
		tag, size := r.uvarint(), r.uvarint()
		if size > 1<<31-1 {
			r.bad = true
			return
		}
		field := r.take(int(size))
		if tag == 1 && q.version >= 15 && !r.bad {
			state := reader{b: field}
			q.replicaID = state.int32()
			r.bad = state.bad
		}
	}
}

// walk gives every partition and every forgotten partition to v.
func (q *fetchRequest) walk(body []byte, v fetchVisitor) {
	r := reader{b: body, pos: q.topicsAt}
	q.walkTopics(&r, v)
	if q.forgotAt >= 0 {
		r.pos = q.forgotAt
		q.walkForgotten(&r, v)
	}
}

func (q *fetchRequest) topicKey(r *reader) (name []byte, id [16]byte) {
	if !q.byID {
		return r.string(q.flexible), id
	}
	if p := r.take(16); p != nil {
		id = [16]byte(p)
	}
	return nil, id
}

func (q *fetchRequest) walkTopics(r *reader, v fetchVisitor) {
	e := &q.entry
	for topics := r.array(q.flexible, 3); topics > 0 && !r.bad; topics-- {
		name, id := q.topicKey(r)
		for parts := r.array(q.flexible, 16); parts > 0 && !r.bad; parts-- {
			*e = fetchEntry{leaderEpoch: -1, lastEpoch: -1}
			e.index = r.int32()
			if q.version >= 9 {
				e.leaderEpoch = r.int32()
			}
			e.offset = r.int64()
			if q.version >= 12 {
				e.lastEpoch = r.int32()
			}
			if q.version >= 5 {
				r.int64() // log start offset of a follower
			}
			e.maxBytes = r.int32()
			if q.flexible {
				r.tags()
			}
			if v != nil {
				v.visit(name, id, e)
			} else {
				q.partitions++
			}
		}
		if q.flexible {
			r.tags()
		}
	}
}

func (q *fetchRequest) walkForgotten(r *reader, v fetchVisitor) {
	for topics := r.array(q.flexible, 3); topics > 0 && !r.bad; topics-- {
		name, id := q.topicKey(r)
		for parts := r.array(q.flexible, 4); parts > 0 && !r.bad; parts-- {
			index := r.int32()
			if v != nil {
				v.forget(name, id, index)
			}
		}
		if q.flexible {
			r.tags()
		}
	}
}
