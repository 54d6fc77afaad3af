package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// SchemaVersion is the version of the JSON result. It is raised when a field
// changes its meaning; added fields do not raise it.
const SchemaVersion = 1

// WideRange is how many times the repetitions of a figure may differ before a
// report says so beside it.
const WideRange = 1.5

// Units used throughout: MB is 2^20 bytes, as Kafka's tools print it; GB, in
// CPU seconds per GB, is 10^9 bytes. Log bytes are record batches as the log
// keeps them; payload bytes are the records' values alone.
const (
	bytesPerMB = 1 << 20
	bytesPerGB = 1e9
)

// Mode is client or saturate.
type Mode string

const (
	ModeSaturate Mode = "saturate"
	ModeClient   Mode = "client"
)

// Report is a whole invocation's result.
type Report struct {
	SchemaVersion int         `json:"schema_version"`
	Started       time.Time   `json:"started"`
	Seconds       float64     `json:"seconds"`
	Environment   Environment `json:"environment"`
	Broker        BrokerInfo  `json:"broker"`
	// Repetitions is how often each row was measured; runs of broker and floor
	// alternate and their order is swapped each time.
	Repetitions int    `json:"repetitions"`
	Rows        []Row  `json:"rows"`
	OutDir      string `json:"out_dir"`
	// Profiles are the directories of the profiles kept, one a row.
	Profiles []string `json:"profiles,omitempty"`
}

// BrokerInfo describes the broker under test.
type BrokerInfo struct {
	Address string `json:"address"`
	// VersionGuess is the Kafka release that an outside broker's API versions
	// look like; a broker started here is of this binary's commit.
	VersionGuess string `json:"version_guess,omitempty"`
	// Make is "Freshet" for an outside broker that says that it is one.
	Make         string   `json:"make,omitempty"`
	Command      []string `json:"command,omitempty"`
	ReadyMs      float64  `json:"ready_ms,omitempty"`
	IdleRSSBytes int64    `json:"idle_rss_bytes,omitempty"`
	Ack          string   `json:"ack"`
}

// Row is one workload with all its runs.
type Row struct {
	Mode  Mode   `json:"mode"`
	Name  string `json:"name"`
	Title string `json:"title"`
	// Config is the workload as it was run.
	Config any    `json:"config"`
	Ack    string `json:"ack,omitempty"`
	Judge  Judge  `json:"judge,omitempty"`
	// MaxRatio is the target of the ratio to the floor, 0 if there is none.
	MaxRatio float64 `json:"max_ratio,omitempty"`
	Runs     []Run   `json:"runs"`
	// Derived figures, by target.
	Summary map[TargetName]Summary `json:"summary"`
	// Ratio is the broker's judged median over the floor's, 0 if not measured.
	Ratio float64 `json:"ratio,omitempty"`
	// PairedRatios is the spread of the ratios of single repetitions, whose two
	// runs came one after the other.
	PairedRatios *Spread `json:"paired_ratios,omitempty"`
}

// Run is one measured run of one row against one target.
type Run struct {
	Target     TargetName `json:"target"`
	Repetition int        `json:"repetition"`
	Start      time.Time  `json:"start"`
	Seconds    float64    `json:"seconds"`
	// Requests counts raw requests; 0 in the client mode.
	Requests int64 `json:"requests,omitempty"`
	// Records were produced and acknowledged, or consumed, in Seconds.
	Records      int64 `json:"records"`
	LogBytes     int64 `json:"log_bytes"`
	PayloadBytes int64 `json:"payload_bytes"`
	// VerifiedRecords were read back with every CRC and offset right (saturate)
	// or consumed with the checksum of what was produced (client).
	VerifiedRecords int64 `json:"verified_records"`
	// BatchBytes is the mean size of the batches actually achieved.
	BatchBytes float64 `json:"batch_bytes"`
	// CPU is the server's, nil when it is not on this machine.
	CPU *CPUResult `json:"cpu,omitempty"`
	// GeneratorCPUSeconds is this process's own.
	GeneratorCPUSeconds float64 `json:"generator_cpu_seconds"`
	RSSBytes            int64   `json:"rss_bytes,omitempty"`
	PeakRSSBytes        int64   `json:"peak_rss_bytes,omitempty"`
	// Latency is end to end for the client mode's latency rows, from send to
	// answer for a raw round trip; AckLatency is until the acknowledgement.
	Latency    *LatencySummary `json:"latency,omitempty"`
	AckLatency *LatencySummary `json:"ack_latency,omitempty"`
	// ReplicatedSeconds is the time until every replica had all that was
	// acknowledged in Seconds; CPU time runs until then. 0 without replication.
	ReplicatedSeconds float64 `json:"replicated_seconds,omitempty"`
	// Memory is how the memory was found before the run, nil where the run
	// writes nothing.
	Memory *MemoryCheck `json:"memory,omitempty"`
	// RatePerSecond is the schedule of an open-loop run.
	RatePerSecond float64 `json:"rate_per_second,omitempty"`
	// samples are the run over time; they go to timeline.json.
	samples SampleColumns
}

