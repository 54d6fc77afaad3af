package bench

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// grid is an aligned text table: the first column to the left, the others to
// the right.
type grid struct {
	heads []string
	rows  [][]string
}

func (g *grid) add(cells ...string) {
	if len(cells) != len(g.heads) {
		panic(fmt.Sprintf("BUG: %d cells in a table of %d columns", len(cells), len(g.heads)))
	}
	g.rows = append(g.rows, cells)
}

// write draws the table, indented by two spaces, with a rule under the heads.
func (g *grid) write(b *strings.Builder) {
	widths := make([]int, len(g.heads))
	for _, row := range append([][]string{g.heads}, g.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(row []string) {
		b.WriteString("  ")
		var text strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				text.WriteString(cell + pad)
			} else {
				text.WriteString("  " + pad + cell)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	line(g.heads)
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	b.WriteString("  " + strings.Repeat("─", total) + "\n")
	for _, row := range g.rows {
		line(row)
	}
}

const missing = "–"

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	var b strings.Builder
	r.writeHeading(&b)
	r.writeSaturate(&b)
	r.writeClient(&b)
	r.writeLatency(&b)
	b.WriteString("\n")
	for i := range r.Rows {
		for _, note := range r.Rows[i].uneven() {
			b.WriteString("note: " + note + "\n")
		}
	}
	fmt.Fprintf(&b, "%.0f s; results, histograms and logs are in %s\n", r.Seconds, r.OutDir)
	for _, dir := range r.Profiles {
		fmt.Fprintf(&b, "profiles and flame graphs: %s\n", dir)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeHeading(b *strings.Builder) {
	e := r.Environment
	fmt.Fprintf(b, "freshet bench · commit %s · Linux %s · %s, %d CPUs, %s · %s\n",
		e.Commit, e.Kernel, e.CPUModel, e.CPUs, gib(e.MemBytes), e.FileSystem)
	fmt.Fprintf(b, "broker %s", r.Broker.Address)
	if r.Broker.VersionGuess != "" {
		fmt.Fprintf(b, " (offers the APIs of Kafka %s)", r.Broker.VersionGuess)
	}
	if r.Broker.Make != "" {
		fmt.Fprintf(b, " (%s)", r.Broker.Make)
	}
	if r.Broker.ReadyMs > 0 {
		fmt.Fprintf(b, " · ready in %.0f ms", r.Broker.ReadyMs)
	}
	if r.Broker.IdleRSSBytes > 0 {
		fmt.Fprintf(b, " · %s idle", mib(float64(r.Broker.IdleRSSBytes)))
	}
	fmt.Fprintf(b, "\nan ack meant: %s\n", r.Broker.Ack)
	fmt.Fprintf(b, "medians of %d (smallest … largest); MB = 2^20 bytes, GB = 10^9 bytes of record batches\n", r.Repetitions)
}

// writeSaturate draws the saturated rows with their ratios to the floor.
func (r *Report) writeSaturate(b *strings.Builder) {
	g := grid{heads: []string{"saturated broker", "records/s", "MB/s", "range", "cost", "floor", "ratio", "", "target", "",
		"floor rec/s", "null rec/s", "RSS"}}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Mode != ModeSaturate {
			continue
		}
		broker := row.Summary[TargetBroker]
		g.add(row.Title,
			spreadText(broker.RecordsPerSecond, Thousands),
			spreadText(broker.LogMBPerSecond, oneDecimal),
			rangeText(broker.LogMBPerSecond, whole),
			costText(row, TargetBroker), costText(row, TargetFloor),
			ratioText(row.Ratio), rangeText(row.PairedRatios, twoDecimals), targetText(row.MaxRatio), verdict(row.Ratio, row.MaxRatio),
			spreadText(row.Summary[TargetFloor].RecordsPerSecond, Thousands),
			spreadText(row.Summary[TargetNull].RecordsPerSecond, Thousands),
			maxText(broker.PeakRSSBytes, mib))
	}
	if len(g.rows) == 0 {
		return
	}
	b.WriteString("\n")
	g.write(b)
	b.WriteString("  cost: the broker's CPU per GB or per request, or the p50; the floor does only what a request cannot do without;\n" +
		"  null: what this generator reaches against a server that does nothing\n")
}

// writeClient draws the throughput rows of the client mode.
func (r *Report) writeClient(b *strings.Builder) {
	linkedIn := make(map[string]float64)
	for _, row := range ClientRows() {
		linkedIn[row.Name] = row.LinkedInRecordsPerSecond
	}
	g := grid{heads: []string{"real clients (franz-go)", "records/s", "range", "MB/s", "×LinkedIn", "CPU s/GB", "batch B", "null rec/s", "RSS"}}
	for i := range r.Rows {
		row := &r.Rows[i]
		s := row.Summary[TargetBroker]
		if row.Mode != ModeClient || s.Latency != nil {
			continue
		}
		times := missing
		if published := linkedIn[row.Name]; published > 0 && s.RecordsPerSecond != nil {
			times = fmt.Sprintf("%.1f", s.RecordsPerSecond.Median/published)
		}
		g.add(row.Title,
			spreadText(s.RecordsPerSecond, Thousands), rangeText(s.RecordsPerSecond, Thousands),
			spreadText(s.PayloadMBPerSecond, oneDecimal), times,
			spreadText(s.CPUPerGB, twoDecimals), spreadText(s.BatchBytes, Thousands),
			spreadText(row.Summary[TargetNull].RecordsPerSecond, Thousands),
			maxText(s.PeakRSSBytes, mib))
	}
	if len(g.rows) == 0 {
		return
	}
	b.WriteString("\n")
	g.write(b)
	b.WriteString("  MB/s of record values; LinkedIn 2014: six cores a broker, clients on machines of their own\n")
}

// writeLatency draws every row that measured latency, in microseconds.
func (r *Report) writeLatency(b *strings.Builder) {
	g := grid{heads: []string{"latency, µs", "rate/s", "p50", "p90", "p99", "p99.9", "max", "CPU s/GB", "RSS", "samples"}}
	add := func(title string, s Summary, l *LatencySummary) {
		if l == nil {
			return
		}
		us := func(v float64) string { return Thousands(math.Round(v)) }
		g.add(title, spreadText(s.RecordsPerSecond, Thousands), us(l.P50Us), us(l.P90Us), us(l.P99Us), us(l.P999Us), us(l.MaxUs),
			spreadText(s.CPUPerGB, twoDecimals), maxText(s.PeakRSSBytes, mib), Thousands(float64(l.Count)))
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		broker, floor := row.Summary[TargetBroker], row.Summary[TargetFloor]
		add(row.Title, broker, broker.Latency)
		add(row.Title+", acknowledged", broker, broker.AckLatency)
		add(row.Title+", floor", floor, floor.Latency)
	}
	if len(g.rows) == 0 {
		return
	}
	b.WriteString("\n")
	g.write(b)
	b.WriteString("  open loop: from the time a record was due, so waiting counts; closed loop: the next record waits for the last\n")
}

func spreadText(s *Spread, format func(float64) string) string {
	if s == nil {
		return missing
	}
	return format(s.Median)
}

func maxText(s *Spread, format func(float64) string) string {
	if s == nil {
		return missing
	}
	return format(s.Max)
}

func rangeText(s *Spread, format func(float64) string) string {
	if s == nil || s.Min == s.Max {
		return missing
	}
	return format(s.Min) + "…" + format(s.Max)
}

// costText is the judged figure with its unit.
func costText(row *Row, name TargetName) string {
	s := row.judged(name)
	if s == nil {
		return missing
	}
	switch row.Judge {
	case JudgeCPUPerGB:
		return fmt.Sprintf("%.3f s/GB", s.Median)
	case JudgeCPUPerRequest:
		return fmt.Sprintf("%.1f µs each", s.Median)
	default:
		return fmt.Sprintf("%.0f µs p50", s.Median)
	}
}

func ratioText(ratio float64) string {
	if ratio == 0 {
		return missing
	}
	return fmt.Sprintf("%.2f×", ratio)
}

func targetText(ratio float64) string {
	if ratio == 0 {
		return missing
	}
	return fmt.Sprintf("≤ %.1f×", ratio)
}

// verdict compares as printed, to two decimals.
func verdict(ratio, limit float64) string {
	switch {
	case ratio == 0 || limit == 0:
		return ""
	case math.Round(ratio*100) <= math.Round(limit*100):
		return "met"
	}
	return "missed"
}

// Thousands prints a whole number with commas, as the tables of runs do.
func Thousands(v float64) string {
	digits := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	var b strings.Builder
	if v < 0 && digits != "0" {
		b.WriteByte('-')
	}
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

func whole(v float64) string       { return strconv.FormatFloat(v, 'f', 0, 64) }
func oneDecimal(v float64) string  { return strconv.FormatFloat(v, 'f', 1, 64) }
func twoDecimals(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
func mib(v float64) string         { return fmt.Sprintf("%.0f MB", v/bytesPerMB) }
func gib(v int64) string           { return fmt.Sprintf("%.0f GiB", float64(v)/(1<<30)) }
