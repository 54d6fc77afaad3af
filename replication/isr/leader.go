package isr

import "slices"

// nobody is no broker's id.
const nobody int32 = -1

// never is a time before any on the clock, far enough not to overflow.
const never int64 = -1 << 62

// alterRetryMs is the pause before a proposal is tried again, and before
// another one after the controller refused a replica.
const alterRetryMs = 200

// LeaderConfig is what a broker knows when it becomes the leader of a
// partition in an epoch.
type LeaderConfig struct {
	Self           int32 // broker id
	LeaderEpoch    int32
	PartitionEpoch int32
	Replicas, ISR  []int32
	Recovering     bool  // by the metadata, after an unclean election (KIP-704)
	MinInsync      int   // min.insync.replicas
	LagTimeMaxMs   int64 // replica.lag.time.max.ms
	// LogEnd is the log end offset, where the epoch starts. HighWatermark is
	// the one known as follower or from the checkpoint.
	LogEnd, HighWatermark int64
	NowMs                 int64
}

// State is what the metadata says of a partition whose leadership goes on.
type State struct {
	LeaderEpoch, PartitionEpoch int32
	Replicas, ISR               []int32
	Recovering                  bool
}

// Proposal is an ISR for the controller to decide on (AlterPartition).
type Proposal struct {
	LeaderEpoch, PartitionEpoch int32
	ISR                         []int32
	// BrokerEpochs are of the incarnations of the ISR's brokers that told their
	// log ends (Joined), -1 unknown; the caller puts its own in for itself. The
	// controller refuses if one has been replaced since: its log may have less
	// (KIP-903). So they are those of when the proposal was made, also when it
	// is submitted later or again.
	BrokerEpochs []int64
	Recovering   bool  // always false: who leads has recovered (KIP-704; Kafka: Partition.makeLeader)
	number       int64 // in this leadership; copies of a proposal are the same one
}

// ProposalResult is the controller's answer to a Proposal, or what became of
// the attempt.
type ProposalResult struct {
	Proposal *Proposal
	// Code is Kafka's; codes of failed attempts (REQUEST_TIMED_OUT,
	// NOT_CONTROLLER, …) are tried again.
	Code int16
	// Of a success: the partition as it is now.
	LeaderEpoch, PartitionEpoch int32
	ISR                         []int32
}

// replica is what the leader knows of one other replica.
type replica struct {
	id int32
	// logEnd is where its log ends by the last result in this leader epoch, -1
	// until then. It goes back when a follower comes back with less.
	logEnd   int64
	logStart int64 // -1 unknown
	// brokerEpoch is of the incarnation that the rest is known of, -1 unknown.
	brokerEpoch int64
	// caughtUpMs is the latest known time at whose log end of the leader the
	// replica has arrived since; never if it has not in this epoch.
	caughtUpMs int64
	// markEnd was the leader's log end at markMs: when logEnd reaches it, the
	// replica was caught up as of markMs, and a new mark is set. Kafka compares
	// with the log end at the fetch before, which a follower with pushes in
	// flight would never reach while records keep coming.
	markEnd, markMs int64
	inISR           bool // of the committed ISR
	proposed        bool // to be added, by the pending proposal
	// left: the controller took it out of the ISR, and nothing was heard of it
	// since. It is not about to join, whatever Eligible says: that may still
	// look at the image before.
	left    bool
	retryMs int64 // not to be proposed before
}

// Leader is the leader's side of one partition in one leader epoch: who is in
// sync and how far the high watermark goes (Kafka: Partition.scala).
//
// Proposals follow KIP-497. While one is pending the high watermark is held by
// the maximal ISR: the committed one and whom the proposal would add, so that
// it is right whatever the controller decides. A proposal stays pending until
// the controller says that it was not done, or an image with a higher partition
// epoch arrives, with it done or void: the controller accepts a proposal only
// at the partition epoch it was made for. The answer that it was done changes
// nothing yet (Kafka commits the new ISR there): other records that the image
// holds may come before it.
//
// The high watermark of a new leader begins where it knew it as a follower,
// which may be lower than what the leader before it showed to consumers. That
// loses nothing: all that was committed is in its log. It goes on when all of
// the ISR have said, in this epoch, how far they are; unlike in raft, records
// of older epochs may be committed so, because every member has them, not just
// a majority. Until it has reached the start of the epoch, clients that ask for
// the latest offset are told to come again (Available; KIP-207).
type Leader struct {
	self           int32
	epoch          int32
	partitionEpoch int32
	epochStart     int64
	logEnd         int64
	highWatermark  int64
	nowMs          int64
	lagTimeMaxMs   int64
	minInsync      int

	replicas []replica // without self
	members  []Progress
	isr      []int32 // committed; never written to, so that callers may keep it
	size     int     // of the assignment
	// recovering is as in LeaderConfig, until a proposal is through.
	recovering bool
	pending    *Proposal
	proposed   int64 // proposals made
	eligible   func(broker int32) bool
}

