package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"freshet/bench"
)

// describe says how a run was made, for its readers to judge and repeat.
func describe(r *bench.Report, files []string) Run {
	e := r.Environment
	run := Run{Label: short(e.Commit), Started: r.Started, Seconds: r.Seconds, Repetitions: r.Repetitions,
		Ack: r.Broker.Ack, ReadyMs: r.Broker.ReadyMs, IdleRSS: r.Broker.IdleRSSBytes, Environment: e, Files: files}
	fact := func(name, format string, args ...any) {
		if text := strings.TrimSpace(fmt.Sprintf(format, args...)); text != "" && text != "unknown" {
			run.Facts = append(run.Facts, Fact{name, text})
		}
	}
	fact("Commit", "%s", e.Commit)
	fact("Version", "%s", e.Version)
	fact("Go", "%s", e.GoVersion)
	fact("Kernel", "%s", e.Kernel)
	fact("CPU", "%s", e.CPUModel)
	if e.CPUs > 0 {
		fact("Cores", "%d, shared by broker and clients", e.CPUs)
	}
	if e.MemBytes > 0 {
		fact("Memory", "%.1f GiB", float64(e.MemBytes)/(1<<30))
	}
	fact("File system", "%s %s", e.FileSystem, e.Device)
	if r.Broker.Address != "" {
		fact("Broker", "%s", brokerName(r))
	}
	fact("Offers the APIs of Kafka", "%s", r.Broker.VersionGuess)
	if r.Broker.ReadyMs > 0 {
		fact("Ready after", "%.0f ms", r.Broker.ReadyMs)
	}
	fact("Started", "%s", r.Started.UTC().Format("2 January 2006, 15:04:05 UTC"))
	fact("Took", "%.0f s", r.Seconds)
	if r.Repetitions > 0 {
		fact("Repetitions", "%d, medians shown", r.Repetitions)
	}
	run.Blocks = blocks(r)
	return run
}

// short is a commit as people write it.
func short(commit string) string {
	if commit == "" {
		return "unknown"
	}
	dirty := strings.HasSuffix(commit, "+")
	commit = strings.TrimSuffix(commit, "+")
	if len(commit) > 9 && commit != "unknown" {
		commit = commit[:9]
	}
	if dirty {
		commit += "+"
	}
	return commit
}

// blocks are the commands and configurations of a run.
func blocks(r *bench.Report) []Block {
	var out []Block
	if len(r.Environment.Command) > 0 {
		lines := ""
		if commit := strings.TrimSuffix(r.Environment.Commit, "+"); commit != "" && commit != "unknown" {
			lines = "git checkout " + commit + "\nmake build\n"
		}
		out = append(out, Block{"Run it again", lines + shellLine(r.Environment.Command)})
	}
	if len(r.Broker.Command) > 0 {
		out = append(out, Block{"The broker, as it was started", shellLine(r.Broker.Command)})
	}
	for _, row := range r.Rows {
		if row.Config == nil {
			continue
		}
		if text, err := json.MarshalIndent(row.Config, "", "  "); err == nil {
			out = append(out, Block{"Row " + row.Name, string(text)})
		}
	}
	return out
}

// shellLine quotes words for a POSIX shell and breaks the line before flags.
func shellLine(words []string) string {
	var b strings.Builder
	for i, word := range words {
		switch {
		case i == 0:
		case len(words) > 6 && strings.HasPrefix(word, "-"):
			b.WriteString(" \\\n  ")
		default:
			b.WriteByte(' ')
		}
		b.WriteString(quoted(word))
	}
	return b.String()
}

func quoted(word string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !safe(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Combine puts several runs side by side: their systems are told apart by the
// run's commit, or by its number where commits are the same.
func Combine(documents ...*Document) *Document {
	if len(documents) == 1 {
		return documents[0]
	}
	out := &Document{Title: fmt.Sprintf("%d benchmark runs side by side", len(documents))}
	count := make(map[string]int)
	for _, d := range documents {
		for _, run := range d.Runs {
			count[run.Label]++
		}
	}
	for i, d := range documents {
		label := fmt.Sprintf("run %d", i+1)
		if len(d.Runs) == 1 && count[d.Runs[0].Label] == 1 {
			label = d.Runs[0].Label
		}
		for _, run := range d.Runs {
			run.Label = label
			out.Runs = append(out.Runs, run)
		}
		for _, s := range d.Series {
			s.System += " · " + label
			out.Series = append(out.Series, s)
		}
		for _, f := range d.Flames {
			f.Run = label
			out.Flames = append(out.Flames, f)
		}
		for _, f := range d.FlameLinks {
			f.Title = label + " · " + f.Title
			out.FlameLinks = append(out.FlameLinks, f)
		}
		for _, f := range d.Failovers {
			f.System += " · " + label
			out.Failovers = append(out.Failovers, f)
		}
		for _, c := range d.Checks {
			c.Title += " · " + label
			out.Checks = append(out.Checks, c)
		}
		for _, p := range d.Process {
			p.System += " · " + label
			out.Process = append(out.Process, p)
		}
		for _, note := range d.Notes {
			out.Notes = append(out.Notes, label+": "+note)
		}
	}
	return out
}
