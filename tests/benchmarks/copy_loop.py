"""The floor: bytes in, bytes out, offsets in the transaction, no state. What librdkafka itself costs from Python.

python -m tests.benchmarks.copy_loop           (settings from STREAMAPP_*, as for a worker)
"""

from __future__ import annotations

import gc
import os
import signal
import time
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

OUT: Final = "bench-out"
REQUEST: Final = 10.0


def main() -> None:
    app_id, bootstrap = os.environ["STREAMAPP_APP_ID"], os.environ["STREAMAPP_BROKER"]
    interval = float(os.environ.get("STREAMAPP_COMMIT_INTERVAL", "0.2"))
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": f"{app_id}-copy",
            "linger.ms": 10,
            "batch.size": 1_000_000,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 500_000,
        }
    )
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": app_id,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": 16_384,
        }
    )
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    producer.init_transactions(REQUEST)
    producer.begin_transaction()
    consumer.subscribe(["orders"])
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    offsets: dict[tuple[str, int], int] = {}
    due = time.monotonic() + interval
    while not stopped:
        batch = consumer.consume(500, 0.02)
        for message in batch:
            copy(producer, message)
        for message in batch:
            offsets[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
        if offsets and time.monotonic() >= due:
            producer.send_offsets_to_transaction(
                [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()],
                consumer.consumer_group_metadata(),
                REQUEST,
            )
            producer.commit_transaction(REQUEST)
            producer.begin_transaction()
            offsets, due = {}, time.monotonic() + interval
    producer.abort_transaction(REQUEST)
    consumer.close()


def copy(producer: Producer, message: Message) -> None:
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    while True:
        try:
            producer.produce(OUT, message.value(), message.key(), timestamp=message.timestamp()[1])
            return
        except BufferError:
            producer.poll(0.05)


if __name__ == "__main__":
    main()
