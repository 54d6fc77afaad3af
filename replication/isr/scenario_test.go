package isr

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet/internal/scenario"
)

// TestScenarios plays the stories in testdata; the commands are those of
// story.play.
func TestScenarios(t *testing.T) {
	scenario.Run(t, "ok", func(t *testing.T) scenario.Player {
		s := &story{t: t}
		return func(at, command string) string {
			s.at = at
			s.out.Reset()
			s.play(strings.Fields(command))
			return s.out.String()
		}
	})
}

// story is a scenario being played.
type story struct {
	t   *testing.T
	w   *world
	out bytes.Buffer
	at  string
}

// arg is the value of key= in a command, or def.
func (s *story) arg(args []string, key string, def int) int {
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, key+"="); ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				s.t.Fatalf("%s: %s wants a number: %q", s.at, key, v)
			}
			return n
		}
	}
	return def
}

// broker is the one that a word names.
func (s *story) broker(word string) *node {
	id, err := strconv.Atoi(word)
	if err != nil || id < 1 || id > len(s.w.nodes) {
		s.t.Fatalf("%s: %q is no broker", s.at, word)
	}
	return s.w.node(int32(id))
}

// conn is the open connection that a word like 1>2 names.
func (s *story) conn(word string) *conn {
	from, to, _ := strings.Cut(word, ">")
	for _, c := range s.w.conns {
		if c.open && c.from == s.broker(from) && c.to == s.broker(to) {
			return c
		}
	}
	s.t.Fatalf("%s: there is no open connection %s", s.at, word)
	return nil
}

// play carries out one command.
func (s *story) play(words []string) {
	name, args := words[0], words[1:]
	if name == "cluster" {
		s.w = newWorld(s.arg(args, "brokers", 3), s.arg(args, "min-isr", 1), int64(s.arg(args, "lag-ms", 30_000)), &s.out,
			func(format string, a ...any) { s.t.Fatalf("%s: "+format, append([]any{s.at}, a...)...) })
		s.w.batch = s.arg(args, "batch", 100)
		return
	}
	if s.playNetwork(name, args) || s.playBroker(name, args) || s.playController(name, args) {
		s.w.checkLogs()
		s.w.checkISR()
		return
	}
	s.t.Fatalf("%s: no command %q", s.at, name)
}

func (s *story) playNetwork(name string, args []string) bool {
	w := s.w
	switch name {
	case "push": // up to n pushes into the connection
		w.fill(s.conn(args[0]), s.arg(args, "n", 1))
	case "receive": // the follower handles what has come
		c := s.conn(args[0])
		for n := s.arg(args, "n", len(c.pushes)); n > 0; n-- {
			w.receive(c)
		}
	case "take": // the leader handles the results
		c := s.conn(args[0])
		for n := s.arg(args, "n", len(c.results)); n > 0; n-- {
			w.take(c)
		}
	case "settle": // all of these until nothing moves
		var cut []int32
		if id := s.arg(args, "without", 0); id > 0 {
			cut = append(cut, int32(id))
		}
		w.settle(cut...)
	case "lose": // the connection breaks, and what is in it is lost
		c := s.conn(args[0])
		c.pushes, c.results = nil, nil
		w.connect(c.from, c.to)
	case "reconnect": // the connection breaks, and what is in it may come yet
		c := s.conn(args[0])
		w.connect(c.from, c.to)
	case "leftovers": // it comes
		for _, c := range w.conns {
			for !c.open && len(c.pushes) > 0 {
				w.receive(c)
			}
			for !c.open && len(c.results) > 0 {
				w.take(c)
			}
		}
	default:
		return false
	}
	return true
}

func (s *story) playBroker(name string, args []string) bool {
	w := s.w
	switch name {
	case "produce":
		w.produce(s.broker(args[0]), s.arg(args, "count", 1))
	case "delete-records":
		w.deleteRecords(s.broker(args[0]), int64(s.arg(args, "before", 0)))
	case "learn":
		for _, n := range w.nodes {
			if slices.Contains(args, strconv.Itoa(int(n.id))) || args[0] == "all" {
				w.learn(n)
			}
		}
	case "crash":
		w.crash(s.broker(args[0]))
	case "restart":
		n := s.broker(args[0])
		w.restart(n, s.arg(args, "lose", 0), int64(s.arg(args, "checkpoint", int(n.hw))))
	case "shorten": // records vanish from a running broker's log
		n := s.broker(args[0])
		n.log.truncateTo(int64(s.arg(args, "to", 0)))
		n.hw = min(n.hw, n.log.LogEndOffset())
		w.lost++ // such things void what elections from the ISR promise
		w.committed = map[int64]entry{}
	case "tick":
		w.tick(int64(s.arg(args, "ms", 0)))
	case "logs":
		for _, n := range w.nodes {
			s.printBroker(n)
		}
	case "senders":
		n := s.broker(args[0])
		for _, id := range w.replicas {
			if sender := n.senders[id]; sender != nil {
				pushes, _ := sender.InFlight()
				w.printf("%d>%d %s acked %d, %d in flight", n.id, id, sender.State(), sender.Acked(), pushes)
			}
		}
	default:
		return false
	}
	return true
}

func (s *story) printBroker(n *node) {
	role := fmt.Sprintf("follows %d", n.view.leader)
	if n.leader != nil {
		role = fmt.Sprintf("leads, isr %v", n.leader.ISR())
		if p := n.leader.Pending(); p != nil {
			role += fmt.Sprintf(", proposed %v", p.ISR)
		}
		if n.leader.UnderMinISR() {
			role += ", under min.insync.replicas"
		}
		if !n.leader.Available() {
			role += ", latest offset not available"
		}
	}
	if !n.up {
		role = "down"
	}
	s.w.printf("%d: %v high watermark %d; epoch %d, %s", n.id, &n.log, n.hw, n.view.leaderEpoch, role)
}

func (s *story) playController(name string, args []string) bool {
	w := s.w
	switch name {
	case "decide":
		for len(w.requests) > 0 {
			w.decide()
		}
	case "answer":
		for len(w.answers) > 0 {
			if code := s.arg(args, "code", 0); code > 0 {
				w.answers[0].r = ProposalResult{Proposal: w.answers[0].r.Proposal, Code: int16(code)}
			}
			w.answer()
		}
	case "elect":
		w.elect(s.broker(args[0]).id)
	case "fence":
		w.fence(s.broker(args[0]).id)
	case "unfence":
		w.unfence(s.broker(args[0]).id)
	case "image":
		w.printf("%v", w.image)
	default:
		return false
	}
	return true
}
