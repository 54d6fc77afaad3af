package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/cli/placement"
)

func TestParseReassignment(t *testing.T) {
	parts, dirs, err := parseReassignment(`{"version":1,"partitions":[
		{"topic":"a","partition":1,"replicas":[1,2],"log_dirs":["any","/d"]},{"topic":"b","partition":0,"replicas":[3]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if want := []proposal{{partitionKey{"a", 1}, []int32{1, 2}}, {partitionKey{"b", 0}, []int32{3}}}; !reflect.DeepEqual(parts, want) {
		t.Errorf("%v", parts)
	}
	if want := map[replicaKey]string{{"a", 1, 2}: "/d"}; !reflect.DeepEqual(dirs, want) {
		t.Errorf("%v", dirs)
	}
	f := func(text, want string) {
		t.Helper()
		parts, _, err := parseReassignment(text)
		if err == nil {
			err = checkProposals(parts)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	f(`{`, "not valid JSON")
	f(`{} {}`, "more text after the end")
	f(`[]`, "Expected JSON object, received []")
	f(`{"version":3}`, "Not supported version field value 3")
	f(`{}`, "Partition reassignment list cannot be empty")
	f(`{"partitions":[{"topic":"a","partition":0}]}`, "No such field exists: `replicas`")
	f(`{"partitions":[{"topic":7,"partition":0}]}`, "Expected `String` value, received 7")
	f(`{"partitions":[{"topic":"a","partition":0.5}]}`, "Expected `Integer` value, received 0.5")
	f(`{"partitions":[{"topic":"a","partition":0,"replicas":[]}]}`, "Partition replica list cannot be empty")
	f(`{"partitions":[{"topic":"a","partition":0,"replicas":[1,1]}]}`, "a-0 contains multiple entries for 1")
	f(`{"partitions":[{"topic":"a","partition":0,"replicas":[1]},{"topic":"a","partition":0,"replicas":[2]}]}`, "duplicate topic partitions: a-0")
	f(`{"partitions":[{"topic":"a","partition":0,"replicas":[1,2],"log_dirs":["any"]}]}`,
		"Size of replicas list [1, 2] is different from size of log dirs list [any] for partition a-0")
}

// The throttles of a proposal beside a move under way (KIP-73, KIP-455).
func TestTopicThrottles(t *testing.T) {
	current := map[partitionKey]reassignment{
		{"a", 0}: {adding: []int32{4}, removing: []int32{1}, replicas: []int32{4, 1, 2}}}
	parts := []proposal{{partitionKey{"a", 0}, []int32{5, 2}}, {partitionKey{"a", 10}, []int32{1, 3}}, {partitionKey{"b", 0}, []int32{1}}}
	moves, err := proposedMoves(current, parts, map[partitionKey][]int32{{"a", 0}: {4, 1, 2}, {"a", 10}: {1, 2}, {"b", 0}: {1}})
	if err != nil {
		t.Fatal(err)
	}
	leader, follower := topicThrottles(moves)
	if want := map[string]string{"a": "0:1,0:2,10:1,10:2", "b": "0:1"}; !reflect.DeepEqual(leader, want) {
		t.Errorf("leader throttles %v", leader)
	}
	if want := map[string]string{"a": "0:5,10:3", "b": ""}; !reflect.DeepEqual(follower, want) {
		t.Errorf("follower throttles %v", follower)
	}
	if got := brokersOf(moves); !reflect.DeepEqual(got, []int32{1, 2, 3, 5}) {
		t.Errorf("brokers %v", got)
	}
	if _, err := proposedMoves(nil, parts, nil); err == nil {
		t.Error("a partition without replicas is moved")
	}
}

func TestDirProgress(t *testing.T) {
	text, done := dirProgressText(map[replicaKey]dirProgress{
		{"a", 0, 1}: {replicaDirs{}, "/x"},
		{"a", 1, 1}: {replicaDirs{current: "/x"}, "/x"},
		{"a", 2, 1}: {replicaDirs{current: "/y"}, "/x"},
		{"a", 3, 1}: {replicaDirs{current: "/y", future: "/x"}, "/x"},
		{"a", 4, 1}: {replicaDirs{current: "/y", future: "/z"}, "/x"}})
	want := `Partition a-0 is not found in any live log dir on broker 1. There is likely an offline log directory on the broker.
Reassignment of replica a-1-1 completed successfully.
Partition a-2 on broker 1 is not being moved from log dir /y to /x.
Reassignment of replica a-3-1 is still in progress.
Partition a-4 on broker 1 is being moved to log dir /z instead of /x.`
	if text != want || done {
		t.Errorf("done %v\n%s", done, text)
	}
}

func quorumAnswer() *kmsg.DescribeQuorumResponse {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	member := func(id int32, end, fetched int64) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
		return kmsg.DescribeQuorumResponseTopicPartitionReplicaState{ReplicaID: id, ReplicaDirectoryID: [16]byte{15: byte(id)},
			LogEndOffset: end, LastFetchTimestamp: fetched, LastCaughtUpTimestamp: fetched - 5}
	}
	resp.Topics = []kmsg.DescribeQuorumResponseTopic{{Topic: metadataTopicName, Partitions: []kmsg.DescribeQuorumResponseTopicPartition{{
		LeaderID: 2, LeaderEpoch: 3, HighWatermark: 99,
		CurrentVoters: []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{member(1, 90, 900), member(2, 100, 1000)},
		Observers:     []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{member(5, 100, 1001)}}}}}
	resp.Nodes = []kmsg.DescribeQuorumResponseNode{{NodeID: 1, Listeners: []kmsg.DescribeQuorumResponseNodeListener{{Name: "CONTROLLER", Host: "::1", Port: 9093}}}}
	return resp
}

func TestQuorumTexts(t *testing.T) {
	text, err := quorumStatusText("cid", quorumAnswer())
	want := `ClusterId:              cid
LeaderId:               2
LeaderEpoch:            3
HighWatermark:          99
MaxFollowerLag:         10
MaxFollowerLagTimeMs:   100
CurrentVoters:          [{"id": 1, "directoryId": "AAAAAAAAAAAAAAAAAAAAAQ", "endpoints": ["CONTROLLER://[::1]:9093"]}, {"id": 2, "directoryId": "AAAAAAAAAAAAAAAAAAAAAg"}]
CurrentObservers:       [{"id": 5, "directoryId": "AAAAAAAAAAAAAAAAAAAABQ"}]`
	if err != nil || text != want {
		t.Errorf("%v\n%s", err, text)
	}
	var b strings.Builder
	if err := printQuorumReplication(&b, quorumAnswer(), true, 2000); err != nil {
		t.Fatal(err)
	}
	want = "NodeId\tDirectoryId           \tLogEndOffset\tLag\tLastFetchTimestamp\tLastCaughtUpTimestamp\tStatus  \t\n" +
		"2     \tAAAAAAAAAAAAAAAAAAAAAg\t100         \t0  \t1000 ms ago       \t1005 ms ago          \tLeader  \t\n" +
		"1     \tAAAAAAAAAAAAAAAAAAAAAQ\t90          \t10 \t1100 ms ago       \t1105 ms ago          \tFollower\t\n" +
		"5     \tAAAAAAAAAAAAAAAAAAAABQ\t100         \t0  \t999 ms ago        \t1004 ms ago          \tObserver\t\n"
	if b.String() != want {
		t.Errorf("%q\n%q", b.String(), want)
	}
	if err := printQuorumReplication(&b, quorumAnswer(), true, 500); err == nil || !strings.Contains(err.Error(), "possible drift in system clock") {
		t.Error(err)
	}
	q := quorumAnswer()
	q.Topics[0].Partitions[0].LeaderID = -1
	if _, err := quorumStatusText("cid", q); err == nil || !strings.Contains(err.Error(), "no controller is elected") {
		t.Error(err)
	}
}

func TestReadVoter(t *testing.T) {
	dir := t.TempDir()
	meta := "version=1\ncluster.id=x\nnode.id=4\ndirectory.id=Kp2vMc3CQhGlbNmRSFRbNw\n"
	if err := os.WriteFile(filepath.Join(dir, "meta.properties"), []byte(meta), 0o600); err != nil {
		t.Fatal(err)
	}
	props := clientProps{"node.id": "4", "process.roles": "broker,controller", "log.dirs": dir, "controller.listener.names": "CONTROLLER",
		"listeners": "PLAINTEXT://:9092,CONTROLLER://:9093", "advertised.listeners": "PLAINTEXT://h:9092"}
	v, err := readVoter(props)
	if err != nil || v.id != 4 || v.dir.String() != "Kp2vMc3CQhGlbNmRSFRbNw" || fmt.Sprint(v.addresses()) != "[CONTROLLER://localhost:9093]" {
		t.Errorf("%+v %v", v, err)
	}
	f := func(key, value, want string) {
		t.Helper()
		changed := clientProps{}
		for k, v := range props {
			changed[k] = v
		}
		if changed[key] = value; value == "" {
			delete(changed, key)
		}
		if _, err := readVoter(changed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s=%s: %v, want %q", key, value, err, want)
		}
	}
	f("node.id", "", "node.id not found in configuration file.")
	f("node.id", "-1", "node.id was negative")
	f("process.roles", "broker", "process.roles did not contain 'controller'")
	f("log.dirs", "", "Neither metadata.log.dir nor log.dirs were found.")
	f("log.dirs", filepath.Join(dir, "nosuch"), "Unable to read meta.properties from")
	f("controller.listener.names", "", "controller.listener.names was not found.")
	f("controller.listener.names", "OTHER", "Cannot find information about controller listener name: OTHER")
}

func TestFeatureTexts(t *testing.T) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{Name: "metadata.version", MinVersion: 7, MaxVersion: 99}, {Name: "group.version", MaxVersion: 1}}
	resp.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{{Name: "metadata.version", MaxVersionLevel: 30}}
	want := "Feature: group.version                             SupportedMinVersion: 0                SupportedMaxVersion: 1                FinalizedVersionLevel: 0                Epoch: -\n" +
		"Feature: metadata.version                          SupportedMinVersion: 3.3-IV3          SupportedMaxVersion: UNKNOWN 99       FinalizedVersionLevel: 4.3-IV0          Epoch: -\n"
	if got := featuresText(resp); got != want {
		t.Errorf("%s", got)
	}
	for version, level := range map[string]int16{"4.3": 30, "4.1": 27, "4.1.2": 27, "4.1-IV0": 26, "3.3": 7} {
		if m, err := metadataLevelOf(version); err != nil || m.level != level {
			t.Errorf("%s is %v, %v", version, m, err)
		}
	}
	if _, err := metadataLevelOf("2.8"); err == nil {
		t.Error("2.8 has a level")
	}
}

// scripted answers requests with a function.
type scripted func(req kmsg.Request) (kmsg.Response, error)

func (f scripted) Request(_ context.Context, req kmsg.Request) (kmsg.Response, error) { return f(req) }

func TestUpdateFeatures(t *testing.T) {
	var sent *kmsg.UpdateFeaturesRequest
	a := &admin{any: scripted(func(req kmsg.Request) (kmsg.Response, error) {
		sent = req.(*kmsg.UpdateFeaturesRequest)
		resp := sent.ResponseKind().(*kmsg.UpdateFeaturesResponse)
		resp.ErrorCode, resp.ErrorMessage = 95, kmsg.StringPtr("no.")
		return resp, nil
	})}
	var b strings.Builder
	err := a.updateFeatures(context.Background(), &b, "downgrade", map[string]int16{"x": 0, "a": 2}, featureUnsafeDowngrade, false)
	if err == nil || err.Error() != "2 out of 2 operation(s) failed." {
		t.Error(err)
	}
	if b.String() != "Could not downgrade a to 2. no.\nCould not downgrade x to 0. no.\n" {
		t.Error(b.String())
	}
	if f := sent.FeatureUpdates[0]; f.Feature != "a" || f.UpgradeType != 3 || !f.AllowDowngrade {
		t.Errorf("%+v", f)
	}
}

// --release-version leaves out what the cluster has not got, and says so.
func TestReleaseVersionOfAnotherMake(t *testing.T) {
	a := &admin{any: scripted(func(req kmsg.Request) (kmsg.Response, error) {
		resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
		resp.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{Name: metadataFeature, MinVersion: 7, MaxVersion: 30}, {Name: "kraft.version", MaxVersion: 1}}
		return resp, nil
	})}
	var b strings.Builder
	flags := featureFlags{release: "4.0"}
	levels, err := flags.levels(&b, featureUpgrade)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.dropUnsupported(context.Background(), &b, levels); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(levels, map[string]int16{metadataFeature: 25, "kraft.version": 1}) {
		t.Errorf("asks for %v", levels)
	}
	want := "group.version is not supported by this cluster and is left out.\ntransaction.version is not supported by this cluster and is left out.\n"
	if b.String() != want {
		t.Error(b.String())
	}
}

// Lines of the tools on a cluster of three brokers; their form is that of Apache
// Kafka 4.3.1's output, with which they were compared.
func TestClusterToolsTranscript(t *testing.T) {
	addr := fakeCluster(t, kfake.NumBrokers(3))
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic foo --partitions 2 --replication-factor 2")
	topics := file("topics.json", `{"topics":[{"topic":"foo"}],"version":1}`)
	moves := file("moves.json", `{"version":1,"partitions":[{"topic":"foo","partition":0,"replicas":[2,1]},{"topic":"foo","partition":1,"replicas":[1,2]}]}`)
	unknown := file("unknown.json", `{"version":1,"partitions":[{"topic":"foo","partition":0,"replicas":[2,9]}]}`)
	missing := file("missing.json", `{"version":1,"partitions":[{"topic":"foo","partition":7,"replicas":[2,1]}]}`)
	elections := file("elections.json", `{"partitions":[{"topic":"foo","partition":0},{"topic":"foo","partition":1}]}`)
	var b strings.Builder
	for _, line := range []string{
		"kafka-reassign-partitions --list",
		"kafka-reassign-partitions --generate --topics-to-move-json-file " + topics + " --broker-list 0,0",
		"kafka-reassign-partitions --generate --topics-to-move-json-file " + topics + " --broker-list 0",
		"kafka-reassign-partitions --generate --broker-list 0",
		"kafka-reassign-partitions --execute --reassignment-json-file " + unknown,
		"kafka-reassign-partitions --execute --reassignment-json-file " + missing,
		"kafka-reassign-partitions --cancel --reassignment-json-file " + moves + " --preserve-throttles",
		"kafka-reassign-partitions --list --throttle 5",
		"kafka-reassign-partitions --list --verify",
		"kafka-leader-election --election-type preferred --topic foo --partition 0",
		"kafka-leader-election --election-type preferred --path-to-json-file " + elections,
		"kafka-leader-election --election-type preferred --topic foo --partition 9",
		"kafka-leader-election --election-type preferred --topic foo",
		"kafka-leader-election --election-type sometimes --topic foo --partition 0",
		"kafka-leader-election --all-topic-partitions",
		"kafka-cluster list-endpoints",
		"kafka-features version-mapping --release-version 4.1",
		"kafka-features feature-dependencies --feature eligible.leader.replicas.version=1 --feature metadata.version=25",
		"kafka-features feature-dependencies --feature group.version=9",
		"kafka-metadata-quorum describe",
		"kafka-metadata-quorum add-controller",
		"kafka-metadata-quorum remove-controller -i 1 -d nonsense",
	} {
		words := strings.Fields(line)
		switch {
		case words[0] == "kafka-cluster":
			words = append(words, "--bootstrap-server", addr)
		case len(words) < 2 || words[1] != "version-mapping" && words[1] != "feature-dependencies":
			words = append([]string{words[0], "--bootstrap-server", addr}, words[1:]...)
		}
		r := runWords(t, words, "")
		stderr := r.err
		if i := strings.Index(stderr, "\nOption  "); i >= 0 {
			stderr = stderr[:i+1] + "<help>\n"
		}
		fmt.Fprintf(&b, "$ %s\n%s", strings.ReplaceAll(line, dir+"/", ""), r.out)
		if stderr != "" {
			fmt.Fprintf(&b, "stderr: %s", stderr)
		}
		fmt.Fprintf(&b, "exit %d\n\n", r.code)
	}
	golden(t, "cluster-tools.txt", volatilePort.ReplaceAllString(stable(b.String()), "127.0.0.1 <port> "))
}

// The commands against a fake cluster, which places replicas by chance.
func TestClusterCommands(t *testing.T) {
	addr := fakeCluster(t, kfake.NumBrokers(3))
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic foo --partitions 3 --replication-factor 2")
	for line, want := range map[string]string{
		"freshet broker decommission -b BROKER 7": "the cluster knows no broker 7; it has 0, 1, 2",
		"freshet broker decommission -b BROKER x": `"x" is not a broker's id`,
		"freshet doctor -b BROKER --topic nosuch": "no topic matches nosuch",
	} {
		if r := runLine(t, addr, line); r.code != 1 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", line, r)
		}
	}
	for _, line := range []string{"freshet cluster status -b BROKER", "freshet cluster status -b BROKER -o json", "freshet cluster brokers -b BROKER",
		"freshet cluster brokers -b BROKER -o json"} {
		if out := mustRun(t, addr, line); !strings.Contains(out, addr[strings.Index(addr, ":")+1:]) {
			t.Errorf("%s does not show the address:\n%s", line, out)
		}
	}
	if r := runLine(t, addr, "freshet doctor -b BROKER -o json"); r.code != 1 || !strings.Contains(r.out, `"code": "min-isr-one"`) {
		t.Errorf("doctor: %+v", r)
	}
	if out := mustRun(t, addr, "freshet cluster rebalance -b BROKER --cancel"); !strings.Contains(out, "0 moves stopped") {
		t.Errorf("cancel: %s", out)
	}
}

