package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newGroupCommand() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:     "group",
		Aliases: []string{"groups"},
		Short:   "List, describe, delete and rewind consumer groups",
		Example: `  freshet group list
  freshet group describe billing
  freshet group seek billing --to start --topic orders
  freshet group delete billing`,
	}
	conn.register(cmd)
	cmd.AddCommand(newGroupList(&conn), newGroupDescribe(&conn), newGroupDelete(&conn), newGroupSeek(&conn))
	return cmd
}

func newGroupList(conn *connection) *cobra.Command {
	var out outputFlag
	var states []string
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List groups",
		Example: "  freshet group list\n  freshet group list --state Empty -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				groups, err := listGroups(ctx, cl, nil, states)
				if err != nil {
					return err
				}
				t := newTable("GROUP", "TYPE", "PROTOCOL", "STATE")
				byID := map[string]groupListing{}
				for _, g := range groups {
					byID[g.ID] = g
				}
				for _, id := range sortedKeys(byID) {
					g := byID[id]
					t.add(g.ID, g.Type, g.Protocol, g.State)
				}
				return out.write(cmd.OutOrStdout(), t)
			})
		},
	}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in these states, such as Stable,Empty")
	out.register(cmd)
	return cmd
}

// describedGroup is a group as `freshet group describe -o json` shows it.
type describedGroup struct {
	*groupDetail
	TotalLag   int64           `json:"total_lag"`
	Partitions []assignmentRow `json:"partitions"`
}

func newGroupDescribe(conn *connection) *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:     "describe GROUP...",
		Short:   "Show a group's members, offsets and lag",
		Example: "  freshet group describe billing\n  freshet group describe billing -o json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				var all []describedGroup
				for _, id := range ids {
					d, err := describeGroupRows(ctx, cl, id)
					if err != nil {
						return fmt.Errorf("cannot describe group %s: %s", id, message(err))
					}
					all = append(all, *d)
				}
				if out.format == "json" {
					return writeJSON(cmd.OutOrStdout(), all)
				}
				for _, d := range all {
					if err := d.print(cmd, &out); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	out.register(cmd)
	return cmd
}

func describeGroupRows(ctx context.Context, cl *kgo.Client, id string) (*describedGroup, error) {
	g, err := describeGroup(ctx, cl, id)
	if err != nil {
		return nil, err
	}
	offsets, err := committedOffsets(ctx, cl, id)
	if err != nil {
		return nil, err
	}
	d := &describedGroup{groupDetail: g}
	if d.Partitions, err = assignmentRows(ctx, cl, g, offsets); err != nil {
		return nil, err
	}
	for _, r := range d.Partitions {
		if r.Offset >= 0 && r.EndOffset >= 0 {
			d.TotalLag += r.Lag
		}
	}
	return d, nil
}

func (d *describedGroup) print(cmd *cobra.Command, out *outputFlag) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "group        %s\ntype         %s\nstate        %s\nassignor     %s\ncoordinator  %d (%s:%d)\nmembers      %d\ntotal lag    %d\n\n",
		d.ID, d.Type, d.State, d.Assignor, d.Coordinator.ID, d.Coordinator.Host, d.Coordinator.Port, len(d.Members), d.TotalLag)
	t := newTable("TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "MEMBER", "HOST", "CLIENT-ID")
	for i := range d.Partitions {
		r := &d.Partitions[i]
		t.add(r.Topic, r.Partition, orMissing(r.Offset), orMissing(r.EndOffset), r.lagText(), r.MemberID, r.Host, r.ClientID)
	}
	return out.write(w, t)
}

func newGroupDelete(conn *connection) *cobra.Command {
	return &cobra.Command{
		Use:     "delete GROUP...",
		Aliases: []string{"rm"},
		Short:   "Delete groups that have no members, with their offsets",
		Example: "  freshet group delete billing",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				results, err := deleteGroups(ctx, cl, ids)
				if err != nil {
					return err
				}
				for _, id := range ids {
					if results[id] != nil {
						return fmt.Errorf("cannot delete group %s: %s", id, message(results[id]))
					}
					fmt.Fprintf(cmd.OutOrStdout(), "deleted group %s\n", id)
				}
				return nil
			})
		},
	}
}

// seekFlags are the flags of `freshet group seek`.
type seekFlags struct {
	to, file string
	topics   []string
	shift    int64
	dryRun   bool
}

