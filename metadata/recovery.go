package metadata

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Recoveries finds leaders for partitions of which no replica is known to hold
// everything committed any more, because all of them restarted uncleanly: from
// what brokers report of their logs it chooses the longest, and says when it has
// waited long enough for those that did not report. It is the soft state of the
// active controller, nothing of it is in the metadata log: brokers report again
// and again, and a new active controller begins anew. It knows no clock: every
// call brings the time, in milliseconds of one monotonic clock. Calls must not
// run at the same time. KIP-966 has the idea (unclean recovery, "balanced");
// no release of Kafka has the code, it takes the leader of before.
type Recoveries struct {
	timeoutMs int64
	open      map[partitionKey]*recovery
	// What the last look found holds until there is a new image or report, or
	// nextMs comes.
	seen   *Image
	nextMs int64
}

type partitionKey struct {
	topic     UUID
	partition int32
}

// recovery is what is known of one partition's replicas.
type recovery struct {
	leaderEpoch int32 // of the partition without a leader
	reports     map[int32]logReport
	// deadlineMs is when no more replicas are waited for: math.MaxInt64 while
	// none is there that once held everything.
	deadlineMs int64
}

// logReport is a report and the broker epoch of the registration it is from.
type logReport struct {
	brokerEpoch int64
	end         LogEnd
}

// ReplicaLog is what a broker reports of its log of a partition that has no
// leader.
type ReplicaLog struct {
	TopicID   UUID
	Partition int32
	// LeaderEpoch is the partition's as the broker has applied it: nothing of an
	// earlier leader's can still arrive in the log.
	LeaderEpoch int32
	LogEnd
}

// LogEnd is where a log ends: after the record before EndOffset, which a leader
// of LastEpoch wrote; -1 when that is not known or there is none.
type LogEnd struct {
	LastEpoch int32
	EndOffset int64
}

// compare orders logs by what they are worth: one with a record of a later
// leader holds everything that was committed before that leader.
func (l LogEnd) compare(other LogEnd) int {
	return cmp.Or(cmp.Compare(l.LastEpoch, other.LastEpoch), cmp.Compare(l.EndOffset, other.EndOffset))
}

// Recovery is a partition and the replica that is to lead it.
type Recovery struct {
	TopicID     UUID
	Partition   int32
	LeaderEpoch int32 // of the partition while it has no leader
	Leader      int32
	BrokerEpoch int64        // of the leader
	Logs        []ReplicaEnd // that were compared, in the order of the replicas
	Missing     []int32      // replicas that were not heard of in time
}

// ReplicaEnd is the end of one replica's log.
type ReplicaEnd struct {
	Broker int32
	LogEnd
}

// String says what was compared, for the log.
func (r *Recovery) String() string {
	texts := make([]string, len(r.Logs))
	for i, l := range r.Logs {
		texts[i] = fmt.Sprintf("broker %d ends at offset %d of epoch %d", l.Broker, l.EndOffset, l.LastEpoch)
	}
	text := fmt.Sprintf("the longest log leads, that of broker %d: %s", r.Leader, strings.Join(texts, ", "))
	if len(r.Missing) > 0 {
		text += fmt.Sprintf("; not heard of in time: %s", joinIDs(r.Missing))
	}
	return text
}

// NewRecoveries is a machine that waits timeoutMs
// (freshet.unclean.recovery.timeout.ms) for replicas that do not report.
func NewRecoveries(timeoutMs int64) *Recoveries {
	return &Recoveries{timeoutMs: timeoutMs, open: map[partitionKey]*recovery{}}
}

// Clear forgets everything, for a new active controller.
func (r *Recoveries) Clear() {
	clear(r.open)
	r.seen = nil
}

// NeedsRecovery tells whether a partition waits for its replicas to report how
// long their logs are: it has no leader, and whoever held everything committed
// may have lost some of it.
func (p *Partition) NeedsRecovery() bool {
	return p.Leader == noLeader && len(p.ISR) == 0 && len(p.ELR) == 0 && len(p.LastKnownELR) > 0
}

// Report notes what the broker's registration with that epoch says of its logs
// of partitions without a leader. What is about another state of a partition
// than the image's is ignored.
func (r *Recoveries) Report(img *Image, broker int32, epoch int64, logs []ReplicaLog) {
	if img.BrokerEpoch(broker) != epoch {
		return
	}
	for _, l := range logs {
		p := img.partition(l.TopicID, l.Partition)
		if p == nil || p.Leader != noLeader || p.LeaderEpoch != l.LeaderEpoch || !slices.Contains(p.Replicas, broker) {
			continue
		}
		key := partitionKey{l.TopicID, l.Partition}
		open := r.open[key]
		if open == nil || open.leaderEpoch != p.LeaderEpoch {
			open = &recovery{leaderEpoch: p.LeaderEpoch, reports: map[int32]logReport{}, deadlineMs: math.MaxInt64}
			r.open[key] = open
		}
		if report := (logReport{epoch, l.LogEnd}); open.reports[broker] != report {
			open.reports[broker] = report
			r.seen = nil
		}
	}
}

