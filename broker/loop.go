package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/panjf2000/gnet/v2/pkg/queue"
	"golang.org/x/sys/unix"

	"freshet/iouring"
	"freshet/record"
	"freshet/storage"
	"freshet/wire"
	"freshet/zerocopy"
)

// readBufferBytes is what one read takes from a socket at most. Larger reads
// share the syscalls of a turn among more requests; see docs/performance.
const readBufferBytes = 1 << 20

// loop is one event loop: a goroutine in gnet's epoll poller that owns its
// connections, their answers, its ring and its timers. All fields without a
// note are touched on that goroutine only.
//
// It is a reactor on gnet's pkg/netpoll rather than gnet.Run because the
// engine has no callback for a writable socket, no way to stop reading from
// one, and takes no foreign descriptor, and this broker needs all three
// (docs/ARCHITECTURE.md, "Event loops", has the measurements).
type loop struct {
	srv    *server
	idx    int
	name   string // idx for labels
	poller *poller
	conns  []*conn // by descriptor
	nconns atomic.Int32
	parked atomic.Int64 // long polls

	chunks    chunkPool
	rbuf      *chunk
	iovs      [2]unix.Iovec
	sendVec   [][]byte
	sendIovs  [maxSendVectors]unix.Iovec
	freeSlots *slot

	engine  iouring.Engine
	async   iouring.Async
	ringFd  int
	turn    turn
	fetches fetchPool
	sent    zerocopy.Counters

	diskWaits []*diskWait // by token
	diskFree  []uint64

	// Scratch of the request being handled.
	header         wire.Header
	validate       record.ValidateOptions
	append         storage.AppendRequest
	reservation    storage.Reservation
	update         sessionUpdate
	sessionScratch []*sessionPart
	hints          leaderHints

	timers      timerHeap
	timerFd     int
	armedMs     int64
	nextSweepMs int64
	yieldedMs   int64 // when the scheduler was last let in

	pendingBytes int64   // written but not completed
	throttled    []*conn // not read from until pendingBytes falls

	// streams go to followers, by broker; what is behind them is the loop's.
	streams struct {
		sync.Mutex
		to map[int32]*stream
	}
	fills []*stream // with something for a follower, after this event

	pumps    []*conn    // connections with something to send, after this event
	woken    []*fetchOp // parked fetches whose partitions moved
	flushSet bool       // the engine is to be flushed, see turnAround
	nowMs    int64      // wall clock of the current event, ms
	monoMs   int64      // monotonic clock of the current event, ms since start
	stats    loopStats
	stopping bool
	ended    chan struct{} // closed when run returns
}

// loopStats are counters of one loop, written by it and read by anyone.
type loopStats struct {
	bytesIn, bytesOut, messagesIn      atomic.Int64
	copiedBytes                        atomic.Int64
	produceRequests, fetchRequests     atomic.Int64
	writes, writtenBytes               atomic.Int64
	replicatedBytes, followedBytes     atomic.Int64 // pushed to followers, taken from leaders
	readAheads, blockedSends, accepted atomic.Int64
	_                                  [64]byte
}

func newLoop(srv *server, idx int) (*loop, error) {
	poller, err := openPoller()
	if err != nil {
		return nil, fmt.Errorf("event loop %d cannot open an epoll instance: %w", idx, err)
	}
	l := &loop{srv: srv, idx: idx, name: strconv.Itoa(idx), poller: poller, ringFd: -1, ended: make(chan struct{})}
	l.turn.loop = l
	l.validate = record.DefaultValidateOptions()
	l.validate.TrustCompressed = srv.opts.TrustCompressed
	l.timerFd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("event loop %d cannot create a timer: %w", idx, os.NewSyscallError("timerfd_create", err))
	}
	if err := poller.AddRead(&netpoll.PollAttachment{FD: l.timerFd}, false); err != nil {
		return nil, fmt.Errorf("event loop %d cannot watch its timer: %w", idx, err)
	}
	engine, err := iouring.New(srv.opts.IOEngine, srv.opts.DataDir,
		iouring.Options{Capabilities: &srv.ring, Calibration: srv.calibration})
	if err != nil {
		return nil, fmt.Errorf("event loop %d cannot start its write engine: %w", idx, err)
	}
	l.engine, l.async = engine, engine.(iouring.Async)
	if fd := engine.EventFD(); fd >= 0 {
		l.ringFd = fd
		if err := poller.AddRead(&netpoll.PollAttachment{FD: fd}, false); err != nil {
			return nil, fmt.Errorf("event loop %d cannot watch its ring: %w", idx, err)
		}
	}
	l.rbuf = l.chunks.get(readBufferBytes)
	l.tickClock()
	return l, nil
}

