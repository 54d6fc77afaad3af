package broker

import (
	"encoding/binary"
	"testing"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"freshet/config"
	"freshet/metadata"
	"freshet/record"
)

// loopHarness drives one connection of one loop by hand: the test writes
// frames into a socket pair, calls the loop as the poller would, and reads
// the answers, all on its own goroutine.
type loopHarness struct {
	t      testing.TB
	broker *Broker
	loop   *loop
	conn   *conn
	client int
	in     []byte
	inLen  int // bytes in in: an answer, and what came with it
}

func newLoopHarness(t testing.TB, engine string) *loopHarness {
	t.Helper()
	static := config.NewStatic(map[string]string{
		"node.id": "1", "log.dirs": t.TempDir(), "listeners": "PLAINTEXT://127.0.0.1:0", "process.roles": "broker,controller",
		"num.network.threads": "1", "freshet.io.engine": engine, "freshet.auto.format": "true", "freshet.admin.listener": "",
	})
	cfg, err := config.NewBroker(static)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
	}
	l := b.net.loops[0]
	c := &conn{loop: l, fd: fds[0], listener: "PLAINTEXT"}
	c.attachment.FD = c.fd
	if err := adoptTask(c); err != nil {
		t.Fatal(err)
	}
	h := &loopHarness{t: t, broker: b, loop: l, conn: c, client: fds[1], in: make([]byte, 1<<20)}
	t.Cleanup(func() {
		_ = unix.Close(h.client)
		l.closeConn(c, nil)
		_ = l.engine.Close()
		b.closeData()
	})
	return h
}

