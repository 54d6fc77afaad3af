package sim

import "slices"

// disturbElection kills the active controller, and others for a moment while
// they elect the next one.
func (w *world) disturbElection() {
	if b := w.controller(); b != nil {
		w.kill(b.node, w.lasting(600*millisecond))
	}
	for range 2 + w.rng.fault.IntN(3) {
		n := w.nodes[w.rng.fault.IntN(len(w.nodes))]
		at := w.lasting(200 * millisecond)
		w.sched.after(at, func() {
			if w.phase != "healed" {
				w.kill(n, Time(1+w.rng.fault.IntN(20))*millisecond)
			}
		})
	}
}

// armedFor is how long trouble waits for its moment.
const armedFor = 2 * second

// prepareCoup kills the active controller and has its successor overthrown.
func (w *world) prepareCoup() bool {
	b := w.controller()
	if b == nil || w.coup {
		return false
	}
	w.coup = true
	w.sched.after(armedFor, func() { w.coup = false })
	return w.kill(b.node, w.lasting(600*millisecond))
}

// overthrow cuts a member off that has just been elected, and kills for a
// moment those who voted for it, before they have heard from it: what they
// promised must not be forgotten, or the others elect a second leader in its
// epoch.
func (w *world) overthrow(n *node, epoch int32) {
	w.cutOff(n, 0, w.lasting(1500*millisecond))
	for _, o := range w.nodes {
		if hard := o.meta.state.Hard; o == n || hard.Term != uint64(epoch) || hard.Vote != uint64(n.id)+1 {
			continue
		}
		down := Time(1+w.rng.fault.IntN(40)) * millisecond
		w.sched.after(Time(w.rng.fault.IntN(500))*microsecond, func() {
			if w.phase != "healed" {
				w.kill(o, down)
			}
		})
	}
}

// alterationSent delays a leader's wish for an ISR on its way to the active
// controller for longer than the leader waits, which then asks again on a new
// connection. Meanwhile a member of the ISR is killed, if there is one that is
// neither: by the time it arrives the wish is one of yesterday.
func (w *world) alterationSent(b *broker, now, wanted []int32) {
	id := b.quorum.core.Leader().ID
	if !w.late || id < firstNode || id == b.node.id || b.controllers[id-firstNode].side == nil {
		return
	}
	victim := id
	for _, member := range wanted {
		if member != b.node.id && member != id && slices.Contains(now, member) {
			victim = member
		}
	}
	if victim == id && w.rng.fault.IntN(4) > 0 {
		return // the next one
	}
	w.late = false
	w.tally[faultLate]++
	s, lag := b.controllers[id-firstNode].side, requestTimeoutMs*millisecond+w.lasting(1500*millisecond)
	w.trace.add("*", "what %s asks of the controller b%d arrives %d ms later", b.node, id, lag.Ms())
	s.pipe.lag = lag
	w.sched.after(0, func() { s.pipe.lag = 0 })
	down := w.lasting(3000 * millisecond)
	w.sched.after(w.lasting(300*millisecond), func() {
		if w.phase != "healed" {
			w.kill(w.nodes[victim-firstNode], down)
		}
	})
}

// lag slows some of a node's connections down, those to the controllers first:
// their packets take a congested path. What is said on a new connection
// overtakes what is on its way there, so that controllers get requests that
// were given up, and asked again, long ago.
func (w *world) lag(n *node) bool {
	if n.proc == nil {
		return false
	}
	var slow []*pipe
	d, most := w.lasting(2500*millisecond), w.lasting(1500*millisecond)
	for _, s := range n.sides {
		if s.open && (n.broker.asks(s) || w.rng.fault.IntN(3) == 0) {
			s.pipe.lag = Time(w.rng.fault.Int64N(int64(most)))
			slow = append(slow, s.pipe)
		}
	}
	if len(slow) == 0 {
		return false
	}
	w.trace.add("*", "%d connections of %s lag by up to %d ms, for %d ms", len(slow), n, most.Ms(), d.Ms())
	w.sched.after(d, func() {
		for _, p := range slow {
			p.lag = 0
		}
	})
	return true
}
