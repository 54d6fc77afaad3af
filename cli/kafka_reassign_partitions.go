package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/cli/jopt"
	"freshet/cli/placement"
)

// reassignActions are the actions in the order in which Kafka's tool names them.
var reassignActions = []string{"generate", "execute", "verify", "cancel", "list"}

// reassignOptions are the options that an action needs and allows, as
// ReassignPartitionsCommand.validateAndParseArgs has them. --bootstrap-controller
// is also allowed for cancel and list.
var reassignOptions = map[string]struct{ required, permitted []string }{
	"verify":   {[]string{"reassignment-json-file"}, []string{"bootstrap-server", "command-config", "preserve-throttles"}},
	"generate": {[]string{"topics-to-move-json-file", "broker-list"}, []string{"bootstrap-server", "command-config", "disable-rack-aware"}},
	"execute": {[]string{"reassignment-json-file"}, []string{"additional", "bootstrap-server", "command-config", "throttle",
		"replica-alter-log-dirs-throttle", "timeout", "disallow-replication-factor-change"}},
	"cancel": {[]string{"reassignment-json-file"}, []string{"command-config", "preserve-throttles", "timeout"}},
	"list":   {nil, []string{"command-config"}},
}

// newReassignPartitionsCommand is kafka-reassign-partitions.sh
// (org.apache.kafka.tools.reassign.ReassignPartitionsCommand).
func newReassignPartitionsCommand() *cobra.Command {
	return joptTool{
		intro: "This tool helps to move topic partitions between replicas.",
		parser: jopt.NewParser(
			jopt.Option{Name: "bootstrap-server", Arity: jopt.Optional, ArgName: "Server(s) to use for bootstrapping",
				Help: "Brokers to ask first, as host:port, separated by commas."},
			jopt.Option{Name: "bootstrap-controller", Arity: jopt.Optional, ArgName: "bootstrap controller to connect to",
				Help: "Controllers to ask instead of brokers; for --cancel and --list."},
			commandConfigOption(),
			jopt.Option{Name: "generate", Help: "Propose replicas for topics on a list of brokers, and change nothing. The first file printed is the way back: keep it."},
			jopt.Option{Name: "execute", Help: "Start the moves of --reassignment-json-file. Records are copied first; old replicas go when the new ones are in sync."},
			jopt.Option{Name: "verify", Help: "Tell how far the moves of --reassignment-json-file are and, when all have ended, remove their throttles."},
			jopt.Option{Name: "cancel", Help: "Stop the moves of --reassignment-json-file and go back to the replicas from before."},
			jopt.Option{Name: "list", Help: "List all moves under way."},
			jopt.Option{Name: "reassignment-json-file", Arity: jopt.Required, ArgName: "manual assignment json file path",
				Help: "The wanted replicas:\n{\"partitions\": [{\"topic\": \"foo\",\n  \"partition\": 1,\n  \"replicas\": [1,2,3],\n  \"log_dirs\": [\"any\",\"any\",\"/d2\"]}],\n\"version\":1}\n\"log_dirs\" may be left out; it is as long as \"replicas\", each \"any\" or a directory's absolute path."},
			jopt.Option{Name: "topics-to-move-json-file", Arity: jopt.Required, ArgName: "topics to reassign json file path",
				Help: "The topics to generate a proposal for:\n{\"topics\": [{\"topic\": \"foo\"}],\n\"version\":1}"},
			jopt.Option{Name: "broker-list", Arity: jopt.Required, ArgName: "brokerlist",
				Help: "The brokers to place replicas on, such as 0,1,2; for --generate."},
			jopt.Option{Name: "disable-rack-aware", Help: "Place replicas without a look at racks."},
			jopt.Option{Name: "throttle", Arity: jopt.Required, Kind: jopt.Long, ArgName: "throttle", Default: "-1",
				Help: "The most bytes a second that moving replicas may take on each broker. To change it, execute again with --additional. --verify removes it at the end."},
			jopt.Option{Name: "replica-alter-log-dirs-throttle", Arity: jopt.Required, Kind: jopt.Long, ArgName: "replicaAlterLogDirsThrottle", Default: "-1",
				Help: "The same for moves between directories of one broker."},
			jopt.Option{Name: "timeout", Arity: jopt.Required, Kind: jopt.Long, ArgName: "timeout", Default: "10000",
				Help: "How many milliseconds to wait for moves between directories to begin."},
			jopt.Option{Name: "additional", Help: "Start these moves beside others under way, or change their throttle."},
			jopt.Option{Name: "preserve-throttles", Help: "Leave throttles as they are."},
			jopt.Option{Name: "disallow-replication-factor-change", Help: "Refuse lists that would change how many replicas a partition has."},
		),
		run: runReassignPartitions,
	}.command()
}

