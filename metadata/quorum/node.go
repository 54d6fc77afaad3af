package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"freshet/metadata"
)

// Options say what to open and where the others are.
type Options struct {
	metadata.Options
	// DirectoryID is the id of the metadata directory (directory.id of its
	// meta.properties). A voter that comes back with another one has lost what
	// it promised and is refused by the others.
	DirectoryID metadata.UUID
	// Voter tells that the node may vote: process.roles has controller.
	Voter bool
	// Voters are controller.quorum.voters, or the initial controllers that the
	// storage was formatted with. They found the group, and are where others
	// look for it. Empty, with Voter and no BootstrapServers: a group of one.
	Voters []Voter
	// BootstrapServers are controller.quorum.bootstrap.servers, host:port.
	BootstrapServers []string
	// Host and Port are where this node's controller listener is reached; ""
	// takes what Voters says, if anything.
	Host string
	Port int32
	// ElectionTimeoutMs is controller.quorum.election.timeout.ms, 0: 1,000;
	// FetchTimeoutMs is controller.quorum.fetch.timeout.ms, 0: 2,000.
	ElectionTimeoutMs, FetchTimeoutMs int
	// Incarnation tells this process from others of the node; 0 draws one.
	Incarnation uint64
	// Dial opens connections; nil is a net.Dialer.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Logger is where the node's news go; nil is slog.Default().
	Logger *slog.Logger
}

// self is what this node tells of itself.
func (o *Options) self() Voter {
	self := Voter{ID: o.NodeID, Dir: o.DirectoryID, Host: o.Host, Port: o.Port}
	if configured := findVoter(o.Voters, o.NodeID); self.Host == "" && configured != nil {
		self.Host, self.Port = configured.Host, configured.Port
	}
	if !o.Voter {
		self.Host, self.Port = "", 0
	}
	return self
}

// ErrClosed answers calls on a node that was closed.
var ErrClosed = errors.New("the node is shutting down")

// Node is this process's member of the metadata group. Its methods may be
// called from any goroutine.
//
// mu guards the Core and is held for inputs and for queueing their Effects,
// never over a disk, a socket or a callback. One goroutine writes to the disk
// (Writes queue up while it syncs and share the next transaction), one
// publishes images and calls what waits for them, one calls back about leaders
// and broken connections, and each connection has a reader and a writer.
type Node struct {
	opts  Options
	log   *slog.Logger
	disk  *disk
	begin time.Time
	image atomic.Pointer[metadata.Image]
	links *links

	// decide serializes Do: an image that a change is decided on is the newest
	// until its records are proposed.
	decide sync.Mutex

	mu struct {
		sync.Mutex
		core    *Core
		started bool
		closed  bool
		failed  error
		noRoom  bool          // the disk is full, and Writes wait for room
		turn    chan struct{} // closed and renewed when leadership changes or this node ceases to work
		done    map[uint64][]chan error
		timer   *time.Timer
		timerMs int64 // what timer is set to
		// leaderless: no leader is known, since leaderlessMs; warnMs is when to
		// say so.
		leaderless           bool
		leaderlessMs, warnMs int64
	}
	writes  queue[*Write]
	publish queue[publication]
	notices queue[func()]

	watchers  []func(old, next *metadata.Image)
	onLeader  []func(id, epoch int32)
	peerDown  []func(nodeID int32)
	onCutOff  []func()
	onRoom    []func(room bool)
	onFailed  []func(err error)
	indexMu   sync.Mutex
	indexWait []indexWaiter

	stopping chan struct{} // closed by Close
	workers  sync.WaitGroup
}

// Open opens the node's metadata, or founds or prepares it where there is
// none. Nothing is sent before Start. The error is one sentence that says what
// is wrong and what to do.
func Open(o Options) (*Node, error) {
	n := &Node{opts: o, log: o.Logger, begin: time.Now(), stopping: make(chan struct{})}
	if n.log == nil {
		n.log = slog.Default()
	}
	if n.opts.ElectionTimeoutMs <= 0 {
		n.opts.ElectionTimeoutMs = 1000
	}
	if n.opts.FetchTimeoutMs <= 0 {
		n.opts.FetchTimeoutMs = 2000
	}
	if n.opts.Dial == nil {
		n.opts.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		}
	}
	if err := n.opts.check(); err != nil {
		return nil, err
	}
	d, state, err := openDisk(&n.opts)
	if err != nil {
		return nil, err
	}
	if state.First == 0 {
		state = n.opts.firstState()
		err = d.found(o.NodeID, &state)
	}
	if err == nil {
		n.disk = d
		n.mu.core, err = NewCore(CoreConfig{
			Self:              n.opts.self(),
			FetchTimeoutMs:    int64(n.opts.FetchTimeoutMs),
			ElectionTimeoutMs: int64(n.opts.ElectionTimeoutMs),
			SnapshotBytes:     o.SnapshotBytes,
			Rand:              rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
			Logger:            raftLogger{n.log},
		}, state, 0)
	}
	if err != nil {
		_ = d.db.Close()
		return nil, err
	}
	n.image.Store(n.mu.core.Image())
	n.compareVoters()
	n.mu.turn = make(chan struct{})
	n.mu.done = map[uint64][]chan error{}
	n.mu.timerMs = math.MaxInt64
	n.writes.init()
	n.publish.init()
	n.notices.init()
	n.links = newLinks(n)
	return n, nil
}

