package iouring

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	uring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// ringConfig says how a ring is set up. Zero values take the defaults.
type ringConfig struct {
	sqEntries      uint32 // submission queue entries, rounded up to a power of two by the kernel
	cqEntries      uint32 // completion queue entries
	boundedWorkers uint32 // io-wq workers for regular files, per submitting thread
	unrestricted   bool   // leave out R_DISABLED and the restrictions (tests)
}

const (
	defaultSQEntries      = 256
	defaultCQEntries      = 4096
	defaultBoundedWorkers = 8
	unboundedWorkers      = 1 // nothing we submit is unbounded work
)

// ring is one io_uring: setup, mappings, submission, completion. It knows
// nothing of files or Ops.
//
// Ownership: one event loop; no method is safe to call from anywhere else.
// There is no SQPOLL thread, so the kernel looks at the submission queue only
// inside submit, and the shared words need no more than ordered loads and
// stores. The loop's goroutine may move between threads: the ring is set up
// without SINGLE_ISSUER for that reason.
//
// Invariant: head <= tail <= head+entries for both queues (modulo 2^32).
type ring struct {
	fd       int
	eventFd  int // non-blocking; signalled by the kernel at every CQE
	flags    uint32
	features uint32

	ringMem []byte
	cqMem   []byte // nil when the kernel maps both queues at once
	sqeMem  []byte

	sqHead  *uint32
	sqTail  *uint32
	sqFlags *uint32
	sqMask  uint32
	sqLen   uint32
	sqes    []sqe
	tail    uint32 // ours; published to sqTail by submit

	cqHead *uint32
	cqTail *uint32
	cqMask uint32
	cqes   []cqe

	restricted  bool
	emptyReaps  int      // since the eventfd was last drained
	lowerLimits []string // what the kernel refused of what we asked
}

// setupFlags are asked for from most to least wanted; where the kernel answers
// EINVAL the last one still set is dropped and setup tried again.
var setupFlags = [...]struct {
	flag uint32
	name string
}{
	{uring.IORING_SETUP_CQSIZE, "CQSIZE (5.5)"},
	{uring.IORING_SETUP_R_DISABLED, "R_DISABLED (5.10)"},
	{uring.IORING_SETUP_SUBMIT_ALL, "SUBMIT_ALL (5.18)"},
	{uring.IORING_SETUP_COOP_TASKRUN, "COOP_TASKRUN (5.19)"},
}

// newRing sets a ring up and enables it. On error nothing is left open.
func newRing(cfg ringConfig) (*ring, error) {
	if cfg.sqEntries == 0 {
		cfg.sqEntries = defaultSQEntries
	}
	if cfg.cqEntries == 0 {
		cfg.cqEntries = max(defaultCQEntries, 2*cfg.sqEntries)
	}
	if cfg.boundedWorkers == 0 {
		cfg.boundedWorkers = defaultBoundedWorkers
	}
	r := &ring{fd: -1, eventFd: -1}
	params, err := r.setup(cfg)
	if err != nil {
		return nil, err
	}
	if err := r.mapQueues(params); err != nil {
		r.close()
		return nil, err
	}
	if err := r.register(cfg); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *ring) setup(cfg ringConfig) (*uring.IOURingParams, error) {
	wanted := len(setupFlags)
	for {
		params := &uring.IOURingParams{}
		for _, f := range setupFlags[:wanted] {
			if f.flag == uring.IORING_SETUP_R_DISABLED && cfg.unrestricted {
				continue
			}
			params.Flags |= f.flag
		}
		if params.Flags&uring.IORING_SETUP_CQSIZE != 0 {
			params.CQEntries = cfg.cqEntries
		}
		fd, err := uring.IOURingSetup(uint(cfg.sqEntries), params)
		if err == nil {
			r.fd, r.flags, r.features = fd, params.Flags, params.Features
			unix.CloseOnExec(fd)
			return params, nil
		}
		if !errors.Is(err, unix.EINVAL) || wanted == 0 {
			return nil, fmt.Errorf("cannot set up an io_uring of %d entries: %w", cfg.sqEntries, err)
		}
		wanted--
		r.lowerLimits = append(r.lowerLimits, setupFlags[wanted].name)
	}
}

