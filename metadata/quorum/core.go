package quorum

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"freshet/metadata"
)

// Limits of the protocol.
const (
	// electionTicks is how many ticks a leader may be silent; a tick is a
	// heartbeat's interval, so a leader sends about this many in the time
	// after which it is given up.
	electionTicks = 10
	// quorumTicks is how many heartbeats in a row may go without an answer of a
	// majority before a leader steps down: fewer than followers wait for it, so
	// that it acts as the leader no more when they elect another.
	quorumTicks = 6
	// maxMessageBytes bounds the entries in one message, maxInflightMessages
	// the messages that a follower has not acknowledged.
	maxMessageBytes     = 1 << 20
	maxInflightMessages = 64
	// maxCommittedBytes bounds what is applied in one go.
	maxCommittedBytes = 4 << 20
	// campaignSpreadMs is the measure of time between the elections of followers
	// that lost their leader's connection at the same moment.
	campaignSpreadMs = 100
	// minLogBytes keeps small logs from being replaced by snapshots often.
	minLogBytes = 256 << 10
)

// CoreConfig says who the member is and how patient it is.
type CoreConfig struct {
	// Self is what this member tells of itself: id, metadata directory and, if
	// it may vote, the address of its controller listener.
	Self Voter
	// FetchTimeoutMs is how long a follower waits for a silent leader
	// (controller.quorum.fetch.timeout.ms), ElectionTimeoutMs how long a
	// candidate waits for votes (controller.quorum.election.timeout.ms).
	FetchTimeoutMs, ElectionTimeoutMs int64
	// SnapshotBytes is the size of the log at which a snapshot replaces it; 0
	// lets it grow as large as the snapshot. It is never more than that.
	SnapshotBytes int64
	// Rand spreads elections. It belongs to the Core.
	Rand *rand.Rand
	// Logger takes raft's own messages.
	Logger raft.Logger
}

// Message is what members send each other: a raft message and, when that is a
// MsgSnap, the snapshot, which raft does not look into. Both are immutable.
type Message struct {
	Raft     *raftpb.Message
	Snapshot *Snapshot
	// Records are what the entries of Raft hold, in their order, where the
	// receiver's shell has read them already: reading them takes much longer
	// than applying them. They do not travel; nil leaves it to the Core.
	Records [][]metadata.Record
}

// ReadEntries fills Records. It needs no Core, so no lock either.
func (m *Message) ReadEntries() {
	entries := m.Raft.GetEntries()
	if len(entries) == 0 {
		return
	}
	m.Records = make([][]metadata.Record, len(entries))
	for i, e := range entries {
		if data := e.GetData(); holdsRecords(e) {
			// One that cannot be read is reported when it is applied.
			m.Records[i], _ = decodeRecords(data[2:])
		}
	}
}

// To is the node that the message is for, From the one that sent it.
func (m Message) To() int32 { return nodeID(m.Raft.GetTo()) }

// From is the node that sent the message.
func (m Message) From() int32 { return nodeID(m.Raft.GetFrom()) }

// Leadership is who leads in which epoch (raft: term). ID is -1 when nobody is
// known to.
type Leadership struct {
	ID, Epoch int32
}

// Done is what became of a proposal or a change of the members.
type Done struct {
	ID  uint64
	Err error
}

// Effects are what the shell has to carry out. Messages may be sent, lost and
// reordered at will; Writes must be kept in order; the rest is news.
type Effects struct {
	Send   []Message
	Writes []*Write
	// Image is the newest image, nil when it has not changed.
	Image *metadata.Image
	// Done are finished proposals, whose changes Image shows.
	Done []Done
	// Leader is set when another leader is known, or none any more.
	Leader *Leadership
	// Ready is set when this member leads and its image has everything that
	// was committed before.
	Ready bool
	// MembersChanged tells that Members or their addresses changed.
	MembersChanged bool
	// CutOff is set when this leader has stepped down because no majority answered
	// it. Voters may still hear it: its connections are to be broken, so that they
	// do not wait for it.
	CutOff bool
	// Failed is set once: the member cannot go on and takes no more part.
	Failed error
}

