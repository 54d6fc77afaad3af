package storage

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"freshet/vfs"
)

// gapsFile, in a partition's directory, says that offsets may be missing
// between batches of the log without anything being lost. It is durable before
// the first gap is; a log without it, in a directory whose meta.properties has
// gapsMarkedProperty, has batches that follow each other without a gap within
// each segment, and segments that do unless recovery reported a hole.
const gapsFile = "offset-gaps"

// gapsMarkedProperty in meta.properties: every log in the directory was written
// by a broker that keeps gapsFile. Kafka does not, nor did releases before.
const gapsMarkedProperty = "freshet.gaps.marked"

// gapMark is what gapsFile holds. It is immutable.
type gapMark struct {
	// compactedTo: segments that begin at or below it may begin behind a gap,
	// which compaction made by leaving out the end of the segment before.
	compactedTo int64
}

// anywhere is the mark of a log of which nothing is known.
var anywhere = &gapMark{compactedTo: math.MaxInt64}

// encodeGaps is gapsFile's content.
func encodeGaps(compactedTo int64) []byte {
	buf := appendCheckpointHeader(nil, 1)
	return append(strconv.AppendInt(buf, compactedTo, 10), '\n')
}

// decodeGaps is the reverse; a file that cannot be read allows gaps anywhere.
func decodeGaps(data []byte) *gapMark {
	lines, err := checkpointLines(data)
	if err != nil || len(lines) != 1 {
		return anywhere
	}
	to, err := strconv.ParseInt(string(bytes.TrimSpace(lines[0])), 10, 64)
	if err != nil || to < 0 {
		return anywhere
	}
	return &gapMark{compactedTo: to}
}

// markGaps makes durable that the log may have gaps, and that segments up to
// compactedTo may begin behind one, before either is so. It waits for the disk,
// the first time and when compactedTo rises. Besides its own lock none is
// needed.
func (l *Log) markGaps(compactedTo int64) error {
	l.gapsMu.Lock()
	defer l.gapsMu.Unlock()
	compactedTo = max(compactedTo, l.unmarkedTo)
	if have := l.gaps.Load(); have != nil && have.compactedTo >= compactedTo {
		return nil
	}
	if err := vfs.WriteFileAtomic(l.fs, l.path(gapsFile), encodeGaps(compactedTo)); err != nil {
		return fmt.Errorf("note in %s that %s may have gaps: %w", gapsFile, l.tp, err)
	}
	l.gaps.Store(&gapMark{compactedTo: compactedTo})
	return nil
}

// loadGaps reads gapsFile and decides what recovery may expect of the log.
func (ld *loader) loadGaps() error {
	if _, there := ld.files[gapsFile]; there {
		data, err := vfs.ReadFile(ld.fs, filepath.Join(ld.dir, gapsFile))
		if err != nil {
			return err
		}
		ld.log.gaps.Store(decodeGaps(data))
	}
	switch mark := ld.log.gaps.Load(); {
	case mark != nil:
		ld.holesFrom = mark.compactedTo
	case ld.compacted || !ld.logDir.meta.gapsMarked && ld.config.CleanupCompact:
		ld.holesFrom = math.MaxInt64
	default:
		ld.contiguous = ld.logDir.meta.gapsMarked
	}
	return nil
}

// isHole reports whether records are missing if a segment ends at from and the
// next begins at to. Compaction leaves such gaps, below what it has reached.
func (ld *loader) isHole(from, to int64) bool { return from < to && to > ld.holesFrom }
