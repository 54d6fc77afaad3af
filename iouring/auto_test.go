package iouring

import (
	"strings"
	"testing"
)

const us = int64(1000)

func calibrated(inlineNs, ringNs int64) *autoPolicy {
	return newAutoPolicy(&Calibration{samples: []calibrationSample{{bytes: 64 << 10, inlineNs: inlineNs, ringNs: ringNs}}})
}

func TestAutoTakesTheCheaperWay(t *testing.T) {
	for _, tc := range []struct {
		name           string
		inline, ring   int64
		deferred, ways bool
	}{
		{"ring dearer", 14 * us, 36 * us, false, true},
		{"about the same", 14 * us, 13 * us, false, true},
		{"ring cheaper", 14 * us, 5 * us, true, false},
		{"nothing measured", 0, 0, false, true},
	} {
		p := calibrated(tc.inline, tc.ring)
		if p.deferred() != tc.deferred || p.inline(64<<10) != tc.ways {
			t.Errorf("%s: deferred=%t inline=%t", tc.name, p.deferred(), p.inline(64<<10))
		}
		t.Log(p.explain())
	}
}

func TestAutoLearns(t *testing.T) {
	p := calibrated(14*us, 12*us)
	now := int64(0)
	for range 200 {
		p.observe(observation{bytes: 64 << 10, ns: 30 * us, group: 1})
		p.endTurn(now)
		now += us
	}
	if p.inline(64<<10) || !p.deferred() {
		t.Fatalf("inline became dearer than the ring, and is kept: %s", p.explain())
	}
	for range 200 {
		p.observe(observation{bytes: 64 << 10, ns: 8 * 60 * us, group: 8, ring: true})
		p.endTurn(now)
	}
	if !p.inline(64 << 10) {
		t.Fatalf("the ring became dearer, and is kept: %s", p.explain())
	}
}

// The promise of Deferred holds until the turn ends, whatever is observed.
func TestAutoKeepsItsPromiseWithinATurn(t *testing.T) {
	p := calibrated(14*us, 36*us)
	for range 10 {
		if p.deferred() {
			t.Fatal("changed within the turn")
		}
		p.observe(observation{bytes: 64 << 10, ns: 80_000 * us, group: 1})
		if !p.inline(64 << 10) {
			t.Fatal("took back what deferred promised")
		}
	}
	p.endTurn(0)
	if !p.deferred() || p.inline(64<<10) {
		t.Fatal("did not move to the ring after writes that stalled the loop")
	}
}

func TestAutoLeavesAThrottledDiskToTheRing(t *testing.T) {
	const ms = 1000 * us
	p := calibrated(14*us, 36*us)
	stall := func(now int64) {
		p.observe(observation{bytes: 64 << 10, ns: 50 * ms, group: 1})
		p.endTurn(now)
	}
	stall(0)
	if p.deferred() {
		t.Fatal("one slow write is a preempted thread, not a throttled disk")
	}
	stall(10 * ms)
	if !p.deferred() || p.inline(1) {
		t.Fatal("two slow writes in a row")
	}
	if !strings.Contains(p.explain(), "throttl") {
		t.Fatal(p.explain())
	}
	// Ring times meanwhile measure the disk, not the ring.
	before := p.ringCost
	p.observe(observation{bytes: 64 << 10, ns: 900 * ms, group: 1, ring: true})
	if p.ringCost != before {
		t.Fatal("learned the ring's cost from a throttled disk")
	}
	p.endTurn(200 * ms)
	if !p.deferred() {
		t.Fatal("left before the penalty ended")
	}
	p.endTurn(261 * ms)
	if p.deferred() {
		t.Fatal("did not come back")
	}
	// Still throttled: one strike is enough now, for twice as long.
	stall(262 * ms)
	if !p.deferred() {
		t.Fatal("on probation one strike is enough")
	}
	p.endTurn((262 + 499) * ms)
	if !p.deferred() {
		t.Fatal("the second penalty is not longer")
	}
	p.endTurn((262 + 501) * ms)
	p.endTurn((262 + 501 + 300) * ms)
	if p.deferred() || p.strikes != 0 || p.penaltyNs != minPenaltyNs {
		t.Fatal("not forgiven")
	}
}

