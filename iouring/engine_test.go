package iouring

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func unsafeBytes(p *byte, n int) []byte { return unsafe.Slice(p, n) }

// eachEngine runs f for every kind of engine; fallback is auto where
// the kernel refuses the ring.
func eachEngine(t *testing.T, f func(t *testing.T, e *loopEngine)) {
	refused := Capabilities{Release: "0", Cause: unix.EPERM, Hint: "refused by the test"}
	for _, tc := range []struct {
		name string
		kind string
		caps *Capabilities
	}{
		{"pwritev", KindPwritev, nil},
		{"uring", KindUring, nil},
		{"auto", KindAuto, nil},
		{"fallback", KindAuto, &refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.caps == nil && tc.kind != KindPwritev {
				if caps := Probe(); !caps.Available && tc.kind == KindUring {
					// The refusal itself is what this machine can show.
					if _, err := New(tc.kind, t.TempDir(), Options{}); err == nil {
						t.Fatal("an engine on a ring that the kernel refuses")
					}
					return
				}
			}
			e, err := newEngine(tc.kind, t.TempDir(), Options{Capabilities: tc.caps})
			if err != nil {
				t.Fatal(err)
			}
			f(t, e)
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func tempFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "00000000000000000000.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// recorder is a Completer that remembers.
type recorder struct {
	ops  []*Op
	errs []error
	then func(op *Op, err error)
}

func (r *recorder) WriteDone(op *Op, err error) {
	r.ops = append(r.ops, op)
	r.errs = append(r.errs, err)
	if r.then != nil {
		r.then(op, err)
	}
}

func (r *recorder) mustSucceed(t *testing.T, n int) {
	t.Helper()
	if len(r.ops) != n {
		t.Fatalf("%d Ops completed, want %d", len(r.ops), n)
	}
	for i, err := range r.errs {
		if err != nil {
			t.Fatalf("Op %d: %v", i, err)
		}
	}
}

func TestEnginesWriteWhatTheyAreGiven(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		rng := rand.New(rand.NewPCG(1, 2))
		const files = 5
		var want [files][]byte
		var file [files]*os.File
		for i := range file {
			file[i] = tempFile(t)
		}
		r := &recorder{}
		total := 0
		for turn := range 40 {
			for range rng.IntN(12) {
				i := rng.IntN(files)
				op := &Op{Fd: int(file[i].Fd()), Pos: int64(len(want[i])), Done: r, Sync: rng.IntN(4) == 0}
				for range 1 + rng.IntN(4) {
					buf := bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(20_000))
					op.Bufs = append(op.Bufs, buf)
					op.Len += int64(len(buf))
					want[i] = append(want[i], buf...)
				}
				e.Write(op)
				total++
			}
			e.Flush()
			if turn%3 == 0 {
				e.Reap()
			}
		}
		e.await()
		r.mustSucceed(t, total)
		for i := range file {
			got, err := os.ReadFile(file[i].Name())
			if err != nil || !bytes.Equal(got, want[i]) {
				t.Fatalf("file %d holds %d bytes, want %d, equal=%t, %v", i, len(got), len(want[i]), bytes.Equal(got, want[i]), err)
			}
		}
		if e.InFlight() != 0 {
			t.Fatalf("%d Ops in flight after all completed", e.InFlight())
		}
	})
}

func TestEnginesCompleteInOrderAndTakeOpsFromCompleters(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		f := tempFile(t)
		next := int64(0)
		r := &recorder{}
		write := func() {
			op := &Op{Fd: int(f.Fd()), Pos: next, Bufs: [][]byte{make([]byte, 100)}, Len: 100, Done: r, Sync: next%300 == 0}
			next += 100
			e.Write(op)
		}
		r.then = func(*Op, error) {
			if next < 10_000 {
				write()
			}
		}
		for range 5 {
			write()
		}
		e.Flush()
		e.await()
		r.mustSucceed(t, 100)
		for i, op := range r.ops {
			if op.Pos != int64(i)*100 {
				t.Fatalf("completion %d is for position %d", i, op.Pos)
			}
		}
	})
}

func TestEnginesReportTheCauseOfAFailedWrite(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		f := tempFile(t)
		readOnly, err := os.Open(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		defer readOnly.Close()
		r := &recorder{}
		for i := range 3 {
			e.Write(&Op{Fd: int(readOnly.Fd()), Pos: int64(i), Bufs: [][]byte{{1}}, Len: 1, Done: r, Sync: i == 1})
		}
		e.Flush()
		e.await()
		if len(r.errs) != 3 {
			t.Fatalf("%d Ops completed", len(r.errs))
		}
		for i, err := range r.errs {
			if !errors.Is(err, unix.EBADF) {
				t.Fatalf("Op %d: %v, want EBADF", i, err)
			}
		}
		// The file takes Ops again once the failure has been reported.
		e.Write(&Op{Fd: int(f.Fd()), Bufs: [][]byte{{1}}, Len: 1, Done: r})
		e.Flush()
		e.await()
		if r.errs[3] != nil {
			t.Fatal(r.errs[3])
		}
	})
}

func TestEnginesFailOpsBehindAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		r := &recorder{}
		for i := range 4 {
			e.Write(&Op{Fd: int(full.Fd()), Pos: int64(i * 10), Bufs: [][]byte{make([]byte, 10)}, Len: 10, Done: r})
		}
		e.Flush()
		e.await()
		for i, err := range r.errs {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("Op %d: %v, want ENOSPC", i, err)
			}
		}
	})
}

// An Op without bytes is a barrier: with Sync it completes when everything
// given before it is durable.
func TestEnginesTakeAnEmptySyncAsABarrier(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		f := tempFile(t)
		r := &recorder{}
		e.Write(&Op{Fd: int(f.Fd()), Bufs: [][]byte{[]byte("abc")}, Len: 3, Done: r})
		e.Write(&Op{Fd: int(f.Fd()), Pos: 3, Sync: true, Done: r})
		e.Flush()
		e.await()
		r.mustSucceed(t, 2)
	})
}

func TestEngineNamesAndExplanations(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		line := e.Explain()
		t.Log(line)
		if line == "" || bytes.ContainsRune([]byte(line), '\n') {
			t.Fatalf("not one line: %q", line)
		}
	})
	if _, err := New("magic", t.TempDir(), Options{}); err == nil {
		t.Fatal("an engine of unknown kind")
	}
	refused := Capabilities{Release: "5.4.0", Cause: unix.ENOSYS, Hint: "hint"}
	_, err := New(KindUring, t.TempDir(), Options{Capabilities: &refused})
	if err == nil {
		t.Fatal("kind uring where the kernel refuses it")
	}
	t.Log(err)
}

func TestEventFDIsReadableWhenCompletionsWait(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		f := tempFile(t)
		r := &recorder{}
		for i := range 50 {
			e.Write(&Op{Fd: int(f.Fd()), Pos: int64(i), Bufs: [][]byte{{1}}, Len: 1, Sync: true, Done: r})
			e.Flush()
			for spurious := 0; e.InFlight() > 0; spurious++ {
				fds := []unix.PollFd{{Fd: int32(e.EventFD()), Events: unix.POLLIN}}
				if n, err := unix.Poll(fds, 10_000); n == 0 {
					t.Fatalf("Op %d finished without a wake-up, %v", i, err)
				}
				if e.Reap() > 0 {
					spurious = 0
				}
				if spurious > 2*drainEvery {
					t.Fatal("the eventfd stays readable with nothing to reap")
				}
			}
		}
		r.mustSucceed(t, 50)
	})
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	for _, sync := range []bool{false, true} {
		eachEngine(t, func(t *testing.T, e *loopEngine) { steadyState(t, e, sync) })
	}
}

func steadyState(t *testing.T, e *loopEngine, sync bool) {
	d := &steady{}
	for i := range d.ops {
		f := tempFile(t)
		d.ops[i] = Op{Fd: int(f.Fd()), Bufs: [][]byte{make([]byte, 1000), make([]byte, 500)}, Len: 1500, Sync: sync, Done: d}
	}
	turn := func() {
		for i := range d.ops {
			e.Write(&d.ops[i])
		}
		e.Flush()
		e.await()
	}
	for range 50 {
		turn()
	}
	if n := testing.AllocsPerRun(200, turn); n > 0 {
		t.Fatalf("%v allocations a turn of %d writes", n, len(d.ops))
	}
	if d.err != nil {
		t.Fatal(d.err)
	}
}

// steady rewrites the same Ops for ever.
type steady struct {
	ops [4]Op
	err error
}

func (d *steady) WriteDone(_ *Op, err error) {
	if err != nil {
		d.err = err
	}
}

func TestCloseWaitsForTheKernel(t *testing.T) {
	eachEngine(t, func(t *testing.T, e *loopEngine) {
		f := tempFile(t)
		r := &recorder{}
		for i := range 20 {
			e.Write(&Op{Fd: int(f.Fd()), Pos: int64(i) << 16, Bufs: [][]byte{make([]byte, 1<<16)}, Len: 1 << 16, Sync: i%5 == 0, Done: r})
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		r.mustSucceed(t, 20)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAllSlotsAndEntriesInUse(t *testing.T) {
	if !Probe().Available {
		return
	}
	e, err := newLoopEngine(KindUring, alwaysRing{}, Options{Entries: 4}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	r := &recorder{}
	const files = 60
	for i := range files {
		f := tempFile(t)
		e.Write(&Op{Fd: int(f.Fd()), Bufs: [][]byte{fmt.Appendf(nil, "file %d", i)}, Len: int64(len(fmt.Sprintf("file %d", i))), Sync: true, Done: r})
	}
	e.Flush()
	e.await()
	r.mustSucceed(t, files)
}
