package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/coordinator/group"
)

// SyncGroup, versions 0 to 5.
//
//	v3  group instance id (KIP-345)
//	v4  flexible
//	v5  protocol type and name are mandatory and checked (KIP-559)
//
// The group's coordinator answers; a request of version 5 without protocol
// type or name is refused before it gets there, as by Apache Kafka.
func init() {
	register(API{Key: 14, Min: 0, Max: 5, Handle: handleSyncGroup})
}

func handleSyncGroup(b *Broker, r *Request) {
	req := r.Body.(*kmsg.SyncGroupRequest)
	if r.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		r.Reply(group.ErrorResponse(req, kerr.InconsistentGroupProtocol.Code))
		return
	}
	handleByGroup(b, r)
}
