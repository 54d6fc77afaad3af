package sim

import (
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"io"
	mathrand "math/rand/v2"
	"runtime/debug"
	"sync"

	"freshet/compat/history"
	"freshet/metadata"
)

// streams are the sources of chance, one for each concern, so that one more
// draw in one of them does not change the others.
type streams struct {
	plan, net, disk, node, client, fault *mathrand.Rand
}

func newStreams(seed uint64) streams {
	stream := func(n uint64) *mathrand.Rand { return mathrand.New(mathrand.NewPCG(seed, n)) }
	return streams{plan: stream(1), net: stream(2), disk: stream(3), node: stream(4), client: stream(5), fault: stream(6)}
}

// world is one run: machines, network, clients, faults, and what was promised.
type world struct {
	options Options
	plan    plan
	rng     streams
	sched   scheduler
	trace   *trace
	net     *network
	nodes   []*node

	history   *history.History
	producers []*producer
	consumers []*consumer
	groups    []*groupClient

	// acked and read are the offsets below which clients know of records.
	acked, read map[topicPartition]int64

	// images are fingerprints of the metadata by index, as the first broker to
	// apply each showed it.
	images map[int64]uint64
	newest *metadata.Image // that any broker has applied
	// leaders are the leaders of the metadata group by epoch, as the first
	// member to know of one said.
	leaders map[int32]int32
	// known are the offsets below which some replica, or a client, knew
	// records to be committed.
	known map[topicPartition]int64
	// coup: the next member elected is cut off, and its voters are killed. late:
	// the next change of an ISR that a leader asks for is delayed.
	coup, late bool
	// healedAt is what acked was when everything was healed.
	healedAt map[topicPartition]int64

	recoveries recoveries
	lost       int64 // acknowledged writes that no disk had when power failed everywhere

	violation string
	tally     tally
	phase     string
}

// Result is what became of a run.
type Result struct {
	Seed      uint64
	Violation string // empty: every promise was kept
	Tail      []string
	Hash      uint64 // of the whole trace
	Lines     int64  // of the trace
	Events    int64
	Faults    Faults
	Acked     int64
	VirtualMs int64
	Plan      string
}

// runMu keeps runs apart: the seeded source of random bytes is the process's.
var runMu sync.Mutex

// Run simulates one cluster from its seed; out, if not nil, gets the trace.
func Run(o Options, out io.Writer) (result Result) {
	runMu.Lock()
	defer runMu.Unlock()
	// The raft library draws its election timeouts, and storage its ids, from
	// crypto/rand.
	real := rand.Reader
	rand.Reader = &seededBytes{mathrand.NewChaCha8([32]byte{byte(o.Seed), byte(o.Seed >> 8), byte(o.Seed >> 16), byte(o.Seed >> 24), byte(o.Seed >> 32)})}
	defer func() { rand.Reader = real }()

	w := newWorld(o, out)
	func() {
		defer func() {
			if p := recover(); p != nil {
				w.fail("(panic) %v\n%s", p, debug.Stack())
			}
		}()
		w.run()
	}()
	return Result{
		Seed: o.Seed, Violation: w.violation, Tail: w.trace.tail(60), Hash: w.trace.hash, Lines: w.trace.count,
		Events: w.sched.count, Faults: Faults{w.tally}, Acked: w.history.Acked(), VirtualMs: w.sched.now.Ms(), Plan: w.plan.String(),
	}
}

// newWorld is a world before its first moment.
func newWorld(o Options, out io.Writer) *world {
	rng := newStreams(o.Seed)
	w := &world{options: o, rng: rng, history: &history.History{}, acked: map[topicPartition]int64{}, read: map[topicPartition]int64{},
		images: map[int64]uint64{}, newest: metadata.NewImage(), leaders: map[int32]int32{}, known: map[topicPartition]int64{},
		recoveries: newRecoveries()}
	w.plan = newPlan(o, rng.plan)
	w.trace = newTrace(&w.sched, out)
	w.net = newNetwork(&w.sched, rng.net, w.trace)
	w.net.lossPermille, w.net.jitter = w.plan.lossPermille, w.plan.jitter
	w.net.tally, w.net.changed = &w.tally, w.pagesChanged
	return w
}

