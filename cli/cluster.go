package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func newClusterCommand() *cobra.Command {
	var conn connection
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show how a cluster is, and balance it",
		Long: `Show how a cluster is, and balance it. Works with Apache Kafka, too.

status is one screen with everything an operator looks for first; health says what
is wrong and what to do, and its exit code is for monitoring.`,
		Example: `  freshet cluster status
  freshet cluster health -o json
  freshet cluster brokers
  freshet cluster rebalance --dry-run`,
	}
	conn.register(cmd)
	cmd.AddCommand(newClusterStatus(&conn), newClusterHealth(&conn), newClusterBrokers(&conn), newClusterRebalance(&conn))
	return cmd
}

// withView runs f with a view of the cluster.
func withView(cmd *cobra.Command, conn *connection, f func(v *clusterView) error) error {
	return withClient(cmd, conn, roleAdmin, func(ctx context.Context, cl *kgo.Client) error {
		v, err := viewCluster(ctx, cl)
		if err != nil {
			return err
		}
		return f(v)
	})
}

// healthWord names the state that the worst finding makes.
func healthWord(found []finding) string {
	return [...]string{"healthy", "degraded", "failing"}[worst(found)]
}

// clusterStatus is `freshet cluster status -o json`.
type clusterStatus struct {
	ClusterID  string          `json:"cluster_id"`
	Status     string          `json:"status"`
	Controller int32           `json:"controller"`
	Quorum     *quorumView     `json:"quorum,omitempty"`
	Brokers    []brokerView    `json:"brokers"`
	Partitions partitionCounts `json:"partitions"`
	Findings   []finding       `json:"findings"`
}

func newClusterStatus(conn *connection) *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster on one screen",
		Long: `Show controllers, brokers, partitions and what is wrong on one screen.

LEADERS are the partitions a broker leads now; in brackets those it is preferred
to lead. BEHIND are its replicas that are not in sync.`,
		Example: `  freshet cluster status
  freshet cluster status -b broker1:9092 -o json
  watch freshet cluster status`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withView(cmd, conn, func(v *clusterView) error {
				found := judgeHealth(v)
				if out.format == "json" {
					return writeJSON(cmd.OutOrStdout(), clusterStatus{v.ID, healthWord(found), v.Controller, v.Quorum, v.Brokers, countPartitions(v), orEmpty(found)})
				}
				if out.format != "table" {
					return out.write(cmd.OutOrStdout(), newTable())
				}
				_, err := io.WriteString(cmd.OutOrStdout(), statusText(v, found))
				return err
			})
		},
	}
	out.register(cmd)
	return cmd
}

func orEmpty(found []finding) []finding {
	if found == nil {
		return []finding{}
	}
	return found
}

// statusText is the screen of `freshet cluster status`.
func statusText(v *clusterView, found []finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster      %s: %s\n", v.ID, strings.ToUpper(healthWord(found)))
	fmt.Fprintf(&b, "controller   %s\n", controllerText(v))
	up := 0
	for i := range v.Brokers {
		if v.Brokers[i].State == brokerUp {
			up++
		}
	}
	fmt.Fprintf(&b, "brokers      %d of %d up\n", up, len(v.Brokers))
	c := countPartitions(v)
	fmt.Fprintf(&b, "partitions   %d in %d topic%s, %d replicas\n", c.Partitions, c.Topics, plural(c.Topics), c.Replicas)
	fmt.Fprintf(&b, "             no leader %d, under min ISR %d, one copy left %d, under-replicated %d\n", c.NoLeader, c.UnderMinISR, c.OneCopy, c.UnderReplicated)
	fmt.Fprintf(&b, "             moving %d, not led by their preferred leader %d\n\n", c.Moving, c.NotPreferred)
	b.WriteString(brokersTable(v).String())
	if len(found) > 0 {
		b.WriteString("\n" + findingsText(found))
	}
	return b.String()
}

func controllerText(v *clusterView) string {
	switch {
	case v.Controller < 0:
		return "NONE"
	case v.Quorum == nil:
		return fmt.Sprint(v.Controller)
	}
	var voters []string
	for _, m := range v.Quorum.Voters {
		word := fmt.Sprint(m.ID)
		switch {
		case m.silent(v.Quorum.Leader):
			word += " (silent)"
		case m.Lag > 0 && m.SilentMs > 1000:
			word += fmt.Sprintf(" (%d record%s behind)", m.Lag, plural(int(m.Lag)))
		}
		voters = append(voters, word)
	}
	return fmt.Sprintf("%d, epoch %d; voters %s", v.Controller, v.Quorum.Epoch, strings.Join(voters, ", "))
}

