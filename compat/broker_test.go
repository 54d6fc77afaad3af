//go:build compat || crash

package compat

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	targetFreshet = "freshet"
	targetKafka   = "kafka"

	readyTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
)

// target says which broker the cases drive: targetFreshet, or targetKafka to verify the cases
// themselves on the original.
func target() string {
	if t := os.Getenv("FRESHET_COMPAT_TARGET"); t != "" {
		return t
	}
	return targetFreshet
}

// moduleRoot is the top folder of this tree, found from where this file was compiled.
func moduleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	if !filepath.IsAbs(file) { // -trimpath: tests run in their package's folder
		dir, err := os.Getwd()
		if err != nil {
			panic("FATAL: cannot tell the working directory: " + err.Error())
		}
		return filepath.Dir(dir)
	}
	return filepath.Dir(filepath.Dir(file))
}

// freshetBinary is the binary under test.
func freshetBinary() (string, error) {
	bin := os.Getenv("FRESHET_BIN")
	if bin == "" {
		bin = filepath.Join(moduleRoot(), "bin", "freshet")
	}
	if info, err := os.Stat(bin); err != nil || info.IsDir() {
		return "", fmt.Errorf("there is no binary at %s: run 'make build', or set FRESHET_BIN", bin)
	}
	return bin, nil
}

// brokerOptions says how to start one broker. The zero value is a broker with Kafka's defaults on a
// free loopback port and a data directory of its own.
type brokerOptions struct {
	dataDir   string            // default: a new temporary directory
	port      int               // default: a free port
	overrides map[string]string // Kafka property names
	command   []string          // put in front of the broker's command line, such as a resource limit
	target    string            // default: target()
}

// broker is one running broker process. Its methods are for the test's goroutine.
type broker struct {
	target  string
	addr    string // 127.0.0.1:port
	dataDir string // log.dirs
	logPath string
	opts    brokerOptions
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process has been waited for
}

// startBroker starts a broker and returns when it answers ApiVersions. It is stopped, and a clean exit
// is asked of it, when the test ends; a test that kills it itself calls kill.
func startBroker(t testing.TB, opts brokerOptions) *broker {
	t.Helper()
	b, err := launchBroker(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.waitReady(readyTimeout); err != nil {
		b.kill()
		t.Fatalf("%v\n%s", err, b.logTail(40))
	}
	t.Cleanup(func() {
		if b.running() {
			b.stop(t)
		}
		b.checkLog(t)
	})
	return b
}

// launchBroker starts the process and does not wait for it to listen.
func launchBroker(t testing.TB, opts brokerOptions) (*broker, error) {
	t.Helper()
	if opts.target == "" {
		opts.target = target()
	}
	if opts.dataDir == "" {
		opts.dataDir = filepath.Join(tempDir(t), "data")
	}
	if opts.port == 0 {
		opts.port = freePort(t)
	}
	b := &broker{
		target:  opts.target,
		addr:    fmt.Sprintf("127.0.0.1:%d", opts.port),
		dataDir: opts.dataDir,
		logPath: filepath.Join(tempDir(t), "broker.log"),
		opts:    opts,
	}
	return b, b.launch()
}

func (b *broker) launch() error {
	var argv []string
	var err error
	switch b.target {
	case targetFreshet:
		argv, err = b.freshetCommand()
	case targetKafka:
		argv, err = b.kafkaCommand()
	default:
		err = fmt.Errorf("FRESHET_COMPAT_TARGET is %q: it must be freshet or kafka", b.target)
	}
	if err != nil {
		return err
	}
	argv = append(append([]string{}, b.opts.command...), argv...)
	logFile, err := os.OpenFile(b.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer logFile.Close()
	b.cmd = exec.Command(argv[0], argv[1:]...)
	b.cmd.Stdout, b.cmd.Stderr = logFile, logFile
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if b.target == targetKafka {
		b.cmd.Env = append(os.Environ(), kafkaBrokerEnv()...)
	}
	// Pdeathsig is tied to the thread that forks: without the lock an idle Go thread that ends would
	// take the broker with it.
	started := make(chan error)
	b.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(exited)
	}(b.cmd, b.exited)
	if err := <-started; err != nil {
		return fmt.Errorf("cannot start %s: %w", argv[0], err)
	}
	return nil
}

// properties are what every broker of these tests is started with, before a case's own.
func (b *broker) properties() map[string]string {
	p := map[string]string{
		"listeners":                        "PLAINTEXT://" + b.addr,
		"advertised.listeners":             "PLAINTEXT://" + b.addr,
		"log.dirs":                         b.dataDir,
		"node.id":                          "1",
		"group.initial.rebalance.delay.ms": "100",
	}
	for k, v := range b.opts.overrides {
		p[k] = v
	}
	return p
}

func (b *broker) freshetCommand() ([]string, error) {
	bin, err := freshetBinary()
	if err != nil {
		return nil, err
	}
	argv := []string{bin, "start", "--override", "freshet.admin.listener=127.0.0.1:0"}
	for _, k := range sortedKeys(b.properties()) {
		argv = append(argv, "--override", k+"="+b.properties()[k])
	}
	return argv, nil
}

func (b *broker) waitReady(timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := pingBroker(b.addr)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the broker at %s answered no ApiVersions within %s: %w", b.addr, timeout, err)
		}
		select {
		case <-b.exited:
			return fmt.Errorf("the broker exited before it was ready: %s", b.cmd.ProcessState)
		case <-tick.C:
		}
	}
}

