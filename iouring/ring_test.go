package iouring

import (
	"errors"
	"runtime"
	"testing"
	"unsafe"

	uring "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// testRing is a ring, or nil where the kernel refuses one: then there is
// nothing here to test, and TestProbe says why.
func testRing(t *testing.T, cfg ringConfig) *ring {
	t.Helper()
	if !Probe().Available {
		return nil
	}
	r, err := newRing(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func (r *ring) mustComplete(t *testing.T) (userData uint64, res int32) {
	t.Helper()
	for {
		if userData, res, ok := r.completion(); ok {
			return userData, res
		}
		fds := []unix.PollFd{{Fd: int32(r.eventFd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, 10_000); n == 0 {
			t.Fatal("no completion")
		}
		r.drain(1)
	}
}

func TestRingRefusesOtherOperations(t *testing.T) {
	r := testRing(t, ringConfig{})
	if r == nil || !r.restricted {
		return
	}
	for _, op := range []uint8{uring.IORING_OP_NOP, uring.IORING_OP_OPENAT, uring.IORING_OP_CONNECT, uring.IORING_OP_SEND, uring.IORING_OP_UNLINKAT} {
		prepare(r.next(), op, -1, nil, 0, 0, uint64(op))
		r.submit()
		if userData, res := r.mustComplete(t); userData != uint64(op) || res != -int32(unix.EACCES) {
			t.Errorf("operation %d: %d, want EACCES", op, res)
		}
	}
	// Nor may its registrations be changed any more.
	err := uring.IOURingRegister(r.fd, uring.IORING_UNREGISTER_EVENTFD, nil, 0)
	if !errors.Is(err, unix.EACCES) {
		t.Errorf("unregistering the eventfd: %v, want EACCES", err)
	}
	// A linked operation is refused as well.
	s := r.next()
	prepare(s, uring.IORING_OP_FSYNC, -1, nil, 0, 0, 1)
	s.SetFlags(uring.IOSQE_FLAGS_IO_LINK)
	r.submit()
	if _, res := r.mustComplete(t); res != -int32(unix.EACCES) {
		t.Errorf("link flag: %d, want EACCES", res)
	}
}

// NODROP: completions that find the queue full are kept by the kernel.
func TestRingKeepsOverflowingCompletions(t *testing.T) {
	r := testRing(t, ringConfig{sqEntries: 4, cqEntries: 8, unrestricted: true})
	if r == nil {
		return
	}
	const total = 50
	next := uint64(0)
	for next < total {
		s := r.next()
		if s == nil {
			if !r.submit() {
				break // an older kernel answers EBUSY: reap first
			}
			continue
		}
		prepare(s, uring.IORING_OP_NOP, -1, nil, 0, 0, next)
		next++
	}
	r.submit()
	seen := map[uint64]bool{}
	for range next {
		userData, res := r.mustComplete(t)
		if seen[userData] || res != 0 {
			t.Fatalf("completion %d twice or with %d", userData, res)
		}
		seen[userData] = true
	}
	if _, _, ok := r.completion(); ok {
		t.Fatal("one completion too many")
	}
}

func TestRingQueueIndexesWrap(t *testing.T) {
	r := testRing(t, ringConfig{sqEntries: 8, cqEntries: 16, unrestricted: true})
	if r == nil {
		return
	}
	for i := range uint64(1000) {
		prepare(r.next(), uring.IORING_OP_NOP, -1, nil, 0, 0, i)
		if !r.submit() {
			t.Fatal("refused")
		}
		if userData, _ := r.mustComplete(t); userData != i {
			t.Fatalf("completion %d, want %d", userData, i)
		}
	}
}

func TestLayoutsMatchTheKernel(t *testing.T) {
	for name, got := range map[string][2]uintptr{
		"io_uring_sqe":         {unsafe.Sizeof(sqe{}), 64},
		"io_uring_cqe":         {unsafe.Sizeof(cqe{}), 16},
		"io_uring_restriction": {unsafe.Sizeof(restriction{}), 16},
		"io_uring_probe_op":    {unsafe.Sizeof(probeOp{}), 8},
		"io_uring_probe":       {unsafe.Sizeof(probeTable{}), 16 + 256*8},
		"io_uring_params":      {unsafe.Sizeof(uring.IOURingParams{}), 120},
	} {
		if got[0] != got[1] {
			t.Errorf("struct %s has %d bytes, the kernel's has %d", name, got[0], got[1])
		}
	}
}

func TestUserDataRoundTrip(t *testing.T) {
	for _, c := range [][2]uint32{{0, 0}, {1, 2}, {1 << 31, 1<<32 - 2}, {1<<32 - 1, 0}} {
		index, generation := splitUserData(userDataOf(c[0], c[1]))
		if index != c[0] || generation != c[1] {
			t.Errorf("%v became %d, %d", c, index, generation)
		}
	}
}

func TestLateCompletionIsRecognised(t *testing.T) {
	e := &loopEngine{policy: alwaysRing{}}
	index, _ := e.takeSlot(slotPoll)
	stale := userDataOf(index, e.slots[index].generation)
	e.returnSlot(index)
	e.takeSlot(slotPoll)
	defer func() {
		if recover() == nil {
			t.Fatal("a completion of the slot's former owner was taken for the new one's")
		}
	}()
	e.complete(stale, 0)
}

// The buffers of a write are the kernel's until its completion: the queue
// keeps them alive, even if the caller forgets the Op.
func TestBuffersLiveUntilCompletion(t *testing.T) {
	if !Probe().Available {
		return
	}
	e, err := newLoopEngine(KindUring, alwaysRing{}, Options{}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	f := tempFile(t)
	r := &recorder{}
	const n, size = 50, 64 << 10
	for i := range n {
		buf := make([]byte, size)
		for j := range buf {
			buf[j] = byte(i + 1)
		}
		e.Write(&Op{Fd: int(f.Fd()), Pos: int64(i) * size, Bufs: [][]byte{buf}, Len: size, Done: r})
		e.Flush()
		if i%10 == 0 {
			runtime.GC()
		}
	}
	runtime.GC()
	e.await()
	r.mustSucceed(t, n)
	got := make([]byte, n*size)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if got[i] != byte(i/size+1) {
			t.Fatalf("byte %d is %d", i, got[i])
		}
	}
}
