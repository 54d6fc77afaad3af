package metadata

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// TestTrieAgainstMap runs random changes on a trie and on a plain map. Hashes
// are cut to few bits so that long shared paths and full collisions occur. Some
// changes are edits of many steps.
func TestTrieAgainstMap(t *testing.T) {
	for _, mask := range []uint64{0, 3, 0xffff, 0xf00000000000000f, ^uint64(0)} {
		random := rand.New(rand.NewPCG(1, mask))
		current := trie[int, int]{hash: func(key int) uint64 { return uint64(key) * 0x9e3779b97f4a7c15 & mask }}
		model := map[int]int{}
		type version struct {
			trie  trie[int, int]
			model map[int]int
		}
		var versions []version
		var edit *trieEdit
		for step := range 3000 {
			key := random.IntN(200)
			if random.IntN(3) == 0 {
				current = current.without(key)
				delete(model, key)
			} else {
				current = current.with(edit, key, step)
				model[key] = step
			}
			if step%50 == 0 { // what an edit leaves does not change any more
				versions = append(versions, version{current, maps.Clone(model)})
				if edit = nil; random.IntN(3) > 0 {
					edit = &trieEdit{}
				}
			}
		}
		for _, v := range append(versions, version{current, model}) {
			got := map[int]int{}
			v.trie.each(func(key, value int) bool { got[key] = value; return true })
			if !maps.Equal(got, v.model) || v.trie.size != len(v.model) {
				t.Fatalf("mask %x: the trie differs from the map: size %d, map %d", mask, v.trie.size, len(v.model))
			}
			for key := range 200 {
				value, ok := v.trie.get(key)
				want, wantOK := v.model[key]
				if value != want || ok != wantOK {
					t.Fatalf("mask %x: get(%d) = %d, %v; want %d, %v", mask, key, value, ok, want, wantOK)
				}
			}
		}
	}
}

func TestTrieEachStops(t *testing.T) {
	m := trie[int, int]{hash: func(key int) uint64 { return uint64(key) }}
	for key := range 100 {
		m = m.with(nil, key, key)
	}
	calls := 0
	m.each(func(int, int) bool { calls++; return calls < 10 })
	if calls != 10 {
		t.Errorf("%d calls after f returned false at the tenth", calls)
	}
}