// compareVoters says when the configured voters are not those of the group,
// which change with AddVoter and RemoveVoter alone.
func (n *Node) compareVoters() {
	r := n.roster()
	voters := r.voters()
	same := len(voters) == len(n.opts.Voters)
	for _, v := range n.opts.Voters {
		same = same && r.voting[v.ID]
	}
	if len(voters) == 0 || len(n.opts.Voters) == 0 || same {
		return
	}
	ids := func(list []Voter) (ids []int32) {
		for _, v := range list {
			ids = append(ids, v.ID)
		}
		return ids
	}
	n.log.Warn("metadata quorum: controller.quorum.voters is not what the quorum itself says, which counts; correct it, or change the quorum with kafka-metadata-quorum.sh",
		"configured", ids(n.opts.Voters), "quorum", ids(voters))
}

// check refuses settings with which there can be no group.
func (o *Options) check() error {
	for i, v := range o.Voters {
		if findVoter(o.Voters[:i], v.ID) != nil {
			return fmt.Errorf("controller.quorum.voters names node %d twice; give each voter its own node.id", v.ID)
		}
	}
	founder := o.Voter && findVoter(o.Voters, o.NodeID) != nil
	switch {
	case o.Voter && len(o.Voters) == 0 && len(o.BootstrapServers) == 0:
		return nil
	case len(o.Voters) == 0 && len(o.BootstrapServers) == 0:
		return errors.New("a node without the controller role needs to know the controllers; set controller.quorum.bootstrap.servers or controller.quorum.voters")
	case founder && len(o.Voters) > 1 && o.ClusterID == "":
		return fmt.Errorf("node %d is one of %d controllers, but its log directories say no cluster id; format each node's with the same one: `kafka-storage.sh format --cluster-id …`", o.NodeID, len(o.Voters))
	}
	return nil
}

// firstState is what a node begins with that has no metadata: the state of a
// founder, or of one that is going to join.
func (o *Options) firstState() State {
	self, voters := o.self(), o.Voters
	if o.Voter && len(voters) == 0 && len(o.BootstrapServers) == 0 {
		voters = []Voter{self}
	}
	if !o.Voter || findVoter(voters, o.NodeID) == nil {
		return State{First: 1}
	}
	clusterID := o.ClusterID
	if clusterID == "" {
		clusterID = metadata.RandomUUID().String()
	}
	return Founded(clusterID, self, voters)
}

// Start takes part in the group. A group of one is ready when Start returns;
// otherwise there may be no leader for a while.
func (n *Node) Start() error {
	n.mu.Lock()
	if n.mu.started || n.mu.closed {
		n.mu.Unlock()
		return errors.New("BUG: the node was started twice")
	}
	n.mu.started = true
	alone := soleVoter(n.mu.core.conf, n.mu.core.id)
	n.mu.timer = time.AfterFunc(time.Hour, n.tick)
	n.noteLeaderlessLocked()
	n.workers.Go(n.writeLoop)
	n.workers.Go(n.publishLoop)
	n.workers.Go(n.noticeLoop)
	n.dispatchLocked()
	n.mu.Unlock()
	n.links.start()
	if !alone {
		return nil
	}
	n.with(func(c *Core, nowMs int64) { c.Campaign(nowMs) })
	return n.waitReady()
}

// waitReady waits until this node leads, which only one that votes alone can
// count on.
func (n *Node) waitReady() error {
	for {
		n.mu.Lock()
		err, ready, turn := n.usableLocked(), n.mu.core.Head() != nil, n.mu.turn
		if err == nil && n.mu.noRoom {
			err = ErrNoRoom
		}
		n.mu.Unlock()
		if err != nil || ready {
			return err
		}
		<-turn
	}
}

