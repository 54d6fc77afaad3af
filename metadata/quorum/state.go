package quorum

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"freshet/metadata"
)

// Voter is what the group knows of a member: of a voter, and of an observer
// too. Dir is the id of its metadata directory, zero until it first connected;
// a node that comes with another directory has lost what it promised and is
// not that member. Host and Port are where its controller listener is reached;
// "" when it has none.
type Voter struct {
	ID   int32         `json:"id"`
	Dir  metadata.UUID `json:"dir"`
	Host string        `json:"host,omitempty"`
	Port int32         `json:"port,omitempty"`
}

// HardState is what a member must not forget of its promises: the term, whom it
// voted for in it (a raft id, 0: nobody), and up to which index the log is
// known to be committed.
type HardState struct {
	Term, Vote, Commit uint64
}

// Snapshot is everything that the log up to Index amounts to. It is immutable.
type Snapshot struct {
	Index, Term uint64
	// Conf says who votes and who only listens.
	Conf *raftpb.ConfState
	// Members are voters and observers by ascending id.
	Members []Voter
	// MembersLogged tells that a leader has put the founders' data into the
	// log; before, each founder has its own from its configuration.
	MembersLogged bool
	// Founding names the ids of the first voters. Groups that were founded
	// apart must never mix, though their cluster id be the same.
	Founding string
	Image    *metadata.Image
}

// State is what a member finds on its disk when it starts. The zero State with
// First 1 is that of a member that has not joined yet.
type State struct {
	Hard HardState
	// Snapshot is nil before the member has joined a group.
	Snapshot *Snapshot
	// First is the index of the first entry kept, FirstTerm the term of the
	// one before it. First is at most Snapshot.Index+1: some entries that the
	// snapshot covers are kept for members that are a little behind.
	First, FirstTerm uint64
	// Entries are the log from First on, without gaps. They are immutable.
	Entries []*raftpb.Entry
	// SnapshotBytes is the size of the snapshot as it is stored, 0 unknown.
	SnapshotBytes int64
}

// Write is one change of the State. Writes must reach the disk in the order in
// which the Core handed them out, each whole or not at all; several may go in
// one transaction.
type Write struct {
	// Hard, when not nil, replaces State.Hard.
	Hard *HardState
	// Snapshot, when not nil, replaces State.Snapshot.
	Snapshot *Snapshot
	// Reset drops the whole log: Snapshot came from the leader.
	Reset bool
	// First, when not 0, drops the entries below it; FirstTerm goes with it.
	First, FirstTerm uint64
	// Entries replace all entries from the index of the first of them on.
	Entries []*raftpb.Entry
	// SnapshotBytes is set by whoever writes a Snapshot: its stored size.
	SnapshotBytes int64

	responses []*raftpb.Message // due when this Write and all before it are synced
	held      []*raftpb.Message // messages with entries, due likewise
	compacts  bool              // the Snapshot is the member's own
	change    uint64            // id of the change of the members that is done with this Write
}

// Empty reports whether there is nothing to write; such a Write waits for those
// before it all the same.
func (w *Write) Empty() bool {
	return w.Hard == nil && w.Snapshot == nil && w.First == 0 && len(w.Entries) == 0
}

// Apply makes the change. It is what a disk does to what it holds.
func (s *State) Apply(w *Write) {
	if w.Hard != nil {
		s.Hard = *w.Hard
	}
	if w.Snapshot != nil {
		s.Snapshot, s.SnapshotBytes = w.Snapshot, w.SnapshotBytes
	}
	if w.Reset {
		s.Entries = nil
		s.First, s.FirstTerm = w.First, w.FirstTerm
	} else if w.First > s.First {
		s.Entries = slices.Clone(s.Entries[min(w.First-s.First, uint64(len(s.Entries))):])
		s.First, s.FirstTerm = w.First, w.FirstTerm
	}
	if len(w.Entries) > 0 {
		if keep := w.Entries[0].GetIndex() - s.First; keep < uint64(len(s.Entries)) {
			// Readers may hold a slice of what is replaced: never write into it.
			s.Entries = s.Entries[:keep:keep]
		}
		s.Entries = append(s.Entries, w.Entries...)
	}
}

// Last is the index of the last entry.
func (s *State) Last() uint64 { return s.First + uint64(len(s.Entries)) - 1 }

// sortVoters puts members in the order in which they are kept and encoded.
func sortVoters(voters []Voter) []Voter {
	slices.SortFunc(voters, func(a, b Voter) int { return cmp.Compare(a.ID, b.ID) })
	return voters
}

// raftID is a node's id in raft, where 0 means nobody.
func raftID(node int32) uint64 { return uint64(node) + 1 }

// nodeID is the inverse of raftID; -1 for raft's nobody.
func nodeID(raft uint64) int32 { return int32(raft) - 1 }

// otherDir reports whether two known directory ids differ.
func otherDir(a, b metadata.UUID) bool {
	return a != metadata.ZeroUUID && b != metadata.ZeroUUID && a != b
}

// Founded is the State with which each of the first voters of a new group
// begins. self is what this one knows of itself, voters what all know of all.
func Founded(clusterID string, self Voter, voters []Voter) State {
	img, err := metadata.Apply(metadata.NewImage(), &metadata.ClusterRecord{ClusterID: clusterID})
	if err != nil {
		panic(fmt.Sprintf("BUG: a cluster cannot be founded: %v", err))
	}
	return foundedWith(img, self, voters)
}

// foundedWith is Founded with an image that is there already.
func foundedWith(img *metadata.Image, self Voter, voters []Voter) State {
	conf := &raftpb.ConfState{}
	members := sortVoters(append([]Voter(nil), voters...))
	names := make([]string, 0, len(members))
	for i, v := range members {
		conf.Voters = append(conf.Voters, raftID(v.ID))
		names = append(names, fmt.Sprint(v.ID))
		if v.ID == self.ID && v.Dir == metadata.ZeroUUID {
			members[i].Dir = self.Dir
		}
	}
	return State{
		Hard:     HardState{Term: 1, Commit: 1},
		Snapshot: &Snapshot{Index: 1, Term: 1, Conf: conf, Members: members, Founding: strings.Join(names, ","), Image: img},
		First:    2, FirstTerm: 1,
	}
}
