package cli

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/cli/jopt"
)

// resetPlan says to which offsets a group shall be set: exactly one of the
// fields is used, in the order of kafka-consumer-groups.sh.
type resetPlan struct {
	toOffset   *int64
	toTime     *int64 // ms since the epoch
	toEarliest bool
	toLatest   bool
	toCurrent  bool
	shiftBy    *int64
	offsets    map[string]map[partitionKey]int64 // by group, from a file
}

// resetter computes new offsets; notes go to warn, as Kafka prints them.
type resetter struct {
	cl   *kgo.Client
	note func(format string, args ...any) // a line about a choice made for the user
	warn func(format string, args ...any) // a log line
}

// offsets returns the group's new offsets for the partitions.
func (r *resetter) offsets(ctx context.Context, group string, keys []partitionKey, plan *resetPlan) (map[partitionKey]int64, error) {
	if err := r.checkExist(ctx, keys); err != nil {
		return nil, err
	}
	switch {
	case plan.toOffset != nil:
		wanted := map[partitionKey]int64{}
		for _, key := range keys {
			wanted[key] = *plan.toOffset
		}
		return r.clamp(ctx, wanted)
	case plan.toEarliest:
		return r.at(ctx, keys, offsetEarliest)
	case plan.toLatest:
		return r.at(ctx, keys, offsetLatest)
	case plan.shiftBy != nil:
		return r.shift(ctx, group, keys, *plan.shiftBy)
	case plan.toTime != nil:
		return r.atTime(ctx, keys, *plan.toTime)
	case plan.offsets != nil:
		return r.clamp(ctx, plan.offsets[group])
	case plan.toCurrent:
		return r.current(ctx, group, keys)
	}
	return nil, errNoScenario
}

var errNoScenario = errors.New("no new offset was asked for")

func (r *resetter) checkExist(ctx context.Context, keys []partitionKey) error {
	c, err := fetchCluster(ctx, r.cl)
	if err != nil {
		return err
	}
	leaders := map[partitionKey]int32{}
	for _, t := range c.topics {
		for _, p := range t.Partitions {
			leaders[partitionKey{t.Name, p.Partition}] = p.Leader
		}
	}
	var missing, leaderless []string
	for _, key := range keys {
		leader, ok := leaders[key]
		if !ok {
			missing = append(missing, key.String())
		} else if leader < 0 {
			leaderless = append(leaderless, key.String())
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("The partitions \"%s\" do not exist", strings.Join(missing, ","))
	}
	if len(leaderless) > 0 {
		return fmt.Errorf("The partitions \"%s\" have no leader", strings.Join(leaderless, ","))
	}
	return nil
}

// at returns the offset at a special time of ListOffsets.
func (r *resetter) at(ctx context.Context, keys []partitionKey, when int64) (map[partitionKey]int64, error) {
	wanted := map[partitionKey]int64{}
	for _, key := range keys {
		wanted[key] = when
	}
	answers, err := listOffsets(ctx, r.cl, wanted, 0)
	if err != nil {
		return nil, err
	}
	result := map[partitionKey]int64{}
	for _, key := range keys {
		a, ok := answers[key]
		if !ok {
			return nil, fmt.Errorf("no broker told an offset of %s", key)
		}
		if a.err != nil {
			return nil, a.err
		}
		result[key] = a.offset
	}
	return result, nil
}

// atTime falls back to the end where no record is that young.
func (r *resetter) atTime(ctx context.Context, keys []partitionKey, timestamp int64) (map[partitionKey]int64, error) {
	found, err := r.at(ctx, keys, timestamp)
	if err != nil {
		return nil, err
	}
	var none []partitionKey
	for _, key := range javaPartitionOrder(keys) {
		if found[key] < 0 {
			none = append(none, key)
			r.note("\nWarn: Partition %d from topic %s is empty. Falling back to latest known offset.", key.partition, key.topic)
		}
	}
	ends, err := r.at(ctx, none, offsetLatest)
	for key, offset := range ends {
		found[key] = offset
	}
	return found, err
}

func (r *resetter) shift(ctx context.Context, group string, keys []partitionKey, by int64) (map[partitionKey]int64, error) {
	now, err := committedOffsets(ctx, r.cl, group)
	if err != nil {
		return nil, err
	}
	wanted := map[partitionKey]int64{}
	for _, key := range keys {
		c, ok := now[key]
		if !ok {
			return nil, usagef("Cannot shift offset for partition %s since there is no current committed offset", key)
		}
		wanted[key] = c.offset + by
	}
	return r.clamp(ctx, wanted)
}

func (r *resetter) current(ctx context.Context, group string, keys []partitionKey) (map[partitionKey]int64, error) {
	now, err := committedOffsets(ctx, r.cl, group)
	if err != nil {
		return nil, err
	}
	result := map[partitionKey]int64{}
	var none []partitionKey
	for _, key := range keys {
		if c, ok := now[key]; ok {
			result[key] = c.offset
		} else {
			none = append(none, key)
		}
	}
	ends, err := r.at(ctx, none, offsetLatest)
	for key, offset := range ends {
		result[key] = offset
	}
	return result, err
}

// clamp moves offsets into what the log holds.
func (r *resetter) clamp(ctx context.Context, wanted map[partitionKey]int64) (map[partitionKey]int64, error) {
	keys := sortedPartitions(wanted)
	starts, err := r.at(ctx, keys, offsetEarliest)
	if err != nil {
		return nil, err
	}
	ends, err := r.at(ctx, keys, offsetLatest)
	if err != nil {
		return nil, err
	}
	result := map[partitionKey]int64{}
	for _, key := range keys {
		offset := wanted[key]
		switch {
		case offset > ends[key]:
			r.warn("New offset (%d) is higher than latest offset for topic partition %s. Value will be set to %d", offset, key, ends[key])
			offset = ends[key]
		case offset < starts[key]:
			r.warn("New offset (%d) is lower than earliest offset for topic partition %s. Value will be set to %d", offset, key, starts[key])
			offset = starts[key]
		}
		result[key] = offset
	}
	return result, nil
}

// parseTopicPartitions reads topic:0,1,2.
func parseTopicPartitions(arg string) ([]partitionKey, error) {
	words := strings.Split(arg, ":")
	if len(words) != 2 {
		return nil, usagef("Invalid topic arg '%s', expected topic name and partitions", arg)
	}
	var keys []partitionKey
	for _, word := range strings.Split(words[1], ",") {
		n, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return nil, usagef("Invalid partition '%s' specified in topic arg '%s''", word, arg)
		}
		keys = append(keys, partitionKey{words[0], int32(n)})
	}
	return keys, nil
}

