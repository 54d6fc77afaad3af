package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"freshet/cli/jopt"
)

// kafkaVersion is the release of Apache Kafka whose tools these follow.
const kafkaVersion = "4.3.1"

// kafkaTools are Apache Kafka's tools by the name of their script, without
// ".sh". init fills it, since the builders refer back to it through help.
var kafkaTools []kafkaToolEntry

type kafkaToolEntry struct {
	name    string
	summary string
	build   func() *cobra.Command
}

func init() {
	kafkaTools = []kafkaToolEntry{
		{"kafka-topics", "Create, list, describe, alter and delete topics", newKafkaTopicsCommand},
		{"kafka-console-producer", "Send lines of standard input as records", newConsoleProducerCommand},
		{"kafka-console-consumer", "Print records as lines", newConsoleConsumerCommand},
		{"kafka-consumer-groups", "List, describe, delete and reset consumer groups", newConsumerGroupsCommand},
		{"kafka-configs", "Show and change settings of topics, brokers and others", newKafkaConfigsCommand},
		{"kafka-get-offsets", "Show partitions' offsets", newGetOffsetsCommand},
		{"kafka-delete-records", "Delete the oldest records of partitions", newDeleteRecordsCommand},
		{"kafka-dump-log", "Print what log, index and snapshot files hold", newKafkaDumpLogCommand},
		{"kafka-server-start", "Start a broker from a server.properties", newServerStartCommand},
		{"kafka-server-stop", "Stop the brokers that run here", newServerStopCommand},
		{"kafka-storage", "Format log directories and tell what is in them", newKafkaStorageCommand},
		{"kafka-cluster", "Tell a cluster's id and nodes, forget brokers", newKafkaClusterCommand},
		{"kafka-metadata-quorum", "Show and change the quorum of controllers", newMetadataQuorumCommand},
		{"kafka-features", "Show and change the levels of features", newFeaturesCommand},
		{"kafka-reassign-partitions", "Move partitions between brokers and directories", newReassignPartitionsCommand},
		{"kafka-leader-election", "Elect leaders again", newLeaderElectionCommand},
		{"kafka-log-dirs", "Show what brokers' log directories hold", newLogDirsCommand},
		{"kafka-broker-api-versions", "Show which requests brokers understand", newBrokerAPIVersionsCommand},
		{"kafka-producer-perf-test", "Measure a producer", newProducerPerfTestCommand},
		{"kafka-consumer-perf-test", "Measure a consumer", newConsumerPerfTestCommand},
		{"kafka-e2e-latency", "Measure the time from producer to consumer", newE2ELatencyCommand},
	}
}

// joptTool is a Kafka tool whose flags joptsimple reads.
type joptTool struct {
	intro      string // printed above the help
	parser     *jopt.Parser
	repeatable []string // options that may be given more than once
	run        func(ctx context.Context, t *toolIO, s *jopt.Set) error
}

// toolIO is what a Kafka tool reads and writes.
type toolIO struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// command wraps the tool for cobra, which passes the arguments untouched.
func (tool joptTool) command() *cobra.Command {
	return &cobra.Command{
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			t := &toolIO{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()}
			return tool.execute(cmd.Context(), t, args)
		},
	}
}

// execute parses and runs. As in Kafka, help goes to standard error and exits
// with 1, and so does a refused command line.
func (tool joptTool) execute(ctx context.Context, t *toolIO, args []string) error {
	s, err := tool.parser.Parse(args)
	if err == nil && (len(args) == 0 || s.Has("help")) {
		err = &usageError{tool.intro}
	}
	if err == nil && s.Has("version") {
		fmt.Fprintln(t.out, kafkaVersion)
		return nil
	}
	if err == nil {
		err = s.Validate(tool.repeatable...)
	}
	if err == nil {
		err = tool.run(ctx, t, s)
	}
	switch e := err.(type) {
	case *usageError:
		fmt.Fprintln(t.err, e.msg)
	case *jopt.Error:
		fmt.Fprintln(t.err, e.Error())
	default:
		return err
	}
	if err := tool.parser.WriteHelp(t.err); err != nil {
		return err
	}
	return errSilent
}

// usageError is a command line that is well formed but makes no sense; the
// help is printed below its message.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// logError prints a line as Kafka's tools log errors to standard error by the
// log4j configuration they ship with.
func logError(w io.Writer, class, format string, args ...any) {
	fmt.Fprintf(w, "[%s] ERROR %s (%s)\n", time.Now().Format("2006-01-02 15:04:05,000"),
		fmt.Sprintf(format, args...), class)
}

// Options that several tools share.
func bootstrapOption() jopt.Option {
	return jopt.Option{Name: "bootstrap-server", Arity: jopt.Required, ArgName: "server to connect to", Required: true,
		Help: "Brokers to ask first, as host:port, separated by commas."}
}

func commandConfigOption() jopt.Option {
	return jopt.Option{Name: "command-config", Arity: jopt.Required, ArgName: "config file",
		Help: "File of client properties, such as security settings."}
}
