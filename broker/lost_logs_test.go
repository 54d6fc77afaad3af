package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestLostLogsDoNotLead takes the files of a partition from the only broker in
// sync while it is down. The one that stopped before it has every record, and
// must lead when it is back, however late.
func TestLostLogsDoNotLead(t *testing.T) {
	g := newGroup3(t, "min.insync.replicas", "2")
	g.roles[1], g.roles[2], g.roles[3] = "controller", "broker", "broker"
	g.start(1, 2, 3)
	g.createTopic(2, "t", 1, 2)
	leader := func() int32 { return g.nodes[1].meta.Image().Topic("t").Partitions[0].Leader }
	eventually(t, func() string {
		if p := g.nodes[leader()].net.topics.name([]byte("t")); p == nil || p.partition(0) == nil || !p.partition(0).Role().Leads {
			return "no leader yet"
		}
		return ""
	})
	g.client(leader()).produceAt("t", 1000)
	stop := func(id int32) {
		b := g.nodes[id]
		delete(g.nodes, id)
		b.Stop()
	}
	stop(3)
	eventually(t, func() string {
		if leader() != 2 {
			return fmt.Sprintf("%+v", g.nodes[1].meta.Image().Topic("t").Partitions[0])
		}
		return ""
	})
	stop(2)
	if err := os.Rename(filepath.Join(g.dirs[2], "t-0"), filepath.Join(t.TempDir(), "t-0")); err != nil {
		t.Fatal(err)
	}
	g.start(2)
	if got := g.nodes[2].member.previousEpoch; got != -1 {
		t.Errorf("broker 2 claims everything of epoch %d without its log", got)
	}
	if got := leader(); got == 2 {
		t.Errorf("broker 2 leads with an empty log: %+v", g.nodes[1].meta.Image().Topic("t").Partitions[0])
	}
	g.start(3)
	eventually(t, func() string {
		if p := g.nodes[1].meta.Image().Topic("t").Partitions[0]; p.Leader != 3 || len(p.ISR) != 2 {
			return fmt.Sprintf("%+v", p)
		}
		return ""
	})
	for _, id := range []int32{2, 3} {
		if end := g.nodes[id].net.topics.name([]byte("t")).partition(0).log.LogEndOffset(); end != 1 {
			t.Errorf("the log of broker %d ends at %d, want 1", id, end)
		}
	}
}
