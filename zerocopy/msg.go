package zerocopy

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxIovecs is IOV_MAX of sendmsg(2).
const maxIovecs = 1024

// Iovecs fills scratch with bufs, leaving out empty ones, and returns the part
// it filled: at most len(scratch) and at most IOV_MAX entries. It does not
// allocate; the result holds the buffers alive until scratch is used again.
func Iovecs(scratch []unix.Iovec, bufs [][]byte) []unix.Iovec {
	n, limit := 0, min(len(scratch), maxIovecs)
	for _, buf := range bufs {
		if len(buf) == 0 {
			continue
		}
		if n == limit {
			break
		}
		scratch[n].Base = &buf[0]
		scratch[n].SetLen(len(buf))
		n++
	}
	return scratch[:n]
}

// SendMsg sends iovs to a stream socket by one sendmsg(2) and returns how many
// bytes it took, which may be fewer than given. more says that further bytes
// follow at once (MSG_MORE): the kernel then waits to fill a segment, so a
// header and the file region behind it share packets.
//
// It neither blocks nor raises SIGPIPE. A full socket is ErrWouldBlock; other
// errors match ErrPeer. Interrupted calls are repeated. It does not allocate.
// Since the call cannot block, the Go scheduler is not told of it.
func SendMsg(fd int, iovs []unix.Iovec, more bool) (int, error) {
	if len(iovs) == 0 {
		return 0, nil
	}
	flags := unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT
	if more {
		flags |= unix.MSG_MORE
	}
	hdr := unix.Msghdr{Iov: &iovs[0]}
	hdr.SetIovlen(min(len(iovs), maxIovecs))
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdr)), uintptr(flags))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, peerFault("sendmsg", errno)
		}
	}
}

// send is SendMsg for one buffer; flags contain MSG_DONTWAIT.
func send(fd int, buf []byte, flags int) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(flags), 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// peerFault classifies an errno of a call that touches only the socket.
func peerFault(call string, errno unix.Errno) error {
	switch errno {
	case unix.EAGAIN:
		return ErrWouldBlock
	case unix.EPIPE:
		return errBrokenPipe
	case unix.ECONNRESET:
		return errReset
	}
	return &fault{ErrPeer, errno, call}
}
