package metadata

import (
	"fmt"
	"strings"
)

// NewTopic is a topic to create. Either Assignments is set, and NumPartitions
// and ReplicationFactor are -1; or they are not -1, or -1 for the defaults.
type NewTopic struct {
	Name              string
	NumPartitions     int32
	ReplicationFactor int16
	Assignments       []Assignment
	Configs           []ConfigValue
}

// ConfigValue is a key and its value; nil is null.
type ConfigValue struct {
	Key   string
	Value *string
}

// NewTopicResult says what became of a NewTopic; the fields after Err are set
// when it is nil.
type NewTopicResult struct {
	Name              string
	Err               *Error
	ID                UUID
	NumPartitions     int32
	ReplicationFactor int16
	Configs           map[string]string
}

// CreateTopics decides on new topics, each by itself: the results are in the
// order of topics, and records make those that were not refused. With
// validateOnly there are no records (Kafka: ReplicationControlManager).
func (c *Controller) CreateTopics(img *Image, topics []NewTopic, validateOnly bool) ([]NewTopicResult, []Record) {
	results := make([]NewTopicResult, len(topics))
	named := make(map[string]int, len(topics))
	unifiedNames := map[string]string{}
	for i := range topics {
		named[topics[i].Name]++
	}
	var records []Record
	budget := maxPartitionsPerRequest
	for i := range topics {
		topic := &topics[i]
		results[i].Name = topic.Name
		if err := checkNewName(img, topic.Name, named, unifiedNames); err != nil {
			results[i].Err = err
			continue
		}
		made, err := c.createTopic(img, topic, &results[i], &budget)
		if err != nil {
			results[i] = NewTopicResult{Name: topic.Name, Err: err}
			continue
		}
		if mayCollide(topic.Name) {
			unifiedNames[unified(topic.Name)] = topic.Name
		}
		records = append(records, made...)
	}
	if validateOnly {
		return results, nil
	}
	return results, records
}

// checkNewName checks a new topic's name against the rule, the request and the
// topics there are. taken are names of this request, unified.
func checkNewName(img *Image, name string, named map[string]int, taken map[string]string) *Error {
	if named[name] > 1 {
		return refuse(CodeInvalidRequest, "Duplicate topic name.")
	}
	if name == clusterMetadataTopic {
		return refuse(CodeInvalidRequest, "Creation of internal topic %s is prohibited.", name)
	}
	if err := ValidateTopicName(name); err != nil {
		return err
	}
	if img.Topic(name) != nil {
		return refuse(CodeTopicAlreadyExists, "Topic '%s' already exists.", name)
	}
	if mayCollide(name) {
		existing := taken[unified(name)]
		if names, ok := img.collisions.get(unified(name)); ok {
			existing = names[0]
		}
		if existing != "" {
			return refuse(CodeInvalidTopic, "Topic '%s' collides with existing topic: %s", name, existing)
		}
	}
	return nil
}

func (c *Controller) createTopic(img *Image, topic *NewTopic, result *NewTopicResult, budget *int) ([]Record, *Error) {
	configs, err := c.newTopicConfigs(topic)
	if err != nil {
		return nil, err
	}
	partitions, err := c.newTopicPartitions(img, topic, *budget)
	if err != nil {
		return nil, err
	}
	*budget -= len(partitions)
	result.ID = c.NewID()
	result.Configs = configs
	result.NumPartitions = int32(len(partitions))
	result.ReplicationFactor = int16(len(partitions[0].Replicas))
	records := []Record{&TopicRecord{Name: topic.Name, ID: result.ID, Synced: configs[flushMessages] == "1"}}
	records = append(records, configRecords(ResourceTopic, topic.Name, configs)...)
	return append(records, &PartitionsRecord{TopicID: result.ID, Partitions: partitions}), nil
}

func (c *Controller) newTopicConfigs(topic *NewTopic) (map[string]string, *Error) {
	if len(topic.Configs) == 0 {
		return nil, nil
	}
	configs := make(map[string]string, len(topic.Configs))
	var null []string
	for _, config := range topic.Configs {
		if config.Value == nil {
			null = append(null, config.Key)
		} else {
			configs[config.Key] = *config.Value
		}
	}
	if len(null) > 0 {
		return nil, refuse(CodeInvalidConfig, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	if err := c.Config.ValidateTopic(configs); err != nil {
		return nil, &Error{CodeInvalidConfig, err.Error()}
	}
	return configs, nil
}

func (c *Controller) newTopicPartitions(img *Image, topic *NewTopic, budget int) ([]Partition, *Error) {
	if len(topic.Assignments) > 0 {
		return assignedPartitions(img, topic, budget)
	}
	switch {
	case topic.ReplicationFactor < -1 || topic.ReplicationFactor == 0:
		return nil, refuse(CodeInvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
	case topic.NumPartitions < -1 || topic.NumPartitions == 0:
		return nil, refuse(CodeInvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
	}
	count, replicationFactor := topic.NumPartitions, topic.ReplicationFactor
	if count == -1 {
		count = c.NumPartitions
	}
	if replicationFactor == -1 {
		replicationFactor = c.ReplicationFactor
	}
	if int(count) > budget {
		return nil, errTooManyPartitions
	}
	partitions, err := c.place(img, int(count), int(replicationFactor))
	if err != nil {
		err.Message = fmt.Sprintf("Unable to replicate the partition %d time(s): %s", replicationFactor, err.Message)
	}
	return partitions, err
}

// assignedPartitions are the partitions of a topic whose replicas the client
// chose.
func assignedPartitions(img *Image, topic *NewTopic, budget int) ([]Partition, *Error) {
	switch {
	case topic.ReplicationFactor != -1:
		return nil, refuse(CodeInvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	case topic.NumPartitions != -1:
		return nil, refuse(CodeInvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	case len(topic.Assignments) > budget:
		return nil, errTooManyPartitions
	}
	partitions := make([]Partition, len(topic.Assignments))
	seen := make(map[int32]bool, len(topic.Assignments))
	replicationFactor, gap := 0, false
	for _, assignment := range topic.Assignments {
		if seen[assignment.Partition] {
			return nil, refuse(CodeInvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", assignment.Partition)
		}
		seen[assignment.Partition] = true
		if err := checkAssignment(img, assignment.Brokers, replicationFactor); err != nil {
			return nil, err
		}
		replicationFactor = len(assignment.Brokers)
		partition := newPartition(img, assignment.Brokers)
		if partition == nil {
			return nil, refuse(CodeInvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", assignment.Partition)
		}
		if assignment.Partition < 0 || int(assignment.Partition) >= len(partitions) {
			gap = true
			continue
		}
		partitions[assignment.Partition] = *partition
	}
	if gap {
		return nil, refuse(CodeInvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
	}
	return partitions, nil
}
