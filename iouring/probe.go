package iouring

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	uring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Capabilities is what the kernel allows of io_uring, found out once at start.
type Capabilities struct {
	Available  bool
	Release    string // kernel release, as in uname -r
	Restricted bool   // the ring could be limited to the operations it uses
	Limits     []string

	// Why not, when not Available.
	Cause error
	Hint  string
}

// Probe sets a small ring up as the engines do and throws it away.
func Probe() Capabilities {
	c := Capabilities{Release: kernelRelease()}
	missing, err := probeOpcodes()
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("the kernel lacks the operations %s", strings.Join(missing, ", "))
	}
	if err == nil {
		var r *ring
		if r, err = newRing(ringConfig{sqEntries: 4, cqEntries: 8}); err == nil {
			c.Available, c.Restricted, c.Limits = true, r.restricted, r.lowerLimits
			r.close()
			return c
		}
	}
	c.Cause = err
	c.Hint = hintFor(err, c.Release, readDisabledSysctl())
	return c
}

// String is one sentence for the operator.
func (c Capabilities) String() string {
	if !c.Available {
		return fmt.Sprintf("io_uring is not available on Linux %s: %v; %s", c.Release, c.Cause, c.Hint)
	}
	s := "io_uring is available on Linux " + c.Release
	if c.Restricted {
		s += ", restricted to the operations the log uses"
	}
	if len(c.Limits) > 0 {
		s += ", without " + strings.Join(c.Limits, ", ") + " which this kernel is too old for"
	}
	return s
}

// hintFor says what an operator can do about a refused ring. disabled is the
// value of the sysctl kernel.io_uring_disabled, -1 if there is none.
func hintFor(err error, release string, disabled int) string {
	const profile = "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile (never run it unconfined for this)"
	switch {
	case errors.Is(err, unix.EPERM) && disabled == 2:
		return "the sysctl kernel.io_uring_disabled is 2: set it to 1 and kernel.io_uring_group to the broker's group"
	case errors.Is(err, unix.EPERM) && disabled == 1:
		return "the sysctl kernel.io_uring_disabled is 1: set kernel.io_uring_group to the broker's group"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "a seccomp filter or security module forbids it: " + profile
	case errors.Is(err, unix.ENOSYS) && atLeast(release, 5, 1):
		return "this kernel has it, so a seccomp filter hides it: " + profile
	case errors.Is(err, unix.ENOSYS):
		return "it needs Linux 5.6, better 6.1: upgrade the kernel"
	case errors.Is(err, unix.ENOMEM):
		return "raise the locked-memory limit (LimitMEMLOCK=infinity, ulimit -l) or free memory"
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return "raise the limit of open files (LimitNOFILE, ulimit -n)"
	}
	return "it needs Linux 5.6, better 6.1"
}

// atLeast compares a kernel release such as "6.18.4-generic" with a version.
func atLeast(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n < 2 {
		return false
	}
	return a > major || a == major && b >= minor
}

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "of unknown release"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// readDisabledSysctl returns kernel.io_uring_disabled (Linux 6.6), or -1.
func readDisabledSysctl() int {
	b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled")
	if err != nil {
		return -1
	}
	v := -1
	if _, err := fmt.Sscanf(string(b), "%d", &v); err != nil {
		return -1
	}
	return v
}

// opNames are for messages.
var opNames = map[uint8]string{
	uring.IORING_OP_WRITEV:       "WRITEV",
	uring.IORING_OP_WRITE:        "WRITE",
	uring.IORING_OP_READV:        "READV",
	uring.IORING_OP_FSYNC:        "FSYNC",
	uring.IORING_OP_POLL_ADD:     "POLL_ADD",
	uring.IORING_OP_ASYNC_CANCEL: "ASYNC_CANCEL",
}

// probeOpcodes asks the kernel which of ringOps it has. Kernels before 5.6
// cannot be asked; they answer EINVAL and lack WRITE as well.
func probeOpcodes() (missing []string, err error) {
	fd, err := uring.IOURingSetup(2, &uring.IOURingParams{})
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	table := new(probeTable)
	if err := uring.IOURingRegister(fd, uring.IORING_REGISTER_PROBE, unsafe.Pointer(table), uint32(len(table.ops))); err != nil {
		return nil, fmt.Errorf("the kernel does not list its operations: %w", err)
	}
	for _, op := range ringOps {
		if !table.supports(op) {
			missing = append(missing, opNames[op])
		}
	}
	return missing, nil
}
