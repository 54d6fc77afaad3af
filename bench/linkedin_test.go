package bench

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// smallLinkedIn are options for a cluster of fake brokers.
func smallLinkedIn(t *testing.T, brokers int) LinkedInOptions {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	opts := DefaultLinkedInOptions()
	opts.Repetitions = 1
	opts.Size = LinkedInSize{Records: 2_000, SweepBytes: 200_000, SweepRecords: 1_000, StoredBytes: 500_000, Messages: 10}
	opts.BootstrapServer = c.ListenAddrs()[0]
	opts.TempDir, opts.OutDir = t.TempDir(), filepath.Join(t.TempDir(), "out")
	return opts
}

func TestLinkedInOnThreeBrokers(t *testing.T) {
	opts := smallLinkedIn(t, 3)
	report, err := RunLinkedIn(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(report.Rows), len(LinkedInRows()); got != want {
		t.Fatalf("%d rows, want %d", got, want)
	}
	for _, row := range report.Rows {
		figures := row.Targets[TargetBroker]
		if figures.Skipped != "" || figures.RecordsPerSecond == nil || len(figures.Runs) != 1 {
			t.Errorf("%s has gaps: %+v", row.Row.Name, figures)
			continue
		}
		if run := figures.Runs[0]; run.VerifiedRecords < run.Records {
			t.Errorf("%s: %d records, %d verified", row.Row.Name, run.Records, run.VerifiedRecords)
		}
		if (row.Row.Kind == ClientEndToEnd) != (figures.Latency != nil) || (row.Row.Kind == ClientStored) != (len(figures.Points) > 0) {
			t.Errorf("%s: latency %v, %d points", row.Row.Name, figures.Latency, len(figures.Points))
		}
	}
	// The result stands in for Kafka's in a later run.
	again := smallLinkedIn(t, 1)
	again.Rows = []string{"producer", "producer-3x-sync", "end-to-end"}
	again.KafkaResult = filepath.Join(report.OutDir, "linkedin.json")
	report, err = RunLinkedIn(t.Context(), again)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"skipped against the broker: one producer, 3× sync: needs 3 brokers; the cluster has 1",
		"821,557", "Kafka rec/s", "figures of an earlier run", "14.0"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestLinkedInBesideKafka(t *testing.T) {
	opts := smallLinkedIn(t, 1)
	opts.KafkaBootstrapServer = smallLinkedIn(t, 1).BootstrapServer
	opts.Rows = []string{"consumer"}
	report, err := RunLinkedIn(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	row := report.Rows[0]
	if row.figuresOf(TargetKafka).RecordsPerSecond == nil || row.figuresOf(TargetBroker).RecordsPerSecond == nil {
		t.Errorf("a broker was not measured: %+v", row.Targets)
	}
}

func TestLinkedInAmounts(t *testing.T) {
	full, small := FullLinkedInSize(), DefaultLinkedInSize()
	for _, row := range LinkedInRows() {
		if got := full.records(row); got != row.Records {
			t.Errorf("%s in full: %d records, want LinkedIn's %d", row.Name, got, row.Records)
		}
		if got := small.records(row); got < 1 || got > row.Records {
			t.Errorf("%s by default: %d records of %d", row.Name, got, row.Records)
		}
	}
	for _, spoil := range []func(*LinkedInOptions){
		func(o *LinkedInOptions) { o.Repetitions = 0 },
		func(o *LinkedInOptions) { o.Size.StoredBytes = 0 },
		func(o *LinkedInOptions) { o.KafkaBootstrapServer, o.KafkaResult = "a:1", "b" },
		func(o *LinkedInOptions) { o.Rows = []string{"nothing"} },
	} {
		opts := DefaultLinkedInOptions()
		spoil(&opts)
		if opts.Validate() == nil {
			t.Errorf("accepted: %+v", opts)
		}
	}
}

func TestThroughputOverVolume(t *testing.T) {
	const mb = bytesPerMB
	samples := []volumeSample{{0, 0}, {1, 10 * mb}, {2, 30 * mb}, {3, 30 * mb}, {4, 40 * mb}}
	points := throughputOverVolume(samples, 4)
	var written int64
	for _, p := range points {
		if p.WrittenBytes <= written || p.MBPerSecond <= 0 {
			t.Errorf("points %+v are not in order", points)
		}
		written = p.WrittenBytes
	}
	if written != 40*mb || points[0].MBPerSecond != 10 || points[1].MBPerSecond != 20 {
		t.Errorf("points %+v", points)
	}
	// The standstill from 2 s to 3 s is part of the last stretch.
	if last := points[len(points)-1]; last.MBPerSecond != 5 {
		t.Errorf("the last stretch has %v MB/s, want 5", last.MBPerSecond)
	}
	if throughputOverVolume(samples[:1], 4) != nil || sparkline(nil) != "" {
		t.Error("points out of nothing")
	}
	if line := sparkline(points); len([]rune(line)) != len(points) || !strings.Contains(line, "█") {
		t.Errorf("line %q for %+v", line, points)
	}
}

func TestReadLinkedInReport(t *testing.T) {
	if _, err := ReadLinkedInReport(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("a missing file is accepted")
	}
	if _, err := ReadLinkedInReport("testdata"); err == nil {
		t.Error("a directory is accepted")
	}
}
