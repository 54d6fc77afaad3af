package group

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

var rewrite = flag.Bool("rewrite", false, "write the observed output into testdata/*.txt")

// TestScenarios runs the scripts in testdata. A script is prose (lines starting
// with #), and commands, each followed by a line of dashes and what the Machine
// did. The commands are the methods of scenario named do….
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios in testdata: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			after := runScript(t, string(before))
			if *rewrite {
				if err := os.WriteFile(file, []byte(after), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if after != string(before) {
				t.Errorf("%s differs; run with -rewrite and read the diff. Got:\n%s", file, firstDifference(string(before), after))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return fmt.Sprintf("line %d:\n  want %q\n  got  %q", i+1, strings.Join(w[min(i, len(w)):min(i+1, len(w))], ""), g[i])
		}
	}
	return "the script has more lines than the output"
}

func runScript(t *testing.T, script string) string {
	s := newScenario(t)
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(script, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line == "" || strings.HasPrefix(line, "#") {
			out.WriteString(line + "\n")
			continue
		}
		var commands []string
		for ; i < len(lines) && lines[i] != "" && lines[i] != "----"; i++ {
			commands = append(commands, lines[i])
		}
		s.out.Reset()
		for _, command := range commands {
			out.WriteString(command + "\n")
			s.run(command)
		}
		result := s.out.String()
		if result == "" {
			result = "ok\n"
		}
		out.WriteString("----\n" + result)
		for i+1 < len(lines) && i < len(lines) && lines[i] != "" {
			i++ // the old output
		}
		if i < len(lines) && lines[i] == "" && i < len(lines)-1 {
			out.WriteString("\n")
		}
	}
	return out.String()
}

// scenario drives one Machine. Time starts at 0. Appends complete at once
// unless "appends manual" was said.
type scenario struct {
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

func newScenario(t *testing.T) *scenario {
	s := &scenario{t: t, cfg: DefaultConfig(), names: map[Token]string{}, answered: map[Token]bool{}}
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

func (s *scenario) run(command string) {
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

func (s *scenario) config(a args) {
	s.cfg.InitialRebalanceDelayMs = int32(a.int("group.initial.rebalance.delay.ms", int64(s.cfg.InitialRebalanceDelayMs)))
	s.cfg.MaxSize = int(a.int("group.max.size", int64(s.cfg.MaxSize)))
	s.cfg.OffsetMetadataMaxBytes = int(a.int("offset.metadata.max.bytes", int64(s.cfg.OffsetMetadataMaxBytes)))
	s.cfg.OffsetsRetentionMs = a.int("offsets.retention.ms", s.cfg.OffsetsRetentionMs)
	s.m.cfg = s.cfg
}

func (s *scenario) step(ev Event) {
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

func (s *scenario) done(e *kerr.Error, a args) {
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
func (s *scenario) advance(ms int64) {
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

func (s *scenario) restart() {
	s.m = NewMachine(s.cfg)
	for i, r := range s.log {
		if _, err := s.m.Replay(int64(i), noProducerID, r); err != nil {
			s.t.Fatal(err)
		}
	}
	s.appends = nil
	s.step(Loaded{})
}

func (s *scenario) dump() {
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

func (s *scenario) request(name string, a args) {
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
