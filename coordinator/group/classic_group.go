package group

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerProtocolType is the protocol type of the consumer client's groups,
// whose subscriptions the coordinator can read.
const consumerProtocolType = "consumer"

// group is one classic group (Kafka: ClassicGroup). It only keeps its own
// fields consistent; what to do next is decided by Machine.
//
// Invariants:
//   - members, order and static name the same members;
//   - awaitingJoin is the number of members whose join is not zero;
//   - supported[p] is the number of members that support protocol p;
//   - leader is "" or the id of a member;
//   - a member id is in members or in pendingJoin, never in both.
type group struct {
	id       string
	state    State
	previous State
	// stateTimestampMs is when state was entered; -1 when a record of an old
	// version did not say.
	stateTimestampMs int64

	// protocolType is "" for a group that only stores offsets (a "simple"
	// group), else what the first member brought. It outlives the members.
	protocolType string
	// protocol is the strategy of the current generation; nil before the first
	// and in an empty group.
	protocol   *string
	generation int32
	leader     string

	members map[string]*member
	order   []*member // members in the order they came
	static  map[string]*member
	// pendingJoin has the ids handed out with MEMBER_ID_REQUIRED that have not
	// come back yet (KIP-394), each with its expiry.
	pendingJoin map[string]*timer
	// pendingSync has the members of this generation that have not sent
	// SyncGroup yet.
	pendingSync  map[string]struct{}
	supported    map[string]int
	awaitingJoin int
	// newMemberAdded: someone joined during the running initial delay.
	newMemberAdded bool

	// subscribed is the topics that the members of a consumer group subscribe
	// to; nil when the subscriptions are unknown or could not be parsed.
	subscribed map[string]struct{}

	joinTimer timer // initialRebalance or joinPhase
	syncTimer timer
}

func newGroup(id string, now int64) *group {
	g := &group{
		id:               id,
		state:            Empty,
		previous:         Dead,
		stateTimestampMs: now,
		members:          map[string]*member{},
		static:           map[string]*member{},
		pendingJoin:      map[string]*timer{},
		pendingSync:      map[string]struct{}{},
		supported:        map[string]int{},
	}
	g.joinTimer = timer{kind: joinPhase, group: g, index: -1}
	g.syncTimer = timer{kind: syncPhase, group: g, index: -1}
	return g
}

func (g *group) transitionTo(s State, now int64) {
	if !s.mayFollow(g.state) {
		panic(fmt.Sprintf("BUG: group %q goes from %v to %v", g.id, g.state, s))
	}
	g.previous, g.state, g.stateTimestampMs = g.state, s, now
}

func (g *group) canRebalance() bool { return PreparingRebalance.mayFollow(g.state) }

func (g *group) isLeader(memberID string) bool { return g.leader == memberID && memberID != "" }

func (g *group) protocolName() string {
	if g.protocol == nil {
		return ""
	}
	return *g.protocol
}

func (g *group) isPending(memberID string) bool {
	_, ok := g.pendingJoin[memberID]
	return ok
}

// allJoined reports whether the join phase has nobody left to wait for.
func (g *group) allJoined() bool {
	return g.awaitingJoin == len(g.members) && len(g.pendingJoin) == 0
}

// rebalanceTimeoutMs is the longest of the members'.
func (g *group) rebalanceTimeoutMs() int64 {
	var longest int32
	for _, mem := range g.order {
		longest = max(longest, mem.rebalanceTimeoutMs)
	}
	return int64(longest)
}

// add puts a member in; the first one decides the protocol type and leads.
func (g *group) add(mem *member, protocolType string) {
	if g.members[mem.id] != nil || mem.isStatic() && g.static[*mem.instanceID] != nil {
		panic(fmt.Sprintf("BUG: member %s is added to group %q twice", mem.id, g.id))
	}
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	if g.leader == "" {
		g.leader = mem.id
	}
	g.members[mem.id] = mem
	g.order = append(g.order, mem)
	if mem.isStatic() {
		g.static[*mem.instanceID] = mem
	}
	g.count(mem, 1)
	if mem.join != 0 {
		g.awaitingJoin++
	}
}

