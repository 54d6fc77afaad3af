package broker

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"freshet/record"
	"freshet/storage"
)

// abort closes a connection with a reset, as a killed client's may end.
func (c *rawClient) abort() {
	_ = c.conn.(*net.TCPConn).SetLinger(0)
	_ = c.conn.Close()
}

// A connection may end in any state; nothing of it stays behind, and what it
// had sent whole is carried out.
func TestCloseInEveryState(t *testing.T) {
	states := []struct {
		name string
		run  func(s *served, c *rawClient)
	}{
		{"idle", func(s *served, c *rawClient) {}},
		{"in the middle of a frame", func(s *served, c *rawClient) {
			c.send(produceFrame("t", batchOf(s.t, 1, 100_000), 1, 9)[:70_000])
		}},
		{"long poll", func(s *served, c *rawClient) {
			c.send(frameOf(fetchOf(aMinute, 1<<30, 1<<30, want{"t", 0, 1 << 20, 1}, want{"t", 0, 0, 1}), 1))
		}},
		{"long poll with requests behind", func(s *served, c *rawClient) {
			c.send(frameOf(fetchOf(aMinute, 1<<30, 1<<30, want{"t", 1, 0, 1 << 30}), 1))
			s.parkedOn(1)
			c.send(metadataFrame("t", 2), metadataFrame("t", 3))
		}},
		{"request on the workers", func(s *served, c *rawClient) { c.send(metadataFrame("", 1), metadataFrame("", 2)) }},
		{"writes in flight", func(s *served, c *rawClient) {
			for range 50 {
				c.send(produceFrame("t", batchOf(s.t, 1, 20_000), 1, 9))
			}
		}},
		{"answers unread", func(s *served, c *rawClient) {
			_ = c.conn.(*net.TCPConn).SetReadBuffer(16 << 10)
			for i := range int32(20) {
				c.send(frameOf(fetchOf(0, 1, 20<<20, want{"t", 0, 0, 20 << 20}), i))
			}
			l := s.broker.net.loops
			eventually(s.t, func() string {
				if l[0].stats.blockedSends.Load()+l[1].stats.blockedSends.Load() == 0 {
					return "no send is blocked"
				}
				return ""
			})
		}},
		{"refused", func(s *served, c *rawClient) {
			c.send(append(produceFrame("t", batchOf(s.t, 1, 10), 1, 9), 0, 0, 0, 1))
		}},
	}
	eachEngine(t, func(t *testing.T, engine string) {
		s := newServed(t, t.TempDir(), "num.network.threads", "2", "freshet.io.engine", engine,
			"socket.send.buffer.bytes", "32768")
		s.topic("t", 2)
		w := s.dial()
		for range 30 {
			w.send(produceFrame("t", batchOf(t, 10, 50_000), 1, 9))
			w.answer()
		}
		_ = w.conn.Close()
		_ = s.conn.Close()
		s.settled()
		for _, state := range states {
			t.Run(strings.ReplaceAll(state.name, " ", "-"), func(t *testing.T) {
				for _, end := range []func(*rawClient){(*rawClient).abort, func(c *rawClient) { _ = c.conn.Close() }} {
					c, other := s.dial(), s.dial()
					state.run(s, c)
					end(c)
					other.send(metadataFrame("t", 9)) // the descriptor may be used again
					if got := corrOf(other.answer()); got != 9 {
						t.Errorf("another connection got answer %d", got)
					}
					_ = other.conn.Close()
				}
				s.settled()
			})
		}
	})
}

// coldTopic fills topic t with 16 batches of 100 KB and evicts them from the
// page cache.
func (s *served) coldTopic(c *rawClient) {
	s.t.Helper()
	p := s.partition("t", 0)
	for range 16 {
		c.send(produceFrame("t", batchOf(s.t, 2, 50_000), 1, 9))
		c.answer()
	}
	s.dropCache(p)
}

// dropCache evicts the partition's first segment from the page cache.
func (s *served) dropCache(p *partition) {
	s.t.Helper()
	if err := p.log.Flush(p.log.LogEndOffset()); err != nil {
		s.t.Fatal(err)
	}
	var res storage.ReadResult
	if err := p.log.Read(0, 1, p.log.LogEndOffset(), true, &res); err != nil {
		s.t.Fatal(err)
	}
	defer res.Region.Release()
	if err := unix.Fadvise(res.Region.File.Fd(), 0, 0, unix.FADV_DONTNEED); err != nil {
		s.t.Fatal(err)
	}
}

