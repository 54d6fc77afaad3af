package broker

import (
	"context"
	"log/slog"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// RemoveRaftVoter, version 0 (KIP-853): a controller loses its vote, before it
// is stopped for good.
func init() {
	registerController(controllerAPI{Key: 81, Min: 0, Max: 0, decide: decideRemoveVoter, refuse: refuseRemoveVoter, clients: true})
}

func decideRemoveVoter(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.RemoveRaftVoterRequest)
	if err := b.sameCluster(req.ClusterID); err != nil {
		return refuseRemoveVoter(req, err), nil
	}
	ctx, cancel := context.WithTimeout(b.life, defaultForwardTime)
	defer cancel()
	if err := b.quorum.RemoveVoter(ctx, req.VoterID, req.VoterDirectoryID); err != nil {
		return voterFailure(req, err, refuseRemoveVoter)
	}
	slog.Info("controller has no vote any more", "node", req.VoterID, "from", r.ClientHost)
	return kmsg.NewPtrRemoveRaftVoterResponse(), nil
}

func refuseRemoveVoter(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrRemoveRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = codeAndMessage(err)
	return resp
}
