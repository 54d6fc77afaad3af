package broker

import "github.com/twmb/franz-go/pkg/kmsg"

// OffsetForLeaderEpoch, versions 2 to 4 (KIP-101, KIP-279, KIP-320).
//
//	v3  replica id
//	v4  flexible
//
// The end offset of a leader epoch in this log: what a client or follower that
// has records of that epoch must truncate to.
func init() {
	register(API{Key: 23, Min: 2, Max: 4, Handle: handleOffsetForLeaderEpoch})
}

func handleOffsetForLeaderEpoch(b *Broker, r *Request) {
	req := r.Body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	for _, topic := range req.Topics {
		answer := kmsg.NewOffsetForLeaderEpochResponseTopic()
		answer.Topic = topic.Topic
		for _, asked := range topic.Partitions {
			end := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			end.Partition = asked.Partition
			p, err := b.hostedPartition(topic.Topic, asked.Partition)
			if err == nil {
				err = p.checkLeaderEpoch(asked.CurrentLeaderEpoch)
			}
			if err != nil {
				end.ErrorCode = err.Code
			} else {
				end.LeaderEpoch, end.EndOffset = p.log.EndOffsetForEpoch(asked.LeaderEpoch)
			}
			answer.Partitions = append(answer.Partitions, end)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	r.Reply(resp)
}