// NewLeader begins a leadership. The high watermark may move at once: ask for
// it.
func NewLeader(c LeaderConfig) *Leader {
	l := &Leader{
		self: c.Self, epoch: c.LeaderEpoch, partitionEpoch: c.PartitionEpoch,
		epochStart: c.LogEnd, logEnd: c.LogEnd, highWatermark: min(c.HighWatermark, c.LogEnd),
		recovering: c.Recovering,
		nowMs:      c.NowMs, lagTimeMaxMs: c.LagTimeMaxMs, minInsync: c.MinInsync,
		eligible: func(int32) bool { return true },
	}
	l.assign(c.Replicas, c.ISR)
	l.advance()
	return l
}

// assign takes over replicas and the committed ISR, keeping what is known of
// the ones that stay.
func (l *Leader) assign(replicas, isr []int32) {
	fresh := make([]replica, 0, len(replicas))
	for _, id := range replicas {
		if id == l.self {
			continue
		}
		r := l.find(id)
		if r == nil {
			r = &replica{id: id, logEnd: noOffset, logStart: noOffset, brokerEpoch: -1, caughtUpMs: never, markEnd: l.logEnd, markMs: l.nowMs}
		}
		fresh = append(fresh, *r)
	}
	l.replicas = fresh
	l.size = len(fresh) + 1
	l.members = make([]Progress, 0, len(fresh))
	l.commit(isr)
}

// commit makes isr the committed one and drops what was pending. Who is new in
// it has the whole of replica.lag.time.max.ms to be caught up for once.
func (l *Leader) commit(isr []int32) {
	l.isr = slices.Clone(isr)
	l.pending = nil
	for i := range l.replicas {
		r := &l.replicas[i]
		joined := slices.Contains(isr, r.id)
		if joined && !r.inISR {
			r.caughtUpMs = max(r.caughtUpMs, l.nowMs)
		}
		r.left = !joined && (r.inISR || r.left)
		r.inISR, r.proposed = joined, false
	}
}

func (l *Leader) find(broker int32) *replica {
	for i := range l.replicas {
		if l.replicas[i].id == broker {
			return &l.replicas[i]
		}
	}
	return nil
}

// Eligible sets the rule by which a broker may join the ISR: registered, not
// fenced, not shutting down (KIP-841). Without it all may.
func (l *Leader) Eligible(rule func(broker int32) bool) { l.eligible = rule }

// Appended says that the leader's log ends at logEnd now.
func (l *Leader) Appended(logEnd int64) (hw int64) {
	if logEnd > l.logEnd {
		l.logEnd = logEnd
		l.advance()
	}
	return l.highWatermark
}

// Acked says that a follower's log agrees with the leader's and ends at
// logEnd: only what Sender.Result returned may come here. The proposal, if
// any, is for the controller.
func (l *Leader) Acked(broker int32, logEnd, nowMs int64) (hw int64, p *Proposal) {
	l.nowMs = max(l.nowMs, nowMs)
	r := l.find(broker)
	if r == nil || logEnd < 0 {
		return l.highWatermark, nil
	}
	r.logEnd, r.left = logEnd, false
	switch {
	case logEnd >= l.logEnd:
		r.caughtUpMs = l.nowMs
		r.markEnd, r.markMs = l.logEnd, l.nowMs
	case logEnd >= r.markEnd:
		r.caughtUpMs = max(r.caughtUpMs, r.markMs)
		r.markEnd, r.markMs = l.logEnd, l.nowMs
	}
	switch {
	case r.inISR && logEnd < l.highWatermark:
		// It lost committed records, and may not be elected without them.
		r.caughtUpMs, r.markEnd, r.markMs = never, l.logEnd, l.nowMs
		p = l.shrink()
	case !r.inISR:
		p = l.expand(broker)
	}
	l.advance()
	return l.highWatermark, p
}

// AckedLogStart notes where a follower's log starts (Sender.LogStartOffset).
func (l *Leader) AckedLogStart(broker int32, logStart int64) {
	if r := l.find(broker); r != nil {
		r.logStart = logStart
	}
}

// Joined says that a connection to a follower is up, and to which incarnation
// of its broker (HelloReply.BrokerEpoch): if that is not the one before,
// Forget is implied.
func (l *Leader) Joined(broker int32, brokerEpoch int64) {
	if r := l.find(broker); r != nil && r.brokerEpoch != brokerEpoch {
		l.Forget(broker)
		r.brokerEpoch = brokerEpoch
	}
}

