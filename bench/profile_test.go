package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/pprof/profile"
)

// fakeAdmin is an admin server as the broker's, on this process.
type fakeAdmin struct {
	*httptest.Server
	mu     sync.Mutex
	rates  samplingRates
	asked  []string
	answer func(kind string) *profile.Profile // of the growing kinds and cpu
}

func newFakeAdmin(t *testing.T) *fakeAdmin {
	a := &fakeAdmin{}
	calls := int64(0)
	a.answer = func(kind string) *profile.Profile {
		calls++
		return simpleProfile(kind, 10*calls)
	}
	mux := http.NewServeMux()
	handle := func(pattern string, f http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.asked = append(a.asked, r.Method+" "+strings.TrimPrefix(r.URL.RequestURI(), "/debug/pprof/"))
			f(w, r)
		})
	}
	handle("POST /debug/pprof/cpu/start", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "profiling") })
	handle("POST /debug/pprof/cpu/stop", func(w http.ResponseWriter, _ *http.Request) { _ = a.answer("cpu").Write(w) })
	handle("GET /debug/pprof/sampling", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(a.rates) })
	handle("POST /debug/pprof/sampling", func(w http.ResponseWriter, r *http.Request) {
		a.rates.MutexFraction, _ = strconv.Atoi(r.FormValue("mutex_fraction"))
		a.rates.BlockRateNs, _ = strconv.Atoi(r.FormValue("block_rate_ns"))
	})
	for _, kind := range []string{"heap", "goroutine"} {
		handle("GET /debug/pprof/"+kind, func(w http.ResponseWriter, _ *http.Request) { _ = pprof.Lookup(kind).WriteTo(w, 0) })
	}
	for _, kind := range growing {
		handle("GET /debug/pprof/"+string(kind), func(w http.ResponseWriter, _ *http.Request) { _ = a.answer(string(kind)).Write(w) })
	}
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	return a
}

// simpleProfile has one stack of a value for each of two loops.
func simpleProfile(kind string, value int64) *profile.Profile {
	valueType := map[string]string{"cpu": "cpu", "allocs": "alloc_space"}[kind]
	unit := map[string]string{"cpu": "nanoseconds", "allocs": "bytes"}[kind]
	if valueType == "" {
		valueType, unit = "delay", "nanoseconds"
	}
	f := &profile.Function{ID: 1, Name: "freshet/broker.(*loop).run"}
	m := &profile.Mapping{ID: 1, File: "/somewhere/else/freshet", HasFunctions: true}
	l := &profile.Location{ID: 1, Address: 1, Mapping: m, Line: []profile.Line{{Function: f}}}
	p := &profile.Profile{
		SampleType: []*profile.ValueType{{Type: valueType, Unit: unit}},
		PeriodType: &profile.ValueType{Type: valueType, Unit: unit}, Period: 1,
		Function: []*profile.Function{f}, Location: []*profile.Location{l}, Mapping: []*profile.Mapping{m},
	}
	for loop := range 2 {
		p.Sample = append(p.Sample, &profile.Sample{Location: []*profile.Location{l}, Value: []int64{value * int64(loop+1)},
			Label: map[string][]string{"loop": {strconv.Itoa(loop)}}})
	}
	return p
}

func total(p *profile.Profile) (sum int64) {
	for _, s := range p.Sample {
		sum += s.Value[0]
	}
	return sum
}

