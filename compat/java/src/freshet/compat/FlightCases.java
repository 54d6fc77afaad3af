package freshet.compat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** The real flight records of testdata/flights.jsonl, in with each codec. */
final class FlightCases {
    private static final int PARTITIONS = 6;

    private FlightCases() { }

    static void register(Map<String, Main.Case> cases) {
        for (String codec : ProduceCases.CODECS) {
            cases.put("flights-" + codec, env -> inOrder(env, codec));
        }
        cases.put("flights-keyed", FlightCases::keyed);
    }

    private static List<String> flights(Main.Env env) throws Exception {
        return Files.readAllLines(Path.of(env.testdata(), "flights.jsonl"), StandardCharsets.UTF_8);
    }

    /** One partition: everything comes back in the order of the file. */
    private static String inOrder(Main.Env env, String codec) throws Exception {
        String topic = "flights-java-" + codec;
        ProduceCases.createTopic(env, topic, 1, Map.of());
        List<String> flights = flights(env);
        Properties p = env.producerProperties();
        p.put("compression.type", codec);
        p.put("linger.ms", "10");
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(p)) {
            for (String flight : flights) {
                producer.send(new ProducerRecord<>(topic, ProduceCases.bytes(flight)));
            }
        }
        int i = 0;
        for (ConsumerRecord<byte[], byte[]> r : ConsumeCases.readAll(env, new TopicPartition(topic, 0), flights.size())) {
            Check.equal(flights.get(i++), new String(r.value(), StandardCharsets.UTF_8), "flight " + i);
        }
        return flights.size() + " flights in the order of the file";
    }

    /** Six partitions, keyed by origin: each key stays in one partition and keeps its order. */
    private static String keyed(Main.Env env) throws Exception {
        String topic = "flights-java-keyed";
        ProduceCases.createTopic(env, topic, PARTITIONS, Map.of());
        Map<String, List<String>> want = new HashMap<>();
        int sent = 0;
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            for (String flight : flights(env)) {
                String origin = flight.replaceAll(".*\"origin\":\"([A-Z0-9]+)\".*", "$1");
                want.computeIfAbsent(origin, o -> new ArrayList<>()).add(flight);
                producer.send(new ProducerRecord<>(topic, ProduceCases.bytes(origin), ProduceCases.bytes(flight)));
                sent++;
            }
        }
        Map<String, List<String>> got = new HashMap<>();
        Map<String, Integer> home = new HashMap<>();
        int count = 0;
        for (int i = 0; i < PARTITIONS; i++) {
            TopicPartition tp = new TopicPartition(topic, i);
            long end;
            try (var consumer = new org.apache.kafka.clients.consumer.KafkaConsumer<byte[], byte[]>(env.consumerProperties())) {
                end = consumer.endOffsets(List.of(tp)).get(tp);
            }
            for (ConsumerRecord<byte[], byte[]> r : ConsumeCases.readAll(env, tp, (int) end)) {
                String origin = new String(r.key(), StandardCharsets.UTF_8);
                Check.equal(i, home.computeIfAbsent(origin, o -> r.partition()), "the partition of " + origin);
                got.computeIfAbsent(origin, o -> new ArrayList<>()).add(new String(r.value(), StandardCharsets.UTF_8));
                count++;
            }
        }
        Check.equal(sent, count, "the number of flights");
        Check.equal(want, got, "the flights by origin");
        return count + " flights of " + want.size() + " origins, each in one partition and in order";
    }
}
