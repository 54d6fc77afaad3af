//go:build compat

package compat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestBadInput sends what no client should send, on a broker of its own, with a healthy client beside it
// that must not notice anything.
func TestBadInput(t *testing.T) {
	b := startBroker(t, brokerOptions{overrides: map[string]string{"auto.create.topics.enable": "false"}})
	createTopic(t, b, "golden", 1, nil)
	produceAll(t, newClient(t, b), numbered("golden", 0, "v", 10)...)
	h := startHealthy(t, b)
	check(t, "raw", "unsupported-versions", func(t *testing.T) { unsupportedVersions(t, b) })
	check(t, "raw", "frames", func(t *testing.T) { badFrames(t, b) })
	check(t, "raw", "batches", func(t *testing.T) { badBatches(t, b) })
	check(t, "raw", "requests", func(t *testing.T) { badRequests(t, b) })
	check(t, "raw", "empty-requests", func(t *testing.T) { emptyRequests(t, b) })
	check(t, "raw", "pipelining", func(t *testing.T) { pipelined(t, b) })
	check(t, "raw", "slow-senders", func(t *testing.T) { slowSenders(t, b) })
	check(t, "raw", "slow-readers", func(t *testing.T) { slowReaders(t, b) })
	check(t, "raw", "claimed-lengths", func(t *testing.T) { claimedLengths(t, b) })
	check(t, "raw", "healthy-neighbour", func(t *testing.T) { h.verdict(t) })
}

// healthy is a producer and consumer that goes on beside the bad input.
type healthy struct {
	cancel      context.CancelFunc
	done        chan struct{}
	disconnects atomic.Int64
	sent, read  int
	failure     error
}

// OnBrokerDisconnect counts lost connections: kgo.HookBrokerDisconnect.
func (h *healthy) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { h.disconnects.Add(1) }