// Errors of proposals and of changes of the members.
var (
	ErrOutcomeUnknown     = errors.New("the controller lost its leadership before the change was committed; it may have happened or not")
	ErrVoterChangePending = errors.New("another change of the voters is going on; try again when it is done")
	ErrDuplicateVoter     = errors.New("the node is a voter already")
	ErrVoterNotFound      = errors.New("there is no voter with this id and directory id")
	ErrLastVoter          = errors.New("the last voter cannot be removed; add another one first")
	ErrNoSuccessor        = errors.New("the active controller cannot be removed while no other voter is connected")
	ErrObserverNotFound   = errors.New("there is no observer with this id")
	ErrObserverConnected  = errors.New("the observer is connected; stop it first")
	ErrCanceled           = errors.New("the change was given up before it was proposed")
)

// NotLeaderError refuses a change on a node that does not lead the metadata
// group. LeaderID is -1 when it knows no leader.
type NotLeaderError struct {
	LeaderID, Epoch int32
}

func (e *NotLeaderError) Error() string {
	if e.LeaderID < 0 {
		return "this node is not the active controller, and it knows of none"
	}
	return fmt.Sprintf("this node is not the active controller; node %d is", e.LeaderID)
}

// Core is one member of the metadata group, without its disk, clock and
// network. It is not safe for concurrent use. Every input may bring Effects,
// which are collected until Effects takes them; nowMs is any clock that does
// not go back.
//
// Invariant: image, members and conf are those at boundary, the last applied
// entry that did not leave a list of records unfinished.
type Core struct {
	cfg CoreConfig
	rn  *raft.RawNode
	log memlog
	id  uint64 // in raft

	nowMs        int64
	tickAtMs     int64
	electionAtMs int64 // when to campaign, unless the leader is heard of
	hurryUntilMs int64 // until then campaigns follow each other fast: the leader's connection broke

	hard      HardState         // newest
	written   HardState         // in the last Write
	last      uint64            // index of the last entry, on disk or on the way
	lastWrite *Write            // handed out
	held      []*raftpb.Message // entries for others that are to be on the own disk first
	unsynced  int               // Writes handed out and not Persisted
	leader    Leadership        // last told
	former    int32             // the last other leader since this member led; -1: none
	formerMs  int64             // when former was last heard of
	leading   bool              // raft's state is leader
	ready     bool              // leading, and the first entry of the term is applied
	noRoom    bool              // Writes wait: the disk is full

	image         *metadata.Image
	members       []Voter
	membersLogged bool
	founding      string
	conf          *raftpb.ConfState
	applied       uint64
	boundary      uint64
	boundaryTerm  uint64
	partial       []metadata.Record // of an unfinished list
	partialOpen   bool
	// read are the records of entries that are not applied yet, by index, as
	// far as Step brought them. An entry that is replaced overwrites its own.
	read map[uint64]readEntry

	head      *metadata.Image // ready: image with all proposals applied
	proposals []*proposal     // in the order of their entries
	nextID    uint64

	logBytes   int64 // of entries applied since the last snapshot
	compacting bool
	incoming   *Snapshot // from the leader, until raft has judged it
	installing bool      // an incoming snapshot is on its way to the disk
	offered    *Snapshot // last made for another member

	peers       map[int32]*peer
	change      *memberChange // asked for by AddVoter and the like
	confIndex   uint64        // of the last proposed change of conf; nothing else is proposed until it is applied
	membersSent uint64        // index of the last proposed payloadMembers

	effects Effects
	failed  error
}

type readEntry struct {
	term    uint64
	records []metadata.Record
}

// proposal is a list of records on its way.
type proposal struct {
	id          uint64
	first, last uint64 // indexes of its entries
	next        *metadata.Image
}

// peer is what is known of another member while it is connected, or was.
type peer struct {
	info       Voter
	connected  bool
	heardMs    int64 // last message, -1: none
	caughtUpMs int64 // last time it had everything, -1: never
	unanswered int   // heartbeats since the last message
}

