package placement

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// sorted returns a copy of list, stably sorted.
func sorted[T any](list []T, less func(a, b T) bool) []T {
	list = append([]T(nil), list...)
	sort.SliceStable(list, func(i, j int) bool { return less(list[i], list[j]) })
	return list
}

// NoRoomError says that a broker cannot be emptied, and why.
type NoRoomError struct {
	Leaving    int32
	Partitions []string // that have nowhere to go
	Replicas   int      // the most that one of them has
	Brokers    int      // that would remain
	Bytes      int64    // of the largest, when only room is missing
}

// Error says what is in the way and what to do.
func (e *NoRoomError) Error() string {
	names := e.Partitions
	more := ""
	if len(names) > 5 {
		names, more = names[:5], fmt.Sprintf(" and %d more", len(e.Partitions)-5)
	}
	what := strings.Join(names, ", ") + more
	if e.Bytes > 0 {
		return fmt.Sprintf("broker %d cannot be emptied: no other broker has room on its disks for %s (the largest is %d bytes, and a tenth of each disk stays free); "+
			"free space, or add a broker", e.Leaving, what, e.Bytes)
	}
	return fmt.Sprintf("broker %d cannot be emptied: %d other broker(s) would be left for %d replicas of %s; "+
		"add a broker, or lower the number of replicas first", e.Leaving, e.Brokers, e.Replicas, what)
}

// Decommission plans to move every replica off the broker called leaving, which
// may be gone already. brokers are those that may take replicas; leaving is
// passed over among them. The largest partitions go first, each to a broker
// where it fits, on another rack than its other replicas where there is one,
// and then to where its topic and all topics have fewest replicas and the disk
// is emptiest.
func Decommission(brokers []Broker, partitions []Partition, leaving int32) ([]Move, error) {
	var rest []Broker
	for _, b := range brokers {
		if b.ID != leaving {
			rest = append(rest, b)
		}
	}
	s := newState(rest, partitions)
	refused := &NoRoomError{Leaving: leaving, Brokers: len(rest)}
	touched := map[*placed]bool{}
	for _, p := range sorted(s.partitions, func(a, b *placed) bool { return a.Bytes > b.Bytes }) {
		if !p.holds(leaving) {
			continue
		}
		dst, full := s.refuge(p, leaving)
		switch {
		case dst != nil:
			s.move(p, leaving, dst)
			touched[p] = true
		case full:
			refused.Partitions = append(refused.Partitions, p.String())
			refused.Bytes = max(refused.Bytes, p.Bytes)
		default:
			refused.Partitions = append(refused.Partitions, p.String())
			refused.Replicas = max(refused.Replicas, len(p.now))
		}
	}
	if len(refused.Partitions) > 0 {
		sort.Strings(refused.Partitions)
		if refused.Replicas > 0 {
			refused.Bytes = 0
		}
		return nil, refused
	}
	s.balanceLeaders(func(p *placed) bool { return touched[p] })
	return s.moves(), nil
}

// refuge finds where p's replica on src may go; full is true when only room is
// missing.
func (s *state) refuge(p *placed, src int32) (dst *load, full bool) {
	var best *load
	for _, l := range s.brokers {
		switch {
		case p.holds(l.ID):
			continue
		case !l.hasRoom(p.Bytes):
			full = true
			continue
		case best == nil || s.betterRefuge(p, src, l, best):
			best = l
		}
	}
	return best, full
}

func (s *state) betterRefuge(p *placed, src int32, a, b *load) bool {
	if x, y := s.inRack(p, src, a.rack), s.inRack(p, src, b.rack); x != y {
		return x < y
	}
	if x, y := a.topics[p.Topic], b.topics[p.Topic]; x != y {
		return x < y
	}
	if x, y := a.replicas, b.replicas; x != y {
		return x < y
	}
	return a.fill(p.Bytes) < b.fill(p.Bytes)
}

// Rebalance plans to spread replicas, bytes and leaders evenly over brokers. A
// replica on a broker that is not among them stays where it is: emptying a
// broker is Decommission's work. Partitions for which may is false stay as they
// are and only count; a nil may allows all. An even cluster gives an empty plan.
func Rebalance(brokers []Broker, partitions []Partition, may func(*Partition) bool) []Move {
	s := newState(brokers, partitions)
	for _, p := range s.partitions {
		p.fixed = may != nil && !may(p.Partition)
	}
	s.spreadRacks()
	for _, topic := range s.topicsBySize() {
		s.level(topic.partitions, func(l *load) int { return l.topics[topic.name] }, nil)
	}
	s.level(s.partitions, func(l *load) int { return l.replicas }, func(p *placed, src, dst *load) bool {
		return src.topics[p.Topic] > dst.topics[p.Topic]
	})
	s.levelBytes()
	s.balanceLeaders(func(p *placed) bool { return !p.fixed })
	return s.moves()
}