// pingBroker sends one ApiVersions request over a connection of its own.
func pingBroker(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 0
	frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("compat")).AppendRequest(nil, req, 1)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(frame); err != nil {
		return err
	}
	_, err = readFrame(conn)
	return err
}

// readFrame reads one length-prefixed answer and returns it without the length.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 256<<20 {
		return nil, fmt.Errorf("the answer claims %d bytes", n)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

func (b *broker) running() bool {
	select {
	case <-b.exited:
		return false
	default:
		return true
	}
}

func (b *broker) pid() int { return b.cmd.Process.Pid }

// kill ends the process with SIGKILL, as a crash would, and waits until it is gone.
func (b *broker) kill() {
	_ = b.cmd.Process.Kill()
	<-b.exited
}

// stop sends SIGTERM and fails the test unless the broker ends in time and cleanly.
func (b *broker) stop(t testing.TB) {
	t.Helper()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(stopTimeout):
		b.kill()
		t.Errorf("the broker did not stop within %s of SIGTERM\n%s", stopTimeout, b.logTail(40))
		return
	}
	want := 0
	if b.target == targetKafka {
		want = 143 // a JVM whose shutdown hooks ran after SIGTERM
	}
	if got := b.cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("the broker ended with %s after SIGTERM, not with exit code %d\n%s",
			b.cmd.ProcessState, want, b.logTail(40))
	}
}

// restart starts a stopped or killed broker again on the same port and data, and waits until it
// answers.
func (b *broker) restart(t testing.TB) {
	t.Helper()
	if err := b.launch(); err != nil {
		t.Fatal(err)
	}
	if err := b.waitReady(readyTimeout); err != nil {
		t.Fatalf("after a restart: %v\n%s", err, b.logTail(40))
	}
}

// checkLog fails the test when the broker reported a defect of its own.
func (b *broker) checkLog(t testing.TB) {
	t.Helper()
	if b.target != targetFreshet {
		return
	}
	text, _ := os.ReadFile(b.logPath)
	for _, mark := range []string{"panic:", "BUG:", "goroutine 1 [", "DATA RACE"} {
		if bytes.Contains(text, []byte(mark)) {
			t.Errorf("the broker's log contains %q\n%s", mark, b.logTail(60))
			return
		}
	}
}

func (b *broker) logText() string {
	text, _ := os.ReadFile(b.logPath)
	return string(text)
}

// logTail is the end of the broker's output, for failure messages.
func (b *broker) logTail(lines int) string {
	all := strings.Split(strings.TrimRight(b.logText(), "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "the broker's last output:\n  " + strings.Join(all, "\n  ")
}

// freePort asks the kernel for a loopback port nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// tempDir is a directory that is removed when the test ends well, and kept when it failed or when
// FRESHET_COMPAT_KEEP is set: the data a failure left behind is evidence.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "freshet-compat-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("FRESHET_COMPAT_KEEP") != "" {
			t.Logf("kept: %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// eventually polls until ok holds, and fails the test with what it was waiting for.
func eventually(t testing.TB, timeout time.Duration, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(timeout)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("within %s this did not come about: %s", timeout, what)
		case <-tick.C:
		}
	}
}

// output is what a finished command left.
type output struct {
	stdout, stderr string
	code           int
}

func (o output) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", o.code, clip(o.stdout), clip(o.stderr))
}

func clip(s string) string {
	if len(s) > 4000 {
		return s[:2000] + "\n  …\n" + s[len(s)-2000:]
	}
	return s
}

// command is one run of a tool or a driver.
type command struct {
	argv    []string
	stdin   io.Reader
	env     []string // added to the environment
	dir     string
	timeout time.Duration // default two minutes
}

// run executes a command to its end. A time-out or a command that cannot start is an error; a non-zero
// exit code is not.
func (c command) run() (output, error) {
	if c.timeout == 0 {
		c.timeout = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Stdin, cmd.Dir, cmd.Env = c.stdin, c.dir, append(os.Environ(), c.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	out := output{stdout: stdout.String(), stderr: stderr.String(), code: -1}
	if cmd.ProcessState != nil {
		out.code = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return out, fmt.Errorf("%s did not end within %s", strings.Join(c.argv, " "), c.timeout)
	}
	if err != nil && !errors.As(err, &exit) {
		return out, fmt.Errorf("cannot run %s: %w", c.argv[0], err)
	}
	return out, nil
}

// mustRun runs a command that has to succeed.
func mustRun(t testing.TB, c command) output {
	t.Helper()
	out, err := c.run()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out.code != 0 {
		t.Fatalf("%s\n%s", strings.Join(c.argv, " "), out)
	}
	return out
}
