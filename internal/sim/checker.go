package sim

import (
	"bytes"
	"fmt"

	"freshet/compat/history"
	"freshet/record"
)

// check holds the run against what was promised, after everything healed:
//
//	(a) each offset of a partition has one value, for all readers and in all
//	    replicas' files;
//	(b) every write acknowledged with acks=all is read, exactly once if its
//	    producer is idempotent, at the offset that was acknowledged;
//	(c) a refused write is never read;
//	(d) a producer's writes stand in the order in which it sent them;
//	(e) a write acknowledged before another began has the smaller offset;
//	(f) the replicas' logs are byte-identical up to the high watermark;
//	(g) while it ran: what was committed did not go away for a consumer, an
//	    idempotent producer was not told that its next batch is out of
//	    sequence, a committed group offset did not go back, and clients got
//	    nothing but whole batches whose CRC fits, nor did bytes of a file change
//	    on their way to a socket;
//	(h) while it ran: no two brokers had different metadata at one index, and no
//	    epoch of the metadata group had two leaders;
//	(i) while it ran: where no replica was known to hold everything, the one with
//	    the longest log was elected, and not before the others were there or
//	    waited for;
//	(j) while it ran: whoever might be elected had everything committed.
//
// Only without flush.messages=1, and only when all machines lost power, may
// acknowledged writes be gone, and of those only the ones that no replica had
// which was there when the leader was elected.
func (w *world) check() {
	w.trace.add("*", "checking")
	w.forgive()
	w.checkReplicas()
	w.checkGroups()
	if w.violation != "" {
		return
	}
	full, err := w.readAll()
	if err != nil {
		w.fail("(b) a partition cannot be read from its start: %v", err)
		return
	}
	var more [][]history.Read
	for _, c := range w.consumers {
		more = append(more, c.reads)
	}
	report := w.history.Check(full, more...)
	if report.Broken > 0 {
		w.fail("%s (%d in all)", report.Violations[0], report.Broken)
		for _, v := range report.Violations {
			w.trace.add("*", "VIOLATION %s", v)
		}
		return
	}
	if w.lost > 0 {
		w.trace.add("*", "%d acknowledged writes were on no disk when power failed everywhere", w.lost)
	}
	w.trace.add("*", "all kept: %d acknowledged, %d verified, %d without an answer of which %d are there, %d offsets read",
		report.Acked, report.Verified, report.Unknown, report.Present, len(full))
}

// partitionsOf lists the partitions of a topic.
func (w *world) partitionsOf(topic string) []topicPartition {
	count := w.plan.partitions
	if topic == offsetTopic {
		count = offsetPartitions
	}
	var list []topicPartition
	for i := range count {
		list = append(list, topicPartition{topic, int32(i)})
	}
	return list
}

// checkReplicas is (f).
func (w *world) checkReplicas() {
	for _, topic := range []string{dataTopic, offsetTopic} {
		for _, at := range w.partitionsOf(topic) {
			var first []byte
			var firstNode *node
			for _, n := range w.nodes {
				r := n.replica(at)
				if r == nil {
					continue
				}
				data, err := r.bytesBelow(r.log.HighWatermark())
				if err != nil {
					w.fail("(f) %s of %s cannot be read: %v", at, n, err)
					return
				}
				if firstNode == nil {
					first, firstNode = data, n
					continue
				}
				if !bytes.Equal(first, data) {
					w.fail("(f) the logs of %s differ between %s and %s: %s", at, firstNode, n, firstDifference(first, data))
					return
				}
			}
		}
	}
}

// firstDifference describes where two logs part.
func firstDifference(a, b []byte) string {
	offset := func(data []byte, at int) string {
		last := "its start"
		_ = eachBatch(data, func(batch record.Batch) error {
			if at -= len(batch); at < 0 {
				last = fmt.Sprintf("offset %d, epoch %d", batch.BaseOffset(), batch.LeaderEpoch())
				return fmt.Errorf("found")
			}
			last = fmt.Sprintf("the end at offset %d", batch.NextOffset())
			return nil
		})
		return last
	}
	at := 0
	for at < len(a) && at < len(b) && a[at] == b[at] {
		at++
	}
	return fmt.Sprintf("%d and %d bytes, the same up to byte %d: one is at %s, the other at %s", len(a), len(b), at, offset(a, at), offset(b, at))
}

// readAll reads the data topic from its start at the leaders.
func (w *world) readAll() ([]history.Read, error) {
	var reads []history.Read
	for _, at := range w.partitionsOf(dataTopic) {
		r := w.leaderReplica(at)
		if r == nil {
			return nil, fmt.Errorf("%s has no leader", at)
		}
		data, err := r.bytesBelow(r.log.HighWatermark())
		if err != nil {
			return nil, err
		}
		err = eachBatch(data, func(b record.Batch) error {
			return eachWrite(b, func(offset int64, id history.ID) {
				reads = append(reads, history.Read{Partition: at.partition, Offset: offset, ID: id})
			})
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if hw := r.log.HighWatermark(); hw < w.acked[at] {
			return nil, fmt.Errorf("%s ends at %d, acknowledged was up to %d", at, hw, w.acked[at])
		}
	}
	return reads, nil
}
