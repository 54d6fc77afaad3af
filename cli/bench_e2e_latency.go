package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/bench/perf"
	"freshet/cli/jopt"
)

// newE2ELatencyCommand is kafka-e2e-latency.sh
// (org.apache.kafka.tools.EndToEndLatency), with named options and with the
// older ones by position.
func newE2ELatencyCommand() *cobra.Command {
	size := func(name, help string) jopt.Option {
		return jopt.Option{Name: name, Arity: jopt.Optional, Kind: jopt.Int, ArgName: "bytes", Default: "0", Help: help}
	}
	// joptsimple takes a number that starts with a hyphen for a value here.
	headerSize := size("record-header-size", "Size of the headers' values; -1 for null.")
	headerSize.Arity = jopt.Required
	headers := size("num-headers", "How many headers each record has.")
	headers.ArgName = "count"
	commandConfig := commandConfigOption()
	commandConfig.Arity = jopt.Optional
	tool := joptTool{
		intro: "This tool measures end-to-end latency in Kafka by sending messages and timing their reception.",
		parser: jopt.NewParser(
			bootstrapOption(),
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic-name", Required: true, Help: "The topic to use; it is created with one partition if it does not exist."},
			jopt.Option{Name: "num-records", Arity: jopt.Required, Kind: jopt.Int, ArgName: "count", Required: true, Help: "How many records to send."},
			jopt.Option{Name: "producer-acks", Arity: jopt.Required, ArgName: "producer-acks", Required: true, Help: "1 or all."},
			jopt.Option{Name: "record-size", Arity: jopt.Required, Kind: jopt.Int, ArgName: "bytes", Required: true, Help: "Size of the values."},
			size("record-key-size", "Size of the keys."),
			size("record-header-key-size", "Size of the headers' keys."),
			headerSize,
			headers,
			commandConfig,
		),
		run: runE2ELatency,
	}
	cmd := tool.command()
	named := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		args, err := nameE2EArguments(args, func(line string) { fmt.Fprintln(cmd.OutOrStdout(), line) })
		if err != nil {
			return err
		}
		return named(cmd, args)
	}
	return cmd
}

// e2ePositions are the options in the order of the older command line.
var e2ePositions = []string{"--bootstrap-server", "--topic", "--num-records", "--producer-acks", "--record-size", "--command-config"}

// nameE2EArguments turns arguments by position into named ones and warns.
func nameE2EArguments(args []string, warn func(string)) ([]string, error) {
	required := e2ePositions[:5]
	if len(args) == 0 || slices.ContainsFunc(args, func(a string) bool {
		return slices.Contains(required, a) || a == "--help" || a == "--version"
	}) {
		return args, nil
	}
	if len(args) != 5 && len(args) != 6 {
		return nil, failf("Invalid number of arguments. Expected 5 or 6 positional arguments, but got %d. "+
			"Usage: bootstrap-server topic num-records producer-acks record-size [optional] command-config", len(args))
	}
	var out []string
	for i, arg := range args {
		out = append(out, e2ePositions[i], arg)
	}
	warn("WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. " +
		"Please use named arguments instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, --command-config")
	return out, nil
}

// checkE2ELatency are the tool's rules, in its words.
func checkE2ELatency(s *jopt.Set) error {
	if err := s.CheckRequired("bootstrap-server", "topic", "num-records", "producer-acks", "record-size"); err != nil {
		return err
	}
	if acks := s.Str("producer-acks"); acks != "1" && acks != "all" {
		return usagef("Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'.")
	}
	if s.Int64("num-records") <= 0 {
		return usagef("Value for --num-records must be a positive integer.")
	}
	for _, name := range []string{"record-size", "record-key-size", "record-header-key-size", "num-headers"} {
		if s.Int64(name) < 0 {
			return usagef("Value for --%s must be a non-negative integer.", name)
		}
	}
	if s.Int64("record-header-size") < -1 {
		return usagef("Value for --record-header-size must be a non-negative integer or -1 for null header value.")
	}
	return nil
}

func runE2ELatency(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := checkE2ELatency(s); err != nil {
		return err
	}
	base, err := loadProps(s.Str("command-config"))
	if err != nil {
		return failf("%v", err)
	}
	base["bootstrap.servers"] = s.Str("bootstrap-server")
	test := perf.E2ETest{
		Topic:           s.Str("topic"),
		NumRecords:      int(s.Int64("num-records")),
		ValueSize:       int(s.Int64("record-size")),
		KeySize:         int(s.Int64("record-key-size")),
		NumHeaders:      int(s.Int64("num-headers")),
		HeaderKeySize:   int(s.Int64("record-header-key-size")),
		HeaderValueSize: int(s.Int64("record-header-size")),
	}
	producerProps := maps.Clone(base)
	producerProps["linger.ms"] = "0"
	producerProps["acks"] = s.Str("producer-acks")
	producer, err := newClient(producerProps, roleProducer, t.err)
	if err != nil {
		return failf("%v", err)
	}
	defer producer.Close()
	start, err := test.EnsureTopic(ctx, producer, t.out)
	if err != nil {
		return failf("%v", err)
	}
	consumerProps := maps.Clone(base)
	consumerProps["fetch.max.wait.ms"] = "0"
	consumer, err := newClient(consumerProps, roleConsumer, t.err,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{test.Topic: start}))
	if err != nil {
		return failf("%v", err)
	}
	defer consumer.Close()
	if err := test.Run(ctx, producer, consumer, t.out); err != nil {
		return benchError(ctx, err)
	}
	return nil
}
