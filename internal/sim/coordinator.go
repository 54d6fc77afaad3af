package sim

import (
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/coordinator/group"
	"freshet/record"
	"freshet/storage"
)

// groupRequest is a request to the coordinator of a group; the answer is a
// kmsg.Response, or an error code where there is no coordinator.
type groupRequest struct {
	groupID string
	body    kmsg.Request
}

type groupRefusal struct{ code int16 }

// groupShard runs the Machine of one partition of __consumer_offsets: what
// group.shard and the broker's coordinatorLog do.
type groupShard struct {
	b         *broker
	partition int32
	term      int // counts changes of ownership
	machine   *group.Machine
	token     group.Token
	requests  map[group.Token]func(body any, bytes int)
	timerAt   int64
}

func groupConfig() group.Config {
	c := group.DefaultConfig()
	c.Partitions = offsetPartitions
	c.MinSessionTimeoutMs = 100
	c.InitialRebalanceDelayMs = 50
	return c
}

func (b *broker) openCoordinators() {
	for i := range offsetPartitions {
		b.coord = append(b.coord, &groupShard{b: b, partition: int32(i), timerAt: math.MaxInt64})
	}
}

// becomeLeader loads the partition's log into a new Machine.
func (s *groupShard) becomeLeader(epoch int32) {
	s.drop()
	term := s.term
	s.b.proc.after(Time(s.b.node.world.rng.node.IntN(2000))*microsecond, func() {
		if s.term == term {
			s.load(epoch)
		}
	})
}

func (s *groupShard) load(epoch int32) {
	r := s.b.replica(topicPartition{offsetTopic, s.partition})
	m := group.NewMachine(groupConfig())
	records := 0
	data, err := r.bytesBelow(r.log.LogEndOffset())
	if err == nil {
		err = eachBatch(data, func(batch record.Batch) error {
			it, err := record.NewIterator(batch, 0)
			if err != nil {
				return err
			}
			defer it.Close()
			for it.Next() {
				rec := it.Record()
				if _, err := m.Replay(rec.Offset, -1, group.Record{Key: rec.Key, Value: rec.Value}); err != nil {
					return err
				}
				records++
			}
			return it.Err()
		})
	}
	if err != nil {
		s.b.node.world.fail("(g) the coordinator of %s cannot load its log at %s: %v", r.at, s.b.node, err)
		return
	}
	s.b.tracef("%s: coordinator loaded %d records at epoch %d", r.at, records, epoch)
	s.machine, s.requests = m, map[group.Token]func(any, int){}
	s.step(group.Loaded{})
}

// resign gives the partition up: requests that wait are answered.
func (s *groupShard) resign() {
	if s.machine != nil {
		s.step(group.Unload{})
	}
	s.drop()
}

func (s *groupShard) drop() {
	s.machine, s.requests = nil, nil
	s.timerAt = math.MaxInt64
	s.term++
}

// step gives the Machine an event and carries out its effects.
func (s *groupShard) step(ev group.Event) {
	m := s.machine
	effects := append([]group.Effect(nil), m.Step(s.b.monotonicMs(), ev)...)
	for i := range effects {
		e := &effects[i]
		switch e.Kind {
		case group.Reply:
			reply := s.requests[e.Token]
			delete(s.requests, e.Token)
			reply(e.Response, 100)
		case group.Append:
			s.append(m, e)
		}
	}
	if s.machine == m {
		s.arm(m)
	}
}

// append writes records of the Machine as one batch and reports when they are
// committed.
func (s *groupShard) append(m *group.Machine, e *group.Effect) {
	var builder record.Builder
	builder.Reset(nil, record.DefaultBuilderOptions())
	for i := range e.Records {
		builder.Append(s.b.wallMs(), e.Records[i].Key, e.Records[i].Value)
	}
	batch, err := builder.Finish()
	if err != nil {
		panic(fmt.Sprintf("BUG: sim: cannot build a batch of group records: %v", err))
	}
	id := e.ID
	r := s.b.replica(topicPartition{offsetTopic, s.partition})
	r.produce(batch, acksAll, 1500, storage.OriginCoordinator, func(_ int64, err error) {
		s.b.proc.defers(func() {
			if s.machine == m {
				s.step(group.Appended{ID: id, Err: err})
			}
		})
	})
}

func (s *groupShard) arm(m *group.Machine) {
	next := m.NextDeadline()
	if next >= s.timerAt {
		return
	}
	s.timerAt = next
	s.b.proc.after(Time(max(next-s.b.monotonicMs(), 0))*millisecond, func() {
		if s.machine == m && s.timerAt == next {
			s.timerAt = math.MaxInt64
			s.step(group.Tick{})
		}
	})
}

// group answers a group's request.
func (b *broker) group(r groupRequest, reply func(body any, bytes int)) {
	s := b.coord[group.PartitionFor(r.groupID, offsetPartitions)]
	rep := b.replica(topicPartition{offsetTopic, s.partition})
	switch {
	case rep == nil || !rep.part.Role().Leads || b.leaseLapsed():
		reply(groupRefusal{codeNotCoordinator}, 20)
		return
	case s.machine == nil:
		reply(groupRefusal{codeCoordinatorLoading}, 20)
		return
	}
	s.request(r.body, reply)
}

func (s *groupShard) request(body kmsg.Request, reply func(body any, bytes int)) {
	s.token++
	s.requests[s.token] = reply
	s.step(group.Request{Token: s.token, Body: body, ClientID: "sim", ClientHost: "/127.0.0.1"})
}
