package broker

import (
	"hash/crc32"

	"freshet/metadata"
	"freshet/record"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// GetTelemetrySubscriptions, version 0 (KIP-714): which metrics the broker wants
// from a client. None: the subscription is empty, and a client then pushes
// nothing and asks again after the interval.
func init() {
	register(API{Key: 71, Min: 0, Max: 0, Handle: handleGetTelemetrySubscriptions})
}

// telemetryIntervalMs is the interval at which clients ask (Kafka:
// ClientMetricsConfigs.INTERVAL_MS_DEFAULT).
const telemetryIntervalMs = 300_000

// acceptedCompression are the codecs a client may push with, by preference:
// zstd, lz4, gzip, snappy.
var acceptedCompression = []int8{int8(record.Zstd), int8(record.LZ4), int8(record.Gzip), int8(record.Snappy)}

func handleGetTelemetrySubscriptions(b *Broker, r *Request) {
	req := r.Body.(*kmsg.GetTelemetrySubscriptionsRequest)
	resp := kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	resp.ClientInstanceID = req.ClientInstanceID
	if resp.ClientInstanceID == metadata.ZeroUUID {
		resp.ClientInstanceID = metadata.RandomUUID()
	}
	resp.SubscriptionID = emptySubscription(resp.ClientInstanceID)
	resp.AcceptedCompressionTypes = acceptedCompression
	resp.PushIntervalMillis = telemetryIntervalMs
	resp.TelemetryMaxBytes = b.Config().TelemetryMaxBytes
	resp.DeltaTemporality = true
	r.Reply(resp)
}

// emptySubscription is the id of the empty subscription of one client, which
// follows from its instance id, so that the broker need not remember it.
func emptySubscription(instance [16]byte) int32 {
	return int32(crc32.Checksum(instance[:], record.Castagnoli))
}
