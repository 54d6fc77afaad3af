package report

import (
	"math"
	"slices"
	"strings"
)

// xy is a point in the axes' values.
type xy struct{ x, y float64 }

// line is one curve. Points rise in x.
type line struct {
	label  string
	class  string
	dashed bool
	faint  bool // another repetition: thinner
	points []xy
}

// lineChart is a panel of curves with a band under the pointer that reads them
// all.
type lineChart struct {
	name    string
	x, y    axis
	lines   []line
	formatX func(float64) string
	formatY func(float64) string
	// bands is how many places along x the pointer can read.
	bands int
	// labels names the curves at their right ends.
	labels bool
}

const (
	plotTop    = 12.0
	plotHeight = 200.0
	plotBottom = 40.0
)

// draw returns the panel.
func (c *lineChart) draw() string {
	s := begin(panelWidth, plotTop+plotHeight+plotBottom, c.name)
	p := plot{left: panelLeft, top: plotTop, width: panelWidth - panelLeft - panelRight, height: plotHeight}
	p.axes(s, &c.x, &c.y)
	for _, l := range slices.Backward(c.lines) { // the first is on top
		c.path(s, &p, l)
	}
	c.readings(s, &p)
	return s.end()
}

// plot is the rectangle between the axes.
type plot struct{ left, top, width, height float64 }

func (p *plot) x(a *axis, v float64) float64 { return p.left + p.width*a.at(v) }
func (p *plot) y(a *axis, v float64) float64 { return p.top + p.height*(1-a.at(v)) }

// axes draws grid lines, labels and names.
func (p *plot) axes(s *svg, x, y *axis) {
	bottom := p.top + p.height
	for _, t := range y.ticks {
		at := p.y(y, t.value)
		s.put(`<line class="grid" x1="%s" x2="%s" y1="%s" y2="%s"/>`, px(p.left), px(p.left+p.width), px(at), px(at))
		s.put(`<text class="tick" x="%s" y="%s" text-anchor="end" dy=".35em">%s</text>`, px(p.left-7), px(at), esc(t.label))
	}
	for i, t := range x.ticks {
		at, anchor := p.x(x, t.value), "middle"
		if i == len(x.ticks)-1 && at > p.left+p.width-12 {
			at, anchor = p.left+p.width+8, "end"
		}
		s.put(`<line class="mark" x1="%s" x2="%s" y1="%s" y2="%s"/>`, px(p.x(x, t.value)), px(p.x(x, t.value)), px(bottom), px(bottom+4))
		s.put(`<text class="tick" x="%s" y="%s" text-anchor="%s">%s</text>`, px(at), px(bottom+17), anchor, esc(t.label))
	}
	s.put(`<line class="base" x1="%s" x2="%s" y1="%s" y2="%s"/>`, px(p.left), px(p.left+p.width), px(bottom), px(bottom))
	s.put(`<text class="axis" x="%s" y="%s" text-anchor="middle">%s</text>`, px(p.left+p.width/2), px(bottom+34), esc(x.label))
}

func (c *lineChart) path(s *svg, p *plot, l line) {
	if len(l.points) == 0 {
		return
	}
	var d strings.Builder
	command := "M"
	for _, pt := range l.points {
		d.WriteString(command + px(p.x(&c.x, pt.x)) + " " + px(p.y(&c.y, pt.y)))
		command = "L"
	}
	class := "curve " + l.class
	if l.dashed {
		class += " dashed"
	}
	if l.faint {
		class += " faint"
	}
	s.put(`<path class="%s" d="%s"/>`, class, d.String())
	if !l.faint && c.labels {
		end := l.points[len(l.points)-1]
		s.put(`<circle class="dot %s" cx="%s" cy="%s" r="3.2"/>`, l.class, px(p.x(&c.x, end.x)), px(p.y(&c.y, end.y)))
	}
}

// readings are invisible bands, each with the values of all curves in it.
func (c *lineChart) readings(s *svg, p *plot) {
	n := max(c.bands, 1)
	for i := range n {
		share := (float64(i) + 0.5) / float64(n)
		value := c.valueAt(share)
		lines := []string{tipLine("", c.formatX(value), "")}
		for _, l := range c.lines {
			if y, ok := l.near(value, c.x.warp, &c.x, 1.5/float64(n)); ok && !l.faint {
				lines = append(lines, tipLine(l.class, l.label, c.formatY(y)))
			}
		}
		if len(lines) == 1 {
			continue
		}
		left, width := p.left+p.width*float64(i)/float64(n), p.width/float64(n)
		s.put(`<g class="band" data-tip="%s"><rect class="hit" x="%s" y="%s" width="%s" height="%s"/><line x1="%s" x2="%s" y1="%s" y2="%s"/></g>`,
			tip(lines...), px(left), px(p.top), px(width), px(p.height),
			px(left+width/2), px(left+width/2), px(p.top), px(p.top+p.height))
	}
}

// valueAt turns a share of the x axis back into a value, by bisection: the
// warps rise, and their inverses are then not needed.
func (c *lineChart) valueAt(share float64) float64 {
	lo, hi := c.x.lo, c.x.hi
	for range 40 {
		middle := (lo + hi) / 2
		if c.x.at(middle) < share {
			lo = middle
		} else {
			hi = middle
		}
	}
	return (lo + hi) / 2
}

// near is the curve's value at x, between its points; beyond its ends it has
// one only within a little of the axis.
func (l *line) near(x float64, warp func(float64) float64, a *axis, slack float64) (float64, bool) {
	if len(l.points) == 0 {
		return 0, false
	}
	first, last := l.points[0], l.points[len(l.points)-1]
	switch {
	case x <= first.x:
		return first.y, a.at(first.x)-a.at(x) <= slack
	case x >= last.x:
		return last.y, a.at(x)-a.at(last.x) <= slack
	}
	i, _ := slices.BinarySearchFunc(l.points, x, func(p xy, x float64) int {
		switch {
		case p.x < x:
			return -1
		case p.x > x:
			return 1
		}
		return 0
	})
	before, after := l.points[i-1], l.points[i]
	span := warp(after.x) - warp(before.x)
	if span <= 0 {
		return after.y, true
	}
	share := (warp(x) - warp(before.x)) / span
	if before.y > 0 && after.y > 0 && after.y/before.y > 3 {
		return before.y * math.Pow(after.y/before.y, share), true
	}
	return before.y + (after.y-before.y)*share, true
}
