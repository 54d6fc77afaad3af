package omb

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"strconv"
	"strings"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// double is a number that is written as Java writes a double: never without a
// fraction.
type double float64

// MarshalJSON writes a number; what is not one (nothing was measured) is 0.
func (d double) MarshalJSON() ([]byte, error) {
	v := float64(d)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	text := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return []byte(text), nil
}

// quantiles are values by percentile, in order.
type quantiles[V any] []quantile[V]

type quantile[V any] struct {
	percentile double
	value      V
}

// MarshalJSON writes an object whose keys are the percentiles.
func (q quantiles[V]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, entry := range q {
		if i > 0 {
			b.WriteByte(',')
		}
		key, err := entry.percentile.MarshalJSON()
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(entry.value)
		if err != nil {
			return nil, err
		}
		b.WriteByte('"')
		b.Write(key)
		b.WriteString(`":`)
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Result is the benchmark's TestResult: its names, in its order. Publish and
// end-to-end latencies are milliseconds, publish delays microseconds; lists
// have an entry for every period of ten seconds.
type Result struct {
	Workload          string `json:"workload"`
	Driver            string `json:"driver"`
	MessageSize       int64  `json:"messageSize"`
	Topics            int    `json:"topics"`
	Partitions        int    `json:"partitions"`
	ProducersPerTopic int    `json:"producersPerTopic"`
	ConsumersPerTopic int    `json:"consumersPerTopic"`

	PublishRate      []double `json:"publishRate"`
	PublishErrorRate []double `json:"publishErrorRate"`
	ConsumeRate      []double `json:"consumeRate"`
	Backlog          []int64  `json:"backlog"`

	PublishLatencyAvg     []double `json:"publishLatencyAvg"`
	PublishLatency50pct   []double `json:"publishLatency50pct"`
	PublishLatency75pct   []double `json:"publishLatency75pct"`
	PublishLatency95pct   []double `json:"publishLatency95pct"`
	PublishLatency99pct   []double `json:"publishLatency99pct"`
	PublishLatency999pct  []double `json:"publishLatency999pct"`
	PublishLatency9999pct []double `json:"publishLatency9999pct"`
	PublishLatencyMax     []double `json:"publishLatencyMax"`

	PublishDelayLatencyAvg     []double `json:"publishDelayLatencyAvg"`
	PublishDelayLatency50pct   []int64  `json:"publishDelayLatency50pct"`
	PublishDelayLatency75pct   []int64  `json:"publishDelayLatency75pct"`
	PublishDelayLatency95pct   []int64  `json:"publishDelayLatency95pct"`
	PublishDelayLatency99pct   []int64  `json:"publishDelayLatency99pct"`
	PublishDelayLatency999pct  []int64  `json:"publishDelayLatency999pct"`
	PublishDelayLatency9999pct []int64  `json:"publishDelayLatency9999pct"`
	PublishDelayLatencyMax     []int64  `json:"publishDelayLatencyMax"`

	AggregatedPublishLatencyAvg     double `json:"aggregatedPublishLatencyAvg"`
	AggregatedPublishLatency50pct   double `json:"aggregatedPublishLatency50pct"`
	AggregatedPublishLatency75pct   double `json:"aggregatedPublishLatency75pct"`
	AggregatedPublishLatency95pct   double `json:"aggregatedPublishLatency95pct"`
	AggregatedPublishLatency99pct   double `json:"aggregatedPublishLatency99pct"`
	AggregatedPublishLatency999pct  double `json:"aggregatedPublishLatency999pct"`
	AggregatedPublishLatency9999pct double `json:"aggregatedPublishLatency9999pct"`
	AggregatedPublishLatencyMax     double `json:"aggregatedPublishLatencyMax"`

	AggregatedPublishDelayLatencyAvg     double `json:"aggregatedPublishDelayLatencyAvg"`
	AggregatedPublishDelayLatency50pct   int64  `json:"aggregatedPublishDelayLatency50pct"`
	AggregatedPublishDelayLatency75pct   int64  `json:"aggregatedPublishDelayLatency75pct"`
	AggregatedPublishDelayLatency95pct   int64  `json:"aggregatedPublishDelayLatency95pct"`
	AggregatedPublishDelayLatency99pct   int64  `json:"aggregatedPublishDelayLatency99pct"`
	AggregatedPublishDelayLatency999pct  int64  `json:"aggregatedPublishDelayLatency999pct"`
	AggregatedPublishDelayLatency9999pct int64  `json:"aggregatedPublishDelayLatency9999pct"`
	AggregatedPublishDelayLatencyMax     int64  `json:"aggregatedPublishDelayLatencyMax"`

	AggregatedPublishLatencyQuantiles      quantiles[double] `json:"aggregatedPublishLatencyQuantiles"`
	AggregatedPublishDelayLatencyQuantiles quantiles[int64]  `json:"aggregatedPublishDelayLatencyQuantiles"`

	EndToEndLatencyAvg     []double `json:"endToEndLatencyAvg"`
	EndToEndLatency50pct   []double `json:"endToEndLatency50pct"`
	EndToEndLatency75pct   []double `json:"endToEndLatency75pct"`
	EndToEndLatency95pct   []double `json:"endToEndLatency95pct"`
	EndToEndLatency99pct   []double `json:"endToEndLatency99pct"`
	EndToEndLatency999pct  []double `json:"endToEndLatency999pct"`
	EndToEndLatency9999pct []double `json:"endToEndLatency9999pct"`
	EndToEndLatencyMax     []double `json:"endToEndLatencyMax"`

	AggregatedEndToEndLatencyQuantiles quantiles[double] `json:"aggregatedEndToEndLatencyQuantiles"`

	AggregatedEndToEndLatencyAvg     double `json:"aggregatedEndToEndLatencyAvg"`
	AggregatedEndToEndLatency50pct   double `json:"aggregatedEndToEndLatency50pct"`
	AggregatedEndToEndLatency75pct   double `json:"aggregatedEndToEndLatency75pct"`
	AggregatedEndToEndLatency95pct   double `json:"aggregatedEndToEndLatency95pct"`
	AggregatedEndToEndLatency99pct   double `json:"aggregatedEndToEndLatency99pct"`
	AggregatedEndToEndLatency999pct  double `json:"aggregatedEndToEndLatency999pct"`
	AggregatedEndToEndLatency9999pct double `json:"aggregatedEndToEndLatency9999pct"`
	AggregatedEndToEndLatencyMax     double `json:"aggregatedEndToEndLatencyMax"`
}

// WriteJSON writes the result, indented as the benchmark does.
func (r *Result) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// newResult is an empty result with the workload's own figures.
func newResult(w *Workload, driver string) *Result {
	return &Result{Workload: w.Name, Driver: driver, MessageSize: int64(w.MessageSize), Topics: w.Topics,
		Partitions: w.PartitionsPerTopic, ProducersPerTopic: w.ProducersPerTopic, ConsumersPerTopic: w.ConsumerPerSubscription}
}

// percentiles are those of every list.
var percentiles = [...]float64{50, 75, 95, 99, 99.9, 99.99}

// millis appends a histogram's figures, in milliseconds, to the lists: mean,
// the percentiles, maximum.
func millis(h *hdr.Histogram, lists ...*[]double) {
	values := []double{double(h.Mean() / 1e3)}
	for _, p := range percentiles {
		values = append(values, double(float64(h.ValueAtQuantile(p))/1e3))
	}
	values = append(values, double(float64(h.Max())/1e3))
	for i, list := range lists {
		*list = append(*list, values[i])
	}
}

// micros is millis for the publish delay: whole microseconds but for the mean.
func micros(h *hdr.Histogram, mean *[]double, lists ...*[]int64) {
	*mean = append(*mean, double(h.Mean()))
	values := make([]int64, 0, len(lists))
	for _, p := range percentiles {
		values = append(values, h.ValueAtQuantile(p))
	}
	values = append(values, h.Max())
	for i, list := range lists {
		*list = append(*list, values[i])
	}
}

// addPeriod adds a period of the given length to the lists.
func (r *Result) addPeriod(p periodStats, seconds float64, subscriptions int) {
	r.PublishRate = append(r.PublishRate, double(float64(p.sent)/seconds))
	r.PublishErrorRate = append(r.PublishErrorRate, double(float64(p.errors)/seconds))
	r.ConsumeRate = append(r.ConsumeRate, double(float64(p.received)/seconds))
	r.Backlog = append(r.Backlog, max(0, int64(subscriptions)*p.totalSent-p.totalReceived))
	millis(p.publish, &r.PublishLatencyAvg, &r.PublishLatency50pct, &r.PublishLatency75pct, &r.PublishLatency95pct,
		&r.PublishLatency99pct, &r.PublishLatency999pct, &r.PublishLatency9999pct, &r.PublishLatencyMax)
	micros(p.publishDelay, &r.PublishDelayLatencyAvg, &r.PublishDelayLatency50pct, &r.PublishDelayLatency75pct, &r.PublishDelayLatency95pct,
		&r.PublishDelayLatency99pct, &r.PublishDelayLatency999pct, &r.PublishDelayLatency9999pct, &r.PublishDelayLatencyMax)
	millis(p.endToEnd, &r.EndToEndLatencyAvg, &r.EndToEndLatency50pct, &r.EndToEndLatency75pct, &r.EndToEndLatency95pct,
		&r.EndToEndLatency99pct, &r.EndToEndLatency999pct, &r.EndToEndLatency9999pct, &r.EndToEndLatencyMax)
}

// aggregate fills the figures of the whole test.
func (r *Result) aggregate(all latencies) {
	figures := func(h *hdr.Histogram, into ...*double) {
		lists := make([][]double, len(into))
		pointers := make([]*[]double, len(into))
		for i := range lists {
			pointers[i] = &lists[i]
		}
		millis(h, pointers...)
		for i := range into {
			*into[i] = lists[i][0]
		}
	}
	figures(all.publish, &r.AggregatedPublishLatencyAvg, &r.AggregatedPublishLatency50pct, &r.AggregatedPublishLatency75pct, &r.AggregatedPublishLatency95pct,
		&r.AggregatedPublishLatency99pct, &r.AggregatedPublishLatency999pct, &r.AggregatedPublishLatency9999pct, &r.AggregatedPublishLatencyMax)
	figures(all.endToEnd, &r.AggregatedEndToEndLatencyAvg, &r.AggregatedEndToEndLatency50pct, &r.AggregatedEndToEndLatency75pct, &r.AggregatedEndToEndLatency95pct,
		&r.AggregatedEndToEndLatency99pct, &r.AggregatedEndToEndLatency999pct, &r.AggregatedEndToEndLatency9999pct, &r.AggregatedEndToEndLatencyMax)
	delay := all.publishDelay
	r.AggregatedPublishDelayLatencyAvg = double(delay.Mean())
	for i, into := range []*int64{&r.AggregatedPublishDelayLatency50pct, &r.AggregatedPublishDelayLatency75pct, &r.AggregatedPublishDelayLatency95pct,
		&r.AggregatedPublishDelayLatency99pct, &r.AggregatedPublishDelayLatency999pct, &r.AggregatedPublishDelayLatency9999pct} {
		*into = delay.ValueAtQuantile(percentiles[i])
	}
	r.AggregatedPublishDelayLatencyMax = delay.Max()
	toMillis := func(us int64) double { return double(float64(us) / 1e3) }
	r.AggregatedPublishLatencyQuantiles = quantilesOf(all.publish, toMillis)
	r.AggregatedPublishDelayLatencyQuantiles = quantilesOf(delay, func(us int64) int64 { return us })
	r.AggregatedEndToEndLatencyQuantiles = quantilesOf(all.endToEnd, toMillis)
}

// ticksPerHalfDistance is how finely the quantiles are cut.
const ticksPerHalfDistance = 100

// quantilesOf lists the values by the share of the samples that are not above
// them. Of several values with the same share the last counts, as in a map.
func quantilesOf[V any](h *hdr.Histogram, convert func(int64) V) quantiles[V] {
	total := h.TotalCount()
	if total == 0 {
		return quantiles[V]{}
	}
	var q quantiles[V]
	for _, bracket := range h.CumulativeDistributionWithTicks(ticksPerHalfDistance) {
		entry := quantile[V]{percentile: double(100 * float64(bracket.Count) / float64(total)), value: convert(bracket.ValueAt)}
		if n := len(q); n > 0 && q[n-1].percentile == entry.percentile {
			q[n-1] = entry
			continue
		}
		q = append(q, entry)
	}
	return q
}