// NewCore continues from what the disk holds, of which it keeps a copy. Image
// has all that is known to be committed.
func NewCore(cfg CoreConfig, state State, nowMs int64) (*Core, error) {
	c := &Core{cfg: cfg, id: raftID(cfg.Self.ID), nowMs: nowMs, leader: Leadership{ID: -1}, former: -1,
		image: metadata.NewImage(), conf: &raftpb.ConfState{}, peers: map[int32]*peer{}, read: map[uint64]readEntry{}}
	if s := state.Snapshot; s != nil {
		c.adopt(s)
		state.Hard.Commit = max(state.Hard.Commit, s.Index)
	}
	if soleVoter(c.conf, c.id) && !hasConfChange(state.Entries) {
		// What a group of one has on its disk is committed.
		state.Hard.Commit = max(state.Hard.Commit, state.Last())
	}
	state.Entries = slices.Clone(state.Entries)
	c.log.state = state
	c.log.snapshot = c.offer
	c.hard, c.written, c.last = state.Hard, state.Hard, state.Last()
	var err error
	c.rn, err = raft.NewRawNode(&raft.Config{
		ID:                        c.id,
		ElectionTick:              electionTicks,
		HeartbeatTick:             1,
		Storage:                   &c.log,
		Applied:                   c.applied,
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             maxMessageBytes,
		MaxCommittedSizePerReady:  maxCommittedBytes,
		MaxInflightMsgs:           maxInflightMessages,
		MaxInflightBytes:          maxInflightMessages * maxMessageBytes / 4,
		CheckQuorum:               true,
		PreVote:                   true,
		Logger:                    cfg.Logger,
		DisableProposalForwarding: true,
	})
	if err != nil {
		return nil, err
	}
	c.tickAtMs = nowMs + c.tickMs()
	// A starting member asks early whether there is a leader: the others do
	// not vote for it while they have one.
	c.electionAtMs = nowMs + c.between(campaignSpreadMs, 4*campaignSpreadMs)
	c.leader.Epoch = int32(state.Hard.Term)
	c.drain()
	c.effects = Effects{Writes: c.effects.Writes}
	return c, c.failed
}

// soleVoter reports whether id votes alone.
func soleVoter(conf *raftpb.ConfState, id uint64) bool {
	return len(conf.Voters) == 1 && conf.Voters[0] == id && len(conf.VotersOutgoing) == 0
}

func hasConfChange(entries []*raftpb.Entry) bool {
	for _, e := range entries {
		if e.GetType() != raftpb.EntryNormal {
			return true
		}
	}
	return false
}

// adopt takes over what a snapshot says.
func (c *Core) adopt(s *Snapshot) {
	c.image, c.members, c.membersLogged, c.founding = s.Image, s.Members, s.MembersLogged, s.Founding
	c.conf = s.Conf
	c.applied, c.boundary, c.boundaryTerm = s.Index, s.Index, s.Term
	c.partial, c.partialOpen = nil, false
	c.logBytes = 0
	clear(c.read)
}

// current is a snapshot of what is applied.
func (c *Core) current() *Snapshot {
	return &Snapshot{Index: c.boundary, Term: c.boundaryTerm, Conf: c.conf, Members: c.members,
		MembersLogged: c.membersLogged, Founding: c.founding, Image: c.image}
}

// offer is raft asking for a snapshot to send.
func (c *Core) offer() *raftpb.Snapshot {
	c.offered = c.current()
	return &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: c.conf, Index: &c.offered.Index, Term: &c.offered.Term}}
}

// tickMs is the interval of heartbeats.
func (c *Core) tickMs() int64 { return max(c.cfg.FetchTimeoutMs/electionTicks, 1) }

// between is a random time of [low, high) in ms.
func (c *Core) between(low, high int64) int64 {
	return low + c.cfg.Rand.Int64N(max(high-low, 1))
}

// Image is the newest applied image.
func (c *Core) Image() *metadata.Image { return c.image }

