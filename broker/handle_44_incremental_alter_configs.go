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
// Topics, this broker, and the defaults of all brokers. The change is in force
// when the answer leaves.
func init() {
	register(API{Key: 44, Min: 0, Max: 1, Handle: handleIncrementalAlterConfigs})
}

func handleIncrementalAlterConfigs(b *Broker, r *Request) {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	alterations := make([]metadata.ConfigAlteration, len(req.Resources))
	for i, resource := range req.Resources {
		alterations[i] = metadata.ConfigAlteration{Resource: metadata.ResourceType(resource.ResourceType), Name: resource.ResourceName}
		for _, c := range resource.Configs {
			alterations[i].Changes = append(alterations[i].Changes, metadata.ConfigChange{Key: c.Name, Op: metadata.ConfigOp(c.Op), Value: c.Value})
		}
	}
	refusals := b.alterConfigs(alterations, req.ValidateOnly)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i, resource := range req.Resources {
		answer := kmsg.NewIncrementalAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = resource.ResourceType, resource.ResourceName
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(refusals[i])
		resp.Resources = append(resp.Resources, answer)
	}
	r.Reply(resp)
}
