package replication

import (
	"sync/atomic"

	"freshet/replication/isr"
	"freshet/storage"
)

// Partition is this broker's replica of one partition, as its leader. Methods
// may be called from any goroutine.
type Partition struct {
	Log         *storage.Log
	leaderEpoch atomic.Int32
	minInsync   atomic.Int32
}

// NewPartition returns the leader's view of log at leaderEpoch.
func NewPartition(log *storage.Log, leaderEpoch, minInsync int32) *Partition {
	p := &Partition{Log: log}
	p.leaderEpoch.Store(leaderEpoch)
	p.minInsync.Store(minInsync)
	log.UpdateHighWatermark(log.LogEndOffset())
	return p
}

// LeaderEpoch is the epoch at which this broker leads.
func (p *Partition) LeaderEpoch() int32 { return p.leaderEpoch.Load() }

// InSyncReplicas is the number of in-sync replicas, the leader counted.
func (p *Partition) InSyncReplicas() int32 { return 1 }

// HighWatermark is the end of what consumers may read.
func (p *Partition) HighWatermark() int64 { return p.Log.HighWatermark() }

// Advance moves the high watermark after the log end offset moved. Several
// loops may do so at once, with ends of different age: it only moves forward.
func (p *Partition) Advance() {
	hw := isr.HighWatermark(p.Log.HighWatermark(), p.Log.LogEndOffset(), nil, int(p.minInsync.Load()))
	p.Log.AdvanceHighWatermark(hw)
}

// SetMinInsync applies a change of min.insync.replicas.
func (p *Partition) SetMinInsync(n int32) { p.minInsync.Store(n) }