// movingCluster plays the part of a cluster in which each move ends at the
// second look. It notes what it is asked.
type movingCluster struct {
	looks     map[partitionKey]int
	log       []string
	elsewhere bool // somebody else moves logs-0 to broker 1
}

func (m *movingCluster) Request(_ context.Context, req kmsg.Request) (kmsg.Response, error) {
	switch req := req.(type) {
	case *kmsg.ListPartitionReassignmentsRequest:
		resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
		for _, key := range keysOf(m.looks) {
			if m.looks[key]++; m.looks[key] > 1 {
				delete(m.looks, key)
				continue
			}
			resp.Topics = append(resp.Topics, kmsg.ListPartitionReassignmentsResponseTopic{Topic: key.topic,
				Partitions: []kmsg.ListPartitionReassignmentsResponseTopicPartition{{Partition: key.partition, AddingReplicas: []int32{3}}}})
		}
		return resp, nil
	case *kmsg.AlterPartitionAssignmentsRequest:
		resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
		for _, topic := range req.Topics {
			for _, p := range topic.Partitions {
				m.log = append(m.log, fmt.Sprintf("move %s-%d to %v", topic.Topic, p.Partition, p.Replicas))
				r := kmsg.AlterPartitionAssignmentsResponseTopicPartition{Partition: p.Partition}
				if topic.Topic == "refused" {
					r.ErrorCode, r.ErrorMessage = 3, kmsg.StringPtr("it is gone")
				} else {
					m.looks[partitionKey{topic.Topic, p.Partition}] = 0
				}
				resp.Topics = append(resp.Topics, kmsg.AlterPartitionAssignmentsResponseTopic{Topic: topic.Topic,
					Partitions: []kmsg.AlterPartitionAssignmentsResponseTopicPartition{r}})
			}
		}
		return resp, nil
	case *kmsg.IncrementalAlterConfigsRequest:
		for _, r := range req.Resources {
			for _, c := range r.Configs {
				value := "-"
				if c.Value != nil {
					value = *c.Value
				}
				m.log = append(m.log, fmt.Sprintf("%s %s=%s", r.ResourceName, c.Name, value))
			}
		}
		return req.ResponseKind(), nil
	case *kmsg.DescribeTopicPartitionsRequest:
		resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
		if m.elsewhere {
			resp.Topics = []kmsg.DescribeTopicPartitionsResponseTopic{{Topic: kmsg.StringPtr("logs"),
				Partitions: []kmsg.DescribeTopicPartitionsResponseTopicPartition{{Replicas: []int32{1}}}}}
		}
		return resp, nil
	case *kmsg.ElectLeadersRequest:
		m.log = append(m.log, fmt.Sprintf("elect in %d topics", len(req.Topics)))
		return req.ResponseKind(), nil
	}
	return req.ResponseKind(), nil
}

