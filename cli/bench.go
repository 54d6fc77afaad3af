package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"freshet/bench"
)

// newBenchCommand builds `freshet bench`, which measures a broker.
func newBenchCommand() *cobra.Command {
	cmd := newBenchRunCommand("bench", nil)
	cmd.Short = "Measure a Kafka broker, this one or another"
	cmd.Long = `Measure a Kafka broker.

With no flags it starts a broker of this binary on a free loopback port with a
temporary data directory and measures it in two ways, in less than two minutes
on two cores:

  saturate  batches built once, over raw connections, so that the broker and
            not the generator is measured; every figure is printed as a ratio
            to the floor, a server that does only what a request cannot do
            without
  client    real producers and consumers (franz-go): the rows of LinkedIn's
            benchmark of 2014 that need one broker, and latency in a closed and
            in an open loop

With --bootstrap-server it drives a broker that runs already, of any make.
The results, raw histograms, a page of charts (report.html) and the broker's log
are kept in bench-out/<date>-<commit>/.`
	cmd.Example = `  freshet bench
  freshet bench saturate --row produce-64k --repetitions 5
  freshet bench client --records 50000000
  freshet bench client --latency-at 25,50,75,90
  freshet bench --bootstrap-server 127.0.0.1:9092 --broker-pid 4711`
	saturate := newBenchRunCommand("saturate", []bench.Mode{bench.ModeSaturate})
	saturate.Short = "Measure with prebuilt batches over raw connections"
	client := newBenchRunCommand("client", []bench.Mode{bench.ModeClient})
	client.Short = "Measure with real producers and consumers"
	run := newBenchRunCommand("run", nil)
	run.Short = "Measure in both ways (what bench alone does)"
	cmd.AddCommand(run, saturate, client, newBenchBinariesCommand(), newBenchServerCommand(false), newBenchServerCommand(true), newBenchListCommand(), newBenchCompareCommand(),
		newBenchScaleCommand(), newBenchLinkedInCommand(), newBenchOMBCommand(), newBenchReportCommand())
	return cmd
}

// benchFlags are the flags of a suite.
type benchFlags struct {
	opts  bench.Options
	out   outputFlag
	modes []string
	acks  string
	quiet bool
	floor bool
	null  bool
	prof  profileFlags
}

// newBenchRunCommand builds a command that runs a suite; modes fixes them,
// nil leaves them to --mode.
func newBenchRunCommand(name string, modes []bench.Mode) *cobra.Command {
	f := &benchFlags{opts: bench.DefaultOptions()}
	cmd := &cobra.Command{
		Use:  name,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.opts.Modes = modes
			for _, mode := range f.modes {
				f.opts.Modes = append(f.opts.Modes, bench.Mode(mode))
			}
			return f.run(cmd)
		},
	}
	f.register(cmd, modes == nil)
	return cmd
}

func (f *benchFlags) register(cmd *cobra.Command, chooseMode bool) {
	o, flags := &f.opts, cmd.Flags()
	if chooseMode {
		flags.StringSliceVar(&f.modes, "mode", []string{string(bench.ModeSaturate), string(bench.ModeClient)}, "modes to run: saturate, client")
	}
	flags.StringSliceVar(&o.Rows, "row", nil, "rows to run, by name (freshet bench list); all by default")
	flags.IntVar(&o.Repetitions, "repetitions", o.Repetitions, "how often each row is measured; broker and floor alternate")
	flags.Float64Var(&o.Scale, "scale", o.Scale, "multiplies the sizes of the saturate rows")
	flags.IntVar(&o.Connections, "connections", 0, "connections of the saturate rows, each with a partition of its own at least; 0: what the rows say")
	flags.Int64Var(&o.Client.Records, "records", o.Client.Records, "records of each producer and consumer; LinkedIn's benchmark had 50000000")
	flags.Int32Var(&o.Client.BatchSize, "batch-size", o.Client.BatchSize, "batch.size of the producers in bytes")
	flags.IntVar(&o.Client.BufferMemory, "buffer-memory", o.Client.BufferMemory, "buffer.memory of the producers in bytes")
	flags.IntVar(&o.Client.LingerMs, "linger-ms", o.Client.LingerMs, "linger.ms of the producers")
	flags.StringVar(&f.acks, "acks", "1", "acknowledgements: 0, 1 or all")
	flags.Int64Var(&o.Client.EndToEndMessages, "messages", o.Client.EndToEndMessages, "messages of the closed-loop latency row")
	flags.Float64Var(&o.Client.OpenLoopRate, "rate", o.Client.OpenLoopRate, "records a second of the open-loop latency row")
	flags.Float64Var(&o.Client.OpenLoopSeconds, "seconds", o.Client.OpenLoopSeconds, "length of an open-loop row in seconds")
	flags.IntSliceVar(&o.LatencyAt, "latency-at", nil, "add open-loop rows at these percentages of the rate found, such as 25,50,75,90")
	flags.StringVar(&o.BootstrapServer, "bootstrap-server", "", "drive this broker instead of starting one")
	flags.IntVar(&o.BrokerPID, "broker-pid", 0, "that broker's process on this machine, to measure its CPU time and memory")
	flags.Int16Var(&o.ReplicationFactor, "replication-factor", o.ReplicationFactor, "replicas of each topic")
	flags.StringArrayVar(&o.Overrides, "override", nil, "key=value setting of the broker to start, may be repeated")
	flags.BoolVar(&f.floor, "floor", true, "measure the floor too")
	flags.BoolVar(&f.null, "null", true, "show the generators' ceiling against a server that does nothing")
	flags.StringVar(&o.TempDir, "temp-dir", "", "where the data directories are made; default the system's temporary directory")
	flags.StringVar(&o.OutDir, "out-dir", "", "where the results go; default bench-out/<date>-<commit>")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	f.prof.register(cmd)
	f.out.register(cmd)
}

