package broker

import (
	"context"
	"math"
	"sync"
	"time"
)

// lease tells when Broker.leaseUntilMs has passed, to the producers that wait
// for followers. Reading it is all that the event loops do.
type lease struct {
	mu    sync.Mutex
	timer *time.Timer
	told  bool // since it was last extended
	// cut is when this node learned that it is cut off: an answer to what it sent
	// before came from itself.
	cut time.Time
}

// leaseSlack is how long after its end a lease is called lapsed: the event loops
// look at the clock once a turn.
const leaseSlack = 50 * time.Millisecond

// extendLease lets this broker act as a leader for a session from when the
// heartbeat was sent: the controller's own clock for it began later.
func (b *Broker) extendLease(sent time.Time) {
	alone, session := b.aloneInCluster(), int64(b.Config().Role.SessionTimeoutMs)
	b.setLease(func(l *lease, old int64) int64 {
		switch {
		case alone:
			return math.MaxInt64
		case sent.Before(l.cut):
			return old
		}
		return int64(sent.Sub(processStart)/time.Millisecond) + session
	})
}

// setLease changes when the lease ends, in ms of monotonicMs.
func (b *Broker) setLease(end func(l *lease, oldMs int64) int64) {
	l := &b.member.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	until := end(l, b.leaseUntilMs.Load())
	b.leaseUntilMs.Store(until)
	if l.timer == nil {
		l.timer = time.AfterFunc(math.MaxInt64, b.watchLease)
	}
	now := monotonicMs()
	l.told = l.told && until <= now
	if until == math.MaxInt64 {
		l.timer.Stop()
		return
	}
	l.timer.Reset(time.Duration(max(until-now, 0))*time.Millisecond + leaseSlack)
}

// watchLease is called when the lease may have ended.
func (b *Broker) watchLease() {
	l := &b.member.lease
	l.mu.Lock()
	lapsed := monotonicMs() > b.leaseUntilMs.Load() && !l.told
	l.told = l.told || lapsed
	l.mu.Unlock()
	if lapsed {
		b.net.goPeer(b.leaseLapsed)
	}
}

// cutOff is called when this node was the active controller, and learned that it
// hears no majority of the controllers: most likely it hears nobody. Others elect
// a controller, which fences a broker without a connection after the grace
// period; by then this one leads no more, unless the new controller has answered
// it.
func (lc *lifecycle) cutOff() {
	grace := int64(lc.broker.Config().Role.DisconnectGraceMs)
	if lc.broker.aloneInCluster() {
		return // nobody could take over
	}
	lc.broker.setLease(func(l *lease, old int64) int64 {
		l.cut = time.Now()
		return min(old, monotonicMs()+grace)
	})
	lc.wakeUp()
}

// controllerMoved is called when another controller is active, or none is known:
// it is told at once that this broker lives, and nobody waits for an answer of the
// one before.
func (lc *lifecycle) controllerMoved(id, _ int32) {
	if id < 0 {
		return
	}
	lc.asking.abort()
	lc.broker.ctl.isr.asking.abort()
	lc.wakeUp()
}

// asking is a request to the active controller that can be given up.
type asking struct {
	mu     sync.Mutex
	cancel context.CancelFunc
}

// begin gives the context for one request; end is called after it.
func (a *asking) begin(ctx context.Context, limit time.Duration) (_ context.Context, end func()) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel = cancel
	return ctx, cancel
}

func (a *asking) abort() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil {
		a.cancel()
	}
}
