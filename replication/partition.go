package replication

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"freshet/replication/isr"
	"freshet/storage"
)

// Role is what this broker is to a partition at one leader epoch. It is
// immutable.
type Role struct {
	Leads       bool
	LeaderEpoch int32 // -1 while this broker has no part in it
	LeaderID    int32 // -1: none
	// Solo: this broker leads and is the only replica, so the high watermark is
	// the log end offset.
	Solo bool
	// Followers are the other replicas, when this broker leads.
	Followers []int32
}

// noRole is the role before the first, and after the last.
var noRole = &Role{LeaderEpoch: -1, LeaderID: -1}

// Assignment is a partition's state in the metadata, as its replicas need it.
type Assignment struct {
	LeaderID, LeaderEpoch, PartitionEpoch int32
	Replicas, ISR                         []int32
	Recovering                            bool // elected uncleanly (KIP-704)
}

// Options are what leading depends on besides the assignment.
type Options struct {
	Self         int32
	LagTimeMaxMs int64 // replica.lag.time.max.ms
	// Eligible tells whether a broker may join the in-sync replicas: it is
	// neither fenced nor shutting down (KIP-841).
	Eligible func(broker int32) bool
}

// Partition is this broker's replica of one partition. Methods may be called
// from any goroutine.
//
// A role changes in this order: the new epoch is fenced in the log, so that
// nothing of an older one is appended any more; then the role is published.
// So an append that read the old role is refused by the log.
//
// No lock is held over a truncation to what a leader has, which waits for the
// disk (WhileFollowing). What it must not meet is kept away from it otherwise:
// its replica does not begin to lead until it has ended, because a leader counts
// from where its log ends; and the follower answers no push meanwhile
// (Truncating), of whichever leader, since it would tell an end that is about to
// go.
type Partition struct {
	Log       *storage.Log
	role      atomic.Pointer[Role]
	minInsync atomic.Int32
	// enough: there are min.insync.replicas in-sync replicas, or as many as the
	// partition has replicas (KIP-966).
	enough atomic.Bool
	// leaderHW is the high watermark that the leader last told this follower.
	leaderHW atomic.Int64

	// truncating is set and cleared under mu.
	truncating atomic.Bool

	mu        sync.Mutex
	leader    *isr.Leader // nil unless this broker leads and has followers
	leadWaits bool        // Lead was refused with ErrTruncating
}

// ErrRoleChanged: the replica has another role by now.
var ErrRoleChanged = errors.New("the replica follows another leader epoch by now")

// ErrTruncating: the log is being truncated to what a leader has.
var ErrTruncating = errors.New("the replica's log is being truncated")

// NewPartition returns the replica of log, without a role.
func NewPartition(log *storage.Log, minInsync int32) *Partition {
	p := &Partition{Log: log}
	p.role.Store(noRole)
	p.minInsync.Store(minInsync)
	return p
}

// Role is the present role.
func (p *Partition) Role() *Role { return p.role.Load() }

// LeaderEpoch is the epoch of the present role.
func (p *Partition) LeaderEpoch() int32 { return p.role.Load().LeaderEpoch }

// HighWatermark is the end of what consumers may read.
func (p *Partition) HighWatermark() int64 { return p.Log.HighWatermark() }

