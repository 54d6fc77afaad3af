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
	register(API{Key: 33, Min: 0, Max: 2, Handle: handleAlterConfigs})
}

func handleAlterConfigs(b *Broker, r *Request) {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	alterations := make([]metadata.ConfigAlteration, len(req.Resources))
	for i, resource := range req.Resources {
		alterations[i] = metadata.ConfigAlteration{Resource: metadata.ResourceType(resource.ResourceType), Name: resource.ResourceName, Replace: true}
		for _, c := range resource.Configs {
			alterations[i].Changes = append(alterations[i].Changes, metadata.ConfigChange{Key: c.Name, Op: metadata.OpSet, Value: c.Value})
		}
	}
	refusals := b.alterConfigs(alterations, req.ValidateOnly)
	resp := kmsg.NewPtrAlterConfigsResponse()
	for i, resource := range req.Resources {
		answer := kmsg.NewAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(refusals[i])
		resp.Resources = append(resp.Resources, answer)
	}
	r.Reply(resp)
}

// alterConfigs changes dynamic configurations; the refusals are in the order
// of alterations.
func (b *Broker) alterConfigs(alterations []metadata.ConfigAlteration, validateOnly bool) []*metadata.Error {
	var refusals []*metadata.Error
	_, failed := b.changeMetadata(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		refusals, records = c.AlterConfigs(img, b.Config().NodeID, alterations, validateOnly)
		return records
	})
	if refusals == nil {
		refusals = make([]*metadata.Error, len(alterations))
	}
	for i := range refusals {
		if refusals[i] == nil {
			refusals[i] = failed
		}
	}
	return refusals
}
