package isr

import (
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"strings"
)

// The world is a cluster with one partition, driven step by step: scenario
// scripts and the property test use it. It stands in for the shell (logs,
// connections, metadata) in the simplest way that is still faithful: nothing
// arrives unless delivered, and what a broken connection left in the follower's
// socket may still be handled after a new one was made.

// entry is one record.
type entry struct {
	epoch int32
	value int
}

// memLog is a log of single-record batches.
type memLog struct {
	start   int64
	entries []entry
}

func (l *memLog) LogStartOffset() int64 { return l.start }
func (l *memLog) LogEndOffset() int64   { return l.start + int64(len(l.entries)) }

func (l *memLog) LatestEpoch() int32 {
	if len(l.entries) == 0 {
		return -1
	}
	return l.entries[len(l.entries)-1].epoch
}

func (l *memLog) EndOffsetForEpoch(epoch int32) (int32, int64) {
	if epoch >= 0 && epoch == l.LatestEpoch() {
		return epoch, l.LogEndOffset()
	}
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].epoch > epoch })
	switch {
	case epoch < 0 || i == len(l.entries):
		return -1, -1
	case i == 0:
		return epoch, l.start
	}
	return l.entries[i-1].epoch, l.start + int64(i)
}

func (l *memLog) EpochAt(offset int64) int32 {
	if offset < l.start || offset >= l.LogEndOffset() {
		return -1
	}
	return l.entries[offset-l.start].epoch
}

func (l *memLog) truncateTo(offset int64) {
	l.entries = slices.Clone(l.entries[:min(offset, l.LogEndOffset())-l.start])
}

func (l *memLog) deleteBefore(offset int64) {
	if offset > l.start {
		l.entries = slices.Clone(l.entries[offset-l.start:])
		l.start = offset
	}
}

// String shows the log as runs of records of one epoch: 0[1:abc 3:d]4.
func (l *memLog) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d[", l.start)
	for i, e := range l.entries {
		if i == 0 || l.entries[i-1].epoch != e.epoch {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%d:", e.epoch)
		}
		b.WriteByte("abcdefghijklmnopqrstuvwxyz"[e.value%26])
	}
	fmt.Fprintf(&b, "]%d", l.LogEndOffset())
	return b.String()
}

// image is the partition as the controller has it, with who is not fenced.
type image struct {
	leader                      int32 // -1: nobody
	leaderEpoch, partitionEpoch int32
	isr                         []int32
	elr                         []int32 // eligible leader replicas (KIP-966)
	active                      []int32
}

func (m image) clone() image {
	m.isr, m.elr, m.active = slices.Clone(m.isr), slices.Clone(m.elr), slices.Clone(m.active)
	return m
}

func (m image) String() string {
	elr := ""
	if len(m.elr) > 0 {
		elr = fmt.Sprintf(" elr %v", m.elr)
	}
	return fmt.Sprintf("leader %d epoch %d.%d isr %v%s active %v", m.leader, m.leaderEpoch, m.partitionEpoch, m.isr, elr, m.active)
}

// node is a broker.
type node struct {
	id      int32
	up      bool
	epoch   int64 // of its registration
	log     memLog
	hw      int64
	view    image
	leader  *Leader
	senders map[int32]*Sender
}

// envelope is a push with its records.
type envelope struct {
	push    Push
	entries []entry
}

// conn is a connection from a leader to a follower. A closed one may hold what
// still lies in the sockets.
type conn struct {
	from, to *node
	open     bool
	pushes   []envelope
	results  []PushResult
}

// request is a proposal on its way to the controller, answer one on its way
// back.
type request struct {
	from     *node
	proposal *Proposal
}

type answer struct {
	to *node
	r  ProposalResult
}

type world struct {
	nodes     []*node
	replicas  []int32
	minISR    int
	elr       bool // eligible.leader.replicas.version is 1
	lagMs     int64
	nowMs     int64
	image     image
	conns     []*conn
	requests  []request
	answers   []answer
	batch     int             // records in one push at most
	committed map[int64]entry // what a high watermark has passed
	lost      int             // committed records given up by unclean elections
	nextValue int
	trace     io.Writer
	fail      func(format string, args ...any)
}

