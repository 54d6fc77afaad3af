package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"freshet/bench"
)

// SchemaVersion is the version of the JSON result. It is raised when a field
// changes its meaning; added fields do not raise it.
const SchemaVersion = 1

// Report is a comparison's result. docs/performance/COMPARE.md describes the
// JSON.
type Report struct {
	SchemaVersion int               `json:"schema_version"`
	Started       time.Time         `json:"started"`
	Seconds       float64           `json:"seconds"`
	Environment   bench.Environment `json:"environment"`
	// Brokers are the contenders; ratios compare the first with each other one.
	Brokers []Broker `json:"brokers"`
	Clients []Client `json:"clients"`
	// Repetitions were measured, Warmup passes before them thrown away.
	Repetitions int `json:"repetitions"`
	Warmup      int `json:"warmup"`
	// Cluster is the number of brokers of each contender, 0 for one.
	Cluster int `json:"cluster,omitempty"`
	// Unequal names what was compared although it is not equal (--force).
	Unequal []string `json:"unequal,omitempty"`
	// Notes are what a reader of the figures must know besides.
	Notes []string `json:"notes,omitempty"`
	Rows  []Row    `json:"rows"`
	// Process holds the figures of the processes themselves: start_port_ms,
	// start_ack_ms, idle_rss_bytes, idle_cpu_percent.
	Process []Metric `json:"process"`
	// Failovers are the brokers that were ended in each cluster, by its name.
	Failovers map[string][]bench.Failover `json:"failovers,omitempty"`
	// Checks hold the first cluster against the project's targets.
	Checks []bench.ScaleCheck `json:"checks,omitempty"`
	// Profiles are the directories of the profiles kept.
	Profiles []string `json:"profiles,omitempty"`
	OutDir   string   `json:"out_dir"`
}

// Broker describes one contender.
type Broker struct {
	Name  string     `json:"name"`
	Kind  BrokerKind `json:"kind"`
	Title string     `json:"title"`
	// Address is its bootstrap address, Command how it was started.
	Address string   `json:"address"`
	Command []string `json:"command,omitempty"`
	// VersionGuess is the Kafka release that its API versions look like.
	VersionGuess string     `json:"version_guess,omitempty"`
	Ack          AckPromise `json:"ack"`
	FileSystem   string     `json:"file_system,omitempty"`
	Device       string     `json:"device,omitempty"`
}

// Row is one workload with its runs and what they come to.
type Row struct {
	Name   string      `json:"name"`
	Title  string      `json:"title"`
	Kind   string      `json:"kind"`
	Config any         `json:"config"`
	Runs   []BrokerRun `json:"runs"`
	// Acks is what the row asked for, "1" or "all".
	Acks string `json:"acks,omitempty"`
	// Metrics are the figures that any run of the row has.
	Metrics []Metric `json:"metrics"`
	// Latency and AckLatency are of the merged histograms of all repetitions, by
	// broker.
	Latency    map[string]*bench.LatencySummary `json:"latency,omitempty"`
	AckLatency map[string]*bench.LatencySummary `json:"ack_latency,omitempty"`
}

// BrokerRun is one measured run.
type BrokerRun struct {
	Broker string `json:"broker"`
	// Position is 1 for the broker that came first in this repetition.
	Position int `json:"position"`
	bench.Run
}

// Metric is one figure of a row, for every broker.
type Metric struct {
	Name   string `json:"name"`
	Unit   string `json:"unit"`
	Better Better `json:"better"`
	// Brokers holds the estimates by name; a broker without the figure is left out.
	Brokers map[string]*Estimate `json:"brokers"`
	// Ratios compare the first broker with each other one.
	Ratios []Ratio `json:"ratios,omitempty"`
}

// command is how a broker was started, nil if it was not.
func (r *Report) command(broker string) []string {
	for _, b := range r.Brokers {
		if b.Name == broker {
			return b.Command
		}
	}
	return nil
}

