package quorum

import (
	"slices"
	"testing"
)

// run lets time pass without faults, but for the nodes in still, which neither
// tick nor get or send anything.
func (w *world) run(untilMs int64, still ...int32) {
	for w.nowMs < untilMs {
		for range 10 {
			for _, id := range w.ids {
				if !slices.Contains(still, id) {
					w.sync(id, 100)
				}
			}
			for _, wire := range w.sortedWires() {
				if slices.Contains(still, wire[0]) || slices.Contains(still, wire[1]) {
					continue
				}
				for range len(w.wires[wire]) {
					w.deliver(wire)
				}
			}
		}
		w.nowMs++
		for _, id := range w.ids {
			if n := w.nodes[id]; n.core != nil && !slices.Contains(still, id) && n.core.NextMs() <= w.nowMs {
				n.core.Tick(w.nowMs)
				w.effects(id)
			}
		}
	}
}

// settled is a group of three with a leader and connections between all.
func settled(t *testing.T, seed uint64) (w *world, leader int32, followers []int32) {
	w = newWorld(t, seed, 3)
	for _, a := range w.ids {
		for _, b := range w.ids {
			w.connect(a, b)
		}
	}
	w.run(3000)
	leader = w.leader()
	if leader < 0 {
		t.Fatal("no leader after 3 s")
	}
	for _, id := range w.ids {
		if id != leader {
			followers = append(followers, id)
		}
	}
	return w, leader, followers
}

// leader is the one that leads and is ready, -1: none.
func (w *world) leader() int32 {
	for _, id := range w.ids {
		if c := w.nodes[id].core; c != nil && c.Head() != nil {
			return id
		}
	}
	return -1
}

// TestABrokenConnectionIsALeadersEnd is what makes a failover fast: nobody
// waits for a timeout when the leader's process ended.
func TestABrokenConnectionIsALeadersEnd(t *testing.T) {
	for seed := range uint64(20) {
		w, leader, _ := settled(t, seed)
		w.crash(leader)
		at := w.nowMs
		for w.leader() < 0 {
			w.run(w.nowMs + 1)
		}
		if took := w.nowMs - at; took > 450 {
			t.Errorf("seed %d: another leader after %d ms", seed, took)
		}
	}
}

// TestASilentLeaderIsReplaced: a leader that hangs keeps its connections.
func TestASilentLeaderIsReplaced(t *testing.T) {
	for seed := range uint64(20) {
		w, leader, followers := settled(t, seed)
		begun := w.nowMs
		w.run(begun+600, w.ids...) // all stand still for a while, so that ticks are missing
		for w.nowMs < begun+5000 && w.nodes[followers[0]].core.Head() == nil && w.nodes[followers[1]].core.Head() == nil {
			w.run(w.nowMs+1, leader)
		}
		// The fetch timeout, what elections are spread over, and votes: if the one
		// that asks first is sent away, the other one is not.
		if took := w.nowMs - begun; took > 2000+250+20 {
			t.Errorf("seed %d: another leader after %d ms", seed, took)
		}
		w.run(begun+5000, leader)
		next := int32(-1)
		for _, id := range followers {
			if w.nodes[id].core.Head() != nil {
				next = id
			}
		}
		if next < 0 {
			t.Fatalf("seed %d: no other leader after 5 s", seed)
		}
		// It wakes up, and finds that it does not lead any more.
		w.change(leader)
		w.run(w.nowMs + 1000)
		if c := w.nodes[leader].core; c.Leader().ID != next || c.Head() != nil {
			t.Errorf("seed %d: the old leader still believes in %+v", seed, c.Leader())
		}
		w.heal()
		w.check()
	}
}

// TestOneCutOffDoesNotDisturb: it asks for votes for long, and the others go on
// in the same epoch when it is back (PreVote, raft thesis 9.6).
func TestOneCutOffDoesNotDisturb(t *testing.T) {
	for seed := range uint64(20) {
		w, leader, followers := settled(t, seed)
		epoch := w.nodes[leader].core.Leader().Epoch
		cut := followers[0]
		for _, id := range w.ids {
			w.disconnect(cut, id)
		}
		w.run(w.nowMs + 10_000)
		for _, id := range w.ids {
			w.connect(cut, id)
		}
		w.run(w.nowMs + 3000)
		for _, id := range w.ids {
			if got := w.nodes[id].core.Leader(); got != (Leadership{leader, epoch}) {
				t.Errorf("seed %d: node %d follows %+v, want node %d in epoch %d", seed, id, got, leader, epoch)
			}
		}
	}
}

// TestOneConnectionBreaksBetweenLeaderAndFollower: the follower that cannot see
// the leader must not take over while the other one sees it.
func TestOneConnectionBreaksBetweenLeaderAndFollower(t *testing.T) {
	w, leader, followers := settled(t, 1)
	epoch := w.nodes[leader].core.Leader().Epoch
	w.disconnect(leader, followers[0])
	w.run(w.nowMs + 10_000)
	if got := w.nodes[leader].core.Leader(); got != (Leadership{leader, epoch}) || w.leader() != leader {
		t.Errorf("the leader was disturbed: %+v", got)
	}
}

// TestALeaderWithoutAMajorityStepsDown: it could not commit anything
// (CheckQuorum), and says that what it began may have happened or not.
func TestALeaderWithoutAMajorityStepsDown(t *testing.T) {
	w, leader, followers := settled(t, 1)
	for _, id := range followers {
		w.crash(id)
	}
	w.change(leader)
	w.run(w.nowMs + 5000)
	if c := w.nodes[leader].core; c.Leader().ID != -1 || c.Head() != nil || len(c.proposals) > 0 {
		t.Errorf("it still leads: %+v", c.Leader())
	}
	if len(w.acked) > 0 {
		t.Error("a change was answered without a majority")
	}
	w.heal()
	w.check()
}

// TestAnOldFileIsNoticed: a voter whose file was replaced by an older copy has
// broken its word, and must not go on.
func TestAnOldFileIsNoticed(t *testing.T) {
	w, leader, followers := settled(t, 1)
	old := w.nodes[followers[0]].disk
	for range 20 {
		w.change(leader)
	}
	w.run(w.nowMs + 1000)
	w.crash(followers[0])
	n := w.nodes[followers[0]]
	old.Entries = slices.Clone(old.Entries)
	n.disk = old
	w.boot(followers[0])
	for _, m := range []int32{leader, followers[1]} {
		na := w.nodes[m]
		w.wires[[2]int32{m, followers[0]}], w.wires[[2]int32{followers[0], m}] = nil, nil
		na.core.peers[followers[0]].connected = true // no Connected: the leader's first word is a heartbeat
	}
	for range 300 {
		w.nowMs++
		if c := w.nodes[leader].core; c.NextMs() <= w.nowMs {
			c.Tick(w.nowMs)
			w.effects(leader)
		}
	}
	for _, m := range w.wires[[2]int32{leader, followers[0]}] {
		n.core.Step(w.nowMs, m)
	}
	if e, _ := n.core.Effects(); e.Failed == nil || n.core.failed == nil {
		t.Error("the old file was not noticed")
	}
}
