//go:build compat

package compat

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// smallCluster is three combined nodes and a broker, 4, as processes on loopback. Nodes are indexed by
// id.
type smallCluster struct {
	id          string
	controllers [4]int // ports
	nodes       [5]*broker
}

const brokerOnly = 4

// TestClusterMistakes brings a cluster into the states that an operator's mistake or a lost disk leaves
// behind. Each is refused or endured, with a sentence that names it, and ends when its cause does.
func TestClusterMistakes(t *testing.T) {
	if target() == targetKafka {
		return // these sentences are Freshet's own
	}
	c := &smallCluster{id: newClusterID(t)}
	for id := 1; id <= 3; id++ {
		c.controllers[id] = freePort(t)
	}
	for id := 1; id <= brokerOnly; id++ {
		c.nodes[id] = c.launch(t, id, brokerOptions{})
	}
	for id := 1; id <= brokerOnly; id++ {
		if err := c.nodes[id].waitReady(readyTimeout); err != nil {
			t.Fatalf("node %d: %v\n%s", id, err, c.nodes[id].logTail(40))
		}
	}
	check(t, "cluster", "another cluster's id", c.anotherClustersID)
	check(t, "cluster", "a node id twice", c.nodeIDTwice)
	check(t, "cluster", "a copied directory", c.copiedDirectory)
	check(t, "cluster", "lost metadata", c.lostMetadata)
	check(t, "cluster", "lost partitions", c.lostPartitions)
	if os.Geteuid() == 0 {
		check(t, "cluster", "a follower's full disk", c.fullDisk)
	}
	check(t, "cluster", "no majority of controllers", c.noMajority)
}

func newClusterID(t *testing.T) string {
	t.Helper()
	bin, err := freshetBinary()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(mustRun(t, command{argv: []string{bin, "storage", "random-uuid"}}).stdout)
}

// launch starts the node without waiting. Its options add to what makes it a node of the cluster.
func (c *smallCluster) launch(t *testing.T, id int, opts brokerOptions) *broker {
	t.Helper()
	if opts.port == 0 {
		opts.port = freePort(t)
	}
	var voters []string
	for i := 1; i <= 3; i++ {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i, c.controllers[i]))
	}
	p := map[string]string{
		"node.id": fmt.Sprint(id), "process.roles": "broker", "controller.quorum.voters": strings.Join(voters, ","),
		"controller.listener.names": "CONTROLLER", "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"default.replication.factor": "3", "min.insync.replicas": "2",
	}
	if id <= 3 {
		p["process.roles"] = "broker,controller"
		p["listeners"] = fmt.Sprintf("PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d", opts.port, c.controllers[id])
	}
	for k, v := range opts.overrides {
		p[k] = v
	}
	opts.overrides = p
	if opts.command == nil {
		opts.command = []string{"env", "CLUSTER_ID=" + c.id}
	}
	b, err := launchBroker(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if b.running() {
			b.kill()
		}
		b.checkLog(t)
	})
	return b
}

// impatient gives a broker that is refused little time until it ends.
func impatient() map[string]string {
	return map[string]string{"initial.broker.registration.timeout.ms": "3000"}
}

// refused waits for a process that must not join to end by itself, having said each of words.
func refused(t *testing.T, b *broker, words ...string) {
	t.Helper()
	select {
	case <-b.exited:
	case <-time.After(readyTimeout):
		t.Fatalf("it does not end\n%s", b.logTail(20))
	}
	if b.cmd.ProcessState.ExitCode() == 0 {
		t.Error("exit code 0")
	}
	for _, w := range words {
		if !strings.Contains(b.logText(), w) {
			t.Errorf("it does not say %q\n%s", w, b.logTail(20))
		}
	}
}

