package record

import "io"

// windowSize is the walker's view of decompressed bytes. Records that fit are
// checked in it at once; larger ones are streamed through it.
const windowSize = 64 << 10

// maxEmptyReads bounds how often a decompressor may return nothing at all.
const maxEmptyReads = 100

// stream is a bounded view of decompressed bytes, window[lo:hi]. It is a value
// on its user's stack: nothing is allocated per batch.
type stream struct {
	d      *decompressor
	window []byte
	lo, hi int
	eof    bool
	left   int64 // how many more bytes may be decompressed
	limit  int64
}

// fill slides the window and reads more. At the end of the data it sets eof.
func (s *stream) fill() error {
	if s.lo > 0 {
		copy(s.window, s.window[s.lo:s.hi])
		s.hi -= s.lo
		s.lo = 0
	}
	for range maxEmptyReads {
		n, err := s.d.Read(s.window[s.hi:])
		s.hi += n
		if s.left -= int64(n); s.left < 0 {
			return tooLarge(s.limit)
		}
		if err == io.EOF {
			s.eof = true
			return nil
		}
		if err != nil || n > 0 {
			return err
		}
	}
	return decompressError(s.d.codec, io.ErrNoProgress)
}

// need makes at least n bytes (n much smaller than the window) available,
// unless the data ends first.
func (s *stream) need(n int) error {
	for s.hi-s.lo < n && !s.eof {
		if err := s.fill(); err != nil {
			return err
		}
	}
	return nil
}

// skip passes over n bytes.
func (s *stream) skip(n int) (fault, error) {
	for {
		have := min(n, s.hi-s.lo)
		s.lo += have
		if n -= have; n == 0 {
			return faultNone, nil
		}
		if s.eof {
			return faultShort, nil
		}
		if err := s.fill(); err != nil {
			return faultNone, err
		}
	}
}

// run checks all records of a compressed batch against w's rules.
func (s *stream) run(w *walker) (fault, error) {
	for {
		n, f := w.walk(s.window[s.lo:s.hi])
		s.lo += n
		if f == faultNone {
			return s.end()
		}
		if f != faultShort || s.eof {
			return f, nil
		}
		var err error
		if s.hi-s.lo == len(s.window) {
			if f, err = s.largeRecord(w); f != faultNone || err != nil {
				return f, err
			}
			continue
		}
		if err = s.fill(); err != nil {
			return faultNone, err
		}
	}
}

// end makes sure that nothing follows the last record.
func (s *stream) end() (fault, error) {
	if err := s.need(1); err != nil {
		return faultNone, err
	}
	if s.lo != s.hi {
		return faultLength, nil
	}
	return faultNone, nil
}

// largeRecord checks one record that is larger than the window, without ever
// holding it whole.
func (s *stream) largeRecord(w *walker) (fault, error) {
	length, p := varint32(s.window[s.lo:s.hi], 0)
	if p < 0 {
		return varintFault(p), nil
	}
	if int(length) > w.maxRecord {
		return faultRecordTooLarge, nil
	}
	s.lo += p
	body := &limited{stream: s, left: int(length)}
	if f, err := body.skip(1); f != faultNone || err != nil { // attributes
		return f, err
	}
	deltaMs, f, err := body.varint()
	if f != faultNone || err != nil {
		return f, err
	}
	offsetDelta, f, err := body.varint()
	if f != faultNone || err != nil {
		return f, err
	}
	keySize, f, err := body.bytes()
	if f != faultNone || err != nil {
		return f, err
	}
	if _, f, err = body.bytes(); f != faultNone || err != nil {
		return f, err
	}
	if f, err = body.headers(); f != faultNone || err != nil {
		return f, err
	}
	if body.left != 0 {
		return faultSize, nil
	}
	ms := w.baseMs + deltaMs
	if offsetDelta != int64(w.seen) {
		return faultOffset, nil
	}
	if f := w.judge(w.seen, int32(offsetDelta), ms, keySize >= 0); f != faultNone {
		return f, nil
	}
	if ms > w.maxMs {
		w.maxMs, w.maxAt = ms, w.seen
	}
	w.seen++
	return faultNone, nil
}

// limited reads the fields of one record body from a stream.
type limited struct {
	stream *stream
	left   int // bytes of the body not read yet
}

// skip passes over n bytes of the body.
func (l *limited) skip(n int) (fault, error) {
	if n > l.left {
		return faultSize, nil
	}
	l.left -= n
	return l.stream.skip(n)
}

// varint reads a varint of up to 64 bits.
func (l *limited) varint() (int64, fault, error) {
	s := l.stream
	if err := s.need(maxVarint64); err != nil {
		return 0, faultNone, err
	}
	have := min(l.left, s.hi-s.lo)
	v, p := varint64(s.window[s.lo:s.lo+have], 0)
	if p < 0 {
		return 0, faultVarint, nil
	}
	s.lo += p
	l.left -= p
	return v, faultNone, nil
}

// bytes skips nullable bytes and returns their size, -1 for null.
func (l *limited) bytes() (int64, fault, error) {
	size, f, err := l.varint()
	if f != faultNone || err != nil || size == -1 {
		return size, f, err
	}
	if size < -1 || size > int64(l.left) {
		return 0, faultSize, nil
	}
	f, err = l.skip(int(size))
	return size, f, err
}

// headers skips the headers.
func (l *limited) headers() (fault, error) {
	n, f, err := l.varint()
	if f != faultNone || err != nil {
		return f, err
	}
	if n < 0 || n > int64(l.left/2) {
		return faultHeaders, nil
	}
	for range n {
		size, f, err := l.bytes()
		if f != faultNone || err != nil {
			return f, err
		}
		if size < 0 {
			return faultHeaders, nil
		}
		if _, f, err = l.bytes(); f != faultNone || err != nil {
			return f, err
		}
	}
	return faultNone, nil
}