// Leader is who leads now, as far as this member knows.
func (c *Core) Leader() Leadership { return c.leader }

// Members are voters and observers by ascending id; Voting tells which is which.
func (c *Core) Members() []Voter { return c.members }

// Voting reports whether a node votes.
func (c *Core) Voting(node int32) bool { return isVoter(c.conf, raftID(node)) }

// Founding names the ids of the group's first voters, "" before it has joined.
func (c *Core) Founding() string { return c.founding }

// Alone reports whether this member is the whole group.
func (c *Core) Alone() bool { return soleVoter(c.conf, c.id) && len(c.conf.Learners) == 0 }

func isVoter(conf *raftpb.ConfState, id uint64) bool {
	for _, v := range conf.Voters {
		if v == id {
			return true
		}
	}
	return false
}

func isLearner(conf *raftpb.ConfState, id uint64) bool {
	for _, v := range conf.Learners {
		if v == id {
			return true
		}
	}
	return false
}

// Effects takes what is to be carried out, and whether there is anything.
func (c *Core) Effects() (Effects, bool) {
	e := c.effects
	c.effects = Effects{}
	any := len(e.Send) > 0 || len(e.Writes) > 0 || e.Image != nil || len(e.Done) > 0 ||
		e.Leader != nil || e.Ready || e.MembersChanged || e.CutOff || e.Failed != nil
	return e, any
}

// NextMs is when Tick wants to be called, unless another input changes it.
func (c *Core) NextMs() int64 {
	switch {
	case c.leading && c.Alone():
		return math.MaxInt64
	case c.promotable() && c.electionAtMs < c.tickAtMs:
		return c.electionAtMs
	}
	return c.tickAtMs
}

func (c *Core) promotable() bool { return !c.leading && !c.noRoom && isVoter(c.conf, c.id) }

// SetRoom tells whether Writes wait, because the disk is full. A member without
// room says nothing that rests on a Write, as always, so it neither votes nor
// acknowledges; nor does it want to lead: it hands over, and does not stand for
// election.
func (c *Core) SetRoom(nowMs int64, room bool) {
	if !c.input(nowMs) {
		return
	}
	c.noRoom = !room
	if room && !c.leading {
		c.electionAtMs = c.nowMs + c.cfg.FetchTimeoutMs + c.between(0, c.cfg.ElectionTimeoutMs/4)
	}
	c.yield()
	c.drain()
}

// Tick tells the time. After a pause it makes up for one tick only: what other
// members said meanwhile is still to be read.
func (c *Core) Tick(nowMs int64) {
	if !c.input(nowMs) {
		return
	}
	if nowMs >= c.tickAtMs {
		c.tickAtMs = nowMs + c.tickMs()
		switch {
		case c.leading && c.unheard():
			c.stepDown()
		case c.leading:
			c.rn.Tick()
		default:
			// Only the lease of the leader runs: when to campaign is this
			// type's decision, because raft's own is not repeatable.
			c.rn.TickQuiesced()
		}
	}
	if c.promotable() && nowMs >= c.electionAtMs {
		c.campaign()
	}
	c.drain()
	c.checkChange()
	c.yield()
	c.drain()
}

// unheard counts a heartbeat that is due, and reports whether too many in a row
// went without an answer of a majority. It counts heartbeats and not time: after
// a pause of this process answers are still to be read.
func (c *Core) unheard() bool {
	answering := 0
	for _, p := range c.peers {
		p.unanswered++
	}
	for _, id := range c.conf.Voters {
		if p := c.peers[nodeID(id)]; id == c.id || p != nil && p.unanswered <= quorumTicks {
			answering++
		}
	}
	return answering <= len(c.conf.Voters)/2
}

// stepDown gives up leadership that a majority does not answer. Raft's own check
// for that (CheckQuorum) looks at who answered between two checks, an election
// timeout apart; two of them at once find nobody.
func (c *Core) stepDown() {
	kind, from := raftpb.MsgCheckQuorum, raft.LocalAppendThread
	for range 2 {
		_ = c.rn.Step(&raftpb.Message{Type: &kind, From: &from}) // never fails
	}
	c.effects.CutOff = true
}

