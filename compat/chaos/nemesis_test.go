//go:build chaos

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// nemesis is one way to break the cluster. It returns when everything is mended, but not yet well.
type nemesis struct {
	name string
	what string
	// needs names what a machine must offer: "", "network", "nft" or "disk"; or "synced": a disk, and brokers
	// that sync before they acknowledge, since others may lose what no disk has.
	needs string
	// minority: a majority of the nodes is well and in touch all the time, so acknowledgements must resume.
	minority bool
	run      func(r *round) error
}

// round is one nemesis at work.
type round struct {
	*cluster
	random *rand.Rand
	about  string // which nodes it met, for the report
}

func (r *round) anyNode() *node { return r.nodes[r.random.IntN(len(r.nodes))] }

// others are the two nodes besides n, in random order.
func (r *round) others(n *node) (a, b *node) {
	i := 1 + r.random.IntN(2)
	return r.nodes[(n.index+i)%nodeCount], r.nodes[(n.index+3-i)%nodeCount]
}

func (r *round) note(format string, args ...any) { r.about = fmt.Sprintf(format, args...) }

// last waits for between lo and hi seconds.
func (r *round) last(lo, hi float64) {
	<-time.After(time.Duration((lo + r.random.Float64()*(hi-lo)) * float64(time.Second)))
}

var nemeses = []nemesis{
	{name: "kill", what: "kill -9 of a node, restart", minority: true, run: func(r *round) error {
		return r.killAndRestart(r.anyNode())
	}},
	{name: "kill-controller", what: "kill -9 of the active controller, restart", minority: true, run: func(r *round) error {
		return r.killAndRestart(r.controller())
	}},
	{name: "pause", what: "SIGSTOP of a node for up to 8 s", minority: true, run: func(r *round) error {
		n := r.anyNode()
		r.note("%s", n)
		n.signal(syscall.SIGSTOP)
		r.last(0.5, 8)
		n.signal(syscall.SIGCONT)
		return nil
	}},
	{name: "pause-kill", what: "SIGSTOP of one node, kill -9 of another", run: func(r *round) error {
		paused := r.anyNode()
		killed, _ := r.others(paused)
		r.note("%s paused, %s killed", paused, killed)
		paused.signal(syscall.SIGSTOP)
		r.last(0.2, 4)
		killed.kill()
		r.last(0.2, 2)
		paused.signal(syscall.SIGCONT)
		r.last(0, 1)
		return killed.start()
	}},
	{name: "kill-all", what: "kill -9 of all nodes at once", run: func(r *round) error {
		for _, n := range r.nodes {
			n.signal(syscall.SIGKILL)
		}
		var errs []error
		for _, n := range r.nodes {
			n.kill()
			errs = append(errs, n.start())
		}
		return errors.Join(errs...)
	}},
	{name: "isolate", what: "a node cut off from the other two", needs: "network", minority: true, run: func(r *round) error {
		return r.isolate(r.anyNode())
	}},
	{name: "isolate-controller", what: "the active controller cut off from the other two", needs: "network", minority: true, run: func(r *round) error {
		return r.isolate(r.controller())
	}},
	{name: "mute", what: "a node that hears the others and is not heard", needs: "network", minority: true, run: func(r *round) error {
		return r.mute(r.anyNode())
	}},
	{name: "mute-controller", what: "the active controller hears the others and is not heard", needs: "network", minority: true, run: func(r *round) error {
		return r.mute(r.controller())
	}},
	{name: "deaf", what: "a node that is heard and hears nobody", needs: "network", minority: true, run: func(r *round) error {
		return r.deafen(r.anyNode())
	}},
	{name: "deaf-controller", what: "the active controller is heard and hears nobody", needs: "network", minority: true, run: func(r *round) error {
		return r.deafen(r.controller())
	}},
	{name: "ring", what: "one link of the three cut, both ways", needs: "network", run: func(r *round) error {
		n := r.anyNode()
		a, b := r.others(n)
		r.note("between %s and %s", a, b)
		return r.cutFor(4, 10, [2]*node{a, b}, [2]*node{b, a})
	}},
	{name: "one-way", what: "each node hears one other node only", needs: "network", run: func(r *round) error {
		n := r.anyNode()
		a, b := r.others(n)
		r.note("%s to %s to %s", n, a, b)
		return r.cutFor(2, 6, [2]*node{a, n}, [2]*node{b, a}, [2]*node{n, b})
	}},
	{name: "loss", what: "a fifth of all packets between nodes lost", needs: "nft", run: func(r *round) error {
		defer r.net.heal()
		for _, from := range r.nodes {
			for _, to := range r.nodes {
				if from != to {
					if err := r.net.lose(from.index, to.index, 20); err != nil {
						return err
					}
				}
			}
		}
		r.last(4, 8)
		return nil
	}},
	{name: "disk-full", what: "no space left on a node's disk", needs: "disk", minority: true, run: func(r *round) error {
		n := r.anyNode()
		r.note("%s", n)
		if err := n.disk.fill(); err != nil {
			return err
		}
		r.last(3, 7)
		if err := n.disk.free(); err != nil {
			return err
		}
		return r.restartIfGone(n)
	}},
	{name: "power", what: "a node loses power: what was not synced is gone", needs: "disk", minority: true, run: func(r *round) error {
		n := r.anyNode()
		r.note("%s", n)
		return r.powerLoss(n)
	}},
	{name: "power-controller", what: "the active controller loses power", needs: "disk", minority: true, run: func(r *round) error {
		n := r.controller()
		r.note("%s", n)
		return r.powerLoss(n)
	}},
	{name: "power-all", what: "all nodes lose power at once (with log.flush.interval.messages=1)", needs: "synced", run: func(r *round) error {
		return r.powerLoss(r.nodes...)
	}},
	{name: "controlled", what: "SIGTERM of a node, restart", minority: true, run: func(r *round) error {
		n := r.anyNode()
		r.note("%s", n)
		if err := n.stop(); err != nil {
			return err
		}
		r.last(0.2, 2)
		return n.start()
	}},
	{name: "rolling", what: "SIGTERM and restart of each node in turn", minority: true, run: func(r *round) error {
		for _, n := range r.nodes {
			if err := n.stop(); err != nil {
				return err
			}
			if err := n.start(); err != nil {
				return err
			}
			if _, err := r.awaitWhole(isrTimeout); err != nil {
				return fmt.Errorf("after the restart of %s: %w", n, err)
			}
		}
		return nil
	}},
}

