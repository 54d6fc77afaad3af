package metadata

import (
	"encoding/binary"
	"slices"
)

// Registration is a broker's wish to be registered (BrokerRegistration).
type Registration struct {
	ClusterID     string
	BrokerID      int32
	IncarnationID UUID // chosen by the process at its start
	Endpoints     []Endpoint
	// Features are what the broker supports; nil stands for what this version
	// supports.
	Features     []Feature
	Rack         string
	Dirs         []UUID
	CordonedDirs []UUID
	// PreviousBrokerEpoch is the newest epoch under which the broker ran before
	// that it knows of, if nothing it had written since was lost; else -1. A broker
	// that cannot say so may lack records it had acknowledged (KIP-966).
	PreviousBrokerEpoch int64
	// SyncedBrokerEpoch is the newest epoch under which the broker ran before, if
	// everything it had synced since is still there; else 0 or -1. After a loss of
	// power that is what is left of PreviousBrokerEpoch.
	SyncedBrokerEpoch int64
	// PredecessorGone says that the caller saw the broker's last process end
	// (its connection broke), so that the new one need not wait for the session
	// to time out.
	PredecessorGone bool
	// Connected is the Incarnation of the process that the caller is connected to
	// as the broker, 0 if it knows none. Where that is the one that registers, the
	// last one has ended too: only one process of a node is connected. A controller
	// that became active later than that cannot have seen it.
	Connected uint64
}

// Incarnation is a short form of an incarnation id, for what keeps connections.
func Incarnation(id UUID) uint64 { return binary.BigEndian.Uint64(id[:8]) }

// mayReplace tells whether the process may take the place of another one whose
// session may last on.
func (r *Registration) mayReplace() bool {
	return r.PredecessorGone || r.Connected != 0 && r.Connected == Incarnation(r.IncarnationID)
}

