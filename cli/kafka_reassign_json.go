package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
)

// proposal is one partition's wanted replicas, the preferred leader first.
type proposal struct {
	key      partitionKey
	replicas []int32
}

// anyLogDir leaves the choice of the log directory to the broker.
const anyLogDir = "any"

// jsonValue is a node of a parsed file; its methods refuse with the sentences
// of Kafka's own decoder.
type jsonValue struct{ v any }

func parseJSON(text string) (jsonValue, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return jsonValue{}, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return jsonValue{}, fmt.Errorf("there is more text after the end of the JSON value")
	}
	return jsonValue{v}, nil
}

func (j jsonValue) String() string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(j.v)
	return strings.TrimSpace(b.String())
}

// field returns a member of an object; ok is false when it has none.
func (j jsonValue) field(name string) (value jsonValue, ok bool, err error) {
	object, is := j.v.(map[string]any)
	if !is {
		return jsonValue{}, false, fmt.Errorf("Expected JSON object, received %s", j)
	}
	v, ok := object[name]
	return jsonValue{v}, ok, nil
}

// member is field for a member that must be there.
func (j jsonValue) member(name string) (jsonValue, error) {
	v, ok, err := j.field(name)
	if err == nil && !ok {
		err = fmt.Errorf("No such field exists: `%s`", name)
	}
	return v, err
}

func (j jsonValue) array() ([]jsonValue, error) {
	list, is := j.v.([]any)
	if !is {
		return nil, fmt.Errorf("Expected JSON array, received %s", j)
	}
	values := make([]jsonValue, len(list))
	for i, v := range list {
		values[i] = jsonValue{v}
	}
	return values, nil
}

func (j jsonValue) text() (string, error) {
	s, is := j.v.(string)
	if !is {
		return "", fmt.Errorf("Expected `String` value, received %s", j)
	}
	return s, nil
}

func (j jsonValue) int32() (int32, error) {
	if n, is := j.v.(json.Number); is {
		if i, err := strconv.ParseInt(n.String(), 10, 32); err == nil {
			return int32(i), nil
		}
	}
	return 0, fmt.Errorf("Expected `Integer` value, received %s", j)
}

