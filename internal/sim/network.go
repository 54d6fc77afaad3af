package sim

import (
	"math/rand/v2"
	"slices"
)

// host is a machine on the network.
type host struct {
	id   int    // index in the network
	name string // as the trace shows it
	up   bool   // has power
	// listen takes incoming connections by service; nil or absent: refused.
	listen map[string]func(*side)
}

// network joins hosts by connections as TCP makes them: bytes arrive in order
// or not at all. Loss is delay (a retransmission), a partition is silence until
// it heals or somebody gives up, and what is lost with a connection is lost
// from some point on.
type network struct {
	sched   *scheduler
	rng     *rand.Rand
	trace   *trace
	hosts   []*host
	blocked [][]bool // from, to
	// stalled are pipes with something to deliver through a blocked link.
	stalled []*pipe
	conns   int64
	tally   *tally
	// sent and arrived number the messages of each link, from and to, so that
	// those which overtake others on another connection are counted.
	sent, arrived [][]int64
	// changed hears of bytes of a file that are not what they were when they
	// were sent.
	changed func(from, to *side, p *pages)

	minLatency, jitter Time
	lossPermille       int // chance that a message needs a retransmission
}

func newNetwork(s *scheduler, rng *rand.Rand, t *trace) *network {
	return &network{sched: s, rng: rng, trace: t, minLatency: 100 * microsecond, jitter: 400 * microsecond,
		tally: &tally{}, changed: func(*side, *side, *pages) {}}
}

func (n *network) addHost(name string) *host {
	h := &host{id: len(n.hosts), name: name, up: true, listen: map[string]func(*side){}}
	n.hosts = append(n.hosts, h)
	for i := range n.blocked {
		n.blocked[i] = append(n.blocked[i], false)
		n.sent[i], n.arrived[i] = append(n.sent[i], 0), append(n.arrived[i], 0)
	}
	n.blocked = append(n.blocked, make([]bool, len(n.hosts)))
	n.sent, n.arrived = append(n.sent, make([]int64, len(n.hosts))), append(n.arrived, make([]int64, len(n.hosts)))
	return h
}

// block stops or lets pass what goes from one host to another.
func (n *network) block(from, to *host, blocked bool) {
	if n.blocked[from.id][to.id] == blocked {
		return
	}
	n.blocked[from.id][to.id] = blocked
	if blocked {
		return
	}
	stalled := n.stalled
	n.stalled = nil
	for _, p := range stalled {
		if p.from.host == from && p.to.host == to {
			p.schedule(n.sched.now + n.retransmission())
		} else {
			n.stalled = append(n.stalled, p)
		}
	}
}

// healAll lets everything pass.
func (n *network) healAll() {
	for i := range n.hosts {
		for j := range n.hosts {
			n.block(n.hosts[i], n.hosts[j], false)
		}
	}
}

// reachable reports whether packets from one host get to another.
func (n *network) reachable(from, to *host) bool { return to.up && !n.blocked[from.id][to.id] }

func (n *network) retransmission() Time { return (200 + Time(n.rng.IntN(300))) * millisecond }

func (n *network) latency(bytes int) Time {
	d := n.minLatency + Time(n.rng.Int64N(int64(n.jitter)+1)) + Time(bytes/100) // 100 MB/s
	if n.lossPermille > 0 && n.rng.IntN(1000) < n.lossPermille {
		n.tally[countLost]++
		d += n.retransmission()
	}
	return d
}

// connectTimeout is how long a dial to a silent host waits.
const connectTimeout = 2 * second

// conn is one connection between two processes.
type conn struct {
	net   *network
	id    int64
	sides [2]*side
}

// side is one end of a connection: what its process holds.
type side struct {
	conn *conn
	host *host
	peer *side
	proc *process
	pipe *pipe // outgoing
	open bool
	// receive is called with each message, closed once, unless this side
	// closed the connection itself.
	receive func(message any)
	closed  func()
}

// pipe carries messages from one side to the other.
type pipe struct {
	net      *network
	from, to *side
	queue    []parcel
	waiting  bool // an event or the stalled list will deliver
	lag      Time // more for each message: this connection's path is congested
}

type parcel struct {
	at      Time
	message any
	end     bool  // the connection's end
	number  int64 // of the link
}

// lender is a message that sendfile sends: what it carries are pages of files,
// lent to the socket until they have arrived.
type lender interface{ lent() []pages }

// dial connects a process to a service of another host. done is called once:
// with the near side, or nil when there is no answer or a refusal.
func (n *network) dial(p *process, from, to *host, service string, done func(*side)) {
	if !n.reachable(from, to) || !n.reachable(to, from) {
		n.sched.after(connectTimeout, func() { p.run(func() { done(nil) }) })
		return
	}
	n.sched.after(n.latency(0), func() {
		accept := to.listen[service]
		if !to.up || accept == nil {
			n.sched.after(n.latency(0), func() { p.run(func() { done(nil) }) })
			return
		}
		n.conns++
		c := &conn{net: n, id: n.conns}
		near := &side{conn: c, host: from, proc: p, open: true}
		far := &side{conn: c, host: to, open: true}
		near.peer, far.peer = far, near
		near.pipe = &pipe{net: n, from: near, to: far}
		far.pipe = &pipe{net: n, from: far, to: near}
		c.sides = [2]*side{near, far}
		accept(far) // sets far.proc
		n.sched.after(n.latency(0), func() {
			if !near.open { // ended again already
				p.run(func() { done(nil) })
				return
			}
			if !p.alive {
				near.close()
				return
			}
			p.run(func() { done(near) })
		})
	})
}

