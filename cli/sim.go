package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"freshet/internal/sim"
)

// simFlags are the flags of `freshet sim`.
type simFlags struct {
	seed   uint64
	seeds  string
	nodes  int
	ticks  int
	trace  bool
	quiet  bool
	lines  int
	verify bool
}

// defaultSeeds is what runs when no seed is named.
const defaultSeeds = "1-200"

// newSimCommand builds `freshet sim`.
func newSimCommand() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Simulate a cluster under faults, from a seed",
		Long: `Run a whole cluster on one thread in virtual time: the real replication, metadata
quorum, controller, coordinator and recovery code, over a network, disks, clocks
and processes that fail as the seed says, with clients that write unique values.
When the trouble ends the cluster must recover, and then every promise is
checked: nothing acknowledged is lost, doubled or out of order, every replica is
the same byte for byte.

A seed decides everything: the same seed is the same run, on every machine, as
long as the code is the same. When a promise is broken the seed is printed, with
the promise in one sentence, the last lines of the trace that matter, and the
command that shows it again. docs/SIMULATOR.md says how to read a trace.

Nothing is written to disk and no port is opened.`,
		Example: `  freshet sim                          # 200 seeds
  freshet sim --seeds 1-2000           # what make sim runs
  freshet sim --seed 303               # one run, in outline
  freshet sim --seed 303 --trace       # line by line
  freshet sim --seeds 1-50 --nodes 5 --ticks 20000
  freshet sim --seeds 1-20 --verify    # each seed twice: are they the same?`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			first, last, err := f.bounds(cmd)
			if err != nil {
				return err
			}
			switch {
			case f.trace && first != last:
				return failf("--trace prints one run: name it with --seed")
			case f.trace || cmd.Flags().Changed("seed") && !f.quiet && !f.verify:
				return f.runOne(cmd, first)
			}
			return f.runAll(cmd, first, last)
		},
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.seed, "seed", 0, "run this one seed and print what happens in outline")
	flags.StringVar(&f.seeds, "seeds", defaultSeeds, "run the seeds `A-B`")
	flags.IntVar(&f.nodes, "nodes", 0, "brokers in the cluster, 3 to 9; 0: the seed decides")
	flags.IntVar(&f.ticks, "ticks", 0, "virtual `milliseconds` of faults in a run; 0: 6000")
	flags.BoolVar(&f.trace, "trace", false, "print what happens in the one seed, line by line")
	flags.IntVar(&f.lines, "lines", 40, "trace lines to print when a promise is broken")
	flags.BoolVar(&f.verify, "verify", false, "run every seed twice and compare the traces' hashes")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress, and no outline")
	cmd.MarkFlagsMutuallyExclusive("seed", "seeds")
	return cmd
}

// bounds is the first and the last seed to run.
func (f *simFlags) bounds(cmd *cobra.Command) (first, last uint64, err error) {
	if f.nodes != 0 && (f.nodes < 3 || f.nodes > 9) {
		return 0, 0, failf("--nodes %d: a simulated cluster has 3 to 9 brokers", f.nodes)
	}
	if f.ticks < 0 {
		return 0, 0, failf("--ticks %d: give a number of virtual milliseconds", f.ticks)
	}
	if cmd.Flags().Changed("seed") {
		return f.seed, f.seed, nil
	}
	low, high, ok := strings.Cut(f.seeds, "-")
	if !ok {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 64)
	last, err2 := strconv.ParseUint(high, 10, 64)
	if err1 != nil || err2 != nil || last < first {
		return 0, 0, failf("--seeds %q: give a first and a last seed, such as 1-2000", f.seeds)
	}
	return first, last, nil
}

func (f *simFlags) options(seed uint64) sim.Options {
	return sim.Options{Seed: seed, Nodes: f.nodes, Ticks: f.ticks}
}

// runOne prints what happens in one seed: every line of its trace, or the
// story in outline, which is what happens to the cluster as a whole.
func (f *simFlags) runOne(cmd *cobra.Command, seed uint64) error {
	out := cmd.OutOrStdout()
	trace := out
	if !f.trace {
		trace = sim.Outline(out)
	}
	r := sim.Run(f.options(seed), trace)
	fmt.Fprintf(out, "seed %d: %d lines, hash %016x, %d ms of virtual time, %d events, %d faults, %d records acknowledged\n",
		r.Seed, r.Lines, r.Hash, r.VirtualMs, r.Events, r.Faults.Made(), r.Acked)
	fmt.Fprintf(out, "faults and what came of them: %s\n", r.Faults)
	switch {
	case r.Violation == "":
		return nil
	case f.trace:
		return failf("seed %d broke a promise: %s", r.Seed, r.Violation)
	}
	f.report(out, &r)
	return errSilent
}

