package history

import (
	"slices"
	"strings"
	"testing"
)

// scene is a history of writes with a clock that ticks at each event, and the log they went to.
type scene struct {
	History
	now int64
	log []Read
}

func (s *scene) tick() int64 { s.now++; return s.now }

// append writes one record of a producer and acknowledges it.
func (s *scene) append(producer, partition int32) ID {
	id := s.Invoke(producer, partition, s.tick())
	s.OK(id, s.place(id, partition), s.tick())
	return id
}

// place puts a record at the end of a partition.
func (s *scene) place(id ID, partition int32) int64 {
	offset := int64(0)
	for _, r := range s.log {
		if r.Partition == partition {
			offset = r.Offset + 1
		}
	}
	s.log = append(s.log, Read{Partition: partition, Offset: offset, ID: id})
	return offset
}

// filled is a scene of two producers, one of them idempotent, with 100 records each over two partitions.
func filled() *scene {
	s := &scene{}
	s.AddProducer(true)
	s.AddProducer(false)
	for i := range int32(200) {
		s.append(i%2, (i/2)%2)
	}
	return s
}

// wantViolation checks that the report has one violation at least, and of the given clause.
func wantViolation(t *testing.T, r Report, clause string) {
	t.Helper()
	if !slices.ContainsFunc(r.Violations, func(v string) bool { return strings.HasPrefix(v, clause) }) {
		t.Errorf("no violation of %s is reported; the report is %+v", clause, r)
	}
}

func TestCleanHistoryHolds(t *testing.T) {
	s := filled()
	r := s.Check(s.log, s.log[50:100])
	if r.Broken != 0 || r.Acked != 200 || r.Verified != 200 || r.Repeated != 0 {
		t.Errorf("a clean history gives %+v", r)
	}
}

// The negative controls: each breaks a clean log in one way, and Check must complain about that clause.

func TestDroppedAckedRecordIsFound(t *testing.T) {
	for at := range filled().log {
		s := filled()
		r := s.Check(slices.Delete(s.log, at, at+1))
		wantViolation(t, r, "(b)")
		if r.Verified != r.Acked-1 {
			t.Fatalf("dropping read %d leaves %d of %d verified", at, r.Verified, r.Acked)
		}
	}
}

func TestDroppedTailIsFound(t *testing.T) {
	s := filled()
	wantViolation(t, s.Check(s.log[:len(s.log)-1]), "(b)")
	wantViolation(t, s.Check(nil), "(b)")
}

func TestDoubledRecordIsFound(t *testing.T) {
	s := filled()
	s.place(ID{Producer: 0, Counter: 7}, 1)
	wantViolation(t, s.Check(s.log), "(b)")
}

func TestRepeatWithoutIdempotenceIsAllowed(t *testing.T) {
	s := filled()
	s.place(ID{Producer: 1, Counter: 7}, 1)
	if r := s.Check(s.log); r.Broken != 0 || r.Repeated != 1 {
		t.Errorf("a repeat of a producer without idempotence gives %+v", r)
	}
}

func TestRefusedRecordIsFound(t *testing.T) {
	s := filled()
	id := s.Invoke(0, 0, s.tick())
	s.Fail(id, s.tick())
	if r := s.Check(s.log); r.Broken != 0 {
		t.Errorf("a refused write that is absent gives %+v", r)
	}
	s.place(id, 0)
	wantViolation(t, s.Check(s.log), "(c)")
}

func TestUnansweredRecordMayBeThereOrNot(t *testing.T) {
	s := filled()
	s.Invoke(0, 0, s.tick())
	s.place(s.Invoke(1, 1, s.tick()), 1)
	if r := s.Check(s.log); r.Broken != 0 || r.Unknown != 2 || r.Present != 1 {
		t.Errorf("two writes without an answer give %+v", r)
	}
}

