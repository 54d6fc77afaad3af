package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"freshet/metadata"
	"freshet/wire"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
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
