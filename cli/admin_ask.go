package cli

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// question is a request whose answer is an R; kmsg's requests are.
type question[R kmsg.Response] interface {
	RequestWith(ctx context.Context, r kmsg.Requestor) (R, error)
}

// ask sends a request and returns its answer, with what the answer refuses as an
// error.
func ask[R kmsg.Response](ctx context.Context, to kmsg.Requestor, req question[R]) (R, error) {
	resp, err := req.RequestWith(ctx, to)
	if err == nil {
		err = refusal(resp)
	}
	return resp, err
}

// refusal is the error of an answer as a whole or, where it has none, of the
// first topic or resource that it refuses. Errors of partitions are left to the
// caller.
func refusal(resp kmsg.Response) error {
	switch r := resp.(type) {
	case *kmsg.AddRaftVoterResponse:
		return newBrokerError(r.ErrorCode, r.ErrorMessage)
	case *kmsg.AlterPartitionAssignmentsResponse:
		return newBrokerError(r.ErrorCode, r.ErrorMessage)
	case *kmsg.ApiVersionsResponse:
		return newBrokerError(r.ErrorCode, nil)
	case *kmsg.CreatePartitionsResponse:
		return firstRefusal(r.Topics, func(t *kmsg.CreatePartitionsResponseTopic) error { return newBrokerError(t.ErrorCode, t.ErrorMessage) })
	case *kmsg.CreateTopicsResponse:
		return firstRefusal(r.Topics, func(t *kmsg.CreateTopicsResponseTopic) error { return newBrokerError(t.ErrorCode, t.ErrorMessage) })
	case *kmsg.DeleteTopicsResponse:
		return firstRefusal(r.Topics, func(t *kmsg.DeleteTopicsResponseTopic) error { return newBrokerError(t.ErrorCode, t.ErrorMessage) })
	case *kmsg.DescribeClusterResponse:
		return newBrokerError(r.ErrorCode, r.ErrorMessage)
	case *kmsg.DescribeLogDirsResponse:
		return newBrokerError(r.ErrorCode, nil)
	case *kmsg.DescribeQuorumResponse:
		return newBrokerError(r.ErrorCode, r.ErrorMessage)
	case *kmsg.ElectLeadersResponse:
		return newBrokerError(r.ErrorCode, nil)
	case *kmsg.IncrementalAlterConfigsResponse:
		return firstRefusal(r.Resources, func(c *kmsg.IncrementalAlterConfigsResponseResource) error {
			return newBrokerError(c.ErrorCode, c.ErrorMessage)
		})
	case *kmsg.ListConfigResourcesResponse:
		return newBrokerError(r.ErrorCode, nil)
	case *kmsg.ListPartitionReassignmentsResponse:
		return newBrokerError(r.ErrorCode, r.ErrorMessage)
	case *kmsg.RemoveRaftVoterResponse:
		return newBrokerError(r.ErrorCode, r.ErrorMessage)
	case *kmsg.UnregisterBrokerResponse:
		return newBrokerError(r.ErrorCode, r.ErrorMessage)
	}
	panic(fmt.Sprintf("BUG: where %T has its error code is not known", resp))
}

// firstRefusal is the first error of parts.
func firstRefusal[T any](parts []T, of func(*T) error) error {
	for i := range parts {
		if err := of(&parts[i]); err != nil {
			return err
		}
	}
	return nil
}
