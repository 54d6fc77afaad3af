package quorum

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet/internal/scenario"
)

// TestScenarios plays the stories in testdata; the commands are the methods of
// stage.
func TestScenarios(t *testing.T) {
	scenario.Run(t, "nothing happens", func(t *testing.T) scenario.Player {
		s := &stage{t: t}
		return func(_, command string) string {
			s.out.Reset()
			s.do(strings.Fields(command))
			return s.out.String()
		}
	})
}

// stage is a world whose news are written down.
type stage struct {
	t     *testing.T
	w     *world
	still []int32
	out   strings.Builder
	asked map[uint64]string // changes of the members under way, by id
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

// tell writes down what a node's Effects say.
func (s *stage) tell(id int32, e *Effects) {
	if e.CutOff {
		s.say("node %d is cut off", id)
	}
	if e.Ready {
		s.say("node %d leads in epoch %d", id, s.w.nodes[id].core.Leader().Epoch)
	}
	if e.Leader != nil && e.Leader.ID != id {
		if e.Leader.ID >= 0 {
			s.say("node %d follows node %d", id, e.Leader.ID)
		} else {
			s.say("node %d knows no leader", id)
		}
	}
	if e.Failed != nil {
		s.say("node %d failed: %v", id, e.Failed)
	}
	for _, d := range e.Done {
		what := s.asked[d.ID]
		if key := s.w.nodes[id].wants[d.ID]; key != "" {
			what = "change " + strings.TrimPrefix(key, "k")
		}
		if d.Err != nil {
			s.say("node %d: %s: %v", id, what, d.Err)
		} else {
			s.say("node %d: %s done", id, what)
		}
	}
}

// do runs one command:
//
//	group N                 N voters, all connected
//	run MS                  time passes
//	crash ID…, boot ID…     a booted node connects to all
//	still ID…               these get and do nothing, until: still
//	cut ID…, heal           connections break, and come back
//	deaf ID, mute ID        what is sent to it, or by it, is lost, until: heal
//	former ID               whom a leader followed, and for how long that was silent
//	change ID               a change is asked of a node
//	join ID                 a new node connects to all
//	new-disk ID             a node that is down gets an empty directory
//	add-voter ID by=ID, remove-voter ID by=ID
//	show                    what each node knows
func (s *stage) do(words []string) {
	ids := s.numbers(words[1:])
	switch words[0] {
	case "group":
		s.w = newWorld(s.t, 1, int(ids[0]))
		s.w.tell, s.asked = s.tell, map[uint64]string{}
		s.connectAll()
	case "run":
		s.w.run(s.w.nowMs+int64(ids[0]), s.still...)
	case "crash":
		for _, id := range ids {
			s.w.crash(id)
		}
	case "boot":
		for _, id := range ids {
			s.w.boot(id)
		}
		s.connectAll()
	case "still":
		s.still = ids
	case "cut":
		for _, id := range ids {
			for _, other := range s.w.ids {
				s.w.disconnect(id, other)
			}
		}
	case "deaf", "mute":
		for _, other := range s.w.ids {
			wire := [2]int32{other, ids[0]}
			if words[0] == "mute" {
				slices.Reverse(wire[:])
			}
			s.w.lost[wire] = true
		}
	case "former":
		former, silent := s.w.nodes[ids[0]].core.Former(s.w.nowMs)
		s.say("node %d led before, and is silent for %d ms", former, silent)
	case "heal":
		clear(s.w.lost)
		s.connectAll()
	case "change":
		before := s.w.changes
		if s.w.change(ids[0]); s.w.changes == before {
			s.say("node %d does not lead", ids[0])
		}
	case "join":
		s.w.add(ids[0], State{First: 1})
		s.connectAll()
	case "new-disk":
		s.w.lives[ids[0]]++
		s.w.nodes[ids[0]].disk, s.w.nodes[ids[0]].cfg.Self = State{First: 1}, s.w.self(ids[0])
	case "add-voter", "remove-voter":
		s.vote(words[0], ids[0], ids[1])
	case "show":
		s.show()
	default:
		s.t.Fatalf("unknown command %q", words[0])
	}
}

func (s *stage) vote(what string, id, by int32) {
	n := s.w.nodes[by]
	var asked uint64
	var err error
	if what == "add-voter" {
		asked, err = n.core.AddVoter(s.w.nowMs, s.w.self(id))
	} else {
		known := findVoter(n.core.Members(), id)
		asked, err = n.core.RemoveVoter(s.w.nowMs, id, known.Dir)
	}
	if err != nil {
		s.say("node %d: %v", by, err)
	} else {
		s.asked[asked] = fmt.Sprintf("%s %d", what, id)
	}
	s.w.effects(by)
}

func (s *stage) connectAll() {
	for _, a := range s.w.ids {
		for _, b := range s.w.ids {
			s.w.connect(a, b)
		}
	}
}

func (s *stage) show() {
	for _, id := range s.w.ids {
		c := s.w.nodes[id].core
		if c == nil {
			s.say("node %d is down", id)
			continue
		}
		var voters, observers []int32
		for _, m := range c.Members() {
			if c.Voting(m.ID) {
				voters = append(voters, m.ID)
			} else {
				observers = append(observers, m.ID)
			}
		}
		s.say("node %d: leader %d, %d changes, voters %v, observers %v", id, c.Leader().ID, len(c.Image().BrokerConfigs[""]), voters, observers)
	}
}

// numbers reads the numbers in words, those behind "by=" too.
func (s *stage) numbers(words []string) []int32 {
	var ids []int32
	for _, word := range words {
		n, err := strconv.Atoi(strings.TrimPrefix(word, "by="))
		if err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, int32(n))
	}
	return ids
}
