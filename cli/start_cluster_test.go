package cli

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this binary stand in for freshet where a test starts processes.
func TestMain(m *testing.M) {
	if os.Args[0] == "freshet" {
		os.Exit(Main(os.Args, Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}
	os.Exit(m.Run())
}

// processDeadline bounds waits for processes; no test sits it out.
const processDeadline = 60 * time.Second

// eventually waits until what is true.
func eventually(t *testing.T, about string, what func() bool) {
	t.Helper()
	deadline := time.NewTimer(processDeadline)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !what() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal(about)
		}
	}
}

// freePortFor returns a port from which on a cluster of n brokers can listen.
func freePortFor(t *testing.T, n int) int {
	t.Helper()
	for range 50 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := ln.Addr().(*net.TCPAddr).Port
		_ = ln.Close()
		free := first+controllerPortGap+n < 1<<16
		for i := 0; i < n && free; i++ {
			for _, port := range []int{first + i, first + i + controllerPortGap} {
				other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					free = false
					break
				}
				_ = other.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

// localRun is a localCluster that runs.
type localRun struct {
	*localCluster
	out   lockedBuffer
	ended chan error
}

func startLocal(t *testing.T, overrides ...string) *localRun {
	t.Helper()
	r := &localRun{ended: make(chan error, 1), localCluster: &localCluster{size: 3, port: freePortFor(t, 3), dir: t.TempDir(), logLevel: "warn",
		overrides: append([]string{"freshet.admin.listener="}, overrides...)}}
	go func() { r.ended <- r.run(&r.out, &r.out) }()
	return r
}

// said waits until the cluster has said text.
func (r *localRun) said(t *testing.T, text string) {
	t.Helper()
	eventually(t, fmt.Sprintf("the cluster never says %q", text), func() bool { return strings.Contains(r.out.String(), text) })
}

// pid is the process of a broker.
func (r *localRun) pid(t *testing.T, id int) int {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && strings.Contains(string(line), fmt.Sprintf("node.id=%d\x00", id)) && strings.Contains(string(line), r.nodeDir(id)) {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	t.Fatalf("broker %d does not run", id)
	return 0
}

// A broker that ends leaves the others running; how it ended is said, where its
// log is, and how to start it again, which works.
func TestLocalClusterLosesABroker(t *testing.T) {
	r := startLocal(t)
	r.said(t, "cluster of 3 brokers is ready")
	if err := syscall.Kill(r.pid(t, 2), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	file := r.propertiesFile(2)
	r.said(t, fmt.Sprintf("broker 2 has ended (killed by signal 9, killed); 2 of 3 go on. What it said last is in %s. To start it again, in another terminal: freshet start %s\n",
		r.logFile(2), file))
	log, err := os.ReadFile(r.logFile(2))
	if err != nil || !strings.Contains(string(log), " is ready after ") || strings.Contains(string(log), "2 | ") {
		t.Errorf("%v; its log is %q", err, log)
	}

	again := exec.Command("/proc/self/exe", "start", file)
	again.Args[0] = "freshet"
	again.Dir = t.TempDir()
	again.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out lockedBuffer
	again.Stdout, again.Stderr = &out, &out
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "broker 2 does not start again", func() bool { return strings.Contains(out.String(), " is ready after ") })
	if r.pid(t, 1) == 0 || r.pid(t, 3) == 0 {
		t.Error("the others do not run")
	}
	_ = again.Process.Signal(syscall.SIGTERM)
	if err := again.Wait(); err != nil {
		t.Errorf("broker 2: %v\n%s", err, out.String())
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGTERM) // as Ctrl-C does
	if err := <-r.ended; err == nil || err.Error() != "broker 2 ended by itself: killed by signal 9, killed" {
		t.Errorf("the command ends with %v", err)
	}
}

// A broker that cannot start stops the others, and it is said where to read why.
func TestLocalClusterThatCannotStart(t *testing.T) {
	r := startLocal(t, "log.segment.bytes=-1")
	err := <-r.ended
	if err == nil || !strings.Contains(err.Error(), "could not start (exit code 1)") || !strings.Contains(err.Error(), r.dir) {
		t.Errorf("the command ends with %v", err)
	}
}