func newWorld(brokers, minISR int, lagMs int64, trace io.Writer, fail func(string, ...any)) *world {
	w := &world{minISR: minISR, lagMs: lagMs, nowMs: 1, batch: 100, committed: map[int64]entry{}, trace: trace, fail: fail}
	for i := range brokers {
		w.nodes = append(w.nodes, &node{id: int32(i + 1), up: true, senders: map[int32]*Sender{}})
		w.replicas = append(w.replicas, int32(i+1))
	}
	w.image = image{leader: 1, leaderEpoch: 1, isr: slices.Clone(w.replicas), active: slices.Clone(w.replicas)}
	for _, n := range w.nodes {
		n.view = image{leader: -1, leaderEpoch: 0}
		w.learn(n)
	}
	return w
}

func (w *world) node(id int32) *node { return w.nodes[id-1] }

func (w *world) printf(format string, args ...any) { fmt.Fprintf(w.trace, format+"\n", args...) }

// learn brings a broker's metadata up to date.
func (w *world) learn(n *node) {
	if !n.up {
		return
	}
	old := n.view
	n.view = w.image.clone()
	if n.view.leader != n.id {
		n.resign()
		return
	}
	if n.leader == nil || old.leaderEpoch != n.view.leaderEpoch {
		n.leader = NewLeader(LeaderConfig{
			Self: n.id, LeaderEpoch: n.view.leaderEpoch, PartitionEpoch: n.view.partitionEpoch,
			Replicas: w.replicas, ISR: n.view.isr, MinInsync: w.minISR, LagTimeMaxMs: w.lagMs,
			LogEnd: n.log.LogEndOffset(), HighWatermark: n.hw, NowMs: w.nowMs,
		})
		n.leader.Eligible(func(id int32) bool { return slices.Contains(n.view.active, id) })
		w.advanced(n, n.leader.HighWatermark(), nil)
		for _, id := range w.replicas {
			if id != n.id {
				w.connect(n, w.node(id))
			}
		}
		return
	}
	hw, p := n.leader.State(State{LeaderEpoch: n.view.leaderEpoch, PartitionEpoch: n.view.partitionEpoch, Replicas: w.replicas, ISR: n.view.isr})
	w.advanced(n, hw, p)
}

// resign ends a leadership.
func (n *node) resign() {
	n.leader = nil
	for _, s := range n.senders {
		s.Stop()
	}
}

// connect makes a new connection; what the one before holds may come later.
func (w *world) connect(from, to *node) {
	w.disconnect(from, to)
	if !to.up {
		return
	}
	from.leader.Joined(to.id, to.epoch)
	w.conns = append(w.conns, &conn{from: from, to: to, open: true})
	s := from.senders[to.id]
	if s == nil {
		s = &Sender{}
		from.senders[to.id] = s
	}
	s.Start(from.view.leaderEpoch)
}

func (w *world) disconnect(from, to *node) {
	for _, c := range w.conns {
		if c.from == from && c.to == to {
			c.open = false
		}
	}
}

// advanced follows a move of a leader's high watermark and a proposal.
func (w *world) advanced(n *node, hw int64, p *Proposal) {
	if hw < n.hw {
		w.fail("the high watermark of %d went back from %d to %d", n.id, n.hw, hw)
	}
	for o := max(n.hw, n.log.start); o < hw; o++ {
		e := n.log.entries[o-n.log.start]
		if was, ok := w.committed[o]; ok && was != e {
			w.fail("%d commits %v at offset %d, where %v was committed", n.id, e, o, was)
		}
		w.committed[o] = e
		copies := 0
		for _, other := range w.nodes {
			if i := o - other.log.start; i < 0 || i < int64(len(other.log.entries)) && other.log.entries[i] == e {
				copies++
			}
		}
		if copies < w.minISR {
			w.fail("%d commits %v at offset %d, which %d replicas have", n.id, e, o, copies)
		}
	}
	if hw > n.hw {
		w.checkISR()
	}
	n.hw = hw
	if p != nil {
		w.printf("%d proposes isr %v at %d.%d", n.id, p.ISR, p.LeaderEpoch, p.PartitionEpoch)
		w.requests = append(w.requests, request{n, p})
	}
}

// produce appends at a broker that believes that it leads.
func (w *world) produce(n *node, count int) {
	for range count {
		n.log.entries = append(n.log.entries, entry{n.view.leaderEpoch, w.nextValue})
		w.nextValue++
	}
	w.advanced(n, n.leader.Appended(n.log.LogEndOffset()), nil)
}