// spreadRacks moves replicas that share a rack while another rack has none.
func (s *state) spreadRacks() {
	for _, p := range s.partitions {
		for range p.now {
			if p.fixed || !s.spreadOnce(p) {
				break
			}
		}
	}
}

func (s *state) spreadOnce(p *placed) bool {
	if s.spans(p) >= min(len(p.now), s.racks) {
		return false
	}
	// The last of them, since the first is the preferred leader.
	for i := len(p.now) - 1; i >= 0; i-- {
		src := s.byID[p.now[i]]
		if src == nil || s.inRack(p, -1, src.rack) < 2 {
			continue
		}
		if dst, _ := s.refuge(p, src.ID); dst != nil && s.inRack(p, -1, dst.rack) == 0 {
			s.move(p, src.ID, dst)
			return true
		}
	}
	return false
}

// topicGroup is a topic's partitions.
type topicGroup struct {
	name       string
	partitions []*placed
	bytes      int64
}

// topicsBySize lists the topics, the largest first.
func (s *state) topicsBySize() []*topicGroup {
	var groups []*topicGroup
	for _, p := range s.partitions {
		if n := len(groups); n == 0 || groups[n-1].name != p.Topic {
			groups = append(groups, &topicGroup{name: p.Topic})
		}
		g := groups[len(groups)-1]
		g.partitions = append(g.partitions, p)
		g.bytes += p.Bytes
	}
	return sorted(groups, func(a, b *topicGroup) bool { return a.bytes > b.bytes })
}

// level moves replicas of partitions until no broker has two more, by count,
// than another that could take one. extra, when not nil, restricts the moves.
func (s *state) level(partitions []*placed, count func(*load) int, extra func(p *placed, src, dst *load) bool) {
	on := map[*load][]*placed{}
	for _, p := range partitions {
		for _, id := range p.now {
			if l := s.byID[id]; l != nil {
				on[l] = append(on[l], p)
			}
		}
	}
	// Pairs of brokers between which nothing could move are passed over until
	// nothing else is left; then they are tried once more, since other moves may
	// have opened a way.
	hopeless := map[[2]*load]bool{}
	for {
		p, src, dst := s.levelingMove(on, count, extra, hopeless)
		if p == nil && len(hopeless) > 0 {
			clear(hopeless)
			p, src, dst = s.levelingMove(on, count, extra, hopeless)
		}
		if p == nil {
			return
		}
		s.move(p, src.ID, dst)
		on[src] = removed(on[src], p)
		on[dst] = append(on[dst], p)
	}
}

// levelingMove finds a move from a broker with most to one with least.
func (s *state) levelingMove(on map[*load][]*placed, count func(*load) int, extra func(p *placed, src, dst *load) bool, hopeless map[[2]*load]bool) (*placed, *load, *load) {
	full := sorted(s.brokers, func(a, b *load) bool {
		if x, y := count(a), count(b); x != y {
			return x > y
		}
		if a.replicas != b.replicas {
			return a.replicas > b.replicas
		}
		return a.fill(0) > b.fill(0)
	})
	for _, src := range full {
		for i := len(full) - 1; i >= 0; i-- {
			dst := full[i]
			if count(src)-count(dst) < 2 {
				break
			}
			if hopeless[[2]*load{src, dst}] {
				continue
			}
			if p := s.candidate(on[src], src, dst, extra); p != nil {
				return p, src, dst
			}
			hopeless[[2]*load{src, dst}] = true
		}
	}
	return nil, nil, nil
}

// candidate is the partition to move from src to dst: the one that comes
// closest to leveling their disks when src is the fuller one, else the smallest.
func (s *state) candidate(list []*placed, src, dst *load, extra func(p *placed, src, dst *load) bool) *placed {
	gap := src.bytes - dst.bytes
	if src.DiskBytes > 0 && dst.DiskBytes > 0 {
		gap = int64((src.fill(0) - dst.fill(0)) * float64(min(src.DiskBytes, dst.DiskBytes)))
	}
	ideal := max(0, gap/2)
	var best *placed
	bestOff := int64(math.MaxInt64)
	for _, p := range list {
		off := p.Bytes - ideal
		if off < 0 {
			off = -off
		}
		if off < bestOff && s.allowed(p, src, dst) && (extra == nil || extra(p, src, dst)) {
			best, bestOff = p, off
		}
	}
	return best
}

// Bytes are leveled by exchanging a large replica for a small one, which leaves
// every count as it is. It goes on while the exchange brings the two brokers
// closer by a twentieth of the mean and their gap is above a tenth of it.
const (
	gapPart  = 10
	gainPart = 20
)

