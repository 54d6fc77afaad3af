package history

import (
	"fmt"
	"math"
	"slices"
	"sync"
)

// ID is the identity of one write: the counter-th record of a producer. Counters start at 0 and are given
// out in sending order, over all partitions.
type ID struct {
	Producer int32
	Counter  int64
}

// Outcome says how a write ended for its producer.
type Outcome uint8

const (
	// Unknown is a write without an answer: it may be in the log or not.
	Unknown Outcome = iota
	// OK is an acknowledged write.
	OK
	// Failed is a write that was refused for good and must not be in the log.
	Failed
)

// write is what one producer knows about one of its records.
type write struct {
	partition int32
	outcome   Outcome
	offset    int64 // valid when outcome is OK
	invoked   int64
	returned  int64 // valid when outcome is not Unknown
}

// producer is the list of a producer's writes, indexed by counter.
type producer struct {
	idempotent bool
	writes     []write
}

// History collects writes. Its methods may be called from any goroutine.
type History struct {
	mu        sync.Mutex
	producers []producer
	acked     int64
}

// AddProducer makes a producer known and returns its number. An idempotent one promises that no write of
// its is in the log twice.
func (h *History) AddProducer(idempotent bool) int32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.producers = append(h.producers, producer{idempotent: idempotent})
	return int32(len(h.producers) - 1)
}

// Invoke notes that a producer is about to send a write to a partition, and names the write.
func (h *History) Invoke(producer, partition int32, at int64) ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.producers[producer]
	p.writes = append(p.writes, write{partition: partition, invoked: at})
	return ID{Producer: producer, Counter: int64(len(p.writes) - 1)}
}

// UnknownOffset is the offset of a write that its client knows to be in the log, but not where.
const UnknownOffset = -1

// OK notes the acknowledgement of a write, at an offset or at UnknownOffset.
func (h *History) OK(id ID, offset, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &h.producers[id.Producer].writes[id.Counter]
	w.outcome, w.offset, w.returned = OK, offset, at
	h.acked++
}

// Fail notes that a write was refused for good.
func (h *History) Fail(id ID, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := &h.producers[id.Producer].writes[id.Counter]
	w.outcome, w.returned = Failed, at
}

// Forgive takes back what was promised of a partition from an offset on, because
// all that held it lost power before it was on their disks: acknowledged writes
// there may be in the log or not. It returns how many they are. More writes may
// follow.
func (h *History) Forgive(partition int32, from int64) (writes int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range h.producers {
		for c := range h.producers[p].writes {
			if w := &h.producers[p].writes[c]; w.partition == partition && w.outcome == OK && w.offset >= from {
				w.outcome = Unknown
				writes++
			}
		}
	}
	h.acked -= writes
	return writes
}

// Acked is the number of acknowledged writes so far.
func (h *History) Acked() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked
}

// Read is one record that a reader saw.
type Read struct {
	Partition int32
	Offset    int64
	ID        ID
}

// Report is the verdict of Check.
type Report struct {
	Acked      int64    // acknowledged writes
	Verified   int64    // acknowledged writes that were read as promised
	Unknown    int64    // writes without an answer
	Present    int64    // of those, the ones that are in the log
	Repeated   int64    // further copies of writes whose producers are not idempotent
	Violations []string // sentences, at most maxViolations
	Broken     int64    // violations in all
}

// maxViolations bounds the sentences kept, not the count.
const maxViolations = 20

func (r *Report) violate(format string, args ...any) {
	r.Broken++
	if len(r.Violations) < maxViolations {
		r.Violations = append(r.Violations, fmt.Sprintf(format, args...))
	}
}

// slot is one offset of one partition.
type slot struct {
	partition int32
	offset    int64
}

// Check compares all writes with all reads. full are the records of a reader that read every partition
// from its start to its end, in reading order for each partition; more are those of readers that may have
// missed some, such as one that followed the log while it was killed.
func (h *History) Check(full []Read, more ...[]Read) Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	var report Report
	at := h.oneValueEach(&report, full, more)
	h.allRead(&report, h.places(&report, at))
	h.inOrder(&report, full)
	h.inRealTime(&report)
	return report
}

// oneValueEach is (a). It returns what each offset holds according to the full reader.
func (h *History) oneValueEach(report *Report, full []Read, more [][]Read) map[slot]ID {
	at := make(map[slot]ID, len(full))
	next := map[int32]int64{}
	for _, r := range full {
		s := slot{r.Partition, r.Offset}
		if r.Offset < next[r.Partition] {
			report.violate("(a) partition %d: offset %d was read after offset %d", r.Partition, r.Offset, next[r.Partition]-1)
		}
		next[r.Partition] = r.Offset + 1
		if held, ok := at[s]; ok && held != r.ID {
			report.violate("(a) partition %d offset %d holds both %v and %v", r.Partition, r.Offset, held, r.ID)
		}
		at[s] = r.ID
	}
	for i, reads := range more {
		for _, r := range reads {
			held, ok := at[slot{r.Partition, r.Offset}]
			switch {
			case !ok:
				report.violate("(a) reader %d saw %v at partition %d offset %d, where the last reader found nothing",
					i+1, r.ID, r.Partition, r.Offset)
			case held != r.ID:
				report.violate("(a) reader %d saw %v at partition %d offset %d, the last reader saw %v there",
					i+1, r.ID, r.Partition, r.Offset, held)
			}
		}
	}
	return at
}

