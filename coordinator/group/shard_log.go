package group

import (
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/record"
)

// errResigned ends a load whose partition has another leader by now.
var errResigned = errors.New("the partition was given up while it was loading")

// append builds the batch of an Append effect and hands it to the log. Records
// that need not be atomic are split into as many batches as it takes.
func (s *shard) append(m *Machine, e *Effect) {
	c := s.coordinator
	batches, err := buildBatches(e.Records, e.Atomic, c.clock.NowMs(), c.cfg.MaxBatchBytes)
	id := e.ID
	if err != nil {
		s.fromMachine(m, Appended{ID: id, Err: err})
		return
	}
	if len(batches) == 1 {
		c.appender.Append(s.partition, batches[0], func(err error) { s.fromMachine(m, Appended{ID: id, Err: err}) })
		return
	}
	var mu sync.Mutex
	left, first := len(batches), error(nil)
	for _, batch := range batches {
		c.appender.Append(s.partition, batch, func(err error) {
			mu.Lock()
			if first == nil {
				first = err
			}
			left--
			last, result := left == 0, first
			mu.Unlock()
			if last {
				s.fromMachine(m, Appended{ID: id, Err: result})
			}
		})
	}
}

// buildBatches encodes records at time nowMs into one batch, or into several
// of at most maxBytes each.
func buildBatches(records []Record, atomic bool, nowMs int64, maxBytes int) ([][]byte, error) {
	var batches [][]byte
	var b record.Builder
	b.Reset(nil, record.DefaultBuilderOptions())
	finish := func() error {
		batch, err := b.Finish()
		if err != nil {
			return err
		}
		if len(batch) > maxBytes {
			return fmt.Errorf("%d records of %s take %d bytes in one batch, more than max.message.bytes=%d: %w",
				len(records), OffsetsTopic, len(batch), maxBytes, kerr.RecordListTooLarge)
		}
		batches = append(batches, batch)
		return nil
	}
	for i := range records {
		r := &records[i]
		if !atomic && b.Count() > 0 && b.Size()+len(r.Key)+len(r.Value)+maxRecordOverhead > maxBytes {
			if err := finish(); err != nil {
				return nil, err
			}
			b.Reset(nil, record.DefaultBuilderOptions())
		}
		b.Append(nowMs, r.Key, r.Value)
	}
	if err := finish(); err != nil {
		return nil, err
	}
	return batches, nil
}

// maxRecordOverhead is more than a record takes besides its key and value:
// five varints of at most 5 bytes, one of at most 10, and the attributes.
const maxRecordOverhead = 36

// loader replays batches into a Machine.
type loader struct {
	machine *Machine
	records int
	skipped int // records of types that belong to newer group protocols
}

func (l *loader) batch(b record.Batch) error {
	it, err := record.NewIterator(b, 0)
	if err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	defer it.Close()
	for it.Next() {
		r := it.Record()
		if err := l.record(b, r); err != nil {
			return fmt.Errorf("record at offset %d: %w", r.Offset, err)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	return nil
}

func (l *loader) record(b record.Batch, r *record.Record) error {
	if b.IsControl() {
		kind, err := record.ParseControlKey(r.Key)
		if err != nil {
			return err
		}
		if kind == record.ControlCommit || kind == record.ControlAbort {
			l.machine.ReplayEndTxn(b.ProducerID(), kind == record.ControlCommit)
		}
		return nil
	}
	producerID := int64(noProducerID)
	if b.IsTransactional() {
		producerID = b.ProducerID()
	}
	known, err := l.machine.Replay(r.Offset, producerID, Record{Key: r.Key, Value: r.Value})
	if err != nil {
		return err
	}
	l.records++
	if !known {
		l.skipped++
	}
	return nil
}
