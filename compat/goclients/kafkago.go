package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
)

func kafkaGoCases() map[string]testCase {
	cases := map[string]testCase{
		"flights-keyed":        kafkaGoFlightsKeyed,
		"group-rebalance":      kafkaGoGroup,
		"offsets-by-timestamp": kafkaGoTimes,
		"admin":                kafkaGoAdmin,
	}
	for _, c := range codecs {
		cases["codec-"+c] = func(e env) (string, error) { return kafkaGoCodec(e, c) }
		cases["flights-"+c] = func(e env) (string, error) { return kafkaGoFlights(e, c) }
	}
	return cases
}

var kafkaGoCodecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func kafkaGoClient(e env) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(e.bootstrap), Timeout: 20 * time.Second}
}

func kafkaGoCreate(e env, topic string, partitions int) error {
	client := kafkaGoClient(e)
	resp, err := client.CreateTopics(context.Background(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}}})
	if err == nil {
		err = resp.Errors[topic]
	}
	if err != nil {
		return fmt.Errorf("creating %s: %w", topic, err)
	}
	return eventually(20*time.Second, topic+" answers", func() bool {
		var ask []kafka.OffsetRequest
		for p := range partitions {
			ask = append(ask, kafka.LastOffsetOf(p))
		}
		got, err := client.ListOffsets(context.Background(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: ask}})
		if err != nil || len(got.Topics[topic]) != partitions {
			return false
		}
		for _, p := range got.Topics[topic] {
			if p.Error != nil {
				return false
			}
		}
		return true
	})
}

func kafkaGoProduce(e env, topic, codec string, balancer kafka.Balancer, messages []kafka.Message) error {
	w := &kafka.Writer{Addr: kafka.TCP(e.bootstrap), Topic: topic, Compression: kafkaGoCodecs[codec], Balancer: balancer,
		RequiredAcks: kafka.RequireAll, BatchSize: 500, BatchTimeout: 10 * time.Millisecond}
	if err := w.WriteMessages(context.Background(), messages...); err != nil {
		_ = w.Close()
		return err
	}
	return w.Close()
}

func kafkaGoConsume(e env, topic string, partition, count int) ([]message, error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{e.bootstrap}, Topic: topic, Partition: partition,
		MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond})
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	var got []message
	for len(got) < count {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return nil, fmt.Errorf("after %d of %d records of %s: %w", len(got), count, topic, err)
		}
		one := message{partition: int32(m.Partition), offset: m.Offset, timeMs: m.Time.UnixMilli(), key: m.Key, value: m.Value}
		for _, h := range m.Headers {
			one.header = string(h.Value)
		}
		got = append(got, one)
	}
	return got, nil
}

func kafkaGoCodec(e env, codec string) (string, error) {
	topic := "kafkago-codec-" + codec
	if err := kafkaGoCreate(e, topic, 1); err != nil {
		return "", err
	}
	want := codecMessages()
	var messages []kafka.Message
	for _, m := range want {
		messages = append(messages, kafka.Message{Key: m.key, Value: m.value, Time: time.UnixMilli(m.timeMs),
			Headers: []kafka.Header{{Key: "h", Value: []byte(m.header)}}})
	}
	if err := kafkaGoProduce(e, topic, codec, nil, messages); err != nil {
		return "", err
	}
	got, err := kafkaGoConsume(e, topic, 0, len(want))
	if err != nil {
		return "", err
	}
	return "2000 records with keys, timestamps and headers", equalMessages(want, got)
}

func kafkaGoFlights(e env, codec string) (string, error) {
	topic := "flights-kafkago-" + codec
	if err := kafkaGoCreate(e, topic, 1); err != nil {
		return "", err
	}
	sent, err := e.flights()
	if err != nil {
		return "", err
	}
	var messages []kafka.Message
	for _, f := range sent {
		messages = append(messages, kafka.Message{Value: f})
	}
	if err := kafkaGoProduce(e, topic, codec, nil, messages); err != nil {
		return "", err
	}
	got, err := kafkaGoConsume(e, topic, 0, len(sent))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d flights in the order of the file", len(sent)), equalValues(sent, got)
}

