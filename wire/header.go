package wire

import "fmt"

// Header is a request header (version 1 or 2). ClientID lies in the frame; nil
// is null.
type Header struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      []byte
	// BodyAt is the position of the body in the frame.
	BodyAt int
}

// headerSize is the part every version of the header starts with.
const headerSize = 8

// PeekHeader reads the key, version and correlation id, which lie in the same
// place in every version of the header, and nothing else.
func PeekHeader(frame []byte) (Header, error) {
	c := cursor{b: frame}
	var h Header
	if len(frame) < headerSize {
		return h, fmt.Errorf("%w: a header of %d bytes is too short", ErrMalformed, len(frame))
	}
	h.Key, _ = c.int16()
	h.Version, _ = c.int16()
	h.CorrelationID, _ = c.int32()
	return h, nil
}

// RequestHeader reads a whole header. The client id has a plain length in every
// version; tagged fields are skipped unread and at most MaxTags. It allocates
// nothing. The version must be one that the API has: ApiVersions requests of an
// unknown version are answered on PeekHeader alone (KIP-511).
func RequestHeader(frame []byte) (Header, error) {
	h, err := PeekHeader(frame)
	if err != nil {
		return h, err
	}
	w := walker{cursor: cursor{b: frame[headerSize:]}, flexible: true}
	n, ok := w.length(2, false)
	if !ok || n > len(w.b) {
		return h, fmt.Errorf("%w: the client id is longer than the request", ErrMalformed)
	}
	if n >= 0 {
		h.ClientID = w.b[:n:n]
		w.skip(n)
	}
	if IsFlexible(h.Key, h.Version) {
		if problem := w.tags(nil); problem != "" {
			return h, fmt.Errorf("%w: header of %s version %d: %s", ErrMalformed, Name(h.Key), h.Version, problem)
		}
	}
	h.BodyAt = len(frame) - len(w.b)
	return h, nil
}

// keyAPIVersions answers with response header version 0 whatever its own
// version, because a client sends it before it knows what the broker can read
// (KIP-511).
const keyAPIVersions = 18

// HasResponseTags reports whether the response header ends in a section of
// tagged fields (response header version 1).
func HasResponseTags(key, version int16) bool {
	return key != keyAPIVersions && IsFlexible(key, version)
}
