"""librdkafka through confluent-kafka. Usage: librdkafka_driver.py BOOTSTRAP TESTDATA CASE..."""

import functools

from confluent_kafka import (
    OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, Producer,
    TopicPartition)
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType)

import driver
from driver import CODECS, equal, eventually, that


def admin(bootstrap):
    return AdminClient({"bootstrap.servers": bootstrap})


def create(bootstrap, topic, partitions=1, config=None):
    a = admin(bootstrap)
    a.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(30)
    wanted = {TopicPartition(topic, p): OffsetSpec.latest() for p in range(partitions)}

    def answers():
        try:
            for f in a.list_offsets(wanted).values():
                f.result(10)
            return True
        except KafkaException:
            return False

    eventually(20, f"every partition of {topic} has a leader", answers)


def produce(bootstrap, topic, records, **config):
    """records: dictionaries for Producer.produce. Returns the offsets by delivery order."""
    p = Producer({"bootstrap.servers": bootstrap, "linger.ms": 10, **config})
    delivered, errors = [], []

    def done(error, message):
        (errors if error else delivered).append(error or message.offset())

    for r in records:
        while True:
            try:
                p.produce(topic, on_delivery=done, **r)
                break
            except BufferError:
                p.poll(0.1)
        p.poll(0)
    that(p.flush(60) == 0, "not everything was delivered in 60 s")
    that(not errors, f"a delivery failed: {errors[:1]}")
    return delivered


def consume(bootstrap, topic, count, partitions=1, **config):
    c = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused-" + topic, "enable.auto.commit": False, **config})
    c.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    got = []

    def more():
        for m in c.consume(1000, 0.5):
            that(m.error() is None, f"a fetch failed: {m.error()}")
            got.append(m)
        return len(got) >= count

    eventually(40, f"{count} records of {topic}", more)
    for m in c.consume(10, 0.2):
        got.append(m)
    c.close()
    equal(count, len(got), f"the number of records in {topic}")
    return got


def codec(name, bootstrap, _):
    topic = "rdkafka-codec-" + name
    create(bootstrap, topic)
    base = 1700000000000
    records = [{"key": b"k%d" % i, "value": b"value-%d-" % i + b"abc" * (i % 40), "timestamp": base + i,
                "headers": [("h", b"%d" % i)]} for i in range(5000)]
    produce(bootstrap, topic, records, **{"compression.type": name})
    for i, m in enumerate(consume(bootstrap, topic, 5000)):
        equal((i, records[i]["key"], records[i]["value"], (1, base + i), records[i]["headers"]),
              (m.offset(), m.key(), m.value(), m.timestamp(), m.headers()), f"record {i}")
    return "5000 records with keys, timestamps and headers"


def flights(name, bootstrap, testdata):
    topic = "flights-rdkafka-" + name
    create(bootstrap, topic)
    sent = driver.flights(testdata)
    produce(bootstrap, topic, [{"value": f} for f in sent], **{"compression.type": name})
    that(sent == [m.value() for m in consume(bootstrap, topic, len(sent))], "the flights came back changed")
    return f"{len(sent)} flights in the order of the file"


def flights_keyed(bootstrap, testdata):
    topic = "flights-rdkafka-keyed"
    create(bootstrap, topic, 6)
    sent = driver.flights(testdata)
    produce(bootstrap, topic, [{"key": driver.origin(f), "value": f} for f in sent],
            **{"partitioner": "murmur2_random", "enable.idempotence": True})
    got = consume(bootstrap, topic, len(sent), 6)
    driver.check_keyed(sent, [(m.partition(), m.key(), m.value()) for m in got])
    return "each origin in one partition and in order"


def idempotent(bootstrap, _):
    create(bootstrap, "rdkafka-idempotent")
    produce(bootstrap, "rdkafka-idempotent", [{"value": b"%d" % i} for i in range(20000)],
            **{"enable.idempotence": True, "batch.num.messages": 50})
    got = [int(m.value()) for m in consume(bootstrap, "rdkafka-idempotent", 20000)]
    that(got == list(range(20000)), "records are missing, doubled or out of order")
    return "20000 records in batches of 50, in order, none twice"


