package sim

import (
	"slices"

	"freshet/metadata/quorum"
)

// watchEvery is how often the running brokers are looked at.
const watchEvery = 25 * millisecond

// watchElectable looks for replicas that may be elected and must not be, for as
// long as the world lasts.
func (w *world) watchElectable() {
	w.checkElectable()
	w.sched.after(watchEvery, w.watchElectable)
}

// checkElectable is (j): whoever may be elected has everything that was
// committed. The last known leader is left out, who is taken when nobody is.
func (w *world) checkElectable() {
	w.noteCommitted()
	for _, topic := range w.newest.SortedTopics() {
		for i, p := range topic.Partitions {
			at := topicPartition{topic.Name, int32(i)}
			for _, id := range slices.Concat(p.ISR, p.ELR) {
				if end, ok := w.logEnd(id, at); ok && end < w.known[at] {
					w.fail("(j) b%d may be elected for %s (ISR %v, ELR %v at epoch %d), and its log ends at %d: committed is up to %d",
						id, at, p.ISR, p.ELR, p.LeaderEpoch, end, w.known[at])
					return
				}
			}
		}
	}
}

// logEnd is where the log of a replica ends that the controllers know: of the
// process that is registered, or at most of one that was killed and is not
// registered anew. It is not ok to judge one that has lost something since.
func (w *world) logEnd(id int32, at topicPartition) (end int64, ok bool) {
	n := w.nodes[id-firstNode]
	epoch := w.newest.BrokerEpoch(id)
	switch b := n.broker; {
	case epoch <= n.lossyEpoch:
		return 0, false
	case b != nil && b.epoch == epoch:
		r := n.replica(at)
		if r == nil || b.dirError != nil {
			return 0, false
		}
		return r.log.LogEndOffset(), true
	case n.leftEpoch == epoch:
		end, ok = n.left[at]
	}
	return end, ok
}

// noteCommitted remembers what clients were told and what replicas know to be
// committed, but for what was lost when power failed everywhere at the end.
func (w *world) noteCommitted() {
	for _, known := range []map[topicPartition]int64{w.acked, w.read} {
		for at, end := range known {
			w.known[at] = max(w.known[at], end)
		}
	}
	for _, n := range w.nodes {
		if n.broker == nil {
			continue
		}
		for _, r := range n.broker.replicas {
			w.known[r.at] = max(w.known[r.at], r.log.HighWatermark())
		}
	}
	for at, end := range w.recoveries.kept { // what no log had when power failed everywhere
		w.known[at] = min(w.known[at], end)
	}
}

// noteLeader holds a member's word on who leads the metadata group against what
// others said of the same epoch.
func (w *world) noteLeader(n *node, l quorum.Leadership) {
	if l.ID < 0 {
		return
	}
	if first, ok := w.leaders[l.Epoch]; ok && first != l.ID {
		w.fail("(h) epoch %d of the metadata group has two leaders: b%d, and b%d as %s knows", l.Epoch, first, l.ID, n)
		return
	}
	w.leaders[l.Epoch] = l.ID
	if l.ID == n.id && w.coup {
		w.coup = false
		w.overthrow(n, l.Epoch)
	}
}

// pagesChanged hears of bytes that were sent from a file and are others when
// they arrive.
func (w *world) pagesChanged(from, to *side, p *pages) {
	w.fail("(g) %d bytes of %s at position %d changed on their way from %s to %s: the file was truncated or written to while a socket had its pages",
		len(p.want), p.name, p.at, from.host.name, to.host.name)
}