// checkReassignArgs returns the action.
func checkReassignArgs(s *jopt.Set) (string, error) {
	var actions []string
	for _, name := range reassignActions {
		if s.Has(name) {
			actions = append(actions, name)
		}
	}
	if len(actions) != 1 {
		return "", usagef("Command must include exactly one action: --%s", strings.Join(reassignActions, ", --"))
	}
	action := actions[0]
	server, controller := s.Has("bootstrap-server"), s.Has("bootstrap-controller")
	switch {
	case server && controller:
		return "", usagef("Please don't specify both --bootstrap-server and --bootstrap-controller")
	case !server && !controller:
		return "", usagef("Please specify either --bootstrap-server or --bootstrap-controller")
	}
	options := reassignOptions[action]
	if err := s.CheckRequired(options.required...); err != nil {
		return "", err
	}
	allowed := append(append([]string{action}, options.required...), options.permitted...)
	if action == "cancel" || action == "list" {
		allowed = append(allowed, "bootstrap-server", "bootstrap-controller")
	}
	for _, word := range s.Words {
		name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if strings.HasPrefix(word, "-") && s.Has(name) && !containsString(allowed, name) {
			return "", usagef("Option \"[%s]\" can't be used with action \"[%s]\"", name, action)
		}
	}
	return action, nil
}

// reassigner is the tool with its command line checked.
type reassigner struct {
	t   *toolIO
	set *jopt.Set
	a   *admin
}

func runReassignPartitions(ctx context.Context, t *toolIO, s *jopt.Set) error {
	action, err := checkReassignArgs(s)
	if err != nil {
		return err
	}
	r := &reassigner{t: t, set: s}
	err = r.run(ctx, action)
	switch {
	case err == nil || errors.Is(err, errInterrupted) || errors.Is(err, context.Canceled):
		return err
	case isTerse(err):
		fmt.Fprintln(t.out, err)
	default:
		fmt.Fprintf(t.out, "Error: %s\n", reassignErrorText(err))
	}
	return errSilent
}

// terseError is printed without "Error: " before it.
type terseError struct{ msg string }

func (e *terseError) Error() string { return e.msg }

func tersef(format string, args ...any) error { return &terseError{fmt.Sprintf(format, args...)} }

func isTerse(err error) bool {
	var terse *terseError
	return errors.As(err, &terse)
}

// reassignErrorText names the class of what a broker refused, as Java's
// ExecutionException does.
func reassignErrorText(err error) string {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return executionText(err)
	}
	return err.Error()
}

func (r *reassigner) run(ctx context.Context, action string) error {
	var text string
	if name := map[string]string{"generate": "topics-to-move-json-file", "list": ""}; action != "list" {
		option := name[action]
		if option == "" {
			option = "reassignment-json-file"
		}
		data, err := os.ReadFile(r.set.Str(option))
		if err != nil {
			return fmt.Errorf("cannot read --%s: %w", option, err)
		}
		text = string(data)
	}
	props, err := loadProps(r.set.Str("command-config"))
	if err != nil {
		return err
	}
	props.setDefault("client.id", "reassign-partitions-tool")
	if r.a, err = dialAdmin(ctx, props, r.set.Str("bootstrap-server"), r.set.Str("bootstrap-controller"), r.t.err); err != nil {
		return err
	}
	defer r.a.close()
	switch action {
	case "generate":
		return r.generate(ctx, text)
	case "execute":
		return r.execute(ctx, text)
	case "verify":
		return r.verify(ctx, text)
	case "cancel":
		return r.cancel(ctx, text)
	}
	return r.list(ctx)
}

// replicasOf returns the replicas of all partitions of the topics.
func (r *reassigner) replicasOf(ctx context.Context, topics []string) (map[partitionKey][]int32, error) {
	replicas := map[partitionKey][]int32{}
	seen := map[string]bool{}
	for _, name := range topics {
		if seen[name] {
			continue
		}
		seen[name] = true
		described, err := describeTopics(ctx, r.a.any, []string{name}, 0)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil, newBrokerError(kerr.UnknownTopicOrPartition.Code, kmsg.StringPtr("Topic "+name+" not found."))
		}
		if err != nil {
			return nil, err
		}
		for _, t := range described {
			for _, p := range t.Partitions {
				replicas[partitionKey{t.Name, p.Partition}] = p.Replicas
			}
		}
	}
	return replicas, nil
}

