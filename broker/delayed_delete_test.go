package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"freshet/metadata"
)

// deleteFrame asks to delete the records of t-0 below offset, and those of a
// partition that is not there.
func deleteFrame(offset int64, timeoutMs int32) []byte {
	return frameOf(&kmsg.DeleteRecordsRequest{Version: 2, TimeoutMillis: timeoutMs, Topics: []kmsg.DeleteRecordsRequestTopic{
		{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 9}, {Offset: offset}}}}}, 1)
}

// deleted reads the answer to deleteFrame.
func deleted(c *rawClient) string {
	c.t.Helper()
	resp := kmsg.NewPtrDeleteRecordsResponse()
	resp.Version = 2
	if err := resp.ReadFrom(c.answer()[9:]); err != nil {
		c.t.Fatal(err)
	}
	p := resp.Topics[0].Partitions
	if p[0].ErrorCode != kerr.UnknownTopicOrPartition.Code || p[0].LowWatermark != -1 {
		c.t.Errorf("partition 9, which is not there, is answered %+v", p[0])
	}
	return fmt.Sprintf("%v, low watermark %d", kerr.ErrorForCode(p[1].ErrorCode), p[1].LowWatermark)
}

// waitingDeletes waits until n DeleteRecords wait for the partition's followers.
func (r *replicas) waitingDeletes(leader int32, n int32) {
	r.t.Helper()
	eventually(r.t, func() string {
		if got := r.part(leader).deleting.Load(); got != n {
			return fmt.Sprintf("%d DeleteRecords wait, want %d", got, n)
		}
		return ""
	})
}

// DeleteRecords is answered when every replica has let go of the records.
func TestDeleteRecordsWaitsForTheFollowers(t *testing.T) {
	r := newReplicas(t, 3, "num.network.threads", "2")
	c := r.nodes[0].dial()
	for range 20 {
		if err := produceTo(t, c, -1, 5, 10); err != nil {
			t.Fatal(err)
		}
	}
	for offset := int64(3); offset < 100; offset += 12 {
		c.send(deleteFrame(offset, aMinute))
		if got, want := deleted(c), fmt.Sprintf("<nil>, low watermark %d", offset); got != want {
			t.Fatalf("answered %s, want %s", got, want)
		}
		for _, id := range r.ids() {
			if start := r.part(id).log.LogStartOffset(); start != offset {
				t.Fatalf("broker %d's log starts at %d when the deletion below %d is answered", id, start, offset)
			}
		}
	}
	c.send(deleteFrame(5, aMinute)) // long gone
	if got := deleted(c); got != "<nil>, low watermark 99" {
		t.Errorf("answered %s", got)
	}
	c.send(deleteFrame(-1, aMinute))
	if got := deleted(c); got != "<nil>, low watermark 100" {
		t.Errorf("answered %s", got)
	}
	r.waitingDeletes(1, 0)
}

// A follower that is down, but not known to be, holds the answer back until the
// request's time is over; fenced it counts no more.
func TestDeleteRecordsTimesOut(t *testing.T) {
	r := newReplicas(t, 3, "replica.lag.time.max.ms", "600000")
	c, waiting := r.nodes[0].dial(), r.nodes[0].dial()
	if err := produceTo(t, c, -1, 10, 10); err != nil {
		t.Fatal(err)
	}
	c.send(deleteFrame(2, aMinute))
	if got := deleted(c); got != "<nil>, low watermark 2" {
		t.Fatalf("answered %s", got)
	}
	r.nodes[2].stop()
	for _, timeoutMs := range []int32{-1, 0, 50} {
		c.send(deleteFrame(4, timeoutMs))
		if got := deleted(c); got != "REQUEST_TIMED_OUT: The request timed out., low watermark 2" {
			t.Errorf("within %d ms: answered %s", timeoutMs, got)
		}
	}
	if start := r.part(1).log.LogStartOffset(); start != 4 {
		t.Errorf("the leader's log starts at %d, want 4", start)
	}
	waiting.send(deleteFrame(6, aMinute))
	r.waitingDeletes(1, 1)
	dead := *r.nodes[0].broker.meta.Image().Broker(3)
	dead.Fenced = true
	r.apply(&metadata.BrokerRecord{Broker: dead})
	r.change(func(p *metadata.Partition) { p.ISR = []int32{1, 2} })
	if got := deleted(waiting); got != "<nil>, low watermark 6" {
		t.Errorf("with the dead follower fenced: answered %s", got)
	}
	if start := r.part(2).log.LogStartOffset(); start != 6 {
		t.Errorf("the follower's log starts at %d, want 6", start)
	}
}

// A follower that is not fenced is waited for, though it is out of sync. Once it
// is fenced nobody waits for it, which nothing but its fencing says.
func TestDeleteRecordsOfAFencedStraggler(t *testing.T) {
	r := newReplicas(t, 2, "replica.lag.time.max.ms", "600000")
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 10, 10); err != nil {
		t.Fatal(err)
	}
	r.nodes[1].stop()
	if err := produceTo(t, c, 1, 1, 10); err != nil { // now it is not about to join
		t.Fatal(err)
	}
	r.change(func(p *metadata.Partition) { p.ISR = []int32{1} })
	c.send(deleteFrame(4, aMinute))
	r.waitingDeletes(1, 1)
	img := r.nodes[0].broker.meta.Image()
	dead := *img.Broker(2)
	dead.Fenced = true
	fenced, err := metadata.Apply(img, &metadata.BrokerRecord{Broker: dead})
	if err != nil {
		t.Fatal(err)
	}
	r.nodes[0].broker.metadataChanged(img, fenced) // and nothing else happens
	if got := deleted(c); got != "<nil>, low watermark 4" {
		t.Errorf("with the dead follower fenced: answered %s", got)
	}
}

// Who waits for the followers of a broker that leads no more is told, and so is
// who waits for a topic that is deleted.
func TestDeleteRecordsOfAnotherLeader(t *testing.T) {
	r := newReplicas(t, 3, "replica.lag.time.max.ms", "600000")
	c := r.nodes[0].dial()
	if err := produceTo(t, c, -1, 10, 10); err != nil {
		t.Fatal(err)
	}
	r.nodes[2].stop()
	c.send(deleteFrame(4, aMinute))
	r.waitingDeletes(1, 1)
	r.elect(2, 1, 2)
	if got, want := deleted(c), fmt.Sprintf("%v, low watermark -1", kerr.NotLeaderForPartition); got != want {
		t.Errorf("of a deposed leader: answered %s", got)
	}
	c = r.nodes[1].dial()
	c.send(deleteFrame(4, aMinute))
	r.waitingDeletes(2, 1)
	r.apply(&metadata.RemoveTopicRecord{TopicID: r.topic})
	if got, want := deleted(c), fmt.Sprintf("%v, low watermark -1", kerr.UnknownTopicOrPartition); got != want {
		t.Errorf("of a deleted topic: answered %s", got)
	}
}
