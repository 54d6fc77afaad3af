package storage

// failing is whether the log takes appends: on a full disk every one fails, and
// one line when that begins and one when it has ended say as much as thousands.
type failing struct {
	writes int64 // failed since it began; 0: the log takes appends
	lastMs int64 // wall clock of the newest
}

// worksAgainMs is for how long no write may have failed before one that succeeds
// means that the log takes appends again: on a disk that is full but for a block
// small ones fit in between.
const worksAgainMs = 10_000

// noteFailedLocked counts a failed write, and logs the first.
func (l *Log) noteFailedLocked() {
	if l.failing.writes == 0 {
		l.logger.Warn("a write to the log failed; nothing from this offset on was kept, and appends fail until they can be written again",
			"partition", l.tp.String(), "offset", l.failedFrom, "error", l.failCause)
	}
	l.failing.writes++
	l.failing.lastMs = l.nowMs()
}

// noteWrittenLocked ends what noteFailedLocked began.
func (l *Log) noteWrittenLocked() {
	if l.nowMs()-l.failing.lastMs < worksAgainMs {
		return
	}
	l.logger.Info("writes to the log succeed again", "partition", l.tp.String(), "failed_writes", l.failing.writes)
	l.failing = failing{}
}
