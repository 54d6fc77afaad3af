package bench

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// produceStream drives one connection with prebuilt Produce requests, keeping
// window of them in flight. One goroutine uses it, locked to its thread.
type produceStream struct {
	conn     *rawConn
	versions requestVersions
	parts    []*producePartition
	window   int
	// recorder, if set, is given each request's time from send to answer, at
	// its time since recordFrom.
	recorder   *Recorder
	recordFrom time.Time

	slots       []produceSlot
	bufs        [][]byte
	in          []byte
	inR, inW    int
	correlation int32
	turn        int // requests sent, to take the partitions in turn
}

// producePartition is one partition of a stream, which is the only one that
// writes to it: so the base offset of every answer is known in advance.
type producePartition struct {
	partition  int32
	template   produceTemplate
	nextOffset int64
}

// produceSlot is one place in the window with its own copies of the heads, as
// several may be on their way in one writev.
type produceSlot struct {
	heads       [][]byte // by partition
	part        int
	correlation int32
	sentAt      time.Time
}

func newProduceStream(conn *rawConn, v requestVersions, window int, parts []*producePartition) *produceStream {
	s := &produceStream{conn: conn, versions: v, parts: parts, window: window, in: make([]byte, 64<<10)}
	s.slots = make([]produceSlot, window)
	for i := range s.slots {
		for _, p := range parts {
			head := append([]byte(nil), p.template.head...)
			if len(p.template.batch) < 4<<10 {
				// Small requests go as one piece: a copy once beats an iovec each time.
				head = append(head, p.template.batch...)
				head = append(head, p.template.tail...)
			}
			s.slots[i].heads = append(s.slots[i].heads, head)
		}
	}
	return s
}

// run sends requests as long as the shared budget has some, and returns when
// the last is answered. acked counts the answered requests.
func (s *produceStream) run(budget *atomic.Int64) (acked int64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	first, inFlight, more := 0, 0, true
	for {
		s.bufs = s.bufs[:0]
		queued := 0
		for more && inFlight+queued < s.window {
			if budget.Add(-1) < 0 {
				more = false
				break
			}
			s.enqueue(&s.slots[(first+inFlight+queued)%s.window])
			queued++
		}
		if queued > 0 {
			if err := s.sendQueued(first+inFlight, queued); err != nil {
				return acked, err
			}
			inFlight += queued
		}
		if inFlight == 0 {
			return acked, nil
		}
		n, err := s.receive(first, inFlight)
		if err != nil {
			return acked, err
		}
		first = (first + n) % s.window
		inFlight -= n
		acked += int64(n)
	}
}

// enqueue puts the next request into the slot and its pieces on the vector.
func (s *produceStream) enqueue(slot *produceSlot) {
	slot.part = s.turn % len(s.parts)
	s.turn++
	s.correlation++
	slot.correlation = s.correlation
	head := slot.heads[slot.part]
	binary.BigEndian.PutUint32(head[correlationAt:], uint32(slot.correlation))
	t := &s.parts[slot.part].template
	if len(head) > len(t.head) {
		s.bufs = append(s.bufs, head)
		return
	}
	s.bufs = append(s.bufs, head, t.batch, t.tail)
}

func (s *produceStream) sendQueued(from, count int) error {
	if s.recorder != nil {
		now := time.Now()
		for i := range count {
			s.slots[(from+i)%s.window].sentAt = now
		}
	}
	return s.conn.send(s.bufs)
}

// receive blocks for at least one answer and takes all that have come, in
// order, checking each.
func (s *produceStream) receive(first, inFlight int) (answers int, err error) {
	for answers == 0 {
		if s.inR > 0 {
			s.inW = copy(s.in, s.in[s.inR:s.inW])
			s.inR = 0
		}
		n, err := s.conn.recv(s.in[s.inW:])
		if err != nil {
			return 0, fmt.Errorf("with %d requests unanswered: %w", inFlight, err)
		}
		s.inW += n
		var now time.Time
		if s.recorder != nil {
			now = time.Now()
		}
		for s.inW-s.inR >= 4 {
			size := int(int32(binary.BigEndian.Uint32(s.in[s.inR:])))
			if size < 4 || size > len(s.in)-4 {
				return answers, fmt.Errorf("a Produce answer claims %d bytes", size)
			}
			if s.inW-s.inR < 4+size {
				break
			}
			if answers == inFlight {
				return answers, fmt.Errorf("an answer came to no request")
			}
			slot := &s.slots[(first+answers)%s.window]
			if err := s.check(slot, s.in[s.inR+4:s.inR+4+size]); err != nil {
				return answers, err
			}
			if s.recorder != nil {
				s.recorder.RecordAt(slot.sentAt.Sub(s.recordFrom), now.Sub(slot.sentAt))
			}
			s.inR += 4 + size
			answers++
		}
	}
	return answers, nil
}

// check holds an answer against its request: order, error code, and a base
// offset that says nothing was lost or written twice.
func (s *produceStream) check(slot *produceSlot, frame []byte) error {
	correlation, baseOffset, err := parseProduceResponse(frame, s.versions)
	if err != nil {
		return err
	}
	if correlation != slot.correlation {
		return fmt.Errorf("answer %d came where %d was next: answers out of order", correlation, slot.correlation)
	}
	p := s.parts[slot.part]
	if baseOffset != p.nextOffset {
		return fmt.Errorf("partition %d acknowledged base offset %d where %d was next", p.partition, baseOffset, p.nextOffset)
	}
	p.nextOffset += int64(p.template.records)
	return nil
}

