package broker

import (
	"slices"
	"sync"
	"sync/atomic"

	"freshet/metadata"
	"freshet/replication"
	"freshet/storage"
)

// partition is one partition this broker has a replica of: its log and what
// waits for the log to grow (the purgatory of Apache Kafka, kept where the
// event happens instead of in one table).
type partition struct {
	*replication.Partition
	topic   *topic
	index   int32
	log     *storage.Log // Partition.Log
	deleted atomic.Bool

	// meta and live are what the role was made of; guarded by Broker.topicMu.
	meta *metadata.Partition
	live bool

	// failedWrites since failedLoggedMs, when the last log line said so; at
	// failedWokenMs the broker last looked at its disks because of one.
	failedWrites, failedLoggedMs, failedWokenMs atomic.Int64

	// open is the write group of this partition in each loop's current turn;
	// element i is touched on loop i only.
	open  []*writeGroup
	loops []*loop

	// cutting: a worker is moving the log start to the leader's.
	cutting atomic.Bool

	// streamed are the followers this broker pushes to while it leads; replaced,
	// never changed.
	streamed atomic.Pointer[[]*peerPart]

	// waiting counts fetchers and acks, so that an append with nobody waiting
	// takes no lock.
	waiting atomic.Int32
	// failures counts the failed writes of the log. Whoever parks an
	// acknowledgement notes it before the log says that the write must wait,
	// and so learns of a failure in between, which found nothing parked.
	failures atomic.Int64
	// deleting counts deletes: while it is not 0, followers are asked for their
	// log starts.
	deleting atomic.Int32
	mu       struct {
		sync.Mutex
		fetchers []*fetchWait
		acks     []*writeGroup // in the order of their parking
		deletes  []*deleteWait
		// failedFrom and failure are those of the last failed write.
		failedFrom int64
		failure    error
	}
}

// fetchWait is one parked fetch's entry in a partition's list.
type fetchWait struct {
	op    *fetchOp
	part  *partition
	index int // in part.mu.fetchers; -1 when not listed
	moved atomic.Bool
}

// wake notes which partition moved and wakes the fetch; part.mu is held.
func (w *fetchWait) wake(on *loop) {
	w.moved.Store(true)
	w.op.wake(on)
}

// watch lists w so that the next append wakes its fetch.
func (p *partition) watch(w *fetchWait) {
	p.waiting.Add(1)
	p.mu.Lock()
	w.index = len(p.mu.fetchers)
	p.mu.fetchers = append(p.mu.fetchers, w)
	p.mu.Unlock()
}

// unwatch takes w off the list; it may have been taken off already.
func (p *partition) unwatch(w *fetchWait) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.index < 0 {
		return
	}
	list := p.mu.fetchers
	last := len(list) - 1
	list[w.index] = list[last]
	list[w.index].index = w.index
	list[last] = nil
	p.mu.fetchers = list[:last]
	w.index = -1
	p.waiting.Add(-1)
}

// parkAck makes a completed write wait until the log end offset, or with
// replicated the high watermark, passes it, unless that, or the failure of a
// write before it, has happened since p.failures was seen. Loop of g.
func (p *partition) parkAck(g *writeGroup, seen int64) {
	if g.replicated {
		l := g.turn.loop
		l.startTimer(&g.timer, l.monoMs+int64(max(0, g.timeoutMs)))
	}
	p.waiting.Add(1)
	p.mu.Lock()
	if n := p.failures.Load(); n != seen && (n > seen+1 || g.baseOffset >= p.mu.failedFrom) {
		// After several failures it is not known which of them came first; an
		// error that a retry resolves is safe, a false success is not.
		p.waiting.Add(-1)
		g.failure = p.mu.failure
		g.turn.loop.post(failTask, g)
		p.mu.Unlock()
		return
	}
	p.mu.acks = append(p.mu.acks, g)
	p.mu.Unlock()
	// What it waits for may have happened while it was being parked.
	p.wakeWaiters(g.turn.loop, false)
	if g.replicated && !p.Role().Leads {
		p.failAcks(errNoLeader)
	}
}

// unparkAck takes g off the list; false if it is not there any more.
func (p *partition) unparkAck(g *writeGroup) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.mu.acks, g)
	if i < 0 {
		return false
	}
	p.mu.acks = slices.Delete(p.mu.acks, i, i+1)
	p.waiting.Add(-1)
	return true
}

// appended follows a move of the log end offset: the high watermark, the
// followers' streams, and whoever waits for either. on is the loop it is called
// on, or nil from another goroutine.
func (p *partition) appended(on *loop) {
	moved := p.Appended()
	if role := p.Role(); len(role.Followers) > 0 {
		p.wakeStreams(on)
	}
	p.wakeWaiters(on, moved)
}

// wakeWaiters wakes the parked fetches if the high watermark moved, and answers
// the acknowledgements that need wait no more.
func (p *partition) wakeWaiters(on *loop, moved bool) {
	if p.waiting.Load() == 0 {
		return
	}
	p.mu.Lock()
	if moved {
		for _, w := range p.mu.fetchers {
			w.wake(on)
		}
	}
	p.releaseAcksLocked(p.log.LogEndOffset(), p.HighWatermark())
	p.mu.Unlock()
}

// releaseAcksLocked answers the parked acknowledgements below end, or below
// the high watermark, each on its own loop.
func (p *partition) releaseAcksLocked(end, highWatermark int64) {
	kept := p.mu.acks[:0]
	for _, g := range p.mu.acks {
		if g.nextOffset > end || g.replicated && g.nextOffset > highWatermark {
			kept = append(kept, g)
			continue
		}
		p.waiting.Add(-1)
		g.turn.loop.post(answerTask, g)
	}
	clear(p.mu.acks[len(kept):])
	p.mu.acks = kept
}

// failAcks answers every acknowledgement that waits for followers with err:
// this broker leads no more.
func (p *partition) failAcks(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.mu.acks[:0]
	for _, g := range p.mu.acks {
		if !g.replicated {
			kept = append(kept, g)
			continue
		}
		p.waiting.Add(-1)
		g.failure = err
		g.turn.loop.post(failTask, g)
	}
	clear(p.mu.acks[len(kept):])
	p.mu.acks = kept
}

func answerTask(arg any) error {
	g := arg.(*writeGroup)
	l := g.turn.loop
	g.answer()
	l.settle()
	return nil
}

// Published is called by the log, outside its lock, when its end moved. The
// loop that completed the write calls moved itself, because it knows which
// loop it is.
func (p *partition) Published(int64) {}

// Failed is called by the log, under its lock, when a write failed: what was
// reserved from fromOffset on will never be published.
func (p *partition) Failed(fromOffset int64, err error) {
	p.mu.Lock()
	p.failures.Add(1)
	p.mu.failedFrom, p.mu.failure = fromOffset, err
	kept := p.mu.acks[:0]
	for _, g := range p.mu.acks {
		if g.baseOffset < fromOffset {
			kept = append(kept, g)
			continue
		}
		p.waiting.Add(-1)
		g.failure = err
		g.turn.loop.post(failTask, g)
	}
	clear(p.mu.acks[len(kept):])
	p.mu.acks = kept
	p.mu.Unlock()
}

func failTask(arg any) error {
	g := arg.(*writeGroup)
	l := g.turn.loop
	g.fail(g.failure)
	g.answer()
	l.settle()
	return nil
}

// wakeAll wakes every parked fetch, for example because the partition went
// away.
func (p *partition) wakeAll() {
	p.mu.Lock()
	for _, w := range p.mu.fetchers {
		w.wake(nil)
	}
	p.mu.Unlock()
}
