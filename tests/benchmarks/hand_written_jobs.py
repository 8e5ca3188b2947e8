"""The jobs on the hand-written loop: plain dedupe, a stateless map, the whole order processor (both stages, with dead letters)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Final

import msgspec
from confluent_kafka import Message

from tests.benchmarks.hand_written_loop import Loop

HORIZON_MS: Final = 7 * 86_400_000

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Job = tuple[Loop, Callable[[], Awaitable[None]]]


class Order(msgspec.Struct):
    order_id: Text
    customer: Text
    sku: Text
    quantity: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    unit_price_cents: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)]
    placed_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class NotedOrder(msgspec.Struct, omit_defaults=True):
    """What the dedupe job sends on: all that came."""

    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int
    placed_at: datetime | None = None
    note: str | None = None


class TotalledOrder(msgspec.Struct):
    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int
    total_cents: int


class PricedOrder(msgspec.Struct):
    order_id: str
    customer: str
    sku: str
    quantity: int
    total_cents: int
    customer_order_count: int
    customer_total_cents: int


class SkuDemand(msgspec.Struct):
    order_id: str
    sku: str
    quantity: int


class SkuTotal(msgspec.Struct):
    order_id: str
    sku: str
    total_quantity: int


encode: Final = msgspec.json.encode
pack: Final = msgspec.msgpack.encode
unpack_pair: Final = msgspec.msgpack.Decoder(tuple[int, int]).decode
unpack_int: Final = msgspec.msgpack.Decoder(int).decode
decode_order: Final = msgspec.json.Decoder(Order).decode
decode_noted: Final = msgspec.json.Decoder(NotedOrder).decode
decode_demand: Final = msgspec.json.Decoder(SkuDemand).decode


def dedupe() -> Job:
    loop = Loop(["orders"], {"seen": "orders"})

    async def work() -> None:
        shards, send = loop.shards, loop.send
        async for message in loop.records():
            order = decode_noted(message.value())  # type: ignore[arg-type]  # None fails as it should
            shard = shards["seen", message.partition()]  # type: ignore[index]  # it has a partition
            key = encode(order.order_id)
            stamp = message.timestamp()[1]
            mark = shard.get(key)
            if mark is not None and stamp - unpack_pair(mark)[0] < HORIZON_MS:
                continue
            shard.overlay[key] = pack((stamp, message.offset()))
            send("bench-out", encode(order), message, key=message.key(), headers=message.headers())  # type: ignore[arg-type]

    return loop, work


def totalled() -> Job:
    loop = Loop(["orders"], {})

    async def work() -> None:
        send = loop.send
        async for message in loop.records():
            order = decode_noted(message.value())  # type: ignore[arg-type]  # None fails as it should
            total = order.quantity * order.unit_price_cents
            value = TotalledOrder(order.order_id, order.customer, order.sku, order.quantity, order.unit_price_cents, total)
            send("bench-out", encode(value), message, key=message.key(), headers=message.headers())  # type: ignore[arg-type]

    return loop, work


def orders() -> Job:
    tables = {"processed_orders": "orders", "customer_totals": "orders", "sku_totals": "sku-demand"}
    loop = Loop(["orders", "sku-demand"], tables)

    async def work() -> None:
        async for message in loop.records():
            if message.topic() == "orders":
                _price(loop, message)
            else:
                _sum(loop, message)

    return loop, work


def _price(loop: Loop, message: Message) -> None:
    value: bytes = message.value()  # type: ignore[assignment]  # bytes, or None, which is refused
    partition: int = message.partition()  # type: ignore[assignment]
    headers: list[tuple[str, bytes | None]] | None = message.headers()  # type: ignore[assignment]
    try:
        # msgspec does not look at the bytes of fields that it skips, and takes +0100 for a zone.
        value.decode()
        order = decode_order(value)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
        _bury(loop, message, error)
        return
    if order.placed_at is not None and b"placed_at" in value and not _has_colon_zone(value):
        _bury(loop, message, ValueError("placed_at"))
        return
    marks, totals = loop.shards["processed_orders", partition], loop.shards["customer_totals", partition]
    key, stamp = encode(order.order_id), message.timestamp()[1]
    mark = marks.get(key)
    if mark is not None and stamp - unpack_pair(mark)[0] < HORIZON_MS:
        return
    marks.overlay[key] = pack((stamp, message.offset()))
    customer = encode(order.customer)
    before = totals.get(customer)
    count, cents = unpack_pair(before) if before is not None else (0, 0)
    total = order.quantity * order.unit_price_cents
    count, cents = count + 1, cents + total
    totals.overlay[customer] = pack((count, cents))
    priced = PricedOrder(order.order_id, order.customer, order.sku, order.quantity, total, count, cents)
    loop.send("orders-priced", encode(priced), message, key=order.customer.encode(), headers=headers)
    demand = SkuDemand(order.order_id, order.sku, order.quantity)
    loop.send("sku-demand", encode(demand), message, key=order.sku.encode(), headers=headers)


def _sum(loop: Loop, message: Message) -> None:
    demand = decode_demand(message.value())  # type: ignore[arg-type]
    shard = loop.shards["sku_totals", message.partition()]  # type: ignore[index]
    key = encode(demand.sku)
    before = shard.get(key)
    quantity = demand.quantity + (unpack_int(before) if before is not None else 0)
    shard.overlay[key] = pack(quantity)
    total = SkuTotal(demand.order_id, demand.sku, quantity)
    loop.send("sku-totals", encode(total), message, key=demand.sku.encode(), headers=message.headers())  # type: ignore[arg-type]


class _PlacedAt(msgspec.Struct):
    placed_at: str


def _has_colon_zone(value: bytes) -> bool:
    written = msgspec.json.decode(value, type=_PlacedAt).placed_at
    return written[-1] in "Zz" or written[-3] == ":"


def _bury(loop: Loop, message: Message, error: Exception) -> None:
    place = f"{message.topic()}/{message.partition()}/{message.offset()}"
    named = {
        "id": f"{place}@order_processor",
        "source.topic": message.topic(),
        "source.partition": message.partition(),
        "source.offset": message.offset(),
        "stage": "decode",
        "agent": "order_processor",
        "exception.type": f"{type(error).__module__}.{type(error).__name__}",
    }
    headers = [*(message.headers() or []), *((f"streamapp.dlq.{name}", str(content).encode()) for name, content in named.items())]
    loop.producer.produce(
        "orders-dlq",
        message.value(),
        message.key(),
        (message.partition() or 0) % 8,
        headers=headers,
    )


JOBS: Final[dict[str, Callable[[], Job]]] = {"dedupe": dedupe, "map": totalled, "orders": orders}
