package omb

import (
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The ranges of the benchmark's histograms, in microseconds.
const (
	maxPublishUs    = int64(60 * time.Second / time.Microsecond)
	maxEndToEndUs   = int64(12 * time.Hour / time.Microsecond)
	significantFigs = 5
)

// latencies are the three histograms, in microseconds.
type latencies struct {
	publish      *hdr.Histogram // from the send to the acknowledgement
	publishDelay *hdr.Histogram // from when it was due to the send
	endToEnd     *hdr.Histogram // from the record's timestamp to the consumer
}

func newLatencies() latencies {
	return latencies{
		publish:      hdr.New(1, maxPublishUs, significantFigs),
		publishDelay: hdr.New(1, maxPublishUs, significantFigs),
		endToEnd:     hdr.New(1, maxEndToEndUs, significantFigs),
	}
}

// stats are what the workers count. Safe for concurrent use.
type stats struct {
	sent, sentBytes, errors, received, receivedBytes atomic.Int64 // of the period
	totalSent, totalErrors, totalReceived            atomic.Int64

	// publishMu guards the two histograms of sending, consumeMu the other.
	publishMu, consumeMu sync.Mutex
	period, cumulative   latencies
}

func newStats() *stats { return &stats{period: newLatencies(), cumulative: newLatencies()} }

// acknowledged counts a message that was due, sent and acknowledged.
func (s *stats) acknowledged(bytes int, due, sent, now time.Time) {
	s.sent.Add(1)
	s.totalSent.Add(1)
	s.sentBytes.Add(int64(bytes))
	latency := min(max(now.Sub(sent).Microseconds(), 0), maxPublishUs)
	delay := min(max(sent.Sub(due).Microseconds(), 0), maxPublishUs)
	s.publishMu.Lock()
	defer s.publishMu.Unlock()
	// The values are within the histograms' range: no error can come.
	s.period.publish.RecordValue(latency)
	s.cumulative.publish.RecordValue(latency)
	s.period.publishDelay.RecordValue(delay)
	s.cumulative.publishDelay.RecordValue(delay)
}

func (s *stats) failed() {
	s.errors.Add(1)
	s.totalErrors.Add(1)
}

// arrived counts a consumed message. Timestamps are whole milliseconds, so a
// latency of none is left out, as the benchmark does.
func (s *stats) arrived(bytes int, latency time.Duration) {
	s.received.Add(1)
	s.totalReceived.Add(1)
	s.receivedBytes.Add(int64(bytes))
	us := min(latency.Microseconds(), maxEndToEndUs)
	if us <= 0 {
		return
	}
	s.consumeMu.Lock()
	defer s.consumeMu.Unlock()
	s.period.endToEnd.RecordValue(us)
	s.cumulative.endToEnd.RecordValue(us)
}

// periodStats are the counters since the last call and the totals.
type periodStats struct {
	sent, sentBytes, errors, received, receivedBytes int64
	totalSent, totalReceived                         int64
	latencies
}

// takePeriod returns what has come since the last call and starts anew.
func (s *stats) takePeriod() periodStats {
	p := periodStats{
		sent: s.sent.Swap(0), sentBytes: s.sentBytes.Swap(0), errors: s.errors.Swap(0),
		received: s.received.Swap(0), receivedBytes: s.receivedBytes.Swap(0),
		totalSent: s.totalSent.Load(), totalReceived: s.totalReceived.Load(),
	}
	fresh := newLatencies()
	s.publishMu.Lock()
	p.publish, s.period.publish = s.period.publish, fresh.publish
	p.publishDelay, s.period.publishDelay = s.period.publishDelay, fresh.publishDelay
	s.publishMu.Unlock()
	s.consumeMu.Lock()
	p.endToEnd, s.period.endToEnd = s.period.endToEnd, fresh.endToEnd
	s.consumeMu.Unlock()
	return p
}

// takeCumulative returns the histograms since the last reset.
func (s *stats) takeCumulative() latencies {
	fresh := newLatencies()
	s.publishMu.Lock()
	taken := latencies{publish: s.cumulative.publish, publishDelay: s.cumulative.publishDelay}
	s.cumulative.publish, s.cumulative.publishDelay = fresh.publish, fresh.publishDelay
	s.publishMu.Unlock()
	s.consumeMu.Lock()
	taken.endToEnd, s.cumulative.endToEnd = s.cumulative.endToEnd, fresh.endToEnd
	s.consumeMu.Unlock()
	return taken
}

// resetLatencies forgets the warm-up's latencies; the totals stay, as the
// backlog is their difference.
func (s *stats) resetLatencies() {
	s.takeCumulative()
	s.takePeriod()
}
