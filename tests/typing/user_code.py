"""What users write, as mypy --strict has to take it. Checked by test_user_code.py, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

import msgspec
from faust.web import Request, Response, View

from streamapp import Agent, Event, Retry, Stream, StreamApp, Table, Topic, current_event


class Order(msgspec.Struct):
    order_id: str
    customer: str
    cents: int


app = StreamApp("shop", broker="kafka://localhost:9092", web_port=0)
orders = app.topic("orders", key_type=str, value_type=Order, partitions=8)
priced = app.topic("priced")
processed = app.dedupe_table("processed", horizon=3600)
totals = app.Table("totals", default=int)
last = app.Table("last", value_type=Order)

assert_type(orders, Topic)
assert_type(totals["ann"] + 1, int)
assert_type(last["ann"].cents, int)


@app.agent(orders, dedupe=processed.by(lambda order: order.order_id), retry=Retry(attempts=3), dlq="orders-dlq")
async def price(stream: Stream[Order]) -> None:
    async for order in stream:
        assert_type(order, Order)
        totals[order.customer] += order.cents
        last[order.customer] = order
        await priced.send(key=order.customer, value={"cents": totals[order.customer]})
        event = current_event()
        if event is not None:
            assert_type(event.idempotency_key, str)


@app.agent(priced, sink=[orders, price])
async def double(stream: Stream[int]) -> AsyncIterator[int]:
    async for value in stream.filter(lambda value: value > 1):
        yield value * 2


@app.agent(orders, name="by_event")
async def by_event(stream: Stream[Order]) -> None:
    async for event in stream.events():
        assert_type(event, Event)
        await event.forward(priced)


@app.agent(orders, name="in_batches")
async def in_batches(stream: Stream[Order]) -> None:
    async for batch in stream.take(10, within=1.0):
        assert_type(batch, list[Order])


assert_type(price, Agent)


@app.timer(interval=1.0)
async def every_second() -> None:
    await price.send(value=Order("1", "ann", 5))


@app.task
async def at_start() -> None:
    await price.cast(Order("1", "ann", 5))


@app.crontab("0 * * * *", on_leader=True)
async def each_hour(given: StreamApp) -> None:
    totals["hours"] += 1
    assert_type(given.is_leader(), bool)


@app.page("/totals/")
async def page(view: View, request: Request) -> Response:
    return view.json({"ann": totals["ann"]})


def uses(table: Table[str, int]) -> int:
    return table.get("ann", 0)
