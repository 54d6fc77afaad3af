package broker

import (
	"maps"
	"regexp"
	"slices"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions, versions 0 to 4.
//
//	v3  flexible; name and version of the client (KIP-511); features (KIP-584)
//	v4  features with a least level of 0
//
// A version that is not known is answered with error UNSUPPORTED_VERSION in the
// form of version 0, listing this API alone, so that the client can ask again
// (KIP-511). The header of the answer never has tagged fields.
func init() {
	register(API{Key: 18, Min: 0, Max: 4, Handle: handleAPIVersions})
	registerOnController(API{Key: 18, Min: 0, Max: 4, Handle: handleAPIVersions})
}

// clientSoftware is what name and version of the client must look like (Kafka:
// ApiVersionsRequest).
var clientSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func handleAPIVersions(b *Broker, r *Request) {
	req := r.Body.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewPtrApiVersionsResponse()
	switch {
	case r.Unsupported:
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		self := apis[keyAPIVersions]
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: self.Key, MinVersion: self.Min, MaxVersion: self.Max})
	case req.Version >= 3 && (!clientSoftware.MatchString(req.ClientSoftwareName) || !clientSoftware.MatchString(req.ClientSoftwareVersion)):
		resp.ErrorCode = kerr.InvalidRequest.Code
	default:
		list := APIs()
		if r.onController {
			list = controllerListenerAPIs()
		}
		for _, api := range list {
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: api.Key, MinVersion: api.Min, MaxVersion: api.Max})
		}
		addFeatures(resp, req.Version, b.meta.Image())
	}
	r.Reply(resp)
}

// addFeatures adds what features this version supports and the cluster has
// finalized. Clients that ask by a version below 4 may fail on features with a
// least level of 0 and are not told of them (KAFKA-17492).
func addFeatures(resp *kmsg.ApiVersionsResponse, version int16, img *metadata.Image) {
	for _, feature := range metadata.SupportedFeatures() {
		if feature.Min == 0 && version < 4 {
			continue
		}
		f := kmsg.NewApiVersionsResponseSupportedFeature()
		f.Name, f.MinVersion, f.MaxVersion = feature.Name, feature.Min, feature.Max
		resp.SupportedFeatures = append(resp.SupportedFeatures, f)
	}
	if len(img.Features) == 0 {
		return // until the first broker has registered
	}
	resp.FinalizedFeaturesEpoch = img.Index
	levels := img.FeatureLevels()
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		f := kmsg.NewApiVersionsResponseFinalizedFeature()
		f.Name, f.MinVersionLevel, f.MaxVersionLevel = name, levels[name], levels[name]
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, f)
	}
}
