package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"freshet/record"
)

const (
	// frameSizeBytes precede every request. The floor receives them, then the
	// request to its last byte and no further: a receive that ran ahead into
	// the next requests would share its cost among them, and sharing costs
	// among requests is what a broker does better than a floor.
	frameSizeBytes = 4
	// nullReadAheadBytes is how much the null server receives at once; it is
	// to be as cheap as can be.
	nullReadAheadBytes = 16 << 10
	// headBytes is enough of a Produce request to answer it: header, the
	// longest topic name and a batch header.
	headBytes     = 1 << 10
	maxFrameBytes = 128 << 20
	keyProduce    = 0
	keyFetch      = 1
)

// rawServerConn is one connection of a raw server, used by its own thread
// only.
type rawServerConn struct {
	*rawConn
	server *rawServer
	// readAhead is the most to receive before a frame's size is known.
	readAhead int
	buf       []byte // received bytes are buf[r:w]
	r, w      int
	out       []byte // the answer under construction
	// queued are the null server's answers that wait until everything received
	// has been handled; the floor sends each at once.
	queued []byte
}

func (c *rawServerConn) serve() error {
	for {
		frame, missing, err := c.nextFrame()
		if err != nil {
			return err
		}
		if err := c.handle(frame, missing); err != nil {
			return err
		}
	}
}

// nextFrame returns the next request without its size. A null server leaves
// the end of a large Produce request in the socket: missing is how much. The
// frame is valid until the next call.
func (c *rawServerConn) nextFrame() (frame []byte, missing int, err error) {
	for c.w-c.r < frameSizeBytes {
		if err := c.fill(); err != nil {
			return nil, 0, err
		}
	}
	size := int(int32(binary.BigEndian.Uint32(c.buf[c.r:])))
	if size < correlationAt || size > maxFrameBytes {
		return nil, 0, fmt.Errorf("a frame of %d bytes arrived", size)
	}
	total := frameSizeBytes + size
	if c.server.opts.Null && total > nullReadAheadBytes {
		for c.w-c.r < headBytes {
			if err := c.fill(); err != nil {
				return nil, 0, err
			}
		}
		if have := c.w - c.r; have < total && isSinglePartition(c.buf[c.r+4:c.w]) {
			frame = c.buf[c.r+4 : c.w]
			c.r, c.w = 0, 0
			return frame, total - have, nil
		}
	}
	if c.w-c.r < total {
		if err := c.flush(); err != nil {
			return nil, 0, err
		}
		c.moveToFront(total)
		if err := c.recvFull(c.buf[c.w:total]); err != nil {
			return nil, 0, err
		}
		c.w = total
	}
	frame = c.buf[c.r+4 : c.r+total]
	c.r += total
	return frame, 0, nil
}

// fill receives what is there, at most readAhead bytes.
func (c *rawServerConn) fill() error {
	if err := c.flush(); err != nil {
		return err
	}
	c.moveToFront(c.w - c.r + c.readAhead)
	n, err := c.recv(c.buf[c.w : c.w+c.readAhead])
	c.w += n
	return err
}

// moveToFront makes room for capacity bytes from the first unread byte on.
func (c *rawServerConn) moveToFront(capacity int) {
	to := c.buf
	if len(to) < capacity {
		to = make([]byte, capacity)
	}
	c.w = copy(to, c.buf[c.r:c.w])
	c.r = 0
	c.buf = to
}

type requestHeader struct {
	key, version int16
	correlation  int32
}

func readHeader(c *cursor) requestHeader {
	h := requestHeader{key: c.int16(), version: c.int16(), correlation: c.int32()}
	c.str(false) // client id
	return h
}

// readProduceHead reads a Produce request up to its first partition's records.
func readProduceHead(c *cursor, version int16) (acks int16, topic []byte, partition int32, recordsBytes int, single bool) {
	flexible := requestVersions{produce: version}.flexibleProduce()
	c.tags(flexible) // of the header
	c.str(flexible)  // transactional id
	acks = c.int16()
	c.int32() // timeout
	topics := c.length(flexible)
	topic = c.str(flexible)
	partitions := c.length(flexible)
	partition = c.int32()
	recordsBytes = c.length(flexible)
	return acks, topic, partition, recordsBytes, c.ok && topics == 1 && partitions == 1
}