func (r *round) killAndRestart(n *node) error {
	r.note("%s", n)
	n.kill()
	r.last(0.1, 5)
	return n.start()
}

// isolate cuts n off from the others.
func (r *round) isolate(n *node) error {
	a, b := r.others(n)
	r.note("%s", n)
	return r.cutFor(4, 10, [2]*node{n, a}, [2]*node{a, n}, [2]*node{n, b}, [2]*node{b, n})
}

// mute cuts what n sends to the others.
func (r *round) mute(n *node) error {
	a, b := r.others(n)
	r.note("%s", n)
	return r.cutFor(4, 10, [2]*node{n, a}, [2]*node{n, b})
}

// deafen cuts what the others send to n.
func (r *round) deafen(n *node) error {
	a, b := r.others(n)
	r.note("%s", n)
	return r.cutFor(4, 10, [2]*node{a, n}, [2]*node{b, n})
}

// cutFor cuts links, each from one node to another, for a while.
func (r *round) cutFor(lo, hi float64, links ...[2]*node) error {
	defer r.net.heal()
	for _, link := range links {
		if err := r.net.cut(link[0].index, link[1].index); err != nil {
			return err
		}
	}
	r.last(lo, hi)
	return nil
}

// restartIfGone starts a node again that did not survive.
func (r *round) restartIfGone(n *node) error {
	if n.running() {
		return nil
	}
	r.about += ", which ended by itself"
	return n.start()
}

// powerLoss cuts the power of nodes at once, and starts them again.
func (r *round) powerLoss(nodes ...*node) error {
	for _, n := range nodes {
		if err := n.disk.powerOff(); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		n.kill()
		if err := n.disk.unmount(); err != nil {
			return err
		}
	}
	r.last(0.1, 3)
	for _, n := range nodes {
		if err := n.disk.mount(); err != nil {
			return err
		}
		if err := n.start(); err != nil {
			return err
		}
	}
	return nil
}
