package quorum

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"freshet/metadata"
)

// world is a group of Cores with disks that lose what is not synced, and
// connections that keep order while they last.
type world struct {
	t     *testing.T
	rand  *rand.Rand
	nowMs int64
	nodes map[int32]*testNode
	ids   []int32
	wires map[[2]int32][]Message // from, to; missing: not connected
	lost  map[[2]int32]bool      // wires on which nothing arrives, and nobody knows
	// history is every image that any node showed, by its Index: nodes must
	// agree.
	history map[int64]string
	leaders map[int32]int32 // by epoch
	acked   []string        // keys of changes that were answered
	changes int
	lives   map[int32]int              // how often a node's directory was replaced
	tell    func(id int32, e *Effects) // scenarios: what happens
}

type testNode struct {
	cfg     CoreConfig
	core    *Core // nil while it is down
	disk    State
	pending []*Write // handed out and not synced
	wants   map[uint64]string
}

func newWorld(t *testing.T, seed uint64, voters int) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), nodes: map[int32]*testNode{}, wires: map[[2]int32][]Message{},
		lost: map[[2]int32]bool{}, history: map[int64]string{}, leaders: map[int32]int32{}, lives: map[int32]int{}}
	var first []Voter
	for id := range int32(voters) {
		first = append(first, Voter{ID: id, Host: "h", Port: id})
	}
	for id := range int32(voters) {
		w.add(id, Founded("c", w.self(id), first))
	}
	return w
}

func (w *world) self(id int32) Voter {
	return Voter{ID: id, Dir: metadata.UUID{14: byte(w.lives[id]), 15: byte(id + 1)}, Host: "h", Port: id}
}

func (w *world) add(id int32, state State) *testNode {
	n := &testNode{disk: state, cfg: CoreConfig{Self: w.self(id), FetchTimeoutMs: 2000, ElectionTimeoutMs: 1000, SnapshotBytes: 2000,
		Logger: raftLogger{slog.New(slog.DiscardHandler)}}}
	w.nodes[id] = n
	w.ids = append(w.ids, id)
	w.boot(id)
	return n
}

// boot starts a node from what its disk holds.
func (w *world) boot(id int32) {
	n := w.nodes[id]
	n.cfg.Rand = rand.New(rand.NewPCG(w.rand.Uint64(), 2))
	n.pending, n.wants = nil, map[uint64]string{}
	core, err := NewCore(n.cfg, n.disk, w.nowMs)
	if err != nil {
		w.t.Fatal(err)
	}
	n.core = core
	w.look(id, core.Image())
}

// crash ends a node; what was not synced is lost.
func (w *world) crash(id int32) {
	w.nodes[id].core = nil
	for _, other := range w.ids {
		w.disconnect(id, other)
	}
}

func (w *world) connected(a, b int32) bool { _, ok := w.wires[[2]int32{a, b}]; return ok }

func (w *world) connect(a, b int32) {
	na, nb := w.nodes[a], w.nodes[b]
	if w.lost[[2]int32{a, b}] || w.lost[[2]int32{b, a}] {
		return
	}
	if a == b || w.connected(a, b) || na.core == nil || nb.core == nil {
		return
	}
	w.wires[[2]int32{a, b}], w.wires[[2]int32{b, a}] = nil, nil
	na.core.Connected(w.nowMs, nb.cfg.Self)
	w.effects(a)
	nb.core.Connected(w.nowMs, na.cfg.Self)
	w.effects(b)
}

func (w *world) disconnect(a, b int32) {
	if !w.connected(a, b) {
		return
	}
	delete(w.wires, [2]int32{a, b})
	delete(w.wires, [2]int32{b, a})
	for _, pair := range [][2]int32{{a, b}, {b, a}} {
		if n := w.nodes[pair[0]]; n.core != nil && !w.lost[[2]int32{pair[1], pair[0]}] {
			n.core.Disconnected(w.nowMs, pair[1])
			w.effects(pair[0])
		}
	}
}