// Campaign asks for votes now.
func (c *Core) Campaign(nowMs int64) {
	if c.input(nowMs) && c.promotable() {
		c.campaign()
		c.drain()
	}
}

func (c *Core) campaign() {
	if c.nowMs < c.hurryUntilMs {
		c.electionAtMs = c.nowMs + c.between(campaignSpreadMs/2, campaignSpreadMs*3/2)
	} else {
		c.electionAtMs = c.nowMs + c.between(c.cfg.ElectionTimeoutMs/4, c.cfg.ElectionTimeoutMs/2)
	}
	// The others refuse while they hear the leader; this member must not
	// count itself among them.
	_ = c.rn.ForgetLeader() // fails for other roles, which know no leader
	_ = c.rn.Campaign()     // never fails
}

// input notes the time; it is false when the member has failed.
func (c *Core) input(nowMs int64) bool {
	c.nowMs = max(c.nowMs, nowMs)
	return c.failed == nil
}

// fail ends the member's part in the group.
func (c *Core) fail(err error) {
	if c.failed != nil {
		return
	}
	c.failed, c.effects.Failed = err, err
	c.abandon(err)
	c.effects.Send = nil
}

// Fail ends the member's part in the group, for example because its disk failed.
func (c *Core) Fail(err error) { c.fail(err) }

// Step takes a message of another member.
func (c *Core) Step(nowMs int64, m Message) {
	if !c.input(nowMs) || !c.acceptable(m) {
		return
	}
	if p := c.peers[m.From()]; p != nil {
		p.heardMs, p.unanswered = c.nowMs, 0
	}
	c.noteFormer(m.From())
	for i, records := range m.Records {
		if e := m.Raft.GetEntries()[i]; records != nil {
			c.read[e.GetIndex()] = readEntry{e.GetTerm(), records}
		}
	}
	kind := m.Raft.GetType()
	c.incoming = m.Snapshot
	_ = c.rn.Step(m.Raft) // of a stranger: nothing happens
	c.drain()
	c.incoming = nil
	status := c.rn.BasicStatus()
	switch kind {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		if status.Lead == m.Raft.GetFrom() {
			c.electionAtMs = c.nowMs + c.cfg.FetchTimeoutMs + c.between(0, c.cfg.ElectionTimeoutMs/4)
		}
	case raftpb.MsgVote:
		if status.GetVote() == m.Raft.GetFrom() && status.GetTerm() == m.Raft.GetTerm() {
			c.electionAtMs = c.nowMs + c.between(c.cfg.ElectionTimeoutMs/2, c.cfg.ElectionTimeoutMs)
		}
	case raftpb.MsgAppResp:
		c.noteProgress(m.From())
		c.checkChange()
		c.drain()
	}
}

// acceptable refuses messages that only a broken peer sends, and finds out
// whether this member has forgotten what it acknowledged.
func (c *Core) acceptable(m Message) bool {
	if m.Raft.GetTo() != c.id || m.Raft.GetFrom() == c.id || m.Raft.GetFrom() == raft.None {
		return false
	}
	if c.noRoom && m.Raft.GetType() == raftpb.MsgTimeoutNow {
		return false // it is not to lead
	}
	switch m.Raft.GetType() {
	case raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgHeartbeatResp,
		raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow, raftpb.MsgApp:
		return true
	case raftpb.MsgSnap:
		s := m.Snapshot
		return s != nil && m.Raft.GetSnapshot() != nil && s.Index == m.Raft.GetSnapshot().GetMetadata().GetIndex()
	case raftpb.MsgHeartbeat:
		if m.Raft.GetTerm() >= c.hard.Term && m.Raft.GetCommit() > c.last {
			c.fail(fmt.Errorf("the metadata log of node %d ends at entry %d, but it acknowledged entries up to %d: its metadata file was replaced by an older one, or this is a copy of its directories; "+
				"if the node runs elsewhere, stop this process; else remove the node from the quorum, empty its metadata directory and add it again", c.cfg.Self.ID, c.last, m.Raft.GetCommit()))
			return false
		}
		return true
	}
	return false
}

