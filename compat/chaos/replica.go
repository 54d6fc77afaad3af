package chaos

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// BatchSum is one record batch of a replica: where it stands and a digest of its bytes.
type BatchSum struct {
	BaseOffset, NextOffset int64
	Sum                    [sha256.Size]byte
}

// Positions in a record batch (Kafka's message format 2), and the least size of one.
const (
	batchLengthAt     = 8
	batchMagicAt      = 16
	batchLastDeltaAt  = 23
	batchOverhead     = 12 // base offset and length
	batchHeaderBytes  = 61
	batchMagic        = 2
	maxBatchBytes     = 64 << 20
	segmentNameDigits = 20
)

var errTorn = errors.New("not a whole batch")

// ReadReplica reads the batches of a partition's directory that begin below end, in order, over all
// segments. Bytes after end are not looked at: they may be written to at this moment.
func ReadReplica(dir string, end int64) ([]BatchSum, error) {
	names, err := segmentNames(dir)
	if err != nil {
		return nil, err
	}
	var batches []BatchSum
	for _, name := range names {
		if batches, err = readSegment(filepath.Join(dir, name), end, batches); err != nil {
			return nil, err
		}
	}
	return batches, nil
}

// segmentNames are the segment files by base offset, which is their name.
func segmentNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".log"); ok && len(base) == segmentNameDigits {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func readSegment(path string, end int64, batches []BatchSum) ([]BatchSum, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for position := int64(0); ; {
		b, size, err := readBatch(f, position)
		switch {
		case err == io.EOF:
			return batches, nil
		case errors.Is(err, errTorn) && len(batches) > 0 && batches[len(batches)-1].NextOffset >= end:
			return batches, nil // above what is compared
		case err != nil:
			return nil, fmt.Errorf("%s at position %d: %w", path, position, err)
		case b.BaseOffset >= end:
			return batches, nil
		}
		batches = append(batches, b)
		position += size
	}
}

func readBatch(r io.ReaderAt, position int64) (BatchSum, int64, error) {
	var header [batchHeaderBytes]byte
	if n, err := r.ReadAt(header[:], position); err != nil {
		if err == io.EOF && n > 0 {
			err = errTorn
		}
		return BatchSum{}, 0, err
	}
	be := binary.BigEndian
	size := int64(int32(be.Uint32(header[batchLengthAt:]))) + batchOverhead
	if size < batchHeaderBytes || size > maxBatchBytes || header[batchMagicAt] != batchMagic {
		return BatchSum{}, 0, fmt.Errorf("%w: %d bytes, magic %d", errTorn, size, header[batchMagicAt])
	}
	data := make([]byte, size)
	if _, err := r.ReadAt(data, position); err != nil {
		if err == io.EOF {
			err = errTorn
		}
		return BatchSum{}, 0, err
	}
	base := int64(be.Uint64(header[:]))
	return BatchSum{
		BaseOffset: base, NextOffset: base + int64(int32(be.Uint32(header[batchLastDeltaAt:]))) + 1, Sum: sha256.Sum256(data),
	}, size, nil
}

// CompareReplicas says in one sentence how the batches of two replicas differ below end; "" if they are
// the same, both reach end and neither has a gap.
func CompareReplicas(nameA, nameB string, a, b []BatchSum, end int64) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i == len(a) || i == len(b):
			short, at := nameA, a
			if i == len(b) && i != len(a) {
				short, at = nameB, b
			}
			return fmt.Sprintf("%s ends at offset %d, below the high watermark %d", short, lastOffset(at), end)
		case a[i] != b[i]:
			return fmt.Sprintf("offset %d to %d of %s is not offset %d to %d of %s, or its bytes differ (high watermark %d)",
				a[i].BaseOffset, a[i].NextOffset-1, nameA, b[i].BaseOffset, b[i].NextOffset-1, nameB, end)
		case i > 0 && a[i].BaseOffset != a[i-1].NextOffset:
			return fmt.Sprintf("%s and %s go from offset %d to %d", nameA, nameB, a[i-1].NextOffset-1, a[i].BaseOffset)
		}
	}
	if lastOffset(a) < end {
		return fmt.Sprintf("%s and %s end at offset %d, below the high watermark %d", nameA, nameB, lastOffset(a), end)
	}
	return ""
}

func lastOffset(batches []BatchSum) int64 {
	if len(batches) == 0 {
		return 0
	}
	return batches[len(batches)-1].NextOffset
}
