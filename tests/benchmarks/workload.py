"""The input of a measurement: orders, some resent, loaded so that a worker sees them all at one moment."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from confluent_kafka import Producer

from tests.benchmarks.jobs import LARGE, SMALL
from tests.support.kafka_records import partition_of
from tests.support.orders import Fed
from tests.support.topics import Countdown, TookTooLong, bare_consumer, create_topic, delete_topics

WARM: Final = "bench-warm"
"""Takes what a generator sends to get its connections; nobody reads it."""
PARTITIONS: Final = {
    "orders": 8,
    "orders-priced": 8,
    "sku-demand": 5,
    "sku-totals": 5,
    "orders-dlq": 8,
    "bench-out": 8,
    WARM: 1,
}
CUSTOMERS: Final = 2_000
SKUS: Final = 300
NOTES: Final = 64
"""Different notes of large orders: as many as keep a compressor from finding them again within a batch."""
BODIES: Final = 4_096
"""Orders without ids that a steady stream takes in turn."""


def fresh_topics(bootstrap: str, changelogs: dict[str, int]) -> None:
    """Make every topic of a run anew, so that no run meets another's records. `changelogs` with partition counts."""
    delete_topics(bootstrap, {**PARTITIONS, **changelogs})
    for name, count in PARTITIONS.items():
        create_topic(bootstrap, name, count)
    for name, count in changelogs.items():
        create_topic(bootstrap, name, count, {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"})


def forget_topics(bootstrap: str, app_id: str) -> None:
    """Delete what carries the app id in its name: changelogs, and what a framework made for itself."""
    consumer = bare_consumer(bootstrap)
    try:
        known = list(consumer.list_topics(timeout=10).topics)
    finally:
        consumer.close()
    delete_topics(bootstrap, [name for name in known if app_id in name])


def some_orders(count: int, *, seed: int, resent: float, first_id: int = 0, value_bytes: int = SMALL) -> Iterator[Fed]:
    """Yield orders of about 90 bytes, or 10 kB; a share is an earlier one again."""
    rng = random.Random(seed)
    now = int(time.time() * 1000)
    recent: list[Fed] = []
    bodies = _bodies(rng, value_bytes)
    for at in range(count):
        if recent and rng.random() < resent:
            yield rng.choice(recent)
            continue
        fed = _order(first_id + at, bodies[rng.randrange(BODIES)], now)
        recent.append(fed)
        if len(recent) > 4_000:
            del recent[:2_000]
        yield fed


def stream_of_orders(seed: int, value_bytes: int = SMALL) -> Callable[[int], Fed]:
    """Return a function that makes the order of a given id, cheaply enough to be called while latency is measured."""
    bodies = _bodies(random.Random(seed), value_bytes)
    return lambda number: _order(number, bodies[number % BODIES], 0)


_Body = tuple[bytes, bytes, int]
"""Key, the JSON after the id, partition."""


def _order(number: int, body: _Body, timestamp: int) -> Fed:
    key, rest, partition = body
    return Fed(key, b'{"order_id":"%08d",%b' % (number, rest), [], timestamp, partition, "order")


def _bodies(rng: random.Random, value_bytes: int) -> Sequence[_Body]:
    partitions = [partition_of(f"c{number}".encode(), 8) for number in range(CUSTOMERS)]
    notes = [rng.randbytes(LARGE // 2 - 50).hex() for _ in range(NOTES)] if value_bytes >= LARGE else []
    bodies: list[_Body] = []
    for _ in range(BODIES):
        customer = rng.randrange(CUSTOMERS)
        fields: dict[str, object] = {
            "customer": f"c{customer}",
            "sku": f"s{rng.randrange(SKUS)}",
            "quantity": rng.randrange(1, 10),
            "unit_price_cents": rng.randrange(100, 10_000),
        }
        if notes:
            fields["note"] = rng.choice(notes)
        rest = json.dumps(fields, separators=(",", ":")).encode()[1:]
        bodies.append((f"c{customer}".encode(), rest, partitions[customer]))
    return bodies


class Load:
    """Records in `orders` that nobody sees yet: one transaction, open until `release()`.

    So a worker can be started and idle on the very topic, and the clock starts when everything is there at once.
    """

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": f"bench-load-{time.time_ns()}",
                "transaction.timeout.ms": 600_000,
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 500_000,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(30)

    def put(self, records: Sequence[Fed], *, deadline: float = 120.0) -> None:
        countdown = Countdown(deadline)
        self._producer.begin_transaction()
        for fed in records:
            while True:
                try:
                    self._producer.produce("orders", fed.value, fed.key, fed.partition, timestamp=fed.timestamp)
                    break
                except BufferError:
                    self._producer.poll(0.1)
                    if countdown.over:
                        raise TookTooLong("the load is not taken") from None
        while self._producer.flush(min(1.0, countdown.left)):
            if countdown.over:
                raise TookTooLong("the load is not delivered")

    def release(self) -> None:
        """Make it visible, all at once."""
        self._producer.commit_transaction(30)
