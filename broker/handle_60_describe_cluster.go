package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster, versions 0 to 2 (KIP-700).
//
//	v1  the client says which kind of endpoint it wants (KIP-919)
//	v2  fenced brokers on demand (KIP-1073)
func init() {
	register(API{Key: 60, Min: 0, Max: 2, Handle: handleDescribeCluster})
	registerOnController(API{Key: 60, Min: 1, Max: 2, Handle: handleDescribeControllers})
}

// Kinds of endpoints (Kafka: EndpointType).
const (
	endpointBroker     = 1
	endpointController = 2
)

var endpointNames = map[int8]string{endpointBroker: "BROKER", endpointController: "CONTROLLER"}

// wrongEndpoint refuses a question for endpoints of another kind than those
// that serve it.
func wrongEndpoint(resp *kmsg.DescribeClusterResponse, asked, served int8) bool {
	if asked == served {
		return false
	}
	code, message := kerr.UnsupportedEndpointType.Code, fmt.Sprintf("Unsupported endpoint type %d", asked)
	if name := endpointNames[asked]; name != "" {
		code = kerr.MismatchedEndpointType.Code
		message = fmt.Sprintf("The request was sent to an endpoint of type %s, but we wanted an endpoint of type %s", endpointNames[served], name)
	}
	resp.ErrorCode, resp.ErrorMessage = code, &message
	return true
}

func handleDescribeCluster(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ControllerID = -1
	if req.Version >= 1 && wrongEndpoint(resp, req.EndpointType, endpointBroker) {
		r.Reply(resp)
		return
	}
	img := b.meta.Image()
	resp.ClusterID = img.ClusterID
	resp.EndpointType = endpointBroker
	nodes := b.clusterNodes(img, r.Listener)
	resp.ControllerID = b.anyController(nodes)
	for _, node := range nodes {
		if node.fenced && !req.IncludeFencedBrokers {
			continue
		}
		broker := kmsg.NewDescribeClusterResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack, broker.IsFenced = node.id, node.host, node.port, node.rack, node.fenced
		resp.Brokers = append(resp.Brokers, broker)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	r.Reply(resp)
}

// handleDescribeControllers answers on a controller listener: the "brokers" are
// the controllers (KIP-919).
func handleDescribeControllers(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ControllerID, resp.EndpointType = -1, endpointController
	if !wrongEndpoint(resp, req.EndpointType, endpointController) {
		resp.ClusterID = b.meta.Image().ClusterID
		resp.ControllerID, _ = b.meta.Leader()
		for _, voter := range b.voters() {
			controller := kmsg.NewDescribeClusterResponseBroker()
			controller.NodeID, controller.Host, controller.Port = voter.ID, voter.Host, voter.Port
			resp.Brokers = append(resp.Brokers, controller)
		}
		if req.IncludeClusterAuthorizedOperations {
			resp.ClusterAuthorizedOperations = clusterOperations
		}
	}
	r.Reply(resp)
}
