package iouring

import (
	"math"
	"unsafe"

	uring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Async is what an event loop needs besides writing: to learn when a socket
// takes bytes again, and to bring file ranges into the page cache without
// waiting for the disk. Every Engine made by New implements it. Completions
// arrive in Reap, on the loop, exactly once for each call, never inside it.
//
// A pending poll holds the socket open in the kernel: close(2) alone then
// sends no FIN. Call shutdown(2) or Cancel first, and wait for PollDone before
// the token is used again.
type Async interface {
	// PollOut waits once until fd is writable or in error. PollDone's res is
	// the poll(2) event mask, or a negative errno (-ECANCELED after Cancel).
	PollOut(fd int, token uint64, c PollCompleter)
	// ReadAhead brings length bytes of fd from pos into the page cache.
	// PollDone's res is the number of bytes found before the end of the file,
	// clipped to 2^31-1, or a negative errno. fd stays open until PollDone.
	ReadAhead(fd int, pos, length int64, token uint64, c PollCompleter)
	// Cancel ends the pending PollOut of that token early, if there is one.
	Cancel(token uint64)
}

// asyncRequest is one PollOut or ReadAhead. A read-ahead walks its range in
// steps, so that one large range does not hold a worker for long.
type asyncRequest struct {
	kind   slotKind // slotPoll or slotReadAhead
	fd     int
	pos    int64
	length int64
	read   int64 // bytes brought in so far
	token  uint64
	c      PollCompleter
}

const (
	scratchBytes  = 128 << 10
	scratchRepeat = 8 // iovecs that all name the same scratch buffer
)

// scratch is where read-ahead copies go to die. Reading is the only way to be
// told that pages have arrived: FADVISE WILLNEED (and readahead(2)) complete
// once the reads are queued, and a sendfile that follows blocks on the locked
// pages. All iovecs name one buffer that fits in the second-level cache, so a
// step asks the device for 1 MiB and dirties 128 KiB. It lies outside the Go
// heap; reads into it by several workers at once are of no consequence.
type scratch struct {
	mem  []byte
	iovs [scratchRepeat]unix.Iovec
}

func newScratch() (*scratch, error) {
	mem, err := unix.Mmap(-1, 0, scratchBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	s := &scratch{mem: mem}
	for i := range s.iovs {
		s.iovs[i].Base = &mem[0]
		s.iovs[i].SetLen(scratchBytes)
	}
	return s, nil
}

func (s *scratch) free() { _ = unix.Munmap(s.mem) }

// readAheadIovs is how many iovecs the next step of a read-ahead takes. The last one
// may read up to 128 KiB beyond the range: the iovecs are shared and fixed.
func readAheadIovs(left int64) uint32 {
	return uint32(max(1, min((left+scratchBytes-1)/scratchBytes, scratchRepeat)))
}

func (e *loopEngine) PollOut(fd int, token uint64, c PollCompleter) {
	e.startAsync(asyncRequest{kind: slotPoll, fd: fd, token: token, c: c})
}

func (e *loopEngine) ReadAhead(fd int, pos, length int64, token uint64, c PollCompleter) {
	e.startAsync(asyncRequest{kind: slotReadAhead, fd: fd, pos: pos, length: length, token: token, c: c})
}

func (e *loopEngine) startAsync(req asyncRequest) {
	if e.closed || req.c == nil {
		panic("BUG: iouring: PollOut or ReadAhead on a closed engine, or with no completer")
	}
	if len(e.waiting) > 0 || !e.tryAsync(req) {
		e.waiting = append(e.waiting, req)
	}
}

func (e *loopEngine) retryAsync() {
	pending := e.waiting
	done := 0
	for done < len(pending) && pending[done].kind != slotCancelled && e.tryAsync(pending[done]) {
		done++
	}
	n := copy(pending, pending[done:])
	clear(pending[n:])
	e.waiting = pending[:n]
	if n > 0 {
		e.ring.wake()
	}
}

// tryAsync gives req to the ring or its stand-in; false when the ring is full.
func (e *loopEngine) tryAsync(req asyncRequest) bool {
	if e.ring == nil {
		e.kernelOps++
		if req.kind == slotPoll {
			e.waiter.add(req)
		} else {
			e.off.submit(offloadJob{kind: jobReadAhead, fd: req.fd, async: req})
		}
		return true
	}
	entry := e.entry()
	if entry == nil {
		return false
	}
	index, s := e.takeSlot(req.kind)
	s.async = req
	userData := userDataOf(index, s.generation)
	if req.kind == slotPoll {
		prepare(entry, uring.IORING_OP_POLL_ADD, req.fd, nil, 0, 0, userData)
		entry.SetOpFlags(uint32(unix.POLLOUT))
	} else {
		count := readAheadIovs(req.length - req.read)
		prepare(entry, uring.IORING_OP_READV, req.fd, unsafe.Pointer(&e.scratch.iovs[0]), count, uint64(req.pos+req.read), userData)
		// On a worker from the start: an inline attempt would copy what is
		// resident on the loop's time.
		entry.SetFlags(uring.IOSQE_FLAGS_ASYNC)
	}
	e.kernelOps++
	return true
}

// asyncDone handles the end of a poll, or of one step of a read-ahead.
func (e *loopEngine) asyncDone(req asyncRequest, res int32) {
	if req.kind == slotReadAhead && res > 0 {
		req.read += int64(res)
		if req.read < req.length {
			e.startAsync(req)
			return
		}
	}
	if req.kind == slotReadAhead && res >= 0 {
		res = int32(min(req.read, req.length, math.MaxInt32))
	}
	req.c.PollDone(req.token, res)
}

func (e *loopEngine) Cancel(token uint64) {
	for i := range e.waiting {
		if req := &e.waiting[i]; req.kind == slotPoll && req.token == token {
			req.kind = slotCancelled
			e.ring.wake()
			return
		}
	}
	if e.ring == nil {
		e.waiter.cancel(token)
		return
	}
	for i := range e.slots {
		if s := &e.slots[i]; s.kind == slotPoll && s.async.token == token {
			e.cancels = append(e.cancels, userDataOf(uint32(i), s.generation))
			e.ring.wake() // whether or not a Flush follows
			return
		}
	}
}

// cancelAll ends every pending poll, for Close.
func (e *loopEngine) cancelAll() {
	for i := range e.waiting {
		if e.waiting[i].kind == slotPoll {
			e.waiting[i].kind = slotCancelled
		}
	}
	if e.ring == nil {
		e.waiter.cancelAll()
		return
	}
	for i := range e.slots {
		if s := &e.slots[i]; s.kind == slotPoll {
			e.cancels = append(e.cancels, userDataOf(uint32(i), s.generation))
		}
	}
}

// startCancels asks the ring to end polls. The answer that counts is the
// poll's own completion: a poll that fired meanwhile is simply not found.
func (e *loopEngine) startCancels() {
	for len(e.cancels) > 0 {
		entry := e.entry()
		if entry == nil {
			e.ring.wake()
			return
		}
		last := len(e.cancels) - 1
		prepareCancel(entry, e.cancels[last])
		e.cancels = e.cancels[:last]
	}
}

// reapCancelled ends requests that were cancelled before the ring had room for
// them; it returns how many.
func (e *loopEngine) reapCancelled() int {
	kept, n := e.waiting[:0], 0
	for _, req := range e.waiting {
		if req.kind == slotCancelled {
			n++
			e.cancelled = append(e.cancelled, req)
			continue
		}
		kept = append(kept, req)
	}
	e.waiting = kept
	for _, req := range e.cancelled {
		req.c.PollDone(req.token, -int32(unix.ECANCELED))
	}
	clear(e.cancelled)
	e.cancelled = e.cancelled[:0]
	return n
}
