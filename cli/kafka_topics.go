package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/cli/jopt"
)

const (
	topicsAlterHint = " (To alter topic configurations, the kafka-configs tool can be used.)"
	topicsClass     = "org.apache.kafka.tools.TopicCommand"
	collisionNote   = "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could " +
		"collide. To avoid issues it is best to use either, but not both."
)

// newKafkaTopicsCommand is kafka-topics.sh (org.apache.kafka.tools.TopicCommand).
func newKafkaTopicsCommand() *cobra.Command {
	return joptTool{
		intro:      "This tool helps to create, delete, describe, or change a topic.",
		repeatable: []string{"config", "delete-config"},
		parser: jopt.NewParser(
			bootstrapOption(), commandConfigOption(),
			jopt.Option{Name: "list", Help: "List the topics."},
			jopt.Option{Name: "create", Help: "Create a topic."},
			jopt.Option{Name: "delete", Help: "Delete topics."},
			jopt.Option{Name: "alter", Help: "Add partitions to topics." + topicsAlterHint},
			jopt.Option{Name: "describe", Help: "Show the details of topics."},
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic",
				Help: "The topic; a regular expression, except with --create."},
			jopt.Option{Name: "topic-id", Arity: jopt.Required, ArgName: "topic-id", Help: "The id of the topic to describe."},
			jopt.Option{Name: "config", Arity: jopt.Required, ArgName: "name=value",
				Help: "A setting of the topic to create; may be repeated." + topicsAlterHint},
			jopt.Option{Name: "delete-config", Arity: jopt.Required, ArgName: "name", Help: "Has had no effect since Kafka 4.0."},
			jopt.Option{Name: "partitions", Arity: jopt.Required, Kind: jopt.Int, ArgName: "# of partitions",
				Help: "How many partitions the topic shall have; the cluster's default when left out. Adding partitions changes which partition a key goes to."},
			jopt.Option{Name: "replication-factor", Arity: jopt.Required, Kind: jopt.Int, ArgName: "replication factor",
				Help: "How many replicas each partition shall have; the cluster's default when left out."},
			jopt.Option{Name: "replica-assignment", Arity: jopt.Required, ArgName: "b1:b2,b1:b3,...",
				Help: "The brokers of each partition, in order, the preferred leader first."},
			jopt.Option{Name: "under-replicated-partitions", Help: "Describe only partitions that lack in-sync replicas."},
			jopt.Option{Name: "unavailable-partitions", Help: "Describe only partitions without a live leader."},
			jopt.Option{Name: "under-min-isr-partitions", Help: "Describe only partitions with fewer in-sync replicas than min.insync.replicas."},
			jopt.Option{Name: "at-min-isr-partitions", Help: "Describe only partitions with just min.insync.replicas in sync."},
			jopt.Option{Name: "topics-with-overrides", Help: "Describe only topics with settings of their own."},
			jopt.Option{Name: "if-exists", Help: "Do nothing, without an error, when the topic does not exist."},
			jopt.Option{Name: "if-not-exists", Help: "Do nothing, without an error, when the topic exists already."},
			jopt.Option{Name: "exclude-internal", Help: "Leave out the topics that brokers keep for themselves."},
			jopt.Option{Name: "partition-size-limit-per-response", Arity: jopt.Required, Kind: jopt.Int,
				ArgName: "partitions", Help: "The most partitions one answer may describe."},
		),
		run: runKafkaTopics,
	}.command()
}

