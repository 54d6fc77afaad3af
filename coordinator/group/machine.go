package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Token names one request, so that its one answer finds the way back. The
// caller makes them up; zero names no request.
type Token uint64

// Event is what a Machine can be told: Request, Appended, TopicsDeleted, Tick,
// Loaded or Unload.
type Event interface{ isEvent() }

// Request is one client request. Body is one of
//
//	JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetDelete
//	OffsetFetch      in the form of version 8 and up (Groups)
//	DescribeGroups, ListGroups, DeleteGroups
//
// with its version set; group ids and session timeouts are already checked
// against the configuration, and every group it names belongs to this Machine.
// Strings of Body may be kept; its byte slices are copied where they are.
type Request struct {
	Token Token
	Body  kmsg.Request
	// ClientID and ClientHost describe a joining member.
	ClientID, ClientHost string
	// UUID is the random part of a member id, used by a JoinGroup without one.
	UUID string
}

// Appended is the outcome of the Append effect with the same ID. Err is nil
// when the records are committed, else nothing of them is in the log.
type Appended struct {
	ID  uint64
	Err error
}

// DeletedTopic is a topic that no longer exists.
type DeletedTopic struct {
	Name string
	ID   [16]byte
}

// TopicsDeleted drops the offsets of deleted topics.
type TopicsDeleted struct{ Topics []DeletedTopic }

// Tick does nothing but let due timers fire, as every event does after its own
// work: a heartbeat that arrives late is still in time if it arrives first.
type Tick struct{}

// Loaded ends the replay: the Machine now serves requests, and loaded members
// have one session timeout to show up.
type Loaded struct{}

// Unload ends the Machine: the partition has another leader. Every request it
// still holds is answered with NOT_COORDINATOR, and later events do nothing.
type Unload struct{}

func (Request) isEvent()       {}
func (Appended) isEvent()      {}
func (TopicsDeleted) isEvent() {}
func (Tick) isEvent()          {}
func (Loaded) isEvent()        {}
func (Unload) isEvent()        {}

// EffectKind says which fields of an Effect are set.
type EffectKind uint8

// The kinds of effects.
const (
	Reply  EffectKind = iota // answer Token with Response
	Append                   // append Records, then report Appended with ID
	Log                      // tell the operator Text
)

// Effect is something the shell must do, in the order given.
type Effect struct {
	Kind EffectKind

	Token    Token
	Response kmsg.Response // its version is not set

	ID      uint64
	Records []Record
	// Atomic: the records must go in one batch.
	Atomic bool

	Text string
}

// Machine is the coordinator of the groups of one __consumer_offsets
// partition. It is for one goroutine at a time.
type Machine struct {
	cfg     Config
	now     int64
	groups  map[string]*group
	offsets map[string]*groupOffsets
	// pendingTxn has offsets of open transactions by producer id.
	pendingTxn map[int64][]txnOffset
	timers     timers
	expiry     timer

	appends      map[uint64]*inflight
	lastAppendID uint64
	// waiting has OffsetFetch requests with requireStable that came while
	// commits of their groups were in flight.
	waiting []waitingFetch

	effects  []Effect
	unloaded bool
}

// inflight is an append that has not been reported yet.
type inflight struct {
	id      uint64
	offsets []offsetChange
	done    func(code int16)
}

// NewMachine returns a Machine with no groups, ready for Replay.
func NewMachine(cfg Config) *Machine {
	return &Machine{
		cfg:        cfg,
		groups:     map[string]*group{},
		offsets:    map[string]*groupOffsets{},
		pendingTxn: map[int64][]txnOffset{},
		appends:    map[uint64]*inflight{},
		expiry:     timer{kind: offsetExpiry, index: -1},
	}
}

// Step takes one event at time now (ms, never going back) and returns what
// follows from it. The slice is valid until the next Step.
func (m *Machine) Step(now int64, ev Event) []Effect {
	clear(m.effects)
	m.effects = m.effects[:0]
	m.now = max(m.now, now)
	if m.unloaded {
		if r, ok := ev.(Request); ok {
			m.reply(r.Token, ErrorResponse(r.Body, notCoordinator))
		}
		return m.effects
	}
	switch ev := ev.(type) {
	case Request:
		m.request(ev)
	case Appended:
		m.appended(ev)
	case TopicsDeleted:
		m.topicsDeleted(ev.Topics)
	case Tick: // every event is one
	case Loaded:
		m.loaded()
	case Unload:
		m.unload()
	default:
		panic(fmt.Sprintf("BUG: unknown event %T", ev))
	}
	m.tick()
	return m.effects
}

