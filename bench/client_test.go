package bench

import (
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// fakeBroker is franz-go's in-memory broker: another implementation of the
// protocol than the floor's.
func fakeBroker(t *testing.T) *target {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &target{name: TargetBroker, addr: c.ListenAddrs()[0]}
}

func TestClientRowsAgainstAFakeBroker(t *testing.T) {
	srv := fakeBroker(t)
	a, err := newAdmin(t.Context(), srv, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	config := DefaultOptions().Client
	config.Records, config.EndToEndMessages, config.OpenLoopRate, config.OpenLoopSeconds = 5_000, 20, 2_000, 0.5
	for _, row := range ClientRows() {
		t.Run(row.Name, func(t *testing.T) {
			var done atomic.Int64
			r := &clientRun{row: row, config: config, target: srv, admin: a, topic: "t-" + row.Name, done: &done}
			run, recorders, err := r.measure(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if run.Records == 0 || run.VerifiedRecords < run.Records || run.LogBytes <= run.PayloadBytes || run.BatchBytes == 0 {
				t.Errorf("the run has gaps: %+v", run)
			}
			wantLatency := row.Kind == ClientEndToEnd || row.Kind == ClientOpenLoop
			if wantLatency != (recorders.latency != nil) {
				t.Errorf("latencies recorded: %v, want %v", recorders.latency != nil, wantLatency)
			}
			if row.Kind == ClientOpenLoop && recorders.ack.Count() != recorders.latency.Count() {
				t.Errorf("%d acknowledged, %d arrived", recorders.ack.Count(), recorders.latency.Count())
			}
		})
	}
}

func TestSaturateAgainstAFakeBroker(t *testing.T) {
	srv := fakeBroker(t)
	a, err := newAdmin(t.Context(), srv, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	row := SaturateRows()[1]
	r := &saturateRun{row: row, target: srv, admin: a, topic: "saturated",
		batch: BuildBatch(row.ValueBytes, row.BatchBytes, 0, 1), acks: 1}
	if _, _, err := r.measure(t.Context(), 100, true); err != nil {
		t.Fatal(err)
	}
}

func TestProducerAgainstTheNullServer(t *testing.T) {
	srv := serveInProcess(t, true)
	srv.name = TargetNull
	a, err := newAdmin(t.Context(), srv, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	config := DefaultOptions().Client
	config.Records = 5_000
	var done atomic.Int64
	r := &clientRun{row: ClientRows()[1], config: config, target: srv, admin: a, topic: "null", done: &done}
	if run, _, err := r.measure(t.Context()); err != nil || run.Records != 15_000 {
		t.Errorf("%d records, %v", run.Records, err)
	}
}

func TestTargetsAlternate(t *testing.T) {
	have := map[TargetName]*target{TargetBroker: {}, TargetFloor: {}, TargetNull: {}}
	for _, c := range []struct {
		rep, row int
		want     TargetName
	}{{0, 0, TargetBroker}, {1, 0, TargetFloor}, {0, 1, TargetFloor}, {1, 1, TargetBroker}} {
		got := targetsOf(have, c.rep, c.row, true)
		if got[0] != c.want {
			t.Errorf("repetition %d of row %d starts with the %s, want the %s", c.rep, c.row, got[0], c.want)
		}
		if wantNull := c.rep == 0; wantNull != (len(got) == 3) {
			t.Errorf("repetition %d runs against %v", c.rep, got)
		}
	}
	delete(have, TargetFloor)
	if got := targetsOf(have, 1, 0, false); len(got) != 1 || got[0] != TargetBroker {
		t.Errorf("without a floor: %v", got)
	}
}

func TestOptionsNameTheirFault(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no mode":      func(o *Options) { o.Modes = nil },
		"repetitions":  func(o *Options) { o.Repetitions = 0 },
		"scale":        func(o *Options) { o.Scale = 0 },
		"records":      func(o *Options) { o.Client.Records = 0 },
		"batch size":   func(o *Options) { o.Client.BatchSize = 100 },
		"acks":         func(o *Options) { o.Client.Acks = 2 },
		"rate":         func(o *Options) { o.Client.OpenLoopRate = 0 },
		"share":        func(o *Options) { o.LatencyAt = []int{101} },
		"unknown rows": func(o *Options) { o.Rows = []string{"no-such-row"} },
	} {
		o := DefaultOptions()
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	o := DefaultOptions()
	if err := o.Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}
