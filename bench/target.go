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
	// pid is 0 when the server is not a known process of this machine; CPU and
	// memory are then not measured.
	pid int
	// dataDir is where a child keeps its logs, "" if unknown.
	dataDir string
	// command is how a child was started.
	command []string
	// readyAfter is the time from exec to the first accepted connection.
	readyAfter time.Duration
	started    time.Time // when it was executed
	child      *child
	// adminURL is the broker's HTTP server for profiles, "" if unknown.
	adminURL string
	// profiler takes profiles of the measured parts; nil takes none.
	profiler *profiler
}

// stop ends a child and removes its data; an outside broker is left alone.
func (t *target) stop() error {
	if t.child == nil {
		return nil
	}
	err := t.child.stop()
	if t.dataDir != "" {
		err = errors.Join(err, os.RemoveAll(t.dataDir))
	}
	return err
}

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
	t := &target{name: name, addr: addr, pid: c.cmd.Process.Pid, dataDir: dataDir,
		command: append([]string{filepath.Base(exe)}, args...), started: started, child: c}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			t.readyAfter = time.Since(started)
			return t, nil
		}
		select {
		case <-poll.C:
		case <-c.exited:
			return nil, fmt.Errorf("the %s ended before it was ready (%v); its output ends with:\n%s", name, c.err, c.tail())
		case <-ctx.Done():
			c.stop()
			return nil, fmt.Errorf("the %s did not listen on %s within %s; its output ends with:\n%s", name, addr, readyTimeout, c.tail())
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
	log, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(exe, args...)
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
	t.adminURL = "http://" + adminAddr
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
	if pid != 0 {
		if _, err := processCPU(pid); err != nil {
			return nil, err
		}
	}
	if _, port, err := net.SplitHostPort(strings.Split(bootstrap, ",")[0]); err != nil || !isPort(port) {
		return nil, fmt.Errorf("--bootstrap-server %q is not host:port", bootstrap)
	}
	return &target{name: TargetBroker, addr: bootstrap, pid: pid}, nil
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n > 0 && n < 1<<16
}
