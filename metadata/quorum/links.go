package quorum

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// Dialing backs off between these, with jitter.
	minBackoff = 25 * time.Millisecond
	maxBackoff = 500 * time.Millisecond
	// patience is how long a voter waits for another one that is to dial.
	patience = time.Second
	// helloTimeout bounds dialing and the exchange of hellos, each.
	helloTimeout = 2 * time.Second
	// keepAlive is after how long the kernel asks whether a silent peer is
	// there, and how often; after three questions it is not.
	keepAlive = 3 * time.Second
	// quietTries fail without a warning: at a start not all nodes are up.
	quietTries = 10
	// repeatRefusal is how long the same trouble is not logged again.
	repeatRefusal = time.Minute
)

// links are this node's connections to other members: one stream for each,
// used both ways. Of two voters the one with the higher id dials, and the other
// only if that takes long; observers dial every voter, so that a new leader
// finds them connected.
//
// Lock order: Node.mu, links.mu, stream.mu.
type links struct {
	n           *Node
	incarnation uint64
	wakeDialer  chan struct{}
	stopDialing context.CancelFunc
	dialing     context.Context

	mu struct {
		sync.Mutex
		streams map[int32]*stream
		started bool
		closed  bool
		refused map[string]refusal // by the other side's name
		learned []Voter            // voters, as the last node said that was dialed
	}
	workers sync.WaitGroup
}

// refusal is a trouble that was logged.
type refusal struct {
	message string
	at      time.Time
}

func newLinks(n *Node) *links {
	l := &links{n: n, incarnation: n.opts.Incarnation, wakeDialer: make(chan struct{}, 1)}
	if l.incarnation == 0 {
		l.incarnation = rand.Uint64()
	}
	l.dialing, l.stopDialing = context.WithCancel(context.Background())
	l.mu.streams = map[int32]*stream{}
	l.mu.refused = map[string]refusal{}
	return l
}

func (l *links) start() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.closed {
		l.mu.started = true
		l.workers.Go(l.dialLoop)
	}
}

// closeAll closes every stream and takes no more.
func (l *links) closeAll() {
	l.mu.Lock()
	l.mu.closed = true
	for _, s := range l.mu.streams {
		s.close()
	}
	l.mu.Unlock()
	l.stopDialing()
}

// reset breaks every connection in a way that needs no answer: a peer that this
// node does not hear learns of it all the same, and what is stuck in the old
// connections does not delay the new ones.
func (l *links) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.mu.streams {
		if tcp, ok := s.conn.(interface{ SetLinger(int) error }); ok {
			_ = tcp.SetLinger(0)
		}
		s.close()
	}
}

func (l *links) close() {
	l.closeAll()
	l.workers.Wait()
}

// membersChanged makes the dialer look again whom to reach.
func (l *links) membersChanged() {
	select {
	case l.wakeDialer <- struct{}{}:
	default:
	}
}

// send queues a message; false when there is no connection or its queue is full.
func (l *links) send(m Message) bool {
	l.mu.Lock()
	s := l.mu.streams[m.To()]
	l.mu.Unlock()
	return s != nil && s.enqueue(m)
}

// connected reports whether there is a connection to the node.
func (l *links) connected(node int32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.streams[node] != nil
}

