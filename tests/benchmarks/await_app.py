"""An agent that waits for a call with each record, 100 at a time: `faust -A tests.benchmarks.await_app worker`.

BENCH_CALL_SECONDS says how long the call takes; 0 removes it, and what is left is the engine's own cost of such an agent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from streamapp import StreamApp

CALL: Final = float(os.environ.get("BENCH_CALL_SECONDS", "0.005"))

app = StreamApp("bench-await")


class Order(msgspec.Struct):
    order_id: str
    customer: str
    sku: str
    quantity: int
    unit_price_cents: int


out = app.topic("bench-out", value_type=Order)


@app.agent(app.topic("orders", value_type=Order), concurrency=100)
async def enrich(orders: AsyncIterator[Order]) -> None:
    async for order in orders:
        if CALL:
            await asyncio.sleep(CALL)
        await out.send(key=order.customer, value=order)