func brokersTable(v *clusterView) *table {
	t := newTable("BROKER", "ADDRESS", "RACK", "STATE", "LEADERS", "REPLICAS", "BEHIND", "DATA", "DISK-FREE")
	for i := range v.Brokers {
		b := &v.Brokers[i]
		used, disk, free := b.bytes()
		rack, address, data, space := "-", "-", "-", "-"
		if b.Rack != "" {
			rack = b.Rack
		}
		if b.Host != "" {
			address = hostPort(b.Host, b.Port)
		}
		if len(b.Dirs) > 0 {
			data = byteText(used)
		}
		if disk > 0 {
			space = fmt.Sprintf("%s (%d %%)", byteText(free), int(float64(free)/float64(disk)*100))
		}
		state := string(b.State)
		if b.State != brokerUp {
			state = strings.ToUpper(state)
		}
		t.add(b.ID, address, rack, state, fmt.Sprintf("%d (%d)", b.Leaders, b.Preferred), b.Replicas, b.OutOfSync, data, space)
	}
	return t
}

// findingsText prints findings, each followed by what to do.
func findingsText(found []finding) string {
	var b strings.Builder
	for _, f := range found {
		lines := wrapped(f.Text, 90)
		fmt.Fprintf(&b, "%-8s  %s\n", strings.ToUpper(f.Severity.String()), strings.Join(lines, "\n          "))
		if f.Do != "" {
			fmt.Fprintf(&b, "     do:  %s\n", strings.Join(wrapped(f.Do, 90), "\n          "))
		}
	}
	return b.String()
}

// wrapped breaks text at spaces into lines of at most width bytes.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// clusterHealth is `freshet cluster health -o json`.
type clusterHealth struct {
	ClusterID string    `json:"cluster_id,omitempty"`
	Status    string    `json:"status"`
	ExitCode  int       `json:"exit_code"`
	Findings  []finding `json:"findings"`
}

func newClusterHealth(conn *connection) *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Say what is wrong and what to do; the exit code is 0, 1 or 2",
		Long: `Say what is wrong with the cluster now, in sentences, and what to do.

The exit code is for monitoring:
  0  healthy: nothing to do
  1  degraded: everything works, but one more failure may stop something or lose
     records
  2  failing: something does not work now, acknowledged records are in danger, or
     the cluster cannot be reached

What failures that have not happened would do is told by: freshet doctor`,
		Example: `  freshet cluster health
  freshet cluster health -o json
  freshet cluster health -b broker1:9092,broker2:9092 --timeout 5s || page-the-operator`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var found []finding
			id := ""
			err := withView(cmd, conn, func(v *clusterView) error {
				found, id = judgeHealth(v), v.ID
				return nil
			})
			if errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled) {
				return err
			}
			if err != nil {
				found = []finding{{Severity: severityCritical, Code: "unreachable", Text: "The cluster cannot be asked: " + err.Error() + "."}}
			}
			return reportHealth(cmd.OutOrStdout(), &out, id, found)
		},
	}
	out.register(cmd)
	return cmd
}

// reportHealth prints the findings and returns the exit code as an error.
func reportHealth(w io.Writer, out *outputFlag, id string, found []finding) error {
	code := int(worst(found))
	switch out.format {
	case "json":
		if err := writeJSON(w, clusterHealth{id, healthWord(found), code, orEmpty(found)}); err != nil {
			return err
		}
	case "table":
		fmt.Fprintln(w, strings.ToUpper(healthWord(found)))
		if _, err := io.WriteString(w, findingsText(found)); err != nil {
			return err
		}
	default:
		return out.write(w, newTable())
	}
	if code != 0 {
		return &exitError{code: code}
	}
	return nil
}

func newClusterBrokers(conn *connection) *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "brokers",
		Short: "List brokers with racks, leaders, replicas and disks",
		Long: `List brokers with racks, what they lead and hold, and their disks.

STATE is up; FENCED: registered, but its heartbeats stopped; SILENT: listed
as alive, but without an answer to this client; GONE: replicas name it and the
cluster does not know it.`,
		Example: "  freshet cluster brokers\n  freshet cluster brokers -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withView(cmd, conn, func(v *clusterView) error {
				return out.writeAs(cmd.OutOrStdout(), brokersTable(v), v.Brokers)
			})
		},
	}
	out.register(cmd)
	return cmd
}
