package quorum

import (
	"context"
	"errors"
	"fmt"

	"freshet/metadata"
)

// publication is what the Core has to say to this process, in order.
type publication struct {
	image *metadata.Image // nil: unchanged
	done  []finished
	ready *Leadership // this node leads and its image is complete
}

type finished struct {
	to  chan error
	err error
}

type indexWaiter struct {
	index int64
	reach chan struct{}
}

// publishLoop shows images to the watchers and publishes them; then it answers
// who waits for them. Images that queued up are shown as one step.
func (n *Node) publishLoop() {
	for {
		publications, ok := n.publish.take()
		if !ok {
			return
		}
		var next *metadata.Image
		for _, p := range publications {
			if p.image != nil {
				next = p.image
			}
		}
		if next != nil {
			old := n.image.Load()
			for _, watch := range n.watchers {
				watch(old, next)
			}
			n.image.Store(next)
			n.reached(next.Index)
		}
		for _, p := range publications {
			for _, d := range p.done {
				d.to <- d.err
			}
			if p.ready != nil {
				n.becomeReady(*p.ready)
			}
		}
	}
}

// becomeReady tells that this node leads, unless it has ceased to already.
func (n *Node) becomeReady(leader Leadership) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.core.Leader() == leader {
		n.notices.put(func() { n.tellLeader(leader) })
	}
}

// reached answers who waits for an index.
func (n *Node) reached(index int64) {
	n.indexMu.Lock()
	defer n.indexMu.Unlock()
	waiting := n.indexWait[:0]
	for _, w := range n.indexWait {
		if w.index <= index {
			close(w.reach)
		} else {
			waiting = append(waiting, w)
		}
	}
	n.indexWait = waiting
}

// WaitIndex waits until Image has at least this Index.
func (n *Node) WaitIndex(ctx context.Context, index int64) error {
	n.indexMu.Lock()
	if n.image.Load().Index >= index {
		n.indexMu.Unlock()
		return nil
	}
	w := indexWaiter{index, make(chan struct{})}
	n.indexWait = append(n.indexWait, w)
	n.indexMu.Unlock()
	select {
	case <-w.reach:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.stopping:
		return ErrClosed
	}
}

// Do changes the metadata: decide looks at the newest image and returns records
// (none: nothing to do), which are committed and applied here when Do returns.
// decide sees every change before it, is called only once, and one at a time;
// the changes of several callers reach the disks together. The image after the
// change is returned.
//
// An error of decide is returned as it is. Where this node does not lead, the
// error is a *NotLeaderError and decide was not called, or what it returned was
// not used. ErrOutcomeUnknown: the change may have happened or not. ErrNoRoom: the
// disk is full; the change may happen when there is room.
func (n *Node) Do(decide func(img *metadata.Image) ([]metadata.Record, error)) (*metadata.Image, error) {
	img, done, err := n.propose(decide)
	if done == nil {
		return img, err
	}
	if lost := <-done; lost != nil {
		if err != nil {
			// There was nothing to commit, but what decide saw is uncertain.
			id, epoch := n.Leader()
			return nil, &NotLeaderError{LeaderID: id, Epoch: epoch}
		}
		return nil, lost
	}
	return img, err
}