// isSinglePartition reports whether the start of a request is a Produce of one
// partition.
func isSinglePartition(head []byte) bool {
	cur := newCursor(head)
	h := readHeader(&cur)
	if h.key != keyProduce {
		return false
	}
	_, _, _, _, single := readProduceHead(&cur, h.version)
	return single && len(head)-cur.at >= record.HeaderSize
}

func (c *rawServerConn) handle(frame []byte, missing int) error {
	cur := newCursor(frame)
	h := readHeader(&cur)
	if !cur.ok {
		return errors.New("a request header is cut short")
	}
	if h.key == keyProduce {
		return c.produce(h, cur, missing)
	}
	if err := c.flush(); err != nil { // answers keep the requests' order
		return err
	}
	switch h.key {
	case keyFetch:
		return c.fetch(h, cur)
	default:
		return c.handleCold(h, frame[cur.at:])
	}
}

// produce is the hot path: one batch, one write, one answer.
func (c *rawServerConn) produce(h requestHeader, cur cursor, missing int) error {
	start := cur
	acks, topic, partition, recordsBytes, single := readProduceHead(&cur, h.version)
	if !single {
		if err := c.flush(); err != nil {
			return err
		}
		return c.produceMany(h, start.b[start.at:])
	}
	have := min(recordsBytes, len(cur.b)-cur.at)
	if recordsBytes < 0 || missing == 0 && have < recordsBytes {
		return errors.New("a Produce request is cut short")
	}
	baseOffset, code := int64(-1), int16(codeUnknownTopic)
	if p := c.server.partition(topic, partition); p != nil {
		baseOffset, code = p.append(record.Batch(cur.b[cur.at:cur.at+have]), c.server.opts.Null)
	}
	if missing > 0 {
		if err := c.discard(missing); err != nil {
			return err
		}
	}
	if acks == 0 {
		return nil
	}
	flexible := requestVersions{produce: h.version}.flexibleProduce()
	w := answer{b: c.out[:0], flexible: flexible}
	w.begin(h.correlation)
	w.length(1)
	w.str(topic)
	w.length(1)
	w.int32(partition)
	w.int16(code)
	w.int64(baseOffset)
	w.int64(record.NoTimestamp)
	w.int64(0) // log start offset
	if h.version >= 8 {
		w.length(0) // record errors
		w.null()    // error message
	}
	w.tags()
	w.tags()
	w.int32(0) // throttle time
	w.tags()
	c.out = w.end()
	if c.server.opts.Null {
		c.queued = append(c.queued, c.out...)
		return nil
	}
	return c.sendBytes(c.out)
}

// flush sends the queued answers; it comes before every receive that may wait.
func (c *rawServerConn) flush() error {
	if len(c.queued) == 0 {
		return nil
	}
	queued := c.queued
	c.queued = c.queued[:0]
	return c.sendBytes(queued)
}

