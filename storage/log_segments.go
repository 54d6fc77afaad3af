package storage

import "sort"

// segmentList is an immutable list of a log's segments by base offset. Readers
// load it without a lock; changes install a new one. It is never empty.
type segmentList []*LogSegment

// floorIndex is the index of the last segment whose base offset is at or below
// offset; -1 if there is none.
func (l segmentList) floorIndex(offset int64) int {
	return sort.Search(len(l), func(i int) bool { return l[i].baseOffset > offset }) - 1
}

// indexOf is the index of s, or -1.
func (l segmentList) indexOf(s *LogSegment) int {
	if i := l.floorIndex(s.baseOffset); i >= 0 && l[i] == s {
		return i
	}
	return -1
}

func (l segmentList) active() *LogSegment { return l[len(l)-1] }

// with returns the list with s added at the end.
func (l segmentList) with(s *LogSegment) segmentList {
	n := make(segmentList, 0, len(l)+1)
	return append(append(n, l...), s)
}

// size is the published bytes of all segments.
func (l segmentList) size() int64 {
	var n int64
	for _, s := range l {
		n += s.published.Load()
	}
	return n
}
