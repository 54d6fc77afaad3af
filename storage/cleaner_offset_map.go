package storage

import (
	"crypto/sha256"
	"encoding/binary"
)

// offsetMapEntrySize is what one slot takes: 16 bytes of hash, 8 of offset.
const offsetMapEntrySize = 24

// firstOffsetMapSlots is the size a map begins with.
const firstOffsetMapSlots = 1 << 10

// offsetMap maps the hash of a record's key to the latest offset seen of it
// (Kafka: SkimpyOffsetMap). Keys are not kept: a slot takes 24 bytes whatever
// the key's size. Memory grows with the keys, up to a bound; then the map is
// full, and cleaning stops at what it covers. The hash is the first half of
// SHA-256 rather than Kafka's MD5, of which anybody can make two keys that
// collide, and so make the record of one remove that of the other.
type offsetMap struct {
	slots    []offsetSlot
	used     int
	maxSlots int
	load     float64 // how full it may become
	// latest is the offset up to which records are taken in, or -1.
	latest int64
}

// offsetSlot is free while its offset is 0: offsets are kept plus one.
type offsetSlot struct {
	hash       [2]uint64
	offsetNext int64
}

// newOffsetMap makes a map of at most maxBytes, filled up to load of that.
func newOffsetMap(maxBytes int64, load float64) *offsetMap {
	slots := max(2, int(min(maxBytes/offsetMapEntrySize, 1<<31)))
	m := &offsetMap{maxSlots: slots, load: min(max(load, 1/float64(slots)), 0.99), latest: -1} // a free slot ends every search
	m.slots = make([]offsetSlot, min(slots, firstOffsetMapSlots))
	return m
}

// full reports whether no other key may be added.
func (m *offsetMap) full() bool { return float64(m.used+1) > float64(m.maxSlots)*m.load }

func hashKey(key []byte) [2]uint64 {
	sum := sha256.Sum256(key)
	return [2]uint64{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

// find returns the slot of hash, or the free one where it belongs.
func find(slots []offsetSlot, hash [2]uint64) *offsetSlot {
	for i := hash[0] % uint64(len(slots)); ; i++ {
		if i == uint64(len(slots)) {
			i = 0
		}
		if s := &slots[i]; s.offsetNext == 0 || s.hash == hash {
			return s
		}
	}
}

// put notes that key was seen at offset; offsets rise from call to call. The
// map must not be full.
func (m *offsetMap) put(key []byte, offset int64) {
	hash := hashKey(key)
	s := find(m.slots, hash)
	if s.offsetNext == 0 {
		if 4*(m.used+1) > 3*len(m.slots) && len(m.slots) < m.maxSlots {
			m.grow()
			s = find(m.slots, hash)
		}
		s.hash = hash
		m.used++
	}
	s.offsetNext = offset + 1
	m.latest = offset
}

func (m *offsetMap) grow() {
	bigger := make([]offsetSlot, min(2*len(m.slots), m.maxSlots))
	for _, s := range m.slots {
		if s.offsetNext != 0 {
			*find(bigger, s.hash) = s
		}
	}
	m.slots = bigger
}

// get returns the latest offset of key, or -1.
func (m *offsetMap) get(key []byte) int64 { return find(m.slots, hashKey(key)).offsetNext - 1 }
