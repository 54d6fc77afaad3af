package perf

import "time"

// throttler keeps a sender near a rate, as Kafka's ThroughputThrottler: it
// looks at the mean since the start and, once it is ahead, saves up short
// sleeps until they are worth one.
type throttler struct {
	perSecond float64 // negative: no limit
	start     time.Time
	deficit   time.Duration
}

// minSleep is the shortest sleep worth asking for.
const minSleep = 2 * time.Millisecond

// ahead reports whether sent records by now are more than the rate allows.
func (t *throttler) ahead(sent int64, now time.Time) bool {
	if t.perSecond < 0 {
		return false
	}
	elapsed := now.Sub(t.start).Seconds()
	return elapsed > 0 && float64(sent)/elapsed > t.perSecond
}

// pause is called for each record sent while ahead. It returns how long to
// sleep now, 0 to go on; a rate of 0 means for ever, as a negative pause.
func (t *throttler) pause() time.Duration {
	if t.perSecond == 0 {
		return -1
	}
	t.deficit += time.Duration(float64(time.Second) / t.perSecond)
	if t.deficit < minSleep {
		return 0
	}
	pause := t.deficit
	t.deficit = 0
	return pause
}

// slept gives back what a sleep lasted too long or too short.
func (t *throttler) slept(asked, took time.Duration) {
	if took < asked {
		t.deficit = asked - took
	}
}
