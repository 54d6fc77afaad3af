package zerocopy

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"freshet/internal/invariants"
)

// pipe is a connected pair of TCP sockets on loopback: ours non-blocking, as
// an event loop has it, and the peer's as a net.Conn.
type pipe struct {
	fd   int
	peer *net.TCPConn
}

func newPipe(t testing.TB, sendBuffer int) *pipe {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if sendBuffer > 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
			t.Fatal(err)
		}
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	peer, _ := (<-accepted).(*net.TCPConn)
	if peer == nil {
		t.Fatal("no connection")
	}
	p := &pipe{fd: fd, peer: peer}
	t.Cleanup(func() { p.close(); peer.Close() })
	return p
}

func (p *pipe) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}

func (p *pipe) waitWritable(t testing.TB) {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLOUT}}
	for {
		n, err := unix.Poll(fds, 10_000)
		if err == unix.EINTR {
			continue
		}
		if n != 1 {
			t.Fatalf("the socket stays full: %v", err)
		}
		return
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	chacha := rand.NewChaCha8([32]byte{1})
	_, _ = chacha.Read(b)
	return b
}

// segment is a file of n random bytes, and the bytes.
func segment(t testing.TB, n int) (*File, []byte, string) {
	t.Helper()
	data := randomBytes(n)
	path := filepath.Join(t.TempDir(), "00000000000000000000.log")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return NewFile(f, int(f.Fd()), f.Close), data, path
}

