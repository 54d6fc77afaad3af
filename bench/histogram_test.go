package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

func TestMergeIsNotAveraging(t *testing.T) {
	fast, slow := NewRecorder(), NewRecorder()
	for range 990 {
		fast.Record(100 * time.Microsecond)
	}
	for range 10 {
		slow.Record(50 * time.Millisecond)
	}
	merged := NewRecorder()
	merged.Merge(fast)
	merged.Merge(slow)
	got := merged.Summary()
	if got.Count != 1000 {
		t.Errorf("count %d, want 1000", got.Count)
	}
	near := func(name string, got, want float64) {
		if got < want*0.999 || got > want*1.001 {
			t.Errorf("%s is %.1f µs, want %.1f within three digits", name, got, want)
		}
	}
	near("p50", got.P50Us, 100)
	near("p99", got.P99Us, 100)
	near("p99.9", got.P999Us, 50_000)
	near("max", got.MaxUs, 50_000)
}

func TestNothingIsClamped(t *testing.T) {
	r := NewRecorder()
	r.Record(59 * time.Minute)
	if err := r.Err(); err != nil {
		t.Errorf("59 minutes: %v", err)
	}
	r.Record(2 * time.Hour)
	r.Record(-time.Nanosecond)
	other := NewRecorder()
	other.Merge(r)
	if other.Err() == nil || other.Count() != 1 {
		t.Errorf("two bad values: err %v, count %d; want an error and 1", other.Err(), other.Count())
	}
}

func TestHistogramLogReadsBack(t *testing.T) {
	r := NewRecorder()
	for i := range 1000 {
		r.Record(time.Duration(i+1) * time.Microsecond)
	}
	start := time.Unix(1_700_000_000, 0)
	var out bytes.Buffer
	err := WriteHistogramLog(&out, "row x", []NamedHistogram{{Tag: "broker-1", Start: start, End: start.Add(time.Second), Recorder: r}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Tag=broker-1,") {
		t.Error("the tag is missing")
	}
	back, err := hdr.NewHistogramLogReader(&out).NextIntervalHistogram()
	if err != nil {
		t.Fatal(err)
	}
	if back.TotalCount() != 1000 || back.ValueAtQuantile(50) != r.hist.ValueAtQuantile(50) {
		t.Errorf("read back %d values with median %d; wrote 1000 with %d",
			back.TotalCount(), back.ValueAtQuantile(50), r.hist.ValueAtQuantile(50))
	}
}

func TestPercentileFileHasPlottersColumns(t *testing.T) {
	r := NewRecorder()
	r.Record(time.Millisecond)
	var out bytes.Buffer
	if err := WritePercentiles(&out, r); err != nil {
		t.Fatal(err)
	}
	if head, _, _ := strings.Cut(out.String(), "\n"); strings.Join(strings.Fields(head), " ") != "Value Percentile TotalCount 1/(1-Percentile)" {
		t.Errorf("the columns are %q", head)
	}
}
