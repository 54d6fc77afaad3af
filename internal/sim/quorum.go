package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"freshet/metadata"
	"freshet/metadata/quorum"
)

// quorumMember is this process's member of the metadata group: the real Core,
// with what quorum.Node does around it.
type quorumMember struct {
	b       *broker
	core    *quorum.Core
	links   []*quorumLink // by index of node; nil for itself
	inbound []int         // open connections from each node
	taken   []*side       // those connections
	waiting map[uint64][]func(error)
	news    []publication
	telling bool
	tickAt  int64
	failed  error
}

// publication is what the Core has to say to this process, in order.
type publication struct {
	image *metadata.Image
	done  []quorum.Done
	ready *quorum.Leadership
	lost  bool
	moved bool // another controller is active
}

// quorumLink carries raft messages to one other member.
type quorumLink struct {
	q       *quorumMember
	peer    *node
	side    *side
	dialing bool
}

// quorumHello opens a connection between members; quorumMessage is one raft
// message.
type (
	quorumHello   struct{ from quorum.Voter }
	quorumMessage struct{ m quorum.Message }
)

// maxEntryBytes is the size at which a list of records goes on in the next
// entry: small, so that lists of several entries are met.
const maxEntryBytes = 600

func (n *node) voter() quorum.Voter {
	return quorum.Voter{ID: n.id, Dir: uuid(n.dirID), Host: n.String(), Port: 9093}
}

// format founds the group on the member's disk, as a first start does.
func (m *metaDisk) format(w *world, n *node) {
	img, err := metadata.Apply(metadata.NewImage(), &metadata.ClusterRecord{ClusterID: clusterID})
	if err != nil {
		panic(fmt.Sprintf("BUG: sim: %v", err))
	}
	conf := &raftpb.ConfState{}
	var members []quorum.Voter
	var names []string
	for _, o := range w.nodes {
		conf.Voters = append(conf.Voters, uint64(o.id)+1)
		names = append(names, fmt.Sprint(o.id))
		v := o.voter()
		if o != n {
			v.Dir = metadata.ZeroUUID
		}
		members = append(members, v)
	}
	m.state = quorum.State{
		Hard:     quorum.HardState{Term: 1, Commit: 1},
		Snapshot: &quorum.Snapshot{Index: 1, Term: 1, Conf: conf, Members: members, Founding: strings.Join(names, ","), Image: img},
		First:    2, FirstTerm: 1,
	}
}

// load is the member's state as its disk has it. The image of a snapshot comes
// back from its records.
func (m *metaDisk) load() (quorum.State, error) {
	state := m.state
	snapshot := *state.Snapshot
	img := metadata.NewImage()
	for _, r := range snapshot.Image.Records() {
		text, err := metadata.EncodeRecord(r)
		if err != nil {
			return state, err
		}
		if r, err = metadata.DecodeRecord(text); err != nil {
			return state, err
		}
		if img, err = metadata.Apply(img, r); err != nil {
			return state, err
		}
	}
	img.Index = snapshot.Image.Index
	snapshot.Image = img
	state.Snapshot = &snapshot
	return state, nil
}

func (b *broker) openQuorum() error {
	state, err := b.node.meta.load()
	if err != nil {
		return err
	}
	w := b.node.world
	q := &quorumMember{b: b, waiting: map[uint64][]func(error){}, tickAt: math.MaxInt64, inbound: make([]int, len(w.nodes))}
	q.core, err = quorum.NewCore(quorum.CoreConfig{
		Self: b.node.voter(), FetchTimeoutMs: fetchTimeoutMs, ElectionTimeoutMs: electionTimeoutMs, SnapshotBytes: 6000,
		Rand: rand.New(rand.NewPCG(w.rng.node.Uint64(), 7)), Logger: raftSilence{},
	}, state, b.monotonicMs())
	if err != nil {
		return err
	}
	b.quorum = q
	for _, n := range w.nodes {
		var link *quorumLink
		if n != b.node {
			link = &quorumLink{q: q, peer: n}
			b.proc.defers(link.dial)
		}
		q.links = append(q.links, link)
	}
	b.imageChanged(q.core.Image())
	q.dispatch()
	return nil
}

// with gives the Core an input and carries out its Effects.
func (q *quorumMember) with(input func(c *quorum.Core, nowMs int64)) {
	input(q.core, q.b.monotonicMs())
	q.dispatch()
}