// run serves events until the poller is told to stop.
func (l *loop) run() {
	defer close(l.ended)
	labels := pprof.Labels("loop", l.name)
	pprof.Do(context.Background(), labels, func(context.Context) {
		for !l.stopping {
			if err := l.turnAround(); err != nil && !l.stopping {
				slog.Error("event loop ended", "loop", l.idx, "error", err)
				break
			}
		}
	})
	l.release()
}

// yieldEveryMs is how often a busy loop lets the Go scheduler in by itself: a
// goroutine that runs for 10 ms is made to, by a signal, and loses its P at its
// next system call, which keeps sysmon awake.
const yieldEveryMs = 4

// turnAround waits for events and handles them. A flush that they ask for comes
// behind the events that are ready by then, so that one submission carries the
// writes of all.
func (l *loop) turnAround() error {
	if l.monoMs-l.yieldedMs >= yieldEveryMs {
		l.yieldedMs = l.monoMs
		runtime.Gosched()
	}
	err := l.poller.batch(true, l.onEvent)
	for l.flushSet && err == nil {
		err = l.poller.batch(false, l.onEvent)
		l.flushSet = false
		l.engine.Flush()
		l.engine.Reap()
		l.settle() // which may ask for another
	}
	return err
}

// release closes what the loop holds, waiting for the writes in flight.
func (l *loop) release() {
	for _, c := range l.conns {
		if c != nil {
			l.closeConn(c, nil)
		}
	}
	if err := l.engine.Close(); err != nil {
		slog.Error("write engine did not close cleanly", "loop", l.idx, "error", err)
	}
	_ = unix.Close(l.timerFd)
	l.poller.close()
}

// processStart anchors monotonic milliseconds.
var processStart = time.Now()

func (l *loop) tickClock() {
	now := time.Now()
	l.nowMs = now.UnixMilli()
	l.monoMs = int64(now.Sub(processStart) / time.Millisecond)
}

// monotonicMs is what loop.monoMs would be now.
func monotonicMs() int64 { return int64(time.Since(processStart) / time.Millisecond) }

// leaseLapsed reports whether the controller may by now have given this
// broker's partitions to others: it has not answered a heartbeat for a session.
func (l *loop) leaseLapsed() bool { return l.monoMs > l.srv.broker.leaseUntilMs.Load() }

func (l *loop) onEvent(fd int, ev netpoll.IOEvent) {
	l.tickClock()
	switch fd {
	case l.timerFd:
		l.onTimer()
	case l.ringFd:
		l.engine.Reap()
	case l.srv.listenerOf(l, fd):
		l.srv.accept(l, fd)
	default:
		if fd < len(l.conns) && l.conns[fd] != nil {
			l.onConnEvent(l.conns[fd], ev)
		} else {
			_ = l.poller.Delete(fd)
		}
	}
	l.settle()
}

func (l *loop) onConnEvent(c *conn, ev netpoll.IOEvent) {
	if ev&netpoll.WriteEvents != 0 && c.blocked {
		l.unblock(c)
	}
	if c.closed || ev&(netpoll.ReadEvents|netpoll.ErrEvents) == 0 {
		return
	}
	if c.muted || c.blocked && c.stream == nil || c.paused {
		l.onHeldEvent(c, ev)
		return
	}
	if l.pendingBytes > maxPendingBytes {
		l.pauseReading(c)
		if !c.throttled {
			c.throttled = true
			l.throttled = append(l.throttled, c)
		}
		return
	}
	l.onReadable(c)
	l.turn.end()
}

// onHeldEvent handles an event of a connection that is not to be read from. A
// client that is gone by a reset is forgotten at once. One that has only said
// that it sends no more may still want its answers; but a long poll is not
// worth keeping for it.
func (l *loop) onHeldEvent(c *conn, ev netpoll.IOEvent) {
	if ev&netpoll.ErrEvents != 0 {
		l.closeConn(c, errPeerClosed)
		return
	}
	if ev&unix.EPOLLRDHUP != 0 {
		c.halfClosed = true
		if c.parked != nil {
			l.expireFetch(c.parked)
		}
	}
	if !c.closed && (c.muted || c.blocked) {
		l.pauseReading(c) // from here on, the poller reports EPOLLRDHUP
	}
}