// look compares an image with what others showed at the same index.
func (w *world) look(id int32, img *metadata.Image) {
	text, err := json.Marshal(img.BrokerConfigs[""])
	if err != nil {
		w.t.Fatal(err)
	}
	if seen, ok := w.history[img.Index]; ok && seen != string(text) {
		w.t.Fatalf("at index %d node %d shows\n%s\nand another showed\n%s", img.Index, id, text, seen)
	}
	w.history[img.Index] = string(text)
}

// effects carries out what a Core says, as far as it is not left to chance.
func (w *world) effects(id int32) {
	n := w.nodes[id]
	for n.core != nil {
		e, any := n.core.Effects()
		if !any {
			return
		}
		if w.tell != nil {
			w.tell(id, &e)
		} else if e.Failed != nil {
			w.t.Fatalf("node %d failed: %v", id, e.Failed)
		}
		for _, m := range e.Send {
			wire := [2]int32{id, m.To()}
			if queue, ok := w.wires[wire]; ok {
				w.wires[wire] = append(queue, m)
			} else {
				n.core.Dropped(w.nowMs, m)
			}
		}
		n.pending = append(n.pending, e.Writes...)
		if e.Image != nil {
			w.look(id, e.Image)
		}
		for _, d := range e.Done {
			if key := n.wants[d.ID]; key != "" && d.Err == nil {
				w.acked = append(w.acked, key)
				if n.core.Image().BrokerConfigs[""][key] == "" {
					w.t.Fatalf("node %d answered the change %s before it applied it", id, key)
				}
			} else if d.Err != nil && !errors.Is(d.Err, ErrOutcomeUnknown) && w.tell == nil {
				w.t.Fatalf("node %d: %v", id, d.Err)
			}
		}
		if e.CutOff {
			for _, other := range w.ids {
				if w.lost[[2]int32{other, id}] && w.connected(id, other) { // it breaks them itself
					n.core.Disconnected(w.nowMs, other)
				}
				w.disconnect(id, other)
			}
		}
		if e.Ready {
			leader := n.core.Leader()
			if other, ok := w.leaders[leader.Epoch]; ok && other != id {
				w.t.Fatalf("nodes %d and %d both lead in epoch %d", id, other, leader.Epoch)
			}
			w.leaders[leader.Epoch] = id
		}
	}
}

// sync writes the oldest Writes of a node and reports them.
func (w *world) sync(id int32, count int) {
	n := w.nodes[id]
	if n.core == nil {
		return
	}
	for range min(count, len(n.pending)) {
		write := n.pending[0]
		n.pending = n.pending[1:]
		n.disk.Apply(write)
		n.core.Persisted(w.nowMs, write)
		w.effects(id)
	}
}

func (w *world) deliver(wire [2]int32) {
	queue := w.wires[wire]
	if len(queue) == 0 {
		return
	}
	w.wires[wire] = queue[1:]
	if w.lost[wire] {
		return
	}
	n := w.nodes[wire[1]]
	m := queue[0]
	if w.rand.IntN(2) == 0 {
		m.ReadEntries() // as a shell does that has a lock to spare
	}
	n.core.Step(w.nowMs, m)
	w.effects(wire[1])
	if queue[0].Snapshot != nil {
		w.nodes[wire[0]].core.SnapshotSent(w.nowMs, wire[1], true)
		w.effects(wire[0])
	}
}