// dispatch carries out the Core's Effects.
func (q *quorumMember) dispatch() {
	for {
		e, any := q.core.Effects()
		if !any {
			break
		}
		for _, m := range e.Send {
			if !q.send(m) {
				q.core.Dropped(q.b.monotonicMs(), m)
			}
		}
		for _, w := range e.Writes {
			q.b.node.meta.write(q.b.proc, q.b.syncTime, w, func(w *quorum.Write) {
				q.with(func(c *quorum.Core, nowMs int64) { c.Persisted(nowMs, w) })
			})
		}
		q.take(&e)
	}
	q.setTimer()
}

// take queues what the process is told.
func (q *quorumMember) take(e *quorum.Effects) {
	if e.Failed != nil {
		q.failed = e.Failed
		q.b.node.world.fail("(quorum) %s takes no more part in the metadata quorum: %v", q.b.node, e.Failed)
	}
	if e.CutOff {
		q.b.tracef("is not answered by a majority of the controllers")
		q.reset()
		q.b.cutOff()
	}
	p := publication{image: e.Image, done: e.Done}
	if e.Leader != nil {
		q.b.tracef("quorum: leader is b%d in epoch %d", e.Leader.ID, e.Leader.Epoch)
		q.b.node.world.noteLeader(q.b.node, *e.Leader)
		p.lost = e.Leader.ID != q.b.node.id
		p.moved = p.lost && e.Leader.ID >= 0
	}
	if e.Ready {
		leader := q.core.Leader()
		p.ready = &leader
	}
	if p.image == nil && p.done == nil && p.ready == nil && !p.lost {
		return
	}
	q.news = append(q.news, p)
	if !q.telling {
		q.telling = true
		q.b.proc.defers(q.tell)
	}
}

// tell shows new images and answers what waited for them.
func (q *quorumMember) tell() {
	q.telling = false
	news := q.news
	q.news = nil
	for _, p := range news {
		if p.lost {
			q.b.resignController()
		}
		if p.moved && q.b.epoch >= 0 {
			q.b.member.beat()
		}
		if p.image != nil {
			q.b.imageChanged(p.image)
		}
		for _, d := range p.done {
			waiting := q.waiting[d.ID]
			delete(q.waiting, d.ID)
			for _, f := range waiting {
				f(d.Err)
			}
		}
		if p.ready != nil && q.core.Leader() == *p.ready {
			q.b.becomeController()
		}
	}
}

func (q *quorumMember) setTimer() {
	next := q.core.NextMs()
	if next == math.MaxInt64 || next == q.tickAt {
		return
	}
	q.tickAt = next
	q.b.proc.after(Time(max(next-q.b.monotonicMs(), 0))*millisecond, func() {
		if q.tickAt != next {
			return // set anew meanwhile
		}
		q.tickAt = math.MaxInt64
		q.with(func(c *quorum.Core, nowMs int64) { c.Tick(nowMs) })
	})
}

// change decides on the newest image and calls done with the image after the
// change, when that is committed and applied here; see quorum.Node.Do.
func (q *quorumMember) change(decide func(img *metadata.Image) []metadata.Record, done func(img *metadata.Image, err error)) {
	head := q.core.Head()
	if head == nil {
		leader := q.core.Leader()
		done(nil, &quorum.NotLeaderError{LeaderID: leader.ID, Epoch: leader.Epoch})
		return
	}
	records := decide(head)
	if len(records) == 0 {
		last := q.core.LastProposal()
		if last == 0 {
			done(head, nil)
			return
		}
		q.waiting[last] = append(q.waiting[last], func(err error) { done(head, err) })
		return
	}
	next, err := metadata.Apply(head, records...)
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	payloads, err := quorum.EncodeRecords(records, maxEntryBytes)
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	id, err := q.core.Propose(q.b.monotonicMs(), head, payloads, next)
	if err != nil {
		done(nil, err)
		return
	}
	q.waiting[id] = append(q.waiting[id], func(err error) { done(next, err) })
	q.dispatch()
}