// CPUResult is CPU time in seconds.
type CPUResult struct {
	TotalSeconds      float64 `json:"total_seconds"`
	UserSeconds       float64 `json:"user_seconds"`
	SystemSeconds     float64 `json:"system_seconds"`
	RingWorkerSeconds float64 `json:"ring_worker_seconds"`
}

func newCPUResult(c CPUTime) *CPUResult {
	return &CPUResult{
		TotalSeconds:      c.Total.Seconds(),
		UserSeconds:       c.User.Seconds(),
		SystemSeconds:     c.System.Seconds(),
		RingWorkerSeconds: c.RingWorkers.Seconds(),
	}
}

// RecordsPerSecond is the run's rate.
func (r Run) RecordsPerSecond() float64 { return over(float64(r.Records), r.Seconds) }

// CPUPerGB is server CPU seconds for 10^9 log bytes, NaN if not measured.
func (r Run) CPUPerGB() float64 {
	if r.CPU == nil {
		return math.NaN()
	}
	return over(r.CPU.TotalSeconds, float64(r.LogBytes)/bytesPerGB)
}

// CPUPerRequestUs is server CPU microseconds a request, NaN if not measured.
func (r Run) CPUPerRequestUs() float64 {
	if r.CPU == nil || r.Requests == 0 {
		return math.NaN()
	}
	return r.CPU.TotalSeconds * 1e6 / float64(r.Requests)
}

