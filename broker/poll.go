package broker

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"sync/atomic"
	"unsafe"

	errorx "github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"github.com/panjf2000/gnet/v2/pkg/queue"
	"golang.org/x/sys/unix"
)

// poller is gnet's epoll poller with a wait of its own.
//
// gnet's Polling waits in a system call that the Go scheduler knows of. Under
// load a loop waits some 50 µs at a time, thousands of times a second, and for
// each wait the scheduler may take its P away, which keeps the runtime's monitor
// (sysmon) awake every 20 µs: in three brokers on two cores that monitor alone
// was 7 % of the CPU time (docs/performance/STEPS.md). So the loop waits its
// first attentiveMs by a raw system call, P in hand, and only a loop that stays
// idle longer tells the scheduler. SpareProcs keeps Ps for the goroutines.
//
// Registrations are gnet's; tasks are in gnet's queue. The descriptor is all
// that is taken out of it.
type poller struct {
	*netpoll.Poller
	epfd   int
	events [pollEvents]unix.EpollEvent

	wakeFd int // eventfd, edge-triggered: never drained
	tasks  queue.AsyncTaskQueue
	woken  atomic.Int32 // wakeFd has been written since the tasks were last taken
}

const (
	pollEvents = 512
	// attentiveMs is how long a raw wait lasts. It bounds how long the garbage
	// collector waits for a loop that has nothing to do.
	attentiveMs = 1
)

func openPoller() (*poller, error) {
	gp, err := netpoll.OpenPoller()
	if err != nil {
		return nil, err
	}
	p := &poller{Poller: gp, epfd: int(reflect.ValueOf(gp).Elem().FieldByName("fd").Int()), tasks: queue.NewLockFreeQueue()}
	if p.wakeFd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		_ = gp.Close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	if err := gp.AddRead(&netpoll.PollAttachment{FD: p.wakeFd}, true); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	_ = unix.Close(p.wakeFd)
	_ = p.Close()
}

// post has fn(arg) run on the loop soon. Any goroutine.
func (p *poller) post(fn queue.Func, arg any) {
	task := queue.GetTask()
	task.Exec, task.Param = fn, arg
	p.tasks.Enqueue(task)
	p.wake()
}

func (p *poller) wake() {
	if !p.woken.CompareAndSwap(0, 1) {
		return
	}
	one := uint64(1)
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(p.wakeFd), uintptr(unsafe.Pointer(&one)), 8)
		if errno == unix.EAGAIN { // the counter is full; the edge was seen long ago
			var count uint64
			_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(p.wakeFd), uintptr(unsafe.Pointer(&count)), 8)
			continue
		}
		if errno != unix.EINTR {
			return
		}
	}
}

// batch waits for events and hands each to onEvent, then runs the tasks. With
// wait false it takes only what is there. The error is errEndLoop or of epoll.
func (p *poller) batch(wait bool, onEvent func(fd int, ev netpoll.IOEvent)) error {
	n, err := p.wait(wait)
	if err != nil {
		return fmt.Errorf("waiting for events: %w", os.NewSyscallError("epoll_pwait", err))
	}
	for i := range n {
		if ev := &p.events[i]; int(ev.Fd) != p.wakeFd {
			onEvent(int(ev.Fd), ev.Events)
		}
	}
	if p.woken.Load() == 0 {
		return nil
	}
	for task := p.tasks.Dequeue(); task != nil; task = p.tasks.Dequeue() {
		if err := task.Exec(task.Param); errors.Is(err, errEndLoop) {
			return err
		}
		queue.PutTask(task)
	}
	p.woken.Store(0)
	if !p.tasks.IsEmpty() { // came between the last look and the store
		p.wake()
	}
	return nil
}

// errEndLoop is what a task returns that ends the loop.
var errEndLoop = errorx.ErrEngineShutdown

// wait returns how many events there are.
func (p *poller) wait(block bool) (int, error) {
	timeout := 0
	if block {
		timeout = attentiveMs
	}
	n, errno := p.rawWait(timeout)
	if n > 0 || !block || errno != 0 && errno != unix.EINTR {
		return n, errorOf(errno)
	}
	runtime.Gosched()
	n, err := unix.EpollWait(p.epfd, p.events[:], -1)
	if err == unix.EINTR {
		return 0, nil
	}
	return max(n, 0), err
}

// rawWait is epoll_pwait(2) without telling the scheduler.
func (p *poller) rawWait(timeoutMs int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(unsafe.Pointer(&p.events[0])), pollEvents, uintptr(timeoutMs), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func errorOf(errno unix.Errno) error {
	if errno == 0 || errno == unix.EINTR {
		return nil
	}
	return errno
}

// SpareProcs gives the Go scheduler Ps beside those that waiting loops hold, so
// that no goroutine waits for a loop. It is for a process that runs one broker.
func (b *Broker) SpareProcs() {
	if b.net != nil {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + len(b.net.loops))
	}
}
