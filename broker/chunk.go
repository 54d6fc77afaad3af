package broker

import "math/bits"

// chunk is a reference-counted buffer that frames lie in. References are
// counted on the loop only: the loop's read buffer and a connection's assembly
// buffer hold one each, every write in flight that points into it one more.
// When the last is given back the chunk returns to its loop's pool.
type chunk struct {
	buf  []byte
	n    int // bytes in use, for assembly buffers
	refs int32
}

const (
	minChunkBits = 12 // 4 KiB
	maxChunkBits = 21 // chunks above 2 MiB are left to the collector
	// poolBytesPerClass bounds what one loop keeps of one size.
	poolBytesPerClass = 4 << 20
)

// chunkPool keeps one loop's free chunks by power-of-two size.
type chunkPool struct {
	free [maxChunkBits + 1][]*chunk
	out  int // chunks with references
}

// get returns a chunk of at least size bytes with one reference.
func (p *chunkPool) get(size int) *chunk {
	p.out++
	class := max(minChunkBits, bits.Len(uint(size-1)))
	if class <= maxChunkBits {
		if list := p.free[class]; len(list) > 0 {
			c := list[len(list)-1]
			p.free[class] = list[:len(list)-1]
			c.refs, c.n = 1, 0
			return c
		}
	}
	if class > maxChunkBits {
		return &chunk{buf: make([]byte, size), refs: 1} // never pooled, so not rounded up
	}
	return &chunk{buf: make([]byte, 1<<class), refs: 1}
}

// put gives one reference back.
func (p *chunkPool) put(c *chunk) {
	c.refs--
	if c.refs > 0 {
		return
	}
	if c.refs < 0 {
		panic("BUG: chunk released more often than acquired")
	}
	p.out--
	class := bits.Len(uint(len(c.buf) - 1))
	if class <= maxChunkBits && (len(p.free[class])+1)<<class <= max(poolBytesPerClass, 1<<class) {
		p.free[class] = append(p.free[class], c)
	}
}
