package wire

import "math"

// kind is what a field is encoded as.
type kind uint8

const (
	fixed1 kind = iota
	fixed2
	fixed4
	fixed8
	fixed16
	text   // string: int16 or compact length
	blob   // bytes and records: int32 or compact length
	object // nested fields
)

// fixedSize is the number of bytes of the fixed kinds.
var fixedSize = [...]int{fixed1: 1, fixed2: 2, fixed4: 4, fixed8: 8, fixed16: 16}

// never is a version that is not reached.
const never = math.MaxInt16

// field is one field of a request.
type field struct {
	name  string
	kind  kind
	array bool
	// The field is there from version from on, and below until when that is
	// not 0.
	from, until int16
	// nullable fields may be null from version nullFrom on.
	nullable bool
	nullFrom int16
	// tagged fields are in the tagged section, under tag.
	tagged bool
	tag    uint32
	fields []field // of an object

	// minSize is the fewest bytes one element of an array takes, by version;
	// filled at start for arrays.
	minSize []int
}

// schema is the body of one request.
type schema struct {
	key          int16
	flexibleFrom int16
	fields       []field
}

// maxVersion bounds the versions of any API.
const maxVersion = 31

var schemas [MaxKey + 1]*schema

func init() {
	for _, table := range [][]schema{requestSchemas, controllerSchemas} {
		for i := range table {
			s := &table[i]
			schemas[s.key] = s
			measure(s.fields, s.flexibleFrom)
		}
	}
}

// measure fills in minSize.
func measure(fields []field, flexibleFrom int16) {
	for i := range fields {
		f := &fields[i]
		measure(f.fields, flexibleFrom)
		if !f.array {
			continue
		}
		f.minSize = make([]int, maxVersion+1)
		for version := range int16(maxVersion + 1) {
			f.minSize[version] = f.elementSize(version, version >= flexibleFrom)
		}
	}
}

// in reports whether the version has the field.
func (f *field) in(version int16) bool {
	return version >= f.from && (f.until == 0 || version < f.until)
}

// elementSize is the fewest bytes the field, or one element of it, takes.
func (f *field) elementSize(version int16, flexible bool) int {
	switch f.kind {
	case text:
		return prefixSize(2, flexible)
	case blob:
		return prefixSize(4, flexible)
	case object:
		size := 0
		for i := range f.fields {
			g := &f.fields[i]
			switch {
			case !g.in(version) || g.tagged && flexible:
			case g.array:
				size += prefixSize(4, flexible)
			default:
				size += g.elementSize(version, flexible)
			}
		}
		if flexible {
			size++ // the number of tagged fields
		}
		return max(size, 1)
	}
	return fixedSize[f.kind]
}

// prefixSize is the fewest bytes of a length.
func prefixSize(plain int, flexible bool) int {
	if flexible {
		return 1
	}
	return plain
}
