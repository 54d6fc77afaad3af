package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"

	"freshet/iouring"
)

// netOptions are what the network layer needs to know.
type netOptions struct {
	Loops           int
	Listeners       []ListenerSpec
	DataDir         string // where the write engine measures the file system
	IOEngine        string // auto, uring or pwritev
	MaxRequestBytes int
	FetchMaxBytes   int32
	MaxIdleMs       int64
	QueuedBytes     int64 // queued.max.request.bytes
	MaxConnections  int
	MaxConnsPerIP   int
	SendBufferBytes int // 0: the kernel's choice
	RecvBufferBytes int
	Congestion      string // freshet.congestion.control
	TrustCompressed bool
	SessionSlots    int
	Workers         int
	ListenBacklog   int
	CommitTimeoutMs int32 // offsets.commit.timeout.ms
}

// ListenerSpec is one address to listen on.
type ListenerSpec struct {
	Name string // listener name, for example PLAINTEXT
	Host string // empty: all addresses
	Port int    // 0: any free port
}

// server owns the loops, the listening sockets and the tables that the hot
// paths use.
type server struct {
	opts      netOptions
	loops     []*loop
	listeners []*listener
	topics    *topicTable
	sessions  *fetchSessions
	workers   *workers
	broker    *Broker

	ring        iouring.Capabilities
	calibration *iouring.Calibration

	heldBytes atomic.Int64 // of unfinished requests, see conn.account

	throttles throttles

	// peers are the goroutines that connect to followers and watch their lag;
	// peerLife ends before the loops do.
	peers struct {
		sync.Mutex
		ended   bool
		running sync.WaitGroup
	}
	peerLife context.Context
	endPeers context.CancelFunc

	nconns  atomic.Int64
	started bool // the loops run
	wg      sync.WaitGroup

	unwatched []int // listeners not accepted from for want of descriptors; loop 0

	coldRequests [maxAPIKey + 1]atomic.Int64 // by API key

	perIP struct {
		sync.Mutex
		counts map[netip.Addr]int
	}
}

// listener is one listening socket. Loop 0 accepts for all loops: where
// SO_REUSEPORT spreads a handful of connections by hash, this spreads them
// evenly.
type listener struct {
	spec ListenerSpec
	fd   int
	port int
}

func newServer(b *Broker, opts netOptions) (*server, error) {
	s := &server{opts: opts, topics: newTopicTable(), sessions: newFetchSessions(opts.SessionSlots), broker: b}
	s.perIP.counts = map[netip.Addr]int{}
	s.peerLife, s.endPeers = context.WithCancel(context.Background())
	if err := checkCongestion(opts.Congestion); err != nil {
		return nil, err
	}
	for _, spec := range opts.Listeners {
		ln, err := listen(spec, opts)
		if err != nil {
			s.closeListeners()
			return nil, err
		}
		s.listeners = append(s.listeners, ln)
	}
	s.ring = iouring.Probe()
	if opts.IOEngine == iouring.KindAuto && s.ring.Available {
		// A failure leaves the choice to each engine, which says what it did.
		s.calibration, _ = iouring.Calibrate(opts.DataDir)
	}
	for i := range opts.Loops {
		l, err := newLoop(s, i)
		if err != nil {
			s.closeListeners()
			return nil, err
		}
		s.loops = append(s.loops, l)
	}
	s.workers = newWorkers(b, opts.Workers)
	return s, nil
}

// listen opens a listening socket with Go's resolver and socket options, and
// takes a descriptor of it for the poller.
func listen(spec ListenerSpec, opts netOptions) (*listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		ctl := rc.Control(func(fd uintptr) {
			// The receive buffer must be set before listen for the window
			// scale to follow it (tcp(7)).
			if opts.RecvBufferBytes > 0 {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, opts.RecvBufferBytes)
			}
		})
		return errors.Join(ctl, err)
	}}
	addr := net.JoinHostPort(spec.Host, strconv.Itoa(spec.Port))
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("listener %s cannot use %s: another process listens there; stop it or change listeners: %w", spec.Name, addr, err)
		}
		return nil, fmt.Errorf("listener %s cannot listen on %s: %w", spec.Name, addr, err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", spec.Name, err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", spec.Name, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("listener %s: %w", spec.Name, err)
	}
	return &listener{spec: spec, fd: fd, port: ln.Addr().(*net.TCPAddr).Port}, nil
}

// start runs the loops and begins to accept.
func (s *server) start() error {
	s.started = true
	for _, l := range s.loops {
		s.wg.Go(l.run)
	}
	s.goPeer(func() { s.broker.watchLag(s.peerLife) })
	for _, ln := range s.listeners {
		if err := s.loops[0].poller.AddRead(&netpoll.PollAttachment{FD: ln.fd}, false); err != nil {
			return fmt.Errorf("listener %s cannot be watched: %w", ln.spec.Name, err)
		}
	}
	for _, l := range s.loops {
		l.post(func(any) error {
			l.tickClock()
			l.nextSweepMs = l.monoMs + sweepEveryMs
			l.arm(l.nextSweepMs)
			return nil
		}, nil)
	}
	return nil
}

