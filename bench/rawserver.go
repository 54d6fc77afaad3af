package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"freshet/record"
)

// ServerOptions configure a floor or null server.
type ServerOptions struct {
	// Addr is the listen address, host:port; port 0 takes a free one.
	Addr string
	// DataDir is where the floor keeps its partition files; the null server
	// writes nothing.
	DataDir string
	// Null answers without checking, writing or even copying what it receives.
	Null bool
	// OwnProcess says that the process does nothing else: the server then gives
	// each connection's thread a processor of Go's scheduler and switches the
	// garbage collector off (the hot path allocates nothing).
	OwnProcess bool
	// Ready, if set, is told the bound address.
	Ready func(addr string)
}

// rawServer is the floor or the null server: blocking sockets, one locked
// thread a connection, one request at a time. It knows just enough of the
// protocol for this package's generators and for franz-go without
// idempotence, groups or long polls.
type rawServer struct {
	opts ServerOptions
	host string
	port int32

	mu     sync.Mutex
	topics map[string]*rawTopic
	fds    map[int]struct{} // open connections, to shut down at the end
}

type rawTopic struct {
	id         [16]byte
	partitions []*rawPartition
}

// rawPartition is one file and where each batch starts in it.
type rawPartition struct {
	mu     sync.Mutex
	file   *os.File // nil in the null server
	size   int64
	next   int64 // offset of the next record
	starts []batchStart
}

type batchStart struct{ offset, position int64 }

// maxServerProcs bounds the processors of a server in its own process: one a
// connection and some to spare, so that a thread back from a blocking call
// always finds one free.
const maxServerProcs = 64

// ServeRaw runs the floor (or, with Null, the null server) until ctx ends.
func ServeRaw(ctx context.Context, opts ServerOptions) error {
	if opts.OwnProcess {
		runtime.GOMAXPROCS(maxServerProcs)
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(4 << 30)
	}
	listener, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", opts.Addr, err)
	}
	addr := listener.Addr().(*net.TCPAddr)
	s := &rawServer{
		opts:   opts,
		host:   addr.IP.String(),
		port:   int32(addr.Port),
		topics: make(map[string]*rawTopic),
		fds:    make(map[int]struct{}),
	}
	if opts.Ready != nil {
		opts.Ready(addr.String())
	}
	stop := context.AfterFunc(ctx, func() {
		listener.Close()
		s.shutdownAll()
	})
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("cannot accept on %s: %w", opts.Addr, err)
		}
		fd, err := takeFd(conn.(*net.TCPConn))
		if err != nil {
			slog.Warn("connection refused", "error", err)
			continue
		}
		conns.Go(func() { s.serveConn(ctx, fd) })
	}
}

// takeFd takes the descriptor out of Go's poller and makes it blocking.
func takeFd(conn *net.TCPConn) (int, error) {
	defer conn.Close()
	f, err := conn.File()
	if err != nil {
		return -1, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// As the broker does within one machine: the floor is not to pay for timers
	// of an algorithm that paces.
	_ = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
	return fd, unix.SetNonblock(fd, false)
}

func (s *rawServer) shutdownAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for fd := range s.fds {
		unix.Shutdown(fd, unix.SHUT_RDWR)
	}
}

func (s *rawServer) serveConn(ctx context.Context, fd int) {
	runtime.LockOSThread() // never unlocked: the thread ends with the connection
	s.mu.Lock()
	s.fds[fd] = struct{}{}
	if ctx.Err() != nil {
		unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	s.mu.Unlock()
	c := &rawServerConn{rawConn: newRawConn(fd), server: s, readAhead: frameSizeBytes, buf: make([]byte, 1<<20)}
	if s.opts.Null {
		c.readAhead = nullReadAheadBytes
	}
	err := c.serve()
	s.mu.Lock()
	delete(s.fds, fd)
	s.mu.Unlock()
	c.close()
	if err != nil && !isPeerGone(err) && ctx.Err() == nil {
		slog.Warn("connection closed", "error", err)
	}
}

func (s *rawServer) partition(topic []byte, index int32) *rawPartition {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[string(topic)]
	if t == nil || index < 0 || int(index) >= len(t.partitions) {
		return nil
	}
	return t.partitions[index]
}

func (s *rawServer) createTopic(name string, partitions int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.topics[name] != nil {
		return errTopicExists
	}
	t := &rawTopic{}
	copy(t.id[:], name)
	binary.BigEndian.PutUint32(t.id[12:], uint32(len(s.topics)+1))
	for i := range partitions {
		p := &rawPartition{starts: make([]batchStart, 0, 1<<12)}
		if !s.opts.Null {
			f, err := os.OpenFile(filepath.Join(s.opts.DataDir, name+"-"+strconv.Itoa(i)+".log"),
				os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				return fmt.Errorf("cannot create the partition's file: %w", err)
			}
			p.file = f
		}
		t.partitions = append(t.partitions, p)
	}
	s.topics[name] = t
	return nil
}

var errTopicExists = errors.New("the topic exists already")

// deleteTopic forgets a topic and unlinks its files; it reports whether it was
// there.
func (s *rawServer) deleteTopic(name string) bool {
	s.mu.Lock()
	t := s.topics[name]
	delete(s.topics, name)
	s.mu.Unlock()
	if t == nil {
		return false
	}
	for _, p := range t.partitions {
		p.mu.Lock()
		if p.file != nil {
			os.Remove(p.file.Name())
			p.file.Close()
			p.file = nil
		}
		p.mu.Unlock()
	}
	return true
}

// Kafka's error codes that the raw servers answer.
const (
	codeCorruptMessage   = 2
	codeUnknownTopic     = 3
	codeOffsetOutOfRange = 1
	codeTopicExists      = 36
	codeStorageError     = 56
)

// append is the whole of a floor's produce: check the CRC, set the base
// offset, write where the file ends.
func (p *rawPartition) append(b record.Batch, null bool) (baseOffset int64, code int16) {
	if len(b) < record.HeaderSize {
		return -1, codeCorruptMessage
	}
	count := int64(b.LastOffsetDelta()) + 1
	if null {
		p.mu.Lock()
		baseOffset = p.next
		p.next += count
		p.mu.Unlock()
		return baseOffset, 0
	}
	if b.SizeInBytes() != len(b) || b.CRC() != b.ComputeCRC() {
		return -1, codeCorruptMessage
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		return -1, codeUnknownTopic
	}
	b.SetBaseOffset(p.next)
	if n, err := unix.Pwrite(int(p.file.Fd()), b, p.size); err != nil || n != len(b) {
		slog.Error("write failed", "file", p.file.Name(), "written", n, "error", err)
		return -1, codeStorageError
	}
	baseOffset = p.next
	p.starts = append(p.starts, batchStart{offset: p.next, position: p.size})
	p.size += int64(len(b))
	p.next += count
	return baseOffset, 0
}

// locate finds the file range to send for a fetch of maxBytes at offset. The
// range is empty at the log's end.
func (p *rawPartition) locate(offset int64, maxBytes int) (fd int, position int64, size int, next int64, code int16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset < 0 || offset > p.next {
		return -1, 0, 0, p.next, codeOffsetOutOfRange
	}
	if p.file == nil || offset == p.next {
		return -1, 0, 0, p.next, 0
	}
	lo, hi := 0, len(p.starts)
	for lo+1 < hi {
		if mid := (lo + hi) / 2; p.starts[mid].offset <= offset {
			lo = mid
		} else {
			hi = mid
		}
	}
	position = p.starts[lo].position
	return int(p.file.Fd()), position, int(min(int64(maxBytes), p.size-position)), p.next, 0
}
