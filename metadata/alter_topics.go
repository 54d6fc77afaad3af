package metadata

// TopicRef names a topic to delete, by name or by id. Exactly one is given by
// a sound request: Name is nil or ID zero.
type TopicRef struct {
	Name *string
	ID   UUID
}

// DeleteTopicResult says what became of a TopicRef. Name is nil when the id is
// unknown.
type DeleteTopicResult struct {
	Name *string
	ID   UUID
	Err  *Error
}

// DeleteTopics decides on deletions, each by itself. A topic named twice, by
// the same or by different means, is refused (Kafka: ControllerApis).
func (c *Controller) DeleteTopics(img *Image, refs []TopicRef) ([]DeleteTopicResult, []Record) {
	names, ids := map[string]int{}, map[UUID]int{}
	for _, ref := range refs {
		switch {
		case ref.Name != nil && ref.ID == ZeroUUID:
			names[*ref.Name]++
		case ref.Name == nil:
			ids[ref.ID]++
		}
	}
	var results []DeleteTopicResult
	var records []Record
	for _, ref := range refs {
		if ref.Name != nil && names[*ref.Name] == answeredTwice || ref.Name == nil && ids[ref.ID] == answeredTwice {
			continue
		}
		result := DeleteTopicResult{Name: ref.Name, ID: ref.ID}
		var topic *Topic
		switch {
		case ref.Name == nil && ref.ID == ZeroUUID:
			result.Err = refuse(CodeInvalidRequest, "Neither topic name nor id were specified.")
		case ref.Name != nil && ref.ID != ZeroUUID:
			result.Err = refuse(CodeInvalidRequest, "You may not specify both topic name and topic id.")
		case ref.Name != nil && names[*ref.Name] > 1:
			result.Err = refuse(CodeInvalidRequest, "Duplicate topic name.")
		case ref.Name == nil && ids[ref.ID] > 1:
			result.Err = refuse(CodeInvalidRequest, "Duplicate topic id.")
		case ref.Name != nil:
			if topic = img.Topic(*ref.Name); topic == nil {
				result.Err = errUnknownTopic
			} else if ids[topic.ID] > 0 {
				result.ID = topic.ID
				result.Err = refuse(CodeInvalidRequest, "The provided topic name maps to an ID that was already supplied.")
			}
		default:
			if topic = img.TopicByID(ref.ID); topic == nil {
				result.Err = errUnknownTopicID
			} else if names[topic.Name] > 0 {
				continue // answered under the name
			}
		}
		if result.Err == nil {
			result.Name, result.ID = &topic.Name, topic.ID
			records = append(records, &RemoveTopicRecord{TopicID: topic.ID})
		} else if ref.Name != nil && names[*ref.Name] > 1 {
			names[*ref.Name] = answeredTwice
		} else if ref.Name == nil && ids[ref.ID] > 1 {
			ids[ref.ID] = answeredTwice
		}
		results = append(results, result)
	}
	return results, records
}

// answeredTwice marks a name or id given twice once its refusal is written: it
// is answered once.
const answeredTwice = 1 << 30

// PartitionsWish asks for a topic to have Count partitions. Assignments, when
// not nil, names the replicas of each added one.
type PartitionsWish struct {
	Topic       string
	Count       int32
	Assignments [][]int32
}

// PartitionsResult says what became of a PartitionsWish.
type PartitionsResult struct {
	Topic string
	Err   *Error
}

// CreatePartitions decides on adding partitions, for each topic by itself
// (Kafka: ReplicationControlManager.createPartitions).
func (c *Controller) CreatePartitions(img *Image, wishes []PartitionsWish, validateOnly bool) ([]PartitionsResult, []Record) {
	named := map[string]int{}
	for _, wish := range wishes {
		named[wish.Topic]++
	}
	var results []PartitionsResult
	var records []Record
	budget := maxPartitionsPerRequest
	for _, wish := range wishes {
		if named[wish.Topic] == 0 {
			continue // a duplicate that is answered already
		}
		result := PartitionsResult{Topic: wish.Topic}
		if named[wish.Topic] > 1 {
			named[wish.Topic] = 0
			result.Err = refuse(CodeInvalidRequest, "Duplicate topic name.")
		} else if record, err := c.addPartitions(img, wish, budget); err != nil {
			result.Err = err
		} else {
			budget -= len(record.Partitions)
			records = append(records, record)
		}
		results = append(results, result)
	}
	if validateOnly {
		return results, nil
	}
	return results, records
}

func (c *Controller) addPartitions(img *Image, wish PartitionsWish, budget int) (*PartitionsRecord, *Error) {
	topic := img.Topic(wish.Topic)
	if topic == nil {
		return nil, errUnknownTopic
	}
	have := len(topic.Partitions)
	switch {
	case int(wish.Count) == have:
		return nil, refuse(CodeInvalidPartitions, "Topic already has %d partition(s).", have)
	case int(wish.Count) < have:
		return nil, refuse(CodeInvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", topic.Name, have, wish.Count)
	}
	additional := int(wish.Count) - have
	if wish.Assignments != nil && len(wish.Assignments) != additional {
		return nil, refuse(CodeInvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", additional, len(wish.Assignments))
	}
	if additional > budget {
		return nil, errTooManyPartitions
	}
	replicationFactor := len(topic.Partitions[0].TargetReplicas())
	record := &PartitionsRecord{TopicID: topic.ID, First: int32(have)}
	if wish.Assignments == nil {
		partitions, err := c.place(img, additional, replicationFactor)
		if err != nil {
			return nil, err
		}
		record.Partitions = partitions
		return record, nil
	}
	for i, replicas := range wish.Assignments {
		if err := checkAssignment(img, replicas, replicationFactor); err != nil {
			return nil, err
		}
		partition := newPartition(img, replicas)
		if partition == nil {
			return nil, refuse(CodeInvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", have+i)
		}
		record.Partitions = append(record.Partitions, *partition)
	}
	return record, nil
}
