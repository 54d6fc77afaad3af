package broker

import (
	"sync"
	"sync/atomic"

	"freshet/replication/isr"
)

// A leader pushes. Each loop has one connection to each follower broker, over
// which the batches of all partitions that hash to the loop go out as they are
// appended, in frames that carry several partitions; bodies leave by sendfile.
// Several frames are in flight, the answers come in order and move the high
// watermark (docs/format/replication.md).
const (
	// frameBytes is what one frame carries of record batches. A batch that is
	// larger goes alone.
	frameBytes = 1 << 20
	// framePartitions bounds the partitions of one frame.
	framePartitions = 1000
	// streamBytes and streamFrames bound what is in flight to one follower from
	// one loop.
	streamBytes  = 8 << 20
	streamFrames = 32
	// fewFrames may be in flight whatever their size, more only when they are
	// large on average: small ones gather until an answer comes, so that under
	// load a frame carries the appends of many turns.
	fewFrames       = 4
	smallFrameBytes = 64 << 10
	// highWatermarkDelayMs is how long a follower waits for a high watermark
	// that has no records to ride on.
	highWatermarkDelayMs = 5
	// logStartDelayMs is how soon a follower is asked again where its log starts,
	// while a DeleteRecords waits for that: it answers before it removes files.
	logStartDelayMs = 5
	// A stream without partitions is closed after idleStreamMs, one whose
	// follower owes answers and is silent after silentStreamMs.
	idleStreamMs, silentStreamMs = 1000, 10_000
)

// peerPart is one follower of one partition at one leader epoch. It is touched
// on its stream's loop only, but for signalled.
type peerPart struct {
	part   *partition
	stream *stream
	epoch  int32
	sender isr.Sender
	index  int // in stream.parts; -1 when it is not there
	// signalled: it stands in stream.dirty or is on its way there. It is cleared
	// before the log is looked at, so that no append is missed.
	signalled atomic.Bool
	lazy      bool  // it stands in stream.lazy, until dueMs
	dueMs     int64 //
	looking   bool  // a worker brings its place in the log into memory
	lookedUp  bool  // and has done so
}

// sentFrame is a frame in flight: whose pushes it carries, in order.
type sentFrame struct {
	corr  int32
	bytes int64
	parts []*peerPart
}

// stream is one loop's connection to one follower broker. Loop only, but for
// incoming.
type stream struct {
	loop     *loop
	peer     int32
	conn     *conn // nil while there is none
	link     link
	parts    []*peerPart
	dirty    []*peerPart // to be looked at, in order
	lazy     []*peerPart // to be looked at when their time has come
	filling  bool        // in loop.fills
	inFlight []*sentFrame
	free     []*sentFrame
	bytes    int64 // sum of inFlight
	corr     int32
	timer    timer

	// incoming are those that other goroutines signalled.
	incoming struct {
		sync.Mutex
		list []*peerPart
	}
}

// streamTo returns the loop's stream to a broker. Any goroutine.
func (l *loop) streamTo(peer int32) *stream {
	l.streams.Lock()
	defer l.streams.Unlock()
	s := l.streams.to[peer]
	if s == nil {
		s = &stream{loop: l, peer: peer}
		s.timer = timer{heapIdx: -1, stream: s}
		if l.streams.to == nil {
			l.streams.to = map[int32]*stream{}
		}
		l.streams.to[peer] = s
	}
	return s
}

// peerTask adds a partition's follower to its stream, or removes it.
type peerTask struct {
	pp     *peerPart
	remove bool
}

// post carries t out on the stream's loop.
func (t peerTask) post() {
	t.pp.stream.loop.post(func(any) error {
		s := t.pp.stream
		s.loop.tickClock()
		if t.remove {
			s.remove(t.pp)
		} else {
			s.add(t.pp)
		}
		s.loop.settle()
		return nil
	}, nil)
}

func (s *stream) add(pp *peerPart) {
	pp.index = len(s.parts)
	s.parts = append(s.parts, pp)
	pp.sender.Start(pp.epoch)
	if s.conn == nil {
		s.dial()
		return
	}
	pp.part.Joined(pp.epoch, s.peer, s.link.peerEpoch)
	s.mark(pp)
}

// remove lets go of a partition's follower: answers to what was pushed for it
// count no more.
func (s *stream) remove(pp *peerPart) {
	if pp.index < 0 {
		return
	}
	last := len(s.parts) - 1
	s.parts[pp.index] = s.parts[last]
	s.parts[pp.index].index = pp.index
	s.parts[last] = nil
	s.parts = s.parts[:last]
	pp.index = -1
	if last == 0 && s.conn != nil {
		s.wakeAt(s.loop.monoMs + idleStreamMs) // a new leader epoch adds it again at once
	}
}

// checkSilence closes a connection whose follower has taken and answered nothing
// for a while although it owes answers: it may be cut off without a word.
func (s *stream) checkSilence() {
	if s.conn != nil && len(s.inFlight) > 0 && s.loop.monoMs-s.conn.lastMs > silentStreamMs {
		s.loop.closeConn(s.conn, errSilent)
	}
}

