package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"freshet/bench"
)

// scaleFile is what the scale suite keeps in place of result.json.
const scaleFile = "scale.json"

// fromScale makes a document of scale.json.
func fromScale(data []byte, files []string) (*Document, error) {
	var r bench.ScaleReport
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", scaleFile, err)
	}
	result := bench.Report{Started: r.Started, Seconds: r.Seconds, Environment: r.Environment, Broker: r.Broker}
	if r.Title != "" {
		result.Broker.Address = "" // no Freshet
	}
	d := &Document{Title: "Freshet at scale", Checks: r.Checks, profiles: r.Profiles, Runs: []Run{describe(&result, files)}}
	switch {
	case r.Title != "":
		what, _, _ := strings.Cut(r.Title, ",")
		d.Title = what + " at scale"
		d.Runs[0].Facts = append([]Fact{{"Brokers", r.Title}}, d.Runs[0].Facts...)
	case r.Cluster > 1:
		d.Title = fmt.Sprintf("%d Freshet brokers at scale", r.Cluster)
	}
	return d, nil
}

// checkFigure prints a check's value or limit with its unit.
func checkFigure(v float64, unit string) string {
	switch unit {
	case "x":
		return fmt.Sprintf("%.2f×", v)
	case "ms":
		return microseconds(v * 1e3)
	case "s":
		return microseconds(v * 1e6)
	}
	return significant(v) + " " + unit
}

// checkLimit prints what a check is held to.
func checkLimit(c bench.ScaleCheck) string {
	sign := "≤ "
	if c.AtLeast {
		sign = "≥ "
	}
	return sign + checkFigure(c.Limit, c.Unit)
}

// checksSection draws every check as a share of its limit, so that figures of
// different units stand in one picture.
func (d *Document) checksSection() section {
	out := section{ID: "targets", Title: "Targets",
		Lead: "Each bar is a figure as a share of its limit: left of the line at 1 it is kept. Where more is better the share is turned round."}
	chart := barChart{name: "Figures as a share of their limits", references: []reference{{1, "limit"}}, limit: 2.5, above: true}
	for _, c := range d.Checks {
		share := 0.0
		switch {
		case c.AtLeast && c.Value > 0:
			share = c.Limit / c.Value
		case c.AtLeast:
			share = chart.limit * 2
		case c.Limit > 0:
			share = c.Value / c.Limit
		}
		b := bar{label: c.Title, class: "s0", value: share, text: checkFigure(c.Value, c.Unit), note: checkLimit(c), verdict: "✗"}
		if c.Met {
			b.verdict = "✓"
		}
		b.tip = tip(tipLine("", c.Title, ""), tipLine("s0", "measured", b.text), tipLine("target", "target", b.note))
		chart.bars = append(chart.bars, b)
	}
	if len(chart.bars) > 0 {
		p := drawn("Against the targets", "", chart.draw(2*panelWidth, 0))
		p.Wide, p.Narrow = true, drawn("", "", chart.draw(panelWidth, 0)).Chart
		out.Panels = []panel{p}
	}
	for _, c := range d.Checks {
		if c.Detail != "" {
			out.Details = append(out.Details, Fact{c.Title, c.Detail})
		}
	}
	return out
}

// failoverFigures are what is drawn of every system's failovers.
var failoverFigures = []struct {
	signal, title, note string
	of                  func(bench.Failover) float64
}{
	{"kill", "kill -9 of a leader, until it resumes", "partitions that the victim led", func(f bench.Failover) float64 { return f.ResumedMs }},
	{"kill", "kill -9, longest wait elsewhere", "partitions that the victim followed, acks=all", func(f bench.Failover) float64 { return f.FollowedGapMs }},
	{"kill", "full ISR after a restart", "from the broker's start", func(f bench.Failover) float64 { return f.FullISRMs }},
	{"stop", "controlled shutdown, longest wait", "any partition", func(f bench.Failover) float64 { return max(f.LedGapMs, f.FollowedGapMs) }},
}

// failoverSection draws what the end of a broker meant to producers.
func (d *Document) failoverSection() section {
	out := section{ID: "failover", Title: "When a broker ends",
		Lead: "A producer with acks=all writes one record after the other to a partition of every broker and asks for the new leader at once. " +
			"Bars are medians, whiskers the range; every acknowledged record was still there afterwards."}
	ms := func(v float64) string { return microseconds(v * 1e3) }
	var seen []legendItem
	for _, figure := range failoverFigures {
		chart, own := barChart{name: figure.title}, 0.0
		for _, f := range d.Failovers {
			digest := bench.SummarizeFailovers(f.All, figure.signal, figure.of)
			if digest.Count == 0 {
				continue
			}
			m := median(digest.Values)
			b := bar{label: f.System, class: d.class(f.System), value: m.Median, low: m.Low, high: m.High, text: ms(m.Median)}
			if own == 0 {
				own = m.Median
			} else if own > 0 {
				b.note = significant2(m.Median/own) + "×"
			}
			b.tip = tip(tipLine("", figure.title, ""), tipLine(b.class, f.System, fmt.Sprintf("%d times", digest.Count)), tipLine("", "p50", ms(digest.P50)),
				tipLine("", "p99", ms(digest.P99)), tipLine("", "longest", ms(digest.Longest)))
			chart.bars = append(chart.bars, b)
			if item := (legendItem{b.class, f.System}); len(seen) == 0 || seen[len(seen)-1] != item {
				seen = append(seen, item)
			}
		}
		if len(chart.bars) > 0 {
			out.Panels = append(out.Panels, drawn(figure.title, figure.note, chart.draw(panelWidth, labelRoom(chart.bars))))
		}
	}
	if len(out.Panels) > 0 {
		out.Legend = seen[:min(len(seen), len(d.Failovers))]
	}
	return out
}

// checkTile shows a check large.
func checkTile(c bench.ScaleCheck) tile {
	t := tile{Label: c.Title, Note: "target " + checkLimit(c), Good: c.Met, Value: checkFigure(c.Value, c.Unit)}
	if c.Unit != "x" {
		t.Value, t.Unit = cutUnit(t.Value)
	}
	return t
}
