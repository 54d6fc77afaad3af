//go:build compat

package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// toolClass names the Java class behind each of Apache Kafka's command-line tools.
var toolClass = map[string]string{
	"kafka-topics":              "org.apache.kafka.tools.TopicCommand",
	"kafka-console-producer":    "org.apache.kafka.tools.ConsoleProducer",
	"kafka-console-consumer":    "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-consumer-groups":     "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-configs":             "kafka.admin.ConfigCommand",
	"kafka-get-offsets":         "org.apache.kafka.tools.GetOffsetShell",
	"kafka-delete-records":      "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-log-dirs":            "org.apache.kafka.tools.LogDirsCommand",
	"kafka-dump-log":            "org.apache.kafka.tools.DumpLogSegments",
	"kafka-transactions":        "org.apache.kafka.tools.TransactionsCommand",
	"kafka-broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"kafka-cluster":             "org.apache.kafka.tools.ClusterTool",
	"kafka-verifiable-producer": "org.apache.kafka.tools.VerifiableProducer",
	"kafka-producer-perf-test":  "org.apache.kafka.tools.ProducerPerformance",
	"kafka-consumer-perf-test":  "org.apache.kafka.tools.ConsumerPerformance",
	"kafka-e2e-latency":         "org.apache.kafka.tools.EndToEndLatency",
}

// toolset is one implementation of Kafka's command-line tools.
type toolset struct {
	client string
	argv   func(tool string) []string
}

// javaTools are Apache Kafka's own.
func javaTools() toolset {
	return toolset{client: "kafka-tools", argv: func(tool string) []string {
		class, ok := toolClass[tool]
		if !ok {
			panic("BUG: no class is named for " + tool)
		}
		return []string{runClass(), class}
	}}
}

// freshetTools are the links beside the freshet binary.
func freshetTools() toolset {
	return toolset{client: "freshet-tools", argv: func(tool string) []string {
		bin, err := freshetBinary()
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return []string{filepath.Join(filepath.Dir(bin), tool+".sh")}
	}}
}

// command puts a tool's command line together.
func (s toolset) command(tool string, args ...string) command {
	return command{argv: append(s.argv(tool), args...)}
}

// run runs a tool that has to succeed and returns its standard output.
func (s toolset) run(t testing.TB, tool string, args ...string) string {
	t.Helper()
	return mustRun(t, s.command(tool, args...)).stdout
}

// runFailing runs a tool that has to end with a non-zero exit code and returns all its output.
func (s toolset) runFailing(t testing.TB, tool string, args ...string) string {
	t.Helper()
	out, err := s.command(tool, args...).run()
	if err != nil {
		t.Fatal(err)
	}
	if out.code == 0 {
		t.Fatalf("%s %s was expected to fail\n%s", tool, strings.Join(args, " "), out)
	}
	return out.stdout + out.stderr
}

// expect fails the test unless text matches every pattern.
func expect(t testing.TB, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile("(?m)" + p).MatchString(text) {
			t.Errorf("this output does not match %q:\n%s", p, clip(text))
		}
	}
}

// lines returns the numbers 1 to n, each with a prefix, one a line.
func lines(prefix string, n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "%s%d\n", prefix, i)
	}
	return b.String()
}

var javaState struct {
	sync.Once
	problem string
}

// needJava reports whether Java programs can run; when they cannot, it says so in the report.
func needJava(t *testing.T, client string) bool {
	t.Helper()
	javaState.Do(func() {
		for _, tool := range []string{"java", "javac", "mvn"} {
			if _, err := exec.LookPath(tool); err != nil {
				javaState.problem = tool + " is not installed: apt-get install openjdk-17-jdk-headless maven"
				return
			}
		}
		out, err := command{argv: []string{runClass()}, timeout: 10 * time.Minute}.run()
		if err != nil || out.code != 0 {
			javaState.problem = "compat/java/run-class.sh cannot prepare the classpath: " + firstLine(out.stderr)
		}
	})
	if javaState.problem != "" {
		missing(t, client, javaState.problem)
	}
	return javaState.problem == ""
}

