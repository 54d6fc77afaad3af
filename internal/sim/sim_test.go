package sim

import (
	"flag"
	"os"
	"testing"
)

var (
	firstSeed = flag.Uint64("sim.seed", 1, "first seed")
	seedCount = flag.Uint64("sim.count", 100, "how many seeds")
)

// Every seed keeps every promise.
func TestSeeds(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+*seedCount; seed++ {
		if r := Run(Options{Seed: seed}, nil); r.Violation != "" {
			t.Errorf("seed %d: %s", seed, r.Violation)
		}
	}
}

var traceFile = flag.String("sim.trace", "", "file for the trace of -sim.seed")

// The trace of one seed, for reading.
func TestTrace(t *testing.T) {
	if *traceFile == "" {
		return
	}
	f, err := os.Create(*traceFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r := Run(Options{Seed: *firstSeed}, f); r.Violation != "" {
		t.Error(r.Violation)
	}
}
