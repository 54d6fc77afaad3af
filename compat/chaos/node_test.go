//go:build chaos

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

const (
	clientPort     = 9092
	controllerPort = 9093
	// clusterID is a base64 UUID, the same for every run.
	clusterID   = "Y2hhb3NvZmZyZXNoZXRfMQ"
	stopTimeout = 60 * time.Second
)

// node is one broker of the cluster, which is a controller too. Its methods are for the test's goroutine.
type node struct {
	index   int // from 0
	id      int // node.id
	subject subject
	net     *network
	disk    *disk
	dir     string // of its configuration and log
	cmd     *exec.Cmd
	exited  chan struct{}
	started int // times
}

// subject is the kind of broker under test.
type subject struct {
	name   string
	binary string // freshet, or run-class.sh
}

const (
	subjectFreshet = "freshet"
	subjectKafka   = "kafka"
)

func (n *node) addr() string    { return fmt.Sprintf("%s:%d", n.net.address(n.index), clientPort) }
func (n *node) dataDir() string { return filepath.Join(n.disk.path, "data") }
func (n *node) logPath() string { return filepath.Join(n.dir, fmt.Sprintf("node-%d.log", n.id)) }
func (n *node) config() string  { return filepath.Join(n.dir, fmt.Sprintf("node-%d.properties", n.id)) }
func (n *node) String() string  { return fmt.Sprintf("node %d", n.id) }

// format writes the configuration and formats the log directory.
func (n *node) format(properties map[string]string) error {
	var text strings.Builder
	for _, k := range sortedKeys(properties) {
		if n.subject.name == subjectFreshet || !strings.HasPrefix(k, "freshet.") {
			fmt.Fprintf(&text, "%s=%s\n", k, properties[k])
		}
	}
	if err := os.WriteFile(n.config(), []byte(text.String()), 0o644); err != nil {
		return err
	}
	cmd := exec.Command(n.subject.binary)
	cmd.Args = []string{"kafka-storage.sh", "format", "-t", clusterID, "-c", n.config()} // the binary goes by its name
	if n.subject.name == subjectKafka {
		cmd.Args = []string{n.subject.binary, "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", n.config()}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot format the log directory of %s: %w: %s", n, err, out)
	}
	return nil
}

// start starts the process; it does not wait for it to serve.
func (n *node) start() error {
	log, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	n.started++
	fmt.Fprintf(log, "==== start %d of %s at %s\n", n.started, n, time.Now().Format(time.RFC3339Nano))
	n.cmd = exec.Command(n.subject.binary, "start", n.config())
	if n.subject.name == subjectKafka {
		n.cmd = exec.Command(n.subject.binary, "kafka.Kafka", n.config())
		n.cmd.Env = append(os.Environ(), "KAFKA_HEAP_OPTS=-Xmx384m -Xms256m", "KAFKA_OPTS=-Dkafka.log.level=INFO")
	}
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.exited, err = n.net.start(n.index, n.cmd)
	return err
}

func (n *node) running() bool {
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

func (n *node) signal(s syscall.Signal) { _ = n.cmd.Process.Signal(s) }

// kill ends the process with SIGKILL and waits until it is gone.
func (n *node) kill() {
	if n.exited == nil {
		return
	}
	n.signal(syscall.SIGKILL)
	<-n.exited
}

// stop asks the process to stop and says what was wrong with how it did.
func (n *node) stop() error {
	if !n.running() {
		return fmt.Errorf("%s is not running: %s", n, n.tail(10))
	}
	n.signal(syscall.SIGTERM)
	select {
	case <-n.exited:
	case <-time.After(stopTimeout):
		n.kill()
		return fmt.Errorf("%s did not stop within %s of SIGTERM: %s", n, stopTimeout, n.tail(10))
	}
	want := 0
	if n.subject.name == subjectKafka {
		want = 143 // a JVM whose shutdown hooks ran
	}
	if got := n.cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("%s ended with %s after SIGTERM: %s", n, n.cmd.ProcessState, n.tail(10))
	}
	return nil
}

// defect is the first line of the log in which the broker says that it is wrong itself.
func (n *node) defect() string {
	if n.subject.name != subjectFreshet {
		return ""
	}
	text, _ := os.ReadFile(n.logPath())
	for line := range strings.Lines(string(text)) {
		for _, mark := range []string{"panic:", "BUG:", "goroutine 1 [", "DATA RACE"} {
			if strings.Contains(line, mark) {
				return fmt.Sprintf("the log of %s: %s", n, strings.TrimSpace(line))
			}
		}
	}
	return ""
}

// tail is the end of the log.
func (n *node) tail(lines int) string {
	text, _ := os.ReadFile(n.logPath())
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "its last output:\n  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
