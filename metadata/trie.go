package metadata

import "math/bits"

// trie is a persistent hash map: with and without return a new map that shares
// all but the path to the changed key with the old one, so both take O(log n)
// time and space, and readers of the old one see no change. The zero value
// with a hash function is empty.
//
// It is a hash array mapped trie: each level takes five bits of the key's hash
// and keeps only the slots in use. Keys whose 64-bit hashes are equal end up
// in a plain list at the last level.
type trie[K comparable, V any] struct {
	root *trieNode[K, V]
	size int
	hash func(K) uint64
}

type trieNode[K comparable, V any] struct {
	bitmap uint32 // which of the 32 slots are in use; unused at the last level
	slots  []trieSlot[K, V]
	// edit is the edit that made the node and so may still change it in place:
	// nobody else has seen it. nil: the node never changes.
	edit *trieEdit
}

// trieEdit is a series of changes of which only the result is to be seen.
type trieEdit struct{ _ byte } // of a size, so that every one has its own address

// trieSlot is an inner node when child is set, otherwise a key and its value.
type trieSlot[K comparable, V any] struct {
	child *trieNode[K, V]
	key   K
	value V
}

const (
	trieBits  = 5
	trieMask  = 1<<trieBits - 1
	lastShift = 60 // the last level: four bits are left and hashes no longer tell keys apart
)

// slotAt is the bit and the position of the hash's slot at one level.
func (n *trieNode[K, V]) slotAt(hash uint64, shift uint) (bit uint32, position int) {
	bit = 1 << (hash >> shift & trieMask)
	return bit, bits.OnesCount32(n.bitmap & (bit - 1))
}

// get finds key. It does not allocate.
func (t *trie[K, V]) get(key K) (value V, ok bool) {
	n := t.root
	if n == nil {
		return value, false
	}
	hash := t.hash(key)
	for shift := uint(0); shift < lastShift; shift += trieBits {
		bit, position := n.slotAt(hash, shift)
		if n.bitmap&bit == 0 {
			return value, false
		}
		slot := &n.slots[position]
		if slot.child == nil {
			if slot.key == key {
				return slot.value, true
			}
			return value, false
		}
		n = slot.child
	}
	for i := range n.slots {
		if n.slots[i].key == key {
			return n.slots[i].value, true
		}
	}
	return value, false
}

// with is the map in which key has value. Nodes that the edit made are changed in
// place, so that many changes together copy each node once; nil copies always.
func (t trie[K, V]) with(edit *trieEdit, key K, value V) trie[K, V] {
	root, added := t.insert(edit, t.root, 0, t.hash(key), trieSlot[K, V]{key: key, value: value})
	t.root = root
	if added {
		t.size++
	}
	return t
}

func (t *trie[K, V]) insert(edit *trieEdit, n *trieNode[K, V], shift uint, hash uint64, slot trieSlot[K, V]) (*trieNode[K, V], bool) {
	if n == nil {
		n = &trieNode[K, V]{edit: edit}
	}
	if shift >= lastShift {
		for i := range n.slots {
			if n.slots[i].key == slot.key {
				return n.replace(edit, i, slot), false
			}
		}
		return &trieNode[K, V]{slots: append(n.slots[:len(n.slots):len(n.slots)], slot), edit: edit}, true
	}
	bit, position := n.slotAt(hash, shift)
	if n.bitmap&bit == 0 {
		slots := make([]trieSlot[K, V], len(n.slots)+1)
		copy(slots, n.slots[:position])
		slots[position] = slot
		copy(slots[position+1:], n.slots[position:])
		return &trieNode[K, V]{bitmap: n.bitmap | bit, slots: slots, edit: edit}, true
	}
	old := n.slots[position]
	switch {
	case old.child != nil:
		child, added := t.insert(edit, old.child, shift+trieBits, hash, slot)
		return n.replace(edit, position, trieSlot[K, V]{child: child}), added
	case old.key == slot.key:
		return n.replace(edit, position, slot), false
	}
	child, _ := t.insert(edit, nil, shift+trieBits, t.hash(old.key), old)
	child, _ = t.insert(edit, child, shift+trieBits, hash, slot)
	return n.replace(edit, position, trieSlot[K, V]{child: child}), true
}

// replace is n with another slot at position: a copy, unless the edit made n.
func (n *trieNode[K, V]) replace(edit *trieEdit, position int, slot trieSlot[K, V]) *trieNode[K, V] {
	if edit != nil && n.edit == edit {
		n.slots[position] = slot
		return n
	}
	slots := append([]trieSlot[K, V](nil), n.slots...)
	slots[position] = slot
	return &trieNode[K, V]{bitmap: n.bitmap, slots: slots, edit: edit}
}

// without is the map that lacks key.
func (t trie[K, V]) without(key K) trie[K, V] {
	if _, ok := t.get(key); !ok {
		return t
	}
	t.root = t.remove(t.root, 0, t.hash(key), key)
	t.size--
	return t
}

// remove takes out key, which is there. It returns nil for a node that becomes
// empty; a node left with one key stays where it is.
func (t *trie[K, V]) remove(n *trieNode[K, V], shift uint, hash uint64, key K) *trieNode[K, V] {
	if shift >= lastShift {
		for i := range n.slots {
			if n.slots[i].key == key {
				return n.cut(0, i)
			}
		}
	}
	bit, position := n.slotAt(hash, shift)
	child := n.slots[position].child
	if child == nil {
		return n.cut(bit, position)
	}
	if child = t.remove(child, shift+trieBits, hash, key); child == nil {
		return n.cut(bit, position)
	}
	return n.replace(nil, position, trieSlot[K, V]{child: child})
}

// cut is a copy of n without the slot at position, nil if that was the last.
func (n *trieNode[K, V]) cut(bit uint32, position int) *trieNode[K, V] {
	if len(n.slots) == 1 {
		return nil
	}
	slots := make([]trieSlot[K, V], 0, len(n.slots)-1)
	slots = append(append(slots, n.slots[:position]...), n.slots[position+1:]...)
	return &trieNode[K, V]{bitmap: n.bitmap &^ bit, slots: slots}
}

// each calls f for every key, in no order, until f returns false.
func (t *trie[K, V]) each(f func(K, V) bool) {
	if t.root != nil {
		t.root.each(f)
	}
}

func (n *trieNode[K, V]) each(f func(K, V) bool) bool {
	for i := range n.slots {
		slot := &n.slots[i]
		if slot.child != nil {
			if !slot.child.each(f) {
				return false
			}
		} else if !f(slot.key, slot.value) {
			return false
		}
	}
	return true
}
