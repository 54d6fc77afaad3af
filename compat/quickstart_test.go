//go:build compat

package compat

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestQuickstart follows the Apache Kafka quickstart with the links in bin/, word by word: topic, describe,
// produce, consume while waiting, Ctrl-C.
func TestQuickstart(t *testing.T) {
	bin, err := freshetBinary()
	if err != nil {
		missing(t, "quickstart", err.Error())
		return
	}
	if target() == targetKafka {
		return // the steps are for the links beside the freshet binary
	}
	check(t, "quickstart", "all steps", func(t *testing.T) {
		port := 9092
		if l, err := net.Listen("tcp", "127.0.0.1:9092"); err == nil {
			_ = l.Close()
		} else {
			port = freePort(t)
		}
		startBroker(t, brokerOptions{port: port})
		shell := func(line, stdin string) string {
			line = strings.ReplaceAll(line, "localhost:9092", fmt.Sprintf("localhost:%d", port))
			return mustRun(t, command{argv: []string{"bash", "-c", line}, dir: filepath.Dir(filepath.Dir(bin)), stdin: strings.NewReader(stdin)}).stdout
		}
		expect(t, shell("bin/kafka-topics.sh --create --topic quickstart-events --bootstrap-server localhost:9092", ""),
			`^Created topic quickstart-events\.$`)
		expect(t, shell("bin/kafka-topics.sh --describe --topic quickstart-events --bootstrap-server localhost:9092", ""),
			`^Topic: quickstart-events\tTopicId: [A-Za-z0-9_-]{22}\tPartitionCount: 1\tReplicationFactor: 1\tConfigs:`,
			`^\tTopic: quickstart-events\tPartition: 0\tLeader: 1\tReplicas: 1\tIsr: 1`)
		shell("bin/kafka-console-producer.sh --topic quickstart-events --bootstrap-server localhost:9092",
			"This is my first event\nThis is my second event\n")
		consumer := exec.Command(filepath.Join(filepath.Dir(bin), "kafka-console-consumer.sh"), "--topic", "quickstart-events",
			"--from-beginning", "--bootstrap-server", fmt.Sprintf("localhost:%d", port))
		events := filepath.Join(tempDir(t), "events")
		out, err := os.Create(events)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		var said bytes.Buffer
		consumer.Stdout, consumer.Stderr = out, &said
		if err := consumer.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = consumer.Process.Kill() }()
		seen := func(want string) func() bool {
			return func() bool { text, _ := os.ReadFile(events); return string(text) == want }
		}
		first := "This is my first event\nThis is my second event\n"
		eventually(t, 30*time.Second, "both events are printed", seen(first))
		shell("bin/kafka-console-producer.sh --topic quickstart-events --bootstrap-server localhost:9092", "One more\n")
		eventually(t, 30*time.Second, "a further event is printed at once", seen(first+"One more\n"))
		_ = consumer.Process.Signal(syscall.SIGINT)
		_ = consumer.Wait()
		expect(t, said.String(), `Processed a total of 3 messages`)
	})
}

// TestConsoleFlights sends the real flight records through console producers and wants them back byte for
// byte from console consumers: Apache Kafka's and Freshet's, in all four pairs.
func TestConsoleFlights(t *testing.T) {
	b := sharedBroker(t)
	var sets []toolset
	if needJava(t, "console") {
		sets = append(sets, javaTools())
	}
	if _, err := freshetBinary(); err == nil {
		sets = append(sets, freshetTools())
	} else if target() == targetFreshet {
		missing(t, "console", err.Error())
	}
	flights := flightsText(t)
	want := strings.Count(flights, "\n")
	for _, producer := range sets {
		for _, codec := range codecs {
			f := check
			if codec != "none" && codec != "zstd" {
				f = checkFull
			}
			f(t, producer.client, "flights-"+codec, func(t *testing.T) {
				topic := fmt.Sprintf("flights-%s-%s", producer.client, codec)
				createTopic(t, b, topic, 1, nil)
				p := producer.command("kafka-console-producer", "--bootstrap-server", b.addr, "--topic", topic, "--compression-codec", codec)
				p.stdin = strings.NewReader(flights)
				mustRun(t, p)
				for _, consumer := range sets {
					got := consumer.run(t, "kafka-console-consumer", "--bootstrap-server", b.addr, "--topic", topic,
						"--from-beginning", "--max-messages", fmt.Sprint(want), "--timeout-ms", "30000")
					sameBytes(t, flights, got)
				}
			})
		}
	}
	if len(sets) == 0 {
		return
	}
	check(t, sets[len(sets)-1].client, "flights-keyed", func(t *testing.T) { consoleKeyed(t, b, sets) })
}

// consoleKeyed sends the flights keyed by their origin to six partitions, and reads each partition.
func consoleKeyed(t *testing.T, b *broker, sets []toolset) {
	var keyed strings.Builder
	want := map[string]string{}
	for _, flight := range strings.Split(strings.TrimSuffix(flightsText(t), "\n"), "\n") {
		origin := originOf(t, flight)
		fmt.Fprintf(&keyed, "%s|%s\n", origin, flight)
		want[origin] += flight + "\n"
	}
	for _, producer := range sets {
		topic := "flights-keyed-" + producer.client
		createTopic(t, b, topic, 6, nil)
		p := producer.command("kafka-console-producer", "--bootstrap-server", b.addr, "--topic", topic,
			"--reader-property", "parse.key=true", "--reader-property", "key.separator=|")
		p.stdin = strings.NewReader(keyed.String())
		mustRun(t, p)
	}
	consumer := sets[len(sets)-1]
	home := map[string]int{} // both producers have to agree on the partition of a key
	admin := kadm.NewClient(newClient(t, b))
	for _, producer := range sets {
		ends, err := admin.ListEndOffsets(testContext(t), "flights-keyed-"+producer.client)
		if err != nil || ends.Error() != nil {
			t.Fatalf("end offsets: %v %v", err, ends.Error())
		}
		got := map[string]string{}
		for partition := range 6 {
			end, _ := ends.Lookup("flights-keyed-"+producer.client, int32(partition))
			if end.Offset == 0 {
				continue
			}
			out := consumer.run(t, "kafka-console-consumer", "--bootstrap-server", b.addr, "--topic", "flights-keyed-"+producer.client,
				"--partition", fmt.Sprint(partition), "--offset", "earliest", "--max-messages", fmt.Sprint(end.Offset), "--timeout-ms", "30000", "--formatter-property", "print.key=true",
				"--formatter-property", "key.separator=|")
			for _, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
				key, flight, _ := strings.Cut(line, "|")
				if at, ok := home[key]; ok && at != partition {
					t.Fatalf("key %s is in partition %d and, by %s, in %d", key, at, producer.client, partition)
				}
				home[key] = partition
				got[key] += flight + "\n"
			}
		}
		for key := range want {
			if got[key] != want[key] {
				t.Errorf("%s: the flights from %s came back changed or in another order", producer.client, key)
			}
		}
	}
}
