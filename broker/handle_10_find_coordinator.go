package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/coordinator/group"
)

// FindCoordinator, versions 0 to 6.
//
//	v1  key type: group or transaction
//	v3  flexible
//	v4  several keys (KIP-699)
//	v5  TRANSACTION_ABORTABLE (KIP-890)
//	v6  share groups (KIP-932)
//
// The first question for a group creates __consumer_offsets. Transactions and
// share groups have no coordinator here, which clients learn at once as an
// error that they do not retry.
func init() {
	register(API{Key: 10, Min: 0, Max: 6, Handle: handleFindCoordinator})
}

const (
	// findCoordinatorBatched is the first version with several keys.
	findCoordinatorBatched = 4
	// coordinatorGroup is the key type of groups (Kafka: CoordinatorType).
	coordinatorGroup = 0
)

// coordinatorNode is an answer for one key.
type coordinatorNode struct {
	id    int32
	host  string
	port  int32
	err   *kerr.Error // nil: found
	cause string
}

func handleFindCoordinator(b *Broker, r *Request) {
	if b.meta.Image().Topic(group.OffsetsTopic) != nil {
		answerFindCoordinator(b, r)
		return
	}
	// The topic has to be created first, which the worker must not wait for.
	go func() {
		defer r.contain()
		answerFindCoordinator(b, r)
	}()
}

func answerFindCoordinator(b *Broker, r *Request) {
	req := r.Body.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewPtrFindCoordinatorResponse()
	if req.Version < findCoordinatorBatched {
		n := b.findCoordinator(req.CoordinatorType, req.CoordinatorKey, r.Listener)
		resp.NodeID, resp.Host, resp.Port = n.id, n.host, n.port
		message := "NONE" // as Kafka writes it
		if n.err != nil {
			resp.ErrorCode, message = n.err.Code, n.message()
		}
		resp.ErrorMessage = &message
		r.Reply(resp)
		return
	}
	for _, key := range req.CoordinatorKeys {
		n := b.findCoordinator(req.CoordinatorType, key, r.Listener)
		message := n.message()
		c := kmsg.FindCoordinatorResponseCoordinator{Key: key, NodeID: n.id, Host: n.host, Port: n.port, ErrorMessage: &message}
		if n.err != nil {
			c.ErrorCode = n.err.Code
		}
		resp.Coordinators = append(resp.Coordinators, c)
	}
	r.Reply(resp)
}

func (n *coordinatorNode) message() string {
	switch {
	case n.err == nil:
		return ""
	case n.cause != "":
		return n.cause
	}
	return n.err.Description
}

func noCoordinator(err *kerr.Error, cause string) coordinatorNode {
	return coordinatorNode{id: -1, port: -1, err: err, cause: cause}
}

func (b *Broker) findCoordinator(keyType int8, key, listener string) coordinatorNode {
	if keyType != coordinatorGroup {
		return noCoordinator(kerr.InvalidRequest, "This broker has coordinators for groups only, not for transactions or share groups.")
	}
	topic := b.meta.Image().Topic(group.OffsetsTopic)
	if topic == nil {
		if topic = b.createOffsetsTopic(); topic == nil {
			return noCoordinator(kerr.CoordinatorNotAvailable, "")
		}
	}
	img := b.meta.Image()
	p := topic.Partition(b.group.PartitionFor(key))
	if p == nil {
		return noCoordinator(kerr.CoordinatorNotAvailable, "")
	}
	leader := img.Broker(p.Leader)
	if leader == nil || leader.Fenced || leader.Endpoint(listener) == nil {
		return noCoordinator(kerr.CoordinatorNotAvailable, "")
	}
	endpoint := leader.Endpoint(listener)
	return coordinatorNode{id: p.Leader, host: endpoint.Host, port: int32(endpoint.Port)}
}
