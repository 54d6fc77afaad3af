package flame

import (
	"bufio"
	_ "embed"
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

//go:embed flame.js
var script string

//go:embed flame.css
var styleSheet string

// Options are what a graph says about itself.
type Options struct {
	// Title and Subtitle stand above the graph; the subtitle names commit,
	// workload and the like. Both may be empty.
	Title, Subtitle string
	// MinWidth is the least share of the profile, 0 to 1, that a frame must
	// have to be drawn; 0 takes a fifth of a pixel.
	MinWidth float64
}

// The drawing's measures, in pixels.
const (
	imageWidth   = 1200
	margin       = 20
	graphWidth   = imageWidth - 2*margin
	headHeight   = 118
	footHeight   = 40
	frameHeight  = 19
	fontSize     = 11.5
	charWidth    = fontSize * 0.602 // of a monospaced font
	textInset    = 4
	leastWidthPx = 0.2
)

// WriteSVG draws the flame graph of a profile.
func WriteSVG(w io.Writer, s *Stacks, opts Options) error {
	return write(w, s, nil, opts)
}

// WriteDiffSVG draws after as a flame graph whose colours say how each frame's
// share has changed since before. A frame that only before has is not drawn:
// Changes lists it.
func WriteDiffSVG(w io.Writer, before, after *Stacks, opts Options) error {
	if before.Unit != after.Unit {
		return fmt.Errorf("cannot compare a profile in %s with one in %s", before.Unit, after.Unit)
	}
	return write(w, after, before, opts)
}

// drawing is one SVG being written.
type drawing struct {
	*bufio.Writer
	stacks, before *Stacks // before is nil in a plain graph
	root           *frame
	boxes          []box
	graphTop       float64
	height         float64
}

func write(w io.Writer, s, before *Stacks, opts Options) error {
	if opts.MinWidth == 0 {
		opts.MinWidth = leastWidthPx / graphWidth
	}
	d := &drawing{Writer: bufio.NewWriter(w), stacks: s, before: before, root: buildTree(s, before)}
	var levels int
	d.boxes, levels = layout(d.root, opts.MinWidth)
	d.graphTop = headHeight
	d.height = headHeight + float64(max(levels, 1))*frameHeight + footHeight
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" class="flame" viewBox="0 0 %d %s" width="%d" height="%s" role="img" data-total="%d" data-unit="%s">`+"\n",
		imageWidth, number(d.height), imageWidth, number(d.height), d.root.total, html.EscapeString(s.Unit))
	fmt.Fprintf(d, "<style>%s</style>\n", styleSheet)
	fmt.Fprintf(d, `<rect class="paper" width="%d" height="%s"/>`+"\n", imageWidth, number(d.height))
	d.head(opts)
	d.legend()
	d.frames()
	d.foot()
	fmt.Fprintf(d, "<script><![CDATA[\n%s]]></script>\n</svg>\n", script)
	return d.Flush()
}

// head writes titles and controls.
func (d *drawing) head(opts Options) {
	title := opts.Title
	if title == "" {
		title = "Flame graph"
	}
	const titleChars, subtitleChars = 72, 136
	fmt.Fprintf(d, `<text class="title" x="%d" y="38">%s</text>`+"\n", margin, html.EscapeString(clip(title, titleChars)))
	fmt.Fprintf(d, `<text class="subtitle" x="%d" y="58">%s</text>`+"\n", margin, html.EscapeString(clip(d.subtitle(opts.Subtitle), subtitleChars)))
	fmt.Fprintf(d, `<g class="controls"><g class="reset" hidden="hidden"><rect x="%d" y="20" width="92" height="26" rx="6"/><text x="%d" y="37">reset zoom</text></g>`,
		imageWidth-margin-330, imageWidth-margin-330+46)
	fmt.Fprintf(d, `<foreignObject x="%d" y="20" width="228" height="26"><input xmlns="http://www.w3.org/1999/xhtml" class="search" type="text" placeholder="search (regular expression)" aria-label="search"/></foreignObject>`,
		imageWidth-margin-228)
	fmt.Fprintf(d, `<text class="matched" x="%d" y="61"></text></g>`+"\n", imageWidth-margin)
}

// subtitle adds what was measured to the caller's words.
func (d *drawing) subtitle(words string) string {
	measured := d.stacks.Type + " " + FormatValue(d.root.total, d.stacks.Unit)
	if d.before != nil {
		measured += ", before " + FormatValue(d.root.before, d.before.Unit)
	}
	if words == "" {
		return measured
	}
	return measured + "  ·  " + words
}

// legend explains the colours.
func (d *drawing) legend() {
	const y = 88
	if d.before != nil {
		d.changeLegend(y)
		return
	}
	shares := layerShares(d.stacks)
	x := float64(margin)
	for _, c := range layerColours {
		if shares[c.layer] == 0 && !d.draws(c.layer) {
			continue
		}
		label := fmt.Sprintf("%s %s", c.layer, percent(shares[c.layer]))
		width := 16 + float64(utf8.RuneCountInString(label))*charWidth + 8
		fmt.Fprintf(d, `<g class="key" data-layer="%s"><rect class="hit" x="%s" y="%d" width="%s" height="22"/>`+
			`<rect x="%s" y="%d" width="11" height="11" rx="3" fill="%s"/><text x="%s" y="%d">%s</text></g>`+"\n",
			c.layer, number(x-3), y-11, number(width), number(x), y-6, hexColour(c.hue, c.saturation, c.luminosity), number(x+16), y+4, label)
		x += width + 4
	}
}

