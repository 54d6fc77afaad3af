package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// NodeSpec is one broker of a cluster to start on this machine. All of them
// are brokers and controllers at once.
type NodeSpec struct {
	ID int32
	// Addr is where clients connect, AdminURL the HTTP server for profiles, ""
	// if there is none.
	Addr, AdminURL string
	DataDir        string
	// Format is run once before the first start: a program and all of its
	// arguments, argv[0] included. Start runs the broker.
	Format, Start Argv
	// LogPath gets its output; every start after the first adds to the file.
	LogPath string
}

// Argv is a program with its arguments, argv[0] first.
type Argv struct {
	Exe  string
	Args []string
}

// Cluster is several brokers of one cluster, started on this machine. It is
// used by one goroutine at a time.
type Cluster struct {
	name  string
	nodes []*clusterNode
	// died is given the reason when a broker ends that was not told to.
	died chan error
}

type clusterNode struct {
	NodeSpec
	mu       sync.Mutex
	child    *child
	expected bool // that the child ends
}

// clusterReadyTimeout is how long a cluster may take from its start until it
// makes topics with a replica on each broker: several JVMs on few cores.
const clusterReadyTimeout = 3 * time.Minute

// StartCluster formats and starts the brokers, all at once, and returns when
// the cluster has registered all of them.
func StartCluster(ctx context.Context, name string, specs []NodeSpec) (*Cluster, error) {
	c := &Cluster{name: name, died: make(chan error, len(specs))}
	ctx, cancel := context.WithTimeout(ctx, clusterReadyTimeout)
	defer cancel()
	for _, spec := range specs {
		if err := spec.Format.run(ctx); err != nil {
			return nil, fmt.Errorf("cannot format broker %d of %s: %w", spec.ID, name, err)
		}
		c.nodes = append(c.nodes, &clusterNode{NodeSpec: spec})
	}
	err := c.startAll(ctx)
	if err == nil {
		err = c.awaitBrokers(ctx, len(specs))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the cluster %s did not start: %w", name, err), c.Stop())
	}
	return c, nil
}

// run runs a program to its end; its last words are part of the error.
func (a Argv) run(ctx context.Context) error {
	if a.Exe == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, a.Exe)
	cmd.Args = a.Args
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, lastWords(string(out)))
	}
	return nil
}

// lastWords are the last line of what a program wrote.
func lastWords(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func (c *Cluster) startAll(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := c.exec(n); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := n.awaitPort(ctx); err != nil {
			return err
		}
	}
	return nil
}

// exec starts a node's process and watches it.
func (c *Cluster) exec(n *clusterNode) error {
	child, err := startArgv(n.Start, n.LogPath, true)
	if err != nil {
		return fmt.Errorf("cannot start broker %d of %s: %w", n.ID, c.name, err)
	}
	n.mu.Lock()
	n.child, n.expected = child, false
	n.mu.Unlock()
	go func() {
		<-child.exited
		n.mu.Lock()
		expected := n.expected
		n.mu.Unlock()
		if !expected {
			select {
			case c.died <- fmt.Errorf("broker %d of %s ended during the run (%v); its output ends with:\n%s", n.ID, c.name, child.err, child.tail()):
			default: // somebody was told already
			}
		}
	}()
	return nil
}

// awaitPort returns when the node accepts connections.
func (n *clusterNode) awaitPort(ctx context.Context) error {
	_, err := n.child.awaitPort(ctx, n.Addr)
	if err != nil {
		return fmt.Errorf("broker %d: %w", n.ID, err)
	}
	return nil
}

// Died is given the reason when a broker ends that was not told to.
func (c *Cluster) Died() <-chan error { return c.died }

// Bootstrap are the brokers' addresses, separated by commas.
func (c *Cluster) Bootstrap() string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.Addr)
	}
	return strings.Join(addrs, ",")
}

// Endpoint is the cluster for a Driver. Its processes are those of now: after
// a restart another one is needed.
func (c *Cluster) Endpoint() Endpoint {
	e := Endpoint{Addr: c.Bootstrap(), PIDs: c.pids()}
	for _, n := range c.nodes {
		e.DataDirs = append(e.DataDirs, n.DataDir)
		if n.AdminURL != "" {
			e.AdminURLs = append(e.AdminURLs, n.AdminURL)
		}
	}
	return e
}

// pids are the processes that run.
func (c *Cluster) pids() []int {
	var pids []int
	for _, n := range c.nodes {
		pids = append(pids, n.child.cmd.Process.Pid)
	}
	return pids
}

// Commands are how the brokers were started.
func (c *Cluster) Commands() [][]string {
	var all [][]string
	for _, n := range c.nodes {
		all = append(all, n.Start.Args)
	}
	return all
}

// node finds a broker by its id, nil if there is none.
func (c *Cluster) node(id int32) *clusterNode {
	for _, n := range c.nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// signal sends a broker a signal that is to end it.
func (n *clusterNode) signal(sig syscall.Signal) error {
	n.mu.Lock()
	n.expected = true
	n.mu.Unlock()
	if err := n.child.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("cannot send %v to broker %d: %w", sig, n.ID, err)
	}
	return nil
}

// awaitExit returns when a broker that was told to end has ended.
func (n *clusterNode) awaitExit(ctx context.Context) error {
	select {
	case <-n.child.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("broker %d did not end: %w", n.ID, context.Cause(ctx))
	}
}

// Stop ends all brokers, at once: their data are of no use to anybody.
func (c *Cluster) Stop() error {
	for _, n := range c.nodes {
		if n.child != nil {
			n.signal(syscall.SIGKILL) // harmless when it has ended
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	for _, n := range c.nodes {
		if n.child != nil {
			errs = append(errs, n.awaitExit(ctx))
		}
		errs = append(errs, os.RemoveAll(n.DataDir))
	}
	return errors.Join(errs...)
}

// client makes a client of the cluster that learns of changes quickly.
func (c *Cluster) client() (*kgo.Client, error) {
	return newClient(c.Bootstrap(), kgo.RetryTimeout(adminTimeout))
}

// clusterPoll is how often the state of a cluster is asked for.
const clusterPoll = 10 * time.Millisecond

// awaitBrokers returns when the cluster lists so many brokers and would place a
// topic on all of them.
func (c *Cluster) awaitBrokers(ctx context.Context, brokers int) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	return await(ctx, clusterPoll, func(ctx context.Context) error {
		listed, err := admin.ListBrokers(ctx)
		if err != nil {
			return err
		}
		if len(listed) < brokers {
			return fmt.Errorf("%d of %d brokers are registered", len(listed), brokers)
		}
		resp, err := admin.ValidateCreateTopics(ctx, 1, int16(brokers), nil, "bench-ready")
		if err == nil {
			err = firstTopicError(resp)
		}
		return err
	})
}

// await asks again and again until there is no error; the last one is part of
// what it returns when the time is over.
func await(ctx context.Context, every time.Duration, ask func(context.Context) error) error {
	poll := time.NewTicker(every)
	defer poll.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, adminTimeout)
		err := ask(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%w, after waiting: %w", context.Cause(ctx), err)
		}
	}
}

// controllerOf is the id of the active controller, -1 if the cluster does not
// tell.
func controllerOf(ctx context.Context, client *kgo.Client) int32 {
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = "__cluster_metadata"
	t.Partitions = append(t.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil || resp.ErrorCode != 0 {
		return -1
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode == 0 {
				return p.LeaderID
			}
		}
	}
	return -1
}
