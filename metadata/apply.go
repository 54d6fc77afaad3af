package metadata

import (
	"fmt"
	"maps"
	"slices"
)

// Apply is the image after the records. img stays as it is. The cost follows
// the records: a batch that touches a topic many times copies it once.
func Apply(img *Image, records ...Record) (*Image, error) {
	b := newBuilder(img)
	for _, r := range records {
		if err := r.apply(b); err != nil {
			return nil, fmt.Errorf("metadata record %d (%s) does not apply: %w", b.img.Index+1, r.kind(), err)
		}
		b.img.Index++
	}
	return b.img, nil
}

// builder is an image under construction. owned are the topics that were
// copied or made for it and so may still be changed in place.
type builder struct {
	img     *Image
	owned   map[UUID]*Topic
	configs map[UUID]bool // topics whose Configs map is owned too
	edit    *trieEdit     // of the image's maps
}

func newBuilder(img *Image) *builder {
	next := *img
	return &builder{img: &next, owned: map[UUID]*Topic{}, configs: map[UUID]bool{}, edit: &trieEdit{}}
}

// topic is the topic to change in place.
func (b *builder) topic(id UUID) (*Topic, error) {
	if topic := b.owned[id]; topic != nil {
		return topic, nil
	}
	old := b.img.TopicByID(id)
	if old == nil {
		return nil, fmt.Errorf("there is no topic with id %s", id)
	}
	topic := *old
	topic.Partitions = slices.Clone(old.Partitions)
	b.put(&topic)
	return &topic, nil
}

func (b *builder) put(topic *Topic) {
	b.owned[topic.ID] = topic
	b.img.byName = b.img.byName.with(b.edit, topic.Name, topic)
	b.img.byID = b.img.byID.with(b.edit, topic.ID, topic)
}

func (r *ClusterRecord) apply(b *builder) error {
	if b.img.ClusterID != "" && b.img.ClusterID != r.ClusterID {
		return fmt.Errorf("the cluster is %s already", b.img.ClusterID)
	}
	b.img.ClusterID = r.ClusterID
	return nil
}

func (r *FeatureRecord) apply(b *builder) error {
	features := maps.Clone(b.img.Features)
	if features == nil {
		features = map[string]int16{}
	}
	features[r.Name] = r.Level
	if r.Level == 0 {
		delete(features, r.Name)
	}
	b.img.Features = features
	return nil
}

func (r *TopicRecord) apply(b *builder) error {
	if b.img.Topic(r.Name) != nil {
		return fmt.Errorf("topic %s exists", r.Name)
	}
	if b.img.TopicByID(r.ID) != nil {
		return fmt.Errorf("a topic with id %s exists", r.ID)
	}
	b.put(&Topic{Name: r.Name, ID: r.ID, Internal: IsInternal(r.Name), Synced: r.Synced})
	if mayCollide(r.Name) {
		key := unified(r.Name)
		names, _ := b.img.collisions.get(key)
		b.img.collisions = b.img.collisions.with(b.edit, key, append(slices.Clone(names), r.Name))
	}
	return nil
}

func (r *PartitionsRecord) apply(b *builder) error {
	topic, err := b.topic(r.TopicID)
	if err != nil {
		return err
	}
	if int(r.First) != len(topic.Partitions) {
		return fmt.Errorf("topic %s has %d partitions, the next cannot be %d", topic.Name, len(topic.Partitions), r.First)
	}
	topic.Partitions = slices.Grow(topic.Partitions, len(r.Partitions))
	states := slices.Clone(r.Partitions)
	for i := range states {
		topic.Partitions = append(topic.Partitions, &states[i])
	}
	b.img.partitions += len(states)
	return nil
}

func (r *PartitionChangeRecord) apply(b *builder) error {
	topic, err := b.topic(r.TopicID)
	if err != nil {
		return err
	}
	if topic.Partition(r.Partition) == nil {
		return fmt.Errorf("topic %s has no partition %d", topic.Name, r.Partition)
	}
	state := r.State
	topic.Partitions[r.Partition] = &state
	return nil
}

func (r *RemoveBrokerRecord) apply(b *builder) error {
	old := b.img.Broker(r.ID)
	if old == nil || old.Epoch != r.Epoch {
		return fmt.Errorf("there is no broker %d with epoch %d", r.ID, r.Epoch)
	}
	b.img.Brokers = slices.DeleteFunc(slices.Clone(b.img.Brokers), func(x Broker) bool { return x.ID == r.ID })
	return nil
}