// Forget says that what is known of a follower's log is void: its broker came
// back as another incarnation, whose log may be shorter. As a member of the
// ISR it holds the high watermark until it is heard of, or gone from the ISR.
func (l *Leader) Forget(broker int32) {
	r := l.find(broker)
	if r == nil {
		return
	}
	r.logEnd, r.logStart, r.brokerEpoch = noOffset, noOffset, -1
	if !r.inISR && !r.proposed {
		r.caughtUpMs = never
	}
	r.markEnd, r.markMs = l.logEnd, l.nowMs
}

// Tick looks at the clock: it proposes to drop members of the ISR that have
// not been caught up for replica.lag.time.max.ms, or to add replicas that have
// become eligible. Ask for the high watermark after it. Kafka looks for the
// former every half of that time, and at the latter whenever a follower
// fetches; followers here may have nothing to say, so do it as well when the
// metadata has made a broker eligible, once the rule of Eligible sees that.
func (l *Leader) Tick(logEnd, nowMs int64) (p *Proposal) {
	l.nowMs = max(l.nowMs, nowMs)
	l.logEnd = max(l.logEnd, logEnd)
	for i := range l.replicas {
		l.replicas[i].left = false
	}
	l.advance()
	if p = l.shrink(); p == nil {
		p = l.expand(nobody)
	}
	return p
}

// State takes over an image of the partition at the same leader epoch. One
// that is not newer than what is known changes nothing: above all it does not
// end a pending proposal, which the controller may yet accept.
func (l *Leader) State(s State) (hw int64, p *Proposal) {
	if s.LeaderEpoch != l.epoch || s.PartitionEpoch <= l.partitionEpoch {
		return l.highWatermark, nil
	}
	l.partitionEpoch, l.recovering = s.PartitionEpoch, s.Recovering
	l.assign(s.Replicas, s.ISR)
	l.advance()
	return l.highWatermark, l.expand(nobody)
}

// SetMinInsync applies a change of min.insync.replicas.
func (l *Leader) SetMinInsync(n int) (hw int64) {
	l.minInsync = n
	l.advance()
	return l.highWatermark
}

// SetLagTimeMax applies a change of replica.lag.time.max.ms.
func (l *Leader) SetLagTimeMax(ms int64) { l.lagTimeMaxMs = ms }

// Answered takes the controller's answer to a proposal. p, if any, is to be
// submitted after backoffMs, unless Pending is another one by then: the same
// again, or the next.
func (l *Leader) Answered(r ProposalResult) (hw int64, p *Proposal, backoffMs int64) {
	if r.Proposal == nil || l.pending == nil || r.Proposal.number != l.pending.number {
		return l.highWatermark, nil, 0 // the partition has moved on without it
	}
	switch r.Code {
	case CodeNone:
		if r.LeaderEpoch == l.epoch && r.PartitionEpoch == l.partitionEpoch {
			l.commit(r.ISR) // it was so already, and no image will say so
		}
	case CodeOperationNotAttempted, CodeIneligibleReplica:
		// The controller says that the partition epoch is right and that it did
		// not do it: nobody will any more. Not at once again, since its view of
		// who is eligible differs from ours.
		for i := range l.replicas {
			if l.replicas[i].proposed {
				l.replicas[i].retryMs = l.nowMs + alterRetryMs
			}
		}
		l.commit(l.isr)
	case CodeUnknownTopicOrPart, CodeUnknownTopicID, CodeFencedLeaderEpoch, CodeInvalidUpdateVersion,
		CodeInvalidRequest, CodeNewLeaderElected:
		// Our picture is stale, and whether it was done is unknown. It stays
		// pending until the image that explains it.
	default:
		return l.highWatermark, l.pending, alterRetryMs
	}
	l.advance()
	return l.highWatermark, l.expand(nobody), 0
}

// expand proposes to add every replica that is ready: at or above the high
// watermark and the start of this epoch, and eligible. Below the start it might
// lack records that are committed already but not known to be (Kafka:
// Partition.maybeExpandIsr). One that has not just been heard of must also be
// caught up, lest one that left for its silence comes back for where the high
// watermark stood then. Of one whose incarnation is unknown the controller could
// not tell whether the log end is still its log's.
func (l *Leader) expand(heard int32) *Proposal {
	if l.pending != nil {
		return nil
	}
	var isr []int32
	for i := range l.replicas {
		r := &l.replicas[i]
		if r.inISR || r.logEnd < l.highWatermark || r.logEnd < l.epochStart || r.id != heard && (r.left || !l.caughtUp(r)) ||
			r.brokerEpoch < 0 || l.nowMs < r.retryMs || !l.eligible(r.id) {
			continue
		}
		r.proposed = true
		if isr == nil {
			isr = slices.Clone(l.isr)
		}
		isr = append(isr, r.id)
	}
	return l.propose(isr)
}

