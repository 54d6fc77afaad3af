package metadata

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Record is one fact in the metadata log. Records are applied in order and
// carry everything that was decided, so that applying them needs no decision.
type Record interface {
	// kind is the record's name in the log; it never changes.
	kind() string
	// apply changes the image under construction. An error means that the
	// record does not fit the image: the log is damaged or from elsewhere.
	apply(b *builder) error
}

// ClusterRecord founds the cluster. It is the first record.
type ClusterRecord struct {
	ClusterID string `json:"clusterId"`
}

// BrokerRecord registers a broker, or replaces what its registration says. An
// Epoch or ShutdownIndex of -1 stands for the index of this record.
type BrokerRecord struct {
	Broker
}

// FeatureRecord finalizes a feature at a level; 0 takes it away.
type FeatureRecord struct {
	Name  string `json:"name"`
	Level int16  `json:"level"`
}

// TopicRecord creates a topic without partitions.
type TopicRecord struct {
	Name   string `json:"name"`
	ID     UUID   `json:"id"`
	Synced bool   `json:"synced,omitempty"` // flush.messages=1 from the beginning
}

// PartitionsRecord adds partitions to a topic, from number First on.
type PartitionsRecord struct {
	TopicID    UUID        `json:"topicId"`
	First      int32       `json:"first"`
	Partitions []Partition `json:"partitions"`
}

// PartitionChangeRecord replaces one partition's state.
type PartitionChangeRecord struct {
	TopicID   UUID      `json:"topicId"`
	Partition int32     `json:"partition"`
	State     Partition `json:"state"`
}

// RemoveBrokerRecord forgets a broker's registration.
type RemoveBrokerRecord struct {
	ID    int32 `json:"id"`
	Epoch int64 `json:"epoch"`
}

// RemoveTopicRecord deletes a topic, its partitions and its configuration. It
// is the only thing that entitles a broker to delete a partition's files.
type RemoveTopicRecord struct {
	TopicID UUID `json:"topicId"`
}

// ConfigRecord sets one dynamic configuration value; a nil value removes it.
type ConfigRecord struct {
	Resource ResourceType `json:"resource"`
	Name     string       `json:"name"`
	Key      string       `json:"key"`
	Value    *string      `json:"value"`
}

// ProducerIDsRecord reserves all producer ids below NextProducerID.
type ProducerIDsRecord struct {
	BrokerID       int32 `json:"brokerId"`
	NextProducerID int64 `json:"nextProducerId"`
}

// ResourceType is a kind of thing that has configuration (Kafka:
// ConfigResource.Type).
type ResourceType int8

// Resource types of the protocol.
const (
	ResourceTopic         ResourceType = 2
	ResourceBroker        ResourceType = 4
	ResourceBrokerLogger  ResourceType = 8
	ResourceClientMetrics ResourceType = 16
	ResourceGroup         ResourceType = 32
)

// String is the type as Kafka's messages write it.
func (r ResourceType) String() string {
	switch r {
	case ResourceTopic:
		return "TOPIC"
	case ResourceBroker:
		return "BROKER"
	case ResourceBrokerLogger:
		return "BROKER_LOGGER"
	case ResourceClientMetrics:
		return "CLIENT_METRICS"
	case ResourceGroup:
		return "GROUP"
	}
	return "UNKNOWN"
}

func (*ClusterRecord) kind() string         { return "cluster" }
func (*BrokerRecord) kind() string          { return "broker" }
func (*FeatureRecord) kind() string         { return "feature" }
func (*TopicRecord) kind() string           { return "topic" }
func (*PartitionsRecord) kind() string      { return "partitions" }
func (*PartitionChangeRecord) kind() string { return "partition" }
func (*LeadershipsRecord) kind() string     { return "leaderships" }
func (*RemoveBrokerRecord) kind() string    { return "removeBroker" }
func (*RemoveTopicRecord) kind() string     { return "removeTopic" }
func (*ConfigRecord) kind() string          { return "config" }
func (*ProducerIDsRecord) kind() string     { return "producerIds" }

// emptyRecord is a record of the kind, to decode into; nil when the kind is
// unknown.
func emptyRecord(kind string) Record {
	switch kind {
	case "cluster":
		return &ClusterRecord{}
	case "broker":
		return &BrokerRecord{}
	case "feature":
		return &FeatureRecord{}
	case "topic":
		return &TopicRecord{}
	case "partitions":
		return &PartitionsRecord{}
	case "partition":
		return &PartitionChangeRecord{}
	case "leaderships":
		return &LeadershipsRecord{}
	case "removeBroker":
		return &RemoveBrokerRecord{}
	case "removeTopic":
		return &RemoveTopicRecord{}
	case "config":
		return &ConfigRecord{}
	case "producerIds":
		return &ProducerIDsRecord{}
	}
	return nil
}

// envelope is a record as the log holds it: JSON, so that a person can read
// the log and a newer version can add fields.
type envelope struct {
	Kind string          `json:"kind"`
	Data json.RawMessage `json:"data"`
}

func encodeRecord(r Record) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("cannot encode a %s record: %w", r.kind(), err)
	}
	text := make([]byte, 0, len(envelopeKind)+len(r.kind())+len(envelopeData)+len(data)+1)
	text = append(append(text, envelopeKind...), r.kind()...)
	text = append(append(text, envelopeData...), data...)
	return append(text, '}'), nil
}

// The text of an envelope around the kind and before the data.
const (
	envelopeKind = `{"kind":"`
	envelopeData = `","data":`
)

// open takes an envelope apart: quickly when it was written by encodeRecord.
func (e *envelope) open(text []byte) error {
	if rest, ok := bytes.CutPrefix(text, []byte(envelopeKind)); ok && text[len(text)-1] == '}' {
		if kind, data, ok := bytes.Cut(rest[:len(rest)-1], []byte(envelopeData)); ok && emptyRecord(string(kind)) != nil {
			e.Kind, e.Data = string(kind), data
			return nil
		}
	}
	return json.Unmarshal(text, e)
}

func decodeRecord(text []byte) (Record, error) {
	var e envelope
	if err := e.open(text); err != nil {
		return nil, fmt.Errorf("cannot decode a record: %w", err)
	}
	r := emptyRecord(e.Kind)
	if r == nil {
		return nil, fmt.Errorf("record of the unknown kind %q: it was written by a newer version", e.Kind)
	}
	if l, ok := r.(*LeadershipsRecord); ok && l.parse(e.Data) {
		return r, nil
	}
	if err := json.Unmarshal(e.Data, r); err != nil {
		return nil, fmt.Errorf("cannot decode a %s record: %w", e.Kind, err)
	}
	return r, nil
}
