package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/perf/benchfmt"

	"freshet/bench"
)

// childEnv makes the test binary stand in for the freshet binary: as the broker
// it serves as a floor, or does what the variable says.
const childEnv = "FRESHET_COMPARE_TEST_CHILD"

func TestMain(m *testing.M) {
	if behaviour := os.Getenv(childEnv); behaviour != "" {
		os.Exit(standIn(behaviour, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// standIn is `freshet start`.
func standIn(behaviour string, args []string) int {
	opts := bench.ServerOptions{OwnProcess: true}
	for _, arg := range args {
		if after, ok := strings.CutPrefix(arg, "listeners=PLAINTEXT://"); ok {
			opts.Addr = after
		}
		if after, ok := strings.CutPrefix(arg, "log.dirs="); ok {
			opts.DataDir = after
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch behaviour {
	case "refuse":
		fmt.Println("this broker does not want to start")
		return 3
	case "die":
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
	}
	if err := bench.ServeRaw(ctx, opts); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// smallComparison are options for two stand-ins and a second or two. The floor
// does not describe its settings, so they are compared by force.
func smallComparison(t *testing.T, behaviour string) Options {
	t.Helper()
	t.Setenv(childEnv, behaviour)
	o := Defaults()
	o.Brokers = []BrokerSpec{{Name: "one", Kind: KindFreshet}, {Name: "two", Kind: KindFreshet}}
	o.Rows = []string{"produce-16k", "ack-10mb"}
	o.Repetitions, o.Warmup, o.WarmupScale, o.Starts = 2, 1, 0.001, 0
	o.Scale, o.OpenLoopSeconds, o.Force = 0.005, 0.2, true
	var err error
	if o.Executable, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	o.TempDir, o.OutDir, o.CacheDir = t.TempDir(), filepath.Join(t.TempDir(), "out"), t.TempDir()
	o.Commit, o.idleTime = "0123456789ab", time.Millisecond
	return o
}

func TestCompareWritesItsResults(t *testing.T) {
	opts := smallComparison(t, "serve")
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 2 || report.Repetitions != 2 || len(report.Unequal) == 0 {
		t.Fatalf("%d rows, %d repetitions, unequal: %v", len(report.Rows), report.Repetitions, report.Unequal)
	}
	for _, row := range report.Rows {
		positions := make(map[string]int)
		for _, run := range row.Runs {
			positions[run.Broker] += run.Position
			if run.VerifiedRecords <= run.Records || run.CPU == nil || run.PeakRSSBytes == 0 {
				t.Errorf("%s: a run has gaps: %+v", row.Name, run)
			}
		}
		if positions["one"] != 3 || positions["two"] != 3 {
			t.Errorf("%s: the order did not alternate: %v", row.Name, positions)
		}
		for _, name := range []string{"records_per_second", "cpu_seconds_per_gb", "peak_rss_bytes"} {
			if m := row.metric(name); m == nil || len(m.Brokers) != 2 {
				t.Errorf("%s has no %s of both", row.Name, name)
			}
		}
	}
	if m := report.Rows[0].metric("latency_p99_us"); m == nil || len(m.Ratios) != 1 {
		t.Error("no latency at saturation")
	}
	if m := report.Rows[1].metric("ack_p99_us"); m == nil || report.Rows[1].AckLatency["two"] == nil {
		t.Error("no latency of the open loop")
	}
	checkOutputs(t, opts, report)
}

// checkOutputs reads back what a comparison wrote.
func checkOutputs(t *testing.T, opts Options, report *Report) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(opts.OutDir, "compare.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || back.Environment.Commit != opts.Commit || len(back.Rows) != len(report.Rows) {
		t.Errorf("compare.json: %v, commit %q", err, back.Environment.Commit)
	}
	for _, name := range []string{"compare.txt", "benchstat.txt", "produce-16k.hlog", "ack-10mb-ack.hlog", "one-1.log", "two-1.log"} {
		if _, err := os.Stat(filepath.Join(opts.OutDir, name)); err != nil {
			t.Errorf("a result is missing: %v", err)
		}
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil || !strings.Contains(table.String(), "NOT EQUAL") {
		t.Errorf("the table does not say that the pair is unequal: %v\n%s", err, table.String())
	}
	if left, _ := os.ReadDir(opts.TempDir); len(left) > 0 {
		t.Errorf("data was left behind: %v", left)
	}
	var lines bytes.Buffer
	if err := report.WriteBenchstat(&lines); err != nil {
		t.Fatal(err)
	}
	reader, results := benchfmt.NewReader(&lines, "lines"), 0
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(rec)
		case *benchfmt.Result:
			results++
			if _, ok := rec.Value("records/s"); !ok && !strings.Contains(string(rec.Name), "process") {
				t.Errorf("%s has no records/s", rec.Name)
			}
		}
	}
	if results < 8 {
		t.Errorf("%d lines for benchstat", results)
	}
}

func TestUnequalPairsAreRefused(t *testing.T) {
	opts := smallComparison(t, "serve")
	opts.Force = false
	_, err := Run(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "flush.messages: one and two does not tell") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("got %v", err)
	}
}

func TestStartFailuresAreExplained(t *testing.T) {
	_, err := Run(t.Context(), smallComparison(t, "refuse"))
	if err == nil || !strings.Contains(err.Error(), "this broker does not want to start") {
		t.Errorf("got %v", err)
	}
}

func TestBrokerThatDiesEndsTheComparison(t *testing.T) {
	opts := smallComparison(t, "die")
	opts.Scale = 50
	if _, err := Run(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "ended during the comparison") {
		t.Errorf("got %v", err)
	}
}

func TestCompareCanBeInterrupted(t *testing.T) {
	opts := smallComparison(t, "serve")
	opts.Scale = 100
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	stop := time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
	defer stop.Stop()
	if _, err := Run(ctx, opts); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

// fakeBroker is franz-go's in-memory broker, which tells the flush settings it
// is given.
func fakeBroker(t *testing.T, flushMessages string) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.ControlKey(int16(kmsg.DescribeConfigs), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, r := range req.(*kmsg.DescribeConfigsRequest).Resources {
			out := kmsg.NewDescribeConfigsResponseResource()
			out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
			for name, value := range map[string]string{"flush.messages": flushMessages, "flush.ms": never, "min.insync.replicas": "1"} {
				config := kmsg.NewDescribeConfigsResponseResourceConfig()
				config.Name, config.Value = name, kmsg.StringPtr(value)
				out.Configs = append(out.Configs, config)
			}
			resp.Resources = append(resp.Resources, out)
		}
		return resp, nil, true
	})
	return c.ListenAddrs()[0]
}

func outsideComparison(t *testing.T, a, b string) Options {
	t.Helper()
	opts := smallComparison(t, "serve")
	opts.Brokers = []BrokerSpec{{Name: "a", Kind: KindOutside, Addr: a}, {Name: "b", Kind: KindOutside, Addr: b}}
	opts.Rows = []string{"produce-16k", "producer-1", "end-to-end"}
	opts.Client.Records, opts.Client.EndToEndMessages = 2_000, 10
	opts.Force, opts.Warmup = false, 0
	return opts
}

func TestOutsideBrokersThatPromiseTheSame(t *testing.T) {
	opts := outsideComparison(t, fakeBroker(t, "1"), fakeBroker(t, "1"))
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := report.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(table.String(), "an ack meant, on all sides: acks=1: fsynced by the leader") {
		t.Errorf("got\n%s", table.String())
	}
	if len(report.Rows) != 3 || report.Rows[0].metric("cpu_seconds_per_gb") != nil {
		t.Errorf("%d rows; CPU time of unknown processes", len(report.Rows))
	}
}

func TestOutsideBrokersThatPromiseDifferently(t *testing.T) {
	opts := outsideComparison(t, fakeBroker(t, "1"), fakeBroker(t, never))
	_, err := Run(t.Context(), opts)
	if err == nil || !strings.Contains(err.Error(), "flush.messages: a has 1, b has unset") {
		t.Errorf("got %v", err)
	}
}

func TestTimeLimitIsKept(t *testing.T) {
	opts := smallComparison(t, "serve")
	opts.Rows = []string{"produce-16k"}
	opts.Repetitions, opts.TimeLimit = 50, time.Nanosecond
	report, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if report.Repetitions != 1 || len(report.Notes) == 0 || !strings.Contains(report.Notes[0], "1 of 50 repetitions fitted") {
		t.Errorf("%d repetitions, notes %v", report.Repetitions, report.Notes)
	}
	for _, m := range report.Rows[0].Metrics {
		for _, e := range m.Brokers {
			if math.IsNaN(e.Median) || e.Confidence != 0 {
				t.Errorf("%s: %+v", m.Name, *e)
			}
		}
	}
}
