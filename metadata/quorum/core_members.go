package quorum

import (
	"fmt"
	"strings"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"freshet/metadata"
)

// memberChange is a change of the members that an operator asked for. One at a
// time; changes of one member are always simple in raft's sense, so there is no
// joint configuration.
type memberChange struct {
	id       uint64
	kind     raftpb.ConfChangeType
	member   Voter
	proposed uint64 // index of its entry, 0: not yet
}

// Connected tells that a member, or a node that wants to join, has a
// connection. The shell has compared its cluster, founding and directory with
// Members (see Refusal).
func (c *Core) Connected(nowMs int64, info Voter) {
	if !c.input(nowMs) {
		return
	}
	p := c.peers[info.ID]
	if p == nil {
		p = &peer{heardMs: -1, caughtUpMs: -1}
		c.peers[info.ID] = p
	}
	p.info, p.connected = info, true
	c.noteFormer(info.ID)
	if c.leading {
		// What was on the way when the last connection broke is lost. As if it
		// had answered a heartbeat, it is asked where its log ends.
		kind, from, term := raftpb.MsgHeartbeatResp, raftID(info.ID), c.hard.Term
		_ = c.rn.Step(&raftpb.Message{Type: &kind, From: &from, To: &c.id, Term: &term})
	}
	c.reconcile()
	c.drain()
}

// Disconnected tells that the last connection of a member is gone. If it leads,
// the others look for a new leader at once: its process has most likely ended.
// It is not disturbed if it lives on, because the others do not vote while they
// hear it.
func (c *Core) Disconnected(nowMs int64, node int32) {
	if !c.input(nowMs) {
		return
	}
	if p := c.peers[node]; p != nil {
		p.connected = false
	}
	if c.leading {
		c.rn.ReportUnreachable(raftID(node))
		c.rn.ReportSnapshot(raftID(node), raft.SnapshotFailure)
	} else if c.leader.ID == node {
		_ = c.rn.ForgetLeader() // fails for other roles, which know no leader
		c.electionAtMs = c.nowMs + c.turnMs(node)
		c.hurryUntilMs = c.nowMs + c.cfg.ElectionTimeoutMs
	}
	c.drain()
}

// turnMs is how long this member waits before it wants to succeed a leader whose
// connection broke. The voters take turns by their ids, because two at a time
// get in each other's way; the first waits too, until the others have noticed.
func (c *Core) turnMs(leader int32) int64 {
	turn := int64(0)
	for _, id := range c.conf.Voters {
		if id < c.id && nodeID(id) != leader {
			turn++
		}
	}
	return campaignSpreadMs/10 + turn*campaignSpreadMs/2 + c.between(0, campaignSpreadMs/10)
}

// Dropped tells that a message was not sent: the member has no connection, or
// its queue is full.
func (c *Core) Dropped(nowMs int64, m Message) {
	if !c.input(nowMs) || !c.leading {
		return
	}
	if m.Snapshot != nil {
		c.rn.ReportSnapshot(m.Raft.GetTo(), raft.SnapshotFailure)
	} else {
		c.rn.ReportUnreachable(m.Raft.GetTo())
	}
	c.drain()
}

// SnapshotSent tells how sending a snapshot ended.
func (c *Core) SnapshotSent(nowMs int64, node int32, ok bool) {
	if !c.input(nowMs) || !c.leading {
		return
	}
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	c.rn.ReportSnapshot(raftID(node), status)
	c.drain()
}

// reconcile makes the members what the connections say: who connects is added
// as an observer, and addresses that changed are put into the log. It proposes
// one thing at a time.
func (c *Core) reconcile() {
	if !c.ready || c.failed != nil || c.confIndex > c.applied || c.membersSent > c.applied {
		return
	}
	if news := c.memberNews(); len(news) > 0 {
		if c.stepProposal([]*raftpb.Entry{{Data: encodeMembers(news)}}) == nil {
			c.membersSent = c.last
		}
		return
	}
	if c.proposeChange() {
		return
	}
	for _, p := range c.sortedPeers() {
		id := raftID(p.info.ID)
		known := findVoter(c.members, p.info.ID)
		switch {
		case !p.connected || isVoter(c.conf, id):
		case !isLearner(c.conf, id):
			c.proposeConf(raftpb.ConfChangeType_ConfChangeAddLearnerNode, p.info)
			return
		case known != nil && otherDir(known.Dir, p.info.Dir): // start over with it
			c.proposeConf(raftpb.ConfChangeType_ConfChangeRemoveNode, p.info)
			return
		}
	}
}

// replaced reports whether a node is connected that came back with an empty
// directory. Until it is a member anew it must hear nothing: what its
// predecessor acknowledged is not there.
func (c *Core) replaced(node int32) bool {
	p, known := c.peers[node], findVoter(c.members, node)
	return p != nil && p.connected && known != nil && otherDir(known.Dir, p.info.Dir)
}