// Incarnation is that of the process to which this node has a connection, or of
// itself; 0 for none. A node has one process at a time that is connected.
func (n *Node) Incarnation(node int32) uint64 {
	l := n.links
	if node == n.opts.NodeID {
		return l.incarnation
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.mu.streams[node]; s != nil {
		return s.peer.incarnation
	}
	return 0
}

// hello is what this node says of itself. roster is taken before links.mu.
func (l *links) hello(r roster, to int32) hello {
	return hello{clusterID: r.clusterID, founding: r.founding, self: l.n.opts.self(), incarnation: l.incarnation, to: to}
}

// roster is what a node knows of its group at one moment.
type roster struct {
	clusterID, founding string
	members             []Voter
	voting              map[int32]bool
	leader              int32
}

func (n *Node) roster() roster {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.mu.core
	r := roster{clusterID: c.Image().ClusterID, founding: c.Founding(), members: c.Members(), leader: c.Leader().ID, voting: map[int32]bool{}}
	if r.clusterID == "" {
		r.clusterID = n.opts.ClusterID
	}
	for _, m := range r.members {
		r.voting[m.ID] = c.Voting(m.ID)
	}
	return r
}

// voters lists those of the roster that vote.
func (r *roster) voters() []Voter {
	var voters []Voter
	for _, m := range r.members {
		if r.voting[m.ID] {
			voters = append(voters, m)
		}
	}
	return voters
}

// judge says why this node and the one that sent the hello cannot be in one
// group, or that one is not who it seems; "" when all is well.
func (l *links) judge(r roster, h *hello, addr string) (int16, string) {
	self := l.n.opts.self()
	known := findVoter(r.members, h.self.ID)
	l.mu.Lock()
	live := l.mu.streams[h.self.ID]
	l.mu.Unlock()
	switch {
	case r.clusterID != "" && h.clusterID != "" && r.clusterID != h.clusterID:
		return helloWrongCluster, fmt.Sprintf("node %d at %s belongs to cluster %s, but node %d belongs to cluster %s; correct its controller addresses, or format its directories for this cluster",
			h.self.ID, addr, h.clusterID, self.ID, r.clusterID)
	case h.to >= 0 && h.to != self.ID:
		return helloOtherNode, fmt.Sprintf("node %d expected node %d here, but this is node %d; correct the addresses in controller.quorum.voters", h.self.ID, h.to, self.ID)
	case h.self.ID == self.ID:
		return helloDuplicateNode, twice(&self, &h.self, "", addr)
	case r.founding != "" && h.founding != "" && r.founding != h.founding:
		return helloWrongGroup, fmt.Sprintf("node %d at %s is in a metadata quorum founded by the voters %s, but node %d in one founded by %s; they cannot be joined: keep one, empty the metadata directories of the other's nodes and add them",
			h.self.ID, addr, h.founding, self.ID, r.founding)
	case known != nil && r.voting[h.self.ID] && otherDir(known.Dir, h.self.Dir):
		return helloDuplicateNode, fmt.Sprintf("node %d at %s has directory id %s, but voter %d of the quorum has %s: it is another node with the same node.id, or it lost its metadata; "+
			"give it another node.id, or remove voter %d and add it again", h.self.ID, addr, h.self.Dir, h.self.ID, known.Dir, h.self.ID)
	case live != nil && (otherDir(live.peer.self.Dir, h.self.Dir) || live.peer.incarnation != h.incarnation && alive(live.conn)):
		return helloDuplicateNode, twice(&live.peer.self, &h.self, "connected ", addr)
	}
	return helloOK, ""
}

// portsIn are the ports in a message. The one a connection came from differs
// each time and makes no new reason.
var portsIn = regexp.MustCompile(`:[0-9]+`)

// logRefusal says once what is wrong between this node and another.
func (l *links) logRefusal(name, message string) {
	reason := portsIn.ReplaceAllString(message, "")
	l.mu.Lock()
	last := l.mu.refused[name]
	now := time.Now()
	again := last.message != reason || now.Sub(last.at) > repeatRefusal
	if again {
		l.mu.refused[name] = refusal{reason, now}
	}
	l.mu.Unlock()
	if again {
		l.n.log.Error("metadata quorum: connection refused", "reason", message)
	}
}

// logUnreachable says once in a while that a node cannot be reached.
func (l *links) logUnreachable(t target, addr string, err error) {
	l.mu.Lock()
	last, now := l.mu.refused[t.key()], time.Now()
	again := now.Sub(last.at) > repeatRefusal
	if again {
		l.mu.refused[t.key()] = refusal{"", now}
	}
	l.mu.Unlock()
	if again {
		l.n.log.Warn("metadata quorum: a controller cannot be reached; trying on", "address", addr, "error", err)
	}
}

// Adopt takes over a connection whose first frame had the key 121. firstFrame
// is that frame without its length. The connection is answered, and closed if
// the error is not nil.
func (n *Node) Adopt(conn net.Conn, firstFrame []byte) error {
	err := n.links.adopt(conn, firstFrame)
	if err != nil {
		_ = conn.Close()
	}
	return err
}

func (l *links) adopt(conn net.Conn, firstFrame []byte) error {
	h, err := parseRequest(firstFrame)
	if err != nil {
		return fmt.Errorf("the hello from %s cannot be read: %w", conn.RemoteAddr(), err)
	}
	r := l.n.roster()
	reply := helloReply{hello: l.hello(r, h.self.ID), leader: r.leader, voters: r.voters()}
	if h.incarnation == l.incarnation {
		reply.code, reply.message = helloOtherNode, "a node dialed itself"
	} else {
		reply.code, reply.message = l.judge(r, &h, conn.RemoteAddr().String())
	}
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	if _, err := conn.Write(reply.appendResponse(nil)); err != nil {
		return fmt.Errorf("the hello from %s cannot be answered: %w", conn.RemoteAddr(), err)
	}
	if reply.code != helloOK {
		if h.incarnation != l.incarnation {
			l.logRefusal(fmt.Sprint("node ", h.self.ID), reply.message)
		}
		return errors.New(reply.message)
	}
	return l.add(conn, &h)
}

// add makes a connection the stream to its node, in place of an older one.
func (l *links) add(conn net.Conn, peer *hello) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if tcp, ok := conn.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		// A machine that lost power closes nothing: find out soon.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive, Count: 3})
	}
	s := newStream(l, conn, peer)
	l.mu.Lock()
	if l.mu.closed || !l.mu.started {
		l.mu.Unlock()
		return ErrClosed
	}
	old := l.mu.streams[peer.self.ID]
	l.mu.streams[peer.self.ID] = s
	l.workers.Add(2)
	l.mu.Unlock()
	if old != nil {
		old.close()
	}
	l.n.log.Debug("metadata quorum: connected", "node", peer.self.ID, "address", conn.RemoteAddr())
	l.n.with(func(c *Core, nowMs int64) { c.Connected(nowMs, peer.self) })
	go s.writeLoop()
	go s.readLoop()
	return nil
}

