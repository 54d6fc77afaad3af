package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"freshet/bench/flame"
)

// How many functions the notes list.
const (
	notesTop     = 15
	notesChanges = 12
)

// writeNotes writes notes.md: what a reader needs to take the same profile
// again and to know what it shows.
func (w *profileWriter) writeNotes(out io.Writer) error {
	var b strings.Builder
	r, env := w.run, &w.run.Environment
	fmt.Fprintf(&b, "# %s, %s\n\n", r.Workload, r.Taken.Format(time.DateOnly))
	if r.Title != "" {
		fmt.Fprintf(&b, "%s.\n\n", capital(r.Title))
	}
	b.WriteString("| | |\n|---|---|\n")
	line := func(what, value string) {
		if value != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", what, strings.ReplaceAll(value, "|", "\\|"))
		}
	}
	line("command", code(strings.Join(env.Command, " ")))
	line("commit", code(env.Commit))
	line("kernel", env.Kernel)
	line("machine", fmt.Sprintf("%d × %s, %.1f GB", env.CPUs, env.CPUModel, float64(env.MemBytes)/bytesPerGB))
	line("Go", env.GoVersion)
	line("file system", env.FileSystem)
	line("broker", code(strings.Join(r.BrokerCommand, " ")))
	line("acknowledgement", r.Ack)
	if r.Config != nil {
		if data, err := json.Marshal(r.Config); err == nil {
			line("workload", code(string(data)))
		}
	}
	line("measured", w.measured())
	b.WriteString("\nThe figures are those of the profiled runs, so profiling is part of them.\n")
	w.notePrevious(&b)
	w.noteFunctions(&b)
	b.WriteString("\n## Files\n\n")
	for _, f := range w.files {
		fmt.Fprintf(&b, "- `%s`: %s\n", f.name, f.what)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// measured is a line of figures.
func (w *profileWriter) measured() string {
	r := w.run
	var parts []string
	if r.Runs > 0 {
		parts = append(parts, fmt.Sprintf("%d runs, %.2f s in all", r.Runs, r.Seconds))
	}
	if r.Records > 0 {
		parts = append(parts, fmt.Sprintf("%.0f records/s", over(float64(r.Records), r.Seconds)))
	}
	if r.LogBytes > 0 && r.CPUSeconds > 0 {
		parts = append(parts, fmt.Sprintf("%.3f broker CPU s/GB", r.CPUSeconds/(float64(r.LogBytes)/bytesPerGB)))
	}
	return strings.Join(parts, ", ")
}

// notePrevious says what has changed since the profiles compared with.
func (w *profileWriter) notePrevious(b *strings.Builder) {
	b.WriteString("\n## Changes since the previous profiles\n\n")
	if w.base == nil {
		b.WriteString("No previous profiles were compared with.\n")
		return
	}
	fmt.Fprintf(b, "Compared with `%s`.\n\n", w.baseName)
	list := differences(w.baseRun, w.run)
	for _, difference := range list {
		fmt.Fprintf(b, "- %s\n", difference)
	}
	if len(list) == 0 {
		b.WriteString("- commit, machine and settings are the same\n")
	}
	before, after := w.baseRun, w.run
	if before.LogBytes > 0 && after.LogBytes > 0 && before.CPUSeconds > 0 && after.CPUSeconds > 0 {
		x, y := before.CPUSeconds/float64(before.LogBytes)*bytesPerGB, after.CPUSeconds/float64(after.LogBytes)*bytesPerGB
		fmt.Fprintf(b, "- broker CPU: %.3f → %.3f s/GB (%+.1f %%); two invocations, so the machine's mood is part of it\n", x, y, (y/x-1)*100)
	}
	kind := w.leadingKind()
	stacks, err1 := w.set.Stacks(kind)
	old, err2 := w.base.Stacks(kind)
	if err1 != nil || err2 != nil || stacks == nil || old == nil {
		return
	}
	fmt.Fprintf(b, "\nLargest changes of a function's own share (%s):\n\n| function | before | after | points |\n|---|---:|---:|---:|\n", TitleOf(kind))
	for i, c := range flame.Changes(old, stacks) {
		if i == notesChanges {
			break
		}
		fmt.Fprintf(b, "| `%s` | %.1f %% | %.1f %% | %+.1f |\n", c.Name, c.Before*100, c.After*100, (c.After-c.Before)*100)
	}
}

// leadingKind is the profile that tells most: with the kernel's frames if
// there is one.
func (w *profileWriter) leadingKind() ProfileKind {
	if w.set.Perf != nil && (w.base == nil || w.base.Perf != nil) {
		return ProfilePerf
	}
	return ProfileCPU
}

func (w *profileWriter) noteFunctions(b *strings.Builder) {
	kind := w.leadingKind()
	stacks, err := w.set.Stacks(kind)
	if err != nil || stacks == nil || stacks.Total() == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Where the time goes (%s)\n\n| function | own share | with callees |\n|---|---:|---:|\n", TitleOf(kind))
	total := float64(stacks.Total())
	for i, f := range stacks.Top() {
		if i == notesTop {
			break
		}
		fmt.Fprintf(b, "| `%s` | %.1f %% | %.1f %% |\n", f.Name, float64(f.Self)/total*100, float64(f.Total)/total*100)
	}
	if p := w.set.PProf[ProfileCPU]; p != nil {
		b.WriteString("\nCPU time by pprof label:")
		for i, l := range LabelShares(p, len(p.SampleType)-1) {
			if i > 0 {
				b.WriteString(",")
			}
			label := code(l.Label)
			if l.Label == "" {
				label = "none"
			}
			fmt.Fprintf(b, " %s %.1f %%", label, l.Share*100)
		}
		b.WriteString(".\n")
	}
}
