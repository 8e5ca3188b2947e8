"""Makes right histories from a list of orders, with a model of its own, for the checker to be tried on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tests.support.kafka_records import Headers, Lanes, Rec, partition_of
from tests.support.ledger import History

NOW = 1_750_000_000_000
DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Sent:
    """One record to be in `orders`. `poison` is its whole value when it is no order."""

    order_id: str = "o-1"
    customer: str = "ann"
    sku: str = "tea"
    quantity: int = 2
    price: int = 150
    at: int = NOW
    headers: Headers = ()
    poison: bytes | None = None
    is_poison: bool = False
    lane: int | None = None

    @property
    def value(self) -> bytes | None:
        if self.is_poison:
            return self.poison
        fields = {"order_id": self.order_id, "customer": self.customer, "sku": self.sku}
        return json.dumps({**fields, "quantity": self.quantity, "unit_price_cents": self.price}).encode()


def poison(value: bytes | None, **changes: object) -> Sent:
    return replace(Sent(), poison=value, is_poison=True, **changes)  # type: ignore[arg-type]


@dataclass(slots=True)
class Built:
    """Topics while they are filled."""

    lanes: dict[str, Lanes] = field(
        default_factory=lambda: {
            "orders": {n: [] for n in range(8)},
            "orders-priced": {n: [] for n in range(8)},
            "sku-demand": {n: [] for n in range(5)},
            "sku-totals": {n: [] for n in range(5)},
            "orders-dlq": {n: [] for n in range(8)},
            "customer_totals": {n: [] for n in range(8)},
            "processed_orders": {n: [] for n in range(8)},
            "sku_totals": {n: [] for n in range(5)},
        }
    )

    def put(
        self, topic: str, key: bytes | None, value: object, at: int, headers: Headers = (), *, lane: int | None = None
    ) -> Rec:
        lanes = self.lanes[topic]
        number = partition_of(key or b"", len(lanes)) if lane is None else lane
        raw = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        # Offsets have gaps, as transaction markers leave them.
        offset = lanes[number][-1].offset + 1 + len(lanes[number]) % 3 if lanes[number] else 0
        rec = Rec(topic, number, offset, key, raw, headers, at)
        lanes[number].append(rec)
        return rec

    def history(self) -> History:
        ends = {(t, n): (lane[-1].offset + 2 if lane else 0) for t, lanes in self.lanes.items() for n, lane in lanes.items()}
        return History(
            orders=self.lanes["orders"],
            priced=self.lanes["orders-priced"],
            demand=self.lanes["sku-demand"],
            totals=self.lanes["sku-totals"],
            dead_letters=self.lanes["orders-dlq"],
            committed={at: end for at, end in ends.items() if at[0] in {"orders", "sku-demand", "orders-dlq"}},
            watermarks={at: (end, end) for at, end in ends.items()},
            changelogs={name: self.lanes[name] for name in ("customer_totals", "sku_totals", "processed_orders")},
        )


def run(sent: Sequence[Sent]) -> Built:
    """Process `sent` as a right engine would."""
    built = Built()
    marks: dict[tuple[int, str], int] = {}
    totals: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
    skus: dict[str, int] = defaultdict(int)
    for one in sent:
        source = built.put("orders", one.customer.encode(), one.value, one.at, one.headers, lane=one.lane)
        if one.is_poison:
            bury(built, source)
            continue
        mark = marks.get((source.partition, one.order_id))
        if mark is not None and one.at < mark + 7 * DAY:
            continue
        marks[source.partition, one.order_id] = one.at
        mine = totals[source.partition, one.customer]
        mine[0] += 1
        mine[1] += one.quantity * one.price
        price(built, one, mine)
        skus[one.sku] += one.quantity
        demand(built, one)
        total = {"order_id": one.order_id, "sku": one.sku, "total_quantity": skus[one.sku]}
        built.put("sku-totals", one.sku.encode(), total, one.at, one.headers)
        log_tables(built, one, source, mine, skus[one.sku])
    return built


def price(built: Built, one: Sent, mine: list[int]) -> None:
    priced = {"order_id": one.order_id, "customer": one.customer, "sku": one.sku, "quantity": one.quantity}
    priced |= {"total_cents": one.quantity * one.price, "customer_order_count": mine[0], "customer_total_cents": mine[1]}
    built.put("orders-priced", one.customer.encode(), priced, one.at, one.headers)


def demand(built: Built, one: Sent) -> None:
    wanted = {"order_id": one.order_id, "sku": one.sku, "quantity": one.quantity}
    built.put("sku-demand", one.sku.encode(), wanted, one.at, one.headers)


def log_tables(built: Built, one: Sent, source: Rec, mine: list[int], quantity: int) -> None:
    key = json.dumps(one.customer).encode()
    built.put("customer_totals", key, {"n": mine[0], "cents": mine[1]}, NOW, lane=source.partition)
    built.put("processed_orders", json.dumps(one.order_id).encode(), [one.at, source.offset], NOW, lane=source.partition)
    lane = partition_of(one.sku.encode(), 5)
    built.put("sku_totals", json.dumps(one.sku).encode(), quantity, NOW, lane=lane)


def bury(built: Built, source: Rec, agent: str = "order_processor", **changed: bytes | None) -> Rec:
    """Add the dead letter of `source`; `changed` replaces header values by their short name, None leaves one out."""
    named: dict[str, bytes | None] = {
        "id": f"{source.place}@{agent}".encode(),
        "source.topic": source.topic.encode(),
        "source.partition": str(source.partition).encode(),
        "source.offset": str(source.offset).encode(),
        "stage": b"decode",
        "agent": agent.encode(),
        "exception.type": b"streamapp.errors.DecodeFailed",
    }
    named |= {name.replace("_", "."): value for name, value in changed.items()}
    added = tuple((f"streamapp.dlq.{name}", value) for name, value in named.items() if value is not None)
    return built.put("orders-dlq", source.key, source.value, NOW, (*source.headers, *added), lane=source.partition % 8)