// sendAll drives c to its end as a connection does.
func sendAll(t testing.TB, p *pipe, c *Cursor, quantum int64) {
	t.Helper()
	for c.Remaining() > 0 {
		before := c.Remaining()
		n, err := c.Send(p.fd, quantum)
		if n != before-c.Remaining() {
			t.Fatalf("reported %d bytes, moved %d", n, before-c.Remaining())
		}
		if errors.Is(err, ErrWouldBlock) {
			p.waitWritable(t)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCursorSurvivesPartialSends(t *testing.T) {
	const size = 12 << 20
	inMemory := func(t *testing.T) (*File, []byte) {
		data := randomBytes(size)
		return NewFile(bytes.NewReader(data), -1, nil), data
	}
	onDisk := func(t *testing.T) (*File, []byte) {
		f, data, _ := segment(t, size)
		return f, data
	}
	for _, tc := range []struct {
		name string
		make func(*testing.T) (*File, []byte)
		copy bool
	}{
		{"sendfile", onDisk, false},
		{"in memory", inMemory, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file, data := tc.make(t)
			// Small, but not below the loopback segment, where TCP would
			// wait for its timers.
			p := newPipe(t, 128<<10)
			var counters Counters
			const from, length = 12_345, size - 20_000
			c := NewCursor(FileRegion{File: file, Position: from, Length: length}, &counters)
			// Nobody reads yet: the socket fills.
			if _, err := c.Send(p.fd, length); !errors.Is(err, ErrWouldBlock) {
				t.Fatalf("%v from a full socket", err)
			}
			received := make(chan []byte)
			go func() {
				// A slow reader: small pieces.
				var all []byte
				buf := make([]byte, 30_000)
				for {
					n, err := p.peer.Read(buf)
					all = append(all, buf[:n]...)
					if err != nil {
						received <- all
						return
					}
				}
			}()
			sendAll(t, p, &c, 1<<20)
			c.Close()
			p.close()
			got := <-received
			if !bytes.Equal(got, data[from:from+length]) {
				t.Fatalf("the peer got %d bytes, want %d, or others", len(got), length)
			}
			if file.Acquire() {
				t.Fatal("Close did not give the reference back")
			}
			if sf, cp := counters.Sendfile(), counters.Copied(); sf+cp != length || (cp > 0) != tc.copy {
				t.Fatalf("counted %d by sendfile and %d by copy", sf, cp)
			}
		})
	}
}

// Where sendfile answers EINVAL (an O_APPEND target, some file systems), the
// cursor copies.
func TestCursorCopiesWhereSendfileIsRefused(t *testing.T) {
	file, data, _ := segment(t, 200_000)
	out, err := os.OpenFile(filepath.Join(t.TempDir(), "out"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var counters Counters
	c := NewCursor(FileRegion{File: file, Length: int64(len(data))}, &counters)
	defer c.Close()
	// sendfile to an O_APPEND file is EINVAL; the copy then fails because the
	// target is no socket, which shows that the copy was tried.
	if _, err := c.Send(int(out.Fd()), 1000); !errors.Is(err, unix.ENOTSOCK) {
		t.Fatalf("%v, want the copying path's ENOTSOCK", err)
	}
	if !c.copying {
		t.Fatal("still on sendfile")
	}
	p := newPipe(t, 0)
	received := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(p.peer)
		received <- all
	}()
	sendAll(t, p, &c, 1<<20)
	p.close()
	if !bytes.Equal(<-received, data) || counters.Copied() != int64(len(data)) {
		t.Fatal("the copy differs")
	}
}

func TestUnlinkedFileStaysIntactInFlight(t *testing.T) {
	file, data, path := segment(t, 12<<20)
	p := newPipe(t, 128<<10)
	c := NewCursor(FileRegion{File: file, Length: int64(len(data))}, nil)
	if _, err := c.Send(p.fd, int64(len(data))); !errors.Is(err, ErrWouldBlock) {
		t.Fatalf("%v before the unlink", err)
	}
	if !file.Acquire() { // as the log's own reference, given up by deletion
		t.Fatal("closed while a region is in flight")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := file.Release(); err != nil {
		t.Fatal(err)
	}
	received := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(p.peer)
		received <- all
	}()
	sendAll(t, p, &c, 1<<20)
	c.Close()
	p.close()
	if !bytes.Equal(<-received, data) {
		t.Fatal("bytes of the unlinked file changed in flight")
	}
}

func TestShortFileIsAStorageFault(t *testing.T) {
	for _, memory := range []bool{false, true} {
		file, data, _ := segment(t, 1000)
		if memory {
			file = NewFile(bytes.NewReader(data), -1, nil)
		}
		p := newPipe(t, 0)
		c := NewCursor(FileRegion{File: file, Position: 400, Length: 5000}, nil)
		n, err := c.Send(p.fd, 1<<20)
		if n != 600 || !errors.Is(err, ErrShortFile) || !errors.Is(err, ErrStorage) || errors.Is(err, ErrPeer) {
			t.Fatalf("memory=%t: sent %d, %v", memory, n, err)
		}
		c.Close()
	}
}

// RELIABILITY: a disk error is not a client's error, nor the other way round.
func TestDisconnectIsAPeerFault(t *testing.T) {
	for _, memory := range []bool{false, true} {
		file, data, _ := segment(t, 12<<20)
		if memory {
			file = NewFile(bytes.NewReader(data), -1, nil)
		}
		p := newPipe(t, 128<<10)
		c := NewCursor(FileRegion{File: file, Length: int64(len(data))}, nil)
		if _, err := c.Send(p.fd, int64(len(data))); !errors.Is(err, ErrWouldBlock) {
			t.Fatal(err)
		}
		if err := p.peer.SetLinger(0); err != nil { // reset, not FIN
			t.Fatal(err)
		}
		p.peer.Close()
		var err error
		for err == nil || errors.Is(err, ErrWouldBlock) {
			p.waitWritable(t)
			_, err = c.Send(p.fd, int64(len(data)))
		}
		if !errors.Is(err, ErrPeer) || errors.Is(err, ErrStorage) {
			t.Fatalf("memory=%t: %v", memory, err)
		}
		c.Close()
	}
}

type brokenReader struct{}

func (brokenReader) ReadAt([]byte, int64) (int, error) { return 0, unix.EIO }

func TestReadErrorIsAStorageFault(t *testing.T) {
	p := newPipe(t, 0)
	c := NewCursor(FileRegion{File: NewFile(brokenReader{}, -1, nil), Length: 10}, nil)
	if _, err := c.Send(p.fd, 10); !errors.Is(err, ErrStorage) || !errors.Is(err, unix.EIO) || errors.Is(err, ErrPeer) {
		t.Fatal(err)
	}
	for errno, side := range map[unix.Errno]error{
		unix.EIO: ErrStorage, unix.ENOMEM: ErrStorage, unix.EUCLEAN: ErrStorage,
		unix.EPIPE: ErrPeer, unix.ECONNRESET: ErrPeer, unix.ETIMEDOUT: ErrPeer, unix.ENOTCONN: ErrPeer, unix.EHOSTUNREACH: ErrPeer,
	} {
		if err := classify("sendfile", errno); !errors.Is(err, side) || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestSendMsg(t *testing.T) {
	p := newPipe(t, 0)
	scratch := make([]unix.Iovec, 8)
	iovs := Iovecs(scratch, [][]byte{[]byte("head"), nil, []byte("er "), {}})
	if len(iovs) != 2 {
		t.Fatalf("%d iovecs for two buffers that hold bytes", len(iovs))
	}
	if n, err := SendMsg(p.fd, iovs, true); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := SendMsg(p.fd, Iovecs(scratch, [][]byte{[]byte("body")}), false); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := SendMsg(p.fd, nil, false); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, 11)
	if _, err := io.ReadFull(p.peer, got); err != nil || string(got) != "header body" {
		t.Fatalf("%q %v", got, err)
	}

	// Fill the socket: a short count, then ErrWouldBlock, then the peer goes.
	full := newPipe(t, 128<<10)
	big := make([]byte, 12<<20)
	n, err := SendMsg(full.fd, Iovecs(scratch, [][]byte{big}), false)
	if err != nil || n == 0 || n == len(big) {
		t.Fatal(n, err)
	}
	for err == nil {
		_, err = SendMsg(full.fd, Iovecs(scratch, [][]byte{big}), false)
	}
	if !errors.Is(err, ErrWouldBlock) {
		t.Fatal(err)
	}
	if err := full.peer.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	full.peer.Close()
	for errors.Is(err, ErrWouldBlock) || err == nil {
		full.waitWritable(t)
		_, err = SendMsg(full.fd, Iovecs(scratch, [][]byte{big}), false)
	}
	if !errors.Is(err, ErrPeer) {
		t.Fatal(err)
	}
}

func TestIovecsAreBounded(t *testing.T) {
	bufs := make([][]byte, 3000)
	for i := range bufs {
		bufs[i] = []byte{1}
	}
	if n := len(Iovecs(make([]unix.Iovec, 2000), bufs)); n != maxIovecs {
		t.Fatalf("%d iovecs, sendmsg takes %d", n, maxIovecs)
	}
	if n := len(Iovecs(make([]unix.Iovec, 3), bufs)); n != 3 {
		t.Fatalf("%d iovecs in scratch for 3", n)
	}
}

func inMemoryFileSystem(t testing.TB, fd int) bool {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		t.Fatal(err)
	}
	return s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC
}

func TestResident(t *testing.T) {
	const size = 1 << 20
	_, _, path := segment(t, size)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	ask := func(position, length int64) int64 {
		t.Helper()
		n, supported, err := Resident(fd, position, length)
		if err != nil || !supported {
			t.Fatalf("supported=%t, %v", supported, err)
		}
		return n
	}
	if n := ask(100, size-100); n != size-100 {
		t.Fatalf("%d resident of a file just written, want all", n)
	}
	if n := ask(0, 0); n != 0 {
		t.Fatal(n)
	}
	evict := func() {
		t.Helper()
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
	}
	evict()
	if inMemoryFileSystem(t, fd) {
		// Nothing to evict to: always resident.
		if n := ask(0, size); n != size {
			t.Fatalf("%d resident on tmpfs, want all", n)
		}
		return
	}
	if n := ask(0, size); n != 0 {
		t.Fatalf("%d resident of an evicted file", n)
	}
	// A prefix only: read without read-ahead.
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM); err != nil {
		t.Fatal(err)
	}
	evict()
	if _, err := f.ReadAt(make([]byte, 3*pageSize), 0); err != nil {
		t.Fatal(err)
	}
	if n := ask(1000, size-1000); n < 3*pageSize-1000 || n > size/2 {
		t.Fatalf("%d resident, want the three pages that were read", n)
	}
	if n := ask(0, 2*pageSize); n != 2*pageSize {
		t.Fatalf("%d resident of the pages that were read", n)
	}
	if n := ask(size/2, 1000); n != 0 {
		t.Fatalf("%d resident in the cold half", n)
	}
	if _, _, err := Resident(-1, 0, 10); err == nil {
		t.Fatal("no error for a bad descriptor")
	}
}

// Pages under read-ahead count as cached, but sendfile would wait for them.
func TestResidentDoesNotCountPagesOnTheirWay(t *testing.T) {
	const size = 8 << 20
	_, _, path := segment(t, size)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fadvise(fd, 0, size, unix.FADV_WILLNEED); err != nil {
			t.Fatal(err)
		}
		n, _, err := Resident(fd, 0, size)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			continue // nothing has arrived yet
		}
		if ready, _, err := readable(fd, n-1); !ready || err != nil {
			t.Fatalf("byte %d of %d said to be resident is not there, %v", n-1, n, err)
		}
	}
}

