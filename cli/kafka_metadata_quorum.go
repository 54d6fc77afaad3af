package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/storage"
	"freshet/vfs"
)

// bootstrapFlags are the flags of Kafka's tools that reach brokers or
// controllers. A tool has them before or after its action, as argparse4j and
// cobra both allow.
type bootstrapFlags struct{ brokers, controllers, config string }

func (b *bootstrapFlags) register(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&b.brokers, "bootstrap-server", "", "brokers to ask first, host:port separated by commas")
	f.StringVar(&b.controllers, "bootstrap-controller", "", "controllers to ask instead of brokers, host:port separated by commas")
	f.StringVar(&b.config, "command-config", "", "file of client properties, such as security settings")
}

// check refuses both or neither.
func (b *bootstrapFlags) check() error {
	switch {
	case b.brokers != "" && b.controllers != "":
		return failf("You cannot specify both --bootstrap-controller and --bootstrap-server.")
	case b.brokers == "" && b.controllers == "":
		return failf("You must specify either --bootstrap-controller or --bootstrap-server.")
	}
	return nil
}

// withAdmin connects and runs f; what f returns is printed as Java's
// ExecutionException would be.
func (b *bootstrapFlags) withAdmin(cmd *cobra.Command, f func(ctx context.Context, a *admin, props clientProps) error) error {
	if err := b.check(); err != nil {
		return err
	}
	props, err := loadProps(b.config)
	if err != nil {
		return failf("%v", err)
	}
	a, err := dialAdmin(cmd.Context(), clientOnly(props), b.brokers, b.controllers, cmd.ErrOrStderr())
	if err != nil {
		return orFail(err)
	}
	defer a.close()
	err = f(cmd.Context(), a, props)
	var exit *exitError
	switch {
	case err == nil || errors.As(err, &exit) || errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled):
		return err
	case isTerse(err):
		return failf("%v", err)
	case isTimeout(err):
		return failf("org.apache.kafka.common.errors.TimeoutException: no answer in time (%v); a majority of the controllers must be up", err)
	}
	return failf("%s", executionText(err))
}

// isTimeout reports whether nobody answered in time.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, kerr.RequestTimedOut)
}

// clientOnly leaves out a server's properties, so that a controller's
// configuration file can be given as --command-config without a warning for
// each of its lines.
func clientOnly(props clientProps) clientProps {
	if _, server := props["process.roles"]; !server {
		return props
	}
	kept := clientProps{}
	for name, value := range props {
		for _, prefix := range []string{"ssl.", "sasl.", "security.", "request.timeout", "default.api.timeout"} {
			if strings.HasPrefix(name, prefix) {
				kept[name] = value
			}
		}
	}
	return kept
}

// newMetadataQuorumCommand is kafka-metadata-quorum.sh
// (org.apache.kafka.tools.MetadataQuorumCommand).
func newMetadataQuorumCommand() *cobra.Command {
	var b bootstrapFlags
	root := &cobra.Command{
		Long: `Show and change the quorum of controllers, which keeps the cluster's metadata.

It works as long as more than half of its voters are alive: two of three, three
of five. One of them is the leader, the active controller; brokers without the
controller role follow as observers.

A new controller starts as an observer: format it with --no-initial-controllers,
start it, wait until its lag is 0, then add it. Remove one at a time, too.`,
		Example: `  kafka-metadata-quorum.sh --bootstrap-server localhost:9092 describe --status
  kafka-metadata-quorum.sh --bootstrap-server localhost:9092 describe --replication --human-readable
  kafka-metadata-quorum.sh --bootstrap-server localhost:9092 --command-config controller4.properties add-controller
  kafka-metadata-quorum.sh --bootstrap-server localhost:9092 remove-controller -i 3 -d Kp2vMc3CQhGlbNmRSFRbNw`,
	}
	b.register(root)
	root.AddCommand(newQuorumDescribe(&b), newQuorumAdd(&b), newQuorumRemove(&b))
	return root
}