// propose decides and proposes. done answers when all that decide saw or made
// is committed; it is nil when that is so already.
func (n *Node) propose(decide func(img *metadata.Image) ([]metadata.Record, error)) (img *metadata.Image, done chan error, err error) {
	n.decide.Lock()
	defer n.decide.Unlock()
	head, err := n.waitHead()
	if err != nil {
		return nil, nil, err
	}
	records, err := decide(head)
	if err != nil || len(records) == 0 {
		return head, n.joinLast(), err
	}
	next, err := metadata.Apply(head, records...)
	if err != nil {
		return nil, nil, fmt.Errorf("BUG: %w", err)
	}
	payloads, err := EncodeRecords(records, MaxEntryBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("BUG: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.usableLocked(); err != nil {
		return nil, nil, err
	}
	if n.mu.noRoom {
		return nil, nil, n.noRoomLocked()
	}
	id, err := n.mu.core.Propose(n.nowMs(), head, payloads, next)
	if err != nil {
		return nil, nil, err
	}
	done = n.awaitLocked(id)
	n.dispatchLocked()
	return next, done, nil
}

// usableLocked says why nothing can be done here, nil if it can.
func (n *Node) usableLocked() error {
	switch {
	case n.mu.closed:
		return ErrClosed
	case n.mu.failed != nil:
		return fmt.Errorf("the metadata takes no changes since this node failed; restart the broker: %w", n.mu.failed)
	case !n.mu.started:
		return errors.New("BUG: the node is used before it was started")
	}
	return nil
}

// waitHead is the image to decide on. A leader that is new waits until it has
// everything that was committed before.
func (n *Node) waitHead() (*metadata.Image, error) {
	for {
		n.mu.Lock()
		if err := n.usableLocked(); err != nil {
			n.mu.Unlock()
			return nil, err
		}
		head, leader, turn := n.mu.core.Head(), n.mu.core.Leader(), n.mu.turn
		if n.mu.noRoom && leader.ID == n.opts.NodeID {
			err := n.noRoomLocked()
			n.mu.Unlock()
			return nil, err
		}
		n.mu.Unlock()
		if head != nil {
			return head, nil
		}
		if leader.ID != n.opts.NodeID {
			return nil, &NotLeaderError{LeaderID: leader.ID, Epoch: leader.Epoch}
		}
		<-turn
	}
}

// joinLast is answered when the newest change under way is committed; nil when
// there is none.
func (n *Node) joinLast() chan error {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := n.mu.core.LastProposal()
	if last == 0 || n.mu.closed {
		return nil
	}
	return n.awaitLocked(last)
}

// awaitLocked is answered when the Core is done with id.
func (n *Node) awaitLocked(id uint64) chan error {
	done := make(chan error, 1)
	n.mu.done[id] = append(n.mu.done[id], done)
	return done
}

// AddVoter lets an observer vote as soon as it has all that is committed
// (KIP-853, AddRaftVoter). It must be connected as an observer with this
// directory; until then the call waits for it, as long as ctx allows. Only on
// the leader.
func (n *Node) AddVoter(ctx context.Context, v Voter) error {
	return n.changeMembers(ctx, func(c *Core, nowMs int64) (uint64, error) { return c.AddVoter(nowMs, v) })
}

// RemoveVoter takes away a voter's vote (KIP-853, RemoveRaftVoter). Only on the
// leader, which may remove itself.
func (n *Node) RemoveVoter(ctx context.Context, id int32, dir metadata.UUID) error {
	return n.changeMembers(ctx, func(c *Core, nowMs int64) (uint64, error) { return c.RemoveVoter(nowMs, id, dir) })
}

// RemoveObserver forgets an observer that is not connected. Only on the leader.
func (n *Node) RemoveObserver(ctx context.Context, id int32) error {
	return n.changeMembers(ctx, func(c *Core, nowMs int64) (uint64, error) { return c.RemoveObserver(nowMs, id) })
}

func (n *Node) changeMembers(ctx context.Context, ask func(c *Core, nowMs int64) (uint64, error)) error {
	if _, err := n.waitHead(); err != nil {
		return err
	}
	n.mu.Lock()
	if err := n.usableLocked(); err != nil {
		n.mu.Unlock()
		return err
	}
	id, err := ask(n.mu.core, n.nowMs())
	if err != nil {
		n.mu.Unlock()
		return err
	}
	done := n.awaitLocked(id)
	n.dispatchLocked()
	n.mu.Unlock()
	select {
	case err = <-done:
		return err
	case <-ctx.Done():
	}
	canceled := false
	n.with(func(c *Core, _ int64) { canceled = c.Cancel(id) })
	if canceled {
		return ctx.Err()
	}
	select {
	case err = <-done:
		return err
	default:
		return fmt.Errorf("the change of the members was proposed but is not committed yet: %w", ctx.Err())
	}
}