// RegisterBroker registers a broker. A new incarnation gets a new epoch, which
// the image has after the records are applied, and starts fenced; the same one
// amends its registration and keeps epoch and state. The first registration
// also finalizes the features of a new cluster at their newest level, and makes
// min.insync.replicas one for all brokers where that matters (Kafka:
// ClusterControlManager.registerBroker).
func (c *Controller) RegisterBroker(img *Image, r Registration) ([]Record, *Error) {
	if img.ClusterID != r.ClusterID {
		return nil, refuse(CodeInconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", img.ClusterID, r.ClusterID)
	}
	old := img.Broker(r.BrokerID)
	same := old != nil && old.IncarnationID == r.IncarnationID && r.IncarnationID != ZeroUUID
	if old != nil && !old.Fenced && !same && !r.mayReplace() {
		return nil, refuse(CodeDuplicateBrokerRegistration, "Another broker is registered with that broker id. "+
			"If the broker was recently restarted this should self-resolve once the heartbeat manager expires the broker's session.")
	}
	if err := checkDirs(img, &r); err != nil {
		return nil, err
	}
	if err := checkFeatures(img, &r); err != nil {
		return nil, err
	}
	records := newClusterFeatures(img)
	if img.UsesELR() || len(img.Features) == 0 {
		records = append(records, c.oneMinISR(img)...)
	}
	broker := r.broker(old)
	broker.Fenced = true
	if same {
		broker.Epoch, broker.CleanSince, broker.SyncedSince, broker.Fenced = old.Epoch, old.CleanSince, old.SyncedSince, old.Fenced
		broker.InControlledShutdown, broker.ShutdownIndex = old.InControlledShutdown, old.ShutdownIndex
	} else {
		records = append(records, c.brokerRestarted(img, r.BrokerID, r.clean(old), r.synced(old))...)
	}
	return append(records, &BrokerRecord{Broker: broker}), nil
}

// clean tells whether the process has everything that the last one had; old is
// its registration, nil when there was none.
func (r *Registration) clean(old *Broker) bool {
	return old != nil && r.PreviousBrokerEpoch >= 0 && old.keptEverything(r.PreviousBrokerEpoch)
}

// synced tells whether the process has everything that the last one had synced.
func (r *Registration) synced(old *Broker) bool {
	return old != nil && old.keptSynced(r.SyncedBrokerEpoch) &&
		!slices.ContainsFunc(old.Dirs, func(dir UUID) bool { return !slices.Contains(r.Dirs, dir) })
}

// broker is what the registration of a new process says.
func (r *Registration) broker(old *Broker) Broker {
	broker := Broker{
		ID: r.BrokerID, Epoch: indexOfRecord, CleanSince: indexOfRecord, SyncedSince: indexOfRecord, IncarnationID: r.IncarnationID, Endpoints: r.Endpoints,
		Features: r.Features, Rack: r.Rack, Dirs: r.Dirs, CordonedDirs: r.CordonedDirs,
	}
	if r.clean(old) {
		broker.CleanSince = old.cleanSince()
	}
	if r.clean(old) || r.synced(old) {
		broker.SyncedSince = old.syncedSince()
	}
	return broker
}

// RegisterAlone registers and unfences the only broker of a cluster of one in
// one step. A broker that is registered as it is now changes nothing, so that a
// start writes nothing; its leaderships stay, as nobody else could have any.
func (c *Controller) RegisterAlone(img *Image, r Registration) ([]Record, *Error) {
	if img.ClusterID != r.ClusterID {
		return nil, refuse(CodeInconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", img.ClusterID, r.ClusterID)
	}
	if err := checkDirs(img, &r); err != nil {
		return nil, err
	}
	records := newClusterFeatures(img)
	if err := checkFeatures(img, &r); err != nil {
		return nil, err
	}
	old := img.Broker(r.BrokerID)
	if old == nil || !old.Active() || old.Rack != r.Rack || !slices.Equal(old.Dirs, r.Dirs) ||
		!slices.Equal(old.Endpoints, r.Endpoints) || !slices.Equal(old.Features, r.Features) || !slices.Equal(old.CordonedDirs, r.CordonedDirs) {
		records = append(records, &BrokerRecord{Broker: r.broker(old)})
	}
	return append(records, c.electLeaderless(img, r.BrokerID)...), nil
}

// brokerRestarted takes the broker's last incarnation out of what it led and
// was in sync with, as fencing does. One that did not stop cleanly also loses
// its eligibility until it has caught up, where that is kept track of; but not
// for topics of which it had synced everything, if that is still there (Kafka:
// ReplicationControlManager.handleBrokerShutdown, which knows no such topics).
func (c *Controller) brokerRestarted(img *Image, id int32, clean, synced bool) []Record {
	ids := []int32{id}
	if clean || !img.UsesELR() {
		return c.sweep(img, sweep{remove: ids, add: -1, restarted: -1, forgotten: -1}, concernsISR(ids))
	}
	inSync := concernsISR(ids)
	return c.sweep(img, sweep{add: -1, restarted: id, synced: synced, forgotten: -1}, func(p *Partition) bool {
		return inSync(p) || slices.Contains(p.ELR, id)
	})
}

// UnregisterBroker forgets a broker for good: one that is gone, or that was
// emptied. Where it is the last one known to hold everything it stays eligible,
// so that it may come back (Kafka: ReplicationControlManager.unregisterBroker).
func (c *Controller) UnregisterBroker(img *Image, id int32) ([]Record, *Error) {
	b := img.Broker(id)
	if b == nil {
		return nil, refuse(CodeBrokerIDNotRegistered, "Broker ID %d is not currently registered", id)
	}
	ids := []int32{id}
	inSync := concernsISR(ids)
	records := c.sweep(img, sweep{remove: ids, add: -1, restarted: -1, forgotten: id}, func(p *Partition) bool {
		return inSync(p) || slices.Contains(p.ELR, id)
	})
	return append(records, &RemoveBrokerRecord{ID: id, Epoch: b.Epoch}), nil
}

// checkDirs checks the directories of a registration.
func checkDirs(img *Image, r *Registration) *Error {
	if len(r.Dirs) == 0 {
		return refuse(CodeInvalidRegistration, "No directories specified in request")
	}
	for i, dir := range r.Dirs {
		if reservedID(dir) {
			return refuse(CodeInvalidRegistration, "Reserved directory ID in request")
		}
		if slices.Contains(r.Dirs[:i], dir) {
			return refuse(CodeInvalidRegistration, "Duplicate directory ID in request")
		}
	}
	for i := range img.Brokers {
		other := &img.Brokers[i]
		if other.ID == r.BrokerID {
			continue
		}
		for _, dir := range r.Dirs {
			if slices.Contains(other.Dirs, dir) {
				return refuse(CodeInvalidRegistration, "Broker %d is already registered with directory %s", other.ID, dir)
			}
		}
	}
	return nil
}

// reservedID tells whether the id is one of the first hundred, which stand for
// special things (Kafka: Uuid.RESERVED, DirectoryId.reserved).
func reservedID(u UUID) bool {
	return binary.BigEndian.Uint64(u[:8]) == 0 && binary.BigEndian.Uint64(u[8:]) < 100
}

// newClusterFeatures finalize the features of a cluster that has none yet.
func newClusterFeatures(img *Image) []Record {
	if len(img.Features) > 0 {
		return nil
	}
	levels := newClusterLevels()
	var records []Record
	for _, feature := range supportedFeatures {
		if level, ok := levels[feature.Name]; ok {
			records = append(records, &FeatureRecord{Name: feature.Name, Level: level})
		}
	}
	return records
}

// checkFeatures checks that the broker supports every finalized feature at its
// level.
func checkFeatures(img *Image, r *Registration) *Error {
	broker := Broker{Features: r.Features}
	if _, known := broker.supports(MetadataVersion); !known {
		return refuse(CodeInvalidRegistration, "Request features do not contain '%s'", MetadataVersion)
	}
	features := img.Features
	if len(features) == 0 {
		features = newClusterLevels()
	}
	for _, name := range sortedKeys(features) {
		level := features[name]
		if feature, _ := broker.supports(name); level < feature.Min || level > feature.Max {
			return refuse(CodeUnsupportedVersion, "Unable to register because the broker does not support finalized version %d of %s. "+
				"The broker wants a version between %d and %d, inclusive.", level, name, feature.Min, feature.Max)
		}
	}
	for _, feature := range r.Features { // not in use: must be possible without it
		if _, ok := features[feature.Name]; !ok && feature.Min > 0 {
			return refuse(CodeUnsupportedVersion, "Unable to register because the broker does not support finalized version 0 of %s. "+
				"The broker wants a version between %d and %d, inclusive.", feature.Name, feature.Min, feature.Max)
		}
	}
	return nil
}
