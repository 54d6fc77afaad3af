package placement

import "fmt"

// Resize plans to give each partition for which pick is true factor replicas.
// New ones go where Decommission would put them; of those too many, the ones
// leave first that share a rack with another, then those on the brokers that
// hold most, the preferred leader last.
func Resize(brokers []Broker, partitions []Partition, pick func(*Partition) bool, factor int) ([]Move, error) {
	s := newState(brokers, partitions)
	touched := map[*placed]bool{}
	for _, p := range s.partitions {
		if !pick(p.Partition) {
			continue
		}
		for len(p.now) > factor {
			s.drop(p)
			touched[p] = true
		}
		for len(p.now) < factor {
			dst, full := s.refuge(p, -1)
			switch {
			case dst == nil && full:
				return nil, fmt.Errorf("%s cannot have %d replicas: no other broker has room for its %d bytes, a tenth of each disk left free; free space or add a broker",
					p, factor, p.Bytes)
			case dst == nil:
				return nil, fmt.Errorf("%s cannot have %d replicas: %d broker(s) can hold them; add a broker", p, factor, len(s.brokers))
			}
			dst.add(p, 1)
			p.now = append(p.now, dst.ID)
			touched[p] = true
		}
	}
	s.balanceLeaders(func(p *placed) bool { return touched[p] })
	return s.moves(), nil
}

// drop removes the replica that is missed least.
func (s *state) drop(p *placed) {
	worst, worstKey := -1, [4]int{}
	for i, id := range p.now {
		key := [4]int{0, -s.inRack(p, -1, s.rackOf(id)), 0, -min(i, 1)}
		if l := s.byID[id]; l != nil {
			key[0], key[2] = 1, -l.replicas
		}
		if worst < 0 || lessKey(key, worstKey) {
			worst, worstKey = i, key
		}
	}
	if l := s.byID[p.now[worst]]; l != nil {
		l.add(p, -1)
		if worst == 0 {
			l.leaders--
		}
	}
	p.now = append(p.now[:worst:worst], p.now[worst+1:]...)
	if worst == 0 && len(p.now) > 0 {
		if l := s.byID[p.now[0]]; l != nil {
			l.leaders++
		}
	}
}
