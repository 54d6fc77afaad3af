package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"freshet/bench"
)

// ombResult is what this package reads of the OpenMessaging Benchmark's result:
// ours and the original's alike. Latencies are in milliseconds.
type ombResult struct {
	Workload    string    `json:"workload"`
	Driver      string    `json:"driver"`
	MessageSize int64     `json:"messageSize"`
	Topics      int       `json:"topics"`
	Partitions  int       `json:"partitions"`
	Producers   int       `json:"producersPerTopic"`
	Consumers   int       `json:"consumersPerTopic"`
	PublishRate []float64 `json:"publishRate"`
	ConsumeRate []float64 `json:"consumeRate"`

	PublishQuantiles map[string]float64 `json:"aggregatedPublishLatencyQuantiles"`
	ArriveQuantiles  map[string]float64 `json:"aggregatedEndToEndLatencyQuantiles"`
	Publish50        *float64           `json:"aggregatedPublishLatency50pct"`
	Publish99        float64            `json:"aggregatedPublishLatency99pct"`
	Publish999       float64            `json:"aggregatedPublishLatency999pct"`
	PublishMax       float64            `json:"aggregatedPublishLatencyMax"`
	Arrive50         float64            `json:"aggregatedEndToEndLatency50pct"`
	Arrive99         float64            `json:"aggregatedEndToEndLatency99pct"`
	Arrive999        float64            `json:"aggregatedEndToEndLatency999pct"`
	ArriveMax        float64            `json:"aggregatedEndToEndLatencyMax"`
}

// ombPeriod is how often the benchmark takes figures.
const ombPeriod = 10 * time.Second

// ombMode keeps its rows apart from those of other generators.
const ombMode = "omb"

var errNoOMB = errors.New("no result of the OpenMessaging Benchmark")

// fromOMB makes a document of one result of the OpenMessaging Benchmark.
func fromOMB(data []byte, file string) (*Document, error) {
	var r ombResult
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoOMB, err)
	}
	if r.Workload == "" || r.Publish50 == nil {
		return nil, errNoOMB
	}
	s := Series{System: r.Driver, Role: RoleBroker, Row: r.Workload, Title: r.Workload, Mode: ombMode, Figures: make(map[string]Figure),
		Percentiles: ombPercentiles(r.ArriveQuantiles), AckPercentiles: ombPercentiles(r.PublishQuantiles)}
	if s.System == "" {
		s.System = "driver"
	}
	if len(r.PublishRate) > 0 {
		s.Figures[FigureRecords] = median(r.PublishRate)
		s.Runs = []bench.Timeline{ombTimeline(r.Workload, r.PublishRate)}
	}
	us := func(name string, ms float64) {
		if ms > 0 {
			s.Figures[name] = Figure{ms * 1e3, ms * 1e3, ms * 1e3}
		}
	}
	us(FigureAckP50, *r.Publish50)
	us(FigureAckP99, r.Publish99)
	us(FigureAckP999, r.Publish999)
	us(FigureAckMax, r.PublishMax)
	us(FigureP50, r.Arrive50)
	us(FigureP99, r.Arrive99)
	us(FigureP999, r.Arrive999)
	us(FigureMax, r.ArriveMax)
	run := Run{Label: s.System, Files: []string{file}}
	for _, fact := range []Fact{{"Workload", r.Workload}, {"Driver", r.Driver}, {"Message size", fmt.Sprintf("%d bytes", r.MessageSize)},
		{"Topics", strconv.Itoa(r.Topics)}, {"Partitions of each", strconv.Itoa(r.Partitions)},
		{"Producers of each", strconv.Itoa(r.Producers)}, {"Consumers of each", strconv.Itoa(r.Consumers)},
		{"Latencies", "publish latency from the send, end to end in whole milliseconds, as the benchmark takes them"}} {
		if fact.Value != "" && fact.Value != "0" {
			run.Facts = append(run.Facts, fact)
		}
	}
	return &Document{Title: "OpenMessaging Benchmark: " + r.Workload, Series: []Series{s}, Runs: []Run{run}}, nil
}

// ombPercentiles sorts quantiles, of which several next to each other that
// cannot be told apart on the page are one.
func ombPercentiles(quantiles map[string]float64) []Percentile {
	var points []Percentile
	for name, ms := range quantiles {
		if percent, err := strconv.ParseFloat(name, 64); err == nil && percent >= 50 && percent < 100 {
			points = append(points, Percentile{percent, ms * 1e3})
		}
	}
	slices.SortFunc(points, func(a, b Percentile) int {
		switch {
		case a.Percent < b.Percent:
			return -1
		case a.Percent > b.Percent:
			return 1
		}
		return 0
	})
	var kept []Percentile
	for i, p := range points {
		if i == 0 || i == len(points)-1 || nines(p.Percent)-nines(kept[len(kept)-1].Percent) >= 1.0/percentileSteps {
			kept = append(kept, p)
		}
	}
	return kept
}

// ombTimeline turns rates into the cumulative samples of a run.
func ombTimeline(row string, rates []float64) bench.Timeline {
	t := bench.Timeline{Row: row, Repetition: 1, Samples: bench.SampleColumns{AtMs: []float64{0}, Records: []int64{0}}}
	sum := 0.0
	for i, rate := range rates {
		sum += rate * ombPeriod.Seconds()
		t.Samples.AtMs = append(t.Samples.AtMs, float64(i+1)*float64(ombPeriod.Milliseconds()))
		t.Samples.Records = append(t.Samples.Records, int64(sum))
	}
	return t
}