// topicTargets expands words such as orders or orders:0,1 to partitions.
func topicTargets(ctx context.Context, cl *kgo.Client, words []string) ([]partitionKey, error) {
	var keys []partitionKey
	for _, word := range words {
		if strings.Contains(word, ":") {
			list, err := parseTopicPartitions(word)
			if err != nil {
				return nil, failf("%v", err)
			}
			keys = append(keys, list...)
			continue
		}
		c, err := fetchCluster(ctx, cl, word)
		if err != nil {
			return nil, fmt.Errorf("cannot find topic %s: %s", word, message(err))
		}
		for _, t := range c.topics {
			for _, p := range t.Partitions {
				keys = append(keys, partitionKey{t.Name, p.Partition})
			}
		}
	}
	return keys, nil
}

// readOffsetsCSV reads topic,partition,offset or group,topic,partition,offset;
// without a group column the offsets are those of group.
func readOffsetsCSV(file, group string) (map[string]map[partitionKey]int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReader(f))
	r.FieldsPerRecord = -1
	plan := map[string]map[partitionKey]int64{}
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return plan, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", file, err)
		}
		id := group
		if len(fields) == 4 {
			id, fields = fields[0], fields[1:]
		}
		if len(fields) != 3 || id == "" {
			return nil, fmt.Errorf("%s: want topic,partition,offset or group,topic,partition,offset on each line", file)
		}
		partition, perr := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 32)
		offset, oerr := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if perr != nil || oerr != nil {
			return nil, fmt.Errorf("%s: %q is not a partition and an offset", file, strings.Join(fields[1:], ","))
		}
		if plan[id] == nil {
			plan[id] = map[partitionKey]int64{}
		}
		plan[id][partitionKey{fields[0], int32(partition)}] = offset
	}
}

