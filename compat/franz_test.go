//go:build compat || crash

package compat

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// newClient is a franz-go client that is closed when the test ends.
func newClient(t testing.TB, b *broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.addr),
		kgo.ClientID("compat-franz-go"),
		kgo.RetryTimeout(30 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// testContext ends with the test, or after two minutes.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// createTopic creates a topic and waits until each of its partitions answers.
func createTopic(t testing.TB, b *broker, topic string, partitions int, configs map[string]*string) {
	t.Helper()
	admin := kadm.NewClient(newClient(t, b))
	ctx := testContext(t)
	if _, err := admin.CreateTopic(ctx, int32(partitions), 1, configs, topic); err != nil {
		t.Fatalf("creating %s: %v", topic, err)
	}
	awaitTopic(t, admin, topic)
}

func awaitTopic(t testing.TB, admin *kadm.Client, topic string) {
	t.Helper()
	ctx := testContext(t)
	eventually(t, 20*time.Second, topic+" answers", func() bool {
		offsets, err := admin.ListEndOffsets(ctx, topic)
		return err == nil && offsets.Error() == nil && len(offsets[topic]) > 0
	})
}

// consumeAll reads the partitions of a topic from the start until count records have come, and makes sure
// that the end offsets promise no more. Records are grouped by partition, in reading order.
func consumeAll(t testing.TB, b *broker, topic string, count int, opts ...kgo.Opt) map[int32][]*kgo.Record {
	t.Helper()
	c := newClient(t, b, append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, opts...)...)
	got, total := map[int32][]*kgo.Record{}, 0
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for total < count {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading %s after %d of %d records: %v", topic, total, count, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got[r.Partition] = append(got[r.Partition], r)
			total++
		})
	}
	offsets, err := kadm.NewClient(c).ListEndOffsets(ctx, topic)
	if err != nil || offsets.Error() != nil {
		t.Fatalf("end offsets of %s: %v %v", topic, err, offsets.Error())
	}
	for p, o := range offsets[topic] {
		if last := got[p]; len(last) > 0 && last[len(last)-1].Offset+1 != o.Offset {
			t.Fatalf("%s-%d ends at %d, the last record read is at %d", topic, p, o.Offset, last[len(last)-1].Offset)
		}
	}
	if total != count {
		t.Fatalf("%d records of %s came, not %d", total, topic, count)
	}
	return got
}

// produceAll sends records and waits for every acknowledgement.
func produceAll(t testing.TB, c *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := c.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// numbered are count records of one topic and partition with the values prefix0, prefix1, …
func numbered(topic string, partition int32, prefix string, count int) []*kgo.Record {
	out := make([]*kgo.Record, count)
	for i := range out {
		out[i] = &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, "%s%d", prefix, i)}
	}
	return out
}
