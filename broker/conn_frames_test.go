package broker

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"freshet/record"
)

// push writes b as far as the socket takes it, letting the loop read whenever
// it is full.
func (h *loopHarness) push(b []byte) {
	h.t.Helper()
	for len(b) > 0 {
		n, err := unix.Write(h.client, b)
		if err != nil && err != unix.EAGAIN {
			h.t.Fatal(err)
		}
		b = b[max(n, 0):]
		h.poke()
	}
}

// Requests are understood wherever a read ends.
func TestFramesSplitAtEveryByte(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		h := newLoopHarness(t, engine)
		h.topic("t", nil)
		stream := withCorr(produceFrame("t", batchOf(t, 2, 10), 1, 9), 1)
		stream = append(stream, withCorr(produceFrame("t", batchOf(t, 1, 10), -1, 12), 2)...)
		stream = append(stream, withCorr(fetchFrame("t", 0, 1000, 0, 1, 12), 3)...)
		for i := 1; i < len(stream); i++ {
			h.push(stream[:i])
			h.push(stream[i:])
			for corr := int32(1); corr <= 3; corr++ {
				if got := corrOf(h.answer()); got != corr {
					t.Fatalf("split at %d: answer %d where %d was due", i, got, corr)
				}
				h.takeFirst()
			}
		}
		for _, b := range stream {
			h.push([]byte{b})
		}
		for corr := int32(1); corr <= 3; corr++ {
			if got := corrOf(h.answer()); got != corr {
				t.Fatalf("byte by byte: answer %d where %d was due", got, corr)
			}
			h.takeFirst()
		}
	})
}

// A request larger than any buffer arrives whole, however it is cut.
func TestLargeRequestInPieces(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		h := newLoopHarness(t, engine)
		h.topic("t", map[string]string{"max.message.bytes": "8000000"})
		batch := batchOf(t, 30, 100_000)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 3 {
			frame := produceFrame("t", batch, 1, 9)
			for len(frame) > 0 {
				n := min(len(frame), 1+rng.IntN(200_000))
				h.push(frame[:n])
				frame = frame[n:]
			}
			if p := decodeProduce(t, h.answer(), 9); p.ErrorCode != 0 {
				t.Fatalf("error %d", p.ErrorCode)
			}
			h.takeFirst()
		}
		if h.conn.asm != nil {
			t.Error("the assembly buffer was not given back")
		}
		var res [3][]byte
		for i := range res {
			got := record.Batch(h.broker.readBatch(t, "t", int64(30*i)))
			if err := got.CheckCRC(); err != nil || !bytes.Equal(got[record.HeaderSize:], batch[record.HeaderSize:]) {
				t.Fatalf("batch %d is not what was sent: %v", i, err)
			}
		}
	})
}

// readBatch reads the batch at offset through the log.
func (b *Broker) readBatch(t *testing.T, topic string, offset int64) []byte {
	t.Helper()
	var found []byte
	err := readLog(b.net.topics.name([]byte(topic)).partition(0).log, func(batch record.Batch) error {
		if batch.BaseOffset() == offset {
			found = bytes.Clone(batch)
		}
		return nil
	})
	if err != nil || found == nil {
		t.Fatalf("no batch at offset %d of %s: %v", offset, topic, err)
	}
	return found
}

// Many more requests than a connection may have unanswered are all answered,
// in order.
func TestPipelineBeyondTheSlots(t *testing.T) {
	h := newLoopHarness(t, "pwritev")
	h.topic("t", nil)
	h.exchange(produceFrame("t", batchOf(t, 1, 1000), 1, 9))
	const requests = 5 * maxSlots
	var stream []byte
	for i := range int32(requests) {
		stream = append(stream, withCorr(fetchFrame("t", 0, 2000, 0, 1, 4), i)...)
	}
	next := int32(0)
	for len(stream) > 0 {
		n, err := unix.Write(h.client, stream)
		if err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		stream = stream[max(n, 0):]
		h.poke()
		if h.conn.slots > maxSlots+1 || h.conn.queued > maxQueuedBytes+(1<<16) {
			t.Fatalf("%d answers of %d bytes are queued", h.conn.slots, h.conn.queued)
		}
		if n <= 0 { // the broker takes no more until it is read from
			for range 100 {
				if got := corrOf(h.answer()); got != next {
					t.Fatalf("answer %d where %d was due", got, next)
				}
				h.takeFirst()
				next++
			}
		}
	}
	for ; next < requests; next++ {
		if got := corrOf(h.answer()); got != next {
			t.Fatalf("answer %d where %d was due", got, next)
		}
		h.takeFirst()
	}
}

// Requests of the worker pool pipelined behind each other, with frames that
// end anywhere, are answered in order; and so is what follows them.
func TestPipelinedColdRequests(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 1)
	c := s.dial()
	var stream []byte
	const requests = 3000
	for i := range int32(requests) {
		switch i % 3 {
		case 0:
			stream = append(stream, withCorr(produceFrame("t", batchOf(t, 1, 50), 1, 9), i)...)
		default:
			stream = append(stream, metadataFrame("t", i)...)
		}
	}
	go func() {
		rng := rand.New(rand.NewPCG(3, 4))
		for len(stream) > 0 {
			n := min(len(stream), 1+rng.IntN(5000))
			if _, err := c.conn.Write(stream[:n]); err != nil {
				return
			}
			stream = stream[n:]
		}
	}()
	for i := range int32(requests) {
		if got := corrOf(c.answer()); got != i {
			t.Fatalf("answer %d where %d was due", got, i)
		}
	}
	_ = c.conn.Close()
	_ = s.conn.Close()
	s.settled()
}

// A bad frame ends the connection, but only after the requests before it have
// been answered; those behind it are not carried out.
func TestRefusalAfterAnswers(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		s := newServed(t, t.TempDir(), "freshet.io.engine", engine)
		s.topic("t", 1)
		good := withCorr(produceFrame("t", batchOf(t, 1, 50), 1, 9), 1)
		bad := [][]byte{
			{0, 0, 0, 3, 1, 2, 3},                                        // shorter than a header
			{0xff, 0xff, 0xff, 0xff, 0, 0, 0},                            // negative
			{0x7f, 0, 0, 0, 0, 0, 0, 0},                                  // beyond socket.request.max.bytes
			append([]byte{0, 0, 0, 12, 0, 99, 0, 0}, make([]byte, 8)...), // no such API
			metadataFrame("t", 2)[:14],
		}
		last := len(bad) - 1
		bad[last] = append([]byte{0, 0, 0, 10}, bad[last][4:14]...) // header of a worker's request, no body
		for i, frame := range bad {
			before := s.partition("t", 0).log.LogEndOffset()
			c := s.dial()
			stream := append(bytes.Clone(good), frame...)
			c.send(append(stream, good...))
			answers := c.ended()
			if len(answers) != 1 || corrOf(answers[0]) != 1 {
				t.Fatalf("bad frame %d: %d answers before the end", i, len(answers))
			}
			if end := s.partition("t", 0).log.LogEndOffset(); end != before+1 {
				t.Errorf("bad frame %d: %d requests were carried out", i, end-before)
			}
		}
		_ = s.conn.Close()
		s.settled()
	})
}
