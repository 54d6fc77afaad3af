package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"freshet/bench"
)

// Names of the files in a run's directory.
const (
	resultFile   = "result.json"
	timelineFile = "timeline.json"
	// seriesFile is read beside the others: further systems from other tools.
	seriesFile = "series.json"
)

// Load reads what a run left in its directory, or the file of one result of the
// OpenMessaging Benchmark. Of a directory only the result itself is needed; what
// else is missing is left out, and what cannot be read becomes a note. A result
// of an older or newer schema is read as far as it goes.
func Load(dir string) (*Document, error) {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		data, err := os.ReadFile(dir)
		if err != nil {
			return nil, err
		}
		d, err := fromOMB(data, filepath.Base(dir))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir, err)
		}
		return d, nil
	}
	files := os.DirFS(dir)
	d, err := loadResult(files)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	d.addTimelines(files)
	d.addPercentiles(files)
	if f, err := files.Open(seriesFile); err == nil {
		more, err := ReadSeries(f)
		f.Close()
		if err != nil {
			d.Notes = append(d.Notes, fmt.Sprintf("%s is left out: %v.", seriesFile, err))
		}
		d.Series = append(d.Series, more...)
	}
	d.Flames = loadFlames(files, &d.Notes)
	d.addProfiles(dir)
	return d, nil
}

// otherResults are what other suites keep in place of result.json.
var otherResults = []struct {
	file string
	read func(data []byte, files []string) (*Document, error)
}{{compareFile, fromComparison}, {linkedInFile, fromLinkedIn}, {scaleFile, fromScale}}

