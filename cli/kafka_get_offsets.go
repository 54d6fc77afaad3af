package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/cli/jopt"
)

// newGetOffsetsCommand is kafka-get-offsets.sh (org.apache.kafka.tools.GetOffsetShell).
func newGetOffsetsCommand() *cobra.Command {
	return joptTool{
		intro: "An interactive shell for getting topic-partition offsets.",
		parser: jopt.NewParser(
			bootstrapOption(), commandConfigOption(),
			jopt.Option{Name: "topic-partitions", Arity: jopt.Required, ArgName: "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
				Help: "Patterns of partitions: a regular expression for the topic, then, after a colon, a number, or a range without its upper end."},
			jopt.Option{Name: "topic", Arity: jopt.Required, ArgName: "topic", Help: "A regular expression for the topics; all of them when left out."},
			jopt.Option{Name: "partitions", Arity: jopt.Required, ArgName: "partition ids", Help: "Partition numbers, separated by commas; all of them when left out."},
			jopt.Option{Name: "time", Arity: jopt.Required, ArgName: "time", Default: "latest",
				Help: "A time in ms, for the first record not before it, or -1 or latest, -2 or earliest, -3 or max-timestamp, -4 or earliest-local, -5 or latest-tiered, -6 or earliest-pending-upload."},
			jopt.Option{Name: "exclude-internal-topics", Help: "Leave out the topics that brokers keep for themselves."},
		),
		run: runGetOffsets,
	}.command()
}

func runGetOffsets(ctx context.Context, t *toolIO, s *jopt.Set) error {
	if err := s.CheckRequired("bootstrap-server"); err != nil {
		return err
	}
	if err := checkBootstrap(s.Str("bootstrap-server")); err != nil {
		return err
	}
	offsets, err := getOffsets(ctx, t, s)
	if err != nil {
		var exit *exitError
		if errors.Is(err, errInterrupted) || errors.As(err, &exit) {
			return err
		}
		return failf("Error occurred: %s", message(err))
	}
	keys := sortedPartitions(offsets)
	sort.SliceStable(keys, func(i, j int) bool { return keys[i].String() < keys[j].String() })
	for _, key := range keys {
		fmt.Fprintf(t.out, "%s:%d:%d\n", key.topic, key.partition, offsets[key])
	}
	return nil
}

// String is TopicPartition.toString.
func (k partitionKey) String() string { return k.topic + "-" + strconv.Itoa(int(k.partition)) }

func getOffsets(ctx context.Context, t *toolIO, s *jopt.Set) (map[partitionKey]int64, error) {
	if s.Has("topic-partitions") && s.HasAny("topic", "partitions") {
		return nil, errors.New("--topic-partitions cannot be used with --topic or --partitions")
	}
	time, err := parseOffsetTime(s.Str("time"))
	if err != nil {
		return nil, err
	}
	filter, err := newPartitionFilter(s)
	if err != nil {
		return nil, err
	}
	cl, err := toolClient(ctx, t, s)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	wanted, err := matchPartitions(ctx, cl, filter, s.Has("exclude-internal-topics"))
	if err != nil {
		return nil, err
	}
	if len(wanted) == 0 {
		return nil, errors.New("Could not match any topic-partitions with the specified filters")
	}
	for key := range wanted {
		wanted[key] = time
	}
	answers, err := listOffsets(ctx, cl, wanted, 0)
	if err != nil {
		return nil, err
	}
	offsets := map[partitionKey]int64{}
	for _, key := range sortedPartitions(answers) {
		switch a := answers[key]; {
		case a.err != nil:
			fmt.Fprintf(t.err, "Skip getting offsets for topic-partition %s due to error: %s: %s\n", key, exceptionName(a.err), message(a.err))
		case a.offset >= 0:
			offsets[key] = a.offset
		}
	}
	return offsets, nil
}

var offsetTimes = map[string]int64{"latest": -1, "earliest": -2, "max-timestamp": -3,
	"earliest-local": -4, "latest-tiered": -5, "earliest-pending-upload": -6}

func parseOffsetTime(text string) (int64, error) {
	if t, ok := offsetTimes[text]; ok {
		return t, nil
	}
	t, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("Malformed time argument %s. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / "+
			"-4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp", text)
	}
	return t, nil
}

// partitionFilter is a list of rules of which one must match.
type partitionFilter []partitionRule

type partitionRule struct {
	topics    *topicFilter
	only      map[int32]bool // nil: those from low up to, but not including, high
	low, high int64
}

var partitionPattern = regexp.MustCompile(`^([^:,]*)(?::(?:([0-9]*)|(?:([0-9]*)-([0-9]*))))?$`)

func newPartitionFilter(s *jopt.Set) (partitionFilter, error) {
	if !s.Has("topic-partitions") {
		rule, err := partitionsRule(s.Str("topic"), s.Str("partitions"))
		return partitionFilter{rule}, err
	}
	var filter partitionFilter
	for _, spec := range strings.Split(s.Str("topic-partitions"), ",") {
		rule, err := parsePartitionRule(spec)
		if err != nil {
			return nil, err
		}
		filter = append(filter, rule)
	}
	return filter, nil
}

func partitionsRule(topic, partitions string) (partitionRule, error) {
	rule := partitionRule{high: math.MaxInt64}
	var err error
	if rule.topics, err = newTopicFilter(orAll(topic)); err != nil || partitions == "" {
		return rule, err
	}
	rule.only = map[int32]bool{}
	for _, word := range strings.Split(partitions, ",") {
		n, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return rule, fmt.Errorf("--partitions expects a comma separated list of numeric partition ids, but received: %s", partitions)
		}
		rule.only[int32(n)] = true
	}
	return rule, nil
}

func orAll(pattern string) string {
	if pattern == "" {
		return ".*"
	}
	return pattern
}

func parsePartitionRule(spec string) (partitionRule, error) {
	m := partitionPattern.FindStringSubmatch(spec)
	if m == nil {
		return partitionRule{}, fmt.Errorf("Invalid rule specification: %s", spec)
	}
	rule := partitionRule{high: math.MaxInt64}
	var err error
	if rule.topics, err = newTopicFilter(orAll(m[1])); err != nil {
		return rule, err
	}
	bound := func(text string, to *int64) {
		if text != "" && err == nil {
			*to, err = strconv.ParseInt(text, 10, 32)
		}
	}
	if m[2] != "" {
		bound(m[2], &rule.low)
		rule.high = rule.low + 1
	} else {
		bound(m[3], &rule.low)
		bound(m[4], &rule.high)
	}
	return rule, err
}

func (f partitionFilter) matches(topic string, partition int32) bool {
	for _, rule := range f {
		if !rule.topics.matches(topic) {
			continue
		}
		if rule.only != nil && rule.only[partition] || rule.only == nil && int64(partition) >= rule.low && int64(partition) < rule.high {
			return true
		}
	}
	return false
}

// matchPartitions lists the partitions that the filter lets through.
func matchPartitions(ctx context.Context, cl *kgo.Client, filter partitionFilter, noInternal bool) (map[partitionKey]int64, error) {
	c, err := fetchCluster(ctx, cl)
	if err != nil {
		return nil, err
	}
	found := map[partitionKey]int64{}
	for _, t := range c.topics {
		if noInternal && (t.Internal || isInternalTopic(t.Name)) {
			continue
		}
		for _, p := range t.Partitions {
			if filter.matches(t.Name, p.Partition) {
				found[partitionKey{t.Name, p.Partition}] = 0
			}
		}
	}
	return found, nil
}
