package bench

import (
	"encoding/json"
	"io"
	"math/bits"
	"slices"
	"time"
)

// Timelines are all of a suite's runs over time, the content of timeline.json.
// They stand beside result.json and not in it: they are long, and a figure
// never comes from them.
type Timelines struct {
	SchemaVersion int        `json:"schema_version"`
	Runs          []Timeline `json:"runs"`
}

// Timeline is one measured run over time.
type Timeline struct {
	Row        string     `json:"row"`
	Target     TargetName `json:"target"`
	Repetition int        `json:"repetition"`
	// Samples are cumulative, the first at the start and the last at the end.
	Samples SampleColumns `json:"samples"`
	// Latency and AckLatency are the histograms of Run, spread over time.
	Latency    *LatencyGrid `json:"latency,omitempty"`
	AckLatency *LatencyGrid `json:"ack_latency,omitempty"`
}

// TimelineOf is a run over time. The recorders, which may be nil, are the run's.
func TimelineOf(row string, run Run, latency, ack *Recorder) Timeline {
	return Timeline{Row: row, Target: run.Target, Repetition: run.Repetition, Samples: run.samples,
		Latency: latency.gridOrNil(), AckLatency: ack.gridOrNil()}
}

// SampleColumns are samples column by column, which keeps the JSON short.
// CPUMs and RSSBytes are empty when the server is not on this machine.
type SampleColumns struct {
	// AtMs is the time since the run's start.
	AtMs []float64 `json:"at_ms"`
	// Records since the start: acknowledged or fetched for real clients, handed
	// to a connection for raw ones, which is at most its window ahead.
	Records []int64 `json:"records"`
	// CPUMs is the server's CPU time since the start.
	CPUMs    []float64 `json:"cpu_ms,omitempty"`
	RSSBytes []int64   `json:"rss_bytes,omitempty"`
}

// sample is the state of a run at one time, counted from its start.
type sample struct {
	at       time.Duration
	records  int64
	cpu      time.Duration
	rssBytes int64
}

const (
	// sampleSpacing is the time between two samples of a short run.
	sampleSpacing = 50 * time.Millisecond
	// gridSpacing is the width of a LatencyGrid's columns in a short run.
	gridSpacing = 5 * time.Millisecond
	// maxSamples and maxGridColumns bound what a run of any length keeps: at
	// the limit every second sample goes, two columns become one, and the
	// spacing doubles.
	maxSamples     = 256
	maxGridColumns = 128
)

// samples keeps a bounded number of samples of a run of unknown length. It has
// no clock: its user says when a sample was taken. Not safe for concurrent use.
type samples struct {
	spacing time.Duration
	kept    []sample
}

// due reports whether a sample taken at a time would be kept.
func (s *samples) due(at time.Duration) bool {
	// The slack is for tickers, which are never on time to the nanosecond.
	return len(s.kept) == 0 || at >= s.kept[len(s.kept)-1].at+s.spacing-sampleSpacing/2
}

// add keeps a sample if it is due. Times must not go back.
func (s *samples) add(x sample) {
	if !s.due(x.at) {
		return
	}
	if len(s.kept) == maxSamples {
		s.kept = everySecond(s.kept)
		s.spacing *= 2
		if !s.due(x.at) {
			return
		}
	}
	s.kept = append(s.kept, x)
}

// end keeps a run's last sample in any case; one just before it gives way.
func (s *samples) end(x sample) {
	if !s.due(x.at) && len(s.kept) > 1 {
		s.kept = s.kept[:len(s.kept)-1]
	}
	s.kept = append(s.kept, x)
}

// everySecond keeps the samples 0, 2, 4 … in place.
func everySecond(all []sample) []sample {
	kept := all[:0]
	for i := 0; i < len(all); i += 2 {
		kept = append(kept, all[i])
	}
	return kept
}

// columns is the JSON form; watched says whether CPU and memory were sampled.
func (s *samples) columns(watched bool) SampleColumns {
	var c SampleColumns
	for _, x := range s.kept {
		c.AtMs = append(c.AtMs, float64(x.at.Microseconds())/1e3)
		c.Records = append(c.Records, x.records)
		if watched {
			c.CPUMs = append(c.CPUMs, float64(x.cpu.Microseconds())/1e3)
			c.RSSBytes = append(c.RSSBytes, x.rssBytes)
		}
	}
	return c
}

