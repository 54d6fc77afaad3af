package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"

	"freshet/config"
	"freshet/wire"
)

// Limits of the controller listeners. Brokers keep three connections to them,
// controllers one to each other, tools a few.
const (
	maxControllerConns = 1024
	// maxControllerFrame bounds a request: the largest are topics with
	// thousands of assigned partitions.
	maxControllerFrame = 16 << 20
	// maxEnvelopes bounds the forwarded requests of one connection that are
	// being carried out.
	maxEnvelopes         = 256
	controllerFrameTime  = 30 * time.Second // from a request's first byte to its last
	controllerWriteTime  = 30 * time.Second
	controllerAcceptWait = 100 * time.Millisecond // after accept failed
)

// Private API keys of the controller listeners, which ApiVersions never lists.
const keyRaftHello = 121 // first frame of a connection between members of the quorum

// controllerServer serves the controller listeners, a goroutine for each
// connection, apart from the event loops: what arrives here is little and must
// be heard also when the loops are busy. It reads no byte ahead, so that a
// connection can be handed to the quorum whole.
type controllerServer struct {
	broker    *Broker
	listeners []*controllerListener
	maxIdle   time.Duration // 0: none

	mu struct {
		sync.Mutex
		conns  map[net.Conn]struct{}
		closed bool
	}
	wg sync.WaitGroup
}

type controllerListener struct {
	spec config.Listener
	ln   net.Listener
	port int
}

// newControllerServer binds the listeners; nothing is accepted before start.
func newControllerServer(b *Broker, specs []config.Listener) (*controllerServer, error) {
	s := &controllerServer{broker: b}
	s.mu.conns = map[net.Conn]struct{}{}
	if ms := b.Config().Network.ConnectionsMaxIdleMs; ms > 0 {
		s.maxIdle = time.Duration(ms) * time.Millisecond
	}
	for _, spec := range specs {
		ln, err := net.Listen("tcp", net.JoinHostPort(spec.Host, strconv.Itoa(spec.Port)))
		if err != nil {
			s.closeListeners()
			return nil, fmt.Errorf("controller listener %s cannot listen on %s: stop the process that uses it or change listeners: %w", spec.Name, spec.Address(), err)
		}
		s.listeners = append(s.listeners, &controllerListener{spec: spec, ln: ln, port: ln.Addr().(*net.TCPAddr).Port})
	}
	return s, nil
}

// start begins to accept.
func (s *controllerServer) start() {
	for _, ln := range s.listeners {
		s.wg.Go(func() {
			pprof.Do(context.Background(), pprof.Labels("loop", "controller"), func(context.Context) { s.accept(ln) })
		})
	}
}

func (s *controllerServer) accept(ln *controllerListener) {
	for {
		conn, err := ln.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			slog.Warn("controller listener cannot accept", "listener", ln.spec.Name, "error", err)
			time.Sleep(controllerAcceptWait)
			continue
		}
		if !s.admit(conn) {
			_ = conn.Close()
			continue
		}
		s.wg.Go(func() {
			c := &controllerConn{server: s, conn: conn, listener: ln.spec.Name}
			c.run()
		})
	}
}

// admit lists a connection unless there are too many, or the server closes.
func (s *controllerServer) admit(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed || len(s.mu.conns) >= maxControllerConns {
		return false
	}
	s.mu.conns[conn] = struct{}{}
	return true
}

func (s *controllerServer) release(conn net.Conn) {
	s.mu.Lock()
	delete(s.mu.conns, conn)
	s.mu.Unlock()
}

func (s *controllerServer) closeListeners() {
	for _, ln := range s.listeners {
		_ = ln.ln.Close()
	}
}

