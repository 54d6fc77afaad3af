package compare

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// wantedConfidence is the level of the intervals where there are repetitions
// enough: six, for a median.
const wantedConfidence = 0.95

// alpha is the probability of chance from which a difference counts as not
// shown.
const alpha = 0.05

// Estimate is the median of a figure over the repetitions and the confidence
// interval of the median, which assumes nothing about the distribution.
type Estimate struct {
	Median float64 `json:"median"`
	// Low and High bound the interval at Confidence (0 … 1). With fewer than six
	// repetitions they are the smallest and the largest value, and Confidence is
	// what these are worth; with one there is no interval and Confidence is 0.
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`
	// Values are the repetitions' figures in the order they were taken.
	Values []float64 `json:"values"`
}

// reachable is the confidence that n repetitions can give: the range of n
// values misses the median only when all lie on one side of it.
func reachable(n int) float64 {
	return min(wantedConfidence, 1-math.Pow(2, 1-float64(n)))
}

// newEstimate is nil when there is no value; NaN and infinities are left out.
func newEstimate(values []float64) *Estimate {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	switch len(values) {
	case 0:
		return nil
	case 1:
		return &Estimate{Median: values[0], Low: values[0], High: values[0], Values: values}
	}
	sample := benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds)
	s := benchmath.AssumeNothing.Summary(sample, reachable(len(values)))
	return &Estimate{Median: s.Center, Low: s.Lo, High: s.Hi, Confidence: s.Confidence, Values: values}
}

// halfWidth is the larger distance from the median to an end of the interval as
// a share of the median, NaN when there is no interval.
func (e *Estimate) halfWidth() float64 {
	if e == nil || e.Confidence == 0 || e.Median == 0 {
		return math.NaN()
	}
	return max(e.High-e.Median, e.Median-e.Low) / math.Abs(e.Median)
}

// Ratio compares one broker's figure with another's.
type Ratio struct {
	Of string `json:"of"`
	To string `json:"to"`
	// Value is the quotient of the medians, Of over To.
	Value float64 `json:"value"`
	// Improvement is the same, turned so that above 1 is better for Of.
	Improvement float64 `json:"improvement"`
	// Paired is the quotient of each repetition's two runs, which came one after
	// the other, with its own interval.
	Paired *Estimate `json:"paired,omitempty"`
	// P is the Mann-Whitney probability that such a difference is chance; Shown
	// says that it is below 5 %. Four repetitions can show a difference, three
	// cannot.
	P     float64 `json:"p"`
	Shown bool    `json:"shown"`
}

// newRatio is nil when one side has no figure or the quotient makes no sense.
func newRatio(of, to string, a, b *Estimate, better Better) *Ratio {
	if a == nil || b == nil || b.Median == 0 || a.Median == 0 {
		return nil
	}
	r := &Ratio{Of: of, To: to, Value: a.Median / b.Median}
	r.Improvement = r.Value
	if better == LowerIsBetter {
		r.Improvement = 1 / r.Value
	}
	if len(a.Values) == len(b.Values) {
		paired := make([]float64, len(a.Values))
		for i := range paired {
			paired[i] = a.Values[i] / b.Values[i]
		}
		r.Paired = newEstimate(paired)
	}
	c := benchmath.AssumeNothing.Compare(
		benchmath.NewSample(slices.Clone(a.Values), &benchmath.DefaultThresholds),
		benchmath.NewSample(slices.Clone(b.Values), &benchmath.DefaultThresholds))
	r.P = c.P
	r.Shown = c.P < alpha && len(a.Values) > 1 && len(b.Values) > 1
	return r
}
