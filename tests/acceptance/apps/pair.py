"""Two topics whose agents share a table, and timers that tell which worker runs them."""

from __future__ import annotations

import os
from typing import Any

from streamapp import StreamApp, current_event

APP_ID = os.environ["APP_ID"]
WORKER = os.environ.get("STREAMAPP_WORKER_ID")
app = StreamApp(APP_ID)
left = app.topic(f"{APP_ID}-left", partitions=4)
right = app.topic(f"{APP_ID}-right", partitions=4)
out = app.topic(f"{APP_ID}-out", partitions=1)
beats = app.topic(f"{APP_ID}-beats", partitions=1)
leads = app.topic(f"{APP_ID}-leads", partitions=1)
sums = app.Table("sums", default=int)


async def add(side: str, value: int) -> None:
    sums["sum"] += value
    event = current_event()
    assert event is not None
    await out.send(key=side, value=[event.message.partition, WORKER, sums["sum"]])


@app.agent(left)
async def from_left(stream: Any) -> None:
    async for value in stream:
        await add("left", value)


@app.agent(right)
async def from_right(stream: Any) -> None:
    async for value in stream:
        await add("right", value)


@app.timer(interval=0.2)
async def beat() -> None:
    await beats.send(value=WORKER)


@app.timer(interval=0.2, on_leader=True)
async def lead() -> None:
    await leads.send(value=WORKER)
