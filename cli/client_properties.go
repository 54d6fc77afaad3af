package cli

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// optionBuilder gathers client options while the properties are read. Settings
// that depend on one another wait in fields until finish.
type optionBuilder struct {
	props    clientProps
	role     clientRole
	opts     []kgo.Opt
	security securityProps

	acks           string
	idempotence    string
	maxInflight    int
	maxRequestSize int32 // bytes; 0 when not set
	// retry.backoff.ms and retry.backoff.max.ms.
	backoff, maxBackoff time.Duration
}

type propSetter func(b *optionBuilder, value string) error

// setter returns how to apply the property in the builder's role, or nil.
func (b *optionBuilder) setter(name string) propSetter {
	if s := commonProps[name]; s != nil {
		return s
	}
	switch b.role {
	case roleProducer:
		return producerProps[name]
	case roleConsumer:
		return consumerProps[name]
	}
	return nil
}

func (b *optionBuilder) add(opts ...kgo.Opt) { b.opts = append(b.opts, opts...) }

// durationMs makes a setter from an option that takes a duration; the property
// counts milliseconds. Values outside lowest and highest, which are the client
// library's bounds, are moved to the nearer one.
func durationMs[O kgo.Opt](lowest, highest time.Duration, option func(time.Duration) O) propSetter {
	return func(b *optionBuilder, value string) error {
		d, err := parseMs(value)
		if err == nil {
			b.add(option(min(max(d, lowest), highest)))
		}
		return err
	}
}

// parseMs reads a number of milliseconds.
func parseMs(value string) (time.Duration, error) {
	ms, err := strconv.ParseInt(value, 10, 64)
	if err != nil || ms < 0 {
		return 0, errors.New("want a number of milliseconds, 0 or more")
	}
	return time.Duration(min(ms, math.MaxInt32)) * time.Millisecond, nil
}

// bytes32 makes a setter from an option that takes a number of bytes.
func bytes32[O kgo.Opt](option func(int32) O) propSetter {
	return func(b *optionBuilder, value string) error {
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 {
			return errors.New("want a number of bytes from 0 to 2147483647")
		}
		b.add(option(int32(n)))
		return nil
	}
}

func text[O kgo.Opt](option func(string) O) propSetter {
	return func(b *optionBuilder, value string) error {
		b.add(option(value))
		return nil
	}
}

// commonProps apply to every client.
var commonProps = map[string]propSetter{
	"bootstrap.servers": func(b *optionBuilder, value string) error {
		seeds := splitList(value)
		if len(seeds) == 0 {
			return errors.New("want host:port")
		}
		b.add(kgo.SeedBrokers(seeds...))
		return nil
	},
	"client.id":                          text(kgo.ClientID),
	"request.timeout.ms":                 requestTimeout,
	"connections.max.idle.ms":            durationMs(100*time.Millisecond, 15*time.Minute, kgo.ConnIdleTimeout),
	"metadata.max.age.ms":                metadataMaxAge,
	"socket.connection.setup.timeout.ms": durationMs(10*time.Millisecond, maxDuration, kgo.DialTimeout),
	"retry.backoff.ms": func(b *optionBuilder, value string) (err error) {
		b.backoff, err = parseMs(value)
		return err
	},
	"retry.backoff.max.ms": func(b *optionBuilder, value string) (err error) {
		b.maxBackoff, err = parseMs(value)
		return err
	},
	"security.protocol":                     func(b *optionBuilder, v string) error { return b.security.setProtocol(v) },
	"sasl.mechanism":                        func(b *optionBuilder, v string) error { return b.security.setMechanism(v) },
	"sasl.jaas.config":                      func(b *optionBuilder, v string) error { return b.security.setJAAS(v) },
	"ssl.truststore.location":               func(b *optionBuilder, v string) error { b.security.trustFile = v; return nil },
	"ssl.truststore.certificates":           func(b *optionBuilder, v string) error { b.security.trustPEM = v; return nil },
	"ssl.truststore.type":                   func(b *optionBuilder, v string) error { return checkStoreType(v) },
	"ssl.keystore.location":                 func(b *optionBuilder, v string) error { b.security.keyFile = v; return nil },
	"ssl.keystore.certificate.chain":        func(b *optionBuilder, v string) error { b.security.certPEM = v; return nil },
	"ssl.keystore.key":                      func(b *optionBuilder, v string) error { b.security.keyPEM = v; return nil },
	"ssl.keystore.type":                     func(b *optionBuilder, v string) error { return checkStoreType(v) },
	"ssl.endpoint.identification.algorithm": func(b *optionBuilder, v string) error { b.security.skipHostname = v == ""; return nil },
}

// maxDuration is the longest time that fits a field of the protocol.
const maxDuration = math.MaxInt32 * time.Millisecond