// draws reports whether a frame of the layer is drawn.
func (d *drawing) draws(layer Layer) bool {
	for _, b := range d.boxes[min(1, len(d.boxes)):] {
		if LayerOf(b.name) == layer {
			return true
		}
	}
	return false
}

func (d *drawing) changeLegend(y float64) {
	points := []float64{-0.10, -0.05, -0.02, -0.01, -0.005, 0, 0.005, 0.01, 0.02, 0.05, 0.10}
	const width = 46
	fmt.Fprintf(d, `<text class="caption" x="%d" y="%s">change of a frame's share, in percentage points</text>`+"\n", margin, number(y+5))
	left := float64(margin) + 360
	for i, change := range points {
		label := strconv.FormatFloat(change*100, 'f', -1, 64)
		if change > 0 {
			label = "+" + label
		}
		label = strings.Replace(label, "-", "−", 1)
		fmt.Fprintf(d, `<rect x="%s" y="%s" width="%d" height="20" fill="%s"/><text class="step" x="%s" y="%s">%s</text>`+"\n",
			number(left+float64(i)*width), number(y-9), width, changeColour(0, change), number(left+(float64(i)+0.5)*width), number(y+5), label)
	}
}

// frames writes one group a box. The script reads places from the rectangles
// and the figures from the titles.
func (d *drawing) frames() {
	d.WriteString(`<g class="frames">` + "\n")
	bottom := d.height - footHeight
	for _, b := range d.boxes {
		x, y := margin+b.left*graphWidth, bottom-float64(b.level+1)*frameHeight
		width := b.width * graphWidth
		fill, layer := d.fill(b)
		fmt.Fprintf(d, `<g class="f" data-l="%s"><title>%s</title><rect x="%s" y="%s" width="%s" height="%d" fill="%s"/>`,
			layer, html.EscapeString(d.describe(b)), number(x), number(y), number(max(width-0.6, 0.2)), frameHeight-1, fill)
		if label := clip(shortName(b.name), int((width-2*textInset)/charWidth)); label != "" {
			fmt.Fprintf(d, `<text x="%s" y="%s">%s</text>`, number(x+textInset), number(y+13), html.EscapeString(label))
		}
		d.WriteString("</g>\n")
	}
	d.WriteString("</g>\n")
	d.WriteString(`<g class="tip" hidden="hidden"><rect rx="6"/><text/></g>` + "\n")
}

func (d *drawing) fill(b box) (colour string, layer Layer) {
	if b.level == 0 {
		return "#e3e6ec", "all"
	}
	layer = LayerOf(b.name)
	if d.before != nil {
		return changeColour(share(b.before, d.root.before), share(b.total, d.root.total)), layer
	}
	return layerColour(layer, b.name), layer
}

// describe is the text of a frame's tooltip, a line a fact.
func (d *drawing) describe(b box) string {
	text := fmt.Sprintf("%s\n%s  %s", b.name, percent(b.width), FormatValue(b.total, d.stacks.Unit))
	if b.self > 0 && b.self != b.total {
		text += fmt.Sprintf("\nself %s  %s", percent(share(b.self, d.root.total)), FormatValue(b.self, d.stacks.Unit))
	}
	if d.before != nil {
		before := share(b.before, d.root.before)
		text += fmt.Sprintf("\nbefore %s, change %s points", percent(before), signed((b.width-before)*100))
	}
	return text
}

func (d *drawing) foot() {
	fmt.Fprintf(d, `<text class="foot" x="%d" y="%s">width: share of the profile · callers below, callees above · click zooms, Esc resets</text>`+"\n",
		margin, number(d.height-14))
}

// clip shortens text to a number of characters, with an ellipsis; fewer than
// three are not worth showing.
func clip(text string, chars int) string {
	if chars < 3 {
		return ""
	}
	if utf8.RuneCountInString(text) <= chars {
		return text
	}
	return string([]rune(text)[:chars-1]) + "…"
}

// number prints a coordinate with two decimals at most.
func number(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

func percent(share float64) string {
	p := share * 100
	switch {
	case p == 0 || p >= 99.95:
		return fmt.Sprintf("%.0f %%", p)
	case p < 0.1:
		return fmt.Sprintf("%.2f %%", p)
	}
	return fmt.Sprintf("%.1f %%", p)
}

func signed(points float64) string {
	return strings.Replace(fmt.Sprintf("%+.1f", points), "-", "−", 1)
}

// FormatValue prints a value of a profile in the unit a person would choose.
func FormatValue(v int64, unit string) string {
	f := float64(v)
	switch unit {
	case "nanoseconds":
		switch a := math.Abs(f); {
		case a >= 1e9:
			return fmt.Sprintf("%.2f s", f/1e9)
		case a >= 1e6:
			return fmt.Sprintf("%.1f ms", f/1e6)
		}
		return fmt.Sprintf("%.1f µs", f/1e3)
	case "bytes":
		switch a := math.Abs(f); {
		case a >= 1<<30:
			return fmt.Sprintf("%.2f GiB", f/(1<<30))
		case a >= 1<<20:
			return fmt.Sprintf("%.1f MiB", f/(1<<20))
		case a >= 1<<10:
			return fmt.Sprintf("%.1f KiB", f/(1<<10))
		}
		return fmt.Sprintf("%d B", v)
	case "count", "":
		return strconv.FormatInt(v, 10)
	}
	return fmt.Sprintf("%d %s", v, unit)
}
