package bench

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallScale are options of a run against a stand-in broker, which keeps no
// segment files: the cold check is left out.
func smallScale(t *testing.T) ScaleOptions {
	t.Helper()
	t.Setenv(childEnv, "serve")
	opts := DefaultScaleOptions()
	opts.Partitions, opts.Connections, opts.Repetitions = 60, 50, 2
	opts.Checks = []string{CheckIdleConnections, CheckCreate, CheckWideProduce, CheckRSS}
	var err error
	if opts.Executable, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	opts.TempDir, opts.OutDir = t.TempDir(), filepath.Join(t.TempDir(), "out")
	return opts
}

func TestScaleAgainstAStandIn(t *testing.T) {
	opts := smallScale(t)
	report, err := RunScale(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range report.Checks {
		names = append(names, c.Name)
		if c.Detail == "" || c.Title == "" || c.Limit == 0 {
			t.Errorf("the check has gaps: %+v", c)
		}
	}
	if got, want := strings.Join(names, " "), strings.Join(opts.Checks[:1], " ")+" "+strings.Join(opts.Checks[1:], " "); got != want {
		t.Errorf("checks %s, want %s", got, want)
	}
	for _, name := range []string{"scale.json", "scale.txt", "broker.log"} {
		if _, err := os.Stat(filepath.Join(report.OutDir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestScaleJudges(t *testing.T) {
	s := &scaleRun{report: &ScaleReport{OutDir: "out"}}
	s.add(ScaleCheck{Name: CheckCreate, Title: "create", Value: 5, Limit: 5, Unit: "s"})
	s.add(ScaleCheck{Name: CheckRSS, Title: "memory", Value: 301, Limit: 300, Unit: "MB"})
	s.add(ScaleCheck{Name: CheckWideProduce, Title: "wide", Value: 0.69, Limit: 0.7, Unit: "x", AtLeast: true})
	if s.report.Missed() != 2 {
		t.Errorf("%d missed, want 2: %+v", s.report.Missed(), s.report.Checks)
	}
	var b bytes.Buffer
	if err := s.report.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5.00 s  ≤ 5.00 s     met", "301 MB  ≤ 300 MB  missed", "0.69×   ≥ 0.70×  missed", "1 of 3 targets met"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestScaleOptionsAreChecked(t *testing.T) {
	for _, spoil := range []func(*ScaleOptions){
		func(o *ScaleOptions) { o.Partitions = 1 },
		func(o *ScaleOptions) { o.Connections = 0 },
		func(o *ScaleOptions) { o.Repetitions = 0 },
		func(o *ScaleOptions) { o.Seconds = 0 },
		func(o *ScaleOptions) { o.ColdBytes = 1 },
		func(o *ScaleOptions) { o.ColdMBPerSecond = -1 },
		func(o *ScaleOptions) { o.Checks = []string{"nothing"} },
	} {
		opts := DefaultScaleOptions()
		spoil(&opts)
		if opts.Validate() == nil {
			t.Errorf("accepted: %+v", opts)
		}
	}
}

func TestParseIOBytes(t *testing.T) {
	n, err := parseIOBytes("rchar: 1\nread_bytes: 4096\nwrite_bytes: 7\n", "read_bytes:")
	if err != nil || n != 4096 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := parseIOBytes("rchar: 1\n", "read_bytes:"); err == nil {
		t.Error("a file without read_bytes is accepted")
	}
}

// TestOpenLoopOverRawConnections checks count, order and offsets of paced
// requests; what they take is not asserted.
func TestOpenLoopOverRawConnections(t *testing.T) {
	srv := fakeBroker(t)
	a, err := newAdmin(t.Context(), srv, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	s := &scaleRun{opts: DefaultScaleOptions(), target: srv, admin: a, batch: BuildBatch(100, 2048, 0, time.Now().UnixMilli())}
	if _, err := s.createTimed(t.Context(), "hot", 2); err != nil {
		t.Fatal(err)
	}
	streams, err := s.openStreams(t.Context(), "hot", 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer closeProduceStreams(streams)
	var total int64
	for range 2 {
		recorder, err := runHot(streams, 0.1)
		if err != nil {
			t.Fatal(err)
		}
		total += recorder.Count()
	}
	if want := int64(2 * 2 * hotRequestsPerSec / 10); total != want {
		t.Errorf("%d latencies, want %d", total, want)
	}
	if err := s.checkEnds(t.Context(), "hot", total); err != nil {
		t.Error(err)
	}
	if err := s.checkEnds(t.Context(), "hot", total+1); err == nil {
		t.Error("a lost batch was not noticed")
	}
}
