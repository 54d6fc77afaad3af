package compare

import (
	"bytes"
	"strings"
	"testing"

	"freshet/bench"
)

func TestClusterOptions(t *testing.T) {
	o := Defaults()
	o.ClusterOf(3)
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, row := range o.plan() {
		names = append(names, row.name)
		if row.writtenBytes(&o) <= 0 || row.config(&o) == nil || row.acks == 0 {
			t.Errorf("%s is not described", row.name)
		}
	}
	if got := strings.Join(names, " "); got != "rf3-acks-1 rf3-acks-all rf3-round-trip" {
		t.Errorf("rows %s", got)
	}
	for _, spoil := range []func(*Options){
		func(o *Options) { o.Cluster = 2 },
		func(o *Options) { o.Cluster = 100 },
		func(o *Options) { o.Clients = []Client{ClientJava} },
		func(o *Options) { o.Kills = -1 },
		func(o *Options) { o.Kills = maxFailovers + 1 },
		func(o *Options) { o.Rows = []string{"produce-64k"} },
		func(o *Options) { o.Brokers[1] = BrokerSpec{Name: "x", Kind: KindOutside, Addr: "a:1"} },
	} {
		o := Defaults()
		o.ClusterOf(3)
		spoil(&o)
		if o.Validate() == nil {
			t.Errorf("accepted: %+v", o)
		}
	}
}

// clusterReport is two clusters with a figure of every kind.
func clusterReport() *Report {
	r := &Report{Cluster: 3, Repetitions: 1, Brokers: []Broker{{Name: "ours"}, {Name: "theirs"}},
		Failovers: map[string][]bench.Failover{
			"ours":   {{Signal: "kill", ResumedMs: 300, FollowedGapMs: 20, FullISRMs: 1000}, {Signal: "stop", LedGapMs: 9}},
			"theirs": {{Signal: "kill", ResumedMs: 9000, FollowedGapMs: 9000, FullISRMs: 8000}}}}
	add := func(row, metric, unit string, better Better, ours, theirs float64) {
		m := newMetric(metric, unit, better, r.Brokers, map[string][]float64{"ours": {ours}, "theirs": {theirs}})
		for i := range r.Rows {
			if r.Rows[i].Name == row {
				r.Rows[i].Metrics = append(r.Rows[i].Metrics, *m)
				return
			}
		}
		r.Rows = append(r.Rows, Row{Name: row, Title: row, Kind: string(rowSaturate), Metrics: []Metric{*m}})
	}
	for _, row := range []string{rowAcksLeader, rowAcksAll} {
		add(row, "cpu_seconds_per_gb", "s/GB", LowerIsBetter, 2.9, 14)
		add(row, "records_per_second", "records/s", HigherIsBetter, 5e6, 1e6)
	}
	add(rowAcksLeader, "log_mb_per_second", "MB/s", HigherIsBetter, 600, 120)
	add(rowAcksAll, "log_mb_per_second", "MB/s", HigherIsBetter, 450, 100)
	add(rowRoundTripAll, "latency_p50_us", "µs", LowerIsBetter, 400, 1300)
	return r
}

func TestClusterIsJudged(t *testing.T) {
	r := clusterReport()
	r.judgeCluster()
	got := make(map[string]bool)
	for _, c := range r.Checks {
		got[c.Name] = c.Met
	}
	for name, met := range map[string]bool{"cpu-rf3-acks-1": true, "cpu-rf3-acks-all": true, "acks-all-to-1": true, "rate-rf3-acks-1-theirs": true,
		"rate-rf3-acks-all-theirs": true, "round-trip-theirs": false, "failover": true, "full-isr": true, "controlled-shutdown": true} {
		if is, ok := got[name]; !ok || is != met {
			t.Errorf("%s: judged %v, met %v, want %v", name, ok, is, met)
		}
	}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"failover, ms", "kill -9 of a leader, until it resumes", "targets of ours", "0.31×", "9,000"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestBrokersUnderOtherNames(t *testing.T) {
	specs, err := ParseBrokers("freshet,b=freshet,k=kafka")
	if err != nil || specs[1] != (BrokerSpec{Name: "b", Kind: KindFreshet}) || specs[2] != (BrokerSpec{Name: "k", Kind: KindKafka}) {
		t.Errorf("%+v, %v", specs, err)
	}
}
