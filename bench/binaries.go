package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/perf/benchmath"
)

// BinariesOptions configure a comparison of two builds of the broker.
type BinariesOptions struct {
	// Old and New are the freshet binaries.
	Old, New string
	// Pairs is how often each row is measured with each; six are the fewest
	// that give a 95 % confidence interval without assuming a distribution.
	Pairs int
	// Rows are saturate and client rows by name.
	Rows []string
	// Scale multiplies the saturate rows' sizes.
	Scale float64
	// Client configures the client rows.
	Client ClientConfig
	// Overrides are settings of both brokers.
	Overrides []string
	TempDir   string
	Progress  io.Writer
	Terminal  bool
}

// DefaultBinariesOptions measure the rows in which the broker does most.
func DefaultBinariesOptions() BinariesOptions {
	o := BinariesOptions{Pairs: 8, Scale: 0.5, Client: DefaultOptions().Client}
	for _, row := range SaturateRows() {
		if row.Kind != ProduceRoundTrip {
			o.Rows = append(o.Rows, row.Name)
		}
	}
	o.Rows = append(o.Rows, "producer-1", "consumer-1")
	o.Client.Records = 500_000
	return o
}

// Interval is an estimate with its confidence interval.
type Interval struct {
	Center, Lo, Hi float64
	// Confidence is the interval's level, 0 when there were too few values.
	Confidence float64
}

func newInterval(values []float64) Interval {
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(values, &benchmath.DefaultThresholds), 0.95)
	i := Interval{Center: s.Center, Lo: s.Lo, Hi: s.Hi, Confidence: s.Confidence}
	if math.IsInf(s.Lo, 0) || math.IsInf(s.Hi, 0) {
		i.Lo, i.Hi, i.Confidence = slices.Min(values), slices.Max(values), 0
	}
	return i
}

// String is "0.970 (0.951 … 0.988)".
func (i Interval) String() string {
	return fmt.Sprintf("%.3f (%.3f … %.3f)", i.Center, i.Lo, i.Hi)
}

// BinariesRow is one row's comparison. Figures are broker CPU seconds per GB of
// record batches; ratios are new over old of runs that followed each other, so
// below 1 the new binary is cheaper.
type BinariesRow struct {
	Name           string
	Old, New       float64 // medians, CPU seconds per GB
	Ratio          Interval
	RateRatio      Interval // records a second, above 1 the new one is faster
	ratios, faster []float64
	olds, news     []float64
}

// BinariesReport is a comparison of two binaries.
type BinariesReport struct {
	Environment Environment
	Pairs       int
	Rows        []*BinariesRow
	// Overall is the geometric mean of the rows' CPU ratios, taken of each pair.
	Overall Interval
}

// Gain says in words what the overall interval allows to say.
func (r *BinariesReport) Gain() string {
	o := r.Overall
	percent := func(ratio float64) float64 { return (1 - ratio) * 100 }
	level := fmt.Sprintf("%.1f %% confidence", o.Confidence*100)
	if o.Confidence == 0 {
		level = "range of the pairs; too few for a confidence interval"
	}
	interval := fmt.Sprintf("%.1f %% … %.1f %%; %s", percent(o.Hi), percent(o.Lo), level)
	switch {
	case o.Confidence > 0 && o.Hi < 1:
		return fmt.Sprintf("the new binary needs %.1f %% less broker CPU (%s)", percent(o.Center), interval)
	case o.Confidence > 0 && o.Lo > 1:
		return fmt.Sprintf("the new binary needs %.1f %% more broker CPU (saving of %s)", -percent(o.Center), interval)
	}
	return fmt.Sprintf("no difference is shown: a saving of %.1f %% (%s)", percent(o.Center), interval)
}

// CompareBinaries measures both binaries, alternating row by row: each pair
// starts both brokers anew, and who goes first changes from row to row and from
// pair to pair.
func CompareBinaries(ctx context.Context, o BinariesOptions) (*BinariesReport, error) {
	if o.Pairs < 1 || !(o.Scale > 0) || len(o.Rows) == 0 {
		return nil, errors.New("a comparison needs at least one pair, one row and a scale above 0")
	}
	for _, name := range o.Rows {
		if !slices.Contains(RowNames(), name) {
			return nil, fmt.Errorf("there is no row %q; freshet bench list names them", name)
		}
	}
	dir, err := os.MkdirTemp(o.TempDir, "freshet-bench-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a directory for the runs' data: %w", err)
	}
	defer os.RemoveAll(dir)
	c := &binariesRun{opts: o, dir: dir, report: &BinariesReport{Environment: DescribeEnvironment(dir, Invocation{}), Pairs: o.Pairs}}
	c.evener = NewEvener(dir, c.report.Environment.MemBytes)
	c.progress = NewProgress(o.Progress, o.Terminal, 2*o.Pairs*len(o.Rows))
	defer c.progress.Finish()
	for _, name := range o.Rows {
		c.report.Rows = append(c.report.Rows, &BinariesRow{Name: name})
	}
	var overall []float64
	for pair := range o.Pairs {
		if err := c.pair(ctx, pair); err != nil {
			return nil, fmt.Errorf("pair %d: %w", pair+1, err)
		}
		logs := 0.0
		for _, row := range c.report.Rows {
			logs += math.Log(row.ratios[pair])
		}
		overall = append(overall, math.Exp(logs/float64(len(c.report.Rows))))
	}
	for _, row := range c.report.Rows {
		row.Old, row.New = newSpread(row.olds).Median, newSpread(row.news).Median
		row.Ratio, row.RateRatio = newInterval(row.ratios), newInterval(row.faster)
	}
	c.report.Overall = newInterval(overall)
	return c.report, nil
}