// maxPendingBytes bounds what one loop has given to the disk and not got back:
// when writes fall behind, clients wait in their sockets, not in our memory.
const maxPendingBytes = 32 << 20

// unthrottle reads again from the connections that waited for the disk.
func (l *loop) unthrottle() {
	for i, c := range l.throttled {
		l.throttled[i] = nil
		c.throttled = false
		l.resumeReading(c)
	}
	l.throttled = l.throttled[:0]
}

// settle carries out what the event left to do: fetches that can be answered
// now, records for followers, and answers that can be sent. An answer may unmute a connection, whose
// next requests may append and wake other fetches, so it ends when both lists
// are empty.
func (l *loop) settle() {
	for len(l.woken)+len(l.fills)+len(l.pumps) > 0 {
		for i := 0; i < len(l.woken); i++ {
			op := l.woken[i]
			l.woken[i] = nil
			l.retryFetch(op)
		}
		l.woken = l.woken[:0]
		for i := 0; i < len(l.fills); i++ {
			s := l.fills[i]
			l.fills[i] = nil
			s.fill()
		}
		l.fills = l.fills[:0]
		for i := 0; i < len(l.pumps); i++ {
			c := l.pumps[i]
			l.pumps[i] = nil
			c.pumpQueued = false
			if !c.closed {
				l.pump(c)
			}
		}
		l.pumps = l.pumps[:0]
	}
}

// post runs fn(arg) on the loop soon. It is the one method of loop that any
// goroutine may call.
func (l *loop) post(fn queue.Func, arg any) {
	l.poller.post(fn, arg)
}

// read fills the assembly buffer's tail first and the loop's buffer after it,
// in one readv. It returns how many bytes went into each.
func (l *loop) read(c *conn, tail []byte) (intoTail, intoBuf int, err error) {
	buf := l.rbuf.buf
	iov := l.iovs[:0]
	if len(tail) > 0 {
		iov = append(iov, unix.Iovec{Base: &tail[0], Len: uint64(len(tail))})
	}
	if !c.tailOnly {
		iov = append(iov, unix.Iovec{Base: &buf[0], Len: uint64(len(buf))})
	}
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READV, uintptr(c.fd),
			uintptr(unsafe.Pointer(&l.iovs[0])), uintptr(len(iov)))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, 0, errno
		}
		if int(n) <= len(tail) {
			return int(n), 0, nil
		}
		return len(tail), int(n) - len(tail), nil
	}
}

// pauseReading stops reading from c until resumeReading. It stays with the
// poller, edge-triggered: bytes that wait do not wake the loop, the end of the
// connection does.
func (l *loop) pauseReading(c *conn) {
	if c.paused {
		return
	}
	c.paused = true
	l.register(c)
}

// resumeReading reads from c again unless something still holds it: whoever
// holds it calls resumeReading when it lets go.
func (l *loop) resumeReading(c *conn) {
	if !c.paused || c.closed || c.muted || c.blocked || c.throttled {
		return
	}
	c.paused = false
	if c.asm != nil {
		c.asmSinceMs = l.monoMs // the time until now was not the client's
	}
	l.register(c)
}

// block lets c send on when its socket takes bytes and the loop has seen to
// its other connections. Until then nothing is read from it either: a client
// that does not take its answers gets to ask no more.
func (l *loop) block(c *conn) {
	if !c.blocked {
		c.blocked = true
		l.register(c)
	}
}

func (l *loop) unblock(c *conn) {
	c.blocked = false
	l.register(c)
	l.queuePump(c)
}

// register tells the poller what to wait for. It reports what is there already
// whether or not it is edge-triggered.
func (l *loop) register(c *conn) {
	if c.blocked {
		_ = l.poller.ModReadWrite(&c.attachment, c.paused)
		return
	}
	_ = l.poller.ModRead(&c.attachment, c.paused)
}

// queuePump marks c as having something to send when the event ends.
func (l *loop) queuePump(c *conn) {
	if !c.pumpQueued {
		c.pumpQueued = true
		l.pumps = append(l.pumps, c)
	}
}

// scheduleFlush asks for a flush at the end of the turn, see turnAround.
func (l *loop) scheduleFlush() { l.flushSet = true }
