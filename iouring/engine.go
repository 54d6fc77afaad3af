package iouring

// Op is one positioned, vectored write to one file, optionally followed by an
// fdatasync that covers it. The caller owns the Op and its buffers again only
// when Done.WriteDone is called; until then the kernel may read the buffers,
// also after the connection they came from has closed.
//
// Ops are pooled by their owner and reused; an Engine keeps no reference after
// WriteDone returns.
type Op struct {
	Fd   int      // file descriptor, kept open by the caller until WriteDone
	Pos  int64    // byte position of the first buffer
	Bufs [][]byte // written in order, contiguous from Pos; at most IOV_MAX
	Len  int64    // total bytes in Bufs
	Sync bool     // complete only after an fdatasync that covers the write; with Len 0, a barrier
	Done Completer

	next    *Op   // engine queue link
	written int64 // progress through short writes
	err     error
	state   opState // owned by the queue of its file
}

// Completer receives the end of an Op on the goroutine of the loop that owns
// the Engine. err is nil only when every byte is written (and, with Sync, a
// successful fdatasync started after the write finished).
type Completer interface {
	WriteDone(op *Op, err error)
}

// PollCompleter receives the end of a PollOut or ReadAhead on the loop.
// token is the caller's; res is the CQE result (negative errno on failure).
type PollCompleter interface {
	PollDone(token uint64, res int32)
}

// Engine carries out the appends of one event loop. All methods except the
// wake-up behind EventFD run on that loop's goroutine. Implementations:
// pwritev (inline write, fdatasync on a bounded pool), uring, auto.
type Engine interface {
	// Write takes op. It may complete it before returning (pwritev without
	// Sync does). Writes to one Fd complete in the order given.
	Write(op *Op)
	// Flush ends a turn: everything queued goes to the kernel in one submission.
	Flush()
	// Reap runs the completions that have arrived; it returns how many.
	Reap() int
	// EventFD becomes readable when completions wait for Reap; -1 if this
	// engine never completes later. It is non-blocking; Reap drains it.
	EventFD() int
	// Deferred reports whether buffers of the next Write must stay valid
	// after Write returns: always for uring, never for pwritev, and for auto
	// as it has decided for this turn. Ask before each Write. The Op itself
	// stays the engine's until WriteDone in any case (Sync completes later).
	Deferred() bool
	// InFlight is the number of Ops not yet completed.
	InFlight() int
	// Close waits for the Ops in flight and frees the ring.
	Close() error
	// Name is "pwritev", "uring" or "auto".
	Name() string
}
