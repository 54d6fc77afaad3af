package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/sys/unix"

	"freshet/replication/isr"
)

const (
	// A broken connection to a follower is made anew after linkRetryMs, then
	// after twice as long each time, at most linkRetryMaxMs.
	linkRetryMs, linkRetryMaxMs = 20, 1000
	// linkTimeout bounds connecting and greeting.
	linkTimeout = 3 * time.Second
)

// link makes a stream's connection: on a goroutine, because names must be
// resolved and the other side may take its time to answer.
type link struct {
	dialing   bool
	retryMs   int64
	ownEpoch  int64 // this broker's epoch, as the follower was told
	peerEpoch int64 // of the follower's registration
	lastError string
}

func (k *link) connected() { k.retryMs, k.lastError = linkRetryMs, "" }

// failed plans the next attempt. The same failure is logged once.
func (k *link) failed(s *stream, err error) {
	if text := err.Error(); text != k.lastError {
		k.lastError = text
		slog.Warn("no connection to a follower; it is tried again until there is one", "follower", s.peer, "loop", s.loop.idx, "error", err)
	}
	s.wakeAt(s.loop.monoMs + max(k.retryMs, linkRetryMs))
	k.retryMs = min(max(2*k.retryMs, linkRetryMs), linkRetryMaxMs)
}

// dialed is what the goroutine brings back to the loop.
type dialed struct {
	stream              *stream
	fd                  int
	remote              netip.AddrPort
	ownEpoch, peerEpoch int64
	err                 error
}

// dial connects and greets, unless it is doing so.
func (s *stream) dial() {
	if s.link.dialing || s.conn != nil || len(s.parts) == 0 || s.loop.stopping {
		return
	}
	s.link.dialing = true
	srv := s.loop.srv
	srv.goPeer(func() {
		d := &dialed{stream: s, fd: -1}
		d.err = d.connect(srv)
		s.loop.post(dialedTask, d)
	})
}

// connect opens a connection to the stream's broker and agrees with it on who
// is who.
func (d *dialed) connect(srv *server) error {
	hello, addr, err := srv.broker.hello(d.stream.peer)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(srv.peerLife, linkTimeout)
	defer cancel()
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	deadline, _ := ctx.Deadline()
	_ = nc.SetDeadline(deadline)
	reply, err := greet(nc, hello)
	if err != nil {
		return fmt.Errorf("greeting %s: %w", addr, err)
	}
	if reply.Code != 0 {
		return fmt.Errorf("broker at %s refuses replication from broker %d of cluster %s: %w", addr, hello.From, hello.ClusterID, kerr.ErrorForCode(reply.Code))
	}
	d.ownEpoch, d.peerEpoch = hello.FromEpoch, reply.BrokerEpoch
	tc := nc.(*net.TCPConn)
	d.remote = tc.RemoteAddr().(*net.TCPAddr).AddrPort()
	f, err := tc.File()
	if err != nil {
		return err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	srv.congestion(fd, d.remote.Addr().Unmap())
	d.fd = fd
	return nil
}

// greet sends the hello and reads its answer, no byte more.
func greet(rw io.ReadWriter, hello *isr.Hello) (reply isr.HelloReply, err error) {
	b := appendReplicateHeader(nil, replicateHello, 0)
	b = hello.Append(b)
	putSize(b)
	if _, err := rw.Write(b); err != nil {
		return reply, err
	}
	answer := make([]byte, 4+4+isr.HelloReplyBytes)
	if _, err := io.ReadFull(rw, answer); err != nil {
		return reply, err
	}
	if size := binary.BigEndian.Uint32(answer); int(size) != len(answer)-4 {
		return reply, fmt.Errorf("an answer of %d bytes, expected %d: is it a Freshet broker of this version?", size, len(answer)-4)
	}
	return isr.ParseHelloReply(answer[8:])
}

// hello is what this broker tells a follower, and where that follower is.
func (b *Broker) hello(peer int32) (*isr.Hello, string, error) {
	img := b.meta.Image()
	other, self := img.Broker(peer), img.Broker(b.Config().NodeID)
	if other == nil || self == nil {
		return nil, "", fmt.Errorf("broker %d is not registered", peer)
	}
	at := other.Endpoint(b.interBrokerListener())
	if at == nil {
		return nil, "", fmt.Errorf("broker %d has no listener %s, which inter.broker.listener.name asks for", peer, b.interBrokerListener())
	}
	return &isr.Hello{ClusterID: img.ClusterID, From: self.ID, FromEpoch: self.Epoch, To: peer},
		net.JoinHostPort(at.Host, strconv.Itoa(int(at.Port))), nil
}

// interBrokerListener is the listener that brokers talk over
// (inter.broker.listener.name).
func (b *Broker) interBrokerListener() string { return b.Config().InterBrokerListener }

// dialedTask takes the connection over, or plans the next attempt.
func dialedTask(arg any) error {
	d := arg.(*dialed)
	s := d.stream
	l := s.loop
	l.tickClock()
	s.link.dialing = false
	if d.err == nil && (l.stopping || len(s.parts) == 0) {
		_ = unix.Close(d.fd)
		return nil
	}
	if peer := l.srv.broker.meta.Image().Broker(s.peer); d.err == nil && peer != nil && peer.Epoch > d.peerEpoch {
		_ = unix.Close(d.fd) // renewStreams found no connection to end
		d.err = errNewIncarnation
	}
	if d.err != nil {
		if len(s.parts) > 0 {
			s.link.failed(s, d.err)
		}
		return nil
	}
	c := &conn{loop: l, fd: d.fd, remote: d.remote, stream: s, lastMs: l.monoMs}
	c.attachment.FD = d.fd
	l.track(c)
	if err := l.poller.AddRead(&c.attachment, false); err != nil {
		l.closeConn(c, err)
		return nil
	}
	s.link.ownEpoch, s.link.peerEpoch = d.ownEpoch, d.peerEpoch
	s.up(c)
	l.settle()
	return nil
}

// errNoFollowers closes a stream that carries no partition any more.
var errNoFollowers = errors.New("no partition is replicated over this connection any more")

// errNewIncarnation closes a stream to a broker that has registered again.
var errNewIncarnation = errors.New("the follower has registered anew")

// errSilent closes a stream whose follower does not answer.
var errSilent = errors.New("the follower has not answered for 10 s")

// track puts a connection where the loop finds it by its descriptor.
func (l *loop) track(c *conn) {
	for len(l.conns) <= c.fd {
		l.conns = append(l.conns, make([]*conn, max(64, len(l.conns)))...)
	}
	l.conns[c.fd] = c
}
