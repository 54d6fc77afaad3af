package metadata

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"freshet/internal/scenario"
)

// TestScenarios plays the stories in testdata. The commands are the methods of
// stage; every one changes the image by the records that a decision returned,
// and an image read back from a snapshot goes on.
func TestScenarios(t *testing.T) {
	scenario.Run(t, "", func(t *testing.T) scenario.Player {
		s := newStage(t)
		return func(_, command string) string { return s.run(command) }
	})
}

// stage is a cluster that consists of its metadata.
type stage struct {
	t    *testing.T
	c    *Controller
	img  *Image
	live *Liveness
	// recoveries wait a minute.
	recoveries *Recoveries
	now        int64
	// incarnations counts the starts of each broker.
	incarnations map[int32]byte
}

func newStage(t *testing.T) *stage {
	c := testController()
	c.Config = anyConfig{}
	recoveries := NewRecoveries(60_000)
	c.Longest = recoveries.Longest
	return &stage{
		t: t, c: c, img: mustApply(t, NewImage(), []Record{&ClusterRecord{ClusterID: "c"}}),
		live: NewLiveness(9000, 200), recoveries: recoveries, incarnations: map[int32]byte{},
	}
}

// anyConfig takes any configuration.
type anyConfig struct{ schema }

func (anyConfig) ValidateTopic(map[string]string) error { return nil }

// apply changes the image and describes the change.
func (s *stage) apply(records []Record, refusal *Error) string {
	if refusal != nil {
		return "refused: " + outcome(refusal) + "\n"
	}
	var out strings.Builder
	for _, loss := range Losses(s.img, records) {
		fmt.Fprintf(&out, "loss: %s\n", loss)
	}
	old := s.img
	s.img = mustApply(s.t, s.img, records)
	checkInvariants(s.t, old, s.img)
	for i := range s.img.Brokers {
		b := &s.img.Brokers[i]
		if was := old.Broker(b.ID); was == nil || !slices.Equal([]string{describeBroker(was)}, []string{describeBroker(b)}) {
			out.WriteString(describeBroker(b))
		}
	}
	for i := range old.Brokers {
		if id := old.Brokers[i].ID; s.img.Broker(id) == nil {
			fmt.Fprintf(&out, "broker %d: unregistered\n", id)
		}
	}
	for _, name := range sortedKeys(s.img.Features) {
		if level := s.img.Features[name]; old.Features[name] != level && len(old.Features) > 0 {
			fmt.Fprintf(&out, "feature %s: %d\n", name, level)
		}
	}
	for _, topic := range s.img.SortedTopics() {
		for i, p := range topic.ChangedSince(old.TopicByID(topic.ID)) {
			fmt.Fprintf(&out, "%s-%d: %s\n", topic.Name, i, describePartition(p))
		}
	}
	if out.Len() == 0 {
		return "no change\n"
	}
	return out.String()
}

func describeBroker(b *Broker) string {
	state := "active"
	switch {
	case b.Fenced:
		state = "fenced"
	case b.InControlledShutdown:
		state = fmt.Sprintf("shutting down since %d", b.ShutdownIndex)
	}
	rack := ""
	if b.Rack != "" {
		rack = ", rack " + b.Rack
	}
	if len(b.Dirs) != 1 {
		rack += fmt.Sprintf(", %d directories", len(b.Dirs))
	}
	return fmt.Sprintf("broker %d: epoch %d, %s%s\n", b.ID, b.Epoch, state, rack)
}

func describePartition(p *Partition) string {
	var out strings.Builder
	if p.Leader == noLeader {
		out.WriteString("no leader")
	} else {
		fmt.Fprintf(&out, "leader %d", p.Leader)
	}
	if p.Recovering {
		out.WriteString(" (recovering)")
	}
	fmt.Fprintf(&out, " epoch %d, isr %v", p.LeaderEpoch, p.ISR)
	for _, list := range []struct {
		name string
		ids  []int32
	}{{"elr", p.ELR}, {"last known elr", p.LastKnownELR}, {"replicas", p.Replicas}, {"adding", p.AddingReplicas}, {"removing", p.RemovingReplicas}} {
		if len(list.ids) > 0 {
			fmt.Fprintf(&out, ", %s %v", list.name, list.ids)
		}
	}
	fmt.Fprintf(&out, ", partition epoch %d", p.PartitionEpoch)
	return out.String()
}

// run plays one command.
func (s *stage) run(line string) string {
	fields := strings.Fields(line)
	args, named := []string{}, map[string]string{}
	for _, field := range fields[1:] {
		if key, value, ok := strings.Cut(field, "="); ok {
			named[key] = value
		} else {
			args = append(args, field)
		}
	}
	command, ok := stageCommands[fields[0]]
	if !ok {
		s.t.Fatalf("unknown command %q", line)
	}
	return command(s, args, named)
}

func (s *stage) number(text string) int32 {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		s.t.Fatal(err)
	}
	return int32(n)
}

func (s *stage) ids(text string) []int32 {
	ids := []int32{}
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		ids = append(ids, s.number(field))
	}
	return ids
}

// tp splits topic-0.
func (s *stage) tp(text string) TopicPartition {
	at := strings.LastIndexByte(text, '-')
	return TopicPartition{text[:at], s.number(text[at+1:])}
}

func (s *stage) partition(text string) (*Topic, *Partition) {
	tp := s.tp(text)
	topic := s.img.Topic(tp.Topic)
	if topic == nil || topic.Partition(tp.Partition) == nil {
		s.t.Fatalf("there is no partition %s", text)
	}
	return topic, topic.Partition(tp.Partition)
}

func has(args []string, word string) bool { return slices.Contains(args, word) }

// stageDir is directory n of a broker.
func stageDir(broker int32, n byte) UUID { return UUID{1, byte(broker), n} }