func (f *benchFlags) run(cmd *cobra.Command) error {
	o := &f.opts
	acks, err := parseBenchAcks(f.acks)
	if err != nil {
		return err
	}
	o.Client.Acks = acks
	if o.BrokerPID != 0 && o.BootstrapServer == "" {
		return failf("--broker-pid names the process of an outside broker: give its --bootstrap-server too")
	}
	if len(o.Overrides) > 0 && o.BootstrapServer != "" {
		return failf("--override sets the broker that bench starts; an outside broker has its own configuration")
	}
	o.Floor, o.Null = f.floor, f.null
	if o.Profile, err = f.prof.options(); err != nil {
		return err
	}
	if o.Invocation, err = invocation(cmd, f.quiet); err != nil {
		return err
	}
	report, err := bench.RunSuite(cmd.Context(), *o)
	if err != nil {
		return benchError(cmd.Context(), err)
	}
	drawReport(cmd.ErrOrStderr(), report.OutDir)
	return writeReport(cmd.OutOrStdout(), f.out.format, report)
}

// invocation is this command line, with a progress display unless quiet.
func invocation(cmd *cobra.Command, quiet bool) (bench.Invocation, error) {
	self, err := os.Executable()
	if err != nil {
		return bench.Invocation{}, failf("cannot find this binary to start it as a broker: %v", err)
	}
	by := bench.Invocation{Executable: self, Command: append([]string{"freshet"}, os.Args[1:]...), Version: Version, Commit: Commit}
	if !quiet {
		by.Progress = cmd.ErrOrStderr()
		by.Terminal = writesToTerminal(by.Progress)
	}
	return by, nil
}

func writesToTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func parseBenchAcks(s string) (int16, error) {
	switch s {
	case "0":
		return 0, nil
	case "1":
		return 1, nil
	case "all", "-1":
		return -1, nil
	}
	return 0, failf("--acks %q: use 0, 1 or all", s)
}

// newBenchServerCommand builds `bench floor` or `bench null`.
func newBenchServerCommand(null bool) *cobra.Command {
	opts := bench.ServerOptions{Null: null, OwnProcess: true}
	cmd := &cobra.Command{
		Use:   "floor",
		Short: "Serve the least that a broker can do, to compare with",
		Long: `Serve as the floor: one blocking thread a connection that receives a request,
checks its CRC-32C, writes it with one pwrite and answers, or sends records with
sendfile, and nothing else. It knows enough of the protocol for the saturate
mode. bench starts it by itself.`,
		Example: "  freshet bench floor --addr 127.0.0.1:9092 --data-dir ./floor",
		Args:    cobra.NoArgs,
	}
	if null {
		cmd.Use = "null"
		cmd.Short = "Answer requests and do nothing, to show a generator's ceiling"
		cmd.Long = `Serve as the null broker: produce requests are answered as they come, without
being checked, written or even copied out of the socket.`
		cmd.Example = "  freshet bench null --addr 127.0.0.1:9092"
	} else {
		cmd.Flags().StringVar(&opts.DataDir, "data-dir", "", "directory of the partition files; default a temporary one")
	}
	cmd.Flags().StringVar(&opts.Addr, "addr", DefaultBootstrapServer, "address to listen on")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		opts.Ready = func(addr string) { fmt.Fprintf(cmd.OutOrStdout(), "%s listens on %s\n", cmd.Name(), addr) }
		return serveRaw(cmd.Context(), opts)
	}
	return cmd
}

func serveRaw(ctx context.Context, opts bench.ServerOptions) error {
	if opts.DataDir == "" && !opts.Null {
		dir, err := os.MkdirTemp("", "freshet-floor-")
		if err != nil {
			return failf("cannot make a data directory: %v", err)
		}
		defer os.RemoveAll(dir)
		opts.DataDir = dir
	}
	if err := bench.ServeRaw(ctx, opts); err != nil {
		return benchError(ctx, err)
	}
	return nil
}

// benchError passes an interruption on as it is, so that the exit code is the
// signal's, and makes one line of anything else.
func benchError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return failf("%v", err)
}

// newBenchListCommand builds `bench list`.
func newBenchListCommand() *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the rows that bench measures",
		Example: "  freshet bench list -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t := newTable("MODE", "ROW", "WHAT", "COMPARED BY", "TARGET")
			for _, row := range bench.SaturateRows() {
				t.add(string(bench.ModeSaturate), row.Name, row.Title,
					strings.ReplaceAll(string(row.Judge), "-", " ")+" to the floor", fmt.Sprintf("≤ %.1f×", row.MaxRatio))
			}
			for _, row := range bench.ClientRows() {
				var linkedIn, target any
				if row.LinkedInRecordsPerSecond > 0 {
					linkedIn, target = "LinkedIn 2014, records/s", fmt.Sprintf("%.0f", row.LinkedInRecordsPerSecond)
				}
				t.add(string(bench.ModeClient), row.Name, row.Title, linkedIn, target)
			}
			return out.write(cmd.OutOrStdout(), t)
		},
	}
	out.register(cmd)
	return cmd
}
