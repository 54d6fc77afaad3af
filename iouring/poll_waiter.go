package iouring

import (
	"sync"

	"golang.org/x/sys/unix"
)

// pollWaiter stands in for POLL_ADD where there is no ring: one goroutine in
// epoll_wait(2) on one-shot registrations. It starts with the first poll, and
// results go to the loop through offload.
//
// A socket has at most one poll pending; a second one for the same descriptor
// replaces nothing and fails with EEXIST, as it would show a span sent twice.
type pollWaiter struct {
	out     *offload
	epollFd int
	stopFd  int // eventfd that ends the goroutine

	mu struct {
		sync.Mutex
		started bool
		pending map[int]asyncRequest // by descriptor
	}
	done chan struct{}
}

func newPollWaiter(out *offload) *pollWaiter {
	return &pollWaiter{out: out, epollFd: -1, stopFd: -1, done: make(chan struct{})}
}

// add registers req. Failures are posted as results, like the ring's.
func (w *pollWaiter) add(req asyncRequest) {
	w.mu.Lock()
	err := w.startLocked()
	if err == nil {
		if _, dup := w.mu.pending[req.fd]; dup {
			err = unix.EEXIST
		}
	}
	if err == nil {
		ev := unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLONESHOT, Fd: int32(req.fd)}
		if err = unix.EpollCtl(w.epollFd, unix.EPOLL_CTL_ADD, req.fd, &ev); err == nil {
			w.mu.pending[req.fd] = req
		}
	}
	w.mu.Unlock()
	if err == nil {
		return
	}
	errno, _ := err.(unix.Errno)
	w.out.post(offloadJob{kind: jobPoll, async: req, res: -int32(errno)})
}

func (w *pollWaiter) startLocked() error {
	if w.mu.started {
		return nil
	}
	var err error
	if w.epollFd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if w.stopFd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err == nil {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(w.stopFd)}
		err = unix.EpollCtl(w.epollFd, unix.EPOLL_CTL_ADD, w.stopFd, &ev)
	}
	if err != nil {
		w.closeFds()
		return err
	}
	w.mu.pending = make(map[int]asyncRequest)
	w.mu.started = true
	go w.run()
	return nil
}

func (w *pollWaiter) run() {
	defer close(w.done)
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(w.epollFd, events, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			panic("FATAL: epoll_wait failed on a descriptor that was set up without error: " + err.Error())
		}
		for _, ev := range events[:n] {
			if int(ev.Fd) == w.stopFd {
				return
			}
			w.finish(int(ev.Fd), int32(ev.Events))
		}
	}
}

// finish ends the poll of fd, if it is still pending.
func (w *pollWaiter) finish(fd int, res int32) {
	w.mu.Lock()
	req, ok := w.mu.pending[fd]
	if ok {
		delete(w.mu.pending, fd)
		_ = unix.EpollCtl(w.epollFd, unix.EPOLL_CTL_DEL, fd, nil)
	}
	w.mu.Unlock()
	if ok {
		w.out.post(offloadJob{kind: jobPoll, async: req, res: res})
	}
}

func (w *pollWaiter) cancel(token uint64) {
	w.mu.Lock()
	fd := -1
	for candidate, req := range w.mu.pending {
		if req.token == token {
			fd = candidate
			break
		}
	}
	w.mu.Unlock()
	if fd >= 0 {
		w.finish(fd, -int32(unix.ECANCELED))
	}
}

func (w *pollWaiter) cancelAll() {
	w.mu.Lock()
	fds := make([]int, 0, len(w.mu.pending))
	for fd := range w.mu.pending {
		fds = append(fds, fd)
	}
	w.mu.Unlock()
	for _, fd := range fds {
		w.finish(fd, -int32(unix.ECANCELED))
	}
}

func (w *pollWaiter) close() {
	w.mu.Lock()
	started := w.mu.started
	w.mu.Unlock()
	if !started {
		return
	}
	signalEventFd(w.stopFd)
	<-w.done
	w.closeFds()
}

func (w *pollWaiter) closeFds() {
	for _, fd := range []int{w.epollFd, w.stopFd} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	w.epollFd, w.stopFd = -1, -1
}
