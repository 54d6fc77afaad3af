package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"freshet/metadata"
	"freshet/replication/isr"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// isrChange is a leader's wish to change the ISR of a partition it leads.
// answer is called once, from any goroutine, and must not wait.
type isrChange struct {
	topicID   metadata.UUID
	partition int32
	proposal  isr.Proposal
	// epochs are the broker epochs of the proposal's members under which their
	// logs are known, -1 for one that did not say (KIP-903).
	epochs []int64
	answer func(isrAnswer)
}

// isrAnswer is what became of an isrChange. The state is set when err is nil.
type isrAnswer struct {
	err            *kerr.Error // nil: changed, or as it was wanted already
	leader         int32
	leaderEpoch    int32
	partitionEpoch int32
	isr            []int32
	recovering     bool
}

// partitionChanger asks the active controller to change ISRs: what gathers
// while one request is under way goes with the next, so that one change of the
// metadata serves many partitions (Kafka: AlterPartitionManager).
type partitionChanger struct {
	broker  *Broker
	channel *controllerChannel
	wake    chan struct{}
	asking  asking // the request under way

	mu struct {
		sync.Mutex
		queue []isrChange
	}
}

const (
	// maxISRBatch bounds the partitions of one request.
	maxISRBatch  = 10_000
	isrRetryTime = 50 * time.Millisecond
)

func newPartitionChanger(b *Broker) *partitionChanger {
	return &partitionChanger{broker: b, channel: &controllerChannel{broker: b}, wake: make(chan struct{}, 1)}
}

// alterPartition asks for changes of ISRs. It returns at once; each answer is
// called once, also when the broker stops.
func (b *Broker) alterPartition(changes ...isrChange) {
	pc := b.ctl.isr
	pc.mu.Lock()
	pc.mu.queue = append(pc.mu.queue, changes...)
	pc.mu.Unlock()
	select {
	case pc.wake <- struct{}{}:
	default:
	}
}

// run sends requests until ctx ends.
func (pc *partitionChanger) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for _, c := range pc.take() {
				c.answer(isrAnswer{err: kerr.NotController})
			}
			return
		case <-pc.wake:
		}
		for batch := pc.take(); len(batch) > 0; batch = pc.take() {
			pc.send(ctx, batch)
		}
	}
}

func (pc *partitionChanger) take() []isrChange {
	pc.mu.Lock()
	defer pc.mu.Unlock()
	n := min(len(pc.mu.queue), maxISRBatch)
	batch := pc.mu.queue[:n:n]
	pc.mu.queue = append([]isrChange(nil), pc.mu.queue[n:]...)
	return batch
}

// send asks until a controller answers or ctx ends.
func (pc *partitionChanger) send(ctx context.Context, batch []isrChange) {
	for logged := false; ; {
		answers, err := pc.try(ctx, batch)
		if err == nil {
			for i := range batch {
				batch[i].answer(answers[i])
			}
			return
		}
		if !logged {
			logged = true
			slog.Debug("ISR changes wait for the active controller", "partitions", len(batch), "error", err)
		}
		select {
		case <-time.After(isrRetryTime):
		case <-ctx.Done():
			for i := range batch {
				batch[i].answer(isrAnswer{err: kerr.NotController})
			}
			return
		}
	}
}

// try sends one request. An error means that no controller answered for all.
func (pc *partitionChanger) try(ctx context.Context, batch []isrChange) ([]isrAnswer, error) {
	b := pc.broker
	ctx, end := pc.asking.begin(ctx, b.member.requestTime())
	defer end()
	answer, err := pc.channel.ask(ctx, pc.request(batch))
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.AlterPartitionResponse)
	if resp.ErrorCode != 0 {
		return nil, fmt.Errorf("the controller answered AlterPartition with %w", kerr.ErrorForCode(resp.ErrorCode))
	}
	type key struct {
		topic     metadata.UUID
		partition int32
	}
	byKey := map[key]*kmsg.AlterPartitionResponseTopicPartition{}
	for i := range resp.Topics {
		topic := &resp.Topics[i]
		for j := range topic.Partitions {
			byKey[key{topic.TopidID, topic.Partitions[j].Partition}] = &topic.Partitions[j]
		}
	}
	answers := make([]isrAnswer, len(batch))
	for i := range batch {
		p := byKey[key{batch[i].topicID, batch[i].partition}]
		if p == nil {
			answers[i].err = kerr.UnknownServerError
			continue
		}
		answers[i] = isrAnswer{leader: p.LeaderID, leaderEpoch: p.LeaderEpoch, partitionEpoch: p.PartitionEpoch,
			isr: p.ISR, recovering: p.LeaderRecoveryState == leaderRecovering}
		if p.ErrorCode != 0 {
			answers[i].err = kerr.TypedErrorForCode(p.ErrorCode)
		}
	}
	return answers, nil
}

// leaderRecovering is the state of a leader that was elected without being
// known to hold everything (Kafka: LeaderRecoveryState.RECOVERING).
const leaderRecovering = 1

// request is the batch as one AlterPartition request.
func (pc *partitionChanger) request(batch []isrChange) *kmsg.AlterPartitionRequest {
	b := pc.broker
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version = 3
	req.BrokerID, req.BrokerEpoch = b.Config().NodeID, b.brokerEpoch()
	topics := map[metadata.UUID]int{}
	for i := range batch {
		c := &batch[i]
		at, ok := topics[c.topicID]
		if !ok {
			at = len(req.Topics)
			topics[c.topicID] = at
			req.Topics = append(req.Topics, kmsg.AlterPartitionRequestTopic{TopicID: c.topicID})
		}
		p := kmsg.NewAlterPartitionRequestTopicPartition()
		p.Partition, p.LeaderEpoch, p.PartitionEpoch = c.partition, c.proposal.LeaderEpoch, c.proposal.PartitionEpoch
		if c.proposal.Recovering {
			p.LeaderRecoveryState = leaderRecovering
		}
		for j, id := range c.proposal.ISR {
			epoch := int64(-1)
			if id == req.BrokerID {
				epoch = req.BrokerEpoch
			} else if j < len(c.epochs) {
				epoch = c.epochs[j]
			}
			p.NewEpochISR = append(p.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: epoch})
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, p)
	}
	return req
}