func over(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// Spread is the median and range of a figure over the repetitions.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// newSpread leaves out NaN; nil when nothing is left.
func newSpread(values []float64) *Spread {
	values = slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	n := len(values)
	return &Spread{
		Median: (values[(n-1)/2] + values[n/2]) / 2,
		Min:    values[0],
		Max:    values[n-1],
	}
}

// Summary is a row's figures against one target over all repetitions. A nil
// Spread was not measured.
type Summary struct {
	RecordsPerSecond *Spread `json:"records_per_second,omitempty"`
	LogMBPerSecond   *Spread `json:"log_mb_per_second,omitempty"`
	// PayloadMBPerSecond is what Kafka's tools and LinkedIn call MB/s.
	PayloadMBPerSecond *Spread `json:"payload_mb_per_second,omitempty"`
	CPUPerGB           *Spread `json:"cpu_seconds_per_gb,omitempty"`
	CPUPerRequestUs    *Spread `json:"cpu_us_per_request,omitempty"`
	BatchBytes         *Spread `json:"batch_bytes,omitempty"`
	PeakRSSBytes       *Spread `json:"peak_rss_bytes,omitempty"`
	// Latency is of the merged histograms of all repetitions.
	Latency    *LatencySummary `json:"latency,omitempty"`
	AckLatency *LatencySummary `json:"ack_latency,omitempty"`
	// P50Us is the spread of the single runs' medians, to show their range.
	P50Us *Spread `json:"p50_us,omitempty"`
}

// summarize fills Summary and Ratio from the runs. latencies and acks hold each
// target's merged histograms, if the row has any.
func (row *Row) summarize(latencies, acks map[TargetName]*Recorder) {
	row.Summary = make(map[TargetName]Summary)
	for _, name := range []TargetName{TargetBroker, TargetFloor, TargetNull} {
		collect := func(figure func(Run) float64) *Spread {
			var values []float64
			for _, run := range row.Runs {
				if run.Target == name {
					values = append(values, figure(run))
				}
			}
			return newSpread(values)
		}
		s := Summary{
			RecordsPerSecond: collect(Run.RecordsPerSecond),
			LogMBPerSecond: collect(func(r Run) float64 {
				return over(float64(r.LogBytes)/bytesPerMB, r.Seconds)
			}),
			PayloadMBPerSecond: collect(func(r Run) float64 {
				return over(float64(r.PayloadBytes)/bytesPerMB, r.Seconds)
			}),
			CPUPerGB:        collect(Run.CPUPerGB),
			CPUPerRequestUs: collect(Run.CPUPerRequestUs),
			BatchBytes:      collect(func(r Run) float64 { return over(r.BatchBytes, 1) }),
			PeakRSSBytes: collect(func(r Run) float64 {
				if r.PeakRSSBytes == 0 {
					return math.NaN()
				}
				return float64(r.PeakRSSBytes)
			}),
			P50Us: collect(func(r Run) float64 {
				if r.Latency == nil {
					return math.NaN()
				}
				return r.Latency.P50Us
			}),
		}
		if s.RecordsPerSecond == nil {
			continue
		}
		s.Latency = latencies[name].summaryOrNil()
		s.AckLatency = acks[name].summaryOrNil()
		row.Summary[name] = s
	}
	row.Ratio = 0
	broker, floor := row.judged(TargetBroker), row.judged(TargetFloor)
	if broker != nil && floor != nil && floor.Median > 0 {
		row.Ratio = broker.Median / floor.Median
	}
	row.PairedRatios = newSpread(row.pairedRatios())
}

// uneven says which figures the machine may have spoiled: runs before which the
// memory did not come as cheaply as it can, and repetitions that differ widely.
// No run is left out because of it.
func (row *Row) uneven() []string {
	var notes []string
	dear := 0
	for _, run := range row.Runs {
		if run.Memory != nil && run.Memory.Uneven {
			dear++
		}
	}
	if dear > 0 {
		notes = append(notes, fmt.Sprintf("%s: the memory was not even before %d of %d runs", row.Title, dear, len(row.Runs)))
	}
	if s := row.PairedRatios; s != nil && s.Min > 0 && s.Max > WideRange*s.Min {
		notes = append(notes, fmt.Sprintf("%s: the repetitions' ratios to the floor differ %.1f times (%.2f to %.2f)", row.Title, s.Max/s.Min, s.Min, s.Max))
	}
	return notes
}

// pairedRatios divides the broker's judged figure by the floor's for each
// repetition.
func (row *Row) pairedRatios() []float64 {
	var ratios []float64
	for _, broker := range row.Runs {
		for _, floor := range row.Runs {
			if broker.Target == TargetBroker && floor.Target == TargetFloor && broker.Repetition == floor.Repetition {
				ratios = append(ratios, over(row.judgedOf(broker), row.judgedOf(floor)))
			}
		}
	}
	return ratios
}

// judgedOf is a single run's figure that the row's ratio compares, NaN if it
// was not measured.
func (row *Row) judgedOf(run Run) float64 {
	switch row.Judge {
	case JudgeCPUPerGB:
		return run.CPUPerGB()
	case JudgeCPUPerRequest:
		return run.CPUPerRequestUs()
	case JudgeRoundTrip:
		if run.Latency != nil {
			return run.Latency.P50Us
		}
	}
	return math.NaN()
}

// judged is the figure that the row's ratio compares.
func (row *Row) judged(name TargetName) *Spread {
	s := row.Summary[name]
	switch row.Judge {
	case JudgeCPUPerGB:
		return s.CPUPerGB
	case JudgeCPUPerRequest:
		return s.CPUPerRequestUs
	case JudgeRoundTrip:
		return s.P50Us
	}
	return nil
}

// WriteJSON writes the report, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteBenchstat writes one line a run in Go's benchmark format, so that
// benchstat compares two results. Times are per record.
func (r *Report) WriteBenchstat(w io.Writer) error {
	_, err := fmt.Fprintf(w, "goos: linux\npkg: freshet/bench\ncpu: %s\ncommit: %s\nkernel: %s\n",
		r.Environment.CPUModel, r.Environment.Commit, r.Environment.Kernel)
	if err != nil {
		return err
	}
	for _, row := range r.Rows {
		for _, run := range row.Runs {
			if _, err := io.WriteString(w, benchstatLine(row, run)); err != nil {
				return err
			}
		}
	}
	return nil
}

func benchstatLine(row Row, run Run) string {
	line := fmt.Sprintf("BenchmarkFreshet/mode=%s/row=%s/target=%s %d %.2f ns/op %.2f MB/s %.0f records/s",
		row.Mode, row.Name, run.Target, run.Records, over(run.Seconds*1e9, float64(run.Records)),
		over(float64(run.LogBytes)/1e6, run.Seconds), run.RecordsPerSecond())
	if run.CPU != nil {
		line += fmt.Sprintf(" %.4f cpu-s/GB", run.CPUPerGB())
	}
	if run.PeakRSSBytes > 0 {
		line += fmt.Sprintf(" %d peak-rss-B", run.PeakRSSBytes)
	}
	if run.Latency != nil {
		line += fmt.Sprintf(" %.1f p50-us %.1f p99-us %.1f p99.9-us", run.Latency.P50Us, run.Latency.P99Us, run.Latency.P999Us)
	}
	return line + "\n"
}
