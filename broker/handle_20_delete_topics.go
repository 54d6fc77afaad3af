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
	registerController(controllerAPI{Key: 20, Min: 1, Max: 6, decide: decideDeleteTopics, refuse: refuseDeleteTopics, clients: true})
}

func topicsToDelete(req *kmsg.DeleteTopicsRequest) (refs []metadata.TopicRef) {
	for i := range req.TopicNames {
		refs = append(refs, metadata.TopicRef{Name: &req.TopicNames[i]})
	}
	for _, topic := range req.Topics {
		refs = append(refs, metadata.TopicRef{Name: topic.Topic, ID: topic.TopicID})
	}
	return refs
}

func decideDeleteTopics(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.DeleteTopicsRequest)
	refs := topicsToDelete(req)
	resp := kmsg.NewPtrDeleteTopicsResponse()
	if !b.Config().DeleteTopicEnable {
		code, message := kerr.TopicDeletionDisabled.Code, kerr.TopicDeletionDisabled.Description
		if req.Version < 3 {
			code, message = kerr.InvalidRequest.Code, "Topic deletion is disabled."
		}
		return refuseDeleteTopics(req, &metadata.Error{Code: metadata.Code(code), Message: message}), nil
	}
	var results []metadata.DeleteTopicResult
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records = c.DeleteTopics(img, refs)
		return records
	})
	if err != nil {
		return nil, err
	}
	for _, result := range results {
		answer := kmsg.NewDeleteTopicsResponseTopic()
		answer.Topic, answer.TopicID = result.Name, result.ID
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(result.Err)
		resp.Topics = append(resp.Topics, answer)
	}
	return resp, nil
}

func refuseDeleteTopics(req kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for _, ref := range topicsToDelete(req.(*kmsg.DeleteTopicsRequest)) {
		answer := kmsg.NewDeleteTopicsResponseTopic()
		answer.Topic, answer.TopicID = ref.Name, ref.ID
		answer.ErrorCode, answer.ErrorMessage = codeAndMessage(err)
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}
