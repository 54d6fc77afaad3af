package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/pprof/profile"
	"github.com/spf13/cobra"

	"freshet/bench"
	"freshet/bench/flame"
)

// newProfileCommand builds `freshet profile`.
func newProfileCommand() *cobra.Command {
	p := &profileCommand{}
	cmd := &cobra.Command{
		Use:   "profile [file.pprof]",
		Short: "Profile a running broker and draw a flame graph",
		Long: `Take a profile of a running broker, list the functions that cost most and draw a
flame graph: one SVG file that needs nothing else. The broker is asked through
its admin server (freshet.admin.listener). With a file, that profile is drawn.

Types are cpu, heap, allocs, mutex, block and goroutine. Mutex and block
profiling is switched on for the time of the profile only. Type perf runs the
perf tool on the process --pid and shows the kernel's functions too.

With --base the graph is differential: as wide as the new profile, red where a
function's share has grown since the base and blue where it has shrunk.`,
		Example: `  freshet profile --seconds 10
  freshet profile --seconds 10 --label loop=0
  freshet profile --type allocs --seconds 30 -o /tmp/allocs
  freshet profile --type perf --pid 4711
  freshet profile new.pprof --base old.pprof`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				p.file = args[0]
			}
			return p.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&p.url, "url", "http://127.0.0.1:9644", "the broker's admin server")
	flags.Float64Var(&p.seconds, "seconds", 10, "how long to look; heap and goroutine are taken at once")
	flags.StringVar(&p.kind, "type", string(bench.ProfileCPU), "what to take: "+strings.Join(kindNames(bench.ProfileKinds()), ", "))
	flags.StringVarP(&p.dir, "output-dir", "o", "", "where the files go; default profiles/<date>-<commit>-live")
	flags.StringVar(&p.base, "base", "", "older profile to compare with: a pprof file, or for perf a folded one")
	flags.StringArrayVar(&p.labels, "label", nil, "keep only samples with this pprof `key=value`, such as loop=0; may be repeated")
	flags.StringVar(&p.byLabel, "by-label", "", "put the values of this pprof label at the root, such as loop")
	flags.StringVar(&p.sampleType, "sample-type", "", "which of the profile's values to draw, such as alloc_objects")
	flags.IntVar(&p.pid, "pid", 0, "the process for type perf")
	flags.IntVar(&p.top, "top", 20, "how many functions to list")
	cmd.AddCommand(newProfileMergeCommand())
	return cmd
}

// profileCommand is one call of it.
type profileCommand struct {
	url, kind, dir, base, byLabel, sampleType, file string
	labels                                          []string
	seconds                                         float64
	pid, top                                        int
}

// taken is a profile in hand.
type taken struct {
	kind   bench.ProfileKind
	pprof  *profile.Profile // nil for perf
	stacks *flame.Stacks
	before *flame.Stacks // nil without --base
}

func (p *profileCommand) run(ctx context.Context, out io.Writer) error {
	kinds, err := parseKinds([]string{p.kind})
	if err != nil {
		return err
	}
	if !(p.seconds > 0) {
		return failf("--seconds %v: it must be above 0", p.seconds)
	}
	t := &taken{kind: kinds[0]}
	if t.kind == bench.ProfilePerf && p.file == "" {
		err = p.takePerf(ctx, t)
	} else {
		err = p.takePprof(ctx, t)
	}
	if err != nil {
		return benchError(ctx, err)
	}
	if t.stacks.Total() == 0 {
		return failf("the %s profile has no samples: nothing of the kind happened in this time", t.kind)
	}
	if p.base != "" {
		if t.before, err = p.readBase(t.kind); err != nil {
			return failf("cannot read the base: %v", err)
		}
	}
	if err := writeTop(out, t, p.top); err != nil {
		return err
	}
	files, err := p.write(t)
	if err != nil {
		return failf("cannot write the profile: %v", err)
	}
	for _, file := range files {
		fmt.Fprintln(out, file)
	}
	return nil
}

func (p *profileCommand) takePerf(ctx context.Context, t *taken) error {
	if p.pid == 0 {
		return failf("type perf looks at a process of this machine: give its --pid")
	}
	if len(p.labels) > 0 || p.byLabel != "" {
		return failf("perf knows no pprof labels: leave out --label and --by-label")
	}
	recording, err := bench.StartPerf(p.pid)
	if err != nil {
		return err
	}
	timer := time.NewTimer(p.duration())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	t.stacks, err = recording.Stop(context.WithoutCancel(ctx))
	return err
}

func (p *profileCommand) duration() time.Duration {
	return time.Duration(p.seconds * float64(time.Second))
}

func (p *profileCommand) takePprof(ctx context.Context, t *taken) (err error) {
	if p.file != "" {
		if t.pprof, err = bench.ReadProfile(p.file); err != nil {
			return err
		}
	} else {
		source, err := bench.NewProfileSource(p.url)
		if err != nil {
			return err
		}
		if t.pprof, err = source.Take(ctx, t.kind, p.duration()); err != nil {
			return err
		}
	}
	t.stacks, err = p.fold(t.pprof, t.kind)
	return err
}

// fold applies --label, --by-label and --sample-type.
func (p *profileCommand) fold(prof *profile.Profile, kind bench.ProfileKind) (*flame.Stacks, error) {
	if err := bench.FocusLabels(prof, p.labels); err != nil {
		return nil, err
	}
	opts := flame.FoldOptions{SampleType: p.sampleType, ByLabel: p.byLabel}
	if opts.SampleType == "" && p.file == "" {
		opts.SampleType = bench.SampleTypeOf(kind)
	}
	return flame.Fold(prof, opts)
}

