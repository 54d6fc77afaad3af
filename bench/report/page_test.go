package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"freshet/bench"
)

const sampleFlame = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 60"><style>rect{fill:#f86}</style>` +
	`<rect width="400" height="60"/><text x="9" y="30">all</text></svg>`

// sampleResult has a saturated row, a row with latencies and a client row.
func sampleResult() *bench.Report {
	spread := func(v float64) *bench.Spread { return &bench.Spread{Median: v, Min: v * 0.9, Max: v * 1.2} }
	cpu := func(s float64) *bench.CPUResult {
		return &bench.CPUResult{TotalSeconds: s, UserSeconds: s / 4, SystemSeconds: s * 3 / 4}
	}
	summary := func(v float64) bench.Summary {
		return bench.Summary{RecordsPerSecond: spread(v), LogMBPerSecond: spread(v / 9000), PayloadMBPerSecond: spread(v / 10_000),
			CPUPerGB: spread(1e7 / v), PeakRSSBytes: spread(30 << 20), BatchBytes: spread(8100)}
	}
	latency := &bench.LatencySummary{Count: 100, MeanUs: 80, P50Us: 70, P90Us: 100, P99Us: 140, P999Us: 160, MaxUs: 170}
	trip := map[bench.TargetName]bench.Summary{bench.TargetBroker: {RecordsPerSecond: spread(9000), Latency: latency},
		bench.TargetFloor: {RecordsPerSecond: spread(9500), Latency: latency}}
	r := &bench.Report{SchemaVersion: bench.SchemaVersion, Started: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Seconds: 84, Repetitions: 3,
		Environment: bench.Environment{Commit: "0123456789ab", Kernel: "6.18.0 x86_64", CPUModel: "Some CPU", CPUs: 2, MemBytes: 24 << 30,
			FileSystem: "ext4", Device: "/dev/vda", Command: []string{"freshet", "bench", "--override", "a=it's"}},
		Broker: bench.BrokerInfo{Command: []string{"freshet", "start"}, Ack: "acks=1: in the page cache of the leader", ReadyMs: 12, IdleRSSBytes: 14 << 20},
		Rows: []bench.Row{
			{Mode: bench.ModeSaturate, Name: "produce-64k", Title: "produce, 64 KiB batches", Config: bench.SaturateRows()[0], Judge: bench.JudgeCPUPerGB,
				MaxRatio: 1, Ratio: 0.8, PairedRatios: spread(0.8), Ack: "acks=1: in the page cache of the leader",
				Runs: []bench.Run{{Target: bench.TargetBroker, Repetition: 1, LogBytes: 1e9, CPU: cpu(0.5)}, {Target: bench.TargetFloor, Repetition: 1, LogBytes: 1e9, CPU: cpu(0.7)}},
				Summary: map[bench.TargetName]bench.Summary{bench.TargetBroker: summary(17e6), bench.TargetFloor: summary(14e6),
					bench.TargetNull: {RecordsPerSecond: spread(50e6)}}},
			{Mode: bench.ModeSaturate, Name: "round-trip", Title: "one-record round trip", Judge: bench.JudgeRoundTrip, MaxRatio: 1.1, Ratio: 1.3, Summary: trip},
			{Mode: bench.ModeClient, Name: "producer-1", Title: "one producer <b>", Summary: map[bench.TargetName]bench.Summary{bench.TargetBroker: summary(2e6)}},
		}}
	return r
}

// put writes a file of a run.
func put(t *testing.T, dir, name string, content any) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	data, ok := content.(string)
	if !ok {
		encoded, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		data = string(encoded)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// sampleRun writes a whole run and returns its directory.
func sampleRun(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, resultFile, sampleResult())
	timelines := bench.Timelines{SchemaVersion: bench.SchemaVersion}
	var histograms []bench.NamedHistogram
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, target := range []bench.TargetName{bench.TargetBroker, bench.TargetFloor} {
		samples := bench.SampleColumns{}
		recorder := bench.NewRecorder()
		for i := range 20 {
			samples.AtMs = append(samples.AtMs, float64(i)*50)
			samples.Records = append(samples.Records, int64(i)*1000)
			samples.RSSBytes = append(samples.RSSBytes, 20<<20)
			recorder.Record(time.Duration(40+i*i) * time.Microsecond)
		}
		timelines.Runs = append(timelines.Runs,
			bench.Timeline{Row: "produce-64k", Target: target, Repetition: 1, Samples: samples},
			bench.Timeline{Row: "round-trip", Target: target, Repetition: 1, Samples: samples, Latency: sampleGrid()})
		histograms = append(histograms, bench.NamedHistogram{Tag: string(target) + "-1", Start: start, End: start.Add(time.Second), Recorder: recorder})
	}
	put(t, dir, timelineFile, timelines)
	var log bytes.Buffer
	if err := bench.WriteHistogramLog(&log, "a test", histograms); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "round-trip.hlog", log.String())
	put(t, dir, "profiles/produce-64k-cpu.svg", sampleFlame)
	return dir
}