// newMetric gathers values by broker; nil when none has any.
func newMetric(name, unit string, better Better, brokers []Broker, values map[string][]float64) *Metric {
	m := Metric{Name: name, Unit: unit, Better: better, Brokers: make(map[string]*Estimate)}
	for _, b := range brokers {
		if e := newEstimate(values[b.Name]); e != nil {
			m.Brokers[b.Name] = e
		}
	}
	if len(m.Brokers) == 0 {
		return nil
	}
	first := brokers[0].Name
	for _, b := range brokers[1:] {
		if r := newRatio(first, b.Name, m.Brokers[first], m.Brokers[b.Name], better); r != nil {
			m.Ratios = append(m.Ratios, *r)
		}
	}
	return &m
}

// summarize fills Metrics from the runs, which are in the order of repetitions.
func (row *Row) summarize(brokers []Broker) {
	row.Metrics = nil
	for _, f := range figures() {
		values := make(map[string][]float64)
		for _, run := range row.Runs {
			values[run.Broker] = append(values[run.Broker], f.of(run.Run))
		}
		if m := newMetric(f.name, f.unit, f.better, brokers, values); m != nil {
			row.Metrics = append(row.Metrics, *m)
		}
	}
}

// metric finds a figure of the row, nil if no run has it.
func (row *Row) metric(name string) *Metric { return metricOf(row.Metrics, name) }

func metricOf(metrics []Metric, name string) *Metric {
	for i := range metrics {
		if metrics[i].Name == name {
			return &metrics[i]
		}
	}
	return nil
}

// WriteJSON writes the report, indented.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteBenchstat writes one line a run in Go's benchmark format:
// `benchstat -col /broker compare.txt` sets the brokers side by side.
func (r *Report) WriteBenchstat(w io.Writer) error {
	_, err := fmt.Fprintf(w, "goos: linux\npkg: freshet/bench/compare\ncpu: %s\ncommit: %s\nkernel: %s\n",
		r.Environment.CPUModel, r.Environment.Commit, r.Environment.Kernel)
	if err != nil {
		return err
	}
	for _, row := range r.Rows {
		for _, run := range row.Runs {
			if _, err := io.WriteString(w, benchstatLine(row.Name, run)); err != nil {
				return err
			}
		}
	}
	for _, b := range r.Brokers {
		for _, m := range r.Process {
			e := m.Brokers[b.Name]
			if e == nil {
				continue
			}
			for _, v := range e.Values {
				if _, err := fmt.Fprintf(w, "BenchmarkCompare/row=process/broker=%s 1 %.4f %s\n", b.Name, v, benchUnit(m)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// benchUnit names a metric of the processes as a unit of benchstat's.
func benchUnit(m Metric) string {
	base := strings.ReplaceAll(strings.TrimSuffix(strings.TrimSuffix(m.Name, "_ms"), "_bytes"), "_", "-")
	return base + "-" + strings.ReplaceAll(m.Unit, "%", "percent")
}

func benchstatLine(row string, run BrokerRun) string {
	line := fmt.Sprintf("BenchmarkCompare/row=%s/broker=%s %d %.2f ns/op %.2f MB/s %.0f records/s", row, run.Broker,
		max(run.Records, 1), over(run.Seconds*1e9, float64(run.Records)), over(float64(run.LogBytes)/1e6, run.Seconds), run.RecordsPerSecond())
	if run.CPU != nil && run.LogBytes > 0 {
		line += fmt.Sprintf(" %.4f cpu-s/GB %.4f user-s/GB %.4f sys-s/GB", run.CPUPerGB(), cpuShare(run.Run, true), cpuShare(run.Run, false))
	}
	if run.PeakRSSBytes > 0 {
		line += fmt.Sprintf(" %d peak-rss-B", run.PeakRSSBytes)
	}
	for _, l := range []struct {
		prefix string
		of     *bench.LatencySummary
	}{{"", run.Latency}, {"ack-", run.AckLatency}} {
		if l.of != nil {
			line += fmt.Sprintf(" %.1f %sp50-us %.1f %sp99-us %.1f %sp99.9-us", l.of.P50Us, l.prefix, l.of.P99Us, l.prefix, l.of.P999Us, l.prefix)
		}
	}
	return line + "\n"
}
