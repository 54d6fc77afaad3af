package report

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed page.gohtml
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

// FileName is the page's name in a run's directory.
const FileName = "report.html"

var page = template.Must(template.New("page").Funcs(template.FuncMap{"base": path.Base}).Parse(pageText))

// pageRun is a Run with its blocks sorted by what they are.
type pageRun struct {
	Run
	Commands, Configs []Block
}

// view is what the template is given.
type view struct {
	Title, Commit string
	Style         template.CSS
	Script        template.JS
	Headline      []string
	Acks          []Fact
	Notes         []string
	Tiles         []tile
	TilesOf       string // the run that they are of, when there are several
	Sections      []section
	Flames        []Flame
	FlameLinks    []Flame
	Heads         []string
	Table         []tableRow
	Runs          []pageRun
	Rules         []Fact
}

// rules are METHOD.md's, in short.
var rules = []Fact{
	{"Order", "The runs of broker and floor alternate, and who goes first changes with each repetition and row."},
	{"Equal memory", "Right before every measured part a file of the run's size is written on the same file system, again while that costs more " +
		"than at best, and its pages are set free as the run's log grows; each topic is deleted after its run. On a virtual machine whoever " +
		"touches memory that the host took back pays for all."},
	{"Nothing is left out", "Every repetition counts; intervals and ranges are shown, and rows whose repetitions differ widely are named."},
	{"A fresh topic each", "with a warm-up on the same connections that is not counted."},
	{"Nothing is trusted", "Every answer is checked for order, error and offset; every partition is read back with every CRC, and " +
		"consumers compare count and checksum. Any difference fails the run."},
	{"Latency and throughput are separate runs", "An open loop's schedule is fixed before it starts, and a latency counts from when " +
		"the record was due, so no stall hides (no coordinated omission)."},
	{"Histograms are merged", "with three significant digits from 1 ns to an hour; percentiles are never averaged and nothing is clamped."},
	{"CPU time is the server's", "user and system, all threads and io_uring's kernel workers, from its process clock. The generator's own is kept apart."},
	{"One machine", "Broker and clients share its cores. Compare figures of one run, not of two machines."},
}

// Render writes the page.
func Render(w io.Writer, d *Document) error {
	sections, left := d.sections(), pageBudget-pageRest
	for _, s := range sections {
		for _, p := range s.Panels {
			left -= len(p.Chart) + len(p.Narrow)
		}
	}
	limitFlames(d.Flames, left)
	v := view{
		Title: d.Title, Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Notes: d.Notes, Tiles: d.tiles(), Sections: sections, Flames: d.Flames, FlameLinks: d.FlameLinks,
		Rules: rules,
	}
	v.Heads, v.Table = d.table()
	for _, run := range d.Runs {
		pr := pageRun{Run: run}
		for _, b := range run.Blocks {
			if strings.HasPrefix(b.Title, "Row ") {
				pr.Configs = append(pr.Configs, b)
			} else {
				pr.Commands = append(pr.Commands, b)
			}
		}
		v.Runs = append(v.Runs, pr)
	}
	v.Headline, v.Acks = d.headline()
	if len(d.Runs) == 1 {
		v.Commit = d.Runs[0].Label
	} else if len(d.Runs) > 1 {
		v.TilesOf = d.Runs[0].Label
	}
	out := bufio.NewWriter(w)
	if err := page.Execute(out, v); err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return out.Flush()
}

