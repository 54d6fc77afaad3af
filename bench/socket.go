package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawConn is a blocking TCP socket used by one locked thread at a time, with
// no poller, no deadline bookkeeping and no copy but the kernel's.
type rawConn struct {
	fd   int
	iovs []unix.Iovec
	stop func() bool // ends the watch of the dialer's context

	// closing keeps a context that ends late from shutting down a descriptor
	// that is closed, and perhaps another connection's by then.
	closing struct {
		sync.Mutex
		done bool
	}
}

// ioTimeout bounds every blocking receive and send: a broker that is silent
// for so long has failed the run.
const ioTimeout = 30 * time.Second

// dialRaw connects to addr. Cancelling ctx shuts the socket down, which ends
// any blocked call.
func dialRaw(ctx context.Context, addr string) (*rawConn, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot resolve %s: %w", addr, err)
	}
	family, sa := sockaddrOf(tcp)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open a socket: %w", err)
	}
	if err := unix.Connect(fd, sa); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("cannot connect to %s: %w", addr, err)
	}
	c := newRawConn(fd)
	c.stop = context.AfterFunc(ctx, c.shutdown)
	return c, nil
}

func newRawConn(fd int) *rawConn {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return &rawConn{fd: fd}
}

// limitWaits makes every call on the socket fail after ioTimeout of silence.
func (c *rawConn) limitWaits() { c.limitWaitsTo(ioTimeout) }

func sockaddrOf(tcp *net.TCPAddr) (family int, sa unix.Sockaddr) {
	if ip4 := tcp.IP.To4(); ip4 != nil || tcp.IP == nil {
		sa4 := &unix.SockaddrInet4{Port: tcp.Port}
		copy(sa4.Addr[:], ip4)
		return unix.AF_INET, sa4
	}
	sa6 := &unix.SockaddrInet6{Port: tcp.Port}
	copy(sa6.Addr[:], tcp.IP.To16())
	return unix.AF_INET6, sa6
}

// shutdown ends every call on the connection; it may come from any goroutine.
func (c *rawConn) shutdown() {
	c.closing.Lock()
	defer c.closing.Unlock()
	if !c.closing.done {
		unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}

func (c *rawConn) close() {
	if c.stop != nil {
		c.stop()
	}
	c.closing.Lock()
	defer c.closing.Unlock()
	c.closing.done = true
	unix.Close(c.fd)
}

// send writes all the buffers in order with as few calls as the kernel allows.
// The buffers are the caller's again when it returns.
func (c *rawConn) send(bufs [][]byte) error {
	c.iovs = c.iovs[:0]
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		iov := unix.Iovec{Base: &b[0]}
		iov.SetLen(len(b))
		c.iovs = append(c.iovs, iov)
	}
	iovs := c.iovs
	for len(iovs) > 0 {
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(c.fd),
			uintptr(unsafe.Pointer(&iovs[0])), uintptr(len(iovs)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return socketError("send", errno)
		}
		iovs = advance(iovs, int(n))
	}
	runtime.KeepAlive(bufs)
	return nil
}

// advance drops the first n bytes of the vector.
func advance(iovs []unix.Iovec, n int) []unix.Iovec {
	for len(iovs) > 0 && n >= int(iovs[0].Len) {
		n -= int(iovs[0].Len)
		iovs = iovs[1:]
	}
	if n > 0 {
		iovs[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(iovs[0].Base), n))
		iovs[0].SetLen(int(iovs[0].Len) - n)
	}
	return iovs
}

// recv reads what has arrived, at least one byte, blocking for it. It returns
// io.EOF when the peer has closed.
func (c *rawConn) recv(p []byte) (int, error) { return c.recvFlags(p, 0) }

// recvFull reads exactly len(p) bytes.
func (c *rawConn) recvFull(p []byte) error {
	for len(p) > 0 {
		n, err := c.recvFlags(p, unix.MSG_WAITALL)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (c *rawConn) recvFlags(p []byte, flags int) (int, error) {
	return c.recvfrom(unsafe.Pointer(&p[0]), len(p), flags)
}

// discard throws away exactly n incoming bytes inside the kernel: on a TCP
// socket MSG_TRUNC drops the bytes instead of copying them (tcp(7)), so no
// buffer is passed.
func (c *rawConn) discard(n int) error {
	for n > 0 {
		got, err := c.recvfrom(nil, n, unix.MSG_TRUNC|unix.MSG_WAITALL)
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}

func (c *rawConn) recvfrom(p unsafe.Pointer, size, flags int) (int, error) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(p), uintptr(size),
			uintptr(flags), 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return 0, socketError("receive", errno)
		case n == 0:
			return 0, io.EOF
		default:
			return int(n), nil
		}
	}
}

func socketError(what string, errno unix.Errno) error {
	if errno == unix.EAGAIN {
		return fmt.Errorf("cannot %s: the peer was silent for %s", what, ioTimeout)
	}
	return fmt.Errorf("cannot %s: %w", what, errno)
}

// isPeerGone reports errors by which a peer ends a connection.
func isPeerGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}
