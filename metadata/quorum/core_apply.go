package quorum

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"freshet/metadata"
)

// applyEntries applies committed entries.
func (c *Core) applyEntries(entries []*raftpb.Entry) {
	for _, e := range entries {
		if err := c.applyEntry(e); err != nil {
			c.fail(fmt.Errorf("the metadata log of node %d cannot be applied at entry %d: %w", c.cfg.Self.ID, e.GetIndex(), err))
			return
		}
		c.applied = e.GetIndex()
		delete(c.read, e.GetIndex())
		if !c.partialOpen {
			c.boundary, c.boundaryTerm = e.GetIndex(), e.GetTerm()
		}
		c.logBytes += int64(len(e.GetData()) + entryOverheadBytes)
		if c.leading && e.GetTerm() == c.hard.Term && !c.ready && isVoter(c.conf, c.id) {
			// The first entry of the term: whatever was committed before is
			// applied now. A leader that learns by it that it has no vote takes
			// no changes, and hands over.
			c.ready, c.head = true, c.image
			c.effects.Ready = true
		}
	}
}

func (c *Core) applyEntry(e *raftpb.Entry) error {
	data := e.GetData()
	if holdsRecords(e) {
		return c.applyRecords(e)
	}
	// A list of records that another entry interrupts was never finished: its
	// leader fell, and the rest did not get into the log.
	c.partial, c.partialOpen = nil, false
	switch {
	case e.GetType() == raftpb.EntryConfChange || e.GetType() == raftpb.EntryConfChangeV2:
		return c.applyConfChange(e)
	case len(data) == 0:
		return nil
	case data[0] == payloadMembers:
		members, err := decodeMembers(data[1:])
		if err != nil {
			return err
		}
		c.upsertMembers(members)
		return nil
	}
	return fmt.Errorf("it is of the unknown kind %d: it was written by a newer version", data[0])
}

// applyRecords applies an entry with records: at once, or with the last entry
// of its list.
func (c *Core) applyRecords(e *raftpb.Entry) error {
	flags := e.GetData()[1]
	if flags&flagContinues == 0 {
		c.partial, c.partialOpen = nil, false
	} else if !c.partialOpen {
		return fmt.Errorf("it goes on with a list of records whose beginning is missing")
	}
	more := flags&flagContinued != 0
	if own := c.ownProposal(e.GetIndex()); own != nil {
		// Decided here, from the same image: there is nothing to read.
		c.partialOpen = more
		if !more {
			c.proposals = c.proposals[1:]
			c.image = own.next
			c.effects.Image = c.image
			c.effects.Done = append(c.effects.Done, Done{ID: own.id})
		}
		return nil
	}
	records, err := c.records(e)
	if err != nil {
		return err
	}
	records = append(c.partial, records...)
	if more {
		c.partial, c.partialOpen = records, true
		return nil
	}
	next, err := metadata.Apply(c.image, records...)
	if err != nil {
		return err
	}
	c.partial, c.partialOpen = nil, false
	c.image, c.effects.Image = next, next
	return nil
}

// holdsRecords reports whether an entry is a list of records, or part of one.
func holdsRecords(e *raftpb.Entry) bool {
	data := e.GetData()
	return e.GetType() == raftpb.EntryNormal && len(data) > 1 && data[0] == payloadRecords
}

// records are those of an entry that is being applied.
func (c *Core) records(e *raftpb.Entry) ([]metadata.Record, error) {
	if read, ok := c.read[e.GetIndex()]; ok && read.term == e.GetTerm() {
		return read.records, nil
	}
	return decodeRecords(e.GetData()[2:])
}

// ownProposal is the proposal of this leader that the entry belongs to.
func (c *Core) ownProposal(index uint64) *proposal {
	if len(c.proposals) > 0 && c.proposals[0].first <= index && index <= c.proposals[0].last {
		return c.proposals[0]
	}
	return nil
}