func newMoveJob(cluster *movingCluster, out *strings.Builder, flags *moveFlags, moves ...placement.Move) *moveJob {
	cmd := &cobra.Command{}
	cmd.SetOut(out)
	cmd.SetErr(out)
	flags.out.format = "table"
	return &moveJob{cmd: cmd, flags: flags, view: testView(), moves: moves, ongoing: map[partitionKey]reassignment{}, again: "freshet again", every: time.Millisecond,
		a: &admin{any: cluster, node: func(int32) (kmsg.Requestor, error) { return cluster, nil }}}
}

func TestMoveJob(t *testing.T) {
	cluster := &movingCluster{looks: map[partitionKey]int{}}
	var out strings.Builder
	job := newMoveJob(cluster, &out, &moveFlags{yes: true, atOnce: 1, throttle: "1MB/s"},
		placement.Move{Topic: "logs", From: []int32{2}, To: []int32{3}, CopyBytes: 10},
		placement.Move{Topic: "refused", From: []int32{1}, To: []int32{3}},
		placement.Move{Topic: "orders", Partition: 1, From: []int32{2, 3, 1}, To: []int32{1, 2, 3}})
	err := job.run(context.Background(), "nothing")
	if err == nil || !strings.Contains(err.Error(), "2 of 3 moves ended, 1 did not") || !strings.Contains(out.String(), "refused-0 was not moved: it is gone") {
		t.Errorf("%v\n%s", err, out.String())
	}
	want := `logs leader.replication.throttled.replicas=0:2
logs follower.replication.throttled.replicas=0:3
orders leader.replication.throttled.replicas=1:1,1:2,1:3
orders follower.replication.throttled.replicas=
refused leader.replication.throttled.replicas=0:1
refused follower.replication.throttled.replicas=0:3
1 leader.replication.throttled.rate=1000000
1 follower.replication.throttled.rate=1000000
2 leader.replication.throttled.rate=1000000
2 follower.replication.throttled.rate=1000000
3 leader.replication.throttled.rate=1000000
3 follower.replication.throttled.rate=1000000
move logs-0 to [3]
move refused-0 to [3]
move orders-1 to [1 2 3]
`
	got := strings.Join(cluster.log, "\n") + "\n"
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "elect in 3 topics\n") || !strings.Contains(got, "logs leader.replication.throttled.replicas=-") {
		t.Errorf("asked:\n%s", got)
	}
}