// Path is the path of the database file.
func (n *Node) Path() string { return n.disk.path }

// Image is the newest applied image. It never waits.
func (n *Node) Image() *metadata.Image { return n.image.Load() }

// Watch calls f with new images, after their records are committed and before
// Image returns them: a topic that Image shows has been seen by f. Calls are
// one at a time and in order; changes that came in quick succession may be
// shown as one. f must not call Do. Watch is for before Start.
func (n *Node) Watch(f func(old, next *metadata.Image)) { n.watchers = append(n.watchers, f) }

// OnLeader calls f when another leader is known, or none any more (id -1). This
// node's own id comes when its image has everything that was committed before
// its epoch, so f may make it the active controller. Calls are one at a time and
// in order; f may call the node. OnLeader is for before Start.
func (n *Node) OnLeader(f func(id, epoch int32)) { n.onLeader = append(n.onLeader, f) }

// PeerDown calls f on the leader when the last connection of a member breaks,
// not when the member is slow or silent. PeerDown is for before Start.
func (n *Node) PeerDown(f func(nodeID int32)) { n.peerDown = append(n.peerDown, f) }

// OnCutOff calls f when this node, being the leader, has stepped down because no
// majority answered it: others may hear it, but it does not hear them. OnCutOff
// is for before Start.
func (n *Node) OnCutOff(f func()) { n.onCutOff = append(n.onCutOff, f) }

// OnFailed calls f once if the node can take no more part, because its disk
// failed or its log does not fit its group's: its image stands still from then
// on. OnFailed is for before Start.
func (n *Node) OnFailed(f func(err error)) { n.onFailed = append(n.onFailed, f) }

// Leader is who leads in which epoch, as far as this node knows; -1: nobody.
func (n *Node) Leader() (id, epoch int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	leader := n.mu.core.Leader()
	return leader.ID, leader.Epoch
}

// nowMs is the Core's clock.
func (n *Node) nowMs() int64 { return time.Since(n.begin).Milliseconds() }

// with gives the Core an input and carries out its Effects.
func (n *Node) with(input func(c *Core, nowMs int64)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.closed {
		return
	}
	input(n.mu.core, n.nowMs())
	n.dispatchLocked()
}

// tick is called by the timer.
func (n *Node) tick() {
	n.with(func(c *Core, nowMs int64) {
		n.mu.timerMs = math.MaxInt64
		if n.mu.leaderless && nowMs >= n.mu.warnMs {
			n.mu.warnMs = nowMs + leaderlessAgainMs
			n.warnLeaderlessLocked(nowMs)
		}
		c.Tick(nowMs)
	})
}

// Having no leader for long is said after leaderlessMs, and again.
const (
	leaderlessMs      = 5_000
	leaderlessAgainMs = 60_000
)

func (n *Node) noteLeaderlessLocked() {
	n.mu.leaderless, n.mu.leaderlessMs = true, n.nowMs()
	n.mu.warnMs = n.mu.leaderlessMs + leaderlessMs
}

// warnLeaderlessLocked says who is missing.
func (n *Node) warnLeaderlessLocked(nowMs int64) {
	c := n.mu.core
	voters, connected := 0, 0
	var missing []int32
	for _, m := range c.Members() {
		switch {
		case !c.Voting(m.ID):
			continue
		case m.ID == n.opts.NodeID || n.links.connected(m.ID):
			connected++
		default:
			missing = append(missing, m.ID)
		}
		voters++
	}
	if voters == 0 {
		n.log.Warn("metadata quorum: not joined yet; no controller that leads was reached", "seconds", (nowMs-n.mu.leaderlessMs)/1000)
		return
	}
	n.log.Warn("metadata quorum: no leader, so the cluster's metadata cannot change; start the voters that are missing or repair the network between them",
		"seconds", (nowMs-n.mu.leaderlessMs)/1000, "voters", voters, "needed", voters/2+1, "connected", connected, "missing", missing)
}

// dispatchLocked queues the Core's Effects where they are carried out.
func (n *Node) dispatchLocked() {
	core := n.mu.core
	for n.mu.started {
		e, any := core.Effects()
		if !any {
			break
		}
		for _, m := range e.Send {
			if !n.links.send(m) {
				core.Dropped(n.nowMs(), m)
			}
		}
		for _, w := range e.Writes {
			n.writes.put(w)
		}
		n.dispatchNewsLocked(&e)
	}
	if next := core.NextMs(); n.mu.timer != nil && next < math.MaxInt64 && next != n.mu.timerMs {
		n.mu.timerMs = next
		n.mu.timer.Reset(time.Duration(max(next-n.nowMs(), 0)) * time.Millisecond)
	}
}