// wakeStreams tells the streams to p's followers that there is something new.
// on is the loop it is called on, or nil.
func (p *partition) wakeStreams(on *loop) {
	list := p.streamed.Load()
	if list == nil {
		return
	}
	for _, pp := range *list {
		pp.signal(on)
	}
}

// nudgeStreams tells p's followers of the log start though nothing else is new.
func (p *partition) nudgeStreams() {
	list := p.streamed.Load()
	if list == nil {
		return
	}
	for _, pp := range *list {
		pp.stream.loop.post(func(any) error {
			pp.sender.Nudge()
			pp.stream.mark(pp)
			pp.stream.loop.settle()
			return nil
		}, nil)
	}
}

// signal has the stream look at pp soon. Any goroutine.
func (pp *peerPart) signal(on *loop) {
	if pp.signalled.Swap(true) {
		return
	}
	s := pp.stream
	if s.loop == on {
		s.queue(pp)
		return
	}
	s.incoming.Lock()
	first := len(s.incoming.list) == 0
	s.incoming.list = append(s.incoming.list, pp)
	s.incoming.Unlock()
	if first {
		s.loop.post(incomingTask, s)
	}
}

// incomingTask takes over what other goroutines signalled.
func incomingTask(arg any) error {
	s := arg.(*stream)
	s.incoming.Lock()
	list := s.incoming.list
	s.incoming.list = nil
	s.incoming.Unlock()
	s.loop.tickClock()
	for _, pp := range list {
		s.queue(pp)
	}
	s.loop.settle()
	return nil
}

// mark puts pp into the queue unless it stands there. Loop only.
func (s *stream) mark(pp *peerPart) {
	if !pp.signalled.Swap(true) {
		s.queue(pp)
	}
}

func (s *stream) queue(pp *peerPart) {
	s.dirty = append(s.dirty, pp)
	s.queueFill()
}

// queueFill has the stream filled when the event ends.
func (s *stream) queueFill() {
	if !s.filling && s.conn != nil {
		s.filling = true
		s.loop.fills = append(s.loop.fills, s)
	}
}

// markLater looks at pp in delayMs.
func (s *stream) markLater(pp *peerPart, delayMs int64) {
	due := s.loop.monoMs + delayMs
	if pp.lazy {
		pp.dueMs = min(pp.dueMs, due)
	} else {
		pp.lazy, pp.dueMs = true, due
		s.lazy = append(s.lazy, pp)
	}
	s.wakeAt(pp.dueMs)
}

// wakeAt lets the stream's timer end at dueMs at the latest.
func (s *stream) wakeAt(dueMs int64) {
	switch l := s.loop; {
	case s.timer.heapIdx < 0:
		l.startTimer(&s.timer, dueMs)
	case dueMs < s.timer.deadlineMs:
		l.timers.remove(&s.timer)
		l.startTimer(&s.timer, dueMs)
	}
}

// onTimer connects anew, or looks at what has waited long enough.
func (s *stream) onTimer() {
	if s.conn == nil {
		s.dial()
		return
	}
	if len(s.parts) == 0 {
		s.loop.closeConn(s.conn, errNoFollowers)
		return
	}
	next := int64(0)
	kept := s.lazy[:0]
	for _, pp := range s.lazy {
		if pp.dueMs > s.loop.monoMs && pp.index >= 0 {
			kept = append(kept, pp)
			if next == 0 || pp.dueMs < next {
				next = pp.dueMs
			}
			continue
		}
		pp.lazy = false
		if pp.index >= 0 {
			if wait := pp.sender.Retry(s.loop.monoMs); wait > 0 { // due for something else
				pp.lazy, pp.dueMs = true, s.loop.monoMs+wait
				kept = append(kept, pp)
				if next == 0 || pp.dueMs < next {
					next = pp.dueMs
				}
				continue
			}
			if pp.part.deleting.Load() > 0 {
				pp.sender.Nudge()
			}
			s.mark(pp)
		}
	}
	clear(s.lazy[len(kept):])
	s.lazy = kept
	if next > 0 {
		s.wakeAt(next)
	}
	s.loop.settle()
}

// up begins to push over a connection that both sides have agreed on.
func (s *stream) up(c *conn) {
	s.conn = c
	s.link.connected()
	for _, pp := range s.parts {
		pp.sender.Start(pp.epoch)
		pp.part.Joined(pp.epoch, s.peer, s.link.peerEpoch)
		s.mark(pp)
	}
	s.queueFill()
}

// down forgets what was in flight when the connection broke, and connects
// anew; it is not known what of it arrived, the followers will say.
func (s *stream) down(err error) {
	s.conn = nil
	for i, f := range s.inFlight {
		s.recycle(f)
		s.inFlight[i] = nil
	}
	s.inFlight, s.bytes = s.inFlight[:0], 0
	for _, pp := range s.dirty {
		pp.signalled.Store(false)
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	if len(s.parts) > 0 && !s.loop.stopping {
		s.link.failed(s, err)
	}
}
