package bench

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSamplesStayBounded(t *testing.T) {
	s := samples{spacing: sampleSpacing}
	const taken = 10_000
	for i := range taken {
		s.add(sample{at: time.Duration(i) * sampleSpacing, records: int64(i)})
	}
	s.end(sample{at: taken * sampleSpacing, records: taken})
	if n := len(s.kept); n > maxSamples+1 || n < maxSamples/2 {
		t.Errorf("%d samples are kept of %d", n, taken)
	}
	for i, x := range s.kept {
		if x.records != int64(x.at/sampleSpacing) {
			t.Errorf("sample %d at %v says %d records", i, x.at, x.records)
		}
		if i > 0 && i < len(s.kept)-1 && x.at-s.kept[i-1].at != s.spacing {
			t.Errorf("samples %d and %d are %v apart; the spacing is %v", i-1, i, x.at-s.kept[i-1].at, s.spacing)
		}
	}
	if first, last := s.kept[0], s.kept[len(s.kept)-1]; first.at != 0 || last.records != taken {
		t.Errorf("kept from %v to record %d", first.at, last.records)
	}
}

// A last sample right after another takes its place: a rate over a millisecond
// would be noise.
func TestLastSampleReplacesOneJustBefore(t *testing.T) {
	s := samples{spacing: 50 * time.Millisecond}
	for _, ms := range []int{0, 50, 100} {
		s.add(sample{at: time.Duration(ms) * time.Millisecond, records: int64(ms)})
	}
	s.end(sample{at: 101 * time.Millisecond, records: 101})
	want := SampleColumns{AtMs: []float64{0, 50, 101}, Records: []int64{0, 50, 101}}
	if got := s.columns(false); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s = samples{spacing: 50 * time.Millisecond}
	s.add(sample{})
	s.end(sample{at: time.Millisecond, records: 3})
	if len(s.kept) != 2 {
		t.Errorf("a short run keeps %d samples, want its start and its end", len(s.kept))
	}
}

// Every latency lies in its cell, and a cell is at most a quarter wide.
func TestGridCells(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(1, histogramHighestNs).Draw(t, "ns")
		cell := gridCell(time.Duration(ns))
		from, to := GridCellNs(int64(cell), gridStepsPerOctave)
		if float64(ns) < from || float64(ns) >= to || to/from > 1.25 {
			t.Fatalf("%d ns is in cell %d, %v to %v", ns, cell, from, to)
		}
		if cell >= gridCells {
			t.Fatalf("cell %d is outside the grid", cell)
		}
	})
	if gridCell(0) != 0 {
		t.Error("zero is not in the lowest cell")
	}
}

// However long a run is, no latency is lost and the columns stay bounded.
func TestGridFolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newLatencyGrid()
		at := time.Duration(0)
		n := rapid.IntRange(1, 200).Draw(t, "n")
		for range n {
			at += time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "step"))
			g.add(at, time.Duration(rapid.Int64Range(1, 1e9).Draw(t, "latency")))
		}
		out := g.sparse()
		if len(out.Columns) > maxGridColumns {
			t.Fatalf("%d columns", len(out.Columns))
		}
		var total int64
		for _, column := range out.Columns {
			for i, pair := range column {
				total += pair[1]
				if i > 0 && pair[0] <= column[i-1][0] {
					t.Fatalf("cells out of order: %v", column)
				}
			}
		}
		if total != int64(n) {
			t.Fatalf("%d of %d latencies are counted", total, n)
		}
		if len(out.Columns[len(out.Columns)-1]) == 0 {
			t.Fatal("the last column is empty")
		}
	})
}

// Grids of different widths, as of two connections, add up.
func TestGridsMerge(t *testing.T) {
	long, short := newLatencyGrid(), newLatencyGrid()
	long.add(0, time.Millisecond)
	long.add(maxGridColumns*gridSpacing, time.Millisecond)
	short.add(6*time.Millisecond, time.Millisecond)
	short.add(11*time.Millisecond, time.Microsecond)
	short.merge(long)
	out := short.sparse()
	if out.IntervalMs != 10 || len(out.Columns) != maxGridColumns/2+1 {
		t.Fatalf("%d columns of %v ms", len(out.Columns), out.IntervalMs)
	}
	if got, want := out.Columns[:2], [][][2]int64{{{79, 2}}, {{39, 1}}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestGridSchema(t *testing.T) {
	g := newLatencyGrid()
	g.add(0, time.Microsecond)
	g.add(0, time.Microsecond)
	g.add(12*time.Millisecond, time.Millisecond)
	got, err := json.Marshal(g.sparse())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"interval_ms":5,"steps_per_octave":4,"columns":[[[39,2]],[],[[79,1]]]}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if newLatencyGrid().sparse() != nil {
		t.Error("an empty grid is written")
	}
}

func TestStatm(t *testing.T) {
	for in, want := range map[string]int64{"312345 2671 1800 900 0 4000 0\n": 2671, "": 0, "x": 0, "1 x": 0} {
		if got := parseStatmResident([]byte(in)); got != want {
			t.Errorf("%q has %d resident pages, want %d", in, got, want)
		}
	}
	if residentOf(0) != 0 || clockOf(0) != 0 {
		t.Error("a process that is not known has CPU time or memory")
	}
}
