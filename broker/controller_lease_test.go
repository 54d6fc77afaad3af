package broker

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAControllerThatNobodyAnswersLeadsNothing leaves the active controller
// alone: it learns at once that it may not be heard, and its producers need not
// wait for a session to end.
func TestAControllerThatNobodyAnswersLeadsNothing(t *testing.T) {
	g := newGroup3(t, "broker.session.timeout.ms", "600000")
	g.start(1, 2, 3)
	left := g.controller()
	g.createTopic(left, "t", 3, 3)
	mine := int32(-1)
	eventually(t, func() string {
		for i, p := range g.nodes[left].meta.Image().Topic("t").Partitions {
			if p.Leader == left {
				mine = int32(i)
				return ""
			}
		}
		return fmt.Sprintf("node %d leads nothing", left)
	})
	c := g.client(left)
	for id := int32(1); id <= 3; id++ {
		if id != left {
			g.kill(id)
		}
	}
	// acks=all waits for replicas that are not there any more.
	resp := c.do(&kmsg.ProduceRequest{Version: 9, Acks: -1, TimeoutMillis: 60_000, Topics: []kmsg.ProduceRequestTopic{{Topic: "t",
		Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: mine, Records: batchOf(t, 1, 10)}}}}}).(*kmsg.ProduceResponse)
	if got := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); got != kerr.NotLeaderForPartition {
		t.Errorf("the producer hears %v", got)
	}
}
