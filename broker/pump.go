package broker

import (
	"errors"
	"log/slog"

	"freshet/zerocopy"
)

// zeros is room to extend a slice by without an allocation.
var zeros [copyBelowBytes]byte

const (
	// pumpBytes is what one connection sends before others get their turn: an
	// answer of max.partition.fetch.bytes with its headers goes out at once.
	pumpBytes = 1<<20 + 64<<10
	// maxSendVectors bounds one sendmsg.
	maxSendVectors = 64
	// readAheadBytes is what is asked of the disk at once for a cold reader.
	readAheadBytes = 1 << 20
)

// addRegion puts a file range behind the bytes the slot has so far. The slot
// takes over the region's reference.
func (s *slot) addRegion(region zerocopy.FileRegion) {
	s.regions = append(s.regions, slotRegion{at: len(s.buf), cursor: zerocopy.NewCursor(region, &s.conn.loop.sent)})
}

// pump sends what is ready, in order: bytes of neighbouring answers with one
// sendmsg, file ranges with sendfile. It stops when nothing is ready, the
// socket is full, the disk must be waited for, or pumpBytes have gone out.
func (l *loop) pump(c *conn) {
	if c.blocked || c.waitsDisk || c.closed {
		return
	}
	budget := int64(pumpBytes)
	for c.head != nil && c.head.ready() {
		var n int64
		var err error
		if s := c.head; s.sentRgn < len(s.regions) && s.sent == s.regions[s.sentRgn].at {
			n, err = l.sendRegion(c, s, budget)
		} else {
			n, err = l.sendBytes(c)
		}
		if n > 0 {
			budget -= n
			l.stats.bytesOut.Add(n)
			c.lastMs = l.monoMs
		}
		if err != nil {
			l.sendFailed(c, err)
			return
		}
		if c.waitsDisk {
			return
		}
		l.dropSent(c)
		if budget <= 0 {
			if c.head != nil && c.head.ready() {
				l.block(c)
			}
			break
		}
	}
	switch {
	case c.closing != nil && c.head == nil:
		l.closeConn(c, c.closing)
	case c.muted:
		l.maybeUnmute(c)
	case c.paused:
		l.resumeReading(c)
	}
}

func (l *loop) sendFailed(c *conn, err error) {
	switch {
	case errors.Is(err, zerocopy.ErrWouldBlock):
		l.stats.blockedSends.Add(1)
		l.block(c)
		return
	case errors.Is(err, zerocopy.ErrStorage):
		slog.Error("segment could not be sent; the connection is closed, check the disk",
			"client", c.remote.String(), "error", err)
	}
	l.closeConn(c, err)
}

// dropSent takes the answers off the queue that are wholly sent.
func (l *loop) dropSent(c *conn) {
	for s := c.head; s != nil && s.ready() && s.sent == len(s.buf) && s.sentRgn == len(s.regions); s = c.head {
		if c.head = s.next; c.head == nil {
			c.tail = nil
		}
		c.slots--
		c.queued -= len(s.buf)
		l.freeSlot(s)
	}
}

// sendBytes sends bytes of the ready answers up to the next file range.
func (l *loop) sendBytes(c *conn) (int64, error) {
	vec := l.sendVec[:0]
	more := false
	for s := c.head; s != nil && s.ready() && len(vec) < maxSendVectors && !more; s = s.next {
		end, region := s.bytesEnd()
		if end > s.sent {
			vec = append(vec, s.buf[s.sent:end])
		}
		more = region
	}
	l.sendVec = vec
	if len(vec) == 0 {
		return 0, nil
	}
	n, err := zerocopy.SendMsg(c.fd, zerocopy.Iovecs(l.sendIovs[:], vec), more)
	clear(vec)
	for left, s := n, c.head; left > 0; s = s.next {
		end, _ := s.bytesEnd()
		k := min(left, end-s.sent)
		s.sent += k
		left -= k
	}
	return int64(n), err
}

// bytesEnd is where the slot's bytes end before the next file range, and
// whether there is one.
func (s *slot) bytesEnd() (end int, region bool) {
	if s.sentRgn < len(s.regions) {
		return s.regions[s.sentRgn].at, true
	}
	return len(s.buf), false
}

// sendRegion sends from the head's next file range. What is not in the page
// cache is read ahead first, and the connection waits without the loop.
func (l *loop) sendRegion(c *conn, s *slot, budget int64) (int64, error) {
	r := &s.regions[s.sentRgn]
	want := min(r.cursor.Remaining(), max(budget, copyBelowBytes))
	at := r.cursor.Position()
	if r.warmTo < at+want && !l.warm(c, r, at, want) {
		return 0, nil
	}
	n, err := r.cursor.Send(c.fd, min(want, r.warmTo-at))
	if r.cursor.Remaining() == 0 && err == nil {
		r.cursor.Close()
		s.sentRgn++
	}
	return n, err
}

// warm makes sure that bytes from position at on are in the page cache: it
// probes, or asks for a read-ahead and reports false.
func (l *loop) warm(c *conn, r *slotRegion, at, want int64) bool {
	file := r.cursor.File()
	end := at + r.cursor.Remaining()
	if file.Fd() < 0 {
		r.warmTo = end
		return true
	}
	resident, known, err := zerocopy.Resident(file.Fd(), at, want)
	switch {
	case err != nil || !known:
		r.warmTo = end
		return true
	case resident > 0:
		r.warmTo = at + resident
		return true
	}
	l.stats.readAheads.Add(1)
	length := min(readAheadBytes, end-at)
	r.warmTo = at + length // sent after the read-ahead without another probe
	c.waitsDisk = true
	file.Acquire()
	w := l.newDiskWait()
	w.conn, w.file = c, file
	l.async.ReadAhead(file.Fd(), at, length, w.token, l)
	l.scheduleFlush()
	return false
}

// diskWait is one read-ahead in flight; it keeps the file open.
type diskWait struct {
	conn  *conn
	file  *zerocopy.File
	token uint64
}

// newDiskWait returns a free entry; the table holds at most one per
// connection, because a connection waits for one read-ahead at a time.
func (l *loop) newDiskWait() *diskWait {
	if n := len(l.diskFree); n > 0 {
		w := l.diskWaits[l.diskFree[n-1]]
		l.diskFree = l.diskFree[:n-1]
		return w
	}
	w := &diskWait{token: uint64(len(l.diskWaits))}
	l.diskWaits = append(l.diskWaits, w)
	return w
}

// PollDone ends a read-ahead: the connection sends on. An error is left to
// sendfile, which meets it again and says what it is.
func (l *loop) PollDone(token uint64, _ int32) {
	w := l.diskWaits[token]
	c := w.conn
	_ = w.file.Release()
	w.conn, w.file = nil, nil
	l.diskFree = append(l.diskFree, token)
	c.waitsDisk = false
	if !c.closed {
		l.queuePump(c)
	}
}
