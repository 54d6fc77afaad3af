package quorum

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// memlog is the log as raft reads it: what is on disk, held in memory too, so
// that the Core never waits for a disk. Its size is bounded by snapshots.
type memlog struct {
	state State
	// snapshot makes a snapshot of the applied state, for a member that the
	// log does not reach any more.
	snapshot func() *raftpb.Snapshot
}

// InitialState is asked once, when raft starts.
func (l *memlog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	conf := &raftpb.ConfState{}
	if l.state.Snapshot != nil {
		conf = l.state.Snapshot.Conf
	}
	if l.state.Hard == (HardState{}) {
		return nil, conf, nil
	}
	hard := l.state.Hard
	return &raftpb.HardState{Term: &hard.Term, Vote: &hard.Vote, Commit: &hard.Commit}, conf, nil
}

// Entries are those of [lo, hi), at least one, and otherwise at most maxBytes.
func (l *memlog) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	if lo < l.state.First {
		return nil, raft.ErrCompacted
	}
	if hi > l.state.Last()+1 {
		return nil, raft.ErrUnavailable
	}
	entries := l.state.Entries[lo-l.state.First : hi-l.state.First]
	var bytes uint64
	for i, e := range entries {
		bytes += uint64(len(e.GetData()) + entryOverheadBytes)
		if i > 0 && bytes > maxBytes {
			return entries[:i:i], nil
		}
	}
	return entries[:len(entries):len(entries)], nil
}

// entryOverheadBytes is about what an entry costs beside its data.
const entryOverheadBytes = 24

// Term is that of entry i, which may be the one before the first.
func (l *memlog) Term(i uint64) (uint64, error) {
	switch {
	case i == l.state.First-1:
		return l.state.FirstTerm, nil
	case i < l.state.First:
		return 0, raft.ErrCompacted
	case i > l.state.Last():
		return 0, raft.ErrUnavailable
	}
	return l.state.Entries[i-l.state.First].GetTerm(), nil
}

// LastIndex is the index of the last entry.
func (l *memlog) LastIndex() (uint64, error) { return l.state.Last(), nil }

// FirstIndex is the index of the first entry kept.
func (l *memlog) FirstIndex() (uint64, error) { return l.state.First, nil }

// Snapshot is made for a member that the log does not reach.
func (l *memlog) Snapshot() (*raftpb.Snapshot, error) { return l.snapshot(), nil }
