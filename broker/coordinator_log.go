package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"freshet/coordinator/group"
	"freshet/record"
	"freshet/storage"
)

// coordinatorLog lets a coordinator append to, and read, the internal topic
// it keeps its state in. Appends go through the loops like a client's, so
// that they share submissions and group commits; a partition always uses the
// same loop, which keeps its batches in order.
type coordinatorLog struct {
	broker *Broker
	topic  string
}

// internalAppend is one batch on its way to a loop.
type internalAppend struct {
	part  *partition
	batch []byte
	done  func(error)
}

// Append implements group.Appender.
func (cl *coordinatorLog) Append(index int32, batch []byte, done func(error)) {
	p := cl.partition(index)
	if p == nil {
		done(fmt.Errorf("%s partition %d is not on this broker: %w", cl.topic, index, kerr.NotCoordinator))
		return
	}
	loops := cl.broker.net.loops
	l := loops[int(index)%len(loops)]
	l.post(appendTask, &internalAppend{part: p, batch: batch, done: done})
}

func (cl *coordinatorLog) partition(index int32) *partition {
	t := cl.broker.net.topics.name([]byte(cl.topic))
	if t == nil {
		return nil
	}
	return t.partition(index)
}

// appendTask appends a coordinator's batch on its loop.
func appendTask(arg any) error {
	a := arg.(*internalAppend)
	p := a.part
	l := p.loopFor()
	l.tickClock()
	role := p.Role()
	if !role.Leads {
		a.done(fmt.Errorf("this broker leads %s partition %d no more: %w", p.topic.name, p.index, kerr.NotCoordinator))
		return nil
	}
	req := storage.AppendRequest{Batch: record.Batch(a.batch), LeaderEpoch: role.LeaderEpoch, NowMs: l.nowMs, Origin: storage.OriginCoordinator}
	var res storage.Reservation
	if err := p.log.Reserve(&req, &res); err != nil {
		a.done(fmt.Errorf("%w: %w", err, kerr.KafkaStorageError))
		return nil
	}
	l.turn.addInternal(p, &res, a.batch, a.done)
	l.turn.end()
	l.settle()
	return nil
}

// loopFor is the loop that appends what this broker itself writes to p.
func (p *partition) loopFor() *loop { return p.loops[int(p.index)%len(p.loops)] }

// ReadLog implements group.LogReader.
func (cl *coordinatorLog) ReadLog(index int32, visit func(record.Batch) error) error {
	p := cl.partition(index)
	if p == nil {
		return fmt.Errorf("%s partition %d is not on this broker: %w", cl.topic, index, kerr.NotCoordinator)
	}
	return readLog(p.log, visit)
}

// readLogBytes is how much of a log is read at once.
const readLogBytes = 1 << 20

// readLog visits every batch of log from its start to its end as of now.
func readLog(log *storage.Log, visit func(record.Batch) error) error {
	end := log.LogEndOffset()
	buf := make([]byte, 0, 64<<10)
	for offset := log.LogStartOffset(); offset < end; {
		var res storage.ReadResult
		if err := log.Read(offset, readLogBytes, end, true, &res); err != nil {
			return err
		}
		if res.Region.Length == 0 {
			return nil
		}
		if int64(cap(buf)) < res.Region.Length {
			buf = make([]byte, 0, res.Region.Length)
		}
		buf = buf[:res.Region.Length]
		_, err := res.Region.File.ReadAt(buf, res.Region.Position)
		res.Region.Release()
		if err != nil {
			return fmt.Errorf("read at offset %d: %w", offset, err)
		}
		next, err := visitBatches(buf, offset, visit)
		if err != nil {
			return err
		}
		offset = next
	}
	return nil
}

// visitBatches visits the whole batches in buf that end after offset, and
// returns the offset after the last.
func visitBatches(buf []byte, offset int64, visit func(record.Batch) error) (int64, error) {
	next := offset
	for len(buf) >= record.HeaderSize {
		b := record.Batch(buf)
		size := b.SizeInBytes()
		if size > len(buf) {
			break
		}
		b = b[:size]
		if b.NextOffset() > offset {
			if err := b.CheckCRC(); err != nil {
				return next, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
			}
			if err := visit(b); err != nil {
				return next, err
			}
			next = b.NextOffset()
		}
		buf = buf[size:]
	}
	if next == offset {
		return next, fmt.Errorf("no whole batch at offset %d", offset)
	}
	return next, nil
}

// openCoordinators starts the coordinators of this broker's internal topics.
func (b *Broker) openCoordinators() error {
	cfg := b.Config()
	gc := group.DefaultConfig()
	gc.Partitions = cfg.Group.OffsetsTopicNumPartitions
	if t := b.meta.Image().Topic(group.OffsetsTopic); t != nil {
		gc.Partitions = int32(len(t.Partitions))
	}
	gc.MinSessionTimeoutMs = cfg.Group.MinSessionTimeoutMs
	gc.MaxSessionTimeoutMs = cfg.Group.MaxSessionTimeoutMs
	gc.InitialRebalanceDelayMs = cfg.Group.InitialRebalanceDelayMs
	gc.MaxSize = int(cfg.Group.MaxSize)
	gc.OffsetMetadataMaxBytes = int(cfg.Group.OffsetMetadataMaxBytes)
	gc.OffsetsRetentionMs = int64(cfg.Group.OffsetsRetentionMinutes) * 60_000
	gc.OffsetsRetentionCheckIntervalMs = cfg.Group.OffsetsRetentionCheckIntervalMs
	cl := &coordinatorLog{broker: b, topic: group.OffsetsTopic}
	c, err := group.New(gc, cl, cl, group.NewSystemClock(), b.logger())
	if err != nil {
		return err
	}
	b.topicMu.Lock() // roles are given under it, and tell b.group of them
	defer b.topicMu.Unlock()
	b.group = c
	if t := b.net.topics.name([]byte(group.OffsetsTopic)); t != nil {
		for i, p := range t.hosted() {
			if p.Role().Leads {
				c.BecomeLeader(int32(i))
			}
		}
	}
	return nil
}
