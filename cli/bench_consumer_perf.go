package cli

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/bench/perf"
	"freshet/cli/jopt"
)

// newConsumerPerfTestCommand is kafka-consumer-perf-test.sh
// (org.apache.kafka.tools.ConsumerPerformance).
func newConsumerPerfTestCommand() *cobra.Command {
	return joptTool{
		intro:      "This tool is used to verify the consumer performance.",
		repeatable: []string{"command-property"},
		parser: jopt.NewParser(
			bootstrapOption(),
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic", Help: "The topic to read."},
			jopt.Option{Name: "include", Arity: jopt.Required, ArgName: "Java regex (String)", Help: "Read every topic whose name matches."},
			jopt.Option{Name: "group", Arity: jopt.Required, ArgName: "gid", Default: fmt.Sprintf("perf-consumer-%d", rand.IntN(100_000)), Help: "The group to join."},
			jopt.Option{Name: "fetch-size", Arity: jopt.Required, Kind: jopt.Int, ArgName: "size", Default: "1048576", Help: "The most to fetch from one partition in a request, in bytes."},
			jopt.Option{Name: "command-property", Arity: jopt.Required, ArgName: "prop1=val1", Help: "A consumer property, key=value; may be repeated. It goes above those of --command-config."},
			jopt.Option{Name: "from-latest", Help: "Start at the newest record when the group has no offset yet."},
			jopt.Option{Name: "socket-buffer-size", Arity: jopt.Required, Kind: jopt.Int, ArgName: "size", Default: "2097152", Help: "The size of the socket's receive buffer in bytes; the system's own here."},
			jopt.Option{Name: "consumer.config", Arity: jopt.Required, ArgName: "config file", Help: "Deprecated: use --command-config."},
			commandConfigOption(),
			jopt.Option{Name: "print-metrics", Help: "Print the client's metrics at the end."},
			jopt.Option{Name: "show-detailed-stats", Help: "Print a line for each --reporting-interval."},
			jopt.Option{Name: "timeout", Arity: jopt.Optional, Kind: jopt.Long, ArgName: "milliseconds", Default: "10000", Help: "The longest wait for the next record."},
			jopt.Option{Name: "messages", Arity: jopt.Required, Kind: jopt.Long, ArgName: "count", Help: "Deprecated: use --num-records."},
			jopt.Option{Name: "num-records", Arity: jopt.Required, Kind: jopt.Long, ArgName: "count", Required: true, Help: "How many records to read."},
			jopt.Option{Name: "reporting-interval", Arity: jopt.Required, Kind: jopt.Long, ArgName: "interval_ms", Default: "5000", Help: "How often to print progress, in milliseconds."},
			jopt.Option{Name: "date-format", Arity: jopt.Required, ArgName: "date format", Default: "yyyy-MM-dd HH:mm:ss:SSS", Help: "How to print times, as in java.text.SimpleDateFormat."},
			jopt.Option{Name: "hide-header", Help: "Leave the column names out."},
		),
		run: runConsumerPerf,
	}.command()
}

func runConsumerPerf(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := checkConsumerPerf(t, s); err != nil {
		return err
	}
	test, err := consumerPerfTest(s)
	if err != nil {
		return err
	}
	props, err := consumerPerfProps(s)
	if err != nil {
		return err
	}
	opts, err := consumerPerfOptions(s, props)
	if err != nil {
		return failf("%v", err)
	}
	opts = append(opts, test.Joining.Options()...)
	if s.Has("print-metrics") {
		test.Metrics = perf.NewConsumerMetrics(props["client.id"])
		opts = append(opts, kgo.WithHooks(test.Metrics))
	}
	test.PrintHeader(t.out)
	cl, err := newClient(props, roleConsumer, t.err, opts...)
	if err != nil {
		return failf("%v", err)
	}
	defer cl.Close()
	if err := test.Run(ctx, cl, t.out); err != nil {
		return benchError(ctx, err)
	}
	return nil
}

// consumerPerfOptions join the group as Kafka's consumer does by default:
// range and cooperative assignment, and what was polled is committed now and
// then.
func consumerPerfOptions(s *jopt.Set, props clientProps) ([]kgo.Opt, error) {
	opts, err := consumeOptions(consumeSpec{topic: s.Str("topic"), topicRegex: s.Str("include")}, props)
	if err != nil {
		return nil, err
	}
	opts = append(opts, kgo.ConsumerGroup(s.Str("group")),
		kgo.Balancers(kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()))
	if strings.EqualFold(props["enable.auto.commit"], "false") {
		opts = append(opts, kgo.DisableAutoCommit())
	}
	of, err := groupOptions(props)
	return append(opts, of...), err
}

// checkConsumerPerf are the tool's rules and warnings, in its words.
func checkConsumerPerf(t *toolIO, s *jopt.Set) error {
	if err := s.CheckRequired("bootstrap-server"); err != nil {
		return err
	}
	if err := s.CheckOneOf("topic", "include"); err != nil {
		return err
	}
	if err := s.CheckOneOf("messages", "num-records"); err != nil {
		return err
	}
	if err := s.CheckInvalid("consumer.config", "command-config"); err != nil {
		return err
	}
	if interval := s.Str("reporting-interval"); !regexp.MustCompile(`^\d+$`).MatchString(interval) {
		return usagef("Value [%s] did not match regex [^\\d+$]", interval)
	}
	if s.Has("messages") {
		fmt.Fprintln(t.out, "Warning: --messages is deprecated. Use --num-records instead.")
	}
	if s.Has("consumer.config") {
		fmt.Fprintln(t.out, "Warning: --consumer.config is deprecated. Use --command-config instead.")
	}
	return nil
}

func consumerPerfTest(s *jopt.Set) (perf.ConsumerTest, error) {
	test := perf.ConsumerTest{
		NumRecords:        s.Int64("num-records"),
		Timeout:           time.Duration(s.Int64("timeout")) * time.Millisecond,
		ReportingInterval: time.Duration(s.Int64("reporting-interval")) * time.Millisecond,
		Detailed:          s.Has("show-detailed-stats"),
		HideHeader:        s.Has("hide-header"),
		Joining:           perf.NewJoinTimer(),
	}
	if s.Has("messages") {
		test.NumRecords = s.Int64("messages")
	}
	if test.ReportingInterval <= 0 {
		return test, failf("Reporting interval must be greater than 0.")
	}
	var err error
	if test.DateFormat, err = perf.ParseDateFormat(s.Str("date-format")); err != nil {
		return test, failf("%v", err)
	}
	return test, nil
}

func consumerPerfProps(s *jopt.Set) (clientProps, error) {
	file := s.Str("command-config")
	if s.Has("consumer.config") {
		file = s.Str("consumer.config")
	}
	props, err := loadProps(file)
	if err != nil {
		return nil, failf("%v", err)
	}
	props.add(s.Values("command-property"))
	props["bootstrap.servers"] = s.Str("bootstrap-server")
	props["max.partition.fetch.bytes"] = s.Str("fetch-size")
	props["auto.offset.reset"] = "earliest"
	if s.Has("from-latest") {
		props["auto.offset.reset"] = "latest"
	}
	props["check.crcs"] = "false"
	props.setDefault("client.id", "perf-consumer-client")
	return props, nil
}