func TestSwappedRecordsAreFound(t *testing.T) {
	s := filled()
	s.log[0].ID, s.log[4].ID = s.log[4].ID, s.log[0].ID // both of producer 0 in partition 0
	r := s.Check(s.log)
	wantViolation(t, r, "(d)")
	wantViolation(t, r, "(b)") // neither stands where it was acknowledged
}

func TestReorderedAcknowledgementsAreFound(t *testing.T) {
	s := &scene{}
	p, q := s.AddProducer(true), s.AddProducer(true)
	first := s.Invoke(p, 0, s.tick())
	s.OK(first, 1, s.tick())
	second := s.Invoke(q, 0, s.tick()) // begins after the first is acknowledged
	s.OK(second, 0, s.tick())
	wantViolation(t, s.Check([]Read{{0, 0, second}, {0, 1, first}}), "(e)")
}

func TestOverlappingWritesMayTakeAnyOrder(t *testing.T) {
	s := &scene{}
	p, q := s.AddProducer(true), s.AddProducer(true)
	first, second := s.Invoke(p, 0, 1), s.Invoke(q, 0, 2)
	s.OK(first, 1, 3)
	s.OK(second, 0, 4)
	if r := s.Check([]Read{{0, 0, second}, {0, 1, first}}); r.Broken != 0 {
		t.Errorf("two overlapping writes give %+v", r)
	}
}

func TestChangedOffsetIsFound(t *testing.T) {
	s := filled()
	seen := slices.Clone(s.log)
	seen[10].ID.Counter++ // an earlier reader saw something else at this offset
	wantViolation(t, s.Check(s.log, seen), "(a)")
	beyond := append(slices.Clone(s.log), Read{Partition: 0, Offset: 1 << 40, ID: ID{0, 1}})
	wantViolation(t, s.Check(s.log, beyond), "(a)")
}

func TestForeignRecordIsFound(t *testing.T) {
	s := filled()
	s.place(ID{Producer: 5, Counter: 0}, 0)
	wantViolation(t, s.Check(s.log), "(a)")
	s = filled()
	s.log[3].Partition = 9
	wantViolation(t, s.Check(s.log), "(a)")
}

func TestForgivenTailMayBeLost(t *testing.T) {
	s := filled()
	from := s.log[150].Offset
	in := func(r Read) bool { return r.Partition == s.log[150].Partition && r.Offset >= from }
	count := int64(0)
	for _, r := range s.log {
		if in(r) {
			count++
		}
	}
	if n := s.Forgive(s.log[150].Partition, from); n != count || s.Acked() != 200-count {
		t.Errorf("%d of %d writes are forgiven, %d are left", n, count, s.Acked())
	}
	kept := slices.DeleteFunc(slices.Clone(s.log), in)
	if r := s.Check(kept); r.Broken != 0 || r.Unknown != count {
		t.Errorf("the tail is lost: %+v", r)
	}
	if r := s.Check(s.log); r.Broken != 0 || r.Present != count {
		t.Errorf("the tail is there: %+v", r)
	}
	wantViolation(t, s.Check(kept[1:]), "(b)") // nothing else is
}

func TestSentencesAreBounded(t *testing.T) {
	s := filled()
	if r := s.Check(nil); len(r.Violations) != maxViolations || r.Broken != 200 {
		t.Errorf("200 lost records give %d sentences and a count of %d", len(r.Violations), r.Broken)
	}
}

// A write acknowledged without its offset has to be there, anywhere, and says nothing about time.
func TestAcknowledgementWithoutOffset(t *testing.T) {
	s := filled()
	id := s.Invoke(0, 0, s.tick())
	s.place(id, 0)
	s.append(1, 0)
	s.OK(id, UnknownOffset, s.tick())
	s.append(1, 0)
	if r := s.Check(s.log); r.Broken != 0 || r.Verified != 203 {
		t.Errorf("it stands in the log: %+v", r)
	}
	lost := slices.DeleteFunc(slices.Clone(s.log), func(r Read) bool { return r.ID == id })
	wantViolation(t, s.Check(lost), "(b)")
}
