//go:build chaos

package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// network gives each node an address, and cuts links between nodes. Clients reach every node at all times.
//
// With namespaces, each node has one with a veth to a bridge, on which the harness and its clients have an
// address too. A cut drops packets without a word, as a broken switch does: established connections hang
// and new ones are not refused. That is done by a rule of nftables where the packets arrive, or, where nft
// is not installed, by a neighbour entry with the address of nobody where they leave.
type network struct {
	namespaces bool
	nft        bool
	prefix     string // of interfaces and namespaces
	subnet     string // "10.77.3."
	nodes      int
}

// run executes a command of the system and reports its output with a failure.
func run(argv ...string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// newNetwork sets the network up; it is taken down when the test ends.
func newNetwork(t *testing.T, nodes int) *network {
	t.Helper()
	pid := os.Getpid()
	n := &network{nodes: nodes, prefix: fmt.Sprintf("fc%d", pid%100_000), subnet: fmt.Sprintf("127.%d.%d.", 70+pid/250%50, pid%250)}
	if os.Geteuid() != 0 || !installed("ip") {
		fmt.Println("chaos: partitions are passed over: network namespaces need root and iproute2")
		return n
	}
	n.namespaces, n.nft = true, installed("nft")
	n.subnet = fmt.Sprintf("10.%d.%d.", 70+pid/250%50, pid%250)
	t.Cleanup(n.down)
	bridge := n.prefix + "b"
	steps := [][]string{
		{"ip", "link", "add", bridge, "type", "bridge"},
		{"ip", "addr", "add", n.subnet + "1/24", "dev", bridge},
		{"ip", "link", "set", bridge, "up"},
	}
	for i := range nodes {
		ns, host := n.namespace(i), fmt.Sprintf("%sh%d", n.prefix, i+1)
		steps = append(steps,
			[]string{"ip", "netns", "add", ns},
			[]string{"ip", "link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", ns},
			[]string{"ip", "link", "set", host, "master", bridge},
			[]string{"ip", "link", "set", host, "up"},
			[]string{"ip", "-n", ns, "addr", "add", n.address(i) + "/24", "dev", "eth0"},
			[]string{"ip", "-n", ns, "link", "set", "eth0", "up"},
			[]string{"ip", "-n", ns, "link", "set", "lo", "up"},
		)
	}
	for _, argv := range steps {
		if err := run(argv...); err != nil {
			t.Fatalf("cannot set up the network: %v", err)
		}
	}
	return n
}

func (n *network) down() {
	for i := range n.nodes {
		_ = run("ip", "netns", "del", n.namespace(i)) // takes the veth with it
	}
	_ = run("ip", "link", "del", n.prefix+"b")
}

func (n *network) namespace(node int) string { return fmt.Sprintf("freshet-%s-%d", n.prefix, node+1) }

// address is a node's; the harness has the one that ends in 1.
func (n *network) address(node int) string { return fmt.Sprintf("%s%d", n.subnet, 11+node) }

// cut lets nothing that from sends reach to.
func (n *network) cut(from, to int) error { return n.drop(from, to, "") }

// lose drops a share of what from sends to to; it needs nft.
func (n *network) lose(from, to, percent int) error {
	return n.drop(from, to, fmt.Sprintf("numgen random mod 100 < %d ", percent))
}

func (n *network) drop(from, to int, condition string) error {
	if !n.nft {
		return run("ip", "-n", n.namespace(from), "neigh", "replace", n.address(to), "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent")
	}
	rules := fmt.Sprintf("add table inet chaos\nadd chain inet chaos in { type filter hook input priority 0; }\nadd rule inet chaos in ip saddr %s %sdrop\n",
		n.address(from), condition)
	cmd := exec.Command("ip", "netns", "exec", n.namespace(to), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// heal mends every link.
func (n *network) heal() {
	if !n.namespaces {
		return
	}
	for i := range n.nodes {
		if n.nft {
			_ = run("ip", "netns", "exec", n.namespace(i), "nft", "delete", "table", "inet", "chaos")
			continue
		}
		for j := range n.nodes {
			_ = run("ip", "-n", n.namespace(i), "neigh", "del", n.address(j), "dev", "eth0")
		}
	}
}

// start starts cmd as a process of a node. The goroutine that does so keeps its thread in the namespace and
// to itself until the process ends: Pdeathsig is about the thread that forks.
func (n *network) start(node int, cmd *exec.Cmd) (exited chan struct{}, err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	exited = make(chan struct{})
	go func() {
		defer close(exited)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := n.enter(node)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", cmd.Path, err)
	}
	return exited, nil
}

// enter moves the calling thread into a node's namespace.
func (n *network) enter(node int) error {
	if !n.namespaces {
		return nil
	}
	f, err := os.Open("/var/run/netns/" + n.namespace(node))
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}
