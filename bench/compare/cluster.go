package compare

import (
	"context"
	"fmt"
	"os"

	"freshet/bench"
)

// The rows of a comparison of clusters.
const (
	rowAcksLeader     = "rf3-acks-1"
	rowAcksAll        = "rf3-acks-all"
	rowRoundTripAll   = "rf3-round-trip"
	clusterPartitions = 6
)

// clusterRows produce to topics with a replica on every broker: as much as goes
// with either kind of acknowledgement, and one record at a time.
func clusterRows() []planned {
	produce := bench.SaturateRow{Kind: bench.ProduceStream, Connections: 3, Partitions: clusterPartitions, Window: 5,
		ValueBytes: 100, BatchBytes: 64 << 10, TotalBytes: 1 << 30}
	roundTrip := bench.SaturateRow{Kind: bench.ProduceRoundTrip, Connections: 1, Partitions: 1, Window: 1,
		ValueBytes: 100, BatchBytes: 512, MaxRecords: 1, Requests: 8_000}
	row := func(name, title string, acks int16, of bench.SaturateRow) planned {
		of.Name, of.Title = name, title
		return planned{name: name, title: title, kind: rowSaturate, saturate: of, acks: acks}
	}
	return []planned{
		row(rowAcksLeader, "64 KiB batches, acks=1", 1, produce),
		row(rowAcksAll, "64 KiB batches, acks=all", -1, produce),
		row(rowRoundTripAll, "one-record round trip, acks=all", -1, roundTrip),
	}
}

// warmUpCluster has a cluster replicate a gigabyte at scale 1 before anything
// is measured, by the rows that are measured.
func (s *session) warmUpCluster(ctx context.Context, c *contender) error {
	if s.opts.WarmupScale == 0 {
		return nil
	}
	for _, row := range clusterRows() {
		scale := s.opts.WarmupScale / 2
		s.topics++
		topic := fmt.Sprintf("compare-warm-up-%d-%d", os.Getpid(), s.topics)
		if _, err := c.driver.Saturate(ctx, row.saturate, bench.SaturateParams{Topic: topic, Scale: scale, Acks: row.acks}); err != nil {
			return fmt.Errorf("warming up %s: %w", c.spec.Name, err)
		}
	}
	return nil
}

// rivalKills bounds the kills of clusters other than the first: one of Apache
// Kafka's takes half a minute until all is well again.
const rivalKills = 10

// failOver ends brokers of every cluster, one cluster after the other: their
// processes change, so this comes last.
func (s *session) failOver(ctx context.Context) error {
	for i, c := range s.contenders {
		kills := s.opts.Kills
		if i > 0 {
			kills = min(kills, rivalKills)
		}
		if c.cluster == nil || kills+s.opts.Stops == 0 {
			continue
		}
		n := 0
		label := func() string {
			return fmt.Sprintf("%s failover %d/%d", c.spec.Name, n+1, kills+s.opts.Stops)
		}
		done := s.progress.Step(label(), nil)
		all, err := c.driver.Failovers(ctx, c.cluster, bench.FailoverOptions{Kills: kills, Stops: s.opts.Stops,
			Topic: fmt.Sprintf("compare-failover-%d", os.Getpid()), Done: func() {
				done()
				n++
				done = s.progress.Step(label(), nil)
			}})
		done()
		if s.report.Failovers == nil {
			s.report.Failovers = make(map[string][]bench.Failover)
		}
		s.report.Failovers[c.spec.Name] = all
		if err != nil {
			return fmt.Errorf("%s: %w", c.spec.Name, err)
		}
	}
	return nil
}

// failoverFigures are what is taken from every failover, in ms.
var failoverFigures = []struct {
	signal, title string
	of            func(bench.Failover) float64
}{
	{"kill", "kill -9 of a leader, until it resumes", func(f bench.Failover) float64 { return f.ResumedMs }},
	{"kill", "  partitions it followed, longest wait", func(f bench.Failover) float64 { return f.FollowedGapMs }},
	{"kill", "  full ISR after its restart", func(f bench.Failover) float64 { return f.FullISRMs }},
	{"stop", "controlled shutdown, longest wait", func(f bench.Failover) float64 { return max(f.LedGapMs, f.FollowedGapMs) }},
}

// summary of one broker's failovers; zero without any.
func (r *Report) failovers(broker string, i int) bench.FailoverFigure {
	return bench.SummarizeFailovers(r.Failovers[broker], failoverFigures[i].signal, failoverFigures[i].of)
}

// The limits that a cluster of Freshet is held to.
const (
	maxLeaderCPU   = 3.0 // CPU-seconds per GB, all brokers together
	maxAllCPU      = 3.5
	minTimesKafka  = 4.0 // the rival's MB/s
	minAllToLeader = 0.70
	maxRoundTrip   = 0.25 // of the rival's median
	maxResumedMs   = 1_000
	maxFullISRMs   = 30_000
	maxStopGapMs   = 100
)