// SetMinInsync applies a change of min.insync.replicas. It reports whether the
// high watermark moved, which it may have waited to.
func (p *Partition) SetMinInsync(n int32) (moved bool) {
	p.minInsync.Store(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == nil {
		return false
	}
	before := p.Log.HighWatermark()
	p.Log.AdvanceHighWatermark(p.leader.SetMinInsync(int(n)))
	p.noteLocked()
	return p.Log.HighWatermark() > before
}

// EnoughInSync reports whether the leader may promise acks=all.
func (p *Partition) EnoughInSync() bool { return p.enough.Load() }

// Lead makes this broker the leader at a's epoch. It reports whether that is
// news: false for the epoch it leads already, to which a's other fields apply.
//
// While the log is being truncated for the leader before, the replica follows
// nobody at a's epoch and the error is ErrTruncating; WhileFollowing then says
// when to call again.
func (p *Partition) Lead(a *Assignment, o *Options, nowMs int64) (isNew bool, proposal *isr.Proposal, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.truncating.Load() {
		p.leadWaits = true
		p.followLocked(-1, a.LeaderEpoch)
		return false, nil, ErrTruncating
	}
	followers := slices.DeleteFunc(slices.Clone(a.Replicas), func(id int32) bool { return id == o.Self })
	old := p.role.Load()
	role := &Role{Leads: true, LeaderEpoch: a.LeaderEpoch, LeaderID: o.Self, Solo: len(followers) == 0, Followers: followers}
	if isNew = !old.Leads || old.LeaderEpoch != a.LeaderEpoch; isNew {
		p.Log.FenceLeaderEpoch(a.LeaderEpoch)
		p.leader = nil
	}
	switch {
	case role.Solo:
		p.leader = nil
		p.Log.AdvanceHighWatermark(p.Log.LogEndOffset())
	case p.leader == nil:
		p.leader = isr.NewLeader(isr.LeaderConfig{
			Self: o.Self, LeaderEpoch: a.LeaderEpoch, PartitionEpoch: a.PartitionEpoch,
			Replicas: a.Replicas, ISR: a.ISR, Recovering: a.Recovering, MinInsync: int(p.minInsync.Load()), LagTimeMaxMs: o.LagTimeMaxMs,
			LogEnd: p.Log.LogEndOffset(), HighWatermark: p.Log.HighWatermark(), NowMs: nowMs,
		})
		p.leader.Eligible(o.Eligible)
		p.Log.AdvanceHighWatermark(p.leader.Appended(p.Log.LogEndOffset()))
	default:
		var hw int64
		hw, proposal = p.leader.State(isr.State{LeaderEpoch: a.LeaderEpoch, PartitionEpoch: a.PartitionEpoch,
			Replicas: a.Replicas, ISR: a.ISR, Recovering: a.Recovering})
		p.Log.AdvanceHighWatermark(hw)
	}
	p.noteLocked()
	p.role.Store(role)
	return isNew, proposal, nil
}

// Follow makes this broker a follower of leader (-1: of nobody yet) at epoch.
// It reports whether that is news.
func (p *Partition) Follow(leader, epoch int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leadWaits = false
	return p.followLocked(leader, epoch)
}

func (p *Partition) followLocked(leader, epoch int32) bool {
	old := p.role.Load()
	if !old.Leads && old.LeaderEpoch == epoch && old.LeaderID == leader {
		return false
	}
	p.Log.FenceLeaderEpoch(epoch)
	p.leader = nil
	p.leaderHW.Store(0) // the old leader's may lie above what the new one has
	p.role.Store(&Role{LeaderEpoch: epoch, LeaderID: leader})
	return true
}

// Retire takes every role away: the partition is served no more.
func (p *Partition) Retire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leader, p.leadWaits = nil, false
	p.role.Store(noRole)
}

// noteLocked keeps what EnoughInSync reads.
func (p *Partition) noteLocked() { p.enough.Store(p.leader == nil || !p.leader.UnderMinISR()) }

// NoteLeader takes the high watermark that the leader told, and reports whether
// this follower's moved. It moves on as the log grows towards it.
func (p *Partition) NoteLeader(highWatermark int64) bool {
	p.leaderHW.Store(highWatermark)
	before := p.Log.HighWatermark()
	p.Log.AdvanceHighWatermark(highWatermark)
	return p.Log.HighWatermark() > before
}

// WhileFollowing runs f, which truncates the log and may wait for the disk,
// unless this replica does not follow at epoch any more, or is being truncated
// already (ErrTruncating). No lock is held over f: the replica may follow
// another leader before it returns, but does not lead. lead: it is to lead, and
// Lead, called meanwhile, is to be called again.
func (p *Partition) WhileFollowing(epoch int32, f func() error) (lead bool, err error) {
	p.mu.Lock()
	role := p.role.Load()
	switch {
	case role.Leads || role.LeaderEpoch != epoch:
		err = ErrRoleChanged
	case p.truncating.Load():
		err = ErrTruncating
	default:
		p.truncating.Store(true)
	}
	p.mu.Unlock()
	if err != nil {
		return false, err
	}
	defer func() {
		p.mu.Lock()
		p.truncating.Store(false)
		lead, p.leadWaits = p.leadWaits, false
		p.mu.Unlock()
	}()
	return false, f()
}

// Truncating reports whether the log is being truncated: no push is to be
// answered from what it says. Ask after Role: a truncation for a leader before
// that role is seen then.
func (p *Partition) Truncating() bool { return p.truncating.Load() }

