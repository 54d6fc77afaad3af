package sim

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/coordinator/group"
)

// groupClient commits offsets of a group, each under a partition number of its
// own, and remembers which commits were acknowledged: every one of those must
// be found in the end.
type groupClient struct {
	*client
	groupID string
	at      topicPartition // of __consumer_offsets
	next    int32
	open    bool // a commit is on its way
	acked   []int32
	stopped bool
}

// committedOffset is the offset that a group commits for a partition number.
func committedOffset(partition int32) int64 { return 1000 + 7*int64(partition) }

func (w *world) newGroupClient(i int) *groupClient {
	g := &groupClient{client: w.newClient(fmt.Sprintf("g%d", i+1)), groupID: fmt.Sprintf("group-%d", i)}
	g.at = topicPartition{offsetTopic, group.PartitionFor(g.groupID, offsetPartitions)}
	return g
}

func (g *groupClient) start() { g.proc.after((10+Time(g.rng.IntN(40)))*millisecond, g.commit) }

// commit commits the next offset; one that got no answer, or a refusal, is
// left behind as unknown.
func (g *groupClient) commit() {
	if g.stopped {
		return
	}
	again := func(d Time) { g.proc.after(d, g.commit) }
	leader := g.leader(g.at)
	if leader == nil {
		again(g.backoff())
		return
	}
	n := g.next
	g.next++
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version = 8
	req.Group = g.groupID
	req.Generation = -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = dataTopic
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset = n, committedOffset(n)
	topic.Partitions = append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	g.open = true
	leader.call(groupRequest{g.groupID, req}, 100, func(body any) {
		g.open = false
		r, ok := body.(*kmsg.OffsetCommitResponse)
		if ok && r.Topics[0].Partitions[0].ErrorCode == codeNone {
			g.acked = append(g.acked, n)
			g.tracef("%s: commit %d of %s acknowledged", g.at, n, g.groupID)
			again((5 + Time(g.rng.IntN(60))) * millisecond)
			return
		}
		g.forget(g.at)
		again(g.backoff())
	})
}

// checkGroups looks for every acknowledged commit at the groups' coordinators.
func (w *world) checkGroups() {
	for _, g := range w.groups {
		r := w.leaderReplica(g.at)
		if r == nil {
			w.fail("(g) %s has no leader", g.at)
			return
		}
		s := r.b.coord[g.at.partition]
		if s.machine == nil {
			w.fail("(g) the leader of %s, %s, coordinates nothing", g.at, r.b.node)
			return
		}
		found, gone := w.committed(s, g), 0
		_, mayLack := w.recoveries.kept[g.at]
		for _, n := range g.acked {
			there := found[n] == committedOffset(n)
			switch {
			case !there && mayLack:
				gone++ // on no disk when power failed everywhere
			case !there:
				w.fail("(g) commit %d of %s was acknowledged, and its coordinator %s says %d", n, g.groupID, r.b.node, found[n])
				return
			case gone > 0:
				w.fail("(g) commit %d of %s is there, and one that was acknowledged before it is not", n, g.groupID)
				return
			}
		}
		w.trace.add("*", "%s: %d commits acknowledged, %d lost when power failed everywhere", g.groupID, len(g.acked), gone)
	}
}

// committed asks a coordinator for all offsets of a group.
func (w *world) committed(s *groupShard, g *groupClient) map[int32]int64 {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version = 8
	one := kmsg.NewOffsetFetchRequestGroup()
	one.Group = g.groupID
	req.Groups = append(req.Groups, one)
	found := map[int32]int64{}
	s.request(req, func(body any, _ int) { // whether or not its lease is fresh at this moment
		r, ok := body.(*kmsg.OffsetFetchResponse)
		if !ok || len(r.Groups) == 0 {
			w.fail("(g) the coordinator of %s at %s refuses to say what was committed", g.groupID, s.b.node)
			return
		}
		for _, t := range r.Groups[0].Topics {
			for _, p := range t.Partitions {
				found[p.Partition] = p.Offset
			}
		}
	})
	return found
}
