package group

import (
	"context"
	"fmt"
	"runtime/debug"
	"runtime/pprof"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/record"
)

type shardState uint8

const (
	notOwned shardState = iota
	loading
	active
)

// shard runs the Machine of one partition.
//
// mu orders the events of the partition and guards every field; it is the only
// lock here and is never held while anything outside is called (a reply, an
// append, a log line). So that effects still happen in the order of the
// events, they go through outbox: whoever finds nobody draining it performs
// what is in there, and what others add meanwhile. An append that completes
// inside the call, and a reply that submits the next request, only add.
type shard struct {
	coordinator *Coordinator
	partition   int32

	mu      sync.Mutex
	state   shardState
	term    uint64 // counts changes of ownership; a load of an older term is dropped
	machine *Machine

	lastToken Token
	requests  map[Token]waitingRequest

	timerAt   int64
	stopTimer func()

	outbox   []action
	spare    []action
	draining bool
}

// waitingRequest is a request that the Machine has not answered yet.
type waitingRequest struct {
	body  kmsg.Request
	reply func(kmsg.Response)
}

// action is one effect with what is needed to perform it.
type action struct {
	machine *Machine
	effect  Effect
	reply   func(kmsg.Response)
}

// submit hands a request to the partition's Machine.
func (s *shard) submit(r Request, reply func(kmsg.Response)) {
	s.mu.Lock()
	if s.state != active {
		code := notCoordinator
		if s.state == loading {
			code = coordinatorLoading
		}
		s.mu.Unlock()
		reply(ErrorResponse(r.Body, code))
		return
	}
	s.lastToken++
	r.Token = s.lastToken
	s.requests[r.Token] = waitingRequest{body: r.Body, reply: reply}
	s.stepLocked(r)
	s.drainAndUnlock()
}

// event hands over what is not a request; a partition that is not active
// needs none of it.
func (s *shard) event(ev Event) {
	s.mu.Lock()
	if s.state == active {
		s.stepLocked(ev)
	}
	s.drainAndUnlock()
}

// fromMachine is event for what belongs to one Machine's life.
func (s *shard) fromMachine(m *Machine, ev Event) {
	s.mu.Lock()
	if s.machine == m {
		if _, ok := ev.(Tick); ok {
			s.timerAt = noDeadline
		}
		s.stepLocked(ev)
	}
	s.drainAndUnlock()
}

func (s *shard) stepLocked(ev Event) {
	defer s.reloadOnPanicLocked()
	now := s.coordinator.clock.NowMs()
	for _, e := range s.machine.Step(now, ev) {
		a := action{machine: s.machine, effect: e}
		if e.Kind == Reply {
			r, ok := s.requests[e.Token]
			if !ok {
				panic(fmt.Sprintf("BUG: request %d of %s-%d is answered twice", e.Token, OffsetsTopic, s.partition))
			}
			delete(s.requests, e.Token)
			a.reply = r.reply
		}
		s.outbox = append(s.outbox, a)
	}
	s.armTimerLocked(now)
}

// reloadOnPanicLocked contains a broken invariant: the log is the truth, so
// the Machine is thrown away, what it held is refused, and the partition is
// loaded again. Appends of the old Machine that are under way are ignored when
// they complete; the load reads them.
func (s *shard) reloadOnPanicLocked() {
	p := recover()
	if p == nil {
		return
	}
	s.coordinator.log.Error("BUG: the group coordinator's state is broken; its partition is loaded again",
		"topic", OffsetsTopic, "partition", s.partition, "panic", p, "stack", string(debug.Stack()))
	for _, token := range sortedKeys(s.requests) {
		r := s.requests[token]
		s.outbox = append(s.outbox, action{
			effect: Effect{Kind: Reply, Response: ErrorResponse(r.body, notCoordinator)}, reply: r.reply,
		})
	}
	s.dropMachineLocked()
	s.startLoadLocked()
}

// dropMachineLocked ends the shard's ownership.
func (s *shard) dropMachineLocked() {
	if s.stopTimer != nil {
		s.stopTimer()
		s.stopTimer = nil
	}
	s.timerAt = noDeadline
	s.machine, s.requests = nil, nil
	s.state = notOwned
	s.term++
}

// armTimerLocked sees to it that a Tick comes by the Machine's next deadline.
// A timer that is set for earlier stays: a Tick too many does no harm.
func (s *shard) armTimerLocked(now int64) {
	next := s.machine.NextDeadline()
	if next >= s.timerAt {
		return
	}
	if s.stopTimer != nil {
		s.stopTimer()
	}
	m := s.machine
	s.timerAt = next
	s.stopTimer = s.coordinator.clock.AfterFunc(max(next-now, 0), func() { s.fromMachine(m, Tick{}) })
}

// drainAndUnlock performs what the outbox holds, unless another goroutine is
// at it, and releases mu.
func (s *shard) drainAndUnlock() {
	if s.draining {
		s.mu.Unlock()
		return
	}
	s.draining = true
	for len(s.outbox) > 0 {
		batch := s.outbox
		s.outbox = s.spare[:0]
		s.mu.Unlock()
		for i := range batch {
			s.perform(&batch[i])
		}
		s.mu.Lock()
		clear(batch)
		s.spare = batch[:0]
	}
	s.draining = false
	s.mu.Unlock()
}

func (s *shard) perform(a *action) {
	switch a.effect.Kind {
	case Reply:
		a.reply(a.effect.Response)
	case Append:
		s.append(a.machine, &a.effect)
	case Log:
		s.coordinator.log.Info(a.effect.Text, "topic", OffsetsTopic, "partition", s.partition)
	}
}

func (s *shard) becomeLeader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == notOwned {
		s.startLoadLocked()
	}
}

func (s *shard) startLoadLocked() {
	c := s.coordinator
	if c.closed.Load() {
		return
	}
	s.state = loading
	s.term++
	term := s.term
	c.loads.Go(func() {
		pprof.Do(context.Background(), pprof.Labels("loop", "group-load"), func(context.Context) {
			c.loadSlots <- struct{}{}
			defer func() { <-c.loadSlots }()
			s.load(term)
		})
	})
}

func (s *shard) resign() {
	s.mu.Lock()
	if s.state == active {
		s.stepLocked(Unload{})
	}
	s.dropMachineLocked()
	s.drainAndUnlock()
}

func (s *shard) isTerm(term uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term == term
}

// load replays the partition's log into a new Machine and makes it active.
func (s *shard) load(term uint64) {
	c := s.coordinator
	m := NewMachine(c.cfg)
	loader := loader{machine: m}
	err := c.reader.ReadLog(s.partition, func(batch record.Batch) error {
		if !s.isTerm(term) {
			return errResigned
		}
		return loader.batch(batch)
	})
	if err == nil && loader.records > 0 {
		c.log.Info("group coordinator loaded", "topic", OffsetsTopic, "partition", s.partition,
			"records", loader.records, "groups", len(m.groups), "skipped_newer_record_types", loader.skipped)
	}

	s.mu.Lock()
	if s.term != term {
		s.mu.Unlock()
		return
	}
	if err != nil {
		s.state = notOwned
		s.term++
		s.mu.Unlock()
		c.log.Error("cannot load a partition of the group coordinator; its groups answer NOT_COORDINATOR: repair or move the partition, then restart",
			"topic", OffsetsTopic, "partition", s.partition, "error", err)
		return
	}
	s.machine = m
	s.requests = map[Token]waitingRequest{}
	s.state = active
	s.stepLocked(Loaded{})
	s.drainAndUnlock()
}
