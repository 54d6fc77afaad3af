package broker

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"

	"freshet/record"
)

// A client that asks without reading is asked no more: what waits for it is
// bounded. When it reads, everything is there, in order.
func TestSlowReaderIsHeldBack(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		s := newServed(t, t.TempDir(), "freshet.io.engine", engine, "socket.send.buffer.bytes", "65536")
		s.topic("t", 1)
		s.topic("a-topic-with-a-long-name-that-makes-answers-large", 200)
		w := s.dial()
		for range 40 {
			w.send(produceFrame("t", batchOf(t, 1, 50_000), 1, 9))
			w.answer()
		}
		c := s.dial()
		_ = c.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		const requests = 600
		sent := make(chan error, 1)
		go func() {
			for i := range int32(requests) {
				frame := metadataFrame("", i)
				switch i % 3 {
				case 1:
					frame = withCorr(fetchFrame("t", 0, 1<<20, 0, 1, 12), i)
				case 2:
					frame = withCorr(produceFrame("t", batchOf(t, 1, 100), 1, 9), i)
				}
				if _, err := c.conn.Write(frame); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		l := s.broker.net.loops[0]
		eventually(t, func() (why string) {
			onLoop(l, func() {
				blocked := 0
				for _, c := range l.conns {
					if c != nil && c.blocked {
						blocked++
					}
					if c != nil && c.queued > 2*maxQueuedBytes {
						t.Errorf("%d bytes of answers wait for one client", c.queued)
					}
				}
				if blocked == 0 {
					why = "the slow reader's connection is not blocked"
				}
			})
			return why
		})
		w.send(produceFrame("t", batchOf(t, 1, 100), 1, 9)) // others are served meanwhile
		w.answer()
		for i := range int32(requests) {
			b := c.answer()
			if got := corrOf(b); got != i {
				t.Fatalf("answer %d where %d was due", got, i)
			}
			if i%3 == 1 {
				batches := decodeFetch(t, b, 12).Topics[0].Partitions[0].RecordBatches
				if _, err := visitBatches(batches, 0, func(record.Batch) error { return nil }); err != nil || len(batches) < 900_000 {
					t.Fatalf("answer %d: %d bytes, %v", i, len(batches), err)
				}
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		_ = c.conn.Close()
		_ = w.conn.Close()
		_ = s.conn.Close()
		s.settled()
	})
}

// One connection that takes all it gets does not keep the loop from others.
func TestFastReaderLeavesTurns(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 1)
	c := s.dial()
	for range 24 {
		c.send(produceFrame("t", batchOf(t, 10, 90_000), 1, 9))
		c.answer()
	}
	l := s.broker.net.loops[0]
	read := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, c.conn)
		read <- n
	}()
	const fetches = 8
	for range fetches {
		c.send(frameOf(fetchOf(0, 1, 20<<20, want{"t", 0, 0, 20 << 20}), 1))
	}
	other := s.dial()
	for i := range int32(50) {
		other.send(withCorr(fetchFrame("t", 0, 10, 0, 1, 12), i))
		if got := corrOf(other.answer()); got != i {
			t.Fatalf("answer %d where %d was due", got, i)
		}
	}
	eventually(t, func() (why string) {
		onLoop(l, func() {
			for _, c := range l.conns {
				if c != nil && c.head != nil {
					why = "the fast reader still has answers to get"
				}
			}
		})
		return why
	})
	_ = c.conn.(*net.TCPConn).CloseWrite()
	if n := <-read; n < fetches*19<<20 {
		t.Errorf("the fast reader got %d bytes", n)
	}
}

// When the disk falls behind, the loop reads no more, and goes on when it has
// caught up; connections that close meanwhile are forgotten.
func TestThrottleByTheDisk(t *testing.T) {
	s := newServed(t, t.TempDir(), "freshet.io.engine", "pwritev")
	s.topic("t", 1)
	l := s.broker.net.loops[0]
	clients := []*rawClient{s.dial(), s.dial(), s.dial()}
	for _, c := range clients {
		c.send(metadataFrame("t", 1))
		c.answer()
	}
	onLoop(l, func() { l.pendingBytes += 2 * maxPendingBytes })
	for i, c := range clients {
		c.send(withCorr(produceFrame("t", batchOf(t, 1, 10), 1, 9), int32(i)))
	}
	eventually(t, func() (why string) {
		onLoop(l, func() {
			if n := len(l.throttled); n != len(clients) {
				why = fmt.Sprintf("%d connections are throttled", n)
			}
		})
		return why
	})
	_ = clients[0].conn.Close()
	onLoop(l, func() {
		l.pendingBytes -= 2 * maxPendingBytes
		l.unthrottle()
	})
	for i, c := range clients[1:] {
		if got := corrOf(c.answer()); got != int32(i+1) {
			t.Errorf("answer %d where %d was due", got, i+1)
		}
		_ = c.conn.Close()
	}
	_ = s.conn.Close()
	s.settled()
}

// What a slow reader is being sent stays intact when the topic goes away.
func TestDeletedTopicIsSentToItsEnd(t *testing.T) {
	dir := t.TempDir()
	s := newServed(t, dir, "socket.send.buffer.bytes", "65536", "log.segment.delete.delay.ms", "0")
	s.topic("t", 1)
	c := s.dial()
	_ = c.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	var sent [][]byte
	for range 20 {
		batch := batchOf(t, 3, 50_000)
		sent = append(sent, batch[record.HeaderSize:])
		c.send(produceFrame("t", bytes.Clone(batch), 1, 9))
		c.answer()
	}
	c.send(frameOf(fetchOf(0, 1, 50<<20, want{"t", 0, 0, 50 << 20}), 1))
	l := s.broker.net.loops[0]
	eventually(t, func() string {
		if l.stats.blockedSends.Load() == 0 {
			return "the send is not blocked"
		}
		return ""
	})
	s.deleteTopic("t")
	i := 0
	batches := decodeFetch(t, c.answer(), 12).Topics[0].Partitions[0].RecordBatches
	_, err := visitBatches(batches, 0, func(b record.Batch) error {
		if !bytes.Equal(b[record.HeaderSize:], sent[i]) {
			return fmt.Errorf("batch %d is not what was sent", i)
		}
		i++
		return nil
	})
	if err != nil || i != len(sent) {
		t.Fatalf("%d batches, %v", i, err)
	}
	eventually(t, func() string {
		if open := deletedSegments(t, dir); len(open) > 0 {
			return fmt.Sprintf("files of the deleted topic are open: %v", open)
		}
		return ""
	})
}
