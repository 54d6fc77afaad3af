package compare

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"freshet/bench"
)

// section is one block of the table: lines of one kind of figure.
type section struct {
	title string
	lines []line
	legs  []string // notes under the block
}

// line is one figure of one row for every broker.
type line struct {
	label  string
	metric *Metric
	format func(float64) string
	// beside, if set, is a second cell for each broker, such as MB/s.
	beside func(broker string) string
	// words call an improvement and its opposite: "faster", "slower".
	words [2]string
}

const absent = "–"

var (
	speedWords  = [2]string{"faster", "slower"}
	amountWords = [2]string{"less", "more"}
	timeWords   = [2]string{"shorter", "longer"}
)

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	r.writeHeading(&b)
	for _, s := range []section{r.throughput(), r.cpu(), r.latency(), r.failoverSection(), r.process()} {
		r.writeSection(&b, s)
	}
	if len(r.Checks) > 0 {
		b.WriteString("\n" + bench.ChecksTable("targets of "+r.Brokers[0].Name, r.Checks))
	}
	r.writeFoot(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeHeading(b *strings.Builder) {
	e := r.Environment
	fmt.Fprintf(b, "freshet bench compare · commit %s · Linux %s · %s, %d CPUs, %.0f GiB · %s\n",
		e.Commit, e.Kernel, e.CPUModel, e.CPUs, float64(e.MemBytes)/(1<<30), e.FileSystem)
	if e.Congestion != "" && e.Congestion != "reno" {
		fmt.Fprintf(b, "TCP congestion control here is %s; freshet takes reno for what it sends within one machine (freshet.congestion.control)\n", e.Congestion)
	}
	width := 0
	for _, broker := range r.Brokers {
		width = max(width, len(broker.Name))
	}
	for _, broker := range r.Brokers {
		fmt.Fprintf(b, "  %-*s  %s\n", width, broker.Name, broker.Title)
	}
	if len(r.Unequal) == 0 && len(r.Brokers) > 0 {
		fmt.Fprintf(b, "an ack meant, on all sides: %s\n", r.Brokers[0].Ack.Words)
		if r.Cluster > 1 {
			fmt.Fprintf(b, "  and in rows of acks=1, %s\n", strings.TrimPrefix(r.Brokers[0].Ack.leaderOnly().Words, "acks=1: "))
		}
	} else {
		b.WriteString("NOT EQUAL, compared because of --force: " + strings.Join(r.Unequal, "; ") + "\n")
		for _, broker := range r.Brokers {
			fmt.Fprintf(b, "  %-*s  %s\n", width, broker.Name, broker.Ack.Words)
		}
	}
	if r.Repetitions == 1 {
		fmt.Fprintf(b, "one repetition, after %d thrown away: nothing is known of how the figures vary\n", r.Warmup)
		return
	}
	fmt.Fprintf(b, "medians of %d repetitions in changing order, after %d thrown away; ±: %s\n", r.Repetitions, r.Warmup, intervalWords(r.Repetitions))
}

func intervalWords(n int) string {
	confidence := reachable(n)
	if confidence < wantedConfidence {
		return fmt.Sprintf("%.0f %% confidence interval of the median (95 %% needs 6 repetitions)", 100*confidence)
	}
	return "95 % confidence interval of the median"
}

// throughput are the rows that ran as fast as the broker let them.
func (r *Report) throughput() section {
	s := section{title: "throughput, records/s", legs: []string{"MB = 2^20 bytes of record batches, headers included"}}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.fixedRate() || row.closedLoop() {
			continue
		}
		mb := row.metric("log_mb_per_second")
		s.lines = append(s.lines, line{label: row.Title, metric: row.metric("records_per_second"), format: bench.Thousands, words: speedWords,
			beside: func(broker string) string {
				if mb == nil || mb.Brokers[broker] == nil || mb.Brokers[broker].Median == 0 {
					return ""
				}
				return bench.Thousands(mb.Brokers[broker].Median) + " MB/s"
			}})
	}
	return s
}

