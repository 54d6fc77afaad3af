package sim

// Time is virtual microseconds since the start of a run.
type Time int64

// Units of virtual time.
const (
	microsecond Time = 1
	millisecond Time = 1000
	second      Time = 1_000_000
)

// Ms is the time in whole milliseconds.
func (t Time) Ms() int64 { return int64(t / millisecond) }

// event is something that happens at a moment. Events of the same moment
// happen in the order in which they were scheduled.
type event struct {
	at  Time
	seq uint64
	run func()
}

func (e *event) before(o *event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

// scheduler is the heap of events: the only source of time and order.
type scheduler struct {
	now   Time
	seq   uint64
	heap  []event
	count int64 // events run
}

// at schedules run for a moment; one in the past happens now.
func (s *scheduler) at(t Time, run func()) {
	s.seq++
	s.heap = append(s.heap, event{at: max(t, s.now), seq: s.seq, run: run})
	i := len(s.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !s.heap[i].before(&s.heap[parent]) {
			return
		}
		s.heap[i], s.heap[parent] = s.heap[parent], s.heap[i]
		i = parent
	}
}

func (s *scheduler) after(d Time, run func()) { s.at(s.now+d, run) }

// step runs the next event unless it lies beyond limit.
func (s *scheduler) step(limit Time) bool {
	if len(s.heap) == 0 || s.heap[0].at > limit {
		return false
	}
	e := s.heap[0]
	last := len(s.heap) - 1
	s.heap[0] = s.heap[last]
	s.heap[last] = event{}
	s.heap = s.heap[:last]
	s.sink()
	s.now = e.at
	s.count++
	e.run()
	return true
}

func (s *scheduler) sink() {
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s.heap); child++ {
			if s.heap[child].before(&s.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		s.heap[i], s.heap[least] = s.heap[least], s.heap[i]
		i = least
	}
}
