package iouring

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

type pollResult struct {
	token uint64
	res   int32
}

type pollRecorder struct{ results []pollResult }

func (r *pollRecorder) PollDone(token uint64, res int32) {
	r.results = append(r.results, pollResult{token, res})
}

// awaitPolls reaps until n results are there.
func awaitPolls(t *testing.T, e *loopEngine, r *pollRecorder, n int) {
	t.Helper()
	e.Flush()
	for tries := 0; len(r.results) < n; tries++ {
		if tries > 1000 {
			t.Fatalf("%d of %d completions", len(r.results), n)
		}
		if e.Reap() == 0 {
			e.waitReadable(100)
		}
	}
}

// fullSocket returns a socket that takes no more bytes, and its peer.
func fullSocket(t *testing.T) (fd, peer int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	for err == nil {
		_, err = unix.Write(pair[0], make([]byte, 64<<10))
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	return pair[0], pair[1]
}

func emptySocket(t *testing.T, peer int) {
	t.Helper()
	buf := make([]byte, 1<<20)
	for {
		if n, err := unix.Read(peer, buf); err != nil || n == 0 {
			return
		}
	}
}

func TestPollOut(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		fd, peer := fullSocket(t)
		r := &pollRecorder{}
		e.PollOut(fd, 7, r)
		e.Flush()
		e.Reap()
		if len(r.results) != 0 {
			t.Fatal("a full socket is said to be writable")
		}
		emptySocket(t, peer)
		awaitPolls(t, e, r, 1)
		if got := r.results[0]; got.token != 7 || got.res&unix.POLLOUT == 0 {
			t.Fatalf("%+v, want POLLOUT", got)
		}

		// The other end gone is an end, too.
		fd, peer = fullSocket(t)
		e.PollOut(fd, 8, r)
		e.Flush()
		if err := unix.Shutdown(peer, unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		awaitPolls(t, e, r, 2)
		if got := r.results[1]; got.token != 8 || got.res&(unix.POLLHUP|unix.POLLERR|unix.POLLOUT) == 0 {
			t.Fatalf("%+v, want POLLHUP", got)
		}
	})
}

func TestCancelEndsThePollOnce(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		first, _ := fullSocket(t)
		second, peer := fullSocket(t)
		r := &pollRecorder{}
		e.PollOut(first, 1, r)
		e.PollOut(second, 2, r)
		e.Flush()
		e.Cancel(99) // nobody's
		e.Cancel(1)
		if len(r.results) != 0 {
			t.Fatal("PollDone was called inside Cancel")
		}
		awaitPolls(t, e, r, 1)
		if got := r.results[0]; got != (pollResult{1, -int32(unix.ECANCELED)}) {
			t.Fatalf("%+v", got)
		}
		emptySocket(t, peer)
		awaitPolls(t, e, r, 2)
		e.Cancel(2) // too late
		// The token may be used again after PollDone.
		e.PollOut(first, 1, r)
		e.Cancel(1)
		awaitPolls(t, e, r, 3)
		if len(r.results) != 3 {
			t.Fatalf("%+v", r.results)
		}
	})
}

func TestCloseEndsPendingPolls(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		r := &pollRecorder{}
		for token := range uint64(20) {
			fd, _ := fullSocket(t)
			e.PollOut(fd, token, r)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if len(r.results) != 20 {
			t.Fatalf("%d of 20 polls ended", len(r.results))
		}
	})
}

func TestPollOutOfABadDescriptor(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		r := &pollRecorder{}
		e.PollOut(1<<20, 5, r)
		awaitPolls(t, e, r, 1)
		if got := r.results[0]; got != (pollResult{5, -int32(unix.EBADF)}) {
			t.Fatalf("%+v", got)
		}
	})
}

func TestReadAheadMakesPagesResident(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		const size = 5<<20 + 123
		f := tempFile(t)
		if _, err := f.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		fd := int(f.Fd())
		for _, tc := range []struct{ pos, length, want int64 }{
			{0, size, size},
			{1000, 10, 10},
			{3 << 20, 1 << 20, 1 << 20},
			{0, 10 * size, size}, // beyond the end
			{2 * size, 10, 0},
			{0, 0, 0},
		} {
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
				t.Fatal(err)
			}
			r := &pollRecorder{}
			e.ReadAhead(fd, tc.pos, tc.length, 3, r)
			awaitPolls(t, e, r, 1)
			if got := r.results[0]; got != (pollResult{3, int32(tc.want)}) {
				t.Fatalf("%+v: %+v", tc, got)
			}
			var b [1]byte
			for _, at := range []int64{tc.pos, tc.pos + tc.want - 1} {
				if tc.want == 0 {
					continue
				}
				if _, err := unix.Preadv2(fd, [][]byte{b[:]}, at, unix.RWF_NOWAIT); err != nil {
					t.Fatalf("%+v: byte %d: %v", tc, at, err)
				}
			}
		}
		r := &pollRecorder{}
		dir, err := os.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		e.ReadAhead(int(dir.Fd()), 0, 10, 4, r)
		awaitPolls(t, e, r, 1)
		if r.results[0].res >= 0 {
			t.Fatalf("reading a directory: %+v", r.results[0])
		}
	})
}

// Polls and read-ahead share the ring with writes; more of them than entries.
func TestManyAsyncOperations(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		const polls = 700
		r := &pollRecorder{}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		var fds []int
		for range polls {
			fd, err := unix.FcntlInt(uintptr(pair[0]), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
			e.PollOut(fd, uint64(fd), r) // writable at once
		}
		awaitPolls(t, e, r, polls)
		seen := map[uint64]bool{}
		for _, got := range r.results {
			if seen[got.token] || got.res&unix.POLLOUT == 0 {
				t.Fatalf("%+v", got)
			}
			seen[got.token] = true
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
	})
}
