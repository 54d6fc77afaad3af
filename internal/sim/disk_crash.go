package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"freshet/record"
)

// killed ends the process that used the disk: locks and handles are gone, what
// was written stays.
func (d *disk) killed() {
	d.life++
	clear(d.locks)
}

// powerLoss leaves on the platter what the power allowed: everything synced, of
// each directory's unsynced changes a prefix, and each sector of unsynced
// writes with probability keep. With misdirect, a sector may have landed
// elsewhere in the part of its file that was not synced.
func (d *disk) powerLoss(rng *rand.Rand, keep float64, misdirect bool) {
	d.killed()
	seen := map[*inode]bool{}
	for _, path := range slices.Sorted(maps.Keys(d.dirs)) {
		dir := d.dirs[path]
		for _, c := range dir.pending {
			if rng.Float64() >= keep {
				d.tally[countUndone]++
				break
			}
			c.apply(dir.durable)
		}
		dir.pending = nil
		dir.entries = maps.Clone(dir.durable)
		for _, name := range slices.Sorted(maps.Keys(dir.entries)) {
			node := dir.entries[name]
			if !seen[node] {
				seen[node] = true
				node.powerLoss(rng, keep, misdirect, d.tally)
			}
		}
	}
}

// misdirectOneIn is how rarely a whole unsynced sector lands in the wrong place.
const misdirectOneIn = 10

func (n *inode) powerLoss(rng *rand.Rand, keep float64, misdirect bool, t *tally) {
	synced := int64(len(n.durable))
	for i := range n.pending {
		c := &n.pending[i]
		if c.truncate {
			if rng.Float64() < keep {
				n.durable = resized(n.durable, c.position)
				synced = min(synced, c.position)
			}
			continue
		}
		kept, lost := 0, 0
		for start := 0; start < len(c.data); {
			position := c.position + int64(start)
			end := min(len(c.data), start+sectorBytes-int(position%sectorBytes))
			if rng.Float64() < keep {
				kept++
				n.durable = write(n.durable, position, c.data[start:end])
			} else {
				lost++
			}
			start = end
		}
		t[countDropped] += int64(lost)
		if kept > 0 && lost > 0 {
			t[countTorn]++
		}
	}
	if misdirect && len(n.pending) > 0 && keep > 0 {
		n.misdirect(rng, (synced+sectorBytes-1)/sectorBytes, t)
	}
	n.pending = nil
	n.data = slices.Clone(n.durable)
}

// misdirect puts whole sectors of the page cache where others belong, and
// nothing where they do: disks err by whole sectors. None below first is
// touched, which was synced.
func (n *inode) misdirect(rng *rand.Rand, first int64, t *tally) {
	count := int64(len(n.data)) / sectorBytes
	for from := first; from < count; from++ {
		if rng.IntN(misdirectOneIn) > 0 {
			continue
		}
		to := first + rng.Int64N(count-first)
		if to == from {
			continue
		}
		t[countMisplaced]++
		n.durable = write(n.durable, from*sectorBytes, make([]byte, sectorBytes))
		n.durable = write(n.durable, to*sectorBytes, n.data[from*sectorBytes:(from+1)*sectorBytes])
	}
}

// rot flips some bits of the last segment below a directory, on the platter
// and in the page cache: the medium has forgotten. It says where.
func (d *disk) rot(dir string, rng *rand.Rand) (name string, at int64, ok bool) {
	entries := d.dirs[dir]
	if entries == nil {
		return "", 0, false
	}
	for _, file := range slices.Sorted(maps.Keys(entries.entries)) {
		if strings.HasSuffix(file, ".log") && len(entries.entries[file].data) > 0 {
			name = file
		}
	}
	if name == "" {
		return "", 0, false
	}
	node := entries.entries[name]
	node.rotten = true
	var ends []int64 // of the whole batches
	for end := int64(0); ; ends = append(ends, end) {
		size, err := record.Peek(node.data[end:])
		if err != nil {
			break
		}
		end += int64(size)
	}
	if len(ends) == 0 {
		return "", 0, false
	}
	batch, first := rng.IntN(len(ends)), int64(0)
	if batch > 0 {
		first = ends[batch-1]
	}
	last := ends[batch]
	if rng.IntN(4) == 0 {
		last = first + 8 // the base offset, which the CRC does not cover
	} else {
		first += record.AttributesAt // what it does cover
	}
	at = first + rng.Int64N(last-first)
	for i := at; i < min(at+1+rng.Int64N(64), last); i++ {
		bit := byte(1) << rng.IntN(8)
		node.data[i] ^= bit
		node.pending = append(node.pending, fileChange{position: i, data: []byte{node.data[i]}})
	}
	return dir + "/" + name, at, true
}
