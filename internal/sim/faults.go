package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// fault is a kind of trouble.
type fault uint8

const (
	faultKill          fault = iota // kill -9; the page cache stays
	faultPowerLoss                  // one machine loses power
	faultBlackout                   // all machines lose power
	faultPause                      // SIGSTOP, then SIGCONT
	faultStop                       // clean stop, then a start
	faultIsolate                    // one node cut off from the others, in both or one direction
	faultSplit                      // the nodes in two halves
	faultRing                       // each node reaches only its neighbours
	faultLink                       // one direction between two nodes
	faultCutOffClients              // a node from the clients
	faultSever                      // connections reset
	faultFullDisk
	faultSyncError // an fsync fails
	faultClockJump
	faultSlowDisk
	faultRestartAll // every process killed, one after the other, quickly
	faultElection   // the active controller killed, and voters killed while they vote
	faultRot        // bits flip in a log while its process is down; others have good copies
	faultKinds
)

var faultNames = [faultKinds]string{"kill", "power", "blackout", "pause", "stop", "isolate", "split", "ring", "link",
	"clients", "sever", "full", "sync", "clock", "slow", "killall", "election", "rot"}

// faultMix is how often each kind of trouble comes, as weights.
type faultMix struct {
	weight   [faultKinds]int
	total    int
	interval Time // between two troubles, on average
}

// newFaultMix draws a mix: a few kinds, so that runs differ in character.
func newFaultMix(rng *rand.Rand, flushEach bool) faultMix {
	m := faultMix{interval: Time(150+rng.IntN(900)) * millisecond}
	for f := range faultKinds {
		if rng.IntN(3) == 0 {
			m.weight[f] = 1 + rng.IntN(4)
		}
	}
	if !flushEach {
		m.weight[faultBlackout] = 0 // loses what was acknowledged, as promised
	}
	m.weight[faultKill] += 2
	for f := range faultKinds {
		m.total += m.weight[f]
	}
	return m
}

func (m faultMix) String() string {
	var names []string
	for f := range faultKinds {
		if m.weight[f] > 0 {
			names = append(names, faultNames[f])
		}
	}
	return fmt.Sprintf("every %d ms of %s", m.interval.Ms(), strings.Join(names, " "))
}

// scheduleFaults lets trouble come until a moment.
func (w *world) scheduleFaults(end Time) {
	rng := w.rng.fault
	at := w.sched.now + 200*millisecond + Time(rng.Int64N(int64(w.plan.faults.interval)))
	for at < end {
		w.sched.at(at, w.inject)
		at += Time(rng.Int64N(int64(2*w.plan.faults.interval))) + 10*millisecond
	}
}

// lasting is how long a trouble stays.
func (w *world) lasting(limit Time) Time {
	return 20*millisecond + Time(w.rng.fault.Int64N(int64(limit)))
}

// inject makes one trouble, if the promises allow it now.
func (w *world) inject() {
	if w.phase == "healed" {
		return
	}
	rng := w.rng.fault
	pick := rng.IntN(w.plan.faults.total)
	kind := fault(0)
	for pick >= w.plan.faults.weight[kind] {
		pick -= w.plan.faults.weight[kind]
		kind++
	}
	n := w.nodes[rng.IntN(len(w.nodes))]
	w.faults++
	switch kind {
	case faultKill:
		w.kill(n, w.lasting(1500*millisecond))
	case faultPowerLoss:
		if w.mayLosePower(n) {
			w.losePower(n, w.lasting(1500*millisecond))
		}
	case faultBlackout:
		if w.mayLosePower(n) {
			for _, n := range w.nodes {
				w.losePower(n, w.lasting(800*millisecond))
			}
		}
	case faultPause:
		w.pause(n, w.lasting(2500*millisecond))
	case faultStop:
		w.stopCleanly(n, w.lasting(500*millisecond))
	case faultIsolate, faultSplit, faultRing, faultLink, faultCutOffClients:
		w.partition(kind, n)
	case faultSever:
		w.severSome()
	case faultFullDisk:
		w.fillDisk(n, w.lasting(1500*millisecond))
	case faultSyncError:
		if w.mayLosePower(n) {
			w.failSync(n)
		}
	case faultClockJump:
		n.clock.offsetMs += rng.Int64N(7_200_001) - 3_600_000
		w.trace.add("*", "%s: wall clock jumps to %+d ms", n, n.clock.offsetMs)
	case faultSlowDisk:
		n.slowDisk(w.lasting(50*millisecond), w.lasting(2000*millisecond))
	case faultElection:
		w.disturbElection()
	case faultRot:
		if w.canSpare(n) {
			w.rot(n)
		}
	case faultRestartAll:
		for _, n := range w.nodes {
			w.kill(n, w.lasting(300*millisecond))
		}
		if w.plan.flushEach && rng.IntN(2) == 0 {
			w.sched.after(w.lasting(2500*millisecond), func() {
				if w.phase == "healed" || !w.mayLosePower(n) {
					return
				}
				for _, n := range w.nodes {
					w.losePower(n, w.lasting(300*millisecond))
				}
			})
		}
	}
}