func TestMoveJobCrossed(t *testing.T) {
	var out strings.Builder
	job := newMoveJob(&movingCluster{looks: map[partitionKey]int{}, elsewhere: true}, &out, &moveFlags{yes: true, atOnce: 1},
		placement.Move{Topic: "logs", From: []int32{2}, To: []int32{3}})
	err := job.run(context.Background(), "nothing")
	if err == nil || !strings.Contains(err.Error(), "1 of 1 moves did not end where they should") || !strings.Contains(out.String(), "logs-0 has replicas 1, not 3") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestMoveJobInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out strings.Builder
	job := newMoveJob(&movingCluster{looks: map[partitionKey]int{}}, &out, &moveFlags{yes: true, atOnce: 1},
		placement.Move{Topic: "logs", From: []int32{2}, To: []int32{3}}, placement.Move{Topic: "orders", From: []int32{1, 2, 3}, To: []int32{2, 1, 3}})
	if err := job.run(ctx, "nothing"); !errors.Is(err, errInterrupted) {
		t.Error(err)
	}
	for _, want := range []string{"1 under way go on by themselves", "1 were not begun", "to go on:              freshet again\n", "to stop and go back:   freshet again --cancel"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("does not say %q:\n%s", want, out.String())
		}
	}
}

func TestMoveJobAsks(t *testing.T) {
	cluster := &movingCluster{looks: map[partitionKey]int{}}
	var out strings.Builder
	move := placement.Move{Topic: "logs", From: []int32{2}, To: []int32{3}}
	if err := newMoveJob(cluster, &out, &moveFlags{}, move).run(context.Background(), "nothing"); err == nil || !strings.Contains(err.Error(), "give --yes") {
		t.Error(err)
	}
	if err := newMoveJob(cluster, &out, &moveFlags{dryRun: true}, move).run(context.Background(), "nothing"); err != nil || len(cluster.log) > 0 {
		t.Errorf("%v, asked %v", err, cluster.log)
	}
	if err := newMoveJob(cluster, &out, &moveFlags{yes: true, throttle: "soon"}, move).run(context.Background(), "nothing"); err == nil || len(cluster.log) > 0 {
		t.Errorf("%v, asked %v", err, cluster.log)
	}
}

func TestHealthOfNothing(t *testing.T) {
	r := runLine(t, "", "freshet cluster health -b 127.0.0.1:1 --timeout 200ms -o json")
	if r.code != 2 || !strings.Contains(r.out, `"code": "unreachable"`) {
		t.Errorf("%+v", r)
	}
}
