package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// knownMemberIDVersion is the first JoinGroup version whose dynamic members
// must come back with the id they are given (KIP-394).
const knownMemberIDVersion = 4

// skipAssignmentVersion is the first JoinGroup version in which a static
// leader that restarts is told to leave the assignment as it is (KIP-814).
const skipAssignmentVersion = 9

func joinError(memberID string, code int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID = memberID
	resp.ErrorCode = code
	return resp
}

// joinGroup is GroupMetadataManager.classicGroupJoin.
func (m *Machine) joinGroup(r Request, req *kmsg.JoinGroupRequest) {
	if req.Version == 0 {
		req.RebalanceTimeoutMillis = req.SessionTimeoutMillis
	}
	g := m.groups[req.Group]
	created := g == nil
	if created {
		if req.MemberID != "" {
			m.reply(r.Token, joinError(req.MemberID, unknownMemberID))
			return
		}
		g = newGroup(req.Group, m.now)
		m.groups[g.id] = g
	}

	before := m.lastAppendID
	switch {
	case !m.acceptsJoin(g, req.MemberID):
		if mem := g.members[req.MemberID]; mem != nil {
			m.dropMember(g, mem)
		}
		m.dropPending(g, req.MemberID)
		m.reply(r.Token, joinError("", groupMaxSizeReached))
		m.completeJoinIfReady(g)
	case !g.supports(req.ProtocolType, req.Protocols):
		m.reply(r.Token, joinError(req.MemberID, inconsistentGroupProtocol))
	case req.MemberID == "":
		m.joinNew(r, req, g)
	default:
		m.joinExisting(r, req, g)
	}

	if created && m.lastAppendID == before {
		// The group exists from now on, so that offsets and a later leader find
		// it, although nothing but its id is worth keeping yet.
		m.append(nil, []Record{newGroupRecord(g)}, true, func(code int16) {
			if code != none {
				m.abandonNewGroup(g, code)
			}
		})
	}
}

// abandonNewGroup undoes the creation of a group whose first record could not
// be written.
func (m *Machine) abandonNewGroup(g *group, code int16) {
	if m.unloaded || m.groups[g.id] != g || g.generation > 0 {
		return
	}
	m.logf("group %s: cannot write the new group; its members must join again", g.id)
	for len(g.order) > 0 {
		mem := g.order[0]
		m.answerJoin(g, mem, joinError("", code))
		m.dropMember(g, mem)
	}
	if m.offsets[g.id] == nil {
		m.forgetGroup(g)
	}
}

// acceptsJoin applies group.max.size (KIP-389). During a join phase only the
// members that have joined count, so that the last ones to rejoin are turned
// away when a group is over its size.
func (m *Machine) acceptsJoin(g *group, memberID string) bool {
	mem := g.members[memberID]
	switch g.state {
	case PreparingRebalance:
		return mem != nil && mem.join != 0 || g.awaitingJoin < m.cfg.MaxSize
	case CompletingRebalance, Stable:
		return mem != nil || len(g.members) < m.cfg.MaxSize
	}
	return true
}

func (m *Machine) joinNew(r Request, req *kmsg.JoinGroupRequest, g *group) {
	if req.InstanceID != nil {
		id := *req.InstanceID + "-" + r.UUID
		if old := g.static[*req.InstanceID]; old != nil {
			m.logf("group %s: static member %s restarted in state %v: %s becomes %s", g.id, *req.InstanceID, g.state, old.id, id)
			m.rejoinStatic(r, req, g, old, id)
			return
		}
		m.addMember(r, req, g, id)
		return
	}
	id := r.ClientID + "-" + r.UUID
	if req.Version < knownMemberIDVersion {
		m.addMember(r, req, g, id)
		return
	}
	t := &timer{kind: memberSession, group: g, memberID: id, index: -1}
	g.pendingJoin[id] = t
	m.timers.set(t, m.now+int64(req.SessionTimeoutMillis))
	m.reply(r.Token, joinError(id, memberIDRequired))
}