// fill pushes what a leader has for a follower, until its window is full or
// limit pushes went.
func (w *world) fill(c *conn, limit int) bool {
	n := c.from
	if !c.open || !n.up || n.leader == nil {
		return false
	}
	s, any := n.senders[c.to.id], false
	for ; limit > 0 && s.Wants(n.log.LogEndOffset(), n.hw); limit-- {
		p, ok := s.Next(&n.log, n.hw)
		if !ok {
			break
		}
		env := envelope{push: p}
		next := p.Offset
		if p.Kind == Append {
			have := n.log.entries[p.Offset-n.log.start:]
			env.entries = slices.Clone(have[:min(len(have), w.batch)])
			env.push.Length = int32(len(env.entries))
			next += int64(len(env.entries))
		}
		s.Sent(next, env.push.Length, w.nowMs)
		w.printf("%d>%d %s", n.id, c.to.id, describe(&env))
		c.pushes = append(c.pushes, env)
		any = true
	}
	return any
}

func describe(env *envelope) string {
	p := &env.push
	head := fmt.Sprintf("%s at epoch %d", p.Kind, p.LeaderEpoch)
	switch {
	case p.Kind == Probe && p.Offset < 0:
		return head
	case p.Kind == Probe:
		return head + fmt.Sprintf(": epoch %d ends at %d", p.Epoch, p.Offset)
	case p.Kind == Reset:
		return head + fmt.Sprintf(": start at %d", p.Offset)
	}
	return head + fmt.Sprintf(": %d records at %d behind epoch %d, high watermark %d, log start %d",
		p.Length, p.Offset, p.Epoch, p.HighWatermark, p.LogStartOffset)
}

// receive lets the follower handle the oldest push of a connection.
func (w *world) receive(c *conn) {
	env := c.pushes[0]
	c.pushes = c.pushes[1:]
	n, p := c.to, &env.push
	if !n.up {
		return
	}
	action, offset, code := Follow(n.view.leaderEpoch, &n.log, p)
	if n.view.leader == n.id && action != Refuse {
		action, code = Refuse, CodeNotLeaderOrFollower
	}
	switch action {
	case Accept:
		if offset != n.log.LogEndOffset() { // storage.Log.Reserve does this
			action, code = Refuse, CodeOffsetOutOfRange
			break
		}
		n.log.entries = append(n.log.entries, env.entries...)
		n.hw = max(n.hw, min(p.HighWatermark, n.log.LogEndOffset()))
		n.log.deleteBefore(min(p.LogStartOffset, n.hw))
	case Truncate:
		if offset < n.hw && w.lost == 0 {
			w.fail("%d is to truncate to %d, below its high watermark %d", n.id, offset, n.hw)
		}
		n.log.truncateTo(offset)
		n.hw = min(n.hw, offset)
	case StartAt:
		if offset < n.hw && w.lost == 0 {
			w.fail("%d is to start at %d, below its high watermark %d", n.id, offset, n.hw)
		}
		n.log = memLog{start: offset}
		n.hw = offset
	}
	r := p.Result(code, &n.log)
	what := action.String()
	switch action {
	case Truncate, StartAt:
		what += fmt.Sprintf(" %d", offset)
	case Refuse:
		what += fmt.Sprintf(" with %d", code)
	}
	w.printf("%d<%d %s: log end %d, last epoch %d", c.from.id, n.id, what, r.LogEndOffset, r.LastEpoch)
	c.results = append(c.results, r)
}

// take lets the leader handle the oldest result of a connection: even of one
// that it has given up, which must not count.
func (w *world) take(c *conn) {
	r := c.results[0]
	c.results = c.results[1:]
	n := c.from
	if !n.up || n.leader == nil {
		return
	}
	acked, event := n.senders[c.to.id].Result(&r, &n.log, w.nowMs)
	if !c.open && (acked >= 0 || event != Event{}) {
		w.fail("a result from a connection that was given up counts: %d, %v", acked, event)
	}
	if event.Kind != NoEvent {
		w.printf("%d: %s of %d: code %d, after %d ms, lost %d", n.id, event.Kind, c.to.id, event.Code, event.BackoffMs, event.Lost)
	}
	if acked >= 0 {
		hw, p := n.leader.Acked(c.to.id, acked, w.nowMs)
		w.advanced(n, hw, p)
	}
}

