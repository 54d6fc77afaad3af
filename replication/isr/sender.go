package isr

// Window of one Sender. A connection has a window of its own around all of its
// partitions (package broker).
const (
	// MaxInflightPushes are the appends of one partition that one follower has
	// not answered.
	MaxInflightPushes = 32
	// MaxInflightBytes is soft: one more append may go while less is in flight.
	MaxInflightBytes = 8 << 20
)

// Pauses of a Sender whose follower refuses, doubling from one to the other.
const (
	minBackoffMs = 10
	maxBackoffMs = 1000
)

// SenderState is what a Sender is about.
type SenderState uint8

const (
	// Stopped: not started, or fenced by a newer leader epoch.
	Stopped SenderState = iota
	// Probing: one question at a time until the logs agree.
	Probing
	// Replicating: appends go out one after the other, a window of them
	// without an answer.
	Replicating
	// Resetting: the follower's log ends below the leader's start.
	Resetting
)

// String is the state's name.
func (s SenderState) String() string {
	return [...]string{"Stopped", "Probing", "Replicating", "Resetting"}[s]
}

// EventKind is what a result means beyond the log end it acknowledges.
type EventKind uint8

const (
	// NoEvent: nothing to do.
	NoEvent EventKind = iota
	// Reprobe: the follower refused with Code and is asked anew: when the caller
	// says Retry, after BackoffMs, or at once if that is 0.
	Reprobe
	// Fenced: the follower knows of a newer leader epoch. The Sender has
	// stopped; the metadata that explains it is on its way.
	Fenced
	// Diverged: the follower had Lost records that the leader has not, which
	// it dropped; the logs agree now. After clean elections they were never
	// acknowledged to an acks=all producer.
	Diverged
)

// String is the kind's name.
func (k EventKind) String() string {
	return [...]string{"none", "Reprobe", "Fenced", "Diverged"}[k]
}

// Event comes with a result.
type Event struct {
	Kind      EventKind
	Code      int16 // why, of Reprobe and Fenced
	BackoffMs int32
	Lost      int64 // records, counted by offsets
}

// Sender is the leader's side of one follower of one partition in the manner
// of etcd raft's Progress: it probes until the logs agree, then pushes without
// waiting. The zero value is stopped. Keep it over reconnects and leader
// epochs of one leadership: Start makes results of what went before void.
//
// The follower's log end in it is only ever from a result of the current
// session, that is, said after Start by a follower of just this leader epoch.
type Sender struct {
	state   SenderState
	paused  bool  // until Retry
	retryMs int64 // when paused: Retry ends the pause from then on
	waiting bool  // Probing, Resetting: the question is out
	nudged  bool  // send a heartbeat though the high watermark stands
	epoch   int32
	// session numbers what is sent: the leader epoch above, a count below. It
	// moves whenever what is in flight becomes void.
	session int64

	// Replicating. acked <= next, the offset of the next byte to send; the
	// records between are in flight. acked is -1 while the logs do not agree.
	acked, next int64
	// precedes is the epoch of the record before next, once known.
	precedes      int32
	precedesKnown bool
	// sentHW is the newest high watermark the follower was told in an append,
	// offeredHW what the last one from Next says.
	sentHW, offeredHW int64
	// Appends in flight: a ring of their sizes, in the order of their results.
	window      [MaxInflightPushes]int32
	head, count int
	bytes       int64
	activeMs    int64 // of the last result, or of the first push in flight

	// Probing: the next question, a truncation if cut.offset >= 0, and the
	// state of the follower it was judged by.
	cut struct {
		offset     int64
		epoch      int32
		judgedLast int32
		judgedEnd  int64
	}
	// hadStart and hadEnd are the follower's log before the first truncation of
	// this search, hadEnd -1 before any.
	hadStart, hadEnd int64
	failures         int32 // refusals since the last accepted append
	logStart         int64 // the follower's, -1 unknown
}

// Start begins a session at a leader epoch, with a new connection or a new
// epoch: the follower's log is asked for again.
func (s *Sender) Start(epoch int32) {
	if epoch != s.epoch || s.session == 0 {
		s.session = int64(epoch) << 32
	}
	s.epoch = epoch
	s.failures = 0
	s.logStart = noOffset
	s.probe()
}

// Stop ends the session: nothing is sent and no result counts until Start.
func (s *Sender) Stop() {
	s.probe()
	s.state = Stopped
}

// probe voids what is in flight and begins the search anew.
func (s *Sender) probe() {
	s.session++
	s.state = Probing
	s.paused, s.waiting, s.nudged = false, false, false
	s.acked, s.next = noOffset, noOffset
	s.cut.offset, s.cut.judgedEnd = noOffset, noOffset
	s.hadEnd = noOffset
	s.clearWindow()
}

func (s *Sender) clearWindow() { s.head, s.count, s.bytes = 0, 0, 0 }