// currentDirs tells where live brokers keep the replicas.
func (r *reassigner) currentDirs(ctx context.Context, parts map[partitionKey][]int32) (map[replicaKey]string, error) {
	nodes, err := r.a.nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	live := map[int32]bool{}
	for _, b := range nodes.Brokers {
		live[b.NodeID] = true
	}
	var replicas []replicaKey
	for _, key := range keysOf(parts) {
		for _, id := range parts[key] {
			if live[id] {
				replicas = append(replicas, replicaKey{key.topic, key.partition, id})
			}
		}
	}
	found, err := r.a.dirsOf(ctx, replicas)
	if err != nil {
		return nil, err
	}
	dirs := map[replicaKey]string{}
	for key, at := range found {
		if at.current != "" {
			dirs[key] = at.current
		}
	}
	return dirs, nil
}

func (r *reassigner) generate(ctx context.Context, text string) error {
	var brokers []int32
	for _, word := range strings.Split(r.set.Str("broker-list"), ",") {
		n, err := strconv.ParseInt(word, 10, 32)
		if err != nil {
			return fmt.Errorf("For input string: %q", word)
		}
		brokers = append(brokers, int32(n))
	}
	if twice := duplicates(brokers); len(twice) > 0 {
		return fmt.Errorf("Broker list contains duplicate entries: [%s]", joinInts(javaIntOrder(twice), ", "))
	}
	topics, err := parseTopicsToMove(text)
	if err != nil {
		return err
	}
	if twice := duplicates(topics); len(twice) > 0 {
		return fmt.Errorf("List of topics to reassign contains duplicate entries: [%s]", strings.Join(javaHashOrder(twice), ", "))
	}
	current, err := r.replicasOf(ctx, topics)
	if err != nil {
		return err
	}
	dirs, err := r.currentDirs(ctx, current)
	if err != nil {
		return err
	}
	usable, err := r.usableBrokers(ctx, brokers)
	if err != nil {
		return err
	}
	proposed, err := proposeReplicas(current, usable)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.t.out, "Current partition replica assignment\n%s\n\n", reassignmentJSON(current, dirs))
	_, err = fmt.Fprintf(r.t.out, "Proposed partition reassignment configuration\n%s\n", reassignmentJSON(proposed, nil))
	return err
}

// proposeReplicas places each topic's partitions anew, with as many replicas as
// its first one has.
func proposeReplicas(current map[partitionKey][]int32, brokers []placement.Broker) (map[partitionKey][]int32, error) {
	proposed := map[partitionKey][]int32{}
	for i, topic := range partitionsByTopic(keysOf(current)) {
		factor := len(current[partitionKey{topic.name, topic.partitions[0]}])
		if factor > len(brokers) {
			return nil, fmt.Errorf("The target replication factor of %d cannot be reached because only %d broker(s) are registered "+
				"or some brokers have all their log directories cordoned.", factor, len(brokers))
		}
		for n, replicas := range placement.Place(brokers, len(topic.partitions), factor, i) {
			proposed[partitionKey{topic.name, topic.partitions[n]}] = replicas
		}
	}
	return proposed, nil
}

// usableBrokers returns those of ids that are alive, with their racks.
func (r *reassigner) usableBrokers(ctx context.Context, ids []int32) ([]placement.Broker, error) {
	nodes, err := r.a.nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	wanted, racks := idSet(ids), 0
	var usable []placement.Broker
	for _, b := range nodes.Brokers {
		if !wanted[b.NodeID] {
			continue
		}
		broker := placement.Broker{ID: b.NodeID}
		if b.Rack != nil && !r.set.Has("disable-rack-aware") {
			broker.Rack = *b.Rack
			racks++
		}
		usable = append(usable, broker)
	}
	if racks != 0 && racks != len(usable) {
		return nil, errors.New("Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information.")
	}
	return usable, nil
}

func (r *reassigner) list(ctx context.Context) error {
	moves, err := r.a.reassignments(ctx, nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.t.out, reassignmentsText(moves))
	return err
}

func reassignmentsText(moves map[partitionKey]reassignment) string {
	if len(moves) == 0 {
		return "No partition reassignments found."
	}
	var b strings.Builder
	b.WriteString("Current partition reassignments:")
	for _, key := range keysOf(moves) {
		move := moves[key]
		fmt.Fprintf(&b, "\n%s: replicas: %s.", key, joinInts(move.replicas, ","))
		if len(move.adding) > 0 {
			fmt.Fprintf(&b, " adding: %s.", joinInts(move.adding, ","))
		}
		if len(move.removing) > 0 {
			fmt.Fprintf(&b, " removing: %s.", joinInts(move.removing, ","))
		}
	}
	return b.String()
}

