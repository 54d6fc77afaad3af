package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/cli/jopt"
)

// newConsumerGroupsCommand is kafka-consumer-groups.sh
// (org.apache.kafka.tools.consumer.group.ConsumerGroupCommand). One difference:
// it exits with 1 when it printed an error, where Kafka's exits with 0.
func newConsumerGroupsCommand() *cobra.Command {
	return joptTool{
		intro:      "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.",
		repeatable: []string{"group", "topic"},
		parser: jopt.NewParser(
			bootstrapOption(), commandConfigOption(),
			jopt.Option{Name: "group", Arity: jopt.Required, ArgName: "consumer group", Help: "The group; may be repeated."},
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic", Help: "A topic, or some of its partitions as topic1:0,1,2; may be repeated."},
			jopt.Option{Name: "all-topics", Help: "Every topic the group has offsets for."},
			jopt.Option{Name: "all-groups", Help: "Every group."},
			jopt.Option{Name: "list", Help: "List the groups."},
			jopt.Option{Name: "describe", Help: "Show a group's offsets and lag, or what --members or --state asks for."},
			jopt.Option{Name: "delete", Help: "Delete groups that have no members."},
			jopt.Option{Name: "reset-offsets", Help: "Set the offsets of a group that has no members. Needs a scope (--topic or --all-topics), one of the --to-... or similar options, and --execute to take effect."},
			jopt.Option{Name: "delete-offsets", Help: "Forget a group's offsets for topics."},
			jopt.Option{Name: "validate-regex", Arity: jopt.Required, ArgName: "regex", Help: "Tell whether a regular expression is valid."},
			jopt.Option{Name: "timeout", Arity: jopt.Required, Kind: jopt.Long, ArgName: "timeout (ms)", Default: "30000", Help: "Longest wait for an answer."},
			jopt.Option{Name: "dry-run", Help: "Only show what --reset-offsets would set."},
			jopt.Option{Name: "execute", Help: "Do what --reset-offsets says."},
			jopt.Option{Name: "export", Help: "Print the offsets as CSV."},
			jopt.Option{Name: "to-offset", Arity: jopt.Required, Kind: jopt.Long, ArgName: "offset", Help: "Set to this offset."},
			jopt.Option{Name: "from-file", Arity: jopt.Required, ArgName: "path to CSV file", Help: "Set to the offsets of an exported file."},
			jopt.Option{Name: "to-datetime", Arity: jopt.Required, ArgName: "datetime", Help: "Set to the first record at or after YYYY-MM-DDTHH:mm:SS.sss."},
			jopt.Option{Name: "by-duration", Arity: jopt.Required, ArgName: "duration", Help: "Set to the first record not older than PnDTnHnMnS."},
			jopt.Option{Name: "to-earliest", Help: "Set to the oldest record."},
			jopt.Option{Name: "to-latest", Help: "Set to the end."},
			jopt.Option{Name: "to-current", Help: "Set to the present offsets."},
			jopt.Option{Name: "shift-by", Arity: jopt.Required, Kind: jopt.Long, ArgName: "number-of-offsets", Help: "Move by this many records, back when negative."},
			jopt.Option{Name: "members", Help: "With --describe: the members."},
			jopt.Option{Name: "offsets", Help: "With --describe: offsets and lag, as without it."},
			jopt.Option{Name: "state", Arity: jopt.Optional, Help: "With --describe: the group's state. With --list: show states, or only those named."},
			jopt.Option{Name: "type", Arity: jopt.Optional, Help: "With --list: show types, or only those named: classic, consumer."},
			jopt.Option{Name: "verbose", Help: "Show more columns."},
		),
		run: runConsumerGroups,
	}.command()
}

var resetScenarios = []string{"to-offset", "to-datetime", "by-duration", "to-earliest", "to-latest", "to-current", "shift-by", "from-file"}

