package sim

import (
	"fmt"

	"freshet/metadata"
)

// What brokers ask of the active controller, and its answers.
type (
	registration       struct{ r metadata.Registration }
	registrationAnswer struct {
		code  int16
		epoch int64
	}
	heartbeat struct {
		r    metadata.HeartbeatRequest
		logs []metadata.ReplicaLog // of partitions without a leader
	}
	heartbeatAnswer struct {
		code  int16
		reply metadata.HeartbeatReply
	}
	alterPartition struct {
		leader     int32
		epoch      int64 // of the leader's registration
		alteration metadata.PartitionAlteration
	}
	alterPartitionAnswer struct {
		code                        int16
		leaderEpoch, partitionEpoch int32
		isr                         []int32
	}
	createTopics struct{ topics []metadata.NewTopic }
	createAnswer struct{ code int16 }
)

// controllerState is the soft state of the active controller.
type controllerState struct {
	live       *metadata.Liveness
	recoveries *metadata.Recoveries
	active     bool
	term       int // counts activations
}

// decisions is the controller's decider, the same on every node.
func (b *broker) decisions() *metadata.Controller {
	return &metadata.Controller{
		Config: anyConfig{}, NumPartitions: 1, ReplicationFactor: int16(b.node.world.plan.replicas),
		MinInsyncReplicas: int32(b.node.world.plan.minInsync), NewID: metadata.RandomUUID,
	}
}

// anyConfig takes every configuration: the simulator sets none.
type anyConfig struct{}

func (anyConfig) ValidateTopic(map[string]string) error               { return nil }
func (anyConfig) ValidateDynamicBroker(map[string]string, bool) error { return nil }
func (anyConfig) ListDefault(bool, string) (string, bool)             { return "", false }

// becomeController begins to lead the cluster: this member's image has
// everything that was committed before its epoch.
func (b *broker) becomeController() {
	c := &b.control
	c.active = true
	c.term++
	if c.live == nil {
		c.live = metadata.NewLiveness(sessionTimeoutMs, disconnectGraceMs)
	}
	c.recoveries = metadata.NewRecoveries(uncleanRecoveryMs)
	var down []int32
	for _, n := range b.node.world.nodes {
		if n != b.node && !b.quorum.connected(n) {
			down = append(down, n.id)
		}
	}
	b.tracef("is the active controller; not connected: %v", down)
	now := b.monotonicMs()
	c.live.Activate(b.image(), now, down)
	former, silentMs := b.quorum.core.Former(now)
	c.live.Silent(former, now-silentMs, now)
	b.watchLiveness(c.term)
}

func (b *broker) resignController() {
	if b.control.active {
		b.tracef("is the active controller no more")
	}
	b.control.active = false
}

// peerDown hears that the last connection of a member broke.
func (b *broker) peerDown(id int32) {
	if b.control.active {
		b.control.live.Disconnected(id, b.monotonicMs())
	}
}

// watchLiveness fences who is not heard of.
func (b *broker) watchLiveness(term int) {
	c := &b.control
	if !c.active || c.term != term {
		return
	}
	if dead := c.live.Tick(b.image(), b.monotonicMs()); len(dead) > 0 {
		b.quorum.change(func(img *metadata.Image) []metadata.Record {
			return b.decisions().FenceBroker(img, dead...)
		}, func(_ *metadata.Image, err error) {
			if err == nil {
				b.tracef("has fenced %v", dead)
			}
		})
	}
	b.recoverLeaders()
	b.proc.after(50*millisecond, func() { b.watchLiveness(term) })
}

// control carries a request out if this node is the active controller, and
// answers through reply.
func (b *broker) atController(body any, reply func(any)) {
	switch r := body.(type) {
	case registration:
		b.register(r, reply)
	case heartbeat:
		b.heartbeat(r, reply)
	case alterPartition:
		b.alterPartition(r, reply)
	case createTopics:
		b.createTopics(r, reply)
	default:
		panic(fmt.Sprintf("BUG: sim: %T is no request to the controller", body))
	}
}