// Messages of --execute that scripts look for.
const (
	reassignExists = "Cannot execute because there is an existing partition assignment.  Use --additional to override this and " +
		"create a new partition assignment in addition to the existing one. The --additional flag can also be used to change " +
		"the throttle by resubmitting the current reassignment."
	reassignVerify = "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
)

func (r *reassigner) execute(ctx context.Context, text string) error {
	parts, dirs, err := parseReassignment(text)
	if err == nil {
		err = checkProposals(parts)
	}
	if err != nil {
		return err
	}
	moving, err := r.a.reassignments(ctx, nil)
	if err != nil {
		return err
	}
	if len(moving) > 0 && !r.set.Has("additional") {
		return &terseError{reassignExists}
	}
	current, err := r.currentOf(ctx, parts)
	if err != nil {
		return err
	}
	at, err := r.currentDirs(ctx, current)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.t.out, "Current partition replica assignment\n\n%s\n\nSave this to use as the --reassignment-json-file option during rollback\n",
		reassignmentJSON(current, at))
	if err := r.throttle(ctx, moving, parts, current, dirs); err != nil {
		return err
	}
	targets := map[partitionKey][]int32{}
	for _, p := range parts {
		targets[p.key] = p.replicas
	}
	refused, err := r.a.reassign(ctx, targets, !r.set.Has("disallow-replication-factor-change"))
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		return tersef("Error reassigning partition(s):\n%s", refusedText(refused))
	}
	fmt.Fprintf(r.t.out, "Successfully started partition reassignment%s for %s\n", plural(len(targets)), joinText(keysOf(targets), ","))
	if len(dirs) == 0 {
		return nil
	}
	return r.moveDirs(ctx, dirs)
}

// currentOf returns the replicas of the proposal's partitions, all of which,
// like the brokers, must exist.
func (r *reassigner) currentOf(ctx context.Context, parts []proposal) (map[partitionKey][]int32, error) {
	nodes, err := r.a.nodes(ctx, false)
	if err != nil {
		return nil, err
	}
	known := map[int32]bool{}
	for _, b := range nodes.Brokers {
		known[b.NodeID] = true
	}
	var ids []int32
	var topics []string
	for _, p := range parts {
		ids = append(ids, p.replicas...)
		topics = append(topics, p.key.topic)
	}
	for _, id := range javaIntOrder(ids) {
		if !known[id] {
			return nil, fmt.Errorf("Unknown broker id %d", id)
		}
	}
	all, err := r.replicasOf(ctx, topics)
	if err != nil {
		return nil, err
	}
	current := map[partitionKey][]int32{}
	var missing []partitionKey
	for _, p := range parts {
		if replicas, ok := all[p.key]; ok {
			current[p.key] = replicas
		} else {
			missing = append(missing, p.key)
		}
	}
	if len(missing) > 0 {
		return nil, newBrokerError(kerr.UnknownTopicOrPartition.Code,
			kmsg.StringPtr("Unable to find partition: "+joinText(javaPartitionOrder(missing), ", ")))
	}
	return current, nil
}

