package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// seedCluster has topics events (2 partitions, 5 records in the first) and
// other.name, and a group g1 that has read two records.
func seedCluster(t *testing.T) string {
	t.Helper()
	addr := fakeCluster(t)
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic events --partitions 2 --config retention.ms=86400000")
	mustRun(t, addr, "kafka-topics --bootstrap-server BROKER --create --topic other.name --partitions 1")
	var records []*kgo.Record
	for i := range 5 {
		records = append(records, &kgo.Record{Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}, {Key: "n"}}})
	}
	produceTo(t, addr, "events", 0, records...)
	r := runLine(t, addr, "kafka-console-consumer --bootstrap-server BROKER --topic events --group g1 --from-beginning --max-messages 2")
	if r.out != "v0\nv1\n" {
		t.Fatalf("seeding the group: %+v", r)
	}
	return addr
}

// The transcript's lines have the form of Apache Kafka 4.3.1's output, with
// which they were compared on one broker.
func TestToolsTranscript(t *testing.T) {
	addr := seedCluster(t)
	offsets := filepath.Join(t.TempDir(), "offsets.json")
	text := `{"partitions":[{"topic":"events","partition":0,"offset":3}],"version":1}`
	if err := os.WriteFile(offsets, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, line := range []string{
		"kafka-topics --list",
		"kafka-topics --describe --topic events,other.*",
		"kafka-topics --describe --topic nosuch",
		"kafka-topics --delete --topic nosuch",
		"kafka-topics --create --topic events",
		"kafka-topics --create --topic events --if-not-exists",
		"kafka-topics --create --topic x --partitions 0",
		"kafka-topics --create --topic x --config nonsense",
		"kafka-topics --create --topic x --replica-assignment 1:1",
		"kafka-console-consumer --topic events --partition 0 --offset 3 --max-messages 2 --formatter-property print.key=true --formatter-property print.headers=true --formatter-property print.partition=true --formatter-property print.offset=true --formatter-property key.separator=|",
		"kafka-console-consumer --topic events --from-beginning --timeout-ms 300 --partition 1",
		"kafka-console-consumer --topic events --offset 3",
		"kafka-consumer-groups --list",
		"kafka-consumer-groups --list --state",
		"kafka-consumer-groups --describe --group g1",
		"kafka-consumer-groups --describe --group g1 --state",
		"kafka-consumer-groups --describe --group g1 --members",
		"kafka-consumer-groups --reset-offsets --group g1 --topic events --to-earliest --dry-run",
		"kafka-consumer-groups --reset-offsets --group g1 --topic events:0 --shift-by -1 --execute",
		"kafka-consumer-groups --reset-offsets --group g1 --topic events:0 --to-offset 99 --dry-run --export",
		"kafka-consumer-groups --reset-offsets --group g1 --topic nosuch --to-latest --dry-run",
		"kafka-consumer-groups --reset-offsets --group g1 --topic events",
		"kafka-consumer-groups --delete-offsets --group g1 --topic events:0",
		"kafka-consumer-groups --delete --group g1",
		"kafka-consumer-groups --delete --group g1",
		"kafka-get-offsets",
		"kafka-get-offsets --topic-partitions ev.*:0 --time -2",
		"kafka-get-offsets --topic nosuch",
		"kafka-get-offsets --time yesterday",
		"kafka-configs --describe --topic events",
		"kafka-configs --alter --topic events --add-config retention.ms=1,cleanup.policy=[compact,delete]",
		"kafka-configs --describe --entity-type topics --entity-name events",
		"kafka-configs --alter --topic events --delete-config retention.ms",
		"kafka-configs --alter --topic events",
		"kafka-configs --describe --topic nosuch",
		"kafka-delete-records --offset-json-file " + offsets,
		"kafka-cluster cluster-id",
	} {
		words := strings.Fields(line)
		if words[0] == "kafka-cluster" {
			words = append(words, "--bootstrap-server", addr)
		} else {
			words = append([]string{words[0], "--bootstrap-server", addr}, words[1:]...)
		}
		r := runWords(t, words, "")
		stderr := r.err
		if i := strings.Index(stderr, "\nOption  "); i >= 0 {
			stderr = stderr[:i+1] + "<help>\n"
		}
		fmt.Fprintf(&b, "$ %s\n%s", strings.ReplaceAll(line, offsets, "FILE"), r.out)
		if stderr != "" {
			fmt.Fprintf(&b, "stderr: %s", stderr)
		}
		fmt.Fprintf(&b, "exit %d\n\n", r.code)
	}
	golden(t, "tools.txt", stable(b.String()))
}

func TestHelpOfEveryCommand(t *testing.T) {
	for _, tool := range kafkaTools {
		if strings.HasPrefix(tool.name, "kafka-server-") {
			continue // they pass their words on, or signal processes
		}
		r := runWords(t, []string{tool.name + ".sh", "--help"}, "")
		if len(r.out)+len(r.err) < 100 {
			t.Errorf("%s --help prints %q %q", tool.name, r.out, r.err)
		}
	}
	for _, cmd := range newRootCommand().Commands() {
		if !cmd.Hidden && cmd.Example == "" && cmd.Name() != "help" && cmd.Name() != "completion" {
			t.Errorf("freshet %s has no example", cmd.Name())
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := mustRun(t, "", "freshet completion "+shell); len(out) < 1000 {
			t.Errorf("completion for %s: %d bytes", shell, len(out))
		}
	}
}
