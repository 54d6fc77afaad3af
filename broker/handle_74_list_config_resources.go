package broker

import (
	"slices"
	"strconv"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources, versions 0 and 1 (KIP-714, KIP-1142): what has
// configuration that can be described.
//
//	v0  client metrics subscriptions, of which there are none
//	v1  resources of the kinds asked for
func init() {
	register(API{Key: 74, Min: 0, Max: 1, Handle: handleListConfigResources})
}

// configResourceKinds are the kinds of resources Kafka knows.
var configResourceKinds = []metadata.ResourceType{
	metadata.ResourceTopic, metadata.ResourceBroker, metadata.ResourceBrokerLogger,
	metadata.ResourceClientMetrics, metadata.ResourceGroup,
}

func handleListConfigResources(b *Broker, r *Request) {
	req := r.Body.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewPtrListConfigResourcesResponse()
	kinds := []metadata.ResourceType{metadata.ResourceClientMetrics}
	if req.Version >= 1 {
		kinds = configResourceKinds
		if len(req.ResourceTypes) > 0 {
			kinds = nil
			for _, kind := range req.ResourceTypes {
				kinds = append(kinds, metadata.ResourceType(kind))
			}
		}
	}
	img := b.meta.Image()
	for _, kind := range kinds {
		if !slices.Contains(configResourceKinds, kind) {
			resp.ErrorCode, resp.ConfigResources = kerr.UnsupportedVersion.Code, nil
			break
		}
		for _, name := range configResourceNames(img, kind) {
			answer := kmsg.NewListConfigResourcesResponseConfigResource()
			answer.Name, answer.Type = name, int8(kind)
			resp.ConfigResources = append(resp.ConfigResources, answer)
		}
	}
	r.Reply(resp)
}

func configResourceNames(img *metadata.Image, kind metadata.ResourceType) []string {
	var names []string
	switch kind {
	case metadata.ResourceTopic:
		for _, topic := range img.SortedTopics() {
			names = append(names, topic.Name)
		}
	case metadata.ResourceBroker, metadata.ResourceBrokerLogger:
		for _, broker := range img.Brokers {
			names = append(names, strconv.Itoa(int(broker.ID)))
		}
	}
	return names
}
