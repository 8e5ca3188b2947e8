"""Orders to feed: the same for the same seed, with what real topics hold: resends, poison, odd headers, no keys.

plan = OrderPlan(count=20_000, seed=7)
for done in feed(bootstrap, plan.records(), deadline=60): ...
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from tests.support.kafka_records import partition_of
from tests.support.order_rules import HORIZON_MS
from tests.support.poison import POISON
from tests.support.topics import Countdown, TookTooLong

Headers = list[tuple[str, bytes | None]]


class Fed(NamedTuple):
    """A record to produce. `kind` says what it is meant to be: `order`, `resent`, `late`, or a class of poison."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int
    partition: int
    kind: str


HEADERS: Final[tuple[Headers, ...]] = (
    [("source", b"web")],
    [("hop", b"1"), ("hop", b"2"), ("hop", b"1")],
    [("empty", b""), ("none", None), ("odd", b"\xff\x00\xfe")],
    [("Ünïcode", "żółw".encode()), ("source", b"app"), ("source", None)],
)
CUSTOMERS: Final = ("ann", "bob", "zoë", "日本", "o'neil", "a b", "\U0001f600")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPlan:
    """What to feed. `count` records in all; the shares are of them."""

    count: int
    seed: int = 1
    partitions: int = 8
    customers: int = 500
    skus: int = 60
    resent: float = 0.03
    poison: float = 0.01
    headers: float = 0.05
    without_key: float = 0.01
    now_ms: int = 0
    """The last record's time; 0 takes the clock's, as of the call. Brokers refuse times an hour ahead of theirs."""
    first_id: int = 0
    """Numbers ids from here on, so that several feeds of a test do not meet."""

    def __post_init__(self) -> None:
        # More would open the engine's circuit breaker, which is not what the checker's runs are about.
        if not 0 <= self.poison < 0.1:
            raise ValueError(f"poison={self.poison}: must be under 0.1")

    def records(self) -> Iterator[Fed]:
        """Yield the records, in the order to produce them."""
        rng = random.Random(self.seed)
        now = self.now_ms or int(time.time() * 1000)
        recent: list[Fed] = []
        poisons = list(POISON)
        rng.shuffle(poisons)
        poisoned = 0
        for at in range(self.count):
            stamp = now - (self.count - at) - rng.choice((0, 0, 0, 7, 500))  # nearly in order, as clocks are
            dice = rng.random()
            if dice < self.poison:
                name = poisons[poisoned % len(poisons)]
                poisoned += 1
                yield self._poison(rng, at, stamp, name)
            elif dice < self.poison + self.resent and recent:
                # Records of long ago are few, and a resend of one is what shows the horizon's edge: each tenth is one.
                old = [fed for fed in recent if stamp - fed.timestamp > HORIZON_MS] if rng.random() < 0.1 else []
                yield self._resend(rng, rng.choice(old or recent), stamp)
            else:
                fed = self._order(rng, at, stamp)
                recent.append(fed)
                if len(recent) > 5_000:  # resends come near, across commits and restarts, not only at once
                    del recent[: len(recent) // 2]
                yield fed

    def _order(self, rng: random.Random, at: int, stamp: int) -> Fed:
        fields = self._fields(rng, at)
        customer = str(fields["customer"])
        key: bytes | None = customer.encode()
        partition = partition_of(customer.encode(), self.partitions)
        dice = rng.random()
        if dice < self.without_key:
            # Their customers are others: one whose orders come in several partitions has a sum in each.
            fields["customer"] = f"walk-in-{rng.randrange(20)}"
            key, partition = None, rng.randrange(self.partitions)
        elif dice < self.without_key + 0.005:
            # Long ago, so that a resend of it can come after the horizon without coming from the future.
            stamp -= 3 * HORIZON_MS
        headers = list(rng.choice(HEADERS)) if rng.random() < self.headers else []
        return Fed(key, json.dumps(fields, ensure_ascii=rng.random() < 0.5).encode(), headers, stamp, partition, "order")

    def _fields(self, rng: random.Random, at: int) -> dict[str, object]:
        number = min(int(rng.paretovariate(0.9)), self.customers)
        customer = CUSTOMERS[number - 1] if number <= len(CUSTOMERS) else f"customer-{number}"
        fields: dict[str, object] = {
            "order_id": f"o-{self.seed}-{self.first_id + at}",
            "customer": customer,
            "sku": f"sku-{rng.randrange(self.skus)}",
            "quantity": rng.choice((1, 1, 1, 2, 3, 10)) if rng.random() < 0.99 else 10_000,
            "unit_price_cents": rng.choice((0, 99, 150, 1_999, 4_950)) if rng.random() < 0.995 else 100_000_000,
        }
        dice = rng.random()
        if dice < 0.3:
            fields["placed_at"] = rng.choice(("2024-05-01T10:00:00Z", "2024-05-01T12:00:00.123456+02:00", None))
        if dice < 0.05:
            fields |= {"note": "unknown fields are ignored", "tags": [1.5, {"deep": None}], "Quantity": "x"}
        return fields

    def _poison(self, rng: random.Random, at: int, stamp: int, name: str) -> Fed:
        fields = self._fields(rng, at)
        key = None if rng.random() < 0.1 else str(fields["customer"]).encode()
        partition = rng.randrange(self.partitions) if key is None else partition_of(key, self.partitions)
        headers = list(rng.choice(HEADERS)) if rng.random() < 0.5 else []
        return Fed(key, POISON[name](fields), headers, stamp, partition, name)

    def _resend(self, rng: random.Random, first: Fed, stamp: int) -> Fed:
        old = stamp - first.timestamp > HORIZON_MS
        dice = rng.random()
        if old:
            # Around the edge: at exactly seven days it is an order again.
            after = rng.choice((HORIZON_MS - 1, HORIZON_MS, HORIZON_MS + 1, 1_000, -HORIZON_MS))
            return first._replace(timestamp=first.timestamp + after, kind="late" if after >= HORIZON_MS else "resent")
        if dice < 0.5:
            return first._replace(kind="resent")
        if dice < 0.75:
            return first._replace(timestamp=stamp, headers=[("retry", b"1")], kind="resent")
        changed = json.loads(first.value or b"{}") | {"quantity": 7}
        return first._replace(timestamp=stamp, value=json.dumps(changed).encode(), kind="resent")


def order_of(sku: str, *, order_id: str, customer: str = "ann", partitions: int = 8, now_ms: int = 0) -> Fed:
    """Return one plain order, e.g. of a sku that makes the example fail or die."""
    fields = {"order_id": order_id, "customer": customer, "sku": sku, "quantity": 1, "unit_price_cents": 100}
    key = customer.encode()
    stamp = now_ms or int(time.time() * 1000)
    return Fed(key, json.dumps(fields).encode(), [], stamp, partition_of(key, partitions), "order")


def feed(
    bootstrap: str,
    records: Iterable[Fed],
    *,
    topic: str = "orders",
    deadline: float = 120.0,
    every: int = 500,
    rate: float | None = None,
) -> Iterator[int]:
    """Produce `records` idempotently, in order; yield how many are delivered, every `every` records and at the end.

    `rate` limits to so many a second. Raises TookTooLong at the deadline, AssertionError when a record is refused.
    """
    refused: list[KafkaError] = []
    delivered = 0

    def report(error: KafkaError | None, message: Message) -> None:
        nonlocal delivered
        delivered += 1
        if error is not None:
            refused.append(error)

    # Partitions are set: Java's murmur2 for keys, by the seed where there is no key, so that a resend meets its first.
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": 50_000,
            "log_level": 0,
        }
    )
    countdown, started, sent = Countdown(deadline), time.monotonic(), 0
    for fed in records:
        while True:
            try:
                producer.produce(
                    topic, fed.value, fed.key, fed.partition, report, timestamp=fed.timestamp, headers=list(fed.headers)
                )
                break
            except BufferError:
                producer.poll(0.1)
                _require_time(countdown, delivered, sent)
        sent += 1
        if sent % every == 0:
            producer.poll(0)
            while rate is not None and sent / rate > time.monotonic() - started and not countdown.over:
                producer.poll(min(0.1, max(0.0, sent / rate - (time.monotonic() - started))))
            _require_time(countdown, delivered, sent)
            yield delivered
    while producer.flush(min(1.0, countdown.left)) > 0:
        _require_time(countdown, delivered, sent)
        yield delivered
    assert not refused, f"{len(refused)} records refused, the first: {refused[0]}"
    yield delivered


def feed_all(bootstrap: str, records: Iterable[Fed], *, topic: str = "orders", deadline: float = 120.0) -> int:
    """Produce all of `records`; return how many."""
    return list(feed(bootstrap, records, topic=topic, deadline=deadline))[-1]


def _require_time(countdown: Countdown, delivered: int, sent: int) -> None:
    if countdown.over:
        raise TookTooLong(f"{delivered} of {sent} records delivered when the time was over")
