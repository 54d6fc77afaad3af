package group

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// classicType is how ListGroups names the groups of this protocol (KIP-848).
const classicType = "Classic"

// groupIDNotFoundDescribeVersion is the first DescribeGroups version that says
// GROUP_ID_NOT_FOUND (KIP-1043); older ones call such a group Dead.
const groupIDNotFoundDescribeVersion = 6

func (m *Machine) sortedGroups() []*group {
	groups := make([]*group, 0, len(m.groups))
	for _, id := range sortedKeys(m.groups) {
		groups = append(groups, m.groups[id])
	}
	return groups
}

func (m *Machine) describeGroups(req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, id := range req.Groups {
		d := kmsg.NewDescribeGroupsResponseGroup()
		d.Group = id
		g := m.groups[id]
		if g == nil {
			d.State = Dead.String()
			if req.Version >= groupIDNotFoundDescribeVersion {
				message := fmt.Sprintf("Group %s not found.", id)
				d.ErrorCode, d.ErrorMessage = groupIDNotFound, &message
			}
			resp.Groups = append(resp.Groups, d)
			continue
		}
		d.State = g.state.String()
		d.ProtocolType = g.protocolType
		if g.state == Stable {
			d.Protocol = g.protocolName()
		}
		for _, mem := range g.order {
			dm := kmsg.NewDescribeGroupsResponseGroupMember()
			dm.MemberID, dm.InstanceID = mem.id, mem.instanceID
			dm.ClientID, dm.ClientHost = mem.clientID, mem.clientHost
			dm.MemberAssignment = mem.assignment
			if g.state == Stable {
				dm.ProtocolMetadata = mem.metadata(d.Protocol)
			}
			d.Members = append(d.Members, dm)
		}
		resp.Groups = append(resp.Groups, d)
	}
	return resp
}

// listGroups filters by state (KIP-518) and type (KIP-848), ignoring case. An
// unknown name matches nothing.
func (m *Machine) listGroups(req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	resp := kmsg.NewPtrListGroupsResponse()
	for _, g := range m.sortedGroups() {
		if !matchesFilter(req.StatesFilter, g.state.String()) || !matchesFilter(req.TypesFilter, classicType) {
			continue
		}
		l := kmsg.NewListGroupsResponseGroup()
		l.Group, l.ProtocolType = g.id, g.protocolType
		l.GroupState, l.GroupType = g.state.String(), classicType
		resp.Groups = append(resp.Groups, l)
	}
	return resp
}

func matchesFilter(filter []string, name string) bool {
	for _, f := range filter {
		if strings.EqualFold(strings.TrimSpace(f), name) {
			return true
		}
	}
	return len(filter) == 0
}

// deleteGroups deletes empty groups with all their offsets.
func (m *Machine) deleteGroups(r Request, req *kmsg.DeleteGroupsRequest) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	var changes []offsetChange
	var deleted []*group
	for _, id := range req.Groups {
		d := kmsg.NewDeleteGroupsResponseGroup()
		d.Group = id
		g := m.groups[id]
		switch {
		case g == nil:
			d.ErrorCode = groupIDNotFound
		case g.state != Empty:
			d.ErrorCode = nonEmptyGroup
		default:
			changes = m.tombstones(changes, id)
			deleted = append(deleted, g)
			delete(m.groups, id) // so that a repeated id is not found
		}
		resp.Groups = append(resp.Groups, d)
	}
	if len(deleted) == 0 {
		m.reply(r.Token, resp)
		return
	}
	m.logf("deleting %d groups with %d offsets on request", len(deleted), len(changes))
	m.deleteRecords(changes, deleted, true, func(code int16) {
		for i := range resp.Groups {
			if code != none && resp.Groups[i].ErrorCode == none {
				resp.Groups[i].ErrorCode = code
			}
		}
		m.reply(r.Token, resp)
	})
}

// deleteRecords writes tombstones for offsets and groups and forgets the
// groups at once. If the append fails, those come back whose id nobody took
// meanwhile.
func (m *Machine) deleteRecords(changes []offsetChange, groups []*group, atomic bool, done func(code int16)) {
	records := make([]Record, 0, len(groups))
	for _, g := range groups {
		records = append(records, groupTombstone(g.id))
		m.forgetGroup(g)
	}
	m.append(changes, records, atomic, func(code int16) {
		for _, g := range groups {
			if code != none && !m.unloaded && m.groups[g.id] == nil {
				m.groups[g.id] = g
			}
		}
		if done != nil {
			done(code)
		}
	})
}
