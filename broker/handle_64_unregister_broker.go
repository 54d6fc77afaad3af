package broker

import (
	"log/slog"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// UnregisterBroker, version 0 (KIP-631): forgets a broker for good.
func init() {
	registerController(controllerAPI{Key: 64, Min: 0, Max: 0, decide: decideUnregister, refuse: refuseUnregister, clients: true})
}

func decideUnregister(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.UnregisterBrokerRequest)
	var refused *metadata.Error
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		records, refused = c.UnregisterBroker(img, req.BrokerID)
		return records
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return refuseUnregister(req, refused), nil
	}
	slog.Info("broker unregistered", "broker", req.BrokerID, "from", r.ClientHost)
	return kmsg.NewPtrUnregisterBrokerResponse(), nil
}

func refuseUnregister(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp
}
