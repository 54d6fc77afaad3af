package placement

// balanceLeaders reorders replicas so that the brokers are first in as equal a
// number of partitions as can be. Nothing is copied for it. Only partitions for
// which may is true are touched.
//
// It looks for the shortest chain of partitions along which the lead can be
// handed on, from a broker that leads many to one that leads at least two
// fewer; each chain makes the spread smaller, and when there is none the
// greatest number is as small as it can be.
func (s *state) balanceLeaders(may func(*placed) bool) {
	handOn := s.handOns(may)
	for range s.partitions {
		if !s.handOnOnce(handOn) {
			return
		}
	}
}

// handOns lists the partitions that each broker is first in.
func (s *state) handOns(may func(*placed) bool) map[*load][]*placed {
	led := map[*load][]*placed{}
	for _, p := range s.partitions {
		if l := s.byID[p.now[0]]; l != nil && len(p.now) > 1 && may(p) {
			led[l] = append(led[l], p)
		}
	}
	return led
}

// handOnOnce hands the lead on along the best chain and reports whether there
// was one.
func (s *state) handOnOnce(led map[*load][]*placed) bool {
	for _, from := range s.byLeaders() {
		chain := s.chain(led, from)
		if chain == nil {
			continue
		}
		// From the end, so that no broker leads more in between.
		for i := len(chain) - 1; i >= 0; i-- {
			step := chain[i]
			first := step.p.now[0]
			for n, id := range step.p.now {
				if id == step.to {
					step.p.now[0], step.p.now[n] = id, first
				}
			}
			from, to := s.byID[first], s.byID[step.to]
			led[from] = removed(led[from], step.p)
			led[to] = append(led[to], step.p)
			from.leaders--
			to.leaders++
		}
		return true
	}
	return false
}

// byLeaders lists the brokers, those that lead most first.
func (s *state) byLeaders() []*load {
	return sorted(s.brokers, func(a, b *load) bool { return a.leaders > b.leaders })
}

// handStep hands the lead of p on to a broker.
type handStep struct {
	p  *placed
	to int32
}

// chain searches breadth first for the nearest broker that leads at least two
// fewer than from.
func (s *state) chain(led map[*load][]*placed, from *load) []handStep {
	type visit struct {
		broker *load
		steps  []handStep
	}
	seen := map[int32]bool{from.ID: true}
	queue := []visit{{broker: from}}
	for len(queue) > 0 {
		v := queue[0]
		queue = queue[1:]
		if v.broker.leaders <= from.leaders-2 {
			return v.steps
		}
		for _, p := range led[v.broker] {
			if len(seen) == len(s.brokers) {
				break
			}
			for _, id := range p.now[1:] {
				next := s.byID[id]
				if next == nil || seen[id] {
					continue
				}
				seen[id] = true
				steps := append(append([]handStep(nil), v.steps...), handStep{p, id})
				queue = append(queue, visit{next, steps})
			}
		}
	}
	return nil
}

// removed returns list without p.
func removed(list []*placed, p *placed) []*placed {
	for i, q := range list {
		if q == p {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}
