package report

import (
	"fmt"
	"slices"
	"strings"

	"freshet/bench"
)

// tile is a figure large enough for the last row of a room.
type tile struct {
	Value, Unit, Label, Note string
	Good                     bool
}

// maxTiles fill two rows.
const maxTiles = 6

// tiles picks the figures that a run is about, in the order of what they say
// most about a broker, as far as it has them.
func (d *Document) tiles() []tile {
	var out []tile
	add := func(t tile, ok bool) {
		if ok && len(out) < maxTiles {
			out = append(out, t)
		}
	}
	for _, row := range []string{"produce-64k", "produce-16k", "rf3-acks-all"} {
		t, ok := d.rateTile(row)
		add(t, ok)
		if ok {
			break
		}
	}
	add(d.costTile("one-record"))
	for _, row := range []string{"producer-1", "producer", "three-producers-3x-async", "consumer-1", "consumer"} {
		add(d.clientTile(row))
	}
	add(d.latencyTile("ack-50mb", FigureAckP99, "99 of 100 acknowledged at 50 MB/s", "open loop"))
	add(d.latencyTile("open-loop", FigureAckP99, "99 of 100 acknowledged", "open loop"))
	add(d.latencyTile("end-to-end", FigureP50, "end to end, median", "closed loop"))
	add(d.latencyTile("round-trip", FigureP50, "one-record round trip, median", ""))
	add(d.latencyTile("rf3-round-trip", FigureP50, "one record on three brokers, median", ""))
	add(d.processTile("start_ack_ms", "from start to the first ack"))
	add(d.processTile("idle_rss_bytes", "resident when idle"))
	if len(d.Runs) == 1 && d.Runs[0].ReadyMs > 0 {
		run := d.Runs[0]
		note := ""
		if run.IdleRSS > 0 {
			note = "then " + megabytes(float64(run.IdleRSS)) + " resident"
		}
		add(tile{Value: fmt.Sprintf("%.0f", run.ReadyMs), Unit: "ms", Label: "from exec to ready", Note: note}, true)
	}
	if len(d.Runs) == 1 {
		for _, c := range d.Checks {
			add(checkTile(c), !strings.HasPrefix(c.Name, "rate-") && !strings.HasPrefix(c.Name, "round-trip"))
		}
		d.ombTiles(add)
	}
	if len(out) == maxTiles-1 {
		out = out[:maxTiles-2] // five would leave a gap
	}
	return out
}

// ombTiles are of the first workload of the OpenMessaging Benchmark.
func (d *Document) ombTiles(add func(tile, bool)) {
	if len(d.Series) == 0 || d.Series[0].Mode != ombMode {
		return
	}
	s := &d.Series[0]
	rate := s.first(FigureRecords)
	value, unit := cutUnit(si(rate))
	add(tile{Value: value, Unit: strings.TrimSpace(unit + " msg/s"), Label: "published"}, rate > 0)
	for _, f := range []struct{ name, label string }{{FigureAckP50, "publish latency, median"}, {FigureAckP99, "publish latency, p99"},
		{FigureAckP999, "publish latency, p99.9"}, {FigureP50, "end to end, median"}, {FigureP99, "end to end, p99"}} {
		us := s.first(f.name)
		value, unit := cutUnit(microseconds(us))
		add(tile{Value: value, Unit: unit, Label: f.label}, us > 0)
	}
}

// cutUnit parts a printed figure from its unit.
func cutUnit(text string) (value, unit string) {
	value, unit, _ = strings.Cut(text, " ")
	return value, unit
}

// lead is the first broker's series of a row.
func (d *Document) lead(row string) *Series {
	for _, s := range d.of(row) {
		if s.Role == RoleBroker {
			return s
		}
	}
	return nil
}

// against says how a lead's figure stands to a rival's, or to the floor's.
func (d *Document) against(s *Series, figure string, lowerIsBetter bool) (string, bool) {
	own := s.first(figure)
	for _, role := range []Role{RoleRival, RoleFloor} {
		for _, other := range d.of(s.Row) {
			theirs := other.first(figure)
			if other.Role != role || own <= 0 || theirs <= 0 {
				continue
			}
			if role == RoleRival && lowerIsBetter {
				return lessThan(own, theirs, other.System), theirs > own
			}
			if role == RoleRival {
				return significant2(own/theirs) + "× " + other.System, own > theirs
			}
			return fmt.Sprintf("%.2f× the floor's", own/theirs), (own < theirs) == lowerIsBetter
		}
	}
	return "", false
}

// lessThan compares two figures of which the smaller is better.
func lessThan(own, theirs float64, system string) string {
	if theirs >= own {
		return significant2(theirs/own) + "× less than " + system
	}
	return significant2(own/theirs) + "× that of " + system
}