func (r *ring) mapQueues(p *uring.IOURingParams) error {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	if p.Features&uring.IORING_FEAT_NODROP == 0 {
		return fmt.Errorf("cannot use this io_uring: the kernel drops completions when the queue is full (needs Linux 5.5)")
	}
	sqBytes := int(p.SQOffset.Array + p.SQEntries*4)
	cqBytes := int(p.CQOffset.Cqes + p.CQEntries*uint32(unsafe.Sizeof(cqe{})))
	single := p.Features&uring.IORING_FEAT_SINGLE_MMAP != 0
	if single {
		sqBytes = max(sqBytes, cqBytes)
	}
	var err error
	if r.ringMem, err = unix.Mmap(r.fd, int64(uring.IORING_OFF_SQ_RING), sqBytes, prot, flags); err != nil {
		return fmt.Errorf("cannot map the submission queue: %w", err)
	}
	cqMem := r.ringMem
	if !single {
		if r.cqMem, err = unix.Mmap(r.fd, int64(uring.IORING_OFF_CQ_RING), cqBytes, prot, flags); err != nil {
			return fmt.Errorf("cannot map the completion queue: %w", err)
		}
		cqMem = r.cqMem
	}
	sqeBytes := int(p.SQEntries) * int(unsafe.Sizeof(sqe{}))
	if r.sqeMem, err = unix.Mmap(r.fd, int64(uring.IORING_OFF_SQES), sqeBytes, prot, flags); err != nil {
		return fmt.Errorf("cannot map the submission entries: %w", err)
	}

	word := func(mem []byte, off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&mem[off])) }
	r.sqHead, r.sqTail = word(r.ringMem, p.SQOffset.Head), word(r.ringMem, p.SQOffset.Tail)
	r.sqFlags = word(r.ringMem, p.SQOffset.Flags)
	r.sqMask, r.sqLen = *word(r.ringMem, p.SQOffset.RingMask), p.SQEntries
	r.sqes = unsafe.Slice((*sqe)(unsafe.Pointer(&r.sqeMem[0])), p.SQEntries)
	r.tail = atomic.LoadUint32(r.sqTail)
	// The indirection array maps slot i to entry i once and for all.
	array := unsafe.Slice(word(r.ringMem, p.SQOffset.Array), p.SQEntries)
	for i := range array {
		array[i] = uint32(i)
	}
	r.cqHead, r.cqTail = word(cqMem, p.CQOffset.Head), word(cqMem, p.CQOffset.Tail)
	r.cqMask = *word(cqMem, p.CQOffset.RingMask)
	r.cqes = unsafe.Slice((*cqe)(unsafe.Pointer(&cqMem[p.CQOffset.Cqes])), p.CQEntries)
	return nil
}

// register attaches the eventfd, bounds the workers, restricts the ring to
// ringOps and enables it.
func (r *ring) register(cfg ringConfig) error {
	var err error
	if r.eventFd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return fmt.Errorf("cannot open an eventfd: %w", err)
	}
	efd := int32(r.eventFd)
	if err := uring.IOURingRegister(r.fd, uring.IORING_REGISTER_EVENTFD, unsafe.Pointer(&efd), 1); err != nil {
		return fmt.Errorf("cannot register the completion eventfd: %w", err)
	}
	limits := [2]uint32{cfg.boundedWorkers, unboundedWorkers}
	if err := uring.IOURingRegister(r.fd, registerIOWQMaxWorkers, unsafe.Pointer(&limits), 2); err != nil {
		if !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("cannot bound the io_uring workers to %d: %w", cfg.boundedWorkers, err)
		}
		r.lowerLimits = append(r.lowerLimits, "IOWQ_MAX_WORKERS (5.15)")
	}
	if r.flags&uring.IORING_SETUP_R_DISABLED == 0 {
		return nil
	}
	var rules [len(ringOps) + 1]restriction
	for i, op := range ringOps {
		rules[i] = restriction{opcode: restrictionSQEOp, op: op}
	}
	rules[len(ringOps)] = restriction{opcode: restrictionSQEFlagsAllowed, op: uring.IOSQE_FLAGS_ASYNC}
	err = uring.IOURingRegister(r.fd, uring.IORING_REGISTER_RESTRICTIONS, unsafe.Pointer(&rules), uint32(len(rules)))
	if err != nil {
		return fmt.Errorf("cannot restrict the io_uring to its %d operations: %w", len(ringOps), err)
	}
	if err := uring.IOURingRegister(r.fd, uring.IORING_REGISTER_ENABLE_RINGS, nil, 0); err != nil {
		return fmt.Errorf("cannot enable the io_uring: %w", err)
	}
	r.restricted = true
	return nil
}

// next returns a free submission entry, or nil when the queue is full: submit
// and ask again. The entry goes to the kernel at the next submit.
func (r *ring) next() *sqe {
	if r.tail-atomic.LoadUint32(r.sqHead) == r.sqLen {
		return nil
	}
	s := &r.sqes[r.tail&r.sqMask]
	r.tail++
	return s
}