// rendered draws runs and returns the page.
func rendered(t *testing.T, dirs ...string) string {
	t.Helper()
	path, err := WriteFile(filepath.Join(t.TempDir(), "page.html"), dirs...)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var rawText = regexp.MustCompile(`(?s)(<(?:script|style)>).*?(</(?:script|style)>)`)

// checkPage wants balanced markup and nothing that loads from elsewhere.
func checkPage(t *testing.T, text string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(rawText.ReplaceAllString(strings.TrimPrefix(text, "<!DOCTYPE html>"), "$1$2")))
	decoder.Strict = false // attributes without value; an end tag must still match
	decoder.AutoClose = []string{"meta"}
	decoder.Entity = xml.HTMLEntity
	ids := make(map[string]bool)
	var links []string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page is not well-formed: %v", err)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, attr := range element.Attr {
			switch attr.Name.Local {
			case "id":
				if ids[attr.Value] {
					t.Errorf("two elements have the id %q", attr.Value)
				}
				ids[attr.Value] = true
			case "src":
				if !strings.HasPrefix(attr.Value, "data:image/svg+xml;base64,") {
					t.Errorf("<%s> loads %q", element.Name.Local, attr.Value)
				}
			case "href":
				links = append(links, attr.Value)
			}
		}
	}
	for _, link := range links {
		if target, ok := strings.CutPrefix(link, "#"); ok && !ids[target] {
			t.Errorf("a link leads to %q, which is not on the page", link)
		}
		if strings.Contains(link, "//") || strings.Contains(link, ":") {
			t.Errorf("a link leads elsewhere: %q", link)
		}
	}
	for _, loads := range []string{"http://", "https://", "@import", "url(", "<link", "<img"} {
		if strings.Contains(text, loads) {
			t.Errorf("the page contains %q", loads)
		}
	}
	if len(text) > 1_500_000 {
		t.Errorf("the page has %d bytes", len(text))
	}
}

