package cli

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lineParser makes records of lines by the properties of Kafka's
// LineMessageReader.
type lineParser struct {
	parseKey, parseHeaders, ignoreError bool

	keySeparator        []byte
	headersDelimiter    []byte
	headersSeparator    *regexp.Regexp
	headersKeySeparator []byte
	nullMarker          []byte // nil when not set

	lineNumber int
	slab       []kgo.Record
}

// newLineParser reads the properties; others are the concern of readers that
// users write in Java, and are ignored.
func newLineParser(props clientProps) (*lineParser, error) {
	get := func(name, def string) string {
		if v, ok := props[name]; ok {
			return v
		}
		return def
	}
	is := func(name string) bool { return strings.EqualFold(strings.TrimSpace(props[name]), "true") }
	keySep, delim := get("key.separator", "\t"), get("headers.delimiter", "\t")
	headSep, headKeySep := get("headers.separator", ","), get("headers.key.separator", ":")
	marker, hasMarker := props["null.marker"]
	for _, clash := range []struct {
		bad  bool
		text string
	}{
		{delim == headSep, "headers.delimiter and headers.separator may not be equal"},
		{delim == headKeySep, "headers.delimiter and headers.key.separator may not be equal"},
		{headSep == headKeySep, "headers.separator and headers.key.separator may not be equal"},
		{hasMarker && keySep == marker, "null.marker and key.separator may not be equal"},
		{hasMarker && headSep == marker, "null.marker and headers.separator may not be equal"},
		{hasMarker && delim == marker, "null.marker and headers.delimiter may not be equal"},
		{hasMarker && headKeySep == marker, "null.marker and headers.key.separator may not be equal"},
	} {
		if clash.bad {
			return nil, errors.New(clash.text)
		}
	}
	re, err := regexp.Compile(headSep)
	if err != nil {
		return nil, fmt.Errorf("headers.separator is not a regular expression: %w", err)
	}
	p := &lineParser{
		parseKey: is("parse.key"), parseHeaders: is("parse.headers"), ignoreError: is("ignore.error"),
		keySeparator: []byte(keySep), headersDelimiter: []byte(delim),
		headersSeparator: re, headersKeySeparator: []byte(headKeySep),
	}
	if hasMarker {
		p.nullMarker = []byte(marker)
	}
	return p, nil
}

// parse makes a record of a line. The record keeps slices of the line.
func (p *lineParser) parse(line []byte) (*kgo.Record, error) {
	p.lineNumber++
	rest := line
	headers, rest, err := p.field(p.parseHeaders, line, rest, p.headersDelimiter, "headers delimiter")
	if err != nil {
		return nil, err
	}
	key, rest, err := p.field(p.parseKey, line, rest, p.keySeparator, "key separator")
	if err != nil {
		return nil, err
	}
	r := p.newRecord()
	r.Key = p.orNull(key)
	r.Value = p.orNull(rest)
	if headers != nil && p.orNull(headers) != nil {
		if r.Headers, err = p.splitHeaders(headers); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// field cuts what stands before the separator off rest, if it is wanted. A nil
// field was not there.
func (p *lineParser) field(enabled bool, line, rest, separator []byte, name string) (field, after []byte, err error) {
	if !enabled {
		return nil, rest, nil
	}
	i := bytes.Index(rest, separator)
	if i < 0 {
		if p.ignoreError {
			return nil, rest, nil
		}
		return nil, nil, fmt.Errorf("No %s found on line number %d: '%s'", name, p.lineNumber, line)
	}
	return rest[:i:i], rest[i+len(separator):], nil
}

// orNull returns nil for the null marker, and otherwise b, never nil for a
// field that is there but empty.
func (p *lineParser) orNull(b []byte) []byte {
	if b == nil || p.nullMarker != nil && bytes.Equal(b, p.nullMarker) {
		return nil
	}
	return b
}

func (p *lineParser) splitHeaders(text []byte) ([]kgo.RecordHeader, error) {
	var headers []kgo.RecordHeader
	pairs := p.headersSeparator.Split(string(text), -1)
	for len(pairs) > 1 && pairs[len(pairs)-1] == "" {
		pairs = pairs[:len(pairs)-1] // as java.util.regex.Pattern.split does
	}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, string(p.headersKeySeparator))
		if !ok {
			if !p.ignoreError {
				return nil, fmt.Errorf("No header key separator found in pair '%s' on line number %d", pair, p.lineNumber)
			}
			headers = append(headers, kgo.RecordHeader{Key: pair})
			continue
		}
		if p.nullMarker != nil && key == string(p.nullMarker) {
			return nil, fmt.Errorf("Header keys should not be equal to the null marker '%s' as they can't be null", p.nullMarker)
		}
		headers = append(headers, kgo.RecordHeader{Key: key, Value: p.orNull([]byte(value))})
	}
	return headers, nil
}

// newRecord hands out records from slabs, one allocation for many.
func (p *lineParser) newRecord() *kgo.Record {
	if len(p.slab) == 0 {
		p.slab = make([]kgo.Record, 128)
	}
	r := &p.slab[0]
	p.slab = p.slab[1:]
	return r
}