func (b *broker) register(req registration, reply func(any)) {
	var refused *metadata.Error
	b.quorum.change(func(img *metadata.Image) []metadata.Record {
		r := req.r
		r.PredecessorGone = b.control.live != nil && b.control.live.Overdue(r.BrokerID, b.monotonicMs())
		var records []metadata.Record
		records, refused = b.decisions().RegisterBroker(img, r)
		return records
	}, func(img *metadata.Image, err error) {
		if code := answerCode(refused, err); code != codeNone {
			reply(registrationAnswer{code: code})
			return
		}
		reply(registrationAnswer{epoch: img.BrokerEpoch(req.r.BrokerID)})
	})
}

func (b *broker) heartbeat(req heartbeat, reply func(any)) {
	if !b.control.active {
		reply(heartbeatAnswer{code: codeNotController})
		return
	}
	r := req.r
	b.control.live.Heartbeat(r.BrokerID, r.BrokerEpoch, r.CurrentMetadataOffset, b.monotonicMs())
	r.LowestActiveOffset = b.control.live.LowestActiveOffset(b.image())
	var answer metadata.HeartbeatReply
	var refused *metadata.Error
	b.quorum.change(func(img *metadata.Image) []metadata.Record {
		var records []metadata.Record
		answer, records, refused = b.decisions().Heartbeat(img, r)
		return records
	}, func(img *metadata.Image, err error) {
		if err == nil && refused == nil {
			b.control.recoveries.Report(img, r.BrokerID, r.BrokerEpoch, req.logs)
		}
		reply(heartbeatAnswer{code: answerCode(refused, err), reply: answer})
	})
}

func (b *broker) alterPartition(req alterPartition, reply func(any)) {
	var result metadata.PartitionAlterationResult
	var refused *metadata.Error
	b.quorum.change(func(img *metadata.Image) []metadata.Record {
		results, records, err := b.decisions().AlterPartition(img, metadata.AlterPartitionRequest{
			BrokerID: req.leader, BrokerEpoch: req.epoch, Partitions: []metadata.PartitionAlteration{req.alteration},
		})
		if refused = err; err == nil {
			result = results[0]
		}
		return records
	}, func(_ *metadata.Image, err error) {
		a := alterPartitionAnswer{code: answerCode(refused, err)}
		if a.code == codeNone {
			a.code = int16(result.Code)
		}
		if a.code == codeNone {
			a.leaderEpoch, a.partitionEpoch, a.isr = result.State.LeaderEpoch, result.State.PartitionEpoch, result.State.ISR
		}
		reply(a)
	})
}

func (b *broker) createTopics(req createTopics, reply func(any)) {
	b.quorum.change(func(img *metadata.Image) []metadata.Record {
		_, records := b.decisions().CreateTopics(img, req.topics, false)
		return records
	}, func(_ *metadata.Image, err error) { reply(createAnswer{code: answerCode(nil, err)}) })
}

// answerCode is the error code of an answer.
func answerCode(refused *metadata.Error, err error) int16 {
	switch {
	case err != nil:
		return codeNotController
	case refused != nil:
		return int16(refused.Code)
	}
	return codeNone
}

// ask sends a request to the active controller, wherever that is; done hears
// nil when there is no answer.
func (b *broker) ask(body any, done func(any)) {
	id := b.quorum.core.Leader().ID
	switch {
	case id < 0:
		b.proc.after(20*millisecond, func() { done(nil) })
	case id == b.node.id:
		b.proc.defers(func() { b.atController(body, done) })
	default:
		b.controllers[id-firstNode].call(body, 100, done)
	}
}

// asks reports whether this broker asks a controller on a connection.
func (b *broker) asks(s *side) bool {
	for _, r := range b.controllers {
		if r.side == s {
			return true
		}
	}
	return false
}
