package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// TargetName says which server a run was made against.
type TargetName string

const (
	TargetBroker TargetName = "broker"
	TargetFloor  TargetName = "floor"
	TargetNull   TargetName = "null"
)

// target is a server under measurement: a child process, or a broker that was
// there before.
type target struct {
	name TargetName
	addr string // bootstrap, host:port
	// pids are its processes on this machine: one, those of a cluster, or none
	// that is known; CPU time and memory are their sums, or not measured.
	pids []int
	// dataDirs are where they keep their logs, none if unknown.
	dataDirs []string
	// command is how a child was started.
	command []string
	// readyAfter is the time from exec to the first accepted connection.
	readyAfter time.Duration
	started    time.Time // when it was executed
	child      *child
	// cluster is set where the server is a cluster that was started here.
	cluster *Cluster
	// adminURLs are the brokers' HTTP servers for profiles, none if unknown.
	adminURLs []string
	// profilers take profiles of the measured parts, one a process.
	profilers []*profiler
	// evener gives every run the same memory; nil does nothing.
	evener *Evener
}

// stop ends a child and removes its data; an outside broker is left alone.
func (t *target) stop() error {
	if t.cluster != nil {
		return t.cluster.Stop()
	}
	if t.child == nil {
		return nil
	}
	err := t.child.stop()
	for _, dir := range t.dataDirs {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// cpu is the CPU time of all the server's processes.
func (t *target) cpu() (CPUTime, error) { return processesCPU(t.pids) }

// memory is the resident memory of all the server's processes.
func (t *target) memory() (memoryUse, error) { return processesMemory(t.pids) }

const (
	readyTimeout = 60 * time.Second
	readyPoll    = time.Millisecond
	stopTimeout  = 20 * time.Second
)

// startTarget runs `exe args…` until its address accepts connections. The
// child's output goes to logPath.
func startTarget(ctx context.Context, name TargetName, exe string, args []string, addr, dataDir, logPath string) (*target, error) {
	started := time.Now()
	c, err := startChild(exe, args, logPath)
	if err != nil {
		return nil, fmt.Errorf("cannot start the %s: %w", name, err)
	}
	t := &target{name: name, addr: addr, pids: []int{c.cmd.Process.Pid},
		command: append([]string{filepath.Base(exe)}, args...), started: started, child: c}
	if dataDir != "" {
		t.dataDirs = []string{dataDir}
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ready, err := c.awaitPort(ctx, addr)
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("the %s %w", name, err)
	}
	t.readyAfter = ready.Sub(started)
	return t, nil
}

// awaitPort returns the time at which the child accepted a connection. Its
// errors go on after the child's name.
func (c *child) awaitPort(ctx context.Context, addr string) (time.Time, error) {
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return time.Now(), nil
		}
		select {
		case <-poll.C:
		case <-c.exited:
			return time.Time{}, fmt.Errorf("ended before it was ready (%v); its output ends with:\n%s", c.err, c.tail())
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("did not listen on %s in time; its output ends with:\n%s", addr, c.tail())
		}
	}
}

// child is a process that this one started.
type child struct {
	cmd     *exec.Cmd
	logPath string
	exited  chan struct{} // closed when it has ended; err is set before
	err     error
}

func startChild(exe string, args []string, logPath string) (*child, error) {
	return startArgv(Argv{exe, append([]string{exe}, args...)}, logPath, false)
}

// startArgv starts a child whose output goes to a file, anew or behind what is
// there.
func startArgv(argv Argv, logPath string, keep bool) (*child, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if keep {
		flags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	log, err := os.OpenFile(logPath, flags, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv.Exe)
	cmd.Args = argv.Args
	cmd.Stdout, cmd.Stderr = log, log
	// Its own process group: an interrupt at the terminal reaches this process
	// only, which then stops the child in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, logPath: logPath, exited: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

// stop asks the child to end and kills it if it does not.
func (c *child) stop() error {
	c.cmd.Process.Signal(syscall.SIGTERM) // harmless when it has ended
	select {
	case <-c.exited:
		return nil
	case <-time.After(stopTimeout):
		c.cmd.Process.Kill()
		<-c.exited
		return fmt.Errorf("process %d did not stop within %s and was killed", c.cmd.Process.Pid, stopTimeout)
	}
}

// tail is the end of the child's output.
func (c *child) tail() string {
	f, err := os.Open(c.logPath)
	if err != nil {
		return "(no output)"
	}
	defer f.Close()
	const tailBytes = 2048
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		f.Seek(-tailBytes, io.SeekEnd)
	}
	data, _ := io.ReadAll(f)
	return strings.TrimSpace(string(data))
}

// freeAddr finds a free loopback port. Another process could take it before
// the child does; the child then says so and the run fails.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("cannot find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// startBroker starts `exe start` on a free loopback port with an empty data
// directory below tempDir.
func startBroker(ctx context.Context, exe string, overrides []string, tempDir, logPath string) (*target, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	adminAddr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dataDir, err := os.MkdirTemp(tempDir, "broker-")
	if err != nil {
		return nil, fmt.Errorf("cannot make the broker's data directory: %w", err)
	}
	args := []string{"start"}
	settings := []string{
		"listeners=PLAINTEXT://" + addr,
		"advertised.listeners=PLAINTEXT://" + addr,
		"log.dirs=" + dataDir,
		adminListenerKey + "=" + adminAddr,
		"auto.create.topics.enable=false",
		"offsets.topic.num.partitions=1",
		// A deleted topic's memory must be free before the next run starts.
		"log.segment.delete.delay.ms=0",
	}
	for _, setting := range append(settings, overrides...) {
		args = append(args, "--override", setting)
		if own, ok := strings.CutPrefix(setting, adminListenerKey+"="); ok {
			adminAddr = own
		}
	}
	t, err := startTarget(ctx, TargetBroker, exe, args, addr, dataDir, logPath)
	if err != nil {
		return nil, err
	}
	t.adminURLs = []string{"http://" + adminAddr}
	return t, nil
}

// adminListenerKey is the setting of the broker's HTTP server.
const adminListenerKey = "freshet.admin.listener"

// startRaw starts the floor or the null server as a child.
func startRaw(ctx context.Context, name TargetName, exe, tempDir, logPath string) (*target, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	dataDir, err := os.MkdirTemp(tempDir, string(name)+"-")
	if err != nil {
		return nil, fmt.Errorf("cannot make the %s's data directory: %w", name, err)
	}
	args := []string{"bench", string(name), "--addr", addr}
	if name == TargetFloor {
		args = append(args, "--data-dir", dataDir)
	}
	return startTarget(ctx, name, exe, args, addr, dataDir, logPath)
}

// outsideTarget is a broker that runs already. pid is 0 unless it is on this
// machine and the user named it.
func outsideTarget(bootstrap string, pid int) (*target, error) {
	var pids []int
	if pid != 0 {
		if _, err := processCPU(pid); err != nil {
			return nil, err
		}
		pids = []int{pid}
	}
	if _, port, err := net.SplitHostPort(strings.Split(bootstrap, ",")[0]); err != nil || !isPort(port) {
		return nil, fmt.Errorf("--bootstrap-server %q is not host:port", bootstrap)
	}
	return &target{name: TargetBroker, addr: bootstrap, pids: pids}, nil
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 1<<16
}
