package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"freshet/bench"
)

// compareFile is what a comparison of brokers keeps in place of result.json.
const compareFile = "compare.json"

// comparison is what this package reads of compare.json (docs/performance):
// only what a page shows, so that the file may grow.
type comparison struct {
	Started     time.Time         `json:"started"`
	Seconds     float64           `json:"seconds"`
	Environment bench.Environment `json:"environment"`
	Brokers     []contender       `json:"brokers"`
	Repetitions int               `json:"repetitions"`
	Unequal     []string          `json:"unequal"`
	Notes       []string          `json:"notes"`
	Rows        []struct {
		Name    string   `json:"name"`
		Title   string   `json:"title"`
		Kind    string   `json:"kind"`
		Config  any      `json:"config"`
		Metrics []metric `json:"metrics"`
		// By broker, of the merged histograms.
		Latency    map[string]*bench.LatencySummary `json:"latency"`
		AckLatency map[string]*bench.LatencySummary `json:"ack_latency"`
	} `json:"rows"`
	Process   []metric                    `json:"process"`
	Cluster   int                         `json:"cluster"`
	Failovers map[string][]bench.Failover `json:"failovers"`
	Checks    []bench.ScaleCheck          `json:"checks"`
	Profiles  []string                    `json:"profiles"`
}

// contender is one of the brokers compared; the first is the one that the
// ratios are about.
type contender struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Title   string   `json:"title"`
	Command []string `json:"command"`
	Ack     struct {
		Words string `json:"words"`
	} `json:"ack"`
	same bool // as another one, but for its name
}

// label is what a legend calls a broker: a title may go on for long after its
// first comma, and a page's reader does not know what "this binary" was.
func (c contender) label() string {
	title, _, _ := strings.Cut(c.Title, ",")
	if _, of, ok := strings.Cut(title, " × "); ok {
		title = of // a cluster's: "3 × …"
	}
	switch {
	case c.same:
		return c.Name
	case c.Kind == "freshet" && c.Name == "freshet":
		return "Freshet"
	case c.Kind == "freshet" || title == "":
		return c.Name
	}
	return title
}

// tellApart gives brokers that are the same thing their names.
func (c *comparison) tellApart() {
	count := make(map[string]int)
	for _, b := range c.Brokers {
		count[b.label()]++
	}
	for i, b := range c.Brokers {
		if count[b.label()] > 1 {
			c.Brokers[i].same = true
		}
	}
}

// metric is one figure by broker's name.
type metric struct {
	Name    string            `json:"name"`
	Brokers map[string]Figure `json:"brokers"`
}

// fromComparison makes a document of compare.json.
func fromComparison(data []byte, files []string) (*Document, error) {
	var c comparison
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", compareFile, err)
	}
	c.tellApart()
	d := &Document{Title: "Brokers side by side", Notes: c.Notes, Checks: c.Checks, profiles: c.Profiles}
	for _, broker := range c.Brokers {
		if all := c.Failovers[broker.Name]; len(all) > 0 {
			d.Failovers = append(d.Failovers, SystemFailovers{System: broker.label(), All: all})
		}
	}
	if len(c.Brokers) == 2 {
		d.Title = c.Brokers[0].label() + " and " + c.Brokers[1].label()
		if c.Cluster > 1 {
			d.Title += fmt.Sprintf(", clusters of %d", c.Cluster)
		}
	}
	for _, what := range c.Unequal {
		d.Notes = append(d.Notes, "Not equal: "+what)
	}
	result := bench.Report{Started: c.Started, Seconds: c.Seconds, Environment: c.Environment, Repetitions: c.Repetitions}
	for _, row := range c.Rows {
		result.Rows = append(result.Rows, bench.Row{Name: row.Name, Config: row.Config})
		for i, broker := range c.Brokers {
			s := Series{System: broker.label(), Role: RoleRival, key: broker.Name, Row: row.Name, Title: row.Title,
				Mode: row.Kind, Ack: broker.Ack.Words, Figures: make(map[string]Figure)}
			if i == 0 {
				s.Role = RoleBroker
			}
			for _, m := range row.Metrics {
				if f, ok := m.Brokers[broker.Name]; ok {
					s.Figures[m.Name] = f
				}
			}
			addLatency(s.Figures, row.Latency[broker.Name], row.AckLatency[broker.Name])
			if len(s.Figures) > 0 {
				d.Series = append(d.Series, s)
			}
		}
	}
	run := describe(&result, files)
	for _, broker := range c.Brokers {
		run.Facts = append(run.Facts, Fact{broker.label(), broker.Title})
	}
	if len(c.Brokers) > 0 {
		run.Ack = c.Brokers[0].Ack.Words
	}
	var started []Block
	for _, broker := range c.Brokers {
		if len(broker.Command) > 0 {
			started = append(started, Block{broker.label() + ", as it was started", shellLine(broker.Command)})
		}
	}
	run.Blocks = append(started, run.Blocks...)
	d.Process = processFigures(&c)
	d.Runs = []Run{run}
	return d, nil
}

// processFigures are the figures of the processes themselves, by system.
func processFigures(c *comparison) []ProcessFigure {
	names := map[string]string{
		"start_port_ms": "Start, until the port is open", "start_ack_ms": "Start, until the first acknowledgement",
		"idle_rss_bytes": "Resident memory when idle", "idle_cpu_percent": "CPU when idle",
	}
	var out []ProcessFigure
	for _, m := range c.Process {
		title, ok := names[m.Name]
		if !ok {
			continue
		}
		for _, broker := range c.Brokers {
			if f, ok := m.Brokers[broker.Name]; ok {
				out = append(out, ProcessFigure{Name: m.Name, Title: title, System: broker.label(), Figure: f})
			}
		}
	}
	return out
}
