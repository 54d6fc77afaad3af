package iouring

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	iovMax        = 1024    // IOV_MAX of writev(2)
	maxBatchBytes = 4 << 20 // bytes gathered into one vectored write
	maxWriteTries = 16      // consecutive interrupted or empty writes before giving up
)

// ErrNoProgress fails an Op whose write the kernel keeps accepting without
// taking a byte, or keeps interrupting.
var ErrNoProgress = errors.New("the kernel accepts the write but takes no bytes")

// ErrSyncFailed is matched by the error of an Op whose bytes were written but
// whose fdatasync failed. What the file holds on disk is then unknown, also
// below the Op, and no later fdatasync can tell: the owner must give up the
// file's directory, not just the write.
var ErrSyncFailed = errors.New("fdatasync failed")

// opState is where an Op stands in its file's queue.
type opState uint8

const (
	opQueued  opState = iota // not handed to the kernel, or only in part
	opWriting                // in the write in flight: the kernel may read its buffers
	opWritten                // every byte written, waits for an fdatasync to start
	opSyncing                // covered by the fdatasync in flight
	opDone                   // may be completed
	opFailed                 // may be completed with Op.err
)

// fileQueue is the state machine of one file: which Ops wait, which are in the
// write in flight, which wait for an fdatasync. step takes events and says
// what may be done next; it makes no system call and reads no clock, so every
// engine shares it and the tests can drive it through any order of events.
//
// Invariants, for one file:
//   - at most one write is in flight, so short writes can be continued without
//     another write having passed them; Ops that arrive meanwhile accumulate
//     and leave as one vectored write;
//   - at most one fdatasync is in flight, and it covers exactly the Ops whose
//     last byte was written before it started;
//   - Ops complete in the order they were given;
//   - after a failed write, that Op and every Op given before its failure was
//     reported fail with the same cause: a log never shows bytes behind a hole;
//   - a failed fdatasync fails everything in the queue and is never retried: the
//     kernel reports a write-back error once and may have dropped the pages, so
//     that a second fdatasync would succeed without the data (RELIABILITY: fsync
//     errors). An interrupted one counts as failed for the same reason.
//
// Rejected: a write linked to its fsync by IOSQE_IO_LINK. A short write cancels
// the linked fsync, and one fsync per write is what group commit avoids.
type fileQueue struct {
	fd   int
	head *Op // oldest Op not completed
	tail *Op

	write      *Op // first Op with bytes not written; nil if none
	batchOps   int // Ops in the write in flight
	batchBytes int64
	writing    bool
	tries      int // writes in a row that took no bytes

	syncing  bool
	unsynced int // Ops in state opWritten

	failed error // cause, until its first Op has been completed

	// Links of the engine's lists; not part of the machine.
	iovs       *iovArray
	iovCount   int
	startedNs  int64
	inReady    bool
	inSync     bool
	inComplete bool
}

type eventKind uint8

const (
	evSubmit     eventKind = iota // op was given
	evStartWrite                  // the shell takes the batch that step announced
	evWritten                     // the write in flight ended: n bytes, or err
	evStartSync                   // the shell starts an fdatasync
	evSynced                      // the fdatasync in flight ended
)

// event is one thing that happened to a file.
type event struct {
	kind eventKind
	op   *Op
	n    int64
	err  error
}

// effects is what may be done next; the shell decides when.
type effects struct {
	startWrite bool // a batch waits and no write is in flight
	startSync  bool // an Op waits for an fdatasync and none is in flight
	complete   bool // pop has something to hand out
}

func (q *fileQueue) step(ev event) effects {
	switch ev.kind {
	case evSubmit:
		q.submit(ev.op)
	case evStartWrite:
		q.startWrite()
	case evWritten:
		q.written(ev.n, ev.err)
	case evStartSync:
		q.startSync()
	case evSynced:
		q.synced(ev.err)
	}
	return effects{
		startWrite: q.write != nil && !q.writing,
		startSync:  q.unsynced > 0 && !q.syncing,
		complete:   q.head != nil && q.head.state >= opDone,
	}
}

// idle reports whether the file has nothing in the queue or in the kernel.
func (q *fileQueue) idle() bool { return q.head == nil && !q.writing && !q.syncing }

func (q *fileQueue) submit(op *Op) {
	op.next, op.written, op.err, op.state = nil, 0, nil, opQueued
	if q.tail == nil {
		q.head = op
	} else {
		q.tail.next = op
	}
	q.tail = op
	switch {
	case q.failed != nil:
		op.err, op.state = q.failed, opFailed
	case q.write == nil && op.Len == 0:
		q.markWritten(op)
	case q.write == nil:
		q.write = op
	}
}

