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
func (s *state) handOns(may func(*placed) bool) map[int32]map[*placed]bool {
	led := map[int32]map[*placed]bool{}
	for _, l := range s.brokers {
		led[l.ID] = map[*placed]bool{}
	}
	for _, p := range s.partitions {
		if len(p.now) > 1 && s.byID[p.now[0]] != nil && may(p) {
			led[p.now[0]][p] = true
		}
	}
	return led
}

// handOnOnce hands the lead on along the best chain and reports whether there
// was one.
func (s *state) handOnOnce(led map[int32]map[*placed]bool) bool {
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
			delete(led[first], step.p)
			led[step.to][step.p] = true
			s.byID[first].leaders--
			s.byID[step.to].leaders++
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
func (s *state) chain(led map[int32]map[*placed]bool, from *load) []handStep {
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
		for _, p := range s.inOrder(led[v.broker.ID]) {
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

// inOrder lists a set in the order of the partitions, so that plans repeat.
func (s *state) inOrder(set map[*placed]bool) []*placed {
	list := make([]*placed, 0, len(set))
	for p := range set {
		list = append(list, p)
	}
	return sorted(list, func(a, b *placed) bool {
		if a.Topic != b.Topic {
			return a.Topic < b.Topic
		}
		return a.Partition.Partition < b.Partition.Partition
	})
}
