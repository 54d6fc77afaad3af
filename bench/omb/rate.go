package omb

import (
	"encoding/base64"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// rateController looks for the highest rate that broker and consumers keep up
// with. It is the benchmark's own rule, a pure function of the counters: the
// rate grows by a factor that doubles while all goes well (to at most 1, a
// doubling) and, when more than a thousand messages wait, falls to what was
// done or less while the factor is halved (to at least 0.01).
type rateController struct {
	rampingFactor     float64
	published, passed int64 // totals of the last period
}

const (
	firstRate        = 10_000 // messages a second
	controlPeriod    = 3 * time.Second
	backlogLimit     = 1_000
	minRampingFactor = 0.01
	maxRampingFactor = 1.0
)

func newRateController() *rateController { return &rateController{rampingFactor: maxRampingFactor} }

// next is the rate for the coming period, in messages a second, after one in
// which the totals grew to published and received at the given rate.
func (c *rateController) next(rate float64, period time.Duration, published, received int64) float64 {
	expected := int64(rate * period.Seconds())
	sent, got := published-c.published, received-c.passed
	c.published, c.passed = published, received
	if waiting := published - received; waiting > backlogLimit {
		return c.slower(period, got, expected, waiting)
	}
	if late := expected - sent; late > backlogLimit {
		return c.slower(period, sent, expected, late)
	}
	c.rampingFactor = min(maxRampingFactor, c.rampingFactor*2)
	return rate + rate*c.rampingFactor
}

func (c *rateController) slower(period time.Duration, done, expected, backlog int64) float64 {
	c.rampingFactor = max(minRampingFactor, c.rampingFactor/2)
	return min(float64(done), float64(max(0, expected-backlog))) / period.Seconds()
}

// pacer gives out the times at which messages are to be sent: evenly, from the
// first call on, to all workers together. Late workers do not move the times.
type pacer struct {
	intervalNs float64
	start      time.Time
	next       atomic.Int64
}

// newPacer starts at a rate in messages a second; below one it is one.
func newPacer(start time.Time, ratePerSecond float64) *pacer {
	return &pacer{intervalNs: float64(time.Second) / max(ratePerSecond, 1), start: start}
}

// due is when the next message is to be sent.
func (p *pacer) due() time.Time {
	i := p.next.Add(1) - 1
	return p.start.Add(time.Duration(float64(i) * p.intervalNs))
}

// keyChooser gives the keys of one worker's messages; nil is none.
type keyChooser func() []byte

const (
	uniqueKeys = 10_000
	keyBytes   = 7
)

// newKeys makes the keys that all workers share: base64 of random bytes.
func newKeys(random *rand.ChaCha8) [][]byte {
	keys := make([][]byte, uniqueKeys)
	for i := range keys {
		var raw [keyBytes]byte
		random.Read(raw[:])
		keys[i] = base64.RawURLEncoding.AppendEncode(nil, raw[:])
	}
	return keys
}

// newKeyChooser makes a worker's chooser. nanos is the clock of RANDOM_NANO.
func newKeyChooser(distributor string, keys [][]byte, nanos func() int64) keyChooser {
	switch distributor {
	case keyRoundRobin:
		at := 0
		return func() []byte {
			at = (at + 1) % len(keys)
			return keys[at]
		}
	case randomNano:
		return func() []byte { return keys[nanos()%int64(len(keys))] }
	}
	return func() []byte { return nil }
}

// randomName is a topic's or subscription's random end.
func randomName(random *rand.ChaCha8) string {
	var raw [5]byte
	random.Read(raw[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
