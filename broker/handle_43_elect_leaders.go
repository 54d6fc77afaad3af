package broker

import (
	"log/slog"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders, versions 0 to 2 (KIP-183).
//
//	v1  unclean elections (KIP-460)
//	v2  flexible
func init() {
	registerController(controllerAPI{Key: 43, Min: 0, Max: 2, decide: decideElectLeaders, refuse: refuseElectLeaders, clients: true})
}

func decideElectLeaders(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	kind := metadata.ElectPreferred
	if req.Version >= 1 {
		kind = metadata.ElectionType(req.ElectionType)
	}
	var partitions []metadata.TopicPartition
	if req.Topics != nil {
		partitions = []metadata.TopicPartition{}
	}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			partitions = append(partitions, metadata.TopicPartition{Topic: topic.Topic, Partition: p})
		}
	}
	var results []metadata.ElectionResult
	var refused *metadata.Error
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records, refused = c.ElectLeaders(img, kind, partitions)
		return records
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return refuseElectLeaders(req, refused), nil
	}
	slog.Info("leaders elected on request", "partitions", len(results), "from", r.ClientHost)
	resp := kmsg.NewPtrElectLeadersResponse()
	at := map[string]int{}
	for i := range results {
		result := &results[i]
		n, ok := at[result.Topic]
		if !ok {
			n = len(resp.Topics)
			at[result.Topic] = n
			resp.Topics = append(resp.Topics, kmsg.ElectLeadersResponseTopic{Topic: result.Topic})
		}
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition = result.Partition
		p.ErrorCode, p.ErrorMessage = codeAndMessage(result.Err)
		resp.Topics[n].Partitions = append(resp.Topics[n].Partitions, p)
	}
	return resp, nil
}

// refuseElectLeaders refuses as a whole, or in version 0, which has no error
// for that, each partition.
func refuseElectLeaders(req kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.ErrorCode = int16(err.Code)
	for _, topic := range req.(*kmsg.ElectLeadersRequest).Topics {
		answer := kmsg.ElectLeadersResponseTopic{Topic: topic.Topic}
		for _, index := range topic.Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = index
			p.ErrorCode, p.ErrorMessage = codeAndMessage(err)
			answer.Partitions = append(answer.Partitions, p)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}
