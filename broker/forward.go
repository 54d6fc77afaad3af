package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"freshet/metadata"
	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Envelope, version 0 (KIP-590): a client's request that a broker passes on to
// the active controller, header and all, and its answer. The answer carries, in
// a tagged field of ours, the index of the metadata that the request left
// behind, which the broker waits for before it answers: the client then sees
// what it changed, on whatever partition of the cluster it looks next.
const (
	keyEnvelope      = 58
	envelopeIndexTag = 10_000 // of answers: index of the metadata, int64
	envelopeViaTag   = 10_000 // of requests: the broker that the client asked, int32
)

const (
	// defaultForwardTime is how long requests without a timeout of their own
	// are tried; maxForwardTime bounds those that have one.
	defaultForwardTime = 30 * time.Second
	maxForwardTime     = 60 * time.Second
	minForwardTime     = time.Second
	forwardRetry       = 20 * time.Millisecond // while there is no controller
	// maxApplyWait bounds the wait for a change to arrive here.
	maxApplyWait = 5 * time.Second
)

// forwardTime is how long a request may be tried.
func forwardTime(req kmsg.Request) time.Duration {
	timed, ok := req.(kmsg.TimeoutRequest)
	if !ok {
		return defaultForwardTime
	}
	return min(max(time.Duration(timed.Timeout())*time.Millisecond, minForwardTime), maxForwardTime)
}

// carryOut answers r with what the active controller decides, wherever it is.
// A request that meets no controller is tried again until its time is over: a
// failover takes less than most clients' patience.
func (b *Broker) carryOut(r *Request) {
	api := controllerAPIs[r.Key]
	ctx, cancel := context.WithTimeout(b.life, forwardTime(r.Body))
	defer cancel()
	for {
		err := b.tryController(ctx, api, r)
		if err == nil {
			return
		}
		if !isRetriable(err) {
			r.Reply(api.refuse(r.Body, refusal(err)))
			return
		}
		select {
		case <-time.After(forwardRetry):
		case <-ctx.Done():
			slog.Warn("request could not be passed on to the active controller", "api", wire.Name(r.Key), "error", err)
			r.Reply(api.refuse(r.Body, &metadata.Error{Code: metadata.Code(kerr.RequestTimedOut.Code),
				Message: "The request could not be carried out in time: no active controller answered."}))
			return
		}
	}
}

// carryOutOwn carries out a request of this broker itself, as carryOut does a
// client's.
func (b *Broker) carryOutOwn(req kmsg.Request) (kmsg.Response, error) {
	r := &Request{Key: req.Key(), Version: req.GetVersion(), ClientID: b.clientID(), ClientHost: "/127.0.0.1", Body: req, raw: req.AppendTo(nil), done: func(*Request) {}}
	b.carryOut(r)
	if r.err != nil {
		return nil, r.err
	}
	return decodeAnswer(req, r.out[8:])
}

// askedBroker is the broker that the client asked, -1 when it asked a
// controller.
func (b *Broker) askedBroker(r *Request) int32 {
	if r.onController {
		return r.via
	}
	return b.Config().NodeID
}

// isRetriable reports whether another controller, or the same a little later,
// may carry the request out.
func isRetriable(err error) bool {
	var refused *metadata.Error
	if errors.As(err, &refused) {
		return refused.Code == metadata.Code(kerr.NotController.Code)
	}
	var known *kerr.Error
	return !errors.As(err, &known) || known == kerr.NotController
}

// tryController tries the controller of the moment. r is answered when there is
// no error.
func (b *Broker) tryController(ctx context.Context, api *controllerAPI, r *Request) error {
	id, _ := b.meta.Leader()
	if id == b.Config().NodeID {
		resp, err := api.decide(b, r)
		if err != nil {
			return b.localFailure(err)
		}
		r.Reply(resp)
		return nil
	}
	peer, err := b.ctl.forwards.peer(ctx, id)
	if err != nil {
		return err
	}
	envelope := &kmsg.EnvelopeRequest{RequestData: r.frame(), ClientHostAddress: []byte(r.ClientHost)}
	envelope.UnknownTags.Set(envelopeViaTag, binary.BigEndian.AppendUint32(nil, uint32(b.Config().NodeID)))
	answer, err := peer.ask(ctx, envelope)
	if err != nil {
		return err
	}
	body, index, err := openEnvelope(answer.(*kmsg.EnvelopeResponse), r)
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, maxApplyWait)
	defer cancel()
	if err := b.meta.WaitIndex(wait, index); err != nil {
		slog.Warn("the change is committed but has not arrived here yet", "api", wire.Name(r.Key), "index", index, "error", err)
	}
	r.replyWith(func(out []byte) []byte { return append(out, body...) })
	return nil
}

// localFailure makes the failure of a decision on this node final, unless this
// node is not the active controller: nobody else could do better.
func (b *Broker) localFailure(err error) error {
	if errors.Is(err, errNotController) {
		return err
	}
	if refused := refusal(err); refused != nil {
		return refused
	}
	return err
}

// frame is the request as it came, header and body.
func (r *Request) frame() []byte {
	f := make([]byte, 0, 16+len(r.ClientID)+len(r.raw))
	f = binary.BigEndian.AppendUint16(f, uint16(r.Key))
	f = binary.BigEndian.AppendUint16(f, uint16(r.Version))
	f = appendInt32(f, r.CorrelationID)
	f = binary.BigEndian.AppendUint16(f, uint16(len(r.ClientID)))
	f = append(f, r.ClientID...)
	if wire.IsFlexible(r.Key, r.Version) {
		f = append(f, 0)
	}
	return append(f, r.raw...)
}

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
	if h.Version < api.min || h.Version > api.max {
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

func init() {
	registerOnController(API{Key: keyEnvelope, Min: 0, Max: 0, Handle: handleEnvelope})
}
