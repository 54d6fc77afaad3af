package compare

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"freshet/bench"
)

// output is what a tool of Apache Kafka 4.3.1 printed.
func output(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestProducerPerfOutput(t *testing.T) {
	out := output(t, "producer-perf.txt")
	got, err := parseJava(javaProducer, out)
	if err != nil {
		t.Fatal(err)
	}
	want := bench.LatencySummary{Count: 80000, MeanUs: 80260, MaxUs: 104000, P50Us: 83000, P99Us: 103000, P999Us: 104000}
	if got.records != 80000 || got.recordsPerSecond != 176600.441501 || *got.latency != want {
		t.Errorf("steady state: %+v, %+v", got, *got.latency)
	}
	// Without a warm-up there is one line, and windows of five seconds before it.
	first := strings.Split(out, "\n")[1]
	windows := "51 records sent, 10.2 records/sec (0.00 MB/sec), 1.0 ms avg latency, 2.0 ms max latency.\n"
	got, err = parseJava(javaProducer, windows+windows+first+"\n")
	if err != nil || got.records != 100000 {
		t.Errorf("whole run: %+v, %v", got, err)
	}
}

func TestConsumerPerfOutput(t *testing.T) {
	got, err := parseJava(javaConsumer, "a warning that came first\n"+output(t, "consumer-perf.txt"))
	if err != nil || got.records != 100000 || int(got.recordsPerSecond) != 423728 || got.latency != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEndToEndOutput(t *testing.T) {
	got, err := parseJava(javaEndToEnd, output(t, "e2e.txt"))
	if err != nil {
		t.Fatal(err)
	}
	want := bench.LatencySummary{MeanUs: 675, P50Us: 0, P99Us: 3000, P999Us: 24000}
	if *got.latency != want || int(got.recordsPerSecond) != 1481 {
		t.Errorf("%+v, %+v", got, *got.latency)
	}
}

func TestOutputThatIsNotATools(t *testing.T) {
	for _, tool := range []javaTool{javaProducer, javaConsumer, javaEndToEnd} {
		for _, out := range []string{"", "Error: could not find or load main class", "start.time, end.time\n1, 2\n", "start.time"} {
			if got, err := parseJava(tool, out); err == nil {
				t.Errorf("%s: %q gave %+v", tool, out, got)
			}
		}
	}
}

func TestJavaRunsAreFilledIn(t *testing.T) {
	o := Defaults()
	rows := javaRows(&o)
	producer := rows[0]
	producer.records = 100000
	run := bench.Run{CPU: &bench.CPUResult{TotalSeconds: 10, UserSeconds: 4, SystemSeconds: 6}}
	got, err := parseJava(javaProducer, output(t, "producer-perf.txt"))
	if err != nil {
		t.Fatal(err)
	}
	got.fill(&run, producer, 11_000_000, 100_000)
	// Four fifths of the records were in the steady state, and so much of the CPU
	// time and of the log is theirs.
	if run.Records != 80000 || run.LogBytes != 8_800_000 || run.CPU.TotalSeconds != 8 || run.AckLatency == nil || run.Latency != nil {
		t.Errorf("%+v", run)
	}
	if rate := run.RecordsPerSecond(); rate < 176600 || rate > 176601 {
		t.Errorf("%v records/s", rate)
	}
}

func TestJavaCommandLines(t *testing.T) {
	o := Defaults()
	for _, row := range javaRows(&o) {
		args := row.args("h:1", "topic")
		for _, want := range []string{"--bootstrap-server", "h:1", "--topic", "topic", "--num-records"} {
			if !slices.Contains(args, want) {
				t.Errorf("%s: %s is missing in %v", row.name, want, args)
			}
		}
		if row.tool == javaProducer && !slices.Contains(args, "acks=1") {
			t.Errorf("%s: %v", row.name, args)
		}
	}
}
