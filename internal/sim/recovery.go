package sim

import (
	"cmp"

	"freshet/compat/history"
	"freshet/metadata"
	"freshet/storage"
)

// uncleanRecoveryMs is freshet.unclean.recovery.timeout.ms.
const uncleanRecoveryMs = 3000

// leaderlessLogs are the ends of this broker's logs of partitions without a
// leader: what broker/controller_recovery.go does.
func (b *broker) leaderlessLogs() []metadata.ReplicaLog {
	var logs []metadata.ReplicaLog
	for _, r := range b.replicas {
		role := r.part.Role()
		if p := r.state; p == nil || p.Leader >= 0 || role.Leads || role.LeaderEpoch != p.LeaderEpoch {
			continue
		}
		logs = append(logs, metadata.ReplicaLog{TopicID: r.topicID, Partition: r.at.partition, LeaderEpoch: role.LeaderEpoch, LogEnd: r.end()})
	}
	return logs
}

// end is where the replica's log ends.
func (r *replica) end() metadata.LogEnd {
	end := metadata.LogEnd{LastEpoch: storage.UndefinedEpoch, EndOffset: r.log.LogEndOffset()}
	if end.EndOffset > 0 {
		end.LastEpoch = r.log.EpochAt(end.EndOffset - 1)
	}
	return end
}

// recoverLeaders elects the longest logs where nobody is known to hold
// everything.
func (b *broker) recoverLeaders() {
	due := b.control.recoveries.Due(b.image(), b.monotonicMs())
	if len(due) == 0 {
		return
	}
	b.quorum.change(func(img *metadata.Image) []metadata.Record {
		return b.decisions().Recover(img, due)
	}, func(_ *metadata.Image, err error) {
		if err != nil {
			return
		}
		for i := range due {
			b.tracef("after unclean restarts of all replicas of partition %d of topic %v %s", due[i].Partition, due[i].TopicID, &due[i])
		}
	})
}

// recoveries are what the checker knows of elections that compared logs.
type recoveries struct {
	// since is when a partition came to wait for one, by the newest metadata.
	since map[topicPartition]Time
	// changed is when a broker was last fenced, unfenced or registered.
	changed map[int32]Time
	// kept is from which offset on a partition lost what was acknowledged, when
	// power failed everywhere at the end.
	kept map[topicPartition]int64
}

func newRecoveries() recoveries {
	return recoveries{since: map[topicPartition]Time{}, changed: map[int32]Time{}, kept: map[topicPartition]int64{}}
}

// noteRecoveries looks for elections that compared logs between two images.
func (w *world) noteRecoveries(old, next *metadata.Image) {
	for i := range next.Brokers {
		b := &next.Brokers[i]
		if was := old.Broker(b.ID); was == nil || was.Epoch != b.Epoch || was.Active() != b.Active() {
			w.recoveries.changed[b.ID] = w.sched.now
		}
	}
	for _, topic := range next.SortedTopics() {
		before := old.Topic(topic.Name)
		for i, p := range topic.ChangedSince(before) {
			at := topicPartition{topic.Name, i}
			since, waited := w.recoveries.since[at]
			switch {
			case p.NeedsRecovery() && !waited:
				w.recoveries.since[at] = w.sched.now
			case !p.NeedsRecovery() && waited:
				delete(w.recoveries.since, at)
				if p.Leader >= firstNode {
					w.checkLongest(at, p.Leader, before.Partition(i), old, since)
				}
			}
		}
	}
}

// justNow is how long ago something may have happened that an election did not
// know of.
const justNow = 500 * millisecond

