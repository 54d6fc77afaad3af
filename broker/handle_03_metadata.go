package broker

import (
	"slices"

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
	m := metadataAnswer{broker: b, req: req, listener: r.Listener, offlineDirs: b.offlineDirs(), img: b.meta.Image()}
	missing := m.missing()
	if len(missing) == 0 {
		m.reply(r)
		return
	}
	// The active controller may take its time; the worker must not wait.
	go func() {
		defer r.contain()
		m.refused = b.createOnDemand(missing)
		m.img = b.meta.Image()
		m.reply(r)
	}()
}

// clusterNode is a broker as clients of one listener see it.
type clusterNode struct {
	id     int32
	host   string
	port   int32
	rack   *string
	fenced bool
}

// clusterNodes lists the brokers that have an address for clients of the
// listener, fenced ones too.
func (b *Broker) clusterNodes(img *metadata.Image, listener string) []clusterNode {
	var nodes []clusterNode
	for i := range img.Brokers {
		broker := &img.Brokers[i]
		endpoint := broker.Endpoint(listener)
		if endpoint == nil {
			continue
		}
		node := clusterNode{id: broker.ID, host: endpoint.Host, port: int32(endpoint.Port), fenced: broker.Fenced}
		if broker.Rack != "" {
			node.rack = &broker.Rack
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// anyController is the broker that clients are sent to with changes: this one,
// which passes them on to the active controller, or another while it is fenced.
func (b *Broker) anyController(nodes []clusterNode) int32 {
	id := int32(-1)
	for _, node := range nodes {
		if !node.fenced && (id < 0 || node.id == b.Config().NodeID) {
			id = node.id
		}
	}
	return id
}

// metadataAnswer is one answer in the making.
type metadataAnswer struct {
	broker      *Broker
	req         *kmsg.MetadataRequest
	img         *metadata.Image
	listener    string
	offlineDirs []string
	refused     map[string]*metadata.Error // topics that could not be created
}

func (m *metadataAnswer) all() bool {
	return m.req.Topics == nil || m.req.Version == 0 && len(m.req.Topics) == 0
}

func (m *metadataAnswer) reply(r *Request) {
	resp := kmsg.NewPtrMetadataResponse()
	resp.ClusterID = &m.img.ClusterID
	nodes := m.broker.clusterNodes(m.img, m.listener)
	for _, node := range nodes {
		if node.fenced {
			continue
		}
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack = node.id, node.host, node.port, node.rack
		resp.Brokers = append(resp.Brokers, broker)
	}
	resp.ControllerID = m.broker.anyController(nodes)
	if m.all() {
		resp.Topics = make([]kmsg.MetadataResponseTopic, 0, m.img.NumTopics())
		for _, topic := range m.img.SortedTopics() {
			resp.Topics = append(resp.Topics, m.topic(topic))
		}
	} else {
		resp.Topics = m.asked()
	}
	if m.req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = clusterOperations
	}
	r.Reply(resp)
}

// missing names the topics asked for that do not exist and may be created, if
// client and configuration agree to it.
func (m *metadataAnswer) missing() (names []string) {
	cfg := m.broker.Config()
	if m.all() || !cfg.AutoCreateTopicsEnable || !m.req.AllowAutoTopicCreation && m.req.Version >= 4 || m.asksByID() {
		return nil
	}
	for i := range m.req.Topics {
		name := m.req.Topics[i].Topic
		if name != nil && !slices.Contains(names, *name) && m.img.Topic(*name) == nil && metadata.ValidateTopicName(*name) == nil {
			names = append(names, *name)
		}
	}
	return names
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
	view := partitionView{broker: m.broker, img: m.img, listener: m.listener, offlineDirs: m.offlineDirs}
	for i, state := range topic.Partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), state.Leader, state.LeaderEpoch
		p.Replicas, p.ISR, p.OfflineReplicas = state.Replicas, state.ISR, view.offline(topic, int32(i))
		switch view.leader(topic, int32(i), p.OfflineReplicas) {
		case leaderUnknown:
			p.ErrorCode, p.Leader = kerr.LeaderNotAvailable.Code, -1
		case leaderElsewhere:
			p.ErrorCode, p.Leader = kerr.ListenerNotFound.Code, -1
			if m.req.Version < 6 {
				p.ErrorCode = kerr.LeaderNotAvailable.Code
			}
		}
		answer.Partitions[i] = p
	}
	return answer
}

// partitionView is what clients of one listener are told of partitions (Kafka:
// KRaftMetadataCache).
type partitionView struct {
	broker      *Broker
	img         *metadata.Image
	listener    string
	offlineDirs []string // of this broker
}

// offline lists the replicas that cannot be reached: their broker is fenced,
// unknown or without the listener, or their log directory has failed.
func (v *partitionView) offline(topic *metadata.Topic, index int32) (ids []int32) {
	state := topic.Partitions[index]
	for _, id := range state.Replicas {
		broker := v.img.Broker(id)
		switch {
		case broker == nil || broker.Fenced || broker.Endpoint(v.listener) == nil:
		case id == v.broker.Config().NodeID && v.broker.isOffline(topic.ID, index, v.offlineDirs):
		case !dirOnline(broker, state.Dir(id)):
		default:
			continue
		}
		ids = append(ids, id)
	}
	return ids
}

// dirOnline reports whether a replica's directory works, or is not known.
func dirOnline(broker *metadata.Broker, dir metadata.UUID) bool {
	return dir == metadata.UnassignedDir || len(broker.Dirs) == 0 || slices.Contains(broker.Dirs, dir)
}

// leaderState says what clients can be told of a partition's leader.
type leaderState int8

const (
	leaderKnown     leaderState = iota
	leaderUnknown               // there is none, or its replica is offline
	leaderElsewhere             // it has no address for the client's listener
)

func (v *partitionView) leader(topic *metadata.Topic, index int32, offline []int32) leaderState {
	id := topic.Partitions[index].Leader
	broker := v.img.Broker(id)
	switch {
	case broker == nil:
		return leaderUnknown
	case broker.Endpoint(v.listener) == nil:
		return leaderElsewhere
	case slices.Contains(offline, id):
		return leaderUnknown
	}
	return leaderKnown
}
