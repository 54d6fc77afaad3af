package record

import "io"

// Record is one record of a batch. Its slices point into the batch, or into
// the iterator's buffer for compressed batches; they are valid until the
// iterator is closed and must not be written to.
type Record struct {
	Attributes  int8
	Offset      int64
	TimestampMs int64 // the batch's append time under LogAppendTime
	Sequence    int32 // NoSequence without a producer id
	Key         []byte
	Value       []byte
	Size        int // bytes of the record in the batch, with its length
	headers     []byte
	headerCount int
}

// HeaderCount is the number of headers.
func (r *Record) HeaderCount() int { return r.headerCount }

// Headers appends the record's headers to dst and returns it. The slices point
// where the record's do.
func (r *Record) Headers(dst []Header) []Header {
	b, p := r.headers, 0
	for range r.headerCount {
		var h Header
		at, size, next := nullableBytes(b, p)
		h.Key = b[at : at+size : at+size]
		at, size, p = nullableBytes(b, next)
		if size >= 0 {
			h.Value = b[at : at+size : at+size]
		}
		dst = append(dst, h)
	}
	return dst
}

// Iterator walks the records of one batch in order. Uncompressed batches are
// read in place without allocation. The records of a compressed batch are
// decompressed as a whole first, up to the limit.
//
//	it, err := NewIterator(batch, 0)
//	…
//	for it.Next() {
//		use(it.Record())
//	}
//	err = it.Err()
//
// It does not check the CRC: use Batch.CheckCRC.
type Iterator struct {
	batch  Batch
	data   []byte
	at     int
	index  int
	count  int
	record Record
	err    error
}

// NewIterator opens a batch for reading. limit bounds the size of decompressed
// records in bytes; 0 is DefaultMaxDecompressedBytes. Close releases it.
func NewIterator(b Batch, limit int64) (Iterator, error) {
	var it Iterator
	size, err := Peek(b)
	if err != nil {
		return it, err
	}
	b = b[:size]
	count := b.Count()
	if count < 0 {
		return it, refuse(ErrInvalidRecord, "found invalid record count %d in record batch", count)
	}
	it = Iterator{batch: b, data: b[HeaderSize:], count: int(count)}
	if b.IsCompressed() && count > 0 {
		if limit <= 0 {
			limit = DefaultMaxDecompressedBytes
		}
		if it.data, err = Decompress(nil, b.Codec(), b[HeaderSize:], limit); err != nil {
			return Iterator{}, err
		}
	}
	return it, nil
}

// Next moves to the next record; it is false at the end and after an error.
func (it *Iterator) Next() bool {
	if it.err != nil {
		return false
	}
	if it.index == it.count {
		if it.at != len(it.data) {
			it.err = refuse(ErrInvalidRecord,
				"incorrect declared batch size, %d bytes remain after %d records", len(it.data)-it.at, it.count)
		}
		return false
	}
	var f fields
	if fault := parseRecord(it.data, it.at, &f); fault != faultNone {
		it.err = refuseRecord(ErrInvalidRecord, it.index, "%s", fault)
		return false
	}
	it.load(&f)
	it.index++
	it.at = f.end
	return true
}

// load sets the current record from its parsed places.
func (it *Iterator) load(f *fields) {
	r := &it.record
	r.Attributes = f.attributes
	r.Offset = it.batch.BaseOffset() + int64(f.offsetDelta)
	if it.batch.IsLogAppendTime() {
		r.TimestampMs = it.batch.MaxTimestamp()
	} else {
		r.TimestampMs = it.batch.BaseTimestamp() + f.timestampDelta
	}
	r.Sequence = NoSequence
	if seq := it.batch.BaseSequence(); seq >= 0 {
		r.Sequence = IncrementSequence(seq, f.offsetDelta)
	}
	r.Key, r.Value = nil, nil
	if f.keySize >= 0 {
		r.Key = it.data[f.keyAt : f.keyAt+f.keySize : f.keyAt+f.keySize]
	}
	if f.valueSize >= 0 {
		r.Value = it.data[f.valueAt : f.valueAt+f.valueSize : f.valueAt+f.valueSize]
	}
	r.Size = f.end - it.at
	_, first := varint32(it.data, f.headersAt)
	r.headers, r.headerCount = it.data[first:f.end], f.headerCount
}

// Record is the current record, valid until the next call of Next; its slices
// live until Close.
func (it *Iterator) Record() *Record { return &it.record }

// Err is why Next became false, or nil at the end of the batch.
func (it *Iterator) Err() error { return it.err }

// Close forgets the batch.
func (it *Iterator) Close() { *it = Iterator{} }

// Decompress appends the decompressed records of a batch to dst. More than
// limit bytes are ErrDecompressedTooLarge. dst grows as bytes come out, not by
// what the compressed data declares.
func Decompress(dst []byte, codec Codec, src []byte, limit int64) ([]byte, error) {
	if codec == None {
		return append(dst, src...), nil
	}
	d, err := openDecompressor(codec, src, limit)
	if err != nil {
		return nil, err
	}
	defer d.close()
	s := stream{d: d, window: d.window, left: limit, limit: limit}
	for !s.eof {
		if err := s.fill(); err != nil {
			return nil, err
		}
		dst = append(dst, s.window[s.lo:s.hi]...)
		s.lo = s.hi
	}
	return dst, nil
}

var _ io.Reader = (*decompressor)(nil)
