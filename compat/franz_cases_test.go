//go:build compat

package compat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// TestFranzGo drives the broker with franz-go, the client of this module's own tools.
func TestFranzGo(t *testing.T) {
	b := sharedBroker(t)
	for _, codec := range codecs {
		check(t, "franz-go", "codec-"+codec, func(t *testing.T) { franzCodec(t, b, codec) })
	}
	for _, codec := range codecs {
		check(t, "franz-go", "flights-"+codec, func(t *testing.T) { franzFlights(t, b, codec) })
	}
	check(t, "franz-go", "flights-keyed", func(t *testing.T) { franzFlightsKeyed(t, b) })
	check(t, "franz-go", "idempotent", func(t *testing.T) {
		createTopic(t, b, "franz-idempotent", 2, nil)
		c := newClient(t, b, kgo.ProducerBatchMaxBytes(2000), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		produceAll(t, c, append(numbered("franz-idempotent", 0, "a", 10000), numbered("franz-idempotent", 1, "b", 10000)...)...)
		for p, records := range consumeAll(t, b, "franz-idempotent", 20000) {
			for i, r := range records {
				if want := fmt.Sprintf("%c%d", 'a'+p, i); string(r.Value) != want {
					t.Fatalf("record %d of partition %d is %s, not %s", i, p, r.Value, want)
				}
			}
		}
	})
	check(t, "franz-go", "group-rebalance", func(t *testing.T) { franzGroup(t, b) })
	check(t, "franz-go", "admin", func(t *testing.T) { franzAdmin(t, b) })
	check(t, "franz-go", "offsets-by-timestamp", func(t *testing.T) { franzTimes(t, b) })
	check(t, "franz-go", "leader-epochs", func(t *testing.T) {
		createTopic(t, b, "franz-epochs", 1, nil)
		produceAll(t, newClient(t, b), numbered("franz-epochs", 0, "v", 10)...)
		got, err := kadm.NewClient(newClient(t, b)).OffsetForLeaderEpoch(testContext(t), epochRequest("franz-epochs", 0, 0))
		if err != nil || got["franz-epochs"][0].Err != nil || got["franz-epochs"][0].EndOffset != 10 {
			t.Fatalf("the end of epoch 0 is %+v, error %v", got["franz-epochs"][0], err)
		}
	})
	check(t, "franz-go", "large-fetch", func(t *testing.T) { franzLarge(t, b) })
}

func epochRequest(topic string, partition, epoch int32) kadm.OffsetForLeaderEpochRequest {
	var r kadm.OffsetForLeaderEpochRequest
	r.Add(topic, partition, epoch)
	return r
}

func franzCodec(t *testing.T, b *broker, codec string) {
	topic := "franz-codec-" + codec
	createTopic(t, b, topic, 1, nil)
	base := time.UnixMilli(1_700_000_000_000)
	var sent []*kgo.Record
	for i := range 5000 {
		r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i), Timestamp: base.Add(time.Duration(i) * time.Millisecond),
			Value: []byte("value-" + strings.Repeat("abc", i%50)), Headers: []kgo.RecordHeader{{Key: "h", Value: fmt.Append(nil, i)}}}
		if i%97 == 0 {
			r.Value = nil
		}
		sent = append(sent, r)
	}
	produceAll(t, newClient(t, b, kgo.ProducerBatchCompression(franzCodecs[codec]), kgo.ProducerLinger(5*time.Millisecond)), sent...)
	for i, r := range consumeAll(t, b, topic, len(sent))[0] {
		w := sent[i]
		if r.Offset != int64(i) || string(r.Key) != string(w.Key) || string(r.Value) != string(w.Value) || (r.Value == nil) != (w.Value == nil) ||
			!r.Timestamp.Equal(w.Timestamp) || string(r.Headers[0].Value) != fmt.Sprint(i) {
			t.Fatalf("record %d came back as %+v, not %+v", i, r, w)
		}
	}
}

