package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func saramaCases() map[string]testCase {
	cases := map[string]testCase{
		"flights-keyed":        saramaFlightsKeyed,
		"idempotent":           saramaIdempotent,
		"group-rebalance":      saramaGroup,
		"offsets-by-timestamp": saramaTimes,
		"admin":                saramaAdmin,
	}
	for _, c := range codecs {
		cases["codec-"+c] = func(e env) (string, error) { return saramaCodec(e, c) }
		cases["flights-"+c] = func(e env) (string, error) { return saramaFlights(e, c) }
	}
	return cases
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func saramaConfig(codec string) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = "compat-sarama"
	c.Producer.Return.Successes = true
	c.Producer.Compression = saramaCodecs[codec]
	c.Producer.Flush.Frequency = 5 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

func saramaCreate(e env, topic string, partitions int32) error {
	client, err := sarama.NewClient([]string{e.bootstrap}, saramaConfig("none"))
	if err != nil {
		return err
	}
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	defer admin.Close()
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false); err != nil {
		return fmt.Errorf("creating %s: %w", topic, err)
	}
	return eventually(20*time.Second, topic+" answers", func() bool {
		for p := range partitions {
			if _, err := client.GetOffset(topic, p, sarama.OffsetNewest); err != nil {
				return false
			}
		}
		return true
	})
}

func saramaProduce(e env, config *sarama.Config, messages []*sarama.ProducerMessage) error {
	p, err := sarama.NewAsyncProducer([]string{e.bootstrap}, config)
	if err != nil {
		return err
	}
	go func() {
		for _, m := range messages {
			p.Input() <- m
		}
		p.AsyncClose()
	}()
	var failed error
	var wait sync.WaitGroup
	wait.Go(func() {
		for err := range p.Errors() {
			failed = err
		}
	})
	delivered := 0
	for range p.Successes() {
		delivered++
	}
	wait.Wait()
	if failed == nil && delivered != len(messages) {
		failed = fmt.Errorf("%d of %d were delivered", delivered, len(messages))
	}
	return failed
}

func saramaConsume(e env, topic string, partitions int32, count int) ([]message, error) {
	c, err := sarama.NewConsumer([]string{e.bootstrap}, saramaConfig("none"))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	out := make(chan *sarama.ConsumerMessage, 1000)
	for p := range partitions {
		pc, err := c.ConsumePartition(topic, p, sarama.OffsetOldest)
		if err != nil {
			return nil, err
		}
		defer pc.AsyncClose()
		go func() {
			for m := range pc.Messages() {
				out <- m
			}
		}()
	}
	var got []message
	deadline := time.After(40 * time.Second)
	for len(got) < count {
		select {
		case m := <-out:
			got = append(got, message{partition: m.Partition, offset: m.Offset, timeMs: m.Timestamp.UnixMilli(),
				key: m.Key, value: m.Value, header: saramaHeader(m)})
		case <-deadline:
			return nil, fmt.Errorf("only %d of %d records of %s came", len(got), count, topic)
		}
	}
	return got, nil
}

func saramaHeader(m *sarama.ConsumerMessage) string {
	for _, h := range m.Headers {
		if string(h.Key) == "h" {
			return string(h.Value)
		}
	}
	return ""
}

func saramaCodec(e env, codec string) (string, error) {
	topic := "sarama-codec-" + codec
	if err := saramaCreate(e, topic, 1); err != nil {
		return "", err
	}
	want := codecMessages()
	var messages []*sarama.ProducerMessage
	for _, m := range want {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: sarama.ByteEncoder(m.key),
			Value: sarama.ByteEncoder(m.value), Timestamp: time.UnixMilli(m.timeMs),
			Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(m.header)}}})
	}
	if err := saramaProduce(e, saramaConfig(codec), messages); err != nil {
		return "", err
	}
	got, err := saramaConsume(e, topic, 1, len(want))
	if err != nil {
		return "", err
	}
	return "2000 records with keys, timestamps and headers", equalMessages(want, got)
}

func saramaFlights(e env, codec string) (string, error) {
	topic := "flights-sarama-" + codec
	if err := saramaCreate(e, topic, 1); err != nil {
		return "", err
	}
	sent, err := e.flights()
	if err != nil {
		return "", err
	}
	var messages []*sarama.ProducerMessage
	for _, f := range sent {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(f)})
	}
	if err := saramaProduce(e, saramaConfig(codec), messages); err != nil {
		return "", err
	}
	got, err := saramaConsume(e, topic, 1, len(sent))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d flights in the order of the file", len(sent)), equalValues(sent, got)
}

func saramaFlightsKeyed(e env) (string, error) {
	topic := "flights-sarama-keyed"
	if err := saramaCreate(e, topic, 6); err != nil {
		return "", err
	}
	sent, err := e.flights()
	if err != nil {
		return "", err
	}
	var messages []*sarama.ProducerMessage
	for _, f := range sent {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(origin(f)), Value: sarama.ByteEncoder(f)})
	}
	if err := saramaProduce(e, saramaConfig("none"), messages); err != nil {
		return "", err
	}
	got, err := saramaConsume(e, topic, 6, len(sent))
	if err != nil {
		return "", err
	}
	return "each origin in one partition and in order", checkKeyed(sent, got)
}