// stop closes listeners and connections and waits for their goroutines.
func (s *controllerServer) stop() {
	if s == nil {
		return
	}
	s.closeListeners()
	s.mu.Lock()
	s.mu.closed = true
	for conn := range s.mu.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// controllerConn is one connection. Requests are answered one after the other,
// forwarded ones as they are done.
type controllerConn struct {
	server    *controllerServer
	conn      net.Conn
	listener  string
	envelopes sync.WaitGroup
	inFlight  chan struct{} // as long as maxEnvelopes
	write     sync.Mutex
}

func (c *controllerConn) run() {
	adopted := false
	c.inFlight = make(chan struct{}, maxEnvelopes)
	defer func() {
		c.server.release(c.conn)
		if !adopted {
			_ = c.conn.Close()
		}
		c.envelopes.Wait()
	}()
	for first := true; ; first = false {
		frame, err := readFrame(c.conn, maxControllerFrame, c.server.maxIdle)
		if err == nil && first && len(frame) >= 2 && binary.BigEndian.Uint16(frame) == keyRaftHello {
			_ = c.conn.SetDeadline(time.Time{})
			if err = c.server.broker.adopt(c.conn, frame); err == nil {
				adopted = true
				return
			}
		} else if err == nil {
			err = c.serve(frame)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				slog.Debug("controller connection ends", "peer", c.conn.RemoteAddr(), "error", err)
			}
			return
		}
	}
}

// readFrame reads one request or response without its size. The buffer grows
// as bytes arrive. idle bounds the wait for the first byte, 0 does not.
func readFrame(conn net.Conn, limit int, idle time.Duration) ([]byte, error) {
	var size [4]byte
	deadline := time.Time{}
	if idle > 0 {
		deadline = time.Now().Add(idle)
	}
	_ = conn.SetReadDeadline(deadline)
	if _, err := io.ReadFull(conn, size[:1]); err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(controllerFrameTime))
	if _, err := io.ReadFull(conn, size[1:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(size[:])))
	if n < 4 || n > limit {
		return nil, fmt.Errorf("%w: a frame of %d bytes, %d are allowed", errMalformed, n, limit)
	}
	const step = 64 << 10
	frame := make([]byte, 0, min(n, step))
	for len(frame) < n {
		at := len(frame)
		grown := make([]byte, min(n, max(2*at, step)))
		copy(grown, frame)
		if _, err := io.ReadFull(conn, grown[at:]); err != nil {
			return nil, err
		}
		frame = grown
	}
	return frame, nil
}

// serve handles one frame.
func (c *controllerConn) serve(frame []byte) error {
	h, err := wire.PeekHeader(frame)
	if err != nil {
		return err
	}
	api := controllerListenerAPI(h.Key)
	if api == nil {
		return fmt.Errorf("%w: API key %d is not served on a controller listener", errMalformed, h.Key)
	}
	r := &Request{Key: h.Key, Version: h.Version, CorrelationID: h.CorrelationID, Listener: c.listener,
		ClientHost: "/" + remoteIP(c.conn), api: api, onController: true, via: -1}
	if h.Version < api.Min || h.Version > api.Max {
		if h.Key != keyAPIVersions {
			return fmt.Errorf("%w: API key %d version %d is not supported, versions %d to %d are", errMalformed, h.Key, h.Version, api.Min, api.Max)
		}
		r.Unsupported, r.Version = true, 0
	} else {
		if h, err = wire.RequestHeader(frame); err != nil {
			return err
		}
		r.ClientID, r.raw = string(h.ClientID), frame[h.BodyAt:]
	}
	if h.Key == keyEnvelope {
		c.inFlight <- struct{}{}
		r.done = func(r *Request) {
			if err := c.answer(r); err != nil {
				_ = c.conn.Close()
			}
		}
		c.envelopes.Go(func() {
			defer func() { <-c.inFlight }()
			r.serve(c.server.broker)
		})
		return nil
	}
	finished := make(chan struct{})
	r.done = func(*Request) { close(finished) }
	r.serve(c.server.broker)
	<-finished
	return c.answer(r)
}

func (c *controllerConn) answer(r *Request) error {
	if r.err != nil {
		return r.err
	}
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(controllerWriteTime))
	_, err := c.conn.Write(r.out)
	return err
}

func remoteIP(conn net.Conn) string {
	if addr, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return addr.AddrPort().Addr().Unmap().String()
	}
	return conn.RemoteAddr().String()
}

// controllerPort is the bound port of a controller listener, 0 for none.
func (b *Broker) controllerPort(name string) int {
	if b.ctl.server != nil {
		for _, ln := range b.ctl.server.listeners {
			if ln.spec.Name == name {
				return ln.port
			}
		}
	}
	return 0
}