// change proposes one or several records on a node, if it leads.
func (w *world) change(id int32) {
	n := w.nodes[id]
	if n.core == nil || n.core.Head() == nil {
		return
	}
	w.changes++
	key := fmt.Sprintf("k%d", w.changes)
	value := strings.Repeat("x", 1+w.rand.IntN(100))
	records := []metadata.Record{&metadata.ConfigRecord{Resource: metadata.ResourceBroker, Key: key, Value: &value}}
	big := strings.Repeat("y", 200)
	for range w.rand.IntN(3) * w.rand.IntN(2) { // sometimes a list over several entries
		records = append(records, &metadata.ConfigRecord{Resource: metadata.ResourceBroker, Key: "big", Value: &big})
		records = append(records, &metadata.ConfigRecord{Resource: metadata.ResourceBroker, Key: "big", Value: nil})
	}
	head := n.core.Head()
	next, err := metadata.Apply(head, records...)
	if err != nil {
		w.t.Fatal(err)
	}
	payloads, err := EncodeRecords(records, 300)
	if err != nil {
		w.t.Fatal(err)
	}
	proposal, err := n.core.Propose(w.nowMs, head, payloads, next)
	var not *NotLeaderError
	if errors.As(err, &not) {
		return // it is handing over
	}
	if err != nil {
		w.t.Fatal(err)
	}
	n.wants[proposal] = key
	w.effects(id)
}

func (w *world) sortedWires() [][2]int32 {
	wires := make([][2]int32, 0, len(w.wires))
	for wire := range w.wires {
		wires = append(wires, wire)
	}
	slices.SortFunc(wires, func(a, b [2]int32) int {
		if a[0] != b[0] {
			return int(a[0] - b[0])
		}
		return int(a[1] - b[1])
	})
	return wires
}

// advance lets time pass to the next moment at which a node wants to act.
func (w *world) advance() {
	next := w.nowMs + 200
	for _, id := range w.ids {
		if n := w.nodes[id]; n.core != nil {
			next = min(next, max(n.core.NextMs(), w.nowMs))
		}
	}
	w.nowMs = max(next, w.nowMs)
	for _, id := range w.ids {
		if n := w.nodes[id]; n.core != nil && n.core.NextMs() <= w.nowMs {
			n.core.Tick(w.nowMs)
			w.effects(id)
		}
	}
}

// step does one thing at random.
func (w *world) step(faults bool) {
	id := w.ids[w.rand.IntN(len(w.ids))]
	other := w.ids[w.rand.IntN(len(w.ids))]
	chance := w.rand.IntN(1000)
	wires := w.sortedWires()
	switch {
	case chance < 450 && len(wires) > 0:
		for range 4 {
			w.deliver(wires[w.rand.IntN(len(wires))])
			wires = w.sortedWires()
		}
	case chance < 700:
		w.sync(id, 1+w.rand.IntN(3))
	case chance < 750:
		w.advance()
	case chance < 880:
		w.change(id)
	case chance < 970:
		w.connect(id, other)
	case !faults:
	case chance < 976:
		w.disconnect(id, other)
	case chance < 980:
		if w.nodes[id].core != nil {
			w.crash(id)
		}
	case chance < 996:
		if n := w.nodes[id]; n.core == nil {
			if id >= firstObserver && w.rand.IntN(3) == 0 {
				w.lives[id]++
				n.disk, n.cfg.Self = State{First: 1}, w.self(id)
			}
			w.boot(id)
		}
	default:
		if len(wires) > 0 { // a full queue drops one
			wire := wires[w.rand.IntN(len(wires))]
			if queue := w.wires[wire]; len(queue) > 0 {
				w.wires[wire] = queue[1:]
				w.nodes[wire[0]].core.Dropped(w.nowMs, queue[0])
				w.effects(wire[0])
			}
		}
	}
}

// heal lets the group run without faults until all nodes agree.
func (w *world) heal() {
	for _, id := range w.ids {
		if w.nodes[id].core == nil {
			w.boot(id)
		}
	}
	clear(w.lost)
	for _, a := range w.ids {
		for _, b := range w.ids {
			w.connect(a, b)
		}
	}
	for range 400 {
		for range 20 {
			for _, id := range w.ids {
				w.sync(id, 100)
			}
			for _, wire := range w.sortedWires() {
				for range len(w.wires[wire]) {
					w.deliver(wire)
				}
			}
		}
		if w.agree() {
			return
		}
		w.advance()
	}
	for _, id := range w.ids {
		c := w.nodes[id].core
		w.t.Logf("node %d: leader %+v applied %d last %d hard %+v conf %v pending %d members %+v", id, c.Leader(), c.applied, c.last, c.hard, c.conf, len(w.nodes[id].pending), c.Members())
	}
	w.t.Fatal("the group does not come to rest after healing")
}

