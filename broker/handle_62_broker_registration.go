package broker

import (
	"encoding/binary"
	"log/slog"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// BrokerRegistration, versions 0 to 4 (KIP-631), answered by controllers.
//
//	v1  migration from ZooKeeper, which is refused
//	v2  log directories (KIP-858)
//	v3  broker epoch of the last clean stop (KIP-966)
//	v4  features with a least level of 0
//
// In a tagged field of ours a broker says since which epoch nothing is missing
// that it had synced.
func init() {
	registerController(controllerAPI{Key: 62, Min: 0, Max: 4, decide: decideRegistration, refuse: refuseRegistration})
}

func decideRegistration(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.BrokerRegistrationRequest)
	if req.IsMigratingZkBroker {
		return refuseRegistration(req, &metadata.Error{Code: metadata.CodeInvalidRequest, Message: "Brokers of a ZooKeeper cluster cannot register here."}), nil
	}
	registration := metadata.Registration{
		ClusterID: req.ClusterID, BrokerID: req.BrokerID, IncarnationID: req.IncarnationID,
		PreviousBrokerEpoch: -1, PredecessorGone: b.ctl.active.isGone(req.BrokerID),
		Connected: b.quorum.Incarnation(req.BrokerID),
	}
	if req.Version >= 3 {
		registration.PreviousBrokerEpoch = req.PreviousBrokerEpoch
	}
	req.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == registrationSyncedTag && len(value) == 8 {
			registration.SyncedBrokerEpoch = int64(binary.BigEndian.Uint64(value))
		}
	})
	if req.Rack != nil {
		registration.Rack = *req.Rack
	}
	for _, l := range req.Listeners {
		registration.Endpoints = append(registration.Endpoints, metadata.Endpoint{Listener: l.Name, Host: l.Host, Port: l.Port, Security: protocolName(l.SecurityProtocol)})
	}
	for _, f := range req.Features {
		registration.Features = append(registration.Features, metadata.Feature{Name: f.Name, Min: f.MinSupportedVersion, Max: f.MaxSupportedVersion})
	}
	for _, dir := range req.LogDirs {
		registration.Dirs = append(registration.Dirs, dir)
	}
	alone := b.aloneInQuorum() && req.BrokerID == b.Config().NodeID
	var refused *metadata.Error
	img, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		others := len(img.Brokers) > 1 || len(img.Brokers) == 1 && img.Brokers[0].ID != req.BrokerID
		if alone && !others {
			records, refused = c.RegisterAlone(img, registration)
		} else {
			records, refused = c.RegisterBroker(img, registration)
		}
		return records
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		slog.Warn("registration of a broker refused", "broker", req.BrokerID, "from", r.ClientHost, "error", refused)
		return refuseRegistration(req, refused), nil
	}
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	resp.BrokerEpoch = img.BrokerEpoch(req.BrokerID)
	b.ctl.active.registered(req.BrokerID, resp.BrokerEpoch)
	if !alone {
		slog.Info("broker registered", "broker", req.BrokerID, "epoch", resp.BrokerEpoch, "from", r.ClientHost)
	}
	return resp, nil
}

func refuseRegistration(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	resp.ErrorCode, resp.BrokerEpoch = int16(err.Code), -1
	return resp
}

// securityProtocols are the protocols by their number (Kafka:
// SecurityProtocol).
var securityProtocols = [...]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

func protocolName(number int16) string {
	if number < 0 || int(number) >= len(securityProtocols) {
		return "PLAINTEXT"
	}
	return securityProtocols[number]
}
