package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Every leader has a connection, and none is without a partition.
func TestConnectionsFollowLeaders(t *testing.T) {
	for _, c := range []struct {
		leaders     string
		connections int
		want        string
	}{
		{"a b c a b c", 3, "a:0,3 b:1,4 c:2,5"},
		{"a b c b c a", 3, "a:0,5 b:1,3 c:2,4"},
		{"a b c a b c", 6, "a:0 a:3 b:1 b:4 c:2 c:5"},
		{"a b c a b c", 1, "a:0,3 b:1,4 c:2,5"},
		{"a a a b", 3, "a:0,2 a:1 b:3"},
		{"a a a a a a", 3, "a:0,3 a:1,4 a:2,5"},
		{"a", 4, "a:0"},
	} {
		var got []string
		for _, plan := range planConnections(strings.Fields(c.leaders), c.connections) {
			var parts []string
			for _, p := range plan.partitions {
				parts = append(parts, string(rune('0'+p)))
			}
			got = append(got, plan.addr+":"+strings.Join(parts, ","))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s over %d: %s, want %s", c.leaders, c.connections, strings.Join(got, " "), c.want)
		}
	}
}

func TestClusterSpecs(t *testing.T) {
	o := ClusterOptions{Name: "x", Brokers: 3, Executable: "/bin/freshet", Settings: []string{"num.io.threads=2"}, TempDir: t.TempDir(), LogDir: t.TempDir()}
	specs, err := o.Specs()
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for i, n := range specs {
		config := n.Start.Args[len(n.Start.Args)-1]
		data, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"process.roles=broker,controller\n", "node.id=" + string(rune('1'+i)), "controller.quorum.voters=1@127.0.0.1:",
			"listeners=PLAINTEXT://" + n.Addr + ",CONTROLLER://", "offsets.topic.replication.factor=3", "num.io.threads=2", "log.dirs=" + n.DataDir} {
			if !strings.Contains(string(data), want) {
				t.Errorf("broker %d lacks %q:\n%s", n.ID, want, data)
			}
		}
		if seen[n.Addr] || seen[n.DataDir] || seen[n.AdminURL] {
			t.Errorf("broker %d shares an address or a directory: %+v", n.ID, n)
		}
		seen[n.Addr], seen[n.DataDir], seen[n.AdminURL] = true, true, true
	}
}

// A cluster that cannot be started skips the rows that need it, and says why.
func TestLinkedInSaysWhyThereIsNoCluster(t *testing.T) {
	t.Setenv(childEnv, "serve")
	opts := DefaultLinkedInOptions()
	opts.Repetitions, opts.Rows = 1, []string{"producer-3x-sync", "three-producers-3x-async"}
	opts.Size = LinkedInSize{Records: 1_000, SweepBytes: 1, SweepRecords: 1, StoredBytes: 1, Messages: 1}
	var err error
	if opts.Executable, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	opts.TempDir, opts.OutDir = t.TempDir(), filepath.Join(t.TempDir(), "out")
	report, err := RunLinkedIn(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range report.Rows {
		why := row.Targets[TargetBroker].Skipped
		for _, want := range []string{"a cluster of 3 brokers could not be started", "this directory does not want to be formatted"} {
			if !strings.Contains(why, want) {
				t.Errorf("%s: %q lacks %q", row.Row.Name, why, want)
			}
		}
	}
}

func TestProberTellsService(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	acks := []probeAck{{at(0), at(1), "old"}, {at(2), at(12), "old"}, {at(100), at(140), "new"}, {at(141), at(143), "new"}}
	led := &prober{led: true, acks: acks}
	// The victim's last answer came after the signal and does not count.
	if first, ok := led.firstAfter(at(10), at(20), "old"); !ok || !first.Equal(at(140)) {
		t.Errorf("resumed at %v, %v", first.Sub(start), ok)
	}
	followed := &prober{acks: []probeAck{{at(0), at(1), "new"}, {at(15), at(60), "new"}, {at(61), at(62), "new"}}}
	if first, ok := followed.firstAfter(at(10), at(20), "old"); !ok || !first.Equal(at(62)) {
		t.Errorf("a request sent before the victim was gone counts: %v, %v", first.Sub(start), ok)
	}
	if gap := led.longestGap(at(10)); gap != 128*time.Millisecond {
		t.Errorf("longest gap %v", gap)
	}
	if gap := followed.longestGap(at(61)); gap != 2*time.Millisecond {
		t.Errorf("longest gap %v", gap)
	}
	if _, ok := led.firstAfter(at(200), at(201), "old"); ok {
		t.Error("service before it was there")
	}
}

func TestFailoverRanks(t *testing.T) {
	var all []Failover
	for i := range 50 {
		all = append(all, Failover{Signal: "kill", ResumedMs: float64(i + 1)}, Failover{Signal: "stop", ResumedMs: 1000})
	}
	f := SummarizeFailovers(all, "kill", func(f Failover) float64 { return f.ResumedMs })
	if f.Count != 50 || f.P50 != 25.5 || f.P99 != 50 || f.Longest != 50 {
		t.Errorf("%+v", f)
	}
	if f := SummarizeFailovers(nil, "kill", nil); f.Count != 0 {
		t.Errorf("%+v", f)
	}
}

// Memory is taken before a run and given free by its end.
func TestEvenerHoldsAndReleases(t *testing.T) {
	dir := t.TempDir()
	e := NewEvener(dir, 0)
	check, held, err := e.settle(t.Context(), reservoirAhead+evenTellingBytes, []int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if check.Passes < 2 || check.Passes > evenPasses || !(check.SecondsPerGB > 0) || e.best <= 0 {
		t.Errorf("%+v, best %v", check, e.best)
	}
	info, err := held.file.Stat()
	if err != nil || info.Size() > check.Bytes-reservoirAhead {
		t.Errorf("%d bytes are held of %d, %v", info.Size(), check.Bytes, err)
	}
	held.release()
	held.release()
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("files are left: %v", left)
	}
	for _, none := range []struct {
		e     *Evener
		bytes int64
	}{{nil, 1 << 20}, {e, 0}} {
		check, held, err := none.e.settle(t.Context(), none.bytes, nil)
		if check != nil || held != nil || err != nil {
			t.Errorf("%+v, %v, %v", check, held, err)
		}
		held.release()
	}
	if _, held, err := e.settle(t.Context(), 1<<20, nil); err != nil || held.file != nil {
		t.Errorf("memory is held for processes that nobody knows: %v", err)
	}
}

func TestUnevenRowsAreNamed(t *testing.T) {
	row := Row{Title: "produce", Runs: []Run{{Memory: &MemoryCheck{Uneven: true}}, {Memory: &MemoryCheck{}}},
		PairedRatios: &Spread{Median: 0.8, Min: 0.53, Max: 2.77}}
	notes := strings.Join(row.uneven(), "\n")
	for _, want := range []string{"not even before 1 of 2 runs", "differ 5.2 times (0.53 to 2.77)"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in %q", want, notes)
		}
	}
	if notes := (&Row{PairedRatios: &Spread{Min: 0.7, Max: 0.75}}).uneven(); len(notes) != 0 {
		t.Errorf("%q", notes)
	}
}