// listenerOf returns fd if it is a listening socket, which only loop 0
// watches, and -1 otherwise.
func (s *server) listenerOf(l *loop, fd int) int {
	if l.idx == 0 {
		for _, ln := range s.listeners {
			if ln.fd == fd {
				return fd
			}
		}
	}
	return -1
}

// acceptBatch bounds the connections taken in one event.
const acceptBatch = 64

func (s *server) accept(l *loop, fd int) {
	var ln *listener
	for _, ln = range s.listeners {
		if ln.fd == fd {
			break
		}
	}
	for range acceptBatch {
		nfd, sa, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			s.admit(ln, nfd, sa)
		case unix.EINTR, unix.ECONNABORTED:
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE:
			// The socket stays readable: without a pause the loop would spin.
			slog.Error("no descriptor left for a new connection: raise LimitNOFILE or ulimit -n; accepting again in a second", "error", err)
			_ = l.poller.Delete(fd)
			s.unwatched = append(s.unwatched, fd)
			return
		default:
			slog.Error("accept failed", "listener", ln.spec.Name, "error", err)
			return
		}
	}
}

// resumeAccept watches the listeners again that ran out of descriptors. Loop 0.
func (s *server) resumeAccept() {
	for _, fd := range s.unwatched {
		_ = s.loops[0].poller.AddRead(&netpoll.PollAttachment{FD: fd}, false)
	}
	s.unwatched = s.unwatched[:0]
}

// admit applies the connection limits and hands the socket to the loop that
// has the fewest.
func (s *server) admit(ln *listener, fd int, sa unix.Sockaddr) {
	remote := addrPort(sa)
	if !s.countIn(remote.Addr()) {
		slog.Warn("connection refused: limit reached (max.connections, max.connections.per.ip)", "client", remote.String())
		_ = unix.Close(fd)
		return
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	s.congestion(fd, remote.Addr())
	if s.opts.SendBufferBytes > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, s.opts.SendBufferBytes)
	}
	to := s.loops[0]
	for _, l := range s.loops[1:] {
		if l.nconns.Load() < to.nconns.Load() {
			to = l
		}
	}
	c := &conn{loop: to, fd: fd, remote: remote, listener: ln.spec.Name}
	c.attachment.FD = fd
	to.nconns.Add(1)
	to.post(adoptTask, c)
}

// adoptTask registers a new connection on its loop.
func adoptTask(arg any) error {
	c := arg.(*conn)
	l := c.loop
	l.tickClock()
	c.lastMs = l.monoMs
	l.track(c)
	l.stats.accepted.Add(1)
	if err := l.poller.AddRead(&c.attachment, false); err != nil {
		l.closeConn(c, err)
	}
	return nil
}

func (s *server) countIn(ip netip.Addr) bool {
	if s.opts.MaxConnections > 0 && s.nconns.Load() >= int64(s.opts.MaxConnections) {
		return false
	}
	s.perIP.Lock()
	defer s.perIP.Unlock()
	if s.opts.MaxConnsPerIP > 0 && s.perIP.counts[ip] >= s.opts.MaxConnsPerIP {
		return false
	}
	s.perIP.counts[ip]++
	s.nconns.Add(1)
	return true
}

// connClosed takes a closed connection out of the counts.
func (s *server) connClosed(c *conn) {
	s.nconns.Add(-1)
	s.perIP.Lock()
	if ip := c.remote.Addr(); s.perIP.counts[ip] <= 1 {
		delete(s.perIP.counts, ip)
	} else {
		s.perIP.counts[ip]--
	}
	s.perIP.Unlock()
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func (s *server) closeListeners() {
	for _, ln := range s.listeners {
		_ = unix.Close(ln.fd)
	}
}

// goPeer runs f on a goroutine that ends with peerLife, unless that is over.
func (s *server) goPeer(f func()) {
	s.peers.Lock()
	defer s.peers.Unlock()
	if !s.peers.ended {
		s.peers.running.Go(f)
	}
}

// stopAccepting returns when loop 0 takes no more connections. What it took
// before is queued at its loop ahead of whatever is posted from here on: a
// connection handed to a loop that had ended already would stay open for good.
func (s *server) stopAccepting() {
	first, stopped := s.loops[0], make(chan struct{})
	first.post(func(any) error {
		for _, ln := range s.listeners {
			_ = first.poller.Delete(ln.fd)
		}
		s.unwatched = s.unwatched[:0]
		close(stopped)
		return nil
	}, nil)
	select {
	case <-stopped:
	case <-first.ended:
	}
}

// stop closes the listeners and every connection, waits for the writes in
// flight, and ends the loops.
func (s *server) stop() {
	s.endPeers()
	s.peers.Lock()
	s.peers.ended = true
	s.peers.Unlock()
	s.peers.running.Wait()
	s.workers.close()
	if s.started {
		s.stopAccepting()
	}
	for _, l := range s.loops {
		if !s.started {
			l.release()
			continue
		}
		l.post(func(any) error {
			l.stopping = true
			return errEndLoop
		}, nil)
	}
	s.wg.Wait()
	s.closeListeners()
}
