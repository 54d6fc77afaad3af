package report

import (
	"encoding/json"
	"fmt"

	"freshet/bench"
)

// linkedInFile is what the LinkedIn suite keeps in place of result.json.
const linkedInFile = "linkedin.json"

// fromLinkedIn makes a document of linkedin.json.
func fromLinkedIn(data []byte, files []string) (*Document, error) {
	var r bench.LinkedInReport
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", linkedInFile, err)
	}
	result := bench.Report{Started: r.Started, Seconds: r.Seconds, Environment: r.Environment, Repetitions: r.Repetitions}
	systems := map[bench.TargetName]string{bench.TargetKafka: "Apache Kafka"}
	var clusters []Block
	for _, b := range r.Brokers {
		switch {
		case b.Brokers > 1:
			if len(b.Command) > 0 {
				clusters = append(clusters, Block{fmt.Sprintf("The first of %d brokers for three replicas (%s)", b.Brokers, b.Target), shellLine(b.Command)})
			}
		case b.Target == bench.TargetBroker:
			result.Broker = b.BrokerInfo
			systems[b.Target] = brokerName(&result)
		}
	}
	d := &Document{Title: "LinkedIn's benchmark of 2014", profiles: r.Profiles}
	if r.KafkaFrom != "" {
		d.Notes = append(d.Notes, "Apache Kafka's figures are of an earlier run: "+r.KafkaFrom)
	}
	for _, row := range r.Rows {
		result.Rows = append(result.Rows, bench.Row{Name: row.Row.Name, Config: row.Config})
		for _, target := range []bench.TargetName{bench.TargetBroker, bench.TargetKafka} {
			figures := row.Targets[target]
			switch {
			case figures == nil:
			case figures.Skipped != "":
				d.Notes = append(d.Notes, fmt.Sprintf("%s was not run against %s: %s.", row.Row.Title, systems[target], figures.Skipped))
			default:
				d.Series = append(d.Series, linkedInSeries(&row, target, figures, systems[target]))
			}
		}
	}
	run := describe(&result, files)
	run.Blocks = append(clusters, run.Blocks...)
	d.Runs = []Run{run}
	return d, nil
}

func linkedInSeries(row *bench.LinkedInResult, target bench.TargetName, f *bench.LinkedInFigures, system string) Series {
	s := Series{System: system, Role: RoleBroker, Row: row.Row.Name, Title: row.Row.Title, Mode: string(bench.ModeClient),
		Figures: make(map[string]Figure), Published: row.Row.Published.RecordsPerSecond, Volume: f.Points, key: string(target)}
	if target != bench.TargetBroker {
		s.Role = RoleRival
	}
	for name, spread := range map[string]*bench.Spread{FigureRecords: f.RecordsPerSecond, FigurePayloadMB: f.MBPerSecond, FigureCPU: f.CPUPerGB} {
		if spread != nil {
			s.Figures[name] = Figure{spread.Median, spread.Min, spread.Max}
		}
	}
	single := make(map[string][]float64)
	for _, run := range f.Runs {
		if run.CPU != nil && run.LogBytes > 0 {
			gb := float64(run.LogBytes) / 1e9
			single[FigureCPUUser] = append(single[FigureCPUUser], run.CPU.UserSeconds/gb)
			single[FigureCPUSystem] = append(single[FigureCPUSystem], run.CPU.SystemSeconds/gb)
		}
		if run.PeakRSSBytes > 0 {
			single[FigurePeakRSS] = append(single[FigurePeakRSS], float64(run.PeakRSSBytes))
		}
		if run.BatchBytes > 0 {
			single[FigureBatch] = append(single[FigureBatch], run.BatchBytes)
		}
	}
	for name, values := range single {
		s.Figures[name] = median(values)
	}
	addLatency(s.Figures, f.Latency, nil)
	return s
}

// volumeSection draws throughput against the volume written.
func (d *Document) volumeSection() section {
	out := section{ID: "volume", Title: "Throughput against stored data",
		Lead: "One producer, measured while its log grows: a broker that keeps its pace does not depend on how much it holds."}
	for _, row := range d.rows() {
		c := lineChart{bands: 40, labels: true, formatX: func(v float64) string { return "after " + significant(v) + " GB" },
			formatY: func(v float64) string { return significant(v) + " MB/s" }}
		title, longest, highest := row, 0.0, 0.0
		for _, s := range d.of(row) {
			l := line{label: s.System, class: d.class(s.System)}
			for _, p := range s.Volume {
				gb := float64(p.WrittenBytes) / 1e9
				l.points = append(l.points, xy{gb, p.MBPerSecond})
				longest, highest = max(longest, gb), max(highest, p.MBPerSecond)
			}
			if len(l.points) >= leastSamples {
				c.lines = append(c.lines, l)
				title = s.Title
			}
		}
		if len(c.lines) == 0 {
			continue
		}
		c.name = title
		c.x = spanAxis("written", longest, func(v float64) string { return significant(v) + " GB" })
		c.y = linearAxis("", highest, significant)
		out.Panels = append(out.Panels, drawn(title, "MB/s of log, 2²⁰ bytes", c.draw()))
	}
	out.Legend = d.legend(func(s *Series) bool { return len(s.Volume) > 0 })
	return out
}
