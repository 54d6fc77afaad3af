//go:build chaos

package chaos

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"freshet/compat/history"
)

// driver is a client in another language: an idempotent producer or a member of a group in a process of its
// own. It prints one line for each thing that happens, with the monotonic clock in nanoseconds:
//
//	i COUNTER PARTITION NS       a write begins
//	o COUNTER OFFSET NS          it was acknowledged
//	f COUNTER NS MESSAGE         the client gave up on it
//	r PARTITION OFFSET VALUE     a record was read
//
// When its input ends, a producer finishes what it began and ends; a consumer ends at once.
type driver struct {
	name   string
	group  string // of a consumer
	number int32  // of a producer
	stdin  io.WriteCloser
	cmd    *exec.Cmd
	exited chan struct{}
}

// startDrivers starts a producer and a consumer of each kind asked for that is installed here.
func (l *load) startDrivers(t *testing.T, dir string, kinds []string) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	compat := filepath.Dir(here)
	for _, kind := range kinds {
		var argv []string
		switch kind {
		case "franz":
			continue
		case "librdkafka":
			argv = []string{filepath.Join(compat, ".cache", "venv", "bin", "python"), filepath.Join(compat, "python", "chaos_client.py")}
			if err := exec.Command(argv[0], "-c", "import confluent_kafka").Run(); err != nil {
				missing(t, "librdkafka: scripts/compat.sh installs confluent-kafka")
				continue
			}
		case "java":
			argv = []string{filepath.Join(compat, "java", "run-class.sh"), "freshet.compat.ChaosClient"}
			if !installed("java") || !installed("mvn") {
				missing(t, "java: apt-get install openjdk-17-jdk-headless maven")
				continue
			}
		default:
			t.Fatalf("there is no client %q: use franz, librdkafka, java", kind)
		}
		bootstrap := strings.Join(l.cluster.seeds(), ",")
		number := l.history.AddProducer(true)
		l.startDriver(t, dir, &driver{name: kind + "-producer", number: number}, append(argv, "produce", bootstrap, topic,
			fmt.Sprint(l.cluster.partitions), fmt.Sprint(number)))
		l.startDriver(t, dir, &driver{name: kind + "-consumer", group: kind}, append(argv, "consume", bootstrap, topic, "chaos-"+kind))
	}
}

// missing passes a client over, but not where everything has to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI=true and a client is missing: %s", what)
	}
	fmt.Println("chaos: a client is passed over, it is not installed:", what)
}

func (l *load) startDriver(t *testing.T, dir string, d *driver, argv []string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, d.name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Stderr = log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("cannot start %s: %v", d.name, err)
	}
	d.exited = make(chan struct{})
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.exited
	})
	l.drivers = append(l.drivers, d)
	go func() {
		defer close(d.exited)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if err := l.line(d, lines.Text()); err != nil {
				l.problem("%s: line %.80q: %v", d.name, lines.Text(), err)
			}
		}
		_ = d.cmd.Wait()
	}()
}

// line takes note of what a driver says.
func (l *load) line(d *driver, text string) error {
	words := strings.SplitN(text, " ", 4)
	if len(words) < 4 {
		return fmt.Errorf("%d words", len(words))
	}
	a, err := strconv.ParseInt(words[1], 10, 64)
	if err != nil {
		return err
	}
	b, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return err
	}
	id := history.ID{Producer: d.number, Counter: a}
	if words[0] == "r" {
		got, ok := chaosID([]byte(words[3]))
		if !ok {
			return fmt.Errorf("nobody sent that value")
		}
		l.read(d.group, history.Read{Partition: int32(a), Offset: b, ID: got})
		return nil
	}
	if words[0] == "f" {
		l.problem("%s gave up on record %d: %s", d.name, a, words[3])
		return nil
	}
	at, err := strconv.ParseInt(words[3], 10, 64)
	if err != nil {
		return err
	}
	switch words[0] {
	case "i":
		if got := l.history.Invoke(d.number, int32(b), at); got != id {
			return fmt.Errorf("that is record %d", got.Counter)
		}
	case "o":
		l.history.OK(id, b, at)
	default:
		return fmt.Errorf("unknown")
	}
	return nil
}

// finish waits until a producer has finished; consumers go on.
func (d *driver) finish(limit time.Duration) error {
	if d.group != "" {
		return nil
	}
	_ = d.stdin.Close()
	select {
	case <-d.exited:
	case <-time.After(limit):
		return fmt.Errorf("%s does not finish within %s of healing", d.name, limit)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %s", d.name, d.cmd.ProcessState)
	}
	return nil
}

// end ends a consumer.
func (d *driver) end() {
	_ = d.stdin.Close()
	select {
	case <-d.exited:
	case <-time.After(10 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.exited
	}
}
