package quorum

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"freshet/metadata"
)

// member is a Node with a listener that knows no other key than 121.
type member struct {
	*Node
	t        testing.TB
	opts     Options
	listener net.Listener
	accepted sync.WaitGroup
	deaf     atomic.Bool // it hears nothing more; what it sends arrives
}

// hearing is a connection of a member that may become deaf.
type hearing struct {
	*net.TCPConn
	deaf *atomic.Bool
}

func (h hearing) Read(b []byte) (int, error) {
	for {
		n, err := h.TCPConn.Read(b)
		if err != nil || !h.deaf.Load() {
			return n, err
		}
	}
}

// quiet drops log lines.
var quiet = slog.New(slog.DiscardHandler)

// start opens and starts a node; its listener is at the port of opts.Port.
func start(t testing.TB, opts Options, prepare ...func(*Node)) *member {
	t.Helper()
	m, err := tryStart(t, opts, prepare...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func tryStart(t testing.TB, opts Options, prepare ...func(*Node)) (*member, error) {
	m := &member{t: t, opts: opts}
	opts.Logger = quiet
	opts.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return hearing{conn.(*net.TCPConn), &m.deaf}, nil
	}
	n, err := Open(opts)
	if err != nil {
		return nil, err
	}
	m.Node = n
	for _, f := range prepare {
		f(n)
	}
	if opts.Port > 0 {
		if m.listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", opts.Port)); err != nil {
			t.Fatal(err)
		}
		m.accepted.Go(m.accept)
	}
	if err := n.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(func() { m.stop() })
	return m, nil
}

// accept reads first frames and hands the connections over.
func (m *member) accept() {
	for {
		accepted, err := m.listener.Accept()
		if err != nil {
			return
		}
		conn := hearing{accepted.(*net.TCPConn), &m.deaf}
		m.accepted.Go(func() {
			var head [4]byte
			_, err := io.ReadFull(conn, head[:])
			frame := make([]byte, min(binary.BigEndian.Uint32(head[:]), 1<<16))
			if err == nil {
				_, err = io.ReadFull(conn, frame)
			}
			if err != nil {
				_ = conn.Close()
				return
			}
			_ = m.Adopt(conn, frame)
		})
	}
}

// stop closes the node as a shutdown does.
func (m *member) stop() {
	if m.listener != nil {
		_ = m.listener.Close()
	}
	if err := m.Node.Close(); err != nil {
		m.t.Error(err)
	}
	m.accepted.Wait()
}

// kill closes the node's connections as the end of a process does: nothing is
// handed over.
func (m *member) kill() {
	if m.listener != nil {
		_ = m.listener.Close()
	}
	_ = m.Node.shut()
	m.accepted.Wait()
}

// freePorts finds ports for listeners on loopback.
func freePorts(t testing.TB, count int) []int32 {
	t.Helper()
	var ports []int32
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, int32(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}

// group is the options of a group of voters 1, 2, …
func group(t testing.TB, count int) []Options {
	t.Helper()
	ports := freePorts(t, count)
	voters := make([]Voter, count)
	for i := range voters {
		voters[i] = Voter{ID: int32(i + 1), Host: "127.0.0.1", Port: ports[i]}
	}
	all := make([]Options, count)
	for i := range all {
		all[i] = Options{
			Options:     metadata.Options{Dir: t.TempDir(), NodeID: int32(i + 1), ClusterID: "test"},
			DirectoryID: metadata.RandomUUID(),
			Voter:       true,
			Voters:      voters,
			Host:        "127.0.0.1",
			Port:        ports[i],
		}
	}
	return all
}

// eventually waits for a condition, with a deadline that no sound run meets.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
		<-tick.C
	}
}

// leaderOf is the member that leads and is ready.
func leaderOf(t testing.TB, members ...*member) *member {
	t.Helper()
	var leader *member
	eventually(t, "a leader", func() bool {
		for _, m := range members {
			m.mu.Lock()
			if m.mu.core.Head() != nil && !m.mu.closed {
				leader = m
			}
			m.mu.Unlock()
		}
		return leader != nil
	})
	return leader
}

// set changes a value that stands for any change.
func set(n *Node, key, value string) (*metadata.Image, error) {
	return n.Do(func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&metadata.ConfigRecord{Resource: metadata.ResourceBroker, Key: key, Value: &value}}, nil
	})
}