func (d *Document) rateTile(row string) (tile, bool) {
	s := d.lead(row)
	if s == nil || s.first(FigureLogMB) == 0 {
		return tile{}, false
	}
	t := tile{Value: significant(s.first(FigureLogMB)), Unit: "MB/s", Label: s.Title}
	if mb := s.first(FigureLogMB); mb >= 1024 {
		t.Value, t.Unit = fmt.Sprintf("%.2f", mb/1024), "GB/s"
	}
	if note, good := d.against(s, FigureCPU, true); note != "" {
		t.Note, t.Good = "CPU per GB: "+note, good
	}
	return t, true
}

func (d *Document) costTile(row string) (tile, bool) {
	s := d.lead(row)
	if s == nil || s.first(FigureCPURequest) == 0 {
		return tile{}, false
	}
	t := tile{Value: significant(s.first(FigureCPURequest)), Unit: "µs", Label: "CPU for a one-record request"}
	t.Note, t.Good = d.against(s, FigureCPURequest, true)
	return t, true
}

func (d *Document) clientTile(row string) (tile, bool) {
	s := d.lead(row)
	if s == nil || s.first(FigureRecords) == 0 {
		return tile{}, false
	}
	t := tile{Value: fmt.Sprintf("%.2f", s.first(FigureRecords)/1e6), Unit: "M rec/s", Label: s.Title + ", a real client"}
	if note, good := d.against(s, FigureRecords, false); note != "" {
		t.Note, t.Good = note, good
	} else if s.Published > 0 {
		times := s.first(FigureRecords) / s.Published
		t.Note, t.Good = significant2(times)+"× LinkedIn's of 2014", times >= 1
	}
	return t, true
}

func (d *Document) latencyTile(row, figure, label, loop string) (tile, bool) {
	s := d.lead(row)
	if s == nil || s.first(figure) == 0 {
		return tile{}, false
	}
	us := s.first(figure)
	t := tile{Value: significant(us), Unit: "µs", Label: label, Note: loop}
	if us >= 999.5 {
		t.Value, t.Unit = significant(us/1e3), "ms"
	}
	if note, good := d.against(s, figure, true); note != "" {
		t.Note, t.Good = note, good
	} else if f, ok := s.figure(FigureP999); ok && loop != "" {
		t.Note = loop + ", p99.9 " + microseconds(f.Median)
	}
	if rate := s.first(FigureRecords); row == "open-loop" && rate > 0 && loop != "" && t.Note != "" {
		t.Note = fmt.Sprintf("open loop at %s records/s", si(rate))
	}
	return t, true
}

// processTile shows a figure of the first system's process beside the second's.
func (d *Document) processTile(name, label string) (tile, bool) {
	t, own := tile{Label: label}, 0.0
	for _, p := range d.Process {
		switch {
		case p.Name != name || p.Median <= 0:
		case own == 0:
			own = p.Median
			value := megabytes(own)
			if strings.HasSuffix(name, "_ms") {
				value = microseconds(own * 1e3)
			}
			t.Value, t.Unit, _ = strings.Cut(value, " ")
		case t.Note == "":
			t.Note, t.Good = lessThan(own, p.Median, p.System), p.Median > own
		}
	}
	return t, own > 0
}

// tableRow is one line of the table of all figures.
type tableRow struct {
	Title, System, Class string
	Cells                []string
}

// tableHeads name the columns behind row and system.
var tableHeads = []string{"records/s", "MB/s", "CPU s/GB", "µs/request", "batch B", "p50", "p99", "p99.9", "max", "ack p99", "peak RSS"}

// table is every system's figures in every row, without columns that are empty
// throughout.
func (d *Document) table() (heads []string, out []tableRow) {
	for _, row := range d.rows() {
		for _, s := range d.of(row) {
			r := tableRow{Title: s.Title, System: s.System, Class: d.class(s.System)}
			if r.Title == "" {
				r.Title = s.Row
			}
			rate := FigureLogMB
			if s.Mode == string(bench.ModeClient) {
				rate = FigurePayloadMB
			}
			for _, column := range []struct {
				figure string
				format func(float64) string
			}{
				{FigureRecords, si}, {rate, significant}, {FigureCPU, significant}, {FigureCPURequest, significant}, {FigureBatch, si},
				{FigureP50, microseconds}, {FigureP99, microseconds}, {FigureP999, microseconds}, {FigureMax, microseconds},
				{FigureAckP99, microseconds}, {FigurePeakRSS, megabytes},
			} {
				text := ""
				if f, ok := s.figure(column.figure); ok {
					text = column.format(f.Median)
				}
				r.Cells = append(r.Cells, text)
			}
			out = append(out, r)
		}
	}
	for column := range tableHeads {
		if slices.ContainsFunc(out, func(r tableRow) bool { return r.Cells[column] != "" }) {
			heads = append(heads, tableHeads[column])
		}
	}
	for i := range out {
		var cells []string
		for column, cell := range out[i].Cells {
			if slices.Contains(heads, tableHeads[column]) {
				cells = append(cells, cell)
			}
		}
		out[i].Cells = cells
	}
	return heads, out
}
