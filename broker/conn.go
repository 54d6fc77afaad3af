package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// conn is one client connection. Loop only, except remote, which never
// changes.
type conn struct {
	loop       *loop
	fd         int
	remote     netip.AddrPort
	listener   string
	attachment netpoll.PollAttachment

	// asm holds, from asmAt on, the bytes of a frame whose end has not
	// arrived, or whole frames that wait while the connection is muted. Nil
	// when empty. asmAt is 0 whenever the connection is read from.
	asm        *chunk
	asmAt      int
	held       int64 // bytes of asm in the broker's sum
	asmSinceMs int64 // when the first byte of the partial frame came
	lastMs     int64 // last activity, for connections.max.idle.ms

	head, tail *slot
	slots      int
	queued     int   // bytes of answers complete but not sent
	turnSlot   *slot // open slot of this turn's produce answers

	muted      bool // a request must be answered before the next is read
	paused     bool // out of the poller's read set
	throttled  bool // waits in loop.throttled for the disk
	blocked    bool // the socket takes no more bytes, or others have their turn
	tailOnly   bool // the next read fills the assembly buffer only
	pumpQueued bool
	waitsDisk  bool // a region at the head is being read ahead
	halfClosed bool // the client sends no more: nothing waits for records for it
	closed     bool
	closing    error // refused: closed once the answers due have been sent

	parked  *fetchOp // long poll in progress
	cold    *Request // request on the worker pool
	looking *fetchOp // fetch whose offsets a worker looks up

	lastTopic *topic // most recent topic by name or id

	stream  *stream // set when this broker opened the connection, to a follower
	replica replica // set when the other side is a leader that replicates to this broker
}

var (
	errPeerClosed = errors.New("closed by peer")
	errMalformed  = errors.New("malformed request")
	errStopping   = errors.New("broker is stopping")
	errIdle       = errors.New("idle for longer than connections.max.idle.ms")
	errSlowFrame  = errors.New("request arrives too slowly: not whole within 30 s")
)

// maxSlots bounds the unanswered requests of one connection before it is no
// longer read from. It bounds the broker's memory, not the client's window:
// a turn's produce requests share a slot.
const maxSlots = 1024

// maxQueuedBytes bounds the bytes of answers that one connection has not
// taken yet before its next requests are handled. File ranges do not count,
// they occupy no memory.
const maxQueuedBytes = 1 << 20

// onReadable reads once and handles every whole frame.
func (l *loop) onReadable(c *conn) {
	var tail []byte
	c.tailOnly = false
	if c.asm != nil {
		tail = c.asmRoom()
	}
	inTail, inBuf, err := l.read(c, tail)
	if err != nil {
		if err == unix.EAGAIN {
			return
		}
		l.closeConn(c, err)
		return
	}
	n := inTail + inBuf
	if n == 0 {
		if c.stream != nil {
			l.closeConn(c, errPeerClosed)
			return
		}
		l.endOfRequests(c, errPeerClosed)
		return
	}
	c.lastMs = l.monoMs
	l.stats.bytesIn.Add(int64(n))
	rbuf := l.rbuf
	data := rbuf.buf[:inBuf]
	if c.asm != nil {
		c.asm.n += inTail
		if data, err = c.finishFrame(data); err != nil {
			l.refuse(c, err)
			return
		}
	}
	if len(data) > 0 {
		rbuf.refs++
		rest, err := c.frames(data, rbuf)
		if err == nil && len(rest) > 0 && !c.closed {
			c.keep(rest)
		}
		l.chunks.put(rbuf)
		if err != nil {
			l.refuse(c, err)
		}
	}
	if l.rbuf.refs > 1 && l.turn.empty() {
		l.renewReadBuffer()
	}
	if err := c.account(); err != nil {
		l.refuse(c, err)
	}
}

