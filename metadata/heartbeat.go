package metadata

import "slices"

// HeartbeatRequest is what a broker says of itself in a heartbeat.
type HeartbeatRequest struct {
	BrokerID    int32
	BrokerEpoch int64
	// CurrentMetadataOffset is the Index of the broker's newest image.
	CurrentMetadataOffset int64
	WantFence             bool
	WantShutDown          bool
	OfflineLogDirs        []UUID
	// CordonedLogDirs are directories that take no new replicas; nil leaves them
	// as they are.
	CordonedLogDirs []UUID
	// LowestActiveOffset is the smallest CurrentMetadataOffset of all active
	// brokers, which Liveness knows. The caller adds it.
	LowestActiveOffset int64
}

// HeartbeatReply answers a heartbeat.
type HeartbeatReply struct {
	IsCaughtUp bool // the broker has its own registration
	IsFenced   bool
	// InControlledShutdown: leaderships are on their way to others.
	InControlledShutdown bool
	ShouldShutDown       bool // the broker may stop now
}

// Heartbeat decides on what a broker asks for: to be unfenced, once it has
// caught up with its own registration; to be fenced; or to stop, which it may
// when it leads nothing and all active brokers know that (Kafka:
// BrokerHeartbeatManager.calculateNextBrokerState).
func (c *Controller) Heartbeat(img *Image, r HeartbeatRequest) (HeartbeatReply, []Record, *Error) {
	b, err := checkEpoch(img, r.BrokerID, r.BrokerEpoch)
	if err != nil {
		return HeartbeatReply{}, nil, err
	}
	reply := HeartbeatReply{IsCaughtUp: r.CurrentMetadataOffset >= b.Epoch}
	var records []Record
	switch {
	case b.Fenced:
		reply.IsFenced, reply.ShouldShutDown = true, r.WantShutDown
		if !r.WantShutDown && !r.WantFence && reply.IsCaughtUp {
			reply.IsFenced = false
			records = c.UnfenceBroker(img, b.ID)
		}
	case r.WantShutDown && c.mayStop(img, b, &r):
		reply.IsFenced, reply.ShouldShutDown = true, true
		records = c.FenceBroker(img, b.ID)
	case r.WantShutDown || b.InControlledShutdown:
		reply.InControlledShutdown = true
		records = c.shutDownBroker(img, b)
	case r.WantFence:
		reply.IsFenced = true
		records = c.FenceBroker(img, b.ID)
	}
	return reply, c.heartbeatDirs(img, &r, records), nil
}

// mayStop tells whether a broker that wants to stop may do so at once.
func (c *Controller) mayStop(img *Image, b *Broker, r *HeartbeatRequest) bool {
	switch {
	case !b.InControlledShutdown:
		return r.WantFence || !img.Leads(b.ID)
	case img.Leads(b.ID):
		return false
	}
	return b.ShutdownIndex <= r.LowestActiveOffset
}

// heartbeatDirs adds what a heartbeat says of the broker's directories.
func (c *Controller) heartbeatDirs(img *Image, r *HeartbeatRequest, records []Record) []Record {
	b := img.Broker(r.BrokerID)
	cordoned := r.CordonedLogDirs != nil && !slices.Equal(r.CordonedLogDirs, b.CordonedDirs)
	if !cordoned && !slices.ContainsFunc(r.OfflineLogDirs, func(dir UUID) bool { return slices.Contains(b.Dirs, dir) }) {
		return records
	}
	now, err := Apply(img, records...) // the broker's registration may have changed already
	if err != nil {
		panic("BUG: " + err.Error())
	}
	records = append(records, c.directoriesOffline(now, now.Broker(b.ID), r.OfflineLogDirs)...)
	if !cordoned {
		return records
	}
	if now, err = Apply(img, records...); err != nil {
		panic("BUG: " + err.Error())
	}
	next := *now.Broker(b.ID)
	next.CordonedDirs = r.CordonedLogDirs
	return append(records, &BrokerRecord{Broker: next})
}