func flightRecords(t *testing.T, topic string, keyed bool) []*kgo.Record {
	var out []*kgo.Record
	for _, line := range strings.Split(strings.TrimSuffix(flightsText(t), "\n"), "\n") {
		r := &kgo.Record{Topic: topic, Value: []byte(line)}
		if keyed {
			r.Key = []byte(originOf(t, line))
		}
		out = append(out, r)
	}
	return out
}

func originOf(t testing.TB, flight string) string {
	t.Helper()
	var f struct{ Origin string }
	if err := json.Unmarshal([]byte(flight), &f); err != nil {
		t.Fatalf("testdata holds a flight that is no JSON: %v", err)
	}
	return f.Origin
}

func franzFlights(t *testing.T, b *broker, codec string) {
	topic := "flights-franz-" + codec
	createTopic(t, b, topic, 1, nil)
	records := flightRecords(t, topic, false)
	produceAll(t, newClient(t, b, kgo.ProducerBatchCompression(franzCodecs[codec])), records...)
	var got strings.Builder
	for _, r := range consumeAll(t, b, topic, len(records))[0] {
		got.Write(r.Value)
		got.WriteByte('\n')
	}
	sameBytes(t, flightsText(t), got.String())
}

func franzFlightsKeyed(t *testing.T, b *broker) {
	topic := "flights-franz-keyed"
	createTopic(t, b, topic, 6, nil)
	records := flightRecords(t, topic, true)
	want := map[string]string{}
	for _, r := range records {
		want[string(r.Key)] += string(r.Value) + "\n"
	}
	produceAll(t, newClient(t, b), records...)
	got, home := map[string]string{}, map[string]int32{}
	for p, part := range consumeAll(t, b, topic, len(records)) {
		for _, r := range part {
			if at, ok := home[string(r.Key)]; ok && at != p {
				t.Fatalf("key %s is in partitions %d and %d", r.Key, at, p)
			}
			home[string(r.Key)] = p
			got[string(r.Key)] += string(r.Value) + "\n"
		}
	}
	for key := range want {
		if got[key] != want[key] {
			t.Errorf("the flights from %s came back changed or in another order", key)
		}
	}
}

func franzGroup(t *testing.T, b *broker) {
	topic := "franz-group"
	createTopic(t, b, topic, 6, nil)
	producer := newClient(t, b, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	produceAll(t, producer, numbered(topic, 0, "a", 600)...)
	type member struct {
		*kgo.Client
		parts chan int
	}
	seen := make(chan string, 10000)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	join := func() member {
		m := member{parts: make(chan int, 1000)}
		held := 0
		m.Client = newClient(t, b, kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.HeartbeatInterval(300*time.Millisecond),
			kgo.SessionTimeout(10*time.Second), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(kgo.CooperativeStickyBalancer()),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { held += len(p[topic]); m.parts <- held }),
			kgo.OnPartitionsRevoked(func(_ context.Context, c *kgo.Client, p map[string][]int32) {
				_ = c.CommitUncommittedOffsets(ctx)
				held -= len(p[topic])
				m.parts <- held
			}))
		go func() {
			for ctx.Err() == nil {
				m.PollFetches(ctx).EachRecord(func(r *kgo.Record) { seen <- string(r.Value) })
			}
		}()
		return m
	}
	values := map[string]bool{}
	drain := func(want int) func() bool {
		return func() bool {
			for len(seen) > 0 {
				values[<-seen] = true
			}
			return len(values) == want
		}
	}
	holds := func(m member, last *int, want int) bool {
		for len(m.parts) > 0 {
			*last = <-m.parts
		}
		return *last == want
	}
	one, oneHolds := join(), 0
	eventually(t, 30*time.Second, "one member reads everything", drain(600))
	two, twoHolds := join(), 0
	eventually(t, 40*time.Second, "two members have half each", func() bool {
		a, b := holds(one, &oneHolds, 3), holds(two, &twoHolds, 3)
		return a && b
	})
	produceAll(t, producer, numbered(topic, 0, "b", 600)...)
	eventually(t, 30*time.Second, "both read the second half", drain(1200))
	two.Close()
	eventually(t, 30*time.Second, "the one that stays has all", func() bool { return holds(one, &oneHolds, 6) })
	if err := one.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	lags, err := kadm.NewClient(producer).Lag(ctx, topic)
	if err != nil || lags.Error() != nil {
		t.Fatalf("lag: %v %v", err, lags.Error())
	}
	if lag := lags[topic].Lag.Total(); lag != 0 {
		t.Errorf("the lag is %d after everything was committed", lag)
	}
}

