package cli

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// missingColumn stands for what is not known in Kafka's tables.
const missingColumn = "-"

// assignmentRow is a line of --describe: a partition, its offsets and who
// reads it. Numbers are -1 when unknown.
type assignmentRow struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	Offset      int64  `json:"current_offset"`
	EndOffset   int64  `json:"log_end_offset"`
	Lag         int64  `json:"lag"` // meaningful when both offsets are known
	LeaderEpoch int32  `json:"leader_epoch"`
	MemberID    string `json:"member_id"`
	Host        string `json:"host"`
	ClientID    string `json:"client_id"`
}

func (c *groupsCommand) describe(ctx context.Context) error {
	ids, err := c.groupIDs(ctx)
	if err != nil {
		return err
	}
	sort.Strings(ids)
	groups := make([]*groupDetail, 0, len(ids))
	for _, id := range ids {
		g, err := describeGroup(ctx, c.cl, id)
		if err != nil {
			return err
		}
		groups = append(groups, g)
	}
	for _, g := range groups {
		switch {
		case c.set.Has("members"):
			if c.printState(g, len(g.Members)) || len(g.Members) == 0 && g.State != "Dead" {
				printGroupMembers(c.t.out, g, c.set.Has("verbose"))
			}
		case c.set.Has("state"):
			if c.printState(g, 1) {
				printGroupState(c.t.out, g, c.set.Has("verbose"))
			}
		default:
			rows, err := groupRows(ctx, c, g)
			if err != nil {
				return err
			}
			if c.printState(g, len(rows)) {
				printGroupOffsets(c.t.out, g.ID, rows, c.set.Has("verbose"))
			}
		}
	}
	return nil
}

// printState says what is odd about the group and whether rows follow.
func (c *groupsCommand) printState(g *groupDetail, rows int) bool {
	switch g.State {
	case "Dead":
		c.printError("Consumer group '" + g.ID + "' does not exist.")
		return false
	case "Empty":
		fmt.Fprintf(c.t.err, "\nConsumer group '%s' has no active members.\n", g.ID)
	case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
		fmt.Fprintf(c.t.err, "\nWarning: Consumer group '%s' is rebalancing.\n", g.ID)
	}
	return rows > 0
}

func groupRows(ctx context.Context, c *groupsCommand, g *groupDetail) ([]assignmentRow, error) {
	offsets, err := committedOffsets(ctx, c.cl, g.ID)
	if err != nil {
		return nil, err
	}
	return assignmentRows(ctx, c.cl, g, offsets)
}

// assignmentRows joins members' partitions with the committed offsets, those
// of the busiest member first, then partitions that nobody reads.
func assignmentRows(ctx context.Context, cl *kgo.Client, g *groupDetail, offsets map[partitionKey]committed) ([]assignmentRow, error) {
	wanted := map[partitionKey]int64{}
	for key := range offsets {
		wanted[key] = offsetLatest
	}
	members := append([]memberDetail(nil), g.Members...)
	for _, m := range members {
		for _, key := range m.Assigned {
			wanted[key] = offsetLatest
		}
	}
	ends, err := listOffsets(ctx, cl, wanted, 0)
	if err != nil {
		return nil, err
	}
	sort.SliceStable(members, func(i, j int) bool { return len(members[i].Assigned) > len(members[j].Assigned) })
	var rows []assignmentRow
	assigned := map[partitionKey]bool{}
	add := func(key partitionKey, member, host, client string) {
		row := assignmentRow{Topic: key.topic, Partition: key.partition, Offset: -1, EndOffset: -1, LeaderEpoch: -1,
			MemberID: member, Host: host, ClientID: client}
		if o, ok := offsets[key]; ok {
			row.Offset, row.LeaderEpoch = o.offset, o.leaderEpoch
		}
		if end, ok := ends[key]; ok && end.err == nil {
			row.EndOffset = end.offset
			row.Lag = end.offset - row.Offset
		}
		rows = append(rows, row)
	}
	for _, m := range members {
		for _, key := range m.Assigned {
			assigned[key] = true
			add(key, m.ID, m.Host, m.ClientID)
		}
	}
	for _, key := range sortedPartitions(offsets) {
		if !assigned[key] {
			add(key, missingColumn, missingColumn, missingColumn)
		}
	}
	return rows, nil
}

func orMissing(n int64) string {
	if n < 0 {
		return missingColumn
	}
	return strconv.FormatInt(n, 10)
}

func (r *assignmentRow) lagText() string {
	if r.Offset < 0 || r.EndOffset < 0 {
		return missingColumn
	}
	return strconv.FormatInt(r.Lag, 10)
}

