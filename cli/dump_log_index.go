package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sort"
	"strings"
)

// Bytes of one entry of each kind of index.
const (
	offsetIndexEntryBytes = 8
	timeIndexEntryBytes   = 12
	txnIndexEntryBytes    = 34
)

// indexPair is an entry of an offset index.
type indexPair struct{ offset, position int64 }

// readOffsetIndex reads the entries of an offset index: int32 offset relative
// to the file's base, int32 position.
func readOffsetIndex(name string, base int64) ([]indexPair, int, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, 0, err
	}
	var pairs []indexPair
	for b := data; len(b) >= offsetIndexEntryBytes; b = b[offsetIndexEntryBytes:] {
		pairs = append(pairs, indexPair{base + int64(binary.BigEndian.Uint32(b)), int64(binary.BigEndian.Uint32(b[4:]))})
	}
	return pairs, len(data), nil
}

// sibling is the file of the same segment with another suffix.
func sibling(name, suffix string) string { return name[:strings.LastIndexByte(name, '.')] + suffix }

func (d *dumper) offsetIndex(name string) error {
	base, err := baseOffsetOf(name)
	if err != nil {
		return err
	}
	pairs, size, err := readOffsetIndex(name, base)
	if err != nil {
		return err
	}
	if len(pairs) == 0 {
		fmt.Fprintf(d.out, "%s is empty.\n", name)
		return nil
	}
	if d.sanityOnly {
		last := pairs[len(pairs)-1]
		return d.sanity(name, size, offsetIndexEntryBytes, last.offset >= base)
	}
	r, err := openSegment(sibling(name, ".log"), 1<<62)
	if err != nil {
		return err
	}
	defer r.f.Close()
	var wrong []indexPair
	for i, p := range pairs {
		// A preallocated index ends in zeros.
		if p.offset == base && i > 0 {
			break
		}
		r.position = p.position
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s points at position %d of the log, where there is no batch", name, p.position)
		}
		if err != nil {
			return err
		}
		if b.LastOffset() != p.offset {
			wrong = append(wrong, indexPair{p.offset, b.LastOffset()})
		}
		if !d.verifyOnly {
			fmt.Fprintf(d.out, "offset: %d position: %d\n", p.offset, p.position)
		}
	}
	if len(wrong) > 0 {
		d.finding("Mismatches in :%s", absolute(name))
		sort.Slice(wrong, func(i, j int) bool { return wrong[i].offset > wrong[j].offset })
		for _, w := range wrong {
			d.finding("  Index offset: %d, log offset: %d", w.offset, w.position)
		}
	}
	return nil
}

// sanity is the check a broker makes at its start.
func (d *dumper) sanity(name string, size, entry int, ordered bool) error {
	if size%entry != 0 || !ordered {
		return fmt.Errorf("Corrupt index found, index file (%s) has %d bytes, which is not a positive multiple of %d, or entries before its base offset", name, size, entry)
	}
	fmt.Fprintf(d.out, "%s passed sanity check.\n", name)
	return nil
}

// timeFindings collects complaints about a time index by their kind.
type timeFindings struct{ mismatch, outOfOrder, notFound []string }

func (d *dumper) timeIndex(name string) error {
	base, err := baseOffsetOf(name)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if d.sanityOnly {
		n := len(data) / timeIndexEntryBytes
		return d.sanity(name, len(data), timeIndexEntryBytes, n == 0 ||
			int64(binary.BigEndian.Uint64(data[(n-1)*timeIndexEntryBytes:])) >= int64(binary.BigEndian.Uint64(data)))
	}
	pairs, _, err := readOffsetIndex(sibling(name, ".index"), base)
	if err != nil {
		return err
	}
	r, err := openSegment(sibling(name, ".log"), 1<<62)
	if err != nil {
		return err
	}
	defer r.f.Close()
	var found timeFindings
	previous := int64(-1)
	for i := 0; len(data) >= timeIndexEntryBytes; i, data = i+1, data[timeIndexEntryBytes:] {
		timestamp := int64(binary.BigEndian.Uint64(data))
		offset := base + int64(binary.BigEndian.Uint32(data[8:]))
		if offset == base && i > 0 {
			break
		}
		if err := checkTimeEntry(r, pairs, timestamp, offset, previous, &found); err != nil {
			return err
		}
		if !d.verifyOnly {
			fmt.Fprintf(d.out, "timestamp: %d offset: %d\n", timestamp, offset)
		}
		previous = timestamp
	}
	d.timeFindings(name, &found)
	return nil
}

