package sim

import (
	"strings"
	"testing"

	"freshet/metadata/quorum"
)

// Two leaders in one epoch of the metadata group break (h), whoever tells.
func TestTwoLeadersInAnEpoch(t *testing.T) {
	w := &world{leaders: map[int32]int32{}}
	w.trace = newTrace(&w.sched, nil)
	a, b := &node{world: w, id: 1}, &node{world: w, id: 2}
	for _, l := range []struct {
		n *node
		l quorum.Leadership
	}{
		{a, quorum.Leadership{ID: -1, Epoch: 3}}, {a, quorum.Leadership{ID: 1, Epoch: 3}}, {b, quorum.Leadership{ID: 1, Epoch: 3}},
		{b, quorum.Leadership{ID: -1, Epoch: 4}}, {b, quorum.Leadership{ID: 2, Epoch: 4}},
	} {
		w.noteLeader(l.n, l.l)
	}
	if w.violation != "" {
		t.Fatalf("one leader in each epoch is refused: %s", w.violation)
	}
	w.noteLeader(b, quorum.Leadership{ID: 2, Epoch: 3})
	if !strings.Contains(w.violation, "epoch 3 of the metadata group has two leaders") {
		t.Fatalf("two leaders in an epoch: %q", w.violation)
	}
}

// A replica that may be elected without what is committed breaks (j).
func TestElectableBehind(t *testing.T) {
	w := newWorld(Options{Seed: 1}, nil)
	w.found()
	if !w.waitFor("the cluster to start", 30*second, w.healthy) {
		t.Fatal(w.violation)
	}
	w.startClients()
	w.until(w.sched.now + second)
	if w.checkElectable(); w.violation != "" || len(w.acked) == 0 {
		t.Fatalf("%d partitions have acknowledged records: %q", len(w.acked), w.violation)
	}
	for at := range w.acked {
		w.acked[at] += 1 << 20
	}
	if w.checkElectable(); !strings.Contains(w.violation, "(j) b") {
		t.Fatalf("logs behind what was acknowledged: %q", w.violation)
	}
}
