package broker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"freshet/metadata"
)

// activeController is what this node does while it is the active controller:
// it watches over the brokers, moves leaderships, and says what became
// unavailable. What it knows beyond the image is soft: a new active controller
// begins with every broker as just heard of.
type activeController struct {
	broker *Broker
	wake   chan struct{}

	mu struct {
		sync.Mutex
		term     int32 // epoch of the quorum in which it is active; -1: it is not
		liveness *metadata.Liveness
		// gone are brokers whose connections broke and who were not heard of
		// since: a new process of theirs need not wait for a session to end.
		gone map[int32]bool
		// recoveries compare the logs of replicas that all restarted uncleanly.
		recoveries *metadata.Recoveries
	}
}

const (
	// livenessTick is the longest pause between looks at the sessions.
	livenessTick = 100 * time.Millisecond
	// stalledTick is a pause after which this process itself must have stood
	// still: nobody could be heard meanwhile, so all sessions begin anew.
	stalledTick = 2 * time.Second
	// balanceMoves bounds the leaders moved at one look at the balance; those
	// that remain follow after balancePause.
	balanceMoves = 1000
	balancePause = time.Second
)

func newActiveController(b *Broker) *activeController {
	a := &activeController{broker: b, wake: make(chan struct{}, 1)}
	role := b.Config().Role
	a.mu.term = -1
	a.mu.liveness = metadata.NewLiveness(int64(role.SessionTimeoutMs), int64(role.DisconnectGraceMs))
	a.mu.gone = map[int32]bool{}
	a.mu.recoveries = metadata.NewRecoveries(int64(role.UncleanRecoveryTimeoutMs))
	return a
}

// lead is called by the quorum when the leader changes.
func (a *activeController) lead(id, epoch int32) {
	self := a.broker.Config().NodeID
	a.mu.Lock()
	was := a.mu.term >= 0
	a.mu.term = -1
	if id == self {
		a.mu.term = epoch
	}
	a.mu.Unlock()
	switch {
	case id == self && !a.broker.aloneInQuorum():
		slog.Info("this node is the active controller", "epoch", epoch)
	case was && id != self:
		slog.Info("this node is no longer the active controller", "leader", id, "epoch", epoch)
	}
	a.poke()
}

// peerDown is called by the quorum, on its leader, when the last connection of
// a member broke.
func (a *activeController) peerDown(id int32) {
	a.mu.Lock()
	a.mu.gone[id] = true
	a.mu.liveness.Disconnected(id, monotonicMs())
	a.mu.Unlock()
	a.poke()
}

// isGone reports whether the broker's process was seen to end.
func (a *activeController) isGone(id int32) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.gone[id]
}

// registered notes that a broker registered just now.
func (a *activeController) registered(id int32, epoch int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.mu.gone, id)
	a.mu.liveness.Heartbeat(id, epoch, -1, monotonicMs())
}

// heard notes a heartbeat and returns the smallest metadata index that an
// active broker has reported.
func (a *activeController) heard(id int32, epoch, metadataOffset int64) int64 {
	img := a.broker.meta.Image()
	a.mu.Lock()
	defer a.mu.Unlock()
	if img.BrokerEpoch(id) == epoch {
		delete(a.mu.gone, id)
		a.mu.liveness.Heartbeat(id, epoch, metadataOffset, monotonicMs())
	}
	return a.mu.liveness.LowestActiveOffset(img)
}

func (a *activeController) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run works while this node is active, and waits otherwise.
func (a *activeController) run(ctx context.Context) {
	timer := time.NewTimer(livenessTick)
	defer timer.Stop()
	begun := int32(-1)
	var last, nextBalance, nextUnclean time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
		timer.Reset(livenessTick)
		now := time.Now()
		term := a.term()
		if term < 0 {
			begun = -1
			continue
		}
		role := a.broker.Config().Role
		if term != begun || now.Sub(last) > stalledTick {
			if !a.activate(term != begun) {
				begun = -1
				continue
			}
			begun = term
			nextBalance = now.Add(time.Duration(role.LeaderImbalanceCheckSeconds) * time.Second)
			nextUnclean = now
		}
		last = now
		timer.Reset(a.fenceSilent())
		a.recover()
		if role.AutoLeaderRebalance && now.After(nextBalance) {
			nextBalance = now.Add(time.Duration(role.LeaderImbalanceCheckSeconds) * time.Second)
			if a.balance() {
				nextBalance = now.Add(balancePause)
			}
		}
		if now.After(nextUnclean) {
			nextUnclean = now.Add(time.Duration(role.UncleanElectionIntervalMs) * time.Millisecond)
			a.electUnclean()
		}
	}
}