func (w *world) kill(n *node, down Time) {
	if n.proc == nil {
		return
	}
	w.trace.add("*", "%s is killed, for %d ms", n, down.Ms())
	n.kill()
	w.startLater(n, down)
}

// rot kills a process, flips bits in the last segment of one of its logs, and
// starts it again.
func (w *world) rot(n *node) {
	dirs := n.logDirectories()
	if len(dirs) == 0 || n.proc == nil {
		return
	}
	dir := dirs[w.rng.fault.IntN(len(dirs))]
	w.noteLoss(n)
	w.kill(n, w.lasting(500*millisecond))
	if name, at, ok := n.disk.rot(dir, w.rng.fault); ok {
		n.rotten = true
		w.trace.add("*", "bits of %s at %s have flipped at byte %d", name, n, at)
	}
}

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

// startLater starts a node's process unless something else did.
func (w *world) startLater(n *node, down Time) {
	n.starts++
	start := n.starts
	w.sched.after(down, func() {
		if n.starts == start && n.proc == nil {
			n.start()
		}
	})
}

func (w *world) losePower(n *node, down Time) {
	keep := [4]float64{0, 0.3, 0.9, 1}[w.rng.fault.IntN(4)]
	w.trace.add("*", "%s loses power, for %d ms; of unsynced sectors %.0f %% were written", n, down.Ms(), keep*100)
	w.noteLoss(n)
	n.losePower(keep)
	w.startLater(n, down)
}

func (w *world) pause(n *node, d Time) {
	p := n.proc
	if p == nil || p.paused {
		return
	}
	w.trace.add("*", "%s is paused for %d ms", n, d.Ms())
	p.pause()
	w.sched.after(d, func() {
		if p.alive && p.paused {
			w.trace.add("*", "%s goes on", n)
			p.resume()
		}
	})
}

func (w *world) stopCleanly(n *node, down Time) {
	if n.proc == nil || n.proc.paused {
		return
	}
	w.trace.add("*", "%s is told to stop", n)
	n.shutDown(func() {
		w.trace.add("*", "%s has stopped cleanly", n)
		w.startLater(n, down)
	})
}

