package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeGroups, versions 0 to 6.
//
//	v3  authorized operations (KIP-430)
//	v4  group instance ids (KIP-345)
//	v5  flexible
//	v6  GROUP_ID_NOT_FOUND for unknown groups (KIP-1043)
func init() {
	register(API{Key: 15, Min: 0, Max: 6, Handle: handleDescribeGroups})
}

// groupOperations is the bit set of what may be done with a group: READ,
// DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS (Kafka: AclEntry).
// Without an authorizer everybody may do all of it.
const groupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

func handleDescribeGroups(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeGroupsRequest)
	b.group.Handle(req, r.groupMeta(), func(answer kmsg.Response) {
		resp := answer.(*kmsg.DescribeGroupsResponse)
		for i := range resp.Groups {
			if req.IncludeAuthorizedOperations && resp.Groups[i].ErrorCode == 0 {
				resp.Groups[i].AuthorizedOperations = groupOperations
			}
		}
		r.Reply(resp)
	})
}
