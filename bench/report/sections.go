package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"freshet/bench"
)

// panel is one chart with its words.
type panel struct {
	Title string
	Note  string
	Wide  bool
	Chart template.HTML
	// Narrow is drawn instead on a narrow screen, where it is not empty.
	Narrow template.HTML
}

// section is a part of the page.
type section struct {
	ID, Title, Lead string
	Legend          []legendItem
	Panels          []panel
	// Details are words below the panels.
	Details []Fact
}

// legendItem names a colour.
type legendItem struct{ Class, Label string }

// legend lists the systems of series, in the order of their first appearance.
func (d *Document) legend(keep func(*Series) bool) []legendItem {
	var items []legendItem
	for _, row := range d.rows() {
		for _, s := range d.of(row) {
			item := legendItem{d.class(s.System), s.System}
			if keep(s) && !slices.Contains(items, item) {
				items = append(items, item)
			}
		}
	}
	return items
}

// sections are the charts of a page, those without data left out.
func (d *Document) sections() []section {
	var out []section
	for _, s := range []section{d.checksSection(), d.ratioSection(), d.costSection(), d.rateSection(), d.volumeSection(), d.timeSection(),
		d.latencySection(), d.failoverSection(), d.memorySection()} {
		if len(s.Panels) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// drawn makes a panel of a chart.
func drawn(title, note, chart string) panel {
	return panel{Title: title, Note: note, Chart: template.HTML(chart)}
}

// wide makes a panel as wide as the page, and its form for narrow screens.
func wide(title, note string, chart *barChart) panel {
	p := drawn(title, note, chart.draw(2*panelWidth, 250))
	chart.above = true
	p.Wide, p.Narrow = true, template.HTML(chart.draw(panelWidth, 0))
	return p
}

// judged names what a ratio compares.
var judged = map[bench.Judge]string{
	bench.JudgeCPUPerGB:      "CPU per GB",
	bench.JudgeCPUPerRequest: "CPU per request",
	bench.JudgeRoundTrip:     "median round trip",
}

// ratioSection is the one chart to show: every row's cost as a multiple of the
// floor's.
func (d *Document) ratioSection() section {
	out := section{ID: "floor", Title: "Against the floor",
		Lead: "The floor is the least a server can do for a request: one blocking thread a connection that receives, " +
			"checks the CRC, writes and answers, or sends from the page cache, and nothing else. A bar left of the line at 1× " +
			"costs less than that. The heavy tick is the project's target for the row."}
	chart := barChart{name: "Cost as a multiple of the floor's, by row",
		references: []reference{{1, "the floor = 1×"}}, limit: 2.5}
	several := 0
	for _, s := range d.Series {
		if s.Ratio != nil && s.Role == RoleBroker && s.Row == d.Series[0].Row {
			several++
		}
	}
	for _, row := range d.rows() {
		for _, s := range d.of(row) {
			if s.Ratio == nil {
				continue
			}
			label := s.Title
			if several > 1 {
				label = s.Row + " · " + afterDot(s.System)
			}
			r := s.Ratio
			b := bar{label: label, class: d.class(s.System), value: r.Median, low: r.Low, high: r.High,
				text: fmt.Sprintf("%.2f×", r.Median), target: s.MaxRatio}
			lines := []string{tipLine("", s.Title, ""), tipLine(b.class, judged[s.Judge], b.text)}
			if r.High > r.Low {
				lines = append(lines, tipLine("", "repetitions", fmt.Sprintf("%.2f … %.2f×", r.Low, r.High)))
			}
			if s.MaxRatio > 0 {
				b.note = "target ≤ " + significant(s.MaxRatio)
				b.verdict = metMark(r.Median, s.MaxRatio)
				lines = append(lines, tipLine("target", "target", "≤ "+significant(s.MaxRatio)+"×"))
			}
			b.tip = tip(lines...)
			chart.bars = append(chart.bars, b)
		}
	}
	if len(chart.bars) > 0 {
		out.Panels = []panel{wide("Cost as a multiple of the floor's", "lower is better; whiskers: the repetitions' range", &chart)}
	}
	return out
}

// aloneTitle names a panel of rows that one system alone ran.
func (d *Document) aloneTitle() string {
	for _, s := range d.Series {
		if s.Mode == string(bench.ModeClient) {
			return "With real clients"
		}
	}
	return "Rows of one system"
}

// afterDot is the run's part of a system's name.
func afterDot(system string) string {
	if i := strings.LastIndex(system, " · "); i >= 0 {
		return system[i+len(" · "):]
	}
	return system
}

// metMark compares as printed, to two decimals.
func metMark(ratio, limit float64) string {
	if math.Round(ratio*100) <= math.Round(limit*100) {
		return "✓"
	}
	return "✗"
}

// barPanel draws one figure of one row for all its systems.
func (d *Document) barPanel(row, figure string, format func(float64) string, skip ...Role) (panel, bool) {
	chart, title := d.bars(row, figure, format, skip...)
	if len(chart.bars) == 0 {
		return panel{}, false
	}
	return drawn(title, "", chart.draw(panelWidth, labelRoom(chart.bars))), true
}

// bars are one figure of one row, a bar for each system, and the row's title.
func (d *Document) bars(row, figure string, format func(float64) string, skip ...Role) (barChart, string) {
	var chart barChart
	title := row
	for _, s := range d.of(row) {
		f, ok := s.figure(figure)
		if !ok || slices.Contains(skip, s.Role) {
			continue
		}
		if s.Title != "" {
			title = s.Title
		}
		b := bar{label: s.System, class: d.class(s.System), value: f.Median, low: f.Low, high: f.High, text: format(f.Median)}
		lines := []string{tipLine("", title, ""), tipLine(b.class, s.System, b.text)}
		if f.High > f.Low {
			lines = append(lines, tipLine("", "repetitions", format(f.Low)+" … "+format(f.High)))
		}
		if figure == FigureCPU {
			user, system := s.Figures[FigureCPUUser].Median, s.Figures[FigureCPUSystem].Median
			if user+system > 0 { // they come in ticks of 10 ms, so they only share out the total
				share := user / (user + system)
				b.parts = []part{{f.Median * share, ""}, {f.Median * (1 - share), "light"}}
				lines = append(lines, tipLine(b.class, "user", percent(share)), tipLine(b.class+" light", "system", percent(1-share)))
			}
		}
		b.tip = tip(lines...)
		chart.bars = append(chart.bars, b)
	}
	d.compareBars(row, figure, &chart)
	chart.name = title
	return chart, title
}

// compareBars notes beside rivals how they stand to the first broker.
func (d *Document) compareBars(row, figure string, chart *barChart) {
	list := d.of(row)
	if len(list) == 0 || list[0].Role != RoleBroker {
		return
	}
	own := list[0].first(figure)
	for i := range chart.bars {
		for _, s := range list[1:] {
			if own > 0 && s.Role != RoleNull && chart.bars[i].label == s.System {
				chart.bars[i].note = significant2(chart.bars[i].value/own) + "×"
			}
		}
	}
}

// significant2 prints a ratio.
func significant2(v float64) string {
	if v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", share*100) }

// labelRoom is the width that the bars' names need.
func labelRoom(bars []bar) float64 {
	longest := 0
	for _, b := range bars {
		longest = max(longest, len([]rune(b.label)))
	}
	return min(max(float64(longest)*7.2+16, 84), 210)
}

func cpuPerGB(v float64) string { return significant(v) + " s/GB" }

func (d *Document) costSection() section {
	out := section{ID: "cpu", Title: "CPU for each gigabyte",
		Lead: "CPU seconds of the server's process, all threads and kernel workers, for 10⁹ bytes of record batches. " +
			"Full colour is user time, light is system time. Lower is better; the small figures are multiples of the first bar."}
	alone := barChart{name: "CPU for each GB with real clients"}
	for _, row := range d.rows() {
		figure, format := FigureCPU, cpuPerGB
		skipRow := false
		for _, s := range d.of(row) {
			if s.Judge == bench.JudgeCPUPerRequest {
				figure, format = FigureCPURequest, func(v float64) string { return significant(v) + " µs" }
			}
			skipRow = skipRow || s.Judge == bench.JudgeRoundTrip || isIdle(row)
		}
		if skipRow {
			continue // the cost of an idle broker for each GB says nothing
		}
		chart, title := d.bars(row, figure, format, RoleNull)
		if len(chart.bars) == 1 {
			b := chart.bars[0]
			b.label = title
			alone.bars = append(alone.bars, b)
		} else if p, ok := d.barPanel(row, figure, format, RoleNull); ok {
			if figure == FigureCPURequest {
				p.Note = "per request"
			}
			out.Panels = append(out.Panels, p)
		}
	}
	if len(alone.bars) > 0 {
		out.Panels = append(out.Panels, drawn(d.aloneTitle(), "", alone.draw(panelWidth, labelRoom(alone.bars))))
	}
	out.Legend = d.legend(func(s *Series) bool { return s.Role != RoleNull && s.Figures[FigureCPU].Median > 0 })
	return out
}

func (d *Document) rateSection() section {
	out := section{ID: "throughput", Title: "Throughput",
		Lead: "Records a second, medians with the range of the repetitions."}
	if slices.ContainsFunc(d.Series, func(s Series) bool { return s.Role == RoleNull }) {
		out.Lead += " The null server answers without looking: it shows what the generator alone can do, so a broker near it is faster than its clients."
	}
	published, drawnThere := d.publishedPanel()
	for _, row := range d.rows() {
		if d.isLatency(row) {
			continue
		}
		p, ok := d.barPanel(row, FigureRecords, perSecond)
		if !ok || drawnThere[row] {
			continue
		}
		for _, s := range d.of(row) {
			if mb := s.first(FigurePayloadMB); s.Role == RoleBroker && s.Mode == string(bench.ModeClient) && mb > 0 {
				p.Note = significant(mb) + " MB/s of values"
			} else if mb := s.first(FigureLogMB); s.Role == RoleBroker && mb > 0 {
				p.Note = significant(mb) + " MB/s of batches"
			}
			if rate := s.first(FigureRecords); s.Role == RoleBroker && s.Published > 0 && rate > 0 {
				p.Note += fmt.Sprintf(" · %s× LinkedIn 2014", significant2(rate/s.Published))
			}
		}
		out.Panels = append(out.Panels, p)
	}
	if len(published.Chart) > 0 {
		out.Panels = append(out.Panels, published)
	}
	out.Legend = d.legend(func(s *Series) bool { return !d.isLatency(s.Row) && s.Figures[FigureRecords].Median > 0 })
	return out
}

func perSecond(v float64) string { return si(v) + "/s" }

// publishedPanel draws LinkedIn's rows together, with their published figures
// as marks, when they were measured on one broker alone. It also returns the
// rows that it shows.
func (d *Document) publishedPanel() (panel, map[string]bool) {
	chart := barChart{name: "LinkedIn's benchmark of 2014: records a second"}
	rows := make(map[string]bool)
	system := ""
	for _, row := range d.rows() {
		for _, s := range d.of(row) {
			f, ok := s.figure(FigureRecords)
			if !ok || s.Role == RoleNull || s.Published == 0 {
				continue
			}
			if system != "" && s.System != system {
				return panel{}, nil
			}
			system = s.System
			b := bar{label: s.Title, class: d.class(s.System), value: f.Median, low: f.Low, high: f.High, text: perSecond(f.Median),
				target: s.Published, note: significant2(f.Median/s.Published) + "×"}
			lines := []string{tipLine("", s.Title, ""), tipLine(b.class, s.System, b.text), tipLine("target", "LinkedIn 2014", perSecond(s.Published))}
			if mb := s.first(FigurePayloadMB); mb > 0 {
				lines = append(lines, tipLine("", "of values", significant(mb)+" MB/s"))
			}
			for _, ceiling := range d.of(row) {
				if rate := ceiling.first(FigureRecords); ceiling.Role == RoleNull && rate > 0 {
					lines = append(lines, tipLine("sn", "the clients' ceiling", perSecond(rate)))
				}
			}
			b.tip = tip(lines...)
			chart.bars, rows[row] = append(chart.bars, b), true
		}
	}
	if len(chart.bars) == 0 {
		return panel{}, nil
	}
	return wide("LinkedIn's benchmark of 2014, with real clients",
		"heavy tick: LinkedIn's own figure, from brokers of six cores and clients on machines of their own", &chart), rows
}

// isIdle reports whether a row leaves the broker idle most of the time, by the
// names of bench's rows.
func isIdle(row string) bool {
	return strings.HasPrefix(strings.TrimPrefix(row, "rf3-"), "round-trip") || strings.HasPrefix(row, "end-to-end") || strings.HasPrefix(row, "open-loop")
}

// isLatency reports whether a row is there for its latency, so that its rate
// was chosen and not found.
func (d *Document) isLatency(row string) bool {
	if isIdle(row) || strings.HasPrefix(row, "ack-") {
		return true
	}
	for _, s := range d.of(row) {
		if s.Mode == "open-loop" || s.Mode == "end-to-end" {
			return true
		}
	}
	return false
}

// leastSamples is how many a curve over time needs.
const leastSamples = 4

func (d *Document) timeSection() section {
	out := section{ID: "time", Title: "Throughput over time",
		Lead: "Every repetition is a line, the first one strong: a stall, a slow start or a drift would show. " +
			"Samples are taken every 50 ms, more rarely in long runs."}
	for _, row := range d.rows() {
		if d.isLatency(row) {
			continue
		}
		if p, ok := d.timePanel(row); ok {
			out.Panels = append(out.Panels, p)
		}
	}
	out.Legend = d.legend(func(s *Series) bool { return !d.isLatency(s.Row) && len(s.Runs) > 0 && s.Role != RoleNull })
	return out
}

// timePanel draws the rates of a row's runs.
func (d *Document) timePanel(row string) (panel, bool) {
	c := lineChart{bands: 48, formatX: func(v float64) string { return fmt.Sprintf("after %.2f s", v) },
		formatY: func(v float64) string { return si(v) + " records/s" }}
	title, longest, highest := row, 0.0, 0.0
	for _, s := range d.of(row) {
		if s.Role == RoleNull {
			continue
		}
		strong := true
		for _, run := range s.Runs {
			points := rates(run.Samples)
			if len(points) < leastSamples {
				continue
			}
			c.lines = append(c.lines, line{label: s.System, class: d.class(s.System), points: points, faint: !strong})
			strong = false
			longest = max(longest, points[len(points)-1].x)
			for _, p := range points {
				highest = max(highest, p.y)
			}
		}
		if s.Title != "" {
			title = s.Title
		}
	}
	if len(c.lines) == 0 {
		return panel{}, false
	}
	slices.SortStableFunc(c.lines, func(a, b line) int {
		switch {
		case a.faint == b.faint:
			return 0
		case b.faint:
			return -1
		}
		return 1
	})
	c.name = title + ": records a second over time"
	c.x = spanAxis("time since the start", longest, seconds)
	c.y = linearAxis("records a second", highest, si)
	return drawn(title, "records a second", c.draw()), true
}

// rateWindow smooths a rate: handing out work in batches makes single samples
// jump.
const rateWindow = 2

// rates turns cumulative samples into records a second, each over the
// rateWindow samples that end there.
func rates(c bench.SampleColumns) []xy {
	n := min(len(c.AtMs), len(c.Records))
	var out []xy
	for i := 1; i < n; i++ {
		from := max(i-rateWindow, 0)
		span := (c.AtMs[i] - c.AtMs[from]) / 1e3
		if span > 0 {
			out = append(out, xy{c.AtMs[i] / 1e3, max(float64(c.Records[i]-c.Records[from])/span, 0)})
		}
	}
	return out
}

func (d *Document) latencySection() section {
	out := section{ID: "latency", Title: "Latency",
		Lead: "Percentiles stand on HdrHistogram's axis, where each step is one nine more; dashed lines end at the acknowledgement. " +
			"Beside them every latency over time: the stronger a cell's colour, the more it holds. In an open loop a latency counts from when the record was due, so that a stall " +
			"shows in every record it delayed."}
	for _, row := range d.rows() {
		curve, ok := d.percentilePanel(row)
		if !ok {
			continue
		}
		out.Panels = append(out.Panels, curve)
		out.Panels = append(out.Panels, d.heatPanels(row, curve.Title)...)
	}
	out.Legend = d.legend(func(s *Series) bool {
		return s.Role != RoleNull && len(s.Percentiles)+len(s.AckPercentiles) > 0
	})
	return out
}

func (d *Document) percentilePanel(row string) (panel, bool) {
	c := lineChart{bands: 60, labels: true, formatX: func(v float64) string { return "percentile " + percentText(v) }, formatY: microseconds}
	title, highest := row, 50.0
	lo, hi := math.Inf(1), 0.0
	add := func(s *Series, label string, points []Percentile, dashed bool) {
		l := line{label: label, class: d.class(s.System), dashed: dashed}
		for _, p := range points {
			if p.Percent >= 50 && p.Percent < 100 && p.Us > 0 {
				l.points = append(l.points, xy{p.Percent, p.Us})
				lo, hi, highest = min(lo, p.Us), max(hi, p.Us), max(highest, p.Percent)
			}
		}
		if len(l.points) > 1 {
			c.lines = append(c.lines, l)
		}
	}
	for _, s := range d.of(row) {
		if s.Role == RoleNull {
			continue
		}
		add(s, s.System, s.Percentiles, false)
		add(s, s.System+", acknowledged", s.AckPercentiles, true)
		if s.Title != "" {
			title = s.Title
		}
	}
	if len(c.lines) == 0 {
		return panel{}, false
	}
	c.x = percentAxis(highest)
	if hi/lo > 5 {
		c.y = logAxis("", lo/1.15, hi*1.15, microseconds)
	} else {
		c.y = linearAxis("", hi, microseconds)
	}
	c.name = title + ": latency by percentile"
	note := ""
	if own := d.of(row)[0]; own.first(FigureP50, FigureAckP50) > 0 {
		note = fmt.Sprintf("p50 %s · p99 %s", microseconds(own.first(FigureP50, FigureAckP50)), microseconds(own.first(FigureP99, FigureAckP99)))
	}
	return drawn(title, note, c.draw()), true
}

// percentText prints a percentile with as many nines as it needs.
func percentText(v float64) string {
	decimals := min(max(int(math.Ceil(nines(v)))-1, 0), 4)
	return fmt.Sprintf("%.*f", decimals, v)
}

// heatPanels is a panel with the maps of a row's systems, on one vertical axis.
func (d *Document) heatPanels(row, title string) []panel {
	type source struct {
		s     *Series
		grids []*bench.LatencyGrid
	}
	var sources []source
	var all []*bench.LatencyGrid
	for _, s := range d.of(row) {
		if s.Role == RoleNull {
			continue
		}
		var grids []*bench.LatencyGrid
		for _, run := range s.Runs {
			grid := run.Latency
			if grid == nil {
				grid = run.AckLatency
			}
			if grid != nil && grid.StepsPerOctave > 0 && grid.IntervalMs > 0 && len(grid.Columns) > 0 {
				grids = append(grids, grid)
			}
		}
		if len(grids) > 0 {
			sources, all = append(sources, source{s, grids}), append(all, grids...)
		}
	}
	lo, hi, _ := spanUs(all)
	charts, note := "", ""
	for i, src := range sources {
		h := heatMap{name: title + ": latency over time, " + src.s.System, runs: src.grids, loUs: lo, hiUs: hi}
		if n := float64(len(sources)); n > 1 {
			h.caption = src.s.System
			h.height = max((heatHeight-(n-1)*(plotTop+plotBottom))/n, 84)
		}
		if i == 0 {
			note = src.s.System
		} else {
			note += " above " + src.s.System
		}
		charts += h.draw()
	}
	if charts == "" {
		return nil
	}
	return []panel{drawn("Every one of them, over time", note, charts)}
}

func (d *Document) memorySection() section {
	out := section{ID: "memory", Title: "Memory and start",
		Lead: "Resident memory of the server's process at its peak, reset before each run. The page cache, where the records are, is not part of it."}
	out.Legend = d.legend(func(s *Series) bool { return s.Figures[FigurePeakRSS].Median > 0 })
	chart := barChart{name: "Highest resident memory of all rows"}
	for _, item := range out.Legend {
		b := bar{label: item.Label, class: item.Class}
		where := ""
		for _, s := range d.Series {
			if f, ok := s.figure(FigurePeakRSS); ok && s.System == item.Label && f.High > b.value {
				b.value, where = f.High, s.Title
			}
		}
		b.text = megabytes(b.value)
		b.tip = tip(tipLine("", "highest in "+where, ""), tipLine(b.class, b.label, b.text))
		chart.bars = append(chart.bars, b)
	}
	for _, run := range d.Runs {
		if run.IdleRSS > 0 && len(d.Runs) == 1 && len(chart.bars) > 0 {
			b := bar{label: "after the start", class: "s0", value: float64(run.IdleRSS), text: megabytes(float64(run.IdleRSS))}
			b.tip = tip(tipLine("", "before any client", ""), tipLine("s0", "resident", b.text))
			chart.bars = append(chart.bars, b)
		}
	}
	if len(chart.bars) > 0 {
		out.Panels = append(out.Panels, drawn("Peak of all rows", "resident memory", chart.draw(panelWidth, labelRoom(chart.bars))))
	}
	out.Panels = append(out.Panels, d.processPanels()...)
	if p, ok := d.residentPanel(); ok {
		out.Panels = append(out.Panels, p)
	}
	return out
}

// processPanels draw the figures of the processes, one panel for each name.
func (d *Document) processPanels() []panel {
	var panels []panel
	var names []string
	for _, first := range d.Process {
		if slices.Contains(names, first.Name) {
			continue
		}
		names = append(names, first.Name)
		format := func(v float64) string { return significant(v) + " %" }
		switch {
		case strings.HasSuffix(first.Name, "_ms"):
			format = func(v float64) string { return microseconds(v * 1e3) }
		case strings.HasSuffix(first.Name, "_bytes"):
			format = megabytes
		}
		chart, own := barChart{name: first.Title}, 0.0
		for _, p := range d.Process {
			if p.Name != first.Name {
				continue
			}
			b := bar{label: p.System, class: d.class(p.System), value: p.Median, low: p.Low, high: p.High, text: format(p.Median)}
			if own == 0 {
				own = p.Median
			} else {
				b.note = significant2(p.Median/own) + "×"
			}
			b.tip = tip(tipLine("", p.Title, ""), tipLine(b.class, p.System, b.text), tipLine("", "interval", format(p.Low)+" … "+format(p.High)))
			chart.bars = append(chart.bars, b)
		}
		panels = append(panels, drawn(first.Title, "", chart.draw(panelWidth, labelRoom(chart.bars))))
	}
	return panels
}

// residentPanel draws memory over the run that lasted longest.
func (d *Document) residentPanel() (panel, bool) {
	row, title, longest := "", "", 0.0
	for _, s := range d.Series {
		for _, run := range s.Runs {
			if at := run.Samples.AtMs; s.Role == RoleBroker && len(run.Samples.RSSBytes) >= leastSamples && at[len(at)-1] > longest {
				row, title, longest = s.Row, s.Title, at[len(at)-1]
			}
		}
	}
	c := lineChart{bands: 48, labels: true, formatX: func(v float64) string { return fmt.Sprintf("after %.2f s", v) }, formatY: megabytes}
	highest, end := 0.0, 0.0
	for _, s := range d.of(row) {
		if s.Role == RoleNull || len(s.Runs) == 0 {
			continue
		}
		samples, l := s.Runs[0].Samples, line{label: s.System, class: d.class(s.System)}
		for i, bytes := range samples.RSSBytes {
			if i < len(samples.AtMs) {
				l.points = append(l.points, xy{samples.AtMs[i] / 1e3, float64(bytes)})
				highest, end = max(highest, float64(bytes)), max(end, samples.AtMs[i]/1e3)
			}
		}
		if len(l.points) >= leastSamples {
			c.lines = append(c.lines, l)
		}
	}
	if len(c.lines) == 0 {
		return panel{}, false
	}
	c.name = "Resident memory over time: " + title
	c.x = spanAxis("time since the start", end, seconds)
	mb := linearAxis("", highest/(1<<20), func(v float64) string { return significant(v) + " MB" })
	c.y = axis{hi: mb.hi * (1 << 20), warp: identity}
	for _, t := range mb.ticks {
		c.y.ticks = append(c.y.ticks, tick{t.value * (1 << 20), t.label})
	}
	return drawn("Over time: "+title, "the longest run", c.draw()), true
}
