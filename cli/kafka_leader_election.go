package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/cli/jopt"
)

// newLeaderElectionCommand is kafka-leader-election.sh
// (org.apache.kafka.tools.LeaderElectionCommand).
func newLeaderElectionCommand() *cobra.Command {
	return joptTool{
		intro: "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are preferred replicas and unclean replicas.",
		parser: jopt.NewParser(
			jopt.Option{Name: "bootstrap-server", Arity: jopt.Required, ArgName: "host:port", Required: true,
				Help: "Brokers to ask first, as host:port, separated by commas."},
			jopt.Option{Name: "admin.config", Arity: jopt.Required, ArgName: "config file", Help: "Deprecated: use --command-config."},
			jopt.Option{Name: "command-config", Arity: jopt.Required, ArgName: "Config file",
				Help: "File of client properties, such as security settings."},
			jopt.Option{Name: "path-to-json-file", Arity: jopt.Required, ArgName: "Path to JSON file",
				Help: "A file that names the partitions:\n{\"partitions\":\n  [{\"topic\": \"foo\", \"partition\": 1},\n   {\"topic\": \"foobar\", \"partition\": 2}]}"},
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic name", Help: "The topic of the one partition to elect for."},
			jopt.Option{Name: "partition", Arity: jopt.Required, Kind: jopt.Int, ArgName: "partition id", Help: "The partition; required with --topic."},
			jopt.Option{Name: "all-topic-partitions", Help: "Elect for every partition that needs it."},
			jopt.Option{Name: "election-type", Arity: jopt.Required, Kind: "ElectionType", ArgName: "election type", Required: true,
				Help: "preferred: the first replica leads again where it is in sync and does not lead. unclean: a partition without a leader gets any live replica, and records that only others had are lost."},
		),
		run: runLeaderElection,
	}.command()
}

// checkElectionArgs refuses what LeaderElectionCommandOptions.validate refuses.
func checkElectionArgs(s *jopt.Set) error {
	var missing []string
	for _, name := range []string{"bootstrap-server", "election-type"} {
		if !s.Has(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return failf("Missing required option(s): %s", strings.Join(missing, ", "))
	}
	if err := s.CheckInvalid("admin.config", "command-config"); err != nil {
		return err
	}
	given := 0
	for _, name := range []string{"topic", "all-topic-partitions", "path-to-json-file"} {
		if s.Has(name) {
			given++
		}
	}
	switch {
	case given != 1:
		return failf("One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file")
	case s.Has("topic") && !s.Has("partition"):
		return failf("Missing required option(s): partition")
	case !s.Has("topic") && s.Has("partition"):
		return failf("Option partition is only allowed if topic is used")
	}
	return nil
}

func runLeaderElection(ctx context.Context, t *toolIO, s *jopt.Set) error {
	kind := strings.ToUpper(s.Str("election-type"))
	if s.Has("election-type") && kind != "PREFERRED" && kind != "UNCLEAN" {
		return failf("Cannot parse argument '%s' of option election-type", s.Str("election-type"))
	}
	if err := checkElectionArgs(s); err != nil {
		return err
	}
	var keys []partitionKey
	switch {
	case s.Has("path-to-json-file"):
		data, err := os.ReadFile(s.Str("path-to-json-file"))
		if err != nil {
			return failf("cannot read --path-to-json-file: %v", err)
		}
		if keys, err = parsePartitionList(string(data)); err != nil {
			return failf("%v", err)
		}
	case s.Has("topic"):
		keys = []partitionKey{{s.Str("topic"), int32(s.Int64("partition"))}}
	}
	file := s.Str("command-config")
	if s.Has("admin.config") {
		fmt.Fprintln(t.out, "Option --admin.config has been deprecated and will be removed in a future version. Use --command-config instead.")
		file = s.Str("admin.config")
	}
	props, err := loadProps(file)
	if err != nil {
		return failf("%v", err)
	}
	props.setDefault("default.api.timeout.ms", "30000")
	a, err := dialAdmin(ctx, props, s.Str("bootstrap-server"), "", t.err)
	if err != nil {
		return electionFailed(t, err)
	}
	defer a.close()
	outcomes, err := a.elect(ctx, kind == "UNCLEAN", keys)
	if err != nil {
		return electionFailed(t, err)
	}
	return electionResults(t, kind, outcomes)
}

// electionFailed tells why the whole request failed.
func electionFailed(t *toolIO, err error) error {
	if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		return err
	}
	var gone *unreachableError
	text := ""
	switch {
	case errors.As(err, &gone):
		fmt.Fprintln(t.err, err)
		text = "Timeout waiting for election results"
	case errors.Is(err, kerr.RequestTimedOut):
		text = "Timeout waiting for election results"
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		text = "Not authorized to perform leader election"
	default:
		return failf("java.util.concurrent.ExecutionException: %s", executionText(err))
	}
	fmt.Fprintln(t.out, text)
	return failf("%s", text)
}

// electionResults prints the outcomes, grouped, each group in the order of a
// java.util.HashSet.
func electionResults(t *toolIO, kind string, outcomes map[partitionKey]error) error {
	var elected, unneeded, failed []partitionKey
	for _, key := range javaPartitionOrder(keysOf(outcomes)) {
		switch err := outcomes[key]; {
		case err == nil:
			elected = append(elected, key)
		case errors.Is(err, kerr.ElectionNotNeeded):
			unneeded = append(unneeded, key)
		default:
			failed = append(failed, key)
		}
	}
	if len(elected) > 0 {
		fmt.Fprintf(t.out, "Successfully completed leader election (%s) for partitions %s\n", kind, joinText(javaPartitionOrder(elected), ", "))
	}
	if len(unneeded) > 0 {
		fmt.Fprintf(t.out, "Valid replica already elected for partitions %s\n", joinText(javaPartitionOrder(unneeded), ", "))
	}
	for _, key := range javaPartitionOrder(failed) {
		fmt.Fprintf(t.out, "Error completing leader election (%s) for partition: %s: %s\n", kind, key, executionText(outcomes[key]))
	}
	if len(failed) > 0 {
		return failf("%s replica(s) could not be elected", strconv.Itoa(len(failed)))
	}
	return nil
}