// account keeps the broker's sum of what connections hold of requests that
// have not arrived whole, or wait, and reports when it is too much. Only the
// connection that grows is refused; buffers of up to minPartialBytes are not
// counted, max.connections bounds those.
func (c *conn) account() error {
	held := int64(0)
	if c.asm != nil && len(c.asm.buf) > minPartialBytes {
		held = int64(len(c.asm.buf))
		if need, known := c.asmNeed(); known { // pooled buffers are rounded up
			held = min(held, int64(max(need, c.asm.n)))
		}
	}
	grown := held - c.held
	if grown == 0 {
		return nil
	}
	c.held = held
	srv := c.loop.srv
	if sum := srv.heldBytes.Add(grown); grown > 0 && sum > srv.opts.QueuedBytes {
		return fmt.Errorf("%w: %d bytes of unfinished requests are held, queued.max.request.bytes allows %d",
			errMalformed, sum, srv.opts.QueuedBytes)
	}
	return nil
}

// renewReadBuffer takes a fresh read buffer while writes in flight still
// point into the old one.
func (l *loop) renewReadBuffer() {
	l.chunks.put(l.rbuf)
	l.rbuf = l.chunks.get(readBufferBytes)
}

// asmRoom returns where the rest of the partial frame should be read to,
// growing the buffer only in step with the bytes that have arrived.
func (c *conn) asmRoom() []byte {
	a := c.asm
	need, known := c.asmNeed()
	if !known {
		c.tailOnly = false
		return nil
	}
	if len(a.buf) < need && a.n*2 > len(a.buf) {
		c.growAsm(min(need, max(2*len(a.buf), minPartialBytes)))
		a = c.asm
	}
	c.tailOnly = len(a.buf) < need
	return a.buf[a.n:min(need, len(a.buf))]
}

const minPartialBytes = 64 << 10

// asmNeed is the size of the first frame in the assembly buffer with its
// length field, known once four bytes are there.
func (c *conn) asmNeed() (need int, known bool) {
	if c.asm.n-c.asmAt < 4 {
		return 4, false
	}
	return 4 + int(binary.BigEndian.Uint32(c.asm.buf[c.asmAt:])), true
}

// growAsm moves the assembly buffer's bytes to the front of a new one: writes
// in flight may still point into the old.
func (c *conn) growAsm(size int) {
	old := c.asm
	c.asm = c.loop.chunks.get(size)
	c.asm.n = copy(c.asm.buf, old.buf[c.asmAt:old.n])
	c.asmAt = 0
	c.loop.chunks.put(old)
}

// dropAsm gives the assembly buffer back.
func (c *conn) dropAsm() {
	if c.asm != nil {
		c.loop.chunks.put(c.asm)
		c.asm, c.asmAt = nil, 0
	}
	_ = c.account() // less than before
}

// finishFrame completes the frame in the assembly buffer with what it needs
// of data, handles it and the whole frames behind it, and returns the rest of
// data.
func (c *conn) finishFrame(data []byte) ([]byte, error) {
	for c.asm != nil {
		need, known := c.asmNeed()
		if known {
			if err := c.checkSize(need - 4); err != nil {
				return nil, err
			}
		}
		if have := c.asm.n - c.asmAt; have < need {
			k := min(need-have, len(data))
			if c.asmAt > 0 || len(c.asm.buf) < c.asm.n+k {
				c.growAsm(max(have+k, min(need, minPartialBytes)))
			}
			if k == 0 {
				return nil, nil
			}
			copy(c.asm.buf[c.asm.n:], data[:k])
			c.asm.n += k
			data = data[k:]
			continue
		}
		if !known {
			continue
		}
		if err := c.asmFrames(); err != nil || c.closed {
			return nil, err
		}
		if c.muted {
			if len(data) > 0 {
				c.keep(data)
			}
			return nil, nil
		}
	}
	return data, nil
}

// asmFrames handles the whole frames of the assembly buffer. What must wait
// because the connection is muted stays where it is.
func (c *conn) asmFrames() error {
	a := c.asm
	data := a.buf[c.asmAt:a.n]
	c.asm, c.asmAt = nil, 0
	rest, err := c.frames(data, a)
	if err == nil && len(rest) > 0 && !c.closed {
		if c.muted {
			c.asm, c.asmAt = a, a.n-len(rest)
			return nil
		}
		c.keep(rest)
	}
	c.loop.chunks.put(a)
	return err
}

