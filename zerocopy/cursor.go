package zerocopy

import (
	"errors"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Cursor sends one FileRegion to a non-blocking socket, in as many pieces as
// the socket takes. It is a value: keep it in the connection's queue of spans,
// not on the heap.
//
// Ownership: the Cursor takes over the region's reference and gives it back in
// Close, which the owner calls exactly once, sent or not. It belongs to the
// connection's event loop.
//
// The bytes come from the page cache by sendfile(2). Regions of files without
// a descriptor, and file systems or sockets for which sendfile answers EINVAL,
// are read into a pooled buffer and sent from there; what the socket does not
// take of such a piece is read again later, so nothing is held between calls.
type Cursor struct {
	region   FileRegion
	sent     int64
	copying  bool // sendfile refused this pair of descriptors
	counters *Counters
}

// NewCursor starts at the beginning of region. counters may be nil.
func NewCursor(region FileRegion, counters *Counters) Cursor {
	return Cursor{region: region, counters: counters}
}

// Remaining is the number of bytes still to be sent.
func (c *Cursor) Remaining() int64 { return c.region.Length - c.sent }

// Position is the place in the file of the next byte to be sent.
func (c *Cursor) Position() int64 { return c.region.Position + c.sent }

// File is the file of the region; nil after Close or for an empty region.
func (c *Cursor) File() *File { return c.region.File }

// Close gives the region's reference back.
func (c *Cursor) Close() {
	c.region.Release()
	c.sent = 0
}

// Send moves up to max bytes to the socket and returns how many it moved,
// which counts whatever err is. A nil err means that max bytes went or the
// region is sent (Remaining is zero). ErrWouldBlock asks to wait for the
// socket. Any other error ends the connection, and says whose fault it is:
// errors.Is(err, ErrPeer) or errors.Is(err, ErrStorage).
//
// sendfile blocks on pages that are not in the page cache: see Resident.
func (c *Cursor) Send(sockFd int, max int64) (n int64, err error) {
	max = min(max, c.Remaining())
	for n < max && err == nil {
		var moved int64
		if c.copying || c.region.File.fd < 0 {
			moved, err = c.copyOut(sockFd, max-n)
		} else {
			moved, err = c.sendfile(sockFd, max-n)
		}
		c.sent += moved
		n += moved
	}
	return n, err
}

func (c *Cursor) sendfile(sockFd int, count int64) (int64, error) {
	moved, errno := sendfile(sockFd, c.region.File.fd, c.Position(), count)
	switch {
	case errno == unix.EINVAL || errno == unix.ENOSYS:
		// sendfile(2): "applications may wish to fall back to read and write".
		c.copying = true
		return 0, nil
	case errno != 0:
		return 0, classify("sendfile", errno)
	case moved == 0:
		return 0, errShort
	}
	c.counters.addSendfile(moved)
	return moved, nil
}

const copyBufferBytes = 64 << 10

type copyBuffer [copyBufferBytes]byte

var copyBuffers = sync.Pool{New: func() any { return new(copyBuffer) }}

func (c *Cursor) copyOut(sockFd int, count int64) (int64, error) {
	buf := copyBuffers.Get().(*copyBuffer)
	defer copyBuffers.Put(buf)
	n, err := c.region.File.ReadAt(buf[:min(count, copyBufferBytes)], c.Position())
	if n == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			return 0, errShort
		}
		return 0, &fault{ErrStorage, err, "read"}
	}
	// Bytes that were read are good, whatever ended the read: an error shows
	// again at its own position.
	moved, errno := send(sockFd, buf[:n], unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	if errno != 0 {
		return 0, peerFault("send", errno)
	}
	c.counters.AddCopied(int64(moved))
	return int64(moved), nil
}
