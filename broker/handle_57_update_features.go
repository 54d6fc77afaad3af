package broker

import (
	"log/slog"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// UpdateFeatures, versions 0 to 2 (KIP-584).
//
//	v1  upgrade types, validation only (KIP-778)
//	v2  no results by feature: all or none
func init() {
	registerController(controllerAPI{Key: 57, Min: 0, Max: 2, decide: decideUpdateFeatures, refuse: refuseUpdateFeatures, clients: true})
}

func decideUpdateFeatures(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.UpdateFeaturesRequest)
	var updates []metadata.FeatureUpdate
	for _, u := range req.FeatureUpdates {
		kind := metadata.UpgradeType(u.UpgradeType)
		if req.Version == 0 {
			kind = metadata.UpgradeOnly
			if u.AllowDowngrade {
				kind = metadata.SafeDowngrade
			}
		}
		updates = append(updates, metadata.FeatureUpdate{Name: u.Feature, Level: u.MaxVersionLevel, Type: kind})
	}
	var refused *metadata.Error
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		records, refused = c.UpdateFeatures(img, updates, req.ValidateOnly)
		return records
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		refused.Message = "The update failed for all features since the following feature had an error: " + refused.Message
		return refuseUpdateFeatures(req, refused), nil
	}
	slog.Info("features updated", "features", updates, "validate_only", req.ValidateOnly, "from", r.ClientHost)
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	for _, u := range req.FeatureUpdates {
		result := kmsg.NewUpdateFeaturesResponseResult()
		result.Feature = u.Feature
		resp.Results = append(resp.Results, result)
	}
	return resp, nil
}

func refuseUpdateFeatures(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp
}
