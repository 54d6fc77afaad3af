"""A librdkafka producer or consumer for compat/chaos, which says what it does line by line.

Usage: chaos_client.py produce BOOTSTRAP TOPIC PARTITIONS NUMBER
       chaos_client.py consume BOOTSTRAP TOPIC GROUP

The lines are described in compat/chaos/drivers_test.go. It ends when its input does.
"""

import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer

RATE = 200  # records a second

ended = threading.Event()


def watch_input():
    sys.stdin.read()
    ended.set()


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")


def value(number, counter):
    return f"{number}:{counter}:" + chr(ord("a") + counter % 26) * (counter * 31 % 200)


def produce(bootstrap, topic, partitions, number):
    p = Producer({
        "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 0,
        "socket.timeout.ms": 3000, "request.timeout.ms": 3000, "retry.backoff.ms": 50, "retry.backoff.max.ms": 500,
        "reconnect.backoff.max.ms": 500, "topic.metadata.refresh.interval.ms": 2000, "compression.type": "snappy"})
    counter = 0
    start = time.monotonic()

    def done(number_of_record):
        def call(error, message):
            if error:
                say("f", number_of_record, time.monotonic_ns(), error)
            else:
                # librdkafka does not know the offset of a record whose answer it missed and whose successor
                # was acknowledged.
                offset = -1 if message.offset() is None else message.offset()
                say("o", number_of_record, offset, time.monotonic_ns())
        return call

    while not ended.is_set():
        if counter > (time.monotonic() - start) * RATE:
            p.poll(0.005)
            sys.stdout.flush()
            continue
        partition = counter % partitions
        say("i", counter, partition, time.monotonic_ns())
        while True:
            try:
                p.produce(topic, value(number, counter), partition=partition, on_delivery=done(counter))
                break
            except BufferError:
                p.poll(0.1)
        counter += 1
    while p.flush(1) > 0:
        sys.stdout.flush()
    sys.stdout.flush()


def consume(bootstrap, topic, group):
    c = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000, "socket.timeout.ms": 3000,
        "reconnect.backoff.max.ms": 500, "fetch.wait.max.ms": 300, "topic.metadata.refresh.interval.ms": 2000})
    c.subscribe([topic])
    while not ended.is_set():
        messages = c.consume(500, 0.2)
        for m in messages:
            if not m.error():
                say("r", m.partition(), m.offset(), m.value().decode())
        sys.stdout.flush()
        if messages:
            try:
                c.commit(asynchronous=False)
            except KafkaException:
                pass  # the records come again
    c.close()


if __name__ == "__main__":
    threading.Thread(target=watch_input, daemon=True).start()
    if sys.argv[1] == "produce":
        produce(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        consume(*sys.argv[2:5])
