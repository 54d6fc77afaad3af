package perf

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The line that scripts parse, with a clock of the test's own.
func TestProducerLines(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	s := newProducerStats(&out, func() time.Time { return now }, 4, 2*time.Second, false)
	for _, latencyMs := range []int64{1, 2, 3, 10} {
		now = now.Add(500 * time.Millisecond)
		s.record(latencyMs, 1<<20, now)
	}
	s.printTotal()
	want := "4 records sent, 2.0 records/sec (2.00 MB/sec), 4.0 ms avg latency, 10.0 ms max latency.\n" +
		"4 records sent, 2.000000 records/sec (2.00 MB/sec), 4.00 ms avg latency, 10.00 ms max latency, 3 ms 50th, 10 ms 95th, 10 ms 99th, 10 ms 99.9th.\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestSteadyStateLines(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	s := newProducerStats(&out, func() time.Time { return now }, 1, time.Second, true)
	now = now.Add(time.Second)
	s.record(5, 100, now)
	s.printTotal()
	if !strings.HasPrefix(out.String(), "In steady state.\n1 records sent, ") ||
		!strings.Contains(out.String(), "\n1 steady state records sent, ") {
		t.Errorf("got\n%s", out.String())
	}
}

// With 50 million records every 100th latency is kept, as Kafka's tool does.
func TestSampling(t *testing.T) {
	s := newProducerStats(nil, time.Now, 50_000_000, time.Hour, false)
	for i := range int64(1000) {
		s.record(i, 1, s.start)
	}
	if len(s.latencies) != 10 || s.latencies[1] != 100 {
		t.Errorf("kept %v", s.latencies)
	}
}

func TestConsumerLine(t *testing.T) {
	format, err := ParseDateFormat("yyyy-MM-dd HH:mm:ss:SSS")
	if err != nil {
		t.Fatal(err)
	}
	joining := NewJoinTimer()
	joining.total = 500 * time.Millisecond
	test := ConsumerTest{DateFormat: format, Joining: joining}
	start := time.Date(2026, 1, 2, 3, 4, 5, 67e6, time.UTC)
	var out bytes.Buffer
	test.PrintHeader(&out)
	test.printTotal(&out, start, start.Add(2500*time.Millisecond), consumed{records: 1000, bytes: 10 << 20})
	want := "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n" +
		"2026-01-02 03:04:05:067, 2026-01-02 03:04:07:567, 10.0000, 4.0000, 1000, 400.0000, 500, 2000, 5.0000, 500.0000\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestJoinTimerCountsOnlyWithoutPartitions(t *testing.T) {
	start := time.Now()
	j := NewJoinTimer()
	j.joinStart = start
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	j.onAssigned(map[string][]int32{"t": {0, 1}}, at(100))
	j.revoked(map[string][]int32{"t": {0}}, at(200))
	j.onAssigned(map[string][]int32{"t": {0}}, at(300)) // it still had one: no rebalance time
	j.revoked(map[string][]int32{"t": {0, 1}}, at(400))
	j.onAssigned(map[string][]int32{"t": {2}}, at(450))
	if got := j.totalMs(); got != 150 {
		t.Errorf("rebalance time %d ms, want 150", got)
	}
}

func TestThrottler(t *testing.T) {
	start := time.Unix(0, 0)
	limit := &throttler{perSecond: 1000, start: start}
	if limit.ahead(1000, start.Add(1100*time.Millisecond)) || !limit.ahead(1000, start.Add(900*time.Millisecond)) {
		t.Error("1000 records are ahead of 1000/s before one second and not after")
	}
	if p := limit.pause(); p != 0 {
		t.Errorf("a deficit of 1 ms sleeps %s; it is to be saved up", p)
	}
	if p := limit.pause(); p != 2*time.Millisecond {
		t.Errorf("a deficit of 2 ms sleeps %s", p)
	}
	if unlimited := (&throttler{perSecond: -1}); unlimited.ahead(1e9, start) {
		t.Error("-1 throttles")
	}
	if stopped := (&throttler{}); stopped.pause() >= 0 {
		t.Error("a rate of 0 does not wait")
	}
}

func TestJavaFixed(t *testing.T) {
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{
		{1.005, 2, "1.01"}, {0.125, 2, "0.13"}, {2.5, 0, "3"}, {-0.125, 2, "-0.13"}, {1234.5678, 4, "1234.5678"},
		{math.NaN(), 2, "NaN"}, {math.Inf(1), 2, "Infinity"},
	} {
		if got := javaFixed(c.v, c.digits); got != c.want {
			t.Errorf("%v with %d digits: %s, want %s", c.v, c.digits, got, c.want)
		}
	}
}

