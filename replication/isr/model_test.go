package isr

import (
	"fmt"
	"io"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestNothingCommittedIsLost plays random histories of a partition with three
// to five replicas: crashes, broken connections with leftovers, stale metadata,
// lost and late answers of the controller, elections from the ISR. Every record
// that a high watermark has passed must be in the log of every later leader,
// and everything below any replica's high watermark must be the same. Then all
// is healed, and all replicas must end up in sync and equal. Half of the
// histories have eligible leader replicas (KIP-966), who must have all that was
// committed just like the members of the ISR.
func TestNothingCommittedIsLost(t *testing.T) {
	for replicas := 3; replicas <= 5; replicas++ {
		for minISR := 1; minISR <= 2; minISR++ {
			t.Run(fmt.Sprintf("replicas=%d,min.insync.replicas=%d", replicas, minISR), rapid.MakeCheck(func(t *rapid.T) {
				w := newWorld(replicas, minISR, 30, io.Discard, t.Fatalf)
				w.elr = rapid.Bool().Draw(t, "eligible leader replicas")
				w.batch = rapid.IntRange(1, 4).Draw(t, "batch")
				for range 4 {
					t.Repeat(actions(w))
				}
				heal(t, w)
			}))
		}
	}
}

// pick draws one of the things that ok says are there, or skips the action.
func pick[T any](t *rapid.T, from []T, ok func(T) bool) T {
	var candidates []T
	for _, c := range from {
		if ok(c) {
			candidates = append(candidates, c)
		}
	}
	if len(candidates) == 0 {
		t.SkipNow()
	}
	return candidates[rapid.IntRange(0, len(candidates)-1).Draw(t, "which")]
}

func leads(n *node) bool { return n.up && n.leader != nil }

func actions(w *world) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"": func(*rapid.T) {
			w.checkLogs()
			w.checkISR()
		},
		"produce": func(t *rapid.T) {
			w.produce(pick(t, w.nodes, leads), rapid.IntRange(1, 3).Draw(t, "count"))
		},
		"push": func(t *rapid.T) {
			w.fill(pick(t, w.conns, func(c *conn) bool { return c.open }), rapid.IntRange(1, 5).Draw(t, "pushes"))
		},
		"receive": func(t *rapid.T) { w.receive(pick(t, w.conns, func(c *conn) bool { return len(c.pushes) > 0 })) },
		"take":    func(t *rapid.T) { w.take(pick(t, w.conns, func(c *conn) bool { return len(c.results) > 0 })) },
		// break works a connection for a while and breaks it, with what may be
		// in its sockets.
		"break": func(t *rapid.T) {
			c := pick(t, w.conns, func(c *conn) bool { return c.open && c.from.leader != nil && c.to.up })
			for _, step := range rapid.SliceOfN(rapid.IntRange(0, 2), 0, 8).Draw(t, "steps") {
				switch {
				case step == 0:
					w.fill(c, 1)
				case step == 1 && len(c.pushes) > 0:
					w.receive(c)
				case step == 2 && len(c.results) > 0:
					w.take(c)
				}
			}
			w.connect(c.from, c.to)
		},
		"leftovers": func(t *rapid.T) {
			c := pick(t, w.conns, func(c *conn) bool { return !c.open && len(c.pushes) > 0 })
			for len(c.pushes) > 0 {
				w.receive(c)
			}
		},
		// diverge leaves records with a leader that only it has.
		"diverge": func(t *rapid.T) {
			n := pick(t, w.nodes, leads)
			w.produce(n, rapid.IntRange(1, 3).Draw(t, "count"))
			w.fence(n.id)
			w.unfence(n.id)
		},
		"settle": func(t *rapid.T) {
			w.settle(pick(t, w.nodes, func(*node) bool { return true }).id)
		},
		"learn": func(t *rapid.T) { w.learn(pick(t, w.nodes, func(n *node) bool { return n.up })) },
		"tick":  func(t *rapid.T) { w.tick(rapid.Int64Range(1, 40).Draw(t, "ms")) },
		"decide": func(t *rapid.T) {
			if len(w.requests) == 0 {
				t.SkipNow()
			}
			w.decide()
		},
		"answer": func(t *rapid.T) {
			if len(w.answers) == 0 {
				t.SkipNow()
			}
			w.answer()
		},
		"lose an answer": func(t *rapid.T) {
			if len(w.answers) == 0 {
				t.SkipNow()
			}
			a := w.answers[0]
			w.answers[0].r = ProposalResult{Proposal: a.r.Proposal, Code: 7} // REQUEST_TIMED_OUT
			w.answer()
		},
		"sync": func(t *rapid.T) {
			for _, n := range w.nodes {
				w.learn(n)
			}
			w.settle()
			for len(w.requests) > 0 {
				w.decide()
			}
			for len(w.answers) > 0 {
				w.answer()
			}
		},
		"failover": func(t *rapid.T) {
			n := pick(t, w.nodes, func(n *node) bool { return n.id == w.image.leader && n.up })
			if rapid.Bool().Draw(t, "dies") {
				w.crash(n)
			}
			w.fence(n.id)
			if w.image.leader >= 0 {
				w.learn(w.node(w.image.leader))
			}
		},
		"crash": func(t *rapid.T) {
			w.crash(pick(t, w.nodes, func(n *node) bool { return n.up }))
		},
		"restart": func(t *rapid.T) {
			n := pick(t, w.nodes, func(n *node) bool { return !n.up })
			lose := 0
			if eligible := slices.Concat(w.image.isr, w.image.elr); !slices.Contains(eligible, n.id) || len(eligible) > 1 {
				lose = rapid.IntRange(0, 4).Draw(t, "lose")
			}
			w.restart(n, lose, rapid.Int64Range(0, n.hw).Draw(t, "checkpoint"))
		},
		"fence":   func(t *rapid.T) { w.fence(pick(t, w.nodes, func(*node) bool { return true }).id) },
		"unfence": func(t *rapid.T) { w.unfence(pick(t, w.nodes, func(n *node) bool { return n.up }).id) },
		"elect": func(t *rapid.T) {
			n := pick(t, w.nodes, func(n *node) bool {
				return slices.Contains(w.image.isr, n.id) && slices.Contains(w.image.active, n.id) && n.id != w.image.leader
			})
			w.elect(n.id)
		},
		"delete records": func(t *rapid.T) {
			n := pick(t, w.nodes, leads)
			w.deleteRecords(n, rapid.Int64Range(n.log.start, n.hw).Draw(t, "before"))
		},
	}
}

