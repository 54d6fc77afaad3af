package freshet.compat;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** The Java admin client. */
final class AdminCases {
    private AdminCases() { }

    static void register(Map<String, Main.Case> cases) {
        cases.put("admin-topics", AdminCases::topics);
        cases.put("admin-topic-errors", AdminCases::topicErrors);
        cases.put("admin-configs", AdminCases::configs);
        cases.put("admin-cluster", AdminCases::cluster);
        cases.put("admin-describe-topics-paged", AdminCases::describePaged);
        cases.put("admin-offsets", AdminCases::offsets);
        cases.put("admin-log-dirs", AdminCases::logDirs);
        cases.put("admin-producers", AdminCases::producers);
    }

    private static void settle(Admin admin, String topic, boolean exists) throws Exception {
        Check.eventually(10_000, topic + (exists ? " is there" : " is gone"),
            () -> admin.listTopics().names().get().contains(topic) == exists);
    }

    private static String topics(Main.Env env) throws Exception {
        String topic = "java-admin-topic";
        try (Admin admin = Admin.create(env.clientProperties())) {
            CreateTopicsResult created = admin.createTopics(
                List.of(new NewTopic(topic, Optional.of(4), Optional.empty()).configs(Map.of("retention.ms", "1234567"))));
            Uuid id = created.topicId(topic).get();
            Check.equal(4, created.numPartitions(topic).get(), "the partitions in the answer");
            Check.equal("1234567", created.config(topic).get().get("retention.ms").value(), "the config in the answer");
            settle(admin, topic, true);
            TopicDescription byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id);
            Check.equal(topic, byId.name(), "the name by topic id");
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(9))).all().get();
            Check.eventually(10_000, "nine partitions", () ->
                admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 9);
            TopicDescription d = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
            Check.equal(id, d.topicId(), "the topic id");
            Check.that(!d.isInternal(), "the topic is called internal");
            d.partitions().forEach(p -> Check.equal(p.leader().id(), p.isr().get(0).id(), "the in-sync replica"));
            admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
            settle(admin, topic, false);
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            settle(admin, topic, true);
            Uuid second = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).topicId();
            Check.that(!second.equals(id), "the topic created again has the id of the deleted one");
            Check.fails(UnknownTopicIdException.class,
                () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get(), "the old topic id");
            admin.deleteTopics(List.of(topic)).all().get();
        }
        return "create, describe by name and id, grow, delete by id, create again";
    }

    private static String topicErrors(Main.Env env) throws Exception {
        try (Admin admin = Admin.create(env.clientProperties())) {
            admin.createTopics(List.of(new NewTopic("java-exists", 2, (short) 1))).all().get();
            settle(admin, "java-exists", true);
            Check.fails(TopicExistsException.class,
                () -> admin.createTopics(List.of(new NewTopic("java-exists", 1, (short) 1))).all().get(), "creating twice");
            Check.fails(InvalidReplicationFactorException.class,
                () -> admin.createTopics(List.of(new NewTopic("java-rf", 1, (short) 5))).all().get(), "replication factor 5");
            Check.fails(InvalidPartitionsException.class,
                () -> admin.createTopics(List.of(new NewTopic("java-zero", 0, (short) 1))).all().get(), "no partitions");
            Check.fails(InvalidTopicException.class,
                () -> admin.createTopics(List.of(new NewTopic("a".repeat(250), 1, (short) 1))).all().get(), "a name of 250 characters");
            Check.fails(InvalidTopicException.class,
                () -> admin.createTopics(List.of(new NewTopic("..", 1, (short) 1))).all().get(), "the name ..");
            admin.createTopics(List.of(new NewTopic("java.exists-a", 1, (short) 1))).all().get();
            Check.fails(InvalidTopicException.class, () -> admin.createTopics(
                List.of(new NewTopic("java_exists-a", 1, (short) 1))).all().get(), "a name that differs in . and _ only");
            Check.fails(InvalidConfigurationException.class, () -> admin.createTopics(List.of(
                new NewTopic("java-bad-config", 1, (short) 1).configs(Map.of("no.such.config", "1")))).all().get(), "an unknown config");
            Check.fails(InvalidConfigurationException.class, () -> admin.createTopics(List.of(
                new NewTopic("java-bad-config", 1, (short) 1).configs(Map.of("segment.bytes", "many")))).all().get(), "segment.bytes=many");
            Check.fails(InvalidPartitionsException.class,
                () -> admin.createPartitions(Map.of("java-exists", NewPartitions.increaseTo(1))).all().get(), "fewer partitions");
            Check.fails(UnknownTopicOrPartitionException.class,
                () -> admin.createPartitions(Map.of("java-none", NewPartitions.increaseTo(3))).all().get(), "partitions of no topic");
            Check.fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of("java-none")).all().get(), "deleting no topic");
            Check.fails(UnknownTopicOrPartitionException.class,
                () -> admin.describeTopics(List.of("java-none")).allTopicNames().get(), "describing no topic");
            admin.createTopics(List.of(new NewTopic("java-validated", 1, (short) 1)),
                new CreateTopicsOptions().validateOnly(true)).all().get();
            Check.that(!admin.listTopics().names().get().contains("java-validated"), "validateOnly created the topic");
        }
        return "thirteen refusals, each with Kafka's exception";
    }

    private static String configs(Main.Env env) throws Exception {
        String topic = "java-admin-config";
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = Admin.create(env.clientProperties())) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            settle(admin, topic, true);
            Config before = admin.describeConfigs(List.of(resource)).all().get().get(resource);
            for (String[] want : new String[][] {
                {"cleanup.policy", "delete"}, {"compression.type", "producer"}, {"retention.ms", "604800000"},
                {"segment.bytes", "1073741824"}, {"max.message.bytes", "1048588"}, {"message.timestamp.type", "CreateTime"}, {"flush.messages", "9223372036854775807"},
                {"index.interval.bytes", "4096"}, {"retention.bytes", "-1"}}) {
                Check.equal(want[1], before.get(want[0]).value(), want[0]);
                Check.that(before.get(want[0]).isDefault(), want[0] + " is not called a default");
            }
            // With eligible leader replicas it is a cluster-wide dynamic value, not a default.
            Check.equal("1", before.get("min.insync.replicas").value(), "min.insync.replicas");
            alter(admin, resource, new AlterConfigOp(new ConfigEntry("retention.ms", "1000"), AlterConfigOp.OpType.SET),
                new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND));
            Check.eventually(10_000, "the new values", () -> {
                Config c = admin.describeConfigs(List.of(resource)).all().get().get(resource);
                return c.get("retention.ms").value().equals("1000") && c.get("cleanup.policy").value().equals("delete,compact");
            });
            ConfigEntry entry = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms");
            Check.equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, entry.source(), "the source of retention.ms");
            alter(admin, resource, new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.SUBTRACT),
                new AlterConfigOp(new ConfigEntry("retention.ms", ""), AlterConfigOp.OpType.DELETE));
            Check.eventually(10_000, "the defaults again", () -> {
                Config c = admin.describeConfigs(List.of(resource)).all().get().get(resource);
                return c.get("retention.ms").value().equals("604800000") && c.get("cleanup.policy").value().equals("delete");
            });
            Check.fails(InvalidConfigurationException.class, () -> {
                alter(admin, resource, new AlterConfigOp(new ConfigEntry("min.insync.replicas", "0"), AlterConfigOp.OpType.SET));
                return null;
            }, "min.insync.replicas=0");
            ConfigResource none = new ConfigResource(ConfigResource.Type.TOPIC, "java-none");
            Check.fails(UnknownTopicOrPartitionException.class, () -> admin.describeConfigs(List.of(none)).all().get(), "configs of no topic");
            ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
            Check.equal("1", admin.describeConfigs(List.of(broker)).all().get().get(broker).get("node.id").value(), "node.id");
        }
        return "defaults, set, append, subtract, delete, refusals, broker";
    }

    private static void alter(Admin admin, ConfigResource resource, AlterConfigOp... ops) throws Exception {
        Map<ConfigResource, Collection<AlterConfigOp>> change = Map.of(resource, List.of(ops));
        admin.incrementalAlterConfigs(change).all().get();
    }

    private static String cluster(Main.Env env) throws Exception {
        try (Admin admin = Admin.create(env.clientProperties())) {
            DescribeClusterResult c = admin.describeCluster();
            Check.equal(1, c.nodes().get().size(), "the number of nodes");
            Check.equal(1, c.nodes().get().iterator().next().id(), "the node id");
            Check.equal(1, c.controller().get().id(), "the controller");
            Check.equal(22, c.clusterId().get().length(), "the length of the cluster id");
            admin.describeFeatures().featureMetadata().get();
            return "cluster " + c.clusterId().get();
        }
    }

    /** DescribeTopicPartitions answers in pages with a cursor. */
    private static String describePaged(Main.Env env) throws Exception {
        try (Admin admin = Admin.create(env.clientProperties())) {
            admin.createTopics(List.of(new NewTopic("java-paged-a", 7, (short) 1), new NewTopic("java-paged-b", 9, (short) 1))).all().get();
            settle(admin, "java-paged-b", true);
            Map<String, TopicDescription> d = admin.describeTopics(TopicCollection.ofTopicNames(List.of("java-paged-a", "java-paged-b")),
                new DescribeTopicsOptions().partitionSizeLimitPerResponse(3)).allTopicNames().get();
            Check.equal(7, d.get("java-paged-a").partitions().size(), "partitions of the first");
            Check.equal(9, d.get("java-paged-b").partitions().size(), "partitions of the second");
        }
        return "16 partitions in pages of 3";
    }

    private static String offsets(Main.Env env) throws Exception {
        TopicPartition tp = new TopicPartition("java-admin-offsets", 0);
        ProduceCases.createTopic(env, tp.topic(), 1, Map.of());
        long[] times = {1_600_000_001_000L, 1_600_000_009_000L, 1_600_000_005_000L, 1_600_000_002_000L};
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            for (long time : times) {
                producer.send(new ProducerRecord<>(tp.topic(), 0, time, null, new byte[10])).get();
            }
        }
        try (Admin admin = Admin.create(env.clientProperties())) {
            Check.equal(0L, offset(admin, tp, OffsetSpec.earliest()).offset(), "earliest");
            Check.equal(4L, offset(admin, tp, OffsetSpec.latest()).offset(), "latest");
            Check.equal(1L, offset(admin, tp, OffsetSpec.maxTimestamp()).offset(), "the offset of the largest timestamp");
            Check.equal(times[1], offset(admin, tp, OffsetSpec.maxTimestamp()).timestamp(), "the largest timestamp");
            Check.equal(1L, offset(admin, tp, OffsetSpec.forTimestamp(1_600_000_003_000L)).offset(), "the first at or after a time");
            Check.equal(-1L, offset(admin, tp, OffsetSpec.forTimestamp(1_700_000_000_000L)).offset(), "a time after the last");
            Check.equal(0L, offset(admin, tp, OffsetSpec.earliestLocal()).offset(), "earliest local");
            Check.equal(2L, admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(2))).lowWatermarks().get(tp).get().lowWatermark(), "the low watermark");
            Check.equal(2L, offset(admin, tp, OffsetSpec.earliest()).offset(), "earliest after deleteRecords");
            Check.equal(4L, admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(tp).get().lowWatermark(), "delete to the high watermark");
            Check.fails(OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(99))).all().get(), "deleting above the end");
        }
        return "earliest, latest, max timestamp, by time, delete records";
    }

    private static ListOffsetsResult.ListOffsetsResultInfo offset(Admin admin, TopicPartition tp, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(tp, spec)).partitionResult(tp).get();
    }

    private static String logDirs(Main.Env env) throws Exception {
        ProduceCases.createTopic(env, "java-log-dirs", 2, Map.of());
        try (Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            producer.send(new ProducerRecord<>("java-log-dirs", 1, null, new byte[5000])).get();
        }
        try (Admin admin = Admin.create(env.clientProperties())) {
            var dirs = admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1);
            Check.equal(1, dirs.size(), "the number of log directories");
            var dir = dirs.values().iterator().next();
            Check.that(dir.error() == null, "the log directory has an error: " + dir.error());
            Check.equal(0L, dir.replicaInfos().get(new TopicPartition("java-log-dirs", 0)).size(), "the size of the empty partition");
            long size = dir.replicaInfos().get(new TopicPartition("java-log-dirs", 1)).size();
            Check.that(size > 5000 && size < 5200, "the size of the other partition is " + size);
            Check.that(dir.totalBytes().getAsLong() > 0, "the volume has no size");
        }
        return "sizes by partition, volume size";
    }

    private static String producers(Main.Env env) throws Exception {
        TopicPartition tp = new TopicPartition("java-producers", 0);
        ProduceCases.createTopic(env, tp.topic(), 1, Map.of());
        try (Admin admin = Admin.create(env.clientProperties());
             Producer<byte[], byte[]> producer = new KafkaProducer<>(env.producerProperties())) {
            Check.equal(0, admin.describeProducers(Set.of(tp)).partitionResult(tp).get().activeProducers().size(), "producers before");
            for (int i = 0; i < 3; i++) {
                producer.send(new ProducerRecord<>(tp.topic(), new byte[10])).get();
            }
            List<ProducerState> states = admin.describeProducers(Set.of(tp)).partitionResult(tp).get().activeProducers();
            Check.equal(1, states.size(), "the number of active producers");
            Check.equal(2, states.get(0).lastSequence(), "the last sequence");
            Check.equal(0, states.get(0).producerEpoch(), "the producer epoch");
            Check.that(states.get(0).currentTransactionStartOffset().isEmpty(), "there is a transaction");
        }
        return "an idempotent producer's state";
    }
}