// requestTimeout is how long a request may take; for a producer it is also the
// time the broker may take over it.
func requestTimeout(b *optionBuilder, value string) error {
	err := durationMs(100*time.Millisecond, 15*time.Minute, kgo.RequestTimeoutOverhead)(b, value)
	if err == nil && b.role == roleProducer {
		err = durationMs(100*time.Millisecond, maxDuration, kgo.ProduceRequestTimeout)(b, value)
	}
	return err
}

// metadataMaxAge keeps the client's minimum age below the asked maximum.
func metadataMaxAge(b *optionBuilder, value string) error {
	age, err := parseMs(value)
	if err != nil {
		return err
	}
	age = min(max(age, 10*time.Millisecond), time.Hour)
	b.add(kgo.MetadataMaxAge(age), kgo.MetadataMinAge(min(age, metadataMinAge)))
	return nil
}

// producerProps apply to producers.
var producerProps = map[string]propSetter{
	"acks":               func(b *optionBuilder, v string) error { b.acks = v; return nil },
	"enable.idempotence": func(b *optionBuilder, v string) error { b.idempotence = v; return nil },
	"max.in.flight.requests.per.connection": func(b *optionBuilder, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			return errors.New("want a number, 1 or more")
		}
		b.maxInflight = n
		return nil
	},
	"compression.type": func(b *optionBuilder, v string) error {
		codec, err := compressionCodec(v)
		if err == nil {
			b.add(kgo.ProducerBatchCompression(codec))
		}
		return err
	},
	"linger.ms":           durationMs(0, time.Minute, kgo.ProducerLinger),
	"delivery.timeout.ms": durationMs(time.Second, maxDuration, kgo.RecordDeliveryTimeout),
	"max.request.size": func(b *optionBuilder, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n < 512 || n > 1<<30 {
			return errors.New("want a number of bytes from 512 to 1073741824")
		}
		b.maxRequestSize = int32(n)
		return nil
	},
	"buffer.memory": func(b *optionBuilder, v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 1 {
			return errors.New("want a number of bytes, 1 or more")
		}
		b.add(kgo.MaxBufferedBytes(int(n)), kgo.MaxBufferedRecords(1<<20))
		return nil
	},
	"retries": func(b *optionBuilder, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return errors.New("want a number, 0 or more")
		}
		b.add(kgo.RecordRetries(n))
		return nil
	},
}

func compressionCodec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none", "":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.NoCompression(), errors.New("Unknown compression name: " + name + "; use none, gzip, snappy, lz4 or zstd")
}