// places says where the writes stand: the first offset found for each by producer and counter, absent
// where there is none, and the further ones of those that stand more than once.
type places struct {
	first   [][]int64
	further map[ID][]int64
}

const absent = -1

func (p places) offsets(id ID) []int64 {
	first := p.first[id.Producer][id.Counter]
	if first == absent {
		return nil
	}
	return append([]int64{first}, p.further[id]...)
}

// places finds the offsets of each write. A write that nobody made, or that stands in another partition
// than it was sent to, is a violation.
func (h *History) places(report *Report, at map[slot]ID) places {
	p := places{first: make([][]int64, len(h.producers)), further: map[ID][]int64{}}
	for i := range h.producers {
		p.first[i] = slices.Repeat([]int64{absent}, len(h.producers[i].writes))
	}
	for s, id := range at {
		if id.Producer < 0 || int(id.Producer) >= len(h.producers) || id.Counter < 0 || id.Counter >= int64(len(h.producers[id.Producer].writes)) {
			report.violate("(a) partition %d offset %d holds %v, which nobody wrote", s.partition, s.offset, id)
			continue
		}
		if w := h.producers[id.Producer].writes[id.Counter]; w.partition != s.partition {
			report.violate("(a) %v was sent to partition %d and stands in partition %d", id, w.partition, s.partition)
			continue
		}
		if first := &p.first[id.Producer][id.Counter]; *first == absent {
			*first = s.offset
		} else {
			p.further[id] = append(p.further[id], s.offset)
		}
	}
	return p
}

// allRead is (b) and (c).
func (h *History) allRead(report *Report, at places) {
	for p := range h.producers {
		for c, w := range h.producers[p].writes {
			id := ID{Producer: int32(p), Counter: int64(c)}
			offsets := at.offsets(id)
			if len(offsets) > 1 {
				if h.producers[p].idempotent {
					report.violate("(b) %v of an idempotent producer stands at %d offsets of partition %d: %v",
						id, len(offsets), w.partition, offsets)
				}
				report.Repeated += int64(len(offsets) - 1)
			}
			switch w.outcome {
			case OK:
				report.Acked++
				switch {
				case len(offsets) == 0:
					report.violate("(b) %v was acknowledged at partition %d offset %d and is lost", id, w.partition, w.offset)
				case w.offset != UnknownOffset && !slices.Contains(offsets, w.offset):
					report.violate("(b) %v was acknowledged at partition %d offset %d and stands at %v",
						id, w.partition, w.offset, offsets)
				default:
					report.Verified++
				}
			case Failed:
				if len(offsets) > 0 {
					report.violate("(c) %v was refused and stands at partition %d offset %d", id, w.partition, offsets[0])
				}
			case Unknown:
				report.Unknown++
				if len(offsets) > 0 {
					report.Present++
				}
			}
		}
	}
}

// inOrder is (d): in each partition the first copies of a producer's writes have increasing counters. A
// repeated copy, which only a producer without idempotence may leave, is passed over.
func (h *History) inOrder(report *Report, full []Read) {
	type lane struct {
		producer, partition int32
	}
	last := map[lane]int64{}
	seen := make(map[ID]bool, len(full))
	for _, r := range full {
		if seen[r.ID] {
			continue
		}
		seen[r.ID] = true
		l := lane{r.ID.Producer, r.Partition}
		if before, ok := last[l]; ok && r.ID.Counter < before {
			report.violate("(d) partition %d: %v stands at offset %d behind counter %d of the same producer",
				r.Partition, r.ID, r.Offset, before)
		}
		last[l] = max(last[l], r.ID.Counter)
	}
}

// inRealTime is (e), in one sweep for each partition: by the time a write begins, every offset that has
// been acknowledged is smaller than the one it will get.
func (h *History) inRealTime(report *Report) {
	type timed struct {
		write
		id ID
	}
	byPartition := map[int32][]timed{}
	for p := range h.producers {
		for c, w := range h.producers[p].writes {
			if w.outcome == OK && w.offset != UnknownOffset {
				byPartition[w.partition] = append(byPartition[w.partition], timed{w, ID{int32(p), int64(c)}})
			}
		}
	}
	for partition, began := range byPartition {
		ended := slices.Clone(began)
		slices.SortFunc(began, func(a, b timed) int { return compare(a.invoked, b.invoked) })
		slices.SortFunc(ended, func(a, b timed) int { return compare(a.returned, b.returned) })
		highest, next := timed{write: write{offset: math.MinInt64}}, 0
		for _, w := range began {
			for next < len(ended) && ended[next].returned < w.invoked {
				if ended[next].offset > highest.offset {
					highest = ended[next]
				}
				next++
			}
			if highest.offset >= w.offset {
				report.violate("(e) partition %d: %v began after %v was acknowledged at offset %d and got offset %d",
					partition, w.id, highest.id, highest.offset, w.offset)
			}
		}
	}
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}
