package group

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func syncError(code int16) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = code
	return resp
}

func syncedResponse(g *group, mem *member) *kmsg.SyncGroupResponse {
	resp := syncError(none)
	protocolType := g.protocolType
	resp.ProtocolType = &protocolType
	resp.Protocol = g.protocol
	resp.MemberAssignment = mem.assignment
	return resp
}

// syncGroup is GroupMetadataManager.classicGroupSync.
func (m *Machine) syncGroup(r Request, req *kmsg.SyncGroupRequest) {
	g := m.groups[req.Group]
	if g == nil || g.state == Empty {
		m.reply(r.Token, syncError(unknownMemberID))
		return
	}
	if code := validateSync(g, req); code != none {
		m.reply(r.Token, syncError(code))
		return
	}
	mem := g.members[req.MemberID]
	if g.state == PreparingRebalance {
		m.reply(r.Token, syncError(rebalanceInProgress))
		return
	}
	delete(g.pendingSync, mem.id)
	if len(g.pendingSync) == 0 {
		m.timers.cancel(&g.syncTimer)
	}
	if g.state == Stable {
		m.reply(r.Token, syncedResponse(g, mem))
		return
	}
	// A sync that the member still waited for is superseded by this one.
	m.answerSync(mem, syncError(rebalanceInProgress))
	mem.sync = r.Token
	if g.isLeader(mem.id) {
		m.storeAssignment(g, req.GroupAssignment)
	}
}

func validateSync(g *group, req *kmsg.SyncGroupRequest) int16 {
	if code := g.validateMember(req.MemberID, req.InstanceID); code != none {
		return code
	}
	if req.Generation != g.generation {
		return illegalGeneration
	}
	// KIP-559: what the client says about the protocol, if it does, must agree.
	if req.ProtocolType != nil && *req.ProtocolType != g.protocolType ||
		req.Protocol != nil && (g.protocol == nil || *req.Protocol != *g.protocol) {
		return inconsistentGroupProtocol
	}
	return none
}

// storeAssignment writes the leader's assignment. Members it left out get an
// empty one.
func (m *Machine) storeAssignment(g *group, assignments []kmsg.SyncGroupRequestGroupAssignment) {
	byMember := make(map[string][]byte, len(assignments))
	for i := range assignments {
		byMember[assignments[i].MemberID] = cloneBytes(assignments[i].MemberAssignment)
	}
	generation := g.generation
	m.logf("group %s: assignment received from leader %s for generation %d of %d members, %d of them static",
		g.id, g.leader, generation, len(g.members), len(g.static))
	record := groupRecord(g, func(mem *member) []byte { return byMember[mem.id] })
	m.append(nil, []Record{record}, true, func(code int16) {
		if g.state != CompletingRebalance || g.generation != generation {
			return // a member came or went meanwhile
		}
		if code != none {
			m.resetAssignment(g, code)
			m.rebalanceOrComplete(g, fmt.Sprintf("error %d when storing the assignment of generation %d", code, generation))
			return
		}
		for _, mem := range g.order {
			mem.assignment = byMember[mem.id]
			if mem.sync != 0 {
				m.answerSync(mem, syncedResponse(g, mem))
				// Its session was not watched while it waited.
				m.extendSession(mem)
			}
		}
		g.transitionTo(Stable, m.now)
	})
}

// resetAssignment ends a sync phase with an error.
func (m *Machine) resetAssignment(g *group, code int16) {
	for _, mem := range g.order {
		mem.assignment = nil
		if mem.sync != 0 {
			m.answerSync(mem, syncError(code))
			m.extendSession(mem)
		}
	}
}

func (m *Machine) answerSync(mem *member, resp *kmsg.SyncGroupResponse) {
	if mem.sync == 0 {
		return
	}
	m.reply(mem.sync, resp)
	mem.sync = 0
}
