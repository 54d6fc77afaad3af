package quorum

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"freshet/metadata"
)

// observer is the options of a broker without the controller role.
func observer(t testing.TB, id int32, voters []Options) Options {
	opts := Options{Options: metadata.Options{Dir: t.TempDir(), NodeID: id}, DirectoryID: metadata.RandomUUID()}
	for _, v := range voters {
		self := v.self()
		opts.BootstrapServers = append(opts.BootstrapServers, address(&self))
	}
	return opts
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestObserversJoin(t *testing.T) {
	all := group(t, 3)
	var members []*member
	for _, opts := range all {
		members = append(members, start(t, opts))
	}
	leader := leaderOf(t, members...)
	mustSet(t, leader.Node, "a", "1")
	var observers []*member
	for i := range 2 {
		observers = append(observers, start(t, observer(t, int32(10+i), all[i:i+1]))) // knows one of them only
	}
	for _, o := range observers {
		eventually(t, "an observer has the image", func() bool { return sameImages(o.Image(), leader.Image()) })
	}
	img := mustSet(t, leader.Node, "b", "2")
	for _, o := range observers {
		if err := o.WaitIndex(within(t), img.Index); err != nil {
			t.Fatal(err)
		}
		if id, _ := o.Leader(); id != leader.opts.NodeID {
			t.Errorf("the observer knows leader %d", id)
		}
	}
	q := leader.Describe()
	if len(q.Voters) != 3 || len(q.Observers) != 2 || q.Observers[1].ID != 11 || q.Observers[1].Dir != observers[1].opts.DirectoryID {
		t.Errorf("%+v", q)
	}
	eventually(t, "all are caught up", func() bool {
		q := leader.Describe()
		for _, r := range append(q.Voters, q.Observers...) {
			if r.LogEndOffset != q.HighWatermark || r.LastCaughtUpMs < 0 {
				return false
			}
		}
		return true
	})

	// An observer outlives a failover, and a restart.
	leader.kill()
	var rest []*member
	for _, m := range members {
		if m != leader {
			rest = append(rest, m)
		}
	}
	leader = leaderOf(t, rest...)
	img = mustSet(t, leader.Node, "c", "3")
	opts := observers[0].opts
	observers[0].stop()
	observers[0] = start(t, opts)
	for _, o := range observers {
		if err := o.WaitIndex(within(t), img.Index); err != nil {
			t.Fatal(err)
		}
	}

	// One that lost its directory starts over; one that is gone can be removed.
	observers[0].stop()
	img = mustSet(t, leader.Node, "d", "4")
	opts = observer(t, opts.NodeID, all) // its one address may be that of the killed member
	again := start(t, opts)
	if err := again.WaitIndex(within(t), img.Index); err != nil {
		t.Fatal(err)
	}
	if err := leader.RemoveObserver(within(t), 11); !errors.Is(err, ErrObserverConnected) {
		t.Error(err)
	}
	observers[1].stop()
	eventually(t, "the observer can be removed", func() bool { return leader.RemoveObserver(within(t), 11) == nil })
	if err := leader.RemoveObserver(within(t), 11); !errors.Is(err, ErrObserverNotFound) {
		t.Error(err)
	}
}

// TestVotersComeAndGo grows a single broker to three voters and back (KIP-853).
func TestVotersComeAndGo(t *testing.T) {
	ports := freePorts(t, 3)
	first := alone(t)
	first.Host, first.Port = "127.0.0.1", ports[0]
	members := []*member{start(t, first)}
	leader := members[0]
	mustSet(t, leader.Node, "a", "1")
	for i := 1; i < 3; i++ {
		opts := Options{Options: metadata.Options{Dir: t.TempDir(), NodeID: int32(1 + i)}, DirectoryID: metadata.RandomUUID(), Voter: true,
			BootstrapServers: []string{fmt.Sprintf("127.0.0.1:%d", ports[0])}, Host: "127.0.0.1", Port: ports[i]}
		m := start(t, opts)
		members = append(members, m)
		v := opts.self()
		if err := leader.AddVoter(within(t), v); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("The voter id for ReplicaKey(id=%d, directoryId=%s) is already part of the set of voters [ReplicaKey(id=1, ", v.ID, v.Dir)
		if err := leader.AddVoter(within(t), v); !errors.Is(err, ErrDuplicateVoter) || !strings.HasPrefix(err.Error(), want) {
			t.Error(err)
		}
	}
	if q := leader.Describe(); len(q.Voters) != 3 || len(q.Observers) != 0 {
		t.Errorf("%+v", q)
	}
	img := mustSet(t, leader.Node, "b", "2")
	for _, m := range members {
		if err := m.WaitIndex(within(t), img.Index); err != nil {
			t.Fatal(err)
		}
	}
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := leader.AddVoter(short, Voter{ID: 9, Dir: metadata.RandomUUID()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a voter that is not there: %v", err)
	}
	if err := leader.RemoveVoter(within(t), 2, metadata.RandomUUID()); !errors.Is(err, ErrVoterNotFound) {
		t.Error(err)
	}
	// The leader hands over, and the next one removes it.
	var not *NotLeaderError
	if err := leader.RemoveVoter(within(t), 1, first.DirectoryID); !errors.As(err, &not) {
		t.Error(err)
	}
	next := leaderOf(t, members[1:]...)
	if err := next.RemoveVoter(within(t), 1, first.DirectoryID); err != nil {
		t.Fatal(err)
	}
	img = mustSet(t, next.Node, "c", "3")
	if err := members[0].WaitIndex(within(t), img.Index); err != nil {
		t.Fatal(err) // it goes on as an observer
	}
	// One of two that is dead cannot be removed; one that lives can.
	other := members[1]
	if other == next {
		other = members[2]
	}
	if err := next.RemoveVoter(within(t), other.opts.NodeID, other.opts.DirectoryID); err != nil {
		t.Fatal(err)
	}
	if err := next.RemoveVoter(within(t), next.opts.NodeID, next.opts.DirectoryID); !errors.Is(err, ErrLastVoter) || !errors.Is(err, ErrVoterNotFound) {
		t.Error(err)
	}
	other.kill()
	members[0].kill()
	mustSet(t, next.Node, "d", "4")
	opts := next.opts
	next.kill()
	next = start(t, opts)
	eventually(t, "the last voter leads by itself after a restart", func() bool { _, err := set(next.Node, "e", "5"); return err == nil })
}

// lines collects log lines.
type lines struct {
	sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.text.Write(b)
}

func (l *lines) has(part string) bool {
	l.Lock()
	defer l.Unlock()
	return strings.Contains(l.text.String(), part)
}

// TestStrangersAreRefused says on both sides why.
func TestStrangersAreRefused(t *testing.T) {
	f := func(want string, spoil func(third *Options)) {
		t.Helper()
		all := group(t, 3)
		theirs, ours := &lines{}, &lines{}
		var members []*member
		for _, opts := range all[:2] {
			m := start(t, opts, func(n *Node) { n.log = slog.New(slog.NewTextHandler(ours, nil)) })
			members = append(members, m)
		}
		leader := leaderOf(t, members...)
		mustSet(t, leader.Node, "a", "1")
		spoil(&all[2])
		stranger := start(t, all[2], func(n *Node) { n.log = slog.New(slog.NewTextHandler(theirs, nil)) })
		eventually(t, "both sides say: "+want, func() bool { return theirs.has(want) && ours.has(want) })
		stranger.kill()
		for _, m := range members {
			m.kill()
		}
	}
	f("node 3 at 127.0.0.1:", func(o *Options) { o.ClusterID = "another" })
	f("belongs to cluster another, but node", func(o *Options) { o.ClusterID = "another" })
	f("node.id 2 is used twice", func(o *Options) {
		self := o.Voters[1]
		*o = Options{Options: metadata.Options{Dir: o.Dir, NodeID: 2}, DirectoryID: o.DirectoryID, BootstrapServers: []string{address(&self)}}
	})
	f("is in a metadata quorum founded by the voters 1,3, but node", func(o *Options) { o.Voters = []Voter{o.Voters[0], o.Voters[2]} })
}

// TestAVoterThatLostItsDiskIsRefused protects the votes it has forgotten.
func TestAVoterThatLostItsDiskIsRefused(t *testing.T) {
	all := group(t, 3)
	log := &lines{}
	var members []*member
	for _, opts := range all {
		members = append(members, start(t, opts, func(n *Node) { n.log = slog.New(slog.NewTextHandler(log, nil)) }))
	}
	leader := leaderOf(t, members...)
	eventually(t, "the directories are known", func() bool {
		for _, r := range leader.Describe().Voters {
			if r.Dir == metadata.ZeroUUID {
				return false
			}
		}
		return true
	})
	img := mustSet(t, leader.Node, "a", "1")
	var lost *member
	for _, m := range members {
		if err := m.WaitIndex(within(t), img.Index); err != nil {
			t.Fatal(err)
		}
		if m != leader {
			lost = m
		}
	}
	lost.kill()
	opts := lost.opts
	old := opts.DirectoryID
	opts.Dir, opts.DirectoryID = t.TempDir(), metadata.RandomUUID()
	fresh := start(t, opts)
	eventually(t, "it is refused", func() bool { return log.has("or it lost its metadata") })
	if fresh.Image().BrokerConfigs[""] != nil {
		t.Error("it was let in")
	}
	// Removed and added again, it is a voter like before.
	if err := leader.RemoveVoter(within(t), opts.NodeID, old); err != nil {
		t.Fatal(err)
	}
	self := opts.self()
	if err := leader.AddVoter(within(t), self); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has the image", func() bool { return sameImages(fresh.Image(), leader.Image()) })
}

// TestAVoterMoves: the others learn its new address when it dials them, though
// it is the one with the lowest id, which waits to be dialed.
func TestAVoterMoves(t *testing.T) {
	all := group(t, 3)
	var members []*member
	for _, opts := range all {
		members = append(members, start(t, opts))
	}
	mustSet(t, leaderOf(t, members...).Node, "a", "1")
	members[0].kill()
	leader := leaderOf(t, members[1:]...)
	img := mustSet(t, leader.Node, "b", "2")
	moved := all[0]
	moved.Port = freePorts(t, 1)[0]
	again := start(t, moved)
	if err := again.WaitIndex(within(t), img.Index); err != nil {
		t.Fatal(err)
	}
	for _, m := range []*member{members[1], members[2], again} {
		eventually(t, "all know the new address", func() bool {
			v := findVoter(m.roster().members, 1)
			return v.Port == moved.Port
		})
	}
	// From now on they can dial it.
	again.kill()
	img = mustSet(t, leaderOf(t, members[1:]...).Node, "c", "3")
	again = start(t, moved)
	if err := again.WaitIndex(within(t), img.Index); err != nil {
		t.Fatal(err)
	}
}

// TestAMissingMajorityIsSaid names who is missing, some seconds after the leader
// is lost and not before.
func TestAMissingMajorityIsSaid(t *testing.T) {
	t.Parallel()
	log := &lines{}
	n := start(t, group(t, 3)[0], func(n *Node) { n.log = slog.New(slog.NewTextHandler(log, nil)) })
	eventually(t, "it is said", func() bool { return log.has("voters=3 needed=2 connected=1 missing=\"[2 3]\"") })
	if log.has("seconds=0 ") {
		t.Error("it was said at once")
	}
	if n.Image().ClusterID != "test" {
		t.Error("it does not show what it has")
	}
}
