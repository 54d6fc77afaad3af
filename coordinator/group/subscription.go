package group

import "encoding/binary"

// addSubscribedTopics adds the topics of one member's consumer protocol
// subscription. Only the version 0 part is read, which every later version
// starts with: version int16, then an array of strings. It reports whether the
// bytes parse.
func addSubscribedTopics(topics map[string]struct{}, subscription []byte) bool {
	b := subscription
	if len(b) < 6 || int16(binary.BigEndian.Uint16(b)) < 0 {
		return false
	}
	count := int32(binary.BigEndian.Uint32(b[2:]))
	b = b[6:]
	// Each topic takes at least its two bytes of length.
	if count < 0 || int64(count) > int64(len(b)/2) {
		return false
	}
	for range count {
		if len(b) < 2 {
			return false
		}
		n := int(int16(binary.BigEndian.Uint16(b)))
		b = b[2:]
		if n < 0 || n > len(b) {
			return false
		}
		topics[string(b[:n])] = struct{}{}
		b = b[n:]
	}
	return true
}
