package omb

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseDriver(t *testing.T) {
	d, unknown, err := ParseDriver(read(t, "kafka.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(unknown, []string{"reset"}) {
		t.Errorf("unknown keys %q", unknown)
	}
	if d.Name != "Fake Kafka" || d.ReplicationFactor != 1 || d.Topic["retention.ms"] != "3600000" {
		t.Errorf("driver %+v", d)
	}
	want := map[string]string{"bootstrap.servers": "localhost:9092", "client.id": "omb", "request.timeout.ms": "20000",
		"acks": "all", "linger.ms": "1", "batch.size": "131072"}
	if got := d.clientProps(RoleProducer); !reflect.DeepEqual(got, want) {
		t.Errorf("producer %v", got)
	}
	if got := d.clientProps(RoleAdmin); len(got) != 3 {
		t.Errorf("admin %v", got)
	}
	for _, bad := range []string{"", "a: [", "name: x\ndriverClass: io.openmessaging.benchmark.driver.pulsar.PulsarBenchmarkDriver"} {
		if _, _, err := ParseDriver([]byte(bad)); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseWorkload(t *testing.T) {
	w, warnings, err := ParseWorkload(read(t, "steady.yaml"))
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %q", err, warnings)
	}
	if w.WarmupDurationMinutes != 1 || w.BacklogDrainRatio != 1 || w.KeyDistributor != keyRoundRobin || w.ProducerRate != 2000 {
		t.Errorf("workload %+v", w)
	}
	w, warnings, err = ParseWorkload(read(t, "search.yaml"))
	if err != nil || w.WarmupDurationMinutes != 0 || w.KeyDistributor != noKey {
		t.Errorf("%v, %+v", err, w)
	}
	if want := []string{"unknown key colour", `unknown keyDistributor "SOME_OTHER", taken as NO_KEY`}; !slices.Equal(warnings, want) {
		t.Errorf("warnings %q", warnings)
	}
	steady := string(read(t, "steady.yaml"))
	for _, change := range []string{"topics: 0", "partitionsPerTopic: 0", "messageSize: -1", "producersPerTopic: 0", "producerRate: -1",
		"randomBytesRatio: 2", "useRandomizedPayloads: false", "testDurationMinutes: -1", "topics: many",
		"consumerBacklogSizeGB: 1\nproducerRate: 0", "backlogDrainRatio: 1.5", "subscriptionsPerTopic: -1"} {
		if _, _, err := ParseWorkload([]byte(override(steady, change))); err == nil {
			t.Errorf("accepted %q", change)
		}
	}
}

// override puts other lines in the place of a file's own.
func override(file, lines string) string {
	for line := range strings.SplitSeq(lines, "\n") {
		key, _, _ := strings.Cut(line, ":")
		var kept []string
		for have := range strings.SplitSeq(file, "\n") {
			if !strings.HasPrefix(have, key+":") {
				kept = append(kept, have)
			}
		}
		file = strings.Join(append(kept, line), "\n")
	}
	return file
}

func TestPayloads(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	w := Workload{MessageSize: 100, UseRandomizedPayloads: true, RandomBytesRatio: 0.25, RandomizedPayloadPoolSize: 3}
	pool, err := w.payloads(random)
	if err != nil || len(pool) != 3 || len(pool[0]) != 100 || bytes.Equal(pool[0], pool[1]) {
		t.Fatalf("%v, %d payloads", err, len(pool))
	}
	if !bytes.Equal(pool[2][25:], make([]byte, 75)) || bytes.Equal(pool[2][:25], make([]byte, 25)) {
		t.Errorf("payload %x", pool[2])
	}
	w = Workload{MessageSize: 64, PayloadFile: "testdata/payload-64b.data"}
	if pool, err := w.payloads(random); err != nil || len(pool) != 1 {
		t.Errorf("%v, %d payloads", err, len(pool))
	}
	w.MessageSize = 65
	if _, err := w.payloads(random); err == nil {
		t.Error("a payload of another length is accepted")
	}
}

// TestRateController holds the controller against figures worked out by hand
// from the benchmark's rule.
func TestRateController(t *testing.T) {
	c := newRateController()
	const period = time.Second
	if got := c.next(10_000, period, 10_000, 10_000); got != 20_000 {
		t.Errorf("all well: %v, want the double", got)
	}
	// 5,000 wait for the consumers: at most what they got, and no more than the
	// expected less the backlog.
	if got := c.next(20_000, period, 30_000, 25_000); got != 15_000 {
		t.Errorf("receive backlog: %v", got)
	}
	if c.rampingFactor != 0.5 {
		t.Errorf("ramping factor %v", c.rampingFactor)
	}
	// The producers fall behind by 3,000.
	if got := c.next(15_000, period, 42_000, 42_000); got != 12_000 {
		t.Errorf("publish backlog: %v", got)
	}
	// Well again: the factor of 0.25 is doubled before it is used.
	if got := c.next(12_000, period, 54_000, 54_000); got != 18_000 {
		t.Errorf("well again: %v", got)
	}
	for range 20 {
		c.next(1_000, period, c.published, c.published-2_000)
	}
	if c.rampingFactor != minRampingFactor {
		t.Errorf("ramping factor %v, want the smallest", c.rampingFactor)
	}
}

func TestPacer(t *testing.T) {
	start := time.Unix(100, 0)
	p := newPacer(start, 4)
	for i := range 5 {
		if got, want := p.due(), start.Add(time.Duration(i)*250*time.Millisecond); !got.Equal(want) {
			t.Errorf("message %d is due at %v, want %v", i, got, want)
		}
	}
	if newPacer(start, 0).intervalNs != 1e9 {
		t.Error("a rate of 0 is not one a second")
	}
}

func TestKeys(t *testing.T) {
	keys := newKeys(rand.NewChaCha8([32]byte{2}))
	if len(keys) != uniqueKeys || len(keys[0]) != 10 || bytes.Equal(keys[0], keys[1]) {
		t.Errorf("%d keys, the first %q", len(keys), keys[0])
	}
	if newKeyChooser(noKey, keys, nil)() != nil {
		t.Error("NO_KEY gives a key")
	}
	next := newKeyChooser(keyRoundRobin, keys, nil)
	for i := range uniqueKeys + 2 {
		if got := next(); !bytes.Equal(got, keys[(i+1)%uniqueKeys]) {
			t.Fatalf("key %d is %q", i, got)
		}
	}
	if got := newKeyChooser(randomNano, keys, func() int64 { return uniqueKeys + 7 })(); !bytes.Equal(got, keys[7]) {
		t.Errorf("key %q", got)
	}
}

// TestResultNames holds the JSON's names and their order against the list of
// the benchmark's own.
func TestResultNames(t *testing.T) {
	r := newResult(&Workload{Name: "w", MessageSize: 5}, "d")
	s := newStats()
	now := time.Unix(1, 0)
	s.acknowledged(5, now, now.Add(time.Millisecond), now.Add(3*time.Millisecond))
	s.arrived(5, 4*time.Millisecond)
	s.arrived(5, 0)
	all := s.takeCumulative()
	r.addPeriod(s.takePeriod(), 2, 1)
	r.aggregate(all)
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var names []string
	dec := json.NewDecoder(&b)
	for depth := 0; ; {
		token, err := dec.Token()
		if err != nil {
			break
		}
		switch v := token.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
			} else {
				depth--
			}
		case string:
			if depth == 1 && v != "w" && v != "d" {
				names = append(names, v)
			}
		}
	}
	if want := strings.Fields(string(read(t, "result-names.txt"))); !slices.Equal(names, want) {
		t.Errorf("names\n%q\nwant\n%q", names, want)
	}
	if r.PublishLatency99pct[0] < 1.99 || r.PublishLatency99pct[0] > 2.01 || r.PublishDelayLatencyMax[0] != 1000 ||
		r.ConsumeRate[0] != 1 || r.PublishRate[0] != 0.5 || r.AggregatedEndToEndLatencyMax < 3.99 {
		t.Errorf("figures %+v", r)
	}
	if text, _ := json.Marshal(quantiles[double]{{50, 2}, {100, 2.5}}); string(text) != `{"50.0":2.0,"100.0":2.5}` {
		t.Errorf("quantiles %s", text)
	}
}