// broken takes a stream that ended out of the table.
func (l *links) broken(s *stream) {
	id := s.peer.self.ID
	l.mu.Lock()
	last := l.mu.streams[id] == s
	if last {
		delete(l.mu.streams, id)
	}
	l.mu.Unlock()
	if !last {
		return // another connection has taken its place
	}
	l.n.log.Debug("metadata quorum: disconnected", "node", id)
	l.n.with(func(c *Core, nowMs int64) {
		if c.leading {
			l.n.notices.put(func() {
				for _, f := range l.n.peerDown {
					f(id)
				}
			})
		}
		c.Disconnected(nowMs, id)
	})
	l.membersChanged()
}

// target is a node, or an address, that this node dials.
type target struct {
	id    int32 // -1: whoever is there
	addrs []string
	// patient: the other side is to dial, so wait a while for it.
	patient bool
}

func (t *target) key() string {
	if t.id >= 0 {
		return strconv.Itoa(int(t.id))
	}
	return t.addrs[0]
}

// targets lists whom to dial now.
func (l *links) targets() []target {
	r := l.n.roster()
	self := l.n.opts.self()
	l.mu.Lock()
	learned := l.mu.learned
	connected := make(map[int32]bool, len(l.mu.streams))
	for id := range l.mu.streams {
		connected[id] = true
	}
	l.mu.Unlock()
	sources := [][]Voter{r.voters(), learned, l.n.opts.Voters}
	reached := r.voting[self.ID] // some voter, or it is one
	for _, v := range sources[0] {
		reached = reached || connected[v.ID]
	}
	var targets []target
	for _, v := range candidates(sources, reached) {
		reached = reached || connected[v.ID]
		if v.ID == self.ID || connected[v.ID] {
			continue
		}
		t := target{id: v.ID, patient: r.voting[self.ID] && self.ID < v.ID}
		for _, source := range sources {
			if known := findVoter(source, v.ID); known != nil && known.Host != "" && !slices.Contains(t.addrs, address(known)) {
				t.addrs = append(t.addrs, address(known))
			}
		}
		if len(t.addrs) > 0 {
			targets = append(targets, t)
		}
	}
	if !reached {
		for _, addr := range l.n.opts.BootstrapServers {
			if self.Host == "" || addr != address(&self) {
				targets = append(targets, target{id: -1, addrs: []string{addr}})
			}
		}
	}
	return targets
}

