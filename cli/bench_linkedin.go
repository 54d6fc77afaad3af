package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"freshet/bench"
	"freshet/bench/kafkadist"
)

// linkedInFlags are the flags of `bench linkedin`.
type linkedInFlags struct {
	opts              bench.LinkedInOptions
	out               outputFlag
	prof              profileFlags
	heap              string
	storedMB          int64
	quiet, full, list bool
}

// newBenchLinkedInCommand builds `bench linkedin`.
func newBenchLinkedInCommand() *cobra.Command {
	f := &linkedInFlags{opts: bench.DefaultLinkedInOptions()}
	f.storedMB = f.opts.Size.StoredBytes >> 20
	cmd := &cobra.Command{
		Use:   "linkedin",
		Short: "Run the whole of LinkedIn's benchmark of 2014",
		Long: `Run every row of "Benchmarking Apache Kafka: 2 Million Writes Per Second" with
the published figure beside each: producers without and with replication,
throughput against the volume stored, consumers, both together, message sizes
from 10 bytes to 100 KB, and end-to-end latency.

With no flags it starts a broker of this binary and takes two minutes; --full
takes LinkedIn's own amounts. For the rows with three replicas it starts a
cluster of three brokers on this machine; with --bootstrap-server they run where
that cluster has three.

Apache Kafka's figures from the same machine come beside with --kafka, which
fetches it and starts the same number of brokers, with --bootstrap-server-kafka,
which measures one that runs already, or with --kafka-result, the linkedin.json
of an earlier run against one.`,
		Example: `  freshet bench linkedin
  freshet bench linkedin --row producer --row consumer --repetitions 5
  freshet bench linkedin --row stored --stored-mb 65536
  freshet bench linkedin --kafka
  freshet bench linkedin --bootstrap-server-kafka 127.0.0.1:9092 --kafka-pid 4711`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.register(cmd)
	return cmd
}

func (f *linkedInFlags) run(cmd *cobra.Command) error {
	o := &f.opts
	if f.list {
		return f.out.write(cmd.OutOrStdout(), linkedInTable())
	}
	if f.full {
		fillFullSize(cmd, &o.Size, &f.storedMB)
	}
	o.Size.StoredBytes = f.storedMB << 20
	if o.BrokerPID != 0 && o.BootstrapServer == "" {
		return failf("--broker-pid names the process of an outside broker: give its --bootstrap-server too")
	}
	if o.KafkaPID != 0 && o.KafkaBootstrapServer == "" {
		return failf("--kafka-pid names the process of Apache Kafka: give its --bootstrap-server-kafka too")
	}
	if len(o.Overrides) > 0 && o.BootstrapServer != "" {
		return failf("--override sets the broker that bench starts; an outside broker has its own configuration")
	}
	var err error
	if o.Profile, err = f.prof.options(); err != nil {
		return err
	}
	o.HeapOpts = strings.Fields(f.heap)
	if o.Invocation, err = invocation(cmd, f.quiet); err != nil {
		return err
	}
	report, err := bench.RunLinkedIn(cmd.Context(), *o)
	if err != nil {
		return benchError(cmd.Context(), err)
	}
	drawReport(cmd.ErrOrStderr(), report.OutDir)
	return writeReport(cmd.OutOrStdout(), f.out.format, report)
}

func (f *linkedInFlags) register(cmd *cobra.Command) {
	o, flags := &f.opts, cmd.Flags()
	flags.StringSliceVar(&o.Rows, "row", nil, "rows to run, by name (--list); all by default")
	flags.BoolVar(&f.list, "list", false, "list the rows and LinkedIn's figures, and run nothing")
	flags.IntVar(&o.Repetitions, "repetitions", o.Repetitions, "how often each row is measured; the stored row is measured once")
	flags.BoolVar(&f.full, "full", false, "take LinkedIn's amounts, such as 50000000 records a client; the stored row then writes 5 TB unless --stored-mb says less")
	flags.Int64Var(&o.Size.Records, "records", o.Size.Records, "records of each client, at most")
	flags.Int64Var(&f.storedMB, "stored-mb", f.storedMB, "what the stored row writes, in MB of values (2^20 bytes)")
	flags.StringVar(&o.BootstrapServer, "bootstrap-server", "", "drive this broker or cluster instead of starting one")
	flags.IntVar(&o.BrokerPID, "broker-pid", 0, "that broker's process on this machine, to measure its CPU time")
	flags.BoolVar(&o.Kafka, "kafka", false, "fetch Apache Kafka "+kafkadist.Version+" and measure it beside, one broker and three")
	flags.StringVar(&o.KafkaHome, "kafka-home", "", "an unpacked Apache Kafka release to use instead of fetching one")
	flags.StringVar(&f.heap, "kafka-heap-opts", strings.Join(kafkadist.DefaultHeap, " "), "heap of each Apache Kafka broker that is started")
	flags.StringVar(&o.KafkaBootstrapServer, "bootstrap-server-kafka", "", "an Apache Kafka on this machine, to measure beside")
	flags.IntVar(&o.KafkaPID, "kafka-pid", 0, "its process, to measure its CPU time")
	flags.StringVar(&o.KafkaResult, "kafka-result", "", "take Apache Kafka's figures from the linkedin.json of an earlier run")
	flags.StringArrayVar(&o.Overrides, "override", nil, "key=value setting of the broker to start, may be repeated")
	flags.StringVar(&o.TempDir, "temp-dir", "", "where the data directory is made; default the system's temporary directory")
	flags.StringVar(&o.OutDir, "out-dir", "", "where the results go; default bench-out/<date>-linkedin-<commit>")
	f.prof.register(cmd)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	f.out.register(cmd)
}

// fillFullSize takes LinkedIn's amounts where no flag says otherwise.
func fillFullSize(cmd *cobra.Command, size *bench.LinkedInSize, storedMB *int64) {
	records := size.Records
	*size = bench.FullLinkedInSize()
	if cmd.Flags().Changed("records") {
		size.Records = records
	}
	if !cmd.Flags().Changed("stored-mb") {
		*storedMB = size.StoredBytes >> 20
	}
}

// linkedInTable lists the rows.
func linkedInTable() *table {
	t := newTable("ROW", "WHAT", "REPLICAS", "RECORDS", "BYTES", "LINKEDIN-RECORDS/S", "LINKEDIN-MB/S")
	for _, row := range bench.LinkedInRows() {
		var rate, mb any
		if row.Published.RecordsPerSecond > 0 {
			rate, mb = row.Published.RecordsPerSecond, row.Published.MBPerSecond
		}
		t.add(row.Name, row.Title, row.Replicas, row.Records, row.ValueBytes, rate, mb)
	}
	return t
}
