package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata, versions 0 to 13.
//
//	v1   rack, controller, internal topics; null instead of empty for all topics
//	v2   cluster id
//	v4   the client says whether topics may be created (KIP-204)
//	v5   offline replicas (KIP-112)
//	v7   leader epoch (KIP-320)
//	v8   authorized operations (KIP-430); those of the cluster until v10
//	v9   flexible
//	v10  topic ids in answers (KIP-516)
//	v12  topics asked for by id
//	v13  error code of the whole answer (KIP-1102); no error uses it here
//
// A topic that is created on demand is on disk before the answer, which
// therefore shows it. Apache Kafka answers UNKNOWN_TOPIC_OR_PARTITION first and
// lets the client ask again.
func init() {
	register(API{Key: 3, Min: 0, Max: 13, Handle: handleMetadata})
}

// metadataAsksByID is the first version in which a topic may be named by its id.
const metadataAsksByID = 12

func handleMetadata(b *Broker, r *Request) {
	req := r.Body.(*kmsg.MetadataRequest)
	resp := kmsg.NewPtrMetadataResponse()
	m := metadataAnswer{broker: b, req: req, listener: r.Listener, offlineDirs: b.offlineDirs()}
	m.img = b.meta.Image()
	all := req.Topics == nil || req.Version == 0 && len(req.Topics) == 0
	if !all {
		m.createMissing()
	}
	resp.ClusterID = &m.img.ClusterID
	resp.ControllerID = -1
	for _, node := range b.clusterNodes(m.img, r.Listener) {
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = node.id, node.host, node.port, node.rack
		resp.Brokers = append(resp.Brokers, broker)
		resp.ControllerID = node.id
		m.reachable = true
	}
	if all {
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, m.img.NumTopics())
		for _, topic := range m.img.SortedTopics() {
			resp.Topics = append(resp.Topics, m.topic(topic))
		}
	} else {
		resp.Topics = m.asked()
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	r.Reply(resp)
}

// clusterNode is a broker as clients of one listener see it.
type clusterNode struct {
	id     int32
	host   string
	port   int32
	rack   *string
	fenced bool
}