// TestKafkaTools drives the broker with Apache Kafka's own command-line tools.
func TestKafkaTools(t *testing.T) {
	if !needJava(t, "kafka-tools") {
		return
	}
	b, tools := sharedBroker(t), javaTools()
	server := []string{"--bootstrap-server", b.addr}
	with := func(args ...string) []string { return append(append([]string{}, server...), args...) }
	commonTools(t, tools, with)
	checkFull(t, tools.client, "log-dirs", func(t *testing.T) {
		tools.run(t, "kafka-topics", with("--create", "--topic", "tools-logdirs", "--partitions", "2")...)
		out := tools.run(t, "kafka-log-dirs", with("--describe", "--topic-list", "tools-logdirs")...)
		expect(t, out, `"partition":"tools-logdirs-0"`, `"partition":"tools-logdirs-1"`, regexp.QuoteMeta(b.dataDir))
	})
	checkFull(t, tools.client, "api-versions", func(t *testing.T) {
		out := tools.run(t, "kafka-broker-api-versions", server...)
		expect(t, out, `Produce\(0\): \d+ to \d+ \[usable: \d+\]`, `Fetch\(1\): \d+ to \d+ \[usable: \d+\]`)
	})
	checkFull(t, tools.client, "cluster-id", func(t *testing.T) {
		expect(t, tools.run(t, "kafka-cluster", append([]string{"cluster-id"}, server...)...), `^Cluster ID: [A-Za-z0-9_-]{22}$`)
	})
	checkFull(t, tools.client, "describe-producers", func(t *testing.T) {
		c := tools.command("kafka-console-producer", with("--topic", "tools-idempotent")...)
		c.stdin = strings.NewReader(lines("m", 3))
		mustRun(t, c)
		out := tools.run(t, "kafka-transactions", with("describe-producers", "--topic", "tools-idempotent", "--partition", "0")...)
		expect(t, out, `^ProducerId\s+ProducerEpoch\s+LatestCoordinatorEpoch\s+LastSequence`, `^\d+\s+0\s+-1\s+2\s+\d+`)
	})
	checkFull(t, tools.client, "verifiable-producer", func(t *testing.T) {
		out := tools.run(t, "kafka-verifiable-producer", with("--topic", "tools-verifiable", "--max-messages", "2000", "--acks", "-1")...)
		expect(t, out, `"name":"tool_data".*"sent":2000.*"acked":2000|"acked":2000.*"sent":2000`)
	})
}

// TestFreshetTools drives the broker with the links of the same names beside the freshet binary: what they
// print has to match what Apache Kafka's tools print.
func TestFreshetTools(t *testing.T) {
	if _, err := freshetBinary(); err != nil {
		missing(t, "freshet-tools", err.Error())
		return
	}
	b := startBroker(t, brokerOptions{})
	with := func(args ...string) []string { return append([]string{"--bootstrap-server", b.addr}, args...) }
	commonTools(t, freshetTools(), with)
}

// commonTools are the cases of the tools that both Apache Kafka and Freshet have.
func commonTools(t *testing.T, tools toolset, with withServer) {
	t.Helper()
	check(t, tools.client, "topics", func(t *testing.T) { toolTopics(t, tools, with) })
	check(t, tools.client, "console", func(t *testing.T) { toolConsole(t, tools, with) })
	check(t, tools.client, "consumer-groups", func(t *testing.T) { toolGroups(t, tools, with) })
	check(t, tools.client, "configs", func(t *testing.T) { toolConfigs(t, tools, with) })
	check(t, tools.client, "offsets and delete-records", func(t *testing.T) { toolOffsets(t, tools, with) })
	check(t, tools.client, "perf-test", func(t *testing.T) { toolPerf(t, tools, with) })
}

type withServer func(args ...string) []string

func toolTopics(t *testing.T, tools toolset, with withServer) {
	expect(t, tools.run(t, "kafka-topics", with("--create", "--topic", "tools-topic", "--partitions", "3",
		"--replication-factor", "1", "--config", "retention.ms=3600000")...), `^Created topic tools-topic\.$`)
	out := tools.run(t, "kafka-topics", with("--describe", "--topic", "tools-topic")...)
	expect(t, out,
		`^Topic: tools-topic\tTopicId: [A-Za-z0-9_-]{22}\tPartitionCount: 3\tReplicationFactor: 1\tConfigs: .*retention\.ms=3600000`,
		`^\tTopic: tools-topic\tPartition: 2\tLeader: \d+\tReplicas: \d+\tIsr: \d+`)
	expect(t, tools.run(t, "kafka-topics", with("--list")...), `^tools-topic$`)
	tools.run(t, "kafka-topics", with("--alter", "--topic", "tools-topic", "--partitions", "5")...)
	expect(t, tools.run(t, "kafka-topics", with("--describe", "--topic", "tools-topic")...), `PartitionCount: 5\t`)
	expect(t, tools.runFailing(t, "kafka-topics", with("--create", "--topic", "tools-topic")...),
		`Topic 'tools-topic' already exists`)
	expect(t, tools.runFailing(t, "kafka-topics", with("--describe", "--topic", "tools-no-such-topic")...),
		`Topic 'tools-no-such-topic' does not exist as expected`)
	if fullRun() {
		expect(t, tools.runFailing(t, "kafka-topics", with("--create", "--topic", "bad/name")...), `InvalidTopicException`)
		expect(t, tools.runFailing(t, "kafka-topics", with("--create", "--topic", "tools-rf", "--replication-factor", "3")...),
			`InvalidReplicationFactorException`)
		expect(t, tools.runFailing(t, "kafka-topics", with("--alter", "--topic", "tools-topic", "--partitions", "2")...),
			`InvalidPartitionsException|already has 5 partition`)
	}
	tools.run(t, "kafka-topics", with("--delete", "--topic", "tools-topic")...)
	if strings.Contains(tools.run(t, "kafka-topics", with("--list")...), "tools-topic\n") {
		t.Error("the topic is still listed after --delete")
	}
}