// startWrite gathers the batch: contiguous Ops from write on, as many as one
// vectored write takes.
func (q *fileQueue) startWrite() {
	if q.write == nil || q.writing {
		panic("BUG: iouring: write started with none waiting or one in flight")
	}
	q.writing, q.batchOps, q.batchBytes = true, 0, 0
	iovs, end := 0, q.write.Pos+q.write.written
	for op := q.write; op != nil && op.state == opQueued; op = op.next {
		left := op.Len - op.written
		if q.batchOps > 0 && (op.Pos != end || iovs+len(op.Bufs) > iovMax || q.batchBytes+left > maxBatchBytes) {
			break
		}
		op.state = opWriting
		q.batchOps++
		q.batchBytes += left
		iovs += len(op.Bufs)
		end += left
	}
}

func (q *fileQueue) written(n int64, err error) {
	if !q.writing || n < 0 || n > q.batchBytes {
		panic(fmt.Sprintf("BUG: iouring: completion of %d bytes for a write of %d in flight=%t", n, q.batchBytes, q.writing))
	}
	q.writing = false
	switch {
	case n > 0:
		q.tries = 0
	case err == nil || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECANCELED):
		// Nothing was written; ECANCELED is what io_uring answers for work
		// whose submitting thread has gone.
		q.tries++
		if q.tries < maxWriteTries {
			err = nil
		} else if err == nil {
			err = ErrNoProgress
		}
	}
	op, short := q.write, false
	for range q.batchOps {
		took := min(op.Len-op.written, n)
		op.written += took
		n -= took
		short = short || op.written < op.Len
		switch {
		case op.err != nil: // an fdatasync failed meanwhile
			op.state = opFailed
		case short: // also an empty Op behind the hole
			op.state = opQueued
		default:
			q.markWritten(op)
		}
		op = op.next
	}
	// Ops that failed meanwhile are passed over, empty ones are written once
	// everything before them is.
	q.advance()
	if err != nil {
		q.fail(q.write, err)
	}
	q.batchOps, q.batchBytes = 0, 0
}

// advance moves write to the first Op that still has bytes to write.
func (q *fileQueue) advance() {
	for q.write != nil {
		op := q.write
		if op.state == opQueued {
			if op.Len > 0 {
				return
			}
			q.markWritten(op)
		}
		q.write = op.next
	}
}

// fail fails from and every Op behind it.
func (q *fileQueue) fail(from *Op, err error) {
	if from == nil {
		return
	}
	q.tries = 0
	q.failed = err
	for op := from; op != nil; op = op.next {
		if op.state == opWritten {
			q.unsynced--
		}
		op.err = err
		if op.state != opWriting {
			op.state = opFailed
		}
	}
	if !q.writing {
		q.write = nil
	}
}

func (q *fileQueue) markWritten(op *Op) {
	if op.Sync {
		op.state = opWritten
		q.unsynced++
		return
	}
	op.state = opDone
}

func (q *fileQueue) startSync() {
	if q.syncing || q.unsynced == 0 {
		panic("BUG: iouring: fdatasync started with none due or one in flight")
	}
	q.syncing = true
	for op := q.head; op != nil && q.unsynced > 0; op = op.next {
		if op.state == opWritten {
			op.state = opSyncing
			q.unsynced--
		}
	}
}

func (q *fileQueue) synced(err error) {
	if !q.syncing {
		panic("BUG: iouring: fdatasync completed with none in flight")
	}
	q.syncing = false
	if err != nil {
		from := q.head
		for from != nil && from.state == opDone {
			from = from.next // announced as complete before the failure
		}
		q.fail(from, fmt.Errorf("%w: %w", ErrSyncFailed, err))
		return
	}
	for op := q.head; op != nil; op = op.next {
		if op.state == opSyncing {
			op.state = opDone
		}
	}
}

// pop takes the oldest Op off the queue if it may be completed, else nil. The
// Op's err field says how it ended. A file whose failure has now been reported
// takes Ops again.
func (q *fileQueue) pop() *Op {
	op := q.head
	if op == nil || op.state < opDone {
		return nil
	}
	q.head = op.next
	if q.head == nil {
		q.tail = nil
	}
	op.next = nil
	if op.err != nil {
		q.failed = nil
	}
	return op
}

// gather fills iovs with the batch in flight, at most len(iovs) entries, and
// returns how many it used and the position they start at.
func (q *fileQueue) gather(iovs []unix.Iovec) (count int, position int64) {
	position = q.write.Pos + q.write.written
	op := q.write
	for range q.batchOps {
		skip := op.written
		for _, buf := range op.Bufs {
			if skip >= int64(len(buf)) {
				skip -= int64(len(buf))
				continue
			}
			if count == len(iovs) {
				return count, position
			}
			iovs[count].Base = &buf[skip]
			iovs[count].SetLen(len(buf) - int(skip))
			skip = 0
			count++
		}
		op = op.next
	}
	if count == 0 {
		panic(fmt.Sprintf("BUG: iouring: Op at position %d of descriptor %d promises %d bytes but has no buffers for them", q.write.Pos, q.fd, q.write.Len))
	}
	return count, position
}

// iovArray is the iovec memory of one write, pooled by the engine: a file
// borrows it only while its write is in flight.
type iovArray [iovMax]unix.Iovec