// Persisted tells that a Write and all before it are synced.
func (c *Core) Persisted(nowMs int64, w *Write) {
	if !c.input(nowMs) {
		return
	}
	c.unsynced--
	c.log.state.Apply(w)
	if w.compacts {
		c.compacting = false
	}
	if w.change > 0 {
		c.effects.Done = append(c.effects.Done, Done{ID: w.change})
	}
	if w.Reset {
		c.adopt(w.Snapshot)
		c.installing = false
		c.effects.Image, c.effects.MembersChanged = c.image, true
	}
	for _, m := range w.held {
		c.emit(m)
	}
	c.respond(w.responses)
	c.drain()
}

// respond sends or steps what waited for a Write.
func (c *Core) respond(responses []*raftpb.Message) {
	for _, m := range responses {
		if m.GetTo() == c.id {
			_ = c.rn.Step(m)
		} else {
			c.send(m)
		}
	}
}

func (c *Core) send(m *raftpb.Message) {
	if c.replaced(nodeID(m.GetTo())) {
		return
	}
	if c.leading && m.GetType() == raftpb.MsgApp && len(m.GetEntries()) > 0 && len(c.conf.Voters) <= 2 {
		c.held = append(c.held, m)
		return
	}
	c.emit(m)
}

// emit hands out a message.
func (c *Core) emit(m *raftpb.Message) {
	message := Message{Raft: m}
	if m.GetType() == raftpb.MsgSnap {
		if message.Snapshot = c.offered; c.offered.Index != m.GetSnapshot().GetMetadata().GetIndex() {
			panic("BUG: the snapshot to send is not the one that was made")
		}
	}
	c.effects.Send = append(c.effects.Send, message)
}

// release lets held entries go when they are on this leader's own disk.
//
// Usually a leader sends entries while it writes them. Where there are two
// voters, or one that gets a second, that could stop the group for good: if the
// leader crashed and lost entries that the other one has, it would need that
// one's vote and not get it, because its log is shorter; and the other one, which
// has learned that it has no vote, or not yet learned that it has one, would not
// campaign.
func (c *Core) release() {
	if len(c.held) == 0 {
		return
	}
	held := c.held
	c.held = nil
	if c.unsynced > 0 {
		c.lastWrite.held = append(c.lastWrite.held, held...)
		return
	}
	for _, m := range held {
		c.emit(m)
	}
}

// drain takes what raft has to say until it is silent.
func (c *Core) drain() {
	for c.failed == nil && c.rn.HasReady() {
		rd := c.rn.Ready()
		if !raft.IsEmptyHardState(rd.HardState) {
			c.hard = HardState{Term: rd.HardState.GetTerm(), Vote: rd.HardState.GetVote(), Commit: rd.HardState.GetCommit()}
		}
		if rd.SoftState != nil || c.leader.Epoch != int32(c.hard.Term) {
			c.roleChanged(rd.SoftState)
		}
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				c.write(m)
			case raft.LocalApplyThread:
				c.applyEntries(m.GetEntries())
				c.respond(m.GetResponses())
				c.reconcile() // after raft knows what is applied
			default:
				c.send(m)
			}
		}
		c.release()
	}
	if c.failed == nil {
		c.compact()
	}
}

