package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// engines are the write engines that tests of the loops run with.
var engines = []string{"pwritev", "uring", "auto"}

// eachEngine runs f once for each write engine.
func eachEngine(t *testing.T, f func(t *testing.T, engine string)) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) { f(t, engine) })
	}
}

// onLoop runs f on the loop and waits for it.
func onLoop(l *loop, f func()) {
	done := make(chan struct{})
	l.post(func(any) error {
		defer close(done)
		l.tickClock()
		f()
		l.settle()
		return nil
	}, nil)
	<-done
}

// loopState is what must be zero when no client is connected and nothing is in
// flight.
type loopState struct {
	conns, parkedFetches, timers, diskWaits, engineOps, throttled, extraChunks int
	pendingBytes                                                               int64
}

func stateOf(l *loop) (s loopState) {
	onLoop(l, func() {
		for _, c := range l.conns {
			if c != nil {
				s.conns++
			}
		}
		s.parkedFetches = int(l.parked.Load())
		s.timers = len(l.timers.ops)
		s.diskWaits = len(l.diskWaits) - len(l.diskFree)
		s.engineOps = l.engine.InFlight()
		s.throttled = len(l.throttled)
		s.extraChunks = l.chunks.out - 1 // the read buffer
		s.pendingBytes = l.pendingBytes
	})
	return s
}

// testDeadline bounds waits for things that happen soon.
const testDeadline = 20 * time.Second

// eventually polls until what returns "" and fails with its text otherwise.
func eventually(t *testing.T, what func() string) {
	t.Helper()
	timer := time.NewTimer(testDeadline)
	defer timer.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		text := what()
		if text == "" {
			return
		}
		select {
		case <-tick.C:
		case <-timer.C:
			t.Fatal(text)
		}
	}
}

// settled waits until no loop holds anything of a client.
func (s *served) settled() {
	s.t.Helper()
	for _, l := range s.broker.net.loops {
		eventually(s.t, func() string {
			if st := stateOf(l); st != (loopState{}) {
				return fmt.Sprintf("loop %d still holds %+v", l.idx, st)
			}
			return ""
		})
	}
	for _, t := range s.topics() {
		for _, p := range *t.parts.Load() {
			if n := p.waiting.Load(); n != 0 {
				s.t.Errorf("%s-%d is still waited for by %d", t.name, p.index, n)
			}
		}
	}
}

func (s *served) topics() (list []*topic) {
	tt := s.broker.net.topics
	tt.mu.RLock()
	defer tt.mu.RUnlock()
	for _, t := range tt.byName {
		list = append(list, t)
	}
	return list
}

func (s *served) partition(name string, index int32) *partition {
	s.t.Helper()
	t := s.broker.net.topics.name([]byte(name))
	if t == nil {
		s.t.Fatalf("topic %s is not served", name)
	}
	return t.partition(index)
}

// dial opens one more connection.
func (s *served) dial() *rawClient {
	s.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.broker.Port("PLAINTEXT")))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(testDeadline))
	s.t.Cleanup(func() { _ = conn.Close() })
	return &rawClient{t: s.t, conn: conn}
}

// rawClient sends frames and reads answers without a client library.
type rawClient struct {
	t    *testing.T
	conn net.Conn
}

func (c *rawClient) send(frames ...[]byte) {
	c.t.Helper()
	for _, f := range frames {
		if _, err := c.conn.Write(f); err != nil {
			c.t.Fatal(err)
		}
	}
}

// answer reads one whole answer, size field included.
func (c *rawClient) answer() []byte {
	c.t.Helper()
	b, err := c.tryAnswer()
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *rawClient) tryAnswer() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(b, size[:])
	_, err := io.ReadFull(c.conn, b[4:])
	return b, err
}

// ended reads until the broker closes the connection and returns the answers
// before that.
func (c *rawClient) ended() (answers [][]byte) {
	c.t.Helper()
	for {
		b, err := c.tryAnswer()
		if err != nil {
			if os.IsTimeout(err) {
				c.t.Fatal("the connection stays open")
			}
			return answers
		}
		answers = append(answers, b)
	}
}

func corrOf(answer []byte) int32 { return int32(binary.BigEndian.Uint32(answer[4:])) }

// withCorr returns a copy of frame with another correlation id.
func withCorr(frame []byte, corr int32) []byte {
	f := append([]byte(nil), frame...)
	binary.BigEndian.PutUint32(f[8:], uint32(corr))
	return f
}

// metadataFrame asks for one topic, or for all with an empty name.
func metadataFrame(topic string, corr int32) []byte {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	if topic != "" {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &topic
		req.Topics = []kmsg.MetadataRequestTopic{rt}
	}
	return frameOf(req, corr)
}

// deletedSegments lists descriptors of this process that point at unlinked or
// renamed-away segment files below dir.
func deletedSegments(t *testing.T, dir string) (open []string) {
	t.Helper()
	links, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		target, err := os.Readlink(filepath.Join("/proc/self/fd", link.Name()))
		if err == nil && strings.HasPrefix(target, dir) && strings.Contains(target, "-delete/") {
			open = append(open, target)
		}
	}
	return open
}

// deleteTopic removes a topic through the API.
func (s *served) deleteTopic(name string) {
	s.t.Helper()
	resp := s.do(&kmsg.DeleteTopicsRequest{Version: 3, TopicNames: []string{name}, TimeoutMillis: 1000}).(*kmsg.DeleteTopicsResponse)
	if code := resp.Topics[0].ErrorCode; code != 0 {
		s.t.Fatalf("delete topic %s: error %d", name, code)
	}
}
