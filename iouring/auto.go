package iouring

import (
	"fmt"
	"math/bits"
)

// autoPolicy chooses between an inline pwritev and the ring by what writes
// cost on this kernel and file system, never by belief.
//
// Costs are kept per size class. Calibrate measures both ways once, in CPU time
// of the whole process, because io-wq workers are this broker's CPU too; then
// each write's own time feeds the average of the way it took. The ring is
// chosen for a class when its cost is below ringMargin of the inline cost.
//
// Throttling: when dirty pages pass the kernel's limit, write(2) sleeps in
// balance_dirty_pages and an event loop sleeps with it. Writes many times
// slower than the norm are strikes; strikesToThrottle of them within
// strikeWindowNs send writes to the ring, where a worker sleeps instead, for a
// penalty that doubles while the first inline write after it is slow again.
//
// A thread that waits for a core looks the same from here, and on a busy machine
// it often does. But then a worker of the ring is quick: falseAlarmBytes written
// without a slow one end the penalty, and the next alarm takes twice as much
// stalling, since the ring's workers cost the cores that are short.
//
// The mind changes only at the end of a turn, because Deferred is a promise.
// It is a pure state machine over observations and times.
type autoPolicy struct {
	inlineCost [sizeClasses]cost
	ringCost   [sizeClasses]cost

	usual     int64 // moving average of write sizes, bytes
	turns     uint64
	turnRing  bool // writes of this turn may go to the ring
	exploring bool // this turn's writes all do, to keep the estimate honest

	strikes       int
	stalledNs     int64 // sum of the strikes
	alarmNs       int64 // what stalledNs must reach
	strikeSinceNs int64
	sawStrike     bool // since the last endTurn
	throttled     bool
	untilNs       int64
	penaltyNs     int64
	quickBytes    int64  // written by the ring since the alarm or the last slow write
	throttles     uint64 // times throttling was seen
	falseAlarms   uint64 // of them, those that were none
}

// cost is a moving average of ns for one write.
type cost struct {
	ns      int64
	samples uint32
}

const (
	sizeClasses = 11 // <=4 KiB, <=8 KiB … <=4 MiB
	minClass    = 12 // log2 of the upper end of class 0

	costWeight = 16 // one sixteenth of each sample enters the average

	// The ring must be clearly cheaper: it holds buffers longer and adds a
	// completion to every acknowledgement.
	ringMarginPercent = 85

	// Now and then a turn goes the other way, to keep its estimate honest. A
	// wrong stay on the ring is left sooner: inline turns disturb nobody.
	exploreRingEvery   = 4096 // turns
	exploreInlineEvery = 256
	explorePercent     = 200 // the ring is not explored when it was this much dearer

	strikeFactor      = 20      // times the norm of the class
	strikeFloorNs     = 5e6     // and at least this long
	strikesToThrottle = 2       // a single one is a preempted thread
	strikeWindowNs    = 250e6   // within this
	minPenaltyNs      = 250e6   // first stay on the ring
	maxPenaltyNs      = 4_000e6 // longest

	falseAlarmBytes = 4 << 20 // a throttled worker sleeps more often than that
	minAlarmNs      = strikesToThrottle * strikeFloorNs
	maxAlarmNs      = 16 * minAlarmNs
)

// sizeClass returns the class of a write of n bytes.
func sizeClass(n int64) int {
	return min(max(bits.Len64(uint64(max(n-1, 0)))-minClass, 0), sizeClasses-1)
}

func (c *cost) add(ns int64) {
	if c.samples == 0 {
		c.ns = ns
	} else {
		c.ns += (ns - c.ns) / min(int64(c.samples)+1, costWeight)
	}
	c.samples++
}

// newAutoPolicy starts from a calibration.
func newAutoPolicy(c *Calibration) *autoPolicy {
	p := &autoPolicy{usual: 64 << 10, penaltyNs: minPenaltyNs, alarmNs: minAlarmNs}
	for _, s := range c.samples {
		class := sizeClass(s.bytes)
		if s.inlineNs > 0 {
			p.inlineCost[class].add(s.inlineNs)
		}
		if s.ringNs > 0 {
			p.ringCost[class].add(s.ringNs)
		}
	}
	p.turnRing = p.ringIsCheaper(p.usual)
	return p
}

// ringIsCheaper compares the two ways for a write of n bytes; without samples
// of both in its class, it takes the nearest class that has them.
func (p *autoPolicy) ringIsCheaper(n int64) bool {
	inlineNs, ringNs := p.costs(n)
	return inlineNs > 0 && ringNs > 0 && ringNs*100 < inlineNs*ringMarginPercent
}