// Retry ends the pause that an Event asked for, if it has lasted long enough;
// else it returns for how many ms it still lasts. So a caller may wake for
// something else, a high watermark that moved, without asking too soon.
func (s *Sender) Retry(nowMs int64) (waitMs int64) {
	if s.paused && nowMs < s.retryMs {
		return s.retryMs - nowMs
	}
	s.paused = false
	return 0
}

// Nudge asks for one heartbeat as soon as nothing is in flight, to tell the
// follower of a log start that moved.
func (s *Sender) Nudge() { s.nudged = true }

// State is what the Sender is about.
func (s *Sender) State() SenderState { return s.state }

// Acked is the follower's log end as of this session, -1 while the logs are
// not known to agree.
func (s *Sender) Acked() int64 { return s.acked }

// LogStartOffset is the follower's log start as of this session, -1 unknown.
func (s *Sender) LogStartOffset() int64 { return s.logStart }

// InFlight is what was pushed and not answered.
func (s *Sender) InFlight() (pushes int, bytes int64) { return s.count, s.bytes }

// SilentMs is for how long the follower has left pushes without an answer, 0
// when it owes none.
func (s *Sender) SilentMs(nowMs int64) int64 {
	if s.count == 0 {
		return 0
	}
	return nowMs - s.activeMs
}

// Wants reports whether Next has something to send now, given the leader's log
// end and high watermark. It is cheap: ask it whenever one of them moved.
//
// The high watermark alone is sent only when no append is in flight: the next
// one carries it. So a busy partition has no heartbeats and an idle one a last.
func (s *Sender) Wants(logEnd, hw int64) bool {
	switch {
	case s.paused:
		return false
	case s.state == Probing || s.state == Resetting:
		return !s.waiting
	case s.state == Replicating && logEnd > s.next:
		return s.count < MaxInflightPushes && s.bytes < MaxInflightBytes
	}
	return s.state == Replicating && s.count == 0 && (hw > s.sentHW || s.nudged)
}

// Next is what to send now, if anything. The caller fills in TopicID and
// Partition; for an Append it reads the log from Offset on (at least one whole
// batch; none if Offset is the log end), fills in Length, and says Sent once
// the push is in a frame. If reading fails it does not send and asks again:
// the log start may have moved. Probe and Reset must be sent.
func (s *Sender) Next(log Log, hw int64) (Push, bool) {
	// The end before the start: the end never passes behind it.
	end, start := log.LogEndOffset(), log.LogStartOffset()
	if !s.Wants(end, hw) {
		return Push{}, false
	}
	if s.state == Replicating && s.next < start {
		s.reset()
	}
	p := Push{
		LeaderEpoch: s.epoch, Session: s.session, HighWatermark: hw, LogStartOffset: start,
		Offset: noOffset, Epoch: noEpoch, LastEpoch: noEpoch,
	}
	switch s.state {
	case Probing:
		s.waiting = true
		p.Kind = Probe
		if s.cut.offset >= 0 {
			p.Offset, p.Epoch, p.LastEpoch = s.cut.offset, s.cut.epoch, s.cut.judgedLast
		}
	case Resetting:
		s.waiting = true
		p.Kind, p.Offset = Reset, start
	case Replicating:
		if !s.precedesKnown {
			s.precedes, s.precedesKnown = log.EpochAt(s.next-1), true
		}
		p.Kind, p.Offset, p.Epoch = Append, s.next, s.precedes
		s.offeredHW = hw
	}
	return p, true
}

// Sent says that the Append from Next went into a frame with bytes of records
// up to next (Offset and 0 for a heartbeat). For other pushes it does nothing.
func (s *Sender) Sent(next int64, bytes int32, nowMs int64) {
	if s.state != Replicating {
		return
	}
	if next < s.next || s.count == MaxInflightPushes {
		panic("BUG: an append was sent out of order or over a full window")
	}
	if s.count == 0 {
		s.activeMs = nowMs
	}
	s.window[(s.head+s.count)%MaxInflightPushes] = bytes
	s.count++
	s.bytes += int64(bytes)
	if next > s.next {
		s.next, s.precedesKnown = next, false
	}
	s.sentHW = s.offeredHW
	s.nudged = false
}

// Result takes the follower's answer to the oldest push without one. acked is
// its log end in this leader epoch, for Leader.Acked, or -1 if the answer says
// nothing about that: answers to an earlier session never do.
func (s *Sender) Result(r *PushResult, log Log, nowMs int64) (acked int64, event Event) {
	if r.Session != s.session || s.state == Stopped {
		return noOffset, Event{}
	}
	s.activeMs = nowMs
	if s.state == Replicating {
		if s.count == 0 {
			return noOffset, Event{}
		}
		s.bytes -= int64(s.window[s.head])
		s.head = (s.head + 1) % MaxInflightPushes
		s.count--
	} else if !s.waiting {
		return noOffset, Event{}
	}
	s.waiting = false
	if r.Code != CodeNone {
		return noOffset, s.refused(r.Code, nowMs)
	}
	if r.LogStartOffset < 0 || r.LogEndOffset < r.LogStartOffset {
		return noOffset, s.refused(CodeInvalidRequest, nowMs)
	}
	s.logStart = r.LogStartOffset
	if s.state != Replicating {
		return s.judge(r, log, nowMs)
	}
	if r.LogEndOffset < s.acked || r.LogEndOffset > s.next {
		// It lost what it had, or has what a connection before this one left
		// in its socket.
		return noOffset, s.refused(CodeOffsetOutOfRange, nowMs)
	}
	s.failures = 0
	s.acked = r.LogEndOffset
	return s.acked, Event{}
}

