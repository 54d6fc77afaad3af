package isr

// Log is a partition's log as the rules of replication see it; storage.Log is
// one. Offsets and epochs are of what is published, or of what was reserved on
// top of it by appends in flight.
type Log interface {
	LogStartOffset() int64
	LogEndOffset() int64
	// LatestEpoch is the leader epoch of the last record, -1 without any.
	LatestEpoch() int32
	// EndOffsetForEpoch is the largest epoch at or below the one given, and the
	// offset where it ends; for one below all of them that epoch itself and the
	// start of the first; -1, -1 for one above all (KIP-279).
	EndOffsetForEpoch(epoch int32) (int32, int64)
	// EpochAt is the leader epoch of the record at offset, -1 if unknown.
	EpochAt(offset int64) int32
}

// Action is what a follower does with a push.
type Action uint8

const (
	// Refuse: nothing is done; the result carries the code.
	Refuse Action = iota
	// Accept: append the records, which must leave no room between the end of
	// the log and their first batch but what compaction took; then advance the
	// high watermark and the log start to the push's, at most to the log end.
	Accept
	// Answer: nothing is done; the result says where the log stands.
	Answer
	// Truncate: drop everything from the offset on, epochs that begin at it
	// included, then answer.
	Truncate
	// StartAt: drop everything and begin empty at the offset, then answer.
	StartAt
)

// String is the action's name.
func (a Action) String() string {
	return [...]string{"Refuse", "Accept", "Answer", "Truncate", "StartAt"}[a]
}

// Follow decides what a replica does with a push. epoch is the partition's
// leader epoch by its metadata, -1 if it knows none. The offset goes with the
// action; the code is of a Refuse. A broker that leads at epoch itself asks
// too, so that an older leader hears that it is fenced, and refuses what is not
// refused here with NOT_LEADER_OR_FOLLOWER.
//
// Pushes may be late, doubled or from a connection that was given up, so none
// is trusted beyond what the log itself confirms:
//
//   - only pushes of the very epoch are looked at (KIP-320);
//   - an Append must begin at the log end, on a record of the epoch which the
//     leader has there. In flight before it may be others, so here it must not
//     begin below the published end; appending refuses gaps and overlaps;
//   - a truncation is done only to the log the leader judged: if the last
//     epoch is another one by now, the follower answers instead;
//   - a Reset is done only to a log that ends below the new start.
//
// The follower truncates as it is told, also below its own high watermark,
// which Kafka only warns of: after a clean election that cannot happen, and
// after an unclean one the leader is the truth that is left. The caller logs
// what was below its high watermark as lost.
func Follow(epoch int32, log Log, p *Push) (Action, int64, int16) {
	if p.LeaderEpoch < epoch {
		return Refuse, noOffset, CodeFencedLeaderEpoch
	}
	if p.LeaderEpoch > epoch {
		return Refuse, noOffset, CodeUnknownLeaderEpoch
	}
	end, last := log.LogEndOffset(), log.LatestEpoch()
	switch p.Kind {
	case Append:
		if p.Offset < end || last >= 0 && p.Epoch >= 0 && last != p.Epoch {
			return Refuse, noOffset, CodeOffsetOutOfRange
		}
		return Accept, p.Offset, CodeNone
	case Reset:
		if end >= p.Offset {
			return Answer, end, CodeNone
		}
		return StartAt, p.Offset, CodeNone
	case Probe:
		if p.Offset < 0 || last != p.LastEpoch {
			return Answer, end, CodeNone
		}
		return truncation(log, p, end, last)
	}
	return Refuse, noOffset, CodeInvalidRequest
}

// truncation is a round of the agreement loop (KIP-279; Kafka:
// AbstractFetcherThread.getOffsetTruncationState). The leader said that its
// epoch p.Epoch, the largest at or below our last one, ends at p.Offset. What
// we have at or above that offset is not the leader's; nor is anything of an
// epoch above p.Epoch, since the leader has none up to our last one.
func truncation(log Log, p *Push, end int64, last int32) (Action, int64, int16) {
	to := min(p.Offset, end)
	if p.Epoch >= 0 {
		if _, own := log.EndOffsetForEpoch(p.Epoch); own >= 0 {
			to = min(to, own)
		}
	}
	switch start := log.LogStartOffset(); {
	case to < start:
		return StartAt, p.LogStartOffset, CodeNone
	case to == end && p.Epoch == last:
		return Answer, end, CodeNone
	case to == start:
		return StartAt, to, CodeNone // nothing stays, no epoch either
	}
	return Truncate, to, CodeNone
}
