"""A lane begins in this order: committed offsets, then its tables, then its records; and ends where its log ends."""

from __future__ import annotations

import asyncio
import threading

from streamapp.records import Partition
from tests.support.fakes import FakeBroker, Fault
from tests.support.pipeline import agent, copy, each, running, table


async def test_no_table_is_restored_before_the_committed_offsets_are_known() -> None:
    """Their answer waits for the old owner's transaction: a changelog's end that was read before would miss what it wrote."""
    go = threading.Event()
    broker = FakeBroker()
    broker.fail("committed", Fault(wait=lambda: go.wait(20)))
    async with running(agent(each(copy)), tables=[table()], broker=broker, settled=False) as bench:
        try:
            await bench.until(lambda: "committed" in broker.calls or bench.restore.begun)
            assert bench.restore.begun == []
        finally:
            go.set()
        await bench.until(lambda: bench.engine.ready)
        assert bench.restore.begun == [("totals", 0)]


async def test_no_record_is_begun_before_its_tables_are_restored() -> None:
    broker = FakeBroker()
    go = threading.Event()
    broker.fail("restore", Fault(wait=lambda: go.wait(20)))
    broker.feed("in", 0, b"a")
    async with running(agent(each(copy)), tables=[table()], broker=broker, settled=False) as bench:
        try:
            await bench.until(lambda: "restore" in broker.calls or broker.committed("in", 0) is not None)
            for _ in range(100):  # that nothing happens takes a while to see
                assert not bench.engine.ready
                await asyncio.sleep(0.002)
            assert (broker.values("out"), broker.committed("in", 0)) == ([], None)
        finally:
            go.set()
        await bench.caught_up()
        assert broker.values("out") == [b"a"]


async def test_a_tail_that_no_reader_sees_is_committed_away() -> None:
    async with running(agent(each(copy))) as bench:
        bench.broker.feed("in", 0, b"a")
        bench.broker.marker("in", 0)
        await bench.caught_up()
        assert bench.broker.committed("in", 0) == 2


async def test_a_tail_that_no_reader_sees_and_that_comes_while_a_timer_holds_the_line_is_committed_away() -> None:
    holds, goes_on = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        bench.engine.table("totals").get(b"k")
        holds.set()
        await goes_on.wait()

    async with running(agent(each(copy)), tables=[table()]) as bench:
        lane = bench.engine.group.lanes[Partition("in", 0)]
        bench.broker.feed("in", 0, b"a")
        await bench.caught_up()
        timer = asyncio.create_task(bench.engine.tick(write, name="clock"))
        await holds.wait()
        bench.broker.marker("in", 0)
        await bench.until(lambda: lane.end_seen == 2)
        goes_on.set()
        await timer
        await bench.caught_up()


async def test_an_overlay_at_its_bound_is_committed_early() -> None:
    async def body(value: bytes) -> None:
        bench.engine.table("totals").put(value, b"x" * 200)

    async with running(agent(each(body)), tables=[table()], overlay_max_bytes=1000, commit_interval=3600.0) as bench:
        bench.broker.feed("in", 0, *[b"%d" % at for at in range(40)])
        await bench.caught_up()