// roleChanged looks at who leads now.
func (c *Core) roleChanged(soft *raft.SoftState) {
	if soft == nil {
		now := c.rn.BasicStatus().SoftState
		soft = &now
	}
	leading := soft.RaftState == raft.StateLeader
	if c.leading && (!leading || c.leader.Epoch != int32(c.hard.Term)) {
		c.abandon(ErrOutcomeUnknown)
	}
	if c.leading && !leading {
		c.former = -1
		c.electionAtMs = c.nowMs + c.cfg.FetchTimeoutMs + c.between(0, c.cfg.ElectionTimeoutMs/4)
	}
	if leading && !c.leading {
		for _, p := range c.peers {
			p.heardMs, p.caughtUpMs, p.unanswered = -1, -1, 0
		}
	}
	c.leading = leading
	leader := Leadership{ID: nodeID(soft.Lead), Epoch: int32(c.hard.Term)}
	if leader.ID != c.leader.ID || leader.ID >= 0 && leader.Epoch != c.leader.Epoch {
		told := leader
		c.effects.Leader = &told
	}
	if leader.ID >= 0 && leader.ID != c.cfg.Self.ID {
		c.former = leader.ID
		c.noteFormer(leader.ID)
	}
	c.leader = leader
}

// abandon gives up what a leader had under way.
func (c *Core) abandon(err error) {
	c.ready, c.head = false, nil
	for _, p := range c.proposals {
		c.effects.Done = append(c.effects.Done, Done{ID: p.id, Err: err})
	}
	c.proposals = nil
	if c.change != nil {
		c.finishChange(err)
	}
	c.confIndex, c.membersSent = 0, 0
}

// write makes a Write of what raft wants on disk.
func (c *Core) write(m *raftpb.Message) {
	w := &Write{Entries: m.GetEntries(), responses: m.GetResponses()}
	if n := len(w.Entries); n > 0 {
		c.last = w.Entries[n-1].GetIndex()
	}
	if s := m.GetSnapshot(); s != nil && s.GetMetadata().GetIndex() > 0 {
		w.Snapshot, w.Reset = c.incoming, true
		c.installing = true
		w.First, w.FirstTerm = w.Snapshot.Index+1, w.Snapshot.Term
		if len(w.Entries) == 0 {
			c.last = w.Snapshot.Index
		}
	}
	promised := c.hard.Term != c.written.Term || c.hard.Vote != c.written.Vote
	if promised && len(w.Entries) == 0 && w.Snapshot == nil && c.Alone() && onlyOwnVote(w.responses) {
		// Nobody but this member can ever have seen the new term: it goes to
		// disk with the term's first entry, and a start costs one sync less.
		c.respond(w.responses)
		return
	}
	if promised || len(w.Entries) > 0 || w.Snapshot != nil {
		// Where the log is committed is not worth a sync of its own.
		hard := c.hard
		w.Hard, c.written = &hard, hard
	}
	if w.Empty() && c.unsynced == 0 {
		c.respond(w.responses) // there is nothing to wait for
		return
	}
	c.handOut(w)
}

func (c *Core) handOut(w *Write) {
	c.unsynced++
	c.lastWrite = w
	c.effects.Writes = append(c.effects.Writes, w)
}

// onlyOwnVote reports whether nothing waits for a Write but a member's vote for
// itself.
func onlyOwnVote(responses []*raftpb.Message) bool {
	for _, m := range responses {
		if m.GetType() != raftpb.MsgVoteResp {
			return false
		}
	}
	return true
}

// compact replaces the log by a snapshot when it has grown large. Entries since
// the last snapshot stay, for members that are a little behind.
func (c *Core) compact() {
	limit := max(minLogBytes, c.log.state.SnapshotBytes)
	if c.cfg.SnapshotBytes > 0 {
		limit = min(limit, c.cfg.SnapshotBytes)
	}
	if c.compacting || c.installing || c.logBytes <= limit || c.log.state.Snapshot == nil {
		return
	}
	old := c.log.state.Snapshot
	c.compacting, c.logBytes = true, 0
	c.handOut(&Write{Snapshot: c.current(), First: old.Index + 1, FirstTerm: old.Term, compacts: true})
}

// Rest is the last Write before the disk is closed: up to where the log is
// known to be committed, so that the next start shows all of it at once. It is
// nil when the disk has that.
func (c *Core) Rest() *Write {
	if c.failed != nil || c.hard == c.log.state.Hard || c.hard.Commit > c.log.state.Last() {
		return nil
	}
	hard := c.hard
	return &Write{Hard: &hard}
}
