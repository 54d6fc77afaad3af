package group

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/internal/scenario"
)

// TestScenarios plays the stories in testdata; the commands are the methods of
// stage named do….
func TestScenarios(t *testing.T) {
	scenario.Run(t, "ok", func(t *testing.T) scenario.Player {
		s := newStage(t)
		return func(_, command string) string {
			s.out.Reset()
			s.run(command)
			return s.out.String()
		}
	})
}

// stage drives one Machine. Time starts at 0. Appends complete at once
// unless "appends manual" was said.
type stage struct {
	t        *testing.T
	cfg      Config
	m        *Machine
	now      int64
	token    Token
	names    map[Token]string
	manual   bool
	verbose  bool
	appends  []Effect
	log      []Record
	out      strings.Builder
	answered map[Token]bool
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, cfg: DefaultConfig(), names: map[Token]string{}, answered: map[Token]bool{}}
	s.m = NewMachine(s.cfg)
	return s
}

// args are a command's key=value words.
type args map[string]string

func (a args) str(key, def string) string {
	if v, ok := a[key]; ok {
		return v
	}
	return def
}

func (a args) ptr(key string) *string {
	if v, ok := a[key]; ok {
		return &v
	}
	return nil
}

func (a args) int(key string, def int64) int64 {
	v, ok := a[key]
	if !ok {
		return def
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s is not a number", key, v))
	}
	return n
}

func (a args) list(key string) []string {
	if a[key] == "" {
		return nil
	}
	return strings.Split(a[key], ",")
}

func (s *stage) run(command string) {
	words := strings.Fields(command)
	a := args{}
	var bare []string
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			a[k] = v
		} else {
			bare = append(bare, w)
		}
	}
	switch words[0] {
	case "config":
		s.config(a)
	case "appends":
		s.manual = bare[0] == "manual"
	case "log":
		s.verbose = bare[0] == "on"
	case "advance":
		s.advance(a.int("ms", 0))
	case "done":
		s.done(kerr.TypedErrorForCode(0), a)
	case "fail":
		s.done(errorNamed(a.str("error", "NOT_LEADER_FOR_PARTITION")), a)
	case "unload":
		s.step(Unload{})
	case "restart":
		s.restart()
	case "topics-deleted":
		s.step(TopicsDeleted{Topics: []DeletedTopic{{Name: a["topic"], ID: topicID(a)}}})
	case "dump":
		s.dump()
	default:
		s.request(words[0], a)
	}
}

func errorNamed(name string) *kerr.Error {
	for code := int16(-1); code < 200; code++ {
		if e := kerr.TypedErrorForCode(code); e != nil && e.Message == name {
			return e
		}
	}
	panic("no Kafka error is called " + name)
}

func (s *stage) config(a args) {
	s.cfg.InitialRebalanceDelayMs = int32(a.int("group.initial.rebalance.delay.ms", int64(s.cfg.InitialRebalanceDelayMs)))
	s.cfg.MaxSize = int(a.int("group.max.size", int64(s.cfg.MaxSize)))
	s.cfg.OffsetMetadataMaxBytes = int(a.int("offset.metadata.max.bytes", int64(s.cfg.OffsetMetadataMaxBytes)))
	s.cfg.OffsetsRetentionMs = a.int("offsets.retention.ms", s.cfg.OffsetsRetentionMs)
	s.m.cfg = s.cfg
}

func (s *stage) step(ev Event) {
	effects := append([]Effect(nil), s.m.Step(s.now, ev)...)
	for _, e := range effects {
		switch e.Kind {
		case Reply:
			if s.answered[e.Token] {
				s.t.Errorf("request %d is answered twice", e.Token)
			}
			s.answered[e.Token] = true
			fmt.Fprintf(&s.out, "reply %d: %s\n", e.Token, describe(e.Response))
		case Log:
			if s.verbose {
				fmt.Fprintf(&s.out, "log: %s\n", e.Text)
			}
		case Append:
			s.appends = append(s.appends, e)
			for _, r := range e.Records {
				fmt.Fprintf(&s.out, "append %d: %s\n", e.ID, describeRecord(r))
			}
		}
	}
	for !s.manual && len(s.appends) > 0 {
		e := s.appends[0]
		s.appends = s.appends[1:]
		s.log = append(s.log, e.Records...)
		s.step(Appended{ID: e.ID})
	}
}

func (s *stage) done(e *kerr.Error, a args) {
	id := uint64(a.int("append", int64(s.appends[0].ID)))
	for i, p := range s.appends {
		if p.ID != id {
			continue
		}
		s.appends = append(append([]Effect(nil), s.appends[:i]...), s.appends[i+1:]...)
		if e == nil {
			s.log = append(s.log, p.Records...)
			s.step(Appended{ID: id})
		} else {
			s.step(Appended{ID: id, Err: e})
		}
		return
	}
	s.t.Fatalf("append %d is not waiting", id)
}

// advance moves time, stopping at every deadline on the way.
func (s *stage) advance(ms int64) {
	end := s.now + ms
	for s.m.NextDeadline() <= end {
		s.now = max(s.now, s.m.NextDeadline())
		n := s.out.Len()
		s.step(Tick{})
		if s.out.Len() > n {
			text := s.out.String()
			s.out.Reset()
			fmt.Fprintf(&s.out, "%st=%d\n%s", text[:n], s.now, text[n:])
		}
	}
	s.now = end
}

func (s *stage) restart() {
	s.m = NewMachine(s.cfg)
	for i, r := range s.log {
		if _, err := s.m.Replay(int64(i), noProducerID, r); err != nil {
			s.t.Fatal(err)
		}
	}
	s.appends = nil
	s.step(Loaded{})
}

func (s *stage) dump() {
	for _, g := range s.m.sortedGroups() {
		fmt.Fprintf(&s.out, "group %s: %v generation=%d type=%q protocol=%q leader=%q awaiting=%d pendingJoin=%d pendingSync=%d\n",
			g.id, g.state, g.generation, g.protocolType, g.protocolName(), g.leader, g.awaitingJoin, len(g.pendingJoin), len(g.pendingSync))
		for _, mem := range g.order {
			instance := ""
			if mem.isStatic() {
				instance = " instance=" + *mem.instanceID
			}
			fmt.Fprintf(&s.out, "  member %s%s assignment=%q\n", mem.id, instance, mem.assignment)
		}
	}
	for _, id := range sortedKeys(s.m.offsets) {
		s.m.offsets[id].eachOffset(func(topic string, p int32, e *offsetEntry) {
			fmt.Fprintf(&s.out, "offset %s %s-%d: present=%v %d inflight=%d\n", id, topic, p, e.present, e.value.offset, e.inflight)
		})
	}
}

func topicID(a args) (id [16]byte) {
	copy(id[:], a["id"])
	return id
}

func (s *stage) request(name string, a args) {
	body := buildRequest(name, a)
	if body == nil {
		s.t.Fatalf("unknown command %q", name)
	}
	s.token++
	s.step(Request{Token: s.token, Body: body, ClientID: a.str("client", "c"), ClientHost: "/127.0.0.1", UUID: a.str("uuid", strconv.Itoa(int(s.token)))})
	if !s.answered[s.token] {
		fmt.Fprintf(&s.out, "request %d waits\n", s.token)
	}
}