func (j jsonValue) int32s() ([]int32, error) {
	list, err := j.array()
	if err != nil {
		return nil, err
	}
	ids := make([]int32, len(list))
	for i, v := range list {
		if ids[i], err = v.int32(); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (j jsonValue) texts() ([]string, error) {
	list, err := j.array()
	if err != nil {
		return nil, err
	}
	words := make([]string, len(list))
	for i, v := range list {
		if words[i], err = v.text(); err != nil {
			return nil, err
		}
	}
	return words, nil
}

// checkVersion refuses files of another version than 1, which is also what a
// file that names none has.
func (j jsonValue) checkVersion() error {
	v, ok, err := j.field("version")
	if err != nil || !ok {
		return err
	}
	n, err := v.int32()
	if err == nil && n != 1 {
		err = fmt.Errorf("Not supported version field value %d", n)
	}
	return err
}

// parseReassignment reads the text of a --reassignment-json-file: the wanted
// replicas in the file's order, duplicates included, and the log directories it
// names.
func parseReassignment(text string) ([]proposal, map[replicaKey]string, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, nil, fmt.Errorf("the reassignment file is not valid JSON: %w", err)
	}
	if err := root.checkVersion(); err != nil {
		return nil, nil, err
	}
	list, ok, err := root.field("partitions")
	if err != nil || !ok {
		return nil, map[replicaKey]string{}, err
	}
	entries, err := list.array()
	if err != nil {
		return nil, nil, err
	}
	var parts []proposal
	dirs := map[replicaKey]string{}
	for _, entry := range entries {
		p, names, err := parseProposal(entry)
		if err != nil {
			return nil, nil, err
		}
		parts = append(parts, p)
		for i, name := range names {
			if name != anyLogDir {
				dirs[replicaKey{p.key.topic, p.key.partition, p.replicas[i]}] = name
			}
		}
	}
	return parts, dirs, nil
}

func parseProposal(entry jsonValue) (p proposal, dirs []string, err error) {
	topic, err := entry.member("topic")
	if err == nil {
		p.key.topic, err = topic.text()
	}
	if err != nil {
		return p, nil, err
	}
	partition, err := entry.member("partition")
	if err == nil {
		p.key.partition, err = partition.int32()
	}
	if err != nil {
		return p, nil, err
	}
	replicas, err := entry.member("replicas")
	if err == nil {
		p.replicas, err = replicas.int32s()
	}
	if err != nil {
		return p, nil, err
	}
	list, ok, err := entry.field("log_dirs")
	if err != nil || !ok {
		return p, nil, err
	}
	if dirs, err = list.texts(); err != nil {
		return p, nil, err
	}
	if len(dirs) != len(p.replicas) {
		return p, nil, fmt.Errorf("Size of replicas list [%s] is different from size of log dirs list [%s] for partition %s",
			joinInts(p.replicas, ", "), strings.Join(dirs, ", "), p.key)
	}
	return p, dirs, nil
}

// parseTopicsToMove reads the text of a --topics-to-move-json-file.
func parseTopicsToMove(text string) ([]string, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, fmt.Errorf("The input string is not a valid JSON")
	}
	if err := root.checkVersion(); err != nil {
		return nil, err
	}
	list, ok, err := root.field("topics")
	if err != nil || !ok {
		return nil, err
	}
	entries, err := list.array()
	if err != nil {
		return nil, err
	}
	var topics []string
	for _, entry := range entries {
		topic, err := entry.member("topic")
		if err != nil {
			return nil, err
		}
		name, err := topic.text()
		if err != nil {
			return nil, err
		}
		topics = append(topics, name)
	}
	return topics, nil
}

// parsePartitionList reads the text of a --path-to-json-file of leader
// elections.
func parsePartitionList(text string) ([]partitionKey, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, fmt.Errorf("Replica election data is empty")
	}
	list, ok, err := root.field("partitions")
	if err == nil && !ok {
		err = fmt.Errorf(`Replica election data is missing "partitions" field`)
	}
	if err != nil {
		return nil, err
	}
	entries, err := list.array()
	if err != nil {
		return nil, err
	}
	var keys []partitionKey
	for _, entry := range entries {
		var k partitionKey
		topic, err := entry.member("topic")
		if err == nil {
			k.topic, err = topic.text()
		}
		if err != nil {
			return nil, err
		}
		partition, err := entry.member("partition")
		if err == nil {
			k.partition, err = partition.int32()
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if twice := duplicates(keys); len(twice) > 0 {
		return nil, fmt.Errorf("Replica election data contains duplicate partitions: [%s]", joinText(javaPartitionOrder(twice), ", "))
	}
	return keys, nil
}

// checkProposals refuses lists that cannot be executed.
func checkProposals(parts []proposal) error {
	if len(parts) == 0 {
		return fmt.Errorf("Partition reassignment list cannot be empty")
	}
	var keys []partitionKey
	var repeated []string
	for _, p := range parts {
		if len(p.replicas) == 0 {
			return fmt.Errorf("Partition replica list cannot be empty")
		}
		keys = append(keys, p.key)
		if twice := duplicates(p.replicas); len(twice) > 0 {
			repeated = append(repeated, fmt.Sprintf("%s contains multiple entries for %s", p.key, joinInts(javaIntOrder(twice), ",")))
		}
	}
	if twice := duplicates(keys); len(twice) > 0 {
		return fmt.Errorf("Partition reassignment contains duplicate topic partitions: %s", joinText(javaPartitionOrder(twice), ","))
	}
	if len(repeated) > 0 {
		return fmt.Errorf("Partition replica lists may not contain duplicate entries: %s", strings.Join(repeated, ". "))
	}
	return nil
}

// reassignmentJSON is the text that --execute reads; replicas without a
// directory in dirs get "any".
func reassignmentJSON(parts map[partitionKey][]int32, dirs map[replicaKey]string) string {
	list := []ordered{}
	for _, key := range keysOf(parts) {
		names := []string{}
		for _, id := range parts[key] {
			name, ok := dirs[replicaKey{key.topic, key.partition, id}]
			if !ok {
				name = anyLogDir
			}
			names = append(names, name)
		}
		list = append(list, ordered{{"topic", key.topic}, {"partition", key.partition},
			{"replicas", append([]int32{}, parts[key]...)}, {"log_dirs", names}})
	}
	return jsonText(ordered{{"version", 1}, {"partitions", list}})
}

// duplicates returns what is more than once in list, each once.
func duplicates[T comparable](list []T) []T {
	count := map[T]int{}
	var twice []T
	for _, x := range list {
		if count[x]++; count[x] == 2 {
			twice = append(twice, x)
		}
	}
	return twice
}

// joinText joins the texts of list.
func joinText[T fmt.Stringer](list []T, sep string) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = x.String()
	}
	return strings.Join(words, sep)
}