func newQuorumDescribe(b *bootstrapFlags) *cobra.Command {
	var status, replication, human bool
	cmd := &cobra.Command{
		Use: "describe", Short: "Show who leads the quorum, its members and how far each is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.withAdmin(cmd, func(ctx context.Context, a *admin, _ clientProps) error {
				switch {
				case status && replication:
					return tersef("Only one of --status or --replication should be specified with describe sub-command")
				case replication:
					q, err := a.quorum(ctx)
					if err != nil {
						return err
					}
					return printQuorumReplication(cmd.OutOrStdout(), q, human, time.Now().UnixMilli())
				case status && human:
					return tersef("The option --human-readable is only supported along with --replication")
				case status:
					return describeQuorumStatus(ctx, cmd.OutOrStdout(), a)
				}
				return tersef("One of --status or --replication must be specified with describe sub-command")
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&status, "status", false, "leader, epoch, greatest lag and members")
	f.BoolVar(&replication, "replication", false, "one line for each member, with its lag")
	f.BoolVar(&human, "human-readable", false, "with --replication: times as \"ms ago\"")
	return cmd
}

func describeQuorumStatus(ctx context.Context, w io.Writer, a *admin) error {
	nodes, err := a.nodes(ctx, false)
	if err != nil {
		return err
	}
	q, err := a.quorum(ctx)
	if err != nil {
		return err
	}
	text, err := quorumStatusText(nodes.ClusterID, q)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

// quorumLeader finds the leader among the voters.
func quorumLeader(p *kmsg.DescribeQuorumResponseTopicPartition) (*kmsg.DescribeQuorumResponseTopicPartitionReplicaState, error) {
	for i := range p.CurrentVoters {
		if p.CurrentVoters[i].ReplicaID == p.LeaderID {
			return &p.CurrentVoters[i], nil
		}
	}
	return nil, tersef("the quorum names %d as its leader, which is not one of its voters: no controller is elected; start controllers until more than half of them run", p.LeaderID)
}

// quorumStatusText is the text of describe --status.
func quorumStatusText(clusterID string, q *kmsg.DescribeQuorumResponse) (string, error) {
	p := &q.Topics[0].Partitions[0]
	leader, err := quorumLeader(p)
	if err != nil {
		return "", err
	}
	slowest := &p.CurrentVoters[0]
	for i := range p.CurrentVoters {
		if p.CurrentVoters[i].LogEndOffset < slowest.LogEndOffset {
			slowest = &p.CurrentVoters[i]
		}
	}
	var lagMs int64
	switch {
	case slowest == leader:
	case leader.LastCaughtUpTimestamp >= 0 && slowest.LastCaughtUpTimestamp >= 0:
		lagMs = leader.LastCaughtUpTimestamp - slowest.LastCaughtUpTimestamp
	default:
		lagMs = -1
	}
	line := func(name string, value any) string { return fmt.Sprintf("%-23s %v", name+":", value) }
	return strings.Join([]string{
		line("ClusterId", clusterID),
		line("LeaderId", p.LeaderID),
		line("LeaderEpoch", p.LeaderEpoch),
		line("HighWatermark", p.HighWatermark),
		line("MaxFollowerLag", leader.LogEndOffset-slowest.LogEndOffset),
		line("MaxFollowerLagTimeMs", lagMs),
		line("CurrentVoters", quorumMembers(q, p.CurrentVoters)),
		line("CurrentObservers", quorumMembers(q, p.Observers)),
	}, "\n"), nil
}

func quorumMembers(q *kmsg.DescribeQuorumResponse, members []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) string {
	endpoints := map[int32][]string{}
	for _, n := range q.Nodes {
		for _, l := range n.Listeners {
			endpoints[n.NodeID] = append(endpoints[n.NodeID], fmt.Sprintf("%q", l.Name+"://"+hostPort(l.Host, int32(l.Port))))
		}
	}
	var list []string
	for _, m := range members {
		text := fmt.Sprintf(`{"id": %d`, m.ReplicaID)
		if id := topicID(m.ReplicaDirectoryID); !id.IsZero() {
			text += fmt.Sprintf(`, "directoryId": "%s"`, id)
		}
		if e := endpoints[m.ReplicaID]; len(e) > 0 {
			text += `, "endpoints": [` + strings.Join(e, ", ") + "]"
		}
		list = append(list, text+"}")
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// printQuorumReplication prints the table of describe --replication.
func printQuorumReplication(w io.Writer, q *kmsg.DescribeQuorumResponse, human bool, nowMs int64) error {
	p := &q.Topics[0].Partitions[0]
	leader, err := quorumLeader(p)
	if err != nil {
		return err
	}
	rows := [][]string{{"NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"}}
	add := func(m *kmsg.DescribeQuorumResponseTopicPartitionReplicaState, status string) error {
		fetched, err := quorumTime(m.LastFetchTimestamp, human, nowMs, "last fetch")
		if err != nil {
			return err
		}
		caughtUp, err := quorumTime(m.LastCaughtUpTimestamp, human, nowMs, "last caught up")
		if err != nil {
			return err
		}
		rows = append(rows, []string{strconv.Itoa(int(m.ReplicaID)), topicID(m.ReplicaDirectoryID).String(), strconv.FormatInt(m.LogEndOffset, 10),
			strconv.FormatInt(leader.LogEndOffset-m.LogEndOffset, 10), fetched, caughtUp, status})
		return nil
	}
	if err := add(leader, "Leader"); err != nil {
		return err
	}
	for i := range p.CurrentVoters {
		if m := &p.CurrentVoters[i]; m != leader {
			if err := add(m, "Follower"); err != nil {
				return err
			}
		}
	}
	for i := range p.Observers {
		if err := add(&p.Observers[i], "Observer"); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, tabTable(rows))
	return err
}

func quorumTime(ms int64, human bool, nowMs int64, what string) (string, error) {
	switch {
	case ms < 0:
		return "-1", nil
	case !human:
		return strconv.FormatInt(ms, 10), nil
	case ms == 0 || ms > nowMs:
		return "", tersef("Error while computing relative time, possible drift in system clock.\nCurrent timestamp is %d, %s timestamp is %d", nowMs, what, ms)
	}
	return fmt.Sprintf("%d ms ago", nowMs-ms), nil
}

// tabTable pads columns to their widest cell, each followed by a tab.
func tabTable(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&b, "%-*s\t", widths[i], cell)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func newQuorumAdd(b *bootstrapFlags) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "add-controller", Short: "Make the controller of --command-config a voter", Args: cobra.NoArgs,
		Long: `Make a controller a voter of the quorum. --command-config is that controller's own
server.properties: its node.id, directory and address are taken from it, so run
this where its disks are. The controller must be running and caught up; see
describe --replication.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.withAdmin(cmd, func(ctx context.Context, a *admin, props clientProps) error {
				if b.config == "" {
					return tersef("You must supply the configuration file of the controller you are adding when using add-controller.")
				}
				voter, err := readVoter(props)
				if err != nil {
					return err
				}
				verb := "Added"
				if dryRun {
					verb = "DRY RUN of adding"
				} else if err := voter.add(ctx, a); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s controller %d with directory id %s and endpoints: %s\n",
					verb, voter.id, voter.dir, strings.Join(voter.addresses(), ", "))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done and do nothing")
	return cmd
}

// quorumVoter is a controller as its own configuration describes it.
type quorumVoter struct {
	id        int32
	dir       topicID
	listeners []kmsg.AddRaftVoterRequestListener
}

func (v *quorumVoter) addresses() []string {
	var list []string
	for _, l := range v.listeners {
		list = append(list, l.Name+"://"+hostPort(l.Host, int32(l.Port)))
	}
	return list
}

func (v *quorumVoter) add(ctx context.Context, a *admin) error {
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.TimeoutMillis = requestTimeoutMs
	req.VoterID, req.VoterDirectoryID, req.Listeners = v.id, v.dir, v.listeners
	_, err := ask(ctx, a.any, req)
	return err
}

// readVoter takes a controller's id, directory id and addresses from its
// server.properties and the directory that this names.
func readVoter(props clientProps) (*quorumVoter, error) {
	const hint = "Is this a valid controller configuration file?"
	text, ok := props["node.id"]
	if !ok {
		return nil, tersef("node.id not found in configuration file. %s", hint)
	}
	id, err := strconv.ParseInt(text, 10, 32)
	switch {
	case err != nil:
		return nil, tersef("For input string: %q", text)
	case id < 0:
		return nil, tersef("node.id was negative in configuration file. %s", hint)
	case !strings.Contains(props["process.roles"], "controller"):
		return nil, tersef("process.roles did not contain 'controller' in configuration file. %s", hint)
	}
	dir := props["metadata.log.dir"]
	if dir == "" {
		dir, _, _ = strings.Cut(strings.TrimSpace(props["log.dirs"]), ",")
	}
	if dir == "" {
		return nil, tersef("Neither metadata.log.dir nor log.dirs were found. %s", hint)
	}
	meta, found, err := storage.ReadMetaProperties(vfs.OS{}, dir)
	switch {
	case err != nil:
		return nil, err
	case !found:
		return nil, tersef("Unable to read meta.properties from %s", dir)
	}
	v := &quorumVoter{id: int32(id), dir: topicID(meta.DirectoryID)}
	if v.dir.IsZero() {
		return nil, tersef("No directory id found in %s", dir)
	}
	v.listeners, err = controllerListeners(props)
	return v, err
}

// controllerListeners are the addresses at which the others reach a controller.
func controllerListeners(props clientProps) ([]kmsg.AddRaftVoterRequestListener, error) {
	addresses := map[string]string{}
	for _, key := range []string{"listeners", "advertised.listeners"} {
		for _, word := range splitList(props[key]) {
			name, address, ok := strings.Cut(word, "://")
			if !ok {
				return nil, tersef("Unable to parse %s to a broker endpoint", word)
			}
			addresses[strings.ToUpper(name)] = address
		}
	}
	names, ok := props["controller.listener.names"]
	if !ok {
		return nil, tersef("controller.listener.names was not found. Is this a valid controller configuration file?")
	}
	var listeners []kmsg.AddRaftVoterRequestListener
	for _, name := range splitList(names) {
		name = strings.ToUpper(name)
		address, ok := addresses[name]
		if !ok {
			return nil, tersef("Cannot find information about controller listener name: %s", name)
		}
		host, port, err := net.SplitHostPort(address)
		n, portErr := strconv.ParseUint(port, 10, 16)
		if err != nil || portErr != nil {
			return nil, tersef("Unable to parse %s://%s to a broker endpoint", name, address)
		}
		if host == "" {
			host = "localhost"
		}
		l := kmsg.NewAddRaftVoterRequestListener()
		l.Name, l.Host, l.Port = name, host, uint16(n)
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func newQuorumRemove(b *bootstrapFlags) *cobra.Command {
	var id int32
	var dir string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "remove-controller", Short: "Take a controller out of the quorum's voters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.withAdmin(cmd, func(ctx context.Context, a *admin, _ clientProps) error {
				if id < 0 {
					return tersef("Invalid negative --controller-id: %d", id)
				}
				dirID, err := parseTopicID(dir)
				if err != nil {
					return tersef("Failed to parse --controller-directory-id: %q is not an id: want 22 characters of base64", dir)
				}
				verb := "Removed "
				if dryRun {
					verb = "DRY RUN of removing "
				} else if err := removeVoter(ctx, a, id, dirID); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s KRaft controller %d with directory id %s\n", verb, id, dirID)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.Int32VarP(&id, "controller-id", "i", 0, "the controller's node id")
	f.StringVarP(&dir, "controller-directory-id", "d", "", "its directory's id, as describe --replication shows it")
	f.BoolVar(&dryRun, "dry-run", false, "say what would be done and do nothing")
	_ = cmd.MarkFlagRequired("controller-id")
	_ = cmd.MarkFlagRequired("controller-directory-id")
	return cmd
}

func removeVoter(ctx context.Context, a *admin, id int32, dir topicID) error {
	req := kmsg.NewPtrRemoveRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = id, dir
	_, err := ask(ctx, a.any, req)
	return err
}
