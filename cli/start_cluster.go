package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"freshet/storage"
	"freshet/vfs"
)

// localCluster is `freshet start --cluster N`: N combined nodes, each a process
// of this binary, on loopback.
type localCluster struct {
	size      int
	port      int // of the first broker
	dir       string
	overrides []string
	logLevel  string
}

const (
	// maxLocalCluster bounds the brokers of one machine; controllers listen
	// controllerPortGap further on.
	maxLocalCluster   = 9
	controllerPortGap = 1000
	adminPortBase     = 9644
)

// run starts the brokers, passes on their output with the broker's number
// before each line, and returns when all have ended.
func (lc *localCluster) run(out, errOut io.Writer) error {
	if lc.size < 2 || lc.size > maxLocalCluster {
		return failf("--cluster must be between 2 and %d; without it one broker starts", maxLocalCluster)
	}
	dir, err := filepath.Abs(lc.dir) // the properties files work from anywhere
	if err != nil {
		return err
	}
	lc.dir = dir
	if err := lc.format(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot find this binary: %w", err)
	}
	stop := make(chan os.Signal, 3)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(stop)
	// A child gets SIGTERM when the thread that started it ends, that is, with
	// this process: none is left behind.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	lines := &prefixed{out: out}
	ready := make(chan int, lc.size)
	ended := make(chan nodeEnd, lc.size)
	var nodes []*exec.Cmd
	for id := 1; id <= lc.size; id++ {
		cmd, log, err := lc.start(self, id, lines, ready)
		if err != nil {
			signalAll(nodes, syscall.SIGTERM)
			return fmt.Errorf("cannot start broker %d: %w", id, err)
		}
		defer log.Close()
		nodes = append(nodes, cmd)
		go func() {
			_ = cmd.Wait() // the state says it, too
			ended <- nodeEnd{id, howEnded(cmd.ProcessState)}
		}()
	}
	return lc.watch(nodes, ready, ended, stop, lines)
}

// start starts one broker. ready hears when it is; log gets its lines, too.
func (lc *localCluster) start(self string, id int, lines *prefixed, ready chan<- int) (cmd *exec.Cmd, log *os.File, err error) {
	if err := os.WriteFile(lc.propertiesFile(id), lc.properties(id), 0o644); err != nil {
		return nil, nil, err
	}
	if log, err = os.OpenFile(lc.logFile(id), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
		return nil, nil, err
	}
	cmd = exec.Command(self, append([]string{"start", "--log-level", lc.logLevel}, lc.arguments(id)...)...)
	cmd.Args[0] = "freshet"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Stdout = lines.writer(id, log, func(line string) {
		if strings.Contains(line, " is ready after ") {
			ready <- id
		}
	})
	cmd.Stderr = lines.writer(id, log, nil)
	if err := cmd.Start(); err != nil {
		_ = log.Close()
		return nil, nil, err
	}
	return cmd, log, nil
}

// nodeEnd is the end of a broker's process.
type nodeEnd struct {
	id  int
	how string
}

// howEnded says how a process ended.
func howEnded(s *os.ProcessState) string {
	if s == nil {
		return "nobody knows how"
	}
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return fmt.Sprintf("killed by signal %d, %v", ws.Signal(), ws.Signal())
	}
	return fmt.Sprintf("exit code %d", s.ExitCode())
}

// watch waits for the brokers to become ready and to end. The first signal
// stops them, the second makes them hurry, the third kills them.
func (lc *localCluster) watch(nodes []*exec.Cmd, ready chan int, ended chan nodeEnd, stop chan os.Signal, lines *prefixed) error {
	begun := time.Now()
	signals, up := 0, 0
	var failed error
	for left := len(nodes); left > 0; {
		select {
		case <-ready:
			if up++; up == lc.size {
				lines.say(fmt.Sprintf("cluster of %d brokers is ready after %d ms: bootstrap servers %s, data in %s",
					lc.size, time.Since(begun).Milliseconds(), lc.bootstrap(), lc.dir))
			}
		case end := <-ended:
			left--
			switch {
			case signals > 0:
			case up < lc.size:
				failed = failf("broker %d could not start (%s); the lines that begin with \"%d |\" say why, and so does %s. The others are stopped.", end.id, end.how, end.id, lc.logFile(end.id))
				signals = 1
				signalAll(nodes, syscall.SIGTERM)
			default:
				failed = failf("broker %d ended by itself: %s", end.id, end.how)
				lines.say(fmt.Sprintf("broker %d has ended (%s); %d of %d go on. What it said last is in %s. To start it again, in another terminal: freshet start %s",
					end.id, end.how, left, lc.size, lc.logFile(end.id), lc.propertiesFile(end.id)))
			}
		case <-stop:
			signals++
			if signals > 2 {
				signalAll(nodes, syscall.SIGKILL)
			} else {
				signalAll(nodes, syscall.SIGTERM)
			}
		}
	}
	return failed
}