// produceMany is the path of requests with several partitions, which only real
// clients send.
func (c *rawServerConn) produceMany(h requestHeader, body []byte) error {
	req := kmsg.NewPtrProduceRequest()
	req.Version = h.version
	cur := newCursor(body)
	cur.tags(req.IsFlexible())
	if err := req.ReadFrom(body[cur.at:]); err != nil {
		return fmt.Errorf("cannot read a Produce request: %w", err)
	}
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, part := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = part.Partition
			rp.BaseOffset, rp.ErrorCode = -1, codeUnknownTopic
			if p := c.server.partition([]byte(t.Topic), part.Partition); p != nil {
				rp.BaseOffset, rp.ErrorCode = p.append(part.Records, c.server.opts.Null)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if req.Acks == 0 {
		return nil
	}
	return c.sendResponse(h.correlation, resp)
}

// noTags are the three empty tag sections after the records of a Fetch answer.
var noTags [3]byte

// fetch is the hot path of reading: the head by send with MSG_MORE, the
// records by sendfile. It serves one partition and does not wait for data.
func (c *rawServerConn) fetch(h requestHeader, cur cursor) error {
	v := requestVersions{fetch: h.version}
	flexible := v.flexibleFetch()
	cur.tags(flexible)
	cur.skip(4 + 4 + 4 + 4 + 1 + 4 + 4) // replica, wait, min, max, isolation, session, epoch
	topics := cur.length(flexible)
	topic := cur.str(flexible)
	partitions := cur.length(flexible)
	partition := cur.int32()
	cur.skip(4) // current leader epoch
	offset := cur.int64()
	if flexible {
		cur.skip(4) // last fetched epoch
	}
	cur.skip(8) // log start offset
	maxBytes := int(cur.int32())
	if !cur.ok || topics != 1 || partitions != 1 {
		return fmt.Errorf("the floor serves fetches of one partition; this one names %d topics and %d partitions", topics, partitions)
	}
	fd, position, size, next, code := -1, int64(0), 0, int64(-1), int16(codeUnknownTopic)
	if p := c.server.partition(topic, partition); p != nil {
		fd, position, size, next, code = p.locate(offset, maxBytes)
	}
	w := answer{b: c.out[:0], flexible: flexible}
	w.begin(h.correlation)
	w.int32(0) // throttle time
	w.int16(0)
	w.int32(0) // session id
	w.length(1)
	w.str(topic)
	w.length(1)
	w.int32(partition)
	w.int16(code)
	w.int64(next)
	w.int64(next)
	w.int64(0)
	w.length(-1) // aborted transactions
	w.int32(-1)  // preferred read replica
	w.length(size)
	tailBytes := 0
	if flexible {
		tailBytes = 3
	}
	c.out = w.endBefore(size + tailBytes)
	if err := c.sendMore(c.out); err != nil {
		return err
	}
	if err := c.sendFile(fd, position, size); err != nil {
		return err
	}
	return c.sendBytes(noTags[:tailBytes])
}

func (c *rawServerConn) sendFile(fd int, position int64, size int) error {
	for size > 0 {
		n, err := unix.Sendfile(c.fd, fd, &position, size)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return fmt.Errorf("cannot sendfile: %w", err)
		case n == 0:
			return fmt.Errorf("cannot sendfile: %w at position %d", io.ErrUnexpectedEOF, position)
		}
		size -= n
	}
	return nil
}

func (c *rawServerConn) sendMore(p []byte) error {
	for len(p) > 0 {
		n, err := unix.SendmsgN(c.fd, p, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (c *rawServerConn) sendBytes(p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(c.fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// answer builds a framed response in place.
type answer struct {
	b        []byte
	flexible bool
}

func (a *answer) begin(correlation int32) {
	a.int32(0) // size, set by end
	a.int32(correlation)
	a.tags()
}

func (a *answer) end() []byte { return a.endBefore(0) }

// endBefore ends the answer with more bytes to follow from elsewhere.
func (a *answer) endBefore(more int) []byte {
	binary.BigEndian.PutUint32(a.b, uint32(len(a.b)-4+more))
	return a.b
}

func (a *answer) int16(v int16) { a.b = binary.BigEndian.AppendUint16(a.b, uint16(v)) }
func (a *answer) int32(v int32) { a.b = binary.BigEndian.AppendUint32(a.b, uint32(v)) }
func (a *answer) int64(v int64) { a.b = binary.BigEndian.AppendUint64(a.b, uint64(v)) }

func (a *answer) length(n int) {
	if a.flexible {
		a.b = binary.AppendUvarint(a.b, uint64(n+1))
		return
	}
	a.int32(int32(n))
}

func (a *answer) str(s []byte) {
	if a.flexible {
		a.length(len(s))
	} else {
		a.int16(int16(len(s)))
	}
	a.b = append(a.b, s...)
}

func (a *answer) null() {
	if a.flexible {
		a.length(-1)
	} else {
		a.int16(-1)
	}
}

func (a *answer) tags() {
	if a.flexible {
		a.b = append(a.b, 0)
	}
}
