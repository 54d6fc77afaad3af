package sim

// rpcTimeout is how long a client waits for an answer before it gives the
// connection up.
const rpcTimeout = 4 * second

// rpc is a client's connection to one service of one host: calls in order,
// each answered once, with codeConnectionLost as the answer of all that were
// open when the connection ended. It connects when there is something to say.
type rpc struct {
	net      *network
	proc     *process
	from, to *host
	service  string
	timeout  Time
	hold     func(*side) // told of each connection; may be nil

	side    *side
	dialing bool
	nextID  uint64
	open    []openCall // oldest first
	queued  []call     // while connecting
}

type openCall struct {
	id   uint64
	done func(body any) // nil body: the connection was lost
}

func newRPC(n *network, p *process, from, to *host, service string) *rpc {
	return &rpc{net: n, proc: p, from: from, to: to, service: service, timeout: rpcTimeout}
}

// call asks; done hears the answer, or nil when there will be none.
func (r *rpc) call(body any, bytes int, done func(body any)) {
	r.nextID++
	id := r.nextID
	r.open = append(r.open, openCall{id: id, done: done})
	r.proc.after(r.timeout, func() { r.expire(id) })
	if r.side != nil {
		r.side.send(call{id: id, body: body}, bytes)
		return
	}
	r.queued = append(r.queued, call{id: id, body: body})
	r.connect()
}

// expire gives the connection up when the call is still open.
func (r *rpc) expire(id uint64) {
	for _, o := range r.open {
		if o.id == id {
			r.drop()
			return
		}
	}
}

func (r *rpc) connect() {
	if r.dialing {
		return
	}
	r.dialing = true
	r.net.dial(r.proc, r.from, r.to, r.service, func(s *side) {
		r.dialing = false
		if s == nil {
			r.drop()
			return
		}
		r.side = s
		if r.hold != nil {
			r.hold(s)
		}
		s.receive = func(m any) { r.answered(m.(answer)) }
		s.closed = r.drop
		queued := r.queued
		r.queued = nil
		for _, c := range queued {
			if r.isOpen(c.id) {
				s.send(c, 100)
			}
		}
	})
}

func (r *rpc) isOpen(id uint64) bool {
	for _, o := range r.open {
		if o.id == id {
			return true
		}
	}
	return false
}

func (r *rpc) answered(a answer) {
	for i, o := range r.open {
		if o.id == a.id {
			r.open = append(r.open[:i:i], r.open[i+1:]...)
			o.done(a.body)
			return
		}
	}
}

// drop ends the connection and every open call.
func (r *rpc) drop() {
	if r.side != nil {
		r.side.close()
		r.side = nil
	}
	open := r.open
	r.open, r.queued = nil, nil
	for _, o := range open {
		o.done(nil)
	}
}