// simTotals is the sum over all runs.
type simTotals struct {
	runs, acked, virtualMs, events int64
	faults                         sim.Faults
}

func (t *simTotals) add(r *sim.Result) {
	t.runs++
	t.faults.Add(r.Faults)
	t.acked += r.Acked
	t.virtualMs += r.VirtualMs
	t.events += r.Events
}

// runAll runs seeds until one breaks a promise.
func (f *simFlags) runAll(cmd *cobra.Command, first, last uint64) error {
	begun := time.Now()
	var totals simTotals
	progress := newSimProgress(cmd.ErrOrStderr(), last-first+1, f.quiet)
	for seed := first; ; seed++ {
		if err := context.Cause(cmd.Context()); err != nil {
			progress.clear()
			return errInterrupted
		}
		r := sim.Run(f.options(seed), nil)
		totals.add(&r)
		if r.Violation == "" && f.verify {
			if again := sim.Run(f.options(seed), nil); again.Hash != r.Hash {
				progress.clear()
				return failf("seed %d is not repeatable: its trace has hash %016x, and %016x when run again", seed, r.Hash, again.Hash)
			}
		}
		if r.Violation != "" {
			progress.clear()
			f.report(cmd.OutOrStdout(), &r)
			return errSilent
		}
		progress.show(totals.runs)
		if seed == last {
			break
		}
	}
	progress.clear()
	elapsed := time.Since(begun)
	fmt.Fprintf(cmd.OutOrStdout(), "%d seeds, every promise kept: %d faults, %d records acknowledged, %d events, %d s of virtual time in %.1f s\n",
		totals.runs, totals.faults.Made(), totals.acked, totals.events, totals.virtualMs/1000, elapsed.Seconds())
	fmt.Fprintf(cmd.OutOrStdout(), "faults and what came of them: %s\n", totals.faults)
	return nil
}

// report says what was broken and how to see it again.
func (f *simFlags) report(w io.Writer, r *sim.Result) {
	fmt.Fprintf(w, "seed %d broke a promise:\n  %s\n\n", r.Seed, r.Violation)
	fmt.Fprintf(w, "the run: %s\n\nthe end of its trace:\n", r.Plan)
	tail := r.Tail
	if len(tail) > f.lines {
		tail = tail[len(tail)-f.lines:]
	}
	for _, line := range tail {
		fmt.Fprintf(w, "  %s\n", line)
	}
	again := fmt.Sprintf("freshet sim --seed %d", r.Seed)
	if f.nodes != 0 {
		again += fmt.Sprintf(" --nodes %d", f.nodes)
	}
	if f.ticks != 0 {
		again += fmt.Sprintf(" --ticks %d", f.ticks)
	}
	fmt.Fprintf(w, "\nsee all of it: %s --trace\n", again)
}

// simProgress shows how far a run of many seeds is: in place on a terminal,
// else a line for each tenth.
type simProgress struct {
	w        io.Writer
	total    uint64
	terminal bool
	quiet    bool
	tenths   uint64
	shown    time.Time
}

func newSimProgress(w io.Writer, total uint64, quiet bool) *simProgress {
	return &simProgress{w: w, total: total, terminal: isTerminal(w), quiet: quiet || total == 1, shown: time.Now()}
}

func (p *simProgress) show(done int64) {
	if p.quiet {
		return
	}
	if p.terminal {
		if time.Since(p.shown) >= 100*time.Millisecond {
			p.shown = time.Now()
			fmt.Fprintf(p.w, "\r\x1b[K%d of %d seeds", done, p.total)
		}
		return
	}
	if tenths := uint64(done) * 10 / p.total; tenths > p.tenths {
		p.tenths = tenths
		fmt.Fprintf(p.w, "%d of %d seeds\n", done, p.total)
	}
}

func (p *simProgress) clear() {
	if p.terminal && !p.quiet {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
