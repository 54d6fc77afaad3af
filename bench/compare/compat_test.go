//go:build compat

package compare

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"freshet/bench/kafkadist"
)

// freshetBinary is the built broker: FRESHET_BIN, or bin/freshet.
func freshetBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("FRESHET_BIN")
	if path == "" {
		path = filepath.Join("..", "..", "bin", "freshet")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("there is no binary at %s: run 'make build', or set FRESHET_BIN", path)
	}
	return path
}

// A small comparison with the real rival, driven by both clients. It needs Java
// and Maven, which the tag asks for:
//
//	make build && go test -tags compat ./bench/compare
func TestAgainstApacheKafka(t *testing.T) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	o := Defaults()
	o.Quick()
	o.Clients = []Client{ClientFreshet, ClientJava}
	o.Executable, o.CacheDir = freshetBinary(t), filepath.Join(cache, "freshet", "kafka-"+kafkadist.Version)
	o.TempDir, o.OutDir = t.TempDir(), filepath.Join(t.TempDir(), "out")
	o.Rows = []string{"produce-64k", "ack-5mb", "producer-1", "end-to-end", "java-producer", "java-consumer", "java-end-to-end"}
	o.RatesMB, o.OpenLoopSeconds = []int{5}, 0.5
	o.Repetitions, o.Warmup, o.WarmupScale, o.Starts, o.Scale = 1, 0, 0.05, 1, 0.02
	o.Client.Records, o.Client.EndToEndMessages, o.JavaRecords, o.JavaMessages = 20_000, 100, 20_000, 100
	report, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + table.String())
	if len(report.Rows) != len(o.Rows) || len(report.Unequal) != 0 {
		t.Errorf("%d rows, unequal: %v", len(report.Rows), report.Unequal)
	}
	if b := report.Brokers[1]; !strings.Contains(b.Title, "Apache Kafka "+kafkadist.Version) || b.Ack.FlushMessages != unset {
		t.Errorf("the rival is %+v", b)
	}
	for _, row := range report.Rows {
		if m := row.metric("records_per_second"); m == nil || len(m.Ratios) != 1 {
			t.Errorf("%s has no ratio", row.Name)
		}
		if m := row.metric("cpu_seconds_per_gb"); m == nil || len(m.Brokers) != 2 {
			t.Errorf("%s has no CPU time of both", row.Name)
		}
	}
	for _, name := range []string{"start_port_ms", "start_ack_ms", "idle_rss_bytes", "idle_cpu_percent"} {
		if m := metricOf(report.Process, name); m == nil || len(m.Brokers) != 2 {
			t.Errorf("%s was not measured on both sides", name)
		}
	}
}

// Brokers that fsync and brokers that do not are no pair, as real brokers tell
// it themselves.
func TestRealBrokersThatPromiseDifferently(t *testing.T) {
	o := Defaults()
	o.Executable = freshetBinary(t)
	o.Brokers = []BrokerSpec{{Name: "plain", Kind: KindFreshet}, {Name: "synced", Kind: KindFreshet}}
	o.BrokerOverrides = map[string][]string{"synced": {"log.flush.interval.messages=1"}}
	o.TempDir, o.OutDir, o.CacheDir = t.TempDir(), filepath.Join(t.TempDir(), "out"), t.TempDir()
	_, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "flush.messages: plain has unset, synced has 1") {
		t.Errorf("got %v", err)
	}
}
