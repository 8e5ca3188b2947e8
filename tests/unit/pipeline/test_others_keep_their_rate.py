"""While one partition retries, the others keep at least four fifths of their rate."""

from __future__ import annotations

import asyncio
import time

from streamapp.pipeline.retry import Retry
from streamapp.records import Partition
from tests.support.pipeline import Bench, agent, each, emit, running

RECORDS, ROUNDS = 300, 3
PATIENT = Retry(attempts=20, base=0.1, factor=1.0, jitter="none", budget=400.0, attempt_timeout=400.0)


async def test_a_partition_that_retries_takes_nothing_from_the_others() -> None:
    """The best of several rounds of each kind, taken in turn: what else the machine does meets both."""
    failing = False
    tries = 0

    async def body(value: bytes) -> None:
        nonlocal tries
        if value == b"wobbly" and failing:
            tries += 1
            raise ConnectionError
        await asyncio.sleep(0.0005)  # its work: a call that takes that long
        emit(value)

    async def rate(bench: Bench) -> float:
        lane = bench.engine.group.lanes[Partition("in", 1)]
        target = bench.broker.end(lane.partition) + RECORDS
        bench.broker.feed("in", 1, *[b"x"] * RECORDS)
        began = time.perf_counter()
        await bench.until(lambda: lane.committed == target, seconds=30.0)
        return RECORDS / (time.perf_counter() - began)

    spec = agent(each(body), retry=PATIENT)
    alone, beside = [], []
    async with running(
        spec, partitions={"in": 2}, transaction_timeout=1000.0, max_poll_interval=1000.0, commit_interval=0.05, source_batch=500
    ) as bench:
        for _ in range(ROUNDS):
            alone.append(await rate(bench))
            failing, before = True, tries
            bench.broker.feed("in", 0, b"wobbly")
            await bench.until(lambda: tries > before)  # noqa: B023 - awaited here
            beside.append(await rate(bench))
            failing = False
            await bench.caught_up(seconds=10.0)
        assert bench.broker.values("dlq") == []
    assert max(beside) >= 0.8 * max(alone), (alone, beside)
