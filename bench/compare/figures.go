package compare

import (
	"math"

	"freshet/bench"
)

// Better says which way a figure improves.
type Better string

const (
	HigherIsBetter Better = "higher"
	LowerIsBetter  Better = "lower"
)

// figure is one number that a run gives.
type figure struct {
	name, unit string
	better     Better
	// of takes it from a run; NaN means that the run has none.
	of func(bench.Run) float64
}

const (
	bytesPerMB = 1 << 20
	bytesPerGB = 1e9
)

// figures are what is taken from every run, in the order of the JSON result.
// Latencies of rows that measure arrival at a consumer come as latency_, those
// of acknowledgements as ack_.
func figures() []figure {
	list := []figure{
		{"records_per_second", "records/s", HigherIsBetter, bench.Run.RecordsPerSecond},
		{"log_mb_per_second", "MB/s", HigherIsBetter, func(r bench.Run) float64 {
			return over(float64(r.LogBytes)/bytesPerMB, r.Seconds)
		}},
		{"payload_mb_per_second", "MB/s", HigherIsBetter, func(r bench.Run) float64 {
			return over(float64(r.PayloadBytes)/bytesPerMB, r.Seconds)
		}},
		{"cpu_seconds_per_gb", "s/GB", LowerIsBetter, bench.Run.CPUPerGB},
		{"cpu_user_seconds_per_gb", "s/GB", LowerIsBetter, func(r bench.Run) float64 { return cpuShare(r, true) }},
		{"cpu_system_seconds_per_gb", "s/GB", LowerIsBetter, func(r bench.Run) float64 { return cpuShare(r, false) }},
		{"cpu_us_per_request", "µs", LowerIsBetter, bench.Run.CPUPerRequestUs},
		{"cpu_user_us_per_request", "µs", LowerIsBetter, func(r bench.Run) float64 { return r.CPUPerRequestUs() * tickShare(r, true) }},
		{"cpu_system_us_per_request", "µs", LowerIsBetter, func(r bench.Run) float64 { return r.CPUPerRequestUs() * tickShare(r, false) }},
		{"peak_rss_bytes", "B", LowerIsBetter, func(r bench.Run) float64 { return positive(float64(r.PeakRSSBytes)) }},
		{"client_cpu_seconds_per_gb", "s/GB", LowerIsBetter, func(r bench.Run) float64 {
			return positive(over(r.GeneratorCPUSeconds, float64(r.LogBytes)/bytesPerGB))
		}},
	}
	latencies := []struct {
		prefix string
		of     func(bench.Run) *bench.LatencySummary
	}{
		{"latency_", func(r bench.Run) *bench.LatencySummary { return r.Latency }},
		{"ack_", func(r bench.Run) *bench.LatencySummary { return r.AckLatency }},
	}
	points := []struct {
		name string
		of   func(*bench.LatencySummary) float64
	}{
		{"mean_us", func(l *bench.LatencySummary) float64 { return l.MeanUs }},
		{"p50_us", func(l *bench.LatencySummary) float64 { return l.P50Us }},
		{"p90_us", func(l *bench.LatencySummary) float64 { return l.P90Us }},
		{"p99_us", func(l *bench.LatencySummary) float64 { return l.P99Us }},
		{"p999_us", func(l *bench.LatencySummary) float64 { return l.P999Us }},
		{"max_us", func(l *bench.LatencySummary) float64 { return l.MaxUs }},
	}
	for _, l := range latencies {
		for _, p := range points {
			list = append(list, figure{l.prefix + p.name, "µs", LowerIsBetter, func(r bench.Run) float64 {
				if summary := l.of(r); summary != nil {
					return p.of(summary)
				}
				return math.NaN()
			}})
		}
	}
	return list
}

// cpuShare is the user or the system part of the run's CPU seconds per GB.
func cpuShare(r bench.Run, user bool) float64 { return r.CPUPerGB() * tickShare(r, user) }

// tickShare divides a run's CPU time as the kernel's ticks divide it: the two
// parts come in steps of 10 ms, their exact sum does not.
func tickShare(r bench.Run, user bool) float64 {
	if r.CPU == nil {
		return math.NaN()
	}
	part := r.CPU.SystemSeconds
	if user {
		part = r.CPU.UserSeconds
	}
	return over(part, r.CPU.UserSeconds+r.CPU.SystemSeconds)
}

func over(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// positive is NaN for what was not measured.
func positive(v float64) float64 {
	if v > 0 {
		return v
	}
	return math.NaN()
}