func TestPageOfARun(t *testing.T) {
	text := rendered(t, sampleRun(t))
	checkPage(t, text)
	for _, want := range []string{
		"Benchmark of Freshet", "acks=1: in the page cache of the leader", "commit 012345678", "Some CPU, 2 cores",
		"Against the floor", "0.80×", "CPU for each gigabyte", "Throughput over time", "Latency", `class="h7"`, "Memory and start",
		"LinkedIn&#39;s benchmark of 2014", "Where the time goes", "git checkout 0123456789ab", `&#39;a=it&#39;\&#39;&#39;s&#39;`,
		"Row produce-64k", "Rules of measurement", "one producer &lt;b&gt;",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(text, "one producer <b>") {
		t.Error("a title's markup is part of the page")
	}
}

func TestPageOfSeveralRuns(t *testing.T) {
	first, second := sampleRun(t), sampleRun(t)
	text := rendered(t, first, second)
	checkPage(t, text)
	for _, want := range []string{"2 benchmark runs side by side", "Freshet · run 1", "floor · run 2", "Figures of run 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	d := &Document{Series: []Series{{System: "Freshet · a", Role: RoleBroker}, {System: "floor · a", Role: RoleFloor}, {System: "Freshet · b", Role: RoleBroker}}}
	for system, want := range map[string]string{"Freshet · a": "s0", "Freshet · b": "s1", "floor · a": "sf"} {
		if got := d.class(system); got != want {
			t.Errorf("%s has the colour %s, want %s", system, got, want)
		}
	}
}

// Profiles stand elsewhere, where the result says: the graph that tells most of
// each row is shown, the others are linked.
func TestProfilesOfARun(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "bench-out", "x")
	result := sampleResult()
	result.Profiles = []string{"profiles/20261122-100000-0123456789ab-round-trip", "profiles/gone"}
	put(t, dir, resultFile, result)
	for _, name := range []string{"cpu.svg", "perf.svg", "heap.svg"} {
		put(t, root, result.Profiles[0]+"/"+name, sampleFlame)
	}
	text := rendered(t, dir)
	checkPage(t, text)
	if n := strings.Count(text, "<iframe"); n != 1 {
		t.Errorf("%d graphs are shown, want 1", n)
	}
	for _, want := range []string{"<b>round-trip · perf</b>", ">round-trip · heap</a>", ">round-trip · cpu</a>",
		"/profiles/20261122-100000-0123456789ab-round-trip/perf.svg\""} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Figures of other tools join the page; fields unknown here do not matter.
func TestSeriesOfOtherTools(t *testing.T) {
	dir := sampleRun(t)
	put(t, dir, seriesFile, `{"made_by":"x","series":[
		{"system":"Apache Kafka 4.3","role":"rival","row":"produce-64k","title":"produce, 64 KiB batches","ack":"acks=1: in the page cache of the leader",
		 "figures":{"cpu_seconds_per_gb":{"median":3.04,"low":2.9,"high":3.3,"values":[1]},"records_per_second":4400000,"new_figure":{"median":1}},
		 "percentiles":[{"percent":50,"us":236},{"percent":99,"us":469}],"colour":"red"},
		{"system":"","row":"x"}]}`)
	text := rendered(t, dir)
	checkPage(t, text)
	for _, want := range []string{"Apache Kafka 4.3", "3.04 s/GB", "4.4 M/s", "less than Apache Kafka 4.3"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestFiguresInAnyForm(t *testing.T) {
	for in, want := range map[string]Figure{
		`3`: {3, 3, 3}, `{"median":2}`: {2, 2, 2}, `{"median":2,"low":1,"high":4}`: {2, 1, 4}, `{"median":2,"min":1,"max":4,"p":0.1}`: {2, 1, 4},
	} {
		var got Figure
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s reads as %v, %v", in, got, err)
		}
	}
	for _, in := range []string{`"x"`, `{}`, `[1]`} {
		if err := json.Unmarshal([]byte(in), new(Figure)); err == nil {
			t.Errorf("%s reads as a figure", in)
		}
	}
}

// A comparison's file is read by the names of its fields.
func TestPageOfAComparison(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, compareFile, `{"schema_version":1,"started":"2026-11-22T06:18:33Z","seconds":73,"repetitions":2,
		"environment":{"commit":"0123456789ab","cpus":2,"cpu_model":"Some CPU","command":["freshet","bench","compare"]},
		"brokers":[{"name":"freshet","kind":"freshet","title":"this binary, dev","ack":{"words":"acks=1: in the page cache"}},
			{"name":"kafka","kind":"kafka","title":"Apache Kafka 4.3.1, -Xmx1G","command":["java","-Xmx1G"],"ack":{"words":"acks=1: on disk"}}],
		"unequal":["one is on disk"],
		"rows":[{"name":"produce-64k","title":"produce","kind":"saturate","metrics":[
			{"name":"cpu_seconds_per_gb","brokers":{"freshet":{"median":0.7,"low":0.6,"high":0.8},"kafka":{"median":4.2,"low":4,"high":5}}}],
			"latency":{"kafka":{"p50_us":230}}}],
		"process":[{"name":"start_ack_ms","brokers":{"freshet":{"median":14.6},"kafka":{"median":2360}}},{"name":"else","brokers":{}}]}`)
	text := rendered(t, dir)
	checkPage(t, text)
	for _, want := range []string{"Freshet and Apache Kafka 4.3.1", "Not equal: one is on disk", "acks=1: on disk", "4.2 s/GB", "6×", "14.6 ms",
		"162× less than Apache Kafka 4.3.1", "java -Xmx1G"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// What cannot be read is said and left out; the rest is drawn.
func TestUnreadableFilesBecomeNotes(t *testing.T) {
	dir := sampleRun(t)
	put(t, dir, timelineFile, "{")
	put(t, dir, "round-trip.hlog", "#[Histogram log format version 1.3]\nTag=broker-1,1.0,1.0,1.0,nonsense\n")
	put(t, dir, seriesFile, "[")
	put(t, dir, "broken.svg", "<svg><g>")
	text := rendered(t, dir)
	checkPage(t, text)
	for _, name := range []string{timelineFile + " is left out", "round-trip.hlog is left out", seriesFile + " is left out", "broken.svg is not shown"} {
		if !strings.Contains(text, name) {
			t.Errorf("the page does not say that %s", name)
		}
	}
}

// Results of other versions are read as far as they go.
func TestResultsOfOtherVersions(t *testing.T) {
	for name, result := range map[string]string{
		"newer":     `{"schema_version":7,"rows":[{"name":"x","mode":"saturate","wonder":[1],"summary":{"broker":{"records_per_second":{"median":5}}}}],"new":{}}`,
		"empty":     `{}`,
		"no figure": `{"schema_version":1,"rows":[{"name":"x","summary":{"broker":{}}}]}`,
	} {
		dir := t.TempDir()
		put(t, dir, resultFile, result)
		text := rendered(t, dir)
		checkPage(t, text)
		if name == "newer" && !strings.Contains(text, "schema version 7") {
			t.Error("a newer schema is not named")
		}
	}
	for _, c := range []struct{ result, want string }{{"", "no directory of a benchmark run"}, {"{", "cannot be read"}, {`{"rows":7}`, "cannot be read"}} {
		dir := t.TempDir()
		if c.result != "" {
			put(t, dir, resultFile, c.result)
		}
		if _, err := WriteFile("", dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q gives %v, want an error about %q", c.result, err, c.want)
		}
	}
	if _, err := WriteFile(""); err == nil {
		t.Error("no directory is fine")
	}
}

// A page elsewhere links to the run's files, and one in the run's directory is
// replaced whole, leaving nothing beside it.
func TestPageIsWrittenWhole(t *testing.T) {
	dir := sampleRun(t)
	for range 2 {
		path, err := WriteFile("", dir)
		if err != nil || path != filepath.Join(dir, FileName) {
			t.Fatalf("%s, %v", path, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".report") }) {
		t.Error("a half-written page is left")
	}
	other := filepath.Join(filepath.Dir(dir), "page.html")
	if _, err := WriteFile(other, dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(other)
	if want := `href="` + filepath.Base(dir) + `/result.json"`; err != nil || !strings.Contains(string(data), want) {
		t.Errorf("the page has no %s, %v", want, err)
	}
}
