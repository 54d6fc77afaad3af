package metadata

import "slices"

// Broker is a registered broker.
type Broker struct {
	ID int32 `json:"id"`
	// Epoch tells one registration of the id from every other: it is the index
	// of the record that made it, so a later one is larger. 0 stands in files
	// written before there were epochs.
	Epoch int64 `json:"epoch,omitempty"`
	// CleanSince is the epoch with which an unbroken chain of registrations began
	// that each lost nothing of what the one before had written: a process may have
	// died before it learned of its own epoch, and the next one knows an older one.
	// 0 stands for Epoch.
	CleanSince int64 `json:"cleanSince,omitempty"`
	// SyncedSince is the same for what was synced: power losses do not break this
	// chain, a disk that has lost something does.
	SyncedSince int64 `json:"syncedSince,omitempty"`
	// IncarnationID is what the broker's process chose at its start.
	IncarnationID UUID       `json:"incarnationId,omitzero"`
	Endpoints     []Endpoint `json:"endpoints,omitempty"`
	// Features are the feature levels the broker supports; nil stands for those
	// of this version.
	Features []Feature `json:"features,omitempty"`
	Rack     string    `json:"rack,omitempty"`
	// Fenced: the broker is not known to live. It leads nothing and clients are
	// not told of it.
	Fenced bool `json:"fenced,omitempty"`
	// InControlledShutdown: the broker is about to stop and takes no more
	// leaderships. ShutdownIndex is the index of the record that says so: once
	// all active brokers are past it, no client is sent to this one any more.
	InControlledShutdown bool   `json:"inControlledShutdown,omitempty"`
	ShutdownIndex        int64  `json:"shutdownIndex,omitempty"`
	Dirs                 []UUID `json:"dirs,omitempty"` // ids of its log directories that work
	// CordonedDirs are log directories that take no new replicas (KIP-1066).
	CordonedDirs []UUID `json:"cordonedDirs,omitempty"`
}

// Endpoint is where clients or brokers reach a listener of a broker.
type Endpoint struct {
	Listener string `json:"listener"` // its name, for example PLAINTEXT
	Host     string `json:"host"`
	Port     uint16 `json:"port"`
	Security string `json:"security"` // security protocol, for example SASL_SSL
}

// indexOfRecord stands in a BrokerRecord for the index that the record gets.
const indexOfRecord = -1

// Active tells whether the broker may lead and be in sync: it is neither fenced
// nor about to stop.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

// keptEverything tells whether a process that last knew of the epoch, and has
// lost nothing since, has everything that this registration stands for.
func (b *Broker) keptEverything(epoch int64) bool {
	return epoch <= b.Epoch && epoch >= b.cleanSince()
}

func (b *Broker) cleanSince() int64 {
	if b.CleanSince > 0 {
		return b.CleanSince
	}
	return b.Epoch
}

// keptSynced tells the same of what the process had synced.
func (b *Broker) keptSynced(epoch int64) bool {
	return epoch > 0 && epoch <= b.Epoch && epoch >= b.syncedSince()
}

func (b *Broker) syncedSince() int64 {
	if b.SyncedSince > 0 {
		return b.SyncedSince
	}
	return b.cleanSince()
}

// Endpoint is the broker's endpoint for a listener, nil when it has none of
// that name.
func (b *Broker) Endpoint(listener string) *Endpoint {
	for i := range b.Endpoints {
		if b.Endpoints[i].Listener == listener {
			return &b.Endpoints[i]
		}
	}
	return nil
}

// hasOnlineDir tells whether replicas in the directory can be served: it works,
// or it is not known which one holds them.
func (b *Broker) hasOnlineDir(dir UUID) bool {
	return dir == UnassignedDir || len(b.Dirs) == 0 || slices.Contains(b.Dirs, dir)
}

// defaultDir is the directory of a new replica: the only one that takes
// replicas, or unassigned, so that the broker chooses.
func (b *Broker) defaultDir() UUID {
	if b != nil && len(b.Dirs) == 1 {
		return b.Dirs[0]
	}
	return UnassignedDir
}

// takesReplicas tells whether new replicas may be placed on the broker: not all
// of its directories are cordoned.
func (b *Broker) takesReplicas() bool {
	if len(b.CordonedDirs) == 0 {
		return true
	}
	return slices.ContainsFunc(b.Dirs, func(dir UUID) bool { return !slices.Contains(b.CordonedDirs, dir) })
}

// supports is the range of a feature's levels that the broker supports.
func (b *Broker) supports(name string) (feature Feature, known bool) {
	features := b.Features
	if features == nil {
		features = supportedFeatures
	}
	for _, feature := range features {
		if feature.Name == name {
			return feature, true
		}
	}
	return Feature{Name: name}, false
}

// Broker finds a registered broker, nil when there is none.
func (img *Image) Broker(id int32) *Broker {
	i, ok := slices.BinarySearchFunc(img.Brokers, id, compareBrokerID)
	if !ok {
		return nil
	}
	return &img.Brokers[i]
}

// BrokerEpoch is the epoch of the broker's registration, -1 when it has none.
func (img *Image) BrokerEpoch(id int32) int64 {
	if b := img.Broker(id); b != nil {
		return b.Epoch
	}
	return -1
}

// Active tells whether a broker is registered, not fenced and not about to
// stop.
func (img *Image) Active(id int32) bool {
	b := img.Broker(id)
	return b != nil && b.Active()
}

func compareBrokerID(b Broker, id int32) int { return int(b.ID) - int(id) }

// checkEpoch refuses a request of a broker whose registration is not the newest
// (Kafka: ClusterControlManager.checkBrokerEpoch).
func checkEpoch(img *Image, id int32, epoch int64) (*Broker, *Error) {
	b := img.Broker(id)
	if b == nil {
		return nil, refuse(CodeStaleBrokerEpoch, "No broker registration found for broker id %d", id)
	}
	if b.Epoch != epoch {
		return nil, refuse(CodeStaleBrokerEpoch, "Expected broker epoch %d, but got broker epoch %d", b.Epoch, epoch)
	}
	return b, nil
}

func (r *BrokerRecord) apply(b *builder) error {
	next := r.Broker
	index := b.img.Index + 1
	if next.Epoch == indexOfRecord {
		next.Epoch = index
	}
	if next.CleanSince == indexOfRecord {
		next.CleanSince = index
	}
	if next.SyncedSince == indexOfRecord {
		next.SyncedSince = index
	}
	if next.ShutdownIndex == indexOfRecord {
		next.ShutdownIndex = index
	}
	brokers := slices.Clone(b.img.Brokers)
	i, found := slices.BinarySearchFunc(brokers, r.ID, compareBrokerID)
	if found {
		brokers[i] = next
	} else {
		brokers = slices.Insert(brokers, i, next)
	}
	b.img.Brokers = brokers
	return nil
}
