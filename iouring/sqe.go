package iouring

import (
	"unsafe"

	uring "github.com/iceber/iouring-go/syscall"
)

// What the syscall layer of iouring-go lacks. Names and values are those of
// the kernel's include/uapi/linux/io_uring.h.
const (
	registerIOWQMaxWorkers uint8 = 19 // IORING_REGISTER_IOWQ_MAX_WORKERS, Linux 5.15

	restrictionSQEOp           uint16 = 1 // IORING_RESTRICTION_SQE_OP
	restrictionSQEFlagsAllowed uint16 = 2 // IORING_RESTRICTION_SQE_FLAGS_ALLOWED

	probeOpSupported uint16 = 1 // IO_URING_OP_SUPPORTED
)

// ringOps are the only operations our rings may carry out; the kernel refuses
// the others with EACCES once the restrictions are registered.
var ringOps = [...]uint8{
	uring.IORING_OP_WRITEV,
	uring.IORING_OP_WRITE,
	uring.IORING_OP_READV,
	uring.IORING_OP_FSYNC,
	uring.IORING_OP_POLL_ADD,
	uring.IORING_OP_ASYNC_CANCEL,
}

// restriction is struct io_uring_restriction.
type restriction struct {
	opcode uint16
	op     uint8 // the SQE opcode, or the SQE flags allowed
	_      uint8
	_      [3]uint32
}

// probeOp is struct io_uring_probe_op.
type probeOp struct {
	op    uint8
	_     uint8
	flags uint16
	_     uint32
}

// probeTable is struct io_uring_probe with room for every opcode.
type probeTable struct {
	lastOp uint8
	opsLen uint8
	_      uint16
	_      [3]uint32
	ops    [256]probeOp
}

// supports reports whether the kernel carries out op.
func (p *probeTable) supports(op uint8) bool {
	return op <= p.lastOp && p.ops[op].flags&probeOpSupported != 0
}

type (
	sqe = uring.SubmissionQueueEntry64
	cqe = uring.CompletionQueueEvent16
)

// user_data is the slot's generation in the upper half and its index in the
// lower, so that a completion for a slot that has since been given to someone
// else is recognised. ignoredUserData marks operations nobody waits for.
const ignoredUserData = ^uint64(0)

func userDataOf(index, generation uint32) uint64 {
	return uint64(generation)<<32 | uint64(index)
}

func splitUserData(userData uint64) (index, generation uint32) {
	return uint32(userData), uint32(userData >> 32)
}

// prepare fills an SQE. addr must point at memory that stays put until the
// CQE: the Go heap or a mapping, never a stack.
func prepare(s *sqe, op uint8, fd int, addr unsafe.Pointer, length uint32, pos uint64, userData uint64) {
	s.Reset()
	s.PrepOperation(op, int32(fd), uint64(uintptr(addr)), length, pos)
	s.SetUserData(userData)
}

// prepareCancel fills an SQE that cancels the operation known by target. Its
// own completion is ignored.
func prepareCancel(s *sqe, target uint64) {
	s.Reset()
	s.PrepOperation(uring.IORING_OP_ASYNC_CANCEL, -1, target, 0, 0)
	s.SetUserData(ignoredUserData)
}