func (m *Machine) joinExisting(r Request, req *kmsg.JoinGroupRequest, g *group) {
	if g.isPending(req.MemberID) {
		if req.InstanceID != nil {
			// Ids are handed out to dynamic members only, so this client mixes
			// two identities.
			m.reply(r.Token, joinError(req.MemberID, unknownMemberID))
			return
		}
		m.addMember(r, req, g, req.MemberID)
		return
	}
	if code := g.validateMember(req.MemberID, req.InstanceID); code != none {
		m.reply(r.Token, joinError(req.MemberID, code))
		return
	}
	mem := g.members[req.MemberID]
	rejoin := func(why string) {
		m.updateMember(g, mem, req, r.Token)
		m.rebalanceOrComplete(g, fmt.Sprintf("%s %s in state %v; client reason: %s", why, mem.id, g.state, reason(req.Reason)))
	}
	switch g.state {
	case PreparingRebalance:
		rejoin("rejoining member")
	case CompletingRebalance:
		if mem.matches(req.Protocols) {
			// The answer to its first join may have been lost: give it again.
			m.reply(r.Token, m.joinedResponse(g, mem))
			return
		}
		rejoin("updated metadata of member")
	case Stable:
		switch {
		case g.isLeader(mem.id):
			// The leader may have seen what the members' metadata does not show,
			// such as new partitions of a topic.
			rejoin("rejoining leader")
		case !mem.matches(req.Protocols):
			rejoin("updated metadata of member")
		default:
			resp := m.joinedResponse(g, mem)
			resp.Members = nil
			m.reply(r.Token, resp)
		}
	default:
		m.reply(r.Token, joinError(req.MemberID, unknownMemberID))
	}
}

// joinedResponse tells a member the current generation; the leader also gets
// the members.
func (m *Machine) joinedResponse(g *group, mem *member) *kmsg.JoinGroupResponse {
	resp := joinError(mem.id, none)
	resp.Generation = g.generation
	protocolType := g.protocolType
	resp.ProtocolType = &protocolType
	resp.Protocol = g.protocol
	resp.LeaderID = g.leader
	if g.isLeader(mem.id) {
		resp.Members = g.joinMembers()
	}
	return resp
}

func (g *group) joinMembers() []kmsg.JoinGroupResponseMember {
	members := make([]kmsg.JoinGroupResponseMember, 0, len(g.order))
	for _, mem := range g.order {
		members = append(members, kmsg.JoinGroupResponseMember{
			MemberID:         mem.id,
			InstanceID:       mem.instanceID,
			ProtocolMetadata: mem.metadata(g.protocolName()),
		})
	}
	return members
}

// addMember lets a new member in and waits for the join phase with it.
func (m *Machine) addMember(r Request, req *kmsg.JoinGroupRequest, g *group, id string) {
	m.dropPending(g, id)
	mem := &member{
		id:                 id,
		instanceID:         req.InstanceID,
		clientID:           r.ClientID,
		clientHost:         r.ClientHost,
		rebalanceTimeoutMs: req.RebalanceTimeoutMillis,
		sessionTimeoutMs:   req.SessionTimeoutMillis,
		protocols:          cloneProtocols(req.Protocols),
		join:               r.Token,
		isNew:              true,
	}
	mem.session = timer{kind: memberSession, group: g, memberID: id, index: -1}
	if g.state == PreparingRebalance && g.previous == Empty {
		g.newMemberAdded = true
	}
	g.add(mem, req.ProtocolType)
	m.timers.set(&mem.session, m.now+newMemberJoinTimeoutMs)
	m.rebalanceOrComplete(g, fmt.Sprintf("new member %s; client reason: %s", id, reason(req.Reason)))
}

// updateMember takes over what a rejoin brings. A join that the member still
// waited for is superseded: its connection is gone, or soon will be.
func (m *Machine) updateMember(g *group, mem *member, req *kmsg.JoinGroupRequest, token Token) {
	m.answerJoin(g, mem, joinError(mem.id, rebalanceInProgress))
	g.setProtocols(mem, cloneProtocols(req.Protocols))
	mem.rebalanceTimeoutMs = req.RebalanceTimeoutMillis
	mem.sessionTimeoutMs = req.SessionTimeoutMillis
	mem.join = token
	g.awaitingJoin++
}

