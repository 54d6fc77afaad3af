package config

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTablesAreSound(t *testing.T) {
	for _, table := range [][]Def{BrokerDefs(), TopicDefs()} {
		for i := range table {
			def := &table[i]
			def.parseDefault() // panics when the default breaks its own rule
			if !strings.HasSuffix(def.Doc, ".") || strings.Contains(def.Doc, "\n") {
				t.Errorf("%s: the doc must be one sentence: %q", def.Name, def.Doc)
			}
			if i > 0 && table[i-1].Name >= def.Name {
				t.Errorf("%s is defined twice", def.Name)
			}
		}
	}
	for topicKey, brokerKeys := range topicSynonyms {
		if TopicDef(topicKey) == nil {
			t.Errorf("synonyms for %s, which is no topic key", topicKey)
		}
		for _, key := range brokerKeys {
			if BrokerDef(key) == nil {
				t.Errorf("%s is no broker key", key)
			}
		}
	}
}

// TestKeysWithAnEffectAreRead: a key that claims to work must at least reach
// BrokerConfig, TopicConfig or a topic key that it is the default of.
func TestKeysWithAnEffectAreRead(t *testing.T) {
	r := &reader{values: map[string]string{"broker.id": "1"}, read: map[string]bool{}}
	c := &BrokerConfig{Static: NewStatic(nil), values: r.values}
	if err := c.fill(r); err != nil {
		t.Fatal(err)
	}
	if err := c.validate(r); err != nil {
		t.Fatal(err)
	}
	byName := map[string]bool{
		"advertised.listeners": true, // read only where it is set
		// Read from the metadata: a leader needs those of its followers too.
		"leader.replication.throttled.rate": true, "follower.replication.throttled.rate": true,
	}
	for topicKey, keys := range topicSynonyms {
		for _, key := range keys {
			byName[key] = true
			if BrokerDef(key).Effect != TopicDef(topicKey).Effect {
				t.Errorf("%s and %s disagree on their effect", key, topicKey)
			}
		}
	}
	for i := range brokerTable {
		if def := &brokerTable[i]; def.Effect == Works && !r.read[def.Name] && !byName[def.Name] {
			t.Errorf("%s claims to work, but nothing reads it", def.Name)
		}
	}
}

func TestNumberOfKafkaKeys(t *testing.T) {
	// As many as Apache Kafka 4.3.1 defines in KafkaConfig, plus the three
	// throttle rates of DynamicConfig.Broker; and LogConfig.
	const wantBroker, wantTopic = 363, 34
	if got := len(BrokerDefs()) - len(freshetDefs); got != wantBroker {
		t.Errorf("%d broker keys, want %d", got, wantBroker)
	}
	if got := len(TopicDefs()); got != wantTopic {
		t.Errorf("%d topic keys, want %d", got, wantTopic)
	}
}

func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	text := "# a comment\nnum.partitions = 2 \nlog.dirs=/a,\\\n   /b\nmessage.max.bytes:100\nbroker.rack=${RACK}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	static, err := Load(Sources{
		File:      file,
		Environ:   []string{"KAFKA_NUM_PARTITIONS=3", "KAFKA_MESSAGE_MAX_BYTES=200", "KAFKA_HEAP_OPTS=-Xmx1g", "PATH=/bin", "KAFKA_FRESHET_IO_ENGINE=pwritev"},
		Overrides: []string{"num.partitions=4"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewBroker(static)
	if err != nil {
		t.Fatal(err)
	}
	if c.NumPartitions != 4 || static.Origin("num.partitions") != "--override" {
		t.Errorf("num.partitions = %d from %s", c.NumPartitions, static.Origin("num.partitions"))
	}
	topic, _ := c.Topic(nil)
	if topic.MaxMessageBytes != 200 || c.Rack != "${RACK}" || c.Freshet.IOEngine != "pwritev" {
		t.Errorf("message.max.bytes %d, broker.rack %q, engine %q", topic.MaxMessageBytes, c.Rack, c.Freshet.IOEngine)
	}
	if !slices.Equal(c.LogDirs, []string{"/a", "/b"}) || c.MetadataLogDir != "/a" {
		t.Errorf("log.dirs = %q, metadata.log.dir = %q", c.LogDirs, c.MetadataLogDir)
	}
	if w := static.Warnings(); len(w) != 0 {
		t.Errorf("warnings: %q", w)
	}
}