// toolResetPlan reads the scenario of kafka-consumer-groups.sh.
func toolResetPlan(s *jopt.Set) (*resetPlan, error) {
	plan := &resetPlan{toEarliest: s.Has("to-earliest"), toLatest: s.Has("to-latest"), toCurrent: s.Has("to-current")}
	if s.Has("to-offset") {
		n := s.Int64("to-offset")
		plan.toOffset = &n
	}
	if s.Has("shift-by") {
		n := s.Int64("shift-by")
		plan.shiftBy = &n
	}
	if s.Has("to-datetime") {
		ms, err := parseKafkaDateTime(s.Str("to-datetime"))
		if err != nil {
			return nil, err
		}
		plan.toTime = &ms
	}
	if s.Has("by-duration") {
		d, err := parseISODuration(s.Str("by-duration"))
		if err != nil {
			return nil, err
		}
		ms := time.Now().Add(-d).UnixMilli()
		plan.toTime = &ms
	}
	if s.Has("from-file") {
		group := ""
		if len(s.Values("group")) == 1 {
			group = s.Values("group")[0]
		}
		var err error
		if plan.offsets, err = readOffsetsCSV(s.Str("from-file"), group); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// parseKafkaDateTime reads YYYY-MM-DDTHH:mm:SS.sss with an optional zone; a
// time without one is UTC.
func parseKafkaDateTime(text string) (int64, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999", "2006-01-02T15:04:05.999Z07:00", "2006-01-02T15:04:05.999-0700", "2006-01-02T15:04:05.999-07"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("Unparseable date: %q; use YYYY-MM-DDTHH:mm:SS.sss", text)
}

// reset is --reset-offsets.
func (c *groupsCommand) reset(ctx context.Context) error {
	plan, err := toolResetPlan(c.set)
	if err != nil {
		return err
	}
	ids, err := c.groupIDs(ctx)
	if err != nil {
		return err
	}
	results := map[string]map[partitionKey]int64{}
	for _, id := range ids {
		g, err := describeGroup(ctx, c.cl, id)
		if err != nil && !isGroupMissing(err) {
			return err
		}
		if err == nil && g.State != "Empty" && g.State != "Dead" {
			c.printError("Assignments can only be reset if the group '" + id + "' is inactive, but the current state is " + g.State + ".")
			results[id] = nil
			continue
		}
		if results[id], err = c.resetInactive(ctx, id, plan); err != nil {
			return err
		}
	}
	if c.set.Has("export") {
		_, err = fmt.Fprintln(c.t.out, exportCSV(results, len(c.set.Values("group")) == 1))
		return err
	}
	printReset(c.t.out, results)
	return nil
}

func (c *groupsCommand) resetInactive(ctx context.Context, id string, plan *resetPlan) (map[partitionKey]int64, error) {
	keys, err := c.resetScope(ctx, id)
	if err != nil {
		return nil, err
	}
	if plan.offsets != nil && plan.offsets[id] == nil {
		c.printError("No reset plan for group " + id + " found")
		return nil, nil
	}
	r := &resetter{cl: c.cl,
		note: func(format string, args ...any) { fmt.Fprintf(c.t.out, format+"\n", args...) },
		warn: func(format string, args ...any) {
			fmt.Fprintf(c.t.err, "[%s] WARN %s (org.apache.kafka.tools.OffsetsUtils)\n",
				time.Now().Format("2006-01-02 15:04:05,000"), fmt.Sprintf(format, args...))
		}}
	offsets, err := r.offsets(ctx, id, keys, plan)
	if errors.Is(err, errNoScenario) {
		return nil, usagef("Option '[reset-offsets]' requires one of the following scenarios: [[%s]]", strings.Join(resetScenarios, "], ["))
	}
	if err == nil && c.set.Has("execute") && len(offsets) > 0 {
		err = commitOffsets(ctx, c.cl, id, offsets)
	}
	return offsets, err
}

// resetScope lists the partitions that --topic or --all-topics names.
func (c *groupsCommand) resetScope(ctx context.Context, id string) ([]partitionKey, error) {
	switch {
	case c.set.Has("all-topics"):
		offsets, err := committedOffsets(ctx, c.cl, id)
		return sortedPartitions(offsets), err
	case c.set.Has("topic"):
		keys, failures, err := c.offsetTargets(ctx)
		for _, key := range sortedPartitions(failures) {
			if err == nil {
				err = failures[key]
			}
		}
		return keys, err
	case c.set.Has("from-file"):
		return nil, nil
	}
	return nil, usagef("One of the reset scopes should be defined: --all-topics, --topic.")
}

func printReset(w io.Writer, results map[string]map[partitionKey]int64) {
	groupWidth, topicWidth := 15, 15
	var ids []string
	for _, id := range sortedKeys(results) {
		ids = append(ids, id)
		groupWidth = max(groupWidth, len(id))
		for key := range results[id] {
			topicWidth = max(topicWidth, len(key.topic))
		}
	}
	if len(ids) > 0 {
		fmt.Fprintf(w, "\n%-*s %-*s %-10s %s", groupWidth, "GROUP", topicWidth, "TOPIC", "PARTITION", "NEW-OFFSET")
	}
	for _, id := range javaHashOrder(ids) {
		for _, key := range javaPartitionOrder(sortedPartitions(results[id])) {
			fmt.Fprintf(w, "\n%-*s %-*s %-10d %d", groupWidth, id, topicWidth, key.topic, key.partition, results[id][key])
		}
	}
	fmt.Fprintln(w)
}

// exportCSV prints the offsets as --from-file reads them.
func exportCSV(results map[string]map[partitionKey]int64, single bool) string {
	var b strings.Builder
	for _, id := range javaHashOrder(sortedKeys(results)) {
		for _, key := range javaPartitionOrder(sortedPartitions(results[id])) {
			if !single {
				b.WriteString(csvField(id) + ",")
			}
			fmt.Fprintf(&b, "%s,%d,%d\n", csvField(key.topic), key.partition, results[id][key])
		}
	}
	return b.String()
}

// csvField quotes a field that holds a separator, as Jackson's writer does.
func csvField(s string) string {
	if strings.ContainsAny(s, ",\"\n\r ") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