// refused begins the search anew, after a pause unless this is the first time
// and asking again is all it takes.
func (s *Sender) refused(code int16, nowMs int64) Event {
	s.probe()
	if code == CodeFencedLeaderEpoch {
		s.state = Stopped
		return Event{Kind: Fenced, Code: code}
	}
	s.failures++
	if code == CodeOffsetOutOfRange && s.failures == 1 {
		return Event{Kind: Reprobe, Code: code}
	}
	backoffMs := min(int32(minBackoffMs)<<min(s.failures-1, 10), maxBackoffMs)
	s.paused, s.retryMs = true, nowMs+int64(backoffMs)
	return Event{Kind: Reprobe, Code: code, BackoffMs: backoffMs}
}

// judge compares the state of the follower's log with ours: it is a prefix of
// ours if its last epoch is one of ours and its end no further than where that
// epoch ends here, because an epoch's records come from one leader and are
// appended to agreeing logs only. Otherwise the follower is told where the
// largest epoch at or below its last one ends here (KIP-101, KIP-279; Kafka:
// Partition.readRecords), and answers with what is left, until they agree.
func (s *Sender) judge(r *PushResult, log Log, nowMs int64) (int64, Event) {
	if r.LastEpoch > s.epoch {
		s.Stop()
		return noOffset, Event{Kind: Fenced, Code: CodeFencedLeaderEpoch}
	}
	// The end before the epochs: an append in between would make records of
	// the new epoch look like the last one's.
	end := log.LogEndOffset()
	if r.LogEndOffset < log.LogStartOffset() {
		s.reset()
		return noOffset, Event{}
	}
	epoch, offset := endOfEpoch(log, r.LastEpoch, end)
	if r.LastEpoch == noEpoch && r.LogEndOffset > r.LogStartOffset {
		offset = r.LogStartOffset // records of no epoch: nobody can judge them
	}
	if epoch == r.LastEpoch && r.LogEndOffset <= offset {
		return s.agreed(r)
	}
	if s.hadEnd < 0 {
		s.hadStart, s.hadEnd = r.LogStartOffset, r.LogEndOffset
	}
	if s.cut.judgedEnd == r.LogEndOffset && s.cut.judgedLast == r.LastEpoch {
		return noOffset, s.refused(CodeInvalidRequest, nowMs) // it did not truncate: ask again later
	}
	s.state = Probing
	s.cut.offset, s.cut.epoch = offset, epoch
	s.cut.judgedEnd, s.cut.judgedLast = r.LogEndOffset, r.LastEpoch
	return noOffset, Event{}
}

// endOfEpoch is the largest of our epochs at or below the one asked for, and
// where it ends. A new leader without records of its own epoch still knows
// that its last one ends at its log end (Kafka enters the epoch in the cache
// when the leader starts). If either log has no record, there is nothing to
// disagree about up to our end: the follower's records below our log start
// will go, as those of an epoch below our first one do.
func endOfEpoch(log Log, asked int32, end int64) (int32, int64) {
	latest := log.LatestEpoch()
	if asked == noEpoch || latest == noEpoch {
		return asked, end
	}
	if asked > latest {
		return latest, end
	}
	epoch, offset := log.EndOffsetForEpoch(asked)
	return epoch, min(offset, end)
}

// agreed begins to replicate from the follower's log end.
func (s *Sender) agreed(r *PushResult) (int64, Event) {
	var event Event
	if lost := s.hadEnd - max(s.hadStart, r.LogEndOffset); s.hadEnd >= 0 && lost > 0 {
		event = Event{Kind: Diverged, Lost: lost}
	}
	s.state = Replicating
	s.acked, s.next = r.LogEndOffset, r.LogEndOffset
	s.precedes, s.precedesKnown = r.LastEpoch, true
	s.sentHW = 0 // which needs no telling
	s.cut.offset, s.cut.judgedEnd, s.hadEnd = noOffset, noOffset, noOffset
	s.clearWindow()
	return s.acked, event
}

// reset makes the follower begin anew at our log start. What is in flight is
// void: its results could not tell whether the reset was done.
func (s *Sender) reset() {
	hadEnd := s.hadEnd
	s.probe()
	s.hadEnd = hadEnd
	s.state = Resetting
}
