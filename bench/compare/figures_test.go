package compare

import (
	"math"
	"testing"

	"freshet/bench"
)

func TestFiguresOfARun(t *testing.T) {
	run := bench.Run{Seconds: 2, Requests: 1000, Records: 500_000, LogBytes: 2e9, PayloadBytes: 1 << 30,
		CPU:     &bench.CPUResult{TotalSeconds: 4.04, UserSeconds: 1, SystemSeconds: 3},
		Latency: &bench.LatencySummary{P50Us: 5, P999Us: 9}, PeakRSSBytes: 7}
	want := map[string]float64{
		"records_per_second": 250_000, "payload_mb_per_second": 512, "cpu_seconds_per_gb": 2.02,
		"cpu_user_seconds_per_gb": 0.505, "cpu_system_seconds_per_gb": 1.515, "cpu_us_per_request": 4040,
		"cpu_user_us_per_request": 1010, "latency_p50_us": 5, "latency_p999_us": 9, "peak_rss_bytes": 7,
		"ack_p50_us": math.NaN(), "client_cpu_seconds_per_gb": math.NaN(),
	}
	for _, f := range figures() {
		w, ok := want[f.name]
		if !ok {
			continue
		}
		delete(want, f.name)
		if got := f.of(run); math.Abs(got-w) > 1e-6*math.Abs(w) || math.IsNaN(got) != math.IsNaN(w) {
			t.Errorf("%s is %v, want %v", f.name, got, w)
		}
	}
	if len(want) > 0 {
		t.Errorf("no figures %v", want)
	}
}

// A run without a known process, or one too short for a tick, has no CPU parts.
func TestFiguresThatWereNotMeasured(t *testing.T) {
	for name, run := range map[string]bench.Run{
		"no process": {Seconds: 1, Records: 1, LogBytes: 1},
		"no tick":    {Seconds: 1, Records: 1, LogBytes: 1, CPU: &bench.CPUResult{TotalSeconds: 0.001}},
	} {
		for _, f := range figures() {
			if f.name == "cpu_user_seconds_per_gb" && !math.IsNaN(f.of(run)) {
				t.Errorf("%s: %s is %v", name, f.name, f.of(run))
			}
		}
	}
}