// fakeOptions run a workload file against fake brokers.
func fakeOptions(t *testing.T, workload string) (Options, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	d, _, err := ParseDriver(read(t, "kafka.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w, _, err := ParseWorkload(read(t, workload))
	if err != nil {
		t.Fatal(err)
	}
	var out, warnings bytes.Buffer
	newClient := func(_ Role, props map[string]string, extra ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.ClientID(props["client.id"]),
			kgo.MetadataMinAge(10 * time.Millisecond)}, extra...)...)
	}
	return Options{Driver: d, Workload: w, NewClient: newClient, Warmup: 200 * time.Millisecond, Test: 600 * time.Millisecond,
		Period: 200 * time.Millisecond, Out: &out, Warnings: &warnings}, &out, &warnings
}

func TestRunSteady(t *testing.T) {
	opts, out, warnings := fakeOptions(t, "steady.yaml")
	result, counts, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatalf("%v\n%s", err, warnings)
	}
	if counts.Sent == 0 || counts.Failed != 0 || counts.Received != 2*counts.Sent {
		t.Errorf("%+v with two subscriptions", counts)
	}
	if n := len(result.PublishRate); n < 2 || len(result.EndToEndLatencyMax) != n || len(result.PublishDelayLatency50pct) != n {
		t.Errorf("%d periods", n)
	}
	if result.Driver != "Fake Kafka" || result.Partitions != 3 || len(result.AggregatedPublishLatencyQuantiles) == 0 {
		t.Errorf("result %+v", result)
	}
	for _, want := range []string{"Created 2 topics", "Created 8 consumers", "Created 4 producers", "Pub rate", "Aggregated Pub Latency"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	client, err := opts.NewClient(RoleAdmin, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics, err := kadm.NewClient(client).ListTopics(t.Context())
	if err != nil || len(topics.Names()) != 0 {
		t.Errorf("topics %v are left, %v", topics.Names(), err)
	}
}

func TestRunSearch(t *testing.T) {
	opts, _, warnings := fakeOptions(t, "search.yaml")
	_, counts, err := Run(t.Context(), opts)
	if err != nil || counts.Sent == 0 || counts.Received != counts.Sent {
		t.Errorf("%v, %+v\n%s", err, counts, warnings)
	}
}

func TestGate(t *testing.T) {
	g := newGate()
	g.pass(t.Context()) // open from the start
	g.shut()
	passed := make(chan struct{})
	go func() {
		g.pass(t.Context())
		close(passed)
	}()
	select {
	case <-passed:
		t.Fatal("passed a shut gate")
	default:
	}
	g.reopen()
	<-passed
	g.reopen() // twice is fine
}
