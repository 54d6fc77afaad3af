package group

// Stats counts what this broker coordinates (Kafka: GroupMetadataManager's
// gauges NumGroups…, NumOffsets).
type Stats struct {
	Groups  [Dead + 1]int // by State
	Members int
	Offsets int
	// Loading is the number of partitions being loaded.
	Loading int
}

// Stats adds up the partitions, one after the other.
func (c *Coordinator) Stats() Stats {
	var total Stats
	for _, s := range c.shards {
		s.mu.Lock()
		switch s.state {
		case loading:
			total.Loading++
		case active:
			s.machine.addStats(&total)
		}
		s.mu.Unlock()
	}
	return total
}

func (m *Machine) addStats(total *Stats) {
	for _, g := range m.groups {
		total.Groups[g.state]++
		total.Members += len(g.members)
	}
	for _, o := range m.offsets {
		for _, partitions := range o.topics {
			for _, e := range partitions {
				if e.present {
					total.Offsets++
				}
			}
		}
	}
}