func (w *world) agree() bool {
	var leader *Core
	for _, id := range w.ids {
		if c := w.nodes[id].core; c.Head() != nil {
			leader = c
		}
	}
	if leader == nil {
		return false
	}
	for _, id := range w.ids {
		c := w.nodes[id].core
		if c.applied != leader.applied || c.last != c.applied || len(w.nodes[id].pending) > 0 || c.confIndex > c.applied {
			return false
		}
	}
	return true
}

// check compares the healed group with what was answered.
func (w *world) check() {
	first := w.nodes[w.ids[0]].core
	for _, id := range w.ids {
		c := w.nodes[id].core
		if !sameImages(c.Image(), first.Image()) {
			w.t.Fatalf("node %d has another image", id)
		}
		if !slices.Equal(c.Members(), first.Members()) || c.conf.Equivalent(first.conf) != nil {
			w.t.Fatalf("node %d has other members: %+v, %+v", id, c.Members(), first.Members())
		}
	}
	for _, key := range w.acked {
		if first.Image().BrokerConfigs[""][key] == "" {
			w.t.Fatalf("the answered change %s is lost", key)
		}
	}
}

// TestCoreUnderFaults runs groups through crashes that lose what is not synced,
// broken connections and dropped messages: all nodes apply the same changes in
// the same order, and nothing that was answered is lost.
func TestCoreUnderFaults(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	acked := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, uint64(seed), 3+2*(seed%2))
			for range 1500 {
				w.step(true)
			}
			w.heal()
			w.check()
			acked += len(w.acked)
		})
	}
	if acked < seeds*20 {
		t.Errorf("only %d changes were answered in %d runs", acked, seeds)
	}
}

// TestCoreMembersUnderFaults lets observers join and voters come and go on the
// way.
func TestCoreMembersUnderFaults(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 10
	}
	acked := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, uint64(1000+seed), 1+seed%3)
			for step := range 2500 {
				if step%300 == 299 && len(w.ids) < 7 {
					w.add(int32(len(w.ids)), State{First: 1})
				}
				w.step(step > 200)
				w.changeVoters()
			}
			w.heal()
			w.check()
			acked += len(w.acked)
		})
	}
	if acked < seeds*20 {
		t.Errorf("only %d changes were answered in %d runs", acked, seeds)
	}
}

// firstObserver is the first of the nodes that never vote, and may lose their
// disks.
const firstObserver = 5

// changeVoters now and then asks a leader to add or remove a voter.
func (w *world) changeVoters() {
	id := w.ids[w.rand.IntN(len(w.ids))]
	n := w.nodes[id]
	if n.core == nil || n.core.Head() == nil || w.rand.IntN(40) > 0 {
		return
	}
	target := w.ids[w.rand.IntN(min(len(w.ids), firstObserver))]
	if n.core.change != nil {
		n.core.Cancel(n.core.change.id)
		w.dropNews(id)
	}
	if w.rand.IntN(2) == 0 {
		_, _ = n.core.AddVoter(w.nowMs, w.self(target))
	} else {
		_, _ = n.core.RemoveVoter(w.nowMs, target, w.self(target).Dir)
	}
	w.effects(id)
}

// dropNews forgets that a change was canceled.
func (w *world) dropNews(id int32) {
	c := w.nodes[id].core
	c.effects.Done = slices.DeleteFunc(c.effects.Done, func(d Done) bool { return errors.Is(d.Err, ErrCanceled) })
}
