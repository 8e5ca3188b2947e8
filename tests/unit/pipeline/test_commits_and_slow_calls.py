"""A commit never waits for a call in hand: what is done is committed, and the call's record joins a later unit."""

from __future__ import annotations

import asyncio

import pytest

from streamapp.records import Partition
from tests.support.pipeline import agent, copy, each, emit, running

OTHER = Partition("other", 0)


@pytest.mark.parametrize("concurrency", [1, 100])
async def test_units_are_committed_while_a_call_is_in_hand(concurrency: int) -> None:
    called, answered = asyncio.Event(), asyncio.Event()

    async def body(value: bytes) -> None:
        if value == b"slow":
            called.set()
            await answered.wait()
        emit(value)

    other = agent(each(copy), name="other", topics=("other",))
    async with running(agent(each(body), concurrency=concurrency), other, partitions={"in": 1, "other": 1}) as bench:
        bench.broker.feed("in", 0, b"before", b"slow", b"behind")
        await called.wait()
        await bench.until(lambda: bench.broker.committed("in", 0) == 1)
        for number in range(5):
            bench.broker.feed("other", 0, b"%d" % number)
            await bench.until(lambda: bench.broker.committed("other", 0) == bench.broker.end(OTHER))
        assert bench.engine.counters()["commits"] >= 6
        assert (bench.broker.committed("in", 0), b"slow" in bench.broker.values("out")) == (1, False)
        answered.set()
        await bench.caught_up()
        assert [value for value in bench.broker.values("out") if not (value or b"").isdigit()] == [b"before", b"slow", b"behind"]


async def test_all_that_may_overlap_overlaps_again_behind_a_pause() -> None:
    """Else one actor works alone until more records are fetched."""
    at_once, most = 0, 0

    async def body(value: bytes) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        emit(value)

    async with running(agent(each(body), concurrency=5)) as bench:
        (lane,) = bench.engine.group.lanes.values()
        lane.pause("the test")
        bench.broker.feed("in", 0, *[b"%d" % number for number in range(20)])
        await bench.until(lambda: lane.waiting == 20)
        lane.unpause("the test")
        bench.engine.wake_line(lane.line)
        await bench.caught_up()
    assert most == 5