// partition cuts links for a while.
func (w *world) partition(kind fault, n *node) {
	rng := w.rng.fault
	var cut [][2]*host
	both := func(a, b *host) { cut = append(cut, [2]*host{a, b}, [2]*host{b, a}) }
	what := ""
	switch kind {
	case faultIsolate:
		direction := rng.IntN(3)
		what = fmt.Sprintf("%s is cut off (%s)", n, [3]string{"both ways", "nothing reaches it", "nothing leaves it"}[direction])
		for _, o := range w.nodes {
			if o != n && direction != 2 {
				cut = append(cut, [2]*host{o.host, n.host})
			}
			if o != n && direction != 1 {
				cut = append(cut, [2]*host{n.host, o.host})
			}
		}
	case faultSplit:
		what = "the nodes are split:"
		order := rng.Perm(len(w.nodes))
		half := 1 + rng.IntN(len(order)-1)
		for _, i := range order[:half] {
			what += " " + w.nodes[i].String()
			for _, j := range order[half:] {
				both(w.nodes[i].host, w.nodes[j].host)
			}
		}
	case faultRing:
		what = "one link is missing in a ring"
		for i := range w.nodes {
			for j := i + 2; j < len(w.nodes); j++ {
				if i != 0 || j != len(w.nodes)-1 || len(w.nodes) == 3 {
					both(w.nodes[i].host, w.nodes[j].host)
				}
			}
		}
	case faultLink:
		o := w.nodes[(int(n.id)-firstNode+1+rng.IntN(len(w.nodes)-1))%len(w.nodes)]
		what = fmt.Sprintf("nothing gets from %s to %s", n, o)
		cut = append(cut, [2]*host{n.host, o.host})
	case faultCutOffClients:
		what = fmt.Sprintf("%s is cut off from the clients", n)
		for _, h := range w.net.hosts[len(w.nodes):] {
			both(h, n.host)
		}
	}
	d := w.lasting(2500 * millisecond)
	w.trace.add("*", "%s, for %d ms", what, d.Ms())
	for _, c := range cut {
		w.net.block(c[0], c[1], true)
	}
	w.sched.after(d, func() {
		if w.phase == "healed" {
			return
		}
		for _, c := range cut {
			w.net.block(c[0], c[1], false)
		}
		w.trace.add("*", "it is over that %s", what)
	})
}

// severSome resets some connections of some node.
func (w *world) severSome() {
	n := w.nodes[w.rng.fault.IntN(len(w.nodes))]
	w.trace.add("*", "connections of %s are reset", n)
	for _, s := range append([]*side(nil), n.sides...) {
		if s.open && w.rng.fault.IntN(3) > 0 {
			s.conn.sever()
		}
	}
}

func (w *world) fillDisk(n *node, d Time) {
	w.trace.add("*", "the disk of %s is full for %d ms", n, d.Ms())
	n.disk.full = true
	w.sched.after(d, func() { n.disk.full = false })
}

func (w *world) failSync(n *node) {
	dirs := n.logDirectories()
	if len(dirs) == 0 {
		return
	}
	dir := dirs[w.rng.fault.IntN(len(dirs))]
	w.trace.add("*", "the next fsync of %s in %s will fail", n, dir)
	n.disk.failSyncIn = dir
}

// mayLosePower tells whether a node may lose what it did not sync without
// breaking what an acknowledgement means. With flush.messages=1, always.
// Otherwise acks=all with min.insync.replicas=2 bears the loss of one replica
// of each partition at a time: all must be in sync and all machines up.
func (w *world) mayLosePower(n *node) bool {
	for _, o := range w.nodes {
		if o.rotten && w.newest.BrokerEpoch(o.id) <= o.lossyEpoch {
			return false // the good copies of what rotted are needed
		}
	}
	return w.plan.flushEach || w.canSpare(n)
}

// canSpare tells whether the others have everything that a node has, and will
// not lose it.
func (w *world) canSpare(n *node) bool {
	if w.plan.minInsync < 2 {
		return false
	}
	img := w.newestImage()
	if !w.allInSync() {
		return false
	}
	for _, o := range w.nodes {
		switch {
		case o.proc == nil || o.proc.paused:
			return false
		case o != n && o.disk.failSyncIn != "":
			return false // is about to lose something
		case o.lossyEpoch > 0 && img.BrokerEpoch(o.id) <= o.lossyEpoch:
			return false // the others do not know yet that it lost something
		}
	}
	return true
}

// noteLoss remembers that a node loses what it did not sync.
func (w *world) noteLoss(n *node) {
	n.lossyEpoch = w.newest.BrokerEpoch(n.id)
}

// heal ends every trouble and starts what is down.
func (w *world) heal() {
	w.phase = "healed"
	w.trace.add("*", "all is healed")
	w.net.healAll()
	w.net.lossPermille = 0
	for _, n := range w.nodes {
		n.disk.full, n.disk.failSyncIn = false, ""
		n.writeDelay = 0
		n.starts++
		if n.proc != nil && n.proc.paused {
			n.proc.resume()
		}
		if n.proc == nil {
			n.start()
		}
	}
}