// settle delivers everything on open connections, in order, until nothing
// moves. Brokers in cut get and give nothing.
func (w *world) settle(cut ...int32) {
	for moved := true; moved; {
		moved = false
		for _, c := range w.conns {
			if !c.open || slices.Contains(cut, c.to.id) || slices.Contains(cut, c.from.id) {
				continue
			}
			moved = w.fill(c, 1000) || moved
			for len(c.pushes) > 0 {
				w.receive(c)
				moved = true
			}
			for len(c.results) > 0 {
				w.take(c)
				moved = true
			}
		}
		w.conns = slices.DeleteFunc(w.conns, func(c *conn) bool { return !c.open && len(c.pushes)+len(c.results) == 0 })
	}
}

// deleteRecords moves a leader's log start and has its followers told.
func (w *world) deleteRecords(n *node, before int64) {
	n.log.deleteBefore(before)
	for _, s := range n.senders {
		s.Nudge()
	}
}

// tick lets time pass: pauses end and leaders look for followers that lag.
func (w *world) tick(ms int64) {
	w.nowMs += ms
	for _, n := range w.nodes {
		if !n.up || n.leader == nil {
			continue
		}
		for _, id := range w.replicas {
			if s := n.senders[id]; s != nil {
				s.Retry(math.MaxInt64) // however long
			}
		}
		p := n.leader.Tick(n.log.LogEndOffset(), w.nowMs)
		w.advanced(n, n.leader.HighWatermark(), p)
	}
}

// decide lets the controller answer the oldest proposal (Kafka:
// ReplicationControlManager.alterPartition).
func (w *world) decide() {
	q := w.requests[0]
	w.requests = w.requests[1:]
	p, r := q.proposal, ProposalResult{Proposal: q.proposal}
	switch {
	case p.LeaderEpoch < w.image.leaderEpoch:
		r.Code = CodeFencedLeaderEpoch
	case p.PartitionEpoch < w.image.partitionEpoch:
		r.Code = CodeInvalidUpdateVersion
	case p.LeaderEpoch != w.image.leaderEpoch || p.PartitionEpoch != w.image.partitionEpoch || !slices.Contains(p.ISR, q.from.id):
		w.fail("%d proposes %+v, the controller is at %v", q.from.id, *p, w.image)
	default:
		for i, id := range p.ISR {
			epoch := p.BrokerEpochs[i]
			if !slices.Contains(w.image.active, id) || epoch >= 0 && epoch != w.node(id).epoch {
				r.Code = CodeIneligibleReplica
			}
		}
	}
	if r.Code == CodeNone {
		w.setISR(slices.Clone(p.ISR))
		w.image.partitionEpoch++
		w.checkISR()
		r.LeaderEpoch, r.PartitionEpoch, r.ISR = w.image.leaderEpoch, w.image.partitionEpoch, slices.Clone(p.ISR)
	}
	w.printf("controller answers %d with %d: %v", q.from.id, r.Code, w.image)
	w.answers = append(w.answers, answer{q.from, r})
}

// answer lets a leader hear of the oldest answer.
func (w *world) answer() {
	a := w.answers[0]
	w.answers = w.answers[1:]
	if a.to.up && a.to.leader != nil {
		hw, p, _ := a.to.leader.Answered(a.r)
		w.advanced(a.to, hw, p)
	}
}

// elect makes id the leader; clean if it is in the ISR.
func (w *world) elect(id int32) {
	if !slices.Contains(w.image.isr, id) {
		w.setISR([]int32{id})
		w.forfeit(&w.node(id).log)
	}
	w.image.leader = id
	w.image.leaderEpoch++
	w.image.partitionEpoch++
	w.checkISR()
	w.printf("controller: %v", w.image)
}

// setISR changes the ISR. With fewer than min.insync.replicas the high
// watermark stands still, so who leaves then stays eligible (Kafka:
// PartitionChangeBuilder.populateTargetElr).
func (w *world) setISR(isr []int32) {
	m := &w.image
	var elr []int32
	if w.elr && len(isr) < min(w.minISR, len(w.replicas)) {
		for _, id := range slices.Concat(m.elr, m.isr) {
			if !slices.Contains(isr, id) && !slices.Contains(elr, id) {
				elr = append(elr, id)
			}
		}
	}
	m.isr, m.elr = isr, elr
}

