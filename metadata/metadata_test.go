package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// schema is a small ConfigSchema: "size" is a number, "tags" a list.
type schema struct{}

func (schema) ValidateTopic(overrides map[string]string) error {
	for key, value := range overrides {
		if key != "size" && key != "tags" {
			return fmt.Errorf("Unknown topic config name: %s", key)
		}
		if key == "size" && strings.Trim(value, "0123456789") != "" {
			return errors.New("bad size")
		}
	}
	return nil
}

func (schema) ValidateDynamicBroker(values map[string]string, perBroker bool) error {
	if _, ok := values["own"]; ok && !perBroker {
		return errors.New("broker id must be specified")
	}
	return nil
}

func (schema) ListDefault(_ bool, key string) (string, bool) {
	if key == "tags" {
		return "base", true
	}
	return "", false
}

// testController counts topic ids up from 1.
func testController() *Controller {
	var n uint64
	return &Controller{Config: schema{}, NumPartitions: 2, ReplicationFactor: 1, NewID: func() UUID {
		n++
		var id UUID
		binary.BigEndian.PutUint64(id[8:], n)
		return id
	}}
}

func testImage(t testing.TB, brokers ...int32) *Image {
	t.Helper()
	records := []Record{&ClusterRecord{ClusterID: "c"}}
	for _, id := range brokers {
		records = append(records, &BrokerRecord{Broker{ID: id}})
	}
	return mustApply(t, NewImage(), records)
}

