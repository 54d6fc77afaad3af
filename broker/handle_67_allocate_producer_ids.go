package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AllocateProducerIds, version 0 (KIP-730), answered by controllers: a block of
// producer ids for a broker to hand out.
func init() {
	registerController(controllerAPI{Key: 67, Min: 0, Max: 0, decide: decideProducerIDs, refuse: refuseProducerIDs})
}

func decideProducerIDs(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.AllocateProducerIDsRequest)
	var block metadata.ProducerIDBlock
	stale := false
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		if stale = img.BrokerEpoch(req.BrokerID) != req.BrokerEpoch; stale {
			return nil
		}
		block, records = c.AllocateProducerIDs(img, req.BrokerID)
		return records
	})
	if err != nil {
		return nil, err
	}
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	if stale {
		resp.ErrorCode = kerr.StaleBrokerEpoch.Code
		return resp, nil
	}
	resp.ProducerIDStart, resp.ProducerIDLen = block.First, int32(block.Count)
	return resp, nil
}

func refuseProducerIDs(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	resp.ErrorCode = int16(err.Code)
	return resp
}
