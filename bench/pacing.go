package bench

import "time"

// Schedule is an open-loop arrival schedule fixed before the run: record i is
// due at i/rate seconds after the start, whatever the broker does meanwhile.
// A latency taken from the due time therefore contains the time a record
// waited because the system was slow, which a closed loop leaves out
// (coordinated omission).
//
// A Schedule has no clock and no state; it is safe for concurrent use.
type Schedule struct {
	ratePerSecond float64
	count         int64
}

// NewSchedule makes a schedule of count records at ratePerSecond, which must
// be positive.
func NewSchedule(ratePerSecond float64, count int64) Schedule {
	if ratePerSecond <= 0 || count < 0 {
		panic("BUG: a schedule needs a positive rate and a count of at least 0")
	}
	return Schedule{ratePerSecond: ratePerSecond, count: count}
}

// Count is the number of records in the schedule.
func (s Schedule) Count() int64 { return s.count }

// DueAt is the time from the start at which record i is to be sent. It is
// computed from i, not summed, so rounding never accumulates.
func (s Schedule) DueAt(i int64) time.Duration {
	return time.Duration(float64(i) / s.ratePerSecond * float64(time.Second))
}

// DueBy is the number of records due at elapsed or earlier: at elapsed the
// sender must have sent the records 0 … DueBy(elapsed)-1.
func (s Schedule) DueBy(elapsed time.Duration) int64 {
	if elapsed < 0 {
		return 0
	}
	due := int64(elapsed.Seconds()*s.ratePerSecond) + 1
	for due > 0 && s.DueAt(due-1) > elapsed { // float rounding at the edge
		due--
	}
	for s.DueAt(due) <= elapsed {
		due++
	}
	return min(due, s.count)
}

// Clock is the time a Pacer runs by.
type Clock interface {
	// Since is the time passed since the run's start.
	Since() time.Duration
	// SleepUntil returns at or after the given time since the start.
	SleepUntil(time.Duration)
}

// wallClock is the Clock of a real run.
type wallClock struct{ start time.Time }

func (c wallClock) Since() time.Duration { return time.Since(c.start) }

func (c wallClock) SleepUntil(at time.Duration) {
	if wait := at - c.Since(); wait > 0 {
		time.Sleep(wait)
	}
}

// Pace calls send(i, dueAt) once for each record, in order, never before it is
// due. When the sender is late it sends all that is due without sleeping; the
// due times do not move. It stops early when send reports false.
func (s Schedule) Pace(clock Clock, send func(i int64, dueAt time.Duration) bool) {
	for next := int64(0); next < s.count; {
		due := s.DueBy(clock.Since())
		if due <= next {
			clock.SleepUntil(s.DueAt(next))
			continue
		}
		for ; next < due; next++ {
			if !send(next, s.DueAt(next)) {
				return
			}
		}
	}
}