// Due returns the recoveries that wait for nobody any more, to be given to
// Controller.Recover; again until the image shows their leaders. A partition
// waits until every replica has reported, but no longer than the timeout from
// when the first of those was there that once held everything: what was
// committed is in their logs or lost. While none of those is back it waits for
// them.
func (r *Recoveries) Due(img *Image, nowMs int64) []Recovery {
	if img == r.seen && nowMs < r.nextMs {
		return nil
	}
	r.nextMs = math.MaxInt64
	var due []Recovery
	for key, open := range r.open {
		p := img.partition(key.topic, key.partition)
		if p == nil || p.Leader != noLeader || p.LeaderEpoch != open.leaderEpoch {
			delete(r.open, key)
			continue
		}
		if !p.NeedsRecovery() {
			continue // the reports are for an operator's unclean election
		}
		found := open.choose(img, key, p)
		switch {
		case !slices.ContainsFunc(found.Logs, func(l ReplicaEnd) bool { return slices.Contains(p.LastKnownELR, l.Broker) }):
			open.deadlineMs = math.MaxInt64
		case open.deadlineMs == math.MaxInt64:
			open.deadlineMs = nowMs + r.timeoutMs
			fallthrough
		default:
			if len(found.Missing) > 0 && nowMs < open.deadlineMs {
				r.nextMs = min(r.nextMs, open.deadlineMs)
				continue
			}
			r.nextMs = nowMs
			due = append(due, found)
		}
	}
	r.seen = img
	slices.SortFunc(due, func(a, b Recovery) int {
		return cmp.Or(slices.Compare(a.TopicID[:], b.TopicID[:]), cmp.Compare(a.Partition, b.Partition))
	})
	return due
}

// Longest is the live replica whose log is the longest of those reported, -1
// when none was.
func (r *Recoveries) Longest(img *Image, topicID UUID, partition int32) int32 {
	key := partitionKey{topicID, partition}
	p, open := img.partition(topicID, partition), r.open[key]
	if p == nil || open == nil || p.Leader != noLeader || p.LeaderEpoch != open.leaderEpoch {
		return noLeader
	}
	found := open.choose(img, key, p)
	return found.Leader
}

// choose takes the longest log of those that may lead now. Of equal ones it
// takes one that once held everything, then the first of the replicas.
func (o *recovery) choose(img *Image, key partitionKey, p *Partition) Recovery {
	found := Recovery{TopicID: key.topic, Partition: key.partition, LeaderEpoch: o.leaderEpoch, Leader: noLeader}
	mayLead := acceptable(img, p, img.Active)
	var longest LogEnd
	for _, id := range p.Replicas {
		report, reported := o.reports[id]
		if !reported || report.brokerEpoch != img.BrokerEpoch(id) || !mayLead(id) {
			found.Missing = append(found.Missing, id)
			continue
		}
		found.Logs = append(found.Logs, ReplicaEnd{id, report.end})
		order := report.end.compare(longest)
		known := func(id int32) bool { return slices.Contains(p.LastKnownELR, id) }
		if found.Leader == noLeader || order > 0 || order == 0 && known(id) && !known(found.Leader) {
			longest, found.Leader, found.BrokerEpoch = report.end, id, report.brokerEpoch
		}
	}
	return found
}

// Recover elects the leaders of recoveries, as far as they still fit the image:
// the partition is as it was, and the broker that is to lead is the one that
// reported. Losses finds them all.
func (c *Controller) Recover(img *Image, recoveries []Recovery) []Record {
	changes := leaderChanges{}
	for i := range recoveries {
		r := &recoveries[i]
		topic := img.TopicByID(r.TopicID)
		p := img.partition(r.TopicID, r.Partition)
		if p == nil || !p.NeedsRecovery() || p.LeaderEpoch != r.LeaderEpoch || img.BrokerEpoch(r.Leader) != r.BrokerEpoch {
			continue
		}
		settings := c.settings(img, topic)
		change := settings.change(p, acceptable(img, p, img.Active))
		change.longest = r.Leader
		if next := change.build(img.defaultDir); next != nil {
			changes.add(topic, r.Partition, p, next)
		}
	}
	return changes.records
}

// partition finds a partition by its topic's id, nil when there is none.
func (img *Image) partition(topic UUID, partition int32) *Partition {
	if t := img.TopicByID(topic); t != nil {
		return t.Partition(partition)
	}
	return nil
}