func (p *autoPolicy) costs(n int64) (inlineNs, ringNs int64) {
	class := sizeClass(n)
	for d := range sizeClasses {
		for _, c := range [2]int{class - d, class + d} {
			if c >= 0 && c < sizeClasses && p.inlineCost[c].samples > 0 && p.ringCost[c].samples > 0 {
				return p.inlineCost[c].ns, p.ringCost[c].ns
			}
		}
	}
	return 0, 0
}

func (p *autoPolicy) deferred() bool { return p.turnRing }

func (p *autoPolicy) inline(n int64) bool {
	if !p.turnRing {
		return true
	}
	if p.throttled || p.exploring {
		return false
	}
	return !p.ringIsCheaper(n)
}

func (p *autoPolicy) observe(o observation) {
	if o.bytes <= 0 {
		return
	}
	class := sizeClass(o.bytes)
	p.usual += (o.bytes - p.usual) / costWeight
	if o.ring {
		switch {
		case !p.throttled:
			p.ringCost[class].add(o.ns / int64(max(o.group, 1)))
		case o.ns > strikeFloorNs: // it measures the disk
			p.quickBytes = 0
		default:
			p.quickBytes += o.bytes
		}
		return
	}
	norm := &p.inlineCost[class]
	if norm.samples > 0 && o.ns > strikeFloorNs && o.ns > strikeFactor*norm.ns {
		p.sawStrike = true
		p.strikes++
		p.stalledNs += o.ns
		return // an outlier says nothing about the norm
	}
	norm.add(o.ns)
}

func (p *autoPolicy) endTurn(nowNs int64) {
	p.turns++
	p.exploring = false
	p.judgeStrikes(nowNs)
	switch {
	case p.throttled:
		p.turnRing = true
	case p.ringIsCheaper(p.usual):
		p.turnRing = p.turns%exploreInlineEvery != 0
	case p.turns%exploreRingEvery == 0 && p.worthExploring():
		p.turnRing, p.exploring = true, true
	default:
		p.turnRing = false
	}
}

func (p *autoPolicy) judgeStrikes(nowNs int64) {
	switch {
	case p.throttled && p.quickBytes >= falseAlarmBytes:
		p.throttled = false
		p.falseAlarms++
		p.alarmNs = min(2*p.alarmNs, maxAlarmNs)
		p.forgive()
	case p.throttled && nowNs >= p.untilNs:
		// Try inline again, on probation: one more strike within the window
		// and the next penalty is twice as long.
		p.throttled = false
		p.alarmNs = minAlarmNs
		p.strikes, p.stalledNs, p.strikeSinceNs = strikesToThrottle-1, p.alarmNs, nowNs
		p.sawStrike = false
	case p.throttled:
	case p.sawStrike:
		p.sawStrike = false
		if p.strikes == 1 {
			p.strikeSinceNs = nowNs
		}
		if p.strikes >= strikesToThrottle && p.stalledNs >= p.alarmNs {
			p.throttled = true
			p.throttles++
			p.untilNs = nowNs + p.penaltyNs
			p.penaltyNs = min(2*p.penaltyNs, maxPenaltyNs)
			p.strikes, p.stalledNs, p.quickBytes = 0, 0, 0
		}
	case p.strikes > 0 && nowNs-p.strikeSinceNs > strikeWindowNs:
		p.forgive()
	}
}

// forgive forgets the strikes and what they led to.
func (p *autoPolicy) forgive() {
	p.strikes, p.stalledNs, p.sawStrike = 0, 0, false
	p.penaltyNs = minPenaltyNs
}

func (p *autoPolicy) worthExploring() bool {
	inlineNs, ringNs := p.costs(p.usual)
	return inlineNs > 0 && ringNs*100 < inlineNs*explorePercent
}

func (p *autoPolicy) explain() string {
	inlineNs, ringNs := p.costs(p.usual)
	way, reason := "inline pwritev", "is cheaper"
	switch {
	case p.throttled:
		way, reason = "the ring", "spares the loop a throttled disk"
	case p.ringIsCheaper(p.usual):
		way = "the ring"
	case ringNs*100 >= inlineNs*ringMarginPercent && ringNs < inlineNs:
		reason = "costs about the same"
	}
	s := fmt.Sprintf("%s %s for writes of about %s (inline %s, ring %s each), fdatasync through the ring",
		way, reason, kib(p.usual), micros(inlineNs), micros(ringNs))
	if inlineNs == 0 || ringNs == 0 {
		s = fmt.Sprintf("%s until writes of about %s have been measured (the machine was busy at the start), fdatasync through the ring", way, kib(p.usual))
	}
	if seen := p.throttles - p.falseAlarms; seen > 0 {
		s += fmt.Sprintf(", write-back throttling seen %d times", seen)
	}
	if p.falseAlarms > 0 {
		s += fmt.Sprintf(", %d times writes only waited for a core", p.falseAlarms)
	}
	return s
}

func kib(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func micros(ns int64) string { return fmt.Sprintf("%.1f µs", float64(ns)/1e3) }
