package broker

import "freshet/zerocopy"

// slot is one place in a connection's queue of answers, in request order. A
// turn's produce requests share one slot, because their answers leave
// together; a fetch and every request of the worker pool has its own.
//
// buf holds the answer's bytes with the response header and size; regions lie
// between them at their recorded positions. The slot may be sent once it is
// closed to further requests (open false) and nothing it waits for is left.
// Loop only.
type slot struct {
	conn    *conn
	buf     []byte
	regions []slotRegion
	waits   int32 // writes, fsyncs, replication or handlers outstanding
	open    bool  // more answers of this turn may be appended
	sent    int   // bytes of buf already sent
	sentRgn int   // regions wholly sent
	next    *slot
}

// slotRegion is a file range that goes out after buf[:at]. The slot owns the
// region's reference until it is sent or the connection closes.
type slotRegion struct {
	at     int
	cursor zerocopy.Cursor
	warmTo int64 // file position up to which the page cache has the bytes
}

// ready reports whether the slot may be sent.
func (s *slot) ready() bool { return !s.open && s.waits == 0 }

// keepSlotBytes is the largest answer buffer that stays with a pooled slot.
const keepSlotBytes = 64 << 10

// newSlot appends an empty slot to c's queue.
func (c *conn) newSlot() *slot {
	l := c.loop
	s := l.freeSlots
	if s != nil {
		l.freeSlots = s.next
		s.next = nil
	} else {
		s = &slot{}
	}
	s.conn = c
	if c.tail == nil {
		c.head = s
	} else {
		c.tail.next = s
	}
	c.tail = s
	c.slots++
	return s
}

// freeSlot returns a slot that left its queue to the loop's pool.
func (l *loop) freeSlot(s *slot) {
	for i := range s.regions {
		if i >= s.sentRgn {
			s.regions[i].cursor.Close()
		}
	}
	if cap(s.buf) > keepSlotBytes {
		s.buf = nil
	}
	*s = slot{buf: s.buf[:0], regions: s.regions[:0], next: l.freeSlots}
	l.freeSlots = s
}

// wait adds n things the slot waits for.
func (s *slot) wait(n int32) { s.waits += n }

// done takes one away and sends what became sendable. The connection may have
// closed meanwhile: then the slot is only kept for its last waiter.
func (s *slot) done(l *loop) {
	s.waits--
	if s.waits < 0 {
		panic("BUG: answer slot completed more often than it waited")
	}
	if s.waits > 0 || s.open {
		return
	}
	c := s.conn
	if c.closed {
		l.freeSlot(s)
		return
	}
	c.queued += len(s.buf)
	if c.head == s {
		l.queuePump(c)
	}
}