// rejoinStatic gives a static member's place to its new incarnation
// (updateStaticMemberThenRebalanceOrCompleteJoin). In a stable group whose
// protocol stays the same nothing moves: the new id is written down and the
// member goes on with the old one's assignment.
func (m *Machine) rejoinStatic(r Request, req *kmsg.JoinGroupRequest, g *group, mem *member, id string) {
	oldID, oldLeader := mem.id, g.leader
	oldProtocols, oldRebalance, oldSession := mem.protocols, mem.rebalanceTimeoutMs, mem.sessionTimeoutMs
	m.fence(g, mem)
	g.rename(mem, id)
	m.updateMember(g, mem, req, r.Token)
	mem.isNew = false
	m.extendSession(mem)

	why := fmt.Sprintf("static member %s with instance id %s; client reason: %s", id, *req.InstanceID, reason(req.Reason))
	switch g.state {
	case CompletingRebalance:
		// The leader may be computing the assignment for the old id.
		m.prepareRebalance(g, why)
		return
	case PreparingRebalance:
		m.completeJoinIfReady(g)
		return
	}
	if g.protocolName() != g.selectProtocol() {
		m.rebalanceOrComplete(g, "the protocol changes with "+why)
		return
	}
	generation := g.generation
	record := groupRecord(g, func(mem *member) []byte { return mem.assignment })
	m.append(nil, []Record{record}, true, func(code int16) {
		if g.state != Stable || g.generation != generation || mem.id != id || mem.join != r.Token {
			return // another rebalance or incarnation answers it
		}
		if code == none {
			resp := m.joinedResponse(g, mem)
			if req.Version >= skipAssignmentVersion {
				resp.SkipAssignment = g.isLeader(id)
			} else {
				// Old clients compute an assignment when they are the leader, so
				// they are told of the old one's id and get no members.
				resp.Members, resp.LeaderID = nil, oldLeader
			}
			m.answerJoin(g, mem, resp)
			return
		}
		resp := m.joinedResponse(g, mem)
		resp.MemberID, resp.Members, resp.LeaderID, resp.ErrorCode = "", nil, oldLeader, code
		m.answerJoin(g, mem, resp)
		m.fence(g, mem)
		g.setProtocols(mem, oldProtocols)
		mem.rebalanceTimeoutMs, mem.sessionTimeoutMs = oldRebalance, oldSession
		g.rename(mem, oldID)
		m.extendSession(mem)
	})
}

// fence answers what a static member's old incarnation still waits for.
func (m *Machine) fence(g *group, mem *member) {
	m.answerJoin(g, mem, joinError(mem.id, fencedInstanceID))
	m.answerSync(mem, syncError(fencedInstanceID))
}

// answerJoin answers the join that a member waits for, if any.
func (m *Machine) answerJoin(g *group, mem *member, resp *kmsg.JoinGroupResponse) {
	if mem.join == 0 {
		return
	}
	m.reply(mem.join, resp)
	mem.join = 0
	g.awaitingJoin--
}

// dropMember takes a member out, whatever it waits for. UNKNOWN_MEMBER_ID makes
// a client that is still there join again.
func (m *Machine) dropMember(g *group, mem *member) {
	m.answerJoin(g, mem, joinError("", unknownMemberID))
	m.answerSync(mem, syncError(unknownMemberID))
	m.timers.cancel(&mem.session)
	g.remove(mem)
}

func (m *Machine) dropPending(g *group, memberID string) {
	if t := g.pendingJoin[memberID]; t != nil {
		m.timers.cancel(t)
		delete(g.pendingJoin, memberID)
	}
}

// forgetGroup takes a group out of memory; its offsets are another matter.
func (m *Machine) forgetGroup(g *group) {
	m.timers.cancel(&g.joinTimer)
	m.timers.cancel(&g.syncTimer)
	for id := range g.pendingJoin {
		m.dropPending(g, id)
	}
	for _, mem := range g.order {
		m.timers.cancel(&mem.session)
	}
	delete(m.groups, g.id)
}

func reason(r *string) string {
	if r == nil || *r == "" {
		return "not provided"
	}
	return *r
}
