package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"freshet/bench/compare"
	"freshet/bench/kafkadist"
)

// compareFlags are the flags of `bench compare` that need translation.
type compareFlags struct {
	opts            compare.Options
	out             outputFlag
	brokers         string
	pids            []string
	clients         []string
	acks            string
	heap            string
	brokerOverrides []string
	cluster         int
	prof            profileFlags
	quick, quiet    bool
}

// newBenchCompareCommand builds `freshet bench compare`.
func newBenchCompareCommand() *cobra.Command {
	f := &compareFlags{opts: compare.Defaults()}
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Compare brokers side by side: this one, Apache Kafka, any other",
		Long: `Compare brokers side by side.

With no flags it starts a broker of this binary and Apache Kafka ` + kafkadist.Version + `, which
Maven fetches once, on the same file system with the same durability settings,
drives both with the same generators in changing order, and prints medians with
confidence intervals and how likely a difference is chance. It takes less than
ten minutes on two cores, with --quick less than three.

--brokers takes any brokers: freshet and kafka are started, under other names as
name=freshet and name=kafka, name=path starts another freshet binary, name=host:port is a broker that runs already. The first
is compared with each other one. What an acknowledgement means is read from
each broker's own settings; brokers that do not promise the same are refused,
unless --force is given.

--client java drives the brokers with Kafka's own kafka-producer-perf-test,
kafka-consumer-perf-test and kafka-e2e-latency.

--cluster 3 compares clusters of three brokers on this machine: three replicas
with acks=1 and acks=all, CPU time of all brokers together, one record at a
time, and what kill -9 of a leader and a controlled shutdown mean to producers.
It takes less than fifteen minutes, with --quick less than six.`,
		Example: `  freshet bench compare
  freshet bench compare --quick
  freshet bench compare --client java
  freshet bench compare --fsync
  freshet bench compare --cluster 3
  freshet bench compare --cluster 3 --kills 50
  freshet bench compare --brokers freshet,old=./freshet-old --row produce-64k --repetitions 10
  freshet bench compare --brokers a=127.0.0.1:9092,b=127.0.0.1:9192 --broker-pids a=4711,b=4712`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.register(cmd)
	return cmd
}

func (f *compareFlags) register(cmd *cobra.Command) {
	o, flags := &f.opts, cmd.Flags()
	flags.StringVar(&f.brokers, "brokers", "freshet,kafka", "what to compare: freshet, kafka, name=host:port, name=path of a freshet binary")
	flags.StringSliceVar(&f.pids, "broker-pids", nil, "name=pid of brokers that run already, to measure their CPU time and memory")
	flags.StringSliceVar(&f.clients, "client", []string{string(compare.ClientFreshet)}, "what drives them: freshet, java (Kafka's own tools), or both")
	flags.BoolVar(&f.quick, "quick", false, "fewer rows and four repetitions, in less than three minutes")
	flags.StringSliceVar(&o.Rows, "row", nil, "rows to run, by name (freshet bench list and its ack-…mb and java-… rows)")
	flags.IntVar(&f.cluster, "cluster", 1, "compare clusters of so many brokers each, 3 or more")
	flags.IntVar(&o.Kills, "kills", 10, "how often a broker of the first cluster is killed while it is written to, of others 10 times at most; only with --cluster")
	flags.IntVar(&o.Stops, "stops", 4, "how often one is stopped cleanly; only with --cluster")
	flags.IntVar(&o.Repetitions, "repetitions", o.Repetitions, "how often each row is measured; 6 are needed for 95 % confidence")
	flags.IntVar(&o.Warmup, "warmup", o.Warmup, "passes over all rows that are thrown away first")
	flags.Float64Var(&o.WarmupScale, "warmup-scale", o.WarmupScale, "what each broker does before that: at 1, a gigabyte produced and two fetched")
	flags.IntVar(&o.Starts, "starts", o.Starts, "how often each broker's start is timed")
	flags.Float64Var(&o.Scale, "scale", o.Scale, "multiplies the sizes of the saturate rows")
	flags.IntSliceVar(&o.RatesMB, "rate-mb", o.RatesMB, "rates of the open-loop rows in MB/s")
	flags.Float64Var(&o.OpenLoopSeconds, "seconds", o.OpenLoopSeconds, "length of an open-loop row in seconds")
	flags.Int64Var(&o.Client.Records, "records", o.Client.Records, "records of each franz-go producer and consumer")
	flags.Int64Var(&o.JavaRecords, "java-records", o.JavaRecords, "records of the Java producer and consumer")
	flags.StringVar(&f.acks, "acks", "1", "acknowledgements: 1 or all")
	flags.Int16Var(&o.ReplicationFactor, "replication-factor", o.ReplicationFactor, "replicas of each topic")
	flags.BoolVar(&o.Fsync, "fsync", false, "start the brokers with log.flush.interval.messages=1: fsync before each acknowledgement")
	flags.BoolVar(&o.Force, "force", false, "compare brokers that do not promise the same, and say so")
	flags.StringArrayVar(&o.Overrides, "override", nil, "key=value setting of every broker that is started, may be repeated")
	flags.StringArrayVar(&f.brokerOverrides, "broker-override", nil, "name:key=value setting of one broker that is started, may be repeated")
	flags.StringVar(&o.KafkaHome, "kafka-home", "", "an unpacked Apache Kafka release to use instead of fetching one")
	flags.StringVar(&f.heap, "kafka-heap-opts", strings.Join(o.HeapOpts, " "), "heap of the Apache Kafka broker")
	flags.DurationVar(&o.TimeLimit, "time-limit", o.TimeLimit, "start no further repetition that would not end within this time")
	flags.StringVar(&o.TempDir, "temp-dir", "", "where the data directories are made; default the system's temporary directory")
	flags.StringVar(&o.OutDir, "out-dir", "", "where the results go; default bench-out/<date>-compare")
	f.prof.registerFor(cmd, false)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show no progress")
	f.out.register(cmd)
}