// checkLongest is (i): of the logs that were there none is longer than the new
// leader's, and a replica that was not there was waited for.
func (w *world) checkLongest(at topicPartition, leader int32, was *metadata.Partition, img *metadata.Image, since Time) {
	longest := w.endOf(at, leader, img)
	if longest == nil {
		return // it has ended since it reported
	}
	w.trace.add("*", "%s: nobody was known to have everything; b%d leads, whose log ends at %d of epoch %d", at, leader, longest.EndOffset, longest.LastEpoch)
	for _, id := range was.Replicas {
		if w.sched.now-w.recoveries.changed[id] < justNow {
			continue
		}
		if !img.Active(id) {
			if waited := w.sched.now - since; waited < uncleanRecoveryMs*millisecond*99/100 {
				w.fail("(i) b%d was elected to lead %s without b%d, which was waited for for %d ms only", leader, at, id, waited.Ms())
			}
			continue
		}
		if end := w.endOf(at, id, img); end != nil &&
			cmp.Or(cmp.Compare(end.LastEpoch, longest.LastEpoch), cmp.Compare(end.EndOffset, longest.EndOffset)) > 0 {
			w.fail("(i) b%d was elected to lead %s with a log that ends at %d of epoch %d, and b%d was there with one up to %d of epoch %d",
				leader, at, longest.EndOffset, longest.LastEpoch, id, end.EndOffset, end.LastEpoch)
		}
	}
	if w.phase == phaseDark && !w.plan.flushEach {
		w.recoveries.kept[at] = longest.EndOffset
	}
}

// endOf is where a broker's log ends, nil when the process that the image knows
// does not run.
func (w *world) endOf(at topicPartition, id int32, img *metadata.Image) *metadata.LogEnd {
	n := w.nodes[id-firstNode]
	if r := n.replica(at); r != nil && n.broker.epoch == img.BrokerEpoch(id) {
		end := r.end()
		return &end
	}
	return nil
}

// phaseDark is from when power has failed everywhere at the end.
const phaseDark = "dark"

// kept are shares of unsynced sectors that a power loss leaves.
var kept = [4]float64{0, 0.3, 0.9, 1}

// failPowerEverywhere cuts the power of one machine after the other while
// clients write, and ends the clients with the last. Then the machines come
// back, the first of them perhaps too late to be waited for.
func (w *world) failPowerEverywhere() bool {
	rng := w.rng.fault
	w.phase = phaseDark
	w.trace.add("*", "power fails everywhere")
	order, mixed, all := rng.Perm(len(w.nodes)), rng.IntN(2) == 0, kept[rng.IntN(2)]
	late := rng.IntN(3) == 0
	for cut, i := range order {
		pause := Time(rng.IntN(100)) * millisecond
		if cut == 1 && late { // the first leaves the in-sync replicas before
			pause += (sessionTimeoutMs + lagTimeMaxMs + 500) * millisecond
		}
		if !w.until(w.sched.now + pause) {
			return false
		}
		n := w.nodes[i]
		keep := all
		if mixed {
			keep = kept[rng.IntN(len(kept))]
		}
		w.trace.add("*", "%s loses power; of unsynced sectors %.0f %% were written", n, keep*100)
		n.starts++
		n.losePower(keep)
	}
	w.endClients()
	for i, n := range w.nodes {
		down := w.lasting(1000 * millisecond)
		if late && i == order[0] {
			down += uncleanRecoveryMs*millisecond + w.lasting(2*uncleanRecoveryMs*millisecond)
		}
		w.startLater(n, down)
	}
	return w.waitFor("every partition to have a leader and all replicas the same log after power failed everywhere", 60*second, w.settled)
}

// endClients ends the clients' processes: what they were not told is unknown.
func (w *world) endClients() {
	for _, p := range w.producers {
		p.proc.end()
	}
	for _, c := range w.consumers {
		c.proc.end()
	}
	for _, g := range w.groups {
		g.proc.end()
	}
}

// forgive takes back what was promised and then lost when all machines lost
// power before it was on any disk: no log that was there when the leader was
// elected had it. With flush.messages=1 nothing is taken back.
func (w *world) forgive() {
	for at, from := range w.recoveries.kept {
		if at.topic != dataTopic {
			continue
		}
		w.acked[at] = min(w.acked[at], from)
		w.lost += w.history.Forgive(at.partition, from)
		for _, c := range w.consumers {
			var kept []history.Read
			for _, r := range c.reads {
				if r.Partition != at.partition || r.Offset < from {
					kept = append(kept, r)
				}
			}
			c.reads = kept
		}
	}
}
