"""The dedupe job as a user of streamapp writes it: `faust -A tests.benchmarks.dedupe_app worker`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec

from streamapp import StreamApp

app = StreamApp("bench-dedupe")


class Order(msgspec.Struct, omit_defaults=True):
    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int
    placed_at: datetime | None = None
    note: str | None = None


seen = app.dedupe_table("seen", horizon=7 * 86400)
out = app.topic("bench-out", value_type=Order)


@app.agent(app.topic("orders", value_type=Order), dedupe=seen.by(lambda order: order.order_id))
async def forward(orders: AsyncIterator[Order]) -> None:
    async for order in orders:
        await out.send(key=order.customer, value=order)
