package config

import (
	"fmt"
	"strings"
	"testing"
)

func mustBroker(t *testing.T, values map[string]string) *BrokerConfig {
	t.Helper()
	c, err := NewBroker(NewStatic(values))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTopicDefaults(t *testing.T) {
	topic, err := mustBroker(t, nil).Topic(nil)
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * 3600 * 1000
	if topic.RetentionMs != 7*day || topic.SegmentMs != 7*day || topic.RetentionBytes != -1 || topic.SegmentBytes != 1<<30 ||
		topic.FlushMs != 1<<63-1 || topic.FlushMessages != 1<<63-1 || topic.MaxMessageBytes != 1048588 ||
		!topic.CleanupDelete || topic.CleanupCompact || topic.LogAppendTime || topic.CompressionType != "producer" {
		t.Errorf("defaults: %+v", topic)
	}
}

func TestTopicResolution(t *testing.T) {
	c := mustBroker(t, map[string]string{"log.retention.hours": "1", "log.retention.minutes": "2", "log.flush.scheduler.interval.ms": "77"})
	retention := func(c *BrokerConfig, overrides map[string]string) int64 {
		t.Helper()
		topic, err := c.Topic(overrides)
		if err != nil {
			t.Fatal(err)
		}
		return topic.RetentionMs
	}
	if got := retention(c, nil); got != 120_000 {
		t.Errorf("minutes go before hours: %d", got)
	}
	dynamic, err := c.WithDynamic(nil, map[string]string{"log.retention.ms": "9"})
	if err != nil {
		t.Fatal(err)
	}
	if got := retention(dynamic, nil); got != 9 {
		t.Errorf("the dynamic default goes before the static value: %d", got)
	}
	perBroker, err := c.WithDynamic(map[string]string{"log.retention.ms": "8"}, map[string]string{"log.retention.ms": "9"})
	if err != nil {
		t.Fatal(err)
	}
	if got := retention(perBroker, nil); got != 8 {
		t.Errorf("this broker's value goes before the dynamic default: %d", got)
	}
	if got := retention(perBroker, map[string]string{"retention.ms": "7"}); got != 7 {
		t.Errorf("the topic goes before everything: %d", got)
	}
	if got := retention(mustBroker(t, map[string]string{"log.retention.hours": "-1"}), nil); got != -1 {
		t.Errorf("a negative number of hours means no limit: %d", got)
	}
	if got := retention(mustBroker(t, map[string]string{"log.retention.hours": "2147483647"}), nil); got != 2147483647*3600*1000 {
		t.Errorf("hours: %d", got)
	}
	topic, _ := c.Topic(nil)
	if topic.FlushMs != 77 {
		t.Errorf("log.flush.scheduler.interval.ms stands in for flush.ms: %d", topic.FlushMs)
	}
}

func TestValidateTopic(t *testing.T) {
	c := mustBroker(t, nil)
	f := func(want string, pairs ...string) {
		t.Helper()
		overrides := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			overrides[pairs[i]] = pairs[i+1]
		}
		got := ""
		if err := c.ValidateTopic(overrides); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", pairs, got, want)
		}
	}
	f("", "retention.ms", "-1", "cleanup.policy", "compact,delete")
	f("", "cleanup.policy", "")
	f("Unknown topic config name: no.such", "no.such", "1")
	f("Invalid value -2 for configuration retention.ms: Value must be at least -1", "retention.ms", "-2")
	f("Invalid value x for configuration segment.bytes: Not a number of type INT", "segment.bytes", "x")
	f("Invalid value 100 for configuration segment.bytes: Value must be at least 1048576", "segment.bytes", "100")
	f("Invalid value fast for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer", "compression.type", "fast")
	f("conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)", "min.compaction.lag.ms", "10", "max.compaction.lag.ms", "5")
	f("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.", "remote.storage.enable", "true")
	f("", "leader.replication.throttled.replicas", "0:1,1:2")
	f("", "leader.replication.throttled.replicas", "*")
}

// describe writes entries as kafka-configs.sh --describe --all does, with the
// source's number.
func describe(entries []Entry) string {
	var b strings.Builder
	text := func(p *string) string {
		if p == nil {
			return "null"
		}
		return *p
	}
	for _, e := range entries {
		fmt.Fprintf(&b, "%s=%s %d {", e.Name, text(e.Value), e.Source)
		for i, s := range e.Synonyms {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%d:%s=%s", s.Source, s.Name, text(s.Value))
		}
		b.WriteString("}\n")
	}
	return strings.TrimSpace(b.String())
}

