package cli

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"
)

// runPerfTool runs a command and returns what it printed; it must not fail.
func runPerfTool(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := map[string]func() *cobra.Command{
		"producer": newProducerPerfTestCommand,
		"consumer": newConsumerPerfTestCommand,
		"e2e":      newE2ELatencyCommand,
		"bench":    newBenchCommand,
	}[name]()
	var out, errOut bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errOut.String())
	}
	return out.String()
}

func TestProducerPerfArguments(t *testing.T) {
	set, err := parseArgparse(producerPerfOptions, strings.Fields(
		"--topic t --num-rec 5 --throughput -1 --record-size=10 --producer-props a=b c=d --print-metrics"))
	if err != nil {
		t.Fatal(err)
	}
	want := argparseSet{"--topic": {"t"}, "--num-records": {"5"}, "--throughput": {"-1"}, "--record-size": {"10"},
		"--producer-props": {"a=b", "c=d"}, "--print-metrics": {"true"}}
	if !reflect.DeepEqual(set, want) {
		t.Errorf("got %v", set)
	}
	for line, message := range map[string]string{
		"--topic":                  "argument --topic: expected one argument",
		"--producer-props --topic": "argument --producer-props: expected at least one argument",
		"--num-records x":          `argument --num-records: could not convert 'x' to Long (For input string: "x")`,
		"--foo":                    "unrecognized arguments: '--foo'",
		"word":                     "unrecognized arguments: 'word'",
		"--payload x":              "ambiguous option: --payload could match --payload-delimiter, --payload-file, --payload-monotonic",
		"--payload-monotonic=3":    "argument --payload-monotonic: ignored explicit argument '3'",
	} {
		_, err := parseArgparse(producerPerfOptions, strings.Fields(line))
		var usage *usageError
		if !errors.As(err, &usage) || usage.msg != message {
			t.Errorf("%s: %v, want %s", line, err, message)
		}
	}
	if _, err := parseArgparse(producerPerfOptions, []string{"-h"}); !errors.Is(err, errHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestProducerPerfRules(t *testing.T) {
	const base = "--topic t --num-records 10 --throughput -1 --bootstrap-server b:1"
	for line, message := range map[string]string{
		base: "one of the arguments --record-size --payload-file --payload-monotonic is required",
		base + " --record-size 1 --payload-monotonic":                         "argument --payload-monotonic: not allowed with argument --record-size",
		base + " --record-size 0":                                             "--record-size should be greater than zero.",
		base + " --record-size 1 --warmup-records 10":                         "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records.",
		base + " --record-size 1 --reporting-interval 0":                      "--reporting-interval should be greater than zero.",
		base + " --record-size 1 --transaction-duration-ms 0":                 "--transaction-duration-ms should be greater than zero.",
		base + " --record-size 1 --command-property a=b --producer-props a=b": "--command-property and --producer-props cannot be specified together.",
		"--topic t --num-records 10 --throughput -1 --record-size 1":          "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified.",
		"--topic t --num-records 10":                                          "argument --throughput is required",
		base + " --record-size 1":                                             "",
	} {
		set, err := parseArgparse(producerPerfOptions, strings.Fields(line))
		if err != nil {
			t.Fatal(err)
		}
		err = checkProducerPerf(set)
		var usage *usageError
		switch {
		case message == "" && err != nil:
			t.Errorf("%s: %v", line, err)
		case message != "" && (!errors.As(err, &usage) || usage.msg != message):
			t.Errorf("%s: %v, want %s", line, err, message)
		}
	}
}

func TestProducerPerfProperties(t *testing.T) {
	set, err := parseArgparse(producerPerfOptions, strings.Fields("--producer-props bootstrap.servers=b:1 bad"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := producerPerfProps(&toolIO{out: &out}, set); err == nil || err.Error() != "Invalid property: bad" {
		t.Errorf("a word without = gives %v", err)
	}
	if !strings.Contains(out.String(), "--producer-props has been deprecated") {
		t.Errorf("no warning in %q", out.String())
	}
}

func TestE2EArgumentsByPosition(t *testing.T) {
	warned := ""
	got, err := nameE2EArguments(strings.Fields("b:1 topic 100 all 10 file"), func(s string) { warned = s })
	want := strings.Fields("--bootstrap-server b:1 --topic topic --num-records 100 --producer-acks all --record-size 10 --command-config file")
	if err != nil || !reflect.DeepEqual(got, want) || !strings.HasPrefix(warned, "WARNING: Positional") {
		t.Errorf("%v, %v, warned %q", got, err, warned)
	}
	if _, err := nameE2EArguments([]string{"b:1", "topic"}, func(string) {}); err == nil {
		t.Error("two positions were accepted")
	}
	named := []string{"--topic", "t"}
	if got, err := nameE2EArguments(named, func(string) {}); err != nil || !reflect.DeepEqual(got, named) {
		t.Errorf("named arguments became %v, %v", got, err)
	}
}

func TestPerfToolsAgainstAFakeBroker(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "perf"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	addr := cluster.ListenAddrs()[0]
	run := func(cmd string, words ...string) string {
		t.Helper()
		return runPerfTool(t, cmd, append(words, "--bootstrap-server", addr)...)
	}
	if out := run("producer", strings.Fields("--topic perf --num-records 500 --record-size 10 --throughput -1 --command-property acks=1 batch.size=100")...); !strings.Contains(out, "500 records sent, ") {
		t.Errorf("producer: %s", out)
	}
	if out := run("consumer", "--topic", "perf", "--num-records", "500", "--command-property", "fetch.max.wait.ms=100"); !strings.Contains(out, ", 500, ") {
		t.Errorf("consumer: %s", out)
	}
	if out := run("e2e", strings.Fields("--topic e2e --num-records 10 --producer-acks all --record-size 10 --num-headers 1 --record-header-size -1")...); !strings.Contains(out, "Percentiles: 50th = ") {
		t.Errorf("e2e: %s", out)
	}
}

func TestBenchList(t *testing.T) {
	if out := runPerfTool(t, "bench", "list"); !strings.Contains(out, "produce-64k") || !strings.Contains(out, "open-loop") {
		t.Errorf("got %s", out)
	}
}