func mustApply(t testing.TB, img *Image, records []Record) *Image {
	t.Helper()
	next, err := Apply(img, records...)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func plain(name string, partitions int32, replicationFactor int16) NewTopic {
	return NewTopic{Name: name, NumPartitions: partitions, ReplicationFactor: replicationFactor}
}

func text(s string) *string { return &s }

// outcome writes an error as "code: message" and nil as "ok".
func outcome(err *Error) string {
	if err == nil {
		return "ok"
	}
	return fmt.Sprintf("%d: %s", err.Code, err.Message)
}

func TestCreateTopics(t *testing.T) {
	c := testController()
	img := testImage(t, 1, 2)
	_, records := c.CreateTopics(img, []NewTopic{plain("a.b", 1, 1), plain("plain", -1, -1)}, false)
	img = mustApply(t, img, records)
	if topic := img.Topic("plain"); len(topic.Partitions) != 2 || len(topic.Partitions[0].Replicas) != 1 {
		t.Errorf("the defaults were not used: %+v", topic)
	}
	f := func(topic NewTopic, want string) {
		t.Helper()
		results, records := c.CreateTopics(img, []NewTopic{topic}, false)
		if got := outcome(results[0].Err); got != want {
			t.Errorf("%s: got %q, want %q", topic.Name, got, want)
		}
		if (results[0].Err == nil) != (len(records) > 0) {
			t.Errorf("%s: %d records", topic.Name, len(records))
		}
	}
	f(plain("new", 3, 2), "ok")
	f(plain("", 1, 1), "17: Topic name is invalid: the empty string is not allowed")
	f(plain("..", 1, 1), "17: Topic name is invalid: '..' is not allowed")
	f(plain("a b", 1, 1), "17: Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
	long := strings.Repeat("x", 250)
	f(plain(long, 1, 1), "17: Topic name is invalid: the length of '"+long+"' is longer than the max allowed length 249")
	f(plain(long[:249], 1, 1), "ok")
	f(plain("a_b", 1, 1), "17: Topic 'a_b' collides with existing topic: a.b")
	f(plain("plain", 1, 1), "36: Topic 'plain' already exists.")
	f(plain("__cluster_metadata", 1, 1), "42: Creation of internal topic __cluster_metadata is prohibited.")
	f(plain("n", 0, 1), "37: Number of partitions was set to an invalid non-positive value.")
	f(plain("n", -2, 1), "37: Number of partitions was set to an invalid non-positive value.")
	f(plain("n", 1, 0), "38: Replication factor must be larger than 0, or -1 to use the default value.")
	f(plain("n", 1, 3), "38: Unable to replicate the partition 3 time(s): The target replication factor of 3 cannot be reached because only 2 broker(s) are registered.")
	f(plain("n", 10_001, 1), "44: Excessively large number of partitions per request.")
	f(plain("n", 10_000, 1), "ok")
	withConfigs := func(configs ...ConfigValue) NewTopic {
		topic := plain("n", 1, 1)
		topic.Configs = configs
		return topic
	}
	f(withConfigs(ConfigValue{"size", text("5")}), "ok")
	f(withConfigs(ConfigValue{"size", nil}, ConfigValue{"tags", nil}), "40: Null value not supported for topic configs: size,tags")
	f(withConfigs(ConfigValue{"nope", text("5")}), "40: Unknown topic config name: nope")
}

func TestCreateTopicsTogether(t *testing.T) {
	c := testController()
	img := testImage(t, 1)
	results, records := c.CreateTopics(img, []NewTopic{plain("x", 1, 1), plain("x", 2, 1), plain("p.q", 1, 1), plain("p_q", 1, 1), plain("y", 6000, 1), plain("z", 6000, 1)}, false)
	var got []string
	for _, result := range results {
		got = append(got, result.Name+" "+outcome(result.Err))
	}
	want := []string{
		"x 42: Duplicate topic name.", "x 42: Duplicate topic name.",
		"p.q ok", "p_q 17: Topic 'p_q' collides with existing topic: p.q",
		"y ok", "z 44: Excessively large number of partitions per request.",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if img = mustApply(t, img, records); img.NumTopics() != 2 || img.NumPartitions() != 6001 {
		t.Errorf("%d topics, %d partitions", img.NumTopics(), img.NumPartitions())
	}
	if _, records := c.CreateTopics(img, []NewTopic{plain("v", 1, 1)}, true); records != nil {
		t.Errorf("validateOnly made records")
	}
}

func TestManualAssignments(t *testing.T) {
	c := testController()
	img := testImage(t, 1, 2)
	img = mustApply(t, img, []Record{&BrokerRecord{Broker{ID: 3, Fenced: true}}})
	f := func(want string, partitions int32, assignments ...Assignment) {
		t.Helper()
		results, _ := c.CreateTopics(img, []NewTopic{{Name: "n", NumPartitions: partitions, ReplicationFactor: -1, Assignments: assignments}}, true)
		if got := outcome(results[0].Err); got != want {
			t.Errorf("%v: got %q, want %q", assignments, got, want)
		}
	}
	f("ok", -1, Assignment{1, []int32{2, 1}}, Assignment{0, []int32{1, 2}})
	f("42: A manual partition assignment was specified, but numPartitions was not set to -1.", 1, Assignment{0, []int32{1}})
	f("39: Found multiple manual partition assignments for partition 0", -1, Assignment{0, []int32{1}}, Assignment{0, []int32{1}})
	f("39: partitions should be a consecutive 0-based integer sequence", -1, Assignment{0, []int32{1}}, Assignment{2, []int32{1}})
	f("39: partitions should be a consecutive 0-based integer sequence", -1, Assignment{-1, []int32{1}})
	f("39: The manual partition assignment includes an empty replica list.", -1, Assignment{0, nil})
	f("39: The manual partition assignment includes broker 9, but no such broker is registered.", -1, Assignment{0, []int32{9}})
	f("39: The manual partition assignment includes the broker 1 more than once.", -1, Assignment{0, []int32{1, 1}})
	f("39: The manual partition assignment includes a partition with 1 replica(s), but this is not consistent with previous partitions, which have 2 replica(s).",
		-1, Assignment{0, []int32{1, 2}}, Assignment{1, []int32{1}})
	f("39: All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown.", -1, Assignment{0, []int32{3}})
}

func TestPlacement(t *testing.T) {
	c := testController()
	img := testImage(t, 1, 2, 3)
	img = mustApply(t, img, []Record{&BrokerRecord{Broker{ID: 4, Fenced: true}}})
	_, records := c.CreateTopics(img, []NewTopic{plain("n", 6, 4)}, false)
	img = mustApply(t, img, records)
	leaders := map[int32]int{}
	for _, p := range img.Topic("n").Partitions {
		leaders[p.Leader]++
		if len(p.Replicas) != 4 || len(p.ISR) != 3 || p.Replicas[3] != 4 || p.Leader != p.Replicas[0] {
			t.Errorf("partition %+v", p)
		}
	}
	if !reflect.DeepEqual(leaders, map[int32]int{1: 2, 2: 2, 3: 2}) {
		t.Errorf("leaders: %v", leaders)
	}
}

func TestDeleteTopics(t *testing.T) {
	c := testController()
	img := testImage(t, 1)
	_, records := c.CreateTopics(img, []NewTopic{plain("a.x", 2, 1), plain("b", 1, 1), plain("c", 1, 1)}, false)
	img = mustApply(t, img, records)
	idA, idB := img.Topic("a.x").ID, img.Topic("b").ID
	f := func(want []string, refs ...TopicRef) []Record {
		t.Helper()
		results, records := c.DeleteTopics(img, refs)
		var got []string
		for _, result := range results {
			name := "-"
			if result.Name != nil {
				name = *result.Name
			}
			got = append(got, name+" "+outcome(result.Err))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
		return records
	}
	name := func(n string) TopicRef { return TopicRef{Name: &n} }
	f([]string{"- 42: Neither topic name nor id were specified."}, TopicRef{})
	f([]string{"b 42: You may not specify both topic name and topic id."}, TopicRef{Name: text("b"), ID: idB})
	f([]string{"b 42: Duplicate topic name."}, name("b"), name("b"), name("b"))
	f([]string{"- 42: Duplicate topic id."}, TopicRef{ID: idB}, TopicRef{ID: idB})
	f([]string{"b 42: The provided topic name maps to an ID that was already supplied."}, TopicRef{ID: idB}, name("b"))
	f([]string{"zz 3: This server does not host this topic-partition."}, name("zz"))
	f([]string{"- 100: This server does not host this topic ID."}, TopicRef{ID: UUID{9}})
	records = f([]string{"a.x ok", "b ok"}, TopicRef{ID: idA}, name("b"))
	img = mustApply(t, img, records)
	if img.NumTopics() != 1 || img.NumPartitions() != 1 || img.TopicByID(idA) != nil || img.Topic("b") != nil {
		t.Errorf("%d topics are left", img.NumTopics())
	}
	if results, _ := c.CreateTopics(img, []NewTopic{plain("a_x", 1, 1)}, true); results[0].Err != nil {
		t.Errorf("a deleted topic's name still collides: %v", results[0].Err)
	}
}

func TestCreatePartitions(t *testing.T) {
	c := testController()
	img := testImage(t, 1, 2)
	_, records := c.CreateTopics(img, []NewTopic{plain("a", 2, 1)}, false)
	img = mustApply(t, img, records)
	f := func(want string, wish PartitionsWish) []Record {
		t.Helper()
		results, records := c.CreatePartitions(img, []PartitionsWish{wish}, false)
		if got := outcome(results[0].Err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		return records
	}
	f("3: This server does not host this topic-partition.", PartitionsWish{Topic: "zz", Count: 3})
	f("37: Topic already has 2 partition(s).", PartitionsWish{Topic: "a", Count: 2})
	f("37: The topic a currently has 2 partition(s); 1 would not be an increase.", PartitionsWish{Topic: "a", Count: 1})
	f("39: Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.", PartitionsWish{Topic: "a", Count: 4, Assignments: [][]int32{{1}}})
	f("39: The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s).",
		PartitionsWish{Topic: "a", Count: 3, Assignments: [][]int32{{1, 2}}})
	f("44: Excessively large number of partitions per request.", PartitionsWish{Topic: "a", Count: 1 << 30})
	results, _ := c.CreatePartitions(img, []PartitionsWish{{Topic: "a", Count: 3}, {Topic: "a", Count: 4}}, false)
	if len(results) != 1 || outcome(results[0].Err) != "42: Duplicate topic name." {
		t.Errorf("duplicates: %v", results)
	}
	img = mustApply(t, img, f("ok", PartitionsWish{Topic: "a", Count: 4, Assignments: [][]int32{{2}, {1}}}))
	if topic := img.Topic("a"); len(topic.Partitions) != 4 || topic.Partition(2).Leader != 2 || topic.Partition(4) != nil {
		t.Errorf("partitions: %+v", topic.Partitions)
	}
}

func TestAlterConfigs(t *testing.T) {
	c := testController()
	img := testImage(t, 1)
	_, records := c.CreateTopics(img, []NewTopic{{Name: "a", NumPartitions: 1, ReplicationFactor: 1, Configs: []ConfigValue{{"size", text("1")}}}}, false)
	img = mustApply(t, img, records)
	f := func(want string, a ConfigAlteration) {
		t.Helper()
		before := img
		refusals, records := c.AlterConfigs(img, 1, []ConfigAlteration{a}, false)
		if got := outcome(refusals[0]); got != want {
			t.Errorf("%+v: got %q, want %q", a, got, want)
		}
		img = mustApply(t, img, records)
		if refusals[0] != nil && img.Index != before.Index {
			t.Errorf("%+v: a refusal left records", a)
		}
	}
	topic := func(changes ...ConfigChange) ConfigAlteration {
		return ConfigAlteration{Resource: ResourceTopic, Name: "a", Changes: changes}
	}
	configs := func(want map[string]string) {
		t.Helper()
		if got := img.Topic("a").Configs; !reflect.DeepEqual(got, want) {
			t.Errorf("configs %v, want %v", got, want)
		}
	}
	f("ok", topic(ConfigChange{"tags", OpAppend, text("x,y,x")}))
	configs(map[string]string{"size": "1", "tags": "base,x,y"})
	f("ok", topic(ConfigChange{"tags", OpSubtract, text("base,nope")}, ConfigChange{"size", OpDelete, nil}))
	configs(map[string]string{"tags": "x,y"})
	f("40: Can't APPEND to key size because its type is not LIST.", topic(ConfigChange{"size", OpAppend, text("1")}))
	f("40: bad size", topic(ConfigChange{"size", OpSet, text("big")}))
	f("42: Null value not supported for : size", topic(ConfigChange{"size", OpSet, nil}))
	f("42: Error due to duplicate config keys", topic(ConfigChange{"size", OpSet, text("1")}, ConfigChange{"size", OpDelete, nil}))
	f("42: Unknown operations type 9", topic(ConfigChange{"size", 9, text("1")}))
	f("3: The topic 'zz' does not exist.", ConfigAlteration{Resource: ResourceTopic, Name: "zz"})
	f("42: Default topic resources are not allowed.", ConfigAlteration{Resource: ResourceTopic})
	f("42: Unknown resource type 99", ConfigAlteration{Resource: 99, Name: "x"})
	f("ok", ConfigAlteration{Resource: ResourceTopic, Name: "a", Replace: true, Changes: []ConfigChange{{"size", OpSet, text("7")}}})
	configs(map[string]string{"size": "7"})
	f("ok", ConfigAlteration{Resource: ResourceTopic, Name: "a", Replace: true})
	configs(nil)

	broker := func(name, key string) ConfigAlteration {
		return ConfigAlteration{Resource: ResourceBroker, Name: name, Changes: []ConfigChange{{key, OpSet, text("v")}}}
	}
	f("ok", broker("1", "own"))
	f("42: broker id must be specified", broker("", "own"))
	f("42: Unexpected broker id, expected 1, but received 2", broker("2", "own"))
	f("42: Node id must be an integer, but it is: one", broker("one", "own"))
	f("ok", broker("", "all"))
	if want := map[string]map[string]string{"1": {"own": "v"}, "": {"all": "v"}}; !reflect.DeepEqual(img.BrokerConfigs, want) {
		t.Errorf("broker configs: %v", img.BrokerConfigs)
	}
	refusals, _ := c.AlterConfigs(img, 1, []ConfigAlteration{broker("1", "a"), broker("1", "b")}, false)
	if outcome(refusals[1]) != "42: Each resource must appear at most once." {
		t.Errorf("duplicate resources: %v", refusals[1])
	}
}

func TestApplyLeavesTheOldImage(t *testing.T) {
	c := testController()
	img := testImage(t, 1)
	_, records := c.CreateTopics(img, []NewTopic{plain("a", 3, 1)}, false)
	img = mustApply(t, img, records)
	before := fmt.Sprint(describeImage(t, img))
	topic := img.Topic("a")
	state := *topic.Partitions[1]
	state.LeaderEpoch = 5
	_, more := c.CreatePartitions(img, []PartitionsWish{{Topic: "a", Count: 9}}, false)
	more = append(more, &PartitionChangeRecord{TopicID: topic.ID, Partition: 1, State: state},
		&ConfigRecord{Resource: ResourceTopic, Name: "a", Key: "size", Value: text("3")},
		&ConfigRecord{Resource: ResourceTopic, Name: "a", Key: "tags", Value: text("3")},
		&FeatureRecord{Name: "f", Level: 1}, &ProducerIDsRecord{NextProducerID: 1000})
	next := mustApply(t, img, more)
	if fmt.Sprint(describeImage(t, img)) != before {
		t.Error("the old image changed")
	}
	if next.Topic("a") != next.TopicByID(topic.ID) || next.Topic("a").Partition(1).LeaderEpoch != 5 || len(next.Topic("a").Configs) != 2 {
		t.Errorf("the new image: %+v", next.Topic("a"))
	}
}

// describeImage is everything an image holds, as its records' text.
func describeImage(t testing.TB, img *Image) []string {
	t.Helper()
	var lines []string
	for _, r := range img.Records() {
		line, err := encodeRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	return lines
}

func TestBadRecords(t *testing.T) {
	img := mustApply(t, testImage(t, 1), []Record{&TopicRecord{Name: "a", ID: UUID{1}}})
	for _, r := range []Record{
		&ClusterRecord{ClusterID: "other"},
		&TopicRecord{Name: "a", ID: UUID{2}},
		&TopicRecord{Name: "b", ID: UUID{1}},
		&PartitionsRecord{TopicID: UUID{1}, First: 1},
		&PartitionsRecord{TopicID: UUID{2}},
		&PartitionChangeRecord{TopicID: UUID{1}, Partition: 0},
		&RemoveTopicRecord{TopicID: UUID{2}},
		&ConfigRecord{Resource: ResourceTopic, Name: "zz"},
		&ConfigRecord{Resource: 77},
		&ProducerIDsRecord{NextProducerID: -1},
	} {
		if _, err := Apply(img, r); err == nil {
			t.Errorf("%s record %+v was applied", r.kind(), r)
		}
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	c := testController()
	img := testImage(t, 1)
	var topics []NewTopic
	for i := range 1000 {
		topics = append(topics, plain(fmt.Sprintf("topic-%d", i), 1, 1))
	}
	_, records := c.CreateTopics(img, topics, false)
	img = mustApply(t, img, records)
	id := img.Topic("topic-500").ID
	name := "topic-500"
	if n := testing.AllocsPerRun(100, func() {
		if img.Topic(name) == nil || img.TopicByID(id) == nil || img.Topic("nope") != nil {
			t.Fatal("lookup failed")
		}
	}); n != 0 {
		t.Errorf("lookups allocate %v times", n)
	}
}

func TestUUID(t *testing.T) {
	for range 100 {
		id := RandomUUID()
		parsed, err := ParseUUID(id.String())
		if err != nil || parsed != id || id.String()[0] == '-' || len(id.String()) != 22 {
			t.Fatalf("%s: %v", id, err)
		}
	}
	for _, bad := range []string{"", "x", strings.Repeat("A", 24), strings.Repeat("!", 22)} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("%q was read as an id", bad)
		}
	}
}

func TestStrays(t *testing.T) {
	c := testController()
	img := testImage(t, 1)
	_, records := c.CreateTopics(img, []NewTopic{plain("a", 2, 1)}, false)
	img = mustApply(t, img, records)
	id := img.Topic("a").ID
	strays := img.Strays([]PartitionDir{{"d/a-0", "a", 0, id}, {"d/a-1", "a", 1, ZeroUUID}, {"d/a-2", "a", 2, id}, {"d/a-0", "a", 0, UUID{9}}, {"d/b-0", "b", 0, id}})
	if len(strays) != 3 {
		t.Errorf("strays: %v", strays)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range []Record{&ClusterRecord{"c"}, &LeadershipsRecord{UUID{1}, []Leadership{{ISR: []int32{1, 2}}}}, &BrokerRecord{Broker{ID: 1}}, &PartitionsRecord{Partitions: []Partition{{Replicas: []int32{1}}}}} {
		line, _ := encodeRecord(r)
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := decodeRecord(line)
		if err != nil {
			return
		}
		_, _ = Apply(NewImage(), r)
	})
}

// BenchmarkCreateTopic shows that a new topic costs the same however many
// there are.
func BenchmarkCreateTopic(b *testing.B) {
	for _, existing := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", existing), func(b *testing.B) {
			c := testController()
			img := testImage(b, 1)
			for i := range existing {
				_, records := c.CreateTopics(img, []NewTopic{plain(fmt.Sprintf("t-%d", i), 1, 1)}, false)
				img = mustApply(b, img, records)
			}
			for b.Loop() {
				_, records := c.CreateTopics(img, []NewTopic{plain("another", 1, 1)}, false)
				if _, err := Apply(img, records...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCreate10000Partitions(b *testing.B) {
	c := testController()
	img := testImage(b, 1)
	for b.Loop() {
		_, records := c.CreateTopics(img, []NewTopic{plain("n", 10_000, 1)}, false)
		if _, err := Apply(img, records...); err != nil {
			b.Fatal(err)
		}
	}
}
