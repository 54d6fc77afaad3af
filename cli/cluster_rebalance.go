package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"freshet/cli/placement"
)

// lookInterval is the time between two looks at moves under way.
const lookInterval = time.Second

func newClusterRebalance(conn *connection) *cobra.Command {
	var flags moveFlags
	var topic string
	var replicas int
	cmd := &cobra.Command{
		Use:   "rebalance",
		Short: "Spread replicas, bytes and leaders evenly over the brokers",
		Long: `Spread replicas, bytes and leaders evenly over the brokers that are up, such as
after one was added. The plan is shown first; nothing happens before you agree.

Even means: each topic's replicas, all replicas, the bytes on disks, and the
partitions a broker is preferred to lead; replicas stay on as many racks as they
are on, and go to more where they can. As little is copied as that needs.

--replicas N gives the topics that --topic names N replicas each instead.

The cluster goes on serving. Moves can be throttled; the throttle is removed at the
end. After Ctrl-C the moves under way go on in the cluster: run the command again
to continue, or with --cancel to stop them and go back.`,
		Example: `  freshet cluster rebalance --dry-run
  freshet cluster rebalance --throttle 50MB/s
  freshet cluster rebalance --topic 'orders.*' --replicas 3
  freshet cluster rebalance --cancel`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
				v, err := viewCluster(ctx, cl)
				if err != nil {
					return err
				}
				if flags.cancel {
					return cancelMoves(ctx, cmd, cl, v, func(reassignment) bool { return true })
				}
				moves, err := planRebalance(v, topic, replicas)
				if err != nil {
					return err
				}
				job := &moveJob{cmd: cmd, a: brokerAdmin(cl), flags: &flags, view: v, moves: moves, ongoing: v.Moves,
					elect: notPreferred(v, moves, topic), leftOut: v.stuckText(-1),
					again: againLine("freshet cluster rebalance", conn, "--topic", topic, "--replicas", numberOrNone(replicas)), every: lookInterval}
				return job.run(ctx, "The cluster is balanced; nothing to move.")
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&topic, "topic", "", "only topics whose whole name matches this regular expression")
	cmd.Flags().IntVar(&replicas, "replicas", 0, "give the topics of --topic so many replicas")
	return cmd
}

// planRebalance plans for the topics that match the expression, or all.
func planRebalance(v *clusterView, topic string, replicas int) ([]placement.Move, error) {
	var may func(*placement.Partition) bool
	if topic != "" {
		filter, err := newTopicFilter(topic)
		if err != nil {
			return nil, failf("%v", err)
		}
		found := false
		for _, t := range v.Topics {
			found = found || filter.matches(t.Name)
		}
		if !found {
			return nil, failf("no topic matches %s", topic)
		}
		may = func(p *placement.Partition) bool { return filter.matches(p.Topic) }
	}
	brokers, partitions := placementInput(v)
	if replicas == 0 {
		return placement.Rebalance(brokers, partitions, may), nil
	}
	if may == nil || replicas < 1 {
		return nil, failf("--replicas takes a number from 1 and needs --topic, which says of what")
	}
	moves, err := placement.Resize(brokers, partitions, may, replicas)
	if err != nil {
		return nil, failf("%v", err)
	}
	return moves, nil
}

// notPreferred lists the partitions, beside those that move, whose preferred
// leader is up and in sync and does not lead.
func notPreferred(v *clusterView, moves []placement.Move, topic string) []partitionKey {
	filter, err := newTopicFilter(cmp.Or(topic, ".*"))
	if err != nil {
		return nil
	}
	moving := map[partitionKey]bool{}
	for i := range moves {
		moving[moveKey(&moves[i])] = true
	}
	var keys []partitionKey
	for i := range v.Topics {
		t := &v.Topics[i]
		for n := range t.Partitions {
			p := &t.Partitions[n]
			key := partitionKey{t.Name, p.Partition}
			_, under := v.Moves[key]
			if under || moving[key] || len(p.Replicas) == 0 || p.Leader < 0 || p.Leader == p.Replicas[0] || !filter.matches(t.Name) {
				continue
			}
			if b := v.broker(p.Replicas[0]); b.State == brokerUp && containsID(p.ISR, b.ID) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

func numberOrNone(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// againLine is a command line that does the same again: the flags of the
// connection and pairs of a flag and its value, those without a value left out.
func againLine(command string, conn *connection, pairs ...string) string {
	words := []string{command}
	pairs = append(pairs, "--command-config", conn.configFile)
	if conn.servers != DefaultBootstrapServer {
		pairs = append(pairs, "-b", conn.servers)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			words = append(words, pairs[i], pairs[i+1])
		}
	}
	return strings.Join(words, " ")
}
