package sim

import (
	"bytes"
	"flag"
	"strings"
	"testing"
)

var (
	firstSeed = flag.Uint64("sim.seed", 1, "first seed of TestSeeds")
	seedCount = flag.Uint64("sim.count", 500, "seeds of TestSeeds")
)

// testTicks is how long the trouble of a run lasts here, in virtual ms; freshet
// sim and make sim run longer ones.
const testTicks = 4000

// Every promise is kept under every seed, and between them the seeds make every
// kind of trouble.
func TestSeeds(t *testing.T) {
	count := *seedCount
	if testing.Short() {
		count = min(count, 50)
	}
	var faults Faults
	for seed := *firstSeed; seed < *firstSeed+count; seed++ {
		r := Run(Options{Seed: seed, Ticks: testTicks}, nil)
		faults.Add(r.Faults)
		if r.Violation != "" {
			t.Errorf("seed %d: %s\nsee it: freshet sim --seed %d --ticks %d --trace", seed, r.Violation, seed, testTicks)
		}
	}
	if count < 500 {
		return
	}
	t.Logf("%s", faults)
	faults.Each(func(name string, n int64) {
		if n < 10 {
			t.Errorf("in %d seeds there was %q %d times: that trouble is not made", count, name, n)
		}
	})
}

// Seeds that found bugs, at the length at which they did. What a seed does
// changes when the simulator or the code draws another number, so they are
// kept for what they were worth, in the order in which they were found.
func TestSeedsThatFoundBugs(t *testing.T) {
	for _, seed := range []uint64{
		3,    // a log with a hole behind a quarantined part kept its place in the ISR
		110,  // kill -9 of all after one power loss elected the replica that had lost its data
		193,  // followers of an idle partition never heard that the ISR is large enough again
		303,  // an idle stream to a machine that lost power kept its old broker epoch for ever
		528,  // a segment that was never synced was empty after a power loss, and nobody noticed
		14,   // a retry of an older batch in flight was refused after a restart from a snapshot
		1549, // a broker killed before it learned its epoch lost its eligibility
		1653, // leader epochs that a truncation had cut came back after a crash
		82,   // a truncation at the start of a hole excused holes that a power loss made before it
		2973, // records that were recovered after kill -9 had never been synced, with flush.messages=1
		1457, // the same, and the leader elected without them
	} {
		if r := Run(Options{Seed: seed}, nil); r.Violation != "" {
			t.Errorf("seed %d: %s\nsee it: freshet sim --seed %d --trace", seed, r.Violation, seed)
		}
	}
}

// A seed is one run: its trace is the same every time. Seed 6038 fills a disk
// while checkpoints are written, whose order was that of a map.
func TestSeedsAreRepeatable(t *testing.T) {
	hash := Run(Options{Seed: 6038}, nil).Hash
	for range 4 {
		if again := Run(Options{Seed: 6038}, nil).Hash; again != hash {
			t.Errorf("seed 6038: the trace has hash %016x, and %016x when run again", hash, again)
		}
	}
	for seed := uint64(1); seed <= 20; seed++ {
		o := Options{Seed: seed * 37, Ticks: testTicks}
		first, again := Run(o, nil), Run(o, nil)
		if first.Hash != again.Hash || first.Lines != again.Lines || first.Events != again.Events {
			t.Errorf("seed %d: the trace has hash %016x over %d lines, and %016x over %d when run again",
				o.Seed, first.Hash, first.Lines, again.Hash, again.Lines)
		}
		if other := Run(Options{Seed: o.Seed + 1, Ticks: testTicks}, nil); other.Hash == first.Hash {
			t.Errorf("seeds %d and %d have the same trace", o.Seed, o.Seed+1)
		}
	}
}

// The trace is what its hash is of, and tells who, when and what.
func TestTraceIsReadable(t *testing.T) {
	var out bytes.Buffer
	r := Run(Options{Seed: 5, Ticks: 1000}, &out)
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if int64(len(lines)) != r.Lines || len(r.Tail) == 0 || r.Tail[len(r.Tail)-1] != lines[len(lines)-1] {
		t.Fatalf("%d lines were written, %d counted; the tail ends with %q", len(lines), r.Lines, r.Tail[len(r.Tail)-1:])
	}
	var brief bytes.Buffer
	Run(Options{Seed: 5, Ticks: 1000}, Outline(&brief))
	kept := strings.Split(strings.TrimRight(brief.String(), "\n"), "\n")
	if len(kept) < 10 || len(kept) > len(lines)/4 {
		t.Errorf("the outline of %d lines has %d", len(lines), len(kept))
	}
	for _, line := range kept {
		if line[whoColumn:whoColumn+2] != "* " {
			t.Errorf("the outline has the line %q, which is about one of many", line)
		}
	}
	for _, want := range []string{"* seed 5:", "is the active controller", "leads at epoch", "acknowledged at offset", "all is healed", "all kept:"} {
		if !strings.Contains(strings.ReplaceAll(out.String(), "*   ", "* "), want) {
			t.Errorf("nothing in the trace says %q", want)
		}
	}
}
