package group

import "time"

// SystemClock is the real Clock. Its time starts at the wall clock's and then
// follows the monotonic clock, so that a correction of the wall clock neither
// expires sessions nor keeps dead members.
type SystemClock struct{ start time.Time }

// NewSystemClock returns a clock that starts now.
func NewSystemClock() SystemClock { return SystemClock{start: time.Now()} }

// NowMs is milliseconds since the epoch.
func (c SystemClock) NowMs() int64 {
	return c.start.Add(time.Since(c.start)).UnixMilli()
}

// AfterFunc calls f after delayMs on its own goroutine.
func (c SystemClock) AfterFunc(delayMs int64, f func()) (stop func()) {
	t := time.AfterFunc(time.Duration(delayMs)*time.Millisecond, f)
	return func() { t.Stop() }
}
