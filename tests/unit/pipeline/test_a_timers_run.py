"""A run of a timer is a savepoint that ends with the run."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.errors import SavepointEnded
from tests.support.pipeline import agent, copy, each, here, running, table


def send(value: bytes) -> None:
    here().send(("out", value, None, 0, 0, []))


async def test_a_task_that_outlives_a_timers_run_cannot_join_it() -> None:
    over = asyncio.Event()

    async def later() -> None:
        await over.wait()
        send(b"late")

    tasks = []

    async def run() -> None:
        tasks.append(asyncio.get_running_loop().create_task(later()))
        send(b"in time")

    async with running(agent(each(copy)), tables=[table()]) as bench:
        await bench.engine.tick(run, name="clock")
        over.set()
        with pytest.raises(SavepointEnded, match="run of clock"):
            await asyncio.wait_for(tasks[0], 5)
        await bench.until(lambda: bench.broker.values("out") == [b"in time"])