// topic creates a topic with one partition and the given settings.
func (h *loopHarness) topic(name string, configs map[string]string) {
	h.t.Helper()
	var values []metadata.ConfigValue
	for k, v := range configs {
		values = append(values, metadata.ConfigValue{Key: k, Value: &v})
	}
	_, err := h.broker.meta.Do(func(img *metadata.Image) ([]metadata.Record, error) {
		results, records := h.broker.controller().CreateTopics(img, []metadata.NewTopic{{Name: name, NumPartitions: 1, ReplicationFactor: 1, Configs: values}}, false)
		if results[0].Err != nil {
			return nil, results[0].Err
		}
		return records, nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// exchange sends frame and returns the answer, which is valid until the next
// call. It allocates nothing.
func (h *loopHarness) exchange(frame []byte) []byte {
	if _, err := unix.Write(h.client, frame); err != nil {
		h.t.Fatal(err)
	}
	h.poke()
	answer := h.answer()
	h.inLen = 0
	return answer
}

// poke lets the loop see what the client sent.
func (h *loopHarness) poke() {
	h.loop.tickClock()
	h.loop.onConnEvent(h.conn, netpoll.ReadEvents)
	h.loop.settle()
}

// answer reads one whole answer, reaping completions while it must wait. It
// stays the first until takeFirst.
func (h *loopHarness) answer() []byte {
	for h.inLen < 4 || h.inLen < 4+int(binary.BigEndian.Uint32(h.in)) {
		if h.inLen >= 4 && len(h.in) < 4+int(binary.BigEndian.Uint32(h.in)) {
			h.in = append(h.in, make([]byte, int(binary.BigEndian.Uint32(h.in)))...)
		}
		m, err := unix.Read(h.client, h.in[h.inLen:])
		if err == unix.EAGAIN {
			h.loop.engine.Flush()
			h.loop.engine.Reap()
			if h.conn.blocked {
				h.loop.unblock(h.conn)
			}
			h.loop.settle()
			if !h.conn.paused && !h.conn.closed {
				h.poke()
			}
			continue
		}
		if err != nil || m == 0 {
			h.t.Fatalf("connection ended: %d, %v", m, err)
		}
		h.inLen += m
	}
	return h.in[:4+int(binary.BigEndian.Uint32(h.in))]
}

// takeFirst drops the answer that answer returned.
func (h *loopHarness) takeFirst() {
	n := 4 + int(binary.BigEndian.Uint32(h.in))
	h.inLen = copy(h.in, h.in[n:h.inLen])
}

func frameOf(req kmsg.Request, corr int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, corr)
}

// batchOf builds a batch of n records of size bytes.
func batchOf(t testing.TB, n, size int) []byte {
	t.Helper()
	var b record.Builder
	b.Reset(nil, record.DefaultBuilderOptions())
	for range n {
		b.Append(1_700_000_000_000, nil, make([]byte, size))
	}
	batch, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func produceFrame(topic string, batch []byte, acks int16, version int16) []byte {
	return produceFrameWithin(1000, topic, batch, acks, version)
}

func produceFrameWithin(timeoutMs int32, topic string, batch []byte, acks int16, version int16) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, timeoutMs
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = batch
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.ProduceRequestTopicPartition{p}
	req.Topics = []kmsg.ProduceRequestTopic{rt}
	return frameOf(req, 7)
}

func fetchFrame(topic string, offset int64, maxBytes, waitMs, minBytes int32, version int16) []byte {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.MaxWaitMillis, req.MinBytes = version, maxBytes, waitMs, minBytes
	req.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, maxBytes
	p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.FetchRequestTopicPartition{p}
	req.Topics = []kmsg.FetchRequestTopic{rt}
	return frameOf(req, 9)
}

func decodeProduce(t testing.TB, answer []byte, version int16) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	body := answer[8:]
	if version >= 9 {
		body = body[1:]
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = version
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("produce answer v%d: %v", version, err)
	}
	return resp.Topics[0].Partitions[0]
}

func decodeFetch(t testing.TB, answer []byte, version int16) *kmsg.FetchResponse {
	t.Helper()
	body := answer[8:]
	if version >= 12 {
		body = body[1:]
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = version
	if err := resp.ReadFrom(body); err != nil {
		t.Fatalf("fetch answer v%d: %v", version, err)
	}
	return resp
}

// Every version's answer decodes, and what goes in comes out.
func TestProduceAndFetchEveryVersion(t *testing.T) {
	for _, engine := range []string{"pwritev", "uring", "auto"} {
		t.Run(engine, func(t *testing.T) {
			h := newLoopHarness(t, engine)
			h.topic("t", nil)
			next := int64(0)
			for v := int16(3); v <= 12; v++ {
				got := decodeProduce(t, h.exchange(produceFrame("t", batchOf(t, 10, 100), 1, v)), v)
				if got.ErrorCode != 0 || got.BaseOffset != next {
					t.Fatalf("v%d: error %d, base offset %d, want %d", v, got.ErrorCode, got.BaseOffset, next)
				}
				next += 10
			}
			for v := int16(4); v <= 12; v++ {
				resp := decodeFetch(t, h.exchange(fetchFrame("t", 20, 1<<20, 0, 1, v)), v)
				p := resp.Topics[0].Partitions[0]
				if p.ErrorCode != 0 || p.HighWatermark != next {
					t.Fatalf("v%d: error %d, high watermark %d, want %d", v, p.ErrorCode, p.HighWatermark, next)
				}
				b := record.Batch(p.RecordBatches)
				if b = b[:b.SizeInBytes()]; b.BaseOffset() != 20 || b.CheckCRC() != nil {
					t.Fatalf("v%d: first batch at %d, crc %v", v, b.BaseOffset(), b.CheckCRC())
				}
			}
		})
	}
}

// The steady state of both hot paths allocates nothing.
func TestHotPathsDoNotAllocate(t *testing.T) {
	for _, engine := range []string{"pwritev", "auto", "uring"} {
		t.Run(engine, func(t *testing.T) {
			h := newLoopHarness(t, engine)
			h.topic("t", nil)
			small := produceFrame("t", batchOf(t, 1, 100), 1, 12)
			large := produceFrame("t", batchOf(t, 100, 100), -1, 9)
			for range 64 {
				h.exchange(small)
				h.exchange(large)
			}
			if n := testing.AllocsPerRun(200, func() { h.exchange(small); h.exchange(large) }); n != 0 {
				t.Errorf("produce allocates %v objects for two requests", n)
			}
			for _, maxBytes := range []int32{1000, 500_000} {
				fetch := fetchFrame("t", 0, maxBytes, 0, 1, 12)
				h.exchange(fetch)
				if n := testing.AllocsPerRun(200, func() { h.exchange(fetch) }); n != 0 {
					t.Errorf("fetch of %d bytes allocates %v objects", maxBytes, n)
				}
			}
		})
	}
}

// A topic with a compression.type of its own stores every batch with it
// (Kafka: LogValidator with a target compression).
func TestTopicCompressionType(t *testing.T) {
	h := newLoopHarness(t, "auto")
	h.topic("t", map[string]string{"compression.type": "zstd"})
	if p := decodeProduce(t, h.exchange(produceFrame("t", batchOf(t, 50, 100), 1, 9)), 9); p.ErrorCode != 0 {
		t.Fatalf("error %d", p.ErrorCode)
	}
	p := decodeFetch(t, h.exchange(fetchFrame("t", 0, 1<<20, 0, 1, 12)), 12).Topics[0].Partitions[0]
	if b := record.Batch(p.RecordBatches); b.Codec() != record.Zstd || b.Count() != 50 || b.CheckCRC() != nil {
		t.Fatalf("stored with codec %s, %d records, crc %v", b.Codec(), b.Count(), b.CheckCRC())
	}
}
