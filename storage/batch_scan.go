package storage

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"freshet/record"
)

// errNotABatch reports bytes that cannot be the header of a v2 batch.
var errNotABatch = errors.New("not a record batch")

// scratchSize is the read unit of scans; several small batches fit in one read.
const scratchSize = 8192

// smallStep is the batch size below which a scan reads ahead in scratchSize
// units instead of one header at a time.
const smallStep = 4096

type scratch struct{ buf [scratchSize]byte }

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// batchHeader is what scans need of a batch; lengths in bytes.
type batchHeader struct {
	position   int64
	size       int64
	baseOffset int64
	lastOffset int64
}

func (h *batchHeader) end() int64        { return h.position + h.size }
func (h *batchHeader) nextOffset() int64 { return h.lastOffset + 1 }

// headerScanner reads batch headers of one file, forwards. It borrows a pooled
// buffer: close gives it back. raw is the header's bytes, valid until the next
// read.
type headerScanner struct {
	r         io.ReaderAt
	limit     int64 // bytes of the file that may be read
	s         *scratch
	bufAt     int64 // position of s.buf[0]
	bufLen    int
	lookahead bool
	raw       record.Batch
}

func newHeaderScanner(r io.ReaderAt, limit int64) headerScanner {
	return headerScanner{r: r, limit: limit, s: scratchPool.Get().(*scratch)}
}

func (s *headerScanner) close() {
	scratchPool.Put(s.s)
	s.s = nil
}

// at reads the header of the batch at position. It is io.EOF at limit, and
// errNotABatch when the bytes there are not a whole batch below limit.
func (s *headerScanner) at(position int64) (batchHeader, error) {
	if position >= s.limit {
		return batchHeader{}, io.EOF
	}
	if s.limit-position < record.HeaderSize {
		return batchHeader{}, fmt.Errorf("%w: %d bytes at position %d", errNotABatch, s.limit-position, position)
	}
	if position < s.bufAt || position+record.HeaderSize > s.bufAt+int64(s.bufLen) {
		want := int64(record.HeaderSize)
		if s.lookahead {
			want = min(scratchSize, s.limit-position)
		}
		if _, err := s.r.ReadAt(s.s.buf[:want], position); err != nil {
			s.bufLen = 0
			return batchHeader{}, fmt.Errorf("read batch header at position %d: %w", position, unexpectedEOF(err))
		}
		s.bufAt, s.bufLen = position, int(want)
	}
	from := int(position - s.bufAt)
	s.raw = record.Batch(s.s.buf[from : from+record.HeaderSize])
	h, err := parseHeader(s.raw, position)
	if err != nil {
		return h, err
	}
	if h.end() > s.limit {
		return h, fmt.Errorf("%w: batch of %d bytes at position %d ends beyond %d", errNotABatch, h.size, position, s.limit)
	}
	s.lookahead = h.size < smallStep
	return h, nil
}

// parseHeader checks what must hold of any v2 batch header.
func parseHeader(b record.Batch, position int64) (batchHeader, error) {
	h := batchHeader{position: position, size: int64(b.SizeInBytes()), baseOffset: b.BaseOffset(), lastOffset: b.LastOffset()}
	if h.size < record.HeaderSize || b.Magic() != record.MagicV2 || h.baseOffset < 0 || b.LastOffsetDelta() < 0 {
		return h, fmt.Errorf("%w: size %d, magic %d, base offset %d at position %d",
			errNotABatch, h.size, b.Magic(), h.baseOffset, position)
	}
	return h, nil
}

func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// findOffset returns the first batch from position on that ends at or after
// offset; ok is false if there is none below the limit.
func (s *headerScanner) findOffset(position, offset int64) (h batchHeader, ok bool, err error) {
	for {
		h, err = s.at(position)
		if err == io.EOF {
			return h, false, nil
		}
		if err != nil || h.lastOffset >= offset {
			return h, err == nil, err
		}
		position = h.end()
	}
}

// floorEnd returns the end of the last batch, walking from a batch start, that
// ends at or below position end, and the offset that follows it. firstSize is
// the size of the first batch at from. When not even that fits, the returned
// position is from.
func (s *headerScanner) floorEnd(from, walkFrom, end int64) (position, nextOffset, firstSize int64, err error) {
	position = from
	if walkFrom <= from {
		walkFrom = from
	} else {
		position = walkFrom
	}
	first := walkFrom == from
	for {
		h, err := s.at(walkFrom)
		if err == io.EOF {
			return position, nextOffset, firstSize, nil
		}
		if err != nil {
			return 0, 0, 0, err
		}
		if first {
			firstSize, first = h.size, false
		}
		if h.end() > end {
			if nextOffset == 0 {
				nextOffset = h.baseOffset
			}
			return position, nextOffset, firstSize, nil
		}
		walkFrom, position, nextOffset = h.end(), h.end(), h.nextOffset()
	}
}

// endTxnMarker is a commit or abort marker.
type endTxnMarker struct {
	coordinatorEpoch int32
	timestamp        int64
	aborted          bool
}

// parseMarker reads the transaction marker of a control batch. Control batches
// of other kinds, and empty ones, have none.
func parseMarker(b record.Batch) (*endTxnMarker, error) {
	it, err := record.NewIterator(b, 0)
	if err != nil {
		return nil, err
	}
	defer it.Close()
	if !it.Next() {
		return nil, it.Err()
	}
	r := it.Record()
	kind, err := record.ParseControlKey(r.Key)
	if err != nil || kind != record.ControlAbort && kind != record.ControlCommit {
		return nil, err
	}
	epoch, err := record.ParseEndTxnMarker(r.Value)
	if err != nil {
		return nil, err
	}
	return &endTxnMarker{coordinatorEpoch: epoch, timestamp: r.TimestampMs, aborted: kind == record.ControlAbort}, nil
}

// readBatch reads the whole batch of h.
func readBatch(r io.ReaderAt, h batchHeader) (record.Batch, error) {
	buf := make([]byte, h.size)
	if _, err := r.ReadAt(buf, h.position); err != nil {
		return nil, fmt.Errorf("read batch at position %d: %w", h.position, unexpectedEOF(err))
	}
	return record.Batch(buf), nil
}
