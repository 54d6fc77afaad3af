package placement

import (
	"fmt"
	"sort"
)

// Broker is a broker that may hold replicas.
type Broker struct {
	ID   int32
	Rack string // empty: unknown; brokers without a rack count as each its own
	// DiskBytes is the size of its log directories' file systems and FreeBytes
	// what is left on them; 0 and 0 when the broker does not tell.
	DiskBytes, FreeBytes int64
}

// Partition is a partition with its replicas, the preferred leader first, and
// the bytes of one replica.
type Partition struct {
	Topic     string
	Partition int32
	Replicas  []int32
	Bytes     int64
}

// String is the partition's name as Kafka prints it.
func (p *Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Partition) }

// Move changes a partition's replicas. CopyBytes is what has to be copied, 0
// when only the order changes.
type Move struct {
	Topic     string
	Partition int32
	From, To  []int32
	CopyBytes int64
}

// state is the cluster while a plan is made. brokers hold the counts of what
// the plan leads to.
type state struct {
	brokers    []*load
	byID       map[int32]*load
	partitions []*placed
	racks      int // how many there are; they are numbered from 0
}

// load is what a broker will hold.
type load struct {
	Broker
	rack              int // number of its rack
	replicas, leaders int
	topics            map[string]int // replicas by topic
	bytes             int64          // of all its replicas
	before            int64          // bytes when the plan began
}

// placed is a partition with the replicas it will have.
type placed struct {
	*Partition
	now   []int32
	fixed bool // stays as it is
}

func newState(brokers []Broker, partitions []Partition) *state {
	s := &state{byID: map[int32]*load{}}
	for _, b := range brokers {
		l := &load{Broker: b, topics: map[string]int{}}
		s.brokers = append(s.brokers, l)
		s.byID[b.ID] = l
	}
	sort.Slice(s.brokers, func(i, j int) bool { return s.brokers[i].ID < s.brokers[j].ID })
	racks := map[string]int{}
	for _, l := range s.brokers {
		number, known := racks[l.Rack]
		if !known || l.Rack == "" {
			number = s.racks
			racks[l.Rack] = number
			s.racks++
		}
		l.rack = number
	}
	for i := range partitions {
		p := &placed{Partition: &partitions[i], now: append([]int32(nil), partitions[i].Replicas...)}
		s.partitions = append(s.partitions, p)
		for n, id := range p.now {
			if l := s.byID[id]; l != nil {
				l.add(p, 1)
				if n == 0 {
					l.leaders++
				}
			}
		}
	}
	sort.SliceStable(s.partitions, func(i, j int) bool {
		a, b := s.partitions[i], s.partitions[j]
		if a.Topic != b.Topic {
			return a.Topic < b.Topic
		}
		return a.Partition.Partition < b.Partition.Partition
	})
	for _, l := range s.brokers {
		l.before = l.bytes
	}
	return s
}

func (l *load) add(p *placed, n int) {
	l.replicas += n
	l.topics[p.Topic] += n
	l.bytes += int64(n) * p.Bytes
}

// fill is how full the broker's disk is, or what it holds where that is
// unknown, so that smaller is emptier. extra bytes are counted in.
func (l *load) fill(extra int64) float64 {
	if l.DiskBytes <= 0 {
		return float64(l.bytes + extra)
	}
	used := l.DiskBytes - l.FreeBytes + l.bytes - l.before + extra
	return float64(used) / float64(l.DiskBytes)
}

// reservePart of a disk is left free by plans.
const reservePart = 10

// hasRoom reports whether extra bytes leave a tenth of the disk free.
func (l *load) hasRoom(extra int64) bool {
	if l.DiskBytes <= 0 || extra == 0 {
		return true
	}
	return l.FreeBytes-(l.bytes-l.before)-extra >= l.DiskBytes/reservePart
}

// holds reports whether the partition has a replica on id.
func (p *placed) holds(id int32) bool {
	for _, r := range p.now {
		if r == id {
			return true
		}
	}
	return false
}

// move puts dst in src's place. src may be a broker that is gone.
func (s *state) move(p *placed, src int32, dst *load) {
	for i, id := range p.now {
		if id != src {
			continue
		}
		p.now[i] = dst.ID
		dst.add(p, 1)
		if i == 0 {
			dst.leaders++
		}
		if l := s.byID[src]; l != nil {
			l.add(p, -1)
			if i == 0 {
				l.leaders--
			}
		}
		return
	}
}

// rackOf is the number of a broker's rack; a broker that is gone counts as a
// rack of its own, with a negative number.
func (s *state) rackOf(id int32) int {
	if l := s.byID[id]; l != nil {
		return l.rack
	}
	return -1 - int(id)
}

// inRack counts p's replicas, other than the one on skip, in a rack.
func (s *state) inRack(p *placed, skip int32, rack int) int {
	n := 0
	for _, id := range p.now {
		if id != skip && s.rackOf(id) == rack {
			n++
		}
	}
	return n
}

// spans counts the racks of p's replicas.
func (s *state) spans(p *placed) int {
	n := 0
	for i, id := range p.now {
		first := true
		for _, before := range p.now[:i] {
			first = first && s.rackOf(before) != s.rackOf(id)
		}
		if first {
			n++
		}
	}
	return n
}

// keepsRacks reports whether p spans no fewer racks with dst in src's place.
func (s *state) keepsRacks(p *placed, src int32, dst *load) bool {
	from := s.rackOf(src)
	return from == dst.rack || s.inRack(p, src, dst.rack) == 0 || s.inRack(p, src, from) > 0
}

// allowed reports whether p may move from src to dst.
func (s *state) allowed(p *placed, src, dst *load) bool {
	return !p.fixed && p.holds(src.ID) && !p.holds(dst.ID) && s.keepsRacks(p, src.ID, dst) && dst.hasRoom(p.Bytes)
}

// moves lists what changed, in the order of the partitions.
func (s *state) moves() []Move {
	var moves []Move
	for _, p := range s.partitions {
		if equal(p.Replicas, p.now) {
			continue
		}
		m := Move{Topic: p.Topic, Partition: p.Partition.Partition, From: p.Replicas, To: p.now}
		for _, id := range p.now {
			if !contains(p.Replicas, id) {
				m.CopyBytes += p.Bytes
			}
		}
		moves = append(moves, m)
	}
	return moves
}

func equal(a, b []int32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func contains(list []int32, id int32) bool {
	for _, x := range list {
		if x == id {
			return true
		}
	}
	return false
}
