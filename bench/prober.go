package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"
)

// prober produces one record after the other to one partition, whoever leads
// it. A request that fails has it ask all brokers for the leader at once, as
// often as it takes: it shows what the brokers do and not what a client's
// back-off adds to it.
type prober struct {
	seeds     []string
	versions  requestVersions
	topic     string
	partition int32
	template  produceTemplate
	records   int64
	led       bool // by the victim

	conn        *rawConn
	addr        string // of the leader, "" if it is to be asked for
	correlation int32
	last        int64 // offset acknowledged last, -1 for none
	acked       atomic.Int64

	mu   sync.Mutex
	acks []probeAck
}

// probeAck is an acknowledgement: when its request was sent, when it came and
// from where.
type probeAck struct {
	sent, came time.Time
	addr       string
}

// run produces until it is stopped. A broker that fails is no error; an
// acknowledged record that is lost is.
func (p *prober) run(ctx context.Context, stop *atomic.Bool) error {
	defer p.hangUp()
	pause := time.NewTicker(probePause)
	defer pause.Stop()
	for !stop.Load() {
		var lost *lostError
		if err := p.once(ctx); errors.As(err, &lost) {
			return lost
		} else if err != nil {
			p.hangUp()
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// lostError says that offsets went back: what was acknowledged is gone.
type lostError struct {
	partition    int32
	acked, given int64
}

func (e *lostError) Error() string {
	return fmt.Sprintf("partition %d acknowledged offset %d and then gave out offset %d: acknowledged records are lost", e.partition, e.acked, e.given)
}

func (p *prober) hangUp() {
	if p.conn != nil {
		p.conn.close()
	}
	p.conn, p.addr = nil, ""
}

// once sends one request to the leader and takes its answer.
func (p *prober) once(ctx context.Context) error {
	if p.conn == nil {
		if err := p.connect(ctx); err != nil {
			return err
		}
	}
	p.correlation++
	binary.BigEndian.PutUint32(p.template.head[correlationAt:], uint32(p.correlation))
	sent := time.Now()
	if err := p.conn.send([][]byte{p.template.head, p.template.batch, p.template.tail}); err != nil {
		return err
	}
	frame, err := p.conn.frame()
	if err != nil {
		return err
	}
	correlation, base, err := parseProduceResponse(frame, p.versions)
	switch {
	case err != nil:
		return err
	case correlation != p.correlation:
		return fmt.Errorf("answer %d came to request %d", correlation, p.correlation)
	case base <= p.last:
		return &lostError{p.partition, p.last, base}
	}
	p.last = base + p.records - 1
	p.mu.Lock()
	p.acks = append(p.acks, probeAck{sent, time.Now(), p.addr})
	p.mu.Unlock()
	p.acked.Add(1)
	return nil
}

// connect asks the brokers for the leader, in turn, and connects to the one
// that the first of them names.
func (p *prober) connect(ctx context.Context) error {
	var addr string
	for _, seed := range p.seeds {
		leader, err := askLeader(ctx, seed, p.topic, p.partition)
		if err == nil {
			addr = leader
			break
		}
	}
	if addr == "" {
		return errNoLeader
	}
	conn, err := dialRaw(ctx, addr)
	if err != nil {
		// Next time another broker is asked first: this one may be behind.
		p.seeds = append(p.seeds[1:], p.seeds[0])
		return err
	}
	conn.limitWaitsTo(probeWait)
	p.conn, p.addr = conn, addr
	return nil
}

// askLeader asks one broker for a partition's leader.
func askLeader(ctx context.Context, addr, topic string, partition int32) (string, error) {
	conn, err := dialRaw(ctx, addr)
	if err != nil {
		return "", err
	}
	defer conn.close()
	conn.limitWaitsTo(probeWait)
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9 // the first flexible one, which every broker of today has
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = req.Version
	if err := conn.exchange(req, resp); err != nil {
		return "", err
	}
	addrs := make(map[int32]string)
	for _, b := range resp.Brokers {
		addrs[b.NodeID] = net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
	}
	for _, t := range resp.Topics {
		for _, found := range t.Partitions {
			if found.Partition != partition {
				continue
			}
			if err := kerr.ErrorForCode(found.ErrorCode); err != nil && addrs[found.Leader] == "" {
				return "", err
			}
			if addr := addrs[found.Leader]; addr != "" {
				return addr, nil
			}
		}
	}
	return "", errNoLeader
}

// exchange sends a request and decodes its answer, both with flexible headers.
func (c *rawConn) exchange(req kmsg.Request, resp kmsg.Response) error {
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 1)
	if err := c.send([][]byte{frame}); err != nil {
		return err
	}
	answer, err := c.frame()
	if err != nil {
		return err
	}
	head := newCursor(answer)
	head.int32()
	head.tags(true)
	if !head.ok {
		return errors.New("an answer without a whole header")
	}
	return resp.ReadFrom(answer[head.at:])
}

// frame receives one answer, without its size.
func (c *rawConn) frame() ([]byte, error) {
	var size [4]byte
	if err := c.recvFull(size[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(size[:])))
	if n < 4 || n > maxFrameBytes {
		return nil, fmt.Errorf("an answer claims %d bytes", n)
	}
	frame := make([]byte, n)
	return frame, c.recvFull(frame)
}

// limitWaitsTo makes every call on the socket fail after a time of silence.
func (c *rawConn) limitWaitsTo(d time.Duration) {
	tv := unix.NsecToTimeval(int64(d))
	unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
}

// firstAfter is when the first acknowledgement came that shows service without
// the victim: of another broker after the signal where the victim led, and of a
// request sent after the victim was gone where it followed.
func (p *prober) firstAfter(signalled, gone time.Time, victim string) (first time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.acks) - 1; i >= 0 && p.acks[i].came.After(signalled); i-- {
		if a := p.acks[i]; a.addr != victim && (p.led || a.sent.After(gone)) {
			first, ok = a.came, true
		}
	}
	return first, ok
}

// longestGap is the longest time between two acknowledgements, the later of
// which came after a time.
func (p *prober) longestGap(after time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var longest time.Duration
	for i := 1; i < len(p.acks); i++ {
		if p.acks[i].came.After(after) {
			longest = max(longest, p.acks[i].came.Sub(p.acks[i-1].came))
		}
	}
	return longest
}
