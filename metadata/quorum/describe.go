package quorum

import (
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// Quorum is the group as DescribeQuorum shows it (KIP-595, KIP-836).
type Quorum struct {
	// LeaderID is -1 when this node knows no leader.
	LeaderID, Epoch int32
	// HighWatermark is the index behind the last committed entry.
	HighWatermark     int64
	Voters, Observers []Replica
}

// Replica is one member. The numbers are known to the leader only; -1 stands
// for unknown.
type Replica struct {
	Voter
	// LogEndOffset is the index behind the last entry that the member is known
	// to hold.
	LogEndOffset int64
	// LastFetchMs is when the leader last heard of the member, and
	// LastCaughtUpMs when it last had everything committed, in milliseconds
	// since 1970.
	LastFetchMs, LastCaughtUpMs int64
	// Connected tells whether the member has a connection to this node.
	Connected bool
}

// Former is the other node that led last before this one leads, -1 if it is not
// known, and for how long nothing was heard of it. Its process is silent, not
// only the leader in it: what else it does need not be waited for from now on.
func (c *Core) Former(nowMs int64) (id int32, silentMs int64) {
	return c.former, max(nowMs-c.formerMs, 0)
}

func (c *Core) noteFormer(node int32) {
	if node == c.former {
		c.formerMs = c.nowMs
	}
}

// Former is the other node that led last before this one leads, -1 if it is not
// known, and for how long nothing was heard of it.
func (n *Node) Former() (id int32, silent time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, silentMs := n.mu.core.Former(n.nowMs())
	return id, time.Duration(silentMs) * time.Millisecond
}

// Describe shows the group. Its times count from the Core's beginning.
func (c *Core) Describe() Quorum {
	q := Quorum{LeaderID: c.leader.ID, Epoch: c.leader.Epoch, HighWatermark: int64(c.hard.Commit) + 1}
	match := map[uint64]uint64{}
	if c.leading {
		c.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) { match[id] = pr.Match })
	}
	for _, m := range c.members {
		r := Replica{Voter: m, LogEndOffset: -1, LastFetchMs: -1, LastCaughtUpMs: -1, Connected: m.ID == c.cfg.Self.ID}
		if p := c.peers[m.ID]; p != nil && p.connected {
			r.Connected = true
		}
		if c.leading {
			r.LogEndOffset = int64(match[raftID(m.ID)]) + 1
			if p := c.peers[m.ID]; m.ID == c.cfg.Self.ID {
				r.LastFetchMs, r.LastCaughtUpMs = c.nowMs, c.nowMs
			} else if p != nil {
				r.LastFetchMs, r.LastCaughtUpMs = p.heardMs, p.caughtUpMs
				if r.LogEndOffset >= q.HighWatermark && p.connected {
					r.LastCaughtUpMs = max(p.heardMs, p.caughtUpMs)
				}
			}
		}
		if c.Voting(m.ID) {
			q.Voters = append(q.Voters, r)
		} else {
			q.Observers = append(q.Observers, r)
		}
	}
	return q
}

// Describe shows the group as this node knows it.
func (n *Node) Describe() Quorum {
	n.mu.Lock()
	q := n.mu.core.Describe()
	n.mu.Unlock()
	begin := n.begin.UnixMilli()
	for _, list := range [][]Replica{q.Voters, q.Observers} {
		for i := range list {
			r := &list[i]
			if r.ID == n.opts.NodeID && r.LastFetchMs >= 0 {
				now := time.Now().UnixMilli()
				r.LastFetchMs, r.LastCaughtUpMs = now, now
				continue
			}
			if r.LastFetchMs >= 0 {
				r.LastFetchMs += begin
			}
			if r.LastCaughtUpMs >= 0 {
				r.LastCaughtUpMs += begin
			}
		}
	}
	return q
}