// frames handles whole frames from the front of data, which lies in ch, and
// returns what is left: a partial frame, or everything from where the
// connection was muted.
func (c *conn) frames(data []byte, ch *chunk) ([]byte, error) {
	for len(data) >= 4 && !c.muted && !c.closed {
		size := int(int32(binary.BigEndian.Uint32(data)))
		if err := c.checkSize(size); err != nil {
			return nil, err
		}
		if len(data)-4 < size {
			break
		}
		if err := c.dispatch(data[4:4+size:4+size], ch); err != nil {
			return nil, err
		}
		data = data[4+size:]
		if c.stream == nil && (c.slots > maxSlots || c.queued > maxQueuedBytes) {
			c.muted = true
		}
	}
	return data, nil
}

// minFrameBytes is the smallest request header: key, version, correlation id.
const minFrameBytes = 8

func (c *conn) checkSize(size int) error {
	if size < minFrameBytes || size > c.loop.srv.opts.MaxRequestBytes {
		return fmt.Errorf("%w: frame of %d bytes, allowed are %d to socket.request.max.bytes=%d",
			errMalformed, size, minFrameBytes, c.loop.srv.opts.MaxRequestBytes)
	}
	return nil
}

// keep copies bytes that cannot be handled yet to the assembly buffer.
func (c *conn) keep(data []byte) {
	if c.asm == nil {
		size := len(data)
		if len(data) >= 4 {
			if whole := 4 + int(binary.BigEndian.Uint32(data)); whole <= minPartialBytes {
				size = max(size, whole)
			} else {
				size = max(size, min(whole, max(2*size, minPartialBytes)))
			}
		}
		c.asm = c.loop.chunks.get(size)
		c.asmSinceMs = c.loop.monoMs
	}
	if len(c.asm.buf) < c.asm.n+len(data) {
		c.growAsm(c.asm.n - c.asmAt + len(data))
	}
	c.asm.n += copy(c.asm.buf[c.asm.n:], data)
}

// unmute lets the connection's next requests be handled: first those that
// arrived meanwhile, then new ones.
func (l *loop) unmute(c *conn) {
	c.muted = false
	if c.asm != nil {
		c.asmSinceMs = l.monoMs
		if _, err := c.finishFrame(nil); err != nil {
			l.refuse(c, err)
			return
		}
		_ = c.account() // no more than before
		l.turn.end()
	}
	l.resumeReading(c)
}

// refuse ends a connection whose bytes make no sense.
func (l *loop) refuse(c *conn, err error) {
	if c.closed || c.closing != nil {
		return
	}
	if c.stream != nil {
		l.closeConn(c, err)
		return
	}
	if !errors.Is(err, errStopping) {
		slog.Warn("connection closed because of a bad request", "client", c.remote.String(), "error", err)
	}
	l.endOfRequests(c, err)
}

// endOfRequests reads and handles nothing more from c and closes it once the
// requests before have been answered.
func (l *loop) endOfRequests(c *conn, err error) {
	c.closing, c.muted = err, true
	c.dropAsm()
	l.turn.end()
	if c.head != nil && !c.closed {
		l.pauseReading(c)
	}
	l.pump(c)
}

// closeConn ends a connection. Slots that still wait for writes live on until
// those finish; the buffers in flight are held by their own references.
func (l *loop) closeConn(c *conn, err error) {
	if c.closed {
		return
	}
	c.closed = true
	l.conns[c.fd] = nil
	_ = l.poller.Delete(c.fd)
	_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	_ = unix.Close(c.fd)
	c.dropAsm()
	if c.parked != nil {
		l.dropFetch(c.parked)
	}
	if c.looking != nil {
		c.looking.abandoned = true // its slot is freed when the worker is done
	}
	for s := c.head; s != nil; {
		next := s.next
		s.next = nil
		if s.waits == 0 {
			if !s.open {
				l.freeSlot(s)
			}
		}
		s = next
	}
	c.head, c.tail, c.slots = nil, nil, 0
	if c.stream != nil {
		c.stream.down(err)
		return
	}
	l.nconns.Add(-1)
	l.srv.connClosed(c)
}