func startHealthy(t *testing.T, b *broker) *healthy {
	t.Helper()
	createTopic(t, b, "healthy", 1, nil)
	h := &healthy{done: make(chan struct{})}
	c := newClient(t, b, kgo.WithHooks(h), kgo.ConsumeTopics("healthy"), kgo.ConnIdleTimeout(14*time.Minute),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	t.Cleanup(cancel)
	go func() {
		defer close(h.done)
		for ctx.Err() == nil && h.failure == nil {
			value := []byte(strconv.Itoa(h.sent))
			one, stop := context.WithTimeout(context.Background(), 30*time.Second)
			h.failure = c.ProduceSync(one, &kgo.Record{Topic: "healthy", Value: value}).FirstErr()
			h.sent++
			for h.failure == nil && h.read < h.sent {
				fetches := c.PollFetches(one)
				h.failure = fetches.Err()
				fetches.EachRecord(func(r *kgo.Record) {
					if string(r.Value) != strconv.Itoa(h.read) {
						h.failure = fmt.Errorf("record %d came back as %q", h.read, r.Value)
					}
					h.read++
				})
			}
			stop()
		}
	}()
	return h
}

func (h *healthy) verdict(t *testing.T) {
	t.Helper()
	h.cancel()
	<-h.done
	if h.failure != nil && !errors.Is(h.failure, context.Canceled) {
		t.Errorf("the healthy client failed after %d records: %v", h.sent, h.failure)
	}
	if n := h.disconnects.Load(); n > 0 {
		t.Errorf("the healthy client lost %d connections", n)
	}
	if h.sent == 0 {
		t.Error("the healthy client sent nothing")
	}
}

// header is a request header of version 1: key, version, correlation id 1, client id "x".
func header(key, version int16) []byte {
	h := binary.BigEndian.AppendUint16(nil, uint16(key))
	h = binary.BigEndian.AppendUint16(h, uint16(version))
	h = binary.BigEndian.AppendUint32(h, 1)
	return append(h, 0, 1, 'x')
}

// framed puts a length in front of the parts.
func framed(parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// claim is a frame whose length says n, whatever follows.
func claim(n int32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
}

// sendRaw sends bytes over a connection of its own. Where the broker answers nothing because it waits for
// more, ending the sending side shows that it has not crashed: it closes.
func sendRaw(t *testing.T, b *broker, frame []byte, kind kmsg.Response) string {
	t.Helper()
	c := dialRaw(t, b)
	c.correlation = 1
	if _, err := c.Write(frame); err != nil && !isClosed(err) {
		return "cannot be sent: " + err.Error()
	}
	return c.outcome(kind)
}

func unsupportedVersions(t *testing.T, b *broker) {
	g := openGolden(t, "versions")
	for _, version := range []int16{-1, 5, 99, 32767} {
		resp := kmsg.NewPtrApiVersionsResponse()
		frame := framed(header(18, version))
		if version >= 3 { // the header and the body of a version 3 client: no tags, names "a" and "1", no tags
			frame = framed(header(18, version), []byte{0, 2, 'a', 2, '1', 0})
		}
		got := sendRaw(t, b, frame, resp)
		if len(resp.ApiKeys) > 0 {
			got += fmt.Sprintf(" keys=%d first=%d:%d-%d", len(resp.ApiKeys), resp.ApiKeys[0].ApiKey, resp.ApiKeys[0].MinVersion, resp.ApiKeys[0].MaxVersion)
		}
		g.compare(t, fmt.Sprintf("ApiVersions version %d", version), got)
	}
	for key := int16(0); key <= kmsg.MaxKey; key++ {
		req := kmsg.RequestForKey(key)
		if req == nil || key == 18 {
			continue
		}
		for _, version := range []int16{-1, 99} {
			resp := req.ResponseKind()
			g.compare(t, fmt.Sprintf("%s version %d", kmsg.NameForKey(key), version), sendRaw(t, b, framed(header(key, version)), resp))
		}
	}
	// Versions that Apache Kafka 4.0 took out.
	for name, v := range map[string][2]int16{"Produce": {0, 2}, "Fetch": {1, 3}, "ListOffsets": {2, 0}, "CreateTopics": {19, 1},
		"JoinGroup": {11, 1}, "OffsetFetch": {9, 0}, "DescribeConfigs": {32, 0}, "OffsetForLeaderEpoch": {23, 1}} {
		g.compare(t, fmt.Sprintf("%s version %d", name, v[1]), sendRaw(t, b, framed(header(v[0], v[1])), kmsg.RequestForKey(v[0]).ResponseKind()))
	}
	for _, key := range []int16{-1, -32768, 9999, 32767} {
		g.compare(t, fmt.Sprintf("unknown API key %d", key), sendRaw(t, b, framed(header(key, 0)), kmsg.NewPtrApiVersionsResponse()))
	}
}

func badFrames(t *testing.T, b *broker) {
	g := openGolden(t, "frames")
	metadata := func(version int16, body ...byte) []byte { return framed(header(3, version), body) }
	flexible := func(key, version int16, body ...byte) []byte { return framed(header(key, version), body) }
	for name, frame := range map[string][]byte{
		"length -1":                          claim(-1),
		"length -2147483648":                 claim(-2147483648),
		"length 0":                           claim(0),
		"length 104857601":                   claim(104857601),
		"length 2147483647":                  claim(2147483647, 0, 3),
		"a frame of 1 byte":                  claim(1, 0),
		"a frame of 4 bytes":                 claim(4, 0, 18, 0, 0),
		"a frame of 8 bytes":                 claim(8, 0, 3, 0, 1, 0, 0, 0, 1),
		"client id longer than the frame":    framed(header(3, 1)[:8], []byte{0x7f, 0xff, 'x'}),
		"client id of length -2":             framed(header(3, 1)[:8], []byte{0xff, 0xfe}),
		"Metadata without a body":            metadata(1),
		"Metadata with 2147483647 topics":    metadata(1, 0x7f, 0xff, 0xff, 0xff),
		"Metadata with 100000000 topics":     metadata(1, 0x05, 0xf5, 0xe1, 0x00),
		"Metadata with -2 topics":            metadata(1, 0xff, 0xff, 0xff, 0xfe),
		"Metadata with a cut topic name":     metadata(1, 0, 0, 0, 1, 0, 50, 'a'),
		"Metadata with a topic name of -5":   metadata(1, 0, 0, 0, 1, 0xff, 0xfb),
		"Metadata v12 with 4294967295 tags":  flexible(3, 12, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"Metadata v12 with an endless count": flexible(3, 12, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"Metadata v12 with a huge tag size":  flexible(3, 12, 0x01, 0x00, 0xff, 0xff, 0xff, 0xff, 0x07),
		"Produce v9 with no body":            flexible(0, 9, 0x00),
		"Produce v9 with random bytes":       flexible(0, 9, bytes.Repeat([]byte{0xa5, 0x3c}, 500)...),
		"Fetch v12 with random bytes":        flexible(1, 12, bytes.Repeat([]byte{0x5a, 0xc3}, 500)...),
		"HTTP":                               []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS":                                {0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03},
	} {
		g.compare(t, name, sendRaw(t, b, frame, kmsg.NewPtrMetadataResponse()))
	}
	cut := dialRaw(t, b) // a connection that ends in the middle of a frame
	_, _ = cut.Write(claim(1000, 0, 3, 0, 1, 0))
	_ = cut.Close()
	if err := pingBroker(b.addr); err != nil {
		t.Errorf("after all bad frames the broker does not answer: %v", err)
	}
}

// pipelined sends many requests in one write and wants the answers in order.
func pipelined(t *testing.T, b *broker) {
	c := dialRaw(t, b)
	var all []byte
	const n = 200
	for i := range n {
		if i%3 == 0 {
			req := kmsg.NewPtrMetadataRequest()
			req.Version = 9
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("golden")}}
			all = append(all, c.frame(req)...)
			continue
		}
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version = 2
		all = append(all, c.frame(req)...)
	}
	if _, err := c.Write(all); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		body, err := readFrame(c)
		if err != nil {
			t.Fatalf("answer %d of %d: %v", i+1, n, err)
		}
		if got := binary.BigEndian.Uint32(body); got != uint32(i+1) {
			t.Fatalf("answer %d has correlation id %d", i+1, got)
		}
	}
}

// slowSenders drips requests, byte by byte and cut at every place.
func slowSenders(t *testing.T, b *broker) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	c := dialRaw(t, b)
	for range 3 {
		req := kmsg.NewPtrMetadataRequest()
		req.Version = 12
		req.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr("golden")}}
		for _, octet := range c.frame(req) {
			<-tick.C
			if _, err := c.Write([]byte{octet}); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.outcome(req.ResponseKind()); got != "ok" {
			t.Fatalf("a request sent byte by byte: %s", got)
		}
	}
	whole := append(c.frame(kmsg.NewPtrApiVersionsRequest()), c.frame(kmsg.NewPtrApiVersionsRequest())...)
	c.correlation -= 2
	for cut := range whole {
		<-tick.C
		_, _ = c.Write(whole[:cut])
		<-tick.C
		_, _ = c.Write(whole[cut:])
		for range 2 {
			if _, err := readFrame(c); err != nil {
				t.Fatalf("two requests cut at byte %d: %v", cut, err)
			}
		}
	}
}

