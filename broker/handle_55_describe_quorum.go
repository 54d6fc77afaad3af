package broker

import (
	"freshet/metadata"
	"freshet/metadata/quorum"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeQuorum, versions 0 to 2 (KIP-595): the controllers and the nodes that
// follow them, under the name of Kafka's metadata topic.
//
//	v1  when replicas were last heard of and caught up (KIP-836)
//	v2  directory ids, addresses and error messages (KIP-853)
func init() {
	registerController(controllerAPI{Key: 55, Min: 0, Max: 2, decide: decideDescribeQuorum, refuse: refuseDescribeQuorum, clients: true})
}

// clusterMetadataTopic is Kafka's name for the metadata log.
const clusterMetadataTopic = "__cluster_metadata"

func decideDescribeQuorum(b *Broker, r *Request) (kmsg.Response, error) {
	if !b.isActiveController() {
		return nil, errNotController
	}
	req := r.Body.(*kmsg.DescribeQuorumRequest)
	resp := kmsg.NewPtrDescribeQuorumResponse()
	q := b.quorum.Describe()
	for _, topic := range req.Topics {
		answer := kmsg.DescribeQuorumResponseTopic{Topic: topic.Topic}
		for _, asked := range topic.Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = asked.Partition
			if topic.Topic != clusterMetadataTopic || asked.Partition != 0 {
				message := kerr.UnknownTopicOrPartition.Description
				p.ErrorCode, p.ErrorMessage = kerr.UnknownTopicOrPartition.Code, &message
			} else {
				p.LeaderID, p.LeaderEpoch, p.HighWatermark = q.LeaderID, q.Epoch, q.HighWatermark
				p.CurrentVoters, p.Observers = quorumReplicas(q.Voters), quorumReplicas(q.Observers)
			}
			answer.Partitions = append(answer.Partitions, p)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	for _, voter := range q.Voters {
		node := kmsg.DescribeQuorumResponseNode{NodeID: voter.ID}
		if voter.Host != "" {
			node.Listeners = append(node.Listeners, kmsg.DescribeQuorumResponseNodeListener{
				Name: b.controllerListenerName(), Host: voter.Host, Port: uint16(voter.Port)})
		}
		resp.Nodes = append(resp.Nodes, node)
	}
	return resp, nil
}

// controllerListenerName is the first of controller.listener.names.
func (b *Broker) controllerListenerName() string {
	if names := b.Config().ControllerListenerNames; len(names) > 0 {
		return names[0]
	}
	return "CONTROLLER"
}

func quorumReplicas(replicas []quorum.Replica) []kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	states := make([]kmsg.DescribeQuorumResponseTopicPartitionReplicaState, len(replicas))
	for i, r := range replicas {
		states[i] = kmsg.DescribeQuorumResponseTopicPartitionReplicaState{ReplicaID: r.ID, ReplicaDirectoryID: r.Dir,
			LogEndOffset: r.LogEndOffset, LastFetchTimestamp: r.LastFetchMs, LastCaughtUpTimestamp: r.LastCaughtUpMs}
	}
	return states
}

func refuseDescribeQuorum(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp
}
