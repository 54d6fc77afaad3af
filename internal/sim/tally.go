package sim

import (
	"fmt"
	"strings"
)

// count is one thing that trouble does.
type count uint8

// What is counted: each kind of fault as often as it was made, not merely
// drawn, and what came of them below.
const (
	countLost       = count(faultKinds) + iota // messages sent again after a while
	countDelayed                               // messages on a congested connection
	countOvertaken                             // messages that arrived after later ones of another connection
	countStalled                               // messages held up by a cut link
	countDropped                               // unsynced sectors that were not written
	countTorn                                  // unsynced writes of which a part was written
	countMisplaced                             // unsynced sectors written elsewhere
	countUndone                                // unsynced changes of directories that were undone
	countSyncErrors                            // failed fsyncs
	countNoSpace                               // writes refused by a full disk
	countKinds
)

var effectNames = [countKinds - count(faultKinds)]string{"messages lost", "messages delayed", "messages overtaken", "messages stalled",
	"sectors lost", "writes torn", "sectors misdirected", "names lost", "fsyncs failed", "writes without space"}

// tally counts what was done to one world.
type tally [countKinds]int64

// add adds another run's.
func (t *tally) add(o *tally) {
	for i := range t {
		t[i] += o[i]
	}
}

// each visits every kind in a fixed order, those that never happened too.
func (t *tally) each(visit func(name string, n int64)) {
	for i, n := range t {
		if i < int(faultKinds) {
			visit(faultNames[i], n)
		} else {
			visit(effectNames[i-int(faultKinds)], n)
		}
	}
}

// String is "kill 12, power 3, …", without what never happened.
func (t *tally) String() string {
	var parts []string
	t.each(func(name string, n int64) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	})
	return strings.Join(parts, ", ")
}

// Faults says how often each kind of trouble was made in a run, or in many.
type Faults struct{ tally tally }

// Add adds those of another run.
func (f *Faults) Add(o Faults) { f.tally.add(&o.tally) }

// Made is how many times trouble was made, of whatever kind.
func (f *Faults) Made() (n int64) {
	for _, one := range f.tally[:faultKinds] {
		n += one
	}
	return n
}

// Each visits every kind and what came of them, those that never happened too.
func (f *Faults) Each(visit func(name string, n int64)) { f.tally.each(visit) }

func (f Faults) String() string { return f.tally.String() }
