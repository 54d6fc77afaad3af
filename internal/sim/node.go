package sim

import (
	"fmt"

	"freshet/metadata"
	"freshet/metadata/quorum"
	"freshet/storage"
)

// node is one machine with the broker and controller that runs on it. What is
// here survives the process; the broker does not.
type node struct {
	world *world
	id    int32
	host  *host
	clock *clock
	disk  *disk
	dirID storage.UUID // of the log directory
	meta  metaDisk

	proc   *process // nil: not running
	broker *broker  // of the running process
	sides  []*side  // its connections
	starts int      // counts decisions to start or not to

	// mark says which registration ran last, and in which boot of the machine: a
	// process that was killed may claim it, one after a power loss may not.
	mark  struct{ epoch, boot int64 }
	boots int64

	// left is where the logs of the process that ran last ended at most, and
	// leftEpoch its registration.
	left      map[topicPartition]int64
	leftEpoch int64

	lossyEpoch int64 // its registration when it last lost what it had not synced
	rotten     bool  // bits of its logs have flipped once
	writeDelay Time  // of a slow disk
	crashes    int
}

// logDir is where every node keeps its logs.
const logDir = "/data"

func (w *world) newNode(id int32) *node {
	n := &node{world: w, id: id}
	n.host = w.net.addHost(n.String())
	n.clock = &clock{world: &w.sched, driftPpm: w.rng.node.Int64N(401) - 200, offsetMs: w.rng.node.Int64N(2001) - 1000,
		bootShift: w.rng.node.Int64N(1_000_000)}
	n.disk = newDisk(n.String(), n.clock, w.trace)
	n.disk.tally = &w.tally
	n.mark.epoch, n.leftEpoch = -1, -1
	return n
}

func (n *node) String() string { return fmt.Sprintf("b%d", n.id) }

func (n *node) tracef(format string, args ...any) { n.world.trace.add(n.String(), format, args...) }

// found makes the machines, formats their disks and starts them.
func (w *world) found() {
	for i := range w.plan.nodes {
		w.nodes = append(w.nodes, w.newNode(int32(firstNode+i)))
	}
	for _, n := range w.nodes {
		meta, err := storage.FormatLogDir(n.disk, logDir, clusterID, n.id)
		if err != nil {
			panic(fmt.Sprintf("BUG: sim: cannot format the disk of %s: %v", n, err))
		}
		n.dirID = meta.DirectoryID
		n.meta.format(w, n)
	}
	for _, n := range w.nodes {
		w.startLater(n, Time(w.rng.node.IntN(200))*millisecond)
	}
}

// start starts the process: what cli/start.go does.
func (n *node) start() {
	n.host.up = true
	n.proc = newProcess(&n.world.sched, n.clock)
	n.broker = newBroker(n)
	faults := n.disk.faults
	if err := n.broker.open(); err != nil {
		if n.world.phase == "healed" || n.disk.faults == faults {
			n.world.fail("(start) %s does not start: %v", n, err)
			return
		}
		n.crash(fmt.Sprintf("it cannot start: %v", err))
	}
}

// ends forgets the process.
func (n *node) ends() {
	if n.broker.epoch >= 0 {
		n.leftEpoch, n.left = n.broker.epoch, map[topicPartition]int64{}
		for _, r := range n.broker.replicas {
			n.left[r.at] = r.log.ReservedEndOffset()
		}
	}
	n.proc.end()
	n.proc, n.broker = nil, nil
	clear(n.host.listen)
	n.crashes++
}

// kill is kill -9: the kernel closes the connections, the page cache stays.
func (n *node) kill() {
	if n.proc == nil {
		return
	}
	sides := n.sides
	n.sides = nil
	n.ends()
	n.disk.killed()
	n.meta.killed()
	for _, s := range sides {
		s.close()
	}
}

// losePower is worse: nobody is told, and what was not synced is gone.
func (n *node) losePower(keep float64) {
	if n.proc != nil {
		sides := n.sides
		n.sides = nil
		n.ends()
		for _, s := range sides {
			s.vanish()
		}
	}
	n.host.up = false
	n.disk.powerLoss(n.world.rng.disk, keep, true)
	n.meta.killed()
	n.boots++
	n.clock.bootedAt = n.world.sched.now
	n.clock.bootShift = n.world.rng.node.Int64N(1_000_000)
}

// crash ends the process after a failure that it cannot live with.
func (n *node) crash(why string) {
	n.world.trace.add("*", "%s ends itself: %s", n, why)
	n.kill()
	n.world.startLater(n, 300*millisecond)
}

// previousEpoch is the registration under which everything that this node wrote
// is still there, -1 if it may have lost some.
func (n *node) previousEpoch(clean int64) int64 {
	if clean >= 0 || n.mark.boot != n.boots {
		return clean
	}
	return n.mark.epoch
}

// hold notes a connection, so that it ends with the process.
func (n *node) hold(s *side) {
	live := n.sides[:0]
	for _, o := range n.sides {
		if o.open {
			live = append(live, o)
		}
	}
	n.sides = append(live, s)
}

// logDirectories lists the directories of the node's replicas.
func (n *node) logDirectories() []string {
	var dirs []string
	if n.broker != nil {
		for _, r := range n.broker.replicas {
			dirs = append(dirs, r.log.Dir())
		}
	}
	return dirs
}

func (n *node) slowDisk(delay, d Time) {
	n.world.trace.add("*", "writes of %s take %d ms more for %d ms", n, delay.Ms(), d.Ms())
	n.writeDelay = delay
	n.world.sched.after(d, func() { n.writeDelay = 0 })
}

// metaDisk is the file that keeps a member's part of the metadata log. Each
// Write is one synced transaction: it is there whole, or not at all.
type metaDisk struct {
	state quorum.State
	busy  bool
	queue []*quorum.Write
	life  int
}

func (m *metaDisk) killed() {
	m.queue, m.busy = nil, false
	m.life++
}

// write stores writes one after the other, each in the time of a sync, and
// reports each when it is durable.
func (m *metaDisk) write(p *process, took func() Time, w *quorum.Write, done func(*quorum.Write)) {
	m.queue = append(m.queue, w)
	if m.busy {
		return
	}
	m.busy = true
	m.next(p, took, done)
}

func (m *metaDisk) next(p *process, took func() Time, done func(*quorum.Write)) {
	w, life, d := m.queue[0], m.life, took()
	p.sched.after(d/2, func() {
		if m.life == life {
			m.state.Apply(w) // from here on it survives a crash
		}
	})
	p.sched.after(d, func() {
		if m.life != life {
			return
		}
		m.queue = m.queue[1:]
		p.run(func() { done(w) })
		if m.life != life {
			return
		}
		if len(m.queue) == 0 {
			m.busy = false
			return
		}
		m.next(p, took, done)
	})
}

// uuid is a storage id as metadata has it.
func uuid(u storage.UUID) metadata.UUID { return metadata.UUID(u) }
