package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxTags is the most tagged fields one structure may carry. Kafka defines
	// fewer than ten anywhere; the rest is room for newer clients.
	MaxTags = 64
	// maxElements is the most array elements a whole request may hold. It
	// bounds what kmsg allocates for elements of few bytes.
	maxElements = 1 << 20
)

// ErrMalformed is the cause of every error of Check and RequestHeader: the
// connection is to be closed.
var ErrMalformed = errors.New("malformed request")

// Check walks the body of a request and refuses it unless every length and
// count fits into the bytes that are there, arrays hold no more elements than
// their smallest form allows, and no structure has more than MaxTags tagged
// fields. It allocates nothing but the error. Bytes after the body are left
// alone, as Kafka does. A key without a schema is an error of the caller.
func Check(key, version int16, body []byte) error {
	if key < 0 || key > MaxKey || schemas[key] == nil || version < 0 || version > maxVersion {
		return fmt.Errorf("BUG: no schema for API key %d version %d", key, version)
	}
	s := schemas[key]
	w := walker{cursor: cursor{b: body}, version: version, flexible: version >= s.flexibleFrom}
	if name := w.object(s.fields); name != "" {
		return fmt.Errorf("%w: %s version %d: %s at byte %d of %d", ErrMalformed, Name(key), version, name, len(body)-len(w.b), len(body))
	}
	return nil
}

// HasSchema reports whether Check knows the API.
func HasSchema(key int16) bool { return key >= 0 && key <= MaxKey && schemas[key] != nil }

// walker walks one body. Its methods return "" or what is wrong.
type walker struct {
	cursor
	version  int16
	flexible bool
	elements int // array elements so far
}

func (w *walker) object(fields []field) string {
	for i := range fields {
		f := &fields[i]
		if !f.in(w.version) || f.tagged && w.flexible {
			continue
		}
		if problem := w.field(f); problem != "" {
			return problem
		}
	}
	if w.flexible {
		return w.tags(fields)
	}
	return ""
}

func (w *walker) field(f *field) string {
	if f.array {
		return w.array(f)
	}
	return w.element(f)
}

// element walks one value that is no array.
func (w *walker) element(f *field) string {
	switch f.kind {
	case text, blob:
		plain := 4
		if f.kind == text {
			plain = 2
		}
		n, ok := w.length(plain, w.flexible)
		switch {
		case !ok:
			return f.name + " is cut off"
		case n < 0:
			return w.null(f)
		case !w.skip(n):
			return f.name + " is longer than the request"
		}
		return ""
	case object:
		if f.nullable && !f.array {
			// A nullable structure: -1 for null, 1 otherwise.
			marker, ok := w.byte()
			if !ok {
				return f.name + " is cut off"
			}
			if int8(marker) < 0 {
				return w.null(f)
			}
		}
		return w.object(f.fields)
	}
	if !w.skip(fixedSize[f.kind]) {
		return f.name + " is cut off"
	}
	return ""
}

func (w *walker) null(f *field) string {
	if f.nullable && w.version >= f.nullFrom {
		return ""
	}
	return f.name + " is null"
}

func (w *walker) array(f *field) string {
	n, ok := w.length(4, w.flexible)
	switch {
	case !ok:
		return f.name + " is cut off"
	case n < 0:
		return w.null(f)
	case n > len(w.b)/f.minSize[w.version]:
		return f.name + " has more elements than bytes are left"
	}
	if f.kind <= fixed16 {
		w.skip(n * fixedSize[f.kind])
		return ""
	}
	if w.elements += n; w.elements > maxElements {
		return f.name + " brings the request over a million elements"
	}
	for range n {
		if problem := w.element(f); problem != "" {
			return problem
		}
	}
	return ""
}

// tags walks a section of tagged fields: those in fields by their schema, the
// others unread.
func (w *walker) tags(fields []field) string {
	n, ok := w.uvarint()
	if !ok || n > MaxTags {
		return "the number of tagged fields is wrong"
	}
	for range n {
		tag, ok := w.uvarint()
		size, ok2 := w.uvarint()
		if !ok || !ok2 || uint64(size) > uint64(len(w.b)) {
			return "a tagged field is longer than the request"
		}
		rest := w.b[size:]
		if f := w.tagged(fields, tag); f != nil {
			w.b = w.b[:size]
			if problem := w.field(f); problem != "" {
				return problem
			}
			if len(w.b) != 0 {
				return f.name + " does not fill its tagged field"
			}
		}
		w.b = rest
	}
	return ""
}

func (w *walker) tagged(fields []field, tag uint32) *field {
	for i := range fields {
		if f := &fields[i]; f.tagged && f.tag == tag && f.in(w.version) {
			return f
		}
	}
	return nil
}

// cursor takes bytes from the front of b.
type cursor struct{ b []byte }

func (c *cursor) skip(n int) bool {
	if n < 0 || n > len(c.b) {
		return false
	}
	c.b = c.b[n:]
	return true
}

func (c *cursor) byte() (byte, bool) {
	if len(c.b) == 0 {
		return 0, false
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v, true
}

func (c *cursor) int16() (int16, bool) {
	if len(c.b) < 2 {
		return 0, false
	}
	v := int16(binary.BigEndian.Uint16(c.b))
	c.b = c.b[2:]
	return v, true
}

func (c *cursor) int32() (int32, bool) {
	if len(c.b) < 4 {
		return 0, false
	}
	v := int32(binary.BigEndian.Uint32(c.b))
	c.b = c.b[4:]
	return v, true
}

// uvarint reads an unsigned varint of at most five bytes that fits into 32 bits.
func (c *cursor) uvarint() (uint32, bool) {
	var v uint64
	for i := range min(5, len(c.b)) {
		v |= uint64(c.b[i]&0x7f) << (7 * i)
		if c.b[i] < 0x80 {
			c.b = c.b[i+1:]
			return uint32(v), v <= 1<<32-1
		}
	}
	return 0, false
}

// length reads a length: compact (one more than the length, 0 for null) or
// plain in the given number of bytes (-1 for null). Null is -1; other negative
// lengths are not ok.
func (c *cursor) length(plain int, compact bool) (n int, ok bool) {
	if compact {
		v, ok := c.uvarint()
		return int(v) - 1, ok && v <= 1<<31-1
	}
	if plain == 2 {
		v, ok := c.int16()
		return int(v), ok && v >= -1
	}
	v, ok := c.int32()
	return int(v), ok && v >= -1
}