// shrink proposes to drop the members that are not caught up.
func (l *Leader) shrink() *Proposal {
	if l.pending != nil {
		return nil
	}
	var isr []int32
	for i := range l.replicas {
		r := &l.replicas[i]
		if !r.inISR || l.caughtUp(r) {
			continue
		}
		if isr == nil {
			isr = slices.Clone(l.isr)
		}
		isr = slices.DeleteFunc(isr, func(id int32) bool { return id == r.id })
	}
	return l.propose(isr)
}

// propose makes isr, nil for none, the pending proposal.
func (l *Leader) propose(isr []int32) *Proposal {
	if isr == nil {
		return nil
	}
	if !slices.Contains(isr, l.self) {
		isr = append(isr, l.self)
	}
	l.proposed++
	l.pending = &Proposal{LeaderEpoch: l.epoch, PartitionEpoch: l.partitionEpoch, ISR: isr, number: l.proposed}
	for _, id := range isr {
		epoch := int64(-1)
		if r := l.find(id); r != nil {
			epoch = r.brokerEpoch
		}
		l.pending.BrokerEpochs = append(l.pending.BrokerEpochs, epoch)
	}
	return l.pending
}

// caughtUp reports whether r has everything, or had so recently enough.
func (l *Leader) caughtUp(r *replica) bool {
	return r.logEnd == l.logEnd || l.nowMs-r.caughtUpMs <= l.lagTimeMaxMs
}

// advance moves the high watermark to the least log end of those it waits
// for: the maximal ISR, and replicas about to join it (caught up and eligible),
// because running ahead of those would keep them out (Kafka:
// Partition.maybeIncrementLeaderHW).
func (l *Leader) advance() {
	if l.UnderMinISR() {
		return
	}
	l.members = l.members[:0]
	for i := range l.replicas {
		r := &l.replicas[i]
		if r.logEnd < l.logEnd && (r.inISR || r.proposed || !r.left && l.caughtUp(r) && l.eligible(r.id)) {
			l.members = append(l.members, Progress{BrokerID: r.id, LogEndOffset: r.logEnd})
		}
	}
	l.highWatermark = HighWatermark(l.highWatermark, l.logEnd, l.members, 1)
}

// HighWatermark is the offset below which records are committed. It never goes
// back.
func (l *Leader) HighWatermark() int64 { return l.highWatermark }

// ISR is the committed ISR, to be read only; it is never changed in place.
func (l *Leader) ISR() []int32 { return l.isr }

// Pending is the proposal that waits for the controller's answer, or nil.
func (l *Leader) Pending() *Proposal { return l.pending }

// Recovering is what the metadata says: this leader was elected uncleanly and
// no change of the ISR has been decided since.
func (l *Leader) Recovering() bool { return l.recovering }

// PartitionEpoch is of the newest state known.
func (l *Leader) PartitionEpoch() int32 { return l.partitionEpoch }

// LeaderEpoch is the epoch of this leadership.
func (l *Leader) LeaderEpoch() int32 { return l.epoch }

// EpochStart is the log end offset at which the leadership began.
func (l *Leader) EpochStart() int64 { return l.epochStart }

// Available reports whether the high watermark has reached the start of the
// epoch. Before, it may be lower than what consumers have seen of the leader
// before, and ListOffsets for the latest offset gets OFFSET_NOT_AVAILABLE
// (KIP-207).
func (l *Leader) Available() bool { return l.highWatermark >= l.epochStart }

// UnderMinISR reports whether the committed ISR is smaller than
// min.insync.replicas, or than the assignment if that is smaller: then acks=all
// gets NOT_ENOUGH_REPLICAS and the high watermark stands still (KIP-966).
func (l *Leader) UnderMinISR() bool { return len(l.isr) < min(l.minInsync, l.size) }

// LowWatermark is the least log start of the leader, given, and of all
// eligible replicas: DeleteRecords is answered when it has passed.
func (l *Leader) LowWatermark(logStart int64) int64 {
	for i := range l.replicas {
		if r := &l.replicas[i]; r.logStart < logStart && l.eligible(r.id) {
			logStart = r.logStart
		}
	}
	return logStart
}

// Followers calls f for each other replica with where its log starts and ends
// (-1 unknown), and whether it is in the committed ISR.
func (l *Leader) Followers(f func(broker int32, logStart, logEnd int64, inISR bool)) {
	for i := range l.replicas {
		f(l.replicas[i].id, l.replicas[i].logStart, l.replicas[i].logEnd, l.replicas[i].inISR)
	}
}