// applyConfChange changes who votes and who listens.
func (c *Core) applyConfChange(e *raftpb.Entry) error {
	change := &raftpb.ConfChangeV2{}
	if e.GetType() != raftpb.EntryConfChangeV2 {
		return fmt.Errorf("it changes the members in an unknown way: it was written by a newer version")
	}
	if err := proto.Unmarshal(e.GetData(), change); err != nil {
		return err
	}
	for _, one := range change.GetChanges() {
		if one.GetType() == raftpb.ConfChangeType_ConfChangeRemoveNode {
			c.removeMember(nodeID(one.GetNodeId()))
		}
	}
	if len(change.GetContext()) > 0 {
		members, err := decodeMembers(change.GetContext())
		if err != nil {
			return err
		}
		c.upsertMembers(members)
	}
	c.conf = c.rn.ApplyConfChange(change)
	c.effects.MembersChanged = true
	w := &Write{}
	if c.change != nil && c.change.proposed == e.GetIndex() {
		w.change, c.change = c.change.id, nil
	}
	if c.written.Commit < e.GetIndex() {
		// That it is committed must not be forgotten: a member that starts with
		// the old voters might ask for the vote of one that is gone for good.
		hard := c.hard
		w.Hard, c.written = &hard, hard
		c.handOut(w)
	}
	return nil
}

// upsertMembers adds members, or replaces what was known of them. The old list
// stays as it is: snapshots share it.
func (c *Core) upsertMembers(news []Voter) {
	members := make([]Voter, 0, len(c.members)+len(news))
	for _, m := range c.members {
		if findVoter(news, m.ID) == nil {
			members = append(members, m)
		}
	}
	c.members = sortVoters(append(members, news...))
	c.membersLogged = true
	c.effects.MembersChanged = true
}

func (c *Core) removeMember(id int32) {
	members := make([]Voter, 0, len(c.members))
	for _, m := range c.members {
		if m.ID != id {
			members = append(members, m)
		}
	}
	c.members = members
}

// findVoter finds a node in a list, nil when it is not there.
func findVoter(list []Voter, id int32) *Voter {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	return nil
}

// Head is the image that the next change is decided on, nil unless this member
// leads and is ready: the applied image and all proposals on top of it.
func (c *Core) Head() *metadata.Image {
	if !c.ready || c.failed != nil {
		return nil
	}
	return c.head
}

// LastProposal is the id of the newest unfinished proposal, 0 when there is none.
func (c *Core) LastProposal() uint64 {
	if len(c.proposals) == 0 {
		return 0
	}
	return c.proposals[len(c.proposals)-1].id
}

// Propose puts a list of records into the log: the payloads are those of
// EncodeRecords, next is the image with them applied to head, which must be
// what Head was. The id comes back in Done.
func (c *Core) Propose(nowMs int64, head *metadata.Image, payloads [][]byte, next *metadata.Image) (uint64, error) {
	if !c.input(nowMs) {
		return 0, c.failed
	}
	if !c.ready || c.head != head {
		return 0, &NotLeaderError{LeaderID: c.leader.ID, Epoch: c.leader.Epoch}
	}
	entries := make([]*raftpb.Entry, len(payloads))
	for i, payload := range payloads {
		entries[i] = &raftpb.Entry{Data: payload}
	}
	first := c.last + 1
	if err := c.stepProposal(entries); err != nil {
		return 0, err
	}
	c.nextID++
	c.proposals = append(c.proposals, &proposal{id: c.nextID, first: first, last: c.last, next: next})
	c.head = next
	// Read what follows from it only now that the proposal is known: raft may
	// commit at once.
	c.drain()
	return c.nextID, nil
}

// stepProposal appends entries to the leader's log and notes where it ends.
func (c *Core) stepProposal(entries []*raftpb.Entry) error {
	kind, from := raftpb.MsgProp, c.id
	if err := c.rn.Step(&raftpb.Message{Type: &kind, From: &from, Entries: entries}); err != nil {
		// A leader that is handing over takes no more.
		return &NotLeaderError{LeaderID: -1, Epoch: c.leader.Epoch}
	}
	c.last += uint64(len(entries))
	return nil
}
