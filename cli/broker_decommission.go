package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/cli/placement"
)

func newBrokerCommand() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Take a broker out of a cluster",
		Example: `  freshet broker decommission 3 --dry-run
  freshet broker decommission 3 --throttle 50MB/s`,
	}
	conn.register(cmd)
	cmd.AddCommand(newBrokerDecommission(&conn))
	return cmd
}

func newBrokerDecommission(conn *connection) *cobra.Command {
	var flags moveFlags
	cmd := &cobra.Command{
		Use:   "decommission ID",
		Short: "Move everything off a broker, so that it can be taken away",
		Long: `Move every replica off a broker, so that it can be taken away for good. The plan is
shown first; nothing happens before you agree.

The broker may be up, and then goes on serving until its replicas are elsewhere; or
it may be dead, and then its replicas are made again from the others. Replicas go to
brokers where they fit (a tenth of each disk stays free), on other racks than their
fellows, then to the emptiest.

Moves can be throttled; the throttle is removed at the end. After Ctrl-C the moves
under way go on in the cluster: run the command again to continue, or with --cancel
to stop them and go back. At the end it says what is left to do: stop the broker and
make the cluster forget it.`,
		Example: `  freshet broker decommission 3 --dry-run
  freshet broker decommission 3 --throttle 50MB/s
  freshet broker decommission 3 --cancel`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.ParseInt(args[0], 10, 32)
			if err != nil || n < 0 {
				return failf("%q is not a broker's id: give its node.id, such as 3 (freshet cluster brokers lists them)", args[0])
			}
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				return decommission(ctx, cmd, conn, cl, int32(n), &flags)
			})
		},
	}
	flags.register(cmd)
	return cmd
}

func decommission(ctx context.Context, cmd *cobra.Command, conn *connection, cl *kgo.Client, id int32, flags *moveFlags) error {
	v, err := viewCluster(ctx, cl)
	if err != nil {
		return err
	}
	if v.broker(id) == nil {
		return failf("the cluster knows no broker %d; it has %s", id, joinInts(brokerIDs(v), ", "))
	}
	if flags.cancel {
		return cancelMoves(ctx, cmd, cl, v, func(r reassignment) bool { return containsID(r.removing, id) })
	}
	brokers, partitions := placementInput(v)
	moves, err := placement.Decommission(brokers, partitions, id)
	if err != nil {
		return failf("%v", err)
	}
	ongoing := map[partitionKey]reassignment{}
	for key, r := range v.Moves {
		if containsID(r.removing, id) || containsID(r.adding, id) {
			ongoing[key] = r
		}
	}
	line := fmt.Sprintf("freshet broker decommission %d", id)
	job := &moveJob{cmd: cmd, a: brokerAdmin(cl), flags: flags, view: v, moves: moves, ongoing: ongoing, leftOut: v.stuckText(id),
		again: againLine(line, conn), every: lookInterval}
	if err := job.run(ctx, nothingOn(v, id)); err != nil || flags.dryRun {
		return err
	}
	return afterDecommission(ctx, cmd, cl, id)
}

func nothingOn(v *clusterView, id int32) string {
	if v.broker(id).Replicas > 0 {
		return fmt.Sprintf("Nothing on broker %d can be moved now.", id)
	}
	return fmt.Sprintf("Broker %d holds no replicas.", id)
}

func brokerIDs(v *clusterView) []int32 {
	var ids []int32
	for i := range v.Brokers {
		ids = append(ids, v.Brokers[i].ID)
	}
	return ids
}

// afterDecommission looks again and says what is left to do. A broker that is
// down already is forgotten here.
func afterDecommission(ctx context.Context, cmd *cobra.Command, cl *kgo.Client, id int32) error {
	v, err := viewCluster(ctx, cl)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	b := v.broker(id)
	if b == nil {
		_, err := fmt.Fprintf(w, "The cluster knows broker %d no more.\n", id)
		return err
	}
	if b.Replicas > 0 {
		why := "they were made meanwhile; run the command again"
		if v.stuckText(id) != "" {
			why = "no broker that is up has the records of some of them"
		}
		return failf("broker %d still holds %d replica%s: %s", id, b.Replicas, plural(b.Replicas), why)
	}
	step := 1
	say := func(format string, args ...any) {
		fmt.Fprintf(w, "  %d. %s\n", step, fmt.Sprintf(format, args...))
		step++
	}
	voter := false
	if v.Quorum != nil {
		for _, m := range v.Quorum.Voters {
			voter = voter || m.ID == id
		}
	}
	if !voter && !b.runs() && (b.State == brokerFenced || b.State == brokerGone) {
		err := brokerAdmin(cl).unregister(ctx, id)
		if err == nil || errors.Is(err, kerr.BrokerIDNotRegistered) {
			_, err := fmt.Fprintf(w, "Broker %d holds nothing, and the cluster has forgotten it.\n", id)
			return err
		}
	}
	fmt.Fprintf(w, "Broker %d holds nothing any more. What is left to do:\n", id)
	if voter {
		say("take it out of the controllers' quorum: kafka-metadata-quorum.sh remove-controller -i %d -d DIRECTORY-ID (describe --replication shows the id)", id)
	}
	if b.State == brokerUp || b.runs() {
		say("stop it")
	}
	say("make the cluster forget it: kafka-cluster.sh unregister --bootstrap-server HOST:PORT --id %d", id)
	return nil
}