// clusterNodes lists the brokers that clients of the listener can reach.
func (b *Broker) clusterNodes(img *metadata.Image, listener string) []clusterNode {
	host, port, ok := b.advertised(listener)
	if !ok {
		return nil
	}
	var nodes []clusterNode
	for _, broker := range img.Brokers {
		if broker.ID != b.Config().NodeID {
			continue // the addresses of other brokers are not known here
		}
		node := clusterNode{id: broker.ID, host: host, port: port, fenced: broker.Fenced}
		if broker.Rack != "" {
			node.rack = &broker.Rack
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// metadataAnswer is one answer in the making.
type metadataAnswer struct {
	broker      *Broker
	req         *kmsg.MetadataRequest
	img         *metadata.Image
	listener    string
	offlineDirs []string
	reachable   bool                       // the client's listener is advertised
	refused     map[string]*metadata.Error // topics that could not be created
}

// createMissing creates the topics asked for that do not exist, if client and
// configuration agree to it.
func (m *metadataAnswer) createMissing() {
	cfg := m.broker.Config()
	if !cfg.AutoCreateTopicsEnable || !m.req.AllowAutoTopicCreation && m.req.Version >= 4 || m.asksByID() {
		return
	}
	var missing []metadata.NewTopic
	named := map[string]bool{}
	for i := range m.req.Topics {
		name := m.req.Topics[i].Topic
		if name == nil || named[*name] || m.img.Topic(*name) != nil || metadata.ValidateTopicName(*name) != nil {
			continue
		}
		named[*name] = true
		if *name == metadata.OffsetsTopic {
			m.broker.createOffsetsTopic()
			continue
		}
		missing = append(missing, metadata.NewTopic{Name: *name, NumPartitions: -1, ReplicationFactor: -1})
	}
	if len(named) == 0 {
		return
	}
	var results []metadata.NewTopicResult
	img, failed := m.broker.changeMetadata(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.CreateTopics(img, missing, false)
		return records
	})
	m.refused = map[string]*metadata.Error{}
	for _, result := range results {
		if failed != nil {
			result.Err = failed
		}
		if result.Err != nil && result.Err.Code != metadata.CodeTopicAlreadyExists {
			m.refused[result.Name] = result.Err
		}
	}
	if failed == nil {
		m.img = img
	}
}

// asksByID reports whether any topic is asked for by its id; then, as in Kafka,
// names do not count.
func (m *metadataAnswer) asksByID() bool {
	if m.req.Version < metadataAsksByID {
		return false
	}
	for i := range m.req.Topics {
		if m.req.Topics[i].TopicID != metadata.ZeroUUID {
			return true
		}
	}
	return false
}

// asked answers for each topic asked for, once.
func (m *metadataAnswer) asked() []kmsg.MetadataResponseTopic {
	answers := make([]kmsg.MetadataResponseTopic, 0, len(m.req.Topics))
	byID := m.asksByID()
	names, ids := map[string]bool{}, map[[16]byte]bool{}
	for i := range m.req.Topics {
		asked := &m.req.Topics[i]
		switch {
		case m.req.Version < metadataAsksByID && (asked.Topic == nil || asked.TopicID != metadata.ZeroUUID):
			answers = append(answers, topicError(asked.Topic, asked.TopicID, kerr.InvalidRequest.Code))
		case byID:
			if asked.TopicID == metadata.ZeroUUID || ids[asked.TopicID] {
				continue
			}
			ids[asked.TopicID] = true
			if topic := m.img.TopicByID(asked.TopicID); topic != nil {
				answers = append(answers, m.topic(topic))
			} else {
				answers = append(answers, topicError(nil, asked.TopicID, kerr.UnknownTopicID.Code))
			}
		case asked.Topic != nil && !names[*asked.Topic]:
			names[*asked.Topic] = true
			answers = append(answers, m.named(asked.Topic))
		}
	}
	return answers
}

func (m *metadataAnswer) named(name *string) kmsg.MetadataResponseTopic {
	if topic := m.img.Topic(*name); topic != nil {
		return m.topic(topic)
	}
	if err := m.refused[*name]; err != nil {
		return topicError(name, metadata.ZeroUUID, int16(err.Code))
	}
	if err := metadata.ValidateTopicName(*name); err != nil {
		return topicError(name, metadata.ZeroUUID, int16(err.Code))
	}
	return topicError(name, metadata.ZeroUUID, kerr.UnknownTopicOrPartition.Code)
}

func topicError(name *string, id [16]byte, code int16) kmsg.MetadataResponseTopic {
	answer := kmsg.NewMetadataResponseTopic()
	answer.ErrorCode, answer.Topic, answer.TopicID = code, name, id
	answer.IsInternal = name != nil && metadata.IsInternal(*name)
	return answer
}

func (m *metadataAnswer) topic(topic *metadata.Topic) kmsg.MetadataResponseTopic {
	answer := kmsg.NewMetadataResponseTopic()
	answer.Topic, answer.TopicID, answer.IsInternal = &topic.Name, topic.ID, topic.Internal
	if m.req.IncludeTopicAuthorizedOperations {
		answer.AuthorizedOperations = topicOperations
	}
	answer.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(topic.Partitions))
	for i, state := range topic.Partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), state.Leader, state.LeaderEpoch
		p.Replicas, p.ISR = state.Replicas, state.ISR
		switch {
		case m.broker.isOffline(topic.ID, int32(i), m.offlineDirs):
			p.ErrorCode, p.Leader, p.OfflineReplicas = kerr.LeaderNotAvailable.Code, -1, state.Replicas
		case !m.reachable && m.req.Version >= 6:
			p.ErrorCode, p.Leader = kerr.ListenerNotFound.Code, -1
		case !m.reachable:
			p.ErrorCode, p.Leader = kerr.LeaderNotAvailable.Code, -1
		}
		answer.Partitions[i] = p
	}
	return answer
}