// applySize makes the comparison one of clusters, or a quick one, and keeps what
// was asked for by flag.
func (f *compareFlags) applySize(cmd *cobra.Command) {
	asked := f.opts
	if f.cluster != 1 {
		f.opts.ClusterOf(f.cluster)
	}
	if f.quick {
		f.opts.Quick()
	}
	for name, restore := range map[string]func(){
		"repetitions":  func() { f.opts.Repetitions = asked.Repetitions },
		"starts":       func() { f.opts.Starts = asked.Starts },
		"scale":        func() { f.opts.Scale = asked.Scale },
		"rate-mb":      func() { f.opts.RatesMB = asked.RatesMB },
		"records":      func() { f.opts.Client.Records = asked.Client.Records },
		"java-records": func() { f.opts.JavaRecords = asked.JavaRecords },
		"warmup-scale": func() { f.opts.WarmupScale = asked.WarmupScale },
		"kills":        func() { f.opts.Kills = asked.Kills },
		"stops":        func() { f.opts.Stops = asked.Stops },
		"time-limit":   func() { f.opts.TimeLimit = asked.TimeLimit },
	} {
		if cmd.Flags().Changed(name) {
			restore()
		}
	}
}

func (f *compareFlags) run(cmd *cobra.Command) error {
	f.applySize(cmd)
	o := &f.opts
	if err := f.translate(cmd); err != nil {
		return err
	}
	if f.out.format != "table" && f.out.format != "json" {
		return failf("unknown output format %q: use table or json", f.out.format)
	}
	report, err := compare.Run(cmd.Context(), *o)
	if err != nil {
		return benchError(cmd.Context(), err)
	}
	drawReport(cmd.ErrOrStderr(), report.OutDir)
	return writeReport(cmd.OutOrStdout(), f.out.format, report)
}

// translate reads the flags that are not options as they stand.
func (f *compareFlags) translate(cmd *cobra.Command) error {
	o := &f.opts
	var err error
	if o.Profile, err = f.prof.options(); err != nil {
		return err
	}
	if f.cluster != 1 {
		for _, name := range []string{"acks", "replication-factor"} {
			if cmd.Flags().Changed(name) {
				return failf("--%s has no place beside --cluster, which measures acks=1 and acks=all with a replica on every broker", name)
			}
		}
	}
	if o.Brokers, err = compare.ParseBrokers(f.brokers); err == nil {
		err = compare.SetPIDs(o.Brokers, f.pids)
	}
	if err != nil {
		return failf("%v", err)
	}
	if f.cluster == 1 {
		if o.Client.Acks, err = parseBenchAcks(f.acks); err != nil {
			return err
		}
	}
	o.Clients = nil
	for _, name := range f.clients {
		o.Clients = append(o.Clients, compare.Client(name))
	}
	for _, word := range f.brokerOverrides {
		name, setting, ok := strings.Cut(word, ":")
		if !ok || !strings.Contains(setting, "=") {
			return failf("--broker-override %q is not name:key=value", word)
		}
		if o.BrokerOverrides == nil {
			o.BrokerOverrides = make(map[string][]string)
		}
		o.BrokerOverrides[name] = append(o.BrokerOverrides[name], setting)
	}
	o.HeapOpts = strings.Fields(f.heap)
	if o.Invocation, err = invocation(cmd, f.quiet); err != nil {
		return err
	}
	o.CacheDir = kafkadist.CacheDir()
	return nil
}
