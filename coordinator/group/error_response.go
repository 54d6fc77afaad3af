package group

import "github.com/twmb/franz-go/pkg/kmsg"

// ErrorResponse answers a whole request with one error, wherever each API
// puts it. A Heartbeat to a coordinator that is loading is told that all is
// well, as in Kafka: its session starts when the load ends.
func ErrorResponse(req kmsg.Request, code int16) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.JoinGroupRequest:
		return joinError(req.MemberID, code)
	case *kmsg.SyncGroupRequest:
		return syncError(code)
	case *kmsg.HeartbeatRequest:
		resp := kmsg.NewPtrHeartbeatResponse()
		if code != coordinatorLoading {
			resp.ErrorCode = code
		}
		return resp
	case *kmsg.LeaveGroupRequest:
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = code
		return resp
	case *kmsg.OffsetCommitRequest:
		return commitError(req, code)
	case *kmsg.OffsetFetchRequest:
		return fetchError(req, code)
	case *kmsg.OffsetDeleteRequest:
		resp := kmsg.NewPtrOffsetDeleteResponse()
		resp.ErrorCode = code
		return resp
	case *kmsg.DescribeGroupsRequest:
		resp := kmsg.NewPtrDescribeGroupsResponse()
		for _, id := range req.Groups {
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode = id, code
			resp.Groups = append(resp.Groups, g)
		}
		return resp
	case *kmsg.ListGroupsRequest:
		resp := kmsg.NewPtrListGroupsResponse()
		resp.ErrorCode = code
		return resp
	case *kmsg.DeleteGroupsRequest:
		resp := kmsg.NewPtrDeleteGroupsResponse()
		for _, id := range req.Groups {
			resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: id, ErrorCode: code})
		}
		return resp
	}
	panic("BUG: the group coordinator does not answer requests of this type")
}

func commitError(req *kmsg.OffsetCommitRequest, code int16) *kmsg.OffsetCommitResponse {
	resp := kmsg.NewPtrOffsetCommitResponse()
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.OffsetCommitResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
		for j := range t.Partitions {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetCommitResponseTopicPartition{
				Partition: t.Partitions[j].Partition, ErrorCode: code,
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// fetchError answers in the form of version 8 and up, with Groups.
func fetchError(req *kmsg.OffsetFetchRequest, code int16) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	for i := range req.Groups {
		if code == coordinatorNotAvailable {
			// Consumers before 3.9 do not expect it here and would not retry.
			code = notCoordinator
		}
		resp.Groups = append(resp.Groups, kmsg.OffsetFetchResponseGroup{Group: req.Groups[i].Group, ErrorCode: code})
	}
	return resp
}