func mustSet(t testing.TB, n *Node, key, value string) *metadata.Image {
	t.Helper()
	img, err := set(n, key, value)
	if err != nil {
		t.Fatal(err)
	}
	if got := n.Image().BrokerConfigs[""][key]; got != value {
		t.Fatalf("after Do the image has %s=%q, want %q", key, got, value)
	}
	return img
}

// sameImages compares what images say.
func sameImages(a, b *metadata.Image) bool {
	return a.Index == b.Index && reflect.DeepEqual(a.Records(), b.Records())
}

func alone(t testing.TB) Options {
	return Options{Options: metadata.Options{Dir: t.TempDir(), NodeID: 1}, DirectoryID: metadata.RandomUUID(), Voter: true}
}

func TestAloneReopens(t *testing.T) {
	opts := alone(t)
	var told []int32
	n := start(t, opts, func(n *Node) { n.OnLeader(func(id, _ int32) { told = append(told, id) }) })
	clusterID := n.Image().ClusterID
	if _, err := metadata.ParseUUID(clusterID); err != nil {
		t.Error(err)
	}
	for i := range 50 {
		mustSet(t, n.Node, fmt.Sprint("k", i), "v")
	}
	before := n.Image()
	n.stop()
	if len(told) != 1 || told[0] != 1 {
		t.Errorf("leaders told: %v", told)
	}
	opened, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	if !sameImages(opened.Image(), before) {
		t.Error("the image differs after a restart, before Start")
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
	n = start(t, opts)
	if !sameImages(n.Image(), before) {
		t.Error("the image differs after a restart")
	}
	mustSet(t, n.Node, "k", "w")
}

func TestThreeVotersAgree(t *testing.T) {
	var members []*member
	for _, opts := range group(t, 3) {
		members = append(members, start(t, opts))
	}
	leader := leaderOf(t, members...)
	img := mustSet(t, leader.Node, "a", "1")
	for _, m := range members {
		if err := m.WaitIndex(context.Background(), img.Index); err != nil {
			t.Fatal(err)
		}
		if !sameImages(m.Image(), leader.Image()) {
			t.Errorf("node %d has another image", m.opts.NodeID)
		}
		if m != leader {
			_, err := set(m.Node, "b", "2")
			var not *NotLeaderError
			if !errors.As(err, &not) || not.LeaderID != leader.opts.NodeID {
				t.Errorf("Do on node %d: %v", m.opts.NodeID, err)
			}
		}
	}
}

func TestFailoverAfterAKill(t *testing.T) {
	all := group(t, 3)
	var members []*member
	down := make(chan int32, 10)
	for _, opts := range all {
		members = append(members, start(t, opts, func(n *Node) { n.PeerDown(func(id int32) { down <- id }) }))
	}
	for range 3 {
		leader := leaderOf(t, members...)
		img := mustSet(t, leader.Node, "a", "1")
		var rest []*member
		for _, m := range members {
			if m != leader {
				rest = append(rest, m)
				if err := m.WaitIndex(context.Background(), img.Index); err != nil {
					t.Fatal(err)
				}
			}
		}
		began := time.Now()
		leader.kill()
		next := leaderOf(t, rest...)
		t.Logf("another leader after %v", time.Since(began))
		mustSet(t, next.Node, "a", "2")
		if got := next.Image().BrokerConfigs[""]["a"]; got != "2" {
			t.Error(got)
		}
		i := leader.opts.NodeID - 1
		members[i] = start(t, all[i], func(n *Node) { n.PeerDown(func(id int32) { down <- id }) })
		eventually(t, "the killed member catches up", func() bool { return sameImages(members[i].Image(), next.Image()) })
	}
	// A follower's end is told on the leader.
	leader := leaderOf(t, members...)
	for len(down) > 0 {
		<-down
	}
	for _, m := range members {
		if m != leader {
			m.kill()
			select {
			case id := <-down:
				if id != m.opts.NodeID {
					t.Errorf("told that %d is down, not %d", id, m.opts.NodeID)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("nobody was told that a follower is down")
			}
			break
		}
	}
}

func TestRefusals(t *testing.T) {
	f := func(opts Options, want string) {
		t.Helper()
		n, err := Open(opts)
		if err == nil {
			_ = n.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	opts := alone(t)
	lost := opts
	lost.PartitionDirs = []string{"a-0", "b-0", "c-0", "d-0"}
	f(lost, "is missing, but the log directories hold 4 partitions (a-0, b-0, c-0, …); nothing was changed")
	opts.ClusterID = "mine"
	n := start(t, opts)
	f(opts, "is in use by another process")
	n.stop()
	other := opts
	other.NodeID = 2
	f(other, "belongs to node 1, but node.id is 2")
	other = opts
	other.ClusterID = "other"
	f(other, "belongs to cluster mine, but the log directories belong to cluster other")
	other = opts
	other.Voter = false
	f(other, "needs to know the controllers")
	other = Options{Options: metadata.Options{Dir: t.TempDir(), NodeID: 1}, Voter: true, Voters: []Voter{{ID: 1}, {ID: 2}}}
	f(other, "say no cluster id")
	other.Voters = []Voter{{ID: 1}, {ID: 1}}
	f(other, "names node 1 twice")
}

// TestCloseHandsOver: a leader that stops leaves no gap.
func TestCloseHandsOver(t *testing.T) {
	var members []*member
	for _, opts := range group(t, 3) {
		members = append(members, start(t, opts))
	}
	leader := leaderOf(t, members...)
	mustSet(t, leader.Node, "a", "1")
	_, epoch := leader.Leader()
	var rest []*member
	for _, m := range members {
		if m != leader {
			rest = append(rest, m)
		}
	}
	eventually(t, "all are connected", func() bool {
		return leader.links.connected(rest[0].opts.NodeID) && leader.links.connected(rest[1].opts.NodeID)
	})
	leader.stop()
	next := leaderOf(t, rest...)
	if _, now := next.Leader(); now != epoch+1 {
		t.Errorf("epoch %d after %d: there was an election in vain", now, epoch)
	}
	mustSet(t, next.Node, "b", "2")
}

// TestChangesOfManyCallers: each sees all before it.
func TestChangesOfManyCallers(t *testing.T) {
	var members []*member
	for _, opts := range group(t, 3) {
		members = append(members, start(t, opts))
	}
	leader := leaderOf(t, members...)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 20 {
				if _, err := leader.Do(func(img *metadata.Image) ([]metadata.Record, error) {
					return []metadata.Record{&metadata.ProducerIDsRecord{NextProducerID: img.NextProducerID + 1}}, nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	if got := leader.Image().NextProducerID; got != 160 {
		t.Errorf("160 changes counted to %d", got)
	}
	refusal := errors.New("no")
	if _, err := leader.Do(func(*metadata.Image) ([]metadata.Record, error) { return nil, refusal }); err != refusal {
		t.Error(err)
	}
	for _, m := range members {
		if err := m.WaitIndex(context.Background(), leader.Image().Index); err != nil || !sameImages(m.Image(), leader.Image()) {
			t.Errorf("node %d: %v", m.opts.NodeID, err)
		}
	}
}

// TestADeafLeaderLetsGo: the others hear its heartbeats and have all patience
// with it, but it has not with them, and tells them in a way that it needs no
// answer to.
func TestADeafLeaderLetsGo(t *testing.T) {
	all := group(t, 3)
	var members []*member
	var cutOff atomic.Bool
	for i, o := range all {
		o.FetchTimeoutMs = 600_000
		if i == 0 {
			o.FetchTimeoutMs = 500
		}
		members = append(members, start(t, o, func(n *Node) {
			n.OnCutOff(func() { cutOff.Store(n.opts.NodeID == 1) })
		}))
	}
	eventually(t, "the first member leads", func() bool {
		leader := leaderOf(t, members...)
		if leader != members[0] {
			leader.with(func(c *Core, nowMs int64) { c.Transfer(nowMs) })
		}
		return leader == members[0]
	})
	members[0].deaf.Store(true)
	next := leaderOf(t, members[1:]...)
	if !cutOff.Load() {
		t.Error("the deaf leader does not know why it leads no more")
	}
	members[0].deaf.Store(false)
	eventually(t, "the old leader is connected", func() bool { return next.links.connected(1) })
	if _, err := set(next.Node, "a", "b"); err != nil { // heartbeats are rare here
		t.Fatal(err)
	}
	eventually(t, "the old leader follows", func() bool {
		id, _ := members[0].Leader()
		return id == next.opts.NodeID
	})
}
