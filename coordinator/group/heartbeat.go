package group

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// heartbeat is GroupMetadataManager.classicGroupHeartbeat.
func (m *Machine) heartbeat(r Request, req *kmsg.HeartbeatRequest) {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.ErrorCode = m.heartbeatCode(req)
	m.reply(r.Token, resp)
}

func (m *Machine) heartbeatCode(req *kmsg.HeartbeatRequest) int16 {
	g := m.groups[req.Group]
	if g == nil {
		return unknownMemberID
	}
	if code := g.validateMember(req.MemberID, req.InstanceID); code != none {
		return code
	}
	if req.Generation != g.generation {
		return illegalGeneration
	}
	// Clients heartbeat from the join answer on, so a sync phase counts too.
	m.extendSession(g.members[req.MemberID])
	if g.state == PreparingRebalance {
		return rebalanceInProgress
	}
	return none
}

// leaveGroup is GroupMetadataManager.classicGroupLeave. Members of version 3
// and up are named in a batch (KIP-345); an administrator removes a static one
// by its instance id alone.
func (m *Machine) leaveGroup(r Request, req *kmsg.LeaveGroupRequest) {
	leaving := req.Members
	if req.Version < 3 {
		leaving = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	resp := kmsg.NewPtrLeaveGroupResponse()
	g := m.groups[req.Group]
	var left []string
	for i := range leaving {
		l := &leaving[i]
		code := unknownMemberID
		if g != nil {
			code = m.leave(g, l)
		}
		if code == none {
			left = append(left, l.MemberID)
		}
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{
			MemberID: l.MemberID, InstanceID: l.InstanceID, ErrorCode: code,
		})
	}
	if req.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	before := m.lastAppendID
	if len(left) > 0 && g.state != Empty {
		m.rebalanceOrComplete(g, fmt.Sprintf("explicit LeaveGroup request for (%s)", strings.Join(left, ", ")))
	}
	if m.lastAppendID == before {
		m.reply(r.Token, resp)
		return
	}
	// The last member left. It is told so when that is written.
	p := m.appends[m.lastAppendID]
	done := p.done
	p.done = func(code int16) {
		if code != none {
			resp = kmsg.NewPtrLeaveGroupResponse()
			resp.ErrorCode = code
		}
		m.reply(r.Token, resp)
		done(code)
	}
}

func (m *Machine) leave(g *group, l *kmsg.LeaveGroupRequestMember) int16 {
	if l.MemberID == "" {
		if l.InstanceID == nil || g.static[*l.InstanceID] == nil {
			return unknownMemberID
		}
		m.leaveMember(g, g.static[*l.InstanceID], l.Reason)
		return none
	}
	if g.isPending(l.MemberID) {
		m.dropPending(g, l.MemberID)
		m.logf("group %s: pending member %s has left; client reason: %s", g.id, l.MemberID, reason(l.Reason))
		return none
	}
	if code := g.validateMember(l.MemberID, l.InstanceID); code != none {
		return code
	}
	m.leaveMember(g, g.members[l.MemberID], l.Reason)
	return none
}

func (m *Machine) leaveMember(g *group, mem *member, why *string) {
	m.logf("group %s: member %s has left; client reason: %s", g.id, mem.id, reason(why))
	m.dropMember(g, mem)
}