// seededBytes stands in for the system's source of random bytes.
type seededBytes struct{ *mathrand.ChaCha8 }

// fail notes the first broken promise; the run ends with it.
func (w *world) fail(format string, args ...any) {
	if w.violation != "" {
		return
	}
	w.violation = fmt.Sprintf(format, args...)
	w.trace.add("*", "VIOLATION %s", w.violation)
}

// until runs events up to a moment; false when a promise was broken.
func (w *world) until(t Time) bool {
	for w.violation == "" && w.sched.step(t) {
	}
	if w.violation == "" {
		w.sched.now = max(w.sched.now, t)
	}
	return w.violation == ""
}

// noteAcked remembers that clients were promised a partition's offsets below
// end, noteRead that one has read them.
func (w *world) noteAcked(at topicPartition, end int64) { w.acked[at] = max(w.acked[at], end) }
func (w *world) noteRead(at topicPartition, end int64)  { w.read[at] = max(w.read[at], end) }

// noteImage holds a broker's new metadata against what others had at the same
// index.
func (w *world) noteImage(n *node, img *metadata.Image) {
	h := fnv.New64a()
	for i := range img.Brokers {
		b := &img.Brokers[i]
		fmt.Fprintln(h, b.ID, b.Epoch, b.Fenced, b.InControlledShutdown)
	}
	for _, topic := range img.SortedTopics() {
		for _, p := range topic.Partitions {
			fmt.Fprintln(h, p.Replicas, p.ISR, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.ELR, p.LastKnownELR)
		}
	}
	if have, ok := w.images[img.Index]; ok && have != h.Sum64() {
		w.fail("(h) the metadata of %s at index %d is not what another broker had there", n, img.Index)
	}
	w.images[img.Index] = h.Sum64()
	if img.Index > w.newest.Index {
		w.traceMetadata(n, w.newest, img)
		w.noteRecoveries(w.newest, img)
		w.newest = img
		w.checkElectable()
	}
}

// traceMetadata writes what an image says that none before it did.
func (w *world) traceMetadata(n *node, old, next *metadata.Image) {
	for i := range next.Brokers {
		b := &next.Brokers[i]
		if was := old.Broker(b.ID); was == nil || was.Epoch != b.Epoch || was.Fenced != b.Fenced {
			w.trace.add("*", "metadata %d: b%d has epoch %d, fenced %v (applied first by %s)", next.Index, b.ID, b.Epoch, b.Fenced, n)
		}
	}
	for _, topic := range next.SortedTopics() {
		for i, p := range topic.ChangedSince(old.Topic(topic.Name)) {
			w.trace.add("*", "metadata %d: %s-%d has leader b%d at epoch %d, ISR %v, ELR %v, last known %v", next.Index, topic.Name, i,
				p.Leader, p.LeaderEpoch, p.ISR, p.ELR, p.LastKnownELR)
		}
	}
}

// run is the life of a world.
func (w *world) run() {
	w.trace.add("*", "seed %d: %s", w.options.Seed, &w.plan)
	w.found()
	if !w.until(w.sched.now) || !w.waitFor("the cluster to start", 30*second, w.healthy) {
		return
	}
	w.trace.add("*", "the cluster is up; clients begin, and so does the trouble")
	w.startClients()
	end := w.sched.now + w.plan.trouble
	w.watchElectable()
	w.scheduleFaults(end)
	if !w.until(end) {
		return
	}
	w.heal()
	if !w.waitFor("every partition to take writes and every replica to be in sync", 60*second, w.recovered) {
		return
	}
	if w.plan.darkness {
		if w.failPowerEverywhere() {
			w.check()
		}
		return
	}
	for _, p := range w.producers {
		p.stopped = true
	}
	if !w.waitFor("the open writes to be answered", 60*second, w.quiet) {
		return
	}
	w.check()
}

// waitFor runs until a condition holds, and looks for it every 50 ms.
func (w *world) waitFor(what string, limit Time, holds func() bool) bool {
	deadline := w.sched.now + limit
	for !holds() {
		if w.sched.now >= deadline {
			w.fail("(liveness) waited %d virtual seconds for %s: %s", limit/second, what, w.describe())
			return false
		}
		if !w.until(w.sched.now + 50*millisecond) {
			return false
		}
	}
	return true
}