// checkTopicsArgs refuses what TopicCommandOptions.checkArgs refuses.
func checkTopicsArgs(t *toolIO, s *jopt.Set) error {
	actions := 0
	for _, name := range []string{"create", "list", "alter", "describe", "delete"} {
		if s.Has(name) {
			actions++
		}
	}
	if actions != 1 {
		return usagef("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
	}
	if s.Has("delete-config") {
		fmt.Fprintln(t.err, "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future releases.")
	}
	if !s.Has("bootstrap-server") {
		return failf("--bootstrap-server must be specified")
	}
	if s.Has("describe") && s.Has("if-exists") {
		if !s.HasAny("topic", "topic-id") {
			return usagef("--topic or --topic-id is required to describe a topic")
		}
		if s.Has("topic") && s.Has("topic-id") {
			fmt.Fprintln(t.out, "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID")
		}
	}
	if !s.HasAny("list", "describe") {
		if err := s.CheckRequired("topic"); err != nil {
			return err
		}
	}
	if s.Has("alter") {
		if s.Has("config") {
			return usagef("Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\"%s", topicsAlterHint)
		}
		if err := s.CheckRequired("partitions"); err != nil {
			return err
		}
	}
	return checkTopicsCombinations(s)
}

// topicsForbidden lists, for each option, those that exclude it.
var topicsForbidden = []struct {
	option string
	with   []string
}{
	{"config", []string{"describe", "list", "delete"}},
	{"partitions", []string{"describe", "list", "delete"}},
	{"replication-factor", []string{"alter", "describe", "list", "delete"}},
	{"replica-assignment", []string{"describe", "list", "delete"}},
	{"under-replicated-partitions", []string{"alter", "create", "list", "delete", "topics-with-overrides"}},
	{"under-min-isr-partitions", []string{"alter", "create", "list", "delete", "topics-with-overrides"}},
	{"at-min-isr-partitions", []string{"alter", "create", "list", "delete", "topics-with-overrides"}},
	{"unavailable-partitions", []string{"alter", "create", "list", "delete", "topics-with-overrides"}},
	{"topics-with-overrides", []string{"alter", "create", "list", "delete"}},
	{"if-exists", []string{"create", "list"}},
	{"if-not-exists", []string{"alter", "describe", "list", "delete"}},
	{"exclude-internal", []string{"alter", "create", "delete"}},
}

func checkTopicsCombinations(s *jopt.Set) error {
	for _, rule := range topicsForbidden {
		if err := s.CheckInvalid(rule.option, rule.with...); err != nil {
			return err
		}
	}
	if s.Has("create") {
		return s.CheckInvalid("replica-assignment", "partitions", "replication-factor")
	}
	return nil
}

func runKafkaTopics(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := checkTopicsArgs(t, s); err != nil {
		return err
	}
	cl, err := toolClient(ctx, t, s)
	if err == nil {
		defer cl.Close()
		err = topicsAction(ctx, t.out, cl, s)
	}
	if err == nil || errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
		return err
	}
	fmt.Fprintln(t.out, "Error while executing topic command : "+message(err))
	class := "java.lang.IllegalArgumentException"
	var ke *kerr.Error
	if errors.As(err, &ke) {
		class = exceptionName(err)
	}
	logError(t.err, topicsClass, "%s: %s\n", class, message(err))
	return errSilent
}

func topicsAction(ctx context.Context, out io.Writer, cl *kgo.Client, s *jopt.Set) error {
	switch {
	case s.Has("create"):
		return topicsCreate(ctx, out, cl, s)
	case s.Has("alter"):
		return topicsAlter(ctx, cl, s)
	case s.Has("list"):
		names, err := topicsSelect(ctx, cl, s)
		if err == nil {
			_, err = fmt.Fprintln(out, strings.Join(names, "\n"))
		}
		return err
	case s.Has("describe"):
		return topicsDescribe(ctx, out, cl, s)
	}
	names, err := topicsSelect(ctx, cl, s)
	if err == nil {
		err = topicsMustExist(names, s)
	}
	if err == nil {
		err = deleteTopics(ctx, cl, names)
	}
	return err
}

// topicsSelect returns the names that --topic matches, sorted.
func topicsSelect(ctx context.Context, cl *kgo.Client, s *jopt.Set) ([]string, error) {
	c, err := fetchCluster(ctx, cl)
	if err != nil {
		return nil, err
	}
	var filter *topicFilter
	if s.Has("topic") {
		if filter, err = newTopicFilter(s.Str("topic")); err != nil {
			return nil, err
		}
	}
	var names []string
	for _, topic := range c.topics {
		if s.Has("exclude-internal") && (topic.Internal || isInternalTopic(topic.Name)) {
			continue
		}
		if filter == nil || filter.matches(topic.Name) {
			names = append(names, topic.Name)
		}
	}
	return names, nil
}

func topicsMustExist(names []string, s *jopt.Set) error {
	if s.Str("topic") != "" && !s.Has("if-exists") && len(names) == 0 {
		return fmt.Errorf("Topic '%s' does not exist as expected", s.Str("topic"))
	}
	return nil
}