// health waits until `freshet cluster health` ends with the code and says each of words.
func (c *smallCluster) health(t *testing.T, code int, words ...string) {
	t.Helper()
	bin, err := freshetBinary()
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	for _, b := range c.nodes[1:] {
		addrs = append(addrs, b.addr)
	}
	var out output
	eventually(t, readyTimeout, fmt.Sprintf("cluster health of %d with %q", code, words), func() bool {
		out, err = command{argv: []string{bin, "cluster", "health", "-b", strings.Join(addrs, ",")}}.run()
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(out.stdout), " ") // without the line breaks
		for _, w := range words {
			if !strings.Contains(text, w) {
				return false
			}
		}
		// How full the disk of this machine is, is not the cluster's doing.
		low := strings.Count(text, "The disk of") > 0 && strings.Count(text, "The disk of") == strings.Count(text, " do: ")
		return out.code == code || code == 0 && low
	})
}

// create makes a topic of one partition on brokers, the first of which leads.
func (c *smallCluster) create(t *testing.T, topic, replicas string) {
	t.Helper()
	mustRun(t, command{argv: []string{toolPath(t, "kafka-topics.sh"), "--bootstrap-server", c.nodes[2].addr, "--create", "--topic", topic,
		"--replica-assignment", replicas}})
}

func toolPath(t *testing.T, name string) string {
	t.Helper()
	bin, err := freshetBinary()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(filepath.Dir(bin), name)
}

func (c *smallCluster) anotherClustersID(t *testing.T) {
	stranger := c.launch(t, 5, brokerOptions{command: []string{"env", "CLUSTER_ID=" + newClusterID(t)}, overrides: impatient()})
	refused(t, stranger, "belongs to cluster "+c.id, "could not register with the controllers")
	expect(t, c.nodes[1].logText()+c.nodes[2].logText()+c.nodes[3].logText(), `connection refused.*node 5 at .* belongs to cluster`)
	c.health(t, 0)
}

func (c *smallCluster) nodeIDTwice(t *testing.T) {
	port := freePort(t)
	elsewhere := fmt.Sprintf("PLAINTEXT://127.0.0.2:%d", port)
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		elsewhere = fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", port)
	} else {
		l.Close()
	}
	overrides := impatient()
	overrides["listeners"], overrides["advertised.listeners"] = elsewhere, elsewhere
	second := c.launch(t, brokerOnly, brokerOptions{port: port, overrides: overrides})
	refused(t, second, "node.id 4 is used twice")
	if !c.nodes[brokerOnly].running() {
		t.Error("the first broker 4 has ended")
	}
	c.health(t, 0)
}

// copiedDirectory starts a second process on a copy of the broker's directory, with its node id and
// directory id.
func (c *smallCluster) copiedDirectory(t *testing.T) {
	b := c.nodes[brokerOnly]
	b.stop(t)
	dir := filepath.Join(tempDir(t), "copy")
	if err := os.CopyFS(dir, os.DirFS(b.dataDir)); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	c.health(t, 0)
	second := c.launch(t, brokerOnly, brokerOptions{dataDir: dir, overrides: impatient()})
	refused(t, second, "node.id 4 runs twice with directory id", "its directories were copied: stop one of the two")
	if !b.running() {
		t.Error("the first broker 4 has ended")
	}
	if strings.Contains(b.logText(), "the controller has fenced this broker") {
		t.Errorf("the first broker 4 was disturbed\n%s", b.logTail(20))
	}
	c.health(t, 0)
}

// lostMetadata takes the metadata of the broker away while it is down.
func (c *smallCluster) lostMetadata(t *testing.T) {
	b := c.nodes[brokerOnly]
	c.create(t, "held", "4:1")
	b.stop(t)
	metadata := filepath.Join(b.dataDir, "__freshet_metadata")
	away := filepath.Join(tempDir(t), "metadata")
	if err := os.Rename(metadata, away); err != nil {
		t.Fatal(err)
	}
	if err := b.launch(); err != nil {
		t.Fatal(err)
	}
	refused(t, b, "metadata.db is missing", "nothing was changed")
	if _, err := os.Stat(filepath.Join(b.dataDir, "held-0", "00000000000000000000.log")); err != nil {
		t.Errorf("the partition was touched: %v", err)
	}
	c.health(t, 2, "Partition held-0: 1 of the 2 in-sync replicas", "Broker 4 ("+b.addr+") is registered, but its heartbeats have stopped.", "start broker 4")
	_ = os.RemoveAll(metadata)
	if err := os.Rename(away, metadata); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	c.health(t, 0)
}

