package sim

import (
	"fmt"

	"freshet/compat/history"
	"freshet/record"
)

// consumer reads every partition from its start, up to the high watermark, and
// notes what it saw.
type consumer struct {
	*client
	at    []int64 // next offset by partition
	reads []history.Read
	every Time
	last  bool // the reader after healing: reports what it cannot read
}

func (w *world) newConsumer(name string, every Time) *consumer {
	c := &consumer{client: w.newClient(name), at: make([]int64, w.plan.partitions), every: every}
	return c
}

func (c *consumer) start() {
	for i := range c.at {
		c.poll(int32(i))
	}
}

// poll asks for a partition's next records, for ever.
func (c *consumer) poll(partition int32) {
	again := func() { c.proc.after(c.every/2+Time(c.rng.Int64N(int64(c.every))), func() { c.poll(partition) }) }
	at := topicPartition{dataTopic, partition}
	leader := c.leader(at)
	if leader == nil {
		again()
		return
	}
	leader.call(fetchRequest{at: at, epoch: c.leaders[at].epoch, offset: c.at[partition], maxBytes: 1 + int32(c.rng.IntN(8192))}, 60, func(body any) {
		if r, ok := body.(fetchResponse); ok {
			c.fetched(at, r)
		} else {
			c.forget(at)
		}
		again()
	})
}

func (c *consumer) fetched(at topicPartition, r fetchResponse) {
	switch r.code {
	case codeNone:
		before := c.at[at.partition]
		if err := c.take(at, r.data); err != nil {
			c.world.fail("(a) %s read bytes of %s from offset %d that nobody wrote: %v", c.name, at, before, err)
		}
		if c.at[at.partition] > before {
			c.tracef("%s: read %d..%d, high watermark %d", at, before, c.at[at.partition]-1, r.highWatermark)
			c.world.noteRead(at, c.at[at.partition])
		}
	case codeOffsetOutOfRange:
		if c.at[at.partition] > r.logStartOffset {
			c.world.fail("(b) %s has read %s up to offset %d, and now its leader knows of no such offset: committed records are gone",
				c.name, at, c.at[at.partition])
		}
	default:
		c.forget(at)
	}
}

// take notes the records of an answer.
func (c *consumer) take(at topicPartition, data []byte) error {
	return eachBatch(data, func(b record.Batch) error {
		if b.NextOffset() <= c.at[at.partition] {
			return fmt.Errorf("batch %d..%d lies before the offset asked for, %d", b.BaseOffset(), b.LastOffset(), c.at[at.partition])
		}
		err := eachWrite(b, func(offset int64, id history.ID) {
			if offset >= c.at[at.partition] {
				c.reads = append(c.reads, history.Read{Partition: at.partition, Offset: offset, ID: id})
			}
		})
		c.at[at.partition] = b.NextOffset()
		return err
	})
}