// slowReaders ask for far more than they read, then go away: the broker keeps neither memory nor
// connection for them.
func slowReaders(t *testing.T, b *broker) {
	createTopic(t, b, "slow-readers", 1, nil)
	c := newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()))
	big := bytes.Repeat([]byte("x"), 500_000)
	for range 20 {
		produceAll(t, c, &kgo.Record{Topic: "slow-readers", Value: big})
	}
	before := residentMiB(t, b)
	var readers []*rawConn
	for range 20 {
		r := dialRaw(t, b)
		for range 10 {
			req := kmsg.NewPtrFetchRequest()
			req.Version, req.MaxBytes, req.SessionEpoch = 11, 50<<20, -1
			req.Topics = []kmsg.FetchRequestTopic{{Topic: "slow-readers", Partitions: []kmsg.FetchRequestTopicPartition{
				{CurrentLeaderEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: 10 << 20}}}}
			if _, err := r.Write(r.frame(req)); err != nil {
				t.Fatal(err)
			}
		}
		readers = append(readers, r)
	}
	if got := rawExchange(t, b, kmsg.NewPtrApiVersionsRequest()); got != "ok" {
		t.Errorf("beside 20 clients that do not read: %s", got)
	}
	if b.target == targetFreshet {
		if grown := residentMiB(t, b) - before; grown > 128 {
			t.Errorf("the broker grew by %d MiB for clients that do not read", grown)
		}
	}
	for i, r := range readers { // half go away, half read all they asked for
		if i%2 == 0 {
			_ = r.Close()
			continue
		}
		for j := range 10 {
			body, err := readFrame(r)
			if err != nil {
				t.Fatalf("answer %d of a late reader: %v", j, err)
			}
			if len(body) < 5_000_000 {
				t.Fatalf("answer %d of a late reader has %d bytes", j, len(body))
			}
		}
	}
}

// claimedLengths opens connections that claim large frames and send little: memory must not follow claims.
func claimedLengths(t *testing.T, b *broker) {
	if b.target == targetKafka {
		t.Log("not asked of Apache Kafka, which allocates what is claimed: 1 GiB of heap ends here")
		return
	}
	before := residentMiB(t, b)
	for range 50 {
		c := dialRaw(t, b)
		if _, err := c.Write(claim(100<<20, header(0, 9)...)); err != nil {
			t.Fatal(err)
		}
	}
	if got := rawExchange(t, b, kmsg.NewPtrApiVersionsRequest()); got != "ok" {
		t.Errorf("beside 50 clients that claim 100 MiB each: %s", got)
	}
	if b.target == targetFreshet {
		if grown := residentMiB(t, b) - before; grown > 64 {
			t.Errorf("the broker grew by %d MiB for 50 frames that claim 100 MiB and hold 11 bytes", grown)
		}
	}
}

// residentMiB is the memory of the broker process.
func residentMiB(t testing.TB, b *broker) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kib >> 10
		}
	}
	t.Fatal("there is no VmRSS in the process status")
	return 0
}
