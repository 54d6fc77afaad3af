package record

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// xerialHeader opens snappy data as the Java library's SnappyOutputStream
// frames it, and with it every Java producer: magic, version 1, compatible
// with 1. Blocks follow, each with its compressed size as a big-endian int32.
// Other clients also send one bare snappy block.
var xerialHeader = [...]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const (
	xerialMagicSize = 8
	// xerialBlockSize is SnappyOutputStream's default block.
	xerialBlockSize = 32 << 10
)

// Writers are pooled: a gzip or lz4 writer holds hundreds of KiB of tables.
var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	lz4Writers  = sync.Pool{New: func() any { return newLZ4Writer() }}
	zstdEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	})
)

// newLZ4Writer makes frames as Kafka's Java client does: independent blocks of
// 64 KiB without a content checksum.
func newLZ4Writer() *lz4.Writer {
	w := lz4.NewWriter(nil)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false),
		lz4.ConcurrencyOption(1)); err != nil {
		panic("BUG: lz4 writer options refused: " + err.Error())
	}
	return w
}

// appender is an io.Writer that appends to a slice.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// Compress appends src, compressed as a Kafka client with the given codec
// does, to dst.
func Compress(codec Codec, dst, src []byte) ([]byte, error) {
	switch codec {
	case None:
		return append(dst, src...), nil
	case Gzip:
		w := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		out := appender{dst}
		w.Reset(&out)
		return finishCompress(codec, w, &out, src)
	case Snappy:
		return compressXerial(dst, src), nil
	case LZ4:
		w := lz4Writers.Get().(*lz4.Writer)
		defer lz4Writers.Put(w)
		out := appender{dst}
		w.Reset(&out)
		return finishCompress(codec, w, &out, src)
	case Zstd:
		e, err := zstdEncoder()
		if err != nil {
			return nil, fmt.Errorf("cannot compress records with zstd: %w", err)
		}
		return e.EncodeAll(src, dst), nil
	}
	return nil, refuse(ErrUnsupportedCodec, "cannot compress records with unknown codec %d", codec)
}

// finishCompress writes src through w and closes it.
func finishCompress(codec Codec, w io.WriteCloser, out *appender, src []byte) ([]byte, error) {
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("cannot compress records with %s: %w", codec, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("cannot compress records with %s: %w", codec, err)
	}
	return out.b, nil
}

// compressXerial appends src in SnappyOutputStream's framing.
func compressXerial(dst, src []byte) []byte {
	dst = append(dst, xerialHeader[:]...)
	for len(src) > 0 {
		block := src[:min(len(src), xerialBlockSize)]
		src = src[len(block):]
		at := len(dst)
		need := 4 + s2.MaxEncodedLen(len(block))
		if cap(dst)-at < need {
			grown := make([]byte, at, 2*cap(dst)+need)
			copy(grown, dst)
			dst = grown
		}
		// The better mode finds what native snappy finds; the plain one gives up
		// on repetitive text (five times the size on the batches of testdata).
		encoded := s2.EncodeSnappyBetter(dst[at+4:at+need], block)
		dst = dst[:at+4+len(encoded)]
		binary.BigEndian.PutUint32(dst[at:], uint32(len(encoded)))
	}
	return dst
}