func topicsCreate(ctx context.Context, out io.Writer, cl *kgo.Client, s *jopt.Set) error {
	spec := newTopicSpec{name: s.Str("topic"), partitions: -1, replicationFactor: -1, configs: map[string]string{}}
	for _, word := range s.Values("config") {
		k, v, ok := strings.Cut(word, "=")
		if !ok || strings.TrimSpace(v) == "" || strings.Contains(v, "=") {
			return errors.New(`requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`)
		}
		spec.configs[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	var err error
	if spec.assignment, err = parseAssignment(s.Str("replica-assignment")); err != nil {
		return err
	}
	if strings.ContainsAny(spec.name, "._") {
		fmt.Fprintln(out, collisionNote)
	}
	if s.Has("replication-factor") {
		rf := s.Int64("replication-factor")
		if rf < 1 || rf > math.MaxInt16 {
			return errors.New("The replication factor must be between 1 and 32767 inclusive")
		}
		spec.replicationFactor = int16(rf)
	}
	if s.Has("partitions") {
		if s.Int64("partitions") < 1 {
			return errors.New("The partitions must be greater than 0")
		}
		spec.partitions = int32(s.Int64("partitions"))
	}
	err = createTopic(ctx, cl, spec, false)
	if errors.Is(err, kerr.TopicAlreadyExists) && s.Has("if-not-exists") {
		return nil
	}
	if err == nil {
		_, err = fmt.Fprintf(out, "Created topic %s.\n", spec.name)
	}
	return err
}

// parseAssignment reads brokers as "1:2,2:3": a list for each partition.
func parseAssignment(text string) ([][]int32, error) {
	if text == "" {
		return nil, nil
	}
	var all [][]int32
	for i, list := range strings.Split(text, ",") {
		var brokers []int32
		seen := map[int32]bool{}
		for _, word := range strings.Split(list, ":") {
			n, err := strconv.ParseInt(strings.TrimSpace(word), 10, 32)
			if err != nil {
				return nil, fmt.Errorf("For input string: %q", strings.TrimSpace(word))
			}
			if seen[int32(n)] {
				return nil, fmt.Errorf("Partition replica lists may not contain duplicate entries: %d", n)
			}
			seen[int32(n)] = true
			brokers = append(brokers, int32(n))
		}
		if i > 0 && len(brokers) != len(all[0]) {
			return nil, fmt.Errorf("Partition %d has different replication factor: [%s]", i, joinInts(brokers, ", "))
		}
		all = append(all, brokers)
	}
	return all, nil
}

func topicsAlter(ctx context.Context, cl *kgo.Client, s *jopt.Set) error {
	assignment, err := parseAssignment(s.Str("replica-assignment"))
	if err != nil {
		return err
	}
	names, err := topicsSelect(ctx, cl, s)
	if err == nil {
		err = topicsMustExist(names, s)
	}
	if err != nil || len(names) == 0 {
		return err
	}
	c, err := fetchCluster(ctx, cl, names...)
	if err != nil {
		return err
	}
	for _, topic := range c.topics {
		added := assignment
		if assignment != nil {
			added = assignment[min(len(topic.Partitions), len(assignment)):]
		}
		if err := createPartitions(ctx, cl, topic.Name, int32(s.Int64("partitions")), added); err != nil {
			return err
		}
	}
	return nil
}

// toolClient builds an admin client from --bootstrap-server and
// --command-config. As Kafka's admin client does, it waits up to
// default.api.timeout.ms for a broker to answer.
func toolClient(ctx context.Context, t *toolIO, s *jopt.Set) (*kgo.Client, error) {
	props, err := loadProps(s.Str("command-config"))
	if err != nil {
		return nil, failf("%v", err)
	}
	props["bootstrap.servers"] = s.Str("bootstrap-server")
	cl, err := newClient(props, roleAdmin, t.err)
	if err != nil {
		return nil, failf("%v", err)
	}
	if err := awaitBroker(ctx, cl, props["bootstrap.servers"], apiTimeout(props)); err != nil {
		cl.Close()
		var gone *unreachableError
		if errors.As(err, &gone) {
			fmt.Fprintln(t.err, err)
			return nil, errors.New("Timed out waiting for a node assignment.")
		}
		return nil, err
	}
	return cl, nil
}

// apiTimeout is default.api.timeout.ms, a minute unless set.
func apiTimeout(props clientProps) time.Duration {
	if ms, err := strconv.ParseInt(props["default.api.timeout.ms"], 10, 64); err == nil && ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return time.Minute
}

// resourceTopic and its like keep call sites short.
const (
	resourceTopic  = kmsg.ConfigResourceTypeTopic
	resourceBroker = kmsg.ConfigResourceTypeBroker
)