// Appended moves the high watermark after the log end offset moved, and
// reports whether it did.
func (p *Partition) Appended() bool {
	role := p.role.Load()
	before := p.Log.HighWatermark()
	if !role.Leads {
		if role.LeaderEpoch >= 0 {
			p.Log.AdvanceHighWatermark(p.leaderHW.Load())
		}
		return p.Log.HighWatermark() > before
	}
	if role.Solo {
		p.Log.AdvanceHighWatermark(p.Log.LogEndOffset())
		return p.Log.HighWatermark() > before
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == nil {
		return false
	}
	p.Log.AdvanceHighWatermark(p.leader.Appended(p.Log.LogEndOffset()))
	return p.Log.HighWatermark() > before
}

// Acked takes a follower's log end offset and log start, told at this epoch. It
// reports whether the high watermark moved, and a change of the in-sync replicas to
// propose to the controller.
func (p *Partition) Acked(epoch, broker int32, logEnd, logStart, nowMs int64) (moved bool, proposal *isr.Proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == nil || p.role.Load().LeaderEpoch != epoch {
		return false, nil
	}
	before := p.Log.HighWatermark()
	hw, proposal := p.leader.Acked(broker, logEnd, nowMs)
	p.leader.AckedLogStart(broker, logStart)
	p.Log.AdvanceHighWatermark(hw)
	return p.Log.HighWatermark() > before, proposal
}

// Tick looks for followers that lag for too long. It reports whether the high
// watermark moved, and a change of the in-sync replicas to propose.
func (p *Partition) Tick(nowMs int64) (moved bool, proposal *isr.Proposal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == nil {
		return false, nil
	}
	before := p.Log.HighWatermark()
	proposal = p.leader.Tick(p.Log.LogEndOffset(), nowMs)
	p.Log.AdvanceHighWatermark(p.leader.HighWatermark())
	return p.Log.HighWatermark() > before, proposal
}

// InSync reports whether a follower is of the in-sync replicas.
func (p *Partition) InSync(broker int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader != nil && slices.Contains(p.leader.ISR(), broker)
}

// Answered takes the controller's answer to a proposal. It reports whether the
// high watermark moved, and a proposal to make after backoffMs.
func (p *Partition) Answered(epoch int32, r isr.ProposalResult) (moved bool, proposal *isr.Proposal, backoffMs int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == nil || p.role.Load().LeaderEpoch != epoch {
		return false, nil, 0
	}
	before := p.Log.HighWatermark()
	hw, proposal, backoffMs := p.leader.Answered(r)
	p.Log.AdvanceHighWatermark(hw)
	p.noteLocked()
	return p.Log.HighWatermark() > before, proposal, backoffMs
}

// Pending reports whether proposal still waits for an answer.
func (p *Partition) Pending(epoch int32, proposal *isr.Proposal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader != nil && p.role.Load().LeaderEpoch == epoch && p.leader.Pending() == proposal
}

// Available reports whether the high watermark is at least what the leader
// before showed to consumers (KIP-207).
func (p *Partition) Available() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leader == nil || p.leader.Available()
}

// Joined says that a connection to a follower is up, and to which incarnation of
// its broker: the log of another than the one before may be shorter.
func (p *Partition) Joined(epoch, broker int32, brokerEpoch int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader != nil && p.role.Load().LeaderEpoch == epoch {
		p.leader.Joined(broker, brokerEpoch)
	}
}

// FollowerLogs calls f for each follower with where its log starts and ends, as
// it last said, -1 if it has not; nothing is called where this broker does not lead.
func (p *Partition) FollowerLogs(f func(broker int32, start, end int64)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader != nil {
		p.leader.Followers(func(broker int32, start, end int64, _ bool) { f(broker, start, end) })
	}
}

// LowWatermark is where the log of the last of the replicas that live starts, -1
// while one has not said; leads is false where this broker does not lead.
func (p *Partition) LowWatermark() (low int64, leads bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	low = p.Log.LogStartOffset()
	if p.leader != nil {
		low = p.leader.LowWatermark(low)
	}
	return low, p.role.Load().Leads
}

// UnderReplicated reports whether this broker leads with fewer in-sync replicas
// than assigned, and whether with fewer than min.insync.replicas.
func (p *Partition) UnderReplicated() (under, belowMin bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == nil {
		return false, false
	}
	return len(p.leader.ISR()) < len(p.role.Load().Followers)+1, p.leader.UnderMinISR()
}
