package broker

import "freshet/metadata"

// preferredReplica is the follower that a consumer in rack should read from, -1
// for this broker itself (KIP-392; Kafka: RackAwareReplicaSelector): one of the
// consumer's rack that lives and has the offset asked for, and of several the
// one that has most. It is looked for only when replica.selector.class says so.
func (l *loop) preferredReplica(p *partition, rack []byte, offset int64) int32 {
	b := l.srv.broker
	cfg := b.Config()
	role := p.Role()
	if !cfg.RackAwareReads || !role.Leads || role.Solo || cfg.Rack == string(rack) {
		return -1
	}
	img := b.meta.Image()
	best, bestEnd := int32(-1), int64(-1)
	p.FollowerLogs(func(id int32, start, end int64) {
		if end < offset || start > offset || end <= bestEnd {
			return
		}
		if other := img.Broker(id); sameRack(other, rack) && other.Active() {
			best, bestEnd = id, end
		}
	})
	return best
}

func sameRack(b *metadata.Broker, rack []byte) bool { return b != nil && b.Rack == string(rack) }