// javaIntOrder returns ids in the order of a java.util.HashSet of Integers.
func javaIntOrder(ids []int32) []int32 {
	return hashMapOrder(ids, func(id int32) uint32 { return uint32(id) })
}

// partitionMove says from which brokers a partition's records come and to which
// they go.
type partitionMove struct{ sources, destinations map[int32]bool }

// proposedMoves joins the moves under way with those proposed. Sources of a
// partition that moves already stay what they were.
func proposedMoves(current map[partitionKey]reassignment, parts []proposal, replicas map[partitionKey][]int32) (map[partitionKey]partitionMove, error) {
	moves := map[partitionKey]partitionMove{}
	for key, r := range current {
		adding := idSet(r.adding)
		move := partitionMove{sources: map[int32]bool{}, destinations: adding}
		for _, id := range r.replicas {
			if !adding[id] {
				move.sources[id] = true
			}
		}
		moves[key] = move
	}
	for _, p := range parts {
		sources := idSet(replicas[p.key])
		if move, ok := moves[p.key]; ok {
			sources = move.sources
		} else if _, known := replicas[p.key]; !known {
			return nil, fmt.Errorf("Trying to reassign a topic partition %s with 0 replicas", p.key)
		}
		destinations := map[int32]bool{}
		for _, id := range p.replicas {
			if !sources[id] {
				destinations[id] = true
			}
		}
		moves[p.key] = partitionMove{sources, destinations}
	}
	return moves, nil
}

func idSet(ids []int32) map[int32]bool {
	set := make(map[int32]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// topicThrottles are the values of leader.replication.throttled.replicas and
// follower.replication.throttled.replicas that cover the moves, by topic.
func topicThrottles(moves map[partitionKey]partitionMove) (leader, follower map[string]string) {
	leaders, followers := map[string][]string{}, map[string][]string{}
	for key, move := range moves {
		leaders[key.topic] = append(leaders[key.topic], throttleWords(key, move.sources)...)
		followers[key.topic] = append(followers[key.topic], throttleWords(key, move.destinations)...)
	}
	join := func(words map[string][]string) map[string]string {
		values := map[string]string{}
		for topic, list := range words {
			sort.Strings(list)
			values[topic] = strings.Join(list, ",")
		}
		return values
	}
	return join(leaders), join(followers)
}

func throttleWords(key partitionKey, ids map[int32]bool) []string {
	var words []string
	for id := range ids {
		words = append(words, fmt.Sprintf("%d:%d", key.partition, id))
	}
	return words
}

// brokersOf are all brokers that the moves read from or write to.
func brokersOf(moves map[partitionKey]partitionMove) []int32 {
	set := map[int32]bool{}
	for _, move := range moves {
		for id := range move.sources {
			set[id] = true
		}
		for id := range move.destinations {
			set[id] = true
		}
	}
	return sortedIDs(set)
}