// Cold answers are looked up and read ahead, and arrive whole, small ones and
// large ones; what is sent to one client is not held up by another's.
func TestColdAnswers(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		s := newServed(t, t.TempDir(), "freshet.io.engine", engine)
		s.topic("t", 1)
		c, other := s.dial(), s.dial()
		s.coldTopic(c)
		for _, f := range []struct {
			offset   int64
			maxBytes int32
			wanted   int
		}{{0, 16 << 20, 1_600_000}, {7, 1000, 100_000}, {30, 200_000, 100_000}, {1, 1 << 20, 1_000_000}} {
			s.dropCache(s.partition("t", 0))
			for range 2 {
				c.send(frameOf(fetchOf(0, 1, 16<<20, want{"t", 0, f.offset, f.maxBytes}), 1))
			}
			other.send(metadataFrame("t", 4))
			if got := corrOf(other.answer()); got != 4 {
				t.Fatalf("answer %d where 4 was due", got)
			}
			for range 2 {
				b := c.answer()
				part := decodeFetch(t, b, 12).Topics[0].Partitions[0]
				if part.ErrorCode != 0 || len(part.RecordBatches) < f.wanted {
					t.Fatalf("from offset %d: error %d, %d bytes", f.offset, part.ErrorCode, len(part.RecordBatches))
				}
				if _, err := visitBatches(part.RecordBatches, f.offset, func(record.Batch) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = c.conn.Close()
		_ = other.conn.Close()
		_ = s.conn.Close()
		s.settled()
	})
}

// Connections end while their offsets are looked up or ranges are read ahead
// for them.
func TestCloseDuringColdReads(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		s := newServed(t, t.TempDir(), "freshet.io.engine", engine)
		s.topic("t", 1)
		w := s.dial()
		s.coldTopic(w)
		for round := range 10 {
			s.dropCache(s.partition("t", 0))
			var clients []*rawClient
			for i := range int64(4) {
				c := s.dial()
				c.send(frameOf(fetchOf(0, 1, 16<<20, want{"t", 0, 3 * i, 16 << 20}), 1))
				clients = append(clients, c)
			}
			if round%2 == 0 {
				w.send(metadataFrame("t", 1))
				w.answer()
			}
			for _, c := range clients {
				c.abort()
			}
		}
		_ = w.conn.Close()
		_ = s.conn.Close()
		s.settled()
	})
}

// Stop ends with connections in every state, and leaves no goroutine and no
// descriptor.
func TestStopWithRequestsOutstanding(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		before := runtime.NumGoroutine()
		s := newServed(t, t.TempDir(), "num.network.threads", "2", "freshet.io.engine", engine)
		s.topic("t", 1)
		parked, halfway, busy := s.dial(), s.dial(), s.dial()
		parked.send(frameOf(fetchOf(aMinute, 1, 1<<20, want{"t", 0, 0, 1 << 20}), 1))
		s.parkedOn(1)
		halfway.send(produceFrame("t", batchOf(t, 1, 1000), 1, 9)[:100])
		for i := range int32(100) {
			busy.send(metadataFrame("t", i))
		}
		s.stop()
		for _, c := range []*rawClient{parked, halfway, busy} {
			c.ended()
		}
		eventually(t, func() string {
			if n := runtime.NumGoroutine(); n > before {
				return fmt.Sprintf("%d goroutines, %d before", n, before)
			}
			return ""
		})
	})
}

// A connection that loop 0 takes while the broker stops is closed like any
// other, whichever loop it was meant for.
func TestStopWhileAccepting(t *testing.T) {
	for range 10 {
		s := newServed(t, t.TempDir(), "num.network.threads", "4")
		clients := make([]*rawClient, 64)
		for i := range clients {
			clients[i] = s.dial()
		}
		s.stop()
		for _, c := range clients {
			c.ended()
		}
	}
}

// A broker that was opened and never started gives everything back, too.
func TestStopWithoutStart(t *testing.T) {
	goroutines, before := runtime.NumGoroutine(), openFiles(t)
	b, err := Open(testConfig(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	b.Stop()
	b.Stop()
	eventually(t, func() string {
		if n, m := runtime.NumGoroutine(), openFiles(t); n > goroutines || m > before {
			return fmt.Sprintf("%d goroutines, %d before; %d descriptors, %d before", n, goroutines, m, before)
		}
		return ""
	})
}

func openFiles(t *testing.T) int {
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(links)
}

// What recovery finds in the page cache of a topic with flush.messages=1 is
// synced before it is served: a retry of it is answered as a duplicate, and an
// acknowledgement means the disk there.
func TestRecoveredTailIsSynced(t *testing.T) {
	s := newServed(t, t.TempDir())
	s.topic("t", 1)
	c := s.dial()
	if err := produceTo(t, c, 1, 3, 100); err != nil {
		t.Fatal(err)
	}
	if p := s.partition("t", 0); p.log.RecoveryPoint() == p.log.LogEndOffset() {
		t.Fatal("nothing is unsynced")
	}
	killed := filepath.Join(t.TempDir(), "killed") // the files as a kill leaves them
	if err := os.CopyFS(killed, os.DirFS(s.broker.Config().LogDirs[0])); err != nil {
		t.Fatal(err)
	}
	after := newServed(t, killed, "log.flush.interval.messages", "1")
	if p := after.partition("t", 0); p.log.LogEndOffset() != 3 || p.log.RecoveryPoint() != 3 {
		t.Errorf("log end offset %d, durable up to %d: want 3 and 3", p.log.LogEndOffset(), p.log.RecoveryPoint())
	}
}

// A client that shuts down its side after its requests gets its answers.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		s := newServed(t, t.TempDir(), "freshet.io.engine", engine)
		s.topic("t", 1)
		for _, frames := range [][][]byte{
			{produceFrame("t", batchOf(t, 1, 10), 1, 9)},
			{metadataFrame("t", 1), produceFrame("t", batchOf(t, 1, 10), 1, 9)},
			{metadataFrame("t", 1), metadataFrame("t", 1), frameOf(fetchOf(aMinute, 1<<20, 1<<20, want{"t", 0, 0, 1}), 1)},
		} {
			c := s.dial()
			c.send(bytes.Join(frames, nil))
			_ = c.conn.(*net.TCPConn).CloseWrite()
			if got := len(c.ended()); got != len(frames) {
				t.Errorf("%d answers to %d requests", got, len(frames))
			}
		}
		_ = s.conn.Close()
		s.settled()
	})
}