// binariesRun is one comparison under way.
type binariesRun struct {
	opts     BinariesOptions
	dir      string
	report   *BinariesReport
	progress *Progress
	evener   *Evener
	topics   int
}

// contestant is one of the two brokers.
type contestant struct {
	name   string
	target *target
	driver *Driver
}

func (c *binariesRun) start(ctx context.Context, name, exe string) (*contestant, error) {
	t, err := startBroker(ctx, exe, c.opts.Overrides, c.dir, filepath.Join(c.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	d, err := NewDriver(ctx, Endpoint{Addr: t.addr, PIDs: t.pids, DataDirs: t.dataDirs, Evener: c.evener}, 1)
	if err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return &contestant{name: name, target: t, driver: d}, nil
}

func (b *contestant) stop() error {
	b.driver.Close()
	return b.target.stop()
}

// pair measures every row once with each binary.
func (c *binariesRun) pair(ctx context.Context, pair int) (err error) {
	old, err := c.start(ctx, "old", c.opts.Old)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.stop()) }()
	recent, err := c.start(ctx, "new", c.opts.New)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, recent.stop()) }()
	for i, row := range c.report.Rows {
		order := []*contestant{old, recent}
		if (pair+i)%2 == 1 {
			slices.Reverse(order)
		}
		runs := make(map[*contestant]Run)
		for _, b := range order {
			done := c.progress.Step(fmt.Sprintf("%s %s %d/%d", row.Name, b.name, pair+1, c.opts.Pairs), func() float64 { return 0 })
			runs[b], err = c.measure(ctx, b, row.Name)
			done()
			if err != nil {
				return fmt.Errorf("%s with the %s binary: %w", row.Name, b.name, err)
			}
		}
		row.add(runs[old], runs[recent])
	}
	return nil
}

func (row *BinariesRow) add(old, recent Run) {
	row.olds, row.news = append(row.olds, old.CPUPerGB()), append(row.news, recent.CPUPerGB())
	row.ratios = append(row.ratios, over(recent.CPUPerGB(), old.CPUPerGB()))
	row.faster = append(row.faster, over(recent.RecordsPerSecond(), old.RecordsPerSecond()))
}

func (c *binariesRun) measure(ctx context.Context, b *contestant, name string) (Run, error) {
	c.topics++
	topic := fmt.Sprintf("bench-%s-%d-%d", name, os.Getpid(), c.topics)
	for _, row := range SaturateRows() {
		if row.Name != name {
			continue
		}
		got, err := b.driver.Saturate(ctx, row, SaturateParams{Topic: topic, Scale: c.opts.Scale, Acks: 1})
		return got.Run, err
	}
	for _, row := range ClientRows() {
		if row.Name != name {
			continue
		}
		got, err := b.driver.Client(ctx, row, c.opts.Client, topic, nil)
		return got.Run, err
	}
	panic("BUG: row " + name + " was checked before")
}

// WriteTable prints the comparison.
func (r *BinariesReport) WriteTable(w io.Writer) error {
	var b strings.Builder
	e := r.Environment
	fmt.Fprintf(&b, "Linux %s · %s, %d CPUs · %s · %s\n", e.Kernel, e.CPUModel, e.CPUs, e.FileSystem, time.Now().Format(time.DateOnly))
	fmt.Fprintf(&b, "%d pairs; broker CPU seconds per GB (10^9 bytes of record batches); ratios are new over old of neighbouring runs,\nthe median with its confidence interval\n\n", r.Pairs)
	fmt.Fprintf(&b, "%-18s %8s %8s   %-26s %s\n", "row", "old", "new", "CPU ratio", "records/s ratio")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "%-18s %8.3f %8.3f   %-26s %s\n", row.Name, row.Old, row.New, row.Ratio, row.RateRatio)
	}
	fmt.Fprintf(&b, "%-18s %8s %8s   %s\n\n%s\n", "all (geom. mean)", "", "", r.Overall, capital(r.Gain()))
	_, err := io.WriteString(w, b.String())
	return err
}
