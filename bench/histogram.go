package bench

import (
	"fmt"
	"io"
	"os"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// The range of every latency histogram: from 1 ns to one hour with three
// significant digits. A value outside fails the run; nothing is clamped.
const (
	histogramLowestNs  = 1
	histogramHighestNs = int64(time.Hour)
	histogramDigits    = 3
)

// Recorder collects latencies of one goroutine. It is not safe for concurrent
// use: give each goroutine its own and merge them.
type Recorder struct {
	hist *hdr.Histogram
	// rejected counts values outside the histogram's range.
	rejected int64
	// grid, if set, counts the same latencies over time.
	grid *latencyGrid
}

// NewRecorder makes an empty recorder.
func NewRecorder() *Recorder {
	return &Recorder{hist: hdr.New(histogramLowestNs, histogramHighestNs, histogramDigits)}
}

// newTimedRecorder makes a recorder that also keeps a LatencyGrid, of the
// latencies given to RecordAt.
func newTimedRecorder() *Recorder {
	r := NewRecorder()
	r.grid = newLatencyGrid()
	return r
}

// RecordAt adds one latency that belongs to a time since the run's start: when
// its request was sent, or was due.
func (r *Recorder) RecordAt(at, latency time.Duration) {
	r.Record(latency)
	if r.grid != nil {
		r.grid.add(at, latency)
	}
}

// Record adds one latency. Zero is recorded as 0 ns; a negative latency or one
// above an hour is counted as rejected.
func (r *Recorder) Record(latency time.Duration) {
	if r.hist.RecordValue(int64(latency)) != nil {
		r.rejected++
	}
}

// Merge adds another recorder's values to r, over time too if other has that.
func (r *Recorder) Merge(other *Recorder) {
	if other.grid != nil {
		if r.grid == nil {
			r.grid = newLatencyGrid()
		}
		r.grid.merge(other.grid)
	}
	r.rejected += other.rejected + r.hist.Merge(other.hist)
}

// Count is the number of latencies recorded.
func (r *Recorder) Count() int64 { return r.hist.TotalCount() }

// Err reports values that did not fit the histogram; such a run has failed.
func (r *Recorder) Err() error {
	if r.rejected == 0 {
		return nil
	}
	return fmt.Errorf("%d latencies were negative or above one hour: the run does not count", r.rejected)
}

// LatencySummary is a histogram's digest, all in microseconds. The histogram
// itself is kept in the .hlog and .hgrm files; percentiles are never averaged.
type LatencySummary struct {
	Count  int64   `json:"count"`
	MeanUs float64 `json:"mean_us"`
	P50Us  float64 `json:"p50_us"`
	P90Us  float64 `json:"p90_us"`
	P99Us  float64 `json:"p99_us"`
	P999Us float64 `json:"p999_us"`
	MaxUs  float64 `json:"max_us"`
}

// Summary digests the recorder.
func (r *Recorder) Summary() LatencySummary {
	us := func(ns int64) float64 { return float64(ns) / 1e3 }
	h := r.hist
	return LatencySummary{
		Count:  h.TotalCount(),
		MeanUs: h.Mean() / 1e3,
		P50Us:  us(h.ValueAtQuantile(50)),
		P90Us:  us(h.ValueAtQuantile(90)),
		P99Us:  us(h.ValueAtQuantile(99)),
		P999Us: us(h.ValueAtQuantile(99.9)),
		MaxUs:  us(h.Max()),
	}
}

// gridOrNil is the recorder's latencies over time, nil if there are none.
func (r *Recorder) gridOrNil() *LatencyGrid {
	if r == nil {
		return nil
	}
	return r.grid.sparse()
}

// summaryOrNil is nil for a recorder that is nil or empty.
func (r *Recorder) summaryOrNil() *LatencySummary {
	if r == nil || r.Count() == 0 {
		return nil
	}
	summary := r.Summary()
	return &summary
}

// NamedHistogram is one run's histogram with its interval.
type NamedHistogram struct {
	Tag        string // no comma, space or line break
	Start, End time.Time
	Recorder   *Recorder
}

// WriteHistogramLog writes histograms in the HdrHistogram log format V2 (nanosecond
// values, one tagged line each), as HistogramLogProcessor reads it.
func WriteHistogramLog(w io.Writer, comment string, hists []NamedHistogram) error {
	log := hdr.NewHistogramLogWriter(w)
	if err := log.OutputComment(comment); err != nil {
		return err
	}
	if err := log.OutputLogFormatVersion(); err != nil {
		return err
	}
	if len(hists) > 0 {
		if err := log.OutputStartTime(hists[0].Start.UnixMilli()); err != nil {
			return err
		}
	}
	if err := log.OutputLegend(); err != nil {
		return err
	}
	for _, named := range hists {
		h := named.Recorder.hist
		h.SetTag(named.Tag)
		h.SetStartTimeMs(named.Start.UnixMilli())
		h.SetEndTimeMs(named.End.UnixMilli())
		if err := log.OutputIntervalHistogram(h); err != nil {
			return fmt.Errorf("cannot write the histogram %q: %w", named.Tag, err)
		}
	}
	return nil
}

// WritePercentiles writes the .hgrm percentile distribution in milliseconds,
// the form HdrHistogram's plotter reads.
func WritePercentiles(w io.Writer, r *Recorder) error {
	_, err := r.hist.PercentilesPrint(w, 5, float64(time.Millisecond))
	return err
}

// saveHistograms writes <base>.hlog with every run and <base>.hgrm with all of
// them merged.
func saveHistograms(base, comment string, hists []NamedHistogram) error {
	if len(hists) == 0 {
		return nil
	}
	err := writeFile(base+".hlog", func(w io.Writer) error {
		return WriteHistogramLog(w, comment, hists)
	})
	if err != nil {
		return err
	}
	merged := NewRecorder()
	for _, named := range hists {
		merged.Merge(named.Recorder)
	}
	return writeFile(base+".hgrm", func(w io.Writer) error {
		return WritePercentiles(w, merged)
	})
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("cannot create the result file: %w", err)
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return f.Close()
}
