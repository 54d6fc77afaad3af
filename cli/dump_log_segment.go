package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"freshet/record"
)

// segmentReader reads a segment's batches in order.
type segmentReader struct {
	f        *os.File
	size     int64 // bytes of the file, or of the part to read
	position int64 // byte position of the next batch
	buf      []byte
}

func openSegment(name string, maxBytes int64) (*segmentReader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segmentReader{f: f, size: min(st.Size(), maxBytes)}, nil
}

// next returns the batch at the position and moves past it. At the end, or at
// bytes that make no whole batch, it returns io.EOF. The batch is valid until
// the next call.
func (r *segmentReader) next() (record.Batch, error) {
	var head [record.HeaderSize]byte
	if r.position+record.LogOverhead > r.size {
		return nil, io.EOF
	}
	n, err := r.f.ReadAt(head[:min(record.HeaderSize, r.size-r.position)], r.position)
	if err != nil && err != io.EOF {
		return nil, err
	}
	size := int64(record.Batch(head[:]).SizeInBytes())
	if n < record.MagicAt+1 || size < record.LogOverhead+14 || r.position+size > r.size {
		return nil, io.EOF
	}
	if magic := int8(head[record.MagicAt]); magic != record.MagicV2 {
		return nil, fmt.Errorf("%s holds a batch of magic %d at position %d; only magic 2 is read", r.f.Name(), magic, r.position)
	}
	if size < record.HeaderSize {
		return nil, io.EOF
	}
	if int64(cap(r.buf)) < size {
		r.buf = make([]byte, size+size/4)
	}
	b := r.buf[:size]
	if _, err := io.ReadFull(io.NewSectionReader(r.f, r.position, size), b); err != nil {
		return nil, err
	}
	r.position += size
	return b, nil
}

// baseOffsetOf reads the base offset in a file's name.
func baseOffsetOf(name string) (int64, error) {
	stem, _, _ := strings.Cut(filepath.Base(name), ".")
	n, err := strconv.ParseInt(stem, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not named by its first offset, as a partition's files are", name)
	}
	return n, nil
}

func (d *dumper) log(name string) error {
	if err := d.logHeading(name); err != nil {
		return err
	}
	r, err := openSegment(name, d.maxBytes)
	if err != nil {
		return err
	}
	defer r.f.Close()
	last := int64(-1)
	for {
		if d.ctx.Err() != nil {
			return errInterrupted
		}
		position := r.position
		b, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		d.batchLine(b, position)
		if d.deep {
			if last, err = d.records(name, b, last); err != nil {
				return err
			}
		}
	}
	if trailing := r.size - r.position; trailing > 0 && d.maxBytes >= 1<<31-1 {
		fmt.Fprintf(d.out, "Found %d invalid bytes at the end of %s\n", trailing, filepath.Base(name))
	}
	return nil
}

func (d *dumper) logHeading(name string) error {
	base := filepath.Base(name)
	if strings.HasSuffix(base, ".log") {
		start, err := baseOffsetOf(name)
		if err == nil {
			_, err = fmt.Fprintf(d.out, "Log starting offset: %d\n", start)
		}
		return err
	}
	if base == "bootstrap.checkpoint" {
		_, err := fmt.Fprintln(d.out, "KRaft bootstrap snapshot")
		return err
	}
	var offset, epoch int64
	if _, err := fmt.Sscanf(base, "%d-%d.checkpoint", &offset, &epoch); err != nil {
		return fmt.Errorf("%s is not named as a KRaft snapshot is: offset-epoch.checkpoint", name)
	}
	_, err := fmt.Fprintf(d.out, "Snapshot end offset: %d, epoch: %d\n", offset, epoch)
	return err
}

func timestampType(b record.Batch) string {
	if b.IsLogAppendTime() {
		return "LogAppendTime"
	}
	return "CreateTime"
}

func (d *dumper) batchLine(b record.Batch, position int64) {
	horizon := "OptionalLong.empty"
	if b.HasDeleteHorizon() {
		horizon = fmt.Sprintf("OptionalLong[%d]", b.BaseTimestamp())
	}
	fmt.Fprintf(d.out, "baseOffset: %d lastOffset: %d count: %d baseSequence: %d lastSequence: %d producerId: %d producerEpoch: %d "+
		"partitionLeaderEpoch: %d isTransactional: %t isControl: %t deleteHorizonMs: %s position: %d %s: %d size: %d magic: %d "+
		"compresscodec: %s crc: %d isvalid: %t\n",
		b.BaseOffset(), b.LastOffset(), b.Count(), b.BaseSequence(), b.LastSequence(), b.ProducerID(), b.ProducerEpoch(),
		b.LeaderEpoch(), b.IsTransactional(), b.IsControl(), horizon, position, timestampType(b), b.MaxTimestamp(), len(b), b.Magic(),
		b.Codec(), b.CRC(), b.CheckCRC() == nil)
}

// records prints a batch's records; last is the offset before them.
func (d *dumper) records(name string, b record.Batch, last int64) (int64, error) {
	it, err := record.NewIterator(b, 0)
	if err != nil {
		return last, fmt.Errorf("cannot read the batch at offset %d of %s: %w", b.BaseOffset(), name, err)
	}
	defer it.Close()
	for it.Next() {
		r := it.Record()
		if r.Offset != last+1 {
			d.nonConsecutive(name, last, r.Offset)
		}
		last = r.Offset
		d.recordLine(b, r)
	}
	if err := it.Err(); err != nil {
		return last, fmt.Errorf("cannot read the batch at offset %d of %s: %w", b.BaseOffset(), name, err)
	}
	return last, nil
}

func (d *dumper) nonConsecutive(name string, before, after int64) {
	heading := "Non-consecutive offsets in " + absolute(name)
	if !containsString(d.findings, heading) {
		d.finding("%s", heading)
	}
	d.finding("  %d is followed by %d", before, after)
}

func (d *dumper) recordLine(b record.Batch, r *record.Record) {
	prefix := "| "
	if !d.skipMetadata {
		prefix = " "
		keySize, valueSize := len(r.Key), len(r.Value)
		if r.Key == nil {
			keySize = -1
		}
		if r.Value == nil {
			valueSize = -1
		}
		var keys []string
		for _, h := range r.Headers(nil) {
			keys = append(keys, string(h.Key))
		}
		fmt.Fprintf(d.out, "| offset: %d %s: %d keySize: %d valueSize: %d sequence: %d headerKeys: [%s]",
			r.Offset, timestampType(b), r.TimestampMs, keySize, valueSize, r.Sequence, strings.Join(keys, ","))
		if b.IsControl() {
			d.controlRecord(r)
		}
	}
	if d.contents && !b.IsControl() {
		key, value, hasKey, hasValue := d.decode(r)
		if hasKey {
			d.out.WriteString(prefix + "key: ")
			d.out.WriteString(key)
			prefix = " "
		}
		if hasValue {
			d.out.WriteString(prefix + "payload: ")
			d.out.WriteString(value)
		}
	}
	d.out.WriteByte('\n')
}

func (d *dumper) controlRecord(r *record.Record) {
	kind, err := record.ParseControlKey(r.Key)
	if err != nil {
		fmt.Fprintf(d.out, " controlType: UNKNOWN(%v)", err)
		return
	}
	if kind == record.ControlAbort || kind == record.ControlCommit {
		if epoch, err := record.ParseEndTxnMarker(r.Value); err == nil {
			fmt.Fprintf(d.out, " endTxnMarker: %s coordinatorEpoch: %d", kind, epoch)
			return
		}
	}
	fmt.Fprintf(d.out, " controlType: %s(%d)", kind, kind)
}
