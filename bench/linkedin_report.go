package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// LinkedInReport is a run of the LinkedIn suite.
type LinkedInReport struct {
	SchemaVersion int              `json:"schema_version"`
	Started       time.Time        `json:"started"`
	Seconds       float64          `json:"seconds"`
	Environment   Environment      `json:"environment"`
	Brokers       []LinkedInBroker `json:"brokers"`
	Repetitions   int              `json:"repetitions"`
	Rows          []LinkedInResult `json:"rows"`
	// Profiles are the directories of the profiles kept.
	Profiles []string `json:"profiles,omitempty"`
	// KafkaFrom names the earlier result that Kafka's figures were taken from.
	KafkaFrom string `json:"kafka_from,omitempty"`
	OutDir    string `json:"out_dir"`
}

// LinkedInBroker is one broker of the suite.
type LinkedInBroker struct {
	Target TargetName `json:"target"`
	// Brokers is the size of a cluster, 0 for one broker.
	Brokers int `json:"brokers,omitempty"`
	BrokerInfo
}

// LinkedInResult is one row with its figures by target.
type LinkedInResult struct {
	Row LinkedInRow `json:"row"`
	// Config is the row as it was run here.
	Config  ClientConfig                    `json:"config"`
	Targets map[TargetName]*LinkedInFigures `json:"targets"`
}

// LinkedInFigures are a row's figures against one target.
type LinkedInFigures struct {
	// Skipped says why the row was not run; everything else is then empty.
	Skipped string `json:"skipped,omitempty"`
	Runs    []Run  `json:"runs,omitempty"`
	// Medians and ranges over the runs; latency is of the merged histograms.
	RecordsPerSecond *Spread         `json:"records_per_second,omitempty"`
	MBPerSecond      *Spread         `json:"mb_per_second,omitempty"`
	CPUPerGB         *Spread         `json:"cpu_seconds_per_gb,omitempty"`
	Latency          *LatencySummary `json:"latency,omitempty"`
	// Points are the stored row's throughput over the volume written.
	Points []VolumePoint `json:"points,omitempty"`
}

func (f *LinkedInFigures) summarize(latency *Recorder) {
	collect := func(figure func(Run) float64) *Spread {
		var values []float64
		for _, run := range f.Runs {
			values = append(values, figure(run))
		}
		return newSpread(values)
	}
	f.RecordsPerSecond = collect(Run.RecordsPerSecond)
	f.MBPerSecond = collect(func(r Run) float64 { return over(float64(r.PayloadBytes)/bytesPerMB, r.Seconds) })
	f.CPUPerGB = collect(Run.CPUPerGB)
	f.Latency = latency.summaryOrNil()
}

// ReadLinkedInReport reads a linkedin.json.
func ReadLinkedInReport(path string) (*LinkedInReport, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the earlier result: %w", err)
	}
	var r LinkedInReport
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s is not a result of freshet bench linkedin: %w", path, err)
	}
	if r.SchemaVersion != SchemaVersion || len(r.Rows) == 0 {
		return nil, fmt.Errorf("%s is not a result of this version of freshet bench linkedin", path)
	}
	r.OutDir = path
	return &r, nil
}

// takeKafka fills Kafka's figures from an earlier run that was made against it
// as the only broker, or beside another.
func (r *LinkedInReport) takeKafka(earlier *LinkedInReport) {
	if earlier == nil {
		return
	}
	r.KafkaFrom = earlier.OutDir
	for i := range r.Rows {
		for _, row := range earlier.Rows {
			if row.Row.Name != r.Rows[i].Row.Name {
				continue
			}
			figures := row.Targets[TargetKafka]
			if figures == nil {
				figures = row.Targets[TargetBroker]
			}
			if figures != nil {
				r.Rows[i].Targets[TargetKafka] = figures
			}
		}
	}
}

