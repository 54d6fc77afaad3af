package freshet.compat;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;

import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** The Java consumer without a group: positions, times, fetch sessions, limits. */
final class ConsumeCases {
    private ConsumeCases() { }

    static void register(Map<String, Main.Case> cases) {
        cases.put("offsets-by-timestamp", ConsumeCases::offsetsByTimestamp);
        cases.put("fetch-sessions", ConsumeCases::fetchSessions);
        cases.put("out-of-range", ConsumeCases::outOfRange);
        cases.put("large-records", ConsumeCases::largeRecords);
        cases.put("read-committed", ConsumeCases::readCommitted);
        cases.put("long-poll", ConsumeCases::longPoll);
    }

    /** Reads exactly count records from the start of one partition, and makes sure that no more follow. */
    static List<ConsumerRecord<byte[], byte[]>> readAll(Main.Env env, TopicPartition tp, int count) {
        return readAll(env.consumerProperties(), tp, count);
    }

    static List<ConsumerRecord<byte[], byte[]>> readAll(Properties properties, TopicPartition tp, int count) {
        List<ConsumerRecord<byte[], byte[]>> got = new ArrayList<>(count);
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties)) {
            consumer.assign(List.of(tp));
            consumer.seekToBeginning(List.of(tp));
            long deadline = System.currentTimeMillis() + 30_000;
            while (got.size() < count && System.currentTimeMillis() < deadline) {
                consumer.poll(Duration.ofMillis(200)).forEach(got::add);
            }
            Check.equal(count, got.size(), "the number of records in " + tp);
            Check.equal((long) got.get(count - 1).offset() + 1, consumer.endOffsets(List.of(tp)).get(tp), "the end offset");
        }
        return got;
    }

    private static String offsetsByTimestamp(Main.Env env) throws Exception {
        String topic = "java-times";
        ProduceCases.createTopic(env, topic, 1, Map.of("segment.bytes", "1048576"));
        long base = 1_600_000_000_000L;
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            for (int i = 0; i < 4000; i++) {
                producer.send(new ProducerRecord<>(topic, 0, base + i * 1000L, null, new byte[1000]));
            }
        }
        TopicPartition tp = new TopicPartition(topic, 0);
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(env.consumerProperties())) {
            for (int i : new int[] {0, 1, 999, 1000, 2500, 3999}) {
                for (long before : new long[] {0, 1, 999}) {
                    OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(tp, base + i * 1000L - before)).get(tp);
                    Check.equal((long) i, found.offset(), "the offset for record " + i + " asked " + before + " ms before");
                    Check.equal(base + i * 1000L, found.timestamp(), "its timestamp");
                }
            }
            Check.equal(null, consumer.offsetsForTimes(Map.of(tp, base + 4_000_000L)).get(tp), "a time after the last record");
            Check.equal(0L, consumer.beginningOffsets(List.of(tp)).get(tp), "the beginning offset");
            Check.equal(4000L, consumer.endOffsets(List.of(tp)).get(tp), "the end offset");
        }
        return "over several segments, exact and between records";
    }

    /** Many partitions, few of them with news at a time: what incremental fetch sessions are for. */
    private static String fetchSessions(Main.Env env) throws Exception {
        String topic = "java-sessions";
        int partitions = 30;
        ProduceCases.createTopic(env, topic, partitions, Map.of());
        List<TopicPartition> all = new ArrayList<>();
        for (int i = 0; i < partitions; i++) {
            all.add(new TopicPartition(topic, i));
        }
        Map<TopicPartition, Integer> seen = new HashMap<>();
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties());
             Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(env.consumerProperties())) {
            consumer.assign(all);
            int sent = 0;
            for (int round = 0; round < 40; round++) {
                if (round == 20) { // a smaller and then again the whole assignment: forgotten partitions and a new epoch
                    consumer.assign(all.subList(0, 10));
                    consumer.poll(Duration.ofMillis(50)).forEach(r -> count(seen, r));
                    consumer.assign(all);
                    for (TopicPartition tp : all) {
                        consumer.seek(tp, seen.getOrDefault(tp, 0));
                    }
                }
                producer.send(new ProducerRecord<>(topic, round * 7 % partitions, null, ProduceCases.bytes("r" + round))).get();
                sent++;
                int want = sent;
                Check.eventually(10_000, "record " + round + " arrives", () -> {
                    consumer.poll(Duration.ofMillis(100)).forEach(r -> count(seen, r));
                    return seen.values().stream().mapToInt(Integer::intValue).sum() >= want;
                });
            }
            Check.equal(sent, seen.values().stream().mapToInt(Integer::intValue).sum(), "the number of records");
        }
        return partitions + " partitions, one of them with news at a time, with a change of assignment";
    }

    private static void count(Map<TopicPartition, Integer> seen, ConsumerRecord<byte[], byte[]> r) {
        TopicPartition tp = new TopicPartition(r.topic(), r.partition());
        Check.equal((long) seen.getOrDefault(tp, 0), r.offset(), "the next offset of " + tp);
        seen.merge(tp, 1, Integer::sum);
    }

    private static String outOfRange(Main.Env env) throws Exception {
        ProduceCases.createTopic(env, "java-range", 1, Map.of());
        TopicPartition tp = new TopicPartition("java-range", 0);
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            producer.send(new ProducerRecord<>("java-range", ProduceCases.bytes("only"))).get();
        }
        Properties p = env.consumerProperties();
        p.put("auto.offset.reset", "none");
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 100);
            Check.fails(OffsetOutOfRangeException.class, () -> {
                for (int i = 0; i < 50; i++) {
                    consumer.poll(Duration.ofMillis(200));
                }
                return null;
            }, "a fetch at offset 100 of 1");
            consumer.seek(tp, 0);
            Check.eventually(10_000, "the record after seeking back", () -> consumer.poll(Duration.ofMillis(200)).count() == 1);
        }
        return "OffsetOutOfRange, then back in range";
    }

    private static String largeRecords(Main.Env env) throws Exception {
        ProduceCases.createTopic(env, "java-large", 1, Map.of("max.message.bytes", "12000000"));
        Properties p = env.producerProperties();
        p.put("max.request.size", "12000000");
        p.put("buffer.memory", "64000000");
        int count = 6;
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>("java-large", pattern(i, 5_000_000 + i))).get();
            }
        }
        Properties small = env.consumerProperties(); // each batch is above both limits: it has to come all the same
        small.put("max.partition.fetch.bytes", "1000");
        small.put("fetch.max.bytes", "5000");
        int i = 0;
        for (ConsumerRecord<byte[], byte[]> r : readAll(small, new TopicPartition("java-large", 0), count)) {
            Check.that(java.util.Arrays.equals(pattern(i, 5_000_000 + i), r.value()), "the 5 MB value " + i + " came back changed");
            i++;
        }
        return count + " records of 5 MB through fetch limits of 1000 and 5000 bytes";
    }

    private static byte[] pattern(int seed, int size) {
        byte[] b = new byte[size];
        new java.util.Random(seed).nextBytes(b);
        return b;
    }

    private static String readCommitted(Main.Env env) throws Exception {
        ProduceCases.createTopic(env, "java-committed", 1, Map.of());
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            for (int i = 0; i < 50; i++) {
                producer.send(new ProducerRecord<>("java-committed", ProduceCases.bytes("v" + i)));
            }
        }
        Properties p = env.consumerProperties();
        p.put("isolation.level", "read_committed");
        readAll(p, new TopicPartition("java-committed", 0), 50);
        return "records outside transactions, isolation.level=read_committed";
    }

    /** A consumer that waits at the end of the log is woken by a record, not by its time-out. */
    private static String longPoll(Main.Env env) throws Exception {
        ProduceCases.createTopic(env, "java-long-poll", 1, Map.of());
        TopicPartition tp = new TopicPartition("java-long-poll", 0);
        Properties p = env.consumerProperties();
        p.put("fetch.max.wait.ms", "4000");
        p.put("fetch.min.bytes", "1");
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties());
             Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            consumer.assign(List.of(tp));
            consumer.poll(Duration.ofMillis(500));
            long start = System.nanoTime();
            producer.send(new ProducerRecord<>("java-long-poll", ProduceCases.bytes("wake"))).get();
            List<String> got = new ArrayList<>();
            Check.eventually(3_500, "the record", () -> {
                consumer.poll(Duration.ofMillis(1000)).forEach(r -> got.add(new String(r.value(), StandardCharsets.UTF_8)));
                return !got.isEmpty();
            });
            return "woken after " + (System.nanoTime() - start) / 1_000_000 + " ms of a 4000 ms wait";
        }
    }
}
