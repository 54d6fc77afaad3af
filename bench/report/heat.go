package report

import (
	"fmt"
	"math"
	"strings"

	"freshet/bench"
)

const (
	heatHeight = 200.0
	// heatColumns bounds the cells of a map, and so the size of the page.
	heatColumns = 144
	heatLevels  = 8
	// heatGap stands between repetitions, in columns.
	heatGap = 1
)

// heatMap shows latencies over time: a column is an interval, a row a size of
// latency, a colour how many there were. Repetitions stand side by side.
type heatMap struct {
	name string
	runs []*bench.LatencyGrid
	// loUs and hiUs, if set, fix the vertical axis, so that maps compare.
	loUs, hiUs float64
	// height is of the plot, caption stands in its corner; both may be zero.
	height  float64
	caption string
}

// column is a run's cells over one drawn interval.
type column map[int64]int64

// columns merges a run's intervals into at most n drawn ones.
func columns(g *bench.LatencyGrid, n int) []column {
	each := max((len(g.Columns)+n-1)/n, 1)
	var out []column
	for i, pairs := range g.Columns {
		if i%each == 0 {
			out = append(out, column{})
		}
		for _, pair := range pairs {
			out[len(out)-1][pair[0]] += pair[1]
		}
	}
	return out
}

// spanUs is the range of latencies in grids, in µs; false when they are empty.
func spanUs(grids []*bench.LatencyGrid) (lo, hi float64, ok bool) {
	lo = math.Inf(1)
	for _, g := range grids {
		for _, pairs := range g.Columns {
			for _, pair := range pairs {
				from, to := bench.GridCellNs(pair[0], g.StepsPerOctave)
				lo, hi, ok = min(lo, from/1e3), max(hi, to/1e3), true
			}
		}
	}
	return lo, hi, ok
}

// draw returns the panel, "" when there is nothing to see.
func (h *heatMap) draw() string {
	lo, hi, ok := spanUs(h.runs)
	if !ok {
		return ""
	}
	if h.hiUs > h.loUs && h.loUs > 0 {
		lo, hi = h.loUs, h.hiUs
	}
	y := logAxis("", lo, hi, microseconds)
	if h.height == 0 {
		h.height = heatHeight
	}
	s := begin(panelWidth, plotTop+h.height+plotBottom, h.name)
	p := plot{left: panelLeft, top: plotTop, width: panelWidth - panelLeft - panelRight, height: h.height}
	s.put(`<rect class="heatback" x="%s" y="%s" width="%s" height="%s"/>`, px(p.left), px(p.top), px(p.width), px(p.height))
	x := axis{label: "time", hi: 1, warp: identity}
	drawn, most := make([][]column, len(h.runs)), int64(1)
	total := heatGap * (len(h.runs) - 1)
	for i, g := range h.runs {
		drawn[i] = columns(g, heatColumns/len(h.runs))
		total += len(drawn[i])
		for _, c := range drawn[i] {
			for _, n := range c {
				most = max(most, n)
			}
		}
	}
	width := p.width / float64(total)
	var levels [heatLevels]strings.Builder
	var hits strings.Builder
	at := p.left
	for i, g := range h.runs {
		secondsEach := g.IntervalMs / 1e3 * float64(len(g.Columns)) / float64(len(drawn[i]))
		h.place(&x, i, (at-p.left)/p.width, secondsEach*float64(len(drawn[i])))
		for j, c := range drawn[i] {
			h.cells(&levels, c, g, &p, &y, at, width, most)
			hits.WriteString(fmt.Sprintf(`<g class="band" data-tip="%s"><rect class="hit" x="%s" y="%s" width="%s" height="%s"/></g>`+"\n",
				c.tip(g, i, len(h.runs), float64(j)*secondsEach, float64(j+1)*secondsEach), px(at), px(p.top), px(width), px(p.height)))
			at += width
		}
		at += width * heatGap
	}
	p.axes(s, &x, &y)
	for level := range levels {
		if d := levels[level].String(); d != "" {
			s.put(`<path class="h%d" d="%s"/>`, level, d)
		}
	}
	if h.caption != "" {
		s.put(`<text class="corner" x="%s" y="%s">%s</text>`, px(p.left+6), px(p.top+13), esc(h.caption))
	}
	s.WriteString(hits.String())
	return s.end()
}

// place marks where a repetition begins.
func (h *heatMap) place(x *axis, run int, share, long float64) {
	if len(h.runs) == 1 {
		*x = spanAxis("time since the start", long, seconds)
		return
	}
	x.label = "repetitions, one after the other"
	x.ticks = append(x.ticks, tick{share, fmt.Sprintf("%d · %s", run+1, seconds(long))})
}

// cells adds a column's rectangles to the paths of their levels.
func (h *heatMap) cells(levels *[heatLevels]strings.Builder, c column, g *bench.LatencyGrid, p *plot, y *axis, at, width float64, most int64) {
	last := int64(62 * g.StepsPerOctave)
	for cell := int64(0); cell < last; cell++ {
		level := heatLevel(c[cell], most)
		if level < 0 {
			continue
		}
		low := cell // cells of one colour on top of each other are one rectangle
		for cell+1 < last && heatLevel(c[cell+1], most) == level {
			cell++
		}
		from, _ := bench.GridCellNs(low, g.StepsPerOctave)
		_, to := bench.GridCellNs(cell, g.StepsPerOctave)
		top, bottom := p.y(y, to/1e3), p.y(y, from/1e3)
		if bottom-top < 0.2 {
			continue
		}
		fmt.Fprintf(&levels[level], "M%s %sh%sv%sh-%sz", px(at), px(top), px(width+0.15), px(bottom-top), px(width+0.15))
	}
}

// heatLevel is the colour of a count, by its logarithm: a single slow record
// among thousands must be seen. Nothing has no colour, -1.
func heatLevel(n, most int64) int {
	switch {
	case n <= 0:
		return -1
	case most <= 1:
		return heatLevels - 1
	}
	level := int(math.Log(float64(n)) / math.Log(float64(most)) * heatLevels)
	return min(max(level, 0), heatLevels-1)
}

// tip reads a column: how many latencies, their median and the slowest.
func (c column) tip(g *bench.LatencyGrid, run, runs int, fromS, toS float64) string {
	var total, half, highest int64
	for cell, n := range c {
		total += n
		highest = max(highest, cell)
	}
	heading := seconds(fromS) + " to " + seconds(toS)
	if runs > 1 {
		heading = fmt.Sprintf("repetition %d, %s", run+1, heading)
	}
	if total == 0 {
		return tip(tipLine("", heading, ""), tipLine("", "nothing", ""))
	}
	median := int64(0)
	for ; half*2 < total; median++ {
		half += c[median]
	}
	_, medianNs := bench.GridCellNs(max(median-1, 0), g.StepsPerOctave)
	_, slowestNs := bench.GridCellNs(highest, g.StepsPerOctave)
	return tip(tipLine("", heading, ""), tipLine("h7", "latencies", si(float64(total))),
		tipLine("h5", "median below", microseconds(medianNs/1e3)), tipLine("h1", "slowest below", microseconds(slowestNs/1e3)))
}
