"""kafka-python. Usage: kafka_python_driver.py BOOTSTRAP TESTDATA CASE..."""

import functools
import threading

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

import driver
from driver import CODECS, equal, eventually, that


def create(bootstrap, topic, partitions=1):
    a = KafkaAdminClient(bootstrap_servers=bootstrap)
    a.create_topics([NewTopic(topic, partitions, 1)])
    a.close()
    c = KafkaConsumer(bootstrap_servers=bootstrap)
    c.end_offsets([TopicPartition(topic, p) for p in range(partitions)])
    c.close()


def produce(bootstrap, topic, records, **config):
    p = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=10, **config)
    futures = [p.send(topic, **r) for r in records]
    p.flush(60)
    offsets = [f.get(30).offset for f in futures]
    p.close()
    return offsets


def consume(bootstrap, topic, count, partitions=1):
    c = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    tps = [TopicPartition(topic, p) for p in range(partitions)]
    c.assign(tps)
    c.seek_to_beginning(*tps)
    got = []

    def more():
        for records in c.poll(500).values():
            got.extend(records)
        return len(got) >= count

    eventually(60, f"{count} records of {topic}", more)
    equal(count, sum(c.end_offsets(tps).values()), "the sum of the end offsets")
    c.close()
    equal(count, len(got), f"the number of records in {topic}")
    return got


def codec(name, bootstrap, _):
    topic = "kpython-codec-" + name
    create(bootstrap, topic)
    base = 1700000000000
    records = [{"key": b"k%d" % i, "value": b"value-%d-" % i + b"abc" * (i % 40), "timestamp_ms": base + i,
                "headers": [("h", b"%d" % i)]} for i in range(2000)]
    produce(bootstrap, topic, records, compression_type=None if name == "none" else name)
    for i, m in enumerate(consume(bootstrap, topic, 2000)):
        equal((i, records[i]["key"], records[i]["value"], base + i, records[i]["headers"]),
              (m.offset, m.key, m.value, m.timestamp, list(m.headers)), f"record {i}")
    return "2000 records with keys, timestamps and headers"


def flights(name, bootstrap, testdata):
    topic = "flights-kpython-" + name
    create(bootstrap, topic)
    sent = driver.flights(testdata)
    produce(bootstrap, topic, [{"value": f} for f in sent], compression_type=None if name == "none" else name)
    that(sent == [m.value for m in consume(bootstrap, topic, len(sent))], "the flights came back changed")
    return f"{len(sent)} flights in the order of the file"


def flights_keyed(bootstrap, testdata):
    create(bootstrap, "flights-kpython-keyed", 6)
    sent = driver.flights(testdata)
    produce(bootstrap, "flights-kpython-keyed", [{"key": driver.origin(f), "value": f} for f in sent])
    got = consume(bootstrap, "flights-kpython-keyed", len(sent), 6)
    driver.check_keyed(sent, [(m.partition, m.key, m.value) for m in got])
    return "each origin in one partition and in order"


class Member(threading.Thread):
    """A consumer polled by a thread of its own, as the rebalance of several members asks for."""

    def __init__(self, bootstrap, topic):
        super().__init__(daemon=True)
        self.consumer = KafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=topic, auto_offset_reset="earliest", session_timeout_ms=10000,
            heartbeat_interval_ms=300, enable_auto_commit=False)
        self.held, self.seen, self.leaving = 0, set(), threading.Event()
        self.start()

    def run(self):
        while not self.leaving.is_set():
            for records in self.consumer.poll(200).values():
                self.seen.update(m.value for m in records)
            self.held = len(self.consumer.assignment())
        self.consumer.commit()
        self.consumer.close()

    def leave(self):
        self.leaving.set()
        self.join(30)
        that(not self.is_alive(), "a member does not stop")


def group_rebalance(bootstrap, _):
    topic = "kpython-group"
    create(bootstrap, topic, 6)
    produce(bootstrap, topic, [{"value": b"a%d" % i, "partition": i % 6} for i in range(600)])
    one = Member(bootstrap, topic)
    eventually(30, "one member reads everything", lambda: len(one.seen) == 600)
    two = Member(bootstrap, topic)
    eventually(40, "two members have half each", lambda: (one.held, two.held) == (3, 3))
    produce(bootstrap, topic, [{"value": b"b%d" % i, "partition": i % 6} for i in range(600)])
    eventually(30, "both read the second half", lambda: len(one.seen | two.seen) == 1200)
    two.leave()
    eventually(30, "the one that stays has all", lambda: one.held == 6)
    one.leave()
    a = KafkaAdminClient(bootstrap_servers=bootstrap)
    committed = a.list_group_offsets(topic)
    a.close()
    committed = committed.get(topic, committed)
    equal(1200, sum(o.offset for o in committed.values()), "the sum of the committed offsets")
    return "1, 2 and again 1 member; commit"


def timestamps(bootstrap, _):
    create(bootstrap, "kpython-times")
    base = 1600000000000
    produce(bootstrap, "kpython-times", [{"value": b"v", "timestamp_ms": base + 1000 * i} for i in range(500)])
    c = KafkaConsumer(bootstrap_servers=bootstrap)
    tp = TopicPartition("kpython-times", 0)
    for i in (0, 250, 499):
        equal(i, c.offsets_for_times({tp: base + 1000 * i - 500})[tp].offset, f"the offset before record {i}")
    equal({tp: 0}, c.beginning_offsets([tp]), "the beginning")
    equal({tp: 500}, c.end_offsets([tp]), "the end")
    c.close()
    return "offsets by time, beginning, end"


def admin(bootstrap, _):
    a = KafkaAdminClient(bootstrap_servers=bootstrap)
    a.create_topics([NewTopic("kpython-admin", 3, 1)])
    eventually(20, "the topic is listed", lambda: "kpython-admin" in a.list_topics())
    try:
        a.create_topics([NewTopic("kpython-admin", 3, 1)])
        that(False, "creating a topic twice succeeded")
    except TopicAlreadyExistsError:
        pass
    a.delete_topics(["kpython-admin"])
    eventually(20, "the topic is gone", lambda: "kpython-admin" not in a.list_topics())
    a.close()
    return "create, list, refuse twice, delete"


CASES = {
    **{"codec-" + c: functools.partial(codec, c) for c in CODECS},
    **{"flights-" + c: functools.partial(flights, c) for c in CODECS},
    "flights-keyed": flights_keyed,
    "group-rebalance": group_rebalance,
    "offsets-by-timestamp": timestamps,
    "admin": admin,
}

if __name__ == "__main__":
    driver.main(CASES)