func TestDescribeTopic(t *testing.T) {
	c := mustBroker(t, map[string]string{"log.segment.bytes": "2097152", "log.retention.hours": "2"})
	c, err := c.WithDynamic(map[string]string{"message.max.bytes": "300"}, map[string]string{"message.max.bytes": "400"})
	if err != nil {
		t.Fatal(err)
	}
	f := func(key, want string) {
		t.Helper()
		got := describe(c.DescribeTopic(map[string]string{"segment.bytes": " 1048576"}, []string{key}))
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f("segment.bytes", "segment.bytes=1048576 1 {1:segment.bytes=1048576, 4:log.segment.bytes=2097152, 5:log.segment.bytes=1073741824}")
	f("max.message.bytes", "max.message.bytes=300 2 {2:message.max.bytes=300, 3:message.max.bytes=400, 5:message.max.bytes=1048588}")
	f("retention.ms", "retention.ms=7200000 5 {}") // as Kafka: hours are another key
	f("flush.messages", "flush.messages=9223372036854775807 5 {5:log.flush.interval.messages=9223372036854775807}")
	f("no.such", "")
	if all := c.DescribeTopic(nil, nil); len(all) != 33 {
		t.Errorf("%d topic keys described, want 33", len(all))
	}
}

func TestDescribeBroker(t *testing.T) {
	c := mustBroker(t, map[string]string{"ssl.key.password": "secret", "my.plugin.key": "x", "num.partitions": "3"})
	c, err := c.WithDynamic(map[string]string{"log.roll.hours": "5"}, map[string]string{"log.roll.ms": "6"})
	if err != nil {
		t.Fatal(err)
	}
	f := func(key, want string) {
		t.Helper()
		if got := describe(c.DescribeBroker([]string{key})); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	f("num.partitions", "num.partitions=3 4 {4:num.partitions=3, 5:num.partitions=1}")
	f("ssl.key.password", "ssl.key.password=null 4 {4:ssl.key.password=null}")
	f("my.plugin.key", "my.plugin.key=null 4 {4:my.plugin.key=null}")
	f("broker.rack", "broker.rack=null 5 {}")
	f("log.roll.hours", "log.roll.hours=5 2 {2:log.roll.hours=5, 3:log.roll.ms=6, 5:log.roll.hours=168}")
	if got := describe(c.DescribeDefault(nil)); got != "log.roll.ms=6 3 {3:log.roll.ms=6}" {
		t.Errorf("defaults of all brokers: %s", got)
	}
	topic, _ := c.Topic(nil)
	if topic.SegmentMs != 5*3600*1000 {
		t.Errorf("hours set for this broker go before ms set for all: %d", topic.SegmentMs)
	}
}

func TestValidateDynamicBroker(t *testing.T) {
	c := mustBroker(t, nil)
	f := func(perBroker bool, key, text, want string) {
		t.Helper()
		got := ""
		if err := c.ValidateDynamicBroker(map[string]string{key: text}, perBroker); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s=%s: got %q, want %q", key, text, got, want)
		}
	}
	f(false, "log.retention.ms", "1000", "")
	f(true, "log.retention.ms", "1000", "")
	f(true, "num.partitions", "3", "Cannot update these configs dynamically: Set(num.partitions)")
	f(true, "ssl.key.password", "x", "These security configs can be dynamically updated only per-listener using the listener prefix: Set(ssl.key.password)")
	f(false, "listeners", "PLAINTEXT://:1", "Cannot update these configs at default cluster level, broker id must be specified: Set(listeners)")
	f(true, "log.retention.ms", "soon", "Invalid value soon for configuration log.retention.ms: Not a number of type LONG")
	f(true, "log.retention.ms", "0", "log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
	f(true, "some.plugin", "x", "")
}

func BenchmarkTopic(b *testing.B) {
	c, err := NewBroker(NewStatic(nil))
	if err != nil {
		b.Fatal(err)
	}
	overrides := map[string]string{"retention.ms": "1000"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Topic(overrides); err != nil {
			b.Fatal(err)
		}
	}
}
