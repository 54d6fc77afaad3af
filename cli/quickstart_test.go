package cli

import (
	"strings"
	"testing"
)

// The steps and their answers are those of Apache Kafka's quickstart.
func TestQuickstart(t *testing.T) {
	addr := fakeCluster(t)
	if got := mustRun(t, addr, "bin/kafka-topics.sh --create --topic quickstart-events --bootstrap-server BROKER"); got != "Created topic quickstart-events.\n" {
		t.Errorf("create: %q", got)
	}
	described := stable(mustRun(t, addr, "bin/kafka-topics.sh --describe --topic quickstart-events --bootstrap-server BROKER"))
	if !strings.HasPrefix(described, "Topic: quickstart-events\tTopicId: <topic-id>\tPartitionCount: 1\tReplicationFactor: 1\tConfigs: ") ||
		!strings.Contains(described, "\n\tTopic: quickstart-events\tPartition: 0\tLeader: 0\tReplicas: 0\tIsr: 0\tElr: ") {
		t.Errorf("describe: %q", described)
	}
	mustRun(t, addr, "bin/kafka-console-producer.sh --topic quickstart-events --bootstrap-server BROKER",
		"This is my first event\nThis is my second event\n")
	r := runLine(t, addr, "bin/kafka-console-consumer.sh --topic quickstart-events --from-beginning --bootstrap-server BROKER --max-messages 2")
	if r.out != "This is my first event\nThis is my second event\n" || r.err != "Processed a total of 2 messages\n" || r.code != 0 {
		t.Errorf("consume: %+v", r)
	}
	if got := mustRun(t, addr, "kafka-topics --list --bootstrap-server BROKER"); got != "quickstart-events\n" {
		t.Errorf("list: %q", got)
	}
	if got := mustRun(t, addr, "kafka-topics --delete --topic quickstart-events --bootstrap-server BROKER"); got != "" {
		t.Errorf("delete: %q", got)
	}
}

func TestNativeRoundTrip(t *testing.T) {
	addr := fakeCluster(t)
	if got := mustRun(t, addr, "freshet topic create orders -p 2 -b BROKER"); got != "created topic orders\n" {
		t.Errorf("create: %q", got)
	}
	mustRun(t, addr, "freshet produce orders -s : -p 1 -b BROKER", "a:1\nb:2")
	got := mustRun(t, addr, "freshet consume orders --from-beginning -n 2 -f %p/%o:%k=%v\\n -b BROKER")
	if got != "1/0:a=1\n1/1:b=2\n" {
		t.Errorf("consume: %q", got)
	}
	got = mustRun(t, addr, "freshet topic list -b BROKER")
	if want := "NAME    PARTITIONS  REPLICAS  TOPIC-ID\norders  2           1         <topic-id>\n"; stable(got) != want {
		t.Errorf("list: %q", got)
	}
	mustRun(t, addr, "freshet topic trim orders --before-offset 1 --partition 1 -b BROKER")
	got = mustRun(t, addr, "freshet consume orders -O start -n 1 -o json -b BROKER")
	if !strings.Contains(got, `"key":"b","offset":1,"partition":1`) {
		t.Errorf("consume after trim: %q", got)
	}
}