// cpu is what the broker's process used, for a GB or, where records come one by
// one, for a request.
func (r *Report) cpu() section {
	s := section{title: "broker CPU", legs: []string{"s/GB: seconds for 10^9 bytes of record batches, user + system; all threads of the process"}}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.closedLoop() {
			continue
		}
		name, unit := "_seconds_per_gb", " s/GB"
		if row.Name == "one-record" {
			name, unit = "_us_per_request", " µs each"
		}
		total, user, system := row.metric("cpu"+name), row.metric("cpu_user"+name), row.metric("cpu_system"+name)
		s.lines = append(s.lines, line{label: row.Title, metric: total, words: amountWords,
			format: func(v float64) string { return significant(v) + unit },
			beside: func(broker string) string { return partsText(broker, total, user, system) }})
	}
	return s
}

// partsText divides a median as the medians of its two parts stand to each
// other, so that the parts of the line add up.
func partsText(broker string, total, user, system *Metric) string {
	if total == nil || user == nil || system == nil {
		return ""
	}
	t, u, s := total.Brokers[broker], user.Brokers[broker], system.Brokers[broker]
	if t == nil || u == nil || s == nil || u.Median+s.Median == 0 {
		return ""
	}
	scale := t.Median / (u.Median + s.Median)
	return significant(u.Median*scale) + " + " + significant(s.Median*scale)
}

// latency are the percentiles, at saturation and at fixed rates.
func (r *Report) latency() section {
	s := section{title: "latency, ms", legs: []string{
		"open loop: from the time a record was due, so waiting counts; saturated: from send to answer, five requests in flight a connection"}}
	for i := range r.Rows {
		row := &r.Rows[i]
		points := []string{"p50", "p99", "p999"}
		if row.Kind == string(rowSaturate) && !row.closedLoop() {
			points = []string{"p50", "p99"}
		}
		if row.Name == "java-end-to-end" {
			points = []string{"mean", "p50", "p99"}
		}
		for _, prefix := range []string{"latency_", "ack_"} {
			label := row.Title
			switch {
			case prefix == "ack_" && row.metric("latency_p50_us") != nil:
				label += ", acknowledged"
			case row.Kind == string(rowSaturate) && !row.closedLoop():
				label += ", saturated"
			}
			for j, point := range points {
				m := row.metric(prefix + point + "_us")
				if m == nil {
					continue
				}
				if j > 0 {
					label = ""
				}
				s.lines = append(s.lines, line{label: label + "\t" + percentileName(point), metric: m, words: timeWords,
					format: func(v float64) string { return significant(v / 1e3) }})
			}
		}
	}
	return s
}

// process are memory and start.
func (r *Report) process() section {
	s := section{title: "memory and start"}
	if metricOf(r.Process, "start_port_ms") != nil {
		s.legs = []string{"start: from exec to the first accepted connection, and to the first record acknowledged in a topic that was there"}
	}
	add := func(label, name string, format func(float64) string, words [2]string) {
		s.lines = append(s.lines, line{label: label, metric: metricOf(r.Process, name), format: format, words: words})
	}
	ms := func(v float64) string { return bench.Thousands(v) + " ms" }
	mb := func(v float64) string { return bench.Thousands(v/bytesPerMB) + " MB" }
	add("start to open port", "start_port_ms", ms, speedWords)
	add("start to first acknowledgement", "start_ack_ms", ms, speedWords)
	add("RSS, idle after the start", "idle_rss_bytes", mb, amountWords)
	if peak := r.peakRSS(); peak != nil {
		s.lines = append(s.lines, line{label: "RSS, largest of all rows", metric: peak, format: mb, words: amountWords})
	}
	add("CPU, idle, % of one core", "idle_cpu_percent", significant, amountWords)
	return s
}

// peakRSS is the largest peak of each repetition's rows; nil if not measured.
func (r *Report) peakRSS() *Metric {
	values := make(map[string][]float64)
	for _, broker := range r.Brokers {
		byRep := make([]float64, r.Repetitions)
		for _, row := range r.Rows {
			for _, run := range row.Runs {
				if run.Broker == broker.Name && run.Repetition <= len(byRep) {
					byRep[run.Repetition-1] = max(byRep[run.Repetition-1], float64(run.PeakRSSBytes))
				}
			}
		}
		for _, v := range byRep {
			values[broker.Name] = append(values[broker.Name], positive(v))
		}
	}
	return newMetric("peak_rss_bytes", "B", LowerIsBetter, r.Brokers, values)
}

// fixedRate reports an open-loop row.
func (row *Row) fixedRate() bool {
	return len(row.Runs) > 0 && row.Runs[0].RatePerSecond > 0
}

