package iouring

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	c := Probe()
	t.Log(c)
	if c.Available == (c.Cause != nil) {
		t.Fatalf("%+v", c)
	}
	if c.Release == "" || strings.Contains(c.String(), "\n") {
		t.Fatalf("not one sentence: %q", c.String())
	}
}

func TestHints(t *testing.T) {
	for _, tc := range []struct {
		err      error
		release  string
		disabled int
		want     string
	}{
		{unix.EPERM, "6.8.0", 2, "kernel.io_uring_disabled is 2"},
		{unix.EPERM, "6.8.0", 1, "kernel.io_uring_group"},
		{unix.EPERM, "6.8.0", 0, "seccomp"},
		{unix.EPERM, "5.15.0", -1, "seccomp"},
		{unix.ENOSYS, "6.8.0-1-generic", 0, "seccomp filter hides it"},
		{unix.ENOSYS, "4.18.0", -1, "upgrade the kernel"},
		{unix.ENOMEM, "5.10.0", -1, "LimitMEMLOCK"},
		{unix.EMFILE, "6.8.0", -1, "LimitNOFILE"},
		{fmt.Errorf("anything"), "6.8.0", -1, "Linux 5.6"},
	} {
		if got := hintFor(fmt.Errorf("cannot set up: %w", tc.err), tc.release, tc.disabled); !strings.Contains(got, tc.want) {
			t.Errorf("%v on %s with disabled=%d: %q lacks %q", tc.err, tc.release, tc.disabled, got, tc.want)
		}
	}
}

const forbidEnv = "FRESHET_TEST_FORBID_IO_URING"

// The kernel really refuses io_uring here: a seccomp filter in a child process,
// as in a container. auto must go on with pwritev, uring must say why not.
func TestForbiddenBySeccomp(t *testing.T) {
	errnos := map[string]unix.Errno{"EPERM": unix.EPERM, "ENOSYS": unix.ENOSYS, "ENOMEM": unix.ENOMEM}
	if name := os.Getenv(forbidEnv); name != "" {
		forbidden(t, errnos[name])
		return
	}
	for name := range errnos {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestForbiddenBySeccomp$", "-test.v")
			cmd.Env = append(os.Environ(), forbidEnv+"="+name)
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// forbidden is the child.
func forbidden(t *testing.T, errno unix.Errno) {
	if err := forbidSetup(errno); err != nil {
		// No seccomp in this kernel or sandbox: the capabilities are injected.
		t.Logf("no seccomp filter here (%v)", err)
		return
	}
	c := Probe()
	t.Log(c)
	if c.Available || !strings.Contains(c.String(), errno.Error()) {
		t.Fatalf("probe under the filter: %s", c)
	}
	if _, err := New(KindUring, t.TempDir(), Options{}); err == nil {
		t.Fatal("an engine of kind uring")
	}
	e, err := newEngine(KindAuto, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(e.Explain())
	if e.Name() != KindAuto || !strings.Contains(e.Explain(), "pwritev") || !strings.Contains(e.Explain(), errno.Error()) {
		t.Fatal(e.Explain())
	}
	f := tempFile(t)
	r := &recorder{}
	e.Write(&Op{Fd: int(f.Fd()), Bufs: [][]byte{[]byte("abc")}, Len: 3, Sync: true, Done: r})
	e.Flush()
	e.await()
	r.mustSucceed(t, 1)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// forbidSetup installs a filter on every thread that answers io_uring_setup
// with errno.
func forbidSetup(errno unix.Errno) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return nil
}
