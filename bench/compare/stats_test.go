package compare

import (
	"math"
	"reflect"
	"slices"
	"testing"
)

func TestEstimateOfSixRepetitionsHas95Percent(t *testing.T) {
	e := newEstimate([]float64{5, 1, 3, 2, 6, 4})
	if e.Median != 3.5 || e.Low != 1 || e.High != 6 || e.Confidence < wantedConfidence {
		t.Errorf("got %+v", *e)
	}
	if !slices.Equal(e.Values, []float64{5, 1, 3, 2, 6, 4}) {
		t.Errorf("the order was not kept: %v", e.Values)
	}
	if half := e.halfWidth(); math.Abs(half-2.5/3.5) > 1e-9 {
		t.Errorf("half width %v", half)
	}
}

func TestEstimateSaysWhatFewRepetitionsAreWorth(t *testing.T) {
	e := newEstimate([]float64{1, 2, 4})
	if e.Median != 2 || e.Low != 1 || e.High != 4 || math.Abs(e.Confidence-0.75) > 1e-9 {
		t.Errorf("three: %+v", *e)
	}
	e = newEstimate([]float64{7})
	if e.Median != 7 || e.Confidence != 0 || !math.IsNaN(e.halfWidth()) {
		t.Errorf("one: %+v", *e)
	}
	if newEstimate([]float64{math.NaN(), math.Inf(1)}) != nil {
		t.Error("an estimate of nothing")
	}
}

func TestRatioTurnsTheRightWay(t *testing.T) {
	fast, slow := newEstimate([]float64{39, 40, 41, 40}), newEstimate([]float64{10, 11, 9, 10})
	up := newRatio("a", "b", fast, slow, HigherIsBetter)
	if up.Value != 4 || up.Improvement != 4 || !up.Shown {
		t.Errorf("higher is better: %+v", *up)
	}
	down := newRatio("a", "b", fast, slow, LowerIsBetter)
	if down.Value != 4 || down.Improvement != 0.25 || !down.Shown {
		t.Errorf("lower is better: %+v", *down)
	}
	if want := []float64{3.9, 40.0 / 11, 41.0 / 9, 4}; !reflect.DeepEqual(up.Paired.Values, want) {
		t.Errorf("paired %v, want %v", up.Paired.Values, want)
	}
}

func TestRatioOwnsUpToChance(t *testing.T) {
	a, b := newEstimate([]float64{10, 12, 9, 11}), newEstimate([]float64{11, 9, 12, 10})
	if r := newRatio("a", "b", a, b, HigherIsBetter); r.Shown || r.P < alpha {
		t.Errorf("a difference was shown where there is none: %+v", *r)
	}
	// Three against three cannot reach 5 %, however far apart they are.
	a, b = newEstimate([]float64{1, 2, 3}), newEstimate([]float64{100, 101, 102})
	if r := newRatio("a", "b", a, b, HigherIsBetter); r.Shown {
		t.Errorf("three repetitions showed a difference: %+v", *r)
	}
	if newRatio("a", "b", a, nil, HigherIsBetter) != nil {
		t.Error("a ratio to nothing")
	}
}

func TestEveryBrokerComesFirstEquallyOften(t *testing.T) {
	for _, brokers := range []int{2, 3, 4} {
		firsts := make([]int, brokers)
		for rep := range 2 * brokers {
			got := order(brokers, rep, 1)
			firsts[got[0]]++
			sorted := slices.Sorted(slices.Values(got))
			for i, v := range sorted {
				if i != v {
					t.Fatalf("%d brokers, repetition %d: %v is no order", brokers, rep, got)
				}
			}
		}
		for i, n := range firsts {
			if n != 2 {
				t.Errorf("of %d, broker %d came first %d times in %d repetitions", brokers, i, n, 2*brokers)
			}
		}
	}
	if a, b := order(2, 0, 0), order(2, 0, 1); a[0] == b[0] {
		t.Error("two rows of one repetition start with the same broker")
	}
}