func checkConsumerGroups(t *toolIO, s *jopt.Set) error {
	if !s.Has("validate-regex") {
		if err := s.CheckRequired("bootstrap-server"); err != nil {
			return err
		}
	}
	anyGroup := s.HasAny("group", "all-groups")
	switch {
	case s.Has("describe") && !anyGroup:
		return usagef("Option [describe] takes one of these options: [group], [all-groups]")
	case s.Has("describe") && countOptions(s, "members", "offsets", "state") > 1:
		return usagef("Option [describe] takes at most one of these options: [members], [offsets], [state]")
	case s.Has("describe") && len(s.Values("state")) > 0:
		return usagef("Option [describe] does not take a value for [state]")
	case s.Has("delete") && !anyGroup:
		return usagef("Option [delete] takes one of these options: [group], [all-groups]")
	case s.Has("delete") && s.Has("topic"):
		return usagef("The consumer does not support topic-specific offset deletion from a consumer group.")
	case s.Has("delete-offsets") && !(s.Has("group") && s.Has("topic")):
		return usagef("Option [delete-offsets] takes the following options: [group], [topic]")
	}
	if s.Has("reset-offsets") {
		if err := checkReset(t, s, anyGroup); err != nil {
			return err
		}
	}
	for _, err := range []error{s.CheckInvalid("group", "all-groups"), s.CheckInvalid("group", "list"),
		s.CheckInvalid("topic", "list", "describe")} {
		if err != nil {
			return err
		}
	}
	if countOptions(s, "list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex") != 1 {
		return usagef("Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex")
	}
	return nil
}

func countOptions(s *jopt.Set, names ...string) int {
	n := 0
	for _, name := range names {
		if s.Has(name) {
			n++
		}
	}
	return n
}

