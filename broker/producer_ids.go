package broker

import (
	"context"
	"sync"
	"time"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producerIDs hands out producer ids from a block that the controller reserved
// for this broker, so that one change of the metadata serves many producers
// (KIP-730).
type producerIDs struct {
	mu struct {
		sync.Mutex
		next, end int64
	}
}

// producerIDTime bounds the wait for a block; the client then asks again.
const producerIDTime = 2 * time.Second

// nextProducerID returns an id that no producer has had before.
func (b *Broker) nextProducerID() (int64, error) {
	p := &b.producerIDs
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.next >= p.mu.end {
		ctx, cancel := context.WithTimeout(b.life, producerIDTime)
		defer cancel()
		req := &kmsg.AllocateProducerIDsRequest{BrokerID: b.Config().NodeID, BrokerEpoch: b.brokerEpoch()}
		answer, err := b.ctl.forwards.ask(ctx, req)
		if err != nil {
			return 0, err
		}
		block := answer.(*kmsg.AllocateProducerIDsResponse)
		if err := kerr.ErrorForCode(block.ErrorCode); err != nil {
			return 0, err
		}
		p.mu.next, p.mu.end = block.ProducerIDStart, block.ProducerIDStart+int64(block.ProducerIDLen)
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
		NodeID: cfg.NodeID, Config: cfg, NumPartitions: cfg.NumPartitions, ReplicationFactor: cfg.DefaultReplicationFactor,
		MinInsyncReplicas: cfg.MinInsyncReplicas, UncleanLeaderElection: cfg.Role.UncleanElectionEnable,
		Longest: b.ctl.active.longest, NewID: metadata.RandomUUID, Rand: b.ctl.rand,
	}
}