// candidates are the voters to reach: those of the log; with those that another
// node told of, as long as none of them is reached; and before anything is
// known, those of the configuration.
func candidates(sources [][]Voter, reached bool) []Voter {
	list := slices.Clone(sources[0])
	for _, v := range sources[1] {
		if findVoter(list, v.ID) == nil && !reached {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return sources[2]
	}
	return list
}

func address(v *Voter) string { return net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port))) }

// attempt is how dialing a target goes.
type attempt struct {
	running bool
	tries   int
	next    time.Time
}

// dialLoop keeps a connection to every target.
func (l *links) dialLoop() {
	attempts := map[string]*attempt{}
	ended := make(chan string)
	timer := time.NewTimer(0)
	defer timer.Stop()
	running := 0
	for {
		select {
		case <-l.dialing.Done():
			for ; running > 0; running-- {
				<-ended
			}
			return
		case key := <-ended:
			running--
			attempts[key].running = false
		case <-l.wakeDialer:
		case <-timer.C:
		}
		soon := time.Hour
		targets := l.targets()
		maps.DeleteFunc(attempts, func(key string, a *attempt) bool {
			return !a.running && !slices.ContainsFunc(targets, func(t target) bool { return t.key() == key })
		})
		for _, t := range targets {
			key := t.key()
			a := attempts[key]
			if a == nil {
				a = &attempt{next: time.Now().Add(rand.N(minBackoff))}
				if t.patient {
					a.next = a.next.Add(patience)
				}
				attempts[key] = a
			}
			if a.running {
				continue
			}
			if wait := time.Until(a.next); wait > 0 {
				soon = min(soon, wait)
				continue
			}
			a.running = true
			running++
			go l.try(t, a, ended)
		}
		timer.Reset(soon)
	}
}

// try dials a target once. It owns a until it ends.
func (l *links) try(t target, a *attempt, ended chan<- string) {
	addr := t.addrs[a.tries%len(t.addrs)]
	began := time.Now()
	err := l.dial(addr, t.id)
	backoff := min(minBackoff<<min(a.tries, 10), maxBackoff)
	a.tries++
	if err == nil {
		a.tries, backoff = 0, minBackoff
	} else {
		l.n.log.Debug("metadata quorum: cannot connect", "address", addr, "error", err)
		if a.tries > quietTries && l.dialing.Err() == nil {
			l.logUnreachable(t, addr, err)
		}
	}
	a.next = began.Add(backoff/2 + rand.N(backoff/2+1))
	ended <- t.key()
}

// dial connects to an address and exchanges hellos.
func (l *links) dial(addr string, to int32) error {
	ctx, cancel := context.WithTimeout(l.dialing, helloTimeout)
	defer cancel()
	conn, err := l.n.opts.Dial(ctx, addr)
	if err != nil {
		return err
	}
	peer, err := l.greet(conn, addr, to)
	if err == nil {
		err = l.add(conn, peer)
	}
	if err != nil {
		_ = conn.Close()
	}
	return err
}

// greet says hello and judges the answer.
func (l *links) greet(conn net.Conn, addr string, to int32) (*hello, error) {
	// A node that is closing does not wait for an answer.
	stop := context.AfterFunc(l.dialing, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, err
	}
	r := l.n.roster()
	mine := l.hello(r, to)
	if _, err := conn.Write(mine.appendRequest(nil)); err != nil {
		return nil, err
	}
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length > maxHelloBytes {
		return nil, errFrame
	}
	frame, err := readBytes(conn, nil, int(length))
	if err != nil {
		return nil, err
	}
	reply, err := parseResponse(frame)
	if err != nil {
		return nil, err
	}
	if reply.incarnation == l.incarnation {
		return nil, errors.New("the address is this node's own")
	}
	if reply.code != helloOK {
		l.logRefusal(addr, reply.message)
		return nil, errors.New(reply.message)
	}
	reply.to = -1 // it answers, and expects nobody else
	if code, message := l.judge(l.n.roster(), &reply.hello, addr); code != helloOK {
		l.logRefusal(addr, message)
		return nil, errors.New(message)
	}
	if !stop() {
		return nil, ErrClosed
	}
	l.mu.Lock()
	l.mu.learned = reply.voters
	l.mu.Unlock()
	return &reply.hello, nil
}