func toolConsole(t *testing.T, tools toolset, with withServer) {
	c := tools.command("kafka-console-producer", with("--topic", "tools-console", "--reader-property", "parse.key=true",
		"--reader-property", "key.separator=:")...)
	c.stdin = strings.NewReader("k1:v1\nk2:v2\nk3:äöü €\n")
	mustRun(t, c)
	out := tools.run(t, "kafka-console-consumer", with("--topic", "tools-console", "--from-beginning", "--max-messages", "3",
		"--timeout-ms", "30000", "--formatter-property", "print.key=true", "--formatter-property", "print.partition=true",
		"--formatter-property", "print.offset=true", "--formatter-property", "print.timestamp=true")...)
	expect(t, out, `^CreateTime:\d{13}\tPartition:0\tOffset:0\tk1\tv1$`, `^CreateTime:\d{13}\tPartition:0\tOffset:2\tk3\täöü €$`)
	out = tools.run(t, "kafka-console-consumer", with("--topic", "tools-console", "--partition", "0", "--offset", "1",
		"--max-messages", "1", "--timeout-ms", "30000")...)
	if out != "v2\n" {
		t.Errorf("reading at offset 1 gave %q, not v2", out)
	}
}

func toolGroups(t *testing.T, tools toolset, with withServer) {
	tools.run(t, "kafka-topics", with("--create", "--topic", "tools-grouped", "--partitions", "1")...)
	c := tools.command("kafka-console-producer", with("--topic", "tools-grouped")...)
	c.stdin = strings.NewReader(lines("m", 10))
	mustRun(t, c)
	tools.run(t, "kafka-console-consumer", with("--topic", "tools-grouped", "--group", "tools-group", "--from-beginning",
		"--max-messages", "10", "--timeout-ms", "30000")...)
	expect(t, tools.run(t, "kafka-consumer-groups", with("--list")...), `^tools-group$`)
	out := tools.run(t, "kafka-consumer-groups", with("--describe", "--group", "tools-group")...)
	expect(t, out, `^GROUP\s+TOPIC\s+PARTITION\s+CURRENT-OFFSET\s+LOG-END-OFFSET\s+LAG\s+CONSUMER-ID\s+HOST\s+CLIENT-ID`,
		`^tools-group\s+tools-grouped\s+0\s+10\s+10\s+0\s+-`)
	out = tools.run(t, "kafka-consumer-groups", with("--group", "tools-group", "--topic", "tools-grouped",
		"--reset-offsets", "--to-offset", "4", "--execute")...)
	expect(t, out, `^tools-group\s+tools-grouped\s+0\s+4\s*$`)
	out = tools.run(t, "kafka-console-consumer", with("--topic", "tools-grouped", "--group", "tools-group",
		"--max-messages", "6", "--timeout-ms", "30000")...)
	if want := strings.TrimPrefix(lines("m", 10), lines("m", 4)); out != want {
		t.Errorf("after the reset to 4 the group read %q, not %q", out, want)
	}
	out = tools.run(t, "kafka-consumer-groups", with("--describe", "--group", "tools-group", "--state")...)
	expect(t, out, `^tools-group\s+\S+.*\s+Empty\s+0\s*$`)
	expect(t, tools.run(t, "kafka-consumer-groups", with("--delete-offsets", "--group", "tools-group", "--topic", "tools-grouped")...),
		`tools-grouped\s+0\s+Successful`)
	expect(t, tools.run(t, "kafka-consumer-groups", with("--delete", "--group", "tools-group")...),
		`Deletion of requested consumer groups \('tools-group'\) was successful\.`)
}

