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
}

// Kinds of endpoints (Kafka: EndpointType).
const (
	endpointBroker     = 1
	endpointController = 2
)

func handleDescribeCluster(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ControllerID = -1
	if req.Version >= 1 && req.EndpointType != endpointBroker {
		code, message := kerr.UnsupportedEndpointType.Code, fmt.Sprintf("Unsupported endpoint type %d", req.EndpointType)
		if req.EndpointType == endpointController {
			code = kerr.MismatchedEndpointType.Code
			message = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
		}
		resp.ErrorCode, resp.ErrorMessage = code, &message
		r.Reply(resp)
		return
	}
	img := b.meta.Image()
	resp.ClusterID = img.ClusterID
	resp.EndpointType = endpointBroker
	for _, node := range b.clusterNodes(img, r.Listener) {
		if node.fenced && !req.IncludeFencedBrokers {
			continue
		}
		broker := kmsg.NewDescribeClusterResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack, broker.IsFenced = node.id, node.host, node.port, node.rack, node.fenced
		resp.Brokers = append(resp.Brokers, broker)
		resp.ControllerID = node.id
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations
	}
	r.Reply(resp)
}
