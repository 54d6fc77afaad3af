package compare

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/bench"
)

var update = flag.Bool("update", false, "write the golden files anew")

// exampleReport is a comparison with one row of each kind and made-up figures.
func exampleReport() *Report {
	promise := AckPromise{Acks: "1", FlushMessages: unset, FlushMs: unset, MinInSync: "1", Replication: 1}
	promise.Words = promise.words()
	r := &Report{SchemaVersion: SchemaVersion, Repetitions: 6, Warmup: 1, Seconds: 420, OutDir: "bench-out/x",
		Environment: bench.Environment{Commit: "0123456789ab", Kernel: "6.18.0 x86_64", CPUModel: "Some CPU", CPUs: 2, MemBytes: 24 << 30, FileSystem: "ext4"},
		Brokers:     []Broker{{Name: "freshet", Title: "this binary, v1", Ack: promise}, {Name: "kafka", Title: "Apache Kafka 4.3.1, -Xmx1G -Xms1G", Ack: promise}},
		Notes:       []string{"a note"}}
	add := func(name, title, kind string, change func(*bench.Run, float64)) {
		row := Row{Name: name, Title: title, Kind: kind}
		for rep := range r.Repetitions {
			for i, b := range r.Brokers {
				slow := float64(1+3*i) * (1 + float64(rep)/100)
				run := bench.Run{Repetition: rep + 1, Seconds: slow, Requests: 1e5, Records: 1e7, LogBytes: 1e9, PayloadBytes: 9e8,
					CPU:          &bench.CPUResult{TotalSeconds: slow / 2, UserSeconds: slow / 8, SystemSeconds: 3 * slow / 8},
					PeakRSSBytes: int64(slow * 50e6)}
				change(&run, slow)
				row.Runs = append(row.Runs, BrokerRun{Broker: b.Name, Position: 1 + (i+rep)%2, Run: run})
			}
		}
		row.summarize(r.Brokers)
		r.Rows = append(r.Rows, row)
	}
	latency := func(slow float64) *bench.LatencySummary {
		return &bench.LatencySummary{Count: 1000, MeanUs: 90 * slow, P50Us: 80 * slow, P90Us: 100 * slow, P99Us: 160 * slow, P999Us: 1000 * slow, MaxUs: 2000 * slow}
	}
	add("produce-64k", "produce, 64 KiB batches", string(rowSaturate), func(run *bench.Run, slow float64) { run.Latency = latency(slow) })
	add("one-record", "one-record requests, 6 connections", string(rowSaturate), func(run *bench.Run, slow float64) {})
	add("round-trip", "one-record round trip", string(rowSaturate), func(run *bench.Run, slow float64) { run.Latency = latency(slow) })
	add("ack-50mb", "acknowledged at 50 MB/s, open loop", string(rowOpenLoop), func(run *bench.Run, slow float64) {
		run.AckLatency, run.RatePerSecond = latency(slow), run.RecordsPerSecond()
	})
	add("open-loop", "end to end, open loop", string(rowClient), func(run *bench.Run, slow float64) {
		run.Latency, run.AckLatency, run.RatePerSecond = latency(2*slow), latency(slow), run.RecordsPerSecond()
	})
	values := map[string][]float64{"freshet": {9, 10, 11, 10, 9, 10}, "kafka": {2300, 2100, 2200, 2250, 2150, 2200}}
	r.Process = append(r.Process,
		*newMetric("start_port_ms", "ms", LowerIsBetter, r.Brokers, values),
		*newMetric("idle_cpu_percent", "%", LowerIsBetter, r.Brokers, map[string][]float64{"freshet": {0.1, 0.2}, "kafka": {4, 3}}))
	return r
}

func TestTable(t *testing.T) {
	var got bytes.Buffer
	if err := exampleReport().WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "table.golden")
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the table changed (-update writes it anew):\n%s", got.String())
	}
}

func TestTableOfThreeBrokers(t *testing.T) {
	r := exampleReport()
	r.Brokers = append(r.Brokers, Broker{Name: "other"})
	for i := range r.Rows {
		r.Rows[i].summarize(r.Brokers)
	}
	var got bytes.Buffer
	if err := r.WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"than kafka", "than other", "4.00× faster", absent} {
		if !strings.Contains(got.String(), want) {
			t.Errorf("%q is missing in\n%s", want, got.String())
		}
	}
}

func TestNumbersForPeople(t *testing.T) {
	for want, v := range map[string]float64{"0": 0, "0.123": 0.12345, "1.00": 1, "12.3": 12.34, "123": 123.4, "1,235": 1234.6, "0.0019": 0.0019, "-5.00": -5} {
		if got := significant(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	if got := bench.Thousands(-1234567); got != "-1,234,567" {
		t.Error(got)
	}
}

func TestLateBrokersAreNamed(t *testing.T) {
	r := exampleReport()
	row := &r.Rows[3]
	for i := range row.Runs {
		if row.Runs[i].Broker == "kafka" {
			row.Runs[i].RatePerSecond *= 2
		}
	}
	notes := row.late()
	if len(notes) != 1 || !strings.Contains(notes[0], "kafka fell behind the rate in 6 of 6 runs") {
		t.Errorf("%v", notes)
	}
}