func franzAdmin(t *testing.T, b *broker) {
	ctx, admin := testContext(t), kadm.NewClient(newClient(t, b))
	createTopic(t, b, "franz-admin", 2, map[string]*string{"retention.ms": kadm.StringPtr("1234567")})
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "franz-admin"); !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("creating a topic twice gave %v", err)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, "franz-admin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" && c.MaybeValue() != "1234567" {
			t.Errorf("retention.ms is %s", c.MaybeValue())
		}
	}
	if r, err := admin.CreatePartitions(ctx, 3, "franz-admin"); err != nil || r.Error() != nil {
		t.Errorf("growing: %v %v", err, r.Error())
	}
	awaitTopic(t, admin, "franz-admin")
	produceAll(t, newClient(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner())), numbered("franz-admin", 0, "v", 10)...)
	var cut kadm.Offsets
	cut.Add(kadm.Offset{Topic: "franz-admin", Partition: 0, At: 4})
	deleted, err := admin.DeleteRecords(ctx, cut)
	if err != nil || deleted["franz-admin"][0].LowWatermark != 4 {
		t.Errorf("the low watermark is %+v, error %v", deleted["franz-admin"][0], err)
	}
	if dirs, err := admin.DescribeAllLogDirs(ctx, kadm.TopicsSet{"franz-admin": {0: {}}}); err != nil || len(dirs) != 1 {
		t.Errorf("log dirs: %v %v", dirs, err)
	}
	if r, err := admin.DeleteTopic(ctx, "franz-admin"); err != nil || r.Err != nil {
		t.Errorf("deleting: %v %v", err, r.Err)
	}
	eventually(t, 20*time.Second, "the topic is gone", func() bool {
		topics, err := admin.ListTopics(ctx, "franz-admin")
		return err == nil && errors.Is(topics["franz-admin"].Err, kerr.UnknownTopicOrPartition)
	})
}

func franzTimes(t *testing.T, b *broker) {
	createTopic(t, b, "franz-times", 1, nil)
	const base = 1_600_000_000_000
	records := numbered("franz-times", 0, "v", 1000)
	for i, r := range records {
		r.Timestamp = time.UnixMilli(base + int64(i)*1000)
	}
	c := newClient(t, b)
	produceAll(t, c, records...)
	for _, i := range []int64{0, 1, 500, 999} {
		got, err := kadm.NewClient(c).ListOffsetsAfterMilli(testContext(t), base+i*1000-500, "franz-times")
		if err != nil || got["franz-times"][0].Offset != i {
			t.Errorf("the offset before record %d is %+v, error %v", i, got["franz-times"][0], err)
		}
	}
}

// franzLarge reads 64 MiB with large fetches, over several segments.
func franzLarge(t *testing.T, b *broker) {
	createTopic(t, b, "franz-large", 1, map[string]*string{"segment.bytes": kadm.StringPtr("8388608")})
	payload := strings.Repeat("0123456789abcdef", 1024)
	var records []*kgo.Record
	for i := range 4096 {
		records = append(records, &kgo.Record{Topic: "franz-large", Value: []byte(fmt.Sprintf("%06d", i) + payload[6:])})
	}
	produceAll(t, newClient(t, b, kgo.ProducerBatchCompression(kgo.NoCompression())), records...)
	for i, r := range consumeAll(t, b, "franz-large", len(records), kgo.FetchMaxPartitionBytes(32<<20), kgo.FetchMaxBytes(64<<20))[0] {
		if string(r.Value) != string(records[i].Value) {
			t.Fatalf("record %d came back changed", i)
		}
	}
}
