package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// DefaultMaxDecompressedBytes bounds what one batch may expand to unless an
// option says otherwise: the default of socket.request.max.bytes, so the limit
// on records sent compressed is the one on records sent plain.
const DefaultMaxDecompressedBytes = 100 << 20

const (
	// maxZstdWindow is the largest window of zstd's levels (22), as zstd-jni
	// accepts it by default.
	maxZstdWindow = 128 << 20
	// keepZstdWindow is the largest window whose memory a pooled decoder may
	// keep; levels up to 19 stay below.
	keepZstdWindow = 8 << 20
	// keepSnappyBlock is the largest block buffer that a pooled reader keeps.
	keepSnappyBlock = 1 << 20
	// maxSnappyExpansion: a snappy copy element turns 3 bytes into at most 64.
	maxSnappyExpansion = 22

	lz4Magic             = 0x184D2204
	lz4BlockIndependence = 0x20
	lz4VersionMask       = 0xC0
	lz4Version           = 0x40
)

// decompressor streams the records of one compressed batch. One is taken from
// a pool per codec, and put back with close; nothing in it outlives that.
type decompressor struct {
	codec  Codec
	source bytes.Reader
	gzip   *gzip.Reader
	lz4    *lz4.Reader
	zstd   *zstd.Decoder // windows up to keepZstdWindow; pooled
	wide   *zstd.Decoder // for one batch with a larger window; never pooled
	snappy snappyReader
	// window is the walker's view of decompressed bytes, kept here so that it
	// is pooled with the rest.
	window []byte
}

var decompressors [Zstd + 1]sync.Pool

// openDecompressor starts to decompress src. limit bounds allocations that a
// block's declared size would cause.
func openDecompressor(codec Codec, src []byte, limit int64) (*decompressor, error) {
	if codec <= None || codec > Zstd {
		return nil, refuse(ErrUnsupportedCodec, "unknown compression codec %d", codec)
	}
	d, _ := decompressors[codec].Get().(*decompressor)
	if d == nil {
		d = &decompressor{codec: codec, window: make([]byte, windowSize)}
	}
	d.source.Reset(src)
	if err := d.open(src, limit); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// open resets the codec's reader.
func (d *decompressor) open(src []byte, limit int64) error {
	var err error
	switch d.codec {
	case Gzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		err = d.gzip.Reset(&d.source)
	case Snappy:
		err = d.snappy.reset(src, limit)
	case LZ4:
		if err = checkLZ4Frame(src); err != nil {
			return err
		}
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(&d.source)
		} else {
			d.lz4.Reset(&d.source)
		}
	case Zstd:
		err = d.openZstd(src)
	}
	if err != nil {
		return decompressError(d.codec, err)
	}
	return nil
}

// openZstd chooses the decoder by the window that the first frame asks for. A
// decoder keeps its window, so one for large windows is used once and dropped.
func (d *decompressor) openZstd(src []byte) error {
	var header zstd.Header
	if err := header.Decode(src); err != nil {
		return err
	}
	window := header.WindowSize
	if header.SingleSegment {
		window = header.FrameContentSize
	}
	var err error
	if window > keepZstdWindow {
		if d.wide, err = newZstdDecoder(maxZstdWindow); err != nil {
			return err
		}
		return d.wide.Reset(&d.source)
	}
	if d.zstd == nil {
		if d.zstd, err = newZstdDecoder(keepZstdWindow); err != nil {
			return err
		}
	}
	return d.zstd.Reset(&d.source)
}

// newZstdDecoder makes a decoder that works on its caller's goroutine.
func newZstdDecoder(maxWindow uint64) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
}

// checkLZ4Frame refuses what Kafka's Java reader cannot read, so that nothing
// is stored which consumers choke on: other magics, linked blocks.
func checkLZ4Frame(src []byte) error {
	if len(src) < 7 || binary.LittleEndian.Uint32(src) != lz4Magic {
		return refuse(ErrDecompress, "lz4 records do not start with an LZ4 frame")
	}
	if src[4]&lz4VersionMask != lz4Version {
		return refuse(ErrDecompress, "lz4 frame of unknown version %d", src[4]>>6)
	}
	if src[4]&lz4BlockIndependence == 0 {
		return refuse(ErrDecompress, "lz4 frame with dependent blocks, which Kafka's clients cannot read")
	}
	return nil
}