func signalAll(nodes []*exec.Cmd, sig syscall.Signal) {
	for _, n := range nodes {
		if n.ProcessState == nil {
			_ = n.Process.Signal(sig)
		}
	}
}

func (lc *localCluster) nodeDir(id int) string {
	return filepath.Join(lc.dir, fmt.Sprintf("broker%d", id))
}

// propertiesFile is what a broker can be started with by itself, logFile what
// it said in every run.
func (lc *localCluster) propertiesFile(id int) string { return lc.nodeDir(id) + ".properties" }
func (lc *localCluster) logFile(id int) string        { return lc.nodeDir(id) + ".log" }

// format formats the brokers' directories on first use, all for one cluster.
func (lc *localCluster) format() error {
	fsys := vfs.OS{}
	clusterID := ""
	for id := 1; id <= lc.size; id++ {
		meta, ok, err := storage.ReadMetaProperties(fsys, lc.nodeDir(id))
		if err != nil {
			return err
		}
		if ok && clusterID == "" {
			clusterID = meta.ClusterID
		}
	}
	if _, err := os.Stat(lc.nodeDir(lc.size + 1)); err == nil && clusterID != "" {
		return failf("%s holds a cluster of more than %d brokers: give --cluster its size, or another --data", lc.dir, lc.size)
	}
	if clusterID == "" {
		var err error
		if clusterID, err = newClusterID(); err != nil {
			return err
		}
	} else if _, ok, err := storage.ReadMetaProperties(fsys, lc.nodeDir(lc.size)); err == nil && !ok {
		return failf("%s holds a cluster of fewer than %d brokers: give --cluster its size, or another --data", lc.dir, lc.size)
	}
	for id := 1; id <= lc.size; id++ {
		if _, err := storage.FormatLogDir(fsys, lc.nodeDir(id), clusterID, int32(id)); err != nil {
			return err
		}
	}
	return nil
}

// settings are the properties of one broker. What the user overrides comes last
// and wins.
func (lc *localCluster) settings(id int) []string {
	var voters []string
	for i := 1; i <= lc.size; i++ {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i, lc.controllerPort(i)))
	}
	replicas := min(3, lc.size)
	return append([]string{
		fmt.Sprintf("node.id=%d", id),
		"process.roles=broker,controller",
		fmt.Sprintf("listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", lc.port+id-1, lc.controllerPort(id)),
		"controller.listener.names=CONTROLLER",
		"controller.quorum.voters=" + strings.Join(voters, ","),
		"log.dirs=" + lc.nodeDir(id),
		"freshet.auto.format=false",
		fmt.Sprintf("freshet.admin.listener=127.0.0.1:%d", adminPortBase+id-1),
		fmt.Sprintf("default.replication.factor=%d", replicas),
		fmt.Sprintf("min.insync.replicas=%d", max(1, replicas-1)),
		fmt.Sprintf("offsets.topic.replication.factor=%d", replicas),
	}, lc.overrides...)
}

// arguments are settings for the command line, where they stand above the
// environment, which is that of all brokers.
func (lc *localCluster) arguments(id int) (args []string) {
	for _, p := range lc.settings(id) {
		args = append(args, "--override", p)
	}
	return args
}

// properties are settings as a server.properties.
func (lc *localCluster) properties(id int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Broker %d of freshet start --cluster %d, which writes this file anew at each start.\n", id, lc.size)
	for _, p := range lc.settings(id) {
		fmt.Fprintln(&b, strings.ReplaceAll(p, `\`, `\\`))
	}
	return b.Bytes()
}

func (lc *localCluster) controllerPort(id int) int { return lc.port + controllerPortGap + id - 1 }

// bootstrap lists the brokers' addresses.
func (lc *localCluster) bootstrap() string {
	var servers []string
	for id := 1; id <= lc.size; id++ {
		servers = append(servers, fmt.Sprintf("127.0.0.1:%d", lc.port+id-1))
	}
	return strings.Join(servers, ",")
}

// prefixed writes the lines of several processes to one file, each whole and
// with the process's number before it.
type prefixed struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *prefixed) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintln(p.out, line); err != nil {
		slog.Debug("output is lost", "error", err)
	}
}

// writer takes the output of process id, each line of which goes to log, too;
// seen, unless nil, is shown it.
func (p *prefixed) writer(id int, log io.Writer, seen func(string)) io.Writer {
	return &lineWriter{each: func(line string) {
		if seen != nil {
			seen(line)
		}
		_, _ = io.WriteString(log, line+"\n") // a full disk must not stop the output
		p.say(fmt.Sprintf("%d | %s", id, line))
	}}
}

// lineWriter cuts what is written into lines. One goroutine at a time.
type lineWriter struct {
	each    func(string)
	partial []byte
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.partial = append(w.partial, b...)
	for {
		advance, line, _ := bufio.ScanLines(w.partial, false)
		if advance == 0 {
			return len(b), nil
		}
		w.each(string(line))
		w.partial = bytes.Clone(w.partial[advance:])
	}
}
