package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"freshet/metadata"
	"freshet/metadata/quorum"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddRaftVoter, versions 0 and 1 (KIP-853): a controller that has joined as an
// observer gets a vote.
//
//	v1  the client may ask for an answer before the change is committed (KIP-1186)
func init() {
	registerController(controllerAPI{Key: 80, Min: 0, Max: 1, decide: decideAddVoter, refuse: refuseAddVoter, clients: true})
}

func decideAddVoter(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.AddRaftVoterRequest)
	if err := b.sameCluster(req.ClusterID); err != nil {
		return refuseAddVoter(req, err), nil
	}
	if len(req.Listeners) == 0 {
		return refuseAddVoter(req, &metadata.Error{Code: metadata.CodeInvalidRequest,
			Message: "Add voter request didn't include the endpoint of the controller listener."}), nil
	}
	listener := req.Listeners[0]
	voter := quorum.Voter{ID: req.VoterID, Dir: req.VoterDirectoryID, Host: listener.Host, Port: int32(listener.Port)}
	ctx, cancel := context.WithTimeout(b.life, time.Duration(max(req.TimeoutMillis, 1000))*time.Millisecond)
	defer cancel()
	if err := b.quorum.AddVoter(ctx, voter); err != nil {
		return voterFailure(req, err, refuseAddVoter)
	}
	slog.Info("controller has a vote now", "node", req.VoterID, "from", r.ClientHost)
	return kmsg.NewPtrAddRaftVoterResponse(), nil
}

func refuseAddVoter(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrAddRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp
}

// sameCluster refuses a request that is meant for another cluster.
func (b *Broker) sameCluster(asked *string) *metadata.Error {
	if asked == nil || *asked == b.meta.Image().ClusterID {
		return nil
	}
	return &metadata.Error{Code: metadata.CodeInconsistentClusterID, Message: kerr.InconsistentClusterID.Description}
}

// voterFailure turns the quorum's refusal of a change of voters into Kafka's.
func voterFailure(req kmsg.Request, err error, refuse func(kmsg.Request, *metadata.Error) kmsg.Response) (kmsg.Response, error) {
	var notLeader *quorum.NotLeaderError
	code := kerr.RequestTimedOut
	switch {
	case errors.As(err, &notLeader), errors.Is(err, quorum.ErrOutcomeUnknown):
		return nil, errNotController
	case errors.Is(err, quorum.ErrDuplicateVoter):
		code = kerr.DuplicateVoter
	case errors.Is(err, quorum.ErrVoterNotFound):
		code = kerr.VoterNotFound
	case errors.Is(err, quorum.ErrLastVoter), errors.Is(err, quorum.ErrObserverNotFound):
		code = kerr.InvalidRequest
	}
	return refuse(req, &metadata.Error{Code: metadata.Code(code.Code), Message: err.Error()}), nil
}