// Read decompresses into p. Errors other than io.EOF are ErrDecompress.
func (d *decompressor) Read(p []byte) (n int, err error) {
	switch d.codec {
	case Gzip:
		n, err = d.gzip.Read(p)
	case Snappy:
		n, err = d.snappy.Read(p)
	case LZ4:
		n, err = d.lz4.Read(p)
	case Zstd:
		if d.wide != nil {
			n, err = d.wide.Read(p)
		} else {
			n, err = d.zstd.Read(p)
		}
	}
	if err != nil && err != io.EOF {
		return n, decompressError(d.codec, err)
	}
	return n, err
}

// decompressError wraps a library's error once.
func decompressError(codec Codec, err error) error {
	var already *ValidationError
	if errors.As(err, &already) {
		return err
	}
	return refuse(ErrDecompress, "cannot decompress %s records: %v", codec, err)
}

// close gives d back to its pool. d must not be used afterwards.
func (d *decompressor) close() {
	d.source.Reset(nil)
	d.snappy.src = nil
	if cap(d.snappy.block) > keepSnappyBlock {
		d.snappy.block = nil
	}
	if d.wide != nil {
		d.wide.Close()
		d.wide = nil
	}
	decompressors[d.codec].Put(d)
}

// snappyReader decompresses xerial framed blocks, or one bare block.
type snappyReader struct {
	src   []byte // compressed bytes not decoded yet
	bare  bool   // no framing: src is one block
	block []byte // the decoded block
	at    int    // read position in block
	limit int64
}

// reset starts on src.
func (r *snappyReader) reset(src []byte, limit int64) error {
	r.block, r.at, r.limit = r.block[:0], 0, limit
	r.bare = len(src) < xerialMagicSize || string(src[:xerialMagicSize]) != string(xerialHeader[:xerialMagicSize])
	if !r.bare {
		if len(src) < len(xerialHeader) {
			return io.ErrUnexpectedEOF
		}
		// Version and least compatible version: SnappyInputStream refuses
		// data that asks for a newer reader.
		if compatible := binary.BigEndian.Uint32(src[12:]); compatible > 1 {
			return refuse(ErrDecompress, "snappy stream asks for version %d", compatible)
		}
		src = src[len(xerialHeader):]
	}
	r.src = src
	return nil
}

// Read copies decoded bytes, decoding the next block when needed.
func (r *snappyReader) Read(p []byte) (int, error) {
	for r.at == len(r.block) {
		if len(r.src) == 0 {
			return 0, io.EOF
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.block[r.at:])
	r.at += n
	return n, nil
}

// next decodes one block.
func (r *snappyReader) next() error {
	encoded := r.src
	if !r.bare {
		// Concatenated streams repeat the header.
		for len(r.src) >= len(xerialHeader) && string(r.src[:xerialMagicSize]) == string(xerialHeader[:xerialMagicSize]) {
			r.src = r.src[len(xerialHeader):]
		}
		if len(r.src) == 0 {
			r.block, r.at = r.block[:0], 0
			return nil
		}
		if len(r.src) < 4 {
			return io.ErrUnexpectedEOF
		}
		size := binary.BigEndian.Uint32(r.src)
		if uint64(size) > uint64(len(r.src)-4) {
			return io.ErrUnexpectedEOF
		}
		encoded = r.src[4 : 4+size]
		r.src = r.src[4+size:]
	} else {
		r.src = nil
	}
	// The declared size is bounded by what the encoded bytes can expand to
	// before anything of that size is allocated.
	size, err := snappy.DecodedLen(encoded)
	if err != nil {
		return err
	}
	if int64(size) > int64(len(encoded))*maxSnappyExpansion {
		return snappy.ErrCorrupt
	}
	if int64(size) > r.limit {
		return tooLarge(r.limit)
	}
	// Strict: the library's default also takes S2's extensions, which the
	// consumers' snappy does not know.
	r.at = 0
	block, err := snappy.DecodeStrict(r.block[:cap(r.block)], encoded)
	if err != nil {
		r.block = r.block[:0]
		return err
	}
	r.block = block
	return nil
}

// tooLarge is the error of a batch that expands beyond limit bytes.
func tooLarge(limit int64) error {
	return refuse(ErrDecompressedTooLarge, "compressed records expand beyond the limit of %d bytes", limit)
}
