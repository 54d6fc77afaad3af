package broker

import (
	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics, versions 1 to 6.
//
//	v3  TOPIC_DELETION_DISABLED
//	v4  flexible
//	v5  error messages (KIP-599)
//	v6  topics by id (KIP-516)
//
// When the answer leaves, the topic is gone from the metadata on disk and its
// partitions are not served any more; their files go later.
func init() {
	register(API{Key: 20, Min: 1, Max: 6, Handle: handleDeleteTopics})
}

func handleDeleteTopics(b *Broker, r *Request) {
	req := r.Body.(*kmsg.DeleteTopicsRequest)
	var refs []metadata.TopicRef
	for i := range req.TopicNames {
		refs = append(refs, metadata.TopicRef{Name: &req.TopicNames[i]})
	}
	for _, topic := range req.Topics {
		refs = append(refs, metadata.TopicRef{Name: topic.Topic, ID: topic.TopicID})
	}
	resp := kmsg.NewPtrDeleteTopicsResponse()
	if !b.Config().DeleteTopicEnable {
		code, message := kerr.TopicDeletionDisabled.Code, kerr.TopicDeletionDisabled.Description
		if req.Version < 3 {
			code, message = kerr.InvalidRequest.Code, "Topic deletion is disabled."
		}
		for _, ref := range refs {
			resp.Topics = append(resp.Topics, kmsg.DeleteTopicsResponseTopic{Topic: ref.Name, TopicID: ref.ID, ErrorCode: code, ErrorMessage: &message})
		}
		r.Reply(resp)
		return
	}
	var results []metadata.DeleteTopicResult
	_, failed := b.changeMetadata(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.DeleteTopics(img, refs)
		return records
	})
	for _, result := range results {
		if result.Err == nil {
			result.Err = failed
		}
		answer := kmsg.NewDeleteTopicsResponseTopic()
		answer.Topic, answer.TopicID = result.Name, result.ID
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(result.Err)
		resp.Topics = append(resp.Topics, answer)
	}
	r.Reply(resp)
}
