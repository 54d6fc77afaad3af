package group

import "fmt"

// State is a classic group's state (Kafka: ClassicGroupState).
//
//	             first member joins
//	Empty ──────────────────────────────┐
//	  ▲                                 ▼
//	  │ join phase ends, no     PreparingRebalance ◄───────────┐
//	  └──────────── member ────────────┤     ▲                 │
//	                                   │     │ a member joins, │
//	          join phase ends ─────────┘     │ leaves, expires │
//	                   ▼                     │                 │
//	           CompletingRebalance ──────────┘                 │
//	                   │ assignment appended                   │
//	                   ▼                                       │
//	                Stable ────────────────────────────────────┘
//
// Dead is a group whose Machine was unloaded.
type State uint8

// The states of a classic group.
const (
	Empty State = iota
	PreparingRebalance
	CompletingRebalance
	Stable
	Dead
)

var stateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}

// String is the name that DescribeGroups and ListGroups answer with.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// mayFollow reports whether a group may go from state previous to s.
func (s State) mayFollow(previous State) bool {
	switch s {
	case PreparingRebalance:
		return previous == Stable || previous == CompletingRebalance || previous == Empty
	case CompletingRebalance, Empty:
		return previous == PreparingRebalance
	case Stable:
		return previous == CompletingRebalance
	}
	return true
}
