package broker

import (
	"log/slog"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartition, versions 2 and 3 (KIP-497), answered by controllers: leaders
// change the ISRs of their partitions.
//
//	v3  broker epochs of the members (KIP-903)
func init() {
	registerController(controllerAPI{Key: 56, Min: 2, Max: 3, decide: decideAlterPartition, refuse: refuseAlterPartition})
}

func decideAlterPartition(b *Broker, r *Request) (kmsg.Response, error) {
	req := r.Body.(*kmsg.AlterPartitionRequest)
	alter := metadata.AlterPartitionRequest{BrokerID: req.BrokerID, BrokerEpoch: req.BrokerEpoch}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			alter.Partitions = append(alter.Partitions, partitionAlteration(req.Version, req.Topics[i].TopicID, &req.Topics[i].Partitions[j]))
		}
	}
	var results []metadata.PartitionAlterationResult
	var refused *metadata.Error
	_, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		results, records, refused = c.AlterPartition(img, alter)
		return records
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return refuseAlterPartition(req, refused), nil
	}
	resp := kmsg.NewPtrAlterPartitionResponse()
	for i := range results {
		result := &results[i]
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].TopidID != result.TopicID {
			resp.Topics = append(resp.Topics, kmsg.AlterPartitionResponseTopic{TopidID: result.TopicID})
		}
		topic := &resp.Topics[len(resp.Topics)-1]
		p := kmsg.NewAlterPartitionResponseTopicPartition()
		p.Partition, p.ErrorCode = result.Partition, int16(result.Code)
		if result.Code == 0 {
			state := result.State
			p.LeaderID, p.LeaderEpoch, p.ISR, p.PartitionEpoch = state.Leader, state.LeaderEpoch, state.ISR, state.PartitionEpoch
			if state.Recovering {
				p.LeaderRecoveryState = leaderRecovering
			}
		} else {
			slog.Debug("ISR change refused", "broker", req.BrokerID, "topic", result.TopicID, "partition", result.Partition, "code", result.Code, "reason", result.Reason)
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	return resp, nil
}

func partitionAlteration(version int16, topicID [16]byte, p *kmsg.AlterPartitionRequestTopicPartition) metadata.PartitionAlteration {
	a := metadata.PartitionAlteration{TopicID: topicID, Partition: p.Partition, LeaderEpoch: p.LeaderEpoch,
		PartitionEpoch: p.PartitionEpoch, Recovering: p.LeaderRecoveryState == leaderRecovering}
	if version < 3 {
		for _, id := range p.NewISR {
			a.NewISR = append(a.NewISR, metadata.ISRMember{Broker: id, Epoch: metadata.AnyEpoch})
		}
		return a
	}
	for _, m := range p.NewEpochISR {
		a.NewISR = append(a.NewISR, metadata.ISRMember{Broker: m.BrokerID, Epoch: max(m.BrokerEpoch, -1)})
	}
	return a
}

func refuseAlterPartition(_ kmsg.Request, err *metadata.Error) kmsg.Response {
	resp := kmsg.NewPtrAlterPartitionResponse()
	resp.ErrorCode = int16(err.Code)
	return resp
}
