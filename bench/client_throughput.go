package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// fill sets what a run moved.
func (run *Run) fill(records int64, valueBytes int, counter *batchCounter) {
	run.Records = records
	run.PayloadBytes = records * int64(valueBytes)
	// franz-go tells of a batch after it has given out its acknowledgements, so
	// one or two are counted too late, or those of the warm-up too soon.
	if counted := counter.records.Load(); counted > 0 {
		run.LogBytes = int64(float64(counter.bytes.Load()) * float64(records) / float64(counted))
	}
	run.BatchBytes = over(float64(counter.bytes.Load()), float64(counter.batches.Load()))
	if counter.batches.Load() == 0 {
		run.BatchBytes = 0
	}
}

// measureProduce runs the producers at full speed.
func (r *clientRun) measureProduce(ctx context.Context) (Run, error) {
	var counter batchCounter
	clients := make([]*kgo.Client, r.row.Producers)
	for i := range clients {
		cl, err := r.newProducer(&counter)
		if err != nil {
			return Run{}, err
		}
		defer cl.Close()
		clients[i] = cl
	}
	var discarded atomic.Int64
	warmup := min(clientWarmup, r.config.Records)
	err := inParallel(len(clients), func(i int) error {
		_, err := produceRecords(ctx, clients[i], 0, warmup, r.row.ValueBytes, &discarded)
		return err
	})
	if err != nil {
		return Run{}, fmt.Errorf("warm-up: %w", err)
	}
	counter.reset()
	m, err := startMeter(ctx, r.target, r.admin.copies(r.row.writtenBytes(r.config)), counter.records.Load)
	if err != nil {
		return Run{}, err
	}
	acked := make([]tally, len(clients))
	err = inParallel(len(clients), func(i int) (err error) {
		acked[i], err = produceRecords(ctx, clients[i], int64(i)*r.config.Records, r.config.Records, r.row.ValueBytes, r.done)
		return err
	})
	var total tally
	for _, t := range acked {
		total.add(t)
	}
	ackedAfter := time.Since(m.start)
	if err == nil && r.admin.replication > 1 {
		err = r.admin.awaitRecords(ctx, r.topic, total.records+warmup*int64(len(clients)))
	}
	run, meterErr := m.stop()
	if r.admin.replication > 1 {
		run.ReplicatedSeconds, run.Seconds = run.Seconds, ackedAfter.Seconds()
	}
	run.fill(total.records, r.row.ValueBytes, &counter)
	if err := errors.Join(err, meterErr); err != nil {
		return run, err
	}
	if r.target.name == TargetNull {
		return run, nil
	}
	run.VerifiedRecords, err = r.readBackAll(ctx, total.records+warmup*int64(len(clients)))
	return run, err
}

// readBackAll reads the whole topic raw, with every CRC and offset checked,
// and holds its record count against what was acknowledged. A broker that the
// raw reader cannot talk to is asked for its end offsets only.
func (r *clientRun) readBackAll(ctx context.Context, acknowledged int64) (int64, error) {
	ends, err := r.admin.kadm.ListEndOffsets(ctx, r.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("cannot list the end offsets: %w", err)
	}
	leaders, err := r.admin.leaders(ctx, r.topic, r.row.Partitions)
	if err != nil {
		return 0, err
	}
	var total int64
	for i, addr := range leaders {
		end, ok := ends.Lookup(r.topic, int32(i))
		if !ok {
			return 0, fmt.Errorf("partition %d has no end offset", i)
		}
		if r.admin.versionsErr == nil {
			if err := r.readBackPartition(ctx, addr, int32(i), end.Offset); err != nil {
				return 0, err
			}
		}
		total += end.Offset
	}
	if total != acknowledged {
		return total, fmt.Errorf("the topic holds %d records; %d were acknowledged", total, acknowledged)
	}
	return total, nil
}

