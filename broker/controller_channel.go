package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// controllerChannel is this node's way to the active controller, wherever that
// is: a pipelined connection made on first use and made anew when the
// controller moves. Each purpose has its own, so that a large forwarded request
// does not hold up heartbeats. Its methods may be called from any goroutine.
type controllerChannel struct {
	broker *Broker

	mu struct {
		sync.Mutex
		conn   *peerConn
		closed bool
	}
}

// errNoController is the error while no active controller is known or reached.
var errNoController = errors.New("no active controller is known")

// ask sends a request and waits for its answer: in this process when this node
// is the active controller, else over the connection.
func (c *controllerChannel) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	b := c.broker
	id, _ := b.meta.Leader()
	if id == b.Config().NodeID {
		api := controllerAPIs[req.Key()]
		return api.decide(b, &Request{Key: req.Key(), Version: req.GetVersion(), ClientID: b.clientID(), ClientHost: "/127.0.0.1", Body: req, onController: true, via: id})
	}
	peer, err := c.peer(ctx, id)
	if err != nil {
		return nil, err
	}
	return peer.ask(ctx, req)
}

// peer is a live connection to controller id.
func (c *controllerChannel) peer(ctx context.Context, id int32) (*peerConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return nil, errStopping
	}
	if p := c.mu.conn; p != nil {
		if p.to == id && !p.broken() {
			return p, nil
		}
		p.close()
		c.mu.conn = nil
	}
	addr := c.broker.controllerAddr(id)
	if addr == "" {
		return nil, errNoController
	}
	dial, cancel := context.WithTimeout(ctx, peerDialTime)
	defer cancel()
	conn, err := c.broker.dial(dial, addr)
	if err != nil {
		return nil, fmt.Errorf("controller %d at %s cannot be reached: %w", id, addr, err)
	}
	c.mu.conn = newPeerConn(conn, id, c.broker.clientID())
	return c.mu.conn, nil
}

// close ends the connection and refuses further requests.
func (c *controllerChannel) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.closed = true
	if c.mu.conn != nil {
		c.mu.conn.close()
	}
}

// peerDialTime bounds the making of a connection to a controller: a host that
// is down does not answer at all.
const peerDialTime = time.Second

// peerConn is a connection to another node with any number of requests in
// flight, told apart by their correlation ids.
type peerConn struct {
	conn     net.Conn
	to       int32
	clientID string
	write    sync.Mutex

	mu struct {
		sync.Mutex
		next    int32
		waiting map[int32]chan []byte // closed without a value when the connection breaks
		err     error
	}
}

func newPeerConn(conn net.Conn, to int32, clientID string) *peerConn {
	p := &peerConn{conn: conn, to: to, clientID: clientID}
	p.mu.waiting = map[int32]chan []byte{}
	go p.read()
	return p
}

// read hands out answers until the connection ends.
func (p *peerConn) read() {
	for {
		frame, err := readFrame(p.conn, maxControllerFrame, 0)
		if err != nil {
			p.fail(err)
			return
		}
		corr := int32(binary.BigEndian.Uint32(frame))
		p.mu.Lock()
		answer := p.mu.waiting[corr]
		delete(p.mu.waiting, corr)
		p.mu.Unlock()
		if answer != nil {
			answer <- frame[4:]
		}
	}
}

// fail ends the connection for err; everyone who waits hears of it.
func (p *peerConn) fail(err error) {
	_ = p.conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.err == nil {
		p.mu.err = err
	}
	for corr, answer := range p.mu.waiting {
		delete(p.mu.waiting, corr)
		close(answer)
	}
}

func (p *peerConn) close() { p.fail(net.ErrClosed) }

func (p *peerConn) broken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.err != nil
}

// ask sends req and decodes the answer.
func (p *peerConn) ask(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	p.mu.Lock()
	if err := p.mu.err; err != nil {
		p.mu.Unlock()
		return nil, err
	}
	p.mu.next++
	corr, answer := p.mu.next, make(chan []byte, 1)
	p.mu.waiting[corr] = answer
	p.mu.Unlock()
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID(p.clientID)).AppendRequest(nil, req, corr)
	if err := p.send(ctx, frame); err != nil {
		p.fail(err)
		return nil, err
	}
	select {
	case body, ok := <-answer:
		if !ok {
			return nil, fmt.Errorf("the connection to node %d broke: %w", p.to, p.failure())
		}
		return decodeAnswer(req, body)
	case <-ctx.Done():
		// The answer may still come; nobody waits for it.
		p.mu.Lock()
		delete(p.mu.waiting, corr)
		p.mu.Unlock()
		return nil, ctx.Err()
	}
}

func (p *peerConn) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.err
}

func (p *peerConn) send(ctx context.Context, frame []byte) error {
	p.write.Lock()
	defer p.write.Unlock()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(controllerWriteTime)
	}
	_ = p.conn.SetWriteDeadline(deadline)
	_, err := p.conn.Write(frame)
	return err
}

// decodeAnswer reads the answer to req from what follows the correlation id.
func decodeAnswer(req kmsg.Request, body []byte) (kmsg.Response, error) {
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	if wire.HasResponseTags(req.Key(), req.GetVersion()) {
		if len(body) == 0 || body[0] != 0 {
			return nil, fmt.Errorf("answer to API key %d has an unknown header", req.Key())
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("answer to API key %d cannot be read: %w", req.Key(), err)
	}
	return resp, nil
}
