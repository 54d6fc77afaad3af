package broker

import (
	"errors"
	"fmt"
	"log/slog"

	"freshet/storage"
	"freshet/vfs"
	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Fetch, versions 4 to 18.
//
//	v4   record batches, isolation level (KIP-98)
//	v5   log start offset
//	v7   sessions (KIP-227)
//	v9   current leader epoch (KIP-320)
//	v11  rack (KIP-392)
//	v12  flexible, diverging epoch (KIP-595)
//	v13  topic ids (KIP-516)
//	v15  replica state as a tag (KIP-903)
//	v16  node endpoints (KIP-951)
//	v17, v18 fields of replicas only (KIP-853, KIP-1166)
//
// Parsed in place on the loop. A fetch that finds too little parks in its
// partitions' lists and a timer; bodies leave by sendfile.
func init() {
	register(API{Key: 1, Min: 4, Max: 18, hot: handleFetch})
}

// fetchOp is one fetch from parse to answer, pooled per loop. Loop only,
// except wake.
type fetchOp struct {
	loop      *loop
	conn      *conn
	slot      *slot
	q         fetchRequest
	corr      int32
	session   *fetchSession // nil: no session
	sessionID int32         // to answer; 0 without a session
	full      bool          // answer every partition, also those with nothing new
	errorCode int16         // for the whole request
	parts     []fetchPart
	// availableBytes is the sum of what the partitions hold, as last seen.
	availableBytes int64
	waits          []fetchWait
	timer          timer
	parked         bool
	cold           bool // index entries or batch headers must come from the disk
	lookedUp       bool // a worker has brought them in
	abandoned      bool // the connection closed while a worker looked
	queued         bool // in loop.woken
	rack           []byte
	posted         postFlag
	next           *fetchOp
}

// fetchPart is one partition of a fetch and what was read for it.
type fetchPart struct {
	fetchEntry
	topic   *topic
	part    *partition
	name    string // of an unknown topic
	id      [16]byte
	sess    *sessionPart
	code    int16
	lookUp  bool // the place of its offset is to be looked up on a worker
	diverge bool
	// readFrom is the replica that the client should read from instead, -1 none.
	readFrom int32
	// divEpoch and divOffset tell a diverged reader where to truncate to.
	divEpoch  int32
	divOffset int64
	res       storage.ReadResult
}

// fetchPool is a loop's free fetch operations.
type fetchPool struct{ free *fetchOp }

func (l *loop) newFetch(c *conn) *fetchOp {
	op := l.fetches.free
	if op == nil {
		op = &fetchOp{loop: l}
		op.timer = timer{heapIdx: -1, fetch: op}
	} else {
		l.fetches.free, op.next = op.next, nil
	}
	op.conn = c
	return op
}

// freeFetch returns op to the pool; its regions have been handed on or
// released before.
func (l *loop) freeFetch(op *fetchOp) {
	clear(op.parts)
	*op = fetchOp{loop: l, parts: op.parts[:0], waits: op.waits[:0], rack: op.rack[:0], next: l.fetches.free}
	op.timer = timer{heapIdx: -1, fetch: op}
	l.fetches.free = op
}

func handleFetch(c *conn, h *wire.Header, body []byte, _ *chunk) error {
	l := c.loop
	l.turn.end()
	op := l.newFetch(c)
	if !parseFetch(body, h.Version, &op.q) {
		l.freeFetch(op)
		return fmt.Errorf("%w: Fetch version %d", errMalformed, h.Version)
	}
	l.stats.fetchRequests.Add(1)
	op.rack = append(op.rack[:0], op.q.rack...)
	op.q.rack = op.rack // the request's bytes do not outlive this call
	op.corr = h.CorrelationID
	op.slot = c.newSlot()
	op.slot.wait(1)
	l.openFetch(op, body)
	if op.errorCode != 0 {
		l.answerFetch(op)
		return nil
	}
	due := l.readFetch(op)
	if op.cold {
		return l.lookUpFetch(op)
	}
	if due || !l.parkFetch(op) {
		l.answerFetch(op)
	}
	return nil
}

// openFetch finds the session and fills op.parts.
func (l *loop) openFetch(op *fetchOp, body []byte) {
	q, c := &op.q, op.conn
	sessions := l.srv.sessions
	op.full = true
	switch {
	case q.epoch == -1 || q.epoch == 0:
		if q.sessionID != 0 {
			sessions.remove(q.sessionID)
		}
		if q.epoch == 0 {
			op.session = sessions.create(q.byID, l.monoMs)
		}
		if op.session == nil {
			q.walk(body, op)
			return
		}
	default:
		op.session = sessions.get(q.sessionID)
		op.full = false
		if op.session == nil {
			op.errorCode = kerr.FetchSessionIDNotFound.Code
			return
		}
	}
	s := op.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if !op.full {
		switch {
		case s.mu.epoch != q.epoch:
			op.errorCode = kerr.InvalidFetchSessionEpoch.Code
		case s.byID != q.byID:
			op.errorCode = kerr.FetchSessionTopicIDError.Code
		}
		if op.errorCode != 0 {
			op.session = nil
			return
		}
	}
	s.mu.epoch = nextSessionEpoch(q.epoch)
	s.usedMs.Store(l.monoMs)
	op.sessionID = s.id
	l.update = sessionUpdate{conn: c, session: s}
	q.walk(body, &l.update)
	s.resolve(c)
	for _, part := range s.mu.parts {
		op.parts = append(op.parts, fetchPart{fetchEntry: part.entry, topic: part.topic,
			name: part.key.name, id: part.key.id, sess: part})
	}
	if len(s.mu.parts) == 0 {
		sessions.remove(s.id)
		op.session, op.sessionID = nil, 0
	}
}

// visit takes one partition of a request without a session.
func (op *fetchOp) visit(name []byte, id [16]byte, e *fetchEntry) {
	fp := fetchPart{fetchEntry: *e, id: id}
	if op.q.byID {
		fp.topic = op.conn.topicByID(id)
	} else if fp.topic = op.conn.topicByName(name); fp.topic != nil {
		fp.name = fp.topic.name
	} else {
		fp.name = string(name)
	}
	op.parts = append(op.parts, fp)
}

// forget has no meaning without a session.
func (op *fetchOp) forget([]byte, [16]byte, int32) {}

// readFetch reads every partition and reports whether the answer is due:
// enough bytes, an error, or no wish to wait. As in Apache Kafka, fetch.min.bytes
// is at most what the answer may hold, and partitions that do not exist do not
// end the wait for the others.
func (l *loop) readFetch(op *fetchOp) bool {
	leftBytes := l.fetchLimit(op)
	minOne := true
	var got int64
	due, unknown := op.q.maxWaitMs <= 0 || op.conn.halfClosed, 0
	op.availableBytes = 0
	for i := range op.parts {
		fp := &op.parts[i]
		maxBytes := max(0, min(fp.maxBytes, leftBytes))
		l.readPart(op, fp, maxBytes, minOne)
		op.availableBytes += fp.available()
		switch {
		case fp.unknown():
			unknown++
		case fp.settled():
			due = true
		}
		if n := fp.res.Region.Length; n > 0 {
			minOne = false
			leftBytes = int32(max(0, int64(leftBytes)-n))
			got += max(n, min(fp.res.Available, int64(maxBytes)))
		}
	}
	return due || unknown == len(op.parts) || got >= l.fetchMinBytes(op)
}

// fetchLimit is what the whole answer may hold, in bytes; only a first batch
// that is larger goes beyond.
func (l *loop) fetchLimit(op *fetchOp) int32 {
	return max(0, min(op.q.maxBytes, l.srv.opts.FetchMaxBytes))
}

func (l *loop) fetchMinBytes(op *fetchOp) int64 {
	return int64(min(op.q.minBytes, l.fetchLimit(op)))
}

// mayBeDue reads again only the partitions that moved since the last look, and
// reports whether it is worth reading all of them: a fetch of many partitions
// that waits for many bytes is woken by every append to any.
func (l *loop) mayBeDue(op *fetchOp) bool {
	due := false
	for i := range op.waits {
		if w := &op.waits[i]; w.part == nil || !w.moved.Swap(false) {
			continue
		}
		fp := &op.parts[i]
		op.availableBytes -= fp.available()
		l.readPart(op, fp, max(0, fp.maxBytes), true)
		fp.res.Region.Release()
		op.availableBytes += fp.available()
		due = due || fp.settled()
	}
	return due || op.availableBytes >= l.fetchMinBytes(op)
}

// available is how many bytes of the partition an answer could hold if it held
// no other, as of the last read.
func (fp *fetchPart) available() int64 {
	if fp.code != 0 || fp.diverge {
		return 0
	}
	return min(fp.res.Available, int64(max(0, fp.maxBytes)))
}

// unknown reports whether there is no such partition.
func (fp *fetchPart) unknown() bool {
	return fp.topic == nil || fp.code == kerr.UnknownTopicOrPartition.Code && fp.topic.partition(fp.index) == nil
}

// settled reports whether waiting would not change what the partition
// answers: an error, a diverged reader, or a segment read to its end.
func (fp *fetchPart) settled() bool {
	return fp.code != 0 || fp.diverge || fp.readFrom >= 0 || fp.res.Available == storage.UnknownAvailable
}

func (l *loop) readPart(op *fetchOp, fp *fetchPart, maxBytes int32, minOne bool) {
	fp.code, fp.diverge, fp.readFrom = 0, false, -1
	p, code := l.fetchable(op, fp)
	if code != 0 {
		fp.code = code
		return
	}
	fp.part = p
	if fp.lastEpoch >= 0 {
		epoch, end := p.log.EndOffsetForEpoch(fp.lastEpoch)
		if end < 0 {
			fp.code = kerr.OffsetOutOfRange.Code
			return
		}
		if end < fp.offset || epoch < fp.lastEpoch {
			fp.diverge, fp.divEpoch, fp.divOffset = true, epoch, end
			fp.fillOffsets(p)
			return
		}
	}
	if len(op.q.rack) > 0 && op.q.replicaID == replicaConsumer {
		if fp.readFrom = l.preferredReplica(p, op.q.rack, fp.offset); fp.readFrom >= 0 {
			fp.fillOffsets(p)
			return
		}
	}
	hw := p.HighWatermark()
	lso := min(hw, p.log.LastStableOffset())
	upTo := hw
	switch {
	case op.q.replicaID == replicaDebug:
		upTo = p.log.LogEndOffset()
	case op.q.isolation == readCommitted:
		upTo = lso
	}
	err := p.log.ReadCached(fp.offset, maxBytes, upTo, minOne, &fp.res)
	if errors.Is(err, vfs.ErrWouldBlock) {
		if !op.lookedUp {
			op.cold, fp.lookUp = true, true
			return
		}
		// What a worker brought in has left the page cache again.
		err = p.log.Read(fp.offset, maxBytes, upTo, minOne, &fp.res)
	}
	if err != nil {
		fp.code = fetchErrorCode(err)
		if fp.code == kerr.KafkaStorageError.Code {
			slog.Error("read failed", "topic", p.topic.name, "partition", p.index, "offset", fp.offset, "error", err)
		}
		fp.fillOffsets(p)
		return
	}
	fp.res.HighWatermark, fp.res.LastStableOffset = hw, lso
}

// fillOffsets gives an answer without records the partition's offsets.
func (fp *fetchPart) fillOffsets(p *partition) {
	hw := p.HighWatermark()
	lso := min(hw, p.log.LastStableOffset())
	fp.res = storage.ReadResult{HighWatermark: hw, LastStableOffset: lso, LogStartOffset: p.log.LogStartOffset()}
}

// Replica ids with a meaning of their own (Kafka: FetchRequest).
const (
	replicaConsumer = -1
	replicaDebug    = -2
)

// fetchable finds the partition and checks who asks and at which epoch.
func (l *loop) fetchable(op *fetchOp, fp *fetchPart) (*partition, int16) {
	if fp.topic == nil {
		if op.q.byID {
			return nil, kerr.UnknownTopicID.Code
		}
		return nil, kerr.UnknownTopicOrPartition.Code
	}
	p := fp.topic.partition(fp.index)
	if p == nil {
		return nil, fp.topic.absent(fp.index).Code
	}
	if p.deleted.Load() {
		return nil, kerr.UnknownTopicOrPartition.Code
	}
	role := p.Role()
	// Followers are pushed to, none fetches. Consumers that know of followers
	// may read from one (KIP-392).
	if op.q.replicaID >= 0 || role.LeaderEpoch < 0 || !role.Leads && op.q.version < 11 {
		return nil, kerr.NotLeaderForPartition.Code
	}
	if fp.leaderEpoch >= 0 {
		switch epoch := role.LeaderEpoch; {
		case fp.leaderEpoch < epoch:
			return nil, kerr.FencedLeaderEpoch.Code
		case fp.leaderEpoch > epoch:
			return nil, kerr.UnknownLeaderEpoch.Code
		}
	}
	return p, 0
}

// fetchErrorCode is the Kafka error code of a failed read.
func fetchErrorCode(err error) int16 {
	switch {
	case errors.Is(err, storage.ErrOffsetOutOfRange):
		return kerr.OffsetOutOfRange.Code
	case errors.Is(err, storage.ErrLogClosed):
		return kerr.NotLeaderForPartition.Code
	case errors.Is(err, storage.ErrCorruptBatch):
		return kerr.CorruptMessage.Code
	}
	return kerr.KafkaStorageError.Code
}

// answerFetch builds the answer from what was read and gives it to the slot.
func (l *loop) answerFetch(op *fetchOp) {
	s := op.slot
	b := append(s.buf, 0, 0, 0, 0)
	b = appendInt32(b, op.corr)
	if op.q.flexible {
		b = append(b, 0)
	}
	b = appendInt32(b, 0) // throttle time
	if op.q.version >= 7 {
		b = appendInt16(b, op.errorCode)
		b = appendInt32(b, op.sessionID)
	}
	if ses := op.session; ses != nil {
		ses.mu.Lock()
		op.dropUnchanged()
		ses.mu.Unlock()
	}
	s.buf = b
	bodyBytes := l.appendFetchTopics(op, s)
	switch {
	case op.q.version >= 16 && len(l.hints.leaders) > 0:
		s.buf = l.appendNodeEndpoints(s.buf, op.conn.listener)
	case op.q.flexible:
		s.buf = append(s.buf, 0)
	}
	l.hints.leaders = l.hints.leaders[:0]
	n := int64(len(s.buf)-4) + bodyBytes
	s.buf[0], s.buf[1], s.buf[2], s.buf[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	c := op.conn
	l.freeFetch(op)
	c.parked = nil
	s.done(l)
}

// dropUnchanged removes the partitions an incremental answer leaves out,
// remembers what is sent, and moves those with data to the session's end so
// that max.bytes starves nobody. The session's lock is held.
func (op *fetchOp) dropUnchanged() {
	kept := op.parts[:0]
	moved := false
	for i := range op.parts {
		fp := op.parts[i]
		sp := fp.sess
		hasData := fp.res.Region.Length > 0
		news := op.full || hasData || fp.code != 0 || fp.diverge || fp.readFrom >= 0 ||
			sp.highWatermark != fp.res.HighWatermark || sp.logStart != fp.res.LogStartOffset
		if !news {
			continue
		}
		if fp.code != 0 {
			sp.highWatermark, sp.logStart = -1, -1
		} else {
			sp.highWatermark, sp.logStart = fp.res.HighWatermark, fp.res.LogStartOffset
		}
		sp.answered = hasData
		moved = moved || hasData
		kept = append(kept, fp)
	}
	clear(op.parts[len(kept):])
	op.parts = kept
	if moved && len(op.session.mu.parts) > 1 {
		op.rotate()
	}
}

// rotate puts the session's partitions that have data in this answer last,
// keeping the order within both groups.
func (op *fetchOp) rotate() {
	list := op.session.mu.parts
	scratch := op.loop.sessionScratch[:0]
	next := 0
	for _, sp := range list {
		if sp.answered {
			sp.answered = false
			scratch = append(scratch, sp)
			continue
		}
		list[next] = sp
		next++
	}
	copy(list[next:], scratch)
	clear(scratch)
	op.loop.sessionScratch = scratch[:0]
}

// appendFetchTopics appends the topics array, grouping neighbours of one
// topic, and returns the bytes of the regions that go between.
func (l *loop) appendFetchTopics(op *fetchOp, s *slot) (bodyBytes int64) {
	groups := 0
	for i := range op.parts {
		if i == 0 || !op.sameTopic(i-1, i) {
			groups++
		}
	}
	s.buf = appendArrayLen(s.buf, groups, op.q.flexible)
	for i := 0; i < len(op.parts); {
		end := i + 1
		for end < len(op.parts) && op.sameTopic(i, end) {
			end++
		}
		if op.q.byID {
			s.buf = append(s.buf, op.parts[i].id[:]...)
		} else {
			s.buf = appendString(s.buf, op.parts[i].name, op.q.flexible)
		}
		s.buf = appendArrayLen(s.buf, end-i, op.q.flexible)
		for ; i < end; i++ {
			bodyBytes += l.appendFetchPart(op, s, &op.parts[i])
		}
		if op.q.flexible {
			s.buf = append(s.buf, 0)
		}
	}
	return bodyBytes
}

func (op *fetchOp) sameTopic(i, j int) bool {
	a, b := &op.parts[i], &op.parts[j]
	if op.q.byID {
		return a.id == b.id
	}
	return a.name == b.name
}

// copyBelowBytes is the size up to which a body is copied next to its header:
// below it one pread costs less than a send of its own.
const copyBelowBytes = 8 << 10

func (l *loop) appendFetchPart(op *fetchOp, s *slot, fp *fetchPart) (bodyBytes int64) {
	b := appendInt32(s.buf, fp.index)
	b = appendInt16(b, fp.code)
	if fp.code != 0 && fp.code != kerr.OffsetOutOfRange.Code {
		fp.res.HighWatermark, fp.res.LastStableOffset, fp.res.LogStartOffset = -1, -1, -1
	}
	b = appendInt64(b, fp.res.HighWatermark)
	b = appendInt64(b, fp.res.LastStableOffset)
	if op.q.version >= 5 {
		b = appendInt64(b, fp.res.LogStartOffset)
	}
	committed := op.q.isolation == readCommitted && fp.code == 0
	switch { // aborted transactions: none for read_committed, null otherwise
	case op.q.flexible && committed:
		b = append(b, 1)
	case op.q.flexible:
		b = append(b, 0)
	case committed:
		b = appendInt32(b, 0)
	default:
		b = appendInt32(b, -1)
	}
	if op.q.version >= 11 {
		b = appendInt32(b, fp.readFrom)
	}
	n := fp.res.Region.Length
	if op.q.flexible {
		b = appendUvarint(b, uint32(n+1))
	} else {
		b = appendInt32(b, int32(n))
	}
	s.buf = b
	if n > 0 {
		bodyBytes = l.attachRegion(s, fp)
	}
	if op.q.flexible {
		s.buf = l.appendFetchTags(s.buf, fp)
	}
	return bodyBytes
}

// attachRegion gives the region that was read to the slot.
func (l *loop) attachRegion(s *slot, fp *fetchPart) int64 {
	region := fp.res.Region
	fp.res.Region = storage.RegionRef{}
	return l.attach(s, region)
}

// attach puts a region behind what the slot has: small ones as bytes, others by
// reference, which the slot takes over. It returns the bytes that are not in
// s.buf.
func (l *loop) attach(s *slot, region storage.RegionRef) int64 {
	if region.Length <= copyBelowBytes {
		at := len(s.buf)
		s.buf = append(s.buf, zeros[:region.Length]...)
		if region.File.ReadResident(s.buf[at:], region.Position) {
			l.stats.copiedBytes.Add(region.Length)
			region.Release()
			return 0
		}
		s.buf = s.buf[:at] // read ahead first, or an error for sendfile to report
	}
	n := region.Length
	s.addRegion(region)
	return n
}

// appendFetchTags appends a partition's tagged fields: the diverging epoch (0)
// or the current leader (1), if any.
func (l *loop) appendFetchTags(b []byte, fp *fetchPart) []byte {
	if !fp.diverge {
		return l.appendCurrentLeader(b, 1, fp.topic, fp.index, fp.code)
	}
	b = append(b, 1, 0, 13)
	b = appendInt32(b, fp.divEpoch)
	b = appendInt64(b, fp.divOffset)
	return append(b, 0)
}