func TestResidentByNowaitAlone(t *testing.T) {
	const size = 1 << 20
	_, _, path := segment(t, size)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	n, supported, err := residentByNowait(fd, 5, size-5)
	if err != nil || !supported || n != size-5 {
		t.Fatal(n, supported, err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if n, _, err := residentByNowait(fd, 5, size-5); (n != 0 && !inMemoryFileSystem(t, fd)) || err != nil {
		t.Fatal(n, err)
	}
}

func TestNothingAllocates(t *testing.T) {
	file, data, _ := segment(t, 64<<10)
	memory := NewFile(bytes.NewReader(data), -1, nil)
	p := newPipe(t, 0)
	go func() { _, _ = io.Copy(io.Discard, p.peer) }()
	var counters Counters
	scratch := make([]unix.Iovec, 4)
	bufs := [][]byte{[]byte("header"), []byte("more")}
	for _, tc := range []struct {
		name string
		f    func()
	}{
		{"sendfile", func() {
			file.Acquire()
			c := NewCursor(FileRegion{File: file, Length: 4096}, &counters)
			for c.Remaining() > 0 {
				if _, err := c.Send(p.fd, 1000); err == ErrWouldBlock {
					p.waitWritable(t)
				}
			}
			c.Close()
		}},
		{"copy", func() {
			memory.Acquire()
			c := NewCursor(FileRegion{File: memory, Length: 4096}, &counters)
			for c.Remaining() > 0 {
				if _, err := c.Send(p.fd, 1000); err == ErrWouldBlock {
					p.waitWritable(t)
				}
			}
			c.Close()
		}},
		{"sendmsg", func() {
			if _, err := SendMsg(p.fd, Iovecs(scratch, bufs), false); err == ErrWouldBlock {
				p.waitWritable(t)
			}
		}},
		{"resident", func() {
			if _, _, err := Resident(file.Fd(), 0, 64<<10); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		// Under the race detector sync.Pool forgets at random.
		if n := testing.AllocsPerRun(300, tc.f); n > 0 && !(invariants.Enabled && tc.name == "copy") {
			t.Errorf("%s: %v allocations", tc.name, n)
		}
	}
}
