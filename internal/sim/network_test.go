package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// pair is two processes on two hosts with a connection between them.
type pair struct {
	sched     *scheduler
	net       *network
	near, far *side
	got       []int
	ended     int
}

func newPair(t *testing.T) *pair {
	t.Helper()
	s := &scheduler{}
	p := &pair{sched: s, net: newNetwork(s, rand.New(rand.NewPCG(1, 2)), newTrace(s, nil))}
	a, b := p.net.addHost("a"), p.net.addHost("b")
	server := newProcess(s, &clock{world: s})
	b.listen["x"] = func(far *side) {
		far.proc, p.far = server, far
		far.receive = func(m any) { p.got = append(p.got, m.(int)) }
		far.closed = func() { p.ended++ }
	}
	p.net.dial(newProcess(s, &clock{world: s}), a, b, "x", func(near *side) { p.near = near })
	p.run(second)
	if p.near == nil {
		t.Fatal("no connection")
	}
	return p
}

func (p *pair) run(d Time) {
	end := p.sched.now + d
	for p.sched.step(end) {
	}
	p.sched.now = end
}

// Messages arrive in order, loss or not, and a partition only delays them.
func TestConnectionKeepsOrder(t *testing.T) {
	p := newPair(t)
	p.net.lossPermille = 300
	for i := range 10 {
		p.near.send(i, 100)
	}
	p.run(20 * second)
	p.net.block(p.near.host, p.far.host, true)
	p.near.send(10, 100)
	p.run(20 * second)
	if len(p.got) != 10 {
		t.Fatalf("through a blocked link came %v", p.got)
	}
	p.net.block(p.near.host, p.far.host, false)
	p.run(20 * second)
	if !slices.Equal(p.got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}) {
		t.Fatalf("got %v", p.got)
	}
}

// A close is heard after what was sent before it; a reset takes that along.
func TestConnectionEnds(t *testing.T) {
	p := newPair(t)
	p.near.send(1, 100)
	p.near.close()
	p.run(second)
	if !slices.Equal(p.got, []int{1}) || p.ended != 1 {
		t.Fatalf("got %v, ended %d times", p.got, p.ended)
	}
	p = newPair(t)
	p.near.send(1, 100)
	p.near.conn.sever()
	p.run(second)
	if len(p.got) > 0 || p.ended != 1 {
		t.Fatalf("after a reset: got %v, ended %d times", p.got, p.ended)
	}
}

// Nobody tells the peer of a machine that lost power; it finds out.
func TestConnectionToDeadHost(t *testing.T) {
	p := newPair(t)
	p.near.host.up = false
	p.near.vanish()
	p.run(second)
	if p.ended != 0 {
		t.Fatal("the peer heard of a power loss")
	}
	p.near.host.up = true
	p.run(keepAliveInterval + second)
	if p.ended != 1 {
		t.Fatal("keepalive did not find that the other machine knows nothing of the connection")
	}
}

// Equal times happen in the order of their scheduling.
func TestSchedulerIsStable(t *testing.T) {
	var s scheduler
	var got []int
	for i := range 100 {
		s.at(Time(i%7), func() { got = append(got, i) })
	}
	for s.step(10) {
	}
	if !slices.IsSortedFunc(got, func(a, b int) int {
		if a%7 != b%7 {
			return a%7 - b%7
		}
		return a - b
	}) {
		t.Fatalf("order %v", got)
	}
}

// A connection that lags delays its own messages, in order, and no other's;
// what overtakes is counted.
func TestConnectionLags(t *testing.T) {
	p := newPair(t)
	var other *side
	p.net.dial(p.near.proc, p.near.host, p.far.host, "x", func(near *side) { other = near })
	p.run(second)
	p.near.pipe.lag = second / 2
	p.near.send(1, 100)
	p.near.pipe.lag = 0
	p.near.send(2, 100)
	other.send(3, 100)
	p.run(second)
	if !slices.Equal(p.got, []int{3, 1, 2}) || p.net.tally[countDelayed] != 1 || p.net.tally[countOvertaken] != 2 {
		t.Fatalf("got %v; %s", p.got, p.net.tally)
	}
}

// A message whose pages have changed on the way is told.
func TestConnectionTellsChangedPages(t *testing.T) {
	p := newPair(t)
	p.far.receive = func(any) {}
	told := 0
	p.net.changed = func(*side, *side, *pages) { told++ }
	node := &inode{data: []byte("abc")}
	frame := streamFrame{lend: []pages{{node: node, want: []byte("abc")}}}
	p.near.send(frame, 3)
	p.run(second)
	if told != 0 {
		t.Fatal("pages that did not change were reported")
	}
	p.near.send(frame, 3)
	node.data[1] = 'X'
	p.run(second)
	if told != 1 {
		t.Fatalf("changed pages were reported %d times", told)
	}
}
