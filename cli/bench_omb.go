package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/bench/omb"
)

// ombFlags are the flags of `bench omb`.
type ombFlags struct {
	drivers, workloads []string
	output             string
	bootstrap          string
	replicas           int16
	warmup, test       time.Duration
}

// newBenchOMBCommand builds `bench omb`.
func newBenchOMBCommand() *cobra.Command {
	f := &ombFlags{}
	cmd := &cobra.Command{
		Use:   "omb --driver driver.yaml --workload workload.yaml",
		Short: "Run workloads of the OpenMessaging Benchmark",
		Long: `Run workload files of the OpenMessaging Benchmark against a Kafka broker, without
its Java: driver and workload YAML files are taken as they are, and the result
is written in its JSON.

The broker is the driver file's bootstrap.servers. Every workload is run with
every driver. A result goes to <workload>-<driver>-<date>.json, as there, or to
--output. Keys that have no effect are named in a warning.`,
		Example: `  freshet bench omb --driver driver-kafka/kafka-throughput.yaml --workload workloads/1-topic-16-partitions-1kb.yaml
  freshet bench omb -d kafka.yaml --replication-factor 1 --warmup-duration 10s --test-duration 1m workloads/*.yaml`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.workloads = append(f.workloads, args...)
			return f.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVarP(&f.drivers, "driver", "d", nil, "driver files")
	flags.StringSliceVar(&f.drivers, "drivers", nil, "the same, as the benchmark itself spells it")
	flags.StringSliceVar(&f.workloads, "workload", nil, "workload files; they may also be given as arguments")
	flags.StringVarP(&f.output, "output", "o", "", "file for the result; only with one driver and one workload")
	flags.StringVar(&f.bootstrap, "bootstrap-server", "", "drive this broker instead of the driver file's bootstrap.servers")
	flags.Int16Var(&f.replicas, "replication-factor", 0, "replicas of the topics instead of the driver file's replicationFactor; a larger min.insync.replicas is lowered to it")
	flags.DurationVar(&f.warmup, "warmup-duration", 0, "length of the warm-up instead of the file's minutes, such as 10s")
	flags.DurationVar(&f.test, "test-duration", 0, "length of the test instead of the file's minutes")
	return cmd
}

// run runs every workload with every driver.
func (f *ombFlags) run(cmd *cobra.Command) error {
	if len(f.drivers) == 0 || len(f.workloads) == 0 {
		return failf("give at least one --driver and one --workload file")
	}
	if f.output != "" && len(f.drivers)*len(f.workloads) > 1 {
		return failf("--output names one result, and there are %d drivers and %d workloads", len(f.drivers), len(f.workloads))
	}
	// Everything is read before the first run: a mistake in the last file is
	// not to come out after an hour.
	var drivers []omb.Driver
	for _, name := range f.drivers {
		d, err := f.readDriver(name, cmd.ErrOrStderr())
		if err != nil {
			return failf("%s: %v", name, err)
		}
		drivers = append(drivers, d)
	}
	var workloads []omb.Workload
	for _, name := range f.workloads {
		data, err := os.ReadFile(name)
		if err != nil {
			return failf("cannot read the workload file: %v", err)
		}
		w, warnings, err := omb.ParseWorkload(data)
		if err != nil {
			return failf("%s: %v", name, err)
		}
		for _, warning := range warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "Warning: %s: %s\n", name, warning)
		}
		workloads = append(workloads, w)
	}
	for i, w := range workloads {
		for _, d := range drivers {
			if err := f.runOne(cmd, d, w, workloadName(f.workloads[i])); err != nil {
				return benchError(cmd.Context(), err)
			}
		}
	}
	return nil
}

// readDriver reads a driver file and puts the flags above it.
func (f *ombFlags) readDriver(name string, warn io.Writer) (omb.Driver, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return omb.Driver{}, err
	}
	d, unknown, err := omb.ParseDriver(data)
	if err != nil {
		return d, err
	}
	for _, key := range unknown {
		fmt.Fprintf(warn, "Warning: %s: unknown key %s\n", name, key)
	}
	if f.bootstrap != "" {
		for _, props := range []map[string]string{d.Common, d.Producer, d.Consumer} {
			delete(props, "bootstrap.servers")
		}
		d.Common["bootstrap.servers"] = f.bootstrap
	}
	if f.replicas > 0 {
		d.ReplicationFactor = f.replicas
		if insync, err := strconv.Atoi(d.Topic["min.insync.replicas"]); err == nil && insync > int(f.replicas) {
			fmt.Fprintf(warn, "Warning: %s: min.insync.replicas is lowered from %d to %d, the replicas of --replication-factor\n", name, insync, f.replicas)
			d.Topic["min.insync.replicas"] = strconv.Itoa(int(f.replicas))
		}
	}
	return d, nil
}

// workloadName is the file's name without its ending.
func workloadName(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// runOne runs one workload with one driver and writes its result.
func (f *ombFlags) runOne(cmd *cobra.Command, d omb.Driver, w omb.Workload, name string) error {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "--------------- WORKLOAD : %s --- DRIVER : %s---------------\n", w.Name, d.Name)
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	warned := &onceWriter{w: cmd.ErrOrStderr(), seen: make(map[string]bool)}
	result, counts, err := omb.Run(ctx, omb.Options{
		Driver: d, Workload: w, Warmup: f.warmup, Test: f.test, Out: out, Warnings: cmd.ErrOrStderr(),
		NewClient: func(role omb.Role, props map[string]string, extra ...kgo.Opt) (*kgo.Client, error) {
			return newClient(props, map[omb.Role]clientRole{omb.RoleAdmin: roleAdmin, omb.RoleProducer: roleProducer, omb.RoleConsumer: roleConsumer}[role],
				warned, extra...)
		},
	})
	if err != nil {
		return fmt.Errorf("workload %s with driver %s: %w", w.Name, d.Name, err)
	}
	fmt.Fprintf(out, "%d messages acknowledged, %d failed, %d consumed\n", counts.Sent, counts.Failed, counts.Received)
	path := cmp.Or(f.output, fmt.Sprintf("%s-%s-%s.json", name, strings.ReplaceAll(d.Name, string(filepath.Separator), "-"), time.Now().Format("2006-01-02-15-04-05")))
	fmt.Fprintf(out, "Writing test result into %s\n", path)
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	if err := result.WriteJSON(file); err != nil {
		file.Close()
		return fmt.Errorf("cannot write the result: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	drawReport(cmd.ErrOrStderr(), path)
	return nil
}

// onceWriter writes each line once: the clients of a run have the same
// properties and would warn of them one by one. Clients are made one at a time.
type onceWriter struct {
	w    io.Writer
	seen map[string]bool
}

func (o *onceWriter) Write(line []byte) (int, error) {
	if o.seen[string(line)] {
		return len(line), nil
	}
	o.seen[string(line)] = true
	return o.w.Write(line)
}
