package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/bench"
)

// wantWords fails for each that the page lacks.
func wantWords(t *testing.T, text string, words ...string) {
	t.Helper()
	checkPage(t, text)
	for _, want := range words {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func spread(v float64) *bench.Spread { return &bench.Spread{Median: v, Min: 0.9 * v, Max: 1.1 * v} }

func TestPageOfTheLinkedInSuite(t *testing.T) {
	dir := t.TempDir()
	var points []bench.VolumePoint
	for i := range 12 {
		points = append(points, bench.VolumePoint{WrittenBytes: int64(i+1) * 1e9, MBPerSecond: 200 + float64(i)})
	}
	rows := bench.LinkedInRows()
	r := bench.LinkedInReport{SchemaVersion: bench.SchemaVersion, Repetitions: 2, Environment: bench.Environment{Commit: "0123456789ab"},
		Brokers: []bench.LinkedInBroker{{Target: bench.TargetBroker, BrokerInfo: bench.BrokerInfo{Address: "127.0.0.1:1", Command: []string{"freshet", "start"}}},
			{Target: bench.TargetBroker, Brokers: 3, BrokerInfo: bench.BrokerInfo{Command: []string{"freshet", "start", "1.properties"}}}}}
	for _, row := range rows {
		result := bench.LinkedInResult{Row: row, Targets: map[bench.TargetName]*bench.LinkedInFigures{
			bench.TargetBroker: {RecordsPerSecond: spread(2e6), MBPerSecond: spread(190), CPUPerGB: spread(1.5)}}}
		switch row.Name {
		case "stored":
			result.Targets[bench.TargetBroker].Points = points
		case "producer-3x-sync":
			result.Targets[bench.TargetBroker] = &bench.LinkedInFigures{Skipped: "a cluster of 3 brokers could not be started: no room"}
		case "producer":
			result.Targets[bench.TargetKafka] = &bench.LinkedInFigures{RecordsPerSecond: spread(1e6), CPUPerGB: spread(6)}
		case "end-to-end":
			result.Targets[bench.TargetBroker].Latency = &bench.LatencySummary{Count: 9, P50Us: 180, P99Us: 300, P999Us: 900}
		}
		r.Rows = append(r.Rows, result)
	}
	put(t, dir, linkedInFile, r)
	wantWords(t, rendered(t, dir), "LinkedIn&#39;s benchmark of 2014", "Throughput against stored data", "could not be started: no room",
		"Apache Kafka", "2.00<span>M rec/s", "The first of 3 brokers for three replicas")
}

func TestPageOfTheScaleSuite(t *testing.T) {
	dir := t.TempDir()
	r := bench.ScaleReport{SchemaVersion: bench.SchemaVersion, Cluster: 3, Broker: bench.BrokerInfo{Address: "a:1", Command: []string{"freshet"}},
		Checks: []bench.ScaleCheck{
			bench.NewCheck(bench.ScaleCheck{Name: "create-partitions", Title: "create 10,000 partitions", Value: 3.2, Limit: 10, Unit: "s", Detail: "one request"}),
			bench.NewCheck(bench.ScaleCheck{Name: "controller-failover", Title: "controller failover", Value: 2500, Limit: 2000, Unit: "ms"}),
			bench.NewCheck(bench.ScaleCheck{Name: "produce-wide", Title: "wide to narrow", Value: 0, Limit: 0.7, Unit: "x", AtLeast: true}),
		}}
	put(t, dir, scaleFile, r)
	text := rendered(t, dir)
	wantWords(t, text, "3 Freshet brokers at scale", "3.2 s", "≤ 10 s", "2.5 s", "≥ 0.70×", "one request", `class="missed"`, `class="met"`)
	if strings.Contains(text, "All figures") {
		t.Error("the page has an empty table")
	}
}

func TestPageOfAComparisonOfClusters(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, compareFile, `{"repetitions":2,"cluster":3,
		"brokers":[{"name":"one","kind":"kafka","title":"3 × Apache Kafka 4.3.1, -Xmx1G"},{"name":"two","kind":"kafka","title":"3 × Apache Kafka 4.3.1, -Xmx2G"}],
		"rows":[{"name":"rf3-acks-all","title":"all","kind":"saturate","metrics":[{"name":"log_mb_per_second","brokers":{"one":{"median":90},"two":{"median":80}}}]}],
		"failovers":{"one":[{"signal":"kill","resumed_ms":310,"followed_gap_ms":12,"full_isr_ms":900},{"signal":"stop","led_gap_ms":7}],
			"two":[{"signal":"kill","resumed_ms":9300}]},
		"checks":[{"name":"failover","title":"until it resumes","value":310,"limit":1000,"unit":"ms","met":true}]}`)
	wantWords(t, rendered(t, dir), "one and two, clusters of 3", "When a broker ends", "310 ms", "9.3 s", "30×", "controlled shutdown", "until it resumes")
}

// A result of the OpenMessaging Benchmark is a file; its page stands beside it.
func TestPageOfOMB(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "steady-Kafka.json", `{"workload":"1 topic","driver":"Kafka","messageSize":1024,"topics":1,"publishRate":[1000.0,1100.0,900.0,1000.0],
		"aggregatedPublishLatency50pct":2.5,"aggregatedPublishLatency99pct":9.0,"aggregatedEndToEndLatency50pct":4.0,"aggregatedEndToEndLatency99pct":12.0,
		"aggregatedPublishLatencyQuantiles":{"0.0":1.0,"50.0":2.5,"90.0":5.0,"99.0":9.0,"99.9":11.0,"100.0":12.0},
		"aggregatedEndToEndLatencyQuantiles":{}}`)
	path, err := WriteFile("", filepath.Join(dir, "steady-Kafka.json"))
	if err != nil {
		t.Fatal(err)
	}
	if path != filepath.Join(dir, "steady-Kafka.html") {
		t.Errorf("the page is %s", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantWords(t, string(data), "OpenMessaging Benchmark", "1 k/s", "9 ms", "1024 bytes", "records a second over time")
	put(t, dir, "other.json", `{"something":1}`)
	if _, err := WriteFile("", filepath.Join(dir, "other.json")); err == nil || !strings.Contains(err.Error(), "no result of the OpenMessaging Benchmark") {
		t.Errorf("a file of another kind: %v", err)
	}
}
