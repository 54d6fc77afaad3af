package jopt

import (
	"fmt"
	"io"
	"sort"
	"strings"
)

// helpColumn is the width of each of the two columns of help text, so that the
// whole fits a terminal of 80.
const helpColumn = 39

// WriteHelp prints the options in two columns, sorted by name.
func (p *Parser) WriteHelp(w io.Writer) error {
	names := make([]string, 0, len(p.options))
	for name := range p.options {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	left, right := "Option", "Description"
	fmt.Fprintf(&b, "%-*s  %s\n", helpColumn, left, right)
	fmt.Fprintf(&b, "%-*s  %s\n", helpColumn, strings.Repeat("-", len(left)), strings.Repeat("-", len(right)))
	for _, name := range names {
		o := p.options[name]
		writeColumns(&b, wrap(o.usage(), helpColumn), wrap(o.description(), helpColumn))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *Option) usage() string {
	arg := string(o.Kind)
	if o.ArgName != "" {
		arg += ": " + o.ArgName
	}
	switch o.Arity {
	case Required:
		return "--" + o.Name + " <" + arg + ">"
	case Optional:
		return "--" + o.Name + " [" + arg + "]"
	}
	return "--" + o.Name
}

func (o *Option) description() string {
	text := o.Help
	if o.Required {
		text = "REQUIRED: " + text
	}
	if o.Default != "" {
		text += " (default: " + o.Default + ")"
	}
	return text
}

func writeColumns(b *strings.Builder, left, right []string) {
	for i := 0; i < len(left) || i < len(right); i++ {
		l, r := "", ""
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-*s  %s", helpColumn, l, r), " "))
		b.WriteByte('\n')
	}
}

// wrap breaks text at spaces into lines of at most width bytes; lines after
// the first are indented by two, as are lines that the text itself breaks.
func wrap(text string, width int) []string {
	var lines []string
	for _, para := range strings.Split(text, "\n") {
		line := ""
		for _, word := range strings.Fields(para) {
			switch {
			case line == "" && len(lines) == 0:
				line = word
			case line == "":
				line = "  " + word
			case len(line)+1+len(word) <= width:
				line += " " + word
			default:
				lines = append(lines, line)
				line = "  " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}
