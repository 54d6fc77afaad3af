package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"freshet/bench"
)

// Role says what a measured system is to the reader, which decides its colour.
type Role string

const (
	RoleBroker Role = "broker" // the broker the run is about
	RoleRival  Role = "rival"  // another broker, beside it
	RoleFloor  Role = "floor"  // the least a server can do
	RoleNull   Role = "null"   // a server that does nothing: the generator's ceiling
)

// Names of figures in Series.Figures; they are those of result.json's
// summaries, and a maker of series may add others, which the page leaves out.
const (
	FigureRecords    = "records_per_second"
	FigureLogMB      = "log_mb_per_second"
	FigurePayloadMB  = "payload_mb_per_second"
	FigureCPU        = "cpu_seconds_per_gb"
	FigureCPUUser    = "cpu_user_seconds_per_gb"
	FigureCPUSystem  = "cpu_system_seconds_per_gb"
	FigureCPURequest = "cpu_us_per_request"
	FigureBatch      = "batch_bytes"
	FigurePeakRSS    = "peak_rss_bytes"
	FigureP50        = "latency_p50_us"
	FigureP99        = "latency_p99_us"
	FigureP999       = "latency_p999_us"
	FigureMax        = "latency_max_us"
	FigureAckP50     = "ack_p50_us"
	FigureAckP99     = "ack_p99_us"
	FigureAckP999    = "ack_p999_us"
	FigureAckMax     = "ack_max_us"
)

// Figure is a median with the range, or the confidence interval, around it.
type Figure struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

// UnmarshalJSON takes a bare number, or an object with a median and an interval
// named low and high or min and max; without one the interval is the median.
func (f *Figure) UnmarshalJSON(data []byte) error {
	var number float64
	if json.Unmarshal(data, &number) == nil {
		*f = Figure{number, number, number}
		return nil
	}
	var object struct{ Median, Low, High, Min, Max *float64 }
	if err := json.Unmarshal(data, &object); err != nil {
		return fmt.Errorf("a figure is neither a number nor an object: %w", err)
	}
	if object.Median == nil {
		return fmt.Errorf("a figure without a median: %s", data)
	}
	or := func(candidates ...*float64) float64 {
		for _, c := range candidates {
			if c != nil {
				return *c
			}
		}
		return *object.Median
	}
	*f = Figure{Median: *object.Median, Low: or(object.Low, object.Min), High: or(object.High, object.Max)}
	return nil
}

// Percentile is one point of a latency distribution; Percent is below 100.
type Percentile struct {
	Percent float64 `json:"percent"`
	Us      float64 `json:"us"`
}

// Series is one system in one row: the unit that charts are made of. Only
// System and Row are needed; what is missing is left out of the page.
type Series struct {
	System string `json:"system"` // as the legend names it
	Role   Role   `json:"role"`
	Row    string `json:"row"`
	Title  string `json:"title"`
	Mode   string `json:"mode"`
	// Ack says what an acknowledgement of this system meant in this row.
	Ack     string            `json:"ack"`
	Figures map[string]Figure `json:"figures"`
	// Percentiles are of the row's latency, AckPercentiles until the
	// acknowledgement, each rising.
	Percentiles    []Percentile `json:"percentiles"`
	AckPercentiles []Percentile `json:"ack_percentiles"`
	// Runs are the repetitions over time.
	Runs []bench.Timeline `json:"runs"`
	// Judge names the figure compared to the floor, Ratio the quotient,
	// MaxRatio its target; zero values say that there is none.
	Judge    bench.Judge `json:"judge"`
	Ratio    *Figure     `json:"ratio"`
	MaxRatio float64     `json:"max_ratio"`
	// Published is LinkedIn's figure of 2014 in records a second, 0 for none.
	Published float64 `json:"published"`
	// Volume is the throughput against the volume written.
	Volume []bench.VolumePoint `json:"volume"`

	key string // target or broker by which files beside the result name it
}

// SystemFailovers are the failovers of one system.
type SystemFailovers struct {
	System string
	All    []bench.Failover
}

// ProcessFigure is a figure of a system's process rather than of a row.
type ProcessFigure struct {
	Name, Title, System string
	Figure
}

// figure returns a figure, false if the series has none of that name.
func (s *Series) figure(name string) (Figure, bool) {
	f, ok := s.Figures[name]
	return f, ok
}

// first is the first of the named figures that the series has, or 0.
func (s *Series) first(names ...string) float64 {
	for _, name := range names {
		if f, ok := s.Figures[name]; ok {
			return f.Median
		}
	}
	return 0
}

// ReadSeries reads {"series": […]}, skipping fields it does not know and series
// that name no system or row.
func ReadSeries(r io.Reader) ([]Series, error) {
	var file struct {
		Series []Series `json:"series"`
	}
	if err := json.NewDecoder(r).Decode(&file); err != nil {
		return nil, fmt.Errorf("cannot read the series: %w", err)
	}
	return slices.DeleteFunc(file.Series, func(s Series) bool { return s.System == "" || s.Row == "" }), nil
}

// Fact is one line of a run's description.
type Fact struct{ Name, Value string }

// Block is a command or a configuration to copy.
type Block struct{ Title, Text string }

// Run describes one run of the page.
type Run struct {
	Label       string
	Started     time.Time
	Seconds     float64
	Repetitions int
	Ack         string
	ReadyMs     float64 // from exec to the first accepted connection, 0 if unknown
	IdleRSS     int64
	Environment bench.Environment
	Facts       []Fact
	Blocks      []Block
	Files       []string // raw results, relative to the page
}

// Document is what a page says.
type Document struct {
	Title  string
	Runs   []Run
	Series []Series
	Flames []Flame
	// FlameLinks are further flame graphs, which the page only links to.
	FlameLinks []Flame
	profiles   []string // directories of profiles, as the result names them
	// Process holds figures of the systems' processes, all of one name together.
	Process []ProcessFigure
	// Checks are figures held against limits.
	Checks []bench.ScaleCheck
	// Failovers are what the end of brokers meant, by system.
	Failovers []SystemFailovers
	Notes     []string // what could not be read
}

// rows are the names of the rows in order of appearance.
func (d *Document) rows() []string {
	var rows []string
	for _, s := range d.Series {
		if !slices.Contains(rows, s.Row) {
			rows = append(rows, s.Row)
		}
	}
	return rows
}

// of are the series of a row, brokers first, the null server last.
func (d *Document) of(row string) []*Series {
	var list []*Series
	for i := range d.Series {
		if d.Series[i].Row == row {
			list = append(list, &d.Series[i])
		}
	}
	order := []Role{RoleBroker, RoleRival, RoleFloor, RoleNull}
	slices.SortStableFunc(list, func(a, b *Series) int {
		return slices.Index(order, a.Role) - slices.Index(order, b.Role)
	})
	return list
}

// palette is how many colours there are for brokers and rivals.
const palette = 6

// class is the style class of a system's colour: sf for floors, sn for null
// servers, s0 … for the others in order of appearance.
func (d *Document) class(system string) string {
	var seen []string
	for _, s := range d.Series {
		switch s.Role {
		case RoleFloor, RoleNull:
			if s.System == system {
				return map[Role]string{RoleFloor: "sf", RoleNull: "sn"}[s.Role]
			}
		default:
			if s.System == system {
				if i := slices.Index(seen, system); i >= 0 {
					return fmt.Sprintf("s%d", i%palette)
				}
				return fmt.Sprintf("s%d", len(seen)%palette)
			}
			if !slices.Contains(seen, s.System) {
				seen = append(seen, s.System)
			}
		}
	}
	return "s0"
}
