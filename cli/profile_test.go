package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// cpuProfileOf has one stack for each loop.
func cpuProfileOf(loops ...string) *profile.Profile {
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"}, Period: 10_000_000,
	}
	for i, loop := range loops {
		f := &profile.Function{ID: uint64(i + 1), Name: "freshet/broker.work" + loop}
		l := &profile.Location{ID: uint64(i + 1), Address: uint64(i + 1), Line: []profile.Line{{Function: f}}}
		p.Function, p.Location = append(p.Function, f), append(p.Location, l)
		p.Sample = append(p.Sample, &profile.Sample{Location: []*profile.Location{l}, Value: []int64{1, 10_000_000},
			Label: map[string][]string{"loop": {loop}}})
	}
	return p
}

// runProfile runs the command and returns what it printed and its error.
func runProfile(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := newProfileCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestProfileOfALiveBroker(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /debug/pprof/cpu/start", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /debug/pprof/cpu/stop", func(w http.ResponseWriter, _ *http.Request) {
		_ = cpuProfileOf("0", "1", "log-flush").Write(w)
	})
	mux.HandleFunc("GET /debug/pprof/goroutine", func(w http.ResponseWriter, _ *http.Request) {
		_ = pprof.Lookup("goroutine").WriteTo(w, 0)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	dir := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		out, err := runProfile(t, append([]string{"--url", srv.URL, "--seconds", "0.001", "-o", dir}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	out := run()
	for _, text := range []string{"freshet/broker.work0", "loop=log-flush", "33.3", filepath.Join(dir, "cpu.svg"), filepath.Join(dir, "cpu.pprof")} {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
	if out := run("--label", "loop=1"); strings.Contains(out, "work0") || !strings.Contains(out, "work1") {
		t.Errorf("with a label:\n%s", out)
	}
	if out := run("--base", filepath.Join(dir, "cpu.pprof")); !strings.Contains(out, "BEFORE%") || !strings.Contains(out, "cpu-diff.svg") {
		t.Errorf("with a base:\n%s", out)
	}
	if out := run("--type", "goroutine"); !strings.Contains(out, "goroutine.svg") {
		t.Errorf("goroutines:\n%s", out)
	}
	for _, bad := range [][]string{{"--type", "x"}, {"--type", "perf"}, {"--seconds", "0"}, {"--label", "loop=9"}} {
		if _, err := runProfile(t, append([]string{"--url", srv.URL, "--seconds", "0.001", "-o", dir}, bad...)...); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

func TestProfileFilesAndMerge(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, loop := range []string{"0", "1"} {
		path := filepath.Join(dir, "loop"+loop+".pprof")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := cpuProfileOf(loop).Write(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	merged := filepath.Join(dir, "merged.pprof")
	out, err := runProfile(t, "merge", "-o", merged, paths[0], paths[1])
	if err != nil || !strings.Contains(out, "2 profiles merged") {
		t.Fatalf("%v: %s", err, out)
	}
	out, err = runProfile(t, merged)
	if err != nil || !strings.Contains(out, "work0") || !strings.Contains(out, "work1") || !strings.Contains(out, filepath.Join(dir, "merged.svg")) {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := runProfile(t, "merge", filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there was merged")
	}
}