func toolConfigs(t *testing.T, tools toolset, with withServer) {
	tools.run(t, "kafka-topics", with("--create", "--topic", "tools-config")...)
	expect(t, tools.run(t, "kafka-configs", with("--alter", "--topic", "tools-config", "--add-config",
		"max.message.bytes=128000,cleanup.policy=[delete,compact]")...), `^Completed updating config for topic tools-config\.$`)
	expect(t, tools.run(t, "kafka-configs", with("--describe", "--topic", "tools-config")...),
		`max\.message\.bytes=128000 sensitive=false synonyms=\{DYNAMIC_TOPIC_CONFIG:max\.message\.bytes=128000, DEFAULT_CONFIG:message\.max\.bytes=1048588\}`,
		`cleanup\.policy=delete,compact sensitive=false`)
	expect(t, tools.run(t, "kafka-configs", with("--describe", "--all", "--topic", "tools-config")...),
		`retention\.ms=604800000 sensitive=false synonyms=\{`, `segment\.bytes=1073741824 sensitive=false`)
	tools.run(t, "kafka-configs", with("--alter", "--topic", "tools-config", "--delete-config", "max.message.bytes")...)
	if out := tools.run(t, "kafka-configs", with("--describe", "--topic", "tools-config")...); strings.Contains(out, "max.message.bytes") {
		t.Errorf("max.message.bytes is still there after --delete-config:\n%s", out)
	}
	expect(t, tools.runFailing(t, "kafka-configs", with("--alter", "--topic", "tools-config", "--add-config", "retention.ms=never")...),
		`InvalidConfigurationException|Invalid value never`)
	if fullRun() {
		expect(t, tools.run(t, "kafka-configs", with("--describe", "--all", "--entity-type", "brokers", "--entity-name", "1")...),
			`log\.segment\.bytes=1073741824 `, `num\.partitions=1 `)
	}
}

func toolOffsets(t *testing.T, tools toolset, with withServer) {
	tools.run(t, "kafka-topics", with("--create", "--topic", "tools-offsets", "--partitions", "1")...)
	c := tools.command("kafka-console-producer", with("--topic", "tools-offsets")...)
	c.stdin = strings.NewReader(lines("m", 20))
	mustRun(t, c)
	offset := func(args ...string) string {
		return tools.run(t, "kafka-get-offsets", with(append([]string{"--topic", "tools-offsets"}, args...)...)...)
	}
	expect(t, offset(), `^tools-offsets:0:20$`)
	file := filepath.Join(tempDir(t), "delete.json")
	body := `{"partitions":[{"topic":"tools-offsets","partition":0,"offset":7}],"version":1}`
	if err := os.WriteFile(file, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, tools.run(t, "kafka-delete-records", with("--offset-json-file", file)...), `partition: tools-offsets-0\tlow_watermark: 7`)
	expect(t, offset("--time", "earliest"), `^tools-offsets:0:7$`)
	if fullRun() {
		expect(t, offset("--time", "max-timestamp"), `^tools-offsets:0:(7|8|9|1\d)$`)
		expect(t, offset("--time", "0"), `^tools-offsets:0:7$`)
	}
	out := tools.run(t, "kafka-console-consumer", with("--topic", "tools-offsets", "--from-beginning", "--max-messages", "1", "--timeout-ms", "30000")...)
	if out != "m8\n" {
		t.Errorf("the first record after delete-records is %q, not m8", out)
	}
}

func toolPerf(t *testing.T, tools toolset, with withServer) {
	records := "50000"
	if fullRun() {
		records = "500000"
	}
	tools.run(t, "kafka-topics", with("--create", "--topic", "tools-perf", "--partitions", "6")...)
	bootstrap := "bootstrap.servers=" + with()[1]
	out := tools.run(t, "kafka-producer-perf-test", "--topic", "tools-perf", "--num-records", records, "--record-size", "100",
		"--throughput", "-1", "--command-property", bootstrap, "acks=1", "batch.size=8196")
	expect(t, out, `^`+records+` records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), [\d.]+ ms avg latency, [\d.]+ ms max latency, \d+ ms 50th, \d+ ms 95th, \d+ ms 99th, \d+ ms 99\.9th\.$`)
	out = tools.run(t, "kafka-consumer-perf-test", with("--topic", "tools-perf", "--num-records", records)...)
	expect(t, out, `^start\.time, end\.time, data\.consumed\.in\.MB, MB\.sec, data\.consumed\.in\.nMsg, nMsg\.sec, rebalance\.time\.ms, fetch\.time\.ms, fetch\.MB\.sec, fetch\.nMsg\.sec$`,
		`^\S+ \S+, \S+ \S+, [\d.]+, [\d.]+, \d{5,}, `)
	if fullRun() {
		out = tools.run(t, "kafka-e2e-latency", with("--topic", "tools-e2e", "--num-records", "500", "--producer-acks", "1", "--record-size", "100")...)
		expect(t, out, `^Avg latency: [\d.]+ ms$`, `^Percentiles: 50th = \d+, 99th = \d+, 99\.9th = \d+$`)
	}
}