func kafkaGoFlightsKeyed(e env) (string, error) {
	topic := "flights-kafkago-keyed"
	if err := kafkaGoCreate(e, topic, 6); err != nil {
		return "", err
	}
	sent, err := e.flights()
	if err != nil {
		return "", err
	}
	var messages []kafka.Message
	for _, f := range sent {
		messages = append(messages, kafka.Message{Key: []byte(origin(f)), Value: f})
	}
	if err := kafkaGoProduce(e, topic, "none", kafka.Murmur2Balancer{}, messages); err != nil {
		return "", err
	}
	var got []message
	for p := range 6 {
		offsets, err := kafkaGoClient(e).ListOffsets(context.Background(), &kafka.ListOffsetsRequest{
			Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(p)}}})
		if err != nil {
			return "", err
		}
		part, err := kafkaGoConsume(e, topic, p, int(offsets.Topics[topic][0].LastOffset))
		if err != nil {
			return "", err
		}
		got = append(got, part...)
	}
	return "each origin in one partition and in order", checkKeyed(sent, got)
}

func kafkaGoGroup(e env) (string, error) {
	topic := "kafkago-group"
	if err := kafkaGoCreate(e, topic, 6); err != nil {
		return "", err
	}
	var messages []kafka.Message
	for i := range 600 {
		messages = append(messages, kafka.Message{Value: []byte(strconv.Itoa(i))})
	}
	if err := kafkaGoProduce(e, topic, "none", &kafka.RoundRobin{}, messages); err != nil {
		return "", err
	}
	seen := map[string]bool{}
	for round := range 2 { // the second member starts from what the first committed: half of the records each
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{e.bootstrap}, GroupID: topic, Topic: topic,
			StartOffset: kafka.FirstOffset, MaxWait: 200 * time.Millisecond, HeartbeatInterval: 300 * time.Millisecond})
		ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
		for range 300 {
			m, err := r.ReadMessage(ctx) // commits
			if err != nil {
				cancel()
				return "", fmt.Errorf("round %d after %d records: %w", round, len(seen), err)
			}
			if seen[string(m.Value)] {
				cancel()
				return "", fmt.Errorf("record %s came twice", m.Value)
			}
			seen[string(m.Value)] = true
		}
		cancel()
		if err := r.Close(); err != nil {
			return "", err
		}
	}
	return "a second member goes on where the first committed", nil
}

func kafkaGoTimes(e env) (string, error) {
	topic := "kafkago-times"
	if err := kafkaGoCreate(e, topic, 1); err != nil {
		return "", err
	}
	var messages []kafka.Message
	for i := range 500 {
		messages = append(messages, kafka.Message{Value: []byte("v"), Time: time.UnixMilli(baseMs + int64(i)*1000)})
	}
	if err := kafkaGoProduce(e, topic, "none", nil, messages); err != nil {
		return "", err
	}
	conn, err := kafka.DialLeader(context.Background(), "tcp", e.bootstrap, topic, 0)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	for _, i := range []int64{0, 1, 250, 499} {
		if got, err := conn.ReadOffset(time.UnixMilli(baseMs + i*1000 - 500)); err != nil || got != i {
			return "", fmt.Errorf("the offset before record %d is %d, error %v", i, got, err)
		}
	}
	first, last, err := conn.ReadOffsets()
	if err != nil || first != 0 || last != 500 {
		return "", fmt.Errorf("the offsets are %d to %d, error %v", first, last, err)
	}
	return "offsets between records, first and last", nil
}

func kafkaGoAdmin(e env) (string, error) {
	topic := "kafkago-admin"
	if err := kafkaGoCreate(e, topic, 2); err != nil {
		return "", err
	}
	client, ctx := kafkaGoClient(e), context.Background()
	grown, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: 4}}})
	if err == nil {
		err = grown.Errors[topic]
	}
	if err != nil {
		return "", fmt.Errorf("growing: %w", err)
	}
	described, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{"retention.ms"}}}})
	if err != nil || described.Resources[0].ConfigEntries[0].ConfigValue != "604800000" {
		return "", fmt.Errorf("describing configs gave %+v, error %v", described, err)
	}
	deleted, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = deleted.Errors[topic]
	}
	return "create, grow, describe, delete", err
}