// remove takes a member out. It must not be waiting for an answer any more.
// If it led, the longest-standing member leads.
func (g *group) remove(mem *member) {
	if mem.join != 0 || mem.sync != 0 {
		panic(fmt.Sprintf("BUG: member %s leaves group %q without an answer", mem.id, g.id))
	}
	delete(g.members, mem.id)
	g.order = slices.DeleteFunc(g.order, func(m *member) bool { return m == mem })
	if mem.isStatic() {
		delete(g.static, *mem.instanceID)
	}
	delete(g.pendingSync, mem.id)
	g.count(mem, -1)
	if g.leader == mem.id {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
}

// rename gives a static member its new id (KIP-345: the instance restarted).
func (g *group) rename(mem *member, id string) {
	delete(g.members, mem.id)
	if _, ok := g.pendingSync[mem.id]; ok {
		delete(g.pendingSync, mem.id)
		g.pendingSync[id] = struct{}{}
	}
	if g.leader == mem.id {
		g.leader = id
	}
	mem.id = id
	mem.session.memberID = id
	g.members[id] = mem
}

// setProtocols replaces what a member supports.
func (g *group) setProtocols(mem *member, protocols []protocol) {
	g.count(mem, -1)
	mem.protocols = protocols
	g.count(mem, 1)
}

func (g *group) count(mem *member, delta int) {
	for i := range mem.protocols {
		name := mem.protocols[i].name
		if g.supported[name] += delta; g.supported[name] == 0 {
			delete(g.supported, name)
		}
	}
}

// supports reports whether a member with these protocols can be in the group:
// an empty group takes any, another one needs the same type and a protocol
// that every member has.
func (g *group) supports(protocolType string, protocols []kmsg.JoinGroupRequestProtocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	if g.protocolType == "" || g.protocolType != protocolType {
		return false
	}
	for i := range protocols {
		if g.supported[protocols[i].Name] == len(g.members) {
			return true
		}
	}
	return false
}

// selectProtocol counts the members' votes among the protocols that all of
// them support. A tie goes to the one voted for first.
func (g *group) selectProtocol() string {
	isCandidate := func(name string) bool { return g.supported[name] == len(g.members) }
	votes := map[string]int{}
	var best string
	for _, mem := range g.order {
		votes[mem.vote(isCandidate)]++
	}
	for _, mem := range g.order {
		if name := mem.vote(isCandidate); best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// electJoinedLeader makes sure that the leader is a member who joined this
// phase. It reports false when nobody did.
func (g *group) electJoinedLeader() bool {
	if g.leader == "" {
		return false
	}
	if g.members[g.leader].join != 0 {
		return true
	}
	for _, mem := range g.order {
		if mem.join != 0 {
			g.leader = mem.id
			return true
		}
	}
	return false
}

// nextGeneration ends the join phase.
func (g *group) nextGeneration(now int64) {
	g.generation++
	next := Empty
	g.protocol = nil
	if len(g.members) > 0 {
		next = CompletingRebalance
		name := g.selectProtocol()
		g.protocol = &name
	}
	g.subscribed = g.computeSubscribed()
	g.transitionTo(next, now)
	clear(g.pendingSync)
}

// validateMember checks an id, and that a static member's instance id is still
// its own. It answers none, unknownMemberID or fencedInstanceID.
func (g *group) validateMember(memberID string, instanceID *string) int16 {
	if instanceID != nil {
		mem := g.static[*instanceID]
		if mem == nil {
			return unknownMemberID
		}
		if mem.id != memberID {
			return fencedInstanceID
		}
	}
	if g.members[memberID] == nil {
		return unknownMemberID
	}
	return none
}

// isSubscribed reports whether offsets of topic are in use. A consumer group
// whose subscriptions are unknown uses every topic.
func (g *group) isSubscribed(topic string) bool {
	if g.subscribed == nil {
		return g.protocolType == consumerProtocolType
	}
	_, ok := g.subscribed[topic]
	return ok
}

// computeSubscribed parses the members' subscriptions (KIP-496). It answers
// nil for other protocol types and for bytes that do not parse.
func (g *group) computeSubscribed() map[string]struct{} {
	if g.protocolType != consumerProtocolType {
		return nil
	}
	topics := map[string]struct{}{}
	if len(g.members) == 0 {
		return topics
	}
	if g.protocol == nil {
		return nil
	}
	for _, mem := range g.order {
		if !addSubscribedTopics(topics, mem.metadata(*g.protocol)) {
			return nil
		}
	}
	return topics
}