// NextDeadline is the time (ms) at which the Machine wants a Tick, or
// math.MaxInt64. It may be earlier than the first timer, never later.
func (m *Machine) NextDeadline() int64 { return m.timers.next() }

func (m *Machine) request(r Request) {
	switch body := r.Body.(type) {
	case *kmsg.JoinGroupRequest:
		m.joinGroup(r, body)
	case *kmsg.SyncGroupRequest:
		m.syncGroup(r, body)
	case *kmsg.HeartbeatRequest:
		m.heartbeat(r, body)
	case *kmsg.LeaveGroupRequest:
		m.leaveGroup(r, body)
	case *kmsg.OffsetCommitRequest:
		m.offsetCommit(r, body)
	case *kmsg.OffsetFetchRequest:
		m.offsetFetch(r.Token, body)
	case *kmsg.OffsetDeleteRequest:
		m.offsetDelete(r, body)
	case *kmsg.DescribeGroupsRequest:
		m.reply(r.Token, m.describeGroups(body))
	case *kmsg.ListGroupsRequest:
		m.reply(r.Token, m.listGroups(body))
	case *kmsg.DeleteGroupsRequest:
		m.deleteGroups(r, body)
	default:
		panic(fmt.Sprintf("BUG: the group coordinator got a %T", body))
	}
}

func (m *Machine) reply(token Token, resp kmsg.Response) {
	m.effects = append(m.effects, Effect{Kind: Reply, Token: token, Response: resp})
}

func (m *Machine) logf(format string, args ...any) {
	m.effects = append(m.effects, Effect{Kind: Log, Text: fmt.Sprintf(format, args...)})
}

// append hands records to the log: the offset changes first, then the others.
// Offset changes take effect when the append completes; done is called after
// that with none or the error code for clients.
func (m *Machine) append(changes []offsetChange, records []Record, atomic bool, done func(code int16)) {
	m.lastAppendID++
	p := &inflight{id: m.lastAppendID, offsets: changes, done: done}
	m.appends[p.id] = p
	all := make([]Record, 0, len(changes)+len(records))
	for i := range changes {
		c := &changes[i]
		m.begin(c)
		all = append(all, offsetRecord(c.group, c.topic, c.partition, c.value))
	}
	all = append(all, records...)
	m.effects = append(m.effects, Effect{Kind: Append, ID: p.id, Records: all, Atomic: atomic})
}

func (m *Machine) appended(ev Appended) {
	p := m.appends[ev.ID]
	if p == nil {
		return
	}
	delete(m.appends, ev.ID)
	m.finish(p, appendErrorCode(ev.Err))
	m.wakeFetches()
}

func (m *Machine) finish(p *inflight, code int16) {
	for i := range p.offsets {
		m.settle(&p.offsets[i], p.id, code == none)
	}
	if p.done != nil {
		p.done(code)
	}
}

func (m *Machine) tick() {
	for {
		t := m.timers.popDue(m.now)
		if t == nil {
			return
		}
		switch t.kind {
		case memberSession:
			m.expireSession(t)
		case initialRebalance:
			m.extendInitialRebalance(t)
		case joinPhase:
			m.completeJoin(t.group)
		case syncPhase:
			m.expireSync(t)
		case offsetExpiry:
			m.expireOffsets()
		}
	}
}

func (m *Machine) loaded() {
	for _, g := range m.sortedGroups() {
		for _, mem := range g.order {
			m.extendSession(mem)
		}
		if len(g.members) > m.cfg.MaxSize {
			m.prepareRebalance(g, fmt.Sprintf("loaded with %d members, over group.max.size=%d", len(g.members), m.cfg.MaxSize))
		}
	}
	m.timers.set(&m.expiry, m.now+m.cfg.OffsetsRetentionCheckIntervalMs)
}

func (m *Machine) unload() {
	m.unloaded = true
	for _, g := range m.sortedGroups() {
		g.transitionTo(Dead, m.now)
		for _, mem := range g.order {
			m.answerJoin(g, mem, joinError(mem.id, notCoordinator))
			m.answerSync(mem, syncError(notCoordinator))
		}
	}
	for id := uint64(1); id <= m.lastAppendID && len(m.appends) > 0; id++ {
		if p := m.appends[id]; p != nil {
			delete(m.appends, id)
			m.finish(p, notCoordinator)
		}
	}
	for _, w := range m.waiting {
		m.reply(w.token, ErrorResponse(w.body, notCoordinator))
	}
	m.waiting = nil
	m.timers = timers{}
}