// headline is the line under the title, and what acknowledgements meant: once
// if it was the same everywhere.
func (d *Document) headline() (line []string, acks []Fact) {
	add := func(format string, args ...any) {
		if text := strings.TrimSpace(fmt.Sprintf(format, args...)); text != "" && text != "unknown" {
			line = append(line, text)
		}
	}
	for _, run := range d.Runs {
		if run.Started.IsZero() {
			add("%s", run.Label)
		} else if len(d.Runs) == 1 {
			add("%s", run.Started.UTC().Format("2 January 2006"))
			if run.Label != "unknown" {
				add("commit %s", run.Label)
			}
		} else {
			add("%s: %s", run.Label, run.Started.UTC().Format("2 Jan 2006, 15:04"))
		}
	}
	if len(d.Runs) > 0 {
		e := d.Runs[0].Environment
		if e.CPUs > 0 {
			add("%s, %d cores", e.CPUModel, e.CPUs)
		}
		if e.Kernel != "" {
			add("Linux %s", strings.Fields(e.Kernel + " ")[0])
		}
		add("%s", e.FileSystem)
		if n := d.Runs[0].Repetitions; n > 0 {
			add("medians of %d", n)
		}
	}
	said := make(map[string]bool)
	name := func(who, what string) {
		if what != "" && !said[who+what] {
			said[who+what] = true
			acks = append(acks, Fact{who, what})
		}
	}
	for _, run := range d.Runs {
		name(run.Label, run.Ack)
	}
	for _, s := range d.Series {
		if s.Role == RoleRival {
			name(s.System, s.Ack)
		}
	}
	same := true
	for _, a := range acks {
		same = same && a.Value == acks[0].Value
	}
	if same && len(acks) > 0 {
		acks = []Fact{{"", acks[0].Value}}
	}
	return line, acks
}

// Relocate makes the document's links lead from a page elsewhere to the run's
// directory.
func (d *Document) Relocate(prefix string) {
	if prefix == "" || prefix == "." {
		return
	}
	for i := range d.Flames {
		d.Flames[i].Path = path.Join(prefix, d.Flames[i].Path)
	}
	for i := range d.FlameLinks {
		d.FlameLinks[i].Path = path.Join(prefix, d.FlameLinks[i].Path)
	}
	for i := range d.Runs {
		for j, file := range d.Runs[i].Files {
			d.Runs[i].Files[j] = path.Join(prefix, file)
		}
	}
}

// WriteFile renders the runs of directories, or of OpenMessaging Benchmark
// results, side by side into a page at out, "" for report.html in the first of
// them or beside the first file, and returns its path. A page that is
// there is replaced once the new one is whole.
func WriteFile(out string, dirs ...string) (string, error) {
	if len(dirs) == 0 {
		return "", errors.New("no directory of a run is given")
	}
	if out == "" {
		out = filepath.Join(dirs[0], FileName)
		if info, err := os.Stat(dirs[0]); err == nil && !info.IsDir() {
			out = strings.TrimSuffix(dirs[0], filepath.Ext(dirs[0])) + ".html"
		}
	}
	var documents []*Document
	for _, dir := range dirs {
		d, err := Load(dir)
		if err != nil {
			return "", err
		}
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			dir = filepath.Dir(dir)
		}
		d.Relocate(linkTo(filepath.Dir(out), dir))
		documents = append(documents, d)
	}
	f, err := os.CreateTemp(filepath.Dir(out), ".report-*.html")
	if err != nil {
		return "", fmt.Errorf("cannot create the report: %w", err)
	}
	defer os.Remove(f.Name())
	err = errors.Join(Render(f, Combine(documents...)), f.Chmod(0o644), f.Close())
	if err != nil {
		return "", fmt.Errorf("cannot write %s: %w", out, err)
	}
	if err := os.Rename(f.Name(), out); err != nil {
		return "", fmt.Errorf("cannot write the report: %w", err)
	}
	return out, nil
}

// linkTo is the way from one directory to another as a link, "" if there is
// none.
func linkTo(from, to string) string {
	absFrom, errFrom := filepath.Abs(from)
	absTo, errTo := filepath.Abs(to)
	if errFrom != nil || errTo != nil {
		return ""
	}
	rel, err := filepath.Rel(absFrom, absTo)
	if err != nil {
		return ""
	}
	return filepath.ToSlash(rel)
}
