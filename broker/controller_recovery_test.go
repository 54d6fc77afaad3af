package broker

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"freshet/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// cutPower makes of a stopped node what a power cut would have left: another
// life of the machine, no clean stop, no checkpoints, and of the logs of topic t
// the first bytes only, by partition.
func (g *group3) cutPower(id int32, bytes ...int64) {
	g.t.Helper()
	dir := g.dirs[id]
	gone := []string{filepath.Join(dir, ".kafka_cleanshutdown"), filepath.Join(dir, "recovery-point-offset-checkpoint"),
		filepath.Join(dir, "replication-offset-checkpoint")}
	for i, keep := range bytes {
		partition := filepath.Join(dir, fmt.Sprintf("t-%d", i))
		logs, err := filepath.Glob(filepath.Join(partition, "*.log"))
		if err != nil || len(logs) != 1 {
			g.t.Fatalf("node %d has segments %v, %v", id, logs, err)
		}
		if err := os.Truncate(logs[0], keep); err != nil {
			g.t.Fatal(err)
		}
		snapshots, _ := filepath.Glob(filepath.Join(partition, "*.snapshot"))
		gone = append(gone, snapshots...)
	}
	for _, name := range gone {
		if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
			g.t.Fatal(err)
		}
	}
	path := filepath.Join(dir, metadata.DirName, bootFile)
	var have bootRecord
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &have)
	}
	if err == nil {
		have.BootID = "the one before the power cut"
		text, _ = json.Marshal(have)
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// fillT writes batches of equal size to each partition of t with acks=all, and
// returns the bytes of a batch.
func (g *group3) fillT(batches int) (batchBytes int64) {
	g.t.Helper()
	batch := batchOf(g.t, 1, 100)
	for i := range g.nodes[1].meta.Image().Topic("t").Partitions {
		leader := g.led(1, i).Leader
		g.led(leader, i) // it knows that itself
		client := g.client(leader)
		for range batches {
			resp := client.do(&kmsg.ProduceRequest{Version: 9, Acks: -1, TimeoutMillis: 10_000, Topics: []kmsg.ProduceRequestTopic{
				{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: int32(i), Records: slices.Clone(batch)}}}}}).(*kmsg.ProduceResponse)
			if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 {
				g.t.Fatalf("produce to partition %d: %+v", i, p)
			}
		}
	}
	return int64(len(batch))
}

// led waits until a partition of t has a leader by node via, and everybody that
// runs is in sync.
func (g *group3) led(via int32, i int) *metadata.Partition {
	g.t.Helper()
	var p *metadata.Partition
	eventually(g.t, func() string {
		topic := g.nodes[via].meta.Image().Topic("t")
		if topic == nil {
			return fmt.Sprintf("node %d has no topic t", via)
		}
		if p = topic.Partitions[i]; p.Leader < 0 || len(p.ISR) != len(g.nodes) {
			return fmt.Sprintf("t-%d is %+v", i, *p)
		}
		return ""
	})
	return p
}

// After a power cut of all machines the longest log leads, whoever led before,
// and the others follow it.
func TestLongestLogLeadsAfterAPowerCutOfAll(t *testing.T) {
	g := newGroup3(t, "min.insync.replicas", "2")
	g.start(1, 2, 3)
	g.createTopic(1, "t", 3, 3)
	size := g.fillT(30)
	for id := range int32(3) {
		g.kill(id + 1)
	}
	for id := range int32(3) { // partition 0 is longest at node 1, 1 at 2, 2 at 3
		keep := []int64{10 + int64(id), 10 + int64(id), 10 + int64(id)}
		keep[id] = 25
		for i := range keep {
			keep[i] *= size
		}
		g.cutPower(id+1, keep...)
	}
	g.start(1, 2, 3)
	for i := range 3 {
		if p := g.led(1, i); p.Leader != int32(i)+1 {
			t.Errorf("t-%d is %+v, want leader %d", i, *p, i+1)
		}
		for id, b := range g.nodes {
			if end := b.net.topics.name([]byte("t")).partition(int32(i)).log.LogEndOffset(); end != 25 {
				t.Errorf("the log of t-%d at node %d ends at %d, want 25", i, id, end)
			}
		}
	}
}