func (a *activeController) term() int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.term
}

// activate begins a term, or goes on with it after a standstill: everything
// committed before must be in the image first, which a change without records
// waits for.
func (a *activeController) activate(newTerm bool) bool {
	img, err := a.broker.meta.Do(func(*metadata.Image) ([]metadata.Record, error) { return nil, nil })
	if err != nil {
		return false
	}
	q := a.broker.quorum.Describe()
	former, silent := a.broker.quorum.Former()
	a.mu.Lock()
	defer a.mu.Unlock()
	// Members are connected to every controller; who is not was lost before
	// this one became active, as the one before it most likely was.
	var down []int32
	for _, member := range append(q.Voters, q.Observers...) {
		if !member.Connected {
			down = append(down, member.ID)
			a.mu.gone[member.ID] = true
		}
	}
	now := monotonicMs()
	a.mu.liveness.Activate(img, now, down)
	// Of the controller before, more is known: how long its process was silent.
	a.mu.liveness.Silent(former, now-silent.Milliseconds(), now)
	if newTerm { // else what brokers said stands, and so does the time they are waited for
		a.mu.recoveries.Clear()
	}
	return true
}

// fenceSilent fences the brokers whose sessions or grace periods are over, and
// says when to look again.
func (a *activeController) fenceSilent() (next time.Duration) {
	b := a.broker
	old := b.meta.Image()
	a.mu.Lock()
	now := monotonicMs()
	dead := a.mu.liveness.Tick(old, now)
	next = time.Duration(min(max(a.mu.liveness.NextMs(old, now)-now, 1), livenessTick.Milliseconds())) * time.Millisecond
	a.mu.Unlock()
	if len(old.Brokers) == 1 {
		return livenessTick // nobody could take over from the only broker
	}
	if len(dead) == 0 {
		return next
	}
	img, err := b.change(func(c *metadata.Controller, img *metadata.Image) []metadata.Record {
		return c.FenceBroker(img, a.stillDead(img, dead)...)
	})
	if err != nil {
		return livenessTick
	}
	for _, id := range dead {
		if was := old.Broker(id); was != nil && !was.Fenced && img.Broker(id) != nil && img.Broker(id).Fenced {
			slog.Warn("broker is fenced: it was not heard of, and leads nothing until it is back", "broker", id, "disconnected", a.isGone(id))
		}
	}
	a.changed(old, img)
	return livenessTick
}

// stillDead drops those that were heard of since.
func (a *activeController) stillDead(img *metadata.Image, ids []int32) []int32 {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := monotonicMs()
	var dead []int32
	for _, id := range ids {
		if img.Broker(id) != nil && a.mu.liveness.Overdue(id, now) {
			dead = append(dead, id)
		}
	}
	return dead
}

// balance moves leaderships back to preferred replicas, at most balanceMoves;
// more says that there are more.
func (a *activeController) balance() (more bool) {
	b := a.broker
	old := b.meta.Image()
	if records, _ := b.controller().BalanceLeaders(old, 1); len(records) == 0 {
		return false
	}
	img, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		records, more = c.BalanceLeaders(img, balanceMoves)
		return records
	})
	if err != nil {
		return false
	}
	slog.Info("leaders moved back to preferred replicas", "partitions", countLeaderChanges(old, img))
	return more
}

// electUnclean elects leaders that may lack records, where the configuration
// wants that, and says which.
func (a *activeController) electUnclean() {
	b := a.broker
	old := b.meta.Image()
	if records, _ := b.controller().UncleanElections(old, 1); len(records) == 0 {
		return
	}
	img, err := b.change(func(c *metadata.Controller, img *metadata.Image) (records []metadata.Record) {
		records, _ = c.UncleanElections(img, balanceMoves)
		return records
	})
	if err == nil {
		a.changed(old, img)
	}
}

// reportLosses writes one line for each partition that may have lost records.
func reportLosses(losses []metadata.Loss) {
	for _, loss := range losses {
		slog.Error("RECORDS MAY BE LOST: "+loss.String(), "topic", loss.Topic, "partition", loss.Partition, "leader", loss.Leader)
	}
}

// countLeaderChanges counts the partitions whose leader differs.
func countLeaderChanges(old, next *metadata.Image) int {
	n := 0
	for _, topic := range metadata.Diff(old, next).Changed {
		before := old.TopicByID(topic.ID)
		for i, p := range topic.ChangedSince(before) {
			if before != nil && before.Partition(i) != nil && before.Partition(i).Leader != p.Leader {
				n++
			}
		}
	}
	return n
}