func newGroupSeek(conn *connection) *cobra.Command {
	var f seekFlags
	var out outputFlag
	cmd := &cobra.Command{
		Use:     "seek GROUP",
		Aliases: []string{"reset-offsets"},
		Short:   "Set a group's offsets",
		Long: `Set the offsets of a group that has no members, for the topics it has offsets for
or for those of --topic. --to takes start, end, an offset, or a time such as
@2026-01-02T15:04:05Z or @-1h; --shift moves by a number of records.`,
		Example: `  freshet group seek billing --to start
  freshet group seek billing --to @-1h --topic orders
  freshet group seek billing --shift -100 --topic orders:0,1 --dry-run
  freshet group seek billing --to-file offsets.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := f.plan(cmd, args[0])
			if err != nil {
				return err
			}
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				return runGroupSeek(ctx, cmd, cl, args[0], &f, plan, &out)
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.to, "to", "", "start, end, current, an offset, or @time")
	fl.Int64Var(&f.shift, "shift", 0, "move by this many records, back when negative")
	fl.StringVar(&f.file, "to-file", "", "CSV file of topic,partition,offset")
	fl.StringArrayVar(&f.topics, "topic", nil, "only this topic, or some partitions as orders:0,1 (may be repeated)")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only show what would be set")
	out.register(cmd)
	return cmd
}

func (f *seekFlags) plan(cmd *cobra.Command, group string) (*resetPlan, error) {
	shifted := cmd.Flags().Changed("shift")
	if (f.to != "") == shifted && f.file == "" || f.file != "" && (f.to != "" || shifted) {
		return nil, failf("say where to with one of --to, --shift and --to-file")
	}
	plan := &resetPlan{}
	var err error
	switch {
	case shifted:
		plan.shiftBy = &f.shift
	case f.file != "":
		plan.offsets, err = readOffsetsCSV(f.file, group)
	case f.to == "start" || f.to == "earliest":
		plan.toEarliest = true
	case f.to == "end" || f.to == "latest":
		plan.toLatest = true
	case f.to == "current":
		plan.toCurrent = true
	case f.to[0] == '@':
		var ms int64
		ms, err = parseTime(f.to[1:], time.Now())
		plan.toTime = &ms
	default:
		var offset int64
		if _, serr := fmt.Sscanf(f.to+"\n", "%d\n", &offset); serr != nil || offset < 0 {
			return nil, failf("%q is not start, end, current, an offset or @time", f.to)
		}
		plan.toOffset = &offset
	}
	return plan, err
}

func runGroupSeek(ctx context.Context, cmd *cobra.Command, cl *kgo.Client, group string, f *seekFlags, plan *resetPlan, out *outputFlag) error {
	g, err := describeGroup(ctx, cl, group)
	if err != nil && !isGroupMissing(err) {
		return fmt.Errorf("cannot describe group %s: %s", group, message(err))
	}
	if err == nil && g.State != "Empty" && g.State != "Dead" {
		return failf("group %s is %s: stop its %d members first, since a group's offsets are its members' while it has any", group, g.State, len(g.Members))
	}
	keys, err := seekTargets(ctx, cl, group, f)
	if err != nil {
		return err
	}
	before, err := committedOffsets(ctx, cl, group)
	if err != nil {
		return err
	}
	note := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
	r := &resetter{cl: cl, note: note, warn: note}
	offsets, err := r.offsets(ctx, group, keys, plan)
	if err != nil {
		return fmt.Errorf("cannot find the new offsets: %s", message(err))
	}
	if !f.dryRun && len(offsets) > 0 {
		if err := commitOffsets(ctx, cl, group, offsets); err != nil {
			return fmt.Errorf("cannot set the offsets of group %s: %s", group, message(err))
		}
	}
	t := newTable("TOPIC", "PARTITION", "OLD-OFFSET", "NEW-OFFSET")
	for _, key := range sortedPartitions(offsets) {
		old := missingColumn
		if c, ok := before[key]; ok {
			old = orMissing(c.offset)
		}
		t.add(key.topic, key.partition, old, offsets[key])
	}
	return out.write(cmd.OutOrStdout(), t)
}

// seekTargets lists the partitions of --topic, or those the group has offsets
// for.
func seekTargets(ctx context.Context, cl *kgo.Client, group string, f *seekFlags) ([]partitionKey, error) {
	if f.file != "" {
		return nil, nil
	}
	if len(f.topics) == 0 {
		offsets, err := committedOffsets(ctx, cl, group)
		if err == nil && len(offsets) == 0 {
			err = failf("group %s has no offsets; name topics with --topic", group)
		}
		return sortedPartitions(offsets), err
	}
	return topicTargets(ctx, cl, f.topics)
}