// WriteJSON writes the report, indented.
func (r *LinkedInReport) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteTable writes the report for people.
func (r *LinkedInReport) WriteTable(w io.Writer) error {
	var b strings.Builder
	e := r.Environment
	fmt.Fprintf(&b, "freshet bench linkedin · commit %s · Linux %s · %s, %d CPUs, %s · %s\n",
		e.Commit, e.Kernel, e.CPUModel, e.CPUs, gib(e.MemBytes), e.FileSystem)
	for _, broker := range r.Brokers {
		of := ""
		if broker.Brokers > 1 {
			of = fmt.Sprintf(", cluster of %d", broker.Brokers)
		}
		fmt.Fprintf(&b, "%s%s %s: an ack meant %s\n", broker.Target, of, broker.Address, broker.Ack)
	}
	if r.KafkaFrom != "" {
		fmt.Fprintf(&b, "kafka: figures of an earlier run, %s\n", r.KafkaFrom)
	}
	r.writeThroughput(&b)
	r.writeLatencies(&b)
	r.writeStored(&b)
	r.writeSkipped(&b)
	fmt.Fprintf(&b, "\n%.0f s; results and the brokers' logs are in %s\n", r.Seconds, r.OutDir)
	for _, dir := range r.Profiles {
		fmt.Fprintf(&b, "profiles and flame graphs: %s\n", dir)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// hasKafka reports whether any row has figures of Kafka.
func (r *LinkedInReport) hasKafka() bool {
	for _, row := range r.Rows {
		if row.Targets[TargetKafka] != nil {
			return true
		}
	}
	return false
}

// figuresOf are a row's figures of a target; empty ones if it has none.
func (row *LinkedInResult) figuresOf(name TargetName) *LinkedInFigures {
	if f := row.Targets[name]; f != nil {
		return f
	}
	return &LinkedInFigures{}
}

// writeThroughput draws every row that has a rate.
func (r *LinkedInReport) writeThroughput(b *strings.Builder) {
	kafka := r.hasKafka()
	heads := []string{"2 million writes per second", "LinkedIn rec/s", "MB/s", "here rec/s", "range", "MB/s", "×LinkedIn", "CPU s/GB"}
	if kafka {
		heads = append(heads, "Kafka rec/s", "MB/s", "CPU s/GB", "×Kafka")
	}
	g := grid{heads: heads}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Row.Kind == ClientEndToEnd {
			continue
		}
		published, ours := row.Row.Published, row.figuresOf(TargetBroker)
		times, mark := missing, ""
		if published.Replicas > 0 {
			mark = " (3×)"
		}
		if published.RecordsPerSecond > 0 && ours.RecordsPerSecond != nil {
			times = twoDecimals(ours.RecordsPerSecond.Median/published.RecordsPerSecond) + mark
		}
		cells := []string{row.Row.Title, publishedText(published.RecordsPerSecond, Thousands) + mark, publishedText(published.MBPerSecond, oneDecimal),
			figureText(ours, ours.RecordsPerSecond, Thousands), rangeText(ours.RecordsPerSecond, Thousands),
			spreadText(ours.MBPerSecond, oneDecimal), times, spreadText(ours.CPUPerGB, twoDecimals)}
		if kafka {
			theirs, ratio := row.figuresOf(TargetKafka), missing
			if ours.RecordsPerSecond != nil && theirs.RecordsPerSecond != nil {
				ratio = twoDecimals(ours.RecordsPerSecond.Median / theirs.RecordsPerSecond.Median)
			}
			cells = append(cells, figureText(theirs, theirs.RecordsPerSecond, Thousands), spreadText(theirs.MBPerSecond, oneDecimal),
				spreadText(theirs.CPUPerGB, twoDecimals), ratio)
		}
		g.add(cells...)
	}
	if len(g.rows) == 0 {
		return
	}
	b.WriteString("\n")
	g.write(b)
	fmt.Fprintf(b, "  medians of %d; MB/s of record values (2^20 bytes); –: a graph only, or not measured\n"+
		"  LinkedIn 2014: Kafka 0.8.1, three brokers of six cores and six disks, clients on machines of their own; (3×): its topic had three replicas\n",
		r.Repetitions)
}

func publishedText(v float64, format func(float64) string) string {
	if v == 0 {
		return missing
	}
	return format(v)
}

// figureText is a figure's median, or that the row was skipped.
func figureText(f *LinkedInFigures, s *Spread, format func(float64) string) string {
	if f.Skipped != "" {
		return "skipped"
	}
	return spreadText(s, format)
}

// writeLatencies draws the closed loop, in milliseconds as LinkedIn gave it.
func (r *LinkedInReport) writeLatencies(b *strings.Builder) {
	g := grid{heads: []string{"end to end, closed loop, ms", "p50", "p99", "p99.9", "samples"}}
	ms := func(us float64) string { return fmt.Sprintf("%.3f", us/1e3) }
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Row.Kind != ClientEndToEnd {
			continue
		}
		p := row.Row.Published
		g.add("LinkedIn 2014", oneDecimal(p.P50Ms), oneDecimal(p.P99Ms), oneDecimal(p.P999Ms), Thousands(float64(row.Row.Records)))
		for _, target := range []struct {
			name  TargetName
			title string
		}{{TargetBroker, "here"}, {TargetKafka, "Kafka"}} {
			if l := row.figuresOf(target.name).Latency; l != nil {
				g.add(target.title, ms(l.P50Us), ms(l.P99Us), ms(l.P999Us), Thousands(float64(l.Count)))
			}
		}
	}
	if len(g.rows) == 0 {
		return
	}
	b.WriteString("\n")
	g.write(b)
}

// writeStored draws the throughput over the volume written.
func (r *LinkedInReport) writeStored(b *strings.Builder) {
	for i := range r.Rows {
		row := &r.Rows[i]
		for _, target := range []struct {
			name  TargetName
			title string
		}{{TargetBroker, "here"}, {TargetKafka, "Kafka"}} {
			points := row.figuresOf(target.name).Points
			if len(points) == 0 {
				continue
			}
			low, high := points[0].MBPerSecond, points[0].MBPerSecond
			for _, p := range points {
				low, high = min(low, p.MBPerSecond), max(high, p.MBPerSecond)
			}
			fmt.Fprintf(b, "\n  %s, %s: %s  0 … %s written; %.0f to %.0f MB/s of log in %d stretches\n", row.Row.Title, target.title,
				sparkline(points), mib(float64(points[len(points)-1].WrittenBytes)), low, high, len(points))
		}
	}
}

// writeSkipped names the rows that were not run, and why.
func (r *LinkedInReport) writeSkipped(b *strings.Builder) {
	for i := range r.Rows {
		row := &r.Rows[i]
		for _, name := range []TargetName{TargetBroker, TargetKafka} {
			if why := row.figuresOf(name).Skipped; why != "" {
				fmt.Fprintf(b, "  skipped against the %s: %s: %s\n", name, row.Row.Title, why)
			}
		}
	}
}