// heal ends all faults and expects all replicas in sync.
func heal(t *rapid.T, w *world) {
	for _, n := range w.nodes {
		if !n.up {
			w.restart(n, 0, 0)
		}
		w.unfence(n.id)
	}
	for round := range 12 {
		for _, c := range w.conns { // leftovers come at the worst time
			for round == 6 && !c.open && len(c.pushes) > 0 {
				w.receive(c)
			}
		}
		for _, n := range w.nodes {
			w.learn(n)
		}
		w.settle()
		for len(w.requests) > 0 {
			w.decide()
		}
		for len(w.answers) > 0 {
			w.answer()
		}
		w.tick(alterRetryMs)
	}
	leader := w.node(w.image.leader)
	if len(w.image.isr) != len(w.nodes) {
		t.Fatalf("after healing the ISR is %v", w.image.isr)
	}
	for _, n := range w.nodes {
		if n.log.LogEndOffset() != leader.log.LogEndOffset() || n.hw != leader.log.LogEndOffset() {
			t.Fatalf("after healing %d has log %v, high watermark %d; leader %d has %v", n.id, &n.log, n.hw, leader.id, &leader.log)
		}
		for o := max(n.log.start, leader.log.start); o < n.hw; o++ {
			if n.log.entries[o-n.log.start] != leader.log.entries[o-leader.log.start] {
				t.Fatalf("after healing %d has log %v, leader %d has %v", n.id, &n.log, leader.id, &leader.log)
			}
		}
	}
	w.checkLogs()
}
