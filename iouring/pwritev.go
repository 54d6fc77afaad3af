package iouring

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// writeInline carries out a file's waiting batches on this goroutine. The
// buffers are free of the kernel when it returns, whether or not an fdatasync
// is still due.
func (e *loopEngine) writeInline(q *fileQueue) {
	if e.inlineIov == nil {
		e.inlineIov = new(iovArray)
	}
	eff := effects{startWrite: true}
	for eff.startWrite {
		q.step(event{kind: evStartWrite})
		count, position := q.gather(e.inlineIov[:])
		startedNs := e.nowNs()
		n, err := pwritev(q.fd, e.inlineIov[:count], position)
		if e.timed {
			e.policy.observe(observation{bytes: n, ns: e.nowNs() - startedNs, group: 1})
		}
		clear(e.inlineIov[:count])
		eff = q.step(event{kind: evWritten, n: n, err: err})
	}
	e.note(q, eff)
	e.deliver()
}

// pwritev writes iovs at position by one system call, repeated while it is
// interrupted before the first byte. A short count is the caller's to
// continue.
func pwritev(fd int, iovs []unix.Iovec, position int64) (int64, error) {
	for range maxWriteTries {
		var n uintptr
		var errno unix.Errno
		if len(iovs) == 1 {
			n, _, errno = unix.Syscall6(unix.SYS_PWRITE64, uintptr(fd), uintptr(unsafe.Pointer(iovs[0].Base)), uintptr(iovs[0].Len), uintptr(position), 0, 0)
		} else {
			n, _, errno = unix.Syscall6(unix.SYS_PWRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iovs[0])), uintptr(len(iovs)), uintptr(position), 0, 0)
		}
		switch errno {
		case 0:
			return int64(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
	return 0, unix.EINTR
}

// preadv is pwritev's counterpart for read-ahead, without the retries.
func preadv(fd int, iovs []unix.Iovec, position int64) (int64, error) {
	n, _, errno := unix.Syscall6(unix.SYS_PREADV, uintptr(fd), uintptr(unsafe.Pointer(&iovs[0])), uintptr(len(iovs)), uintptr(position), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int64(n), nil
}