func TestTakeProfiles(t *testing.T) {
	a := newFakeAdmin(t)
	source, err := NewProfileSource(a.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	take := func(kind ProfileKind) *profile.Profile {
		t.Helper()
		a.asked = nil
		p, err := source.Take(t.Context(), kind, time.Millisecond)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		return p
	}
	if p := take(ProfileCPU); total(p) != 30 || p.Mapping[0].File != "freshet" {
		t.Errorf("cpu: %d from %s", total(p), p.Mapping[0].File)
	}
	if p := take(ProfileAllocs); total(p) != 30 {
		t.Errorf("allocs are %d, not what was added", total(p))
	}
	take(ProfileHeap)
	take(ProfileGoroutine)
	a.rates = samplingRates{MutexFraction: 7}
	take(ProfileMutex)
	want := []string{"GET sampling", fmt.Sprintf("POST sampling?mutex_fraction=%d&block_rate_ns=%d", mutexFraction, blockRateNs),
		"GET mutex", "GET mutex", "GET sampling", "POST sampling?mutex_fraction=7&block_rate_ns=0"}
	if strings.Join(a.asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked %q", a.asked)
	}
	if _, err := source.Take(t.Context(), ProfilePerf, 0); err == nil {
		t.Error("a broker gave a perf profile")
	}
	canceled, cancel := context.WithCancel(t.Context())
	a.asked = nil
	cancel()
	if _, err := source.Take(canceled, ProfileCPU, time.Hour); err == nil {
		t.Error("a profile was taken after its end")
	}
}

func TestProfilingIsNotInTheProfile(t *testing.T) {
	with := func(name string, value int64) *profile.Profile {
		p := simpleProfile("allocs", value)
		p.Function[0].Name = name
		return p
	}
	f := func(name string, want int64) {
		t.Helper()
		p, err := subtractProfile(with(name, 5), with(name, 3))
		if err != nil || total(p) != want {
			t.Errorf("%s: %d, %v", name, total(p), err)
		}
	}
	f("net/http.(*conn).serve", 0)
	f("runtime/pprof.profileWriter", 0)
	f("freshet/broker.(*loop).run", 6)
}

func TestProfileSourceRefuses(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1:9644", "ftp://host"} {
		if _, err := NewProfileSource(address); err == nil {
			t.Errorf("%q was accepted", address)
		}
	}
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	source, err := NewProfileSource(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Snapshot(t.Context(), ProfileHeap); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("another server's answer: %v", err)
	}
}

func TestFocusLabels(t *testing.T) {
	p := simpleProfile("cpu", 10)
	if shares := LabelShares(p, 0); len(shares) != 2 || shares[0].Label != "loop=1" || shares[0].Share < 0.66 {
		t.Errorf("shares %v", shares)
	}
	if err := FocusLabels(p, []string{"loop=7"}); err == nil || !strings.Contains(err.Error(), "the profile has: loop=0, loop=1") {
		t.Errorf("an unknown label gives %v", err)
	}
	if err := FocusLabels(p, []string{"loop"}); err == nil {
		t.Error("a label without a value was accepted")
	}
	p = simpleProfile("cpu", 10)
	if err := FocusLabels(p, []string{"loop=1"}); err != nil || total(p) != 20 {
		t.Errorf("loop=1: %d, %v", total(p), err)
	}
}

// profiledSuite runs the profiler over repetitions of a row that does nothing,
// and writes its profiles.
func profiledSuite(t *testing.T, a *fakeAdmin, dir, commit string, overrides ...string) string {
	t.Helper()
	kinds := []ProfileKind{ProfileCPU, ProfileHeap, ProfileAllocs, ProfileMutex, ProfileBlock, ProfileGoroutine}
	env := Environment{Commit: commit, Kernel: "6.18", Command: []string{"freshet", "bench"}}
	kept := NewProfiles(ProfileOptions{Kinds: kinds, Dir: dir}, env, "/data/run-1", time.Now())
	about := ProfileRun{Workload: "produce-64k", Title: "produce", BrokerCommand: []string{"freshet", "start", "--override", "log.dirs=/data/run-1/broker-1"}}
	for _, setting := range overrides {
		about.BrokerCommand = append(about.BrokerCommand, "--override", setting)
	}
	target := &target{name: TargetBroker, adminURLs: []string{a.URL}}
	if err := kept.attach(target); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		kept.next(target, about.Workload)
		m, err := startMeter(t.Context(), target, 0, func() int64 { return 0 })
		if err != nil {
			t.Fatal(err)
		}
		run, err := m.stop()
		if err != nil {
			t.Fatal(err)
		}
		run.Target, run.Records, run.LogBytes, run.Seconds = TargetBroker, 1000, 1e9, 0.5
		run.CPU = &CPUResult{TotalSeconds: 0.7}
		kept.Note(about, run)
	}
	written, err := kept.Write()
	if err != nil {
		t.Fatal(err)
	}
	if len(written) != 1 {
		t.Fatalf("wrote %q", written)
	}
	return written[0]
}