// fetchStream drives one connection with Fetch requests, one in flight, walking
// its partitions from the start to the end again and again. The records are
// discarded in the kernel, but for the first batch header of every answer.
type fetchStream struct {
	conn     *rawConn
	versions requestVersions
	parts    []*fetchPartition
	recorder *Recorder

	head        []byte
	correlation int32
	turn        int
}

// fetchPartition is one partition of a fetchStream. All its batches have the
// same size, so the next offset follows from the bytes received.
type fetchPartition struct {
	partition    int32
	template     fetchTemplate
	batchBytes   int
	batchRecords int64
	endOffset    int64
	nextOffset   int64
}

func newFetchStream(conn *rawConn, v requestVersions, topic string, parts []*fetchPartition) *fetchStream {
	// Head: everything up to the records, with the longest possible length
	// field, and the first batch's header.
	return &fetchStream{conn: conn, versions: v, parts: parts, head: make([]byte, 4+96+len(topic))}
}

// run fetches as long as the shared budget of requests lasts and returns the
// record bytes and the whole batches' records received.
func (s *fetchStream) run(budget *atomic.Int64) (requests, bytes, records int64, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for budget.Add(-1) >= 0 {
		p := s.parts[s.turn%len(s.parts)]
		s.turn++
		var start time.Time
		if s.recorder != nil {
			start = time.Now()
		}
		n, err := s.fetchOne(p)
		if err != nil {
			return requests, bytes, records, err
		}
		if s.recorder != nil {
			s.recorder.Record(time.Since(start))
		}
		got := int64(n/p.batchBytes) * p.batchRecords
		p.nextOffset += got
		if p.nextOffset >= p.endOffset {
			p.nextOffset = 0
		}
		requests++
		bytes += int64(n)
		records += got
	}
	return requests, bytes, records, nil
}

// fetchOne sends one request and drains its answer.
func (s *fetchStream) fetchOne(p *fetchPartition) (recordsBytes int, err error) {
	s.correlation++
	p.template.patch(s.correlation, p.nextOffset)
	if err := s.conn.send([][]byte{p.template.frame}); err != nil {
		return 0, err
	}
	have := 0
	for have < len(s.head) {
		n, err := s.conn.recv(s.head[have:])
		if err != nil {
			return 0, err
		}
		have += n
		if have >= 4 && have-4 >= int(int32(binary.BigEndian.Uint32(s.head))) {
			break
		}
	}
	size := int(int32(binary.BigEndian.Uint32(s.head)))
	correlation, recordsAt, recordsBytes, err := parseFetchHead(s.head[4:have], s.versions)
	switch {
	case err != nil:
		return 0, err
	case correlation != s.correlation:
		return 0, fmt.Errorf("fetch answer %d came to request %d", correlation, s.correlation)
	case recordsBytes < p.batchBytes:
		return 0, fmt.Errorf("partition %d answered %d bytes at offset %d of %d; a whole batch has %d",
			p.partition, recordsBytes, p.nextOffset, p.endOffset, p.batchBytes)
	}
	if first := s.head[4+recordsAt : have]; len(first) >= 8 {
		if base := int64(binary.BigEndian.Uint64(first)); base != p.nextOffset {
			return 0, fmt.Errorf("partition %d sent base offset %d for a fetch at %d", p.partition, base, p.nextOffset)
		}
	}
	return recordsBytes, s.conn.discard(4 + size - have)
}

// readBack reads one partition from the start to endOffset with every CRC and
// offset checked. It returns the bytes and records read.
func readBack(conn *rawConn, v requestVersions, topic string, partition int32, endOffset int64, maxBytes int) (bytes, records int64, err error) {
	template := newFetchTemplate(v, topic, partition, maxBytes)
	var buf []byte
	for correlation := int32(1); records < endOffset; correlation++ {
		template.patch(correlation, records)
		if err := conn.send([][]byte{template.frame}); err != nil {
			return bytes, records, err
		}
		var sizeBytes [4]byte
		if err := conn.recvFull(sizeBytes[:]); err != nil {
			return bytes, records, err
		}
		size := int(int32(binary.BigEndian.Uint32(sizeBytes[:])))
		if size < 4 || size > maxFrameBytes {
			return bytes, records, fmt.Errorf("a Fetch answer claims %d bytes", size)
		}
		if cap(buf) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if err := conn.recvFull(buf); err != nil {
			return bytes, records, err
		}
		_, at, n, err := parseFetchHead(buf, v)
		if err != nil {
			return bytes, records, err
		}
		if n > size-at {
			return bytes, records, fmt.Errorf("a Fetch answer of %d bytes claims %d bytes of records", size, n)
		}
		gotBytes, gotRecords, err := CheckBatches(buf[at:at+n], records)
		if err != nil {
			return bytes, records, fmt.Errorf("partition %d read back wrong: %w", partition, err)
		}
		if gotRecords == 0 {
			return bytes, records, fmt.Errorf("partition %d ends at offset %d; %d was acknowledged", partition, records, endOffset)
		}
		bytes += int64(gotBytes)
		records += gotRecords
	}
	if records != endOffset {
		return bytes, records, fmt.Errorf("partition %d holds %d records; %d were acknowledged", partition, records, endOffset)
	}
	return bytes, records, nil
}