func printGroupOffsets(w io.Writer, group string, rows []assignmentRow, verbose bool) {
	groupWidth, topicWidth, idWidth, hostWidth := max(15, len(group)), 15, 15, 15
	for _, r := range rows {
		topicWidth = max(topicWidth, len(r.Topic))
		idWidth = max(idWidth, len(r.MemberID))
		hostWidth = max(hostWidth, len(r.Host))
	}
	line := func(group, topic, partition, epoch, offset, end, lag, id, host, client string) {
		fmt.Fprintf(w, "\n%-*s %-*s %-10s ", groupWidth, group, topicWidth, topic, partition)
		if verbose {
			fmt.Fprintf(w, "%-15s ", epoch)
		}
		fmt.Fprintf(w, "%-15s %-15s %-15s %-*s %-*s %s", offset, end, lag, idWidth, id, hostWidth, host, client)
	}
	line("GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID")
	for _, r := range rows {
		line(group, r.Topic, strconv.Itoa(int(r.Partition)), orMissing(int64(r.LeaderEpoch)), orMissing(r.Offset),
			orMissing(r.EndOffset), r.lagText(), r.MemberID, r.Host, r.ClientID)
	}
	fmt.Fprintln(w)
}

// memberWidths are the columns of printGroupMembers.
type memberWidths struct{ group, id, instance, host, client, current, target int }

func printGroupMembers(w io.Writer, g *groupDetail, verbose bool) {
	widths := memberWidths{15, 15, 17, 15, 15, 20, 20}
	instances, classic, consumer := false, false, false
	for _, m := range g.Members {
		widths.group = max(widths.group, len(g.ID))
		widths.id = max(widths.id, len(m.ID))
		widths.instance = max(widths.instance, len(m.InstanceID))
		widths.host = max(widths.host, len(m.Host))
		widths.client = max(widths.client, len(m.ClientID))
		widths.current = max(widths.current, len(assignmentText(m.Assigned)))
		widths.target = max(widths.target, len(assignmentText(m.Target)))
		instances = instances || m.InstanceID != ""
		classic = classic || m.Kind == 0
		consumer = consumer || m.Kind == 1
	}
	line := func(group, id, instance, host, client, count string) {
		fmt.Fprintf(w, "%-*s %-*s ", widths.group, group, widths.id, id)
		if instances {
			fmt.Fprintf(w, "%-*s ", widths.instance, instance)
		}
		fmt.Fprintf(w, "%-*s %-*s %-15s ", widths.host, host, widths.client, client, count)
	}
	more := func(epoch, current, target, targetAssignment, upgraded string) {
		if !verbose {
			return
		}
		fmt.Fprintf(w, "%-15s %-*s %-15s %-*s", epoch, widths.current, current, target, widths.target, targetAssignment)
		if classic && consumer {
			fmt.Fprintf(w, " %s", upgraded)
		}
	}
	fmt.Fprintln(w)
	line("GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS")
	more("CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT", "UPGRADED")
	fmt.Fprintln(w)
	for _, m := range g.Members {
		line(g.ID, m.ID, m.InstanceID, m.Host, m.ClientID, strconv.Itoa(len(m.Assigned)))
		upgraded := missingColumn
		if m.Kind >= 0 {
			upgraded = strconv.FormatBool(m.Kind == 1)
		}
		more(orMissing(int64(m.Epoch)), assignmentText(m.Assigned), orMissing(int64(g.TargetAssignmentEpoch)), assignmentText(m.Target), upgraded)
		fmt.Fprintln(w)
	}
}

// assignmentText prints partitions as topic:0,1;other:2.
func assignmentText(keys []partitionKey) string {
	if len(keys) == 0 {
		return missingColumn
	}
	byTopic := map[string][]string{}
	for _, key := range keys {
		byTopic[key.topic] = append(byTopic[key.topic], strconv.Itoa(int(key.partition)))
	}
	var parts []string
	for _, topic := range sortedKeys(byTopic) {
		parts = append(parts, topic+":"+strings.Join(byTopic[topic], ","))
	}
	sort.Strings(parts)
	return strings.Join(parts, ";")
}

func printGroupState(w io.Writer, g *groupDetail, verbose bool) {
	coordinator := fmt.Sprintf("%s:%d  (%d)", g.Coordinator.Host, g.Coordinator.Port, g.Coordinator.ID)
	coordinatorWidth, groupWidth := max(25, len(coordinator)), max(15, len(g.ID))
	strategy := g.Assignor
	if strategy == "" {
		strategy = missingColumn
	}
	line := func(group, coordinator, strategy, state, epoch, target, members string) {
		fmt.Fprintf(w, "\n%-*s %-*s %-20s %-20s ", groupWidth, group, coordinatorWidth, coordinator, strategy, state)
		if verbose {
			fmt.Fprintf(w, "%-15s %-25s ", epoch, target)
		}
		fmt.Fprint(w, members)
	}
	line("GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS")
	line(g.ID, coordinator, strategy, g.State, orMissing(int64(g.Epoch)), orMissing(int64(g.TargetAssignmentEpoch)), strconv.Itoa(len(g.Members)))
	fmt.Fprintln(w)
}
