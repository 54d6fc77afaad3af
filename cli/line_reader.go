package cli

import (
	"bytes"
	"io"
)

// lineChunkBytes is how much the line reader takes from its source at a time.
const lineChunkBytes = 256 << 10

// lineReader cuts a stream into lines as java.io.BufferedReader.readLine does:
// a line ends at \n, \r or \r\n, and the last one may lack its end. The bytes
// themselves are not touched; Java would replace those that are not UTF-8.
//
// Lines are slices of chunks that are never written again, so that a record may
// keep its line without a copy: the chunk lives until its last record is acked.
type lineReader struct {
	source io.Reader
	chunk  []byte // what was read; its capacity is filled before a new one is made
	start  int    // position in chunk where the next line begins
	lf     int    // position of the first \n at or after start, or up to where there is none
	noCR   int    // position up to which, from start, there is no \r
	skipLF bool   // the last line ended at \r: an \n that follows belongs to it
	err    error  // what the source ended with
}

func newLineReader(source io.Reader) *lineReader { return &lineReader{source: source} }

// next returns a line without its end, and false after the last one. The error
// is the source's, never io.EOF.
func (l *lineReader) next() ([]byte, bool, error) {
	for {
		if l.skipLF && l.start < len(l.chunk) {
			if l.chunk[l.start] == '\n' {
				l.start++
			}
			l.skipLF = false
		}
		if line, ok := l.cut(); ok {
			return line, true, nil
		}
		if l.err != nil {
			return l.last()
		}
		l.fill()
	}
}

// cut takes the next whole line out of the chunk.
func (l *lineReader) cut() ([]byte, bool) {
	if l.lf < l.start {
		l.lf = l.start
	}
	if l.lf < len(l.chunk) && l.chunk[l.lf] != '\n' {
		if i := bytes.IndexByte(l.chunk[l.lf:], '\n'); i >= 0 {
			l.lf += i
		} else {
			l.lf = len(l.chunk)
		}
	}
	end := l.lf
	from := max(l.start, l.noCR)
	if i := bytes.IndexByte(l.chunk[from:max(from, end)], '\r'); i >= 0 {
		end = from + i
		l.skipLF = true
	} else {
		l.noCR = end
	}
	if end == len(l.chunk) {
		return nil, false
	}
	line := l.chunk[l.start:end:end]
	l.start = end + 1
	return line, true
}

// last returns what follows the last line end, when the source is exhausted.
func (l *lineReader) last() ([]byte, bool, error) {
	rest := l.chunk[l.start:]
	l.start = len(l.chunk)
	if l.err != io.EOF {
		return nil, false, l.err
	}
	return rest, len(rest) > 0, nil
}

// fill reads more, moving an unfinished line to a new chunk when the old one
// is full.
func (l *lineReader) fill() {
	if len(l.chunk) == cap(l.chunk) {
		rest := l.chunk[l.start:]
		chunk := make([]byte, len(rest), max(lineChunkBytes, 2*len(rest)))
		copy(chunk, rest)
		l.lf -= l.start
		l.noCR = max(l.noCR-l.start, 0)
		l.chunk, l.start = chunk, 0
	}
	n, err := l.source.Read(l.chunk[len(l.chunk):cap(l.chunk)])
	l.chunk = l.chunk[:len(l.chunk)+n]
	if err != nil {
		l.err = err
	}
}