func (p *profileCommand) readBase(kind bench.ProfileKind) (*flame.Stacks, error) {
	if kind == bench.ProfilePerf {
		f, err := os.Open(p.base)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return flame.ReadFolded(f, "cpu", "samples")
	}
	prof, err := bench.ReadProfile(p.base)
	if err != nil {
		return nil, err
	}
	return p.fold(prof, kind)
}

// write keeps the profile, its graph and, with a base, the differential one.
func (p *profileCommand) write(t *taken) ([]string, error) {
	now := time.Now()
	dir, name := p.dir, string(t.kind)
	switch {
	case p.file != "":
		name = strings.TrimSuffix(filepath.Base(p.file), filepath.Ext(p.file))
		if dir == "" {
			dir = filepath.Dir(p.file)
		}
	case dir == "":
		dir = filepath.Join("profiles", now.Format("20060102-150405")+"-"+commitName()+"-live")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var files []string
	keep := func(name string, write func(io.Writer) error) error {
		path := filepath.Join(dir, name)
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := write(f); err != nil {
			f.Close()
			return err
		}
		files = append(files, path)
		return f.Close()
	}
	opts := flame.Options{Title: bench.TitleOf(t.kind), Subtitle: p.describe(now)}
	if p.file != "" {
		opts.Title = filepath.Base(p.file)
	} else if t.pprof != nil {
		if err := keep(name+".pprof", t.pprof.Write); err != nil {
			return files, err
		}
	} else if err := keep(name+".folded", t.stacks.WriteFolded); err != nil {
		return files, err
	}
	if err := keep(name+".svg", func(w io.Writer) error { return flame.WriteSVG(w, t.stacks, opts) }); err != nil || t.before == nil {
		return files, err
	}
	opts.Title += ": change since " + filepath.Base(p.base)
	return files, keep(name+"-diff.svg", func(w io.Writer) error { return flame.WriteDiffSVG(w, t.before, t.stacks, opts) })
}

func commitName() string {
	if Commit == "" {
		return "unknown"
	}
	return Commit
}

func (p *profileCommand) describe(now time.Time) string {
	var parts []string
	switch {
	case p.file != "":
	case p.kind == string(bench.ProfilePerf):
		parts = append(parts, fmt.Sprintf("process %d", p.pid), fmt.Sprintf("%g s", p.seconds), now.Format(time.DateTime))
	default:
		parts = append(parts, p.url, fmt.Sprintf("%g s", p.seconds), now.Format(time.DateTime))
	}
	return strings.Join(append(parts, p.labels...), "  ·  ")
}

// writeTop prints the functions that cost most, and the labels' shares.
func writeTop(out io.Writer, t *taken, top int) error {
	total := float64(t.stacks.Total())
	fmt.Fprintf(out, "%s: %s\n\n", bench.TitleOf(t.kind), flame.FormatValue(t.stacks.Total(), t.stacks.Unit))
	heads := []string{"SELF", "SELF%", "TOTAL", "TOTAL%", "LAYER", "FUNCTION"}
	var before map[string]float64
	if t.before != nil {
		heads = []string{"SELF", "SELF%", "BEFORE%", "TOTAL", "TOTAL%", "LAYER", "FUNCTION"}
		before = make(map[string]float64)
		for _, c := range flame.Changes(t.before, t.stacks) {
			before[c.Name] = c.Before
		}
	}
	list := newTable(heads...)
	for i, f := range t.stacks.Top() {
		if i == top {
			break
		}
		cells := []any{flame.FormatValue(f.Self, t.stacks.Unit), fmt.Sprintf("%.1f", float64(f.Self)/total*100)}
		if before != nil {
			cells = append(cells, fmt.Sprintf("%.1f", before[f.Name]*100))
		}
		list.add(append(cells, flame.FormatValue(f.Total, t.stacks.Unit), fmt.Sprintf("%.1f", float64(f.Total)/total*100),
			string(flame.LayerOf(f.Name)), f.Name)...)
	}
	if _, err := io.WriteString(out, list.String()); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if t.pprof == nil || t.kind != bench.ProfileCPU || len(t.pprof.SampleType) == 0 {
		return nil
	}
	labels := newTable("LABEL", "SHARE%")
	for _, l := range bench.LabelShares(t.pprof, len(t.pprof.SampleType)-1) {
		if l.Label == "" {
			l.Label = "(none)"
		}
		labels.add(l.Label, fmt.Sprintf("%.1f", l.Share*100))
	}
	_, err := fmt.Fprintln(out, labels.String())
	return err
}

// newProfileMergeCommand builds `freshet profile merge`.
func newProfileMergeCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     "merge file.pprof...",
		Short:   "Add profiles up, for example for profile-guided optimization",
		Example: `  freshet profile merge -o cmd/freshet/default.pgo profiles/*/cpu.pprof`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var list []*profile.Profile
			for _, path := range args {
				p, err := bench.ReadProfile(path)
				if err != nil {
					return failf("%v", err)
				}
				list = append(list, p)
			}
			merged, err := bench.MergeProfiles(list)
			if err != nil {
				return failf("%v", err)
			}
			f, err := os.Create(out)
			if err != nil {
				return failf("cannot write the merged profile: %v", err)
			}
			defer f.Close()
			if err := merged.Write(f); err != nil {
				return failf("cannot write the merged profile: %v", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d profiles merged into %s: %d stacks\n", len(list), out, len(merged.Sample))
			return f.Close()
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "merged.pprof", "the file to write")
	return cmd
}