// checkTimeEntry finds the batch that ends at the entry's offset and compares
// its largest timestamp.
func checkTimeEntry(r *segmentReader, pairs []indexPair, timestamp, offset, previous int64, found *timeFindings) error {
	r.position = 0
	for _, p := range pairs {
		if p.offset <= offset && p.position > r.position {
			r.position = p.position
		}
	}
	for {
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			found.notFound = append(found.notFound, fmt.Sprintf("Indexed offset: %d, found log offset: -1", offset))
			return nil
		}
		if err != nil {
			return err
		}
		if b.LastOffset() < offset {
			continue
		}
		if b.LastOffset() != offset {
			found.notFound = append(found.notFound, fmt.Sprintf("Indexed offset: %d, found log offset: %d", offset, b.LastOffset()))
			return nil
		}
		if b.MaxTimestamp() != timestamp {
			found.mismatch = append(found.mismatch, fmt.Sprintf("  Index timestamp: %d, log timestamp: %d", timestamp, b.MaxTimestamp()))
		}
		if previous >= timestamp {
			found.outOfOrder = append(found.outOfOrder, fmt.Sprintf("  Index timestamp: %d, Previously indexed timestamp: %d", timestamp, previous))
		}
		return nil
	}
}

func (d *dumper) timeFindings(name string, found *timeFindings) {
	for _, group := range []struct {
		heading string
		lines   []string
	}{
		{"Found timestamp mismatch in :", found.mismatch},
		{"Found out of order timestamp in :", found.outOfOrder},
		{"The following indexed offsets are not found in :", found.notFound},
	} {
		if len(group.lines) > 0 {
			d.finding("%s%s", group.heading, absolute(name))
			d.findings = append(d.findings, group.lines...)
		}
	}
}

func (d *dumper) txnIndex(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	for b := data; len(b) >= txnIndexEntryBytes; b = b[txnIndexEntryBytes:] {
		version := int16(binary.BigEndian.Uint16(b))
		if version > 0 {
			return fmt.Errorf("Unexpected aborted transaction version %d in transaction index %s, current version is 0", version, name)
		}
		fmt.Fprintf(d.out, "version: %d producerId: %d firstOffset: %d lastOffset: %d lastStableOffset: %d\n", version,
			int64(binary.BigEndian.Uint64(b[2:])), int64(binary.BigEndian.Uint64(b[10:])),
			int64(binary.BigEndian.Uint64(b[18:])), int64(binary.BigEndian.Uint64(b[26:])))
	}
	return nil
}

// producerEntryBytes is the size of an entry of a producer snapshot: producer
// id, epoch, last sequence, last offset, offset delta, timestamp, coordinator
// epoch, first offset of the open transaction.
const producerEntryBytes = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8

// producerSnapshot prints a snapshot of version 1: version int16, CRC-32C of
// what follows it, count int32, entries.
func (d *dumper) producerSnapshot(name string) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if len(data) < 10 {
		fmt.Fprintf(d.err, "Snapshot failed schema validation: %d bytes are too few\n", len(data))
		return nil
	}
	if version := int16(binary.BigEndian.Uint16(data)); version != 1 {
		fmt.Fprintf(d.err, "Snapshot contained an unknown file version %d\n", version)
		return nil
	}
	stored, computed := binary.BigEndian.Uint32(data[2:]), crc32.Checksum(data[6:], crc32.MakeTable(crc32.Castagnoli))
	if stored != computed {
		fmt.Fprintf(d.err, "Snapshot is corrupt (CRC is no longer valid). Stored crc: %d. Computed crc: %d\n", stored, computed)
		return nil
	}
	count := int64(int32(binary.BigEndian.Uint32(data[6:])))
	b := data[10:]
	if count < 0 || count*producerEntryBytes > int64(len(b)) {
		fmt.Fprintf(d.err, "Snapshot failed schema validation: %d entries in %d bytes\n", count, len(b))
		return nil
	}
	for ; count > 0; count, b = count-1, b[producerEntryBytes:] {
		d.producerLine(b)
	}
	return nil
}

func (d *dumper) producerLine(b []byte) {
	be := binary.BigEndian
	lastSequence, lastOffset := int32(be.Uint32(b[10:])), int64(be.Uint64(b[14:]))
	delta, timestamp := int32(be.Uint32(b[22:])), int64(be.Uint64(b[26:]))
	first := "OptionalLong.empty"
	if n := int64(be.Uint64(b[38:])); n >= 0 {
		first = fmt.Sprintf("OptionalLong[%d]", n)
	}
	fmt.Fprintf(d.out, "producerId: %d producerEpoch: %d coordinatorEpoch: %d currentTxnFirstOffset: %s lastTimestamp: %d",
		int64(be.Uint64(b)), int16(be.Uint16(b[8:])), int32(be.Uint32(b[34:])), first, timestamp)
	if lastOffset >= 0 {
		fmt.Fprintf(d.out, " firstSequence: %d lastSequence: %d lastOffset: %d offsetDelta: %d timestamp: %d",
			decrementSequence(lastSequence, delta), lastSequence, lastOffset, delta, timestamp)
	}
	d.out.WriteByte('\n')
}

// decrementSequence goes back in a sequence that wraps at 2^31-1.
func decrementSequence(sequence, by int32) int32 {
	if sequence < by {
		return 1<<31 - 1 - (by - sequence) + 1
	}
	return sequence - by
}
