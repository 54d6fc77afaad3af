package report

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"freshet/bench"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run the test with -rewrite if that is meant. Got:\n%s", path, got)
	}
}

// wellFormed parses a drawing as XML.
func wellFormed(drawing string) error {
	decoder := xml.NewDecoder(strings.NewReader(drawing))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func sampleBars() *barChart {
	return &barChart{name: "sample", limit: 3, references: []reference{{1, "one"}}, bars: []bar{
		{label: "a < b", class: "s0", value: 0.5, low: 0.3, high: 0.8, text: "0.50×", note: "target ≤ 0.7", verdict: "✓", target: 0.7,
			parts: []part{{0.2, ""}, {0.3, "light"}}, tip: tip(tipLine("", "a & b", ""), tipLine("s0", "half", "0.5"))},
		{label: "cut", class: "sf", value: 7, low: 7, high: 7, text: "7.00×", verdict: "✗", target: 1},
		{label: "nothing", class: "sn", text: "0"},
	}}
}

func sampleLines() *lineChart {
	return &lineChart{name: "sample", bands: 4, labels: true, x: percentAxis(99.95), y: logAxis("", 10, 5000, microseconds),
		formatX: func(v float64) string { return "p" + percentText(v) }, formatY: microseconds,
		lines: []line{
			{label: "broker", class: "s0", points: []xy{{50, 20}, {90, 60}, {99, 200}, {99.9, 4000}}},
			{label: "floor", class: "sf", dashed: true, points: []xy{{50, 18}, {99, 90}}},
			{label: "again", class: "s0", faint: true, points: []xy{{50, 22}, {99.9, 900}}},
		}}
}

func sampleGrid() *bench.LatencyGrid {
	return &bench.LatencyGrid{IntervalMs: 50, StepsPerOctave: 4, Columns: [][][2]int64{{{60, 100}, {61, 20}, {62, 1}}, {}, {{60, 3}, {80, 1}}}}
}

// The primitives' markup: a change here is a change that someone should look at.
func TestChartsAreDrawn(t *testing.T) {
	narrow := sampleBars()
	narrow.above = true
	heat := &heatMap{name: "sample", runs: []*bench.LatencyGrid{sampleGrid(), sampleGrid()}, caption: "broker"}
	for name, drawing := range map[string]string{
		"bars.svg": sampleBars().draw(panelWidth, 100), "bars-narrow.svg": narrow.draw(panelWidth, 0),
		"lines.svg": sampleLines().draw(), "heat.svg": heat.draw(),
	} {
		if err := wellFormed(drawing); err != nil {
			t.Errorf("%s is not well-formed: %v", name, err)
		}
		golden(t, name, drawing)
	}
}

// Whatever the figures, a chart is well-formed and has no coordinate that is
// no number.
func TestChartsOfAnyFigures(t *testing.T) {
	figure := rapid.OneOf(rapid.Float64Range(0, 1e12), rapid.Just(0.0), rapid.Float64Range(0, 1e-6))
	rapid.Check(t, func(t *rapid.T) {
		chart := barChart{name: rapid.String().Draw(t, "name"), limit: rapid.SampledFrom([]float64{0, 2}).Draw(t, "limit")}
		for range rapid.IntRange(0, 4).Draw(t, "bars") {
			v := figure.Draw(t, "value")
			chart.bars = append(chart.bars, bar{label: "x", value: v, low: v * 0.9, high: v * 1.1, target: figure.Draw(t, "target")})
		}
		if err := wellFormed(chart.draw(panelWidth, 80)); err != nil && !strings.Contains(err.Error(), "illegal character code") {
			t.Fatal(err)
		}
		var points []xy
		highest := 0.0
		for i := range rapid.IntRange(0, 6).Draw(t, "points") {
			y := figure.Draw(t, "y")
			points, highest = append(points, xy{float64(i), y}), max(highest, y)
		}
		lines := lineChart{bands: 3, x: spanAxis("", figure.Draw(t, "end"), seconds), y: linearAxis("", highest, si),
			formatX: seconds, formatY: si, lines: []line{{label: "l", points: points}}}
		if err := wellFormed(lines.draw()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAxes(t *testing.T) {
	labels := func(a axis) string {
		var all []string
		for _, tick := range a.ticks {
			all = append(all, tick.label)
		}
		return strings.Join(all, " ")
	}
	for _, c := range []struct{ name, got, want string }{
		{"linear", labels(linearAxis("", 17.4, significant)), "0 5 10 15 20"},
		{"linear, exact", labels(linearAxis("", 20, significant)), "0 5 10 15 20"},
		{"linear, nothing", labels(linearAxis("", 0, significant)), "0 0.25 0.5 0.75 1"},
		{"span", labels(spanAxis("", 0.97, significant)), "0 0.25 0.5 0.75"},
		{"log", labels(logAxis("", 18, 900, significant)), "20 50 100 200 500"},
		{"log, wide", labels(logAxis("", 1, 1e6, significant)), "1 10 100 1000 10000 100000 1000000"},
		{"percent", labels(percentAxis(99.95)), "50 90 99 99.9 99.99"},
		{"percent, few", labels(percentAxis(60)), "50 90 99"},
		{"percent, all", labels(percentAxis(99.9999)), "50 90 99 99.9 99.99 99.999"},
	} {
		if c.got != c.want {
			t.Errorf("%s: ticks %q, want %q", c.name, c.got, c.want)
		}
	}
	a := percentAxis(99.999)
	for percent, want := range map[float64]float64{50: 0, 99.999: 1, 40: 0, 100: 1} {
		if got := a.at(percent); math.Abs(got-want) > 1e-9 {
			t.Errorf("percentile %v stands at %v, want %v", percent, got, want)
		}
	}
	if d := (a.at(99.9) - a.at(99)) - (a.at(99.99) - a.at(99.9)); math.Abs(d) > 1e-9 {
		t.Errorf("two nines differ in width by %v", d)
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{si(0), "0"}, {si(999.4), "999"}, {si(999.96), "1 k"}, {si(12_345), "12.3 k"}, {si(2_130_000), "2.13 M"},
		{microseconds(0.4), "400 ns"}, {microseconds(18.62), "18.6 µs"}, {microseconds(999.9), "1 ms"}, {microseconds(2_310_000), "2.31 s"},
		{significant(0.000123), "0.000123"}, {significant(100), "100"}, {significant(9.999), "10"}, {megabytes(26 << 20), "26 MB"},
		{significant2(0.354), "0.35"}, {significant2(161.7), "162"}, {percentText(99), "99.0"}, {percentText(99.95), "99.950"}, {percentText(50), "50"},
		{quoted("it's"), `'it'\''s'`}, {quoted("a=b/c:1"), "a=b/c:1"}, {quoted(""), "''"}, {short("0123456789abcdef+"), "012345678+"}, {short(""), "unknown"},
	} {
		if c.got != c.want {
			t.Errorf("printed %q, want %q", c.got, c.want)
		}
	}
}

func TestRates(t *testing.T) {
	c := bench.SampleColumns{AtMs: []float64{0, 50, 100, 150, 150}, Records: []int64{0, 100, 200, 250, 250, 900}}
	want := []xy{{0.05, 2000}, {0.1, 2000}, {0.15, 1500}, {0.15, 1000}}
	if got := rates(c); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := rates(bench.SampleColumns{AtMs: []float64{0}}); len(got) != 0 {
		t.Errorf("a single sample has rates: %v", got)
	}
}

func TestHeatLevels(t *testing.T) {
	for _, c := range []struct {
		n, most int64
		want    int
	}{{0, 10, -1}, {1, 1, 7}, {1, 1000, 0}, {1000, 1000, 7}, {100, 1000, 5}, {999, 1000, 7}} {
		if got := heatLevel(c.n, c.most); got != c.want {
			t.Errorf("%d of %d has colour %d, want %d", c.n, c.most, got, c.want)
		}
	}
}

func TestCurvesAreReadBetweenTheirPoints(t *testing.T) {
	a := linearAxis("", 10, significant)
	l := line{points: []xy{{2, 10}, {4, 20}, {6, 20}}}
	for _, c := range []struct {
		x, want float64
		ok      bool
	}{{3, 15, true}, {4, 20, true}, {5, 20, true}, {1.9, 10, true}, {0, 10, false}, {6.1, 20, true}, {9, 20, false}} {
		got, ok := l.near(c.x, a.warp, &a, 0.05)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("at %v it reads %v, %v; want %v, %v", c.x, got, ok, c.want, c.ok)
		}
	}
	if _, ok := (&line{}).near(1, a.warp, &a, 1); ok {
		t.Error("a curve without points has a value")
	}
}

func TestFlameGraphSizes(t *testing.T) {
	for _, c := range []struct {
		svg           string
		width, height float64
		bad           string
	}{
		{`<svg viewBox="0 0 1200 272" width="10" height="10"/>`, 1200, 272, ""},
		{`<?xml version="1.0"?><!DOCTYPE svg><svg width="800px" height="300"><g/></svg>`, 800, 300, ""},
		{`<svg/>`, 1200, 600, ""},
		{`<html></html>`, 0, 0, "not <svg>"},
		{`<svg><g></svg>`, 0, 0, "well-formed"},
		{``, 0, 0, "no drawing"},
	} {
		width, height, err := svgSize([]byte(c.svg))
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%s: error %v, want one about %q", c.svg, err, c.bad)
			}
		} else if err != nil || width != c.width || height != c.height {
			t.Errorf("%s: %v × %v, %v", c.svg, width, height, err)
		}
	}
	flames := []Flame{{Source: "small"}, {Source: template.URL(strings.Repeat("x", 100))}, {Source: "small too"}}
	limitFlames(flames, 100)
	if flames[0].Source == "" || flames[1].Source != "" || flames[2].Source == "" {
		t.Error("of three drawings, of which the second is too large, other than the second was taken out")
	}
}