// pending is the number of entries the kernel has not taken yet.
func (r *ring) pending() uint32 { return r.tail - atomic.LoadUint32(r.sqHead) }

// submit gives every prepared entry to the kernel in one call. It reports
// false when the kernel took only some for want of memory or of room for
// completions; the rest stays queued, and the eventfd is signalled so that the
// loop comes back to reap and submit again.
func (r *ring) submit() bool {
	atomic.StoreUint32(r.sqTail, r.tail)
	for attempt := 0; ; attempt++ {
		n := r.pending()
		if n == 0 {
			return true
		}
		_, err := uring.IOURingEnter(r.fd, n, 0, 0, nil)
		switch {
		case err == nil:
			// SUBMIT_ALL makes one call enough; older kernels stop after an
			// entry that fails at once, so go round for the rest.
			if attempt < int(r.sqLen) {
				continue
			}
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOMEM):
		default:
			panic(fmt.Sprintf("FATAL: io_uring_enter refused %d entries on a ring that was set up without error: %v", n, err))
		}
		r.wake()
		return false
	}
}

// completion takes the oldest completion off the queue.
func (r *ring) completion() (userData uint64, res int32, ok bool) {
	head := *r.cqHead // written only by us
	if head == atomic.LoadUint32(r.cqTail) {
		if atomic.LoadUint32(r.sqFlags)&uring.IORING_SQ_CQ_OVERFLOW == 0 {
			return 0, 0, false
		}
		// The kernel holds completions that found the queue full (NODROP);
		// entering with GETEVENTS moves them over.
		r.flushOverflow()
		if head == atomic.LoadUint32(r.cqTail) {
			return 0, 0, false
		}
	}
	c := &r.cqes[head&r.cqMask]
	userData, res = c.UserData(), c.Result()
	atomic.StoreUint32(r.cqHead, head+1)
	return userData, res, true
}

func (r *ring) flushOverflow() {
	for {
		_, err := uring.IOURingEnter(r.fd, 0, 0, uring.IORING_ENTER_FLAGS_GETEVENTS, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// drainEvery is how many consecutive empty reaps go by before the eventfd is
// read all the same: it bounds the wake-ups of a level-triggered watcher after
// a signal that came later than its completion, without a read(2) per turn.
const drainEvery = 32

// drain empties the eventfd after a reap that found n completions. It reports
// whether more have arrived, whose signal it may have swallowed: the kernel
// publishes a completion before it signals.
func (r *ring) drain(n int) (more bool) {
	r.emptyReaps++
	if n == 0 && r.emptyReaps < drainEvery {
		return false
	}
	r.emptyReaps = 0
	drainEventFd(r.eventFd)
	return *r.cqHead != atomic.LoadUint32(r.cqTail)
}

// wake makes the eventfd readable, as a completion would.
func (r *ring) wake() { signalEventFd(r.eventFd) }

// close frees the ring. The caller has seen every completion: memory that the
// kernel may still write to is never unmapped before.
func (r *ring) close() {
	for _, mem := range [][]byte{r.sqeMem, r.cqMem, r.ringMem} {
		if mem != nil {
			_ = unix.Munmap(mem)
		}
	}
	r.sqeMem, r.cqMem, r.ringMem = nil, nil, nil
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
		r.fd = -1
	}
	if r.eventFd >= 0 {
		_ = unix.Close(r.eventFd)
		r.eventFd = -1
	}
}

// String describes the ring for the start-up line.
func (r *ring) String() string {
	s := fmt.Sprintf("%d submission and %d completion entries", r.sqLen, len(r.cqes))
	if r.restricted {
		s += fmt.Sprintf(", restricted to %d operations", len(ringOps))
	}
	if len(r.lowerLimits) > 0 {
		s += ", without " + strings.Join(r.lowerLimits, ", ")
	}
	return s
}

// signalEventFd adds one to an eventfd. A full counter (EAGAIN) is readable
// already, which is all that is wanted.
func signalEventFd(fd int) {
	one := uint64(1)
	for {
		_, _, errno := syscall.Syscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
		if errno != unix.EINTR {
			return
		}
	}
}

// drainEventFd resets an eventfd to zero.
func drainEventFd(fd int) {
	var count uint64
	for {
		_, _, errno := syscall.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&count)), 8)
		if errno != unix.EINTR {
			return
		}
	}
}

// errnoOf turns a CQE result into an error; nil unless it is negative.
func errnoOf(res int32) error {
	if res >= 0 {
		return nil
	}
	return os.NewSyscallError("io_uring", syscall.Errno(-res))
}