// On a machine that is short of cores a write takes long because its thread
// waits for one. The ring shows it: its writes are quick.
func TestAutoTellsABusyMachineFromAThrottledDisk(t *testing.T) {
	const ms = 1000 * us
	p := calibrated(14*us, 36*us)
	now := int64(0)
	turn := func(o observation) {
		p.observe(o)
		now += ms
		p.endTurn(now)
	}
	preempted := observation{bytes: 64 << 10, ns: 8 * ms, group: 1}
	quick := observation{bytes: 64 << 10, ns: ms, group: 1, ring: true}
	for alarm, strikes := range []int{2, 3, 5, 10, 20, 20} { // 10, 20, 40, 80, 160, 160 ms
		for i := range strikes {
			if p.deferred() {
				t.Fatalf("alarm %d after %d of %d preempted writes", alarm, i, strikes)
			}
			turn(preempted)
		}
		if !p.deferred() {
			t.Fatalf("no alarm %d after %d slow writes in a row", alarm, strikes)
		}
		turn(quick)
		turn(observation{bytes: 64 << 10, ns: 20 * ms, group: 1, ring: true}) // this one begins anew
		for i := range falseAlarmBytes / (64 << 10) {
			if !p.deferred() {
				t.Fatalf("alarm %d ended after %d quick writes", alarm, i)
			}
			turn(quick)
		}
		if p.deferred() {
			t.Fatalf("alarm %d did not end", alarm)
		}
	}
	if got := p.explain(); !strings.Contains(got, "6 times writes only waited for a core") || strings.Contains(got, "throttling seen") {
		t.Fatal(got)
	}
	// A disk that really throttles is still found at once, and believed then.
	stall := observation{bytes: 64 << 10, ns: 150 * ms, group: 1}
	turn(stall)
	turn(stall)
	if !p.deferred() {
		t.Fatal("a throttled disk after false alarms")
	}
	now += 300 * ms
	p.endTurn(now)
	if p.deferred() || p.alarmNs != minAlarmNs {
		t.Fatal("no probation")
	}
}

func TestAutoExploresNowAndThen(t *testing.T) {
	for _, tc := range []struct {
		ring int64
		want int
	}{{15 * us, 2}, {60 * us, 0}, {5 * us, 2*exploreRingEvery + 10 - 2*exploreRingEvery/exploreInlineEvery}} {
		p := calibrated(14*us, tc.ring)
		ringTurns := 0
		for range 2*exploreRingEvery + 10 {
			p.endTurn(0)
			if p.deferred() {
				ringTurns++
				if p.inline(64 << 10) {
					t.Fatal("exploring, but inline")
				}
			}
		}
		if ringTurns != tc.want {
			t.Errorf("ring at %d µs: %d ring turns, want %d", tc.ring/us, ringTurns, tc.want)
		}
	}
}

func TestSizeClasses(t *testing.T) {
	for n, want := range map[int64]int{0: 0, 1: 0, 4096: 0, 4097: 1, 8192: 1, 64 << 10: 4, 1 << 20: 8, 4 << 20: 10, 1 << 30: 10} {
		if got := sizeClass(n); got != want {
			t.Errorf("%d bytes are of class %d, want %d", n, got, want)
		}
	}
}

func TestCalibrate(t *testing.T) {
	if !Probe().Available {
		return
	}
	c, err := Calibrate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(c)
	if _, err := Calibrate(t.TempDir() + "/missing"); err == nil {
		t.Fatal("measured in a directory that does not exist")
	}
}

// The ring takes a write that has to queue behind one that is on its way, and
// Deferred says so before.
func TestAutoEngineChangesWaysInOrder(t *testing.T) {
	if !Probe().Available {
		return
	}
	p := calibrated(14*us, 36*us)
	e, err := newLoopEngine(KindAuto, p, Options{}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	f := tempFile(t)
	r := &recorder{}
	write := func(i int) {
		e.Write(&Op{Fd: int(f.Fd()), Pos: int64(i), Bufs: [][]byte{{byte(i)}}, Len: 1, Done: r})
	}
	if e.Deferred() {
		t.Fatal("inline is cheaper")
	}
	write(0)
	r.mustSucceed(t, 1) // done before Write returned
	p.turnRing, p.exploring = true, true
	if !e.Deferred() {
		t.Fatal("the turn goes to the ring")
	}
	write(1)
	p.turnRing, p.exploring = false, false
	if !e.Deferred() {
		t.Fatal("a write waits: the next one queues behind it")
	}
	write(2)
	e.Flush()
	write(3)
	e.Flush()
	e.await()
	r.mustSucceed(t, 4)
	for i, op := range r.ops {
		if op.Pos != int64(i) {
			t.Fatal("out of order")
		}
	}
	if e.Deferred() {
		t.Fatal("nothing is in flight any more")
	}
}
