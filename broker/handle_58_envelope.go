package broker

import (
	"encoding/binary"
	"errors"
	"fmt"

	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Envelope, version 0 (KIP-590): a client's request that a broker passes on to
// the active controller, header and all, and its answer. The answer carries, in
// a tagged field of ours, the index of the metadata that the request left
// behind, which the broker waits for before it answers: the client then sees
// what it changed, on whatever partition of the cluster it looks next.
func init() {
	registerOnController(API{Key: 58, Min: 0, Max: 0, Handle: handleEnvelope})
}

const (
	keyEnvelope      = 58
	envelopeIndexTag = 10_000 // of answers: index of the metadata, int64
	envelopeViaTag   = 10_000 // of requests: the broker that the client asked, int32
)

// openEnvelope takes the answer's body, without its header, and the index of
// the metadata out of an envelope.
func openEnvelope(resp *kmsg.EnvelopeResponse, r *Request) (body []byte, index int64, err error) {
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, 0, err
	}
	header := 4
	if wire.HasResponseTags(r.Key, r.Version) {
		header++
	}
	if len(resp.ResponseData) < header {
		return nil, 0, fmt.Errorf("the controller's answer has %d bytes: %w", len(resp.ResponseData), kerr.UnknownServerError)
	}
	resp.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == envelopeIndexTag && len(value) == 8 {
			index = int64(binary.BigEndian.Uint64(value))
		}
	})
	return resp.ResponseData[header:], index, nil
}

// handleEnvelope carries out what a broker passes on. It is answered with
// NOT_CONTROLLER where this node is not the active controller; the broker then
// asks the one that is.
func handleEnvelope(b *Broker, r *Request) {
	req := r.Body.(*kmsg.EnvelopeRequest)
	resp := kmsg.NewPtrEnvelopeResponse()
	inner, api, err := unpack(req)
	if err == nil {
		var answer kmsg.Response
		if answer, err = api.decide(b, inner); err == nil {
			inner.done = func(inner *Request) { resp.ResponseData = inner.out[4:] }
			inner.Reply(answer)
			resp.UnknownTags.Set(envelopeIndexTag, binary.BigEndian.AppendUint64(nil, uint64(b.meta.Image().Index)))
		} else if !errors.Is(err, errNotController) {
			inner.done = func(inner *Request) { resp.ResponseData = inner.out[4:] }
			inner.Reply(api.refuse(inner.Body, refusal(err)))
			err = nil
		}
	}
	if err != nil {
		resp.ErrorCode = wire.ErrorCode(err)
	}
	r.Reply(resp)
}

// unpack reads the request in an envelope.
func unpack(req *kmsg.EnvelopeRequest) (*Request, *controllerAPI, error) {
	h, err := wire.PeekHeader(req.RequestData)
	if err != nil {
		return nil, nil, kerr.InvalidRequest
	}
	if h.Key < 0 || h.Key > maxAPIKey || controllerAPIs[h.Key] == nil || !controllerAPIs[h.Key].clients {
		return nil, nil, kerr.InvalidRequest
	}
	api := controllerAPIs[h.Key]
	if h.Version < api.Min || h.Version > api.Max {
		return nil, nil, kerr.UnsupportedVersion
	}
	if h, err = wire.RequestHeader(req.RequestData); err != nil {
		return nil, nil, kerr.InvalidRequest
	}
	inner := &Request{Key: h.Key, Version: h.Version, CorrelationID: h.CorrelationID, ClientID: string(h.ClientID),
		ClientHost: string(req.ClientHostAddress), onController: true, via: -1, raw: req.RequestData[h.BodyAt:]}
	req.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == envelopeViaTag && len(value) == 4 {
			inner.via = int32(binary.BigEndian.Uint32(value))
		}
	})
	inner.Body = kmsg.RequestForKey(h.Key)
	inner.Body.SetVersion(h.Version)
	if err := decodeBody(inner.Body, inner.raw); err != nil {
		return nil, nil, kerr.InvalidRequest
	}
	return inner, api, nil
}
