"""A line is brought back by one recovery at a time, whole, and by nothing that was asked for before it; what ends it is heard."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import Future

import pytest

from streamapp.ports import Store
from streamapp.records import Partition
from tests.support.fakes import FakeBroker, Fault
from tests.support.pipeline import agent, copy, each, running, table

LEFT, RIGHT = Partition("left", 0), Partition("right", 0)
LOOKS = 100
"""How often the loop turns before a test says that something does not happen."""


async def test_a_topic_that_falls_out_of_its_log_stops_its_whole_line() -> None:
    """Its tables are restored: records of the other topic would be worked on beside that, on values that go back and forth."""
    agents = [agent(each(copy), name=topic, topics=(topic,)) for topic in ("left", "right")]
    async with running(*agents, tables=[table("totals", "left", "right")]) as bench:
        lanes, begun = bench.engine.group.lanes, len(bench.restore.begun)
        bench.restore.hold.clear()
        bench.source.out_of_range(LEFT)
        await bench.until(lambda: len(bench.restore.begun) > begun)
        assert not lanes[RIGHT].running, "it runs beside the restore of its table"
        bench.source.out_of_range(RIGHT)
        bench.restore.hold.set()
        await bench.until(lambda: lanes[LEFT].running and lanes[RIGHT].running)
        bench.broker.feed("left", 0, b"l")
        bench.broker.feed("right", 0, b"r")
        await bench.caught_up()
        assert sorted(value or b"" for value in bench.broker.values("out")) == [b"l", b"r"]


async def test_a_seek_asked_for_before_a_recovery_does_not_run_its_lane() -> None:
    """It is answered while the tables are restored: records would be worked on beside the restore, which then writes over them."""
    broker = FakeBroker()
    async with running(agent(each(copy)), tables=[table()], broker=broker) as bench:
        group, lane = bench.engine.group, bench.engine.group.lanes[Partition("in", 0)]
        broker.feed("in", 0, b"0")
        await bench.caught_up()
        await bench.until(lambda: bench.engine.admission.flight is None)
        bench.source.frozen = True
        group.stop_admission()
        group.rewind()
        bench.restore.hold.clear()
        begun, number = len(bench.restore.begun), lane.number
        group.recover_all()
        await bench.until(lambda: len(bench.restore.begun) > begun)
        bench.source.frozen = False
        await bench.until(lambda: lane.number != number)
        for _ in range(LOOKS):
            assert not lane.running, "it runs beside its restore"
            await asyncio.sleep(0.001)
        bench.restore.hold.set()
        broker.feed("in", 0, b"a")
        await bench.caught_up()
        assert broker.values("out") == [b"0", b"a"]


async def test_a_recovery_waits_for_the_commit_that_moves_its_offset() -> None:
    """Asked for before, the committed offset would be the one of before the unit: its records would be done again."""
    broker = FakeBroker()
    go = threading.Event()
    async with running(agent(each(copy)), broker=broker) as bench:
        lane = bench.engine.group.lanes[Partition("in", 0)]
        number, asked = lane.number, broker.calls.count("committed")
        broker.fail("commit", Fault(wait=lambda: go.wait(20)))
        try:
            broker.feed("in", 0, b"a")
            await bench.until(lambda: "commit" in broker.calls)
            bench.source.out_of_range(lane.partition)
            for _ in range(LOOKS):
                assert broker.calls.count("committed") == asked, "committed offsets are asked for while they change"
                await asyncio.sleep(0.001)
        finally:
            go.set()
        await bench.until(lambda: lane.running and lane.number != number)
        broker.feed("in", 0, b"b")
        await bench.caught_up()
        assert broker.values("out") == [b"a", b"b"]


async def test_a_restore_that_fails_after_a_stop_is_no_mistake_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(str(context)))
    begun: list[Future[Store]] = []
    broker = FakeBroker()
    broker.fail("restore", OSError("the disk refuses"))
    async with running(agent(each(copy)), tables=[table()], broker=broker, settled=False, restores_held=True) as bench:
        begin = bench.restore.begin

        def kept(name: str, number: int) -> Future[Store]:
            begun.append(begin(name, number))
            return begun[-1]

        monkeypatch.setattr(bench.restore, "begin", kept)
        await bench.until(lambda: begun)
        await bench.engine.stop()
        bench.restore.hold.set()
        with pytest.raises(OSError, match="refuses"):
            await asyncio.wrap_future(begun[0])
    begun.clear()
    gc.collect()
    assert [each for each in told if "never retrieved" in each] == []
