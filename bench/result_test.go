package bench

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run the test with -rewrite if that is meant. Got:\n%s", path, got)
	}
}

// sampleReport has one row of each kind with made-up figures.
func sampleReport() *Report {
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	r := &Report{
		SchemaVersion: SchemaVersion, Started: start, Seconds: 93.4, Repetitions: 3, OutDir: "bench-out/x",
		Environment: Environment{Commit: "0123456789ab", GoVersion: "go1.26", Kernel: "6.18.0 x86_64", CPUModel: "Some CPU",
			CPUs: 2, MemBytes: 24 << 30, FileSystem: "ext4", Device: "/dev/vda", Command: []string{"freshet", "bench"}},
		Broker: BrokerInfo{Address: "127.0.0.1:9092", VersionGuess: "v4.3", ReadyMs: 12.3, IdleRSSBytes: 14 << 20,
			Ack: "acks=1: in the page cache of the leader"},
	}
	saturate := SaturateRows()
	produce := Row{Mode: ModeSaturate, Name: saturate[0].Name, Title: saturate[0].Title, Config: saturate[0],
		Judge: saturate[0].Judge, MaxRatio: saturate[0].MaxRatio}
	trip := Row{Mode: ModeSaturate, Name: saturate[4].Name, Title: saturate[4].Title, Config: saturate[4],
		Judge: saturate[4].Judge, MaxRatio: saturate[4].MaxRatio}
	merged := map[TargetName]*Recorder{TargetBroker: NewRecorder(), TargetFloor: NewRecorder()}
	for rep := 1; rep <= 3; rep++ {
		for i, name := range []TargetName{TargetBroker, TargetFloor} {
			cpu := 0.5 + 0.3*float64(i) + 0.01*float64(rep)
			produce.Runs = append(produce.Runs, Run{Target: name, Repetition: rep, Start: start, Seconds: 0.6 + 0.1*float64(i),
				Requests: 16384, Records: 9_700_000, LogBytes: 1_000_000_000, PayloadBytes: 970_000_000, VerifiedRecords: 9_800_000,
				BatchBytes: 65_530, CPU: &CPUResult{TotalSeconds: cpu, UserSeconds: 0.1, SystemSeconds: cpu - 0.1},
				RSSBytes: 30 << 20, PeakRSSBytes: int64(40+rep) << 20})
			rec := NewRecorder()
			for us := range 100 {
				rec.Record(time.Duration(60+10*i+us) * time.Microsecond)
			}
			merged[name].Merge(rec)
			summary := rec.Summary()
			trip.Runs = append(trip.Runs, Run{Target: name, Repetition: rep, Start: start, Seconds: 1, Requests: 100, Records: 100,
				LogBytes: 18_000, PayloadBytes: 10_000, BatchBytes: 180, Latency: &summary})
		}
	}
	produce.Runs = append(produce.Runs, Run{Target: TargetNull, Repetition: 1, Start: start, Seconds: 0.3, Requests: 16384,
		Records: 9_700_000, LogBytes: 1_000_000_000, PayloadBytes: 970_000_000, BatchBytes: 65_530})
	client := Row{Mode: ModeClient, Name: "producer-1", Title: "one producer", Runs: []Run{{Target: TargetBroker, Repetition: 1,
		Start: start, Seconds: 0.5, Records: 1_000_000, LogBytes: 110_000_000, PayloadBytes: 100_000_000, BatchBytes: 8136}}}
	produce.summarize(nil, nil)
	trip.summarize(merged, nil)
	client.summarize(nil, nil)
	r.Rows = []Row{produce, trip, client}
	return r
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := sampleReport().WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.golden", out.Bytes())
}

func TestBenchstatLines(t *testing.T) {
	var out bytes.Buffer
	if err := sampleReport().WriteBenchstat(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "benchstat.golden", out.Bytes())
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "Benchmark") {
			continue
		}
		// Name, iterations, then pairs of a value and its unit.
		if fields := strings.Fields(line); len(fields) < 4 || len(fields)%2 != 0 {
			t.Errorf("not a line of Go's benchmark format: %q", line)
		}
	}
}

// The JSON result is a contract: this test fails when a field is renamed or
// goes, and reading it back gives the same report.
func TestResultSchema(t *testing.T) {
	report := sampleReport()
	var out bytes.Buffer
	if err := report.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "result.golden.json", out.Bytes())
	var back Report
	decoder := json.NewDecoder(bytes.NewReader(out.Bytes()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&back); err != nil {
		t.Fatal(err)
	}
	for i := range report.Rows {
		report.Rows[i].Config, back.Rows[i].Config = nil, nil // any: decoded as a map
	}
	if !reflect.DeepEqual(*report, back) {
		t.Error("the report read back differs from the one written")
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want *Spread
	}{
		{[]float64{3, 1, 2}, &Spread{2, 1, 3}},
		{[]float64{4, 1, 2, 3}, &Spread{2.5, 1, 4}},
		{[]float64{math.NaN(), 5}, &Spread{5, 5, 5}},
		{[]float64{math.NaN()}, nil},
	} {
		if got := newSpread(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v gives %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestVerdictComparesAsPrinted(t *testing.T) {
	for _, c := range []struct {
		ratio, limit float64
		want         string
	}{{1.004, 1.0, "met"}, {1.006, 1.0, "missed"}, {0.5, 0.9, "met"}, {0, 1, ""}, {1, 0, ""}} {
		if got := verdict(c.ratio, c.limit); got != c.want {
			t.Errorf("%v of %v is %q, want %q", c.ratio, c.limit, got, c.want)
		}
	}
}

func TestThousands(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 2024032.4: "2,024,032", -1234: "-1,234"} {
		if got := Thousands(v); got != want {
			t.Errorf("%v prints %q, want %q", v, got, want)
		}
	}
}

func TestAckMeaning(t *testing.T) {
	for _, c := range []struct {
		flush string
		acks  int16
		want  string
	}{
		{"9223372036854775807", 1, "acks=1: in the page cache of the leader"},
		{"9223372036854775807", -1, "acks=all: in the page cache of every in-sync replica"},
		{"1", 1, "acks=1: on the disk of the leader"},
		{"1", -1, "acks=all: on the disk of every in-sync replica"},
		{"", 1, "acks=1: in the page cache of the leader (fsync setting unknown)"},
		{"", 0, "acks=0: sent, nothing promised"},
	} {
		if got := (&admin{flushMessages: c.flush}).ackMeaning(c.acks); got != c.want {
			t.Errorf("flush %q, acks %d: %q, want %q", c.flush, c.acks, got, c.want)
		}
	}
}
