"""The input of a measurement: small orders, some resent, loaded so that a worker sees them all at one moment."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Final

from confluent_kafka import Producer

from tests.support.kafka_records import partition_of
from tests.support.orders import Fed
from tests.support.topics import Countdown, TookTooLong, create_topic, delete_topics

PARTITIONS: Final = {"orders": 8, "orders-priced": 8, "sku-demand": 5, "sku-totals": 5, "orders-dlq": 8, "bench-out": 8}
CUSTOMERS: Final = 2_000
SKUS: Final = 300


def fresh_topics(bootstrap: str, changelogs: dict[str, int]) -> None:
    """Make every topic of a run anew, so that no run meets another's records. `changelogs` with partition counts."""
    delete_topics(bootstrap, {**PARTITIONS, **changelogs})
    for name, count in PARTITIONS.items():
        create_topic(bootstrap, name, count)
    for name, count in changelogs.items():
        create_topic(bootstrap, name, count, {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime"})


def small_orders(count: int, *, seed: int, resent: float, first_id: int = 0) -> Iterator[Fed]:
    """Yield orders of about 90 bytes; a share is an earlier one again."""
    rng = random.Random(seed)
    now = int(time.time() * 1000)
    partitions = [partition_of(f"c{number}".encode(), 8) for number in range(CUSTOMERS)]
    recent: list[Fed] = []
    for at in range(count):
        if recent and rng.random() < resent:
            yield rng.choice(recent)
            continue
        customer = rng.randrange(CUSTOMERS)
        fields = {
            "order_id": f"{first_id + at:08d}",
            "customer": f"c{customer}",
            "sku": f"s{rng.randrange(SKUS)}",
            "quantity": rng.randrange(1, 10),
            "unit_price_cents": rng.randrange(100, 10_000),
        }
        value = json.dumps(fields, separators=(",", ":")).encode()
        fed = Fed(f"c{customer}".encode(), value, [], now, partitions[customer], "order")
        recent.append(fed)
        if len(recent) > 4_000:
            del recent[:2_000]
        yield fed


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

    def put(self, records: list[Fed], *, deadline: float = 120.0) -> None:
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
