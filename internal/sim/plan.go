package sim

import (
	"fmt"
	"math/rand/v2"
)

// Options say what to run.
type Options struct {
	Seed uint64
	// Nodes is the number of brokers, each a controller too; 0 lets the seed
	// choose.
	Nodes int
	// Ticks is how long faults are injected, in virtual milliseconds; 0: 6,000.
	Ticks int
}

// defaultTicks is how long the trouble lasts when nothing else is said.
const defaultTicks = 6000

// Names and ids of the simulated cluster.
const (
	clusterID   = "simulated-cluster-0001"
	dataTopic   = "orders"
	offsetTopic = "__consumer_offsets"
	firstNode   = 1
)

const acksAll int16 = -1

// plan is everything a seed decides before the run begins.
type plan struct {
	nodes      int
	trouble    Time // how long faults are injected
	partitions int
	replicas   int
	minInsync  int
	// flushEach is flush.messages=1: an acknowledgement then survives the loss
	// of power everywhere.
	flushEach    bool
	segmentBytes int32
	maxValue     int // bytes of filler in a record
	writeEvery   Time
	producers    int // acks=all, idempotent
	plain        int // acks=all, not idempotent
	hasty        int // acks=1
	consumers    int
	groups       int
	// lateWrites completes writes out of order and after the call, as the
	// io_uring engine of several loops does.
	lateWrites   bool
	lossPermille int
	jitter       Time
	faults       faultMix
	// darkness: at the end, when all is healed, all machines lose power while
	// clients write.
	darkness bool
}

// newPlan draws a plan.
func newPlan(o Options, rng *rand.Rand) plan {
	p := plan{nodes: o.Nodes, trouble: Time(o.Ticks) * millisecond, replicas: 3}
	if p.nodes == 0 {
		p.nodes = 3
		if rng.IntN(4) == 0 {
			p.nodes = 5 // then the controller has no replica of many a partition
		}
	}
	if p.trouble == 0 {
		p.trouble = defaultTicks * millisecond
	}
	p.replicas = min(p.replicas, p.nodes)
	p.partitions = 1 + rng.IntN(3)
	p.minInsync = min(2, p.replicas)
	p.flushEach = rng.IntN(2) == 0
	p.segmentBytes = int32(2000 + rng.IntN(20_000))
	p.maxValue = 1 + rng.IntN(300)
	p.writeEvery = Time(5+rng.IntN(40)) * millisecond
	p.producers = 1 + rng.IntN(2)
	p.plain = rng.IntN(2)
	p.hasty = rng.IntN(2)
	p.consumers = 1 + rng.IntN(2)
	p.groups = 1 + rng.IntN(2)
	p.lateWrites = rng.IntN(2) == 0
	if rng.IntN(3) == 0 {
		p.lossPermille = rng.IntN(60)
	}
	p.jitter = Time(1+rng.IntN(20)) * 100 * microsecond
	p.faults = newFaultMix(rng, p.flushEach)
	p.darkness = rng.IntN(2) == 0
	return p
}

func (p *plan) String() string {
	return fmt.Sprintf("nodes %d, partitions %d, replicas %d, min.insync.replicas %d, flush.messages=1 %v, segment.bytes %d, "+
		"producers %d idempotent %d plain %d with acks=1, writes complete late %v, loss %d‰, faults %s, power fails everywhere at the end %v",
		p.nodes, p.partitions, p.replicas, p.minInsync, p.flushEach, p.segmentBytes,
		p.producers, p.plain, p.hasty, p.lateWrites, p.lossPermille, p.faults, p.darkness)
}
