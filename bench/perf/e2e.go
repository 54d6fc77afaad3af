package perf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// E2ETest is a run of kafka-e2e-latency: one record at a time, from the send
// until a consumer has it.
type E2ETest struct {
	Topic      string
	NumRecords int
	// Sizes in bytes; a header value size of -1 is a null value.
	ValueSize, KeySize                         int
	NumHeaders, HeaderKeySize, HeaderValueSize int
}

// e2ePollTimeout bounds the wait for one record.
const e2ePollTimeout = 60 * time.Second

// EnsureTopic creates the topic with one partition if it does not exist, and
// returns its partitions' end offsets, from which the consumer is to start.
func (t E2ETest) EnsureTopic(ctx context.Context, client *kgo.Client, out io.Writer) (map[int32]kgo.Offset, error) {
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopicsWithInternal(ctx, t.Topic)
	if err != nil {
		return nil, err
	}
	if errors.Is(topics[t.Topic].Err, kerr.UnknownTopicOrPartition) {
		fmt.Fprintf(out, "Topic \"%s\" does not exist. Will create topic with %d partition(s) and replication factor = %d\n", t.Topic, 1, 1)
		if _, err := admin.CreateTopic(ctx, 1, 1, nil, t.Topic); err != nil {
			fmt.Fprintf(out, "Creation of topic %s failed\n", t.Topic)
			return nil, err
		}
	}
	ends, err := awaitEndOffsets(ctx, admin, t.Topic)
	if err != nil {
		return nil, err
	}
	start := make(map[int32]kgo.Offset)
	ends.Each(func(o kadm.ListedOffset) { start[o.Partition] = kgo.NewOffset().At(o.Offset) })
	return start, nil
}

// awaitEndOffsets lists the end offsets; a topic just made may need a moment
// until every broker knows it.
func awaitEndOffsets(ctx context.Context, admin *kadm.Client, topic string) (kadm.ListedOffsets, error) {
	ctx, cancel := context.WithTimeout(ctx, e2ePollTimeout)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return ends, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Run measures and prints Kafka's lines to out.
func (t E2ETest) Run(ctx context.Context, producer, consumer *kgo.Client, out io.Writer) error {
	random := rand.New(rand.NewPCG(0, 0))
	latenciesMs := make([]int64, 0, t.NumRecords)
	var total time.Duration
	for i := range t.NumRecords {
		rec := t.record(random)
		begin := time.Now()
		if err := producer.ProduceSync(ctx, rec).FirstErr(); err != nil {
			return err
		}
		got, err := pollOne(ctx, consumer)
		elapsed := time.Since(begin)
		if err != nil {
			return err
		}
		if err := validate(rec, got); err != nil {
			return err
		}
		if i%1000 == 0 {
			fmt.Fprintf(out, "%d\t%s\n", i, javaDouble(float64(elapsed.Nanoseconds())/1000/1000))
		}
		total += elapsed
		latenciesMs = append(latenciesMs, elapsed.Milliseconds())
	}
	slices.Sort(latenciesMs)
	at := func(share float64) int64 { return latenciesMs[int(float64(len(latenciesMs))*share)] }
	fmt.Fprintf(out, "Avg latency: %s ms\n", javaFixed(float64(total.Nanoseconds())/float64(t.NumRecords)/1000/1000, 4))
	fmt.Fprintf(out, "Percentiles: 50th = %d, 99th = %d, 99.9th = %d\n", at(0.5), at(0.99), at(0.999))
	return nil
}

// record makes one record; each field is one letter repeated. As in Kafka's
// tool, a key of size 0 is an empty key, not none.
func (t E2ETest) record(random *rand.Rand) *kgo.Record {
	field := func(size int) []byte { return bytes.Repeat([]byte{byte('A' + random.IntN(26))}, size) }
	rec := &kgo.Record{Topic: t.Topic, Key: field(t.KeySize), Value: field(t.ValueSize)}
	for range t.NumHeaders {
		h := kgo.RecordHeader{Key: string(field(t.HeaderKeySize))}
		if t.HeaderValueSize >= 0 {
			h.Value = field(t.HeaderValueSize)
		}
		rec.Headers = append(rec.Headers, h)
	}
	return rec
}

// pollOne waits for records, up to e2ePollTimeout.
func pollOne(ctx context.Context, consumer *kgo.Client) ([]*kgo.Record, error) {
	poll, cancel := context.WithTimeout(ctx, e2ePollTimeout)
	defer cancel()
	for {
		fetches := consumer.PollFetches(poll)
		if recs := fetches.Records(); len(recs) > 0 {
			return recs, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if poll.Err() != nil {
			return nil, fmt.Errorf("poll() timed out before finding a result (timeout:[%dms])", e2ePollTimeout.Milliseconds())
		}
		if err := pollError(fetches); err != nil {
			return nil, err
		}
	}
}

// validate compares what came with what was sent, in the tool's words.
func validate(sent *kgo.Record, got []*kgo.Record) error {
	read := got[0]
	switch {
	case !bytes.Equal(read.Value, sent.Value):
		return fmt.Errorf("The message value read [%s] did not match the message value sent [%s]", read.Value, sent.Value)
	case !bytes.Equal(read.Key, sent.Key):
		return fmt.Errorf("The message key read [%s] did not match the message key sent [%s]", read.Key, sent.Key)
	case len(sent.Headers) > 0 && len(read.Headers) == 0:
		return errors.New("Expected message headers but received none")
	case len(sent.Headers) != len(read.Headers):
		return errors.New("Header count mismatch between sent and received messages")
	}
	for i, h := range sent.Headers {
		if r := read.Headers[i]; r.Key != h.Key || !bytes.Equal(r.Value, h.Value) {
			return fmt.Errorf("The message header read [%s:%s] did not match the message header sent [%s:%s]", r.Key, r.Value, h.Key, h.Value)
		}
	}
	if len(got) != 1 {
		return fmt.Errorf("Only one result was expected during this test. We found [%d]", len(got))
	}
	return nil
}
