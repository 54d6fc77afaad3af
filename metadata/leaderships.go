package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// LeadershipsRecord changes the leadership of partitions of one topic and
// leaves their replicas as they are: one broker's failure is a few of these.
//
// In the log a change is an array of numbers instead of an object, because
// thousands of them lie between a failure and the new leaders:
//
//	{"topicId":"…","changes":[[partition,leader,leaderEpoch,partitionEpoch,recovering,[isr],[elr],[lastKnownElr]],…]}
//
// where recovering is 1 or 0.
type LeadershipsRecord struct {
	TopicID UUID
	Changes []Leadership
}

// Leadership is the part of a partition's state that failures and elections
// change; its fields are those of Partition.
type Leadership struct {
	Partition      int32
	Leader         int32
	LeaderEpoch    int32
	PartitionEpoch int32
	Recovering     bool
	ISR            []int32
	ELR            []int32
	LastKnownELR   []int32
}

func leadershipOf(partition int32, p *Partition) Leadership {
	return Leadership{
		Partition: partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		ISR: p.ISR, Recovering: p.Recovering, ELR: p.ELR, LastKnownELR: p.LastKnownELR,
	}
}

// set makes the change in p.
func (l *Leadership) set(p *Partition) {
	p.Leader, p.LeaderEpoch, p.PartitionEpoch = l.Leader, l.LeaderEpoch, l.PartitionEpoch
	p.ISR, p.Recovering, p.ELR, p.LastKnownELR = l.ISR, l.Recovering, l.ELR, l.LastKnownELR
}

func (r *LeadershipsRecord) apply(b *builder) error {
	topic, err := b.topic(r.TopicID)
	if err != nil {
		return err
	}
	states := make([]Partition, len(r.Changes))
	for i := range r.Changes {
		change := &r.Changes[i]
		old := topic.Partition(change.Partition)
		if old == nil {
			return fmt.Errorf("topic %s has no partition %d", topic.Name, change.Partition)
		}
		states[i] = *old
		change.set(&states[i])
		topic.Partitions[change.Partition] = &states[i]
	}
	return nil
}

// The text around the topic's id and before the changes.
const (
	leadershipsTopic   = `{"topicId":"`
	leadershipsChanges = `","changes":[`
)

// MarshalJSON writes the record as the log holds it.
func (r *LeadershipsRecord) MarshalJSON() ([]byte, error) {
	text := make([]byte, 0, 64+48*len(r.Changes))
	text = append(append(text, leadershipsTopic...), r.TopicID.String()...)
	text = append(text, leadershipsChanges...)
	for i := range r.Changes {
		if i > 0 {
			text = append(text, ',')
		}
		text = r.Changes[i].append(text)
	}
	return append(text, ']', '}'), nil
}

func (l *Leadership) append(text []byte) []byte {
	text = append(text, '[')
	recovering := int32(0)
	if l.Recovering {
		recovering = 1
	}
	for _, n := range [...]int32{l.Partition, l.Leader, l.LeaderEpoch, l.PartitionEpoch, recovering} {
		text = append(strconv.AppendInt(text, int64(n), 10), ',')
	}
	for i, ids := range [...][]int32{l.ISR, l.ELR, l.LastKnownELR} {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, '[')
		for j, id := range ids {
			if j > 0 {
				text = append(text, ',')
			}
			text = strconv.AppendInt(text, int64(id), 10)
		}
		text = append(text, ']')
	}
	return append(text, ']')
}

// UnmarshalJSON reads what MarshalJSON wrote, also with other white space.
func (r *LeadershipsRecord) UnmarshalJSON(text []byte) error {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return err
	}
	if !r.parse(compact.Bytes()) {
		return fmt.Errorf("it is not an object of a topicId and changes")
	}
	return nil
}

// parse reads what MarshalJSON wrote and nothing else.
func (r *LeadershipsRecord) parse(text []byte) bool {
	rest, ok := bytes.CutPrefix(text, []byte(leadershipsTopic))
	id, rest, found := bytes.Cut(rest, []byte(leadershipsChanges))
	if !ok || !found || r.TopicID.UnmarshalText(id) != nil {
		return false
	}
	s := numberScanner{text: rest, ids: make([]int32, 0, len(rest)/8)}
	r.Changes = make([]Leadership, 0, bytes.Count(rest, []byte("]]")))
	for more := s.peek() == '['; more && !s.failed; {
		r.Changes = append(r.Changes, s.leadership())
		if more = s.peek() == ','; more {
			s.skip(',')
		}
	}
	s.skip(']')
	s.skip('}')
	return !s.failed && len(s.text) == 0
}

// numberScanner reads arrays of numbers. ids holds all of them, so that a
// thousand small lists are one allocation.
type numberScanner struct {
	text   []byte
	ids    []int32
	failed bool
}

func (s *numberScanner) peek() byte {
	if len(s.text) == 0 {
		return 0
	}
	return s.text[0]
}

func (s *numberScanner) skip(c byte) {
	if s.peek() != c {
		s.failed, s.text = true, nil
		return
	}
	s.text = s.text[1:]
}

func (s *numberScanner) leadership() Leadership {
	var l Leadership
	s.skip('[')
	for _, n := range [...]*int32{&l.Partition, &l.Leader, &l.LeaderEpoch, &l.PartitionEpoch} {
		*n = s.number()
		s.skip(',')
	}
	l.Recovering = s.number() == 1
	for _, ids := range [...]*[]int32{&l.ISR, &l.ELR, &l.LastKnownELR} {
		s.skip(',')
		*ids = s.list()
	}
	s.skip(']')
	return l
}

// number reads a decimal number of 32 bits.
func (s *numberScanner) number() int32 {
	end := 0
	for end < len(s.text) && (s.text[end] == '-' && end == 0 || s.text[end] >= '0' && s.text[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(string(s.text[:end]), 10, 32)
	if err != nil {
		s.failed, s.text = true, nil
		return 0
	}
	s.text = s.text[end:]
	return int32(n)
}

func (s *numberScanner) list() []int32 {
	s.skip('[')
	if s.peek() == ']' {
		s.skip(']')
		return nil
	}
	from := len(s.ids)
	for !s.failed {
		s.ids = append(s.ids, s.number())
		if s.peek() != ',' {
			break
		}
		s.skip(',')
	}
	s.skip(']')
	return s.ids[from:len(s.ids):len(s.ids)]
}