func (s *state) levelBytes() {
	if len(s.brokers) < 2 {
		return
	}
	var total int64
	for _, l := range s.brokers {
		total += l.bytes
	}
	mean := total / int64(len(s.brokers))
	held := s.heldBySize()
	for range len(s.partitions) {
		if !s.exchangeOnce(held, mean) {
			return
		}
	}
}

// exchangeOnce exchanges one pair of replicas of the fullest broker and one of
// the emptier ones.
func (s *state) exchangeOnce(held map[*load][]*placed, mean int64) bool {
	order := sorted(s.brokers, func(a, b *load) bool { return a.bytes > b.bytes })
	src := order[0]
	for i := len(order) - 1; i > 0; i-- {
		dst := order[i]
		gap := src.bytes - dst.bytes
		if gap <= mean/gapPart {
			return false
		}
		if a, b := s.exchange(held[src], held[dst], src, dst, gap, mean/gainPart); a != nil {
			s.move(a, src.ID, dst)
			s.move(b, dst.ID, src)
			held[src] = bySize(append(removed(held[src], a), b))
			held[dst] = bySize(append(removed(held[dst], b), a))
			return true
		}
	}
	return false
}

// exchange finds a replica on src and a smaller one on dst whose exchange
// lowers the gap by at least gain, the best first. Topics' counts stay: both
// are of one topic, or their topics have room for it.
func (s *state) exchange(mine, theirs []*placed, src, dst *load, gap, gain int64) (*placed, *placed) {
	var bestA, bestB *placed
	bestLeft := gap - gain
	for _, a := range mine {
		if a.fixed || a.holds(dst.ID) || !s.keepsRacks(a, src.ID, dst) {
			continue
		}
		// The best partner is as much smaller as half the gap.
		want := a.Bytes - gap/2
		n := sort.Search(len(theirs), func(i int) bool { return theirs[i].Bytes >= want })
		for i := max(0, n-exchangeReach); i < min(len(theirs), n+exchangeReach); i++ {
			b := theirs[i]
			left := gap - 2*(a.Bytes-b.Bytes)
			if left < 0 {
				left = -left
			}
			if left >= bestLeft || a == b || b.fixed || b.holds(src.ID) || !s.keepsRacks(b, dst.ID, src) ||
				!s.keepsTopics(a, b, src, dst) || !dst.hasRoom(a.Bytes) || !src.hasRoom(b.Bytes) {
				continue
			}
			bestA, bestB, bestLeft = a, b, left
		}
	}
	return bestA, bestB
}

// exchangeReach is how many partners on either side of the best size are tried.
const exchangeReach = 8

// keepsTopics reports whether the exchange leaves topics as even as they are.
func (s *state) keepsTopics(a, b *placed, src, dst *load) bool {
	return a.Topic == b.Topic || src.topics[a.Topic] > dst.topics[a.Topic] && dst.topics[b.Topic] > src.topics[b.Topic]
}

// heldBySize lists the partitions with a replica on each broker, the smallest
// first.
func (s *state) heldBySize() map[*load][]*placed {
	held := map[*load][]*placed{}
	for _, p := range s.partitions {
		for _, id := range p.now {
			if l := s.byID[id]; l != nil {
				held[l] = append(held[l], p)
			}
		}
	}
	for l := range held {
		held[l] = bySize(held[l])
	}
	return held
}

func bySize(list []*placed) []*placed {
	return sorted(list, func(a, b *placed) bool { return a.Bytes < b.Bytes })
}

// Place chooses replicas for the partitions of a new topic: leaders and
// replicas spread evenly, each partition's replicas on different racks as far as
// there are racks. Different starts give different, equally good answers; factor
// must not exceed the number of brokers.
func Place(brokers []Broker, partitions, factor, start int) [][]int32 {
	s := newState(brokers, nil)
	assignment := make([][]int32, partitions)
	for i := range assignment {
		p := &placed{Partition: &Partition{Topic: "new", Partition: int32(i)}}
		for range factor {
			dst := s.next(p, start+i)
			if dst == nil {
				break
			}
			if len(p.now) == 0 {
				dst.leaders++
			}
			dst.add(p, 1)
			p.now = append(p.now, dst.ID)
		}
		assignment[i] = p.now
	}
	return assignment
}

// next chooses a broker for p's next replica; among equals the turn decides.
func (s *state) next(p *placed, turn int) *load {
	key := func(l *load, i int) [4]int {
		first := 0
		if len(p.now) == 0 {
			first = l.leaders
		}
		return [4]int{s.inRack(p, -1, l.rack), first, l.replicas, (i - turn + len(s.brokers)*(turn/len(s.brokers)+1)) % len(s.brokers)}
	}
	var best *load
	var bestKey [4]int
	for i, l := range s.brokers {
		if p.holds(l.ID) {
			continue
		}
		if k := key(l, i); best == nil || lessKey(k, bestKey) {
			best, bestKey = l, k
		}
	}
	return best
}

func lessKey(a, b [4]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