func (r *RemoveTopicRecord) apply(b *builder) error {
	topic := b.img.TopicByID(r.TopicID)
	if topic == nil {
		return fmt.Errorf("there is no topic with id %s", r.TopicID)
	}
	delete(b.owned, topic.ID)
	b.img.byName = b.img.byName.without(topic.Name)
	b.img.byID = b.img.byID.without(topic.ID)
	b.img.partitions -= len(topic.Partitions)
	if mayCollide(topic.Name) {
		key := unified(topic.Name)
		names, _ := b.img.collisions.get(key)
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == topic.Name })
		if len(names) == 0 {
			b.img.collisions = b.img.collisions.without(key)
		} else {
			b.img.collisions = b.img.collisions.with(b.edit, key, names)
		}
	}
	return nil
}

func (r *ConfigRecord) apply(b *builder) error {
	switch r.Resource {
	case ResourceTopic:
		old := b.img.Topic(r.Name)
		if old == nil {
			return fmt.Errorf("there is no topic %s", r.Name)
		}
		topic, err := b.topic(old.ID)
		if err != nil {
			return err
		}
		if r.Key == flushMessages && (r.Value == nil || *r.Value != "1") {
			topic.Synced = false // for good: what is acknowledged meanwhile may not be synced
		}
		if !b.configs[topic.ID] {
			topic.Configs = maps.Clone(topic.Configs)
			b.configs[topic.ID] = true
		}
		topic.Configs = setConfig(topic.Configs, r.Key, r.Value)
		return nil
	case ResourceBroker:
		all := maps.Clone(b.img.BrokerConfigs)
		if all == nil {
			all = map[string]map[string]string{}
		}
		all[r.Name] = setConfig(maps.Clone(all[r.Name]), r.Key, r.Value)
		if all[r.Name] == nil {
			delete(all, r.Name)
		}
		b.img.BrokerConfigs = all
		return nil
	}
	return fmt.Errorf("resource type %d has no configuration here", r.Resource)
}

// setConfig sets or removes key in values, which it may change; nil stands for
// an empty map.
func setConfig(values map[string]string, key string, value *string) map[string]string {
	if value != nil {
		if values == nil {
			values = map[string]string{}
		}
		values[key] = *value
		return values
	}
	delete(values, key)
	if len(values) == 0 {
		return nil
	}
	return values
}

func (r *ProducerIDsRecord) apply(b *builder) error {
	if r.NextProducerID < b.img.NextProducerID {
		return fmt.Errorf("producer ids below %d are given out already, the next cannot be %d", b.img.NextProducerID, r.NextProducerID)
	}
	b.img.NextProducerID = r.NextProducerID
	return nil
}

// Records are records that make the image from an empty one, apart from its
// Index: a snapshot. Their order is always the same.
func (img *Image) Records() []Record {
	records := []Record{}
	if img.ClusterID != "" {
		records = append(records, &ClusterRecord{ClusterID: img.ClusterID})
	}
	for _, name := range slices.Sorted(maps.Keys(img.Features)) {
		records = append(records, &FeatureRecord{Name: name, Level: img.Features[name]})
	}
	for _, broker := range img.Brokers {
		records = append(records, &BrokerRecord{Broker: broker})
	}
	for _, name := range slices.Sorted(maps.Keys(img.BrokerConfigs)) {
		records = append(records, configRecords(ResourceBroker, name, img.BrokerConfigs[name])...)
	}
	if img.NextProducerID > 0 {
		records = append(records, &ProducerIDsRecord{BrokerID: -1, NextProducerID: img.NextProducerID})
	}
	for _, topic := range img.SortedTopics() {
		records = append(records, &TopicRecord{Name: topic.Name, ID: topic.ID, Synced: topic.Synced})
		records = append(records, configRecords(ResourceTopic, topic.Name, topic.Configs)...)
		for first := 0; first < len(topic.Partitions); first += partitionsPerRecord {
			states := topic.Partitions[first:min(first+partitionsPerRecord, len(topic.Partitions))]
			r := &PartitionsRecord{TopicID: topic.ID, First: int32(first), Partitions: make([]Partition, len(states))}
			for i, state := range states {
				r.Partitions[i] = *state
			}
			records = append(records, r)
		}
	}
	return records
}

// partitionsPerRecord bounds the size of one record of a snapshot.
const partitionsPerRecord = 1000

func configRecords(resource ResourceType, name string, values map[string]string) []Record {
	var records []Record
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		records = append(records, &ConfigRecord{Resource: resource, Name: name, Key: key, Value: &value})
	}
	return records
}

// sortedKeys are the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
