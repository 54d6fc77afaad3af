package storage

import (
	"errors"
	"fmt"
	"io"
	"math"

	"freshet/record"
)

// A batch's base offset and leader epoch lie outside its CRC, so that a leader
// can set them without computing it anew. Whether they are right shows only in
// what surrounds the batch: this file checks that.

// scanRules are what must hold of a segment's batches besides their CRC.
type scanRules struct {
	baseOffset int64
	contiguous bool  // each batch begins where the one before ends
	epochs     bool  // leader epochs do not fall
	minEpoch   int32 // with epochs: of the first batch
	maxEpoch   int32 // with epochs: of any
	endOffset  int64 // no batch reaches it: the next segment begins there
}

// anyEnd are rules that only the segment itself sets.
func anyEnd(baseOffset int64) scanRules {
	return scanRules{baseOffset: baseOffset, minEpoch: UndefinedEpoch, maxEpoch: math.MaxInt32, endOffset: math.MaxInt64}
}

// scanEpochs are leader epochs of a segment's sound batches, UndefinedEpoch
// where there is no batch.
type scanEpochs struct {
	first, last, beforeLast int32
	changes                 []EpochEntry // where a higher one began
}

var noEpochs = scanEpochs{first: UndefinedEpoch, last: UndefinedEpoch, beforeLast: UndefinedEpoch}

// chainLink is the end of a run of batches: what the next one must fit.
type chainLink struct {
	next  int64 // offset
	epoch int32
}

// after is the link behind batch h.
func (c chainLink) after(h *batchHeader, epoch int32) chainLink {
	return chainLink{next: h.nextOffset(), epoch: max(c.epoch, epoch)}
}

// unfit says why a batch that is sound by itself cannot follow c; nil if it can.
func (r *scanRules) unfit(c chainLink, h *batchHeader, epoch int32) error {
	switch {
	case h.baseOffset < c.next || r.contiguous && h.baseOffset != c.next:
		return fmt.Errorf("%w: base offset %d at position %d, where %d is due", errDamaged, h.baseOffset, h.position, c.next)
	case h.lastOffset-r.baseOffset > math.MaxInt32:
		return fmt.Errorf("%w: offset %d at position %d is too far from base offset %d", errDamaged, h.lastOffset, h.position, r.baseOffset)
	case h.lastOffset >= r.endOffset:
		return fmt.Errorf("%w: offset %d at position %d, where the next segment begins at %d", errDamaged, h.lastOffset, h.position, r.endOffset)
	case !r.epochs || epoch < 0:
		return nil
	case epoch < c.epoch || epoch > r.maxEpoch:
		return fmt.Errorf("%w: leader epoch %d at position %d, not from %d to %d", errDamaged, epoch, h.position, c.epoch, r.maxEpoch)
	}
	return nil
}

// scan is the state of scanSegment. The last batch read waits until the one
// behind it has been seen: of two that do not fit each other the first is the
// wrong one if the second fits without it.
type scan struct {
	rules   scanRules
	out     *scanOutcome
	visit   func(h batchHeader, header record.Batch)
	link    chainLink // behind what out counts as sound
	pending batchHeader
	header  record.Batch // of pending; nil: none waits
}

// position is where the next batch is read.
func (s *scan) position() int64 {
	if s.header != nil {
		return s.pending.end()
	}
	return s.out.validBytes
}

// accept counts the batch that waits as sound.
func (s *scan) accept() {
	if s.header == nil {
		return
	}
	epoch := s.header.LeaderEpoch()
	e := &s.out.epochs
	if e.first == UndefinedEpoch {
		e.first = epoch
	}
	if epoch > s.link.epoch || len(e.changes) == 0 && epoch >= 0 {
		e.changes = append(e.changes, EpochEntry{Epoch: epoch, StartOffset: s.pending.baseOffset})
	}
	e.beforeLast, e.last = e.last, epoch
	if s.visit != nil {
		s.visit(s.pending, s.header)
	}
	s.link = s.link.after(&s.pending, epoch)
	s.out.validBytes, s.out.nextOffset = s.pending.end(), s.pending.nextOffset()
	s.header = nil
}

// take judges the next batch, sound by itself. If it or the one that waits is
// in the wrong place it returns which, and why.
func (s *scan) take(h batchHeader, header record.Batch) (wrong *batchHeader, cause error) {
	link := s.link
	if s.header != nil {
		link = link.after(&s.pending, s.header.LeaderEpoch())
	}
	cause = s.rules.unfit(link, &h, header.LeaderEpoch())
	if cause == nil {
		s.accept()
		s.pending, s.header = h, header
		return nil, nil
	}
	without := s.link
	if s.rules.contiguous { // the offset of the one that waits is right
		without.next = link.next
	}
	if s.header != nil && s.rules.unfit(without, &h, header.LeaderEpoch()) == nil {
		return &s.pending, fmt.Errorf("%w: base offset %d and leader epoch %d at position %d do not fit the batch behind it",
			errDamaged, s.pending.baseOffset, s.header.LeaderEpoch(), s.pending.position)
	}
	s.accept()
	return &h, cause
}

// scanSegment checks every batch of a segment's bytes and calls visit for each
// sound one, in order, up to the first damage. It only reads, and never panics,
// whatever the bytes are. An error is the disk's.
func scanSegment(r io.ReaderAt, size int64, rules scanRules, visit func(h batchHeader, header record.Batch)) (scanOutcome, error) {
	w := window{r: r, size: size}
	out := scanOutcome{nextOffset: rules.baseOffset, resumes: -1, epochs: noEpochs}
	s := scan{rules: rules, out: &out, visit: visit, link: chainLink{next: rules.baseOffset, epoch: rules.minEpoch}}
	for s.position() < size {
		h, header, err := w.batchAt(s.position())
		if errors.Is(err, errDamaged) {
			s.accept()
			out.damage = err
			return out, w.findResume(&out, rules.baseOffset)
		}
		if err != nil {
			return out, err
		}
		if wrong, cause := s.take(h, header); wrong != nil {
			out.damage = cause
			err := w.findResume(&out, rules.baseOffset)
			// Its records are whole, so it is no torn write, and they have
			// had offsets: these, if nothing is missing before it.
			if out.resumes < 0 {
				out.resumes = wrong.position
			}
			records := h.nextOffset() - h.baseOffset
			if wrong.position != h.position {
				records += wrong.nextOffset() - wrong.baseOffset
			}
			out.resumeEnd = max(out.resumeEnd, out.nextOffset+records)
			return out, err
		}
	}
	s.accept()
	return out, nil
}