// lostPartitions takes the files of a partition from the last broker in sync. It must not lead with
// nothing while another has every record.
func (c *smallCluster) lostPartitions(t *testing.T) {
	const records = 20
	b, other := c.nodes[brokerOnly], c.nodes[1]
	c.create(t, "kept", "4:1")
	mustRun(t, command{argv: []string{toolPath(t, "kafka-console-producer.sh"), "--bootstrap-server", b.addr, "--topic", "kept"},
		stdin: strings.NewReader(lines("record ", records))})
	other.stop(t)
	c.health(t, 2, "1 of the 2 in-sync replicas")
	b.stop(t)
	if err := os.Rename(filepath.Join(b.dataDir, "kept-0"), filepath.Join(tempDir(t), "kept-0")); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	expect(t, b.logText(), `partitions that this broker had are in none of its log directories.*kept-0`)
	c.health(t, 2, "no leader. Only broker 1 had all records", "nothing is lost if broker 1 comes back", "start broker 1")
	other.restart(t)
	c.health(t, 0)
	offsets := mustRun(t, command{argv: []string{toolPath(t, "kafka-get-offsets.sh"), "--bootstrap-server", b.addr, "--topic", "kept"}})
	expect(t, offsets.stdout, fmt.Sprintf(`^kept:0:%d$`, records))
}

// fullDisk fills the disk of a broker that follows. The others go on, and it comes back by itself when
// there is room.
func (c *smallCluster) fullDisk(t *testing.T) {
	dir := mountTmpfs(t)
	b := c.launch(t, 6, brokerOptions{dataDir: filepath.Join(dir, "data")})
	if err := b.waitReady(readyTimeout); err != nil {
		t.Fatalf("%v\n%s", err, b.logTail(40))
	}
	c.create(t, "wide", "2:3:6")
	c.health(t, 0)
	ballast := filepath.Join(dir, "ballast")
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	// Nothing is left, nor for the metadata, which is on the same disk.
	if err := os.WriteFile(ballast, make([]byte, int64(fs.Bfree+1)*fs.Bsize), 0o644); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	c.health(t, 2, "Broker 6 ("+b.addr+") runs, but leads nothing and follows nobody while the disk of "+b.dataDir+" is full.",
		"make room on the disk of broker 6", "under-replicated. Broker 6 is fenced.")
	expect(t, b.logText(), `log directory is full: others lead this broker's partitions until there is room; make space`)
	mustRun(t, command{argv: []string{toolPath(t, "kafka-console-producer.sh"), "--bootstrap-server", c.nodes[2].addr, "--topic", "wide"},
		stdin: strings.NewReader(lines("record ", 20))})
	if !b.running() {
		t.Errorf("a full disk has ended the broker\n%s", b.logTail(40))
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	c.health(t, 0)
	mustRun(t, command{argv: []string{toolPath(t, "kafka-topics.sh"), "--bootstrap-server", c.nodes[2].addr, "--delete", "--topic", "wide"}})
	b.stop(t)
	mustRun(t, command{argv: []string{toolPath(t, "kafka-cluster.sh"), "unregister", "--bootstrap-server", c.nodes[2].addr, "--id", "6"}})
	c.health(t, 0)
}

// noMajority kills two of three controllers.
func (c *smallCluster) noMajority(t *testing.T) {
	c.nodes[2].kill()
	c.nodes[3].kill()
	c.health(t, 2, "No controller is active: nothing can be created or changed", "start controllers until more than half of the voters run")
	eventually(t, readyTimeout, "the sentence in the log of node 1", func() bool {
		return strings.Contains(c.nodes[1].logText(), "there is no active controller: a majority of the controllers")
	})
	for _, id := range []int{2, 3} {
		if err := c.nodes[id].launch(); err != nil {
			t.Fatal(err)
		}
	}
	c.health(t, 0)
}
