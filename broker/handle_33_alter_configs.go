package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs, versions 0 to 2 (KIP-133): replaces the whole dynamic
// configuration of a resource, so that a key left out goes back to its default.
//
//	v2  flexible
//
// Newer clients use IncrementalAlterConfigs.
func init() {
	registerController(controllerAPI{Key: 33, Min: 0, Max: 2, decide: decideAlterConfigs, refuse: refuseAlterConfigs, clients: true})
}

func decideAlterConfigs(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	alterations := make([]metadata.ConfigAlteration, len(req.Resources))
	for i, resource := range req.Resources {
		alterations[i] = metadata.ConfigAlteration{Resource: metadata.ResourceType(resource.ResourceType), Name: resource.ResourceName, Replace: true}
		for _, c := range resource.Configs {
			alterations[i].Changes = append(alterations[i].Changes, metadata.ConfigChange{Key: c.Name, Op: metadata.OpSet, Value: c.Value})
		}
	}
	refusals, err := b.alterConfigs(b.askedBroker(r), alterations, req.ValidateOnly)
	if err != nil {
		return nil, err
	}
	return alteredConfigs(req, func(i int) *metadata.Error { return refusals[i] }), nil
}

func alteredConfigs(req *kmsg.AlterConfigsRequest, refusal func(i int) *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrAlterConfigsResponse()
	for i, resource := range req.Resources {
		answer := kmsg.NewAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(refusal(i))
		resp.Resources = append(resp.Resources, answer)
	}
	return resp
}

func refuseAlterConfigs(req kmsg.Request, err *metadata.Error) kmsg.Response {
	return alteredConfigs(req.(*kmsg.AlterConfigsRequest), func(int) *metadata.Error { return err })
}

// alterConfigs changes dynamic configurations; the refusals are in the order
// of alterations. nodeID is the broker that was asked, -1 for a controller.
func (b *Broker) alterConfigs(nodeID int32, alterations []metadata.ConfigAlteration, validateOnly bool) (refusals []*metadata.Error, err error) {
	_, err = b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		refusals, records = c.AlterConfigs(img, nodeID, alterations, validateOnly)
		return records
	})
	return refusals, err
}
