package quorum

import (
	"log/slog"
	"os"
	"testing"
)

// copyOf is the options of a process on a copy of a node's directory. The node
// does not run.
func copyOf(t testing.TB, opts Options) Options {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(opts.Dir)); err != nil {
		t.Fatal(err)
	}
	opts.Dir = dir
	if opts.Port > 0 {
		opts.Port = freePorts(t, 1)[0]
	}
	return opts
}

// TestACopyIsRefused: the process that runs keeps its place, with every member
// and whether they talk or not, and both sides of a refused connection say why.
// When it ends the other one is let in.
func TestACopyIsRefused(t *testing.T) {
	f := func(t *testing.T, copied func(voters []*member, leader *member) *member) {
		all := group(t, 3)
		ours, theirs := make([]*lines, 3), &lines{}
		var voters []*member
		for i, opts := range all {
			ours[i] = &lines{}
			voters = append(voters, start(t, opts, func(n *Node) { n.log = slog.New(slog.NewTextHandler(ours[i], nil)) }))
		}
		leader := leaderOf(t, voters...)
		mustSet(t, leader.Node, "a", "1")
		first := copied(voters, leader)
		id := first.opts.NodeID
		first.stop()
		second := copyOf(t, first.opts)
		first = start(t, first.opts)
		var others []*member
		for i, v := range voters {
			if v.opts.NodeID == id {
				voters[i] = first
			} else {
				others = append(others, v)
			}
		}
		inPlace := func(who *member) func() bool {
			return func() bool {
				for _, v := range others {
					if v.Incarnation(id) != who.links.incarnation {
						return false
					}
				}
				return true
			}
		}
		eventually(t, "the first one is connected to all", inPlace(first))
		copy := start(t, second, func(n *Node) { n.log = slog.New(slog.NewTextHandler(theirs, nil)) })
		const said = "runs twice with directory id"
		eventually(t, "all say that it runs twice", func() bool {
			for i := range all {
				if all[i].NodeID != id && !ours[i].has(said) {
					return false
				}
			}
			return theirs.has(said)
		})
		if !inPlace(first)() {
			t.Error("the copy has taken the place of the process that runs")
		}
		leader = leaderOf(t, voters...)
		img := mustSet(t, leader.Node, "b", "2")
		if err := first.WaitIndex(within(t), img.Index); err != nil {
			t.Error(err)
		}
		if copy.Image().Index >= img.Index {
			t.Error("the copy takes part")
		}
		first.kill()
		// Now the copy is let in. The leader to which the first one acknowledged what
		// the copy lacks says so; another one sends it.
		eventually(t, "the copy takes part, or knows that it is one", func() bool {
			return theirs.has("or this is a copy of its directories") || copy.Image().Index >= img.Index
		})
	}
	t.Run("a broker's", func(t *testing.T) {
		f(t, func(voters []*member, leader *member) *member {
			m := start(t, observer(t, 7, []Options{voters[0].opts, voters[1].opts}))
			eventually(t, "it has the image", func() bool { return sameImages(m.Image(), leader.Image()) })
			return m
		})
	})
	t.Run("a follower's", func(t *testing.T) {
		f(t, func(voters []*member, leader *member) *member {
			for _, m := range voters {
				if m != leader {
					return m
				}
			}
			return nil
		})
	})
}

// TestAQuietProcessKeepsItsPlace: followers say nothing to each other, and still
// know that the other one lives, by the kernel's questions.
func TestAQuietProcessKeepsItsPlace(t *testing.T) {
	t.Parallel()
	all := group(t, 3)
	var voters []*member
	for _, opts := range all {
		voters = append(voters, start(t, opts))
	}
	leader := leaderOf(t, voters...)
	var followers []*member
	for _, m := range voters {
		if m != leader {
			followers = append(followers, m)
		}
	}
	id := followers[1].opts.NodeID
	eventually(t, "the followers are connected", func() bool { return followers[0].Incarnation(id) != 0 })
	followers[0].links.mu.Lock()
	conn := followers[0].links.mu.streams[id].conn
	followers[0].links.mu.Unlock()
	eventually(t, "nothing was said for longer than the kernel waits to ask", func() bool {
		info := tcpInfo(conn)
		return info != nil && info.Last_data_recv > uint32(aliveWithin.Milliseconds())
	})
	if !alive(conn) {
		t.Error("a process that says nothing counts as dead")
	}
	followers[1].kill()
	if alive(conn) {
		t.Error("a process that has ended counts as alive")
	}
}
