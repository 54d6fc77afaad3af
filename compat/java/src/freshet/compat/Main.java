package freshet.compat;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;

/**
 * Runs cases of Apache Kafka's Java clients against a broker, in one JVM, and prints one line a case:
 * {@code CASE name ok|fail milliseconds detail}. Arguments: bootstrap servers, testdata folder, case names.
 */
public final class Main {
    interface Case {
        /** Runs the case; what it returns is shown as the detail, what it throws is the failure. */
        String run(Env env) throws Exception;
    }

    /** What every case is given. */
    record Env(String bootstrap, String testdata) {
        Properties clientProperties() {
            Properties p = new Properties();
            p.put("bootstrap.servers", bootstrap);
            p.put("request.timeout.ms", "20000");
            p.put("default.api.timeout.ms", "30000");
            return p;
        }

        Properties producerProperties() {
            Properties p = clientProperties();
            p.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
            p.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
            return p;
        }

        Properties consumerProperties() {
            Properties p = clientProperties();
            p.put("key.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
            p.put("value.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
            p.put("auto.offset.reset", "earliest");
            p.put("enable.auto.commit", "false");
            return p;
        }
    }

    private static final Map<String, Case> CASES = new LinkedHashMap<>();

    static {
        ProduceCases.register(CASES);
        ConsumeCases.register(CASES);
        GroupCases.register(CASES);
        AdminCases.register(CASES);
        FlightCases.register(CASES);
    }

    private Main() { }

    public static void main(String[] args) {
        Env env = new Env(args[0], args[1]);
        List<String> names = Arrays.asList(args).subList(2, args.length);
        boolean failed = false;
        for (String name : names) {
            long start = System.nanoTime();
            String status = "ok";
            String detail;
            try {
                Case c = CASES.get(name);
                Check.that(c != null, "there is no case of this name");
                detail = c.run(env);
            } catch (Throwable e) {
                failed = true;
                status = "fail";
                detail = String.valueOf(e);
                e.printStackTrace();
            }
            System.out.println("CASE " + name + " " + status + " " + (System.nanoTime() - start) / 1_000_000 + " "
                + detail.replace('\n', ' '));
        }
        System.exit(failed ? 1 : 0);
    }
}
