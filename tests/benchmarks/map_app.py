"""The stateless job as a user of streamapp writes it: `faust -A tests.benchmarks.map_app worker`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from streamapp import StreamApp

app = StreamApp("bench-map")


class Order(msgspec.Struct):
    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int


class TotalledOrder(msgspec.Struct):
    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int
    total_cents: int


out = app.topic("bench-out", value_type=TotalledOrder)


@app.agent(app.topic("orders", value_type=Order))
async def total(orders: AsyncIterator[Order]) -> None:
    async for order in orders:
        await out.send(
            key=order.customer,
            value=TotalledOrder(
                order.order_id,
                order.customer,
                order.sku,
                order.quantity,
                order.unit_price_cents,
                order.quantity * order.unit_price_cents,
            ),
        )
