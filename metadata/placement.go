package metadata

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// place chooses replicas for count partitions. The error's message is Kafka's.
func (c *Controller) place(img *Image, count, replicationFactor int) ([]Partition, *Error) {
	placer := newStripedPlacer(img, c.Rand)
	switch {
	case replicationFactor <= 0:
		return nil, refuse(CodeInvalidReplicationFactor, "Invalid replication factor %d: the replication factor must be positive.", replicationFactor)
	case placer.unfenced == 0:
		return nil, refuse(CodeInvalidReplicationFactor, "All brokers are currently fenced.")
	case replicationFactor > placer.brokers:
		return nil, refuse(CodeInvalidReplicationFactor, "The target replication factor of %d cannot be reached because only %d broker(s) are registered.",
			replicationFactor, placer.brokers)
	}
	partitions := make([]Partition, count)
	for i := range partitions {
		p := newPartition(img, placer.next(replicationFactor))
		if p == nil {
			return nil, refuse(CodeInvalidReplicationFactor, "All brokers are currently fenced or in controlled shutdown.")
		}
		partitions[i] = *p
	}
	return partitions, nil
}

// stripedPlacer spreads the replicas of partitions over racks, and over the
// brokers within each rack, both in turn: partition after partition starts one
// rack and one broker further on. A leader is never placed on a fenced broker,
// and other replicas only where a rack has no live one left. The rules are those
// of Kafka's StripedReplicaPlacer.
type stripedPlacer struct {
	random            *rand.Rand // nil: starts with the first and never shuffles
	racks             []*rack
	brokers, unfenced int
	round             int // partitions placed since the last shuffle
	first             int // rack that the next partition starts with
}

// rack is the brokers of one rack; those without a rack form one.
type rack struct {
	name         string
	live, fenced brokerRing
}

// brokerRing gives its brokers out one by one, each once a round, beginning one
// further on with every round.
type brokerRing struct {
	ids          []int32
	from         int // where round 0 begins
	round, given int // how many were given out in the round
}

func newStripedPlacer(img *Image, random *rand.Rand) *stripedPlacer {
	p := &stripedPlacer{random: random}
	for i := range img.Brokers { // in order of ids
		b := &img.Brokers[i]
		if b.InControlledShutdown || !b.takesReplicas() {
			continue
		}
		at := slices.IndexFunc(p.racks, func(r *rack) bool { return r.name == b.Rack })
		if at < 0 {
			at = len(p.racks)
			p.racks = append(p.racks, &rack{name: b.Rack})
		}
		p.brokers++
		if b.Fenced {
			p.racks[at].fenced.ids = append(p.racks[at].fenced.ids, b.ID)
		} else {
			p.unfenced++
			p.racks[at].live.ids = append(p.racks[at].live.ids, b.ID)
		}
	}
	slices.SortFunc(p.racks, func(a, b *rack) int { return strings.Compare(a.name, b.name) })
	for _, r := range p.racks {
		r.live.from, r.fenced.from = p.pick(len(r.live.ids)), p.pick(len(r.fenced.ids))
	}
	p.first = p.pick(len(p.racks))
	return p
}

func (p *stripedPlacer) pick(n int) int {
	if p.random == nil || n == 0 {
		return 0
	}
	return p.random.IntN(n)
}

// next is the replicas of one more partition. There must be a live broker and
// at least replicationFactor brokers.
func (p *stripedPlacer) next(replicationFactor int) []int32 {
	if p.round == p.unfenced && p.unfenced > 1 {
		p.shuffle() // every live broker has led once: do not repeat the same sets
	}
	p.first %= len(p.racks)
	replicas := make([]int32, 0, replicationFactor)
	leaderRack := p.first
	for {
		if id, ok := p.racks[leaderRack].live.next(p.round, len(p.racks)); ok {
			replicas = append(replicas, id)
			break
		}
		leaderRack = (leaderRack + 1) % len(p.racks)
	}
	for at := p.first; len(replicas) < replicationFactor; at = (at + 1) % len(p.racks) {
		if at == leaderRack {
			leaderRack = -1 // has had its turn
			continue
		}
		r := p.racks[at]
		id, ok := r.live.next(p.round, len(p.racks))
		if !ok {
			id, ok = r.fenced.next(p.round, len(p.racks))
		}
		if ok {
			replicas = append(replicas, id)
		}
	}
	p.round++
	p.first++
	return replicas
}

// shuffle begins anew with racks and brokers in another order.
func (p *stripedPlacer) shuffle() {
	p.round = 0
	if p.random != nil {
		p.random.Shuffle(len(p.racks), func(i, j int) { p.racks[i], p.racks[j] = p.racks[j], p.racks[i] })
	}
	for _, r := range p.racks {
		for _, ring := range []*brokerRing{&r.live, &r.fenced} {
			ring.given = 0
			if p.random == nil {
				continue
			}
			p.random.Shuffle(len(ring.ids), func(i, j int) { ring.ids[i], ring.ids[j] = ring.ids[j], ring.ids[i] })
		}
	}
}

// next is the next broker of the round, false when all were given out. The same
// rack begins a partition again after as many rounds as there are racks; when it
// would come to the same broker with that, it skips one.
func (r *brokerRing) next(round, racks int) (id int32, ok bool) {
	if r.round != round {
		r.round, r.given = round, 0
	}
	if r.given == len(r.ids) {
		return 0, false
	}
	skipped := round / leastCommonMultiple(racks, len(r.ids))
	id = r.ids[(r.from+round+skipped+r.given)%len(r.ids)]
	r.given++
	return id, true
}

func leastCommonMultiple(a, b int) int {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	return a / x * b
}
