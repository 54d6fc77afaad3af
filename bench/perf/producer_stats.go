package perf

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// maxSamples bounds the latencies kept for the percentiles.
const maxSamples = 500_000

// producerStats are the totals and the current window of a producer run. One
// goroutine uses it: that of the client's promises.
type producerStats struct {
	out         io.Writer
	now         func() time.Time
	steadyState bool
	// reporting is the length of a window.
	reporting time.Duration
	// quiet keeps windows from being printed, once the steady state's are.
	quiet bool

	start, windowStart time.Time
	sampling           int64   // every sampling-th latency is kept
	latencies          []int32 // ms
	count, bytes       int64
	totalLatencyMs     int64
	maxLatencyMs       int64

	windowCount, windowBytes               int64
	windowTotalLatencyMs, windowMaxLatency int64
}

func newProducerStats(out io.Writer, now func() time.Time, numRecords int64, reporting time.Duration, steadyState bool) *producerStats {
	start := now()
	return &producerStats{
		out: out, now: now, steadyState: steadyState, reporting: reporting,
		start: start, windowStart: start,
		sampling: numRecords / min(numRecords, maxSamples),
	}
}

// record adds one acknowledged record.
func (s *producerStats) record(latencyMs int64, bytes int, now time.Time) {
	if s.count%s.sampling == 0 {
		s.latencies = append(s.latencies, int32(latencyMs))
	}
	s.count++
	s.bytes += int64(bytes)
	s.totalLatencyMs += latencyMs
	s.maxLatencyMs = max(s.maxLatencyMs, latencyMs)
	s.windowCount++
	s.windowBytes += int64(bytes)
	s.windowTotalLatencyMs += latencyMs
	s.windowMaxLatency = max(s.windowMaxLatency, latencyMs)
	if now.Sub(s.windowStart) < s.reporting {
		return
	}
	if s.steadyState && s.count == s.windowCount {
		fmt.Fprintln(s.out, "In steady state.")
	}
	if !s.quiet {
		s.printWindow()
	}
	s.windowStart = s.now()
	s.windowCount, s.windowBytes, s.windowTotalLatencyMs, s.windowMaxLatency = 0, 0, 0, 0
}

func (s *producerStats) printWindow() {
	elapsedMs := float64(s.now().Sub(s.windowStart).Milliseconds())
	fmt.Fprintf(s.out, "%d records sent, %s records/sec (%s MB/sec), %s ms avg latency, %s ms max latency.\n",
		s.windowCount,
		javaFixed(1000*float64(s.windowCount)/elapsedMs, 1),
		javaFixed(1000*float64(s.windowBytes)/elapsedMs/bytesPerMB, 2),
		javaFixed(float64(s.windowTotalLatencyMs)/float64(s.windowCount), 1),
		javaFixed(float64(s.windowMaxLatency), 1))
}

// printTotal ends the run; it sorts the samples.
func (s *producerStats) printTotal() {
	elapsedMs := float64(s.now().Sub(s.start).Milliseconds())
	slices.Sort(s.latencies)
	steady := ""
	if s.steadyState {
		steady = " steady state"
	}
	fmt.Fprintf(s.out, "%d%s records sent, %s records/sec (%s MB/sec), %s ms avg latency, %s ms max latency, "+
		"%d ms 50th, %d ms 95th, %d ms 99th, %d ms 99.9th.\n",
		s.count, steady,
		javaFixed(1000*float64(s.count)/elapsedMs, 6),
		javaFixed(1000*float64(s.bytes)/elapsedMs/bytesPerMB, 2),
		javaFixed(float64(s.totalLatencyMs)/float64(s.count), 2),
		javaFixed(float64(s.maxLatencyMs), 2),
		s.percentile(0.5), s.percentile(0.95), s.percentile(0.99), s.percentile(0.999))
}

// percentile is the sample at that share of the sorted ones, 0 without any.
func (s *producerStats) percentile(share float64) int32 {
	if len(s.latencies) == 0 {
		return 0
	}
	return s.latencies[int(share*float64(len(s.latencies)))]
}
