package group

import "unicode/utf16"

// PartitionFor is the partition of __consumer_offsets that owns groupID: the
// absolute value of Java's String.hashCode modulo the partition count. Kafka's
// Utils.abs maps the one value without a positive counterpart to 0.
func PartitionFor(groupID string, partitions int32) int32 {
	h := javaHash(groupID)
	switch {
	case h == -1<<31:
		h = 0
	case h < 0:
		h = -h
	}
	return h % partitions
}

// javaHash is Java's String.hashCode, which runs over UTF-16 units.
func javaHash(s string) int32 {
	var h int32
	for _, r := range s {
		if r > 0xFFFF {
			high, low := utf16.EncodeRune(r)
			h = 31*(31*h+high) + low
			continue
		}
		h = 31*h + r
	}
	return h
}

// javaLength is Java's String.length, in UTF-16 units.
func javaLength(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}