// memberNews lists what the log does not yet say of this member and of those
// that are connected.
func (c *Core) memberNews() []Voter {
	var news []Voter
	note := func(info Voter) {
		known := findVoter(c.members, info.ID)
		if known == nil {
			return
		}
		merged := *known
		if merged.Dir == metadata.ZeroUUID || info.ID == c.cfg.Self.ID && info.Dir != metadata.ZeroUUID {
			merged.Dir = info.Dir // its own is right: it has the log that it leads by
		}
		if info.Host != "" && merged.Dir == info.Dir {
			merged.Host, merged.Port = info.Host, info.Port
		}
		if merged != *known {
			news = append(news, merged)
		}
	}
	note(c.cfg.Self)
	for _, p := range c.sortedPeers() {
		if p.connected {
			note(p.info)
		}
	}
	if c.membersLogged {
		return news
	}
	all := make([]Voter, 0, len(c.members))
	for _, m := range c.members {
		if changed := findVoter(news, m.ID); changed != nil {
			m = *changed
		}
		all = append(all, m)
	}
	return all
}

// sortedPeers are the peers by ascending id.
func (c *Core) sortedPeers() []*peer {
	infos := make([]Voter, 0, len(c.peers))
	for _, p := range c.peers {
		infos = append(infos, p.info)
	}
	peers := make([]*peer, 0, len(infos))
	for _, info := range sortVoters(infos) {
		peers = append(peers, c.peers[info.ID])
	}
	return peers
}

// proposeConf proposes one change of the members.
func (c *Core) proposeConf(kind raftpb.ConfChangeType, member Voter) bool {
	id := raftID(member.ID)
	change := &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: &kind, NodeId: &id}}}
	if kind != raftpb.ConfChangeType_ConfChangeRemoveNode {
		change.Context = encodeMembers([]Voter{member})[1:]
	}
	if c.rn.ProposeConfChange(change) != nil {
		return false
	}
	c.last++
	c.confIndex = c.last
	return true
}

// AddVoter lets an observer vote, once it has everything that is committed
// (KIP-853). The id comes back in Done; Cancel gives up before.
func (c *Core) AddVoter(nowMs int64, v Voter) (uint64, error) {
	if err := c.changeable(nowMs); err != nil {
		return 0, err
	}
	if isVoter(c.conf, raftID(v.ID)) {
		return 0, &voterError{fmt.Sprintf("The voter id for %s is already part of the set of voters %s.", voterKey(v.ID, v.Dir), c.voterKeys()), []error{ErrDuplicateVoter}}
	}
	return c.startChange(raftpb.ConfChangeType_ConfChangeAddNode, v), nil
}

// RemoveVoter takes away a voter's vote. If it is connected, it goes on as an
// observer. A leader does not remove itself: it hands over, and the next one
// can. Otherwise its log could be longer than those of all who have the vote,
// and they would not know that they need its vote no more.
func (c *Core) RemoveVoter(nowMs int64, node int32, dir metadata.UUID) (uint64, error) {
	if err := c.changeable(nowMs); err != nil {
		return 0, err
	}
	known := findVoter(c.members, node)
	if known == nil || !isVoter(c.conf, raftID(node)) || known.Dir != dir && known.Dir != metadata.ZeroUUID {
		return 0, c.cannotRemove(node, dir, ErrVoterNotFound)
	}
	if len(c.conf.Voters) == 1 {
		return 0, c.cannotRemove(node, dir, ErrVoterNotFound, ErrLastVoter)
	}
	if node == c.cfg.Self.ID {
		if !c.Transfer(nowMs) {
			return 0, ErrNoSuccessor
		}
		return 0, &NotLeaderError{LeaderID: -1, Epoch: c.leader.Epoch}
	}
	kind := raftpb.ConfChangeType_ConfChangeRemoveNode
	if p := c.peers[node]; p != nil && p.connected {
		kind = raftpb.ConfChangeType_ConfChangeAddLearnerNode
	}
	return c.startChange(kind, *known), nil
}

// voterError is a refusal in Kafka's words (AddVoterHandler,
// RemoveVoterHandler).
type voterError struct {
	message string
	is      []error
}

func (e *voterError) Error() string   { return e.message }
func (e *voterError) Unwrap() []error { return e.is }

func (c *Core) cannotRemove(node int32, dir metadata.UUID, is ...error) error {
	return &voterError{fmt.Sprintf("Cannot remove voter %s from the set of voters %s", voterKey(node, dir), c.voterKeys()), is}
}