func checkReset(t *toolIO, s *jopt.Set, anyGroup bool) error {
	switch {
	case s.Has("dry-run") && s.Has("execute"):
		return usagef("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
	case !s.HasAny("dry-run", "execute"):
		fmt.Fprintln(t.err, "WARN: No action will be performed as the --execute option is missing. "+
			"In version 5.0, this command will require either --dry-run or --execute to be specified. "+
			"You should add the --dry-run option explicitly if you are scripting this command and want to "+
			"keep the current default behavior without prompting.")
	}
	if !anyGroup {
		return usagef("Option [reset-offsets] takes one of these options: [group], [all-groups]")
	}
	for _, used := range resetScenarios {
		for _, other := range resetScenarios {
			if other != used {
				if err := s.CheckInvalid(used, other); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func runConsumerGroups(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := checkConsumerGroups(t, s); err != nil {
		return err
	}
	if s.Has("validate-regex") {
		return validateRegex(t, s.Str("validate-regex"))
	}
	cl, err := toolClient(ctx, t, s)
	if err != nil {
		return orFail(err)
	}
	defer cl.Close()
	c := &groupsCommand{t: t, set: s, cl: cl}
	switch {
	case s.Has("list"):
		err = c.list(ctx)
	case s.Has("describe"):
		err = c.describe(ctx)
	case s.Has("delete"):
		err = c.delete(ctx)
	case s.Has("reset-offsets"):
		err = c.reset(ctx)
	default:
		err = c.deleteOffsets(ctx)
	}
	return c.failure(err)
}

// groupsCommand is kafka-consumer-groups.sh with its command line checked.
type groupsCommand struct {
	t      *toolIO
	set    *jopt.Set
	cl     *kgo.Client
	failed bool // an error was printed
}

// failure prints an error that stopped the command, as Kafka's tool does.
func (c *groupsCommand) failure(err error) error {
	var usage *usageError
	switch {
	case err == nil && c.failed:
		return errSilent
	case err == nil, errors.Is(err, errInterrupted), errors.Is(err, context.Canceled), errors.As(err, &usage):
		return err
	}
	text := message(err)
	var be *brokerError
	var ke *kerr.Error
	if errors.As(err, &be) || errors.As(err, &ke) {
		text = exceptionName(err) + ": " + text
	}
	c.printError("Executing consumer group command failed due to " + text)
	return errSilent
}

func (c *groupsCommand) printError(text string) {
	c.failed = true
	fmt.Fprintf(c.t.out, "\nError: %s\n", text)
}

func validateRegex(t *toolIO, pattern string) error {
	if _, err := regexp.Compile(pattern); err != nil {
		reason := err.Error()
		if i := strings.LastIndex(reason, "parsing regexp: "); i >= 0 {
			reason = reason[i+len("parsing regexp: "):]
		}
		fmt.Fprintf(t.out, "The regular expression `%s` is invalid: %s.\n", pattern, reason)
		return nil
	}
	fmt.Fprintf(t.out, "The regular expression `%s` is valid.\n", pattern)
	return nil
}

var consumerGroupStates = []string{"PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"}

// list prints group ids, or a table when --type or --state is given.
func (c *groupsCommand) list(ctx context.Context) error {
	types, err := parseWords("types", c.set.Str("type"), []string{"Classic", "Consumer"})
	if err != nil {
		return err
	}
	states, err := parseWords("state", c.set.Str("state"), consumerGroupStates)
	if err != nil {
		return err
	}
	groups, err := c.consumerGroups(ctx, types, states)
	if err != nil {
		return err
	}
	if !c.set.HasAny("type", "state") {
		for _, g := range groups {
			fmt.Fprintln(c.t.out, g.ID)
		}
		return nil
	}
	width := 15
	for _, g := range groups {
		width = max(width, len(g.ID))
	}
	row := func(id, kind, state string) {
		line := fmt.Sprintf("%-*s", width+10, id)
		if c.set.Has("type") {
			line += fmt.Sprintf(" %-20s", kind)
		}
		if c.set.Has("state") {
			line += fmt.Sprintf(" %-20s", state)
		}
		fmt.Fprintln(c.t.out, line)
	}
	row("GROUP", "TYPE", "STATE")
	for _, g := range groups {
		row(g.ID, g.Type, g.State)
	}
	return nil
}

// parseWords reads a comma-separated list of valid words in any case.
func parseWords(what, text string, valid []string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var words []string
	for _, word := range strings.Split(text, ",") {
		found := ""
		for _, v := range valid {
			if strings.EqualFold(v, strings.TrimSpace(word)) {
				found = v
			}
		}
		if found == "" {
			return nil, usagef("Invalid %s list '%s'. Valid %s are: %s", what, text,
				strings.TrimSuffix(what, "s")+"s", strings.Join(valid, ", "))
		}
		words = append(words, found)
	}
	return words, nil
}

// consumerGroups lists groups of consumers in the order Kafka's tool does.
func (c *groupsCommand) consumerGroups(ctx context.Context, types, states []string) ([]groupListing, error) {
	groups, err := listGroups(ctx, c.cl, lowerAll(types), states)
	if err != nil {
		return nil, err
	}
	byID := map[string]groupListing{}
	var ids []string
	for _, g := range groups {
		if !isConsumerListing(g) || len(types) > 0 && !containsString(types, g.Type) || len(states) > 0 && !containsString(states, g.State) {
			continue
		}
		byID[g.ID] = g
		ids = append(ids, g.ID)
	}
	kept := make([]groupListing, 0, len(ids))
	for _, id := range javaHashOrder(ids) {
		kept = append(kept, byID[id])
	}
	return kept, nil
}

func lowerAll(words []string) []string {
	var lower []string
	for _, w := range words {
		lower = append(lower, strings.ToLower(w))
	}
	return lower
}

// groupIDs are those of --group, or all with --all-groups, without repeats.
func (c *groupsCommand) groupIDs(ctx context.Context) ([]string, error) {
	if !c.set.Has("all-groups") {
		return javaHashOrder(c.set.Values("group")), nil
	}
	groups, err := c.consumerGroups(ctx, nil, nil)
	var ids []string
	for _, g := range groups {
		ids = append(ids, g.ID)
	}
	return ids, err
}

func (c *groupsCommand) delete(ctx context.Context) error {
	ids, err := c.groupIDs(ctx)
	if err != nil {
		return err
	}
	results, err := deleteGroups(ctx, c.cl, ids)
	if err != nil {
		return err
	}
	var deleted []string
	var failures []string
	for _, id := range javaHashOrder(ids) {
		if err := results[id]; err != nil {
			failures = append(failures, fmt.Sprintf("* Group '%s' could not be deleted due to: %s: %s", id, exceptionName(err), message(err)))
		} else {
			deleted = append(deleted, "'"+id+"'")
		}
	}
	if len(failures) == 0 {
		fmt.Fprintf(c.t.out, "Deletion of requested consumer groups (%s) was successful.\n", strings.Join(deleted, ", "))
		return nil
	}
	c.printError("Deletion of some consumer groups failed:")
	for _, line := range failures {
		fmt.Fprintln(c.t.out, line)
	}
	if len(deleted) > 0 {
		fmt.Fprintf(c.t.out, "\nThese consumer groups were deleted successfully: %s\n", strings.Join(deleted, ", "))
	}
	return nil
}

func (c *groupsCommand) deleteOffsets(ctx context.Context) error {
	group := c.set.Values("group")[0]
	keys, results, err := c.offsetTargets(ctx)
	if err != nil {
		return err
	}
	var top error
	if len(keys) > 0 {
		deleted, err := deleteGroupOffsets(ctx, c.cl, group, keys)
		top = err
		for _, key := range keys {
			results[key] = err
			if err == nil {
				results[key] = deleted[key]
				if deleted[key] != nil && top == nil {
					top = deleted[key]
				}
			}
		}
	}
	switch {
	case top == nil:
		fmt.Fprintf(c.t.out, "Request succeeded for deleting offsets from group %s.\n", group)
	case errors.Is(top, kerr.InvalidGroupID), errors.Is(top, kerr.GroupIDNotFound),
		errors.Is(top, kerr.GroupAuthorizationFailed), errors.Is(top, kerr.NonEmptyGroup):
		c.printError(message(top))
	case errors.Is(top, kerr.GroupSubscribedToTopic), errors.Is(top, kerr.TopicAuthorizationFailed),
		errors.Is(top, kerr.UnknownTopicOrPartition):
		c.printError("Encountered some partition-level error, see the follow-up details.")
	default:
		c.printError("Encountered some unknown error: " + message(top))
	}
	c.printDeletedOffsets(results)
	return nil
}

// offsetTargets expands --topic: a topic without partitions is all of them. A
// topic that does not exist has an error under partition -1.
func (c *groupsCommand) offsetTargets(ctx context.Context) ([]partitionKey, map[partitionKey]error, error) {
	results := map[partitionKey]error{}
	var keys []partitionKey
	for _, arg := range c.set.Values("topic") {
		if strings.Contains(arg, ":") {
			list, err := parseTopicPartitions(arg)
			if err != nil {
				return nil, nil, err
			}
			keys = append(keys, list...)
			continue
		}
		cluster, err := fetchCluster(ctx, c.cl, arg)
		if err != nil {
			results[partitionKey{arg, -1}] = err
			continue
		}
		for _, t := range cluster.topics {
			for _, p := range t.Partitions {
				keys = append(keys, partitionKey{arg, p.Partition})
			}
		}
	}
	return keys, results, nil
}

func (c *groupsCommand) printDeletedOffsets(results map[partitionKey]error) {
	width := 15
	keys := sortedPartitions(results)
	for _, key := range keys {
		width = max(width, len(key.topic))
	}
	sort.SliceStable(keys, func(i, j int) bool {
		return keys[i].topic+fmt.Sprint(keys[i].partition) < keys[j].topic+fmt.Sprint(keys[j].partition)
	})
	fmt.Fprintf(c.t.out, "\n%-*s %-10s %-15s", width, "TOPIC", "PARTITION", "STATUS")
	for _, key := range keys {
		partition, status := "-", "Successful"
		if key.partition >= 0 {
			partition = fmt.Sprint(key.partition)
		}
		if err := results[key]; err != nil {
			status = "Error: " + exceptionName(err) + ": " + message(err)
		}
		fmt.Fprintf(c.t.out, "\n%-*s %-10s %-15s", width, key.topic, partition, status)
	}
	fmt.Fprintln(c.t.out)
}