func (r *clientRun) readBackPartition(ctx context.Context, addr string, partition int32, end int64) error {
	conn, err := dialRaw(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.close()
	conn.limitWaits()
	_, _, err = readBack(conn, r.admin.versions, r.topic, partition, end, 1<<20)
	return err
}

// setUp writes at least r.config.Records records for the consumers and returns
// what it wrote: prebuilt batches over raw connections where the broker takes
// them, a producer otherwise.
func (r *clientRun) setUp(ctx context.Context) (tally, error) {
	if r.admin.versionsErr != nil {
		cl, err := r.newProducer(nil)
		if err != nil {
			return tally{}, err
		}
		defer cl.Close()
		var discarded atomic.Int64
		return produceRecords(ctx, cl, 0, r.config.Records, r.row.ValueBytes, &discarded)
	}
	leaders, err := r.admin.leaders(ctx, r.topic, r.row.Partitions)
	if err != nil {
		return tally{}, err
	}
	batch := BuildBatch(r.row.ValueBytes, setupBatchBytes, 0, time.Now().UnixMilli())
	raw := &saturateRun{
		row:   SaturateRow{Connections: 1, Partitions: r.row.Partitions, Window: maxInFlight},
		admin: r.admin, target: r.target, topic: r.topic, batch: batch, acks: 1,
		plans: planConnections(leaders, 1),
	}
	streams, err := raw.openProduceStreams(ctx, maxInFlight)
	if err != nil {
		return tally{}, err
	}
	defer closeProduceStreams(streams)
	requests := (r.config.Records + int64(batch.Records) - 1) / int64(batch.Records)
	if _, err := produceAll(streams, requests, nil); err != nil {
		return tally{}, fmt.Errorf("writing the records to consume: %w", err)
	}
	return tally{records: requests * int64(batch.Records), checksum: uint64(requests) * batch.Checksum}, nil
}

// measureConsume has every consumer read the whole topic. Connecting and the
// first fetch are part of the time, as in Kafka's tool.
func (r *clientRun) measureConsume(ctx context.Context) (Run, error) {
	written, err := r.setUp(ctx)
	if err != nil {
		return Run{}, err
	}
	var counter batchCounter
	m, err := startMeter(ctx, r.target, 0, counter.records.Load)
	if err != nil {
		return Run{}, err
	}
	read := make([]tally, r.row.Consumers)
	err = inParallel(len(read), func(i int) error {
		cl, err := r.newConsumer(&counter, kgo.NewOffset().AtStart())
		if err != nil {
			return err
		}
		defer cl.Close()
		read[i], err = consumeRecords(ctx, cl, written.records, r.done)
		return err
	})
	run, meterErr := m.stop()
	var total tally
	for _, t := range read {
		if err == nil && t != written {
			err = fmt.Errorf("a consumer read %d records with checksum %x; %d with %x were written",
				t.records, t.checksum, written.records, written.checksum)
		}
		total.add(t)
	}
	run.fill(total.records, r.row.ValueBytes, &counter)
	run.VerifiedRecords = total.records
	return run, errors.Join(err, meterErr)
}

// measureProduceConsume runs a producer and a consumer together; the rate is
// that of records which have gone all the way.
func (r *clientRun) measureProduceConsume(ctx context.Context) (Run, error) {
	var counter batchCounter
	producer, err := r.newProducer(&counter)
	if err != nil {
		return Run{}, err
	}
	defer producer.Close()
	var arrived batchCounter
	consumer, err := r.newConsumer(&arrived, kgo.NewOffset().AtStart())
	if err != nil {
		return Run{}, err
	}
	defer consumer.Close()
	var discarded atomic.Int64
	warmup := min(clientWarmup, r.config.Records)
	if err := inParallel(2, func(i int) (err error) {
		if i == 0 {
			_, err = produceRecords(ctx, producer, 0, warmup, r.row.ValueBytes, &discarded)
		} else {
			_, err = consumeRecords(ctx, consumer, warmup, &discarded)
		}
		return err
	}); err != nil {
		return Run{}, fmt.Errorf("warm-up: %w", err)
	}
	counter.reset()
	arrived.reset()
	m, err := startMeter(ctx, r.target, r.admin.copies(r.row.writtenBytes(r.config)), arrived.records.Load)
	if err != nil {
		return Run{}, err
	}
	var acked, read tally
	err = inParallel(2, func(i int) (err error) {
		if i == 0 {
			acked, err = produceRecords(ctx, producer, 0, r.config.Records, r.row.ValueBytes, r.done)
		} else {
			read, err = consumeRecords(ctx, consumer, r.config.Records, r.done)
		}
		return err
	})
	run, meterErr := m.stop()
	if err == nil && acked != read {
		err = fmt.Errorf("read %d records with checksum %x; %d with %x were acknowledged",
			read.records, read.checksum, acked.records, acked.checksum)
	}
	run.fill(read.records, r.row.ValueBytes, &counter)
	run.VerifiedRecords = read.records
	return run, errors.Join(err, meterErr)
}