// gridStepsPerOctave is the height of a LatencyGrid's cells: a quarter of the
// way to twice the value.
const (
	gridStepBits       = 2
	gridStepsPerOctave = 1 << gridStepBits
)

// LatencyGrid counts latencies by the time they belong to and by their size.
type LatencyGrid struct {
	// IntervalMs is the width of a column; column i begins at i × IntervalMs.
	IntervalMs float64 `json:"interval_ms"`
	// StepsPerOctave is the number of cells from a latency to twice that.
	StepsPerOctave int `json:"steps_per_octave"`
	// Columns hold pairs of a cell's index and its count, for cells that are
	// not empty, by rising index. GridCellNs gives an index its latency.
	Columns [][][2]int64 `json:"columns"`
}

// GridCellNs is the range of latencies in ns that cell i of a column counts,
// the upper end excluded.
func GridCellNs(i int64, stepsPerOctave int) (fromNs, toNs float64) {
	at := func(i int64) float64 {
		octave, step := i/int64(stepsPerOctave), i%int64(stepsPerOctave)
		return float64(uint64(1)<<octave) * (1 + float64(step)/float64(stepsPerOctave))
	}
	return at(i), at(i + 1)
}

// gridCell is the index of a latency's cell; below 1 ns counts as 1 ns.
func gridCell(latency time.Duration) int {
	ns := uint64(max(latency, 1))
	octave := bits.Len64(ns) - 1
	step := 0
	if octave >= gridStepBits {
		step = int(ns>>(octave-gridStepBits)) & (gridStepsPerOctave - 1)
	} else {
		step = int(ns<<(gridStepBits-octave)) & (gridStepsPerOctave - 1)
	}
	return octave*gridStepsPerOctave + step
}

// gridCells covers an hour, a Recorder's highest value.
const gridCells = 42 * gridStepsPerOctave

// latencyGrid is a LatencyGrid while it grows. Not safe for concurrent use.
type latencyGrid struct {
	width   time.Duration
	columns []*[gridCells]int64 // nil for a column without latencies
}

func newLatencyGrid() *latencyGrid { return &latencyGrid{width: gridSpacing} }

// add counts a latency that belongs to a time since the run's start.
func (g *latencyGrid) add(at, latency time.Duration) {
	cell := gridCell(latency)
	if at < 0 || cell >= gridCells {
		return // the Recorder rejects such a latency, and the run with it
	}
	for int(at/g.width) >= maxGridColumns {
		g.fold()
	}
	i := int(at / g.width)
	for len(g.columns) <= i {
		g.columns = append(g.columns, nil)
	}
	if g.columns[i] == nil {
		g.columns[i] = new([gridCells]int64)
	}
	g.columns[i][cell]++
}

// fold makes columns of twice the width, each the sum of two.
func (g *latencyGrid) fold() {
	g.width *= 2
	for i, column := range g.columns {
		switch into := &g.columns[i/2]; {
		case i%2 == 0:
			*into = column
		case *into == nil:
			*into = column
		case column != nil:
			for cell, n := range column {
				(*into)[cell] += n
			}
		}
	}
	g.columns = slices.Clip(g.columns[:(len(g.columns)+1)/2])
}

// merge adds the counts of another grid.
func (g *latencyGrid) merge(other *latencyGrid) {
	for g.width < other.width {
		g.fold()
	}
	for i, column := range other.columns {
		if column == nil {
			continue
		}
		into := int(time.Duration(i) * other.width / g.width)
		for len(g.columns) <= into {
			g.columns = append(g.columns, nil)
		}
		if g.columns[into] == nil {
			g.columns[into] = new([gridCells]int64)
		}
		for cell, n := range column {
			g.columns[into][cell] += n
		}
	}
}

// sparse is the JSON form, nil when nothing was counted.
func (g *latencyGrid) sparse() *LatencyGrid {
	if g == nil || len(g.columns) == 0 {
		return nil
	}
	out := &LatencyGrid{IntervalMs: float64(g.width) / float64(time.Millisecond), StepsPerOctave: gridStepsPerOctave}
	for _, column := range g.columns {
		pairs := [][2]int64{}
		if column != nil {
			for cell, n := range column {
				if n > 0 {
					pairs = append(pairs, [2]int64{int64(cell), n})
				}
			}
		}
		out.Columns = append(out.Columns, pairs)
	}
	return out
}

// WriteJSON writes the timelines without indentation.
func (t *Timelines) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(t) }