// judgeCluster holds the first broker against the limits.
func (r *Report) judgeCluster() {
	first := r.Brokers[0].Name
	add := func(name, title string, value, limit float64, unit string, atLeast bool, detail string) {
		if value > 0 {
			r.Checks = append(r.Checks, bench.NewCheck(bench.ScaleCheck{Name: name, Title: title, Value: value, Limit: limit,
				Unit: unit, AtLeast: atLeast, Detail: detail}))
		}
	}
	median := func(row, metric, broker string) float64 {
		for i := range r.Rows {
			if m := r.Rows[i].metric(metric); r.Rows[i].Name == row && m != nil && m.Brokers[broker] != nil {
				return m.Brokers[broker].Median
			}
		}
		return 0
	}
	for _, limit := range []struct {
		row, acks string
		cpu       float64
	}{{rowAcksLeader, "acks=1", maxLeaderCPU}, {rowAcksAll, "acks=all", maxAllCPU}} {
		cpu := median(limit.row, "cpu_seconds_per_gb", first)
		add("cpu-"+limit.row, "CPU per GB, "+limit.acks, cpu, limit.cpu, "s/GB", false,
			fmt.Sprintf("all %d brokers together, until every replica has it", r.Cluster))
	}
	leader, all := median(rowAcksLeader, "log_mb_per_second", first), median(rowAcksAll, "log_mb_per_second", first)
	if leader > 0 {
		add("acks-all-to-1", "rate with acks=all to that with acks=1", all/leader, minAllToLeader, "x", true,
			fmt.Sprintf("%.0f MB/s to %.0f MB/s", all, leader))
	}
	for _, rival := range r.Brokers[1:] {
		for _, row := range []struct{ name, acks string }{{rowAcksLeader, "acks=1"}, {rowAcksAll, "acks=all"}} {
			ours, theirs := median(row.name, "log_mb_per_second", first), median(row.name, "log_mb_per_second", rival.Name)
			if theirs > 0 {
				add("rate-"+row.name+"-"+rival.Name, fmt.Sprintf("rate to that of %s, %s", rival.Name, row.acks), ours/theirs, minTimesKafka, "x", true,
					fmt.Sprintf("%.0f MB/s to %.0f MB/s", ours, theirs))
			}
		}
		ours, theirs := median(rowRoundTripAll, "latency_p50_us", first), median(rowRoundTripAll, "latency_p50_us", rival.Name)
		if theirs > 0 {
			add("round-trip-"+rival.Name, fmt.Sprintf("round trip, acks=all, median to that of %s", rival.Name), ours/theirs, maxRoundTrip, "x", false,
				fmt.Sprintf("%.0f µs to %.0f µs", ours, theirs))
		}
	}
	kills, isr, stops := r.failovers(first, 0), r.failovers(first, 2), r.failovers(first, 3)
	add("failover", "kill -9 of a leader, until it resumes, p99", kills.P99, maxResumedMs, "ms", false,
		fmt.Sprintf("of %d; p50 %.0f ms", kills.Count, kills.P50))
	add("full-isr", "full ISR after a restart, longest", isr.Longest, maxFullISRMs, "ms", false, fmt.Sprintf("of %d", isr.Count))
	add("controlled-shutdown", "controlled shutdown, longest wait for an acknowledgement", stops.Longest, maxStopGapMs, "ms", false,
		fmt.Sprintf("of %d; p50 %.0f ms", stops.Count, stops.P50))
}

// failoverSection is the block of the table.
func (r *Report) failoverSection() section {
	s := section{title: "failover, ms", legs: []string{
		"a client with acks=all that asks for the new leader at once; from the signal. Every acknowledged record was still there"}}
	for i, figure := range failoverFigures {
		all := make(map[string]bench.FailoverFigure)
		values := make(map[string][]float64)
		for _, b := range r.Brokers {
			if f := r.failovers(b.Name, i); f.Count > 0 {
				all[b.Name], values[b.Name] = f, f.Values
			}
		}
		median := newMetric("p50", "ms", LowerIsBetter, r.Brokers, values)
		if median == nil {
			continue
		}
		s.lines = append(s.lines, line{label: figure.title + "\tp50", metric: median, words: timeWords, format: significant})
		for _, point := range []struct {
			name string
			of   func(bench.FailoverFigure) float64
		}{{"p99", func(f bench.FailoverFigure) float64 { return f.P99 }}, {"longest", func(f bench.FailoverFigure) float64 { return f.Longest }}} {
			single := make(map[string][]float64)
			for name, f := range all {
				single[name] = []float64{point.of(f)}
			}
			m := newMetric(point.name, "ms", LowerIsBetter, r.Brokers, single)
			for k := range m.Ratios { // whether it is chance, all of the failovers tell
				m.Ratios[k].P, m.Ratios[k].Shown = median.Ratios[k].P, median.Ratios[k].Shown
			}
			s.lines = append(s.lines, line{label: "\t" + point.name, metric: m, words: timeWords, format: significant})
		}
	}
	return s
}
