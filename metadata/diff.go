package metadata

import "reflect"

// Changes are what differs between two images that have a common past.
type Changes struct {
	// BrokersRemoved were registered before; BrokersChanged are new or say
	// something else, by id.
	BrokersRemoved, BrokersChanged []int32

	Removed []*Topic // as they were; also a topic made anew under its old name
	Changed []*Topic // as they are: new ones, and those with other partitions or configuration
}

// Diff finds the topics and brokers that differ. It skips all that the images share, so it
// costs in proportion to the changes between them and not to their size.
func Diff(old, next *Image) Changes {
	var changes Changes
	diffNodes(old.byID.root, next.byID.root, func(_ UUID, topic *Topic) {
		if next.TopicByID(topic.ID) == nil {
			changes.Removed = append(changes.Removed, topic)
		}
	}, func(_ UUID, topic *Topic) {
		if old.TopicByID(topic.ID) != topic {
			changes.Changed = append(changes.Changed, topic)
		}
	})
	diffBrokers(old.Brokers, next.Brokers, &changes)
	return changes
}

// diffBrokers compares two lists in order of ids.
func diffBrokers(old, next []Broker, changes *Changes) {
	if len(old) == len(next) && (len(old) == 0 || &old[0] == &next[0]) {
		return // the images share the list
	}
	i := 0
	for j := range next {
		for i < len(old) && old[i].ID < next[j].ID {
			changes.BrokersRemoved = append(changes.BrokersRemoved, old[i].ID)
			i++
		}
		if i < len(old) && old[i].ID == next[j].ID {
			i++
			if reflect.DeepEqual(old[i-1], next[j]) {
				continue
			}
		}
		changes.BrokersChanged = append(changes.BrokersChanged, next[j].ID)
	}
	for ; i < len(old); i++ {
		changes.BrokersRemoved = append(changes.BrokersRemoved, old[i].ID)
	}
}

// diffNodes calls gone for keys and values that are only in a, and came for
// those only in b. A key that moved to another level is given to both.
func diffNodes[K comparable, V any](a, b *trieNode[K, V], gone, came func(K, V)) {
	if a == b {
		return
	}
	each := func(n *trieNode[K, V], f func(K, V)) {
		if n != nil {
			n.each(func(key K, value V) bool { f(key, value); return true })
		}
	}
	if a == nil || b == nil || a.bitmap == 0 || b.bitmap == 0 { // one is missing, or the last level
		each(a, gone)
		each(b, came)
		return
	}
	i, j := 0, 0
	for bit := uint32(1); bit != 0; bit <<= 1 {
		var x, y trieSlot[K, V]
		inA, inB := a.bitmap&bit != 0, b.bitmap&bit != 0
		if inA {
			x, i = a.slots[i], i+1
		}
		if inB {
			y, j = b.slots[j], j+1
		}
		if x.child != nil && y.child != nil {
			diffNodes(x.child, y.child, gone, came)
			continue
		}
		if inA {
			slotEach(x, gone)
		}
		if inB {
			slotEach(y, came)
		}
	}
}

func slotEach[K comparable, V any](slot trieSlot[K, V], f func(K, V)) {
	if slot.child == nil {
		f(slot.key, slot.value)
		return
	}
	slot.child.each(func(key K, value V) bool { f(key, value); return true })
}
