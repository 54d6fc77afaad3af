package freshet.compat;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;

/**
 * A Java producer or consumer for compat/chaos, which says what it does line by line; the lines are described
 * in compat/chaos/drivers_test.go. It ends when its input does.
 *
 * <pre>
 * produce BOOTSTRAP TOPIC PARTITIONS NUMBER
 * consume BOOTSTRAP TOPIC GROUP
 * </pre>
 */
public final class ChaosClient {
    private static final int RATE = 200; // records a second

    private static volatile boolean ended;
    private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    private ChaosClient() { }

    public static void main(String[] args) throws Exception {
        Thread watch = new Thread(ChaosClient::watchInput);
        watch.setDaemon(true);
        watch.start();
        if (args[0].equals("produce")) {
            produce(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]));
        } else {
            consume(args[1], args[2], args[3]);
        }
    }

    private static void watchInput() {
        try {
            while (System.in.read() >= 0) {
                continue;
            }
        } catch (IOException e) {
            // as good as its end
        }
        ended = true;
    }

    private static synchronized void say(String line) {
        OUT.println(line);
    }

    private static synchronized void flush() {
        OUT.flush();
    }

    private static Properties properties(String bootstrap) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("request.timeout.ms", "3000");
        p.put("reconnect.backoff.max.ms", "500");
        p.put("metadata.max.age.ms", "2000");
        p.put("socket.connection.setup.timeout.ms", "2000");
        for (String side : List.of("key", "value")) {
            p.put(side + ".serializer", "org.apache.kafka.common.serialization.StringSerializer");
            p.put(side + ".deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        }
        return p;
    }

    private static String value(int number, long counter) {
        return number + ":" + counter + ":" + String.valueOf((char) ('a' + counter % 26)).repeat((int) (counter * 31 % 200));
    }

    private static void produce(String bootstrap, String topic, int partitions, int number) throws InterruptedException {
        Properties p = properties(bootstrap);
        p.put("delivery.timeout.ms", "600000");
        p.put("linger.ms", "5");
        p.put("retry.backoff.ms", "50");
        p.put("retry.backoff.max.ms", "500");
        p.put("max.block.ms", "600000");
        p.put("compression.type", "gzip");
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(p)) {
            long start = System.nanoTime();
            for (long counter = 0; !ended; ) {
                if (counter > (System.nanoTime() - start) / 1e9 * RATE) {
                    flush();
                    Thread.sleep(5);
                    continue;
                }
                long record = counter++;
                int partition = (int) (record % partitions);
                say("i " + record + " " + partition + " " + System.nanoTime());
                producer.send(new ProducerRecord<>(topic, partition, null, value(number, record)), (metadata, error) -> {
                    if (error != null) {
                        say("f " + record + " " + System.nanoTime() + " " + error.toString().replace('\n', ' '));
                    } else {
                        say("o " + record + " " + metadata.offset() + " " + System.nanoTime());
                    }
                });
            }
            producer.flush();
        }
        flush();
    }

    private static void consume(String bootstrap, String topic, String group) {
        Properties p = properties(bootstrap);
        p.put("group.id", group);
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("session.timeout.ms", "6000");
        p.put("heartbeat.interval.ms", "1000");
        p.put("fetch.max.wait.ms", "300");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p)) {
            consumer.subscribe(List.of(topic));
            while (!ended) {
                try {
                    ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
                    for (ConsumerRecord<String, String> r : records) {
                        say("r " + r.partition() + " " + r.offset() + " " + r.value());
                    }
                    flush();
                    if (!records.isEmpty()) {
                        consumer.commitSync(Duration.ofSeconds(3));
                    }
                } catch (KafkaException e) {
                    System.err.println(e); // what was not committed comes again
                }
            }
        }
        flush();
    }
}
