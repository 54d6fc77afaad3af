package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// partitionProgress is how far a partition's move is.
type partitionProgress struct {
	current, target []int32
	done            bool // nothing moves; current may still differ from target
}

func (r *reassigner) verify(ctx context.Context, text string) error {
	parts, dirs, err := parseReassignment(text)
	if err != nil {
		return err
	}
	moving, err := r.a.reassignments(ctx, nil)
	if err != nil {
		return err
	}
	states, err := r.progress(ctx, parts, moving)
	if err != nil {
		return err
	}
	fmt.Fprintln(r.t.out, partitionProgressText(states))
	dirStates, err := r.dirProgress(ctx, dirs)
	if err != nil {
		return err
	}
	lines, dirsDone := dirProgressText(dirStates)
	fmt.Fprintln(r.t.out, lines)
	if len(moving) > 0 || !dirsDone || r.set.Has("preserve-throttles") {
		return nil
	}
	return r.clearThrottles(ctx, parts)
}

// progress looks up where the replicas of parts are. A topic that is gone has
// none.
func (r *reassigner) progress(ctx context.Context, parts []proposal, moving map[partitionKey]reassignment) (map[partitionKey]partitionProgress, error) {
	states := map[partitionKey]partitionProgress{}
	known := map[string]map[partitionKey][]int32{}
	for _, p := range parts {
		if move, ok := moving[p.key]; ok {
			states[p.key] = partitionProgress{current: move.replicas, target: p.replicas}
			continue
		}
		replicas, asked := known[p.key.topic]
		if !asked {
			var err error
			replicas, err = r.replicasOf(ctx, []string{p.key.topic})
			if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
				return nil, err
			}
			known[p.key.topic] = replicas
		}
		states[p.key] = partitionProgress{current: replicas[p.key], target: p.replicas, done: true}
	}
	return states, nil
}

func partitionProgressText(states map[partitionKey]partitionProgress) string {
	lines := []string{"Status of partition reassignment:"}
	for _, key := range keysOf(states) {
		state := states[key]
		current, target := joinInts(state.current, ","), joinInts(state.target, ",")
		switch {
		case !state.done:
			lines = append(lines, fmt.Sprintf("Reassignment of partition %s is still in progress.", key))
		case current == target:
			lines = append(lines, fmt.Sprintf("Reassignment of partition %s is completed.", key))
		default:
			lines = append(lines, fmt.Sprintf("There is no active reassignment of partition %s, but replica set is %s rather than %s.",
				key, current, target))
		}
	}
	return strings.Join(lines, "\n")
}

// dirProgress is how far a replica's move to a directory is.
type dirProgress struct {
	replicaDirs
	target string
}

func (p dirProgress) done() bool { return p.future == "" }

func (r *reassigner) dirProgress(ctx context.Context, targets map[replicaKey]string) (map[replicaKey]dirProgress, error) {
	found, err := r.a.dirsOf(ctx, sortedReplicas(targets))
	if err != nil {
		return nil, err
	}
	states := map[replicaKey]dirProgress{}
	for key, target := range targets {
		states[key] = dirProgress{found[key], target}
	}
	return states, nil
}

// dirProgressText describes moves between directories; done is false while one
// is under way.
func dirProgressText(states map[replicaKey]dirProgress) (text string, done bool) {
	var lines []string
	done = true
	for _, key := range sortedReplicas(states) {
		p := states[key]
		partition := partitionKey{key.topic, key.partition}
		done = done && p.done()
		switch {
		case p.current == "":
			lines = append(lines, fmt.Sprintf("Partition %s is not found in any live log dir on broker %d. There is likely an offline log directory on the broker.",
				partition, key.broker))
		case p.future == "" && p.current == p.target:
			lines = append(lines, fmt.Sprintf("Reassignment of replica %s completed successfully.", key))
		case p.future == "":
			lines = append(lines, fmt.Sprintf("Partition %s on broker %d is not being moved from log dir %s to %s.",
				partition, key.broker, p.current, p.target))
		case p.future == p.target:
			lines = append(lines, fmt.Sprintf("Reassignment of replica %s is still in progress.", key))
		default:
			lines = append(lines, fmt.Sprintf("Partition %s on broker %d is being moved to log dir %s instead of %s.",
				partition, key.broker, p.future, p.target))
		}
	}
	return strings.Join(lines, "\n"), done
}

// clearThrottles removes every throttle of all brokers and of the topics: which
// of them this reassignment set is nowhere recorded.
func (r *reassigner) clearThrottles(ctx context.Context, parts []proposal) error {
	nodes, err := r.a.nodes(ctx, false)
	if err != nil {
		return err
	}
	var brokers []int32
	for _, b := range nodes.Brokers {
		brokers = append(brokers, b.NodeID)
	}
	var topics []string
	for _, p := range parts {
		brokers = append(brokers, p.replicas...)
		topics = append(topics, p.key.topic)
	}
	brokers, topics = javaIntOrder(brokers), javaHashOrder(topics)
	fmt.Fprintf(r.t.out, "Clearing broker-level throttles on broker%s %s\n", plural(len(brokers)), joinInts(brokers, ","))
	if err := clearBrokerThrottles(ctx, r.a, brokers); err != nil {
		return err
	}
	fmt.Fprintf(r.t.out, "Clearing topic-level throttles on topic%s %s\n", plural(len(topics)), strings.Join(topics, ","))
	return clearTopicThrottles(ctx, r.a, topics)
}

func (r *reassigner) cancel(ctx context.Context, text string) error {
	parts, dirs, err := parseReassignment(text)
	if err != nil {
		return err
	}
	if err := r.cancelParts(ctx, parts); err != nil {
		return err
	}
	states, err := r.dirProgress(ctx, dirs)
	if err != nil {
		return err
	}
	back := map[replicaKey]string{}
	for key, p := range states {
		if p.current != "" && p.future != "" {
			back[key] = p.current
		}
	}
	if len(back) == 0 {
		// As in Kafka's tool, no line break follows.
		fmt.Fprint(r.t.out, "None of the specified partition moves are active.")
	} else if err := r.moveDirs(ctx, back); err != nil {
		return err
	}
	if r.set.Has("preserve-throttles") {
		return nil
	}
	return r.clearThrottles(ctx, parts)
}

func (r *reassigner) cancelParts(ctx context.Context, parts []proposal) error {
	moving := map[partitionKey]reassignment{}
	if len(parts) > 0 {
		var keys []partitionKey
		for _, p := range parts {
			keys = append(keys, p.key)
		}
		var err error
		if moving, err = r.a.reassignments(ctx, keys); err != nil {
			return err
		}
	}
	targets := map[partitionKey][]int32{}
	for key, move := range moving {
		if len(move.adding) > 0 || len(move.removing) > 0 {
			targets[key] = nil
		}
	}
	if len(targets) == 0 {
		_, err := fmt.Fprintln(r.t.out, "None of the specified partition reassignments are active.")
		return err
	}
	refused, err := r.a.reassign(ctx, targets, true)
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		return tersef("Error cancelling partition reassignment%s for:\n%s", plural(len(refused)), refusedText(refused))
	}
	_, err = fmt.Fprintf(r.t.out, "Successfully cancelled partition reassignment%s for: %s\n", plural(len(targets)), joinText(keysOf(targets), ","))
	return err
}