// voterKey writes a voter as Kafka does (ReplicaKey).
func voterKey(node int32, dir metadata.UUID) string {
	text := "<undefined>"
	if dir != metadata.ZeroUUID {
		text = dir.String()
	}
	return fmt.Sprintf("ReplicaKey(id=%d, directoryId=%s)", node, text)
}

func (c *Core) voterKeys() string {
	var keys []string
	for _, m := range c.members {
		if c.Voting(m.ID) {
			keys = append(keys, voterKey(m.ID, m.Dir))
		}
	}
	return "[" + strings.Join(keys, ", ") + "]"
}

// RemoveObserver forgets an observer that does not come back.
func (c *Core) RemoveObserver(nowMs int64, node int32) (uint64, error) {
	if err := c.changeable(nowMs); err != nil {
		return 0, err
	}
	if !isLearner(c.conf, raftID(node)) {
		return 0, ErrObserverNotFound
	}
	if p := c.peers[node]; p != nil && p.connected {
		return 0, ErrObserverConnected
	}
	return c.startChange(raftpb.ConfChangeType_ConfChangeRemoveNode, Voter{ID: node}), nil
}

func (c *Core) changeable(nowMs int64) error {
	switch {
	case !c.input(nowMs):
		return c.failed
	case !c.ready:
		return &NotLeaderError{LeaderID: c.leader.ID, Epoch: c.leader.Epoch}
	case c.change != nil:
		return ErrVoterChangePending
	}
	return nil
}

func (c *Core) startChange(kind raftpb.ConfChangeType, member Voter) uint64 {
	c.nextID++
	id := c.nextID
	c.change = &memberChange{id: id, kind: kind, member: member}
	c.reconcile()
	c.drain()
	return id
}

// Cancel gives up a change of the members that was not proposed yet; one that
// was goes on. It reports whether it was given up.
func (c *Core) Cancel(id uint64) bool {
	if c.change == nil || c.change.id != id || c.change.proposed > 0 {
		return false
	}
	c.finishChange(ErrCanceled)
	return true
}

func (c *Core) finishChange(err error) {
	c.effects.Done = append(c.effects.Done, Done{ID: c.change.id, Err: err})
	c.change = nil
}

// checkChange proposes the change that is waiting for its member to catch up,
// and finishes the one that is applied.
func (c *Core) checkChange() {
	if c.ready && c.change != nil && c.failed == nil {
		c.reconcile()
	}
}

// proposeChange goes on with the asked change; it reports whether it proposed
// something.
func (c *Core) proposeChange() bool {
	change := c.change
	if change == nil {
		return false
	}
	// If it was proposed before and is still here, raft has turned it into
	// nothing.
	change.proposed = 0
	if change.kind == raftpb.ConfChangeType_ConfChangeAddNode && !c.caughtUp(change.member) {
		return false
	}
	if !c.proposeConf(change.kind, change.member) {
		return false
	}
	change.proposed = c.confIndex
	return true
}

// caughtUp reports whether an observer with this directory has all that is
// committed.
func (c *Core) caughtUp(v Voter) bool {
	p, known := c.peers[v.ID], findVoter(c.members, v.ID)
	if p == nil || !p.connected || known == nil || known.Dir != v.Dir {
		return false
	}
	match, state := c.progress(v.ID)
	return state == tracker.StateReplicate && match >= c.hard.Commit
}

// progress is how far a member's log is known to agree with the leader's.
func (c *Core) progress(node int32) (match uint64, state tracker.StateType) {
	c.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id == raftID(node) {
			match, state = pr.Match, pr.State
		}
	})
	return match, state
}

// noteProgress remembers when a member had everything.
func (c *Core) noteProgress(node int32) {
	if p := c.peers[node]; c.leading && p != nil {
		if match, _ := c.progress(node); match >= c.hard.Commit {
			p.caughtUpMs = c.nowMs
		}
	}
}

// Transfer asks the most advanced other voter that is connected to take over.
// It reports whether there is one.
func (c *Core) Transfer(nowMs int64) bool {
	if !c.input(nowMs) || !c.leading {
		return false
	}
	var best, bestMatch uint64
	c.rn.WithProgress(func(id uint64, kind raft.ProgressType, pr tracker.Progress) {
		p := c.peers[nodeID(id)]
		if id != c.id && kind == raft.ProgressTypePeer && p != nil && p.connected && pr.Match >= bestMatch {
			best, bestMatch = id, pr.Match
		}
	})
	if best == 0 {
		return false
	}
	c.rn.TransferLeader(best)
	c.drain()
	return true
}

// yield hands over leadership that this member got before it learned that it
// has no vote any more, or while its disk is full. It leads on until then: the
// others may not know it yet.
func (c *Core) yield() {
	if c.leading && (c.noRoom || !isVoter(c.conf, c.id)) {
		c.Transfer(c.nowMs)
	}
}
