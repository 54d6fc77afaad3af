package iouring

import (
	"fmt"
	"math"
	"time"
	"unsafe"

	uring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// loopEngine is the one implementation behind the three engine names. They
// share the per-file state machine (fileQueue) and differ in two choices: who
// carries out a write (this goroutine by pwritev, or the ring) and who carries
// out an fdatasync (the ring, or the offload pool when there is none).
//
// A turn: Write puts Ops into their file's queue, and carries them out at once
// when the policy says inline; Flush starts what waits and enters the kernel
// once; Reap feeds completions to the queues, calls the Completers, and starts
// what the completions made possible.
//
// Ownership: everything here belongs to the loop's goroutine, except inside
// offload and pollWaiter, which hand results over under their own lock.
//
// Completers are called from deliver only, which does not nest: a Completer
// may call Write, and its Op completes after the Ops already finished.
type loopEngine struct {
	name   string
	ring   *ring // nil: no ring
	off    *offload
	waiter *pollWaiter // only without a ring
	policy policy
	timed  bool // the policy wants to know what writes cost
	why    string

	files    []*fileQueue // by descriptor; idle ones are kept and reused
	ready    []*fileQueue // a write may start at the next Flush or Reap
	syncs    []*fileQueue // an fdatasync may start then
	finished []*fileQueue // pop has something

	slots     []slot
	freeSlots []uint32
	iovFree   []*iovArray
	inlineIov *iovArray
	scratch   *scratch
	waiting   []asyncRequest // async operations for which the ring had no entry
	cancels   []uint64       // user_data of polls to cancel at the next start
	cancelled []asyncRequest // reapCancelled's working space

	inFlight   int // Ops not completed
	ringWrites int // writes in the ring
	kernelOps  int // everything in the ring or the pool whose end must be awaited
	delivering bool
	closed     bool
	epoch      time.Time
}

type slotKind uint8

const (
	slotFree slotKind = iota
	slotWrite
	slotSync
	slotPoll
	slotReadAhead
	slotCancelled // an asyncRequest cancelled before it had a slot
)

// slot keeps what one operation in the ring needs until its CQE: the kernel
// reads the iovecs and buffers behind them after we have long gone on, so the
// references live here and in the file's queue, never only in the SQE.
type slot struct {
	generation uint32
	kind       slotKind
	submitted  int32 // writes submitted in the same Flush, for cost per write
	file       *fileQueue
	async      asyncRequest
}

var (
	_ Engine = (*loopEngine)(nil)
	_ Async  = (*loopEngine)(nil)
)

// nowNs is monotonic time since the engine was made; zero when nobody asks.
func (e *loopEngine) nowNs() int64 {
	if !e.timed {
		return 0
	}
	return int64(time.Since(e.epoch))
}

func (e *loopEngine) Name() string  { return e.name }
func (e *loopEngine) InFlight() int { return e.inFlight }

// Deferred is the policy's promise for the next Write. While ring writes are
// in flight a Write may have to queue behind them, whatever the policy.
func (e *loopEngine) Deferred() bool {
	return e.ring != nil && (e.ringWrites > 0 || len(e.ready) > 0 || e.policy.deferred())
}

func (e *loopEngine) EventFD() int {
	if e.ring != nil {
		return e.ring.eventFd
	}
	return e.off.eventFd
}

// Explain says in one line which way writes go and why.
func (e *loopEngine) Explain() string {
	s := e.name
	if detail := e.policy.explain(); detail != "" {
		s += ": " + detail
	}
	if e.ring != nil {
		s += "; ring: " + e.ring.String()
	}
	if e.why != "" {
		s += "; " + e.why
	}
	return s
}

func (e *loopEngine) file(fd int) *fileQueue {
	if fd < 0 {
		panic(fmt.Sprintf("BUG: iouring: Op on descriptor %d", fd))
	}
	for fd >= len(e.files) {
		e.files = append(e.files, make([]*fileQueue, max(64, fd+1-len(e.files)))...)
	}
	q := e.files[fd]
	if q == nil {
		q = &fileQueue{fd: fd}
		e.files[fd] = q
	}
	return q
}

func (e *loopEngine) Write(op *Op) {
	if e.closed {
		panic("BUG: iouring: Write on a closed engine")
	}
	e.inFlight++
	q := e.file(op.Fd)
	eff := q.step(event{kind: evSubmit, op: op})
	if eff.startWrite && !q.inReady {
		if e.ring == nil || e.policy.inline(op.Len) {
			e.writeInline(q)
			return
		}
	}
	e.note(q, eff)
	e.deliver()
}

// note puts a file on the lists its effects call for.
func (e *loopEngine) note(q *fileQueue, eff effects) {
	if eff.startWrite && !q.inReady {
		q.inReady = true
		e.ready = append(e.ready, q)
	}
	if eff.startSync && !q.inSync {
		q.inSync = true
		e.syncs = append(e.syncs, q)
	}
	if eff.complete && !q.inComplete {
		q.inComplete = true
		e.finished = append(e.finished, q)
	}
}

// deliver calls the Completers of every Op that has finished, in order within
// each file.
func (e *loopEngine) deliver() {
	if e.delivering {
		return
	}
	e.delivering = true
	for i := 0; i < len(e.finished); i++ {
		q := e.finished[i]
		for op := q.pop(); op != nil; op = q.pop() {
			e.inFlight--
			op.Done.WriteDone(op, op.err)
		}
		q.inComplete = false
	}
	clear(e.finished)
	e.finished = e.finished[:0]
	e.delivering = false
}

func (e *loopEngine) Flush() {
	e.start()
	if e.ring != nil && e.ring.pending() > 0 {
		e.ring.submit()
	}
	if e.timed {
		e.policy.endTurn(e.nowNs())
	}
}

// start begins every write and fdatasync that may begin, and retries async
// operations that found the queue full.
func (e *loopEngine) start() {
	if len(e.waiting) > 0 {
		e.retryAsync()
	}
	if len(e.cancels) > 0 {
		e.startCancels()
	}
	if len(e.ready) > 0 {
		e.startWrites()
	}
	if len(e.syncs) > 0 {
		e.startSyncs()
	}
}

func (e *loopEngine) startWrites() {
	pending := e.ready
	now := e.nowNs()
	for i, q := range pending {
		index, s := e.takeSlot(slotWrite)
		entry := e.entry()
		if entry == nil {
			e.returnSlot(index)
			e.ready = pending[:copy(pending, pending[i:])]
			e.ring.wake()
			return
		}
		q.inReady = false
		q.step(event{kind: evStartWrite})
		if q.iovs == nil {
			q.iovs = e.takeIovs()
		}
		count, position := q.gather(q.iovs[:])
		q.startedNs, q.iovCount = now, count
		s.file, s.submitted = q, int32(len(pending))
		userData := userDataOf(index, s.generation)
		if count == 1 {
			v := &q.iovs[0]
			prepare(entry, uring.IORING_OP_WRITE, q.fd, unsafe.Pointer(v.Base), uint32(min(v.Len, math.MaxInt32)), uint64(position), userData)
		} else {
			prepare(entry, uring.IORING_OP_WRITEV, q.fd, unsafe.Pointer(&q.iovs[0]), uint32(count), uint64(position), userData)
		}
		e.ringWrites++
		e.kernelOps++
	}
	clear(pending)
	e.ready = pending[:0]
}

func (e *loopEngine) startSyncs() {
	pending := e.syncs
	for i, q := range pending {
		if e.ring == nil {
			q.inSync = false
			q.step(event{kind: evStartSync})
			e.kernelOps++
			e.off.submit(offloadJob{kind: jobSync, fd: q.fd, file: q})
			continue
		}
		index, s := e.takeSlot(slotSync)
		entry := e.entry()
		if entry == nil {
			e.returnSlot(index)
			e.syncs = pending[:copy(pending, pending[i:])]
			e.ring.wake()
			return
		}
		q.inSync = false
		q.step(event{kind: evStartSync})
		s.file = q
		prepare(entry, uring.IORING_OP_FSYNC, q.fd, nil, 0, 0, userDataOf(index, s.generation))
		entry.SetOpFlags(uring.IORING_FSYNC_DATASYNC)
		e.kernelOps++
	}
	clear(pending)
	e.syncs = pending[:0]
}

// entry returns a submission entry, submitting first when the queue is full;
// nil if the kernel takes none at present.
func (e *loopEngine) entry() *sqe {
	s := e.ring.next()
	if s == nil {
		e.ring.submit()
		s = e.ring.next()
	}
	return s
}

func (e *loopEngine) takeSlot(kind slotKind) (uint32, *slot) {
	n := len(e.freeSlots)
	if n == 0 {
		e.slots = append(e.slots, slot{})
		n = 1
		e.freeSlots = append(e.freeSlots, uint32(len(e.slots)-1))
	}
	index := e.freeSlots[n-1]
	e.freeSlots = e.freeSlots[:n-1]
	s := &e.slots[index]
	s.kind = kind
	return index, s
}

func (e *loopEngine) returnSlot(index uint32) {
	s := &e.slots[index]
	// The generation moves on so that a late completion is recognised; the
	// all-ones value is skipped, it would collide with ignoredUserData.
	generation := s.generation + 1
	if generation == math.MaxUint32 {
		generation = 0
	}
	*s = slot{generation: generation}
	e.freeSlots = append(e.freeSlots, index)
}

func (e *loopEngine) takeIovs() *iovArray {
	if n := len(e.iovFree); n > 0 {
		a := e.iovFree[n-1]
		e.iovFree = e.iovFree[:n-1]
		return a
	}
	return new(iovArray)
}

// Reap is bounded by one completion queue's worth, so that completions that
// start operations that complete at once cannot hold the loop.
func (e *loopEngine) Reap() int {
	var n int
	if e.ring == nil {
		n = e.reapOffload()
	} else {
		n = e.reapRing()
	}
	if len(e.waiting) > 0 {
		n += e.reapCancelled()
	}
	e.deliver()
	e.start() // a Completer may have given Ops, a completion may have made room
	if e.ring != nil && e.ring.pending() > 0 {
		e.ring.submit()
	}
	return n
}

func (e *loopEngine) reapRing() int {
	n := 0
	for limit := len(e.ring.cqes); n < limit; n++ {
		userData, res, ok := e.ring.completion()
		if !ok {
			if e.ring.drain(n) {
				n--
				continue
			}
			return n
		}
		e.complete(userData, res)
	}
	e.ring.wake()
	return n
}

func (e *loopEngine) complete(userData uint64, res int32) {
	if userData == ignoredUserData {
		return
	}
	index, generation := splitUserData(userData)
	if int(index) >= len(e.slots) || e.slots[index].generation != generation || e.slots[index].kind == slotFree {
		panic(fmt.Sprintf("BUG: iouring: completion for slot %d generation %d that is not in use", index, generation))
	}
	s := &e.slots[index]
	e.kernelOps--
	switch s.kind {
	case slotWrite:
		q := s.file
		e.ringWrites--
		if e.timed {
			e.policy.observe(observation{bytes: q.batchBytes, ns: e.nowNs() - q.startedNs, group: int(s.submitted), ring: true})
		}
		e.returnSlot(index)
		clear(q.iovs[:q.iovCount])
		e.iovFree = append(e.iovFree, q.iovs)
		q.iovs = nil
		e.note(q, q.step(event{kind: evWritten, n: int64(max(res, 0)), err: errnoOf(res)}))
	case slotSync:
		q := s.file
		e.returnSlot(index)
		e.note(q, q.step(event{kind: evSynced, err: errnoOf(res)}))
	default:
		req := s.async
		e.returnSlot(index)
		e.asyncDone(req, res)
	}
}

// Close waits for everything in flight: the kernel reads the buffers of Ops
// until their completion, whatever happens to this process's plans. Polls are
// cancelled.
func (e *loopEngine) Close() error {
	if e.closed {
		return nil
	}
	e.cancelAll()
	for e.inFlight > 0 || e.kernelOps > 0 || len(e.waiting) > 0 {
		e.Flush()
		if e.Reap() > 0 {
			continue
		}
		e.waitReadable(closePollMs)
	}
	e.closed = true
	if e.waiter != nil {
		e.waiter.close()
	}
	if e.off != nil {
		e.off.close()
	}
	if e.ring != nil {
		e.ring.close()
	}
	if e.scratch != nil {
		e.scratch.free()
	}
	return nil
}

// closePollMs bounds one wait in Close, in case a wake-up and its completion
// passed each other.
const closePollMs = 20

// waitReadable blocks until EventFD is readable, for Close and Calibrate.
func (e *loopEngine) waitReadable(timeoutMs int) {
	fds := [1]unix.PollFd{{Fd: int32(e.EventFD()), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds[:], timeoutMs)
}
