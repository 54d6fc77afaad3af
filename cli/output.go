package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// outputFlag is the -o flag of commands that list things.
type outputFlag struct{ format string }

func (o *outputFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", "table", "output format: table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(
		[]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

// write prints t in the chosen format.
func (o *outputFlag) write(w io.Writer, t *table) error {
	return o.writeAs(w, t, t.objects())
}

// writeAs prints t, or, in JSON, the value v that says the same.
func (o *outputFlag) writeAs(w io.Writer, t *table, v any) error {
	switch o.format {
	case "table":
		_, err := io.WriteString(w, t.String())
		return err
	case "json":
		return writeJSON(w, v)
	}
	return failf("unknown output format %q: use table or json", o.format)
}

// writeJSON prints v indented, without escaping the characters HTML minds.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("cannot encode the answer as JSON: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// table is rows under headings; the headings in lower case are the JSON keys.
type table struct {
	heads []string
	rows  [][]any
}

func newTable(heads ...string) *table { return &table{heads: heads} }

func (t *table) add(cells ...any) { t.rows = append(t.rows, cells) }

// String aligns the columns with two spaces between them.
func (t *table) String() string {
	widths := make([]int, len(t.heads))
	lines := make([][]string, 0, len(t.rows)+1)
	lines = append(lines, t.heads)
	for _, row := range t.rows {
		line := make([]string, len(row))
		for i, cell := range row {
			line[i] = cellText(cell)
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func cellText(cell any) string {
	switch v := cell.(type) {
	case nil:
		return "-"
	case string:
		return v
	case []int32:
		return joinInts(v, ",")
	}
	return fmt.Sprint(cell)
}

// objects returns the rows as JSON objects.
func (t *table) objects() []map[string]any {
	list := make([]map[string]any, 0, len(t.rows))
	for _, row := range t.rows {
		o := make(map[string]any, len(row))
		for i, cell := range row {
			o[strings.ToLower(strings.ReplaceAll(t.heads[i], "-", "_"))] = cell
		}
		list = append(list, o)
	}
	return list
}

func joinInts(list []int32, sep string) string {
	var b strings.Builder
	for i, n := range list {
		if i > 0 {
			b.WriteString(sep)
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}
