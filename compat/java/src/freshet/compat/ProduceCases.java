package freshet.compat;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTimestampException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.record.TimestampType;

/** The Java producer: codecs, acknowledgements, idempotence, and the errors a producer can meet. */
final class ProduceCases {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private ProduceCases() { }

    static void register(Map<String, Main.Case> cases) {
        for (String codec : CODECS) {
            cases.put("codec-" + codec, env -> codec(env, codec));
        }
        cases.put("acks", ProduceCases::acks);
        cases.put("idempotent", ProduceCases::idempotent);
        cases.put("headers", ProduceCases::headers);
        cases.put("auto-create", ProduceCases::autoCreate);
        cases.put("log-append-time", ProduceCases::logAppendTime);
        cases.put("produce-errors", ProduceCases::errors);
        cases.put("broker-compression", ProduceCases::brokerCompression);
    }

    static byte[] bytes(String s) {
        return s.getBytes(StandardCharsets.UTF_8);
    }

    /**
     * Creates a topic and waits until every partition answers. A KRaft broker becomes leader a moment after
     * CreateTopics has answered; a producer that starts in between has its first batch refused and may have its
     * second accepted, after which its sequence numbers no longer fit.
     */
    static void createTopic(Main.Env env, String topic, int partitions, Map<String, String> configs) throws Exception {
        try (Admin admin = Admin.create(env.clientProperties())) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all().get();
            Map<TopicPartition, OffsetSpec> latest = new HashMap<>();
            for (int i = 0; i < partitions; i++) {
                latest.put(new TopicPartition(topic, i), OffsetSpec.latest());
            }
            Check.eventually(20_000, "all partitions of " + topic + " answer", () -> {
                try {
                    admin.listOffsets(latest).all().get();
                    return true;
                } catch (ExecutionException e) {
                    return false;
                }
            });
        }
    }

    private static String codec(Main.Env env, String codec) throws Exception {
        String topic = "java-codec-" + codec;
        createTopic(env, topic, 1, Map.of());
        Properties p = env.producerProperties();
        p.put("compression.type", codec);
        p.put("linger.ms", "20");
        p.put("batch.size", "65536");
        long base = 1_700_000_000_000L;
        int count = 5000;
        List<byte[]> values = new ArrayList<>();
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                byte[] value = i % 97 == 0 ? null : bytes("value-" + i + "-" + "abc".repeat(i % 50));
                values.add(value);
                acks.add(producer.send(new ProducerRecord<>(topic, 0, base + i, bytes("key-" + i), value)));
            }
            for (int i = 0; i < count; i++) {
                Check.equal((long) i, acks.get(i).get(30, TimeUnit.SECONDS).offset(), "the offset of record " + i);
            }
        }
        List<ConsumerRecord<byte[], byte[]>> got = ConsumeCases.readAll(env, new TopicPartition(topic, 0), count);
        for (int i = 0; i < count; i++) {
            ConsumerRecord<byte[], byte[]> r = got.get(i);
            Check.equal((long) i, r.offset(), "offset");
            Check.equal(base + i, r.timestamp(), "timestamp at " + i);
            Check.equal("key-" + i, new String(r.key(), StandardCharsets.UTF_8), "key at " + i);
            Check.that(Arrays.equals(values.get(i), r.value()), "the value at " + i + " came back changed");
        }
        return count + " records with keys, timestamps and null values";
    }

    private static String acks(Main.Env env) throws Exception {
        createTopic(env, "java-acks", 1, Map.of());
        for (String acks : List.of("0", "1", "all")) {
            Properties p = env.producerProperties();
            p.put("acks", acks);
            p.put("enable.idempotence", "false");
            try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
                for (int i = 0; i < 100; i++) {
                    RecordMetadata m = producer.send(new ProducerRecord<>("java-acks", bytes(acks + i))).get();
                    Check.equal(!acks.equals("0"), m.hasOffset(), "hasOffset with acks=" + acks);
                }
            }
        }
        ConsumeCases.readAll(env, new TopicPartition("java-acks", 0), 300);
        return "acks 0, 1 and all";
    }

    private static String idempotent(Main.Env env) throws Exception {
        String topic = "java-idempotent";
        createTopic(env, topic, 3, Map.of());
        Properties p = env.producerProperties();
        p.put("enable.idempotence", "true");
        p.put("acks", "all");
        p.put("max.in.flight.requests.per.connection", "5");
        p.put("batch.size", "2000");
        int count = 30000;
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, i % 3, null, bytes(String.valueOf(i))));
            }
            producer.flush();
        }
        for (int partition = 0; partition < 3; partition++) {
            int expect = partition;
            for (ConsumerRecord<byte[], byte[]> r
                : ConsumeCases.readAll(env, new TopicPartition(topic, partition), count / 3)) {
                Check.equal(String.valueOf(expect), new String(r.value(), StandardCharsets.UTF_8), "value");
                expect += 3;
            }
        }
        return count + " records in order over 3 partitions, none twice";
    }

    private static String headers(Main.Env env) throws Exception {
        createTopic(env, "java-headers", 1, Map.of());
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            ProducerRecord<byte[], byte[]> r = new ProducerRecord<>("java-headers", bytes("v"));
            r.headers().add("a", bytes("1")).add("a", bytes("2")).add("empty", new byte[0]).add("null", null);
            producer.send(r).get();
        }
        ConsumerRecord<byte[], byte[]> got =
            ConsumeCases.readAll(env, new TopicPartition("java-headers", 0), 1).get(0);
        Check.equal(4, got.headers().toArray().length, "the number of headers");
        Check.equal("2", new String(got.headers().lastHeader("a").value(), StandardCharsets.UTF_8), "the last a");
        Check.that(got.headers().lastHeader("null").value() == null, "the null header came back with a value");
        Check.that(got.key() == null, "the null key came back with a value");
        return "repeated, empty and null headers";
    }

    private static String autoCreate(Main.Env env) throws Exception {
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            producer.send(new ProducerRecord<>("java-auto-created", bytes("v"))).get(30, TimeUnit.SECONDS);
        }
        ConsumeCases.readAll(env, new TopicPartition("java-auto-created", 0), 1);
        return "a topic came into being by producing to it";
    }

    private static String logAppendTime(Main.Env env) throws Exception {
        for (String codec : List.of("none", "lz4")) {
            String topic = "java-append-time-" + codec;
            createTopic(env, topic, 1, Map.of("message.timestamp.type", "LogAppendTime"));
            Properties p = env.producerProperties();
            p.put("compression.type", codec);
            long before = System.currentTimeMillis();
            RecordMetadata m;
            try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
                m = producer.send(new ProducerRecord<>(topic, 0, 1000L, null, bytes("v"))).get();
            }
            ConsumerRecord<byte[], byte[]> got = ConsumeCases.readAll(env, new TopicPartition(topic, 0), 1).get(0);
            Check.equal(TimestampType.LOG_APPEND_TIME, got.timestampType(), "the timestamp type");
            Check.that(got.timestamp() >= before, "the timestamp is the producer's, not the broker's");
            Check.equal(got.timestamp(), m.timestamp(), "the timestamp in the acknowledgement");
        }
        return "plain and compressed";
    }

    private static String errors(Main.Env env) throws Exception {
        createTopic(env, "java-small", 1, Map.of("max.message.bytes", "1000"));
        createTopic(env, "java-strict-time", 1, Map.of("message.timestamp.before.max.ms", "60000"));
        Properties p = env.producerProperties();
        p.put("max.block.ms", "5000");
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            Check.fails(RecordTooLargeException.class,
                () -> producer.send(new ProducerRecord<>("java-small", new byte[5000])).get(), "a record above max.message.bytes");
            Check.fails(InvalidTopicException.class,
                () -> producer.send(new ProducerRecord<>("bad topic!", bytes("v"))).get(), "a topic name with a blank");
            Check.fails(InvalidTimestampException.class,
                () -> producer.send(new ProducerRecord<>("java-strict-time", 0, 1000L, null, bytes("v"))).get(),
                "a timestamp of 1970");
            producer.send(new ProducerRecord<>("java-small", bytes("fits"))).get();
        }
        return "too large, invalid topic, invalid timestamp; the producer goes on";
    }

    private static String brokerCompression(Main.Env env) throws Exception {
        createTopic(env, "java-recompressed", 1, Map.of("compression.type", "zstd"));
        Properties p = env.producerProperties();
        p.put("compression.type", "gzip");
        p.put("linger.ms", "20");
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            for (int i = 0; i < 500; i++) {
                producer.send(new ProducerRecord<>("java-recompressed", bytes("value-" + i)));
            }
        }
        int i = 0;
        for (ConsumerRecord<byte[], byte[]> r
            : ConsumeCases.readAll(env, new TopicPartition("java-recompressed", 0), 500)) {
            Check.equal("value-" + i++, new String(r.value(), StandardCharsets.UTF_8), "value");
        }
        return "gzip produced to a zstd topic";
    }
}