func saramaIdempotent(e env) (string, error) {
	topic := "sarama-idempotent"
	if err := saramaCreate(e, topic, 1); err != nil {
		return "", err
	}
	config := saramaConfig("none")
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	var messages []*sarama.ProducerMessage
	for i := range 10000 {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(strconv.Itoa(i))})
	}
	if err := saramaProduce(e, config, messages); err != nil {
		return "", err
	}
	got, err := saramaConsume(e, topic, 1, len(messages))
	if err != nil {
		return "", err
	}
	for i, m := range got {
		if string(m.value) != strconv.Itoa(i) {
			return "", fmt.Errorf("record %d is %q", i, m.value)
		}
	}
	return "10000 records in order, none twice", nil
}

// saramaMember is one group member: it notes its claims and what it reads.
type saramaMember struct {
	mu     sync.Mutex
	claims int
	seen   map[string]bool
}

func (m *saramaMember) Setup(s sarama.ConsumerGroupSession) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.claims = 0
	for _, p := range s.Claims() {
		m.claims += len(p)
	}
	return nil
}

func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for msg := range c.Messages() {
		m.mu.Lock()
		m.seen[string(msg.Value)] = true
		m.mu.Unlock()
		s.MarkMessage(msg, "")
	}
	return nil
}

func (m *saramaMember) state() (claims, seen int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.claims, len(m.seen)
}

// saramaJoin runs a member until stop is called.
func saramaJoin(e env, topic string) (m *saramaMember, stop func(), err error) {
	config := saramaConfig("none")
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	group, err := sarama.NewConsumerGroup([]string{e.bootstrap}, topic, config)
	if err != nil {
		return nil, nil, err
	}
	m = &saramaMember{seen: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{topic}, m); errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
		}
	}()
	return m, func() { cancel(); <-done; _ = group.Close() }, nil
}

func saramaGroup(e env) (string, error) {
	topic := "sarama-group"
	if err := saramaCreate(e, topic, 6); err != nil {
		return "", err
	}
	config := saramaConfig("none")
	config.Producer.Partitioner = sarama.NewRoundRobinPartitioner
	var messages []*sarama.ProducerMessage
	for i := range 600 {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(strconv.Itoa(i))})
	}
	if err := saramaProduce(e, config, messages); err != nil {
		return "", err
	}
	one, stopOne, err := saramaJoin(e, topic)
	if err != nil {
		return "", err
	}
	defer stopOne()
	if err := eventually(30*time.Second, "one member reads everything", func() bool {
		claims, seen := one.state()
		return claims == 6 && seen == 600
	}); err != nil {
		return "", err
	}
	two, stopTwo, err := saramaJoin(e, topic)
	if err != nil {
		return "", err
	}
	err = eventually(40*time.Second, "two members have half each", func() bool {
		a, _ := one.state()
		b, _ := two.state()
		return a == 3 && b == 3
	})
	stopTwo()
	if err != nil {
		return "", err
	}
	return "1, 2 and again 1 member over 6 partitions", eventually(30*time.Second, "the one that stays has all", func() bool {
		a, _ := one.state()
		return a == 6
	})
}

func saramaTimes(e env) (string, error) {
	topic := "sarama-times"
	if err := saramaCreate(e, topic, 1); err != nil {
		return "", err
	}
	var messages []*sarama.ProducerMessage
	for i := range 500 {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("v"), Timestamp: time.UnixMilli(baseMs + int64(i)*1000)})
	}
	if err := saramaProduce(e, saramaConfig("none"), messages); err != nil {
		return "", err
	}
	client, err := sarama.NewClient([]string{e.bootstrap}, saramaConfig("none"))
	if err != nil {
		return "", err
	}
	defer client.Close()
	for _, i := range []int64{0, 1, 250, 499} {
		if got, err := client.GetOffset(topic, 0, baseMs+i*1000-500); err != nil || got != i {
			return "", fmt.Errorf("the offset before record %d is %d, error %v", i, got, err)
		}
	}
	return "offsets between records", nil
}

func saramaAdmin(e env) (string, error) {
	topic := "sarama-admin"
	if err := saramaCreate(e, topic, 2); err != nil {
		return "", err
	}
	admin, err := sarama.NewClusterAdmin([]string{e.bootstrap}, saramaConfig("none"))
	if err != nil {
		return "", err
	}
	defer admin.Close()
	if err := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return "", fmt.Errorf("creating a topic twice gave %v", err)
	}
	if err := admin.CreatePartitions(topic, 4, nil, false); err != nil {
		return "", err
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
	if err != nil || len(entries) != 1 || entries[0].Value != "604800000" {
		return "", fmt.Errorf("retention.ms is %v, error %v", entries, err)
	}
	var messages []*sarama.ProducerMessage
	config := saramaConfig("none")
	config.Producer.Partitioner = sarama.NewManualPartitioner
	for range 10 {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: 0, Value: sarama.StringEncoder("v")})
	}
	if err := saramaProduce(e, config, messages); err != nil {
		return "", err
	}
	if err := admin.DeleteRecords(topic, map[int32]int64{0: 4}); err != nil {
		return "", err
	}
	if err := admin.DeleteTopic(topic); err != nil {
		return "", err
	}
	return "create, refuse twice, grow, describe, delete records, delete", eventually(20*time.Second, "the topic is gone", func() bool {
		topics, err := admin.ListTopics()
		_, there := topics[topic]
		return err == nil && !there
	})
}
