package broker

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId, versions 0 to 5 (KIP-98).
//
//	v2  flexible
//	v3  producer id and epoch of the producer that asks again (KIP-360)
//	v4  PRODUCER_FENCED
//	v5  TRANSACTION_ABORTABLE (KIP-890)
//
// Idempotent producers get an id that nobody had before, with epoch 0, also
// when they ask again. Transactional ids are refused with UNSUPPORTED_VERSION,
// which clients take as final: this version has no transactions.
func init() {
	register(API{Key: 22, Min: 0, Max: 5, Handle: handleInitProducerID})
}

// A block of ids may have to be fetched from the active controller, which the
// worker must not wait for.
func handleInitProducerID(b *Broker, r *Request) {
	go func() {
		defer r.contain()
		answerInitProducerID(b, r)
	}()
}

func answerInitProducerID(b *Broker, r *Request) {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil:
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	default:
		id, err := b.nextProducerID()
		if err != nil {
			slog.Error("no producer id can be given out", "error", err)
			resp.ErrorCode = kerr.CoordinatorNotAvailable.Code // clients try again
			break
		}
		resp.ProducerID, resp.ProducerEpoch = id, 0
	}
	r.Reply(resp)
}