func TestProfilesOfASuite(t *testing.T) {
	a := newFakeAdmin(t)
	dir := t.TempDir()
	first := profiledSuite(t, a, filepath.Join(dir, "old"), "aaa")
	if err := os.Rename(filepath.Join(dir, "old"), filepath.Join(dir, "profiles")); err != nil {
		t.Fatal(err)
	}
	first = filepath.Join(dir, "profiles", filepath.Base(first))
	run, set, err := LoadProfiles(first)
	if err != nil {
		t.Fatal(err)
	}
	if run.Runs != 2 || run.LogBytes != 2e9 || run.Workload != "produce-64k" || a.rates.MutexFraction != 0 {
		t.Errorf("run %+v", run)
	}
	if set.PProf[ProfileCPU] == nil || set.PProf[ProfileGoroutine] == nil {
		t.Errorf("profiles %v", set.PProf)
	}
	second := profiledSuite(t, a, filepath.Join(dir, "profiles"), "bbb", "num.io.threads=4")
	notes, err := os.ReadFile(filepath.Join(second, profileNotesFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"commit: aaa → bbb", "setting num.io.threads: (none) → 4", "broker CPU: 0.700 → 0.700 s/GB",
		"`freshet bench`", "log.dirs=$DATA/broker-1", "2 runs, 1.00 s in all", "`loop=1` 66.7 %", "`cpu-diff.svg`"} {
		if !strings.Contains(string(notes), text) {
			t.Errorf("the notes do not say %q:\n%s", text, notes)
		}
	}
	for _, name := range []string{"cpu.svg", "cpu-diff.svg", "heap.svg", "goroutine-diff.svg", "allocs.pprof"} {
		if _, err := os.Stat(filepath.Join(second, name)); err != nil {
			t.Error(err)
		}
	}
	if got := PreviousProfiles(filepath.Join(dir, "profiles"), "fetch-1m"); got != "" {
		t.Errorf("another row's profiles: %s", got)
	}
	if got := PreviousProfiles(first, "anything"); got != first {
		t.Errorf("a directory of profiles gives %q", got)
	}
}

func TestProfileOptions(t *testing.T) {
	f := func(o ProfileOptions, outside bool, message string) {
		t.Helper()
		err := o.Validate(outside, RowNames())
		if message == "" && err == nil {
			return
		}
		if err == nil || message == "" || !strings.Contains(err.Error(), message) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	cpu := []ProfileKind{ProfileCPU}
	f(ProfileOptions{}, true, "")
	f(ProfileOptions{Kinds: cpu}, false, "")
	f(ProfileOptions{Kinds: cpu}, true, "--profile-url")
	f(ProfileOptions{Kinds: cpu, URL: "http://h:1"}, true, "")
	f(ProfileOptions{Kinds: cpu, URL: "http://h:1"}, false, "--bootstrap-server")
	f(ProfileOptions{Base: "x"}, false, "add --profile")
	f(ProfileOptions{Kinds: cpu, Base: t.TempDir()}, false, "no profiles to compare with")
}

func TestBinariesGain(t *testing.T) {
	f := func(lo, center, hi, confidence float64, want string) {
		t.Helper()
		r := &BinariesReport{Overall: Interval{Center: center, Lo: lo, Hi: hi, Confidence: confidence}}
		if got := r.Gain(); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %s", r.Overall, got)
		}
	}
	f(0.93, 0.95, 0.98, 0.95, "the new binary needs 5.0 % less broker CPU (2.0 % … 7.0 %; 95.0 % confidence)")
	f(1.01, 1.05, 1.10, 0.95, "the new binary needs 5.0 % more broker CPU")
	f(0.93, 0.98, 1.02, 0.95, "no difference is shown: a saving of 2.0 %")
	f(0.93, 0.95, 0.98, 0, "no difference is shown: a saving of 5.0 % (2.0 % … 7.0 %; range of the pairs")
	i := newInterval([]float64{0.9, 0.95, 0.96, 0.97, 0.98, 0.99, 1})
	if i.Center != 0.97 || i.Confidence < 0.95 || i.Lo < 0.9 || i.Hi > 1 {
		t.Errorf("interval %+v", i)
	}
	if i := newInterval([]float64{1, 2}); i.Confidence != 0 || i.Lo != 1 || i.Hi != 2 {
		t.Errorf("two values give %+v", i)
	}
}