// consumerProps apply to consumers. Offsets and groups are the consumer
// loop's own affair: see consumeOptions.
var consumerProps = map[string]propSetter{
	"fetch.min.bytes":           bytes32(kgo.FetchMinBytes),
	"fetch.max.bytes":           bytes32(kgo.FetchMaxBytes),
	"max.partition.fetch.bytes": bytes32(kgo.FetchMaxPartitionBytes),
	"fetch.max.wait.ms":         durationMs(10*time.Millisecond, maxDuration, kgo.FetchMaxWait),
	"client.rack":               text(kgo.Rack),
	"isolation.level": func(b *optionBuilder, v string) error {
		switch v {
		case "read_committed":
			b.add(kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		case "read_uncommitted":
			b.add(kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
		default:
			return errors.New("use read_committed or read_uncommitted")
		}
		return nil
	},
	"check.crcs": func(b *optionBuilder, v string) error {
		if strings.EqualFold(v, "false") {
			b.add(kgo.DisableFetchCRCValidation())
		}
		return nil
	},
	"allow.auto.create.topics": func(b *optionBuilder, v string) error {
		if !strings.EqualFold(v, "false") {
			b.add(kgo.AllowAutoTopicCreation())
		}
		return nil
	},
	"auto.offset.reset": func(b *optionBuilder, v string) error { return checkOffsetReset(v) },
}

func checkOffsetReset(value string) error {
	switch {
	case value == "earliest", value == "latest", value == "none", strings.HasPrefix(value, "by_duration:"):
		return nil
	}
	return errors.New("use earliest, latest, none or by_duration:<ISO 8601 duration>")
}

// groupProps configure membership of a consumer group.
var groupProps = map[string]propSetter{
	"session.timeout.ms":      durationMs(100*time.Millisecond, maxDuration, kgo.SessionTimeout),
	"heartbeat.interval.ms":   durationMs(100*time.Millisecond, maxDuration, kgo.HeartbeatInterval),
	"max.poll.interval.ms":    durationMs(100*time.Millisecond, maxDuration, kgo.RebalanceTimeout),
	"auto.commit.interval.ms": durationMs(100*time.Millisecond, maxDuration, kgo.AutoCommitInterval),
	"group.instance.id":       text(kgo.InstanceID),
	"group.protocol":          groupProtocol,
}

func groupProtocol(b *optionBuilder, value string) error {
	switch strings.ToLower(value) {
	case "classic":
		return nil
	case "consumer":
		b.add(kgo.GroupProtocol("consumer"))
		return nil
	}
	return errors.New("use classic or consumer")
}

// ignoredClientProps are properties of Kafka's clients that are known to mean
// nothing here, or that other code reads.
var ignoredClientProps = map[string]bool{
	"group.id": true, "auto.commit.interval.ms": true, "enable.auto.commit": true,
	"session.timeout.ms": true, "heartbeat.interval.ms": true, "max.poll.interval.ms": true,
	"group.instance.id": true, "group.protocol": true, "max.poll.records": true,
	"partition.assignment.strategy": true, "exclude.internal.topics": true,
	"key.serializer": true, "value.serializer": true, "key.deserializer": true, "value.deserializer": true,
	"batch.size": true, "max.block.ms": true, "send.buffer.bytes": true, "receive.buffer.bytes": true,
	"default.api.timeout.ms": true, "reconnect.backoff.ms": true, "reconnect.backoff.max.ms": true,
	"partitioner.class": true, "metadata.max.idle.ms": true,
	"metric.reporters": true, "interceptor.classes": true, "client.dns.lookup": true,
	"enable.metrics.push": true, "auto.include.jmx.reporter": true, "ssl.truststore.password": true,
	"ssl.keystore.password": true, "ssl.key.password": true, "ssl.protocol": true, "ssl.enabled.protocols": true,
	"acks": true, "retries": true, "linger.ms": true, "compression.type": true, "buffer.memory": true,
	"enable.idempotence": true, "delivery.timeout.ms": true, "max.request.size": true,
	"auto.offset.reset": true, "isolation.level": true, "fetch.min.bytes": true, "fetch.max.bytes": true,
	"fetch.max.wait.ms": true, "max.partition.fetch.bytes": true, "check.crcs": true,
	"socket.connection.setup.timeout.max.ms": true, "max.in.flight.requests.per.connection": true,
}

// finish adds the options that need several properties at once.
func (b *optionBuilder) finish() error {
	b.add(kgo.RetryBackoffFn(retryBackoff(b.backoff, b.maxBackoff)))
	if b.role == roleProducer {
		if err := b.finishProducer(); err != nil {
			return err
		}
	}
	opts, err := b.security.options()
	if err != nil {
		return err
	}
	b.add(opts...)
	return nil
}

const (
	// metadataMinAge lies between two looks for the leaders while there are
	// errors; the client library's own 5 s would be the length of every failover.
	// Kafka's clients wait for retry.backoff.ms, whose default this is.
	metadataMinAge = defaultBackoff
	// The defaults of retry.backoff.ms and retry.backoff.max.ms.
	defaultBackoff, defaultMaxBackoff = 100 * time.Millisecond, time.Second
)

// retryBackoff is the pause before try n, from 1, as Kafka's clients have it:
// first, then twice as long each time up to longest, and up to a fifth more or
// less.
func retryBackoff(first, longest time.Duration) func(tries int) time.Duration {
	return func(tries int) time.Duration {
		if first >= longest {
			return longest
		}
		pause := float64(first) * math.Exp2(float64(max(tries-1, 0))) * (0.8 + 0.4*rand.Float64())
		return time.Duration(min(pause, float64(longest)))
	}
}

// finishProducer settles acks against idempotence: Kafka's producer is
// idempotent unless told otherwise or acks is not "all", and refuses the
// contradiction only when both were asked for.
func (b *optionBuilder) finishProducer() error {
	if b.maxRequestSize == 0 {
		b.maxRequestSize = defaultMaxRequestSize
	}
	b.add(kgo.ProducerBatchMaxBytes(b.maxRequestSize))
	idempotent := !strings.EqualFold(b.idempotence, "false")
	switch b.acks {
	case "", "all", "-1":
		b.add(kgo.RequiredAcks(kgo.AllISRAcks()))
	case "0", "1":
		if strings.EqualFold(b.idempotence, "true") {
			return fmt.Errorf("enable.idempotence=true needs acks=all, but acks is %s; drop one of the two", b.acks)
		}
		idempotent = false
		b.add(kgo.RequiredAcks(map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck()}[b.acks]))
	default:
		return fmt.Errorf("invalid value %q for client property acks: use 0, 1 or all", b.acks)
	}
	if !idempotent {
		b.add(kgo.DisableIdempotentWrite())
		if b.maxInflight > 0 {
			b.add(kgo.MaxProduceRequestsInflightPerBroker(b.maxInflight))
		}
	}
	return nil
}

// defaultMaxRequestSize is Kafka's default for max.request.size, bytes.
const defaultMaxRequestSize = 1 << 20

func splitList(s string) []string {
	var list []string
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}
