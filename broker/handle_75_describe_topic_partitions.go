package broker

import (
	"slices"
	"strings"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTopicPartitions, version 0 (KIP-966): topics by name, page by page.
// The answer holds at most as many partitions as client and configuration
// (max.request.partition.size.limit) allow and says where the next begins.
func init() {
	register(API{Key: 75, Min: 0, Max: 0, Handle: handleDescribeTopicPartitions})
}

func handleDescribeTopicPartitions(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DescribeTopicPartitionsRequest)
	img := b.meta.Image()
	names, refused := topicPage(req, img)
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	if refused {
		for _, topic := range req.Topics {
			resp.Topics = append(resp.Topics, describedTopic(&topic.Topic, kerr.InvalidRequest.Code))
		}
		r.Reply(resp)
		return
	}
	page := partitionPage{view: partitionView{broker: b, img: img, listener: r.Listener, offlineDirs: b.offlineDirs()},
		left: max(1, int(min(b.Config().MaxRequestPartitionSize, req.ResponsePartitionLimit)))}
	for _, name := range names {
		first := int32(0)
		if req.Cursor != nil && name == req.Cursor.Topic {
			first = req.Cursor.Partition
		}
		if page.left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: 0}
			break
		}
		topic := img.Topic(name)
		if topic == nil {
			code := kerr.UnknownTopicOrPartition.Code
			if err := metadata.ValidateTopicName(name); err != nil {
				code = int16(err.Code)
			}
			resp.Topics = append(resp.Topics, describedTopic(&name, code))
			continue
		}
		answer, next := page.topic(topic, first)
		resp.Topics = append(resp.Topics, answer)
		if next >= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: next}
			break
		}
	}
	r.Reply(resp)
}

// topicPage lists the names to answer for, sorted, from the cursor's on. A
// cursor that does not fit the request is refused.
func topicPage(req *kmsg.DescribeTopicPartitionsRequest, img *metadata.Image) (names []string, refused bool) {
	if len(req.Topics) == 0 {
		for topic := range img.Topics() {
			names = append(names, topic.Name)
		}
	}
	for _, topic := range req.Topics {
		names = append(names, topic.Topic)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor == nil {
		return names, false
	}
	names = slices.DeleteFunc(names, func(name string) bool { return strings.Compare(name, req.Cursor.Topic) < 0 })
	missing := len(req.Topics) > 0 && !slices.Contains(names, req.Cursor.Topic)
	return names, missing || req.Cursor.Partition < 0
}

func describedTopic(name *string, code int16) kmsg.DescribeTopicPartitionsResponseTopic {
	answer := kmsg.NewDescribeTopicPartitionsResponseTopic()
	answer.ErrorCode, answer.Topic, answer.IsInternal = code, name, metadata.IsInternal(*name)
	answer.AuthorizedOperations = topicOperations
	return answer
}

// partitionPage is one page in the making.
type partitionPage struct {
	view partitionView
	left int // partitions that still fit
}

// topic describes partitions from first on; next is the first that did not fit,
// -1 when all did.
func (page *partitionPage) topic(topic *metadata.Topic, first int32) (answer kmsg.DescribeTopicPartitionsResponseTopic, next int32) {
	answer = describedTopic(&topic.Name, 0)
	answer.TopicID = topic.ID
	end := min(len(topic.Partitions), int(first)+page.left)
	for i := int(first); i < end; i++ {
		state := topic.Partitions[i]
		p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		p.Partition, p.LeaderID, p.LeaderEpoch = int32(i), state.Leader, state.LeaderEpoch
		p.Replicas, p.ISR = state.Replicas, state.ISR
		// Java's admin client does not expect null here.
		p.EligibleLeaderReplicas, p.LastKnownELR = append([]int32{}, state.ELR...), append([]int32{}, state.LastKnownELR...)
		p.OfflineReplicas = page.view.offline(topic, int32(i))
		if page.view.leader(topic, int32(i), p.OfflineReplicas) != leaderKnown {
			p.LeaderID = -1
		}
		answer.Partitions = append(answer.Partitions, p)
	}
	page.left -= len(answer.Partitions)
	if end < len(topic.Partitions) {
		return answer, int32(end)
	}
	return answer, -1
}