// loadResult reads result.json, or another suite's where that is what there is.
func loadResult(files fs.FS) (*Document, error) {
	data, err := fs.ReadFile(files, resultFile)
	if errors.Is(err, fs.ErrNotExist) {
		for _, other := range otherResults {
			if data, err := fs.ReadFile(files, other.file); err == nil {
				return other.read(data, rawFiles(files))
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("no directory of a benchmark run: %w", err)
	}
	var result bench.Report
	if err := json.Unmarshal(data, &result); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", resultFile, err)
	}
	d := &Document{Title: "Benchmark of " + brokerName(&result), Series: seriesOf(&result),
		Runs: []Run{describe(&result, rawFiles(files))}, profiles: result.Profiles}
	if v := result.SchemaVersion; v != bench.SchemaVersion {
		d.Notes = append(d.Notes, fmt.Sprintf("The result has schema version %d; this page knows %d.", v, bench.SchemaVersion))
	}
	return d, nil
}

// rawFiles are the results to link to.
func rawFiles(files fs.FS) []string {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if ext := path.Ext(entry.Name()); !entry.IsDir() && ext != ".html" && ext != ".svg" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// brokerName is what the broker under test is called.
func brokerName(r *bench.Report) string {
	switch {
	case len(r.Broker.Command) > 0 || r.Broker.Make == "Freshet":
		return "Freshet"
	case r.Broker.VersionGuess != "":
		return "broker like Kafka " + r.Broker.VersionGuess
	case r.Broker.Address != "":
		return "broker at " + r.Broker.Address
	}
	return "Freshet"
}

// seriesOf makes one series for each row and target.
func seriesOf(r *bench.Report) []Series {
	published := make(map[string]float64)
	for _, row := range bench.ClientRows() {
		published[row.Name] = row.LinkedInRecordsPerSecond
	}
	var all []Series
	for _, row := range r.Rows {
		for _, target := range []bench.TargetName{bench.TargetBroker, bench.TargetFloor, bench.TargetNull} {
			summary, ok := row.Summary[target]
			if !ok {
				continue
			}
			s := Series{Row: row.Name, Title: row.Title, Mode: string(row.Mode), Figures: figuresOf(&row, target, summary), key: string(target)}
			switch target {
			case bench.TargetBroker:
				s.System, s.Role, s.Ack = brokerName(r), RoleBroker, row.Ack
				s.Judge, s.MaxRatio, s.Published = row.Judge, row.MaxRatio, published[row.Name]
				if row.Ratio > 0 {
					s.Ratio = &Figure{row.Ratio, row.Ratio, row.Ratio}
					if row.PairedRatios != nil {
						s.Ratio.Low, s.Ratio.High = row.PairedRatios.Min, row.PairedRatios.Max
					}
				}
			case bench.TargetFloor:
				s.System, s.Role = "floor", RoleFloor
			case bench.TargetNull:
				s.System, s.Role = "null server", RoleNull
			}
			all = append(all, s)
		}
	}
	return all
}

func figuresOf(row *bench.Row, target bench.TargetName, summary bench.Summary) map[string]Figure {
	figures := make(map[string]Figure)
	spread := func(name string, s *bench.Spread) {
		if s != nil {
			figures[name] = Figure{s.Median, s.Min, s.Max}
		}
	}
	spread(FigureRecords, summary.RecordsPerSecond)
	spread(FigureLogMB, summary.LogMBPerSecond)
	spread(FigurePayloadMB, summary.PayloadMBPerSecond)
	spread(FigureCPU, summary.CPUPerGB)
	spread(FigureCPURequest, summary.CPUPerRequestUs)
	spread(FigureBatch, summary.BatchBytes)
	spread(FigurePeakRSS, summary.PeakRSSBytes)
	addLatency(figures, summary.Latency, summary.AckLatency)
	var user, system []float64
	for _, run := range row.Runs {
		if run.Target == target && run.CPU != nil && run.LogBytes > 0 {
			gb := float64(run.LogBytes) / 1e9
			user, system = append(user, run.CPU.UserSeconds/gb), append(system, run.CPU.SystemSeconds/gb)
		}
	}
	if len(user) > 0 {
		figures[FigureCPUUser], figures[FigureCPUSystem] = median(user), median(system)
	}
	return figures
}

// addLatency sets the figures of merged histograms, either of which may be nil.
func addLatency(figures map[string]Figure, latency, ack *bench.LatencySummary) {
	single := func(v float64) Figure { return Figure{v, v, v} }
	if l := latency; l != nil {
		figures[FigureP50], figures[FigureP99] = single(l.P50Us), single(l.P99Us)
		figures[FigureP999], figures[FigureMax] = single(l.P999Us), single(l.MaxUs)
	}
	if l := ack; l != nil {
		figures[FigureAckP50], figures[FigureAckP99] = single(l.P50Us), single(l.P99Us)
		figures[FigureAckP999], figures[FigureAckMax] = single(l.P999Us), single(l.MaxUs)
	}
}

// median needs at least one value.
func median(values []float64) Figure {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return Figure{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// addTimelines gives series their runs over time.
func (d *Document) addTimelines(files fs.FS) {
	data, err := fs.ReadFile(files, timelineFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var timelines bench.Timelines
	if err == nil {
		err = json.Unmarshal(data, &timelines)
	}
	if err != nil {
		d.Notes = append(d.Notes, fmt.Sprintf("%s is left out: %v.", timelineFile, err))
		return
	}
	for _, run := range timelines.Runs {
		if s := d.find(run.Row, string(run.Target)); s != nil {
			s.Runs = append(s.Runs, run)
		}
	}
}

// find is the series of a row and a target, or a compared broker, by name.
func (d *Document) find(row, key string) *Series {
	for i := range d.Series {
		if d.Series[i].Row == row && d.Series[i].key == key {
			return &d.Series[i]
		}
	}
	return nil
}

// addPercentiles merges the kept histograms of each row and target. A row's
// name may end in -ack: those are its acknowledgements.
func (d *Document) addPercentiles(files fs.FS) {
	names, err := fs.Glob(files, "*.hlog")
	if err != nil {
		panic("BUG: a bad pattern: " + err.Error())
	}
	for _, name := range names {
		merged, err := mergedByTarget(files, name)
		if err != nil {
			d.Notes = append(d.Notes, fmt.Sprintf("%s is left out: %v.", name, err))
			continue
		}
		row := strings.TrimSuffix(name, ".hlog")
		for key, h := range merged {
			if s := d.find(row, key); s != nil {
				s.Percentiles = percentilesOf(h)
			} else if s := d.find(strings.TrimSuffix(row, "-ack"), key); s != nil {
				s.AckPercentiles = percentilesOf(h)
			}
		}
	}
}

// mergedByTarget reads a histogram log; a tag is target-repetition.
func mergedByTarget(files fs.FS, name string) (map[string]*hdr.Histogram, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	log := hdr.NewHistogramLogReader(f)
	merged := make(map[string]*hdr.Histogram)
	for {
		h, err := log.NextIntervalHistogram()
		if err != nil {
			return nil, err
		}
		if h == nil {
			return merged, nil
		}
		key := h.Tag()
		if i := strings.LastIndex(key, "-"); i >= 0 {
			key = key[:i]
		}
		if merged[key] == nil {
			merged[key] = h
		} else if merged[key].Merge(h) > 0 {
			return nil, errors.New("its histograms have different ranges")
		}
	}
}

// percentileSteps is how many points a curve has for each nine.
const percentileSteps = 24

// percentilesOf are points from 50 % to the highest that the number of values
// can tell, evenly along the axis of nines.
func percentilesOf(h *hdr.Histogram) []Percentile {
	n := h.TotalCount()
	if n == 0 {
		return nil
	}
	highest := min(100*(1-1/float64(max(n, 3))), 99.999)
	var points []Percentile
	from, to := nines(50), nines(highest)
	steps := max(int((to-from)*percentileSteps), 1)
	for i := range steps + 1 {
		percent := 100 * (1 - math.Pow(10, -(from+(to-from)*float64(i)/float64(steps))))
		points = append(points, Percentile{Percent: percent, Us: float64(h.ValueAtQuantile(percent)) / 1e3})
	}
	return points
}
