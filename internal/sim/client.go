package sim

import (
	"fmt"
	"math/rand/v2"
)

// client is what producers and consumers share: a process on a host of its
// own, connections to the brokers, and what it knows of the leaders.
type client struct {
	world   *world
	name    string
	host    *host
	proc    *process
	rng     *rand.Rand
	brokers []*rpc // by index of node
	leaders map[topicPartition]leadership
	stale   map[topicPartition]bool // leaders that did not answer as such
	asking  bool                    // a metadata request is under way
}

func (w *world) newClient(name string) *client {
	c := &client{world: w, name: name, host: w.net.addHost(name), rng: w.rng.client, leaders: map[topicPartition]leadership{}, stale: map[topicPartition]bool{}}
	c.proc = newProcess(&w.sched, &clock{world: &w.sched})
	for _, n := range w.nodes {
		c.brokers = append(c.brokers, newRPC(w.net, c.proc, c.host, n.host, serviceClient))
	}
	return c
}

// leader is the connection to a partition's leader, nil while unknown.
func (c *client) leader(at topicPartition) *rpc {
	l, ok := c.leaders[at]
	if !ok || l.id < 0 || c.stale[at] {
		c.refresh()
		return nil
	}
	return c.brokers[l.id-firstNode]
}

// refresh asks some broker who leads what.
func (c *client) refresh() {
	if c.asking {
		return
	}
	c.asking = true
	c.brokers[c.rng.IntN(len(c.brokers))].call(metadataRequest{}, 50, func(body any) {
		c.asking = false
		if m, ok := body.(metadataResponse); ok {
			c.learn(m)
		}
	})
}

// learn takes over what a broker says of the leaders. One that knows less than
// this client is not believed (KIP-320).
func (c *client) learn(m metadataResponse) {
	for at, l := range m.leaders {
		if known, ok := c.leaders[at]; !ok || l.epoch >= known.epoch {
			c.leaders[at] = l
			delete(c.stale, at)
		}
	}
}

// forget drops what is known of one partition's leader after an error.
func (c *client) forget(at topicPartition) {
	c.stale[at] = true
	c.refresh()
}

func (c *client) String() string { return c.name }

// backoff is the pause before a request is tried again.
func (c *client) backoff() Time { return (20 + Time(c.rng.IntN(80))) * millisecond }

// tracef writes a line of the client's.
func (c *client) tracef(format string, args ...any) { c.world.trace.add(c.name, format, args...) }

func partitionName(at topicPartition) string { return fmt.Sprintf("%s-%d", at.topic, at.partition) }

func (at topicPartition) String() string { return partitionName(at) }