// A machine that does not come back is waited for, but not for ever.
func TestLongestLogLeadsWithoutTheMissing(t *testing.T) {
	g := newGroup3(t, "min.insync.replicas", "2", "freshet.unclean.recovery.timeout.ms", "1500")
	g.start(1, 2, 3)
	g.createTopic(1, "t", 1, 3)
	g.led(1, 0)
	g.kill(3)
	size := g.fillT(20)
	g.kill(2)
	g.kill(1)
	g.cutPower(1, 5*size)
	g.cutPower(2, 8*size)
	g.start(1, 2)
	if p := g.led(1, 0); p.Leader != 2 {
		t.Errorf("t-0 is %+v, want leader 2", *p)
	}
}

// A topic that syncs every record has lost nothing after a power cut of all, so
// two of its replicas do not wait for the third.
func TestSyncedTopicStaysEligibleAfterAPowerCutOfAll(t *testing.T) {
	g := newGroup3(t, "min.insync.replicas", "2")
	g.start(1, 2, 3)
	one := "1"
	resp := g.client(1).do(&kmsg.CreateTopicsRequest{Version: 7, TimeoutMillis: 10_000, Topics: []kmsg.CreateTopicsRequestTopic{
		{Topic: "t", NumPartitions: 1, ReplicationFactor: 3, Configs: []kmsg.CreateTopicsRequestTopicConfig{{Name: "flush.messages", Value: &one}}}}}).(*kmsg.CreateTopicsResponse)
	if resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("%+v", resp.Topics[0])
	}
	size := g.fillT(10)
	for id := range int32(3) {
		g.kill(id + 1)
		g.cutPower(id+1, 10*size+20) // and the beginning of a batch that nobody was told of
	}
	g.start(1, 2)
	p := g.led(1, 0)
	for id, b := range g.nodes {
		if end := b.net.topics.name([]byte("t")).partition(0).log.LogEndOffset(); end != 10 {
			t.Errorf("the log at node %d ends at %d, want 10; t-0 is %+v", id, end, *p)
		}
	}
}

func TestParseLogs(t *testing.T) {
	if _, err := parseLogs(make([]byte, reportSize+1)); err == nil {
		t.Error("a report that is cut off is read")
	}
	logs, err := parseLogs(make([]byte, 2*reportSize))
	if err != nil || len(logs) != 2 {
		t.Errorf("%d logs, %v", len(logs), err)
	}
}

// A log that is being truncated is not reported: it ends elsewhere soon.
func TestNoReportDuringATruncation(t *testing.T) {
	r := newReplicas(t, 3)
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 5, 10); err != nil {
		t.Fatal(err)
	}
	r.equal(1, 2, 3)
	p, b := r.part(2), r.nodes[1].broker
	end := truncating(t, p, func() error {
		_, err := p.log.TruncateTo(0)
		return err
	})
	r.change(func(p *metadata.Partition) {
		p.Leader, p.LeaderEpoch, p.ISR, p.LastKnownELR = -1, p.LeaderEpoch+1, nil, []int32{1, 2, 3}
	})
	if logs := b.leaderlessLogs(); len(logs) > 0 {
		t.Errorf("a log is reported while it is being truncated: %v", logs)
	}
	end()
	logs, err := parseLogs(b.leaderlessLogs())
	if err != nil || len(logs) != 1 || logs[0].EndOffset != 0 {
		t.Errorf("reported %+v, %v", logs, err)
	}
}

// A log without records, because they were deleted, ends after a record all the
// same: a log that ends before and has some is not longer.
func TestReportOfAnEmptiedLog(t *testing.T) {
	r := newReplicas(t, 3)
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 5, 10); err != nil {
		t.Fatal(err)
	}
	r.elect(1, 1, 2, 3)
	if err := produceTo(t, c, -1, 5, 10); err != nil {
		t.Fatal(err)
	}
	c.send(deleteFrame(-1, aMinute))
	if got := deleted(c); got != "<nil>, low watermark 10" {
		t.Fatalf("answered %s", got)
	}
	r.change(func(p *metadata.Partition) {
		p.Leader, p.LeaderEpoch, p.ISR, p.LastKnownELR = -1, p.LeaderEpoch+1, nil, []int32{1, 2, 3}
	})
	for _, s := range r.nodes {
		logs, err := parseLogs(s.broker.leaderlessLogs())
		if err != nil || len(logs) != 1 || logs[0].LogEnd != (metadata.LogEnd{LastEpoch: 1, EndOffset: 10}) {
			t.Errorf("reported %+v, %v", logs, err)
		}
	}
}
