package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs, versions 0 and 1 (KIP-339): sets, deletes, appends
// to and subtracts from single keys of a resource's dynamic configuration.
//
//	v1  flexible
//
// Topics, single brokers, and the defaults of all brokers. The change is in
// force on the broker that was asked when the answer leaves.
func init() {
	registerController(controllerAPI{Key: 44, Min: 0, Max: 1, decide: decideIncrementalAlterConfigs, refuse: refuseIncrementalAlterConfigs, clients: true})
}

func decideIncrementalAlterConfigs(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	alterations := make([]metadata.ConfigAlteration, len(req.Resources))
	for i, resource := range req.Resources {
		alterations[i] = metadata.ConfigAlteration{Resource: metadata.ResourceType(resource.ResourceType), Name: resource.ResourceName}
		for _, c := range resource.Configs {
			alterations[i].Changes = append(alterations[i].Changes, metadata.ConfigChange{Key: c.Name, Op: metadata.ConfigOp(c.Op), Value: c.Value})
		}
	}
	refusals, err := b.alterConfigs(b.askedBroker(r), alterations, req.ValidateOnly)
	if err != nil {
		return nil, err
	}
	return incrementallyAltered(req, func(i int) *metadata.Error { return refusals[i] }), nil
}

func refuseIncrementalAlterConfigs(req kmsg.Request, err *metadata.Error) kmsg.Response {
	return incrementallyAltered(req.(*kmsg.IncrementalAlterConfigsRequest), func(int) *metadata.Error { return err })
}

func incrementallyAltered(req *kmsg.IncrementalAlterConfigsRequest, refusal func(i int) *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i, resource := range req.Resources {
		answer := kmsg.NewIncrementalAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(refusal(i))
		resp.Resources = append(resp.Resources, answer)
	}
	return resp
}