// send gives a message to its link; false drops it.
func (q *quorumMember) send(m quorum.Message) bool {
	to := int(m.To()) - firstNode
	if to < 0 || to >= len(q.links) || q.links[to] == nil || q.links[to].side == nil {
		return false
	}
	size := 60
	for _, e := range m.Raft.GetEntries() {
		size += len(e.GetData())
	}
	s := q.links[to].side
	s.send(quorumMessage{m}, size)
	if m.Snapshot != nil {
		q.b.proc.after(5*millisecond, func() {
			q.with(func(c *quorum.Core, nowMs int64) { c.SnapshotSent(nowMs, m.To(), s.open) })
		})
	}
	return true
}

func (l *quorumLink) dial() {
	if l.side != nil || l.dialing {
		return
	}
	l.dialing = true
	b := l.q.b
	b.node.world.net.dial(b.proc, b.node.host, l.peer.host, serviceQuorum, func(s *side) {
		l.dialing = false
		if s == nil {
			b.proc.after((30+Time(b.node.world.rng.node.IntN(70)))*millisecond, l.dial)
			return
		}
		l.side = s
		b.node.hold(s)
		s.closed = func() {
			l.side = nil
			l.q.left(l.peer)
			b.proc.after((30+Time(b.node.world.rng.node.IntN(70)))*millisecond, l.dial)
		}
		s.send(quorumHello{b.node.voter()}, 60)
		l.q.joined(l.peer)
	})
}

// acceptQuorum takes a connection of another member.
func (b *broker) acceptQuorum(s *side) {
	b.hold(s)
	q := b.quorum
	q.taken = append(q.taken, s)
	var peer *node
	s.receive = func(m any) {
		switch m := m.(type) {
		case quorumHello:
			peer = b.node.world.nodes[m.from.ID-firstNode]
			q.inbound[peer.id-firstNode]++
			q.joined(peer)
		case quorumMessage:
			q.with(func(c *quorum.Core, nowMs int64) { c.Step(nowMs, m.m) })
		}
	}
	s.closed = func() {
		q.taken = slices.DeleteFunc(q.taken, func(other *side) bool { return other == s })
		if peer != nil {
			q.inbound[peer.id-firstNode]--
			q.left(peer)
		}
	}
}

// reset breaks every connection, so that who still hears this member does not
// wait for it.
func (q *quorumMember) reset() {
	sides := q.taken
	for _, link := range q.links {
		if link != nil && link.side != nil {
			sides = append(sides, link.side)
		}
	}
	q.taken = nil
	for _, s := range sides {
		if s.open {
			s.close()
			q.b.proc.defers(s.closed)
		}
	}
}

// connected reports whether there is a connection with a member.
func (q *quorumMember) connected(n *node) bool {
	i := n.id - firstNode
	return q.inbound[i] > 0 || q.links[i] != nil && q.links[i].side != nil
}

func (q *quorumMember) joined(n *node) {
	q.with(func(c *quorum.Core, nowMs int64) { c.Connected(nowMs, n.voter()) })
}

// left hears that a connection of a member broke. With the last one, its
// process is most likely gone.
func (q *quorumMember) left(n *node) {
	if q.connected(n) {
		return
	}
	q.with(func(c *quorum.Core, nowMs int64) { c.Disconnected(nowMs, n.id) })
	q.b.peerDown(n.id)
}

// raftSilence drops what raft says of itself, save that its invariants broke.
type raftSilence struct{}

func (raftSilence) Debug(...any)            {}
func (raftSilence) Debugf(string, ...any)   {}
func (raftSilence) Info(...any)             {}
func (raftSilence) Infof(string, ...any)    {}
func (raftSilence) Warning(...any)          {}
func (raftSilence) Warningf(string, ...any) {}
func (raftSilence) Error(...any)            {}
func (raftSilence) Errorf(string, ...any)   {}

// Fatal implements raft.Logger.
func (raftSilence) Fatal(v ...any) { panic("BUG: raft: " + fmt.Sprint(v...)) }

// Fatalf implements raft.Logger.
func (raftSilence) Fatalf(f string, v ...any) { panic("BUG: raft: " + fmt.Sprintf(f, v...)) }

// Panic implements raft.Logger.
func (raftSilence) Panic(v ...any) { panic("BUG: raft: " + fmt.Sprint(v...)) }

// Panicf implements raft.Logger.
func (raftSilence) Panicf(f string, v ...any) { panic("BUG: raft: " + fmt.Sprintf(f, v...)) }