// dispatchNewsLocked queues images, results and leaders.
func (n *Node) dispatchNewsLocked(e *Effects) {
	core := n.mu.core
	if e.Failed != nil {
		n.mu.failed = e.Failed
		n.log.Error("the node takes no more part in the metadata quorum; restart it when the cause is repaired", "error", e.Failed)
		n.links.closeAll()
		n.notices.put(func() {
			for _, f := range n.onFailed {
				f(e.Failed)
			}
		})
	}
	if e.CutOff {
		n.log.Warn("metadata quorum: no majority of the voters answers this node, so it leads no more; repair the network between the controllers",
			"heartbeats", quorumTicks, "ms", quorumTicks*core.tickMs())
		n.links.reset()
		n.notices.put(func() {
			for _, f := range n.onCutOff {
				f()
			}
		})
	}
	if e.Leader != nil {
		leader := *e.Leader
		if leader.ID >= 0 {
			n.mu.leaderless = false
			n.log.Info("metadata quorum: leader", "leader", leader.ID, "epoch", leader.Epoch)
		} else {
			n.log.Info("metadata quorum: no leader", "epoch", leader.Epoch)
			n.noteLeaderlessLocked()
		}
		if leader.ID != n.opts.NodeID {
			n.notices.put(func() { n.tellLeader(leader) })
		}
	}
	p := publication{image: e.Image}
	for _, d := range e.Done {
		for _, done := range n.mu.done[d.ID] {
			p.done = append(p.done, finished{done, d.Err})
		}
		delete(n.mu.done, d.ID)
	}
	if e.Ready {
		leader := core.Leader()
		p.ready = &leader
	}
	if e.Ready || e.Leader != nil || e.Failed != nil {
		n.turnLocked()
	}
	if p.image != nil || p.done != nil || p.ready != nil {
		n.publish.put(p)
	}
	if e.MembersChanged {
		n.links.membersChanged()
	}
}

// turnLocked wakes who waits for leadership to change.
func (n *Node) turnLocked() {
	close(n.mu.turn)
	n.mu.turn = make(chan struct{})
}

func (n *Node) tellLeader(leader Leadership) {
	for _, f := range n.onLeader {
		f(leader.ID, leader.Epoch)
	}
}

// noticeLoop makes the callbacks that may take their time.
func (n *Node) noticeLoop() {
	for {
		notices, ok := n.notices.take()
		if !ok {
			return
		}
		for _, call := range notices {
			call()
		}
	}
}

// Close hands over leadership if this node has it, and releases the file. A
// change that is under way ends with ErrClosed.
func (n *Node) Close() error {
	n.handOver()
	return n.shut()
}

func (n *Node) shut() error {
	n.mu.Lock()
	if n.mu.closed {
		n.mu.Unlock()
		return nil
	}
	n.mu.closed = true
	started := n.mu.started
	if n.mu.timer != nil {
		n.mu.timer.Stop()
	}
	rest := n.mu.core.Rest()
	var done []finished
	for _, waiting := range n.mu.done {
		for _, d := range waiting {
			done = append(done, finished{d, ErrClosed})
		}
	}
	n.mu.done = map[uint64][]chan error{}
	close(n.stopping)
	n.turnLocked()
	n.mu.Unlock()

	n.links.close()
	n.publish.put(publication{done: done})
	n.writes.close()
	n.publish.close()
	n.notices.close()
	n.workers.Wait()
	var err error
	if started && rest != nil {
		if err = n.disk.Write([]*Write{rest}); notWritten(err) {
			err = nil // it is learned again
		}
	}
	return errors.Join(err, n.disk.db.Close())
}

// handOver gives another voter a short time to take over leadership.
func (n *Node) handOver() {
	handing := false
	n.with(func(c *Core, nowMs int64) { handing = c.Transfer(nowMs) })
	if !handing {
		return
	}
	deadline := time.NewTimer(handOverTimeout)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for {
		if id, _ := n.Leader(); id != n.opts.NodeID {
			return
		}
		select {
		case <-look.C:
		case <-deadline.C:
			return
		}
	}
}

// handOverTimeout bounds how long Close waits for another leader.
const handOverTimeout = 500 * time.Millisecond
