package storage

import "log/slog"

// RecoveryReport says what opening the log directories found and did. Nothing
// of it is dropped silently: each entry is also logged.
type RecoveryReport struct {
	Partitions []PartitionRecovery // only those with something to say
	// AfterFailure are the log directories that failed in an earlier life, whose
	// unsynced part was written anew. They may lack what was acknowledged then.
	AfterFailure []string
}

// PartitionRecovery is one partition's part of the report.
type PartitionRecovery struct {
	TopicPartition TopicPartition
	Dir            string
	SegmentsRead   int   // checked batch by batch
	TruncatedBytes int64 // torn tail cut off; never acknowledged as durable
	IndexesRebuilt int
	SegmentsCopied int // written anew because the directory had failed
	Quarantined    []Quarantine
	// MissingFrom and MissingTo bound the first offsets that the log lacks with
	// no damaged file to show for it; both 0 if none. Either the log ends below
	// its recovery point, or, if MissingUnsynced, a segment that was never
	// synced ends before the next one begins.
	MissingFrom, MissingTo int64
	MissingUnsynced        bool
	// Accepted are offsets found missing at an earlier start, with no other
	// replica to have them from (Log.AcceptLost).
	Accepted []OffsetRange
}

// OffsetRange is [From, To).
type OffsetRange struct{ From, To int64 }

// Quarantine is a damaged file that was set aside; its sound prefix is served.
type Quarantine struct {
	File       string // what the original is called now
	Position   int64  // where the damage begins, in bytes
	FromOffset int64  // first offset no longer served
	ToOffset   int64  // first offset served after it; -1 if unknown
	Reason     string
}

func (r *PartitionRecovery) worthTelling() bool {
	return r.SegmentsRead > 0 || r.TruncatedBytes > 0 || r.IndexesRebuilt > 0 || len(r.Quarantined) > 0 || r.MissingTo > 0 || len(r.Accepted) > 0
}

// log writes the entry, as loudly as it deserves.
func (r *PartitionRecovery) log(logger *slog.Logger) {
	for _, q := range r.Quarantined {
		logger.Error("damaged segment set aside; its sound prefix is served, the rest is not",
			"partition", r.TopicPartition.String(), "file", q.File, "position", q.Position,
			"fromOffset", q.FromOffset, "toOffset", q.ToOffset, "reason", q.Reason)
	}
	for _, a := range r.Accepted {
		logger.Warn("the log goes on without records that an earlier recovery could not save; no other replica had them",
			"partition", r.TopicPartition.String(), "fromOffset", a.From, "toOffset", a.To)
	}
	if r.MissingTo > 0 && r.MissingUnsynced {
		logger.Error("records that were not synced are gone from the middle of the log",
			"partition", r.TopicPartition.String(), "fromOffset", r.MissingFrom, "toOffset", r.MissingTo)
	} else if r.MissingTo > 0 {
		logger.Error("the log ends below its recovery point: durable records are missing",
			"partition", r.TopicPartition.String(), "fromOffset", r.MissingFrom, "toOffset", r.MissingTo)
	}
	if r.worthTelling() {
		logger.Info("recovered log", "partition", r.TopicPartition.String(), "segmentsRead", r.SegmentsRead,
			"truncatedBytes", r.TruncatedBytes, "indexesRebuilt", r.IndexesRebuilt)
	}
}
