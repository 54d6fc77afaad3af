package broker

import (
	"sync"

	"freshet/metadata"
)

// producerIDs hands out producer ids from a block reserved in the metadata, so
// that one write there serves many producers (KIP-730).
type producerIDs struct {
	mu struct {
		sync.Mutex
		next, end int64
	}
}

// nextProducerID returns an id that no producer has had before.
func (b *Broker) nextProducerID() (int64, error) {
	p := &b.producerIDs
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.next >= p.mu.end {
		var block metadata.ProducerIDBlock
		_, err := b.meta.Do(func(img *metadata.Image) ([]metadata.Record, error) {
			var records []metadata.Record
			block, records = b.controller().AllocateProducerIDs(img, b.Config().NodeID)
			return records, nil
		})
		if err != nil {
			return 0, err
		}
		p.mu.next, p.mu.end = block.First, block.First+block.Count
	}
	id := p.mu.next
	p.mu.next++
	return id, nil
}

// controller is the maker of metadata decisions under the configuration in
// force.
func (b *Broker) controller() *metadata.Controller {
	cfg := b.Config()
	return &metadata.Controller{
		Config: cfg, NumPartitions: cfg.NumPartitions, ReplicationFactor: cfg.DefaultReplicationFactor,
		NewID: metadata.RandomUUID,
	}
}
