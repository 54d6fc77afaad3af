package bench

import (
	"context"
	"fmt"
	"time"
)

const (
	// replicatedPoll is how often a topic is looked at until its replicas have
	// everything; replicatedTimeout is how long they may take.
	replicatedPoll    = 20 * time.Millisecond
	replicatedTimeout = time.Minute
)

// awaitReplicas returns when every partition has all its replicas in sync and
// shows consumers all that was acknowledged: ends are the partitions' next
// offsets.
func (a *admin) awaitReplicas(ctx context.Context, topic string, ends map[int32]int64) error {
	ctx, cancel := context.WithTimeout(ctx, replicatedTimeout)
	defer cancel()
	err := await(ctx, replicatedPoll, func(ctx context.Context) error { return a.replicated(ctx, topic, ends) })
	if err != nil {
		return fmt.Errorf("topic %s is not on all its replicas: %w", topic, err)
	}
	return nil
}

// awaitRecords returns when every partition has all its replicas in sync and
// the topic shows consumers so many records.
func (a *admin) awaitRecords(ctx context.Context, topic string, records int64) error {
	ctx, cancel := context.WithTimeout(ctx, replicatedTimeout)
	defer cancel()
	return await(ctx, replicatedPoll, func(ctx context.Context) error {
		if err := a.replicated(ctx, topic, nil); err != nil {
			return err
		}
		listed, err := a.kadm.ListEndOffsets(ctx, topic)
		if err == nil {
			err = listed.Error()
		}
		if err != nil {
			return err
		}
		var shown int64
		for _, end := range listed[topic] {
			shown += end.Offset
		}
		if shown < records {
			return fmt.Errorf("%d of %d records are replicated", shown, records)
		}
		return nil
	})
}

// replicated says what is missing; nil is nothing.
func (a *admin) replicated(ctx context.Context, topic string, ends map[int32]int64) error {
	meta, err := a.kadm.Metadata(ctx, topic)
	if err != nil {
		return err
	}
	detail := meta.Topics[topic]
	if detail.Err != nil {
		return detail.Err
	}
	if len(detail.Partitions) == 0 {
		return fmt.Errorf("no partition of %s is known", topic)
	}
	for id, p := range detail.Partitions {
		if p.Err != nil {
			return fmt.Errorf("partition %d: %w", id, p.Err)
		}
		if len(p.ISR) < len(p.Replicas) {
			return fmt.Errorf("partition %d has %d of %d replicas in sync", id, len(p.ISR), len(p.Replicas))
		}
	}
	if len(ends) == 0 {
		return nil
	}
	listed, err := a.kadm.ListEndOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return err
	}
	for id, want := range ends {
		if end, ok := listed.Lookup(topic, id); !ok || end.Offset < want {
			return fmt.Errorf("partition %d is replicated up to offset %d of %d", id, end.Offset, want)
		}
	}
	return nil
}
