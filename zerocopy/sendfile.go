package zerocopy

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var (
	// ErrWouldBlock means that the socket takes no more bytes now: wait until
	// it is writable. The progress reported with it counts.
	ErrWouldBlock = errors.New("the socket takes no more bytes at present")

	// ErrShortFile means that a file ended before the region did. A published
	// range can only shrink by damage, so it is a storage fault: what was
	// promised to the peer cannot be sent, and the connection must be closed.
	ErrShortFile = errors.New("the file is shorter than the range published from it")

	// ErrPeer is matched by every error of the socket's side.
	ErrPeer = errors.New("the peer is gone")

	// ErrStorage is matched by every error of the file's side, ErrShortFile
	// included: the log directory is at fault, not the client.
	ErrStorage = errors.New("the segment cannot be read")
)

// fault is an errno with its side. Values are made in advance for the usual
// errnos, so that a disconnect storm does not allocate.
type fault struct {
	side  error // ErrPeer or ErrStorage
	cause error
	call  string
}

func (f *fault) Error() string   { return fmt.Sprintf("%s: %v: %v", f.call, f.side, f.cause) }
func (f *fault) Unwrap() []error { return []error{f.side, f.cause} }

var (
	errBrokenPipe = &fault{ErrPeer, unix.EPIPE, "send"}
	errReset      = &fault{ErrPeer, unix.ECONNRESET, "send"}
	errShort      = &fault{ErrStorage, ErrShortFile, "sendfile"}
	errIO         = &fault{ErrStorage, unix.EIO, "sendfile"}
)

// sideOf says whose fault an errno of sendfile(2) is. The call reports errors
// of both descriptors through one errno; those below can only come from
// reading the file, or from a file descriptor that is not what it should be.
// Everything else is the socket's.
func sideOf(errno unix.Errno) error {
	switch errno {
	case unix.EIO, unix.EUCLEAN, unix.EBADMSG, unix.ENODATA, unix.ESTALE, unix.ENOMEM,
		unix.EOVERFLOW, unix.ENXIO, unix.EREMOTEIO, unix.EISDIR, unix.ESPIPE, unix.EINVAL:
		return ErrStorage
	}
	return ErrPeer
}

// classify turns an errno of a transfer into the package's errors.
func classify(call string, errno unix.Errno) error {
	switch errno {
	case unix.EAGAIN:
		return ErrWouldBlock
	case unix.EPIPE:
		return errBrokenPipe
	case unix.ECONNRESET:
		return errReset
	case unix.EIO:
		return errIO
	}
	return &fault{sideOf(errno), errno, call}
}

// maxSendfile is the most one sendfile(2) moves, in bytes (man page).
const maxSendfile = 0x7ffff000

// sendfile moves up to count bytes of fd from position to sock. It retries
// interrupted calls and returns the errno otherwise.
func sendfile(sock, fd int, position int64, count int64) (int64, unix.Errno) {
	for {
		offset := position
		n, err := unix.Sendfile(sock, fd, &offset, int(min(count, maxSendfile)))
		if err == nil {
			return int64(n), 0
		}
		errno, ok := err.(unix.Errno)
		if !ok {
			return 0, unix.EIO
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
