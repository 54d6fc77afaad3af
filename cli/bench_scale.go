package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"freshet/bench"
	"freshet/bench/kafkadist"
)

// scaleFlags are the flags of `bench scale`.
type scaleFlags struct {
	opts          bench.ScaleOptions
	out           outputFlag
	prof          profileFlags
	heap          string
	coldMB        int64
	quiet, strict bool
}

// newBenchScaleCommand builds `bench scale`.
func newBenchScaleCommand() *cobra.Command {
	f := &scaleFlags{opts: bench.DefaultScaleOptions()}
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Check many partitions, many connections and a reader of cold data",
		Long: `Start a broker of this binary and check how it carries much of everything:

  idle-connections   its memory for 10,000 connections that do nothing
  cold-reader        what a consumer reading cold data from the start does to
                     the latency of producers of hot data
  create-partitions  the time to create 10,000 partitions
  produce-wide       the rate over all of them, to that over six partitions
  partitions-rss     its memory with all of them in use

With --cluster 3 it starts a cluster of three brokers on this machine and checks:

  create-partitions    the time to create 10,000 partitions, each with a replica
                       on every broker, until all leaders answer
  partitions-rss       the largest broker's memory with them
  controller-failover  kill -9 of the active controller, until a change of
                       metadata is taken again
  broker-restart       from SIGTERM until a broker is registered again

and with --kafka the same of Apache Kafka, to compare with.

Each figure is printed beside its target. The run needs some 15,000 open
files and the broker up to three a partition: the limit is raised as far as the
process may.`,
		Example: `  freshet bench scale
  freshet bench scale --check create-partitions --partitions 50000
  freshet bench scale --cluster 3
  freshet bench scale --cluster 3 --kafka
  freshet bench scale --strict -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.register(cmd)
	return cmd
}

func (f *scaleFlags) run(cmd *cobra.Command) error {
	o := &f.opts
	o.ColdBytes = f.coldMB << 20
	o.HeapOpts = strings.Fields(f.heap)
	var err error
	if o.Profile, err = f.prof.options(); err != nil {
		return err
	}
	if o.Invocation, err = invocation(cmd, f.quiet); err != nil {
		return err
	}
	report, err := bench.RunScale(cmd.Context(), *o)
	if err != nil {
		return benchError(cmd.Context(), err)
	}
	drawReport(cmd.ErrOrStderr(), report.OutDir)
	if err := writeReport(cmd.OutOrStdout(), f.out.format, report); err != nil {
		return err
	}
	if missed := report.Missed(); f.strict && missed > 0 {
		return failf("%d of %d targets were missed", missed, len(report.Checks))
	}
	return nil
}

func (f *scaleFlags) register(cmd *cobra.Command) {
	o, flags := &f.opts, cmd.Flags()
	flags.IntVar(&o.Partitions, "partitions", o.Partitions, "partitions of the wide topic")
	flags.IntVar(&o.Connections, "connections", o.Connections, "idle connections")
	flags.IntVar(&o.Repetitions, "repetitions", o.Repetitions, "how often each pair of runs is measured")
	flags.Float64Var(&o.Seconds, "seconds", o.Seconds, "length of each run with and without the cold reader")
	flags.Int64Var(&f.coldMB, "cold-mb", o.ColdBytes>>20, "cold data to read, in MB (2^20 bytes)")
	flags.Float64Var(&o.ColdMBPerSecond, "cold-rate-mb", o.ColdMBPerSecond, "what the cold reader takes at most, in MB a second; 0 for all it can get")
	flags.StringSliceVar(&o.Checks, "check", nil, "checks to run ("+strings.Join(bench.ScaleChecks(), ", ")+", of a cluster "+strings.Join(bench.ScaleClusterChecks(), ", ")+"); all by default")
	flags.IntVar(&o.Cluster, "cluster", o.Cluster, "check a cluster of so many brokers, 3 or more")
	flags.BoolVar(&o.Kafka, "kafka", false, "check Apache Kafka "+kafkadist.Version+" instead, which Maven fetches; only with --cluster")
	flags.StringVar(&o.KafkaHome, "kafka-home", "", "an unpacked Apache Kafka release to use instead of fetching one")
	flags.StringVar(&f.heap, "kafka-heap-opts", strings.Join(kafkadist.DefaultHeap, " "), "heap of each Apache Kafka broker")
	flags.StringArrayVar(&o.Overrides, "override", nil, "key=value setting of the broker to start, may be repeated")
	flags.StringVar(&o.TempDir, "temp-dir", "", "where the data directory is made; default the system's temporary directory")
	flags.StringVar(&o.OutDir, "out-dir", "", "where the results go; default bench-out/<date>-scale-<commit>")
	f.prof.registerFor(cmd, false)
	flags.BoolVar(&f.strict, "strict", false, "exit with 1 when a target is missed")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	f.out.register(cmd)
}

// benchReport is what the benchmarks print.
type benchReport interface {
	WriteTable(io.Writer) error
	WriteJSON(io.Writer) error
}

// writeReport prints a report in the chosen format.
func writeReport(w io.Writer, format string, report benchReport) error {
	switch format {
	case "json":
		return report.WriteJSON(w)
	case "table":
		return report.WriteTable(w)
	}
	return failf("unknown output format %q: use table or json", format)
}
