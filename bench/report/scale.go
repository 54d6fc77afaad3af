package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// tick is a labelled place on an axis.
type tick struct {
	value float64
	label string
}

// axis maps values to 0 … 1.
type axis struct {
	label  string
	lo, hi float64
	// warp bends the scale: identity, log10, or nines for percentiles.
	warp  func(float64) float64
	ticks []tick
}

// at is the place of a value, held inside the axis.
func (a *axis) at(v float64) float64 {
	lo, hi := a.warp(a.lo), a.warp(a.hi)
	if hi <= lo {
		return 0
	}
	return min(max((a.warp(v)-lo)/(hi-lo), 0), 1)
}

func identity(v float64) float64 { return v }

// nines is the HdrHistogram scale: equal steps for 90, 99, 99.9 percent.
func nines(percent float64) float64 { return -math.Log10(max(1-percent/100, 1e-9)) }

// linearAxis runs from zero to a round number at or above hi.
func linearAxis(label string, hi float64, format func(float64) string) axis {
	if !(hi > 0) {
		hi = 1
	}
	step := niceStep(hi / 4)
	top := math.Ceil(hi/step-1e-9) * step
	a := axis{label: label, hi: top, warp: identity}
	for i := 0; float64(i)*step <= top*(1+1e-9); i++ {
		v := float64(i) * step
		a.ticks = append(a.ticks, tick{v, format(v)})
	}
	return a
}

// spanAxis runs from zero to exactly hi, with round ticks: for time.
func spanAxis(label string, hi float64, format func(float64) string) axis {
	a := linearAxis(label, hi, format)
	a.hi = hi
	for len(a.ticks) > 1 && a.ticks[len(a.ticks)-1].value > hi {
		a.ticks = a.ticks[:len(a.ticks)-1]
	}
	return a
}

// niceStep is 1, 2, 2.5 or 5 times a power of ten, at or above step.
func niceStep(step float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if m*power >= step*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// logAxis covers lo … hi, both above zero, with ticks at 1, 2 and 5 times the
// powers of ten, or at the powers alone when those were too many.
func logAxis(label string, lo, hi float64, format func(float64) string) axis {
	a := axis{label: label, lo: lo, hi: hi, warp: math.Log10}
	for _, multiples := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		a.ticks = nil
		for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
			for _, m := range multiples {
				if v := m * math.Pow(10, e); v >= lo*(1-1e-9) && v <= hi*(1+1e-9) {
					a.ticks = append(a.ticks, tick{v, format(v)})
				}
			}
		}
		if len(a.ticks) <= 7 {
			break
		}
	}
	return a
}

// percentTicks are the places that readers know.
var percentTicks = []tick{{50, "50"}, {90, "90"}, {99, "99"}, {99.9, "99.9"}, {99.99, "99.99"}, {99.999, "99.999"}}

// percentAxis runs from 50 to the tick at or above hi.
func percentAxis(hi float64) axis {
	a := axis{label: "percentile", lo: 50, warp: nines}
	for _, t := range percentTicks {
		a.ticks = append(a.ticks, t)
		a.hi = t.value
		if t.value >= hi && t.value > 90 {
			break
		}
	}
	return a
}

// si prints a count: 950, 12.3 k, 1.94 M.
func si(v float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if math.Abs(v) >= unit.size*0.9995 {
			return significant(v/unit.size) + unit.name
		}
	}
	return significant(v)
}

// significant prints three digits, without zeros at the end of a fraction.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	decimals := max(2-int(math.Floor(math.Log10(math.Abs(v))+1e-12)), 0)
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// microseconds prints a time given in µs with the unit that suits it.
func microseconds(us float64) string {
	switch {
	case us >= 999_500:
		return significant(us/1e6) + " s"
	case us >= 999.5:
		return significant(us/1e3) + " ms"
	case us >= 0.9995 || us == 0:
		return significant(us) + " µs"
	}
	return significant(us*1e3) + " ns"
}

// seconds prints a time on an axis.
func seconds(s float64) string { return significant(s) + " s" }

// megabytes prints bytes in units of 2^20.
func megabytes(b float64) string { return significant(b/(1<<20)) + " MB" }

// svg is a drawing as text.
type svg struct{ strings.Builder }

// put adds a line of markup. Arguments that hold text must come through esc.
func (s *svg) put(format string, args ...any) {
	fmt.Fprintf(s, format, args...)
	s.WriteByte('\n')
}

// esc makes text safe in markup and in quoted attributes.
func esc(text string) string { return html.EscapeString(text) }

// px prints a coordinate to a tenth of a unit.
func px(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		panic("BUG: a chart has a coordinate that is no number")
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// begin opens a drawing of a size with its name for screen readers.
func begin(width, height float64, name string) *svg {
	s := new(svg)
	s.put(`<svg viewBox="0 0 %s %s" role="img" aria-label="%s">`, px(width), px(height), esc(name))
	return s
}

// end closes the drawing.
func (s *svg) end() string {
	s.WriteString("</svg>")
	return s.String()
}

// tipLine is one line of what the pointer shows: a swatch's class, a name and
// a value. The first line of a tip has no class and is its heading.
func tipLine(class, name, value string) string {
	clean := strings.NewReplacer("\t", " ", "\n", " ")
	return clean.Replace(class) + "\t" + clean.Replace(name) + "\t" + clean.Replace(value)
}

func tip(lines ...string) string { return esc(strings.Join(lines, "\n")) }