func TestEnvironmentKey(t *testing.T) {
	for name, want := range map[string]string{
		"KAFKA_LOG_DIRS":            "log.dirs",
		"KAFKA_A__B_C":              "a_b.c",
		"KAFKA_LISTENER_NAME_X___Y": "listener.name.x-y",
	} {
		if got := environmentKey(name); got != want {
			t.Errorf("%s gives %q, want %q", name, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	static := NewStatic(map[string]string{
		"num.partition": "3", "num.replica.fetchers": "2", "retention.ms": "5",
		"listener.name.internal.ssl.key.password": "x", "zookeeper.connect": "z", "num.partitions": "1",
	})
	got := strings.Join(static.Warnings(), "\n")
	want := strings.Join([]string{
		"configuration key listener.name.internal.ssl.key.password (embedded) has no effect in this version",
		"unknown configuration key num.partition (embedded) is ignored; did you mean num.partitions?",
		"configuration key num.replica.fetchers (embedded) is accepted but has no effect in this version: Fetch threads per source broker.",
		"unknown configuration key retention.ms (embedded) is ignored; did you mean log.retention.ms?",
		"unknown configuration key zookeeper.connect (embedded) is ignored",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBadValues(t *testing.T) {
	f := func(key, text, want string) {
		t.Helper()
		_, err := NewBroker(NewStatic(map[string]string{key: text}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s=%s: error %v, want %q", key, text, err, want)
		}
	}
	f("num.partitions", "0", "Invalid value 0 for configuration num.partitions: Value must be at least 1 (set by embedded)")
	f("num.partitions", "many", "Invalid value many for configuration num.partitions: Not a number of type INT")
	f("num.partitions", "3000000000", "Not a number of type INT")
	f("auto.create.topics.enable", "yes", "Expected value to be either true or false")
	f("log.cleanup.policy", "delete,shred", "Invalid value shred for configuration log.cleanup.policy: String must be one of: compact, delete")
	f("freshet.io.engine", "aio", "String must be one of: auto, uring, pwritev")
	f("log.cleaner.min.cleanable.ratio", "1.5", "Value must be no more than 1")
	f("log.cleaner.min.cleanable.ratio", "NaN", "Not a number of type DOUBLE")
	f("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1")
	f("log.dirs", "/a,/a", "values must not be duplicated")
	f("log.dirs", "/a,/a/", "listed twice")
	f("log.dirs", "/a,,/b", "values must not be empty")
	f("listeners", "PLAINTEXT:9092", "must be of the form NAME://host:port")
	f("listeners", "PLAINTEXT://:70000", "the port must be between 0 and 65535")
	f("listeners", "NOPE://:9092", "no security protocol defined for listener NOPE")
	f("listeners", "SSL://:9092", "this version serves PLAINTEXT listeners only")
	f("listeners", "PLAINTEXT://:9092,PLAINTEXT://:9093", "different name")
	f("advertised.listeners", "PLAINTEXT://0.0.0.0:9092", "cannot be advertised")
	f("advertised.listeners", "SASL_SSL://h:9092", "is not one of listeners")
	f("listener.security.protocol.map", "A:B", "each entry must be NAME:PROTOCOL")
	f("process.roles", "broker", "controller.quorum.bootstrap.servers must contain the set of bootstrap controllers")
	f("controller.quorum.voters", "1@a:9093,2@b:9093", "controller.listener.names must contain at least one value appearing")
	f("controller.quorum.voters", "a:9093", "Each entry should be in the form `{id}@{host}:{port}`.")
	f("controller.quorum.voters", "x@a:9093", "Failed to parse voter ID as an integer from x")
	f("controller.quorum.voters", "1@a", "Failed to parse host name from entry 1@a")
	f("controller.quorum.voters", "1@a:9093,1@b:9093", "listed twice")
	f("controller.quorum.bootstrap.servers", "a", "Failed to parse host name from a for the configuration")
	f("inter.broker.listener.name", "INTERNAL", "must be a listener name defined in advertised.listeners")
	f("queued.max.request.bytes", "1000", "socket.request.max.bytes, which is 104857600")
	f("max.connections.per.ip", "0", "zero is allowed only with")
	f("max.connections.per.ip.overrides", "host", "each entry must be host:count")
	f("socket.send.buffer.bytes", "-2", "or -1 for the system's default")
	f("log.retention.hours", "0", "log.retention.ms must be unlimited")
}

func TestKraftQuickstartFile(t *testing.T) {
	// The settings of Apache Kafka's config/server.properties.
	c, err := NewBroker(NewStatic(map[string]string{
		"process.roles": "broker,controller", "node.id": "7", "controller.quorum.bootstrap.servers": "localhost:9093",
		"listeners":                      "PLAINTEXT://:9092,CONTROLLER://:9093",
		"inter.broker.listener.name":     "PLAINTEXT",
		"advertised.listeners":           "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093",
		"controller.listener.names":      "CONTROLLER",
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL",
		"log.dirs":                       "/tmp/kraft-combined-logs",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Listeners) != 1 || c.Listeners[0].String() != "PLAINTEXT://:9092" || c.NodeID != 7 {
		t.Errorf("listeners %v, node %d", c.Listeners, c.NodeID)
	}
	if len(c.AdvertisedListeners) != 1 || c.AdvertisedListeners[0].String() != "PLAINTEXT://localhost:9092" {
		t.Errorf("advertised %v", c.AdvertisedListeners)
	}
}

func TestRoles(t *testing.T) {
	node := func(values ...string) (*BrokerConfig, error) {
		all := map[string]string{"node.id": "2", "controller.listener.names": "CONTROLLER", "controller.quorum.voters": "1@a:9093,2@b:9093,3@c:9093",
			"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"}
		for i := 0; i < len(values); i += 2 {
			all[values[i]] = values[i+1]
		}
		return NewBroker(NewStatic(all))
	}
	good := func(values ...string) *BrokerConfig {
		t.Helper()
		c, err := node(values...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	bad := func(want string, values ...string) {
		t.Helper()
		if _, err := node(values...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", values, err, want)
		}
	}
	const client, control = "PLAINTEXT://h:9092", "CONTROLLER://h:9093"
	c := good("process.roles", "broker,controller", "listeners", client+","+control)
	if !c.Role.Broker || !c.Role.Controller || len(c.Role.Listeners) != 1 || c.Role.Advertised[0].String() != control || !c.IsVoter() || len(c.Role.Voters) != 3 {
		t.Errorf("combined: %+v", c.Role)
	}
	if c.InterBrokerListener != "PLAINTEXT" {
		t.Errorf("brokers use listener %q", c.InterBrokerListener)
	}
	c = good("process.roles", "controller", "listeners", control)
	if c.Role.Broker || len(c.Listeners) != 0 || len(c.Role.Listeners) != 1 {
		t.Errorf("controller: %+v", c)
	}
	c = good("process.roles", "broker", "listeners", client, "node.id", "7")
	if c.Role.Controller || c.IsVoter() {
		t.Errorf("broker: %+v", c.Role)
	}
	bad("the node id 2 must not be included", "process.roles", "broker", "listeners", client)
	bad("the node id 9 must be included", "process.roles", "controller", "listeners", control, "node.id", "9")
	bad("must only contain KRaft controller listeners", "process.roles", "controller", "listeners", client+","+control)
	bad("must not contain a value appearing", "process.roles", "broker", "listeners", client+","+control, "node.id", "7")
	bad("must contain at least one value when", "process.roles", "broker", "listeners", client, "node.id", "7", "controller.listener.names", "")
	bad("must only contain values appearing", "process.roles", "broker,controller", "listeners", client)
	bad("is not routeable", "process.roles", "broker,controller", "listeners", client+","+control, "controller.quorum.voters", "2@0.0.0.0:9093")
	bad("Only one of", "process.roles", "broker,controller", "listeners", client+","+control,
		"inter.broker.listener.name", "PLAINTEXT", "security.inter.broker.protocol", "PLAINTEXT")
}

func TestInitialControllers(t *testing.T) {
	const a, b = "1@h:9093:AAAAAAAAAAAAAAAAAAAAAQ", "2@[::1]:9094:AAAAAAAAAAAAAAAAAAAAAg"
	voters, err := ParseInitialControllers(a + "," + b)
	if err != nil || len(voters) != 2 || voters[0].String() != a || voters[1].String() != b || voters[1].Host != "::1" {
		t.Fatalf("%v, %v", voters, err)
	}
	for text, want := range map[string]string{
		"":                                     "No voters given",
		"1@h:9093":                             "Failed to parse directory ID",
		"x@h:9093:AAAAAAAAAAAAAAAAAAAAAQ":      "Failed to parse dynamic voter string",
		a + "," + a:                            "Node id 1 was specified more than once.",
		a + ",2@h:9093:AAAAAAAAAAAAAAAAAAAAAQ": "Directory id AAAAAAAAAAAAAAAAAAAAAQ was specified more than once.",
	} {
		if _, err := ParseInitialControllers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestBrokerID(t *testing.T) {
	c, err := NewBroker(NewStatic(map[string]string{"broker.id": "5"}))
	if err != nil || c.NodeID != 5 {
		t.Fatalf("broker.id alone: %v, %v", c, err)
	}
	_, err = NewBroker(NewStatic(map[string]string{"broker.id": "5", "node.id": "6"}))
	if err == nil || !strings.Contains(err.Error(), "same value as `broker.id`") {
		t.Errorf("two ids: %v", err)
	}
}

func TestRoundTrip(t *testing.T) {
	values := map[string]string{
		"log.dirs": `C:\data #1`, "broker.rack": "é ${x} = y", "listeners": "PLAINTEXT://:9092", "sasl.jaas.config": "a\nb\tc",
	}
	got, err := ParseProperties([]byte(NewStatic(values).String()))
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, values) {
		t.Errorf("got %q, want %q", got, values)
	}
}

func TestMarkdownFile(t *testing.T) {
	const path = "../docs/CONFIGURATION.md"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Markdown() {
		t.Errorf("%s is not what the tables say; run UPDATE=1 go test ./config -run TestMarkdownFile", path)
	}
}

func FuzzParseProperties(f *testing.F) {
	f.Add("a=b\nc : d\\\n  e\n#x\n!y\n\\u0041=1")
	f.Add("a=${b}\nb=${a}")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := ParseProperties([]byte(text))
		if err != nil {
			return
		}
		_, _ = NewBroker(NewStatic(values))
	})
}
