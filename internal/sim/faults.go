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
	faultCoup       // the active controller killed, its successor cut off, and who voted for that killed
	faultLate       // a change of an ISR reaches the controller late, and meanwhile who is in it is killed
	faultLag        // some connections of one node get slow, new ones do not
	faultRot        // bits flip in a log while its process is down; others have good copies
	faultKinds
)

var faultNames = [faultKinds]string{"kill", "power", "blackout", "pause", "stop", "isolate", "split", "ring", "link",
	"clients", "sever", "full", "sync", "clock", "slow", "killall", "election", "coup", "late", "lag", "rot"}

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
	if w.cause(kind, n) {
		w.tally[kind]++
	}
}

// cause makes one kind of trouble at a node; false if it may not be made now.
func (w *world) cause(kind fault, n *node) bool {
	rng := w.rng.fault
	switch kind {
	case faultKill:
		return w.kill(n, w.lasting(1500*millisecond))
	case faultPowerLoss:
		if !w.mayLosePower(n) {
			return false
		}
		w.losePower(n, w.lasting(1500*millisecond))
	case faultBlackout:
		if !w.mayLosePower(n) {
			return false
		}
		for _, n := range w.nodes {
			w.losePower(n, w.lasting(800*millisecond))
		}
	case faultPause:
		return w.pause(n, w.lasting(2500*millisecond))
	case faultStop:
		return w.stopCleanly(n, w.lasting(500*millisecond))
	case faultIsolate, faultSplit, faultRing, faultLink, faultCutOffClients:
		w.partition(kind, n)
	case faultSever:
		w.severSome()
	case faultFullDisk:
		w.fillDisk(n, w.lasting(1500*millisecond))
	case faultSyncError:
		return w.mayLosePower(n) && w.failSync(n)
	case faultClockJump:
		n.clock.offsetMs += rng.Int64N(7_200_001) - 3_600_000
		w.trace.add("*", "%s: wall clock jumps to %+d ms", n, n.clock.offsetMs)
	case faultSlowDisk:
		n.slowDisk(w.lasting(50*millisecond), w.lasting(2000*millisecond))
	case faultElection:
		w.disturbElection()
	case faultCoup:
		return w.prepareCoup()
	case faultLate:
		w.late = true
		w.sched.after(armedFor, func() { w.late = false })
		w.kill(n, w.lasting(400*millisecond)) // its leaders will ask for it to be back
		return false                          // counted when it happens
	case faultLag:
		return w.lag(n)
	case faultRot:
		return w.canSpare(n) && w.rot(n)
	case faultRestartAll:
		w.restartAll(n)
	}
	return true
}

// restartAll kills every process, and now and then takes the power of every
// machine while they recover.
func (w *world) restartAll(n *node) {
	for _, n := range w.nodes {
		w.kill(n, w.lasting(300*millisecond))
	}
	if !w.plan.flushEach || w.rng.fault.IntN(2) > 0 {
		return
	}
	w.sched.after(w.lasting(2500*millisecond), func() {
		if w.phase == "healed" || !w.mayLosePower(n) {
			return
		}
		for _, n := range w.nodes {
			w.losePower(n, w.lasting(300*millisecond))
		}
	})
}

func (w *world) kill(n *node, down Time) bool {
	if n.proc == nil {
		return false
	}
	w.trace.add("*", "%s is killed, for %d ms", n, down.Ms())
	n.kill()
	w.startLater(n, down)
	return true
}

// rot kills a process, flips bits in the last segment of one of its logs, and
// starts it again.
func (w *world) rot(n *node) bool {
	dirs := n.logDirectories()
	if len(dirs) == 0 || n.proc == nil {
		return false
	}
	dir := dirs[w.rng.fault.IntN(len(dirs))]
	w.noteLoss(n)
	w.kill(n, w.lasting(500*millisecond))
	name, at, ok := n.disk.rot(dir, w.rng.fault)
	if ok {
		n.rotten = true
		w.trace.add("*", "bits of %s at %s have flipped at byte %d", name, n, at)
	}
	return ok
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

func (w *world) pause(n *node, d Time) bool {
	p := n.proc
	if p == nil || p.paused {
		return false
	}
	w.trace.add("*", "%s is paused for %d ms", n, d.Ms())
	p.pause()
	w.sched.after(d, func() {
		if p.alive && p.paused {
			w.trace.add("*", "%s goes on", n)
			p.resume()
		}
	})
	return true
}

func (w *world) stopCleanly(n *node, down Time) bool {
	if n.proc == nil || n.proc.paused {
		return false
	}
	w.trace.add("*", "%s is told to stop", n)
	n.shutDown(func() {
		w.trace.add("*", "%s has stopped cleanly", n)
		w.startLater(n, down)
	})
	return true
}

// partition cuts links for a while.
func (w *world) partition(kind fault, n *node) {
	rng := w.rng.fault
	var cut []link
	both := func(a, b *host) { cut = append(cut, link{a, b}, link{b, a}) }
	what := ""
	switch kind {
	case faultIsolate:
		direction := rng.IntN(3)
		w.cutOff(n, direction, w.lasting(2500*millisecond))
		return
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
		cut = append(cut, link{n.host, o.host})
	case faultCutOffClients:
		what = fmt.Sprintf("%s is cut off from the clients", n)
		for _, h := range w.net.hosts[len(w.nodes):] {
			both(h, n.host)
		}
	}
	w.cut(what, cut, w.lasting(2500*millisecond))
}

// link is one direction between two hosts.
type link struct{ from, to *host }

// cutOff cuts a node off from the others: both ways (0), so that nothing
// reaches it (1), or so that nothing leaves it (2).
func (w *world) cutOff(n *node, direction int, d Time) {
	var cut []link
	for _, o := range w.nodes {
		if o != n && direction != 2 {
			cut = append(cut, link{o.host, n.host})
		}
		if o != n && direction != 1 {
			cut = append(cut, link{n.host, o.host})
		}
	}
	w.cut(fmt.Sprintf("%s is cut off (%s)", n, [3]string{"both ways", "nothing reaches it", "nothing leaves it"}[direction]), cut, d)
}

// cut lets nothing through some links for a while.
func (w *world) cut(what string, links []link, d Time) {
	w.trace.add("*", "%s, for %d ms", what, d.Ms())
	for _, l := range links {
		w.net.block(l.from, l.to, true)
	}
	w.sched.after(d, func() {
		if w.phase == "healed" {
			return
		}
		for _, l := range links {
			w.net.block(l.from, l.to, false)
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

func (w *world) failSync(n *node) bool {
	dirs := n.logDirectories()
	if len(dirs) == 0 {
		return false
	}
	dir := dirs[w.rng.fault.IntN(len(dirs))]
	w.trace.add("*", "the next fsync of %s in %s will fail", n, dir)
	n.disk.failSyncIn = dir
	return true
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
	w.phase, w.coup, w.late = "healed", false, false
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
