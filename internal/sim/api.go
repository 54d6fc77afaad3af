package sim

import (
	"errors"

	"freshet/storage"
)

// listen opens the node's services.
func (b *broker) listen() {
	h := b.node.host
	for _, n := range b.node.world.nodes {
		b.controllers = append(b.controllers, newRPC(b.node.world.net, b.proc, h, n.host, serviceClient))
		b.controllers[len(b.controllers)-1].timeout = requestTimeoutMs * millisecond
		b.controllers[len(b.controllers)-1].hold = b.node.hold
	}
	h.listen[serviceClient] = b.acceptClient
	h.listen[serviceReplication] = b.acceptStream
	h.listen[serviceQuorum] = b.acceptQuorum
}

func (b *broker) acceptClient(s *side) {
	b.hold(s)
	var slots []*slot // answers to a producer leave in the order of its requests
	s.receive = func(m any) {
		c := m.(call)
		if _, produces := c.body.(produceRequest); !produces {
			b.serve(c.body, func(body any, bytes int) { s.send(answer{c.id, body}, bytes) })
			return
		}
		own := &slot{}
		slots = append(slots, own)
		b.serve(c.body, func(body any, bytes int) {
			own.answer, own.bytes, own.done = answer{c.id, body}, bytes, true
			for len(slots) > 0 && slots[0].done {
				s.send(slots[0].answer, slots[0].bytes)
				slots = slots[1:]
			}
		})
	}
}

// slot is an answer that waits for those before it.
type slot struct {
	answer answer
	bytes  int
	done   bool
}

// serve answers one request.
func (b *broker) serve(body any, reply func(body any, bytes int)) {
	switch r := body.(type) {
	case produceRequest:
		b.produce(r, reply)
	case fetchRequest:
		b.fetch(r, reply)
	case metadataRequest:
		reply(b.metadata(), 200)
	case groupRequest:
		b.group(r, reply)
	default:
		b.atController(body, func(a any) { reply(a, 100) })
	}
}

func (b *broker) metadata() metadataResponse {
	m := metadataResponse{leaders: map[topicPartition]leadership{}}
	for _, topic := range b.image().SortedTopics() {
		for i, p := range topic.Partitions {
			m.leaders[topicPartition{topic.Name, int32(i)}] = leadership{p.Leader, p.LeaderEpoch}
		}
	}
	return m
}

func (b *broker) produce(r produceRequest, reply func(body any, bytes int)) {
	rep := b.replica(r.at)
	if rep == nil {
		reply(produceResponse{code: codeUnknownTopicOrPartition}, 20)
		return
	}
	batch := append([]byte(nil), r.batch...)
	rep.produce(batch, r.acks, r.timeoutMs, storage.OriginClient, func(base int64, err error) {
		reply(produceResponse{code: produceCode(err), baseOffset: base}, 20)
	})
}

// produceCode maps storage's errors as broker/handle_00_produce.go does.
func produceCode(err error) int16 {
	for _, c := range []struct {
		err  error
		code int16
	}{
		{nil, codeNone},
		{errNoLeader, codeNotLeaderOrFollower},
		{errTimedOut, codeRequestTimedOut},
		{errTooFewISR, codeNotEnoughReplicas},
		{errBadRecords, codeCorruptMessage},
		{storage.ErrFencedLeaderEpoch, codeNotLeaderOrFollower},
		{storage.ErrOutOfOrderSequence, codeOutOfOrderSequence},
		{storage.ErrInvalidProducerEpoch, codeInvalidProducerEpoch},
		{storage.ErrCorruptBatch, codeCorruptMessage},
	} {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return codeKafkaStorageError
}

// reserveCode is what a follower answers when the log does not take records.
func reserveCode(err error) int16 {
	switch {
	case errors.Is(err, storage.ErrUnexpectedAppendOffset):
		return codeOffsetOutOfRange
	case errors.Is(err, storage.ErrFencedLeaderEpoch):
		return codeFencedLeaderEpoch
	}
	return codeKafkaStorageError
}

func (b *broker) fetch(r fetchRequest, reply func(body any, bytes int)) {
	rep := b.replica(r.at)
	switch {
	case rep == nil:
		reply(fetchResponse{code: codeUnknownTopicOrPartition}, 20)
		return
	case !rep.part.Role().Leads:
		reply(fetchResponse{code: codeNotLeaderOrFollower}, 20)
		return
	}
	switch role := rep.part.Role(); {
	case r.epoch < role.LeaderEpoch:
		reply(fetchResponse{code: codeFencedLeaderEpoch}, 20)
		return
	case r.epoch > role.LeaderEpoch:
		reply(fetchResponse{code: codeUnknownLeaderEpoch}, 20)
		return
	}
	hw := rep.log.HighWatermark()
	var res storage.ReadResult
	if err := rep.log.Read(r.offset, r.maxBytes, hw, true, &res); err != nil {
		code := codeKafkaStorageError
		if errors.Is(err, storage.ErrOffsetOutOfRange) {
			code = codeOffsetOutOfRange
		}
		reply(fetchResponse{code: code, highWatermark: hw, logStartOffset: rep.log.LogStartOffset()}, 20)
		return
	}
	// sendfile reads the file when the socket takes it, not now.
	region := res
	b.proc.after(Time(b.node.world.rng.net.IntN(3000))*microsecond, func() {
		sent, err := b.node.disk.lend(&region)
		if err != nil {
			b.node.world.fail("(g) the file range of a fetch of %s at offset %d is gone before it was sent: %v", r.at, r.offset, err)
			return
		}
		reply(fetchResponse{highWatermark: hw, logStartOffset: region.LogStartOffset, data: sent.want, sent: sent}, len(sent.want)+40)
	})
}
