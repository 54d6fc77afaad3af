package storage

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sort"
	"strconv"
	"sync"

	"freshet/vfs"
)

// EpochEntry says that leaderEpoch began at startOffset.
type EpochEntry struct {
	Epoch       int32
	StartOffset int64
}

// UndefinedEpoch and UndefinedEpochOffset answer a question about an epoch the
// log knows nothing of (Kafka: OffsetsForLeaderEpochResponse).
const (
	UndefinedEpoch       int32 = -1
	UndefinedEpochOffset int64 = -1
)

// LeaderEpochCache holds the first offset of each leader epoch in the log,
// with epochs and offsets strictly increasing (KIP-101). It is written to
// leader-epoch-checkpoint before the recovery point passes its entries; what a
// crash loses of it, recovery rebuilds from the batches. Safe for concurrent use.
type LeaderEpochCache struct {
	flushMu sync.Mutex // one writer of the file at a time; before mu
	mu      sync.Mutex
	entries []EpochEntry
	dirty   bool
}

// latest returns the newest epoch, or UndefinedEpoch.
func (c *LeaderEpochCache) latest() int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latestLocked()
}

func (c *LeaderEpochCache) latestLocked() int32 {
	if len(c.entries) == 0 {
		return UndefinedEpoch
	}
	return c.entries[len(c.entries)-1].Epoch
}

// assign notes that epoch began at startOffset unless it is the latest
// already. Entries that contradict it are dropped: the batch in the log is the
// truth (Kafka: LeaderEpochFileCache.assign).
func (c *LeaderEpochCache) assign(epoch int32, startOffset int64) {
	if epoch < 0 || startOffset < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.entries); n > 0 && c.entries[n-1].Epoch == epoch && startOffset >= c.entries[n-1].StartOffset {
		return
	}
	n := len(c.entries)
	for n > 0 && (c.entries[n-1].Epoch >= epoch || c.entries[n-1].StartOffset >= startOffset) {
		n--
	}
	c.entries = append(c.entries[:n], EpochEntry{Epoch: epoch, StartOffset: startOffset})
	c.dirty = true
}

// endOffsetFor answers OffsetForLeaderEpoch (KIP-101, KIP-279): the largest
// known epoch at or below the one asked for, and the offset at which it ends.
func (c *LeaderEpochCache) endOffsetFor(epoch int32, logEndOffset int64) (int32, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch == UndefinedEpoch {
		return UndefinedEpoch, UndefinedEpochOffset
	}
	if epoch == c.latestLocked() {
		return epoch, logEndOffset
	}
	i := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].Epoch > epoch })
	if i == len(c.entries) {
		return UndefinedEpoch, UndefinedEpochOffset // newer than any epoch known
	}
	if i == 0 {
		return epoch, c.entries[0].StartOffset // older than the first one kept
	}
	return c.entries[i-1].Epoch, c.entries[i].StartOffset
}

// epochAt returns the epoch of the batch at offset, or UndefinedEpoch.
func (c *LeaderEpochCache) epochAt(offset int64) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset > offset })
	if i == 0 {
		return UndefinedEpoch
	}
	return c.entries[i-1].Epoch
}

// truncateFromEnd drops epochs that begin at or after endOffset.
func (c *LeaderEpochCache) truncateFromEnd(endOffset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.entries)
	for n > 0 && c.entries[n-1].StartOffset >= endOffset {
		n--
	}
	if n < len(c.entries) {
		c.entries = c.entries[:n]
		c.dirty = true
	}
}

// truncateFromStart drops epochs that end at or before startOffset; the one
// that spans it begins there from now on.
func (c *LeaderEpochCache) truncateFromStart(startOffset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := sort.Search(len(c.entries), func(i int) bool { return c.entries[i].StartOffset > startOffset })
	if i == 0 || c.entries[i-1].StartOffset == startOffset && i == 1 {
		return
	}
	c.entries = append([]EpochEntry(nil), c.entries[i-1:]...)
	c.entries[0].StartOffset = startOffset
	c.dirty = true
}

func (c *LeaderEpochCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = c.dirty || len(c.entries) > 0
	c.entries = nil
}

// Entries returns a copy of the entries.
func (c *LeaderEpochCache) Entries() []EpochEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]EpochEntry(nil), c.entries...)
}

const leaderEpochCheckpointFile = "leader-epoch-checkpoint"

// flush writes the checkpoint if it changed since it was last written.
func (c *LeaderEpochCache) flush(fsys vfs.FS, dir string, write fileWriter) error {
	c.flushMu.Lock()
	defer c.flushMu.Unlock()
	c.mu.Lock()
	if !c.dirty {
		c.mu.Unlock()
		return nil
	}
	data := encodeEpochCheckpoint(c.entries)
	c.dirty = false
	c.mu.Unlock()
	if err := write(fsys, filepath.Join(dir, leaderEpochCheckpointFile), data); err != nil {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
		return fmt.Errorf("write %s in %s: %w", leaderEpochCheckpointFile, dir, err)
	}
	return nil
}

func encodeEpochCheckpoint(entries []EpochEntry) []byte {
	buf := appendCheckpointHeader(nil, len(entries))
	for _, e := range entries {
		buf = strconv.AppendInt(buf, int64(e.Epoch), 10)
		buf = append(buf, ' ')
		buf = strconv.AppendInt(buf, e.StartOffset, 10)
		buf = append(buf, '\n')
	}
	return buf
}

func decodeEpochCheckpoint(data []byte) ([]EpochEntry, error) {
	lines, err := checkpointLines(data)
	if err != nil {
		return nil, err
	}
	entries := make([]EpochEntry, 0, len(lines))
	for _, line := range lines {
		fields := bytes.Fields(line)
		if len(fields) != 2 {
			return nil, fmt.Errorf("%w: line %q wants an epoch and an offset", ErrCorruptCheckpoint, line)
		}
		epoch, err1 := strconv.ParseInt(string(fields[0]), 10, 32)
		offset, err2 := strconv.ParseInt(string(fields[1]), 10, 64)
		if err1 != nil || err2 != nil || epoch < 0 || offset < 0 {
			return nil, fmt.Errorf("%w: line %q wants two numbers", ErrCorruptCheckpoint, line)
		}
		e := EpochEntry{Epoch: int32(epoch), StartOffset: offset}
		if n := len(entries); n > 0 && (e.Epoch <= entries[n-1].Epoch || e.StartOffset <= entries[n-1].StartOffset) {
			return nil, fmt.Errorf("%w: line %q is not above the one before", ErrCorruptCheckpoint, line)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
