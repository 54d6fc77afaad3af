package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// PushTelemetry, version 0 (KIP-714). With the empty subscription a client has
// nothing to push but a last message when it ends; what it pushes is checked as
// Kafka does and dropped.
func init() {
	register(API{Key: 72, Min: 0, Max: 0, Handle: handlePushTelemetry})
}

func handlePushTelemetry(b *Broker, r *Request) {
	req := r.Body.(*kmsg.PushTelemetryRequest)
	resp := kmsg.NewPtrPushTelemetryResponse()
	switch {
	case isReservedID(req.ClientInstanceID):
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.SubscriptionID != emptySubscription(req.ClientInstanceID):
		resp.ErrorCode = kerr.UnknownSubscriptionID.Code
	case req.CompressionType < 0 || req.CompressionType > 4:
		resp.ErrorCode = kerr.UnsupportedCompressionType.Code
	case len(req.Metrics) > int(b.Config().TelemetryMaxBytes):
		resp.ErrorCode = kerr.TelemetryTooLarge.Code
	}
	r.Reply(resp)
}

// isReservedID reports whether the id is one of those that stand for something
// else (Kafka: Uuid.RESERVED): zero and one.
func isReservedID(id metadata.UUID) bool {
	last := id[15]
	id[15] = 0
	return id == metadata.ZeroUUID && last <= 1
}