func TestJavaDouble(t *testing.T) {
	for v, want := range map[float64]string{1: "1.0", 0.486591: "0.486591", 0.0001: "1.0E-4", 12345678: "1.2345678E7", 0: "0.0"} {
		if got := javaDouble(v); got != want {
			t.Errorf("%v prints %s, want %s", v, got, want)
		}
	}
}

func TestDateFormat(t *testing.T) {
	at := time.Date(2026, 3, 4, 15, 6, 7, 89e6, time.FixedZone("", 2*3600))
	for pattern, want := range map[string]string{
		"yyyy-MM-dd HH:mm:ss:SSS": "2026-03-04 15:06:07:089",
		"yy/M/d h:mm a":           "26/3/4 3:06 PM",
		"EEE, MMM d ''yy":         "Wed, Mar 4 '26",
		"EEEE 'at' k 'o''clock' " + strings.Repeat("X", 3): "Wednesday at 15 o'clock +02:00",
		"D u Z": "63 3 +0200",
	} {
		f, err := ParseDateFormat(pattern)
		if err != nil {
			t.Errorf("%q: %v", pattern, err)
		} else if got := f.Format(at); got != want {
			t.Errorf("%q prints %q, want %q", pattern, got, want)
		}
	}
	for _, bad := range []string{"b", "'open", "w"} {
		if _, err := ParseDateFormat(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestReadPayloads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "payloads")
	if err := os.WriteFile(path, []byte("one\ntwo\n\nfour\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	got, err := ReadPayloads(&out, path, "\n")
	if err != nil || len(got) != 4 || string(got[3]) != "four" || len(got[2]) != 0 {
		t.Errorf("%q, %v", got, err)
	}
	if !strings.HasSuffix(out.String(), "Number of records read: 4\n") {
		t.Errorf("printed %q", out.String())
	}
	if _, err := ReadPayloads(&out, path+"-missing", "\n"); err == nil {
		t.Error("a missing file was read")
	}
}

// The three tools against a broker, one after the other.
func TestToolsAgainstAFakeBroker(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "perf"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.ListenAddrs()...))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	var out, errOut bytes.Buffer
	metrics := NewProducerMetrics("test")
	produce := ProducerTest{Topic: "perf", NumRecords: 2000, WarmupRecords: 100, RecordSize: 50, Throughput: -1,
		ReportingInterval: time.Hour, Metrics: metrics}
	if err := produce.Run(t.Context(), client(kgo.WithHooks(metrics)), &out, &errOut); err != nil || errOut.Len() > 0 {
		t.Fatalf("%v %s", err, errOut.String())
	}
	for _, line := range []string{`(?m)^2000 records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), `, `(?m)^1900 steady state records sent, `,
		`(?m)^producer-metrics:record-send-total:\{client-id=test\} +: 2000\.000$`} {
		if !regexp.MustCompile(line).MatchString(out.String()) {
			t.Errorf("no line matches %s in\n%s", line, out.String())
		}
	}
	out.Reset()
	format, _ := ParseDateFormat("HH")
	consume := ConsumerTest{NumRecords: 2000, Timeout: 10 * time.Second, ReportingInterval: time.Hour, DateFormat: format, Joining: NewJoinTimer()}
	cl := client(append(consume.Joining.Options(), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("perf"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err := consume.Run(t.Context(), cl, &out); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^\d\d, \d\d, 0\.0954, [\d.]+, 2000, [\d.]+, \d+, \d+, [\d.]+, [\d.]+\n$`).MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
	out.Reset()
	e2e := E2ETest{Topic: "e2e", NumRecords: 20, ValueSize: 10, KeySize: 4, NumHeaders: 2, HeaderKeySize: 3, HeaderValueSize: -1}
	start, err := e2e.EnsureTopic(t.Context(), cl, &out)
	if err != nil {
		t.Fatal(err)
	}
	reader := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"e2e": start}))
	if err := e2e.Run(t.Context(), client(kgo.ProducerLinger(0)), reader, &out); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^Topic "e2e" does not exist\. .*\n0\t[\d.]+\nAvg latency: [\d.]+ ms\nPercentiles: 50th = \d+, 99th = \d+, 99\.9th = \d+\n$`).MatchString(out.String()) {
		t.Errorf("got %q", out.String())
	}
}