// closedLoop reports a row with one record on its way at a time.
func (row *Row) closedLoop() bool {
	return row.Name == "round-trip" || row.Name == rowRoundTripAll || row.Name == "end-to-end" || row.Name == "java-end-to-end"
}

func percentileName(point string) string {
	if point == "p999" {
		return "p99.9"
	}
	return point
}

// writeSection draws one block; lines without a figure are left out.
func (r *Report) writeSection(b *strings.Builder, s section) {
	heads := []string{s.title, ""}
	for _, broker := range r.Brokers {
		heads = append(heads, broker.Name, "", "")
	}
	first := ""
	if len(r.Brokers) > 0 {
		first = r.Brokers[0].Name
	}
	for i, broker := range r.Brokers {
		switch {
		case i == 0:
		case len(r.Brokers) == 2:
			heads = append(heads, first+" is")
		default:
			heads = append(heads, "than "+broker.Name)
		}
	}
	rows := [][]string{heads}
	for _, l := range s.lines {
		if l.metric != nil {
			rows = append(rows, r.cells(l))
		}
	}
	if len(rows) == 1 {
		return
	}
	b.WriteString("\n")
	drawGrid(b, rows)
	for _, leg := range s.legs {
		b.WriteString("  " + leg + "\n")
	}
}

// cells are the label, its second part, three cells a broker and the ratios.
func (r *Report) cells(l line) []string {
	label, point, _ := strings.Cut(l.label, "\t")
	row := []string{label, point}
	for _, broker := range r.Brokers {
		e := l.metric.Brokers[broker.Name]
		value, beside := absent, ""
		if e != nil {
			value = l.format(e.Median)
			if l.beside != nil {
				beside = l.beside(broker.Name)
			}
		}
		row = append(row, value, plusMinus(e), beside)
	}
	for _, broker := range r.Brokers[min(1, len(r.Brokers)):] {
		row = append(row, ratioText(l.metric.Ratios, broker.Name, l.words))
	}
	return row
}

func plusMinus(e *Estimate) string {
	half := e.halfWidth()
	switch {
	case math.IsNaN(half):
		return ""
	case half < 0.095:
		return "±" + strconv.FormatFloat(100*half, 'f', 1, 64) + " %"
	case half > 1:
		return "±>100 %"
	}
	return fmt.Sprintf("±%.0f %%", 100*half)
}

// ratioText says how much better or worse the first broker is than another.
func ratioText(ratios []Ratio, to string, words [2]string) string {
	for _, r := range ratios {
		if r.To != to {
			continue
		}
		factor, word := r.Improvement, words[0]
		if factor < 1 {
			factor, word = 1/factor, words[1]
		}
		text := significant(factor) + "× " + word
		if factor < 1.005 {
			text = "the same"
		}
		if !r.Shown {
			text = "~ " + text
		}
		return text
	}
	return absent
}

func (r *Report) writeFoot(b *strings.Builder) {
	b.WriteString("\n~ could be chance (Mann-Whitney, p ≥ 0.05)\n")
	if len(r.Profiles) > 0 {
		fmt.Fprintf(b, "profiles and flame graphs: %s\n", strings.Join(r.Profiles, ", "))
	}
	for _, note := range r.Notes {
		b.WriteString("note: " + note + "\n")
	}
	fmt.Fprintf(b, "%.0f s; results, histograms and logs are in %s\n", r.Seconds, r.OutDir)
}

// drawGrid aligns rows, the first two columns to the left and the others to the
// right, with a rule under the heads. Empty columns take no room.
func drawGrid(b *strings.Builder, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	total := -2
	for _, w := range widths {
		if w > 0 {
			total += w + 2
		}
	}
	for i, row := range rows {
		var text strings.Builder
		for j, cell := range row {
			if widths[j] == 0 {
				continue
			}
			pad := strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell))
			if j < 2 {
				text.WriteString("  " + cell + pad)
			} else {
				text.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
		if i == 0 {
			b.WriteString("  " + strings.Repeat("─", total) + "\n")
		}
	}
}

// significant prints three significant digits, without an exponent.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if digits <= 0 {
		return bench.Thousands(v)
	}
	return strconv.FormatFloat(v, 'f', min(digits, 4), 64)
}
