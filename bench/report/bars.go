package report

import "unicode/utf8"

// Widths of every panel in its own units; the page scales it to its column.
const (
	panelWidth = 480.0
	panelLeft  = 62.0 // room for the labels of a vertical axis
	panelRight = 14.0
)

// part is one piece of a stacked bar.
type part struct {
	value float64
	class string
}

// bar is one horizontal bar.
type bar struct {
	label string
	class string
	// parts add up to value; a bar without parts is one piece of its class.
	value     float64
	parts     []part
	low, high float64 // the interval, drawn when it is wider than a line
	text      string  // printed behind the bar
	note      string  // printed after the text, less loud
	verdict   string  // ✓ or ✗ before the note, "" for none
	target    float64 // a mark that the bar should stay below, 0 for none
	tip       string
}

// reference is a line across all bars.
type reference struct {
	value float64
	label string
}

// barChart is a panel of horizontal bars from zero. Bars beyond limit, if it is
// set, are cut there with a mark.
type barChart struct {
	name       string
	bars       []bar
	references []reference
	limit      float64
	// above puts the names over the bars, for narrow screens.
	above bool
}

const (
	barPitch     = 32.0
	barHeight    = 16.0
	barTextRoom  = 118.0
	barLabelRoom = 112.0
)

// scale is the value at the right end of the bars.
func (c *barChart) scale() float64 {
	top := 0.0
	for _, b := range c.bars {
		top = max(top, b.value, b.high, b.target)
	}
	for _, r := range c.references {
		top = max(top, r.value)
	}
	if c.limit > 0 {
		top = min(top, c.limit)
	}
	if top <= 0 {
		top = 1
	}
	return top
}

// draw returns the panel. labelRoom is the width of the names' column.
func (c *barChart) draw(width, labelRoom float64) string {
	top := 4.0
	if len(c.references) > 0 {
		top = 22
	}
	pitch := barPitch
	if c.above {
		pitch, labelRoom = barPitch+18, 2
	}
	height := top + pitch*float64(len(c.bars)) + 2
	s := begin(width, height, c.name)
	room := barTextRoom * width / panelWidth
	if c.above {
		room += 40
	}
	full := width - labelRoom - room
	scale := c.scale()
	x := func(v float64) float64 { return labelRoom + full*min(max(v, 0)/scale, 1) }
	for _, r := range c.references {
		at := px(x(r.value))
		s.put(`<line class="ref" x1="%s" x2="%s" y1="%s" y2="%s"/>`, at, at, px(top-4), px(height))
		s.put(`<text class="reflabel" x="%s" y="%s" text-anchor="middle">%s</text>`, at, px(top-9), esc(r.label))
	}
	for i, b := range c.bars {
		y := top + pitch*float64(i)
		s.put(`<g class="bar" data-tip="%s">`, b.tip)
		s.put(`<rect class="hit" x="0" y="%s" width="%s" height="%s"/>`, px(y), px(width), px(pitch))
		if c.above {
			s.put(`<text class="name" x="%s" y="%s">%s</text>`, px(labelRoom), px(y+17), esc(b.label))
		} else {
			s.put(`<text class="name" x="%s" y="%s" text-anchor="end" dy=".35em">%s</text>`, px(labelRoom-10), px(y+pitch/2), esc(b.label))
		}
		b.draw(s, y+pitch-barPitch/2, x, c.limit > 0 && b.value > scale)
	}
	return s.end()
}

// textWidth is about what text takes, in the units of a panel.
func textWidth(text string, each float64) float64 {
	return float64(utf8.RuneCountInString(text)) * each
}

// draw adds the bar around a height and closes its group.
func (b *bar) draw(s *svg, middle float64, x func(float64) float64, cut bool) {
	parts := b.parts
	if len(parts) == 0 {
		parts = []part{{b.value, ""}}
	}
	sum, end := 0.0, x(0)
	for _, p := range parts {
		from := x(sum)
		sum += p.value
		end = x(sum)
		s.put(`<rect class="fill %s %s" x="%s" y="%s" width="%s" height="%s" rx="2"/>`,
			b.class, p.class, px(from), px(middle-barHeight/2), px(max(end-from, 1)), px(barHeight))
	}
	if cut {
		s.put(`<path class="cut" d="M%s %sl-5 %sl5 %sl-5 %s"/>`, px(end-4), px(middle-barHeight/2-1), px(barHeight/3), px(barHeight/3), px(barHeight/3+2))
	} else if x(b.high)-x(b.low) > 2 {
		s.put(`<path class="whisker" d="M%s %sH%sM%s %sv8M%s %sv8"/>`, px(x(b.low)), px(middle), px(x(b.high)),
			px(x(b.low)), px(middle-4), px(x(b.high)), px(middle-4))
		end = max(end, x(b.high))
	}
	if b.target > 0 {
		at := x(b.target)
		s.put(`<path class="target" d="M%s %sv%s"/>`, px(at), px(middle-barHeight/2-4), px(barHeight+8))
		if room := textWidth(b.text, 7.6) + textWidth(b.note, 6.4) + 40; at-end < room {
			end = max(end, at)
		}
	}
	s.put(`<text class="value" x="%s" y="%s" dy=".35em">%s`, px(end+8), px(middle), esc(b.text))
	if b.verdict != "" {
		s.put(`<tspan class="%s" dx="7">%s</tspan>`, map[string]string{"✓": "met", "✗": "missed"}[b.verdict], b.verdict)
	}
	s.put(`<tspan class="note" dx="5">%s</tspan></text></g>`, esc(b.note))
}