// send queues a message; what is sent on a closed connection is lost.
func (s *side) send(message any, bytes int) {
	if s.open {
		s.pipe.push(parcel{message: message}, bytes)
	}
}

// close ends the connection from this side: the peer hears of it after what
// was sent before. This side's closed is not called.
func (s *side) close() {
	if !s.open {
		return
	}
	s.open = false
	s.pipe.push(parcel{end: true}, 0)
	s.peer.pipe.queue = nil
}

// sever ends the connection for both, as a middlebox that resets it does. What
// is on its way is lost.
func (c *conn) sever() {
	near, far := c.sides[0], c.sides[1]
	hears := far.open
	near.hangUp()
	if hears {
		far.open = true
		far.hangUp()
	}
}

// vanish is the loss of power on this side's host: nobody tells the peer, who
// learns of it when its own messages, or the kernel's keepalive, find a host
// that knows nothing of them.
func (s *side) vanish() {
	s.open = false
	s.pipe.queue = nil
	s.peer.pipe.dead()
	s.peer.keepAlive(0)
}

// Keepalive probes of an idle connection, and how many go unanswered before it
// is given up.
const (
	keepAliveInterval = 2 * second
	keepAliveProbes   = 5
)

// keepAlive finds out that the other host knows nothing of the connection.
func (s *side) keepAlive(unanswered int) {
	n := s.conn.net
	n.sched.after(keepAliveInterval, func() {
		switch {
		case !s.open:
		case unanswered == keepAliveProbes || n.reachable(s.host, s.peer.host) && n.reachable(s.peer.host, s.host):
			s.hangUp()
		default:
			s.keepAlive(unanswered + 1)
		}
	})
}

// hangUp tells the side's process that the connection has ended.
func (s *side) hangUp() {
	if !s.open {
		return
	}
	s.open = false
	s.pipe.queue = nil
	s.peer.open = false
	if s.proc != nil {
		s.proc.run(func() {
			if s.closed != nil {
				s.closed()
			}
		})
	}
}

func (p *pipe) push(m parcel, bytes int) {
	n, from, to := p.net, p.from.host.id, p.to.host.id
	m.at = n.sched.now + n.latency(bytes) + p.lag
	if p.lag > 0 {
		n.tally[countDelayed]++
	}
	n.sent[from][to]++
	m.number = n.sent[from][to]
	if n := len(p.queue); n > 0 {
		m.at = max(m.at, p.queue[n-1].at)
	}
	p.queue = append(p.queue, m)
	if !p.waiting {
		p.schedule(m.at)
	}
}

// dead makes a pipe whose receiver lost power deliver only its refusal.
func (p *pipe) dead() {
	if !p.waiting && len(p.queue) > 0 {
		p.schedule(p.net.sched.now)
	}
}

func (p *pipe) schedule(at Time) {
	p.waiting = true
	p.net.sched.at(at, p.deliver)
}

// deliver hands over what has arrived.
func (p *pipe) deliver() {
	p.waiting = false
	for len(p.queue) > 0 {
		m := p.queue[0]
		if m.at > p.net.sched.now {
			p.schedule(m.at)
			return
		}
		if p.net.blocked[p.from.host.id][p.to.host.id] {
			p.waiting = true
			p.net.stalled = append(p.net.stalled, p)
			p.net.tally[countStalled]++
			return
		}
		if !p.to.host.up { // sent again and again until the host is back
			p.schedule(p.net.sched.now + p.net.retransmission())
			return
		}
		if !p.to.open { // nobody there: reset
			p.queue = nil
			if p.from.open && !p.net.blocked[p.to.host.id][p.from.host.id] {
				p.from.hangUp()
			}
			return
		}
		p.queue = slices.Delete(p.queue, 0, 1)
		p.arrives(&m)
		to := p.to
		if m.end {
			to.hangUp()
			return
		}
		if to.proc != nil {
			to.proc.run(func() {
				if to.open && to.receive != nil {
					to.receive(m.message)
				}
			})
		}
	}
}

// arrives looks at a message that is being delivered: at its place among those
// of the link, and at the pages that it carries.
func (p *pipe) arrives(m *parcel) {
	arrived := &p.net.arrived[p.from.host.id][p.to.host.id]
	if m.number < *arrived {
		p.net.tally[countOvertaken]++
	}
	*arrived = max(*arrived, m.number)
	if l, ok := m.message.(lender); ok {
		for _, lent := range l.lent() {
			if !lent.intact() {
				p.net.changed(p.from, p.to, &lent)
			}
		}
	}
}