def group_rebalance(bootstrap, _, strategy="range", suffix="range"):
    topic = "rdkafka-group-" + suffix
    create(bootstrap, topic, 6)
    config = {"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest",
              "session.timeout.ms": 10000, "heartbeat.interval.ms": 300, "partition.assignment.strategy": strategy}
    seen = set()

    def poll(*members):
        for c in members:
            for m in c.consume(500, 0.1):
                that(m.error() is None, f"a fetch failed: {m.error()}")
                seen.add(m.value())

    produce(bootstrap, topic, [{"value": b"a%d" % i, "partition": i % 6} for i in range(600)])
    one = Consumer(config)
    one.subscribe([topic])
    eventually(30, "one member reads everything", lambda: poll(one) or len(seen) == 600)
    two = Consumer(config)
    two.subscribe([topic])
    eventually(40, "two members have half each",
               lambda: poll(one, two) or (len(one.assignment()), len(two.assignment())) == (3, 3))
    produce(bootstrap, topic, [{"value": b"b%d" % i, "partition": i % 6} for i in range(600)])
    eventually(30, "both read the second half", lambda: poll(one, two) or len(seen) == 1200)
    two.close()
    eventually(30, "the one that stays has all", lambda: poll(one) or len(one.assignment()) == 6)
    one.close()  # commits what the rebalances have not committed
    a = admin(bootstrap)  # held: the futures die with the client
    result = a.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topic)])[topic].result(20)
    equal(1200, sum(p.offset for p in result.topic_partitions), "the sum of the committed offsets")
    return f"1, 2 and again 1 member, {strategy}"


def commit(bootstrap, _):
    create(bootstrap, "rdkafka-commit")
    produce(bootstrap, "rdkafka-commit", [{"value": b"%d" % i} for i in range(100)])
    config = {"bootstrap.servers": bootstrap, "group.id": "rdkafka-commit", "enable.auto.commit": False,
              "auto.offset.reset": "earliest"}
    c = Consumer(config)
    c.commit(offsets=[TopicPartition("rdkafka-commit", 0, 60, "note")], asynchronous=False)
    c.close()
    c = Consumer(config)
    got = c.committed([TopicPartition("rdkafka-commit", 0)], 20)[0]
    equal((60, "note"), (got.offset, got.metadata), "the committed offset and metadata")
    c.subscribe(["rdkafka-commit"])
    first = []
    eventually(30, "a record", lambda: first.extend(c.consume(1, 0.5)) or first)
    equal(60, first[0].offset(), "the first offset read")
    c.close()
    return "offset and metadata kept, reading starts there"


def timestamps(bootstrap, _):
    create(bootstrap, "rdkafka-times")
    base = 1600000000000
    produce(bootstrap, "rdkafka-times", [{"value": b"v", "timestamp": base + 1000 * i} for i in range(1000)])
    c = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused"})
    for i in (0, 1, 500, 999):
        for before in (0, 999):
            got = c.offsets_for_times([TopicPartition("rdkafka-times", 0, base + 1000 * i - before)], 20)[0]
            equal(i, got.offset, f"the offset {before} ms before record {i}")
    equal((0, 1000), c.get_watermark_offsets(TopicPartition("rdkafka-times", 0), 20), "the watermarks")
    c.close()
    return "offsets by time, watermarks"


def admin_case(bootstrap, _):
    a, topic = admin(bootstrap), "rdkafka-admin"
    create(bootstrap, topic, 2, {"retention.ms": "1234567"})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    equal("1234567", a.describe_configs([resource])[resource].result(20)["retention.ms"].value, "retention.ms")
    a.create_partitions([NewPartitions(topic, 5)])[topic].result(20)
    eventually(20, "five partitions", lambda: len(a.list_topics(topic, 20).topics[topic].partitions) == 5)
    resource.add_incremental_config(ConfigEntry("retention.ms", "99", incremental_operation=AlterConfigOpType.SET))
    a.incremental_alter_configs([resource])[resource].result(20)
    plain = ConfigResource(ResourceType.TOPIC, topic)
    eventually(20, "the new value", lambda: a.describe_configs([plain])[plain].result(20)["retention.ms"].value == "99")
    produce(bootstrap, topic, [{"value": b"v", "partition": 0}] * 10)
    tp = TopicPartition(topic, 0, 4)
    equal(4, a.delete_records([tp])[tp].result(20).low_watermark, "the low watermark")
    spec = {TopicPartition(topic, 0): OffsetSpec.earliest()}
    equal(4, next(iter(a.list_offsets(spec, isolation_level=IsolationLevel.READ_UNCOMMITTED).values())).result(20).offset, "earliest")
    equal(1, len(a.describe_cluster().result(20).nodes), "the number of nodes")
    try:
        a.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
        that(False, "creating a topic twice succeeded")
    except KafkaException as e:
        equal(KafkaError.TOPIC_ALREADY_EXISTS, e.args[0].code(), "the error of creating twice")
    a.delete_topics([topic])[topic].result(20)
    eventually(20, "the topic is gone", lambda: topic not in a.list_topics(timeout=20).topics)
    return "create, describe, alter, grow, delete records, delete"


CASES = {
    **{"codec-" + c: functools.partial(codec, c) for c in CODECS},
    **{"flights-" + c: functools.partial(flights, c) for c in CODECS},
    "flights-keyed": flights_keyed,
    "idempotent": idempotent,
    "group-rebalance": group_rebalance,
    "group-cooperative": functools.partial(group_rebalance, strategy="cooperative-sticky", suffix="cooperative"),
    "group-commit": commit,
    "offsets-by-timestamp": timestamps,
    "admin": admin_case,
}

if __name__ == "__main__":
    driver.main(CASES)