// forfeit gives up committed records that an uncleanly elected leader lacks.
func (w *world) forfeit(log *memLog) {
	for o, e := range w.committed {
		if o >= log.LogEndOffset() || o >= log.start && log.entries[o-log.start] != e {
			delete(w.committed, o)
			w.lost++
		}
	}
}

// checkISR: whoever may be elected has every committed record.
func (w *world) checkISR() {
	for _, id := range slices.Concat(w.image.isr, w.image.elr) {
		log := &w.node(id).log
		for o, e := range w.committed {
			if o >= log.start && (o >= log.LogEndOffset() || log.entries[o-log.start] != e) {
				w.fail("%d, eligible at %d.%d, has not the record %v committed at offset %d: %v",
					id, w.image.leaderEpoch, w.image.partitionEpoch, e, o, log)
			}
		}
	}
}

// fence takes a broker out: of the ISR unless it is the last there (also then,
// if eligible leader replicas keep it), and of the leadership (Kafka:
// ReplicationControlManager.handleBrokerFenced).
func (w *world) fence(id int32) {
	m := &w.image
	m.active = slices.DeleteFunc(m.active, func(a int32) bool { return a == id })
	if slices.Contains(m.isr, id) && (len(m.isr) > 1 || w.elr && w.minISR > 1) {
		w.setISR(slices.DeleteFunc(slices.Clone(m.isr), func(a int32) bool { return a == id }))
		m.partitionEpoch++
	}
	if m.leader == id {
		m.leader = -1
		m.leaderEpoch++
		m.partitionEpoch++
		w.electAny()
	}
	w.printf("controller: %v", w.image)
}

// unfence takes a broker back.
func (w *world) unfence(id int32) {
	if !slices.Contains(w.image.active, id) {
		w.image.active = append(w.image.active, id)
		slices.Sort(w.image.active)
		w.electAny()
	}
	w.printf("controller: %v", w.image)
}

// electAny elects an active member of the ISR if there is no leader, or with no
// member active one of the eligible leader replicas.
func (w *world) electAny() {
	m := &w.image
	for _, id := range slices.Concat(m.isr, m.elr) {
		if m.leader < 0 && slices.Contains(m.active, id) {
			if !slices.Contains(m.isr, id) {
				w.setISR([]int32{id})
			}
			m.leader = id
			m.leaderEpoch++
			m.partitionEpoch++
		}
	}
	w.checkISR()
}

// crash stops a broker; its connections break.
func (w *world) crash(n *node) {
	n.up = false
	n.resign()
	n.senders = map[int32]*Sender{}
	for _, c := range w.conns {
		if c.from == n || c.to == n {
			c.open = false
			c.results = nil
			if c.to == n {
				c.pushes = nil
			}
		}
	}
}

// restart brings a broker back and registers it: lose records short, and with a high watermark
// from its checkpoint. Who lost records is out of the ISR before anything else
// (KIP-966), unless it is alone there.
func (w *world) restart(n *node, lose int, hw int64) {
	w.fence(n.id)
	if lose > 0 {
		w.image.elr = slices.DeleteFunc(w.image.elr, func(id int32) bool { return id == n.id })
		if slices.Contains(w.image.isr, n.id) {
			w.fail("BUG: %d is still in the ISR", n.id)
		}
	}
	n.log.truncateTo(max(n.log.start, n.log.LogEndOffset()-int64(lose)))
	n.up = true
	n.epoch++
	n.hw = min(max(hw, n.log.start), n.log.LogEndOffset())
	n.view = image{leader: -1}
	w.unfence(n.id)
	w.learn(n)
	for _, leader := range w.nodes {
		if leader != n && leader.up && leader.leader != nil {
			w.connect(leader, n)
		}
	}
}

// checkLogs: what any two brokers know as committed is the same, and is
// committed.
func (w *world) checkLogs() {
	for _, n := range w.nodes {
		if n.hw > n.log.LogEndOffset() || n.hw < n.log.start && n.up {
			w.fail("%d has high watermark %d and log %v", n.id, n.hw, &n.log)
		}
		for o := n.log.start; o < n.hw; o++ {
			if e, ok := w.committed[o]; w.lost == 0 && (!ok || e != n.log.entries[o-n.log.start]) {
				w.fail("%d has %v below its high watermark at offset %d, committed is %v (%v)", n.id, n.log.entries[o-n.log.start], o, e, ok)
			}
		}
	}
}
