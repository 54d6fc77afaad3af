package freshet.compat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;

/** Consumer groups of the classic protocol: joining, leaving, static members, committed offsets. */
final class GroupCases {
    private static final int PARTITIONS = 6;

    private GroupCases() { }

    static void register(Map<String, Main.Case> cases) {
        cases.put("group-rebalance", env -> rebalance(env, "org.apache.kafka.clients.consumer.RangeAssignor", "range"));
        cases.put("group-cooperative",
            env -> rebalance(env, "org.apache.kafka.clients.consumer.CooperativeStickyAssignor", "cooperative"));
        cases.put("group-static-member", GroupCases::staticMember);
        cases.put("group-commit", GroupCases::commit);
        cases.put("group-admin", GroupCases::admin);
        cases.put("group-session-timeout", GroupCases::sessionTimeout);
    }

    /** A consumer polled by a thread of its own. */
    private static final class Member implements AutoCloseable {
        final Set<TopicPartition> assigned = new HashSet<>();
        final Set<String> values = new HashSet<>();
        final AtomicInteger assignments = new AtomicInteger();
        private final AtomicBoolean stop = new AtomicBoolean();
        private final AtomicBoolean vanish = new AtomicBoolean();
        private volatile Throwable failure;
        private final Thread thread;

        Member(Properties p, String topic) {
            thread = new Thread(() -> {
                Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p);
                try {
                    consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                        @Override
                        public void onPartitionsRevoked(Collection<TopicPartition> gone) {
                            synchronized (Member.this) {
                                assigned.removeAll(gone);
                            }
                            consumer.commitSync();
                        }

                        @Override
                        public void onPartitionsAssigned(Collection<TopicPartition> more) {
                            synchronized (Member.this) {
                                assigned.addAll(more);
                            }
                            assignments.incrementAndGet();
                        }
                    });
                    while (!stop.get()) {
                        for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                            synchronized (Member.this) {
                                values.add(new String(r.value()));
                            }
                        }
                    }
                    if (!vanish.get()) {
                        consumer.commitSync();
                    }
                } catch (Throwable e) {
                    failure = e;
                } finally {
                    consumer.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(5)));
                }
            });
            thread.start();
        }

        synchronized int size() {
            return assigned.size();
        }

        synchronized Set<String> seen() {
            return new HashSet<>(values);
        }

        @Override
        public void close() throws Exception {
            stop.set(true);
            thread.join(20_000);
            Check.that(!thread.isAlive(), "a member does not stop");
            if (failure != null) {
                throw new AssertionError("a member failed: " + failure, failure);
            }
        }
    }

    private static Properties member(Main.Env env, String group, String assignor) {
        Properties p = env.consumerProperties();
        p.put("group.id", group);
        p.put("partition.assignment.strategy", assignor);
        p.put("session.timeout.ms", "10000");
        p.put("heartbeat.interval.ms", "300");
        return p;
    }

    private static void produce(Main.Env env, String topic, String prefix, int count) {
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, (prefix + i).getBytes()));
            }
        }
    }

    private static String rebalance(Main.Env env, String assignor, String name) throws Exception {
        String topic = "java-group-" + name;
        ProduceCases.createTopic(env, topic, PARTITIONS, Map.of());
        produce(env, topic, "a", 600);
        Set<String> all = new HashSet<>();
        try (Member one = new Member(member(env, topic, assignor), topic)) {
            Check.eventually(20_000, "one member has all partitions", () -> one.size() == PARTITIONS);
            Check.eventually(20_000, "one member reads everything", () -> one.seen().size() == 600);
            try (Member two = new Member(member(env, topic, assignor), topic)) {
                Check.eventually(30_000, "two members have half each", () -> one.size() == 3 && two.size() == 3);
                produce(env, topic, "b", 600);
                Check.eventually(20_000, "both together read the second half", () -> {
                    all.addAll(one.seen());
                    all.addAll(two.seen());
                    return all.size() == 1200;
                });
            }
            Check.eventually(20_000, "the one that stays has all partitions again", () -> one.size() == PARTITIONS);
            produce(env, topic, "c", 60);
            Check.eventually(20_000, "it reads what came after", () -> {
                all.addAll(one.seen());
                return all.size() == 1260;
            });
        }
        try (Admin admin = Admin.create(env.clientProperties())) {
            long committed = 0;
            for (OffsetAndMetadata o : admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().values()) {
                committed += o.offset();
            }
            Check.equal(1260L, committed, "the sum of the committed offsets");
        }
        return "1, 2 and again 1 member over " + PARTITIONS + " partitions";
    }

    private static String staticMember(Main.Env env) throws Exception {
        String topic = "java-static";
        ProduceCases.createTopic(env, topic, PARTITIONS, Map.of());
        String assignor = "org.apache.kafka.clients.consumer.RangeAssignor";
        Properties first = member(env, topic, assignor);
        first.put("group.instance.id", "instance-1");
        Properties second = member(env, topic, assignor);
        second.put("group.instance.id", "instance-2");
        try (Member one = new Member(first, topic)) {
            Set<TopicPartition> had;
            int rebalances;
            try (Member two = new Member(second, topic)) {
                Check.eventually(30_000, "two static members have half each", () -> one.size() == 3 && two.size() == 3);
                had = new HashSet<>(two.assigned);
                rebalances = one.assignments.get();
            }
            try (Member back = new Member(second, topic)) { // came back within the session time-out
                Check.eventually(20_000, "the returning member has its partitions", () -> back.size() == 3);
                Check.equal(had, new HashSet<>(back.assigned), "its assignment after the return");
                Check.equal(rebalances, one.assignments.get(), "the number of assignments of the member that stayed");
            }
            try (Admin admin = Admin.create(env.clientProperties())) {
                ConsumerGroupDescription d =
                    admin.describeConsumerGroups(List.of(topic)).describedGroups().get(topic).get();
                Set<String> instances = new HashSet<>();
                d.members().forEach(m -> instances.add(m.groupInstanceId().orElse("none")));
                Check.equal(Set.of("instance-1", "instance-2"), instances, "the instances of the group");
                admin.removeMembersFromConsumerGroup(topic,
                    new org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions(
                        List.of(new org.apache.kafka.clients.admin.MemberToRemove("instance-2")))).all().get();
                Check.eventually(20_000, "the other takes all after the removal", () -> one.size() == PARTITIONS);
            }
        }
        return "returns without a rebalance, removed by the admin client";
    }

    private static String commit(Main.Env env) throws Exception {
        String topic = "java-commit";
        ProduceCases.createTopic(env, topic, PARTITIONS, Map.of());
        TopicPartition tp = new TopicPartition(topic, 2);
        produce(env, topic, "v", 600);
        Properties p = env.consumerProperties();
        p.put("group.id", topic);
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            consumer.assign(List.of(tp));
            Check.that(consumer.committed(Set.of(tp)).get(tp) == null, "there is a committed offset before any commit");
            consumer.commitSync(Map.of(tp, new OffsetAndMetadata(42, "a note with ü")));
        }
        try (Consumer<byte[], byte[]> consumer = new KafkaConsumer<>(p)) {
            OffsetAndMetadata got = consumer.committed(Set.of(tp)).get(tp);
            Check.equal(42L, got.offset(), "the committed offset");
            Check.equal("a note with ü", got.metadata(), "its metadata");
            consumer.assign(List.of(tp));
            List<Long> offsets = new ArrayList<>();
            Check.eventually(10_000, "records from the committed offset", () -> {
                consumer.poll(Duration.ofMillis(200)).forEach(r -> offsets.add(r.offset()));
                return !offsets.isEmpty();
            });
            Check.equal(42L, offsets.get(0), "the first offset read");
        }
        return "offset and metadata kept, reading starts there";
    }

    private static String admin(Main.Env env) throws Exception {
        String topic = "java-group-admin";
        ProduceCases.createTopic(env, topic, PARTITIONS, Map.of());
        TopicPartition tp = new TopicPartition(topic, 0);
        try (Admin admin = Admin.create(env.clientProperties())) {
            try (Member m = new Member(member(env, topic, "org.apache.kafka.clients.consumer.RangeAssignor"), topic)) {
                Check.eventually(20_000, "the member has all partitions", () -> m.size() == PARTITIONS);
                Check.eventually(10_000, "the group is stable", () ->
                    admin.describeConsumerGroups(List.of(topic)).describedGroups().get(topic).get().groupState() == GroupState.STABLE);
                ConsumerGroupDescription d =
                    admin.describeConsumerGroups(List.of(topic)).describedGroups().get(topic).get();
                Check.equal("range", d.partitionAssignor(), "the assignor");
                Check.equal(PARTITIONS, d.members().iterator().next().assignment().topicPartitions().size(), "assigned partitions");
                Check.fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(topic)).all().get(),
                    "deleting a group with a member");
            }
            admin.alterConsumerGroupOffsets(topic, Map.of(tp, new OffsetAndMetadata(7))).all().get();
            Check.equal(7L, admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().get(tp).offset(), "the altered offset");
            Check.that(admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(topic)), "the group is not listed");
            admin.deleteConsumerGroupOffsets(topic, Set.of(tp)).all().get();
            Check.equal(null, admin.listConsumerGroupOffsets(topic).partitionsToOffsetAndMetadata().get().get(tp), "the deleted offset");
            admin.deleteConsumerGroups(List.of(topic)).all().get();
            Check.fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(topic)).all().get(),
                "deleting a group twice");
        }
        return "describe, list, alter and delete offsets, delete";
    }

    /** A static member that stops heartbeating without leaving is put out after its session time-out. */
    private static String sessionTimeout(Main.Env env) throws Exception {
        String topic = "java-session";
        ProduceCases.createTopic(env, topic, PARTITIONS, Map.of());
        Properties silent = member(env, topic, "org.apache.kafka.clients.consumer.RangeAssignor");
        silent.put("group.instance.id", "silent"); // a static member does not leave on close
        silent.put("session.timeout.ms", "6000");
        try (Member one = new Member(member(env, topic, "org.apache.kafka.clients.consumer.RangeAssignor"), topic)) {
            try (Member two = new Member(silent, topic)) {
                Check.eventually(30_000, "two members have half each", () -> one.size() == 3 && two.size() == 3);
                two.vanish.set(true);
            }
            Check.eventually(30_000, "the other takes over after the session time-out", () -> one.size() == PARTITIONS);
        }
        return "partitions move after session.timeout.ms";
    }
}