// throttle sets the throttles that the command line asks for.
func (r *reassigner) throttle(ctx context.Context, moving map[partitionKey]reassignment, parts []proposal, current map[partitionKey][]int32, dirs map[replicaKey]string) error {
	between, within := r.set.Int64("throttle"), r.set.Int64("replica-alter-log-dirs-throttle")
	if between < 0 && within < 0 {
		return nil
	}
	fmt.Fprintln(r.t.out, reassignVerify)
	if between >= 0 {
		moves, err := proposedMoves(moving, parts, current)
		if err == nil {
			err = setMoveThrottle(ctx, r.a, moves, between)
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(r.t.out, "The inter-broker throttle limit was set to %d B/s\n", between)
	}
	if within >= 0 {
		brokers := map[int32]bool{}
		for replica := range dirs {
			brokers[replica.broker] = true
		}
		if err := r.a.alter(ctx, brokerSettings(sortedIDs(brokers), within, logDirThrottleRate)); err != nil {
			return err
		}
		fmt.Fprintf(r.t.out, "The replica-alter-dir throttle limit was set to %d B/s\n", within)
	}
	return nil
}

// Settings that throttle moves.
const (
	leaderThrottleRate       = "leader.replication.throttled.rate"
	followerThrottleRate     = "follower.replication.throttled.rate"
	logDirThrottleRate       = "replica.alter.log.dirs.io.max.bytes.per.second"
	leaderThrottleReplicas   = "leader.replication.throttled.replicas"
	followerThrottleReplicas = "follower.replication.throttled.replicas"
)

// setMoveThrottle limits what the moves take on each broker, in bytes a second.
func setMoveThrottle(ctx context.Context, a *admin, moves map[partitionKey]partitionMove, bytesPerSecond int64) error {
	leader, follower := topicThrottles(moves)
	var resources []resourceChange
	for _, topic := range sortedKeys(leader) {
		resources = append(resources, resourceChange{resourceTopic, topic, []configChange{
			{leaderThrottleReplicas, kmsg.IncrementalAlterConfigOpSet, leader[topic]},
			{followerThrottleReplicas, kmsg.IncrementalAlterConfigOpSet, follower[topic]}}})
	}
	if err := a.alter(ctx, resources); err != nil {
		return err
	}
	return a.alter(ctx, brokerSettings(brokersOf(moves), bytesPerSecond, leaderThrottleRate, followerThrottleRate))
}

func brokerSettings(brokers []int32, value int64, names ...string) []resourceChange {
	var resources []resourceChange
	for _, id := range brokers {
		rc := resourceChange{kind: resourceBroker, name: strconv.Itoa(int(id))}
		for _, name := range names {
			rc.changes = append(rc.changes, configChange{name, kmsg.IncrementalAlterConfigOpSet, strconv.FormatInt(value, 10)})
		}
		resources = append(resources, rc)
	}
	return resources
}

// clearMoveThrottles removes the throttles of brokers and topics, whoever set
// them.
func clearBrokerThrottles(ctx context.Context, a *admin, brokers []int32) error {
	var resources []resourceChange
	for _, id := range brokers {
		resources = append(resources, resourceChange{resourceBroker, strconv.Itoa(int(id)),
			deletions(leaderThrottleRate, followerThrottleRate, logDirThrottleRate)})
	}
	return a.alter(ctx, resources)
}

func clearTopicThrottles(ctx context.Context, a *admin, topics []string) error {
	var resources []resourceChange
	for _, name := range topics {
		resources = append(resources, resourceChange{resourceTopic, name, deletions(leaderThrottleReplicas, followerThrottleReplicas)})
	}
	return a.alter(ctx, resources)
}

func deletions(names ...string) []configChange {
	var changes []configChange
	for _, name := range names {
		changes = append(changes, configChange{name: name, op: kmsg.IncrementalAlterConfigOpDelete})
	}
	return changes
}

func refusedText(refused map[partitionKey]error) string {
	var lines []string
	for _, key := range keysOf(refused) {
		lines = append(lines, key.String()+": "+message(refused[key]))
	}
	return strings.Join(lines, "\n")
}

// plural is the "s" of more or less than one.
func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// moveDirs asks for moves between directories until every one has begun: a
// replica that is still on its way to the broker cannot yet be told where to go.
func (r *reassigner) moveDirs(ctx context.Context, moves map[replicaKey]string) error {
	pending := map[replicaKey]string{}
	for key, dir := range moves {
		pending[key] = dir
	}
	deadline := time.Now().Add(time.Duration(r.set.Int64("timeout")) * time.Millisecond)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		refused, err := r.a.moveDirs(ctx, pending)
		if err != nil {
			return err
		}
		for _, key := range sortedReplicas(pending) {
			switch err := refused[key]; {
			case errors.Is(err, kerr.ReplicaNotAvailable):
				continue
			case err != nil:
				return fmt.Errorf("Failed to alter dir for %s\nCaused by: %s", key, executionText(err))
			}
			fmt.Fprintf(r.t.out, "Successfully started moving log directory to %s for replica %s-%d with broker %d \n",
				pending[key], key.topic, key.partition, key.broker)
			delete(pending, key)
		}
		if len(pending) == 0 {
			return nil
		}
		if !time.Now().Before(deadline) {
			return tersef("Timed out before log directory move%s could be started for: %s",
				plural(len(pending)), joinText(sortedReplicas(pending), ","))
		}
		select {
		case <-ctx.Done():
			return errInterrupted
		case <-tick.C:
		}
	}
}

// sortedReplicas sorts by broker, topic and partition, as Kafka's tool does.
func sortedReplicas[V any](m map[replicaKey]V) []replicaKey {
	keys := make([]replicaKey, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := keys[i], keys[j]
		switch {
		case a.broker != b.broker:
			return a.broker < b.broker
		case a.topic != b.topic:
			return a.topic < b.topic
		}
		return a.partition < b.partition
	})
	return keys
}
