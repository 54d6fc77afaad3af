package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv makes the test binary stand in for the freshet binary: as the
// broker it serves as a floor, or fails as the variable's value says.
const childEnv = "FRESHET_BENCH_TEST_CHILD"

func TestMain(m *testing.M) {
	if behaviour := os.Getenv(childEnv); behaviour != "" {
		os.Exit(standIn(behaviour, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// standIn is `start`, `bench floor` or `bench null`.
func standIn(behaviour string, args []string) int {
	opts := ServerOptions{OwnProcess: true}
	for i, arg := range args {
		if after, ok := strings.CutPrefix(arg, "listeners=PLAINTEXT://"); ok {
			opts.Addr = after
		}
		if after, ok := strings.CutPrefix(arg, "log.dirs="); ok {
			opts.DataDir = after
		}
		if arg == "--addr" {
			opts.Addr = args[i+1]
		}
		if arg == "--data-dir" {
			opts.DataDir = args[i+1]
		}
		opts.Null = opts.Null || arg == string(TargetNull)
	}
	if args[0] == "format" {
		fmt.Println("this directory does not want to be formatted")
		return 3
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if args[0] == "start" {
		switch behaviour {
		case "refuse":
			fmt.Println("this broker does not want to start")
			return 3
		case "die":
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
		}
	}
	if err := ServeRaw(ctx, opts); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// smallSuite are options for a suite of a second or two.
func smallSuite(t *testing.T, behaviour string) Options {
	t.Helper()
	t.Setenv(childEnv, behaviour)
	opts := DefaultOptions()
	opts.Modes = []Mode{ModeSaturate}
	opts.Rows = []string{"produce-16k", "round-trip"}
	opts.Repetitions = 2
	opts.Scale = 0.005
	var err error
	if opts.Executable, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	opts.TempDir, opts.OutDir = t.TempDir(), filepath.Join(t.TempDir(), "out")
	opts.Commit = "0123456789ab"
	return opts
}

func TestSuiteWritesItsResults(t *testing.T) {
	opts := smallSuite(t, "serve")
	var progress bytes.Buffer
	opts.Progress = &progress
	report, err := RunSuite(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Rows) != 2 {
		t.Fatalf("%d rows, want 2", len(report.Rows))
	}
	for _, row := range report.Rows {
		count := map[TargetName]int{}
		for _, run := range row.Runs {
			count[run.Target]++
			if run.Target != TargetNull && run.VerifiedRecords <= run.Records {
				t.Errorf("%s: %d of %d records and the warm-up's were verified", row.Name, run.VerifiedRecords, run.Records)
			}
			if run.CPU == nil || run.PeakRSSBytes == 0 {
				t.Errorf("%s: the %s was not measured: %+v", row.Name, run.Target, run)
			}
		}
		if count[TargetBroker] != 2 || count[TargetFloor] != 2 || count[TargetNull] != 1 {
			t.Errorf("%s ran %v times", row.Name, count)
		}
		if row.Ratio <= 0 || row.PairedRatios == nil {
			t.Errorf("%s has no ratio", row.Name)
		}
	}
	data, err := os.ReadFile(filepath.Join(opts.OutDir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || back.Environment.Commit != opts.Commit {
		t.Errorf("result.json: %v, commit %q", err, back.Environment.Commit)
	}
	for _, name := range []string{"table.txt", "benchstat.txt", "timeline.json", "round-trip.hlog", "round-trip.hgrm", "broker.log", "floor.log"} {
		if _, err := os.Stat(filepath.Join(opts.OutDir, name)); err != nil {
			t.Errorf("a result is missing: %v", err)
		}
	}
	if left, _ := os.ReadDir(opts.TempDir); len(left) > 0 {
		t.Errorf("data was left behind: %v", left)
	}
}

func TestSuiteSaysWhyTheBrokerDidNotStart(t *testing.T) {
	_, err := RunSuite(t.Context(), smallSuite(t, "refuse"))
	if err == nil || !strings.Contains(err.Error(), "this broker does not want to start") {
		t.Errorf("got %v", err)
	}
}

func TestSuiteFailsWhenTheBrokerDies(t *testing.T) {
	opts := smallSuite(t, "die")
	opts.Scale, opts.Floor, opts.Null = 50, false, false
	if _, err := RunSuite(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "the broker ended during the run") {
		t.Errorf("got %v", err)
	}
}

func TestSuiteCanBeInterrupted(t *testing.T) {
	opts := smallSuite(t, "serve")
	opts.Scale = 100
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	stop := time.AfterFunc(400*time.Millisecond, func() { cancel(why) })
	defer stop.Stop()
	if _, err := RunSuite(ctx, opts); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(opts.TempDir); len(left) > 0 {
		t.Errorf("data was left behind: %v", left)
	}
}

// The file that evens memory out never takes more than half of the machine's.
func TestEvenOutIsBounded(t *testing.T) {
	if got := evenOutBytes(100<<30, 24<<30); got != 12<<30 {
		t.Errorf("%d bytes", got)
	}
	if got := evenOutBytes(1<<30, 24<<30); got != 1<<30 {
		t.Errorf("%d bytes", got)
	}
	if got := evenOutBytes(1<<30, 0); got != 1<<30 {
		t.Errorf("without a known size: %d bytes", got)
	}
}
