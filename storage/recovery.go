package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"freshet/record"
)

// scanOutcome is what a full scan of a segment's bytes found.
type scanOutcome struct {
	validBytes int64 // length of the prefix of sound batches
	nextOffset int64 // offset after it; the segment's base if empty
	damage     error // why the prefix ends before the file does; nil if it does not
	// resumes is the position of a sound batch beyond the damage, or -1, and
	// resumeEnd the offset after the last one found.
	resumes   int64
	resumeEnd int64
	epochs    scanEpochs
}

// errDamaged is the common cause of a scan that ended early.
var errDamaged = errors.New("damaged batch")

const (
	scanWindow = 1 << 20
	// maxResumeTries bounds the candidates whose CRC is computed in the search
	// beyond damage, so that crafted records cannot make it quadratic.
	maxResumeTries = 4096
)

// window reads a file in large pieces.
type window struct {
	r    io.ReaderAt
	size int64
	buf  []byte
	at   int64
	n    int
}

// peek returns n bytes at position, n at most scanWindow, within the file.
func (w *window) peek(position int64, n int) ([]byte, error) {
	if w.buf == nil {
		w.buf = make([]byte, min(scanWindow, w.size))
	}
	if position < w.at || position+int64(n) > w.at+int64(w.n) {
		want := int(min(int64(len(w.buf)), w.size-position))
		w.n = 0
		if _, err := w.r.ReadAt(w.buf[:want], position); err != nil {
			return nil, fmt.Errorf("read at position %d: %w", position, unexpectedEOF(err))
		}
		w.at, w.n = position, want
	}
	from := int(position - w.at)
	return w.buf[from : from+n], nil
}

// crc computes the CRC-32C of [position, position+n).
func (w *window) crc(position, n int64) (uint32, error) {
	var crc uint32
	for n > 0 {
		step := min(n, int64(len(w.buf)))
		part, err := w.peek(position, int(step))
		if err != nil {
			return 0, err
		}
		crc = crc32.Update(crc, record.Castagnoli, part)
		position, n = position+step, n-step
	}
	return crc, nil
}

// batchAt checks the batch at position by itself: all but whether its offsets
// and epoch fit the batches around it. A damaged one is errDamaged; other errors
// are the disk's. header is a copy.
func (w *window) batchAt(position int64) (h batchHeader, header record.Batch, err error) {
	if w.size-position < record.HeaderSize {
		return h, nil, fmt.Errorf("%w: %d bytes left at position %d", errDamaged, w.size-position, position)
	}
	raw, err := w.peek(position, record.HeaderSize)
	if err != nil {
		return h, nil, err
	}
	var own [record.HeaderSize]byte // crc moves the window
	copy(own[:], raw)
	header = own[:]
	if h, err = parseHeader(header, position); err != nil {
		return h, nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if h.end() > w.size {
		return h, nil, fmt.Errorf("%w: batch of %d bytes at position %d ends beyond the file", errDamaged, h.size, position)
	}
	crc, err := w.crc(position+record.AttributesAt, h.size-record.AttributesAt)
	if err != nil {
		return h, nil, err
	}
	if crc != header.CRC() {
		return h, nil, fmt.Errorf("%w: CRC of the batch at position %d is %08x, stored is %08x", errDamaged, position, crc, header.CRC())
	}
	return h, header, nil
}

// findResume looks for sound batches beyond the damage.
func (w *window) findResume(out *scanOutcome, baseOffset int64) error {
	minOffset := out.nextOffset
	tries := 0
	for position := out.validBytes + 1; position+record.HeaderSize <= w.size && tries < maxResumeTries; {
		candidate, err := w.nextCandidate(position, baseOffset, minOffset)
		if err != nil || candidate < 0 {
			return err
		}
		tries++
		h, _, err := w.batchAt(candidate)
		if errors.Is(err, errDamaged) {
			position = candidate + 1
			continue
		}
		if err != nil {
			return err
		}
		if out.resumes < 0 {
			out.resumes = candidate
		}
		tries--
		minOffset = h.nextOffset()
		out.resumeEnd = minOffset
		position = h.end()
	}
	return nil
}

// nextCandidate is the next position whose bytes could be a batch header, or
// -1. Most bytes are passed over by the search for the magic byte.
func (w *window) nextCandidate(position, baseOffset, minOffset int64) (int64, error) {
	for position+record.HeaderSize <= w.size {
		n := int(min(int64(len(w.buf)), w.size-position))
		part, err := w.peek(position, n)
		if err != nil {
			return -1, err
		}
		for i := 0; i+record.HeaderSize <= n; {
			j := bytes.IndexByte(part[i+record.MagicAt:n-record.HeaderSize+record.MagicAt+1], record.MagicV2)
			if j < 0 {
				break
			}
			i += j
			if plausible(part[i:], w.size-position-int64(i), baseOffset, minOffset) {
				return position + int64(i), nil
			}
			i++
		}
		position += int64(n - record.HeaderSize + 1)
	}
	return -1, nil
}

// plausible is a cheap test of a header, before its CRC is computed.
func plausible(b []byte, left, baseOffset, minOffset int64) bool {
	offset := int64(binary.BigEndian.Uint64(b))
	size := int64(int32(binary.BigEndian.Uint32(b[record.LengthAt:]))) + record.LogOverhead
	return offset >= minOffset && offset-baseOffset <= 1<<31-1 && size >= record.HeaderSize && size <= left
}
